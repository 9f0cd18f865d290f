"""The group coordinator of one partition of `__consumer_offsets`: routes what comes to the subjects, holds what they decide.

    JoinGroup SyncGroup Heartbeat LeaveGroup              classic_rules
    ConsumerGroupHeartbeat                                consumer_rules; both protocols in one group: mixed_rules
    OffsetCommit TxnOffsetCommit OffsetFetch OffsetDelete offset_rules
    DescribeGroups ConsumerGroupDescribe ListGroups       describing; DeleteGroups here
    EndTransaction                                        a marker for offsets committed in a transaction

INVARIANT: a group is a value; only `apply` (what the log says) and `observe` (what a decision came to) put another in its
place, and after a reload the first alone has told everything that was acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from cluster.coordinator.group import (
    classic_rules,
    consumer_records,
    consumer_rules,
    describing,
    mixed_rules,
    offset_rules,
    records,
)
from cluster.coordinator.group.classic import (
    CONSUMER_PROTOCOL,
    DEAD,
    EMPTY,
    ClassicGroup,
    group_from,
)
from cluster.coordinator.group.consumer import CONSUMER_KEYS, JOINS, LEAVES, UNREVOKED, AssignmentJob, ConsumerGroup
from cluster.coordinator.group.consumer_rules import Surroundings
from cluster.coordinator.group.offsets import Offsets, committed_from
from cluster.coordinator.group.settings import ConsumerSettings, GroupSettings
from cluster.coordinator.group.topics import GroupTopics
from cluster.coordinator.group.turn import Group, GroupIs, Turn
from cluster.coordinator.standing import ALL
from cluster.coordinator.values import Logged, Marker, Pending, Record, Request
from cluster.rebalance.check import BadAssignment
from cluster.shard import Millis, Offset, Outcome, SetTimer, Timer, TransactionalBatch
from pykafkacore.policies.assignor import ConsumerGroupAssignor
from pykafkacore.protocol.errors import ApiError, Code
from pykafkacore.protocol.schemas import coordinator_records as schemas_of_records
from pykafkacore.protocol.schemas import groups as schemas

EXPIRE_OFFSETS = Timer("expire offsets")


class EndTransaction(Struct, frozen=True):
    """A transaction coordinator's marker for this partition."""

    producer_id: int
    producer_epoch: int
    is_commit: bool
    coordinator_epoch: int


class MarkerSeen(Struct, frozen=True):
    """Asks where the last marker of a producer stands: before its transaction is verified, and again afterwards."""

    producer_id: int


class OffsetsOfTransaction(Struct, frozen=True):
    """A TxnOffsetCommit, verified after `marker_offset` was the producer's last marker."""

    request: Any
    marker_offset: int


class TopicsDeleted(Struct, frozen=True):
    """Offsets of these topics are nobody's any more."""

    names: frozenset[str]


class MetadataIs(Struct, frozen=True):
    """The topics of the cluster are these now: a request, and the fact that it leads to."""

    topics: GroupTopics


class AssignmentComputed(Struct, frozen=True):
    """What a user's assignor handed back, or the exception that it ended with."""

    job: AssignmentJob
    assignment: Any


