"""Where the replicas of new partitions go. Pure: chance is an argument.

INVARIANT: a partition's replicas are on different brokers, and on different racks as far as there are racks.
INVARIANT: the first replica (the preferred leader) is on an unfenced broker; fenced brokers are taken only where the
unfenced ones do not suffice.
Leaders go round over all unfenced brokers, racks taking turns; followers are shifted by one more after each full round,
so that no two brokers mirror each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from msgspec import Struct

from pykafkacore.protocol.errors import ApiError, Code


class RandomSource(Protocol):
    def randrange(self, stop: int, /) -> int: ...

    def randbytes(self, count: int) -> bytes: ...


class UsableBroker(Struct, frozen=True):
    broker_id: int
    rack: str | None
    is_fenced: bool


def place_partitions(
    partition_count: int, replication_factor: int, brokers: Iterable[UsableBroker], random: RandomSource
) -> list[tuple[int, ...]]:
    """Replicas for each of `partition_count` partitions, preferred leader first."""
    usable = sorted(brokers, key=lambda each: each.broker_id)
    if replication_factor < 1:
        raise ApiError(Code.INVALID_REPLICATION_FACTOR, f"replication factor {replication_factor} is less than 1")
    if replication_factor > len(usable):
        raise ApiError(
            Code.INVALID_REPLICATION_FACTOR,
            f"replication factor {replication_factor} is more than the {len(usable)} registered brokers",
        )
    live = _in_turns([each for each in usable if not each.is_fenced], random)
    if not live:
        raise ApiError(Code.INVALID_REPLICATION_FACTOR, "no broker is unfenced: there is nobody to lead a partition")
    fenced = _in_turns([each for each in usable if each.is_fenced], random)
    if replication_factor == 1:
        return [(live[index % len(live)].broker_id,) for index in range(partition_count)]
    return [_replicas(index, replication_factor, live, fenced) for index in range(partition_count)]


def _in_turns(brokers: list[UsableBroker], random: RandomSource) -> list[UsableBroker]:
    """The brokers with their racks taking turns, beginning anywhere."""
    racks: dict[str | None, list[UsableBroker]] = {}
    for broker in brokers:
        racks.setdefault(broker.rack, []).append(broker)
    rings = [racks[rack] for rack in sorted(racks, key=lambda each: (each is None, each or ""))]
    if not rings:
        return []
    rings = _rotated(rings, random.randrange(len(rings)))
    rings = [_rotated(ring, random.randrange(len(ring))) for ring in rings]
    longest = max(len(ring) for ring in rings)
    return [ring[turn] for turn in range(longest) for ring in rings if turn < len(ring)]


def _rotated(items: list[Any], start: int) -> list[Any]:
    return items[start:] + items[:start]


def _replicas(
    index: int, replication_factor: int, live: list[UsableBroker], fenced: list[UsableBroker]
) -> tuple[int, ...]:
    start = index % len(live)
    leader = live[start]
    others = live[start + 1 :] + live[:start]
    others = _rotated(others, index // len(live) % len(others)) if others else []
    chosen = [leader]
    racks = {leader.rack}
    for candidates in (others, fenced):
        for broker in candidates:
            if len(chosen) < replication_factor and broker.rack not in racks:
                chosen.append(broker)
                racks.add(broker.rack)
    for candidates in (others, fenced):
        for broker in candidates:
            if len(chosen) < replication_factor and broker not in chosen:
                chosen.append(broker)
    return tuple(broker.broker_id for broker in chosen)
