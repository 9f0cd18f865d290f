"""Answers that are still to come, and coroutines that wait for nothing else.

A task for every request costs more than what most requests decide. So the handlers that ask coordinators are coroutines
that whoever settles an answer runs on: no task, no scheduler, no queue.

INVARIANT: a coroutine given to `stepped` awaits Answers only. What needs a clock or a network is made an Answer by the shell.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any

Told = Callable[[Any], None]
"""Gets the value, or the exception that stands for it."""

_PENDING = object()


class Answer:
    """A value, or the exception instead of it, that somebody settles once.

    scope: of a value that the same question is given without asking again, until whoever settled it takes it back.
    """

    __slots__ = ("_outcome", "_told", "scope")
    _told: Sequence[Told]

    def __init__(self) -> None:
        self.scope: int | None = None
        self._outcome: Any = _PENDING
        self._told = ()

    def settle(self, outcome: Any) -> None:
        assert self._outcome is _PENDING, "an answer is given once"
        self._outcome = outcome
        waiting, self._told = self._told, ()
        for told in waiting:
            told(outcome)

    def then(self, told: Told) -> None:
        """`told(outcome)` is called when it is settled, or at once."""
        if self._outcome is _PENDING:
            self._told = (*self._told, told)
        else:
            told(self._outcome)

    def __await__(self) -> Generator[Answer, None, Any]:
        if self._outcome is _PENDING:
            yield self
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


class _Stepping:
    """A coroutine on its way. An object, not a function that names itself: that would be a cycle, and each request's leavings
    would wait for the garbage collector."""

    __slots__ = ("_coroutine", "_result")

    def __init__(self, coroutine: Coroutine[Answer, None, Any], result: Answer) -> None:
        self._coroutine = coroutine
        self._result = result

    def __call__(self, _: Any = None) -> None:
        try:
            needed = self._coroutine.send(None)
        except StopIteration as end:
            self._result.settle(end.value)
        except Exception as error:
            self._result.settle(error)
        else:
            needed.then(self)


def stepped(coroutine: Coroutine[Answer, None, Any]) -> Answer:
    """Runs the coroutine as far as it comes, and on with each answer. What it returns or raises settles the result."""
    result = Answer()
    _Stepping(coroutine, result)()
    return result
