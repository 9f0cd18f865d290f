"""Log Matching: where two logs hold the same (offset, epoch), they hold the same batch and the same before it.

Checked by induction: each (base offset, epoch) ever appended names one batch and one epoch before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cluster.raft import effects as fx
from tests.sim.invariants import Invariant

if TYPE_CHECKING:
    from tests.sim.cluster import SimCluster, SimNode


class LogMatching(Invariant):
    def __init__(self) -> None:
        self.seen: dict[tuple[int, int], tuple[Any, int]] = {}

    def check(self, cluster: SimCluster, node: SimNode, effects: list[Any]) -> None:
        for effect in effects:
            if not isinstance(effect, fx.AppendToLog):
                continue
            for batch in effect.batches:
                before = [each for each in node.disk.batches if each.end_offset == batch.base_offset]
                epoch_before = before[-1].leader_epoch if before else node.disk.start_epoch
                entry = ((batch.records, batch.control, batch.end_offset), epoch_before)
                key = (batch.base_offset, batch.leader_epoch)
                assert self.seen.setdefault(key, entry) == entry, f"{key} is {self.seen[key]} and {entry}"
