"""Producer ids are handed out of blocks."""

from __future__ import annotations

from typing import Any

from cluster.broker.producer_ids import ProducerIds
from cluster.handlers.answers import Answer
from pykafkacore.protocol.errors import ApiError, Code


def asked(count: int, ids: ProducerIds) -> list[Any]:
    found: list[Any] = []
    for _ in range(count):
        ids.next().then(found.append)
    return found


def test_one_block_is_asked_for_however_many_wait_and_the_next_when_it_is_used_up() -> None:
    blocks: list[Answer] = []
    ids = ProducerIds(lambda: blocks.append(Answer()) or blocks[-1])
    found = asked(3, ids)
    assert (found, len(blocks)) == ([], 1)
    blocks[0].settle((1000, 2))
    assert (found, len(blocks)) == ([1000, 1001], 2)
    blocks[1].settle((5000, 10))
    assert found == [1000, 1001, 5000]
    assert asked(1, ids) == [5001]


def test_those_who_wait_are_told_that_there_is_no_block_and_the_next_one_asks_again() -> None:
    blocks: list[Answer] = []
    ids = ProducerIds(lambda: blocks.append(Answer()) or blocks[-1])
    found = asked(2, ids)
    blocks[0].settle(ApiError(Code.NOT_CONTROLLER, "nobody"))
    assert [type(each) for each in found] == [ApiError, ApiError]
    found = asked(1, ids)
    blocks[1].settle((0, 1))
    assert found == [0]
