"""A node gives one vote in an epoch, and remembers it through crashes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cluster.raft import effects as fx
from tests.sim.invariants import Invariant

if TYPE_CHECKING:
    from tests.sim.cluster import SimCluster, SimNode


class VoteOnce(Invariant):
    def __init__(self) -> None:
        self.votes: dict[tuple[int, int], Any] = {}

    def check(self, cluster: SimCluster, node: SimNode, effects: list[Any]) -> None:
        for effect in effects:
            if isinstance(effect, fx.PersistQuorumState) and effect.state.voted is not None:
                key = (node.node_id, effect.state.leader_epoch)
                voted = self.votes.setdefault(key, effect.state.voted)
                assert voted == effect.state.voted, f"in epoch {key[1]} it voted for {voted} and {effect.state.voted}"
