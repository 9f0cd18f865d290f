"""`__cluster_metadata-0` on disk: the log, its snapshots, and quorum-state. What Raft's effects act on.

INVARIANT: quorum-state is fsynced and renamed into place before anything else is done.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from cluster.broker.storage import METADATA_DIR, METADATA_TOPIC_ID, StorageError, write_atomically
from cluster.metadata.apply import WorkingImage
from cluster.metadata.image import MetadataImage
from cluster.metadata.records import frame, unframe
from cluster.metadata.snapshot import image_records
from cluster.plane.native import LocalLog, crc32c, parse_batches
from cluster.raft.batches import Pairs, Split, encode_batch, is_control, read_batches
from cluster.raft.log_facts import LogFacts
from cluster.raft.messages import (
    BOOTSTRAP_SNAPSHOT,
    Batch,
    FetchSnapshotResponse,
    KRaftVersion,
    SnapshotId,
    Voters,
)
from cluster.raft.snapshot import ParsedSnapshot, build_snapshot, parse_snapshot, parse_snapshot_name, snapshot_name
from cluster.raft.state import QuorumState, build_quorum_state, parse_quorum_state
from cluster.raft.voters import VoterHistory, VoterSet
from pykafkacore.protocol.errors import Code

QUORUM_STATE = "quorum-state"
READ_BYTES = 8 * 1024 * 1024


def _split(raw: bytes) -> Pairs:
    return [(key, value) for _, _, key, value, _ in parse_batches(raw)[0]["records"]]


def _split_control(raw: bytes) -> Pairs:
    return _split(raw) if is_control(raw) else []


class MetadataLog:
    """Opened once at start; every method is called from the control plane's one thread."""

    def __init__(self, directory: Path, was_clean: bool, now_ms: int, segment_bytes: int, segment_ms: int) -> None:
        self.directory = directory / METADATA_DIR
        self.directory.mkdir(exist_ok=True)
        self.snapshot_id, self.snapshot = self._load_snapshot()
        start = self.snapshot_id.end_offset if self.snapshot_id else 0
        self.local = LocalLog(
            str(self.directory),
            METADATA_TOPIC_ID,
            clean=was_clean,
            now_ms=now_ms,
            segment_bytes=segment_bytes,
            segment_ms=segment_ms,
        )
        if self.local.log_end_offset < start:
            # The snapshot is ahead of what the log kept: it stands for all that is missing.
            self.local.start_at(start)

    def _load_snapshot(self) -> tuple[SnapshotId | None, ParsedSnapshot | None]:
        ids = [parse_snapshot_name(name) for name in os.listdir(self.directory)]
        for snapshot_id in sorted((each for each in ids if each is not None), reverse=True):
            path = self.directory / snapshot_name(snapshot_id)
            try:
                return snapshot_id, parse_snapshot(path.read_bytes(), crc=crc32c, decompress=_decompress)
            except ValueError as error:
                if snapshot_id == BOOTSTRAP_SNAPSHOT:
                    raise StorageError(f"{path} is not a whole snapshot: {error}") from None
        return None, None

    # --- what Raft starts from ----------------------------------------------------------------------------------------

    def facts(self) -> LogFacts:
        local, snapshot_id = self.local, self.snapshot_id
        facts = LogFacts(
            start_offset=local.log_start_offset,
            end_offset=local.log_end_offset,
            flushed_offset=local.log_end_offset,
            epochs=[(epoch, max(offset, local.log_start_offset)) for epoch, offset in local.epochs],
            snapshot_id=snapshot_id,
        )
        if snapshot_id is not None and local.log_start_offset:
            facts.start_epoch = snapshot_id.leader_epoch
        return facts

    def history(self, configured: VoterSet) -> VoterHistory:
        """Voters by the snapshot, then by the log's control records; else those that the configuration names."""
        snapshot = self.snapshot
        if snapshot is not None and snapshot.voters:
            history = VoterHistory(VoterSet(snapshot.voters), snapshot.kraft_version or 0)
        else:
            history = VoterHistory(configured, 0)
        for batch in self.read(self.local.log_start_offset, self.local.log_end_offset, _split_control):
            for at, record in enumerate(batch.control):
                offset = batch.base_offset + at
                if isinstance(record, Voters):
                    history.add_voters(offset, VoterSet(record.voters))
                elif isinstance(record, KRaftVersion):
                    history.add_kraft_version(offset, record.kraft_version)
        return history

    def quorum_state(self) -> QuorumState:
        try:
            return parse_quorum_state((self.directory / QUORUM_STATE).read_text())
        except FileNotFoundError:
            return QuorumState()

    def image(self) -> WorkingImage:
        """The snapshot's image, on which the log is to be applied."""
        working = WorkingImage()
        snapshot_id, snapshot = self.snapshot_id, self.snapshot
        if snapshot_id is None or snapshot is None or snapshot_id == BOOTSTRAP_SNAPSHOT:
            return working
        for value in snapshot.records:
            working.apply(0, unframe(value))
        working.skip(snapshot_id.end_offset, snapshot_id.leader_epoch)
        return working

    def bootstrap(self) -> list:
        """The first records of a new cluster, as formatting chose them."""
        if self.snapshot_id == BOOTSTRAP_SNAPSHOT and self.snapshot is not None:
            return [unframe(value) for value in self.snapshot.records]
        return []

    # --- effects ------------------------------------------------------------------------------------------------------

    def persist(self, state: QuorumState, kraft_version: int, voter_ids: tuple[int, ...]) -> None:
        write_atomically(self.directory / QUORUM_STATE, build_quorum_state(state, kraft_version, voter_ids).encode())

    def append(self, batch: Batch, now_ms: int) -> None:
        self.local.append(encode_batch(batch, now_ms, crc=crc32c), now_ms)

    def truncate(self, end_offset: int) -> None:
        self.local.truncate_to(end_offset)

    def read(self, start: int, end: int, split: Split = _split) -> Iterator[Batch]:
        """Batches from `start` up to `end` (both at batch boundaries)."""
        while start < end:
            data = self.local.read(start, READ_BYTES)
            if not data:
                return
            for batch, _, _ in read_batches(data, crc=None, split=split):
                if batch.base_offset >= end:
                    return
                start = batch.end_offset
                yield batch

    def write_snapshot(
        self, image: MetadataImage, kraft_version: int, voters: VoterSet, timestamp_ms: int, now_ms: int
    ) -> SnapshotId:
        """Writes the committed image as a snapshot and drops snapshots and segments that it replaces."""
        snapshot_id = SnapshotId(image.offset, image.leader_epoch)
        body = build_snapshot(
            snapshot_id, timestamp_ms, kraft_version, voters.voters, map(frame, image_records(image)), now_ms, crc=crc32c
        )
        write_atomically(self.directory / snapshot_name(snapshot_id), body)
        self.snapshot_id, self.snapshot = snapshot_id, None
        for name in os.listdir(self.directory):
            other = parse_snapshot_name(name)
            if other is not None and other < snapshot_id:
                (self.directory / name).unlink()
        self.local.delete_before(snapshot_id.end_offset)
        return snapshot_id

    # --- snapshots to and from other nodes ------------------------------------------------------------------------------

    def fill_snapshot(self, answer: FetchSnapshotResponse) -> FetchSnapshotResponse:
        """The bytes that a follower asked for, or the error that says why not."""
        if answer.error or answer.snapshot_id is None:
            return answer
        path = self.directory / snapshot_name(answer.snapshot_id)
        try:
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if not 0 <= answer.position < size:
                    return replace(answer, error=int(Code.POSITION_OUT_OF_RANGE))
                file.seek(answer.position)
                return replace(answer, size=size, data=file.read(max(1, answer.max_bytes)))
        except FileNotFoundError:
            return replace(answer, error=int(Code.SNAPSHOT_NOT_FOUND))

    def _part(self, snapshot_id: SnapshotId) -> Path:
        return self.directory / (snapshot_name(snapshot_id) + ".part")

    def write_chunk(self, snapshot_id: SnapshotId, position: int, data: bytes) -> None:
        with open(self._part(snapshot_id), "wb" if position == 0 else "r+b") as file:
            file.seek(position)
            file.write(data)

    def load_chunks(self, snapshot_id: SnapshotId) -> ParsedSnapshot | None:
        """The downloaded snapshot takes the log's place; None if it is not whole, and nothing has changed."""
        part = self._part(snapshot_id)
        data = part.read_bytes()
        try:
            snapshot = parse_snapshot(data, crc=crc32c, decompress=_decompress)
        except ValueError:
            part.unlink()
            return None
        write_atomically(self.directory / snapshot_name(snapshot_id), data)
        part.unlink()
        self.snapshot_id, self.snapshot = snapshot_id, snapshot
        self.local.start_at(snapshot_id.end_offset)
        return snapshot

    def close(self, now_ms: int) -> None:
        self.local.close(now_ms)


def _decompress(codec: int, payload: bytes) -> bytes:
    from pykafkacore.client.codecs import Codec, decompress

    return decompress(Codec(codec), payload)
