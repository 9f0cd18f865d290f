"""Record batches, good and bad, with fixed clocks: what a producer may send and what it may not."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from pykafkacore import _core

AT = 1_790_000_000_000  # of the first record; each next one is a second later
LENGTH, EPOCH, MAGIC, CRC, ATTRIBUTES, LAST_DELTA, BASE_TIME, MAX_TIME, PRODUCER, PRODUCER_EPOCH, SEQUENCE, COUNT, RECORDS = (
    8, 12, 16, 17, 21, 23, 27, 35, 43, 51, 53, 57, 61,
)  # fmt: skip


def good(count: int = 3, *, key: bytes | None = None, size: int = 10, at: int = AT, **facts: Any) -> bytes:
    records = [(at + 1000 * i, key, b"v" * size, [(b"h", b"1"), (b"n", None)]) for i in range(count)]
    return _core.build_batch(records, **facts)


def sealed(batch: bytes) -> bytes:
    """With its checksum made right again."""
    return batch[:CRC] + struct.pack(">I", _core.crc32c(batch[ATTRIBUTES:])) + batch[ATTRIBUTES:]


def put(batch: bytes, offset: int, layout: str, value: int, seal: bool = True) -> bytes:
    data = bytearray(batch)
    struct.pack_into(layout, data, offset, value)
    return sealed(bytes(data)) if seal else bytes(data)


def with_records(records: bytes, count: int, attributes: int = 0) -> bytes:
    """A batch around a body that is written by hand."""
    head = good(1)[:RECORDS]
    data = put(head, LENGTH, ">i", RECORDS - 12 + len(records), seal=False) + records
    data = put(put(data, COUNT, ">i", count), LAST_DELTA, ">i", count - 1)
    return put(data, ATTRIBUTES, ">h", attributes)


def variants() -> Iterator[tuple[str, bytes]]:
    """(what it is, bytes)"""
    batch = good()
    for codec, name in enumerate(("none", "gzip", "snappy", "lz4", "zstd")):
        yield f"codec {name}", good(codec=codec)
    yield "large", good(1, size=1_100_000)
    yield "two batches", batch + batch
    yield "bytes after it", batch + bytes(10)
    yield "cut", batch[:-1]
    yield "cut in its header", batch[:40]
    yield "length too small", put(batch, LENGTH, ">i", 10, seal=False)
    yield "length too large", put(batch, LENGTH, ">i", len(batch), seal=False)
    yield "length negative", put(batch, LENGTH, ">i", -5, seal=False)
    yield "wrong checksum", put(batch, CRC, ">I", 1, seal=False)
    for magic in (0, 1, 3, -1):
        yield f"magic {magic}", put(batch, MAGIC, ">b", magic)
    yield "base offset 5", put(batch, 0, ">q", 5)
    yield "leader epoch 5", put(batch, EPOCH, ">i", 5)
    yield "count 0", put(batch, COUNT, ">i", 0)
    yield "count negative", put(batch, COUNT, ">i", -3)
    yield "count too small", put(batch, COUNT, ">i", 2)
    yield "count too large", put(batch, COUNT, ">i", 4)
    yield "count and last offset too large", put(put(batch, COUNT, ">i", 4), LAST_DELTA, ">i", 3)
    yield "last offset too large", put(batch, LAST_DELTA, ">i", 9)
    yield "last offset negative", put(batch, LAST_DELTA, ">i", -1)
    yield "control", put(batch, ATTRIBUTES, ">h", 32)
    yield "transactional", put(batch, ATTRIBUTES, ">h", 16)
    yield "log append time", put(batch, ATTRIBUTES, ">h", 8)
    yield "delete horizon", put(batch, ATTRIBUTES, ">h", 64)
    yield "unknown attribute", put(batch, ATTRIBUTES, ">h", 256)
    yield "codec 5", put(batch, ATTRIBUTES, ">h", 5)
    yield "codec 7", put(batch, ATTRIBUTES, ">h", 7)
    for codec, name in ((1, "gzip"), (2, "snappy"), (3, "lz4"), (4, "zstd")):
        yield f"{name} without compression", put(batch, ATTRIBUTES, ">h", codec)
        yield f"{name} empty", with_records(b"", 1, codec)
    yield "no records", with_records(b"", 1)
    yield "record of length 0", with_records(b"\0", 1)
    yield "record of negative length", with_records(b"\x09", 1)
    yield "record longer than the batch", with_records(b"\x7e\0\0\0\0\0\0", 1)
    yield "record with a bad key length", with_records(b"\x0e\0\0\0\x05\x01\x00\x00", 1)
    yield "record with bytes left", with_records(b"\x10\0\0\0\x01\x01\x00\0\0", 1)
    yield "record with negative headers", with_records(b"\x0c\0\0\0\x01\x01\x01", 1)
    yield "record without a key and value", with_records(b"\x0c\0\0\0\x01\x01\x00", 1)
    yield "timestamp -2", put(batch, BASE_TIME, ">q", -2)
    yield "timestamp far ahead", good(at=AT * 2)
    yield "timestamp 0", good(at=0)
    yield "wrong largest timestamp", put(batch, MAX_TIME, ">q", 5)
    yield "producer without sequence", put(put(batch, PRODUCER, ">q", 70), PRODUCER_EPOCH, ">h", 0)
    yield "producer without epoch", put(put(batch, PRODUCER, ">q", 71), SEQUENCE, ">i", 0)
    yield "producer -2", put(batch, PRODUCER, ">q", -2)
    yield "sequence without producer", put(batch, SEQUENCE, ">i", 0)
