"""A group coordinator over a log in memory, in virtual time: every request is a line, every answer comes back at once or
stands in `answers` later. `reload` throws the shard away and makes a new one from the log.
"""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

from cluster.coordinator import values
from cluster.coordinator.group.settings import ConsumerSettings, GroupSettings
from cluster.coordinator.group.shard import GroupShard
from cluster.coordinator.group.topics import GroupTopics
from cluster.coordinator.runtime import Append, Dropped, Fail, Faulted, Perform, Respond, ShardRuntime
from cluster.coordinator.values import Logged, Marker, Pending, Request
from cluster.rebalance.range import RangeAssignor
from cluster.rebalance.uniform import UniformAssignor
from pykafkacore.protocol.apis import api as api_named
from pykafkacore.protocol.errors import ApiError, Code
from pykafkacore.protocol.log_records import GROUP_RECORDS
from pykafkacore.protocol.schemas import groups as schemas


def subscription(*topics: str) -> bytes:
    message = schemas.CONSUMER_PROTOCOL_SUBSCRIPTION
    return b"\x00\x00" + message.encode(message(topics=list(topics)), 0)


def match(pattern: str, names: list[str]) -> list[str] | None:
    try:
        return [name for name in names if re.fullmatch(pattern, name)]
    except re.error:
        return None


def topic_id(name: str) -> bytes:
    return name.encode().ljust(16, b"\0")


def image(topics: dict[str, int], offset: int = 1, racks: tuple[str, ...] = ()) -> Any:
    """A metadata image with topics of so many partitions; partition p stands on broker p modulo the racks."""
    made = {}
    for name, count in topics.items():
        replicas = [(p % len(racks),) if racks else (0,) for p in range(count)]
        partitions = {p: SimpleNamespace(replicas=replicas[p]) for p in range(count)}
        made[topic_id(name)] = SimpleNamespace(topic_id=topic_id(name), name=name, partitions=partitions)
    return SimpleNamespace(
        offset=offset,
        topics=made,
        topic_ids={name: topic_id(name) for name in topics},
        brokers={n: SimpleNamespace(rack=rack) for n, rack in enumerate(racks)},
        topic_named=lambda name: made.get(topic_id(name)),
    )


