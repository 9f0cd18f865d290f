"""What a consumer group decides on heartbeats, leaves and lost time (KIP-848). Pure: each function works on a `Turn`.

    "consumer session"    (group, member)   a member was not heard of for its session timeout
    "consumer rebalance"  (group, member)   a member did not give back what it was asked for in its rebalance timeout
    "consumer rejoin"     (group, member)   a member of the classic protocol did not join again in time

A heartbeat goes through four steps, each on what the one before came to: the member, the group's epoch, the target
assignment of that epoch, and the member's own way to its target.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from cluster.coordinator.group import consumer_records as records
from cluster.coordinator.group.consumer import (
    JOINS,
    LEAVES,
    LEAVES_FOR_A_WHILE,
    STABLE,
    UNRELEASED,
    UNREVOKED,
    Assigned,
    AssignmentJob,
    ConsumerGroup,
    ConsumerMember,
    Partitions,
    ResolvedRegex,
)
from cluster.coordinator.group.settings import ConsumerSettings
from cluster.coordinator.group.topics import Described, GroupTopics
from cluster.coordinator.group.turn import Turn
from cluster.coordinator.values import Request
from cluster.rebalance.check import BadAssignment, checked
from pykafkacore.policies.assignor import ConsumerGroupAssignor, GroupMember
from pykafkacore.protocol.errors import ApiError, Code
from pykafkacore.protocol.schemas import groups as schemas

FULL_REQUEST_UNSET = -1
MEMBER_TIMERS = ("consumer session", "consumer rebalance", "consumer rejoin")


class Surroundings(Struct, frozen=True):
    """What a decision about a consumer group needs besides the group."""

    topics: GroupTopics
    settings: ConsumerSettings
    assignors: Mapping[str, ConsumerGroupAssignor]
    """By name, the default first."""
    built_in: frozenset[str] = frozenset({"uniform", "range"})
    """Those that answer at once; any other is given a thread of its own."""

    @property
    def default_assignor(self) -> str:
        return next(iter(self.assignors))


# --- the request ------------------------------------------------------------------------------------------------------------


def check_request(request: Request, around: Surroundings) -> None:
    body, version = request.body, request.api_version
    if not body.group_id:
        raise ApiError(Code.INVALID_REQUEST, "group_id is empty")
    if (version >= 1 or body.member_epoch > 0 or body.member_epoch == LEAVES) and not body.member_id:
        raise ApiError(Code.INVALID_REQUEST, "member_id is empty")
    if body.instance_id == "" or body.rack_id == "":
        raise ApiError(Code.INVALID_REQUEST, "instance_id and rack_id may be null, but not empty")
    if body.member_epoch == JOINS:
        if body.rebalance_timeout_ms == FULL_REQUEST_UNSET:
            raise ApiError(Code.INVALID_REQUEST, "rebalance_timeout_ms is missing in the first request")
        if body.topic_partitions is None or body.topic_partitions:
            raise ApiError(Code.INVALID_REQUEST, "topic_partitions must be empty in the first request")
        if body.subscribed_topic_names is None and body.subscribed_topic_regex is None:
            raise ApiError(Code.INVALID_REQUEST, "subscribed_topic_names or a regex must be set in the first request")
    elif body.member_epoch == LEAVES_FOR_A_WHILE and body.instance_id is None:
        raise ApiError(Code.INVALID_REQUEST, "instance_id is missing, and only static members leave for a while")
    elif body.member_epoch < LEAVES_FOR_A_WHILE:
        raise ApiError(Code.INVALID_REQUEST, f"member_epoch is {body.member_epoch}, below -2")
    if body.server_assignor is not None and body.server_assignor not in around.assignors:
        names = ", ".join(around.assignors)
        raise ApiError(Code.UNSUPPORTED_ASSIGNOR, f"server_assignor {body.server_assignor} is not one of {names}")


def heartbeat(turn: Turn, request: Request, around: Surroundings) -> Any:
    body = request.body
    if body.member_epoch == LEAVES_FOR_A_WHILE:
        return _leave_for_a_while(turn, body)
    group: ConsumerGroup = turn.group
    admitted = _admit(turn, request, around)
    known = admitted.member
    member = _updated(known, request)
    if not admitted.is_fresh and _is_settled(group, known, member, around):
        _renew_session(turn, member, around)
        if _tells_nothing(body):
            key = (group.group_id, member.member_id)
            turn.stand("consumer session", key, around.settings.session_timeout_ms)
        return _response(member, around, _is_full(body))
    settled = step(turn, admitted, member, body.topic_partitions, around)
    tells = _is_full(body) or _places(settled.assigned) != _places(member.assigned)
    return _response(settled, around, tells)


def step(
    turn: Turn, admitted: Admitted, member: ConsumerMember, owned: list[Any] | None, around: Surroundings
) -> ConsumerMember:
    """Takes a member, with what it tells now, as far towards its target as it can go; the member then."""
    group: ConsumerGroup = turn.group
    known = admitted.member
    regexes = _resolve_regex(turn, known, member, around)
    if admitted.is_fresh or member != known:
        turn.records.append(records.member_record(group.group_id, member))
    members = {each: m for each, m in group.members.items() if each != admitted.replaces}
    members[member.member_id] = member
    subscribed = _subscriptions(members, regexes)
    described = around.topics.described(frozenset().union(*subscribed.values()))
    group_epoch = _next_epoch(turn, admitted.is_new or _subscribes_anew(known, member), described)
    target_epoch, target = _next_target(turn, members, subscribed, described, group_epoch, admitted, around)
    own_topics = {t for t, topic in described.topics.items() if topic.name in subscribed[member.member_id]}
    own_target = target.get(member.member_id, {})
    settled = reconciled(group, member, target_epoch, own_target, owned, own_topics, admitted.replaces)
    if settled != member or admitted.is_fresh:
        turn.records.append(records.current_record(group.group_id, settled))
    _set_timers(turn, member, settled, around)
    return settled


def _is_full(body: Any) -> bool:
    """A first request, or one that tells everything: it is told everything."""
    is_full = body.rebalance_timeout_ms != FULL_REQUEST_UNSET and body.topic_partitions is not None
    is_full = is_full and (body.subscribed_topic_names is not None or body.subscribed_topic_regex is not None)
    return body.member_epoch == JOINS or is_full


def _tells_nothing(body: Any) -> bool:
    """It says no more than that the member is alive."""
    told = (body.topic_partitions, body.subscribed_topic_names, body.subscribed_topic_regex, body.server_assignor, body.rack_id)
    return body.rebalance_timeout_ms == FULL_REQUEST_UNSET and all(each is None for each in told)


def _is_settled(group: ConsumerGroup, known: ConsumerMember, member: ConsumerMember, around: Surroundings) -> bool:
    """Nothing is to be decided: the many heartbeats between the few that matter."""
    if member != known or member.state != STABLE or not member.member_epoch == group.target_epoch == group.group_epoch:
        return False
    resolved = group.regexes.get(member.regex) if member.regex else None
    if member.regex and (resolved is None or resolved.version < around.topics.version):
        return False
    return around.topics.described(group.subscribed_topics()).hash == group.metadata_hash


def _subscribes_anew(known: ConsumerMember, member: ConsumerMember) -> bool:
    def what(each: ConsumerMember) -> tuple[Any, ...]:
        return each.topics, each.regex, each.assignor, each.rack_id

    return what(known) != what(member)


def _response(member: ConsumerMember, around: Surroundings, tells_assignment: bool) -> Any:
    message = schemas.CONSUMER_GROUP_HEARTBEAT_RESPONSE
    assignment = None
    if tells_assignment:
        rows = [
            message.TopicPartitions(topic_id=topic_id, partitions=sorted(member.assigned[topic_id]))
            for topic_id in sorted(member.assigned)
        ]
        assignment = message.Assignment(topic_partitions=rows)
    return message(
        member_id=member.member_id,
        member_epoch=member.member_epoch,
        heartbeat_interval_ms=around.settings.heartbeat_interval_ms,
        assignment=assignment,
    )


# --- the member ---------------------------------------------------------------------------------------------------------------


class Admitted(Struct, frozen=True):
    """Who asks: as it is known, new, or a static member back under another id."""

    member: ConsumerMember
    is_new: bool = False
    replaces: str | None = None

    @property
    def is_fresh(self) -> bool:
        """Its id has no records yet."""
        return self.is_new or self.replaces is not None


def _admit(turn: Turn, request: Request, around: Surroundings) -> Admitted:
    body, group = request.body, turn.group
    member_id = body.member_id or request.fresh_id
    if body.instance_id is not None:
        return _admit_static(turn, request, member_id, around)
    member = group.members.get(member_id)
    if member is None:
        if body.member_epoch != JOINS:
            raise ApiError(Code.UNKNOWN_MEMBER_ID, f"member {member_id} is not in group {body.group_id}")
        check_size(group, around)
        return Admitted(ConsumerMember(member_id), is_new=True)
    if body.member_epoch != JOINS:
        _check_epoch(member, body)
    return Admitted(member)


def _admit_static(turn: Turn, request: Request, member_id: str, around: Surroundings) -> Admitted:
    body, group = request.body, turn.group
    holder = group.static_member(body.instance_id)
    if body.member_epoch != JOINS:
        if holder is None:
            raise ApiError(Code.UNKNOWN_MEMBER_ID, f"instance {body.instance_id} is not in group {body.group_id}")
        if holder.member_id != member_id:
            raise ApiError(Code.FENCED_INSTANCE_ID, f"instance {body.instance_id} is another member now")
        _check_epoch(holder, body)
        return Admitted(holder)
    if holder is None:
        check_size(group, around)
        return Admitted(ConsumerMember(member_id, instance_id=body.instance_id), is_new=True)
    if holder.member_id == member_id:
        return Admitted(holder)
    if holder.member_epoch != LEAVES_FOR_A_WHILE:
        raise ApiError(Code.UNRELEASED_INSTANCE_ID, f"instance {body.instance_id} is held by {holder.member_id}")
    return take_over(turn, holder, member_id)


def take_over(turn: Turn, holder: ConsumerMember, member_id: str) -> Admitted:
    """A static member is back under a new id: what was the old one's is its own."""
    group: ConsumerGroup = turn.group
    turn.records.extend(records.member_tombstones(group.group_id, holder.member_id))
    turn.records.append(records.target_record(group.group_id, member_id, group.target_of(holder.member_id)))
    turn.cancel_timer("consumer session", (group.group_id, holder.member_id))
    turn.cancel_timer("consumer rebalance", (group.group_id, holder.member_id))
    member = replace(holder, member_id=member_id, member_epoch=JOINS, previous_epoch=JOINS, state=STABLE, revoking={})
    return Admitted(member, replaces=holder.member_id)


