from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from pykafkacore.client.connection import Connection, ConnectionClosed, UnsupportedApi
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.headers import encode_response
from tests.client.fake_broker import HANG_UP, NO_ANSWER, FakeBroker, run

HEARTBEAT = api("Heartbeat")


def heartbeat(generation_id: int = 0) -> Any:
    return HEARTBEAT.request(group_id="g", generation_id=generation_id, member_id="m")


async def connect(nursery: trio.Nursery, broker: FakeBroker, negotiate: bool = True) -> Connection:
    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(broker.serve, theirs)
    connection = Connection(ours, "me", "fake:1")
    await connection.start(nursery, negotiate=negotiate)
    return connection


@run
async def test_versions_are_the_newest_that_both_sides_speak() -> None:
    async with trio.open_nursery() as nursery:
        connection = await connect(nursery, FakeBroker(max_versions={"Metadata": 9}))
        assert connection.version_for(api("Metadata")) == 9
        assert connection.version_for(api("Fetch")) == 18
        assert connection.version_for(api("Produce"), at_most=12) == 12
        assert connection.version_for(api("InitProducerId")) == 5
        nursery.cancel_scope.cancel()


@run
async def test_a_node_that_does_not_know_the_newest_api_versions_is_asked_again() -> None:
    async with trio.open_nursery() as nursery:
        broker = FakeBroker(max_versions={"ApiVersions": 2})
        connection = await connect(nursery, broker)
        assert [(name, version) for name, version, _ in broker.requests] == [("ApiVersions", 5), ("ApiVersions", 2)]
        assert connection.version_for(api("Fetch")) == 18
        nursery.cancel_scope.cancel()


@run
async def test_an_api_that_the_node_does_not_speak_is_refused_before_sending() -> None:
    async with trio.open_nursery() as nursery:
        broker = FakeBroker(max_versions={"Fetch": 3})
        connection = await connect(nursery, broker)
        with pytest.raises(UnsupportedApi, match="fake:1 does not speak Vote"):
            await connection.request(api("Vote"), api("Vote").request())
        with pytest.raises(UnsupportedApi, match="speaks Fetch 4-3"):
            connection.version_for(api("Fetch"))
        assert len(broker.requests) == 1
        nursery.cancel_scope.cancel()


@run
async def test_pipelined_requests_get_their_own_answers() -> None:
    async with trio.open_nursery() as nursery:
        broker = FakeBroker()
        broker.handlers["Heartbeat"] = lambda body, version: HEARTBEAT.response(error_code=body.generation_id)
        connection = await connect(nursery, broker)
        answers: dict[int, int] = {}

        async def ask(number: int) -> None:
            answers[number] = (await connection.request(HEARTBEAT, heartbeat(number))).error_code

        async with trio.open_nursery() as askers:
            for number in range(50):
                askers.start_soon(ask, number)
        assert answers == {number: number for number in range(50)}
        nursery.cancel_scope.cancel()


@run
async def test_a_caller_that_gives_up_leaves_the_connection_usable() -> None:
    async with trio.open_nursery() as nursery:
        ours, theirs = trio.testing.memory_stream_pair()
        connection = Connection(ours, "me")
        await connection.start(nursery, negotiate=False)
        with trio.move_on_after(1) as scope:
            await connection.request(HEARTBEAT, heartbeat(), 4)
        assert scope.cancelled_caught
        late = encode_response(HEARTBEAT, 4, 1, HEARTBEAT.response(error_code=1))
        good = encode_response(HEARTBEAT, 4, 2, HEARTBEAT.response(error_code=2))
        await theirs.send_all(len(late).to_bytes(4, "big") + late + len(good).to_bytes(4, "big") + good[:3])
        nursery.start_soon(theirs.send_all, good[3:])
        assert (await connection.request(HEARTBEAT, heartbeat(), 4)).error_code == 2
        nursery.cancel_scope.cancel()


@run
async def test_everybody_who_waits_is_told_when_the_node_hangs_up() -> None:
    async with trio.open_nursery() as nursery:
        broker = FakeBroker()
        broker.handlers["Heartbeat"] = [NO_ANSWER, HANG_UP]
        connection = await connect(nursery, broker)
        failures = []

        async def ask() -> None:
            try:
                await connection.request(HEARTBEAT, heartbeat())
            except ConnectionClosed as error:
                failures.append(str(error))

        async with trio.open_nursery() as askers:
            askers.start_soon(ask)
            askers.start_soon(ask)
        assert len(failures) == 2
        assert "closed before Heartbeat was answered: the other side closed it" in failures[0]
        with pytest.raises(ConnectionClosed):
            await connection.request(HEARTBEAT, heartbeat())
        assert connection.is_closed


@run
async def test_a_request_without_an_answer_does_not_disturb_the_next() -> None:
    async with trio.open_nursery() as nursery:
        broker = FakeBroker()
        broker.handlers["Produce"] = [NO_ANSWER]
        broker.handlers["Heartbeat"] = [HEARTBEAT.response(error_code=3)]
        connection = await connect(nursery, broker)
        await connection.send(api("Produce"), api("Produce").request(acks=0))
        assert (await connection.request(HEARTBEAT, heartbeat())).error_code == 3
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("ffffffff", "an answer of -1 bytes"),
        ("7fffffff", "an answer of 2147483647 bytes"),
        ("00000006000000630000", "HeartbeatResponse v4: ends too early"),
        ("0000000c000000020000000000000000", "answer 2 came where 1 was due"),
        ("000000050000000100", "ends too early"),
    ],
)
@run
async def test_nonsense_closes_the_connection(data: str, reason: str) -> None:
    async with trio.open_nursery() as nursery:
        ours, theirs = trio.testing.memory_stream_pair()
        connection = Connection(ours, "me")
        await connection.start(nursery, negotiate=False)
        nursery.start_soon(theirs.send_all, bytes.fromhex(data))
        with pytest.raises(ConnectionClosed, match=reason):
            await connection.request(HEARTBEAT, heartbeat(), 4)
        assert connection.is_closed


@run
async def test_an_answer_that_nobody_asked_for_closes_the_connection() -> None:
    async with trio.open_nursery() as nursery:
        ours, theirs = trio.testing.memory_stream_pair()
        connection = Connection(ours, "me")
        await connection.start(nursery, negotiate=False)
        await theirs.send_all(bytes.fromhex("0000000400000001"))
        await trio.testing.wait_all_tasks_blocked()
        assert connection.is_closed


@run
async def test_closing_fails_what_waits() -> None:
    async with trio.open_nursery() as nursery:
        broker = FakeBroker()
        broker.handlers["Heartbeat"] = [NO_ANSWER]
        connection = await connect(nursery, broker)

        async def ask() -> None:
            with pytest.raises(ConnectionClosed, match="closed by us"):
                await connection.request(HEARTBEAT, heartbeat())

        async with trio.open_nursery() as askers:
            askers.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            await connection.close()
