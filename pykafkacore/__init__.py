"""Apache Kafka for people who live in Python: a broker whose hot path is Rust and whose mind is Python on Trio."""

__version__ = "0.1.0"
