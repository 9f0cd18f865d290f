"""Membership in a consumer group, in either protocol: who I am to the coordinator, and which partitions are mine.

What it is: two loops with one face. `run` joins, keeps the membership alive and tells of every change of what is owned;
`leave` ends it. Reading and committing are the caller's business.
What it is not: a consumer. Nothing is fetched here.
INVARIANT: `on_change` has come back from what was taken away before the coordinator hears that it is given up: until then
its offsets can be committed as a member of the epoch that owned it.
Sources: KIP-848 (consumer), KIP-62, KIP-345, KIP-394, KIP-429 (classic; eager, with the `range` assignor).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import trio
from msgspec import Struct

from pykafkacore.client.groups import CONSUMER_PROTOCOL, ask_coordinator, raise_for, read_assignment
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import ApiError, Code

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from pykafkacore.client.client import Client
    from pykafkacore.protocol.types import Uuid

Place = tuple[str, int]

# The coordinator has forgotten the member, or gone past it: what it owned is lost, and it joins anew.
LOST = frozenset([Code.UNKNOWN_MEMBER_ID, Code.FENCED_MEMBER_EPOCH, Code.ILLEGAL_GENERATION])
# What a membership outlives: the coordinator may be away for longer than one request is worth.
AWAY = Code.REQUEST_TIMED_OUT
# A join is answered when all have joined, which may take as long as a rebalance may.
JOIN_GRACE_MS = 5_000
JOINING_EPOCH, LEAVING_EPOCH, LEAVING_STATIC_EPOCH = 0, -1, -2
TOPICS_CHECK_MS = 30_000
MISSING_TOPICS_CHECK_MS = 1_000


class Subscription(Struct, frozen=True):
    """What a member wants, and what it is; `topics` or `pattern` is given. `chooses` tells whether the pattern, which means
    what the caller says it means, has a topic among its own."""

    group_id: str
    topics: tuple[str, ...] = ()
    pattern: str | None = None
    chooses: Callable[[str], bool] | None = None
    instance_id: str | None = None
    rack_id: str | None = None
    assignor: str | None = None
    session_timeout_ms: int = 45_000
    heartbeat_interval_ms: int = 3_000
    rebalance_timeout_ms: int = 300_000


class Membership(Protocol):
    member_id: str
    member_epoch: int
    """The generation, in a classic group; what offsets are committed with."""

    async def run(self, on_change: Callable[[frozenset[Place]], Awaitable[None]]) -> None: ...
    async def leave(self) -> None: ...


class ConsumerMembership:
    """The consumer protocol: the coordinator assigns, and moves partitions one by one."""

    def __init__(self, client: Client, subscription: Subscription, member_id: str) -> None:
        self.member_id = member_id
        self.member_epoch = JOINING_EPOCH
        self._client = client
        self._wants = subscription
        self._owned: frozenset[Place] = frozenset()
        self._ids: dict[Place, Uuid] = {}
        self._interval_ms = subscription.heartbeat_interval_ms

    async def run(self, on_change: Callable[[frozenset[Place]], Awaitable[None]]) -> None:
        # What was sent before need not be said again, unless something went wrong meanwhile.
        tells_all = True
        while True:
            try:
                answer = await self._heartbeat(tells_all)
            except ApiError as error:
                if error.code is AWAY:
                    tells_all = True
                    continue
                if error.code not in LOST:
                    raise
                self._owned, self.member_epoch, tells_all = frozenset(), JOINING_EPOCH, True
                await on_change(self._owned)
                continue
            self.member_epoch, tells_all = answer.member_epoch, False
            self._interval_ms = answer.heartbeat_interval_ms
            if answer.assignment is not None and await self._take(answer.assignment, on_change):
                tells_all = True  # that it is done is told at once
                continue
            await trio.sleep(self._interval_ms / 1000)

    async def _take(self, assignment: Any, on_change: Callable[[frozenset[Place]], Awaitable[None]]) -> bool:
        """Whether anything changed."""
        target = await self._places_of(assignment)
        if target == self._owned:
            return False
        kept = self._owned & target
        if kept != self._owned:
            self._owned = kept
            await on_change(kept)
        if target != kept:
            self._owned = target
            await on_change(target)
        return True

    async def _places_of(self, assignment: Any) -> frozenset[Place]:
        names = await self._names(topic.topic_id for topic in assignment.topic_partitions)
        self._ids = {
            (names[topic.topic_id], partition): topic.topic_id
            for topic in assignment.topic_partitions
            if topic.topic_id in names  # a topic that is gone is nobody's
            for partition in topic.partitions
        }
        return frozenset(self._ids)

    async def _names(self, ids: Iterable[Uuid]) -> dict[Uuid, str]:
        wanted = set(ids)
        for is_last in (False, True):
            known = {topic.topic_id: name for name, topic in self._client.metadata.topics.items()}
            if is_last or wanted <= set(known):
                return known
            await self._client.refresh_metadata()
        raise AssertionError("the loop comes back")

    async def _heartbeat(self, tells_all: bool) -> Any:
        message = api("ConsumerGroupHeartbeat").request
        wants = self._wants

        def body(version: int) -> Any:
            if wants.pattern is not None and version < 1:
                raise ApiError(Code.UNSUPPORTED_VERSION, "this broker takes no patterns: name the topics")
            said: dict[str, Any] = {}
            if tells_all:
                by_id: dict[Uuid, list[int]] = {}
                for place in sorted(self._owned):
                    by_id.setdefault(self._ids[place], []).append(place[1])
                said = {
                    "rebalance_timeout_ms": wants.rebalance_timeout_ms,
                    "subscribed_topic_names": None if wants.pattern else list(wants.topics),
                    "rack_id": wants.rack_id,
                    "server_assignor": wants.assignor,
                    "topic_partitions": [
                        message.TopicPartitions(topic_id=topic_id, partitions=partitions)
                        for topic_id, partitions in by_id.items()
                    ],
                }
                if version >= 1:
                    said["subscribed_topic_regex"] = wants.pattern
            return self._request(self.member_epoch, **said)

        answer, _ = await ask_coordinator(self._client, wants.group_id, "ConsumerGroupHeartbeat", body, raise_for)
        return answer

    def _request(self, member_epoch: int, **said: Any) -> Any:
        wants = self._wants
        return api("ConsumerGroupHeartbeat").request(
            group_id=wants.group_id, member_id=self.member_id, member_epoch=member_epoch, instance_id=wants.instance_id, **said
        )

    async def leave(self) -> None:
        if self.member_epoch == JOINING_EPOCH:
            return
        epoch = LEAVING_EPOCH if self._wants.instance_id is None else LEAVING_STATIC_EPOCH
        body = self._request(epoch)
        await ask_coordinator(self._client, self._wants.group_id, "ConsumerGroupHeartbeat", body, raise_for)


class ClassicMembership:
    """The classic protocol: all give up what they have, and one member assigns for all."""

    def __init__(self, client: Client, subscription: Subscription) -> None:
        self.member_id = ""
        self.member_epoch = -1
        self._client = client
        self._wants = subscription
        self._group_topics: frozenset[str] = frozenset()
        """What all members want, if this is the one that assigns."""
        self._seen: dict[str, int] = {}
        """How many partitions the topics had when it joined, if it is for this member to watch them."""

    async def run(self, on_change: Callable[[frozenset[Place]], Awaitable[None]]) -> None:
        while True:
            await on_change(frozenset())
            try:
                owned = await self._join()
            except ApiError as error:
                self._forget(error)
                continue
            await on_change(owned)
            await self._stay()

    async def _stay(self) -> None:
        """Comes back when it is time to join again."""
        message = api("Heartbeat").request
        next_check = trio.current_time() + self._check_after_s()
        while True:
            await trio.sleep(self._wants.heartbeat_interval_ms / 1000)
            body = message(
                group_id=self._wants.group_id, generation_id=self.member_epoch, member_id=self.member_id,
                group_instance_id=self._wants.instance_id,
            )  # fmt: skip
            try:
                await ask_coordinator(self._client, self._wants.group_id, "Heartbeat", body, raise_for)
            except ApiError as error:
                self._forget(error)
                return
            if self._seen and trio.current_time() >= next_check:
                if await self._partition_counts() != self._seen:
                    return
                next_check = trio.current_time() + self._check_after_s()

    def _check_after_s(self) -> float:
        is_waiting = not all(self._seen.values())
        return (MISSING_TOPICS_CHECK_MS if is_waiting else TOPICS_CHECK_MS) / 1000

    def _forget(self, error: ApiError) -> None:
        """What an error makes of this member; raises what is no reason to join again."""
        if error.code in LOST:
            self.member_id, self.member_epoch = "", -1
        elif error.code not in (Code.REBALANCE_IN_PROGRESS, AWAY):
            raise error

    async def _join(self) -> frozenset[Place]:
        self._group_topics = frozenset()
        counts = await self._partition_counts()
        answer = await self._ask_to_join(counts)
        self.member_epoch = answer.generation_id
        self._seen = counts if self._wants.chooses else {}
        assignments: Mapping[str, Sequence[Place]] = {}
        if answer.leader == self.member_id and not getattr(answer, "skip_assignment", False):
            topics = {member.member_id: read_subscription(bytes(member.metadata)) for member in answer.members}
            self._group_topics = frozenset(topic for wanted in topics.values() for topic in wanted)
            self._seen = await self._partition_counts()
            instances = {member.member_id: member.group_instance_id for member in answer.members}
            assignments = assign_range(topics, self._seen, instances)
        message = api("SyncGroup").request
        body = message(
            group_id=self._wants.group_id, generation_id=self.member_epoch, member_id=self.member_id,
            group_instance_id=self._wants.instance_id, protocol_type=CONSUMER_PROTOCOL, protocol_name=answer.protocol_name,
            assignments=[
                message.SyncGroupRequestAssignment(member_id=member_id, assignment=encode_assignment(places))
                for member_id, places in assignments.items()
            ],
        )  # fmt: skip
        synced, _ = await ask_coordinator(self._client, self._wants.group_id, "SyncGroup", body, raise_for)
        return frozenset(read_assignment(bytes(synced.assignment)))

    async def _ask_to_join(self, counts: Mapping[str, int]) -> Any:
        """The answer to JoinGroup, which comes when all have joined. The first time, it may only tell a member its id."""
        message = api("JoinGroup").request
        wants = self._wants
        topics = sorted(counts) if wants.chooses else wants.topics
        protocols = [message.JoinGroupRequestProtocol(name="range", metadata=encode_subscription(topics))]

        def check(answer: Any) -> None:
            if answer.error_code == Code.MEMBER_ID_REQUIRED:
                self.member_id = answer.member_id
            raise_for(answer)

        while True:
            body = message(
                group_id=wants.group_id, session_timeout_ms=wants.session_timeout_ms,
                rebalance_timeout_ms=wants.rebalance_timeout_ms, member_id=self.member_id,
                group_instance_id=wants.instance_id, protocol_type=CONSUMER_PROTOCOL, protocols=protocols,
            )  # fmt: skip
            try:
                answer, _ = await ask_coordinator(
                    self._client, wants.group_id, "JoinGroup", body, check,
                    timeout_ms=wants.rebalance_timeout_ms + JOIN_GRACE_MS,
                )  # fmt: skip
            except ApiError as error:
                if error.code is Code.MEMBER_ID_REQUIRED:
                    continue
                raise
            self.member_id = answer.member_id
            return answer

    async def _partition_counts(self) -> dict[str, int]:
        """How many partitions there are of what is subscribed to, by this member and by those that it assigns for; 0 of a
        topic that is not there yet."""
        wants = self._wants
        if wants.chooses is None:
            known = (await self._client.refresh_metadata(sorted({*wants.topics, *self._group_topics}))).topics
            chosen: set[str] = set(wants.topics)
        else:
            known = (await self._client.refresh_metadata()).topics
            chosen = {name for name in known if wants.chooses(name)}
        return {name: len(known[name].partitions) if name in known else 0 for name in chosen | self._group_topics}

    async def leave(self) -> None:
        """Static members stay on the books until their session is over: that is what makes them static."""
        if not self.member_id or self._wants.instance_id is not None:
            return
        message = api("LeaveGroup").request

        def body(version: int) -> Any:
            if version < 3:
                return message(group_id=self._wants.group_id, member_id=self.member_id)
            return message(
                group_id=self._wants.group_id, members=[message.MemberIdentity(member_id=self.member_id)]
            )

        await ask_coordinator(self._client, self._wants.group_id, "LeaveGroup", body, raise_for)


# ---- what members of classic groups say to one another; two bytes of version stand before each message


def encode_subscription(topics: Iterable[str]) -> bytes:
    from pykafkacore.protocol.schemas.groups import CONSUMER_PROTOCOL_SUBSCRIPTION as MESSAGE

    return b"\x00\x01" + MESSAGE.encode(MESSAGE(topics=sorted(topics)), 1)


def read_subscription(data: bytes) -> list[str]:
    from pykafkacore.protocol.schemas.groups import CONSUMER_PROTOCOL_SUBSCRIPTION as MESSAGE

    version = min(max(int.from_bytes(data[:2], "big", signed=True), 0), 3)
    return list(MESSAGE.decode_from(data, 2, version)[0].topics)


def encode_assignment(places: Iterable[Place]) -> bytes:
    from pykafkacore.client.groups import by_topic
    from pykafkacore.protocol.schemas.groups import CONSUMER_PROTOCOL_ASSIGNMENT as MESSAGE

    topics = [MESSAGE.TopicPartition(topic=topic, partitions=partitions) for topic, partitions in by_topic(places).items()]
    return b"\x00\x01" + MESSAGE.encode(MESSAGE(assigned_partitions=topics), 1)


def assign_range(
    topics: Mapping[str, Sequence[str]], counts: Mapping[str, int], instances: Mapping[str, str | None]
) -> dict[str, list[Place]]:
    """The partitions of each member: of every topic a run of neighbours, the first members one more where it does not come
    out even. Static members come first, by the ids that they keep."""
    order = sorted(topics, key=lambda member_id: (instances.get(member_id) is None, instances.get(member_id) or member_id))
    found: dict[str, list[Place]] = {member_id: [] for member_id in topics}
    for topic in sorted({topic for wanted in topics.values() for topic in wanted}):
        readers = [member_id for member_id in order if topic in topics[member_id]]
        share, rest = divmod(counts.get(topic, 0), len(readers))
        first = 0
        for rank, member_id in enumerate(readers):
            end = first + share + (rank < rest)
            found[member_id] += [(topic, partition) for partition in range(first, end)]
            first = end
    return found
