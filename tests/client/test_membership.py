"""A member of a group: what it says to the coordinator, and what it tells of its partitions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from pykafkacore.client import Client, open_client
from pykafkacore.client.groups import read_assignment
from pykafkacore.client.membership import (
    ClassicMembership,
    ConsumerMembership,
    Subscription,
    assign_range,
    encode_assignment,
    encode_subscription,
    read_subscription,
)
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import ApiError, Code
from tests.client.fake_broker import HANG_UP, FakeBroker, FakeNetwork, metadata_answer, run

WHERE = ("one", 1)
TOPIC_ID = bytes(range(16))
HEARTBEAT, CONSUMER = api("Heartbeat").response, api("ConsumerGroupHeartbeat").response
JOIN, SYNC = api("JoinGroup").response, api("SyncGroup").response


def coordinator(**handlers: Any) -> FakeBroker:
    broker = FakeBroker(1)
    found = api("FindCoordinator").response
    broker.handlers["FindCoordinator"] = lambda body, version: found(
        coordinators=[found.Coordinator(key=body.coordinator_keys[0], node_id=1, host="one", port=1)]
    )
    broker.handlers["Metadata"] = lambda body, version: metadata_answer(
        {1: WHERE}, {"t": {0: 1, 1: 1, 2: 1}}, topic_ids={"t": TOPIC_ID}
    )
    broker.handlers |= handlers
    return broker


@asynccontextmanager
async def connected(broker: FakeBroker) -> AsyncIterator[Client]:
    async with trio.open_nursery() as nursery:
        network = FakeNetwork(nursery, {WHERE: broker})
        async with open_client([WHERE], dial=network.dial) as client:
            yield client
        nursery.cancel_scope.cancel()


async def changes_of(membership: Any, until: Callable[[], bool]) -> list[list[int]]:
    """Runs until something holds: the partitions that were owned after each change."""
    told: list[list[int]] = []

    async def on_change(owned: frozenset[tuple[str, int]]) -> None:
        told.append(sorted(partition for _, partition in owned))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(membership.run, on_change)
        while not until():
            await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    return told


# ---- the consumer protocol


def beat(epoch: int, *partitions: int, error_code: int = 0, assigns: bool = True) -> Any:
    topics = [CONSUMER.TopicPartitions(topic_id=TOPIC_ID, partitions=list(partitions))] if partitions else []
    return CONSUMER(
        error_code=error_code, member_id="me", member_epoch=epoch, heartbeat_interval_ms=1000,
        assignment=CONSUMER.Assignment(topic_partitions=topics) if assigns else None,
    )  # fmt: skip


def partitions_said(request: Any) -> list[int] | None:
    if request.topic_partitions is None:
        return None
    return [partition for topic in request.topic_partitions for partition in topic.partitions]


@run
async def test_partitions_are_given_up_before_others_come_and_both_is_told_the_coordinator() -> None:
    quiet = beat(3, assigns=False)
    broker = coordinator(
        ConsumerGroupHeartbeat=[beat(1, 0, 1), quiet, beat(2, 1, 2), quiet, *[quiet] * 20]
    )
    async with connected(broker) as client:
        membership = ConsumerMembership(client, Subscription("g", ("t",)), "me")
        asked = lambda: broker.asked("ConsumerGroupHeartbeat")  # noqa: E731
        assert await changes_of(membership, lambda: len(asked()) >= 5) == [[0, 1], [1], [1, 2]]
    first, second, third, fourth, fifth = asked()[:5]
    assert (first.member_epoch, first.subscribed_topic_names, partitions_said(first)) == (0, ["t"], [])
    assert (second.member_epoch, partitions_said(second)) == (1, [0, 1])
    assert (third.subscribed_topic_names, partitions_said(third)) == (None, None), "what is known is not said again"
    assert partitions_said(fourth) == [1, 2]
    assert (fifth.member_epoch, partitions_said(fifth)) == (3, None)


@pytest.mark.parametrize("code", [Code.FENCED_MEMBER_EPOCH, Code.UNKNOWN_MEMBER_ID])
def test_a_member_that_is_lost_gives_all_up_and_joins_anew(code: Code) -> None:
    @run
    async def check() -> None:
        quiet = beat(9, assigns=False)
        broker = coordinator(ConsumerGroupHeartbeat=[beat(1, 0), quiet, beat(0, error_code=code), beat(5, 2), *[quiet] * 9])
        async with connected(broker) as client:
            membership = ConsumerMembership(client, Subscription("g", ("t",)), "me")
            until = lambda: len(broker.asked("ConsumerGroupHeartbeat")) >= 5  # noqa: E731
            assert await changes_of(membership, until) == [[0], [], [2]]
        again = broker.asked("ConsumerGroupHeartbeat")[3]
        assert (again.member_id, again.member_epoch, partitions_said(again)) == ("me", 0, [])

    check()


@run
async def test_a_member_outlives_a_coordinator_that_is_away_and_says_all_again() -> None:
    def answer(body: Any, version: int) -> Any:
        is_away = 2 < trio.current_time() - began < 40  # longer than one request is worth
        return HANG_UP if is_away else beat(1, 0, assigns=body.member_epoch == 0)

    broker = coordinator(ConsumerGroupHeartbeat=answer)
    async with connected(broker) as client:
        began = trio.current_time()
        membership = ConsumerMembership(client, Subscription("g", ("t",)), "me")
        assert await changes_of(membership, lambda: trio.current_time() - began > 42) == [[0]]
        said = [partitions_said(each) for each in broker.asked("ConsumerGroupHeartbeat")]
        assert said[:3] == [[], [0], None] and said[-1] is None and [0] in said[3:]


@run
async def test_a_refusal_ends_the_membership() -> None:
    broker = coordinator(ConsumerGroupHeartbeat=[beat(0, error_code=Code.UNSUPPORTED_ASSIGNOR)])
    async with connected(broker) as client:
        membership = ConsumerMembership(client, Subscription("g", ("t",), assignor="mine"), "me")

        async def on_change(owned: frozenset[tuple[str, int]]) -> None:
            raise AssertionError("nothing was assigned")

        with pytest.raises(ApiError) as refused:
            await membership.run(on_change)
    assert refused.value.code is Code.UNSUPPORTED_ASSIGNOR


@run
async def test_who_leaves_says_so_and_static_members_differently() -> None:
    for instance_id, epoch in ((None, -1), ("one", -2)):
        broker = coordinator(ConsumerGroupHeartbeat=lambda body, version: beat(1, assigns=False))
        async with connected(broker) as client:
            membership = ConsumerMembership(client, Subscription("g", ("t",), instance_id=instance_id), "me")
            await membership.leave()
            assert not broker.asked("ConsumerGroupHeartbeat"), "who never joined has nothing to leave"
            await changes_of(membership, lambda broker=broker: bool(broker.asked("ConsumerGroupHeartbeat")))
            await membership.leave()
        said = broker.asked("ConsumerGroupHeartbeat")[-1]
        assert (said.member_epoch, said.instance_id) == (epoch, instance_id)


# ---- the classic protocol


def joined(generation: int, leader: str = "me", *members: str, error_code: int = 0) -> Any:
    rows = [JOIN.JoinGroupResponseMember(member_id=each, metadata=encode_subscription(["t"])) for each in members]
    return JOIN(
        error_code=error_code, generation_id=generation, protocol_type="consumer", protocol_name="range", leader=leader,
        member_id="me", members=rows,
    )  # fmt: skip


def synced(*partitions: int) -> Any:
    return SYNC(assignment=encode_assignment(("t", partition) for partition in partitions))


@run
async def test_a_leader_assigns_for_all_and_all_begin_anew_in_a_rebalance() -> None:
    ok, rebalance = HEARTBEAT(), HEARTBEAT(error_code=Code.REBALANCE_IN_PROGRESS)
    broker = coordinator(
        JoinGroup=[
            joined(-1, error_code=Code.MEMBER_ID_REQUIRED), joined(1, "me", "me", "other"), joined(2, "other"),
        ],
        SyncGroup=[synced(0, 1), synced(2)],
        Heartbeat=[ok, rebalance, *[ok] * 20],
    )  # fmt: skip
    async with connected(broker) as client:
        membership = ClassicMembership(client, Subscription("g", ("t",)))
        assert await changes_of(membership, lambda: len(broker.asked("Heartbeat")) >= 3) == [[], [0, 1], [], [2]]
    assert [each.member_id for each in broker.asked("JoinGroup")] == ["", "me", "me"]
    first, second = broker.asked("SyncGroup")
    assert {each.member_id: read_assignment(bytes(each.assignment)) for each in first.assignments} == {
        "me": (("t", 0), ("t", 1)), "other": (("t", 2),),
    }  # fmt: skip
    assert second.assignments == [], "who does not lead assigns nothing"
    assert [each.generation_id for each in broker.asked("Heartbeat")] == [1, 1, 2]


@run
async def test_a_classic_member_that_is_forgotten_joins_under_a_new_name() -> None:
    gone = HEARTBEAT(error_code=Code.UNKNOWN_MEMBER_ID)
    broker = coordinator(
        JoinGroup=[joined(1, "other"), joined(1, "other")], SyncGroup=[synced(0), synced(0)],
        Heartbeat=[gone, *[HEARTBEAT()] * 20],
    )  # fmt: skip
    async with connected(broker) as client:
        membership = ClassicMembership(client, Subscription("g", ("t",)))
        assert await changes_of(membership, lambda: len(broker.asked("Heartbeat")) >= 2) == [[], [0], [], [0]]
    assert [each.member_id for each in broker.asked("JoinGroup")] == ["", ""]


@run
async def test_a_leader_notices_that_a_topic_has_grown() -> None:
    sizes = iter([0, 0, 2, 2, 2, 2])
    broker = coordinator(
        JoinGroup=lambda body, version: joined(1, "me", "me"), SyncGroup=[synced(), synced(0, 1)],
        Heartbeat=lambda body, version: HEARTBEAT(),
    )  # fmt: skip
    broker.handlers["Metadata"] = lambda body, version: metadata_answer(
        {1: WHERE}, {"t": dict.fromkeys(range(next(sizes)), 1)}
    )
    async with connected(broker) as client:
        membership = ClassicMembership(client, Subscription("g", ("t",)))
        assert await changes_of(membership, lambda: len(broker.asked("SyncGroup")) >= 2) == [[], [], [], [0, 1]]


def test_runs_of_neighbours_are_assigned_static_members_first() -> None:
    topics = {"a": ["t", "u"], "b": ["t"], "c": ["t", "u"]}
    assert assign_range(topics, {"t": 4, "u": 1}, {"c": "fixed"}) == {
        "c": [("t", 0), ("t", 1), ("u", 0)], "a": [("t", 2)], "b": [("t", 3)],
    }  # fmt: skip


def test_a_subscription_reads_as_it_was_written() -> None:
    assert read_subscription(encode_subscription(["b", "a"])) == ["a", "b"]
