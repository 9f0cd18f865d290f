"""Generations, group epochs and target epochs never go back; nor does a member's, while it is the same member."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.coordinator.group.classic import ClassicGroup
from tests.sim.group_invariants import Invariant

if TYPE_CHECKING:
    from tests.sim.groups import GroupWorld


class EpochsRise(Invariant):
    def __init__(self) -> None:
        self.seen: dict[tuple[str, ...], int] = {}

    def _rises(self, key: tuple[str, ...], value: int) -> None:
        assert value >= self.seen.get(key, 0), f"{' '.join(key)} went from {self.seen[key]} back to {value}"
        self.seen[key] = value

    def check(self, world: GroupWorld) -> None:
        # What is not replicated may be undone by a crash: only what was told to clients counts.
        for client in world.clients:
            epoch = getattr(client, "epoch", None)
            if epoch:
                self._rises(("member", client.name, str(client.life), getattr(client, "member_id", "")), epoch)
            # KAFKA: a generation is logged with its assignment; one that never got so far may be counted again.
            generation = getattr(client, "synced_generation", -1)
            if generation > 0:
                self._rises(("generation synced by", client.name, str(client.life)), generation)
        shard = world.runtime.shard
        if shard is not None and world.high_watermark == len(world.log):
            for group in shard.groups.values():
                if isinstance(group, ClassicGroup):
                    if group.state == "Stable":
                        self._rises(("generation of", group.group_id), group.generation)
                else:
                    self._rises(("group epoch of", group.group_id), group.group_epoch)
                    self._rises(("target epoch of", group.group_id), group.target_epoch)
                    assert group.target_epoch <= group.group_epoch
                    for member in group.members.values():
                        assert member.member_epoch <= group.target_epoch, "a member is ahead of its group"
