"""After every step the quorum state on the disk is the one in memory: nothing was told that a crash could take back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cluster.raft.state import QuorumState
from tests.sim.invariants import Invariant

if TYPE_CHECKING:
    from tests.sim.cluster import SimCluster, SimNode


class DurableState(Invariant):
    def check(self, cluster: SimCluster, node: SimNode, effects: list[Any]) -> None:
        assert node.raft is not None
        known = QuorumState(node.raft.epoch, node.raft.leader_id, node.raft.voted)
        assert node.disk.quorum_state == known, f"on disk {node.disk.quorum_state}, in memory {known}"
