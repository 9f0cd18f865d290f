"""The default assignor: as even as can be, moving as little as possible, near the replicas where that costs nothing.

Sources: KIP-848 (uniform assignor), KIP-54 (sticky).
INVARIANT: members that subscribe to the same topics have counts that differ by one at most.
INVARIANT: a partition whose owner may keep it within its share is not moved.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from heapq import heapify, heappop, heappush

from pykafkacore.policies.assignor import GroupMember, SubscribedTopic

Place = tuple[bytes, int]
Assignment = dict[str, dict[bytes, set[int]]]


class UniformAssignor:
    name = "uniform"

    def configure(self, configs: Mapping[str, str]) -> None:
        pass

    def close(self) -> None:
        pass

    def assign(self, members: Mapping[str, GroupMember], topics: Mapping[bytes, SubscribedTopic]) -> Assignment:
        given: dict[str, list[Place]] = {member_id: [] for member_id in sorted(members)}
        if given:
            subscriptions = {member.topic_ids for member in members.values()}
            spread = _spread_alike if len(subscriptions) == 1 else _spread_unlike
            spread(members, topics, given)
        return {member_id: _by_topic(places) for member_id, places in given.items()}


def _by_topic(places: list[Place]) -> dict[bytes, set[int]]:
    found: dict[bytes, set[int]] = {}
    for topic_id, partition in places:
        found.setdefault(topic_id, set()).add(partition)
    return found


def _kept(members: Mapping[str, GroupMember], topics: Mapping[bytes, SubscribedTopic]) -> dict[str, list[Place]]:
    """What each had that still exists, that it still subscribes to, and that nobody before it had."""
    taken: set[Place] = set()
    kept: dict[str, list[Place]] = {}
    for member_id in sorted(members):
        member = members[member_id]
        own = [
            (topic_id, partition)
            for topic_id in sorted(member.assigned)
            if topic_id in topics and topic_id in member.topic_ids
            for partition in sorted(member.assigned[topic_id])
            if partition < topics[topic_id].partition_count and (topic_id, partition) not in taken
        ]
        taken.update(own)
        kept[member_id] = own
    return kept


def _near(member: GroupMember, place: Place, topics: Mapping[bytes, SubscribedTopic]) -> bool:
    racks = topics[place[0]].racks
    return member.rack_id is not None and place[1] < len(racks) and member.rack_id in racks[place[1]]


def _spread_alike(
    members: Mapping[str, GroupMember], topics: Mapping[bytes, SubscribedTopic], given: dict[str, list[Place]]
) -> None:
    """All subscribe to the same: each has a share, and the first few one more."""
    subscribed = next(iter(members.values())).topic_ids
    places = [(t, p) for t in sorted(subscribed & topics.keys()) for p in range(topics[t].partition_count)]
    least, more = divmod(len(places), len(members))
    kept = _kept(members, topics)
    # Those that have most may keep one more: it is theirs already.
    order = sorted(kept, key=lambda member_id: (-len(kept[member_id]), member_id))
    share = {member_id: least + (at < more) for at, member_id in enumerate(order)}
    taken: set[Place] = set()
    for member_id, own in kept.items():
        # What is near is kept first, where not all may be.
        own.sort(key=lambda place: not _near(members[member_id], place, topics))
        given[member_id] = own[: share[member_id]]
        taken.update(given[member_id])
    free = [place for place in places if place not in taken]
    short = [member_id for member_id in given if len(given[member_id]) < share[member_id]]
    if any(members[member_id].rack_id is not None for member_id in short):
        free = _give_near(free, short, share, members, topics, given)
    left = deque(free)
    for member_id in short:
        while len(given[member_id]) < share[member_id]:
            given[member_id].append(left.popleft())


def _give_near(
    free: list[Place],
    short: list[str],
    share: dict[str, int],
    members: Mapping[str, GroupMember],
    topics: Mapping[bytes, SubscribedTopic],
    given: dict[str, list[Place]],
) -> list[Place]:
    """Gives what has a replica in a member's rack to that member; the rest."""
    by_rack: dict[str, deque[str]] = {}
    for member_id in short:
        rack = members[member_id].rack_id
        if rack is not None:
            by_rack.setdefault(rack, deque()).append(member_id)
    rest = []
    for place in free:
        topic_racks = topics[place[0]].racks
        racks = topic_racks[place[1]] if place[1] < len(topic_racks) else ()
        for rack in sorted(racks):
            waiting = by_rack.get(rack)
            while waiting and len(given[waiting[0]]) >= share[waiting[0]]:
                waiting.popleft()
            if waiting:
                given[waiting[0]].append(place)
                waiting.rotate(-1)
                break
        else:
            rest.append(place)
    return rest


def _spread_unlike(
    members: Mapping[str, GroupMember], topics: Mapping[bytes, SubscribedTopic], given: dict[str, list[Place]]
) -> None:
    """Subscriptions differ: everybody keeps what it has, what is free goes to whoever has least, then loads are evened."""
    taken: set[Place] = set()
    for member_id, own in _kept(members, topics).items():
        given[member_id] = own
        taken.update(own)
    subscribers = {t: [m for m in given if t in members[m].topic_ids] for t in topics}
    for topic_id in sorted(topics, key=lambda topic_id: (len(subscribers[topic_id]), topic_id)):
        free = [(topic_id, p) for p in range(topics[topic_id].partition_count) if (topic_id, p) not in taken]
        heap = [(len(given[member_id]), member_id) for member_id in subscribers[topic_id]]
        heapify(heap)
        for place in free:
            if heap:
                load, member_id = heappop(heap)
                given[member_id].append(place)
                heappush(heap, (load + 1, member_id))
    _even_out(members, subscribers, given)


def _even_out(
    members: Mapping[str, GroupMember], subscribers: dict[bytes, list[str]], given: dict[str, list[Place]]
) -> None:
    """Moves partitions from whoever has two more than another subscriber of the same topic, until nobody has."""
    moved = True
    while moved:
        moved = False
        for topic_id, candidates in subscribers.items():
            if len(candidates) < 2:
                continue
            most = max(candidates, key=lambda member_id: (_has(given[member_id], topic_id), len(given[member_id])))
            least = min(candidates, key=lambda member_id: len(given[member_id]))
            if _has(given[most], topic_id) and len(given[most]) >= len(given[least]) + 2:
                place = next(place for place in given[most] if place[0] == topic_id)
                given[most].remove(place)
                given[least].append(place)
                moved = True


def _has(places: list[Place], topic_id: bytes) -> bool:
    return any(place[0] == topic_id for place in places)
