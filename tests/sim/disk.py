"""A simulated disk of one Raft node: what was synced survives a crash, of the rest any prefix may."""

from __future__ import annotations

from random import Random
from typing import Any

from cluster.raft.log_facts import LogFacts
from cluster.raft.messages import Batch, KRaftVersion, SnapshotId, Voters
from cluster.raft.state import QuorumState
from cluster.raft.voters import VoterHistory, VoterSet


class SimSnapshot:
    def __init__(self, snapshot_id: SnapshotId, kraft_version: int, voters: VoterSet, values: tuple[Any, ...]) -> None:
        self.snapshot_id = snapshot_id
        self.kraft_version = kraft_version
        self.voters = voters
        self.values = values

    @property
    def size(self) -> int:
        return 10 + len(self.values)


class SimDisk:
    def __init__(self, voters: VoterSet, kraft_version: int) -> None:
        self.quorum_state = QuorumState()
        self.batches: list[Batch] = []
        self.start_offset = 0
        self.start_epoch = 0
        self.synced_offset = 0
        self.snapshot: SimSnapshot | None = None
        self.first_voters = voters
        self.first_kraft_version = kraft_version

    @property
    def end_offset(self) -> int:
        return self.batches[-1].end_offset if self.batches else self.start_offset

    def append(self, batches: tuple[Batch, ...]) -> None:
        for batch in batches:
            assert batch.base_offset == self.end_offset
            self.batches.append(batch)

    def truncate(self, end_offset: int) -> None:
        kept = [batch for batch in self.batches if batch.end_offset <= end_offset]
        assert (kept[-1].end_offset if kept else self.start_offset) == end_offset, "cut within a batch"
        self.batches = kept
        self.synced_offset = min(self.synced_offset, end_offset)

    def read(self, offset: int, limit: int) -> tuple[Batch, ...]:
        return tuple(batch for batch in self.batches if batch.base_offset >= offset)[:limit]

    def sync(self, end_offset: int) -> None:
        self.synced_offset = max(self.synced_offset, min(end_offset, self.end_offset))

    def crash(self, random: Random) -> None:
        unsynced = [batch for batch in self.batches if batch.end_offset > self.synced_offset]
        keep = random.randrange(len(unsynced) + 1)
        self.batches = [batch for batch in self.batches if batch.end_offset <= self.synced_offset] + unsynced[:keep]
        # Recovery syncs what it found.
        self.synced_offset = self.end_offset

    def take_snapshot(self, snapshot: SimSnapshot, start_offset: int) -> None:
        self.snapshot = snapshot
        self.cut(start_offset)

    def cut(self, start_offset: int) -> None:
        for batch in self.batches:
            if batch.end_offset <= start_offset:
                self.start_epoch = batch.leader_epoch
        self.batches = [batch for batch in self.batches if batch.end_offset > start_offset]
        self.start_offset = max(self.start_offset, start_offset)

    def install(self, snapshot: SimSnapshot) -> None:
        self.snapshot = snapshot
        self.batches = []
        self.start_offset = self.synced_offset = snapshot.snapshot_id.end_offset
        self.start_epoch = snapshot.snapshot_id.leader_epoch

    def load(self) -> tuple[LogFacts, VoterHistory]:
        facts = LogFacts(
            self.start_offset,
            self.start_offset,
            self.start_offset,
            [],
            self.snapshot.snapshot_id if self.snapshot else None,
            start_epoch=self.start_epoch,
        )
        if self.snapshot is not None:
            offset = self.snapshot.snapshot_id.end_offset - 1
            history = VoterHistory(self.snapshot.voters, self.snapshot.kraft_version, offset)
        else:
            offset = -1
            history = VoterHistory(self.first_voters, self.first_kraft_version)
        for batch in self.batches:
            facts.append(batch)
            for index, record in enumerate(batch.control):
                if batch.base_offset + index <= offset:
                    continue
                if isinstance(record, Voters):
                    history.add_voters(batch.base_offset + index, VoterSet(record.voters))
                elif isinstance(record, KRaftVersion):
                    history.add_kraft_version(batch.base_offset + index, record.kraft_version)
        facts.flushed_offset = facts.end_offset
        return facts, history
