"""Both protocols in one group (KIP-848, migration): members of the classic protocol are served by the consumer protocol's
state, and groups change from one kind to the other while they work. Pure.

    classic group --first ConsumerGroupHeartbeat, policy allows it--> consumer group with classic members
    consumer group --the last member of its own protocol is gone, policy allows it--> classic group, which rebalances

A classic member of a consumer group joins to take its next step, syncs to be told what it has, and is told to join again
(REBALANCE_IN_PROGRESS) whenever there is a step to take. It never leads: the server assigns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from cluster.coordinator.group import classic_rules, consumer_records, consumer_rules, records
from cluster.coordinator.group.classic import (
    CONSUMER_PROTOCOL,
    STABLE,
    ClassicGroup,
    Member,
    parse_assignment,
    parse_subscription,
)
from cluster.coordinator.group.consumer import (
    UNRELEASED,
    UNREVOKED,
    ClassicSide,
    ConsumerGroup,
    ConsumerMember,
    Partitions,
)
from cluster.coordinator.group.consumer_rules import Surroundings
from cluster.coordinator.group.settings import GroupSettings
from cluster.coordinator.group.topics import GroupTopics
from cluster.coordinator.group.turn import Turn
from cluster.coordinator.values import Record, Request
from pykafkacore.protocol.errors import ApiError, Code
from pykafkacore.protocol.schemas import groups as schemas

MAY_UPGRADE = frozenset({"upgrade", "bidirectional"})
MAY_DOWNGRADE = frozenset({"downgrade", "bidirectional"})


# --- a classic group becomes a consumer group -------------------------------------------------------------------------------


def can_upgrade(group: ClassicGroup, around: Surroundings) -> bool:
    """Its members speak the consumers' embedded protocol, and the policy allows it."""
    return (
        around.settings.migration in MAY_UPGRADE
        and group.protocol_type == CONSUMER_PROTOCOL
        and len(group.members) < around.settings.size_max
        and all(parse_subscription(_newest_metadata(member)) is not None for member in group.members.values())
    )


def upgraded(turn: Turn, group: ClassicGroup, topics: GroupTopics) -> ConsumerGroup:
    """The consumer group that a classic one becomes, with the records that make it so. Who waits is told to rejoin."""
    found: list[Record] = [records.group_tombstone(group.group_id)]
    current: list[Record] = []
    names: set[str] = set()
    for member in group.members.values():
        subscription = parse_subscription(_newest_metadata(member))
        assert subscription is not None, "only groups whose subscriptions can be read are upgraded"
        names.update(subscription.topics)
        assigned = _ids(parse_assignment(member.assignment), topics)
        made = ConsumerMember(
            member.member_id,
            instance_id=member.instance_id,
            rack_id=subscription.rack_id,
            client_id=member.client_id,
            client_host=member.client_host,
            topics=frozenset(subscription.topics),
            rebalance_timeout_ms=member.rebalance_timeout_ms,
            classic=ClassicSide(member.session_timeout_ms, member.protocols),
            member_epoch=group.generation,
            previous_epoch=group.generation,
            assigned={t: dict.fromkeys(ps, group.generation) for t, ps in assigned.items()},
        )
        found.append(consumer_records.member_record(group.group_id, made))
        current.append(consumer_records.target_record(group.group_id, member.member_id, assigned))
        current.append(consumer_records.current_record(group.group_id, made))
        classic_rules.fail_waiting(turn, member, Code.REBALANCE_IN_PROGRESS)
        key = (group.group_id, member.member_id)
        turn.cancel_timer("session", key)
        turn.set_timer("consumer session", key, turn.now + member.session_timeout_ms)
    for kind in ("join", "sync"):
        turn.cancel_timer(kind, group.group_id)
    described = topics.described(frozenset(names))
    found.append(consumer_records.epoch_record(group.group_id, group.generation, described.hash))
    found.append(consumer_records.target_epoch_record(group.group_id, group.generation, turn.now))
    found.extend(current)
    turn.records.extend(found)
    # What the records will make, for the rest of this very decision.
    made_group = ConsumerGroup(group.group_id)
    for record in found[1:]:
        made_group.apply(record)
    return made_group


