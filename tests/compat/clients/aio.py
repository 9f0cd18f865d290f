"""aiokafka."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from clients.common import Record, Stop, main


async def _produce(bootstrap: str, records: list[Record], topic: str, codec: str, acks: str) -> None:
    config = {"bootstrap_servers": bootstrap, "compression_type": None if codec == "none" else codec}
    if acks != "default":
        config["acks"] = acks if acks == "all" else int(acks)
    producer = AIOKafkaProducer(**config)
    await producer.start()
    futures = [
        await producer.send(topic, key=r.key, value=r.value, headers=r.headers, timestamp_ms=r.timestamp)
        for r in records
    ]
    await producer.flush()
    await asyncio.gather(*futures)
    await producer.stop()


async def _consume(bootstrap: str, topic: str) -> list[tuple[int, int, Record]]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    await consumer._client.force_metadata_update()
    await consumer._client.fetch_all_metadata()
    partitions = [TopicPartition(topic, index) for index in consumer._client.cluster.partitions_for_topic(topic)]
    ends = await consumer.end_offsets(partitions)
    partitions = [p for p in partitions if ends[p]]
    consumer.assign(partitions)
    await consumer.seek_to_beginning()
    rows = []
    while [p for p in partitions if await consumer.position(p) < ends[p]]:
        for batch in (await consumer.getmany(timeout_ms=1000)).values():
            rows.extend((m.partition, m.offset, Record(m.timestamp, m.key, m.value, list(m.headers))) for m in batch)
    await consumer.stop()
    return rows


def produce(*args) -> None:
    asyncio.run(_produce(*args))


def consume(bootstrap: str, topic: str):
    return asyncio.run(_consume(bootstrap, topic))


async def _group(bootstrap: str, topic: str, group_id: str, protocol: str, stop: Stop) -> None:
    # Its default shares no assignor with Java's: "range" is for groups of both.
    chosen = {"partition_assignment_strategy": [RangePartitionAssignor]} if protocol == "range" else {}
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=group_id, auto_offset_reset="earliest", session_timeout_ms=6000,
        heartbeat_interval_ms=1000, **chosen,
    )  # fmt: skip
    await consumer.start()
    while not stop.is_set:
        for batch in (await consumer.getmany(timeout_ms=100)).values():
            for message in batch:
                print(f"{message.partition}\t{message.offset}", flush=True)
    await consumer.stop()


def group(bootstrap: str, topic: str, group_id: str, protocol: str, stop: Stop):
    asyncio.run(_group(bootstrap, topic, group_id, protocol, stop))
    return ()


if __name__ == "__main__":
    main(produce, consume, group)
