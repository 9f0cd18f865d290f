"""A producer: records gathered per partition, one batch in flight per partition, idempotent if wished.

What it is: enough for tools, tests and services that write thousands of records a second.
What it is not: a background sender. Records go out in `flush`, which `send` calls when a partition's buffer is full.
Sources: the partitioner of Kafka's Java client (murmur2 over the key).
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from pykafkacore.client.codecs import Codec
from pykafkacore.client.records import Record, encode_batch
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import ApiError, Code, code_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pykafkacore.client.client import Client, Produced

BATCH_BYTES = 64 * 1024
RECORD_OVERHEAD_BYTES = 32


@asynccontextmanager
async def open_producer(
    client: Client,
    *,
    acks: int = -1,
    codec: Codec = Codec.NONE,
    is_idempotent: bool = True,
    now_ms: Callable[[], int] | None = None,
) -> AsyncIterator[Producer]:
    """A producer whose records are flushed when the block ends well."""
    producer = Producer(client, acks=acks, codec=codec, is_idempotent=is_idempotent, now_ms=now_ms)
    yield producer
    await producer.flush()


class Producer:
    """Made by open_producer."""

    def __init__(
        self,
        client: Client,
        *,
        acks: int = -1,
        codec: Codec = Codec.NONE,
        is_idempotent: bool = True,
        now_ms: Callable[[], int] | None = None,
    ) -> None:
        if is_idempotent and acks != -1:
            raise ValueError("an idempotent producer needs acks=-1")
        self._client = client
        self._acks = acks
        self._codec = codec
        self._is_idempotent = is_idempotent
        self._now_ms = now_ms or _wall_clock_ms
        self._producer_id = self._producer_epoch = -1
        self._sequences: dict[tuple[str, int], int] = {}
        self._buffers: dict[tuple[str, int], list[Record]] = {}
        self._sizes: dict[tuple[str, int], int] = {}
        self._partition_locks: dict[tuple[str, int], trio.Lock] = {}
        self._id_lock = trio.Lock()
        self._next_keyless = 0

    async def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        *,
        partition: int | None = None,
        headers: tuple[tuple[str, bytes | None], ...] = (),
        timestamp_ms: int | None = None,
    ) -> None:
        """Take a record; sends the partition's buffer when that is full."""
        chosen = await self._choose_partition(topic, key) if partition is None else partition
        place = (topic, chosen)
        stamp = self._now_ms() if timestamp_ms is None else timestamp_ms
        self._buffers.setdefault(place, []).append(Record(value, key, headers, stamp))
        size = len(value or b"") + len(key or b"") + RECORD_OVERHEAD_BYTES
        self._sizes[place] = self._sizes.get(place, 0) + size
        if self._sizes[place] >= BATCH_BYTES:
            await self._flush_partition(place)

    async def flush(self) -> None:
        """Return when everything taken so far has been accepted; the first refusal is raised."""
        failures: list[Exception] = []

        async def one(place: tuple[str, int]) -> None:
            try:
                await self._flush_partition(place)
            except Exception as error:  # raised below, outside of the nursery
                failures.append(error)

        async with trio.open_nursery() as nursery:
            for place in list(self._buffers):
                nursery.start_soon(one, place)
        if failures:
            raise failures[0]

    async def produce(self, topic: str, partition: int, records: list[Record]) -> Produced:
        """Send one batch at once and tell where it went."""
        place = (topic, partition)
        async with self._partition_locks.setdefault(place, trio.Lock()):
            return await self._produce(place, records)

    async def _flush_partition(self, place: tuple[str, int]) -> None:
        async with self._partition_locks.setdefault(place, trio.Lock()):
            records = self._buffers.pop(place, [])
            self._sizes.pop(place, None)
            if records:
                await self._produce(place, records)

    async def _produce(self, place: tuple[str, int], records: list[Record]) -> Produced:
        topic, partition = place
        sequence = -1
        if self._is_idempotent:
            await self._ensure_producer_id()
            sequence = self._sequences.get(place, 0)
        producer_id = self._producer_id
        batch = encode_batch(
            records,
            codec=self._codec,
            producer_id=producer_id,
            producer_epoch=self._producer_epoch,
            base_sequence=sequence,
        )
        try:
            produced = await self._client.produce(topic, partition, batch, acks=self._acks)
        except BaseException:
            # Nobody knows whether this batch was appended. Going on with its sequence could make the next batch look
            # like a duplicate of it, so the next one gets a producer id of its own.
            if self._producer_id == producer_id:
                self._producer_id = self._producer_epoch = -1
                self._sequences.clear()
            raise
        if self._is_idempotent and self._producer_id == producer_id:
            self._sequences[place] = (sequence + len(records)) % 2**31
        return produced

    async def _ensure_producer_id(self) -> None:
        async with self._id_lock:
            if self._producer_id >= 0:
                return
            # Without a transaction the time-out has no meaning, but must be sent.
            body = api("InitProducerId").request(transactional_id=None, transaction_timeout_ms=0x7FFFFFFF)

            async def attempt() -> None:
                answer = await (await self._client.any_connection()).request(api("InitProducerId"), body)
                if answer.error_code != Code.NONE:
                    raise ApiError(code_of(answer.error_code), "InitProducerId was refused")
                self._producer_id, self._producer_epoch = answer.producer_id, answer.producer_epoch

            await self._client.retrying(attempt)

    async def _choose_partition(self, topic: str, key: bytes | None) -> int:
        known = self._client.metadata.topics.get(topic)
        if known is None or not known.partitions:

            async def attempt() -> None:
                found = (await self._client.refresh_metadata([topic])).topics.get(topic)
                if found is None or not found.partitions:
                    code = found.error if found and found.error is not Code.NONE else Code.UNKNOWN_TOPIC_OR_PARTITION
                    raise ApiError(code, f"topic {topic}")

            await self._client.retrying(attempt)
            known = self._client.metadata.topics[topic]
        count = len(known.partitions)
        if key is not None:
            return (murmur2(key) & 0x7FFFFFFF) % count
        self._next_keyless += 1
        return (self._next_keyless - 1) % count


def murmur2(data: bytes) -> int:
    """The hash that Kafka's clients spread keys with, as an unsigned 32-bit number."""
    mask, factor = 0xFFFFFFFF, 0x5BD1E995
    value = (0x9747B28C ^ len(data)) & mask
    whole = len(data) & ~3
    for position in range(0, whole, 4):
        word = int.from_bytes(data[position : position + 4], "little") * factor & mask
        word = (word ^ word >> 24) * factor & mask
        value = value * factor & mask ^ word
    tail = data[whole:]
    if tail:
        value = (value ^ int.from_bytes(tail, "little")) * factor & mask
    value = (value ^ value >> 13) * factor & mask
    return value ^ value >> 15


def _wall_clock_ms() -> int:
    from time import time_ns

    return time_ns() // 1_000_000
