"""Members of groups as clients are: they join, heartbeat, take and give back, commit; and they crash, hang and leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cluster.coordinator.group.classic import parse_assignment
from pykafkacore.protocol.errors import ApiError, Code
from pykafkacore.protocol.schemas import groups as schemas
from tests.cluster.coordinator.group.world import subscription, topic_id

if TYPE_CHECKING:
    from tests.sim.groups import GroupWorld

Place = tuple[str, int]


class Client:
    """`owned`: the partitions that it may work on now, as far as it believes; `valid`: and may commit for."""

    request_timeout_ms = 30_000
    session_timeout_ms = 0
    certain_for_ms = 0
    """For so long after `certain_at`, nobody else is given what it has."""
    heard_at = 0
    member_id = ""
    synced_generation = -1
    """When it sent the last request that the coordinator answered well: its session runs from then, at least."""

    def __init__(self, world: GroupWorld, name: str, group: str, topics: tuple[str, ...], instance: str | None) -> None:
        self.world, self.name, self.group, self.topics, self.instance = world, name, group, topics, instance
        self.life = 0
        self.is_alive = False
        self.hangs_until = 0
        self.owned: set[Place] = set()
        self.acknowledged: dict[Place, int] = {}
        """The newest offset of each partition whose commit was acknowledged to this client."""

    @property
    def certain_at(self) -> int:
        return self.heard_at

    def start(self) -> None:
        if not self.is_alive:
            self.life += 1
            self.is_alive = True
            self.owned = set()
            self.begin()

    def crash(self) -> None:
        self.is_alive = False
        self.life += 1
        self.owned = set()

    def hang(self, ms: int) -> None:
        self.hangs_until = self.world.now + ms

    def begin(self) -> None:
        raise NotImplementedError

    def leave(self) -> None:
        raise NotImplementedError

    def later(self, ms: int, step: Any) -> None:
        """Goes on unless it died meanwhile; not while it hangs."""
        life = self.life

        def go() -> None:
            if life == self.life and self.is_alive:
                if self.world.now < self.hangs_until:
                    self.world.at(self.hangs_until - self.world.now, go)
                else:
                    step()

        self.world.at(ms, go)

    def ask(self, name: str, version: int, body: Any, answered: Any) -> None:
        life = self.life
        self.world.send(
            self, name, version, body, lambda answer: self.later(0, lambda: answered(answer)) if life == self.life else None
        )

    def commit(self, member_id: str, epoch: int) -> None:
        """One offset for one of its partitions, higher than all before it in this group and partition."""
        if not self.owned:
            return
        place = self.world.random.choice(sorted(self.owned))
        offset = self.world.now
        request = schemas.OFFSET_COMMIT_REQUEST
        row = request.OffsetCommitRequestPartition(partition_index=place[1], committed_offset=offset, committed_metadata="")
        body = request(
            group_id=self.group, member_id=member_id, generation_id_or_member_epoch=epoch, group_instance_id=self.instance,
            topics=[request.OffsetCommitRequestTopic(name=place[0], partitions=[row])],
        )  # fmt: skip

        def answered(answer: Any) -> None:
            if answer is not None and not isinstance(answer, ApiError) and not answer.topics[0].partitions[0].error_code:
                self.acknowledged[place] = max(offset, self.acknowledged.get(place, -1))

        self.ask("OffsetCommit", 9, body, answered)


class ClassicClient(Client):
    """The leader assigns, as clients do. Eager: it works on nothing while it joins."""

    session_timeout_ms = certain_for_ms = 10_000

    def begin(self) -> None:
        self.member_id, self.generation, self.synced_generation = "", -1, -1
        self.join()

    def join(self) -> None:
        request = schemas.JOIN_GROUP_REQUEST
        protocols = [request.JoinGroupRequestProtocol(name="range", metadata=subscription(*self.topics))]
        body = request(
            group_id=self.group, session_timeout_ms=self.session_timeout_ms, rebalance_timeout_ms=30_000,
            member_id=self.member_id, group_instance_id=self.instance, protocol_type="consumer", protocols=protocols,
        )  # fmt: skip
        # It works on nothing while it joins.
        self.owned = set()
        self.ask("JoinGroup", 9, body, self.joined)

    def joined(self, answer: Any) -> None:
        code = answer.code if isinstance(answer, ApiError) else getattr(answer, "error_code", Code.REQUEST_TIMED_OUT)
        if code == Code.MEMBER_ID_REQUIRED:
            self.member_id, self.synced_generation = answer.member_id, -1
            self.join()
        elif code:
            if code in (Code.UNKNOWN_MEMBER_ID, Code.FENCED_INSTANCE_ID):
                self.member_id = ""
            self.later(100, self.join)
        else:
            if self.member_id != answer.member_id:
                self.synced_generation = -1
            self.member_id, self.generation = answer.member_id, answer.generation_id
            self.protocol = answer.protocol_name
            leads = answer.leader == self.member_id and not answer.skip_assignment
            self.sync(self.plan(answer.members) if leads else [])

    def plan(self, members: list[Any]) -> list[Any]:
        row = schemas.SYNC_GROUP_REQUEST.SyncGroupRequestAssignment
        names = sorted(member.member_id for member in members)
        message = schemas.CONSUMER_PROTOCOL_ASSIGNMENT
        found = []
        for at, name in enumerate(names):
            places = [
                message.TopicPartition(topic=topic, partitions=list(range(at, self.world.partition_counts[topic], len(names))))
                for topic in self.topics
            ]
            assignment = b"\x00\x00" + bytes(message.encode(message(assigned_partitions=places), 0))
            found.append(row(member_id=name, assignment=assignment))
        return found

    def sync(self, assignments: list[Any]) -> None:
        body = schemas.SYNC_GROUP_REQUEST(
            group_id=self.group, generation_id=self.generation, member_id=self.member_id, group_instance_id=self.instance,
            protocol_type="consumer", protocol_name=self.protocol, assignments=assignments,
        )  # fmt: skip
        sent_at = self.world.now
        self.ask("SyncGroup", 5, body, lambda answer: self.synced(answer, sent_at))

    def synced(self, answer: Any, sent_at: int) -> None:
        code = answer.code if isinstance(answer, ApiError) else getattr(answer, "error_code", Code.REQUEST_TIMED_OUT)
        if code:
            if code in (Code.UNKNOWN_MEMBER_ID, Code.FENCED_INSTANCE_ID):
                self.member_id = ""
            self.later(100, self.join)
            return
        self.synced_generation = self.generation
        places = parse_assignment(bytes(answer.assignment))
        self.owned = {(topic, partition) for topic, partitions in places.items() for partition in partitions}
        self.heard_at = sent_at
        self.later(3_000, self.beat)

    def beat(self) -> None:
        body = schemas.HEARTBEAT_REQUEST(
            group_id=self.group, generation_id=self.generation, member_id=self.member_id, group_instance_id=self.instance
        )
        sent_at = self.world.now
        self.ask("Heartbeat", 4, body, lambda answer: self.beaten(answer, sent_at))
        self.commit(self.member_id, self.generation)

    def beaten(self, answer: Any, sent_at: int) -> None:
        code = answer.code if isinstance(answer, ApiError) else getattr(answer, "error_code", Code.REQUEST_TIMED_OUT)
        if code == 0:
            self.heard_at = sent_at
        if code in (Code.REBALANCE_IN_PROGRESS, Code.ILLEGAL_GENERATION):
            self.join()
        elif code in (Code.UNKNOWN_MEMBER_ID, Code.FENCED_INSTANCE_ID):
            self.member_id = ""
            self.join()
        else:
            self.later(3_000, self.beat)

    def leave(self) -> None:
        if self.is_alive and self.member_id and self.instance is None:
            row = schemas.LEAVE_GROUP_REQUEST.MemberIdentity(member_id=self.member_id)
            self.ask("LeaveGroup", 5, schemas.LEAVE_GROUP_REQUEST(group_id=self.group, members=[row]), lambda answer: None)
        self.crash()


class ConsumerClient(Client):
    """KIP-848: one heartbeat at a time; gives back at once what it is asked for."""

    request_timeout_ms = 5_000
    session_timeout_ms = 45_000
    # It may have been asked to give back by an answer that was lost: from then on it has so long, whatever it hears later.
    certain_for_ms = rebalance_timeout_ms = 30_000
    settled_at = 0
    """When it sent the last heartbeat whose answer asked nothing of it."""

    @property
    def certain_at(self) -> int:
        return self.settled_at

    def begin(self) -> None:
        self.member_id = f"{self.name}-{self.life}"
        self.join()

    def join(self) -> None:
        self.epoch, self.owned, self.heard_at, self.settled_at = 0, set(), self.world.now, self.world.now
        self.beat(full=True)

    def beat(self, full: bool = False) -> None:
        if self.world.now - self.heard_at > self.session_timeout_ms and self.epoch:
            self.join()
            return
        request = schemas.CONSUMER_GROUP_HEARTBEAT_REQUEST
        fields: dict[str, Any] = {}
        if full:
            rows = []
            for topic in self.topics:
                own = sorted(p for name, p in self.owned if name == topic)
                if own:
                    rows.append(request.TopicPartitions(topic_id=topic_id(topic), partitions=own))
            fields = {
                "rebalance_timeout_ms": self.rebalance_timeout_ms, "subscribed_topic_names": list(self.topics),
                "topic_partitions": rows,
            }  # fmt: skip
        body = request(
            group_id=self.group, member_id=self.member_id, member_epoch=self.epoch, instance_id=self.instance, **fields
        )
        sent_at = self.world.now
        self.ask("ConsumerGroupHeartbeat", 1, body, lambda answer: self.beaten(answer, sent_at))

    def beaten(self, answer: Any, sent_at: int) -> None:
        if answer is None:
            # Whatever it said may be lost: the next tells everything.
            self.beat(full=True)
            return
        code = answer.code if isinstance(answer, ApiError) else answer.error_code
        if code in (Code.UNKNOWN_MEMBER_ID, Code.FENCED_MEMBER_EPOCH, Code.GROUP_ID_NOT_FOUND):
            self.owned = set()
            self.later(100, self.join)
            return
        if code == Code.FENCED_INSTANCE_ID:
            self.crash()
            return
        if code:
            self.later(500, lambda: self.beat(full=True))
            return
        self.heard_at = sent_at
        self.epoch = answer.member_epoch
        gave_back = False
        if answer.assignment is not None:
            told = {
                (topic, p)
                for row in answer.assignment.topic_partitions
                for topic in self.topics
                if topic_id(topic) == row.topic_id
                for p in row.partitions
            }
            gave_back = bool(self.owned - told)
            self.owned = told
        if not gave_back:
            self.settled_at = sent_at
        self.commit(self.member_id, self.epoch)
        if gave_back:
            self.beat(full=True)
        else:
            self.later(answer.heartbeat_interval_ms, self.beat)

    def leave(self) -> None:
        if self.is_alive and self.epoch > 0:
            epoch = -2 if self.instance is not None else -1
            body = schemas.CONSUMER_GROUP_HEARTBEAT_REQUEST(
                group_id=self.group, member_id=self.member_id, member_epoch=epoch, instance_id=self.instance
            )
            self.ask("ConsumerGroupHeartbeat", 1, body, lambda answer: None)
        self.crash()