def check_size(group: ConsumerGroup, around: Surroundings) -> None:
    if len(group.members) >= around.settings.size_max:
        raise ApiError(Code.GROUP_MAX_SIZE_REACHED, f"the group has {len(group.members)} members, its largest size")


def _check_epoch(member: ConsumerMember, body: Any) -> None:
    if body.member_epoch == member.member_epoch:
        return
    owned = body.topic_partitions
    # The answer that told it the new epoch may have been lost.
    lost = body.member_epoch == member.previous_epoch and owned is not None
    if lost and all(set(row.partitions) <= member.assigned.get(row.topic_id, {}).keys() for row in owned):
        return
    raise ApiError(Code.FENCED_MEMBER_EPOCH, f"member_epoch is {body.member_epoch}, but {member.member_epoch} here")


def _updated(member: ConsumerMember, request: Request) -> ConsumerMember:
    """With what the request tells anew; null and -1 mean that nothing changed."""
    body = request.body
    changes: dict[str, Any] = {"client_id": request.client_id, "client_host": request.client_host, "classic": None}
    if body.instance_id is not None:
        changes["instance_id"] = body.instance_id
    if body.rack_id is not None:
        changes["rack_id"] = body.rack_id
    if body.rebalance_timeout_ms != FULL_REQUEST_UNSET:
        changes["rebalance_timeout_ms"] = body.rebalance_timeout_ms
    if body.server_assignor is not None:
        changes["assignor"] = body.server_assignor
    if body.subscribed_topic_names is not None:
        changes["topics"] = frozenset(body.subscribed_topic_names)
    if body.subscribed_topic_regex is not None:
        changes["regex"] = body.subscribed_topic_regex or None
    return replace(member, **changes)


