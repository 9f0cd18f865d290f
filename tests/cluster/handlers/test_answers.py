"""Answers, and the coroutines that they run on."""

from __future__ import annotations

import gc

import pytest

from cluster.handlers.answers import Answer, stepped
from pykafkacore.protocol.errors import ApiError, Code


def test_a_coroutine_runs_on_when_what_it_waits_for_is_settled() -> None:
    first, second, found = Answer(), Answer(), []

    async def adds() -> int:
        return await first + await second

    stepped(adds()).then(found.append)
    second.settle(2)
    assert found == []
    first.settle(1)
    assert found == [3]


def test_what_is_settled_already_is_not_waited_for() -> None:
    answer, found = Answer(), []
    answer.settle("now")

    async def waits() -> str:
        return await answer

    stepped(waits()).then(found.append)
    assert found == ["now"]


def test_an_exception_is_raised_where_the_answer_is_awaited_and_can_be_caught_there() -> None:
    refused, found = Answer(), []

    async def caught() -> str:
        try:
            await refused
        except ApiError as error:
            return error.code.name
        return "nothing raised"

    async def raised() -> None:
        await refused

    stepped(caught()).then(found.append)
    stepped(raised()).then(found.append)
    refused.settle(ApiError(Code.NOT_COORDINATOR, "elsewhere"))
    assert found[0] == "NOT_COORDINATOR"
    assert isinstance(found[1], ApiError)


def test_everybody_who_waits_for_an_answer_gets_it() -> None:
    answer, found = Answer(), []

    async def waits() -> int:
        return await answer

    for _ in range(3):
        stepped(waits()).then(found.append)
    answer.settle(7)
    assert found == [7, 7, 7]


def test_an_answer_is_given_once() -> None:
    answer = Answer()
    answer.settle(1)
    with pytest.raises(AssertionError, match="once"):
        answer.settle(2)


def test_what_a_request_leaves_behind_goes_without_the_garbage_collector() -> None:
    """It did not: each request was a cycle, and the collector stopped the broker for a tenth of a second now and then."""
    found: list[str] = []

    def answer_one() -> None:
        needed = Answer()

        async def handler() -> str:
            await needed
            return "done"

        stepped(handler()).then(found.append)
        needed.settle(None)

    was_enabled = gc.isenabled()
    gc.disable()
    try:
        gc.collect()
        answer_one()
        assert found == ["done"]
        assert gc.collect() == 0
    finally:
        if was_enabled:
            gc.enable()
