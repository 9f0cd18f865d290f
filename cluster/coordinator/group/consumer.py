"""A group of the consumer protocol (KIP-848) and its members: what the log makes true of them.

    Empty --first heartbeat--> Assigning --target computed--> Reconciling --all took it--> Stable
    group epoch  >= assignment epoch >= each member's epoch

INVARIANT: all of it is in the log; `apply_*` are the only mutators.
INVARIANT: a partition is held by one member at most, from when it is assigned until its revocation is acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from pykafkacore.protocol.schemas import coordinator_records as schemas

if TYPE_CHECKING:
    from cluster.coordinator.values import Record
    from pykafkacore.policies.assignor import GroupMember

STABLE, UNREVOKED, UNRELEASED = 0, 1, 2
"""States of a member: has what it should; must give back first; waits for others to give back."""

LEAVES = -1
LEAVES_FOR_A_WHILE = -2
JOINS = 0

Partitions = Mapping[bytes, frozenset[int]]
"""Topic id -> partitions."""
Assigned = dict[bytes, dict[int, int]]
"""Topic id -> partition -> the epoch in which it was assigned (KIP-1251)."""


class ClassicSide(Struct, frozen=True):
    """What a member that speaks the classic protocol told when it joined."""

    session_timeout_ms: int
    protocols: tuple[tuple[str, bytes], ...]


class ConsumerMember(Struct, frozen=True):
    member_id: str
    instance_id: str | None = None
    rack_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    topics: frozenset[str] = frozenset()
    regex: str | None = None
    rebalance_timeout_ms: int = -1
    assignor: str | None = None
    classic: ClassicSide | None = None
    # --- the current assignment, a record of its own
    member_epoch: int = 0
    previous_epoch: int = -1
    state: int = STABLE
    assigned: Assigned = {}
    revoking: Partitions = {}


class ResolvedRegex(Struct, frozen=True):
    topics: frozenset[str]
    version: int
    """Of the metadata that it was resolved with."""
    timestamp_ms: int


NOTHING: Partitions = {}


class ConsumerGroup:
    def __init__(self, group_id: str) -> None:
        self.group_id = group_id
        self.group_epoch = 0
        self.metadata_hash = 0
        self.members: dict[str, ConsumerMember] = {}
        self.target_epoch = 0
        self.target_ms = -1
        self.target: dict[str, Partitions] = {}
        self.regexes: dict[str, ResolvedRegex] = {}
        self._holders: dict[tuple[bytes, int], str] = {}
        self._instances: dict[str, str] = {}
        self._subscribed: frozenset[str] | None = None

    # --- questions ------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        if not self.members:
            return "Empty"
        if self.group_epoch > self.target_epoch:
            return "Assigning"
        settled = all(m.member_epoch == self.target_epoch and m.state == STABLE for m in self.members.values())
        return "Stable" if settled else "Reconciling"

    def static_member(self, instance_id: str) -> ConsumerMember | None:
        member_id = self._instances.get(instance_id)
        return None if member_id is None else self.members[member_id]

    def holder(self, topic_id: bytes, partition: int) -> str | None:
        return self._holders.get((topic_id, partition))

    def target_of(self, member_id: str) -> Partitions:
        return self.target.get(member_id, NOTHING)

    def topics_of(self, member: ConsumerMember) -> frozenset[str]:
        """What it subscribes to, by name and by pattern."""
        resolved = self.regexes.get(member.regex) if member.regex else None
        return member.topics | resolved.topics if resolved is not None else member.topics

    def subscribed_topics(self) -> frozenset[str]:
        if self._subscribed is None:
            self._subscribed = frozenset().union(*(self.topics_of(member) for member in self.members.values()))
        return self._subscribed

    def preferred_assignor(self, members: Iterable[ConsumerMember], default: str) -> str:
        """What most ask for; the default where nobody asks."""
        votes: dict[str, int] = {}
        for member in members:
            if member.assignor is not None:
                votes[member.assignor] = votes.get(member.assignor, 0) + 1
        return max(sorted(votes), key=votes.__getitem__) if votes else default

    def uses_regex(self, regex: str, besides: str) -> bool:
        return any(m.regex == regex for m in self.members.values() if m.member_id != besides)

    # --- the only mutators ----------------------------------------------------------------------------------------------

    def apply(self, record: Record) -> bool:
        """Makes one record of a consumer group true. False if it is none."""
        apply = _APPLY.get(record.key_message)
        if apply is None:
            return False
        apply(self, record)
        return True

    def apply_epoch(self, value: Any | None) -> None:
        self.group_epoch = 0 if value is None else value.epoch
        self.metadata_hash = 0 if value is None else value.metadata_hash

    def apply_member(self, member_id: str, value: Any | None) -> None:
        self._subscribed = None
        known = self.members.get(member_id)
        if known is not None and known.instance_id is not None and self._instances.get(known.instance_id) == member_id:
            del self._instances[known.instance_id]
        if value is None:
            if known is not None:
                self._release(known)
                del self.members[member_id]
            return
        classic = value.classic_member_metadata
        if classic is not None:
            protocols = tuple((each.name, each.metadata) for each in classic.supported_protocols)
            classic = ClassicSide(classic.session_timeout_ms, protocols)
        self.members[member_id] = replace(
            known or ConsumerMember(member_id),
            instance_id=value.instance_id,
            rack_id=value.rack_id,
            client_id=value.client_id,
            client_host=value.client_host,
            topics=frozenset(value.subscribed_topic_names),
            regex=value.subscribed_topic_regex or None,
            rebalance_timeout_ms=value.rebalance_timeout_ms,
            assignor=value.server_assignor,
            classic=classic,
        )
        if value.instance_id is not None:
            self._instances[value.instance_id] = member_id

    def apply_target_epoch(self, value: Any | None) -> None:
        self.target_epoch = 0 if value is None else value.assignment_epoch
        self.target_ms = -1 if value is None else value.assignment_timestamp

    def apply_target(self, member_id: str, value: Any | None) -> None:
        if value is None:
            self.target.pop(member_id, None)
        else:
            self.target[member_id] = {row.topic_id: frozenset(row.partitions) for row in value.topic_partitions}

    def apply_current(self, member_id: str, value: Any | None) -> None:
        known = self.members.get(member_id)
        if known is not None:
            self._release(known)
        if value is None and known is None:
            return
        nothing: tuple[int, int, Any, Any, Any] = (0, -1, STABLE, {}, {})
        member_epoch, previous_epoch, state, assigned, revoking = nothing if value is None else _current(value)
        self.members[member_id] = member = replace(
            known or ConsumerMember(member_id),
            member_epoch=member_epoch,
            previous_epoch=previous_epoch,
            state=state,
            assigned=assigned,
            revoking=revoking,
        )
        for topic_id, partitions in (*member.assigned.items(), *member.revoking.items()):
            for partition in partitions:
                self._holders[topic_id, partition] = member_id

    def apply_regex(self, regex: str, value: Any | None) -> None:
        self._subscribed = None
        if value is None:
            self.regexes.pop(regex, None)
        else:
            self.regexes[regex] = ResolvedRegex(frozenset(value.topics), value.version, value.timestamp)

    def _release(self, member: ConsumerMember) -> None:
        for topic_id, partitions in (*member.assigned.items(), *member.revoking.items()):
            for partition in partitions:
                if self._holders.get((topic_id, partition)) == member.member_id:
                    del self._holders[topic_id, partition]


def _current(value: Any) -> tuple[int, int, int, Assigned, Partitions]:
    assigned: Assigned = {}
    for row in value.assigned_partitions:
        # Written by an older one: as if assigned when the member took its epoch.
        epochs = row.assignment_epochs or [value.member_epoch] * len(row.partitions)
        assigned[row.topic_id] = dict(zip(row.partitions, epochs, strict=True))
    revoking = {row.topic_id: frozenset(row.partitions) for row in value.partitions_pending_revocation}
    return value.member_epoch, value.previous_member_epoch, value.state, assigned, revoking


_APPLY: dict[Any, Callable[[ConsumerGroup, Record], None]] = {
    schemas.CONSUMER_GROUP_METADATA_KEY: lambda group, r: group.apply_epoch(r.value),
    schemas.CONSUMER_GROUP_MEMBER_METADATA_KEY: lambda group, r: group.apply_member(r.key.member_id, r.value),
    schemas.CONSUMER_GROUP_TARGET_ASSIGNMENT_METADATA_KEY: lambda group, r: group.apply_target_epoch(r.value),
    schemas.CONSUMER_GROUP_TARGET_ASSIGNMENT_MEMBER_KEY: lambda group, r: group.apply_target(r.key.member_id, r.value),
    schemas.CONSUMER_GROUP_CURRENT_MEMBER_ASSIGNMENT_KEY: lambda group, r: group.apply_current(r.key.member_id, r.value),
    schemas.CONSUMER_GROUP_REGULAR_EXPRESSION_KEY: lambda group, r: group.apply_regex(r.key.regular_expression, r.value),
}


CONSUMER_KEYS = frozenset(_APPLY)


class AssignmentJob(Struct, frozen=True):
    """An assignment that a user's assignor is to compute, on a thread of its own."""

    group_id: str
    group_epoch: int
    assignor: str
    members: Mapping[str, GroupMember]
    topics: Mapping[bytes, Any]