def _resolve_regex(
    turn: Turn, known: ConsumerMember, member: ConsumerMember, around: Surroundings
) -> Mapping[str, ResolvedRegex]:
    """Patterns with the topics that match them now: resolved when first used and when the metadata is newer."""
    group: ConsumerGroup = turn.group
    found = dict(group.regexes)
    if known.regex and known.regex != member.regex and not group.uses_regex(known.regex, known.member_id):
        turn.records.append(records.regex_tombstone(group.group_id, known.regex))
        found.pop(known.regex, None)
    regex = member.regex
    if not regex or (regex in found and found[regex].version >= around.topics.version):
        return found
    topics = around.topics.matching(regex)
    if topics is None:
        raise ApiError(Code.INVALID_REGULAR_EXPRESSION, f"subscribed_topic_regex {regex!r} is no regular expression")
    if regex not in found or found[regex].topics != topics:
        found[regex] = ResolvedRegex(topics, around.topics.version, turn.now)
        turn.records.append(records.regex_record(group.group_id, regex, found[regex]))
    return found


def _subscriptions(
    members: Mapping[str, ConsumerMember], regexes: Mapping[str, ResolvedRegex]
) -> dict[str, frozenset[str]]:
    return {
        member_id: member.topics | regexes[member.regex].topics
        if member.regex and member.regex in regexes
        else member.topics
        for member_id, member in members.items()
    }


