from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from cluster.coordinator.runtime import Append, Dropped, Fail, Faulted, Respond, ShardRuntime, appends
from cluster.shard import CancelTimer, Outcome, SetTimer, Timer
from pykafkacore.protocol.errors import ApiError, Code

ALARM = Timer("alarm")


@dataclass
class Counter:
    """A shard that adds numbers up: its records are numbers, its answers the sum so far and the next offset."""

    applied: list[tuple[int, int]] = field(default_factory=list)
    facts: list[Any] = field(default_factory=list)
    next_offset: int = -1

    def will_write_at(self, offset: int) -> None:
        self.next_offset = offset

    def total(self) -> int:
        return sum(value for _, value in self.applied)

    def handle(self, request: Any, now: int) -> Outcome:
        if request == "fail":
            raise ApiError(Code.INVALID_REQUEST, "as asked")
        if request == "fault":
            raise KeyError("a bug")
        if request == "broken":
            raise AssertionError("an invariant")
        if request == "alarm":
            return Outcome(response="set", timers=(SetTimer(ALARM, now + 10),))
        if request == "calm":
            return Outcome(response="cancelled", timers=(CancelTimer(ALARM),))
        if isinstance(request, list):
            return Outcome(request, self.total(), atomic=False)
        if request == "read":
            return Outcome(response=self.total())
        return Outcome([request], (self.total() + request, self.next_offset), facts=(request,))

    def apply(self, offset: int, record: int) -> None:
        self.applied.append((offset, record))

    def observe(self, fact: Any, now: int) -> None:
        self.facts.append(fact)

    def expire(self, timer: Timer, now: int) -> Outcome:
        return Outcome([1000], timers=(SetTimer(ALARM, now + 10),))

    def activate(self, now: int) -> Outcome:
        return Outcome()


class FakeLog:
    """A log in virtual time: what is appended is committed when told; one append may be made to fail."""

    def __init__(self, runtime: ShardRuntime, end_offset: int = 5) -> None:
        self.runtime = runtime
        self.end_offset = end_offset
        self.fails = False

    def carry_out(self, effects: list[Any]) -> list[Any]:
        rest: list[Any] = []
        for effect in effects:
            if not isinstance(effect, Append):
                rest.append(effect)
            elif self.fails or effect.base_offset != self.end_offset:
                rest.extend(self.runtime.append_failed(effect.leader_epoch, "no space"))
            else:
                self.end_offset += len(effect.records)
        return rest


def started(**limits: int) -> tuple[ShardRuntime, Counter, FakeLog]:
    runtime = ShardRuntime(lambda number: str(number).encode(), **limits)  # type: ignore[arg-type]
    shard = Counter()
    assert runtime.start(shard, 3, 5, 5, 0) == []
    return runtime, shard, FakeLog(runtime)


def test_an_answer_waits_for_the_commit_of_its_records() -> None:
    runtime, _, log = started()
    assert log.carry_out(runtime.submit(1, 7, 0) + runtime.flush()) == []
    assert runtime.committed(5) == []
    assert runtime.committed(6) == [Respond(1, (7, 5))]


def test_requests_that_come_together_share_an_append_and_see_one_another() -> None:
    runtime, shard, _ = started()
    effects = runtime.submit(1, 7, 0) + runtime.submit(2, 8, 0) + runtime.flush()
    assert effects == [Append(3, 5, (b"7", b"8"))]
    assert shard.applied == [(5, 7), (6, 8)] and shard.facts == [7, 8]
    assert runtime.committed(6) == [Respond(1, (7, 5))]
    assert runtime.committed(7) == [Respond(2, (15, 6))]


def test_a_reader_waits_for_what_it_has_seen() -> None:
    runtime, _, _ = started()
    assert runtime.submit(1, "read", 0) == [Respond(1, 0)]
    runtime.submit(2, 7, 0)
    assert runtime.submit(3, "read", 0) == []
    assert runtime.committed(6) == [Respond(2, (7, 5)), Respond(3, 7)]


def test_a_refusal_waits_as_well_for_it_may_rest_on_what_is_not_committed() -> None:
    runtime, _, _ = started()
    runtime.submit(1, 7, 0)
    assert runtime.submit(2, "fail", 0) == []
    _, failed = runtime.committed(6)
    assert isinstance(failed, Fail) and failed.error.code == Code.INVALID_REQUEST


