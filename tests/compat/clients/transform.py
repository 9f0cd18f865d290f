"""Consume, transform, produce, exactly once, with librdkafka: `transform BOOTSTRAP SOURCE TARGET GROUP TRANSACTIONAL_ID`.

Runs until it is killed. On any error it ends, and whoever started it starts it anew.
"""

from __future__ import annotations

import sys

from confluent_kafka import Consumer, Producer, TopicPartition

BATCH = 750


def main(bootstrap: str, source: str, target: str, group: str, transactional_id: str) -> None:
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": group, "group.instance.id": "only", "enable.auto.commit": False,
        "isolation.level": "read_committed", "auto.offset.reset": "earliest", "session.timeout.ms": 30000,
    })  # fmt: skip
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": transactional_id, "linger.ms": 1})
    producer.init_transactions(30)
    consumer.subscribe([source])
    while True:
        messages = [each for each in consumer.consume(BATCH, 0.5) if not each.error()]
        if not messages:
            continue
        producer.begin_transaction()
        ends: dict[int, int] = {}
        for message in messages:
            producer.produce(target, key=message.key(), value=b"out-" + message.value())
            ends[message.partition()] = message.offset() + 1
        offsets = [TopicPartition(source, partition, offset) for partition, offset in ends.items()]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 30)
        producer.commit_transaction(30)


if __name__ == "__main__":
    main(*sys.argv[2:])
