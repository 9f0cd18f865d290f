"""Record batches (magic 2) in Python: what the client sends and reads.

What it is: one encoder, one strict decoder. Pure.
What it is not: the broker's view of batches, which is the data plane's, and not fast.
Layout: PROTOCOL of the project, record batch v2; the CRC-32C covers everything from the attributes on.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from msgspec import Struct, field

from pykafkacore.client.codecs import INFLATED_BYTES_MAX, Codec, CodecError, compress, decompress
from pykafkacore.protocol.types import MalformedMessage, decode_zigzag, encode_zigzag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# base offset, batch length, leader epoch, magic, crc | attributes, last offset delta, base and max timestamp,
# producer id, epoch, base sequence, record count
_PREFIX = struct.Struct(">qiibI")
_REST = struct.Struct(">hiqqqhii")
_BATCH_OVERHEAD_BYTES = 12
_HEADER_BYTES = _PREFIX.size + _REST.size

_TIMESTAMP_IS_APPEND_TIME = 0x08
_IS_TRANSACTIONAL = 0x10
_IS_CONTROL = 0x20


class Record(Struct, frozen=True):
    """A record. The offset is meaningful only in what was read, the timestamp -1 when the batch has none."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp_ms: int = -1
    offset: int = -1


class Batch(Struct, frozen=True):
    """A batch that was read, with its records inflated."""

    base_offset: int
    last_offset: int
    leader_epoch: int
    codec: Codec
    is_append_time: bool
    is_transactional: bool
    is_control: bool
    max_timestamp_ms: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    records: list[Record] = field(default_factory=list)


def encode_batch(
    records: Sequence[Record],
    *,
    codec: Codec = Codec.NONE,
    base_offset: int = 0,
    leader_epoch: int = -1,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    is_transactional: bool = False,
) -> bytes:
    """One batch of all `records`, at consecutive offsets."""
    if not records:
        raise ValueError("a batch needs at least one record")
    base_timestamp_ms = records[0].timestamp_ms
    payload = b"".join(
        _encode_record(record, delta, record.timestamp_ms - base_timestamp_ms) for delta, record in enumerate(records)
    )
    rest = _REST.pack(
        int(codec) | (_IS_TRANSACTIONAL if is_transactional else 0),
        len(records) - 1,
        base_timestamp_ms,
        max(record.timestamp_ms for record in records),
        producer_id,
        producer_epoch,
        base_sequence,
        len(records),
    ) + compress(codec, payload)
    length = _PREFIX.size - _BATCH_OVERHEAD_BYTES + len(rest)
    return _PREFIX.pack(base_offset, length, leader_epoch, 2, crc32c(rest)) + rest


def _encode_record(record: Record, offset_delta: int, timestamp_delta: int) -> bytes:
    parts = [b"\0", encode_zigzag(timestamp_delta), encode_zigzag(offset_delta)]
    for data in (record.key, record.value):
        parts += (b"\x01",) if data is None else (encode_zigzag(len(data)), data)
    parts.append(encode_zigzag(len(record.headers)))
    for name, value in record.headers:
        encoded = name.encode("utf-8", "surrogateescape")
        parts += (encode_zigzag(len(encoded)), encoded)
        parts += (b"\x01",) if value is None else (encode_zigzag(len(value)), value)
    body = b"".join(parts)
    return encode_zigzag(len(body)) + body


def decode_batches(data: bytes | memoryview, inflated_bytes_max: int = INFLATED_BYTES_MAX) -> Iterator[Batch]:
    """The batches in `data`. A cut batch at the end is left out: old brokers end a fetch response so."""
    data = bytes(data)
    position = 0
    while len(data) - position >= _BATCH_OVERHEAD_BYTES:
        length = int.from_bytes(data[position + 8 : position + 12], "big", signed=True)
        end = position + _BATCH_OVERHEAD_BYTES + length
        if end > len(data):
            return
        if length < _HEADER_BYTES - _BATCH_OVERHEAD_BYTES:
            raise MalformedMessage(f"a batch at byte {position} has the length {length}, too short for its header")
        yield _decode_batch(data[position:end], inflated_bytes_max)
        position = end


