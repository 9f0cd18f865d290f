"""How the partitions of a consumer group are spread over its members (KIP-848), for users who want it their way.

    class Alphabetical:
        name = "alphabetical"
        def configure(self, configs): ...
        def assign(self, members, topics):
            first = min(members)
            return {first: {topic_id: range(topic.partition_count) for topic_id, topic in topics.items()}}
        def close(self): ...

    group.consumer.assignors=uniform,range,mycompany.assignors.Alphabetical

An assignor runs on a thread of its own, and has ten seconds. If it raises, takes too long, or
hands out what does not exist, is not subscribed to, or twice, that group keeps the assignment that it has, and the
broker's log says why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class GroupMember(Struct, frozen=True):
    """A member as an assignor sees it. `assigned` is what it was given last: topic id -> partitions."""

    member_id: str
    instance_id: str | None
    rack_id: str | None
    topic_ids: frozenset[bytes]
    assigned: Mapping[bytes, Collection[int]]


class SubscribedTopic(Struct, frozen=True):
    """`racks[partition]`: the racks of that partition's replicas, as far as known."""

    topic_id: bytes
    name: str
    partition_count: int
    racks: tuple[frozenset[str], ...] = ()



class ConsumerGroupAssignor(Protocol):
    """Spreads partitions over members (group.consumer.assignors)."""

    name: str
    """What members ask for it by (`group.remote.assignor` of the Java client)."""

    def configure(self, configs: Mapping[str, str]) -> None:
        """Called once, with the settings of the broker."""

    def assign(
        self, members: Mapping[str, GroupMember], topics: Mapping[bytes, SubscribedTopic]
    ) -> Mapping[str, Mapping[bytes, Collection[int]]]:
        """Every partition of every topic to one of the members that subscribe to it."""

    def close(self) -> None:
        """Called once, at the end."""
