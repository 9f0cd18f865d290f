"""The vocabulary of every state machine of the control plane. Pure: no clock, no socket, no random source.

A `Shard` is a deterministic state machine over one partition's log: the controller over `__cluster_metadata`, the group
coordinator over `__consumer_offsets`, the transaction coordinator over `__transaction_state`.

    request --handle--> Outcome --runtime--> append --apply--> state;  commit --runtime--> response

INVARIANT: `handle` and `expire` decide and change nothing; `apply` alone changes what the log makes true, and
`observe` alone changes what the log does not carry (a heartbeat's metadata offset, a session's state).
INVARIANT: a shard's logged state is a function of its log: replaying the same records gives the same state.
INVARIANT: nobody changes a value once it is made. Values are frozen structs of msgspec: made in a tenth of a microsecond, where a
frozen dataclass takes half of one, and their classes in 15 instead of 500, which is a good part of a start.

What it deliberately is not: a runtime. Ordering, batching, parking and timers live in `cluster.coordinator.runtime`.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from msgspec import Struct

Millis = int
"""Milliseconds. As a point in time: on whichever clock the caller of the state machine lives by."""
Offset = int
"""A position in a log."""
Ticket = int
"""Names one pending request for the one who must be answered; opaque to every state machine."""
Effect = Any
"""What a state machine asks of its driver: one of a machine's own frozen structs."""

Request = TypeVar("Request", contravariant=True)
Record = TypeVar("Record", contravariant=True)
Response = TypeVar("Response", covariant=True)


class Timer(Struct, frozen=True):
    """Names one timer of a shard: setting the same timer again moves it."""

    kind: str
    key: Any = None


class SetTimer(Struct, frozen=True):
    timer: Timer
    at_ms: Millis
    keep_earlier: bool = False
    """A timer that runs already and is due before goes on."""


class CancelTimer(Struct, frozen=True):
    timer: Timer


class Standing(Struct, frozen=True):
    """The same request is given the same answer until something about `subject` changes, and each time that it is given
    `timer` is set to `after_ms` from then."""

    subject: Any
    timer: Timer
    after_ms: Millis


LATER = object()
"""The response of a request that a later decision will answer (a join that waits for the others)."""


class TransactionalBatch(Struct, frozen=True):
    """The records are part of a producer's transaction: they count once its marker says so. With `marker`, the one
    record is that marker: True commits, False aborts."""

    producer_id: int
    producer_epoch: int
    marker: bool | None = None
    coordinator_epoch: int = -1


class Outcome(Struct, frozen=True):
    """What a decision came to.

    records:  appended in one batch where `atomic`, else the runtime may spread them over several; applied in order.
    response: released once the high watermark passes the last record (at once when there are no records and
              nothing that was decided on is still uncommitted). `LATER`: the ticket waits for another's `answers`.
    answers:  (ticket, response) of requests that waited; an ApiError fails the request. Released as `response` is.
    effects:  what the host is to do once the records are committed.
    timers:   set or cancelled at once.
    facts:    given to the shard's `observe` at once, before the next request.
    transaction: the batch is one of a producer's transaction, and stands alone.
    standing: the response is that of a question that may be answered without asking again. Only where there are no records.
    """

    records: tuple[Any, ...] | list[Any] = ()
    response: Any = None
    timers: tuple[SetTimer | CancelTimer, ...] | list[Any] = ()
    facts: tuple[Any, ...] | list[Any] = ()
    atomic: bool = True
    answers: tuple[tuple[Ticket, Any], ...] | list[Any] = ()
    effects: tuple[Effect, ...] | list[Any] = ()
    transaction: TransactionalBatch | None = None
    standing: Standing | None = None


class Shard(Protocol[Request, Record, Response]):
    def will_write_at(self, offset: Offset) -> None:
        """Told before every `handle` and `expire`: where the first record of the outcome will stand."""

    def handle(self, request: Request, now: Millis) -> Outcome:
        """Decide; change nothing."""

    def apply(self, offset: Offset, record: Record) -> None:
        """Make one logged record true: the only mutator of logged state."""

    def expire(self, timer: Timer, now: Millis) -> Outcome:
        """Decide on a timer that has run out."""

    def observe(self, fact: Any, now: Millis) -> None:
        """Note a fact of an outcome that no log carries."""

    def activate(self, now: Millis) -> Outcome:
        """Called once after loading, as leader: first records, first timers."""
