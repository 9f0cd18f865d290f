"""At rest the live members of a group own every partition that any of them subscribes to, and each is owned once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.sim.group_clients import ClassicClient
from tests.sim.group_invariants import Invariant

if TYPE_CHECKING:
    from tests.sim.groups import GroupWorld


class AllConverge(Invariant):
    def at_rest(self, world: GroupWorld) -> None:
        for group in {client.group for client in world.clients}:
            members = [client for client in world.clients if client.group == group and client.is_alive]
            if not members:
                continue
            owned = Counter(place for member in members for place in member.owned)
            assert all(count == 1 for count in owned.values()), f"group {group}: {owned}"
            topics = {topic for member in members for topic in member.topics}
            # A classic leader assigned what there was when it did.
            wanted = {(topic, p) for topic in topics for p in range(world.partition_counts[topic])}
            if isinstance(members[0], ClassicClient):
                wanted = {(topic, 0) for topic in topics}
            assert wanted <= owned.keys(), f"group {group}: nobody has {sorted(wanted - owned.keys())}"
