"""Memory that is touched before the runs: pages are held while they last, and given back."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios
from pathlib import Path

import pytest

from benchmarks.versus import memory
from benchmarks.versus.memory import PAGE, touched_memory

STRIDES = 300  # of a MiB each: more than one pipe holds


def test_a_page_of_each_mebibyte_is_held_until_the_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made, pipe = [], os.pipe
    monkeypatch.setattr(memory, "LEFT_BYTES", 0)  # However little of this machine's is free.
    monkeypatch.setattr(os, "pipe", lambda: made.append(pipe()) or made[-1])
    with touched_memory(tmp_path, STRIDES << 20):
        held = [struct.unpack("i", fcntl.ioctl(reading, termios.FIONREAD, bytes(4)))[0] for reading, _ in made]
        assert len(made) == 2 and sum(held) == STRIDES * PAGE
        assert not list(tmp_path.iterdir())
    for end in (end for ends in made for end in ends):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(end)


def test_who_may_hold_no_more_goes_on_with_less(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def none_left() -> tuple[int, int]:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pipe", none_left)
    monkeypatch.setattr(memory, "LEFT_BYTES", 0)
    with touched_memory(tmp_path, STRIDES << 20):
        assert not list(tmp_path.iterdir())
