"""Groups of the classic protocol, in virtual time."""

from __future__ import annotations

import pytest

from pykafkacore.protocol.errors import ApiError, Code
from tests.cluster.coordinator.group.world import ClassicMember, World, form, subscription


@pytest.fixture
def world() -> World:
    return World()


def test_the_first_member_waits_for_others_before_the_first_generation(world: World) -> None:
    a, b = ClassicMember(world), ClassicMember(world)
    first = a.start_join()
    world.pass_ms(2000)
    assert world.is_waiting(first)
    second = b.start_join()
    world.pass_ms(1000)
    assert world.is_waiting(first), "a newcomer prolongs the wait"
    world.pass_ms(3000)
    assert a.take_join(first).generation_id == b.take_join(second).generation_id == 1
    assert a.leads and len(a.joined.members) == 2
    assert not b.leads and b.joined.members == []


def test_a_dynamic_member_is_given_its_id_first(world: World) -> None:
    a = ClassicMember(world)
    answer = world.answer(a.send_join())
    assert answer.error_code == Code.MEMBER_ID_REQUIRED
    assert answer.member_id.startswith("c-")


def test_an_old_client_joins_without_an_id(world: World) -> None:
    a = ClassicMember(world)
    ticket = a.send_join(version=3)
    world.pass_ms(3000)
    assert a.take_join(ticket).generation_id == 1


def test_an_id_that_is_not_used_is_forgotten_with_its_session(world: World) -> None:
    a, b = ClassicMember(world), ClassicMember(world)
    a.member_id = world.answer(a.send_join()).member_id
    ticket = b.start_join()
    world.pass_ms(3000)
    world.pass_ms(60_000)
    assert b.take_join(ticket).generation_id == 1
    assert a.take_join(a.send_join()).error_code == Code.UNKNOWN_MEMBER_ID


def test_everybody_gets_the_leaders_assignment(world: World) -> None:
    form(ClassicMember(world), ClassicMember(world), ClassicMember(world))


def test_a_join_of_a_newcomer_makes_the_others_rejoin(world: World) -> None:
    a, b = ClassicMember(world), ClassicMember(world)
    form(a)
    ticket = b.start_join()
    assert a.heartbeat() == Code.REBALANCE_IN_PROGRESS
    again = a.send_join()
    assert a.take_join(again).generation_id == b.take_join(ticket).generation_id == 2
    assert {m.member_id for m in a.joined.members} == {a.member_id, b.member_id}


def test_who_does_not_rejoin_in_time_is_out(world: World) -> None:
    a, b = ClassicMember(world, session_timeout_ms=1_800_000), ClassicMember(world)
    form(a)
    ticket = b.start_join()
    world.pass_ms(59_000)
    assert world.is_waiting(ticket)
    world.pass_ms(2_000)
    assert b.take_join(ticket).error_code == 0
    assert b.leads and len(b.joined.members) == 1
    assert a.heartbeat() == Code.UNKNOWN_MEMBER_ID


def test_a_member_that_is_not_heard_of_is_out(world: World) -> None:
    a, b = ClassicMember(world), ClassicMember(world)
    form(a, b)
    world.pass_ms(6_000)
    assert a.heartbeat() == 0
    world.pass_ms(6_000)
    assert a.heartbeat() == Code.REBALANCE_IN_PROGRESS
    assert b.heartbeat() == Code.UNKNOWN_MEMBER_ID
    assert a.take_join(a.send_join()).generation_id == 2


def test_a_member_that_leaves_starts_a_rebalance(world: World) -> None:
    a, b = ClassicMember(world), ClassicMember(world)
    form(a, b)
    assert b.leave() == 0
    assert b.leave() == Code.UNKNOWN_MEMBER_ID
    assert a.heartbeat() == Code.REBALANCE_IN_PROGRESS


def test_the_last_to_leave_leaves_an_empty_group(world: World) -> None:
    a = ClassicMember(world)
    form(a)
    a.leave()
    told = world.ask("DescribeGroups", body="g")
    assert (told.group_state, told.members, told.protocol_type) == ("Empty", [], "consumer")


