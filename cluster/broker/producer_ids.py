"""Producer ids for this broker: blocks from the controller, handed out one by one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio


class ProducerIds:
    """`allocate` gives (first id, count). INVARIANT: no id is ever given twice, also not across restarts."""

    def __init__(self, allocate: Callable[[], Awaitable[tuple[int, int]]]) -> None:
        self._allocate = allocate
        self._next = self._end = 0
        self._lock = trio.Lock()

    async def next(self) -> int:
        async with self._lock:
            if self._next == self._end:
                first, count = await self._allocate()
                self._next, self._end = first, first + count
            self._next += 1
            return self._next - 1