class World:
    def __init__(self, settings: GroupSettings | None = None, assignors: Any = None, **changes: Any) -> None:
        self.settings = settings or GroupSettings(**{"initial_rebalance_delay_ms": 3000, **changes})
        self.consumer_settings = ConsumerSettings(assignment_interval_ms=0)
        self.assignors = {each.name: each for each in assignors or (UniformAssignor(), RangeAssignor())}
        self.topics = GroupTopics(image({"t": 4, "u": 4}), match)
        self.now = 1_000_000
        self.log: list[Logged] = []
        self.replicated = True
        self.answers: dict[int, Any] = {}
        self.performed: list[Any] = []
        self._ticket = 0
        self._ids = 0
        self.runtime = ShardRuntime(values.encode, Code.NOT_COORDINATOR, size=values.encoded_bytes)
        self._start()

    def make_shard(self) -> Any:
        return GroupShard(self.settings, self.topics, lambda group_id: self.consumer_settings, self.assignors)

    def _start(self) -> None:
        shard = self.make_shard()
        for offset, logged in enumerate(self.log):
            shard.apply(offset, logged)
        end = len(self.log)
        self._take(self.runtime.start(shard, 1, end, end, self.now))

    @property
    def shard(self) -> Any:
        return self.runtime.shard

    def reload(self) -> None:
        self._take(self.runtime.stop("reload"))
        self._start()

    # --- requests ---------------------------------------------------------------------------------------------------------

    def send(self, name: str, version: int | None = None, *, body: Any = None, client: str = "client", **fields: Any) -> int:
        """The ticket under which the answer will stand."""
        api = api_named(name)
        version = api.latest if version is None else version
        self._ticket += 1
        self._ids += 1
        if body is None:
            body = api.request(**fields)
            body = api.request.decode(api.request.encode(body, version), version)
        request = Request(self._ticket, name, version, body, client, "/127.0.0.1", f"id{self._ids}")
        self._take(self.runtime.submit(self._ticket, request, self.now))
        self._take(self.runtime.flush())
        return self._ticket

    def ask(self, name: str, version: int | None = None, **fields: Any) -> Any:
        """The answer, which must be there at once."""
        return self.answer(self.send(name, version, **fields))

    def answer(self, ticket: int) -> Any:
        return self.answers.pop(ticket)

    def is_waiting(self, ticket: int) -> bool:
        return ticket not in self.answers

    def submit(self, request: Any) -> Any:
        """A request that is not of a client."""
        self._ticket += 1
        self._take(self.runtime.submit(self._ticket, request, self.now))
        self._take(self.runtime.flush())
        return self.answers.pop(self._ticket)

    def pass_ms(self, ms: int) -> None:
        """Runs every timer on the way."""
        end = self.now + ms
        while (deadline := self.runtime.deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self._take(self.runtime.expire(self.now))
        self.now = end

    # --- effects ------------------------------------------------------------------------------------------------------------

    def _take(self, effects: list[Any]) -> None:
        for effect in effects:
            if isinstance(effect, Append):
                self._append(effect)
            elif isinstance(effect, Respond):
                assert effect.ticket not in self.answers, "answered twice"
                self.answers[effect.ticket] = effect.response
            elif isinstance(effect, Fail):
                assert effect.ticket not in self.answers, "answered twice"
                self.answers[effect.ticket] = effect.error
            elif isinstance(effect, Perform):
                self.performed.append(effect.effect)
            elif isinstance(effect, Faulted):
                raise effect.exception
            else:
                assert isinstance(effect, Dropped)

    def _append(self, append: Append) -> None:
        assert append.base_offset == len(self.log), "the runtime knows where it writes"
        transaction = append.transaction
        for key, value in append.records:
            if transaction is not None and transaction.marker is not None:
                self.log.append(Marker(transaction.producer_id, transaction.producer_epoch, transaction.marker))
                continue
            record = values.decode(key, value, GROUP_RECORDS)
            assert record is not None
            if transaction is None:
                self.log.append(record)
            else:
                self.log.append(Pending(transaction.producer_id, transaction.producer_epoch, record))
        if self.replicated:
            self._take(self.runtime.committed(len(self.log)))

    def replicate(self) -> None:
        self._take(self.runtime.committed(len(self.log)))


class ClassicMember:
    """A client of the classic protocol, step by step."""

    def __init__(
        self, world: World, group: str = "g", topics: tuple[str, ...] = ("t",), instance: str | None = None, **fields: Any
    ) -> None:
        self.world, self.group, self.instance = world, group, instance
        self.member_id, self.generation = "", -1
        self.fields = {"session_timeout_ms": 10_000, "rebalance_timeout_ms": 60_000, "protocol_type": "consumer", **fields}
        self.protocols = [("range", subscription(*topics))]
        self.joined: Any = None

    def send_join(self, version: int = 9) -> int:
        protocol = schemas.JOIN_GROUP_REQUEST.JoinGroupRequestProtocol
        return self.world.send(
            "JoinGroup", version, client="c", group_id=self.group, member_id=self.member_id,
            group_instance_id=self.instance, protocols=[protocol(name=n, metadata=m) for n, m in self.protocols],
            **self.fields,
        )  # fmt: skip

    def start_join(self, version: int = 9) -> int:
        """As clients do: asks for an id first where it has none. The ticket of the join that waits."""
        ticket = self.send_join(version)
        if not self.world.is_waiting(ticket):
            answer = self.world.answers[ticket]
            if getattr(answer, "error_code", 0) == Code.MEMBER_ID_REQUIRED:
                self.member_id = self.world.answer(ticket).member_id
                ticket = self.send_join(version)
        return ticket

    def take_join(self, ticket: int) -> Any:
        self.joined = self.world.answer(ticket)
        assert not isinstance(self.joined, ApiError), self.joined
        if not self.joined.error_code:
            self.member_id, self.generation = self.joined.member_id, self.joined.generation_id
        return self.joined

    @property
    def leads(self) -> bool:
        return self.joined is not None and self.joined.leader == self.member_id

    def send_sync(self, assignments: dict[str, bytes] | None = None) -> int:
        row = schemas.SYNC_GROUP_REQUEST.SyncGroupRequestAssignment
        rows = [row(member_id=m, assignment=a) for m, a in (assignments or {}).items()]
        return self.world.send(
            "SyncGroup", group_id=self.group, generation_id=self.generation, member_id=self.member_id,
            group_instance_id=self.instance, protocol_type="consumer", protocol_name=self.joined.protocol_name,
            assignments=rows,
        )  # fmt: skip

    def heartbeat(self) -> int:
        answer = self.world.ask(
            "Heartbeat", group_id=self.group, generation_id=self.generation, member_id=self.member_id,
            group_instance_id=self.instance,
        )  # fmt: skip
        return int(answer.error_code)

    def leave(self) -> int:
        identity = schemas.LEAVE_GROUP_REQUEST.MemberIdentity
        member = identity(member_id=self.member_id, group_instance_id=self.instance)
        answer = self.world.ask("LeaveGroup", group_id=self.group, members=[member])
        return int(answer.members[0].error_code)

    def commit(self, offset: int, topic: str = "t", partition: int = 0, **fields: Any) -> int:
        return commit(
            self.world, self.group, offset, topic, partition, member_id=self.member_id,
            generation_id_or_member_epoch=self.generation, **fields,
        )  # fmt: skip


def commit(world: World, group: str, offset: int, topic: str = "t", partition: int = 0, version: int = 9, **fields: Any) -> int:
    request = schemas.OFFSET_COMMIT_REQUEST
    row = request.OffsetCommitRequestPartition(
        partition_index=partition, committed_offset=offset, committed_metadata=fields.pop("metadata", "")
    )
    topics = [request.OffsetCommitRequestTopic(name=topic, partitions=[row])]
    answer = world.ask("OffsetCommit", version, group_id=group, topics=topics, **fields)
    if isinstance(answer, ApiError):
        return int(answer.code)
    return int(answer.topics[0].partitions[0].error_code)


def committed(world: World, group: str, topic: str = "t", partition: int = 0, require_stable: bool = False) -> int:
    """The committed offset; -1 none, -2 unstable."""
    request = schemas.OFFSET_FETCH_REQUEST
    asked = request.OffsetFetchRequestGroup(
        group_id=group, topics=[request.OffsetFetchRequestTopics(name=topic, partition_indexes=[partition])]
    )
    row = world.ask("OffsetFetch", body=(asked, require_stable)).topics[0].partitions[0]
    return -2 if row.error_code == Code.UNSTABLE_OFFSET_COMMIT else int(row.committed_offset)


def form(*members: ClassicMember) -> None:
    """Brings members together into a stable group: the first to be joined leads."""
    world = members[0].world
    tickets = [member.start_join() for member in members]
    world.pass_ms(3000)
    world.pass_ms(3000)
    for member, ticket in zip(members, tickets, strict=True):
        assert member.take_join(ticket).error_code == 0
    assignments = {member.member_id: member.member_id.encode() for member in members}
    syncs = [member.send_sync(assignments if member.leads else None) for member in members]
    for member, ticket in zip(members, syncs, strict=True):
        assert world.answer(ticket).assignment == member.member_id.encode()