def _newest_metadata(member: Member) -> bytes:
    return member.protocols[0][1] if member.protocols else b""


def _ids(places: Mapping[str, Any], topics: GroupTopics) -> dict[bytes, frozenset[int]]:
    """Partitions by topic id, of topics that exist."""
    described = topics.described(frozenset(places)).topics
    return {topic_id: frozenset(places[topic.name]) for topic_id, topic in described.items() if places[topic.name]}


# --- a consumer group becomes a classic group ---------------------------------------------------------------------------------


def must_downgrade(members: Mapping[str, ConsumerMember], around: Surroundings) -> bool:
    only_classic = bool(members) and all(member.classic is not None for member in members.values())
    return only_classic and around.settings.migration in MAY_DOWNGRADE


def downgrade(turn: Turn, gone: set[str], around: Surroundings, settings: GroupSettings) -> None:
    """The members that are left speak the classic protocol: their group is one again, and rebalances.

    INVARIANT: what a member has not given back stands as its own, for the group may be of both protocols again before the
    member hears of any of it. KAFKA: 4.4 writes down the target, and then gives the rest to somebody else.
    """
    group: ConsumerGroup = turn.group
    turn.records.extend(consumer_records.group_tombstones(group))
    members = {}
    for member_id, member in group.members.items():
        turn.cancel_timer("consumer session", (group.group_id, member_id))
        turn.cancel_timer("consumer rebalance", (group.group_id, member_id))
        if member_id in gone or member.classic is None:
            continue
        version = _version_of(member)
        members[member_id] = Member(
            member_id,
            member.instance_id,
            member.client_id,
            member.client_host,
            member.classic.session_timeout_ms,
            member.rebalance_timeout_ms,
            member.classic.protocols,
            assignment_bytes(_held(member), around.topics, version),
        )
        turn.set_timer("session", (group.group_id, member_id), turn.now + member.classic.session_timeout_ms)
    classic = ClassicGroup(
        group.group_id,
        state=STABLE,
        generation=group.group_epoch,
        protocol_type=CONSUMER_PROTOCOL,
        leader_id=next(iter(members)),
        members=members,
        state_since_ms=turn.now,
    )
    classic = replace(classic, protocol=classic.elected_protocol())
    turn.records.append(records.group_record(classic))
    turn.become(classic)
    classic_rules.prepare_rebalance(turn, settings)


def _held(member: ConsumerMember) -> Partitions:
    parts = (member.assigned, member.revoking)
    return {
        topic_id: frozenset().union(*(part.get(topic_id, ()) for part in parts))
        for topic_id in member.assigned.keys() | member.revoking.keys()
    }


# --- classic members of a consumer group ----------------------------------------------------------------------------------------