def test_wrong_generations_and_strangers_are_refused(world: World) -> None:
    a, stranger = ClassicMember(world), ClassicMember(world)
    form(a)
    a.generation = 7
    assert a.heartbeat() == Code.ILLEGAL_GENERATION
    assert world.answer(a.send_sync()).error_code == Code.ILLEGAL_GENERATION
    stranger.member_id, stranger.generation = "stranger", 1
    assert stranger.heartbeat() == Code.UNKNOWN_MEMBER_ID
    assert stranger.take_join(stranger.send_join()).error_code == Code.UNKNOWN_MEMBER_ID


def test_a_protocol_that_not_all_support_is_refused(world: World) -> None:
    a, b = ClassicMember(world), ClassicMember(world)
    form(a)
    b.protocols = [("sticky", b"")]
    assert world.answer(b.send_join()).error_code == Code.INCONSISTENT_GROUP_PROTOCOL
    b.protocols, b.fields["protocol_type"] = [("range", b"")], "connect"
    assert world.answer(b.send_join()).error_code == Code.INCONSISTENT_GROUP_PROTOCOL


def test_the_protocol_that_most_prefer_is_elected(world: World) -> None:
    a, b, c = (ClassicMember(world) for _ in range(3))
    a.protocols = [("range", b"a"), ("sticky", b"a")]
    b.protocols = [("sticky", b"b"), ("range", b"b")]
    c.protocols = [("sticky", b"c"), ("range", b"c"), ("other", b"")]
    form(a, b, c)
    assert a.joined.protocol_name == "sticky"
    assert {m.metadata for m in a.joined.members} == {b"a", b"b", b"c"}


def test_session_timeouts_out_of_bounds_and_empty_ids_are_refused(world: World) -> None:
    assert world.answer(ClassicMember(world, session_timeout_ms=5999).send_join()).error_code == Code.INVALID_SESSION_TIMEOUT
    assert world.answer(ClassicMember(world, group="").send_join()).error_code == Code.INVALID_GROUP_ID


def test_a_full_group_takes_nobody_more() -> None:
    world = World(group_size_max=1)
    a, b = ClassicMember(world), ClassicMember(world)
    form(a)
    assert world.answer(b.send_join()).error_code == Code.GROUP_MAX_SIZE_REACHED


def test_a_lost_answer_to_a_join_is_given_again(world: World) -> None:
    a, b = ClassicMember(world), ClassicMember(world)
    tickets = a.start_join(), b.start_join()
    world.pass_ms(6000)
    a.take_join(tickets[0]), b.take_join(tickets[1])
    assert a.take_join(a.send_join()).generation_id == 1
    assert len(a.joined.members) == 2
    assert b.take_join(b.send_join()).members == []


def test_a_leader_that_joins_again_starts_a_rebalance_a_follower_does_not(world: World) -> None:
    a, b = ClassicMember(world), ClassicMember(world)
    form(a, b)
    assert b.take_join(b.send_join()).generation_id == 1
    ticket = a.send_join()
    assert world.is_waiting(ticket)
    assert b.heartbeat() == Code.REBALANCE_IN_PROGRESS


def test_a_change_of_subscription_starts_a_rebalance(world: World) -> None:
    a, b = ClassicMember(world), ClassicMember(world)
    form(a, b)
    b.protocols = [("range", subscription("t", "u"))]
    assert world.is_waiting(b.send_join())
    assert a.heartbeat() == Code.REBALANCE_IN_PROGRESS


def test_followers_wait_for_the_leaders_sync(world: World) -> None:
    a, b = ClassicMember(world), ClassicMember(world)
    tickets = a.start_join(), b.start_join()
    world.pass_ms(6000)
    a.take_join(tickets[0]), b.take_join(tickets[1])
    waiting = b.send_sync()
    assert world.is_waiting(waiting)
    assert b.heartbeat() == 0
    own = a.send_sync({a.member_id: b"A"})
    assert world.answer(own).assignment == b"A"
    assert world.answer(waiting).assignment == b""


