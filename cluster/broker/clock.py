"""The clocks of the shell: one that only goes forward, for timers; one that people read, for timestamps; and the time of
day as it would be had nobody set the clock since the start, for what needs both.
"""

from __future__ import annotations

import time

import trio


class Clock:
    def __init__(self) -> None:
        self._offset_ms: int | None = None

    def now_ms(self) -> int:
        return int(trio.current_time() * 1000)

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def steady_wall_ms(self) -> int:
        now = self.now_ms()
        if self._offset_ms is None:
            self._offset_ms = self.wall_ms() - now
        return now + self._offset_ms
