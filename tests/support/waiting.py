"""Waiting for what comes in its own time."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(is_so: Callable[[], bool], deadline_s: float = 20, what: Callable[[], str] = str) -> None:
    """Looks again and again; fails after the deadline, and says `what` stood in the way."""
    end = time.monotonic() + deadline_s
    while not is_so():
        assert time.monotonic() < end, f"not within {deadline_s} s; {what()}"
        time.sleep(0.01)
