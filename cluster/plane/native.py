"""The data plane as the control plane drives it: the one importer of the extension.

    down   publish, respond, queries: each returns at once; what takes time completes with its ticket
    up     requests, completions, notices: drained in bounded batches whenever the descriptor is readable

INVARIANT: however many upcalls wait, other tasks get their turn, between two batches, once a millisecond.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from time import perf_counter
from typing import Any

import trio

from cluster.plane.port import ViewDelta
from pykafkacore import _core

BATCH_MAX = 512
GIVES_WAY_AFTER_S = 0.00003
"""Since it last did, while there are upcalls. An event loop that wakes up on the processor where the control plane is at
work is let in by the kernel at its next tick otherwise, milliseconds later."""
OTHERS_AFTER_S = 0.001
"""Since other tasks had their turn: between two small batches a checkpoint costs as much as half a request."""
CoreError = _core.CoreError
LocalLog = _core.LocalLog
Request = _core.Request
build_batch = _core.build_batch
crc32c = _core.crc32c
match_names = _core.match_names
parse_batches = _core.parse_batches

log = logging.getLogger("pykafkacore.plane")

_COMPRESSION_LEVELS = {"gzip": "compression_gzip_level", "lz4": "compression_lz4_level", "zstd": "compression_zstd_level"}


class _Topic:
    """A `TopicView` with the settings that the extension reads."""

    __slots__ = ("name", "settings", "topic_id")

    def __init__(self, topic: Any, producer_id_expiration_ms: int) -> None:
        settings = topic.settings
        level_key = _COMPRESSION_LEVELS.get(settings["compression_type"])
        self.topic_id = topic.topic_id
        self.name = topic.name
        self.settings = {
            **settings,
            "compression_level": settings[level_key] if level_key else None,
            "producer_id_expiration_ms": producer_id_expiration_ms,
            # KAFKA: a size that tests may set below the least one of segment.bytes.
            "segment_bytes": settings["internal_segment_bytes"] or settings["segment_bytes"],
        }


class _Delta:
    __slots__ = ("brokers", "metadata_offset", "partitions", "removed_topics", "topics")
    brokers: Any
    metadata_offset: int
    partitions: Any
    removed_topics: Any
    topics: list[_Topic]


class Kept:
    """Implements `cluster.coordinator.standing.KeptAnswers` for the shards of a broker."""

    def __init__(self, core: Any) -> None:
        self._core = core
        self._scope = 0  # that of the metadata image

    def new_scope(self) -> int:
        self._scope += 1
        return self._scope

    def last_given(self, scope: int, now: int) -> int | None:
        age_ms = self._core.heard(scope)
        return None if age_ms is None else now - age_ms

    def take_back(self, scope: int, now: int) -> int | None:
        age_ms = self._core.forget(scope)
        return None if age_ms is None else now - age_ms


class NativePlane:
    """Implements `cluster.handlers.context.Queries` and what the broker's shell needs beyond it."""

    def __init__(self, config: dict[str, Any], producer_id_expiration_ms: int = 86_400_000) -> None:
        self.core = _core.DataPlane(config)
        self.kept = Kept(self.core)
        self.producer_id_expiration_ms = producer_id_expiration_ms
        self._callbacks: dict[int, Callable[[Any, str | None], None]] = {}
        self._next_ticket = 0
        self._answers: list[tuple[int, bytes, bool]] = []
        self._verdicts: list[tuple[int, list[int]]] = []
        self._deferred: list[Callable[[], None]] = []
        self.is_draining = False
        self._gave_way_s = 0.0

    def expect(self, callback: Callable[[Any, str | None], None]) -> int:
        """A ticket for a job; `callback(value, error)` runs in the pump when it is done."""
        self._next_ticket += 1
        self._callbacks[self._next_ticket] = callback
        return self._next_ticket

    async def _ask(self, submit: Callable[..., None], *args: Any) -> Any:
        done = trio.Event()
        outcome: list[Any] = []

        def completed(value: Any, error: str | None) -> None:
            outcome.extend((value, error))
            done.set()

        submit(self.expect(completed), *args)
        await done.wait()
        value, error = outcome
        if error is not None:
            raise CoreError(error)
        return value

    async def pump(
        self, on_request: Callable[[Any], None], on_verify: Callable[[Any], None], on_placed: Callable[[Any], None]
    ) -> None:
        """Drains upcalls for ever. None of the three may block."""
        fd = self.core.fileno()
        others_s = perf_counter()
        is_idle = False
        while True:
            batch = self.core.drain(BATCH_MAX)
            if not batch:
                # Often there are more by the time that other tasks have had their turn: going to sleep costs the most.
                await (trio.lowlevel.wait_readable(fd) if is_idle else trio.lowlevel.checkpoint())
                is_idle, others_s = not is_idle, perf_counter()
                continue
            is_idle = False
            self.is_draining = True
            try:
                for upcall in batch:
                    self.give_way()
                    if type(upcall) is Request:
                        on_request(upcall)
                    elif type(upcall) is _core.Verify:
                        on_verify(upcall)
                    elif type(upcall) is _core.Completed:
                        self._callbacks.pop(upcall.ticket)(upcall.value, upcall.error)
                    elif type(upcall) is _core.Placed:
                        on_placed(upcall)
                    else:
                        log.log(upcall.level, upcall.text)
                while self._deferred:
                    self.give_way()
                    self._deferred.pop()()
            finally:
                self.is_draining = False
                self._send_gathered()
            if perf_counter() - others_s > OTHERS_AFTER_S:
                await trio.lowlevel.checkpoint()
                others_s = perf_counter()

    def give_way(self) -> None:
        """To event loops, if it was long ago. Called wherever a decision may stand still for a moment."""
        now_s = perf_counter()
        if now_s - self._gave_way_s > GIVES_WAY_AFTER_S:
            self._gave_way_s = now_s
            os.sched_yield()

    def at_end_of_batch(self, act: Callable[[], None]) -> None:
        """`act()` runs once all upcalls of the batch at hand have been looked at. While `is_draining` only."""
        assert self.is_draining, "there is no batch at hand"
        self._deferred.append(act)

    def respond(self, ticket: int, body: bytes, close: bool = False) -> None:
        """Answers a request. The answers of one batch of upcalls go down together: each wakes an event loop otherwise."""
        if self.is_draining:
            self._answers.append((ticket, body, close))
        else:
            self.core.respond([(ticket, body, close)])

    def verified(self, ticket: int, codes: list[int]) -> None:
        """Answers a `Verify` with an error code for each of its partitions, in order; with those of its batch, as above."""
        if self.is_draining:
            self._verdicts.append((ticket, codes))
        else:
            self.core.verified([(ticket, codes)])

    def _send_gathered(self) -> None:
        answers, self._answers = self._answers, []
        verdicts, self._verdicts = self._verdicts, []
        if verdicts:
            self.core.verified(verdicts)
        if answers:
            self.core.respond(answers)

    def publish(self, delta: ViewDelta, done: Callable[[Any, str | None], None]) -> None:
        """`done` gets (metadata offset, [(topic id, partition, why)]): what could not be opened."""
        native = _Delta()
        native.metadata_offset = delta.metadata_offset
        native.topics = [_Topic(topic, self.producer_id_expiration_ms) for topic in delta.topics]
        native.partitions = delta.partitions
        native.removed_topics = delta.removed_topics
        native.brokers = delta.brokers
        self.core.publish(self.expect(done), native)

    async def set_strays_aside(self) -> Any:
        """Logs that are of no partition in the view are set aside, now that it is as new as this broker's registration.
        Gives what `publish` completes with."""
        return await self._ask(self.core.set_strays_aside)

    async def list_offsets(self, wanted: list[Any]) -> list[Any]:
        return await self._ask(self.core.list_offsets, wanted)

    async def epoch_ends(self, wanted: list[Any]) -> list[Any]:
        return await self._ask(self.core.epoch_ends, wanted)

    async def delete_records(self, wanted: list[Any]) -> list[Any]:
        return await self._ask(self.core.delete_records, wanted)

    async def describe_producers(self, wanted: list[Any]) -> list[Any]:
        return await self._ask(self.core.describe_producers, wanted)

    async def describe_log_dirs(self) -> list[Any]:
        return await self._ask(self.core.describe_log_dirs)

    async def alter_dirs(self, wanted: list[Any]) -> list[int]:
        errors: list[int] = await self._ask(self.core.alter_dirs, wanted)
        return errors

    async def read(self, partition: tuple[bytes, int], offset: int, bytes_max: int) -> bytes:
        """Some whole batches from `offset` on; none at the end of the log."""
        data: bytes = await self._ask(self.core.read, partition, offset, bytes_max)
        return data