def _decode_batch(data: bytes, inflated_bytes_max: int) -> Batch:
    base_offset, _, leader_epoch, magic, crc = _PREFIX.unpack_from(data)
    if magic != 2:
        raise MalformedMessage(f"the batch at offset {base_offset} has magic {magic}; only 2 is read")
    if crc != crc32c(data[_PREFIX.size :]):
        raise MalformedMessage(f"the batch at offset {base_offset} does not have the CRC that it claims")
    (
        attributes, last_delta, base_timestamp, max_timestamp, producer_id, producer_epoch, base_sequence, count,
    ) = _REST.unpack_from(data, _PREFIX.size)  # fmt: skip
    is_append_time = bool(attributes & _TIMESTAMP_IS_APPEND_TIME)
    try:
        codec = Codec(attributes & 7)
        payload = decompress(codec, data[_HEADER_BYTES:], inflated_bytes_max)
    except CodecError as error:
        raise MalformedMessage(f"the batch at offset {base_offset}: {error}") from None
    except ValueError:
        raise MalformedMessage(f"the batch at offset {base_offset} has the unknown codec {attributes & 7}") from None
    batch = Batch(
        base_offset=base_offset,
        last_offset=base_offset + last_delta,
        leader_epoch=leader_epoch,
        codec=codec,
        is_append_time=is_append_time,
        is_transactional=bool(attributes & _IS_TRANSACTIONAL),
        is_control=bool(attributes & _IS_CONTROL),
        max_timestamp_ms=max_timestamp,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=base_sequence,
    )
    position = 0
    for _ in range(count):
        record, position = _decode_record(
            payload, position, base_offset, base_timestamp, max_timestamp if is_append_time else None
        )
        batch.records.append(record)
    if position != len(payload):
        raise MalformedMessage(f"the batch at offset {base_offset} has {len(payload) - position} surplus bytes")
    return batch


def _decode_record(
    data: bytes, position: int, base_offset: int, base_timestamp_ms: int, append_time_ms: int | None
) -> tuple[Record, int]:
    length, position = decode_zigzag(data, position)
    end = position + length
    if length < 1 or end > len(data):
        raise MalformedMessage("a record has a length that does not fit its batch")
    timestamp_delta, position = decode_zigzag(data, position + 1)
    offset_delta, position = decode_zigzag(data, position)
    key, position = _decode_bytes(data, position, end)
    value, position = _decode_bytes(data, position, end)
    header_count, position = decode_zigzag(data, position)
    if not 0 <= header_count <= end - position:
        raise MalformedMessage("a record has more headers than bytes")
    headers = []
    for _ in range(header_count):
        name, position = _decode_bytes(data, position, end)
        if name is None:
            raise MalformedMessage("a record has a header without a name")
        content, position = _decode_bytes(data, position, end)
        headers.append((name.decode("utf-8", "surrogateescape"), content))
    if position != end:
        raise MalformedMessage("a record does not end where it says")
    timestamp_ms = base_timestamp_ms + timestamp_delta if append_time_ms is None else append_time_ms
    return Record(value, key, tuple(headers), timestamp_ms, base_offset + offset_delta), end


def _decode_bytes(data: bytes, position: int, end: int) -> tuple[bytes | None, int]:
    length, position = decode_zigzag(data, position)
    if length < 0:
        return None, position
    if position + length > end:
        raise MalformedMessage("a record has a field that is longer than the record")
    return data[position : position + length], position + length


# ---- CRC-32C


def _make_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE: list[int] = []


def _crc32c_in_python(data: bytes) -> int:
    if not _TABLE:
        _TABLE.extend(_make_table())
    table, crc = _TABLE, 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


_crc32c: Callable[[bytes], int] = _crc32c_in_python


def crc32c(data: bytes) -> int:
    """Castagnoli's CRC."""
    return _crc32c(data)


def use_crc32c(function: Callable[[bytes], int]) -> None:
    """Let a faster implementation, such as the extension's, do it from now on."""
    global _crc32c
    if function(b"123456789") != 0xE3069283:
        raise ValueError("this function does not compute CRC-32C")
    _crc32c = function
