"""Epochs never go back, not even across crashes; high watermarks never within a life."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.sim.invariants import Invariant

if TYPE_CHECKING:
    from tests.sim.cluster import SimCluster, SimNode


class Monotonic(Invariant):
    def __init__(self) -> None:
        self.epochs: dict[int, int] = {}
        self.high_watermarks: dict[tuple[int, int], int] = {}

    def check(self, cluster: SimCluster, node: SimNode, effects: list[Any]) -> None:
        assert node.raft is not None
        assert node.raft.epoch >= self.epochs.get(node.node_id, 0), "the epoch went back"
        self.epochs[node.node_id] = node.raft.epoch
        life = (node.node_id, node.life)
        assert node.raft.high_watermark >= self.high_watermarks.get(life, 0), "the high watermark went back"
        assert node.raft.high_watermark <= node.raft.log.end_offset
        self.high_watermarks[life] = node.raft.high_watermark
