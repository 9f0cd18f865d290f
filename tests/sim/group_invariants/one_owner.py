"""A partition has one owner: in the coordinator's books, and in what living members believe, while nobody
may have put them out unheard.

A member that hangs learns late that it is out; until it does, its commits are fenced by generation or epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.coordinator.group.consumer import ConsumerGroup
from tests.sim.group_invariants import Invariant

if TYPE_CHECKING:
    from tests.sim.groups import GroupWorld


class OneOwner(Invariant):
    def check(self, world: GroupWorld) -> None:
        shard = world.runtime.shard
        for group in shard.groups.values() if shard is not None else ():
            if isinstance(group, ConsumerGroup):
                held = [
                    (topic_id, partition)
                    for member in group.members.values()
                    for part in (member.assigned, member.revoking)
                    for topic_id, partitions in part.items()
                    for partition in partitions
                ]
                assert len(held) == len(set(held)), f"two members of {group.group_id} hold the same partition"
        owners: dict[tuple[str, str, int], str] = {}
        for client in world.clients:
            knows = world.now >= client.hangs_until and world.now - client.certain_at <= client.certain_for_ms
            for place in client.owned if client.is_alive and knows else ():
                other = owners.setdefault((client.group, *place), client.name)
                assert other == client.name, f"{place} of group {client.group} is owned by {other} and {client.name}"