# --- the epoch and the target -------------------------------------------------------------------------------------------------


def _next_epoch(turn: Turn, subscription_changed: bool, described: Described) -> int:
    group: ConsumerGroup = turn.group
    if not subscription_changed and described.hash == group.metadata_hash:
        return group.group_epoch
    turn.records.append(records.epoch_record(group.group_id, group.group_epoch + 1, described.hash))
    return group.group_epoch + 1


def _next_target(
    turn: Turn,
    members: Mapping[str, ConsumerMember],
    subscribed: Mapping[str, frozenset[str]],
    described: Described,
    group_epoch: int,
    admitted: Admitted,
    around: Surroundings,
) -> tuple[int, Mapping[str, Partitions]]:
    """Target epoch and assignment, computed anew if they are behind and it is time."""
    group: ConsumerGroup = turn.group
    targets = dict(group.target)
    if admitted.replaces is not None:
        targets[admitted.member.member_id] = targets.pop(admitted.replaces, {})
    is_early = group.target_epoch > 0 and turn.now - group.target_ms < around.settings.assignment_interval_ms
    if group_epoch <= group.target_epoch or is_early:
        return group.target_epoch, targets
    topics = described.topics
    by_name = {topic.name: topic_id for topic_id, topic in topics.items()}
    specs = {
        member_id: GroupMember(
            member_id,
            member.instance_id,
            member.rack_id,
            frozenset(by_name[name] for name in subscribed[member_id] if name in by_name),
            targets.get(member_id, {}),
        )
        for member_id, member in members.items()
    }
    name = group.preferred_assignor(members.values(), around.default_assignor)
    if name not in around.assignors:
        name = around.default_assignor
    if name not in around.built_in:
        turn.effects.append(AssignmentJob(group.group_id, group_epoch, name, specs, topics))
        return group.target_epoch, targets
    target = checked(around.assignors[name].assign(specs, topics), specs, topics)
    take_target(turn, group_epoch, target, targets)
    return group_epoch, target


def take_target(turn: Turn, epoch: int, target: Mapping[str, Partitions], before: Mapping[str, Partitions]) -> None:
    group: ConsumerGroup = turn.group
    for member_id in sorted(target):
        if target[member_id] != before.get(member_id, {}) or member_id not in before:
            turn.records.append(records.target_record(group.group_id, member_id, target[member_id]))
    turn.records.append(records.target_epoch_record(group.group_id, epoch, turn.now))


