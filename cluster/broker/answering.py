"""Between Answers and Trio: what needs a clock or a network runs as a task and settles an Answer; a task waits for one."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import trio

from cluster.handlers.answers import Answer


def in_task(nursery: trio.Nursery, work: Awaitable[Any]) -> Answer:
    """What `work` returns or raises, done by a task."""
    answer = Answer()

    async def run() -> None:
        try:
            outcome = await work
        except Exception as error:
            outcome = error
        answer.settle(outcome)

    nursery.start_soon(run)
    return answer


async def wait_for(answer: Answer) -> Any:
    """The value of `answer`, for a task."""
    settled = trio.Event()
    answer.then(lambda _: settled.set())
    await settled.wait()
    return await answer