def join(turn: Turn, request: Request, around: Surroundings) -> Any:
    body, group, version = request.body, turn.group, request.api_version
    protocols = tuple((each.name, each.metadata) for each in body.protocols)
    subscription = parse_subscription(protocols[0][1]) if protocols else None
    if body.protocol_type != CONSUMER_PROTOCOL or subscription is None or not _is_common(group, body, protocols):
        return classic_rules.refused_join(Code.INCONSISTENT_GROUP_PROTOCOL, body.member_id, version)
    is_dynamic = body.group_instance_id is None
    if body.member_id == "" and is_dynamic and version >= classic_rules.MEMBER_ID_FIRST_SINCE:
        member_id = f"{request.client_id}-{request.fresh_id}"
        return classic_rules.refused_join(Code.MEMBER_ID_REQUIRED, member_id, version)
    prefix = request.client_id if is_dynamic else body.group_instance_id
    member_id = body.member_id or f"{prefix}-{request.fresh_id}"
    admitted, owned = _admit(turn, body, member_id, subscription, around)
    member = replace(
        admitted.member,
        instance_id=body.group_instance_id,
        rack_id=subscription.rack_id,
        client_id=request.client_id,
        client_host=request.client_host,
        topics=frozenset(subscription.topics),
        regex=None,
        rebalance_timeout_ms=body.rebalance_timeout_ms if version >= 1 else body.session_timeout_ms,
        assignor=None,
        classic=ClassicSide(body.session_timeout_ms, protocols),
    )
    settled = consumer_rules.step(turn, admitted, member, owned, around)
    _await_heartbeat(turn, settled)
    turn.cancel_timer("consumer rejoin", (group.group_id, settled.member_id))
    return schemas.JOIN_GROUP_RESPONSE(
        generation_id=settled.member_epoch,
        protocol_type=CONSUMER_PROTOCOL,
        protocol_name=protocols[0][0],
        member_id=settled.member_id,
    )


def _is_common(group: ConsumerGroup, body: Any, protocols: tuple[tuple[str, bytes], ...]) -> bool:
    """Every classic member of the group supports one of the protocols, in case it becomes a classic group again."""
    names = {name for name, _ in protocols}
    for member in group.members.values():
        if member.classic is not None and member.member_id != body.member_id:
            names &= {name for name, _ in member.classic.protocols}
    return bool(names)


def _admit(
    turn: Turn, body: Any, member_id: str, subscription: Any, around: Surroundings
) -> tuple[consumer_rules.Admitted, list[Any] | None]:
    group: ConsumerGroup = turn.group
    owned = _owned(subscription, around.topics)
    if body.group_instance_id is not None:
        holder = group.static_member(body.group_instance_id)
        if holder is None:
            if body.member_id:
                raise ApiError(Code.UNKNOWN_MEMBER_ID, f"instance {body.group_instance_id} is not in the group")
        elif holder.member_id == member_id:
            return consumer_rules.Admitted(holder), owned
        elif body.member_id:
            raise ApiError(Code.FENCED_INSTANCE_ID, f"instance {body.group_instance_id} is another member now")
        else:
            return consumer_rules.take_over(turn, holder, member_id), []
    known = group.members.get(member_id)
    if known is not None:
        return consumer_rules.Admitted(known), owned
    consumer_rules.check_size(group, around)
    return consumer_rules.Admitted(ConsumerMember(member_id), is_new=True), []


def _owned(subscription: Any, topics: GroupTopics) -> list[Any]:
    """What it says it still has. An eager client gives everything back before it joins, and says nothing."""
    places: dict[str, list[int]] = {}
    for row in subscription.owned_partitions:
        places.setdefault(row.topic, []).extend(row.partitions)
    row_type = schemas.CONSUMER_GROUP_HEARTBEAT_REQUEST.TopicPartitions
    return [row_type(topic_id=t, partitions=sorted(ps)) for t, ps in _ids(places, topics).items()]


def sync(turn: Turn, request: Request, around: Surroundings) -> Any:
    body, group = request.body, turn.group
    member, error = _classic_member(group, body)
    if member is None or error:
        return classic_rules.refused_sync(error)
    assert member.classic is not None
    names = {name for name, _ in member.classic.protocols}
    wrong_type = body.protocol_type is not None and body.protocol_type != CONSUMER_PROTOCOL
    if wrong_type or (body.protocol_name is not None and body.protocol_name not in names):
        return classic_rules.refused_sync(Code.INCONSISTENT_GROUP_PROTOCOL)
    if group.group_epoch > member.member_epoch and member.state != UNREVOKED:
        _await_rejoin(turn, member)
        return classic_rules.refused_sync(Code.REBALANCE_IN_PROGRESS)
    _await_heartbeat(turn, member)
    places = {topic_id: frozenset(epochs) for topic_id, epochs in member.assigned.items()}
    return schemas.SYNC_GROUP_RESPONSE(
        protocol_type=CONSUMER_PROTOCOL,
        protocol_name=body.protocol_name or member.classic.protocols[0][0],
        assignment=assignment_bytes(places, around.topics, _version_of(member)),
    )


