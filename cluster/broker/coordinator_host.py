"""Hosts the shards of one coordinator topic on this broker: loads them from their logs, carries their effects out.

    led here --read the log--> shard --start--> runtime;   led no more --stop--> everybody who waits is told
    ask --submit--> Append --> data plane --committed--> answers

INVARIANT: a shard is loaded up to the end of its log before it decides on anything.
INVARIANT: an append that is refused drops the shard; while this broker still leads, a new one is loaded.
Requests that come in one batch of upcalls share one append.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

import trio
from msgspec import Struct

from cluster.broker.answering import in_task
from cluster.coordinator import values
from cluster.coordinator.runtime import Append, Dropped, Fail, Faulted, Perform, Respond, ShardRuntime
from cluster.coordinator.values import Logged, Marker, Pending
from cluster.handlers.answers import Answer
from cluster.plane.native import CoreError, build_batch, parse_batches
from pykafkacore.protocol.errors import ApiError, Code
from pykafkacore.protocol.log_records import (
    CONTROL_ABORT,
    CONTROL_COMMIT,
    END_TXN_MARKER,
    decode_control_key,
    encode_control_key,
    encode_versioned,
)
from pykafkacore.protocol.types import ZERO_UUID, MalformedMessage

if TYPE_CHECKING:
    from cluster.broker.clock import Clock
    from cluster.metadata.image import MetadataImage
    from cluster.plane.native import NativePlane
    from cluster.shard import TransactionalBatch
    from pykafkacore.protocol.schema import Message

log = logging.getLogger("pykafkacore.coordinator")

READ_BYTES = 4 << 20


class CoordinatorKind(Struct, frozen=True):
    """What tells one coordinator from another."""

    topic: str
    table: dict[int, tuple[Message, Message]]
    make_shard: Callable[[int, int], Any]
    """(partition, leader epoch) -> an empty shard"""
    codec: int = 0
    answers_stand: bool = False
    """Whether its shards say which of their answers do."""


def build_marker(producer_id: int, producer_epoch: int, is_commit: bool, coordinator_epoch: int, now_ms: int) -> bytes:
    """The control batch that ends a producer's transaction on a partition."""
    key = encode_control_key(CONTROL_COMMIT if is_commit else CONTROL_ABORT)
    value = encode_versioned(END_TXN_MARKER, END_TXN_MARKER(coordinator_epoch=coordinator_epoch), 0)
    return build_batch(
        [(now_ms, key, value, [])], transactional=True, control=True, producer_id=producer_id, producer_epoch=producer_epoch
    )


class _Hosted:
    """One partition that this broker leads."""

    __slots__ = ("leader_epoch", "partition", "runtime")

    def __init__(self, partition: int, leader_epoch: int, runtime: ShardRuntime) -> None:
        self.partition = partition
        self.leader_epoch = leader_epoch
        self.runtime = runtime


