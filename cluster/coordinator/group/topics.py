"""What consumer groups need to know of the cluster's topics, read from one metadata image. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from pykafkacore.policies.assignor import SubscribedTopic

MatchRegex = Callable[[str, list[str]], list[str] | None]
"""(pattern, names) -> the names that match as a whole; None if the pattern is none."""


class Described(Struct, frozen=True):
    """Topics by id, and one number that changes when anything changes that an assignor looks at."""

    topics: dict[bytes, SubscribedTopic]
    hash: int


class GroupTopics:
    """The topics of one image. What was asked once is remembered: groups ask the same with every heartbeat."""

    def __init__(self, image: Any, match: MatchRegex) -> None:
        self._image = image
        self._match = match
        self._described: dict[frozenset[str], Described] = {}

    @property
    def version(self) -> int:
        offset: int = self._image.offset
        return offset

    def is_as_before(self, other: GroupTopics) -> bool:
        """No topic changed between the two."""
        return self._image.topics is other._image.topics and self._image.brokers is other._image.brokers

    def described(self, names: frozenset[str]) -> Described:
        """Those of the names that exist."""
        known = self._described.get(names)
        if known is None:
            topics = self._named(names)
            known = self._described[names] = Described(topics, hash_of(topics))
        return known

    def _named(self, names: frozenset[str]) -> dict[bytes, SubscribedTopic]:
        found = {}
        # In one order in every process: what an assignor comes to may depend on it.
        for name in sorted(names):
            topic = self._image.topic_named(name)
            if topic is not None:
                racks = tuple(self._racks(topic.partitions[index]) for index in sorted(topic.partitions))
                found[topic.topic_id] = SubscribedTopic(topic.topic_id, name, len(topic.partitions), racks)
        return found

    def name_of(self, topic_id: bytes) -> str:
        topic = self._image.topics.get(topic_id)
        return "" if topic is None else topic.name

    def matching(self, regex: str) -> frozenset[str] | None:
        """The topics whose whole name matches; None if that is no regular expression."""
        found = self._match(regex, list(self._image.topic_ids))
        return None if found is None else frozenset(found)

    def _racks(self, partition: Any) -> frozenset[str]:
        brokers = (self._image.brokers.get(each) for each in partition.replicas)
        return frozenset(broker.rack for broker in brokers if broker is not None and broker.rack is not None)


def hash_of(topics: dict[bytes, SubscribedTopic]) -> int:
    """Changes when anything changes that an assignor looks at. 0 for no topics.

    KAFKA: another function than Kafka's; after a move between the two each group's epoch rises once."""
    from hashlib import blake2b

    if not topics:
        return 0
    digest = blake2b(digest_size=8)
    for topic_id in sorted(topics):
        topic = topics[topic_id]
        racks = ";".join(",".join(sorted(each)) for each in topic.racks)
        digest.update(b"%b%b:%d:%b\n" % (topic_id, topic.name.encode(), topic.partition_count, racks.encode()))
    return int.from_bytes(digest.digest(), "big", signed=True)
