"""A shard that is made from the log alone has the groups and offsets that the working one has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cluster.coordinator.group.classic import ClassicGroup
from cluster.coordinator.group.shard import GroupShard
from tests.sim.group_invariants import Invariant

if TYPE_CHECKING:
    from tests.sim.groups import GroupWorld


def logged_state(shard: GroupShard) -> dict[str, Any]:
    """What the log carries of a shard's groups."""
    found: dict[str, Any] = {}
    for group_id, group in shard.groups.items():
        if isinstance(group, ClassicGroup):
            if group.state == "Stable":
                found[group_id] = (group.generation, {m.member_id: m.assignment for m in group.members.values()})
        else:
            found[group_id] = (group.group_epoch, group.target_epoch, group.members, group.target, group.regexes)
    return found


class ReplayIsState(Invariant):
    def __init__(self) -> None:
        self.length = -1

    def check(self, world: GroupWorld) -> None:
        shard = world.runtime.shard
        if shard is None or len(world.log) == self.length or world.random.random() > 0.05:
            return
        self.length = len(world.log)
        other = GroupShard(shard.settings, shard.topics, shard.consumer_settings, shard.assignors)
        for offset, logged in enumerate(world.log):
            other.apply(offset, logged)
        mine, replayed = logged_state(shard), logged_state(other)
        for group_id, state in mine.items():
            assert replayed.get(group_id) == state, f"group {group_id} is another when replayed"
        for client in world.clients:
            assert other.offsets.of_group(client.group) == shard.offsets.of_group(client.group)