class CoordinatorHost:
    def __init__(
        self,
        node_id: int,
        plane: NativePlane,
        clock: Clock,
        nursery: trio.Nursery,
        kind: CoordinatorKind,
        perform: Callable[[int, Any], None] = lambda partition, effect: None,
    ) -> None:
        """`perform(partition, effect)` does what a shard asked for, once that is committed; it returns at once."""
        self._kind = kind
        self._node_id = node_id
        self._plane = plane
        self.clock = clock
        self._nursery = nursery
        self._perform = perform
        self._topic_id = ZERO_UUID
        self.partition_count = 0
        self._hosted: dict[int, _Hosted] = {}
        self._waiting: dict[int, Answer] = {}
        self._next_ticket = 0
        self._unflushed: set[int] = set()
        self._asked_at_ms = 0
        self._effects: deque[tuple[_Hosted, Any]] = deque()
        self._carries_out = False
        self._wakes_at = math.inf
        self._earlier = trio.Event()
        nursery.start_soon(self._run_timers)

    # --- who leads ------------------------------------------------------------------------------------------------------

    def concerns(self, before: MetadataImage, after: MetadataImage, changed: Collection[bytes]) -> bool:
        """Whether the topics that changed have this one among them."""
        topics = (image.topic_named(self._kind.topic) for image in (before, after))
        return any(topic is not None and topic.topic_id in changed for topic in topics)

    def on_image(self, image: MetadataImage) -> None:
        """The view that goes with this image is published: take up what is led here now, let go of the rest."""
        topic = image.topic_named(self._kind.topic)
        led: dict[int, int] = {}
        if topic is not None:
            led = {i: p.leader_epoch for i, p in topic.partitions.items() if p.leader == self._node_id}
        if topic is None or topic.topic_id != self._topic_id:
            for index in list(self._hosted):
                self._let_go(index)
        self._topic_id = ZERO_UUID if topic is None else topic.topic_id
        self.partition_count = 0 if topic is None else len(topic.partitions)
        for index, hosted in list(self._hosted.items()):
            if led.get(index) != hosted.leader_epoch:
                self._let_go(index)
        for index, leader_epoch in led.items():
            if index not in self._hosted:
                self._take_up(index, leader_epoch)

    def _take_up(self, index: int, leader_epoch: int) -> None:
        kept = self._plane.kept if self._kind.answers_stand else None
        runtime = ShardRuntime(self._encode, Code.NOT_COORDINATOR, size=values.encoded_bytes, kept=kept)
        hosted = self._hosted[index] = _Hosted(index, leader_epoch, runtime)
        self._nursery.start_soon(self._load, hosted)

    def _encode(self, record: Any) -> values.Encoded:
        # A decision of many records takes long, and each of them is looked at here.
        self._plane.give_way()
        return values.encode(record)

    def _let_go(self, index: int) -> None:
        hosted = self._hosted.pop(index)
        self._carry_out(hosted, hosted.runtime.stop("the leadership of the partition moved on"))

    # --- loading --------------------------------------------------------------------------------------------------------

    async def _load(self, hosted: _Hosted) -> None:
        began = self.clock.now_ms()
        name = f"{self._kind.topic}-{hosted.partition}"
        place = (self._topic_id, hosted.partition)
        shard = self._kind.make_shard(hosted.partition, hosted.leader_epoch)
        error, leader_epoch, offset, high_watermark, end_offset = self._plane.core.log_state(place)
        if error == Code.NOT_LEADER_OR_FOLLOWER or (not error and leader_epoch != hosted.leader_epoch):
            # As after a kill, when this broker's former life is fenced: the view is ahead, and the next image says so.
            log.debug("%s is not loaded: its leadership has moved on", name)
            return
        if error:
            log.warning("%s cannot be loaded: %s", name, Code(error).name)
            return
        try:
            while offset < end_offset:
                data = await self._plane.read(place, offset, READ_BYTES)
                offset = self._replay(shard, data, offset, end_offset)
        except (CoreError, MalformedMessage) as problem:
            log.error("%s cannot be loaded, its clients are sent away: %s", name, problem)
            return
        if self._hosted.get(hosted.partition) is not hosted:
            return
        took_ms = self.clock.now_ms() - began
        if end_offset:
            log.info("%s loaded up to offset %d in %d ms", name, end_offset, took_ms)
        effects = hosted.runtime.start(
            shard, hosted.leader_epoch, end_offset, high_watermark, self.clock.steady_wall_ms()
        )
        self._carry_out(hosted, effects)
        self._set_alarm(hosted)
        if high_watermark < end_offset:
            self._watch(hosted, end_offset)

    def _replay(self, shard: Any, data: bytes, offset: int, end_offset: int) -> int:
        if not data:
            raise MalformedMessage(f"the log has nothing at offset {offset}, but ends at {end_offset}")
        for batch in parse_batches(data):
            if not batch["crc_is_valid"]:
                raise MalformedMessage(f"the batch at offset {batch['base_offset']} has a wrong CRC")
            for at, logged in self._logged(batch):
                shard.apply(at, logged)
            offset = batch["last_offset"] + 1
            if offset >= end_offset:
                break
        return offset

    def _logged(self, batch: dict[str, Any]) -> Iterable[tuple[int, Logged]]:
        producer_id, producer_epoch = batch["producer_id"], batch["producer_epoch"]
        for offset, _, key, value, _ in batch["records"]:
            if batch["is_control"]:
                yield offset, Marker(producer_id, producer_epoch, decode_control_key(key) == CONTROL_COMMIT)
                continue
            record = values.decode(key, value, self._kind.table)
            if record is None:
                log.warning("%s has a record of an unknown type at offset %d: skipped", self._kind.topic, offset)
            elif batch["is_transactional"]:
                yield offset, Pending(producer_id, producer_epoch, record)
            else:
                yield offset, record

    def tell_all(self, request: Any) -> None:
        """Something that every shard is to know. One that is being loaded knows it from its host."""
        for partition, hosted in list(self._hosted.items()):
            if hosted.runtime.is_active:
                self.ask(partition, lambda _: request)

    # --- asking -----------------------------------------------------------------------------------------------------------

    def shard_of(self, partition: int) -> Any:
        """The shard at work there, or None."""
        hosted = self._hosted.get(partition)
        return None if hosted is None else hosted.runtime.shard

    def shards(self) -> list[Any]:
        """Those that are at work."""
        return [hosted.runtime.shard for hosted in self._hosted.values() if hosted.runtime.is_active]

    def led_partitions(self) -> list[int]:
        return list(self._hosted)

    def ask(self, partition: int, make_request: Callable[[int], Any]) -> Answer:
        """The answer to `make_request(ticket)`, or ApiError, once all it stands on is committed."""
        answer = Answer()
        hosted = self._hosted.get(partition)
        if hosted is None:
            answer.settle(ApiError(Code.NOT_COORDINATOR, f"{self._kind.topic}-{partition} is led by another broker"))
        elif not hosted.runtime.is_active:
            answer.settle(ApiError(Code.COORDINATOR_LOAD_IN_PROGRESS, f"{self._kind.topic}-{partition} is being loaded"))
        else:
            self._next_ticket = ticket = self._next_ticket + 1
            self._waiting[ticket] = answer
            if not self._unflushed:
                self._flush_later()
            self._unflushed.add(partition)
            effects = hosted.runtime.submit(ticket, make_request(ticket), self._asked_at_ms)
            if effects:
                self._carry_out(hosted, effects)
            if hosted.runtime.timers_changed:
                self._set_alarm(hosted)
        return answer

    def in_task(self, work: Awaitable[Any]) -> Answer:
        return in_task(self._nursery, work)

    def _flush_later(self) -> None:
        """Whoever else is at hand asks first, at the same time of day: one append for all."""
        self._asked_at_ms = self.clock.steady_wall_ms()
        if self._plane.is_draining:
            self._plane.at_end_of_batch(self._flush)
        else:
            self._nursery.start_soon(self._flush_soon)

    async def _flush_soon(self) -> None:
        self._flush()

    def _flush(self) -> None:
        unflushed, self._unflushed = self._unflushed, set()
        appends: list[tuple[_Hosted, Append]] = []
        for partition in unflushed:
            hosted = self._hosted.get(partition)
            if hosted is not None:
                for append in hosted.runtime.flush():
                    appends.append((hosted, append))
        if appends:
            self._append(appends)

    # --- effects ------------------------------------------------------------------------------------------------------------

    def _carry_out(self, hosted: _Hosted, effects: list[Any]) -> None:
        """In the order in which they were decided: what an effect leads to comes behind those that wait already, for its
        append must not come before theirs."""
        if self._carries_out:
            self._effects.extend([(hosted, effect) for effect in effects])
            return
        self._carries_out = True
        try:
            for effect in effects:
                self._carry_out_one(hosted, effect)
            while self._effects:
                self._carry_out_one(*self._effects.popleft())
        finally:
            self._carries_out = False

    def _carry_out_one(self, hosted: _Hosted, effect: Any) -> None:
        kind = type(effect)
        if kind is Append:
            if not hosted.runtime.is_active:
                return
            if effect.transaction is None:
                self._append([(hosted, effect)])
            else:
                self._append_of_producer(hosted, effect, effect.transaction)
        elif kind is Respond:
            answer = self._waiting.pop(effect.ticket)
            if effect.scope is not None and hosted.runtime.stands(effect.scope):
                answer.scope = effect.scope
            answer.settle(effect.response)
        elif kind is Fail:
            self._waiting.pop(effect.ticket).settle(effect.error)
        elif kind is Perform:
            self._perform(hosted.partition, effect.effect)
        elif kind is Faulted:
            name = f"{self._kind.topic}-{hosted.partition}"
            log.error("a decision of the coordinator of %s failed", name, exc_info=effect.exception)
        elif kind is Dropped:
            self._dropped(hosted, effect)

    def _dropped(self, hosted: _Hosted, effect: Dropped) -> None:
        if self._hosted.get(hosted.partition) is hosted:
            log.warning("the coordinator of %s-%d starts anew: %s", self._kind.topic, hosted.partition, effect.reason)
            # Still the leader: a new shard takes over from the log.
            del self._hosted[hosted.partition]
            self._take_up(hosted.partition, hosted.leader_epoch)

    def _append(self, appends: list[tuple[_Hosted, Append]]) -> None:
        """Nothing that one of them leads to comes before all are in their logs."""
        wanted = [
            ((self._topic_id, hosted.partition), (append.leader_epoch, append.base_offset), append.records)
            for hosted, append in appends
        ]
        found = self._plane.core.append_records(wanted, self._kind.codec, self.clock.wall_ms())
        for (hosted, append), outcome in zip(appends, found, strict=True):
            self._appended(hosted, append, outcome)

    def _append_of_producer(self, hosted: _Hosted, append: Append, transaction: TransactionalBatch) -> None:
        now_ms = self.clock.wall_ms()
        producer_id, producer_epoch = transaction.producer_id, transaction.producer_epoch
        if transaction.marker is not None:
            batch = build_marker(producer_id, producer_epoch, transaction.marker, transaction.coordinator_epoch, now_ms)
        else:
            rows: list[Any] = [(now_ms, key, value, []) for key, value in append.records]
            batch = build_batch(rows, transactional=True, producer_id=producer_id, producer_epoch=producer_epoch)
        at = (append.leader_epoch, append.base_offset)
        self._appended(hosted, append, self._plane.core.append((self._topic_id, hosted.partition), batch, at, now_ms))

    def _appended(self, hosted: _Hosted, append: Append, outcome: tuple[int, str | None, int, int]) -> None:
        error, why, end_offset, high_watermark = outcome
        if error:
            reason = f"its append was refused with {Code(error).name}" + (f": {why}" if why else "")
            self._carry_out(hosted, hosted.runtime.append_failed(append.leader_epoch, reason))
        elif high_watermark >= end_offset:
            self._carry_out(hosted, hosted.runtime.committed(high_watermark))
        else:
            self._watch(hosted, end_offset)

    async def append_everywhere(self, place: tuple[bytes, int], batch: bytes, transaction_version: int) -> int:
        """Appends a batch to any partition that is led here; the error code, once all replicas have it."""
        core = self._plane.core
        error, _, end_offset, high_watermark = core.append(place, batch, None, self.clock.wall_ms(), transaction_version)
        while not error and high_watermark < end_offset:
            await self._moved(place, end_offset)
            error, _, _, high_watermark, _ = core.log_state(place)
        code: int = error
        return code

    def _moved(self, place: tuple[bytes, int], end_offset: int) -> Answer:
        """Settled once the high watermark has passed `end_offset`, or never will."""
        moved = Answer()
        self._plane.core.watch(self._plane.expect(lambda value, _: moved.settle(value)), place, end_offset)
        return moved

    def _watch(self, hosted: _Hosted, end_offset: int) -> None:
        """Looks again once all replicas have it."""

        def look(_: Any) -> None:
            if self._hosted.get(hosted.partition) is not hosted or not hosted.runtime.is_active:
                return
            error, leader_epoch, _, high_watermark, _ = self._plane.core.log_state((self._topic_id, hosted.partition))
            if not error and leader_epoch == hosted.leader_epoch:
                self._carry_out(hosted, hosted.runtime.committed(high_watermark))

        self._moved((self._topic_id, hosted.partition), end_offset).then(look)

    # --- time ---------------------------------------------------------------------------------------------------------------

    def _set_alarm(self, hosted: _Hosted) -> None:
        deadline = hosted.runtime.deadline()
        if deadline is not None and deadline < self._wakes_at:
            self._wakes_at = deadline
            self._earlier.set()

    async def _run_timers(self) -> None:
        while True:
            with trio.move_on_after(max(0.0, self._wakes_at - self.clock.steady_wall_ms()) / 1000):
                await self._earlier.wait()
            self._earlier = trio.Event()
            now = self.clock.steady_wall_ms()
            for hosted in list(self._hosted.values()):
                deadline = hosted.runtime.deadline()
                if deadline is not None and deadline <= now:
                    self._carry_out(hosted, hosted.runtime.expire(now))
            deadlines = [hosted.runtime.deadline() for hosted in self._hosted.values()]
            self._wakes_at = min((each for each in deadlines if each is not None), default=math.inf)

    def close(self) -> None:
        """The broker stops: nobody is to wait."""
        for index in list(self._hosted):
            self._let_go(index)
