"""Producer ids for this broker: blocks from the controller, handed out one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from cluster.handlers.answers import Answer


class ProducerIds:
    """`allocate` gives (first id, count). INVARIANT: no id is ever given twice, also not across restarts."""

    def __init__(self, allocate: Callable[[], Answer]) -> None:
        self._allocate = allocate
        self._next = self._end = 0
        self._waiting: deque[Answer] = deque()
        self._is_allocating = False

    def next(self) -> Answer:
        answer = Answer()
        self._waiting.append(answer)
        self._hand_out()
        return answer

    def _hand_out(self) -> None:
        while self._waiting and self._next < self._end:
            self._next += 1
            self._waiting.popleft().settle(self._next - 1)
        if self._waiting and not self._is_allocating:
            self._is_allocating = True
            self._allocate().then(self._allocated)

    def _allocated(self, outcome: Any) -> None:
        self._is_allocating = False
        if isinstance(outcome, Exception):
            refused, self._waiting = self._waiting, deque()
            for answer in refused:
                answer.settle(outcome)
            return
        first, count = outcome
        self._next, self._end = first, first + count
        self._hand_out()
