"""Groups that change from one protocol to the other while they work, and members of both in one group."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from cluster.coordinator.group.classic import parse_assignment
from cluster.coordinator.group.mixed_rules import assignment_bytes
from pykafkacore.protocol.errors import Code
from pykafkacore.protocol.schemas import groups as schemas
from tests.cluster.coordinator.group.test_consumer import Member, describe
from tests.cluster.coordinator.group.world import ClassicMember, World, committed, topic_id


@pytest.fixture
def world() -> World:
    return World()


class Classic(ClassicMember):
    """A client whose assignments are real ones. Eager: it gives everything back before it joins; else it says what it has."""

    def __init__(self, world: World, is_eager: bool = True, **fields: Any) -> None:
        super().__init__(world, **fields)
        self.is_eager = is_eager
        self.owned: set[int] = set()
        self.tell()

    def tell(self) -> None:
        message = schemas.CONSUMER_PROTOCOL_SUBSCRIPTION
        rows = [message.TopicPartition(topic="t", partitions=sorted(self.owned))] if self.owned else []
        body = message.encode(message(topics=["t"], owned_partitions=rows), 1)
        self.protocols = [("range" if self.is_eager else "cooperative-sticky", b"\x00\x01" + bytes(body))]

    def take_assignment(self, answer: Any) -> int:
        if not answer.error_code:
            self.owned = set(parse_assignment(answer.assignment).get("t", ()))
        return int(answer.error_code)

    def rejoin(self) -> None:
        """As a client does on REBALANCE_IN_PROGRESS, until it is in the group again."""
        for _ in range(5):
            if self.is_eager:
                self.owned = set()
            self.tell()
            assert self.take_join(self.start_join()).error_code == 0
            answer = self.world.answer(self.send_sync())
            had = set(self.owned)
            if self.take_assignment(answer) == 0:
                if had <= self.owned:
                    return
                # Something is to be given back: it says so by joining again.
        pytest.fail("it joins for ever")

    def go_on(self) -> None:
        if self.heartbeat() == Code.REBALANCE_IN_PROGRESS:
            self.rejoin()


def assigned(partitions: set[int]) -> bytes:
    described = type("Topics", (), {"name_of": staticmethod(lambda topic: "t")})
    return assignment_bytes({topic_id("t"): frozenset(partitions)}, described, 1)


def form_classic(world: World, *members: Classic) -> None:
    tickets = [member.start_join() for member in members]
    world.pass_ms(6_000)
    for member, ticket in zip(members, tickets, strict=True):
        member.take_join(ticket)
    shares = {m.member_id: set(range(at, 4, len(members))) for at, m in enumerate(members)}
    word = {member_id: assigned(share) for member_id, share in shares.items()}
    syncs = [member.send_sync(word if member.leads else None) for member in members]
    for member, ticket in zip(members, syncs, strict=True):
        assert member.take_assignment(world.answer(ticket)) == 0


def settle(members: list[Any], rounds: int = 8) -> None:
    for _ in range(rounds):
        for member in members:
            if isinstance(member, Classic):
                member.go_on()
            else:
                assert not isinstance(member.beat(), int)
            owned = [p for m in members for p in (m.owned if isinstance(m, Classic) else m.partitions())]
            assert len(owned) == len(set(owned)), "a partition has two owners"


def shares(members: list[Any]) -> list[int]:
    owned = [m.owned if isinstance(m, Classic) else m.partitions() for m in members]
    assert set().union(*owned) == {0, 1, 2, 3}
    return sorted(len(each) for each in owned)


@pytest.mark.parametrize("is_eager", [True, False], ids=["eager", "cooperative"])
def test_a_classic_group_takes_in_a_member_of_the_new_protocol(world: World, is_eager: bool) -> None:
    a, b = Classic(world, is_eager), Classic(world, is_eager)
    form_classic(world, a, b)
    a.commit(7)
    c = Member(world, "c")
    settle([c, a, b])
    assert shares([a, b, c]) == [1, 1, 2]
    assert {m.member_id: m.member_type for m in describe(world).members} == {a.member_id: 0, b.member_id: 0, "c": 1}
    assert a.commit(8) == 0
    world.reload()
    settle([c, a, b])
    assert committed(world, "g") == 8


def test_who_waits_for_a_rebalance_is_told_to_join_again(world: World) -> None:
    a, b = Classic(world), Classic(world)
    form_classic(world, a)
    waiting = b.start_join()
    assert world.is_waiting(waiting)
    Member(world, "c").beat()
    assert world.answer(waiting).error_code == Code.REBALANCE_IN_PROGRESS


def test_the_last_of_the_new_protocol_leaves_a_classic_group(world: World) -> None:
    a, b, c = Classic(world), Classic(world), Member(world, "c")
    form_classic(world, a, b)
    settle([c, a, b])
    c.send(member_epoch=-1)
    told = world.ask("DescribeGroups", body="g")
    assert (told.group_state, len(told.members)) == ("PreparingRebalance", 2)
    tickets = []
    for member in (a, b):
        assert member.heartbeat() in (Code.REBALANCE_IN_PROGRESS, Code.ILLEGAL_GENERATION)
        tickets.append(member.start_join())
    for member, ticket in zip((a, b), tickets, strict=True):
        assert member.take_join(ticket).error_code == 0
    assert a.leads != b.leads
    world.reload()
    assert world.shard.groups["g"].protocol_type == "consumer"


def test_a_silent_member_of_the_new_protocol_counts_as_gone(world: World) -> None:
    a, c = Classic(world), Member(world, "c")
    form_classic(world, a)
    settle([c, a])
    for _ in range(10):
        world.pass_ms(5_000)
        a.heartbeat()
    assert world.ask("DescribeGroups", body="g").group_state == "PreparingRebalance"


def test_a_classic_member_joins_a_consumer_group(world: World) -> None:
    a, c = Classic(world), Member(world, "c")
    settle([c])
    a.rejoin()
    settle([c, a])
    assert shares([a, c]) == [2, 2]
    assert not a.leads and a.joined.members == []


def test_a_classic_member_that_leaves_or_is_silent_is_out(world: World) -> None:
    a, b, c = Classic(world), Classic(world), Member(world, "c")
    settle([c])
    a.rejoin(), b.rejoin()
    settle([c, a, b])
    assert a.leave() == 0
    settle([c, b])
    assert shares([b, c]) == [2, 2]
    world.pass_ms(11_000)
    settle([c])
    assert c.partitions() == {0, 1, 2, 3}
    assert b.heartbeat() == Code.UNKNOWN_MEMBER_ID


def test_a_classic_member_that_does_not_join_again_is_out(world: World) -> None:
    a, c, d = Classic(world), Member(world, "c"), Member(world, "d")
    settle([c])
    a.rejoin()
    settle([c, a])
    d.beat()
    for _ in range(13):
        a.heartbeat()
        c.beat()
        world.pass_ms(5_000)
    assert a.heartbeat() == Code.UNKNOWN_MEMBER_ID


def test_what_a_member_has_not_given_back_is_its_own_though_its_group_goes_to_and_fro(world: World) -> None:
    a = Classic(world)
    form_classic(world, a)
    c = Member(world, "c")
    c.beat()
    c.send(member_epoch=-1)
    assert world.ask("DescribeGroups", body="g").group_state == "PreparingRebalance"
    world.reload()
    d = Member(world, "d")
    d.beat()
    assert not d.partitions() & a.owned, "nobody has told the first one yet"
    assert a.heartbeat() == Code.ILLEGAL_GENERATION
    a.rejoin()
    settle([d, a])
    assert shares([a, d]) == [2, 2]


@pytest.mark.parametrize(
    ("policy", "upgrades", "downgrades"),
    [("disabled", False, False), ("upgrade", True, False), ("downgrade", False, True), ("bidirectional", True, True)],
)
def test_the_policy_says_which_way_a_group_may_go(policy: str, upgrades: bool, downgrades: bool) -> None:
    world = World()
    world.consumer_settings = replace(world.consumer_settings, migration=policy)
    a = Classic(world)
    form_classic(world, a)
    answer = Member(world, "c").beat()
    assert (answer != Code.GROUP_ID_NOT_FOUND) == upgrades
    b, d = Classic(world, group="h"), Member(world, "d", group="h")
    settle([d])
    b.rejoin()
    settle([d, b])
    d.send(member_epoch=-1)
    assert (world.ask("DescribeGroups", body="h").group_state == "PreparingRebalance") == downgrades


def test_a_group_whose_members_do_not_speak_the_embedded_protocol_stays_classic(world: World) -> None:
    a = ClassicMember(world)
    a.protocols = [("range", b"")]
    ticket = a.start_join()
    world.pass_ms(3_000)
    a.take_join(ticket)
    assert Member(world, "c").beat() == Code.GROUP_ID_NOT_FOUND


def test_a_protocol_that_the_classic_members_do_not_share_is_refused(world: World) -> None:
    a, b, c = Classic(world), Classic(world, is_eager=False), Member(world, "c")
    settle([c])
    a.rejoin()
    assert b.take_join(b.start_join()).error_code == Code.INCONSISTENT_GROUP_PROTOCOL


def test_a_static_classic_member_that_comes_back_has_its_own_again(world: World) -> None:
    a, c = Classic(world, instance="one"), Member(world, "c")
    settle([c])
    a.rejoin()
    settle([c, a])
    had = set(a.owned)
    back = Classic(world, instance="one")
    back.rejoin()
    settle([c, back])
    assert back.owned == had
    assert a.heartbeat() == Code.FENCED_INSTANCE_ID
