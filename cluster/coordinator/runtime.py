"""The one runtime of all coordinators: hosts a shard over a log. Pure: returns effects, takes time as an argument.

    dormant --start(shard, epoch)--> active --stop / append_failed--> dormant
    submit: handle -> encode -> apply at the offsets to come -> open batch -> Append -> parked
    committed(high watermark): parked responses up to it are released, in order, and so are effects for the host

INVARIANT: one request at a time, in the order of `submit`; what it decided is true for the next one.
INVARIANT: a response is released only when all that it was decided on is below the high watermark, so that no answer
can be undone by a change of leaders.
INVARIANT: nothing is rolled back. When an append fails, a decision cannot be applied, or the leader epoch moves on, the
shard is dropped, all that is parked fails, and the host loads a new shard from the log.
The runtime is the only writer of its log within a leader epoch, so it knows each record's offset before it is written;
whoever appends checks `base_offset` and fails the append if something else came in between.
Requests that arrive together share an append: call `submit` for each, then `flush` once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import Any

from msgspec import Struct

from cluster.coordinator.standing import ALL, KeptAnswers, StandingAnswers
from cluster.shard import LATER, CancelTimer, Outcome, SetTimer, Timer, TransactionalBatch
from pykafkacore.protocol.errors import ApiError, Code

# --- effects ---------------------------------------------------------------------------------------------------------


class Append(Struct, frozen=True):
    """Append these values as one batch, which must start at `base_offset`; else call `append_failed`."""

    leader_epoch: int
    base_offset: int
    records: tuple[Any, ...]
    transaction: TransactionalBatch | None = None


class Respond(Struct, frozen=True):
    ticket: int
    response: Any
    scope: int | None = None
    """Of an answer that stands: whoever keeps it asks `stands` first."""


class Fail(Struct, frozen=True):
    """The whole request failed; dispatch makes its response of the error."""

    ticket: int
    error: ApiError


class Faulted(Struct, frozen=True):
    """A decision raised what it never should. Nothing has changed by it, or a `Dropped` follows; somebody should read this."""

    ticket: int | None
    exception: Exception


class Dropped(Struct, frozen=True):
    """The shard is gone. While still leader: load a new one from the log and call `start`."""

    leader_epoch: int
    reason: str


class Perform(Struct, frozen=True):
    """What a decision asked of its host, now that the decision is committed."""

    effect: Any


class ShardRuntime:
    def __init__(
        self,
        encode: Callable[[Any], Any],
        lost_leadership: Code = Code.NOT_CONTROLLER,
        records_per_batch: int = 10_000,
        bytes_per_batch: int = 4 * 1024 * 1024,
        size: Callable[[Any], int] = len,
        kept: KeptAnswers | None = None,
    ) -> None:
        """`lost_leadership`: what clients are told when this is not, or no longer, the place to ask. `size`: the bytes
        that an encoded record takes. `kept`: who gives answers that stand, to the questions of a shard that has `touched`:
        the subjects that `apply` and `observe` have changed."""
        self._encode = encode
        self._size = size
        self._lost_leadership = lost_leadership
        self._records_per_batch = records_per_batch
        self._bytes_per_batch = bytes_per_batch
        self.shard: Any = None
        self.leader_epoch = -1
        self.next_offset = 0
        self.high_watermark = 0
        self._batch: list[bytes] = []
        self._batch_bytes = 0
        # (offset that the high watermark has to reach, effect)
        self._parked: deque[tuple[int, Respond | Fail | Perform]] = deque()
        self._later: set[int] = set()
        self._timers: dict[Timer, int] = {}
        self._timer_heap: list[tuple[int, int, Timer]] = []
        self._timer_sequence = 0
        self.timers_changed = False
        """Since `deadline` was last asked."""
        self._standing = None if kept is None else StandingAnswers(kept)

    @property
    def is_active(self) -> bool:
        return self.shard is not None

    @property
    def parked_count(self) -> int:
        return len(self._parked)

    def start(self, shard: Any, leader_epoch: int, next_offset: int, high_watermark: int, now: int) -> list[Any]:
        """`shard` has applied all below `next_offset`, which is the end of the log; this node leads `leader_epoch`."""
        assert self.shard is None, "a shard is hosted already"
        self.shard = shard
        self.leader_epoch = leader_epoch
        self.next_offset = next_offset
        self.high_watermark = high_watermark
        shard.will_write_at(next_offset)
        if self._standing is not None:
            shard.touched.clear()
        effects: list[Any] = []
        self._take(shard.activate(now), None, now, effects)
        return effects + self.flush()

    def submit(self, ticket: int, request: Any, now: int) -> list[Any]:
        """Decide on a request. Its records wait for `flush`, its response for the high watermark."""
        if self.shard is None:
            return [Fail(ticket, ApiError(self._lost_leadership))]
        effects: list[Any] = []
        self.shard.will_write_at(self.next_offset)
        try:
            outcome = self.shard.handle(request, now)
        except ApiError as error:
            self._park(Fail(ticket, error), effects)
            return effects
        except AssertionError:
            raise  # a broken invariant stops the node
        except Exception as exception:  # deciding changes nothing, so nothing is lost but this one request
            effects.append(Faulted(ticket, exception))
            self._park(Fail(ticket, ApiError(Code.UNKNOWN_SERVER_ERROR, type(exception).__name__)), effects)
            return effects
        try:
            self._take(outcome, ticket, now, effects)
        except AssertionError:
            raise
        except Exception as exception:  # what was decided is half applied: only the log is to be trusted
            self._later.add(ticket)
            effects.append(Faulted(ticket, exception))
            effects.extend(self._drop(f"{type(exception).__name__} while a decision was applied"))
        return effects

    def flush(self) -> list[Any]:
        """Append what has gathered."""
        return self._cut(None)

    def _cut(self, transaction: TransactionalBatch | None) -> list[Any]:
        if not self._batch:
            return []
        base_offset = self.next_offset - len(self._batch)
        append = Append(self.leader_epoch, base_offset, tuple(self._batch), transaction)
        self._batch, self._batch_bytes = [], 0
        return [append]

    def committed(self, high_watermark: int) -> list[Any]:
        if self.shard is None or high_watermark <= self.high_watermark:
            return []
        self.high_watermark = high_watermark
        released = []
        while self._parked and self._parked[0][0] <= high_watermark:
            released.append(self._parked.popleft()[1])
        return released

    def append_failed(self, leader_epoch: int, reason: str) -> list[Any]:
        """An Append of that epoch was refused or could not be written."""
        if self.shard is None or leader_epoch != self.leader_epoch:
            return []
        return self._drop(reason)

    def stop(self, reason: str) -> list[Any]:
        """Leadership has moved on."""
        return self._drop(reason) if self.shard is not None else []

    def stands(self, scope: int) -> bool:
        """Whether nothing has changed since that answer was decided on."""
        return self._standing is not None and self._standing.stands(scope)

    def deadline(self) -> int | None:
        """When `expire` is due next."""
        self.timers_changed = False
        self._tidy_timers()
        return self._timer_heap[0][0] if self._timer_heap else None

    def expire(self, now: int) -> list[Any]:
        """Run the timers that are due, and append what they decided."""
        effects: list[Any] = []
        due = []
        self._tidy_timers()
        while self._timer_heap and self._timer_heap[0][0] <= now:
            due.append(heappop(self._timer_heap)[2])
            del self._timers[due[-1]]
            self._tidy_timers()
        if self._standing is not None:
            due = [timer for timer in due if not self._is_renewed(self._standing, timer, now)]
        for timer in due:
            if timer in self._timers:
                continue  # one that ran before it has set it anew
            self.shard.will_write_at(self.next_offset)
            self._take(self.shard.expire(timer, now), None, now, effects)
        return effects + self.flush()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _take(self, outcome: Outcome, ticket: int | None, now: int, effects: list[Any]) -> None:
        if outcome.records:
            self._write(outcome, effects)
        for fact in outcome.facts:
            self.shard.observe(fact, now)
        if self._standing is not None and self.shard.touched:
            self._take_back(self._standing, now)
        for change in outcome.timers:
            self._set_timer(change)
        if ticket is not None and outcome.response is LATER:
            self._later.add(ticket)
        # Among the answers may be the one to this very request.
        for waiting, answer in outcome.answers:
            self._later.discard(waiting)
            failed = isinstance(answer, ApiError)
            self._park(Fail(waiting, answer) if failed else Respond(waiting, answer), effects)
        if ticket is not None and outcome.response is not LATER:
            scope = None
            if self._standing is not None and outcome.standing is not None:
                scope = self._standing.stand(outcome.standing)
            self._park(Respond(ticket, outcome.response, scope), effects)
        for effect in outcome.effects:
            self._park(Perform(effect), effects)

    def _write(self, outcome: Outcome, effects: list[Any]) -> None:
        if outcome.transaction is not None:
            effects.extend(self.flush())
        for part in (outcome.records,) if outcome.atomic else zip(outcome.records, strict=True):
            count, size = len(self._batch), self._batch_bytes
            for record in part:
                encoded = self._encode(record)
                self.shard.apply(self.next_offset, record)
                self.next_offset += 1
                self._batch.append(encoded)
                self._batch_bytes += self._size(encoded)
            if outcome.transaction is None:
                self._fit(count, size, effects)
        if outcome.transaction is not None:
            effects.extend(self._cut(outcome.transaction))

    def _fit(self, count: int, size: int, effects: list[Any]) -> None:
        """The first `count` records of the open batch, of `size` bytes, go alone where the others make it too large."""
        is_full = self._batch_bytes > self._bytes_per_batch or len(self._batch) > self._records_per_batch
        if is_full and count:
            first = tuple(self._batch[:count])
            effects.append(Append(self.leader_epoch, self.next_offset - len(self._batch), first))
            del self._batch[:count]
            self._batch_bytes -= size

    def _is_renewed(self, standing: StandingAnswers, timer: Timer, now: int) -> bool:
        """It runs on: its answer was given meanwhile."""
        until = standing.renewed(timer, now)
        if until is not None:
            self._set_timer(SetTimer(timer, until))
        return until is not None

    def _take_back(self, standing: StandingAnswers, now: int) -> None:
        """Answers that stood on what has changed stand no more; nobody's time ran out while they were given."""
        for change in standing.take_back(self.shard.touched, now):
            if self._timers.get(change.timer, change.at_ms) < change.at_ms:
                self._set_timer(change)
        self.shard.touched.clear()

    def _park(self, effect: Respond | Fail | Perform, effects: list[Any]) -> None:
        if self.next_offset <= self.high_watermark:
            effects.append(effect)
        else:
            self._parked.append((self.next_offset, effect))

    def _drop(self, reason: str) -> list[Any]:
        effects: list[Any] = []
        tickets = [effect.ticket for _, effect in self._parked if not isinstance(effect, Perform)]
        for ticket in (*tickets, *sorted(self._later)):
            effects.append(Fail(ticket, ApiError(self._lost_leadership, reason)))
        effects.append(Dropped(self.leader_epoch, reason))
        self.shard = None
        if self._standing is not None:
            self._standing.take_back([ALL], 0)
        self._batch, self._batch_bytes = [], 0
        self._parked.clear()
        self._later.clear()
        self._timers.clear()
        self._timer_heap.clear()
        return effects

    def _set_timer(self, change: SetTimer | CancelTimer) -> None:
        self.timers_changed = True
        if isinstance(change, CancelTimer):
            self._timers.pop(change.timer, None)
            return
        if change.keep_earlier and self._timers.get(change.timer, change.at_ms) < change.at_ms:
            return
        self._timers[change.timer] = change.at_ms
        self._timer_sequence += 1
        heappush(self._timer_heap, (change.at_ms, self._timer_sequence, change.timer))

    def _tidy_timers(self) -> None:
        """Heap entries of timers that were moved or cancelled are skipped when they come up."""
        heap = self._timer_heap
        while heap and self._timers.get(heap[0][2]) != heap[0][0]:
            heappop(heap)


def appends(effects: Iterable[Any]) -> list[Append]:
    """The appends among effects, in order."""
    return [effect for effect in effects if isinstance(effect, Append)]