def test_a_failed_append_drops_the_shard_and_fails_all_that_is_parked() -> None:
    runtime, _, log = started()
    log.carry_out(runtime.submit(1, 7, 0) + runtime.flush())
    log.fails = True
    effects = log.carry_out(runtime.submit(2, 8, 0) + runtime.flush())
    assert [(type(each), getattr(each, "ticket", None)) for each in effects] == [(Fail, 1), (Fail, 2), (Dropped, None)]
    assert all(each.error.code == Code.NOT_CONTROLLER for each in effects[:2])
    assert not runtime.is_active and runtime.deadline() is None
    [refused] = runtime.submit(3, 9, 0)
    assert isinstance(refused, Fail)


def test_a_new_shard_goes_on_after_the_old_one_was_dropped() -> None:
    runtime, _, log = started()
    log.fails = True
    log.carry_out(runtime.submit(1, 7, 0) + runtime.flush())
    log.fails = False
    runtime.start(Counter(), 3, log.end_offset, log.end_offset, 0)
    assert log.carry_out(runtime.submit(2, 8, 0) + runtime.flush()) == []
    assert runtime.committed(6) == [Respond(2, (8, 5))]


def test_a_late_failure_of_an_earlier_epoch_is_ignored() -> None:
    runtime, _, _ = started()
    assert runtime.append_failed(2, "late") == []
    assert runtime.is_active


def test_something_else_in_the_log_fails_the_append() -> None:
    runtime, _, log = started()
    log.end_offset += 1
    effects = log.carry_out(runtime.submit(1, 7, 0) + runtime.flush())
    assert isinstance(effects[-1], Dropped)


def test_losing_leadership_fails_what_is_parked() -> None:
    runtime, _, _ = started()
    runtime.submit(1, 7, 0)
    failed, dropped = runtime.stop("epoch 4 has another leader")
    assert isinstance(failed, Fail) and isinstance(dropped, Dropped)
    assert runtime.stop("again") == []
    assert runtime.committed(100) == []


def test_a_bug_in_a_decision_costs_that_request_only() -> None:
    runtime, _, _ = started()
    faulted, failed = runtime.submit(1, "fault", 0)
    assert isinstance(faulted, Faulted) and isinstance(faulted.exception, KeyError)
    assert isinstance(failed, Fail) and failed.error.code == Code.UNKNOWN_SERVER_ERROR
    assert runtime.submit(2, "read", 0) == [Respond(2, 0)]


def test_a_broken_invariant_is_not_survived() -> None:
    runtime, _, _ = started()
    with pytest.raises(AssertionError):
        runtime.submit(1, "broken", 0)


def test_batches_keep_to_their_limits() -> None:
    runtime, _, _ = started(records_per_batch=2)
    effects = runtime.submit(1, [1, 2, 3, 4, 5], 0) + runtime.flush()
    assert [append.records for append in appends(effects)] == [(b"1", b"2"), (b"3", b"4"), (b"5",)]
    assert [append.base_offset for append in appends(effects)] == [5, 7, 9]


def test_what_belongs_together_is_not_split() -> None:
    runtime, _, _ = started(records_per_batch=2)
    runtime.submit(1, 1, 0)
    runtime.shard.handle = lambda request, now: Outcome([2, 3], "both")
    effects = runtime.submit(2, "any", 0) + runtime.flush()
    assert [append.records for append in appends(effects)] == [(b"1",), (b"2", b"3")]


def test_a_timer_runs_when_it_is_due_and_may_set_itself_again() -> None:
    runtime, _, _ = started()
    runtime.submit(1, "alarm", 100)
    assert runtime.deadline() == 110
    assert runtime.expire(109) == []
    assert runtime.expire(110) == [Append(3, 5, (b"1000",))]
    assert runtime.deadline() == 120


def test_a_timer_that_is_moved_runs_once_at_its_new_time() -> None:
    runtime, _, _ = started()
    runtime.submit(1, "alarm", 100)
    runtime.submit(2, "alarm", 105)
    assert runtime.deadline() == 115
    assert runtime.expire(114) == []
    assert len(appends(runtime.expire(115))) == 1


def test_a_cancelled_timer_does_not_run() -> None:
    runtime, _, _ = started()
    runtime.submit(1, "alarm", 100)
    runtime.submit(2, "calm", 100)
    assert runtime.deadline() is None
    assert runtime.expire(1000) == []
