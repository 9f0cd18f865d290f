"""The pump of upcalls beside other tasks."""

from __future__ import annotations

import logging
import os
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from cluster.plane import native
from cluster.plane.native import NativePlane


class Core:
    """Gives a batch at each turn as the test says; a descriptor that becomes readable when the test writes to it."""

    def __init__(self, batches: list[int], after: int) -> None:
        self.batches = batches
        self.after = after
        self.reads, self.writes = os.pipe()
        self.drained = 0

    def fileno(self) -> int:
        return self.reads

    def drain(self, batch_max: int) -> list[Any]:
        self.drained += 1
        assert self.drained < 1_000_000, "other tasks never had their turn"
        count = self.batches.pop(0) if self.batches else self.after
        return [SimpleNamespace(level=logging.DEBUG, text="") for _ in range(count)]

    def close(self) -> None:
        os.close(self.reads)
        os.close(self.writes)


def pumping(monkeypatch: pytest.MonkeyPatch, core: Core) -> NativePlane:
    monkeypatch.setattr(native._core, "DataPlane", lambda config: core)
    return NativePlane({})


def nobody(upcall: Any) -> None:
    raise AssertionError(f"no upcall of this kind was given: {upcall!r}")


def test_other_tasks_have_their_turn_however_many_upcalls_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    core = Core([], after=1)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pumping(monkeypatch, core).pump, nobody, nobody, nobody)
            for _ in range(3):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()

    trio.run(main)
    core.close()
    assert core.drained > 3


def test_without_upcalls_it_looks_once_more_and_sleeps_until_its_descriptor_is_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    core = Core([2, 0, 1], after=0)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pumping(monkeypatch, core).pump, nobody, nobody, nobody)
            await trio.testing.wait_all_tasks_blocked()
            # The batch of two, nothing, the batch of one, nothing, and nothing once more.
            assert core.drained == 5
            os.write(core.writes, b"1")
            while core.drained == 5:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()

    trio.run(main)
    core.close()
