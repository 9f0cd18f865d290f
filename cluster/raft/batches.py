"""Record batches of the metadata log, in Python: built for what a leader appends, read for what a follower fetches.

Only what Raft's own log and snapshots use: v2 batches without producer ids, uncompressed when written. The data plane
has the fast and complete implementation; this one serves a log of a few records per second, snapshots, and tests.
INVARIANT: reading raises MalformedMessage on anything that is not a whole, intact batch; a torn tail is not an error.
Source: PROTOCOL B.1, C.7, E.5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from struct import Struct

from cluster.raft import messages as msg
from cluster.raft.messages import Batch, ControlRecord, Endpoint, ReplicaKey, Voter
from pykafkacore.protocol import log_records as lr
from pykafkacore.protocol.types import MalformedMessage, decode_zigzag, encode_zigzag

HEADER_BYTES = 61
CONTROL_BIT = 0x20
CODEC_MASK = 0x07
_HEAD = Struct(">qiiBI")
_TAIL = Struct(">hiqqqhii")
_TAIL_AT = 21

Decompress = Callable[[int, bytes], bytes]
"""(codec number, payload) -> inflated records."""
Pairs = list[tuple[bytes | None, bytes | None]]
Split = Callable[[bytes], Pairs]
"""(a whole batch, known to be sound) -> keys and values of its records, or of those of them that are wanted."""

_crc_table: list[int] = []


def crc32c(data: bytes) -> int:
    """Castagnoli's CRC, byte by byte; a caller with the extension passes a faster one where it matters."""
    if not _crc_table:
        for index in range(256):
            value = index
            for _ in range(8):
                value = value >> 1 ^ 0x82F63B78 if value & 1 else value >> 1
            _crc_table.append(value)
    table = _crc_table
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


Crc = Callable[[bytes], int]


def encode_batch(batch: Batch, timestamp_ms: int, crc: Crc = crc32c) -> bytes:
    """The bytes of a batch that a leader appends: `records` with null keys, or `control`."""
    if batch.raw is not None:
        return batch.raw
    if batch.control:
        pairs = [encode_control(record) for record in batch.control if record is not None]
        return encode_records(batch.base_offset, batch.leader_epoch, pairs, timestamp_ms, True, crc)
    values = [(None, value) for value in batch.records]
    return encode_records(batch.base_offset, batch.leader_epoch, values, timestamp_ms, False, crc)


def encode_records(
    base_offset: int,
    leader_epoch: int,
    records: Sequence[tuple[bytes | None, bytes]],
    timestamp_ms: int,
    is_control: bool,
    crc: Crc = crc32c,
) -> bytes:
    body = bytearray()
    for index, (key, value) in enumerate(records):
        record = bytearray(b"\x00\x00")  # attributes, timestamp delta
        record += encode_zigzag(index)
        record += encode_zigzag(-1) if key is None else encode_zigzag(len(key)) + key
        record += encode_zigzag(len(value))
        record += value
        record += b"\x00"  # no headers
        body += encode_zigzag(len(record))
        body += record
    tail = _TAIL.pack(
        CONTROL_BIT if is_control else 0, len(records) - 1, timestamp_ms, timestamp_ms, -1, -1, -1, len(records)
    )
    checked = tail + bytes(body)
    length = HEADER_BYTES - 12 + len(body)
    return _HEAD.pack(base_offset, length, leader_epoch, 2, crc(checked)) + checked


def read_batches(
    data: bytes | memoryview,
    crc: Crc | None = crc32c,
    decompress: Decompress | None = None,
    split: Split | None = None,
) -> Iterator[tuple[Batch, Pairs, int]]:
    """(batch with its control records and raw bytes, its (key, value) pairs, its largest timestamp), one by one.

    Stops at a tail that is not a whole batch: a Fetch may end inside one. `split`: a faster way to the records.
    """
    view = memoryview(data)
    position = 0
    while len(view) - position >= HEADER_BYTES:
        base_offset, length, leader_epoch, magic, stored_crc = _HEAD.unpack_from(view, position)
        end = position + 12 + length
        if length < HEADER_BYTES - 12 or magic != 2 or base_offset < 0 or leader_epoch < 0:
            raise MalformedMessage(f"at byte {position}: no batch of magic 2 (length {length}, magic {magic})")
        if end > len(view):
            return
        raw = bytes(view[position:end])
        if crc is not None and crc(raw[_TAIL_AT:]) != stored_crc:
            raise MalformedMessage(f"the batch at offset {base_offset} fails its checksum")
        attributes, last_delta, _, max_timestamp, _, _, _, count = _TAIL.unpack_from(raw, _TAIL_AT)
        position = end
        if split is not None:
            pairs = split(raw)
            yield _batch(base_offset, last_delta, leader_epoch, attributes, pairs, raw), pairs, max_timestamp
            continue
        payload = raw[HEADER_BYTES:]
        codec = attributes & CODEC_MASK
        if codec:
            if decompress is None:
                raise MalformedMessage(f"the batch at offset {base_offset} is compressed with codec {codec}")
            payload = decompress(codec, payload)
        if count < 0 or count > len(payload) or last_delta < 0 or last_delta + 1 < count:
            raise MalformedMessage(f"the batch at offset {base_offset} claims {count} records")
        pairs = _read_records(payload, count, base_offset)
        yield _batch(base_offset, last_delta, leader_epoch, attributes, pairs, raw), pairs, max_timestamp


