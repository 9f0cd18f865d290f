"""Runs one Raft node and, while it leads, the controller on top of it: carries effects out, feeds events in.

    requests --runtime--> Append --Propose--> AppendToLog, Flush --worker--> LogFlushed --> Committed
    Committed --> records read back from the log --> image --> `on_image(delta)`; parked responses released

INVARIANT: the effects of one step are carried out in order, and before those of the next (see raft/effects.py).
INVARIANT: a failure of the log or of quorum-state stops the node: better fenced than wrong.
Requests of other nodes come in through `receive`; the holes that Raft leaves in its answers are filled from the log here.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable
from typing import Any

import trio

from cluster.broker.clock import Clock
from cluster.broker.metadata_log import MetadataLog
from cluster.coordinator.runtime import Append, Dropped, Fail, Faulted, Respond, ShardRuntime
from cluster.metadata.apply import ImageDelta
from cluster.metadata.controller import Controller
from cluster.metadata.controller_state import ControllerRequest
from cluster.metadata.records import frame, unframe
from cluster.plane.native import NativePlane
from cluster.raft import effects as fx
from cluster.raft import messages as msg
from cluster.raft import wire
from cluster.raft.node import RaftNode
from pykafkacore.protocol.errors import ApiError, Code

log = logging.getLogger("pykafkacore.raft")

RECORDS_READ_MAX = 5_000
"""A clean stop leaves no more of the log behind the newest snapshot."""


class _Waiting:
    __slots__ = ("done", "outcome")

    def __init__(self) -> None:
        self.done = trio.Event()
        self.outcome: Any = None


class RaftDriver:
    def __init__(
        self,
        node: RaftNode,
        metadata_log: MetadataLog,
        plane: NativePlane,
        clock: Clock,
        make_controller: Callable[[Any], Controller],
        on_image: Callable[[ImageDelta], None],
    ) -> None:
        """`make_controller(image)` when this node has become leader; `on_image(delta)` for each committed change."""
        self.node = node
        self.log = metadata_log
        self.runtime = ShardRuntime(frame)
        self._plane = plane
        self._clock = clock
        self._make_controller = make_controller
        self._on_image = on_image
        self._image = metadata_log.image()
        self._waiting: dict[int, _Waiting] = {}
        self._next_ticket = 0
        self._flush_wanted: fx.Flush | None = None
        self._flushing = False
        self._leads_from: tuple[int, int] | None = None
        self._effects: deque[Any] = deque()
        self._draining = False
        self._changed = trio.Event()
        self._reactivate = False
        self._snapshot_due_at_bytes = 0
        self._last_snapshot_ms = clock.wall_ms()
        self.stopped = False
        self.send: Callable[[fx.Send], None] | None = None
        self._parked: dict[int, tuple[int, int]] = {}

    @property
    def image(self) -> Any:
        """The committed image."""
        return self._image.image()

    @property
    def is_active_controller(self) -> bool:
        return self.runtime.is_active

    def start(self) -> None:
        self._run(self.node.start(self._clock.now_ms()))

    async def ask(self, request: ControllerRequest) -> Any:
        """The controller's answer once it is committed; ApiError where the request failed whole."""
        self._next_ticket += 1
        waiting = self._waiting[self._next_ticket] = _Waiting()
        self._run_runtime(self.runtime.submit(self._next_ticket, request, self._clock.now_ms()))
        # Requests that arrive together share one append: whoever else is ready to run submits first.
        await trio.lowlevel.checkpoint()
        self._run_runtime(self.runtime.flush())
        self._changed.set()
        await waiting.done.wait()
        if isinstance(waiting.outcome, ApiError):
            raise waiting.outcome
        return waiting.outcome

    async def run(self) -> None:
        """Feeds time in, for ever."""
        while True:
            now = self._clock.now_ms()
            due = [at for at in (self.node.deadline(), self.runtime.deadline()) if at is not None]
            self._changed = trio.Event()
            timeout = max(0, min(due) - now) / 1000 if due else math.inf
            with trio.move_on_after(timeout):
                await self._changed.wait()
            now = self._clock.now_ms()
            if self._reactivate:
                self._reactivate = False
                self._maybe_activate()
            deadline = self.node.deadline()
            if deadline is not None and deadline <= now:
                self._run(self.node.step(fx.Tick(), now))
            self._run_runtime(self.runtime.expire(now))

    def resign(self) -> None:
        self._run(self.node.step(fx.Resign(), self._clock.now_ms()))

    # --- effects of Raft ----------------------------------------------------------------------------------------------

    def _run(self, effects: list[Any]) -> None:
        """Carries effects out. What they lead to joins the queue: one step's effects before those of the next."""
        self._effects.extend(effects)
        if self._draining:
            return
        self._draining = True
        try:
            while self._effects:
                effect = self._effects.popleft()
                handler = _EFFECTS[type(effect)]
                handler(self, effect)
        finally:
            self._draining = False

    def _persist(self, effect: fx.PersistQuorumState) -> None:
        self.log.persist(effect.state, self.node.history.kraft_version, self.node.voters.ids)

    def _append(self, effect: fx.AppendToLog) -> None:
        now_ms = self._clock.wall_ms()
        for batch in effect.batches:
            self.log.append(batch, now_ms)

    def _truncate(self, effect: fx.TruncateLog) -> None:
        self.log.truncate(effect.end_offset)

    def _flush(self, effect: fx.Flush) -> None:
        """One sync at a time; what is asked for meanwhile shares the next."""
        self._flush_wanted = effect
        if not self._flushing:
            self._start_flush()

    def _start_flush(self) -> None:
        wanted, self._flush_wanted = self._flush_wanted, None
        if wanted is None:
            return
        self._flushing = True

        def done(_: Any, error: str | None) -> None:
            self._flushing = False
            if error is not None:
                raise RuntimeError(f"the metadata log cannot be synced, so this node stops: {error}")
            self._run(self.node.step(fx.LogFlushed(wanted.end_offset, wanted.truncation_count), self._clock.now_ms()))
            self._start_flush()

        self._plane.core.flush_log(self._plane.expect(done), self.log.local)

    def _committed(self, effect: fx.Committed) -> None:
        image = self._image
        for batch in self.log.read(image.offset, effect.high_watermark):
            if batch.control:
                image.skip(batch.end_offset, batch.leader_epoch)
                continue
            for offset, value in enumerate(batch.records, batch.base_offset):
                image.apply(offset, unframe(value), batch.leader_epoch)
        self._maybe_activate()
        self._on_image(image.take_delta())
        self._run_runtime(self.runtime.committed(effect.high_watermark))
        self._maybe_snapshot()
        self._changed.set()

    def _became_leader(self, effect: fx.BecameLeader) -> None:
        log.info("this controller leads from offset %d in epoch %d", effect.epoch_start_offset, effect.leader_epoch)
        self._leads_from = (effect.leader_epoch, effect.epoch_start_offset)

    def _maybe_activate(self) -> None:
        """Once all that was before this leader's epoch is committed and applied, the controller takes over."""
        if self._leads_from is None or self.runtime.is_active:
            return
        leader_epoch, start_offset = self._leads_from
        end_offset = self.node.log.end_offset
        if self._image.offset <= start_offset or self._image.offset != end_offset:
            return
        controller = self._make_controller(self._image.image())
        effects = self.runtime.start(controller, leader_epoch, end_offset, end_offset, self._clock.now_ms())
        self._run_runtime(effects)

    def _lost_leadership(self, effect: fx.LostLeadership) -> None:
        self._leads_from = None
        self._run_runtime(self.runtime.stop("the leadership of the quorum moved on"))

    def _leader_changed(self, effect: fx.LeaderChanged) -> None:
        log.debug("leader is %d in epoch %d", effect.leader_id, effect.leader_epoch)

    def _refused(self, effect: fx.ProposalRefused) -> None:
        self._run_runtime(self.runtime.append_failed(effect.leader_epoch, effect.reason))

    # --- other nodes ------------------------------------------------------------------------------------------------------

    async def receive(self, api_key: int, api_version: int, body: Any) -> Any:
        """A quorum request of another node (or a tool); the response to it as a protocol message."""
        try:
            request = wire.request_from(api_key, api_version, body)
        except ApiError as error:
            return wire.error_response(api_key, error.code, error.message)
        self._next_ticket += 1
        waiting = self._waiting[self._next_ticket] = _Waiting()
        self._parked[self._next_ticket] = (api_key, api_version)
        self._run(self.node.step(fx.Received(self._next_ticket, request), self._clock.now_ms()))
        self._changed.set()
        await waiting.done.wait()
        if isinstance(waiting.outcome, ApiError):
            return wire.error_response(api_key, waiting.outcome.code, waiting.outcome.message)
        return waiting.outcome

    def _reply(self, effect: fx.Reply) -> None:
        api_key, api_version = self._parked.pop(effect.ticket)
        answer = effect.response
        if isinstance(answer, msg.FetchResponse):
            records = b""
            if answer.records_from is not None:
                records = self.log.local.read(answer.records_from, max(1, answer.max_bytes))
            response = wire.fetch_response_to(api_version, answer, records)
        elif isinstance(answer, msg.FetchSnapshotResponse):
            response = wire.snapshot_response_to(api_version, self.log.fill_snapshot(answer))
        else:
            response = wire.response_to(api_key, api_version, answer)
        self._settle(effect.ticket, response)

    def _send(self, effect: fx.Send) -> None:
        if self.send is None:
            raise RuntimeError("Raft wants to reach another node before the network is up")
        self.send(effect)

    def answered(self, request_id: int, response: Any) -> None:
        if not self.stopped:
            self._run(self.node.step(fx.Responded(request_id, response), self._clock.now_ms()))
            self._changed.set()

    def _write_snapshot_chunk(self, effect: fx.WriteSnapshotChunk) -> None:
        self.log.write_chunk(effect.snapshot_id, effect.position, effect.data)

    def _load_snapshot(self, effect: fx.LoadSnapshot) -> None:
        """Done and reported ahead of everything that is queued: until then Raft speaks of a log that is gone."""
        snapshot = self.log.load_chunks(effect.snapshot_id)
        now = self._clock.now_ms()
        if snapshot is None:
            effects = self.node.step(fx.SnapshotRefused(effect.snapshot_id), now)
        else:
            before = self._image.image()
            self._image = self.log.image()
            delta = self._image.take_delta()
            delta.topics_removed |= {each for each in before.topics if each not in delta.after.topics}
            delta.before = before
            self._on_image(delta)
            loaded = fx.SnapshotLoaded(effect.snapshot_id, snapshot.kraft_version, snapshot.voters)
            effects = self.node.step(loaded, now)
        self._effects.extendleft(reversed(effects))

    # --- effects of the runtime -----------------------------------------------------------------------------------------

    def _run_runtime(self, effects: list[Any]) -> None:
        for effect in effects:
            if isinstance(effect, Append):
                propose = fx.Propose(effect.leader_epoch, effect.base_offset, effect.records)
                self._run(self.node.step(propose, self._clock.now_ms()))
            elif isinstance(effect, Respond):
                self._settle(effect.ticket, effect.response)
            elif isinstance(effect, Fail):
                self._settle(effect.ticket, effect.error)
            elif isinstance(effect, Faulted):
                log.error("a decision of the controller failed", exc_info=effect.exception)
            elif isinstance(effect, Dropped):
                log.warning("the controller of epoch %d steps back: %s", effect.leader_epoch, effect.reason)
                # Still the leader: a new controller takes over from the log, in a step of its own.
                self._reactivate = True
                self._changed.set()

    def _settle(self, ticket: int, outcome: Any) -> None:
        waiting = self._waiting.pop(ticket)
        waiting.outcome = outcome
        waiting.done.set()

    def fail_all(self) -> None:
        """The node stops: nobody is to wait for it."""
        self.stopped = True
        for ticket in list(self._waiting):
            self._settle(ticket, ApiError(Code.NOT_CONTROLLER, "the controller is shutting down"))

    # --- snapshots ------------------------------------------------------------------------------------------------------

    def set_snapshot_policy(self, bytes_between: int, age_ms_max: int) -> None:
        self._bytes_between_snapshots = bytes_between
        self._snapshot_age_ms_max = age_ms_max

    _bytes_between_snapshots = 20 * 1024 * 1024
    _snapshot_age_ms_max = 3_600_000

    def _maybe_snapshot(self) -> None:
        now_ms = self._clock.wall_ms()
        grown = self.log.local.size_bytes - self._snapshot_due_at_bytes >= self._bytes_between_snapshots
        aged = 0 < self._snapshot_age_ms_max <= now_ms - self._last_snapshot_ms
        if (grown or aged) and not self._image.is_in_transaction:
            self.take_snapshot()

    def leave_snapshot(self) -> None:
        """The node stops: the next start is to have little to read, however many elections of its leaders went by."""
        snapshot_id = self.log.snapshot_id
        read = self._image.offset - (snapshot_id.end_offset if snapshot_id else 0)
        if read > RECORDS_READ_MAX and not self._image.is_in_transaction:
            self.take_snapshot()

    def take_snapshot(self) -> None:
        now_ms = self._clock.wall_ms()
        image = self._image.image()
        kraft_version, voters = self.node.history.at(image.offset)
        snapshot_id = self.log.write_snapshot(image, kraft_version, voters, now_ms, now_ms)
        self._last_snapshot_ms = now_ms
        self._snapshot_due_at_bytes = self.log.local.size_bytes
        taken = fx.SnapshotTaken(snapshot_id, self.log.local.log_start_offset)
        self._run(self.node.step(taken, self._clock.now_ms()))
        log.info("snapshot of the metadata up to offset %d written", snapshot_id.end_offset)


_EFFECTS: dict[type, Callable[[RaftDriver, Any], None]] = {
    fx.PersistQuorumState: RaftDriver._persist,
    fx.AppendToLog: RaftDriver._append,
    fx.TruncateLog: RaftDriver._truncate,
    fx.Flush: RaftDriver._flush,
    fx.Committed: RaftDriver._committed,
    fx.BecameLeader: RaftDriver._became_leader,
    fx.LostLeadership: RaftDriver._lost_leadership,
    fx.LeaderChanged: RaftDriver._leader_changed,
    fx.ProposalRefused: RaftDriver._refused,
    fx.Reply: RaftDriver._reply,
    fx.Send: RaftDriver._send,
    fx.WriteSnapshotChunk: RaftDriver._write_snapshot_chunk,
    fx.LoadSnapshot: RaftDriver._load_snapshot,
}
