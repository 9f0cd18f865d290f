"""The body of a snapshot (`<end offset>-<epoch>.checkpoint`): built from records, parsed back. No file, no I/O.

    control batch: SnapshotHeader, and under kraft.version >= 1 KRaftVersion and Voters
    data batches:  framed metadata records, offsets counting from 0 within the file, leader epoch that of the snapshot
    control batch: SnapshotFooter

INVARIANT: header first and footer last, or the file is bad as a whole; a torn file is never read in part.
Source: PROTOCOL C.7, KIP-630, KIP-853.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from cluster.raft import messages as msg
from cluster.raft.batches import Crc, Decompress, crc32c, encode_control, encode_records, read_batches
from cluster.raft.messages import SnapshotId, Voter
from pykafkacore.protocol import log_records as lr
from pykafkacore.protocol.types import MalformedMessage

RECORDS_PER_BATCH = 1024


def snapshot_name(snapshot_id: SnapshotId) -> str:
    return f"{snapshot_id.end_offset:020d}-{snapshot_id.leader_epoch:010d}.checkpoint"


def parse_snapshot_name(name: str) -> SnapshotId | None:
    """The id that a file name says, or None for any other file (`.part` and `.deleted` ones among them)."""
    stem, _, suffix = name.partition(".")
    offset, _, epoch = stem.partition("-")
    if suffix != "checkpoint" or len(offset) != 20 or len(epoch) != 10:
        return None
    if not (offset.isascii() and offset.isdigit() and epoch.isascii() and epoch.isdigit()):
        return None
    return SnapshotId(int(offset), int(epoch))


def build_snapshot(
    snapshot_id: SnapshotId,
    last_contained_log_timestamp_ms: int,
    kraft_version: int,
    voters: tuple[Voter, ...],
    records: Iterable[bytes],
    timestamp_ms: int,
    crc: Crc = crc32c,
) -> Iterator[bytes]:
    """The file's bytes, batch by batch."""
    epoch = snapshot_id.leader_epoch
    header = lr.SNAPSHOT_HEADER_RECORD(version=0, last_contained_log_timestamp=last_contained_log_timestamp_ms)
    first = [(lr.encode_control_key(lr.CONTROL_SNAPSHOT_HEADER), lr.SNAPSHOT_HEADER_RECORD.encode(header, 0))]
    if kraft_version >= 1:
        first.append(encode_control(msg.KRaftVersion(kraft_version)))
        first.append(encode_control(msg.Voters(voters)))
    yield encode_records(0, epoch, first, timestamp_ms, True, crc)
    offset = len(first)
    pending: list[tuple[bytes | None, bytes]] = []
    for record in records:
        pending.append((None, record))
        if len(pending) == RECORDS_PER_BATCH:
            yield encode_records(offset, epoch, pending, timestamp_ms, False, crc)
            offset += len(pending)
            pending = []
    if pending:
        yield encode_records(offset, epoch, pending, timestamp_ms, False, crc)
        offset += len(pending)
    footer = lr.SNAPSHOT_FOOTER_RECORD.encode(lr.SNAPSHOT_FOOTER_RECORD(version=0), 0)
    last = [(lr.encode_control_key(lr.CONTROL_SNAPSHOT_FOOTER), footer)]
    yield encode_records(offset, epoch, last, timestamp_ms, True, crc)


class ParsedSnapshot(Struct, frozen=True):
    last_contained_log_timestamp_ms: int
    kraft_version: int | None
    voters: tuple[Voter, ...] | None
    records: tuple[bytes, ...]


def parse_snapshot(data: bytes, crc: Crc | None = crc32c, decompress: Decompress | None = None) -> ParsedSnapshot:
    timestamp_ms: int | None = None
    kraft_version: int | None = None
    voters: tuple[Voter, ...] | None = None
    records: list[bytes] = []
    is_complete = False
    size = 0
    for batch, pairs, _ in read_batches(data, crc, decompress):
        size += len(batch.raw)
        if is_complete:
            raise MalformedMessage("a snapshot goes on after its footer")
        if timestamp_ms is None:
            timestamp_ms = _header_timestamp(pairs)
        for record in batch.control:
            if isinstance(record, msg.KRaftVersion):
                kraft_version = record.kraft_version
            elif isinstance(record, msg.Voters):
                voters = record.voters
        if not batch.control:
            for _, value in pairs:
                if value is None:
                    raise MalformedMessage("a snapshot holds a record without a value")
                records.append(value)
        elif any(key and lr.decode_control_key(key) == lr.CONTROL_SNAPSHOT_FOOTER for key, _ in pairs):
            is_complete = True
    if timestamp_ms is None or not is_complete or size != len(data):
        raise MalformedMessage("a snapshot that lacks its header or its footer, or is torn")
    return ParsedSnapshot(timestamp_ms, kraft_version, voters, tuple(records))


def _header_timestamp(pairs: list[tuple[bytes | None, bytes | None]]) -> int:
    key, value = pairs[0] if pairs else (None, None)
    if key is None or value is None or lr.decode_control_key(key) != lr.CONTROL_SNAPSHOT_HEADER:
        raise MalformedMessage("a snapshot does not begin with its header")
    return lr.SNAPSHOT_HEADER_RECORD.decode(value, 0).last_contained_log_timestamp
