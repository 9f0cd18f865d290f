"""kafka-python."""

from __future__ import annotations

from clients.common import Record, Stop, main
from kafka import KafkaConsumer, KafkaProducer, TopicPartition


def produce(bootstrap: str, records: list[Record], topic: str, codec: str, acks: str) -> None:
    config = {"bootstrap_servers": bootstrap, "compression_type": None if codec == "none" else codec}
    if acks != "default":
        config["acks"] = acks if acks == "all" else int(acks)
        config["enable_idempotence"] = acks == "all"
    producer = KafkaProducer(**config)
    futures = [
        producer.send(topic, key=r.key, value=r.value, headers=r.headers, timestamp_ms=r.timestamp) for r in records
    ]
    producer.flush(60)
    for future in futures:
        future.get(30)
    producer.close()


def consume(bootstrap: str, topic: str):
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    partitions = [TopicPartition(topic, index) for index in consumer.partitions_for_topic(topic)]
    ends = consumer.end_offsets(partitions)
    consumer.assign([p for p in partitions if ends[p]])
    consumer.seek_to_beginning()
    while any(consumer.position(p) < ends[p] for p in partitions if ends[p]):
        for batch in consumer.poll(timeout_ms=1000).values():
            for m in batch:
                yield m.partition, m.offset, Record(m.timestamp, m.key, m.value, list(m.headers))
    consumer.close()


def group(bootstrap: str, topic: str, group_id: str, protocol: str, stop: Stop):
    consumer = KafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=group_id, auto_offset_reset="earliest", session_timeout_ms=6000,
        heartbeat_interval_ms=1000,
    )  # fmt: skip
    while not stop.is_set:
        for batch in consumer.poll(timeout_ms=100).values():
            for message in batch:
                yield message.partition, message.offset
    consumer.close()


if __name__ == "__main__":
    main(produce, consume, group)
