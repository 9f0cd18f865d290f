"""What a classic group decides on joins, syncs, heartbeats, leaves and lost time. Pure: each function works on a `Turn`.

    "join"     (group)          the rebalance has waited long enough
    "sync"     (group)          members have had long enough to ask for their assignment
    "session"  (group, member)  a member, or an id that was given out, was not heard of for its session timeout

KAFKA: error codes and their order are those of 4.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from cluster.coordinator.group import records
from cluster.coordinator.group.classic import (
    COMPLETING,
    DEAD,
    EMPTY,
    PREPARING,
    STABLE,
    ClassicGroup,
    Member,
    Waiting,
)
from cluster.shard import LATER
from pykafkacore.protocol.errors import Code
from pykafkacore.protocol.schemas import groups as schemas

if TYPE_CHECKING:
    from cluster.coordinator.group.settings import GroupSettings
    from cluster.coordinator.group.turn import Turn
    from cluster.coordinator.values import Request

SKIP_ASSIGNMENT_SINCE = 9
MEMBER_ID_FIRST_SINCE = 4


# --- answers ------------------------------------------------------------------------------------------------------------


def refused_join(code: int, member_id: str = "", api_version: int = 9) -> Any:
    # KAFKA: no protocol is "" before version 7, null since.
    name = None if api_version >= 7 else ""
    return schemas.JOIN_GROUP_RESPONSE(error_code=code, member_id=member_id, protocol_name=name)


def refused_sync(code: int) -> Any:
    return schemas.SYNC_GROUP_RESPONSE(error_code=code)


def _joined(group: ClassicGroup, member: Member, is_leader: bool, leader_id: str | None = None, skip: bool = False) -> Any:
    message = schemas.JOIN_GROUP_RESPONSE
    others = group.members.values() if is_leader else ()
    return message(
        generation_id=group.generation,
        protocol_type=group.protocol_type,
        protocol_name=group.protocol,
        leader=leader_id if leader_id is not None else (group.leader_id or ""),
        skip_assignment=skip,
        member_id=member.member_id,
        members=[
            message.JoinGroupResponseMember(
                member_id=each.member_id, group_instance_id=each.instance_id, metadata=each.metadata_of(group.protocol)
            )
            for each in others
        ],
    )


def _synced(group: ClassicGroup, member: Member) -> Any:
    return schemas.SYNC_GROUP_RESPONSE(
        protocol_type=group.protocol_type, protocol_name=group.protocol, assignment=member.assignment
    )


# --- join ---------------------------------------------------------------------------------------------------------------


def join(turn: Turn, request: Request, settings: GroupSettings) -> Any:
    body, group = request.body, turn.group
    protocols = tuple((each.name, each.metadata) for each in body.protocols)
    if not _has_room(group, body.member_id, settings.group_size_max):
        return refused_join(Code.GROUP_MAX_SIZE_REACHED, body.member_id, request.api_version)
    if group.state == DEAD:
        return refused_join(Code.COORDINATOR_NOT_AVAILABLE, body.member_id, request.api_version)
    if not group.supports(body.protocol_type, protocols):
        return refused_join(Code.INCONSISTENT_GROUP_PROTOCOL, body.member_id, request.api_version)
    if body.member_id == "":
        return _join_unknown(turn, request, protocols, settings)
    return _join_known(turn, request, protocols, settings)


def _has_room(group: ClassicGroup, member_id: str, size_max: int) -> bool:
    member = group.members.get(member_id)
    if group.state in (EMPTY, DEAD):
        return True
    if group.state == PREPARING:
        if member is not None and member.join is not None:
            return True
        return sum(each.join is not None for each in group.members.values()) < size_max
    return member is not None or len(group.members) < size_max


def _member_from(request: Request, member_id: str, protocols: tuple[tuple[str, bytes], ...]) -> Member:
    body = request.body
    timeout_ms = body.rebalance_timeout_ms
    return Member(
        member_id=member_id,
        instance_id=body.group_instance_id,
        client_id=request.client_id,
        client_host=request.client_host,
        session_timeout_ms=body.session_timeout_ms,
        rebalance_timeout_ms=timeout_ms if request.api_version >= 1 else body.session_timeout_ms,
        protocols=protocols,
        join=Waiting(request.ticket, request.api_version),
    )


def _join_unknown(turn: Turn, request: Request, protocols: Any, settings: GroupSettings) -> Any:
    body, group = request.body, turn.group
    prefix = request.client_id if body.group_instance_id is None else body.group_instance_id
    member_id = f"{prefix}-{request.fresh_id}"
    if body.group_instance_id is not None:
        known = group.static_member(body.group_instance_id)
        if known is not None:
            return _replace_static(turn, request, known, member_id, protocols, settings)
    elif request.api_version >= MEMBER_ID_FIRST_SINCE:
        turn.become(replace(group, pending=group.pending | {member_id}, protocol_type=group.protocol_type))
        turn.set_timer("session", (group.group_id, member_id), turn.now + body.session_timeout_ms)
        return refused_join(Code.MEMBER_ID_REQUIRED, member_id, request.api_version)
    return _add(turn, _member_from(request, member_id, protocols), body.protocol_type, settings)


def _join_known(turn: Turn, request: Request, protocols: Any, settings: GroupSettings) -> Any:
    body, group, version = request.body, turn.group, request.api_version
    if body.member_id in group.pending and body.group_instance_id is None:
        return _add(turn, _member_from(request, body.member_id, protocols), body.protocol_type, settings)
    error = check_member(group, body.member_id, body.group_instance_id)
    if error:
        return refused_join(error, body.member_id, version)
    member = group.members[body.member_id]
    unchanged = member.protocols == protocols
    if group.state == COMPLETING and unchanged:
        # It lost the answer to its join: here it is again.
        return _joined(group, member, group.leader_id == member.member_id)
    if group.state == STABLE and unchanged and group.leader_id != member.member_id:
        return _joined(group, member, is_leader=False)
    if group.state == EMPTY:
        return refused_join(Code.UNKNOWN_MEMBER_ID, body.member_id, version)
    _answer_join(turn, member, refused_join(Code.UNKNOWN_MEMBER_ID, member.member_id, version))
    joining = _member_from(request, member.member_id, protocols)
    renewed = replace(joining, assignment=member.assignment, sync=member.sync, is_new=member.is_new)
    turn.become(turn.group.with_member(renewed))
    rebalance_or_complete(turn, settings)
    return LATER


def _add(turn: Turn, member: Member, protocol_type: str, settings: GroupSettings) -> Any:
    group = turn.group
    if not group.members:
        group = replace(group, protocol_type=protocol_type)
    has_newcomer = group.has_newcomer or (group.state == PREPARING and group.is_initial)
    group = group.with_member(replace(member, is_new=True))
    turn.become(replace(group, pending=group.pending - {member.member_id}, has_newcomer=has_newcomer))
    at_ms = turn.now + settings.new_member_join_timeout_ms
    turn.set_timer("session", (group.group_id, member.member_id), at_ms)
    rebalance_or_complete(turn, settings)
    return LATER


def _replace_static(
    turn: Turn, request: Request, known: Member, member_id: str, protocols: Any, settings: GroupSettings
) -> Any:
    """A static member came back with nothing but its instance id: it takes the place of what it was."""
    group = turn.group
    was_leader = group.leader_id == known.member_id
    fail_waiting(turn, known, Code.FENCED_INSTANCE_ID)
    turn.cancel_timer("session", (group.group_id, known.member_id))
    fresh = replace(_member_from(request, member_id, protocols), assignment=known.assignment)
    members = {(member_id if each == known.member_id else each): m for each, m in turn.group.members.items()}
    members[member_id] = fresh
    leader_id = member_id if was_leader else group.leader_id
    unsynced = frozenset(member_id if each == known.member_id else each for each in group.unsynced)
    turn.become(replace(turn.group, members=members, leader_id=leader_id, unsynced=unsynced))
    _renew_session(turn, fresh)
    group = turn.group
    if group.state == STABLE and group.elected_protocol() == group.protocol:
        # Nothing changed for the others: no rebalance. The new id is logged.
        joined = replace(fresh, join=None)
        turn.become(group.with_member(joined))
        turn.records.append(records.group_record(turn.group))
        if request.api_version >= SKIP_ASSIGNMENT_SINCE:
            return _joined(turn.group, joined, was_leader, skip=was_leader)
        # Older ones must not think that they lead, or they would assign anew.
        return _joined(turn.group, joined, is_leader=False, leader_id=known.member_id if was_leader else None)
    if group.state == PREPARING:
        _maybe_complete_join(turn, settings)
    else:
        prepare_rebalance(turn, settings)
    return LATER


def check_member(group: ClassicGroup, member_id: str, instance_id: str | None) -> int:
    """Whether a member is who it says: 0, or the error."""
    if instance_id is not None:
        known = group.static_member(instance_id)
        if known is None:
            return Code.UNKNOWN_MEMBER_ID
        if known.member_id != member_id:
            return Code.FENCED_INSTANCE_ID
    return 0 if member_id in group.members else Code.UNKNOWN_MEMBER_ID


# --- rebalance ------------------------------------------------------------------------------------------------------------


def rebalance_or_complete(turn: Turn, settings: GroupSettings) -> None:
    if turn.group.state == PREPARING:
        _maybe_complete_join(turn, settings)
    else:
        prepare_rebalance(turn, settings)


def prepare_rebalance(turn: Turn, settings: GroupSettings) -> None:
    group = turn.group
    if group.state == COMPLETING:
        for member in group.members.values():
            if member.sync is not None:
                turn.answer(member.sync.ticket, refused_sync(Code.REBALANCE_IN_PROGRESS))
        members = {each: replace(m, sync=None, assignment=b"") for each, m in group.members.items()}
        group = group.with_members(members)
    turn.cancel_timer("sync", group.group_id)
    is_initial = group.state == EMPTY
    delay_ms = min(settings.initial_rebalance_delay_ms, group.rebalance_timeout_ms)
    if is_initial:
        left_ms = max(group.rebalance_timeout_ms - delay_ms, 0)
        group = replace(group, is_initial=True, initial_left_ms=left_ms, has_newcomer=False)
        turn.set_timer("join", group.group_id, turn.now + delay_ms)
    else:
        group = replace(group, is_initial=False)
        turn.set_timer("join", group.group_id, turn.now + group.rebalance_timeout_ms)
    turn.become(replace(group.in_state(PREPARING, turn.now), unsynced=frozenset()))
    if is_initial and delay_ms == 0:
        complete_join(turn, settings)
    else:
        _maybe_complete_join(turn, settings)


def _maybe_complete_join(turn: Turn, settings: GroupSettings) -> None:
    group = turn.group
    if group.state == PREPARING and not group.is_initial and group.has_all_joined:
        complete_join(turn, settings)


def join_time_is_up(turn: Turn, settings: GroupSettings) -> None:
    group = turn.group
    if group.state != PREPARING:
        return
    if group.is_initial and group.has_newcomer and group.initial_left_ms > 0:
        delay_ms = min(settings.initial_rebalance_delay_ms, group.initial_left_ms)
        left_ms = group.initial_left_ms - delay_ms
        turn.become(replace(group, has_newcomer=False, initial_left_ms=left_ms))
        turn.set_timer("join", group.group_id, turn.now + delay_ms)
        return
    complete_join(turn, settings)


def complete_join(turn: Turn, settings: GroupSettings) -> None:
    """The next generation: of those who came, and of static members, who are given until their session ends."""
    turn.cancel_timer("join", turn.group.group_id)
    for member in list(turn.group.members.values()):
        if member.join is None and member.instance_id is None:
            turn.cancel_timer("session", (turn.group.group_id, member.member_id))
            turn.become(turn.group.without(member.member_id))
    group = turn.group
    if group.members and (group.leader_id not in group.members or group.members[group.leader_id].join is None):
        elected = next((each for each, member in group.members.items() if member.join is not None), None)
        if elected is None:
            # Only static members that did not come back are left: wait for them until their sessions end.
            turn.set_timer("join", group.group_id, turn.now + group.rebalance_timeout_ms)
            turn.become(replace(group, is_initial=False))
            return
        group = replace(group, leader_id=elected)
    group = replace(group, generation=group.generation + 1, is_initial=False, has_newcomer=False)
    if not group.members:
        group = replace(group.in_state(EMPTY, turn.now), protocol=None, leader_id=None)
        turn.become(group)
        turn.records.append(records.group_record(group))
        return
    group = replace(group.in_state(COMPLETING, turn.now), protocol=group.elected_protocol())
    waiting = list(group.members.values())
    members = {each: replace(m, join=None, is_new=False) for each, m in group.members.items()}
    turn.become(replace(group, members=members, unsynced=frozenset(members)))
    turn.set_timer("sync", group.group_id, turn.now + group.rebalance_timeout_ms)
    for member in waiting:
        if member.join is not None:
            answer = _joined(turn.group, member, is_leader=member.member_id == group.leader_id)
            turn.answer(member.join.ticket, answer)
            _renew_session(turn, member)


# --- sync -----------------------------------------------------------------------------------------------------------------


def sync(turn: Turn, request: Request) -> Any:
    body, group = request.body, turn.group
    error = check_member(group, body.member_id, body.group_instance_id)
    if error:
        return refused_sync(error)
    if body.generation_id != group.generation:
        return refused_sync(Code.ILLEGAL_GENERATION)
    wrong_type = body.protocol_type is not None and body.protocol_type != group.protocol_type
    wrong_name = body.protocol_name is not None and body.protocol_name != group.protocol
    if wrong_type or wrong_name:
        return refused_sync(Code.INCONSISTENT_GROUP_PROTOCOL)
    if group.state == EMPTY:
        return refused_sync(Code.UNKNOWN_MEMBER_ID)
    if group.state == PREPARING:
        return refused_sync(Code.REBALANCE_IN_PROGRESS)
    member = group.members[body.member_id]
    group = replace(group, unsynced=group.unsynced - {member.member_id})
    if group.state == STABLE:
        turn.become(group)
        if not group.unsynced:
            turn.cancel_timer("sync", group.group_id)
        _renew_session(turn, member)
        return _synced(group, member)
    if member.sync is not None:
        turn.answer(member.sync.ticket, refused_sync(Code.UNKNOWN_MEMBER_ID))
    waiting = Waiting(request.ticket, request.api_version)
    turn.become(group.with_member(replace(member, sync=waiting)))
    if member.member_id == group.leader_id:
        _take_assignments(turn, {each.member_id: each.assignment for each in body.assignments})
    return LATER


def _take_assignments(turn: Turn, assignments: dict[str, bytes]) -> None:
    """The leader's word: logged, and told to all who wait for it."""
    group = turn.group
    waiting = list(group.members.values())
    members = {
        each: replace(member, assignment=assignments.get(each, b""), sync=None) for each, member in group.members.items()
    }
    turn.become(group.with_members(members).in_state(STABLE, turn.now))
    group = turn.group
    turn.records.append(records.group_record(group))
    for member in waiting:
        if member.sync is not None:
            turn.answer(member.sync.ticket, _synced(group, members[member.member_id]))
            _renew_session(turn, member)
    if not group.unsynced:
        turn.cancel_timer("sync", group.group_id)