def test_who_does_not_sync_in_time_is_out(world: World) -> None:
    a, b = ClassicMember(world), ClassicMember(world, session_timeout_ms=1_800_000)
    tickets = a.start_join(), b.start_join()
    world.pass_ms(6000)
    a.take_join(tickets[0]), b.take_join(tickets[1])
    world.answer(a.send_sync({}))
    for _ in range(13):
        a.heartbeat()
        world.pass_ms(5_000)
    assert a.heartbeat() == Code.REBALANCE_IN_PROGRESS
    assert b.heartbeat() == Code.UNKNOWN_MEMBER_ID


# --- static members -------------------------------------------------------------------------------------------------------


def test_a_static_member_that_comes_back_takes_its_place_without_a_rebalance(world: World) -> None:
    a, b = ClassicMember(world), ClassicMember(world, instance="one")
    form(a, b)
    back = ClassicMember(world, instance="one")
    joined = back.take_join(back.send_join())
    assert (joined.error_code, joined.generation_id, joined.skip_assignment) == (0, 1, False)
    assert back.member_id != b.member_id
    assert world.answer(back.send_sync()).assignment == b.member_id.encode()
    assert a.heartbeat() == 0
    assert b.heartbeat() == Code.FENCED_INSTANCE_ID


def test_a_static_leader_that_comes_back_leads_but_need_not_assign(world: World) -> None:
    a = ClassicMember(world, instance="one")
    b = ClassicMember(world)
    form(a, b)
    back = ClassicMember(world, instance="one")
    joined = back.take_join(back.send_join(version=9))
    assert (back.leads, joined.skip_assignment, len(joined.members)) == (True, True, 2)


def test_an_older_static_leader_that_comes_back_is_not_told_that_it_leads(world: World) -> None:
    a, b = ClassicMember(world, instance="one"), ClassicMember(world)
    form(a, b)
    back = ClassicMember(world, instance="one")
    back.take_join(back.send_join(version=8))
    assert not back.leads and back.joined.members == []


def test_a_static_member_stays_through_a_rebalance_that_it_missed(world: World) -> None:
    a, b, c = ClassicMember(world), ClassicMember(world, instance="one", session_timeout_ms=600_000), ClassicMember(world)
    form(a, b)
    ticket = c.start_join()
    again = a.send_join()
    world.pass_ms(61_000)
    assert a.take_join(again).error_code == c.take_join(ticket).error_code == 0
    assert len(a.joined.members) == 3


def test_a_static_member_leaves_by_its_instance_id(world: World) -> None:
    a = ClassicMember(world, instance="one")
    form(a)
    a.member_id = ""
    assert a.leave() == 0
    assert a.leave() == Code.UNKNOWN_MEMBER_ID


# --- the log ----------------------------------------------------------------------------------------------------------------


def test_a_stable_group_survives_a_reload_with_its_assignments(world: World) -> None:
    a, b = ClassicMember(world), ClassicMember(world)
    form(a, b)
    world.reload()
    assert a.heartbeat() == b.heartbeat() == 0
    assert world.answer(b.send_sync()).assignment == b.member_id.encode()
    told = world.ask("DescribeGroups", body="g")
    assert (told.group_state, told.protocol_data, len(told.members)) == ("Stable", "range", 2)
    world.pass_ms(11_000)
    assert a.heartbeat() == Code.UNKNOWN_MEMBER_ID, "sessions run again from the reload on"


def test_who_waits_is_sent_away_when_the_coordinator_goes(world: World) -> None:
    ticket = ClassicMember(world).start_join()
    world.reload()
    answer = world.answer(ticket)
    assert isinstance(answer, ApiError) and answer.code == Code.NOT_COORDINATOR


def test_an_assignment_is_told_once_it_is_replicated(world: World) -> None:
    a = ClassicMember(world)
    ticket = a.start_join()
    world.pass_ms(3000)
    a.take_join(ticket)
    world.replicated = False
    waiting = a.send_sync({a.member_id: b"A"})
    assert world.is_waiting(waiting)
    world.replicate()
    assert world.answer(waiting).assignment == b"A"
