"""What a leader commits is synced on a majority of its voters: no acknowledgement before the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cluster.raft import effects as fx
from tests.sim.invariants import Invariant

if TYPE_CHECKING:
    from tests.sim.cluster import SimCluster, SimNode


class MajorityDurable(Invariant):
    def check(self, cluster: SimCluster, node: SimNode, effects: list[Any]) -> None:
        raft = node.raft
        assert raft is not None
        if not raft.is_leader or not any(isinstance(effect, fx.Committed) for effect in effects):
            return
        epoch = raft.log.end_of_epoch(raft.epoch)[0]
        holding = 0
        for voter_id in raft.voters.ids:
            disk = cluster.nodes[voter_id].disk
            if disk.synced_offset >= raft.high_watermark:
                holding += 1
        assert holding >= raft.voters.majority, f"{raft.high_watermark} of epoch {epoch} is durable on {holding} voters"