def sync_time_is_up(turn: Turn, settings: GroupSettings) -> None:
    """Members that did not ask for their assignment are out."""
    group = turn.group
    if group.state not in (COMPLETING, STABLE) or not group.unsynced:
        return
    for member_id in sorted(group.unsynced):
        _remove(turn, member_id)
    prepare_rebalance(turn, settings)


# --- staying and leaving --------------------------------------------------------------------------------------------------


def heartbeat(turn: Turn, request: Request) -> Any:
    body, group = request.body, turn.group
    message = schemas.HEARTBEAT_RESPONSE
    error = check_member(group, body.member_id, body.group_instance_id)
    if error:
        return message(error_code=error)
    if body.generation_id != group.generation:
        return message(error_code=Code.ILLEGAL_GENERATION)
    if group.state == EMPTY:
        return message(error_code=Code.UNKNOWN_MEMBER_ID)
    member = group.members[body.member_id]
    _renew_session(turn, member)
    if group.state == PREPARING:
        return message(error_code=Code.REBALANCE_IN_PROGRESS)
    if group.state == STABLE:
        turn.stand("session", (group.group_id, member.member_id), member.session_timeout_ms)
    return message()


def leave(turn: Turn, member_id: str, instance_id: str | None, settings: GroupSettings) -> int:
    """One member of a LeaveGroup; its error code."""
    group = turn.group
    if member_id == "" and instance_id is not None:
        known = group.static_member(instance_id)
        if known is None:
            return Code.UNKNOWN_MEMBER_ID
        member_id = known.member_id
    elif member_id in group.pending:
        turn.become(replace(group, pending=group.pending - {member_id}))
        turn.cancel_timer("session", (group.group_id, member_id))
        _maybe_complete_join(turn, settings)
        return 0
    else:
        error = check_member(group, member_id, instance_id)
        if error:
            return error
    _remove(turn, member_id)
    rebalance_after_leaving(turn, settings)
    return 0