def _batch(base_offset: int, last_delta: int, leader_epoch: int, attributes: int, pairs: Pairs, raw: bytes) -> Batch:
    control = tuple(_read_control(pairs)) if attributes & CONTROL_BIT else ()
    values = () if attributes & CONTROL_BIT else tuple(value for _, value in pairs)
    return Batch(base_offset, base_offset + last_delta + 1, leader_epoch, values, control, raw)


def is_control(raw: bytes) -> bool:
    """Whether a whole batch has control records."""
    return bool(raw[_TAIL_AT + 1] & CONTROL_BIT)


def _read_records(payload: bytes, count: int, base_offset: int) -> Pairs:
    pairs: Pairs = []
    position = 0
    for _ in range(count):
        length, position = decode_zigzag(payload, position)
        end = position + length
        if length < 0 or end > len(payload):
            raise MalformedMessage(f"a record of the batch at offset {base_offset} does not fit in it")
        _, at = decode_zigzag(payload, position + 1)
        _, at = decode_zigzag(payload, at)
        key, at = _read_bytes(payload, at, end)
        value, at = _read_bytes(payload, at, end)
        pairs.append((key, value))
        position = end
    return pairs


def _read_bytes(payload: bytes, at: int, end: int) -> tuple[bytes | None, int]:
    length, at = decode_zigzag(payload, at)
    if length < 0:
        return None, at
    if at + length > end:
        raise MalformedMessage("a key or a value does not fit in its record")
    return payload[at : at + length], at + length


# --- control records -------------------------------------------------------------------------------------------------


def encode_control(record: ControlRecord) -> tuple[bytes, bytes]:
    if isinstance(record, msg.LeaderChange):
        # KAFKA: 4.4 still writes version 0, without directory ids.
        message = lr.LEADER_CHANGE_MESSAGE
        body = message(
            version=0,
            leader_id=record.leader_id,
            voters=[message.Voter(voter_id=each) for each in record.voter_ids],
            granting_voters=[message.Voter(voter_id=each) for each in record.granting_voter_ids],
        )
        return lr.encode_control_key(lr.CONTROL_LEADER_CHANGE), message.encode(body, 0)
    if isinstance(record, msg.KRaftVersion):
        message = lr.KRAFT_VERSION_RECORD
        body = message(version=0, kraft_version=record.kraft_version)
        return lr.encode_control_key(lr.CONTROL_KRAFT_VERSION), message.encode(body, 0)
    message = lr.VOTERS_RECORD
    voters = []
    for voter in record.voters:
        feature = message.KRaftVersionFeature(
            min_supported_version=voter.kraft_version_min, max_supported_version=voter.kraft_version_max
        )
        endpoints = [message.Endpoint(name=each.name, host=each.host, port=each.port) for each in voter.endpoints]
        voters.append(
            message.Voter(
                voter_id=voter.key.node_id,
                voter_directory_id=voter.key.directory_id,
                endpoints=endpoints,
                kraft_version_feature=feature,
            )
        )
    return lr.encode_control_key(lr.CONTROL_KRAFT_VOTERS), message.encode(message(version=0, voters=voters), 0)


def _read_control(pairs: list[tuple[bytes | None, bytes | None]]) -> Iterator[ControlRecord | None]:
    """One entry per record, so that positions stay; None for those (snapshot header, footer) that say nothing here."""
    for key, value in pairs:
        yield decode_control(key, value)


def decode_control(key: bytes | None, value: bytes | None) -> ControlRecord | None:
    if key is None or value is None:
        raise MalformedMessage("a control record without a key or a value")
    control_type = lr.decode_control_key(key)
    if control_type == lr.CONTROL_LEADER_CHANGE:
        version = min(int.from_bytes(value[:2], "big"), 1)
        body = lr.LEADER_CHANGE_MESSAGE.decode(value, version)
        return msg.LeaderChange(
            body.leader_id,
            tuple(each.voter_id for each in body.voters),
            tuple(each.voter_id for each in body.granting_voters),
        )
    if control_type == lr.CONTROL_KRAFT_VERSION:
        return msg.KRaftVersion(lr.KRAFT_VERSION_RECORD.decode(value, 0).kraft_version)
    if control_type == lr.CONTROL_KRAFT_VOTERS:
        return msg.Voters(tuple(_voter(each) for each in lr.VOTERS_RECORD.decode(value, 0).voters))
    if control_type in (lr.CONTROL_SNAPSHOT_HEADER, lr.CONTROL_SNAPSHOT_FOOTER):
        return None
    raise MalformedMessage(f"a control record of unknown type {control_type} in the metadata log")


def _voter(body: object) -> Voter:
    return Voter(
        ReplicaKey(body.voter_id, body.voter_directory_id),  # type: ignore[attr-defined]
        tuple(Endpoint(each.name, each.host, each.port) for each in body.endpoints),  # type: ignore[attr-defined]
        body.kraft_version_feature.min_supported_version,  # type: ignore[attr-defined]
        body.kraft_version_feature.max_supported_version,  # type: ignore[attr-defined]
    )