def computed(turn: Turn, job: AssignmentJob, assignment: Any) -> None:
    """What a user's assignor came to. Raises BadAssignment; too late for a newer epoch it is dropped."""
    group: ConsumerGroup = turn.group
    if group.group_epoch != job.group_epoch or group.target_epoch >= job.group_epoch:
        return
    target = checked(assignment, job.members, job.topics)
    if target.keys() != group.members.keys():
        raise BadAssignment("the members of the group changed meanwhile")
    take_target(turn, job.group_epoch, target, group.target)


# --- the member's way to its target -------------------------------------------------------------------------------------------


def reconciled(
    group: ConsumerGroup,
    member: ConsumerMember,
    target_epoch: int,
    target: Partitions,
    owned: list[Any] | None,
    topics: set[bytes],
    replaces: str | None = None,
) -> ConsumerMember:
    """The member's next step. `owned`: what it says it still has, None if it does not say; `topics`: what it wants."""
    if member.state == STABLE and member.member_epoch == target_epoch and member.assigned.keys() <= topics:
        return member
    if member.state == UNREVOKED and (owned is None or _overlap(owned, member.revoking)):
        return member
    # What it no longer subscribes to counts as not in its target.
    target = {topic_id: partitions for topic_id, partitions in target.items() if topic_id in topics}
    kept: Assigned = {}
    revoking: dict[bytes, frozenset[int]] = {}
    for topic_id, epochs in member.assigned.items():
        wanted = target.get(topic_id, frozenset())
        stays = {partition: epoch for partition, epoch in epochs.items() if partition in wanted}
        if stays:
            kept[topic_id] = stays
        if len(stays) < len(epochs):
            revoking[topic_id] = frozenset(epochs.keys() - stays.keys())
    if revoking and (owned is None or _overlap(owned, revoking)):
        return replace(member, state=UNREVOKED, previous_epoch=member.member_epoch, assigned=kept, revoking=revoking)
    has_unreleased = False
    for topic_id, wanted in target.items():
        for partition in wanted - kept.get(topic_id, {}).keys():
            if group.holder(topic_id, partition) in (None, member.member_id, replaces):
                kept.setdefault(topic_id, {})[partition] = target_epoch
            else:
                has_unreleased = True
    return replace(
        member,
        state=UNRELEASED if has_unreleased else STABLE,
        previous_epoch=member.member_epoch,
        member_epoch=target_epoch,
        assigned=kept,
        revoking={},
    )


def _overlap(owned: list[Any], partitions: Partitions) -> bool:
    return any(not partitions.get(row.topic_id, frozenset()).isdisjoint(row.partitions) for row in owned)


def _places(assigned: Assigned) -> dict[bytes, frozenset[int]]:
    return {topic_id: frozenset(epochs) for topic_id, epochs in assigned.items()}


def _renew_session(turn: Turn, member: ConsumerMember, around: Surroundings) -> None:
    key = (turn.group.group_id, member.member_id)
    turn.set_timer("consumer session", key, turn.now + around.settings.session_timeout_ms)


def _set_timers(turn: Turn, before: ConsumerMember, member: ConsumerMember, around: Surroundings) -> None:
    key = (turn.group.group_id, member.member_id)
    _renew_session(turn, member, around)
    if member.state == UNREVOKED and (before.state != UNREVOKED or before.revoking != member.revoking):
        turn.set_timer("consumer rebalance", key, turn.now + max(0, member.rebalance_timeout_ms))
    elif member.state != UNREVOKED and before.state == UNREVOKED:
        turn.cancel_timer("consumer rebalance", key)


# --- leaving --------------------------------------------------------------------------------------------------------------------


