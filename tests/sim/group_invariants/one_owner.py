"""A partition of a consumer group has one owner, in the coordinator's books and in what living members believe.

Of the classic protocol only the members of one generation are held to it: one that hangs learns late that it is out, and
its commits are fenced by their generation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.coordinator.group.consumer import ConsumerGroup
from tests.sim.group_clients import ClassicClient
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
        owners: dict[tuple[object, ...], str] = {}
        for client in world.clients:
            if not client.is_alive or world.now < client.hangs_until:
                continue
            if isinstance(client, ClassicClient):
                scope: tuple[object, ...] = (client.group, client.generation)
            elif world.now - client.heard_at > 40_000:
                continue  # its session may be over, which it learns with its next heartbeat
            else:
                scope = (client.group,)
            for place in client.owned:
                other = owners.setdefault((*scope, *place), client.name)
                assert other == client.name, f"{place} of group {client.group} is owned by {other} and {client.name}"
