"""The two clocks of the shell: one that only goes forward, for timers; one that people read, for timestamps."""

from __future__ import annotations

import time

import trio


class Clock:
    def now_ms(self) -> int:
        return int(trio.current_time() * 1000)

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000