class GroupShard:
    def __init__(
        self,
        settings: GroupSettings,
        topics: GroupTopics,
        consumer_settings: Callable[[str], ConsumerSettings],
        assignors: Mapping[str, ConsumerGroupAssignor],
    ) -> None:
        """`consumer_settings(group id)`; `assignors`: by name, the default first."""
        self.settings = settings
        self.topics = topics
        self.consumer_settings = consumer_settings
        self.assignors = assignors
        self.groups: dict[str, Group] = {}
        self.offsets = Offsets()
        self.touched: set[Any] = set()
        """The groups that have changed since the runtime looked."""

    # --- the shard's contract -------------------------------------------------------------------------------------------

    def will_write_at(self, offset: Offset) -> None:
        pass

    def handle(self, request: Any, now: Millis) -> Outcome:
        if isinstance(request, Request):
            return _HANDLERS[request.api_name](self, request, now)
        if isinstance(request, EndTransaction):
            return self._end_transaction(request)
        if isinstance(request, MarkerSeen):
            return Outcome(response=self.offsets.marker_offset(request.producer_id))
        if isinstance(request, TopicsDeleted):
            return self._topics_deleted(request)
        if isinstance(request, MetadataIs):
            return Outcome(facts=(request,))
        assert isinstance(request, AssignmentComputed), f"no request of groups: {request!r}"
        return self._assignment_computed(request, now)

    def apply(self, offset: Offset, logged: Logged) -> None:
        if isinstance(logged, Record):
            record = logged
        else:
            marker_offset = offset if isinstance(logged, Marker) else None
            self.offsets.apply_producer(logged.producer_id, logged.producer_epoch, marker_offset)
            if isinstance(logged, Marker):
                for group_id in self.offsets.apply_marker(logged.producer_id, logged.is_commit):
                    self._tidy(group_id)
                return
            record = logged.record
        if records.is_offset(record):
            self._apply_offset(offset, logged, record)
        elif records.is_classic_group(record):
            self._apply_group(record)
        else:
            self._apply_consumer(record)

    def observe(self, fact: GroupIs | MetadataIs, now: Millis) -> None:
        self.touched.add(ALL if isinstance(fact, MetadataIs) else fact.group_id)
        if isinstance(fact, MetadataIs):
            self.topics = fact.topics
        elif fact.group is None:
            self.groups.pop(fact.group_id, None)
        else:
            self.groups[fact.group_id] = fact.group

    def activate(self, now: Millis) -> Outcome:
        """Every member is given its session from now on: nobody heard its heartbeats meanwhile."""
        timers: list[SetTimer] = []
        for group in self.groups.values():
            timers.extend(self._sessions(group, now))
        timers.append(SetTimer(EXPIRE_OFFSETS, now + self.settings.offsets_check_interval_ms))
        return Outcome(timers=tuple(timers))

    def _sessions(self, group: Group, now: Millis) -> Iterator[SetTimer]:
        if isinstance(group, ClassicGroup):
            for each in group.members.values():
                yield SetTimer(Timer("session", (group.group_id, each.member_id)), now + each.session_timeout_ms)
            return
        for member in group.members.values():
            key = (group.group_id, member.member_id)
            session_ms = self.consumer_settings(group.group_id).session_timeout_ms
            if member.classic is not None:
                session_ms = member.classic.session_timeout_ms
            yield SetTimer(Timer("consumer session", key), now + session_ms)
            if member.state == UNREVOKED:
                yield SetTimer(Timer("consumer rebalance", key), now + max(0, member.rebalance_timeout_ms))

    def expire(self, timer: Timer, now: Millis) -> Outcome:
        if timer == EXPIRE_OFFSETS:
            return self._expire_offsets(now)
        group_id = timer.key if timer.kind in ("join", "sync") else timer.key[0]
        group = self.groups.get(group_id)
        if group is None:
            return Outcome()
        turn = Turn(group, now)
        if isinstance(group, ConsumerGroup):
            if timer.kind in consumer_rules.MEMBER_TIMERS and timer.key[1] in group.members:
                self._remove(turn, [timer.key[1]])
            return turn.outcome()
        if timer.kind == "session":
            classic_rules.session_is_over(turn, timer.key[1], self.settings)
        elif timer.kind == "join":
            classic_rules.join_time_is_up(turn, self.settings)
        else:
            classic_rules.sync_time_is_up(turn, self.settings)
        return turn.outcome()

    @property
    def consumer_count(self) -> int:
        """Members that send heartbeats of the consumer protocol."""
        return sum(len(group.members) for group in self.groups.values() if isinstance(group, ConsumerGroup))

    # --- what the log makes true ------------------------------------------------------------------------------------------

    def _apply_group(self, record: Record) -> None:
        group_id = record.key.group
        self.touched.add(group_id)
        if record.value is not None:
            self.groups[group_id] = group_from(group_id, record.value)
        else:
            self.groups.pop(group_id, None)
            self._tidy(group_id)

    def _apply_offset(self, offset: Offset, logged: Logged, record: Record) -> None:
        group_id, place = record.key.group, (record.key.topic, record.key.partition)
        committed = None if record.value is None else committed_from(record.value, offset)
        if isinstance(logged, Pending) and committed is not None:
            self.offsets.apply_pending(logged.producer_id, group_id, place, committed)
        else:
            self.offsets.apply(group_id, place, committed)
        if committed is None or group_id not in self.groups:
            self._tidy(group_id)

    def _tidy(self, group_id: str) -> None:
        """A group that only has offsets comes and goes with them."""
        group = self.groups.get(group_id)
        if group is None and self.offsets.has_any(group_id):
            self.groups[group_id] = ClassicGroup(group_id)
        elif isinstance(group, ClassicGroup) and group.is_simple and not group.generation:
            if not self.offsets.has_any(group_id):
                del self.groups[group_id]

    def _apply_consumer(self, record: Record) -> None:
        group_id = getattr(record.key, "group_id", None)
        if group_id is None or record.key_message not in CONSUMER_KEYS:
            return
        self.touched.add(group_id)
        group = self.groups.get(group_id)
        if not isinstance(group, ConsumerGroup):
            if record.value is None:
                return
            # KAFKA: offsets that stand before it in the log have made a simple group of it: it is taken over.
            group = self.groups[group_id] = ConsumerGroup(group_id)
        group.apply(record)
        if record.key_message is schemas_of_records.CONSUMER_GROUP_METADATA_KEY and record.value is None:
            del self.groups[group_id]
            self._tidy(group_id)

    # --- consumer groups ------------------------------------------------------------------------------------------------------

    def _around(self, group_id: str) -> Surroundings:
        return Surroundings(self.topics, self.consumer_settings(group_id), self.assignors)

    def _consumer_heartbeat(self, request: Request, now: Millis) -> Outcome:
        body = request.body
        around = self._around(body.group_id)
        consumer_rules.check_request(request, around)
        group = self.groups.get(body.group_id)
        if isinstance(group, ConsumerGroup):
            turn = Turn(group, now)
            if body.member_epoch == LEAVES:
                gone = consumer_rules.leaving(group, body)
                self._remove(turn, [gone])
                return turn.outcome(consumer_rules.left(body))
        elif body.member_epoch == JOINS and group is not None and mixed_rules.can_upgrade(group, around) and group.members:
            turn = Turn(group, now)
            turn.group = mixed_rules.upgraded(turn, group, self.topics)
        elif body.member_epoch != JOINS or (group is not None and group.state != EMPTY):
            raise ApiError(Code.GROUP_ID_NOT_FOUND, f"there is no consumer group {body.group_id}")
        else:
            turn = Turn(ConsumerGroup(body.group_id), now)
            if group is not None:
                turn.records.extend(_tombstones(group))
        response = consumer_rules.heartbeat(turn, request, around)
        return turn.outcome(response)

    def _remove(self, turn: Turn, member_ids: list[str]) -> None:
        """Members of a consumer group are gone; if only classic ones are left, so may be the group's kind."""
        group: ConsumerGroup = turn.group
        around = self._around(group.group_id)
        left = {each: member for each, member in group.members.items() if each not in member_ids}
        if any(group.members[each].classic is None for each in member_ids) and mixed_rules.must_downgrade(left, around):
            mixed_rules.downgrade(turn, set(member_ids), around, self.settings)
        else:
            consumer_rules.remove(turn, member_ids, around)

    def _assignment_computed(self, request: AssignmentComputed, now: Millis) -> Outcome:
        """The response is None, or says why the assignment was not taken."""
        group = self.groups.get(request.job.group_id)
        if not isinstance(group, ConsumerGroup):
            return Outcome()
        turn = Turn(group, now)
        try:
            if isinstance(request.assignment, Exception):
                raise BadAssignment(f"{type(request.assignment).__name__}: {request.assignment}")
            consumer_rules.computed(turn, request.job, request.assignment)
        except BadAssignment as problem:
            return Outcome(response=str(problem))
        return turn.outcome()

    def _describe_consumer(self, request: Request, now: Millis) -> Outcome:
        """`body` is a group's id."""
        group = self.groups.get(request.body)
        default_assignor = self._around(request.body).default_assignor
        return Outcome(response=describing.consumer(request.body, group, self.topics, default_assignor))

    # --- classic groups ---------------------------------------------------------------------------------------------------

    def _join(self, request: Request, now: Millis) -> Outcome:
        body, version = request.body, request.api_version
        if not body.group_id:
            return Outcome(response=classic_rules.refused_join(Code.INVALID_GROUP_ID, body.member_id, version))
        low, high = self.settings.session_timeout_ms_min, self.settings.session_timeout_ms_max
        if not low <= body.session_timeout_ms <= high:
            return Outcome(response=classic_rules.refused_join(Code.INVALID_SESSION_TIMEOUT, body.member_id, version))
        group = self.groups.get(body.group_id)
        if group is None:
            if body.member_id:
                return Outcome(response=classic_rules.refused_join(Code.UNKNOWN_MEMBER_ID, body.member_id, version))
            group = ClassicGroup(body.group_id, state_since_ms=now)
        tombstones: list[Record] = []
        if isinstance(group, ConsumerGroup):
            if group.members:
                turn = Turn(group, now)
                return turn.outcome(mixed_rules.join(turn, request, self._around(body.group_id)))
            tombstones = _tombstones(group)
            group = ClassicGroup(body.group_id, state_since_ms=now)
        turn = Turn(group, now)
        turn.records.extend(tombstones)
        return turn.outcome(classic_rules.join(turn, request, self.settings))

    def _sync(self, request: Request, now: Millis) -> Outcome:
        group = self.groups.get(request.body.group_id)
        if not request.body.group_id or group is None:
            code = Code.UNKNOWN_MEMBER_ID if request.body.group_id else Code.INVALID_GROUP_ID
            return Outcome(response=classic_rules.refused_sync(code))
        turn = Turn(group, now)
        if isinstance(group, ConsumerGroup):
            return turn.outcome(mixed_rules.sync(turn, request, self._around(group.group_id)))
        return turn.outcome(classic_rules.sync(turn, request))

    def _heartbeat(self, request: Request, now: Millis) -> Outcome:
        group = self.groups.get(request.body.group_id)
        if not request.body.group_id or group is None:
            code = Code.UNKNOWN_MEMBER_ID if request.body.group_id else Code.INVALID_GROUP_ID
            return Outcome(response=schemas.HEARTBEAT_RESPONSE(error_code=code))
        turn = Turn(group, now)
        if isinstance(group, ConsumerGroup):
            return turn.outcome(mixed_rules.heartbeat(turn, request))
        return turn.outcome(classic_rules.heartbeat(turn, request))

    def _leave(self, request: Request, now: Millis) -> Outcome:
        body, message = request.body, schemas.LEAVE_GROUP_RESPONSE
        group = self.groups.get(body.group_id)
        identity = schemas.LEAVE_GROUP_REQUEST.MemberIdentity
        members = body.members if request.api_version >= 3 else [identity(member_id=body.member_id)]
        if not body.group_id:
            return Outcome(response=message(error_code=Code.INVALID_GROUP_ID))
        turn = Turn(group if group is not None else ClassicGroup(body.group_id), now)
        response, gone = message(), []
        for each in members:
            error: int = Code.UNKNOWN_MEMBER_ID
            if isinstance(group, ConsumerGroup):
                member_id, error = mixed_rules.leave(turn, each.member_id, each.group_instance_id)
                gone.extend([member_id] if member_id is not None and member_id not in gone else [])
            elif group is not None:
                error = classic_rules.leave(turn, each.member_id, each.group_instance_id, self.settings)
            response.members.append(
                message.MemberResponse(
                    member_id=each.member_id, group_instance_id=each.group_instance_id, error_code=error
                )
            )
        if gone:
            self._remove(turn, gone)
        if request.api_version < 3:
            response = message(error_code=response.members[0].error_code)
        return turn.outcome(response)

    # --- offsets ------------------------------------------------------------------------------------------------------------

    def _commit(self, request: Request, now: Millis) -> Outcome:
        body = request.body
        group = self.groups.get(body.group_id)
        if isinstance(group, ConsumerGroup):
            member = consumer_rules.check_commit(group, request, is_transactional=False)
            found, response = offset_rules.commit(request, now, self.settings, member)
            return Outcome(records=found, response=response)
        offset_rules.check_classic_commit(group, body, request.api_version, is_transactional=False)
        found, response = offset_rules.commit(request, now, self.settings)
        if group is None or body.member_id not in group.members:
            return Outcome(records=found, response=response)
        turn = Turn(group, now)
        classic_rules.renew_session(turn, body.member_id)
        turn.records.extend(found)
        return turn.outcome(response)

    def _commit_in_transaction(self, request: Request, now: Millis) -> Outcome:
        """`body` is an OffsetsOfTransaction."""
        body, marker_offset = request.body.request, request.body.marker_offset
        request = replace(request, body=body)
        if self.offsets.marker_offset(body.producer_id) != marker_offset:
            raise ApiError(Code.INVALID_TXN_STATE, "the transaction ended while its offsets came")
        group = self.groups.get(body.group_id)
        if self.offsets.is_fenced(body.producer_id, body.producer_epoch):
            raise ApiError(Code.INVALID_PRODUCER_EPOCH, f"producer_epoch {body.producer_epoch} is fenced")
        if isinstance(group, ConsumerGroup):
            consumer_rules.check_commit(group, request, is_transactional=True)
        else:
            offset_rules.check_classic_commit(group, body, request.api_version, is_transactional=True)
        found, response = offset_rules.commit_in_transaction(request, now, self.settings)
        transaction = TransactionalBatch(body.producer_id, body.producer_epoch) if found else None
        return Outcome(records=found, response=response, transaction=transaction)

    def _end_transaction(self, request: EndTransaction) -> Outcome:
        if self.offsets.is_fenced(request.producer_id, request.producer_epoch):
            raise ApiError(Code.INVALID_PRODUCER_EPOCH, f"producer_epoch {request.producer_epoch} is fenced")
        marker = Marker(request.producer_id, request.producer_epoch, request.is_commit)
        batch = TransactionalBatch(
            request.producer_id, request.producer_epoch, request.is_commit, request.coordinator_epoch
        )
        return Outcome(records=(marker,), response=0, transaction=batch)

    def _fetch(self, request: Request, now: Millis) -> Outcome:
        """`body` is one group of an OffsetFetch, as (group, require_stable)."""
        group, require_stable = request.body
        known = self.groups.get(group.group_id)
        if isinstance(known, ConsumerGroup):
            consumer_rules.check_fetch(known, group.member_id, group.member_epoch)
        return Outcome(response=offset_rules.fetch(self.offsets, group, require_stable))

    def _delete_offsets(self, request: Request, now: Millis) -> Outcome:
        body, message = request.body, schemas.OFFSET_DELETE_RESPONSE
        group = self.groups.get(body.group_id)
        if group is None or group.state == DEAD:
            return Outcome(response=message(error_code=Code.GROUP_ID_NOT_FOUND))
        subscribed: set[str] = set()
        if isinstance(group, ConsumerGroup):
            subscribed = set(group.subscribed_topics())
        elif group.state != EMPTY:
            topics = group.subscribed_topics() if group.protocol_type == CONSUMER_PROTOCOL else None
            if topics is None:
                return Outcome(response=message(error_code=Code.NON_EMPTY_GROUP))
            subscribed = topics
        found, response = offset_rules.delete(self.offsets, body, subscribed)
        return Outcome(records=found, response=response)

    def _topics_deleted(self, request: TopicsDeleted) -> Outcome:
        found = [
            records.offset_tombstone(group_id, *place)
            for group_id in self.offsets.group_ids()
            for place in sorted(self.offsets.of_group(group_id))
            if place[0] in request.names
        ]
        return Outcome(records=found, atomic=False)

    def _expire_offsets(self, now: Millis) -> Outcome:
        found: list[Record] = []
        facts: list[GroupIs] = []
        pending_groups = self.offsets.pending_groups()
        for group in self.groups.values():
            gone = offset_rules.expired(self.offsets, group, now, self.settings)
            found.extend(gone)
            has_left = len(self.offsets.of_group(group.group_id)) > len(gone)
            is_used = group.state != EMPTY or group.group_id in pending_groups
            if not has_left and not is_used and not getattr(group, "pending", None):
                found.extend(_tombstones(group))
                facts.append(GroupIs(group.group_id, None))
        timer = SetTimer(EXPIRE_OFFSETS, now + self.settings.offsets_check_interval_ms)
        return Outcome(records=found, facts=facts, timers=(timer,), atomic=False)

    # --- administration -------------------------------------------------------------------------------------------------------

    def _describe(self, request: Request, now: Millis) -> Outcome:
        """`body` is a group's id."""
        return Outcome(response=describing.classic(request.body, self.groups.get(request.body), request.api_version))

    def _list(self, request: Request, now: Millis) -> Outcome:
        """`body` is a ListGroups request; the response is the list of this partition's groups."""
        return Outcome(response=describing.listed(self.groups.values(), request.body))

    def _delete(self, request: Request, now: Millis) -> Outcome:
        """`body` is a group's id; the response is an error code."""
        group = self.groups.get(request.body)
        if group is None or group.state == DEAD:
            return Outcome(response=Code.GROUP_ID_NOT_FOUND)
        if group.state != EMPTY:
            return Outcome(response=Code.NON_EMPTY_GROUP)
        found = offset_rules.all_tombstones(self.offsets, group.group_id) + _tombstones(group)
        return Outcome(records=found, response=0, facts=(GroupIs(group.group_id, None),))


def _tombstones(group: Group) -> list[Record]:
    if isinstance(group, ConsumerGroup):
        return consumer_records.group_tombstones(group)
    return [records.group_tombstone(group.group_id)] if group.generation or not group.is_simple else []


_HANDLERS: dict[str, Callable[[GroupShard, Request, Millis], Outcome]] = {
    "ConsumerGroupHeartbeat": GroupShard._consumer_heartbeat,
    "ConsumerGroupDescribe": GroupShard._describe_consumer,
    "JoinGroup": GroupShard._join,
    "SyncGroup": GroupShard._sync,
    "Heartbeat": GroupShard._heartbeat,
    "LeaveGroup": GroupShard._leave,
    "OffsetCommit": GroupShard._commit,
    "TxnOffsetCommit": GroupShard._commit_in_transaction,
    "OffsetFetch": GroupShard._fetch,
    "OffsetDelete": GroupShard._delete_offsets,
    "DescribeGroups": GroupShard._describe,
    "ListGroups": GroupShard._list,
    "DeleteGroups": GroupShard._delete,
}


