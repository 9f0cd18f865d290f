"""The same requests to Apache Kafka and to ours, and what differs."""