def heartbeat(turn: Turn, request: Request) -> Any:
    group: ConsumerGroup = turn.group
    message = schemas.HEARTBEAT_RESPONSE
    member, error = _classic_member(group, request.body)
    if member is None or error:
        return message(error_code=error)
    _await_heartbeat(turn, member)
    waits = member.state == UNRELEASED and _is_held(group, member)
    is_behind = member.member_epoch < group.group_epoch
    if is_behind or member.state == UNREVOKED or (member.state == UNRELEASED and not waits):
        _await_rejoin(turn, member)
        return message(error_code=Code.REBALANCE_IN_PROGRESS)
    return message()


def leave(turn: Turn, member_id: str, instance_id: str | None) -> tuple[str | None, int]:
    """(the member that is to go, the error code of its row)."""
    group: ConsumerGroup = turn.group
    if instance_id is not None:
        holder = group.static_member(instance_id)
        if holder is None:
            return None, Code.UNKNOWN_MEMBER_ID
        if member_id and holder.member_id != member_id:
            return None, Code.FENCED_INSTANCE_ID
        return holder.member_id, 0
    return (member_id, 0) if member_id in group.members else (None, Code.UNKNOWN_MEMBER_ID)


def _classic_member(group: ConsumerGroup, body: Any) -> tuple[ConsumerMember | None, int]:
    if body.group_instance_id is not None:
        holder = group.static_member(body.group_instance_id)
        if holder is None:
            return None, Code.UNKNOWN_MEMBER_ID
        if holder.member_id != body.member_id:
            return None, Code.FENCED_INSTANCE_ID
    member = group.members.get(body.member_id)
    if member is None or member.classic is None:
        return None, Code.UNKNOWN_MEMBER_ID
    return member, Code.ILLEGAL_GENERATION if body.generation_id != member.member_epoch else 0


def _is_held(group: ConsumerGroup, member: ConsumerMember) -> bool:
    """Something that it is to have is still another's."""
    target = group.target_of(member.member_id)
    return any(
        group.holder(topic_id, partition) not in (None, member.member_id)
        for topic_id, partitions in target.items()
        for partition in partitions
    )


def _await_heartbeat(turn: Turn, member: ConsumerMember) -> None:
    assert member.classic is not None
    key = (turn.group.group_id, member.member_id)
    turn.set_timer("consumer session", key, turn.now + member.classic.session_timeout_ms)


def _await_rejoin(turn: Turn, member: ConsumerMember) -> None:
    """It has been told to join again: it has its rebalance timeout for that, counted from the first time."""
    turn.set_timer_once(
        "consumer rejoin", (turn.group.group_id, member.member_id), turn.now + max(0, member.rebalance_timeout_ms)
    )


# --- the embedded protocol ------------------------------------------------------------------------------------------------------


def _version_of(member: ConsumerMember) -> int:
    """The version in which the member itself writes."""
    assert member.classic is not None
    metadata = member.classic.protocols[0][1] if member.classic.protocols else b""
    version = int.from_bytes(metadata[:2], "big", signed=True)
    return max(0, min(version, schemas.CONSUMER_PROTOCOL_ASSIGNMENT.versions[1]))


def assignment_bytes(partitions: Partitions, topics: GroupTopics, version: int) -> bytes:
    message = schemas.CONSUMER_PROTOCOL_ASSIGNMENT
    rows = [
        message.TopicPartition(topic=topics.name_of(topic_id), partitions=sorted(partitions[topic_id]))
        for topic_id in sorted(partitions)
        if topics.name_of(topic_id)
    ]
    body = message.encode(message(assigned_partitions=rows, user_data=None), version)
    return version.to_bytes(2, "big") + bytes(body)
