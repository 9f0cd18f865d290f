"""Leader Completeness and State Machine Safety: a committed record is the same on all nodes, and all later leaders
hold it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cluster.raft import effects as fx
from tests.sim.invariants import Invariant

if TYPE_CHECKING:
    from tests.sim.cluster import SimCluster, SimNode


class CommittedNeverLost(Invariant):
    def __init__(self) -> None:
        self.committed: dict[int, tuple[int, Any]] = {}
        self.values: list[Any] = []
        self.applied_count: dict[int, int] = {}

    def on_start(self, cluster: SimCluster, node: SimNode) -> None:
        assert self.values[: len(node.values)] == node.values, "a snapshot says otherwise than what was committed"
        self.applied_count[node.node_id] = len(node.values)

    def check(self, cluster: SimCluster, node: SimNode, effects: list[Any]) -> None:
        assert node.raft is not None
        start = self.applied_count.get(node.node_id, 0)
        for index in range(start, len(node.values)):
            if index == len(self.values):
                self.values.append(node.values[index])
            known, applied = self.values[index], node.values[index]
            assert known == applied, f"value {index} was {known} and is {applied}"
        self.applied_count[node.node_id] = len(node.values)
        if any(isinstance(effect, fx.Committed) for effect in effects):
            for batch in node.disk.batches:
                if batch.end_offset <= node.raft.high_watermark:
                    entry = (batch.leader_epoch, (batch.records, batch.control))
                    known = self.committed.setdefault(batch.base_offset, entry)
                    assert known == entry, f"offset {batch.base_offset} was committed as {known} and as {entry}"
        if any(isinstance(effect, fx.BecameLeader) for effect in effects):
            held = {batch.base_offset: batch.leader_epoch for batch in node.disk.batches}
            for offset, (epoch, _) in self.committed.items():
                if offset >= node.disk.start_offset:
                    assert held.get(offset) == epoch, f"a new leader lacks the committed offset {offset}"
