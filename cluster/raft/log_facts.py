"""What Raft knows of the log: its ends, what of it is durable, and where each leader epoch starts. No bytes, no I/O.

INVARIANT: start_offset <= flushed_offset <= end_offset, except that a truncation or a loaded snapshot moves all three.
INVARIANT: epochs rise strictly, and so do their start offsets.
"""

from __future__ import annotations

from bisect import bisect_right

from msgspec import Struct, field

from cluster.raft.messages import BOOTSTRAP_SNAPSHOT, Batch, SnapshotId


class LogFacts(Struct):
    start_offset: int = 0
    end_offset: int = 0
    flushed_offset: int = 0
    epochs: list[tuple[int, int]] = field(default_factory=list)
    """(leader epoch, its start offset) in rising order."""
    snapshot_id: SnapshotId | None = None
    """The latest snapshot. Where the log starts above 0, it is the one that the log starts at, or a later one."""
    truncation_count: int = 0
    """Truncations and loaded snapshots so far: tells late reports of a flush from fresh ones."""
    start_epoch: int = 0
    """The leader epoch of the record just below `start_offset`; 0 where the log starts at 0."""

    @property
    def last_epoch(self) -> int:
        """The leader epoch of the last record; of the snapshot that an empty log starts at; 0 without either."""
        return self.epochs[-1][0] if self.epochs else self.start_epoch

    def append(self, batch: Batch) -> None:
        assert batch.base_offset == self.end_offset < batch.end_offset, (batch, self.end_offset)
        assert batch.leader_epoch >= self.last_epoch, (batch, self.last_epoch)
        if not self.epochs or self.epochs[-1][0] != batch.leader_epoch:
            self.epochs.append((batch.leader_epoch, batch.base_offset))
        self.end_offset = batch.end_offset

    def truncate(self, end_offset: int) -> None:
        assert self.start_offset <= end_offset <= self.end_offset, (end_offset, self)
        self.truncation_count += 1
        self.end_offset = end_offset
        self.flushed_offset = min(self.flushed_offset, end_offset)
        while self.epochs and self.epochs[-1][1] >= end_offset:
            self.epochs.pop()

    def restart_at(self, snapshot_id: SnapshotId) -> None:
        """The log is gone; a snapshot stands in its place."""
        self.start_offset = self.end_offset = self.flushed_offset = snapshot_id.end_offset
        self.truncation_count += 1
        self.epochs = []
        self.snapshot_id = snapshot_id
        self.start_epoch = snapshot_id.leader_epoch

    def cut_start(self, start_offset: int) -> None:
        """Records below a snapshot's end are no longer kept."""
        assert self.start_offset <= start_offset <= self.end_offset, (start_offset, self)
        while self.epochs and self.epochs[0][1] < start_offset:
            self.start_epoch = self.epochs[0][0]
            next_start = self.epochs[1][1] if len(self.epochs) > 1 else self.end_offset
            if next_start > start_offset:
                self.epochs[0] = (self.start_epoch, start_offset)
                break
            del self.epochs[0]
        self.start_offset = start_offset

    def end_of_epoch(self, leader_epoch: int) -> tuple[int, int]:
        """The largest epoch here that is <= `leader_epoch`, and where it ends (exclusive).

        Below everything known: the epoch just below the log's start, which ends where the first known one starts.
        """
        index = bisect_right(self.epochs, leader_epoch, key=lambda entry: entry[0]) - 1
        if index < 0:
            return min(self.start_epoch, leader_epoch), self.epochs[0][1] if self.epochs else self.end_offset
        end_offset = self.epochs[index + 1][1] if index + 1 < len(self.epochs) else self.end_offset
        return self.epochs[index][0], end_offset

    def admits(self, last_epoch: int, last_offset: int) -> bool:
        """Whether a log that ends with (`last_epoch`, `last_offset`) lacks nothing of this one: it may lead."""
        return (last_epoch, last_offset) >= (self.last_epoch, self.end_offset)

    def snapshot_for(self, fetch_offset: int, last_fetched_epoch: int) -> SnapshotId | None:
        """The snapshot that a replica must take before it can follow from `fetch_offset`, if any."""
        snapshot_id = self.snapshot_id
        if snapshot_id is None or snapshot_id == BOOTSTRAP_SNAPSHOT:
            return None
        if fetch_offset == 0 or fetch_offset < self.start_offset or last_fetched_epoch < self.start_epoch:
            return snapshot_id
        if fetch_offset == self.start_offset > 0 and last_fetched_epoch != self.start_epoch:
            return snapshot_id
        return None
