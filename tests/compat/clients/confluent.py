"""librdkafka through confluent-kafka."""

from __future__ import annotations

import sys

from clients.common import Record, Stop, main
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition


def produce(bootstrap: str, records: list[Record], topic: str, codec: str, acks: str) -> None:
    config = {"bootstrap.servers": bootstrap, "compression.type": codec}
    if acks != "default":
        config["acks"] = acks
    failures: list[KafkaError] = []
    producer = Producer(config)
    for record in records:
        producer.produce(
            topic,
            key=record.key,
            value=record.value,
            headers=record.headers,
            timestamp=record.timestamp,
            on_delivery=lambda error, _: failures.append(error) if error else None,
        )
        producer.poll(0)
    assert producer.flush(30) == 0
    assert not failures, failures


def consume(bootstrap: str, topic: str):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    left = {}
    for index in partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, index), timeout=10)
        if high > low:
            left[index] = high
    consumer.assign([TopicPartition(topic, index, 0) for index in left])
    while left:
        message = consumer.poll(10)
        assert message is not None and not message.error(), message and message.error()
        headers = message.headers() or []
        yield message.partition(), message.offset(), Record(message.timestamp()[1], message.key(), message.value(), headers)
        if message.offset() + 1 >= left.get(message.partition(), 0):
            left.pop(message.partition(), None)
    consumer.close()


def group(bootstrap: str, topic: str, group_id: str, protocol: str, stop: Stop):
    config = {"bootstrap.servers": bootstrap, "group.id": group_id, "auto.offset.reset": "earliest", "group.protocol": protocol}
    if protocol == "classic":
        config["session.timeout.ms"] = 6000
    consumer = Consumer(config)
    consumer.subscribe([topic])
    while not stop.is_set:
        message = consumer.poll(0.1)
        if message is not None and not message.error():
            yield message.partition(), message.offset()
    consumer.close()


def transact(bootstrap: str, topic: str, transactional_id: str) -> None:
    """Six transactions of ten records, every other one aborted."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": transactional_id})
    producer.init_transactions(30)
    for i in range(6):
        producer.begin_transaction()
        for k in range(10):
            producer.produce(topic, value=f"{i}-{k}")
        producer.flush(30)
        if i % 2 == 0:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)


def isolated(bootstrap: str, topic: str, level: str) -> None:
    """Prints every value up to the end as this isolation level sees it."""
    config = {"bootstrap.servers": bootstrap, "group.id": "unused", "isolation.level": level}
    consumer = Consumer({**config, "enable.partition.eof": True, "enable.auto.commit": False})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, index, 0) for index in partitions])
    ended: set[int] = set()
    while len(ended) < len(partitions):
        message = consumer.poll(10)
        if message.error():
            assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
            ended.add(message.partition())
        else:
            print(message.value().decode())
    consumer.close()


if __name__ == "__main__":
    if sys.argv[1] in ("transact", "isolated"):
        {"transact": transact, "isolated": isolated}[sys.argv[1]](*sys.argv[2:])
    else:
        main(produce, consume, group)
