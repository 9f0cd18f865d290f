"""Election Safety: an epoch has one leader, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cluster.raft import effects as fx
from tests.sim.invariants import Invariant

if TYPE_CHECKING:
    from tests.sim.cluster import SimCluster, SimNode


class SingleLeader(Invariant):
    def __init__(self) -> None:
        self.leader_of: dict[int, int] = {}

    def check(self, cluster: SimCluster, node: SimNode, effects: list[Any]) -> None:
        for effect in effects:
            if isinstance(effect, fx.BecameLeader):
                other = self.leader_of.setdefault(effect.leader_epoch, node.node_id)
                assert other == node.node_id, f"epoch {effect.leader_epoch} is led by {other} and {node.node_id}"