def rebalance_after_leaving(turn: Turn, settings: GroupSettings) -> None:
    if turn.group.state in (STABLE, COMPLETING):
        prepare_rebalance(turn, settings)
    else:
        _maybe_complete_join(turn, settings)


def session_is_over(turn: Turn, member_id: str, settings: GroupSettings) -> None:
    group = turn.group
    if member_id in group.pending:
        turn.become(replace(group, pending=group.pending - {member_id}))
        _maybe_complete_join(turn, settings)
        return
    member = group.members.get(member_id)
    # Whoever waits for an answer cannot send heartbeats meanwhile; only a first join has an end.
    if member is None or (not member.is_new and (member.join is not None or member.sync is not None)):
        return
    _remove(turn, member_id)
    rebalance_after_leaving(turn, settings)


def renew_session(turn: Turn, member_id: str) -> None:
    """A member was heard of by other means than a heartbeat."""
    member = turn.group.members.get(member_id)
    if member is not None:
        _renew_session(turn, member)


def _renew_session(turn: Turn, member: Member) -> None:
    turn.set_timer("session", (turn.group.group_id, member.member_id), turn.now + member.session_timeout_ms)


def _remove(turn: Turn, member_id: str) -> None:
    member = turn.group.members[member_id]
    fail_waiting(turn, member, Code.UNKNOWN_MEMBER_ID)
    turn.cancel_timer("session", (turn.group.group_id, member_id))
    turn.become(turn.group.without(member_id))


def _answer_join(turn: Turn, member: Member, answer: Any) -> None:
    if member.join is not None:
        turn.answer(member.join.ticket, answer)


def fail_waiting(turn: Turn, member: Member, code: int) -> None:
    if member.join is not None:
        turn.answer(member.join.ticket, refused_join(code, member.member_id, member.join.api_version))
    if member.sync is not None:
        turn.answer(member.sync.ticket, refused_sync(code))
