"""The message schemas, a module per family, in the notation of pykafkacore.protocol.schema."""
