"""A small Kafka client on Trio: brokers use it for one another, the tools and the tests use it for everything.

    async with open_client([("127.0.0.1", 9092)]) as client:
        await create_topic(client, "words", num_partitions=3)
        async with open_producer(client) as producer:
            await producer.send("words", value=b"hello")
        fetched = await client.fetch("words", 0, offset=0)

What it is: connections, version negotiation, routing by metadata, retries, batches, a few helpers for administration.
What it is not: a consumer with groups, and not fast: records are encoded in Python.
"""

from __future__ import annotations

from pykafkacore.client.admin import (
    alter_configs,
    create_partitions,
    create_topic,
    delete_topic,
    describe_cluster,
    describe_configs,
)
from pykafkacore.client.client import Client, FetchedPartition, open_client
from pykafkacore.client.codecs import Codec
from pykafkacore.client.connection import Connection, ConnectionClosed, UnsupportedApi
from pykafkacore.client.metadata import ClusterMetadata
from pykafkacore.client.producer import Producer, open_producer
from pykafkacore.client.records import Record

__all__ = [
    "Client",
    "ClusterMetadata",
    "Codec",
    "Connection",
    "ConnectionClosed",
    "FetchedPartition",
    "Producer",
    "Record",
    "UnsupportedApi",
    "alter_configs",
    "create_partitions",
    "create_topic",
    "delete_topic",
    "describe_cluster",
    "describe_configs",
    "open_client",
    "open_producer",
]
