"""Committed offsets of the groups on one partition of `__consumer_offsets`, and those of transactions still open.

    commit              -> Record                         true at once
    transactional commit -> Pending --commit marker-->    true then;  --abort marker--> forgotten

INVARIANT: `apply*` are the only mutators.
KAFKA: a pending offset replaces no newer one: of two commits the one that stands later in the log counts.
Sources: KIP-447 (unstable offsets), KIP-211 (expiry).
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from pykafkacore.protocol.types import ZERO_UUID

PRODUCERS_KEPT = 10_000

Place = tuple[str, int]
"""Topic and partition."""


class CommittedOffset(Struct, frozen=True):
    offset: int
    leader_epoch: int
    metadata: str
    commit_ms: int
    expire_ms: int = -1
    topic_id: bytes = ZERO_UUID
    record_offset: int = -1
    """Where its record stands."""


NO_OFFSETS: dict[Place, CommittedOffset] = {}


class Offsets:
    def __init__(self) -> None:
        self._groups: dict[str, dict[Place, CommittedOffset]] = {}
        # producer id -> group -> offsets of its open transaction
        self._pending: dict[int, dict[str, dict[Place, CommittedOffset]]] = {}
        # producer id -> newest epoch and last marker's offset, the latest seen last
        self._producers: dict[int, tuple[int, int]] = {}

    def of_group(self, group_id: str) -> dict[Place, CommittedOffset]:
        return self._groups.get(group_id, NO_OFFSETS)

    def group_ids(self) -> list[str]:
        return list(self._groups)

    def has_any(self, group_id: str) -> bool:
        return group_id in self._groups or any(group_id in groups for groups in self._pending.values())

    def is_pending(self, group_id: str, place: Place) -> bool:
        return any(place in groups.get(group_id, ()) for groups in self._pending.values())

    def pending_groups(self) -> set[str]:
        return {group_id for groups in self._pending.values() for group_id in groups}

    def is_fenced(self, producer_id: int, producer_epoch: int) -> bool:
        """A newer incarnation of this producer has written here."""
        return producer_epoch < self._producers.get(producer_id, (-1, -1))[0]

    def marker_offset(self, producer_id: int) -> int:
        """Where the last marker of a producer stands; -1 for none."""
        return self._producers.get(producer_id, (-1, -1))[1]

    # --- the only mutators ----------------------------------------------------------------------------------------------

    def apply(self, group_id: str, place: Place, committed: CommittedOffset | None) -> None:
        if committed is not None:
            self._groups.setdefault(group_id, {})[place] = committed
            return
        places = self._groups.get(group_id)
        if places is not None and places.pop(place, None) is not None and not places:
            del self._groups[group_id]
        # KAFKA: 4.4 forgets the pending offset of a deleted one too.
        for producer_id, groups in list(self._pending.items()):
            if place in groups.get(group_id, ()):
                del groups[group_id][place]
                self._tidy(producer_id, group_id)

    def apply_producer(self, producer_id: int, producer_epoch: int, marker_offset: int | None) -> None:
        """Something of a producer's transaction stands in the log; its marker, if `marker_offset` says where."""
        _, last_marker = self._producers.pop(producer_id, (-1, -1))
        self._producers[producer_id] = (producer_epoch, last_marker if marker_offset is None else marker_offset)
        if len(self._producers) > PRODUCERS_KEPT:
            # The log itself still fences those that are forgotten here.
            del self._producers[next(iter(self._producers))]

    def apply_pending(self, producer_id: int, group_id: str, place: Place, committed: CommittedOffset) -> None:
        self._pending.setdefault(producer_id, {}).setdefault(group_id, {})[place] = committed

    def apply_marker(self, producer_id: int, is_commit: bool) -> set[str]:
        """The groups whose offsets the transaction held."""
        groups = self._pending.pop(producer_id, {})
        if is_commit:
            for group_id, places in groups.items():
                own = self._groups.setdefault(group_id, {})
                for place, committed in places.items():
                    known = own.get(place)
                    if known is None or known.record_offset < committed.record_offset:
                        own[place] = committed
        return set(groups)

    def _tidy(self, producer_id: int, group_id: str) -> None:
        groups = self._pending[producer_id]
        if not groups[group_id]:
            del groups[group_id]
        if not groups:
            del self._pending[producer_id]


def committed_from(value: Any, record_offset: int) -> CommittedOffset:
    """From an OffsetCommitValue of any version."""
    return CommittedOffset(
        value.offset,
        value.leader_epoch,
        value.metadata,
        value.commit_timestamp,
        value.expire_timestamp,
        value.topic_id,
        record_offset,
    )


def expires_at(committed: CommittedOffset, since_ms: int, retention_ms: int) -> int:
    """When an offset that has been nobody's since `since_ms` is to go. A retention of its own counts instead."""
    return committed.expire_ms if committed.expire_ms >= 0 else since_ms + retention_ms
