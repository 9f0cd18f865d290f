"""A group of the classic protocol as a value, and what it is made of. Decisions about it stand in `classic_rules`.

    Empty --join--> PreparingRebalance --all joined, or time is up--> CompletingRebalance --leader's sync--> Stable
      ^                    ^  |                                              |                               |
      |                    |  +--everybody left--> Empty                     |                               |
      +--- last leaves     +------- a join, a leave, a lost session ---------+-------------------------------+

INVARIANT: a value is never changed: each decision makes the next.
What the log carries of it: everything but who waits for an answer (see records.group_record).
Sources: KIP-62, KIP-345 (static members), KIP-394 (member ids first), KIP-814 (static leaders).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import replace

from pykafkacore.protocol.schemas.groups import CONSUMER_PROTOCOL_ASSIGNMENT, CONSUMER_PROTOCOL_SUBSCRIPTION
from pykafkacore.protocol.types import MalformedMessage

if TYPE_CHECKING:
    from cluster.shard import Millis, Ticket

EMPTY = "Empty"
PREPARING = "PreparingRebalance"
COMPLETING = "CompletingRebalance"
STABLE = "Stable"
DEAD = "Dead"

CONSUMER_PROTOCOL = "consumer"
Protocols = tuple[tuple[str, bytes], ...]


class Waiting(Struct, frozen=True):
    """Who waits for the answer to a join or a sync."""

    ticket: Ticket
    api_version: int


class Member(Struct, frozen=True):
    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocols: Protocols
    assignment: bytes = b""
    join: Waiting | None = None
    sync: Waiting | None = None
    is_new: bool = False
    """Its first join is still pending."""

    def metadata_of(self, protocol: str | None) -> bytes:
        return next((metadata for name, metadata in self.protocols if name == protocol), b"")


class ClassicGroup(Struct, frozen=True):
    group_id: str
    state: str = EMPTY
    generation: int = 0
    protocol_type: str | None = None
    protocol: str | None = None
    leader_id: str | None = None
    members: dict[str, Member] = field(default_factory=dict)
    """In the order of joining. Never changed in place."""
    pending: frozenset[str] = frozenset()
    """Ids that were given out and not used yet (KIP-394)."""
    unsynced: frozenset[str] = frozenset()
    """Members of this generation that have not asked for their assignment."""
    state_since_ms: Millis = -1
    is_initial: bool = False
    """The rebalance under way is the first: it waits for others to come."""
    initial_left_ms: int = 0
    has_newcomer: bool = False

    # --- questions ------------------------------------------------------------------------------------------------------

    @property
    def is_simple(self) -> bool:
        """Nobody ever joined: it only has offsets."""
        return self.protocol_type is None and not self.members and not self.pending

    @property
    def has_all_joined(self) -> bool:
        return not self.pending and all(member.join is not None for member in self.members.values())

    @property
    def rebalance_timeout_ms(self) -> int:
        return max((member.rebalance_timeout_ms for member in self.members.values()), default=0)

    def static_member(self, instance_id: str) -> Member | None:
        return next((member for member in self.members.values() if member.instance_id == instance_id), None)

    def common_protocols(self) -> set[str]:
        """What all members support."""
        counts = Counter(name for member in self.members.values() for name in {name for name, _ in member.protocols})
        return {name for name, count in counts.items() if count == len(self.members)}

    def supports(self, protocol_type: str, protocols: Protocols) -> bool:
        if self.state == EMPTY:
            return bool(protocol_type) and bool(protocols)
        common = self.common_protocols() if self.members else {name for name, _ in protocols}
        return protocol_type == self.protocol_type and any(name in common for name, _ in protocols)

    def elected_protocol(self) -> str | None:
        """Each member votes for the first of its protocols that all support."""
        common = self.common_protocols()
        votes: Counter[str] = Counter()
        for member in self.members.values():
            vote = next((name for name, _ in member.protocols if name in common), None)
            if vote is not None:
                votes[vote] += 1
        return votes.most_common(1)[0][0] if votes else None

    def subscribed_topics(self) -> set[str] | None:
        """The topics that members of the embedded consumer protocol subscribe to; None if that cannot be known."""
        if self.protocol_type != CONSUMER_PROTOCOL or (self.members and self.protocol is None):
            return None
        topics: set[str] = set()
        for member in self.members.values():
            subscription = parse_subscription(member.metadata_of(self.protocol))
            if subscription is None:
                return None
            topics.update(subscription.topics)
        return topics

    # --- the next value ---------------------------------------------------------------------------------------------------

    def with_member(self, member: Member) -> ClassicGroup:
        leader_id = self.leader_id if self.leader_id is not None else member.member_id
        return replace(self, members={**self.members, member.member_id: member}, leader_id=leader_id)

    def with_members(self, members: dict[str, Member]) -> ClassicGroup:
        return replace(self, members=members)

    def without(self, member_id: str) -> ClassicGroup:
        members = {each: member for each, member in self.members.items() if each != member_id}
        leader_id = self.leader_id if self.leader_id != member_id else next(iter(members), None)
        return replace(self, members=members, leader_id=leader_id, unsynced=self.unsynced - {member_id})

    def in_state(self, state: str, now: Millis) -> ClassicGroup:
        return replace(self, state=state, state_since_ms=now)


def parse_subscription(data: bytes) -> Any | None:
    """The subscription of the embedded consumer protocol. A version newer than ours is read as ours."""
    message = CONSUMER_PROTOCOL_SUBSCRIPTION
    version = int.from_bytes(data[:2], "big", signed=True)
    if len(data) < 2 or version < 0:
        return None
    try:
        return message.decode_from(data, 2, min(version, message.versions[1]))[0]
    except MalformedMessage:
        return None


def parse_assignment(data: bytes) -> dict[str, list[int]]:
    """Topic -> partitions of the embedded consumer protocol; nothing where it cannot be read."""
    message = CONSUMER_PROTOCOL_ASSIGNMENT
    version = int.from_bytes(data[:2], "big", signed=True)
    if len(data) < 2 or version < 0:
        return {}
    try:
        assignment = message.decode_from(data, 2, min(version, message.versions[1]))[0]
    except MalformedMessage:
        return {}
    return {row.topic: list(row.partitions) for row in assignment.assigned_partitions}


def group_from(group_id: str, value: Any) -> ClassicGroup:
    """From a GroupMetadataValue of any version: nobody waits, everybody is in sync."""
    members = {
        member.member_id: Member(
            member_id=member.member_id,
            instance_id=member.group_instance_id,
            client_id=member.client_id,
            client_host=member.client_host,
            session_timeout_ms=member.session_timeout,
            # Version 0 has no rebalance timeout of its own.
            rebalance_timeout_ms=member.rebalance_timeout if member.rebalance_timeout >= 0 else member.session_timeout,
            protocols=((value.protocol or "", member.subscription),),
            assignment=member.assignment,
        )
        for member in value.members
    }
    return ClassicGroup(
        group_id=group_id,
        state=STABLE if members else EMPTY,
        generation=value.generation,
        protocol_type=value.protocol_type or None,
        protocol=value.protocol,
        leader_id=value.leader,
        members=members,
        state_since_ms=value.current_state_timestamp,
    )