def leaving(group: ConsumerGroup, body: Any) -> str:
    """The member that wants to leave."""
    member = group.members.get(body.member_id)
    if body.instance_id is not None:
        member = group.static_member(body.instance_id)
        if member is None:
            raise ApiError(Code.UNKNOWN_MEMBER_ID, f"instance {body.instance_id} is not in group {body.group_id}")
        if member.member_id != body.member_id:
            raise ApiError(Code.FENCED_INSTANCE_ID, f"instance {body.instance_id} is another member now")
    if member is None:
        raise ApiError(Code.UNKNOWN_MEMBER_ID, f"member {body.member_id} is not in group {body.group_id}")
    return member.member_id


def left(body: Any) -> Any:
    return schemas.CONSUMER_GROUP_HEARTBEAT_RESPONSE(member_id=body.member_id, member_epoch=body.member_epoch)


def _leave_for_a_while(turn: Turn, body: Any) -> Any:
    """A static member keeps its place until its session ends."""
    group: ConsumerGroup = turn.group
    member = group.members[leaving(group, body)]
    away = replace(member, member_epoch=LEAVES_FOR_A_WHILE, previous_epoch=member.member_epoch)
    turn.records.append(records.current_record(group.group_id, away))
    turn.cancel_timer("consumer rebalance", (group.group_id, member.member_id))
    return left(body)


def remove(turn: Turn, member_ids: list[str], around: Surroundings) -> None:
    """Members are gone: their partitions are free, and the group is assigned anew with the next heartbeat."""
    group: ConsumerGroup = turn.group
    for member_id in member_ids:
        turn.records.extend(records.member_tombstones(group.group_id, member_id))
        for kind in MEMBER_TIMERS:
            turn.cancel_timer(kind, (group.group_id, member_id))
    left = {each: member for each, member in group.members.items() if each not in member_ids}
    for regex in sorted(group.regexes.keys() - {member.regex for member in left.values()}):
        turn.records.append(records.regex_tombstone(group.group_id, regex))
    names = frozenset().union(*(group.topics_of(member) for member in left.values()))
    described = around.topics.described(names)
    turn.records.append(records.epoch_record(group.group_id, group.group_epoch + 1, described.hash))


# --- offsets --------------------------------------------------------------------------------------------------------------------


def check_commit(group: ConsumerGroup, request: Request, is_transactional: bool) -> ConsumerMember | None:
    """Raises ApiError if this member may not commit; partitions are judged by `may_commit`."""
    body = request.body
    member_epoch = body.generation_id_or_member_epoch
    if member_epoch < 0 and not group.members:
        return None
    member = group.members.get(body.member_id)
    if member is None:
        if is_transactional and member_epoch < 0 and not body.member_id:
            return None
        raise ApiError(Code.UNKNOWN_MEMBER_ID, f"member {body.member_id} is not in group {body.group_id}")
    if not is_transactional and request.api_version < 9 and member.classic is None:
        raise ApiError(Code.UNSUPPORTED_VERSION, "members of the consumer protocol commit with version 9 or newer")
    if member_epoch != member.member_epoch:
        if member.classic is not None:
            raise ApiError(Code.ILLEGAL_GENERATION, f"generation {member_epoch}, but {member.member_epoch} here")
        if member_epoch > member.member_epoch or is_transactional:
            raise ApiError(Code.STALE_MEMBER_EPOCH, f"member_epoch {member_epoch}, but {member.member_epoch} here")
    return member


def may_commit(member: ConsumerMember, member_epoch: int, topic_id: bytes, partition: int) -> bool:
    """KIP-1251: an older epoch counts for what the member has held since then."""
    if member_epoch == member.member_epoch:
        return True
    assigned_in = member.assigned.get(topic_id, {}).get(partition)
    return assigned_in is not None and member_epoch >= assigned_in


def check_fetch(group: ConsumerGroup, member_id: str | None, member_epoch: int) -> None:
    if member_id is None and member_epoch < 0:
        return
    member = group.members.get(member_id or "")
    if member is None:
        raise ApiError(Code.UNKNOWN_MEMBER_ID, f"member {member_id} is not in the group")
    if member_epoch != member.member_epoch:
        raise ApiError(Code.STALE_MEMBER_EPOCH, f"member_epoch {member_epoch}, but {member.member_epoch} here")
