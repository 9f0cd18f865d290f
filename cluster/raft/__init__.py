"""Raft as Apache Kafka runs it (KIP-595, 853, 996): a pure state machine."""
