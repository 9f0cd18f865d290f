"""Answers that stand, in the runtime: kept while nothing changed, and heartbeats that were answered elsewhere count."""

from __future__ import annotations

from typing import Any

from cluster.coordinator.runtime import Respond, ShardRuntime
from cluster.coordinator.standing import ALL
from cluster.shard import CancelTimer, Outcome, SetTimer, Standing, Timer

SESSION_MS = 100


class Kept:
    def __init__(self) -> None:
        self.scopes = 0
        self.given: dict[int, int] = {}

    def new_scope(self) -> int:
        self.scopes += 1
        return self.scopes

    def last_given(self, scope: int, now: int) -> int | None:
        return self.given.get(scope)

    def take_back(self, scope: int, now: int) -> int | None:
        return self.given.pop(scope, None)


class Sessions:
    """Members of groups, by (group, member): "beat" stands until the group changes."""

    def __init__(self) -> None:
        self.touched: set[Any] = set()
        self.expired: list[Any] = []

    def will_write_at(self, offset: int) -> None:
        pass

    def activate(self, now: int) -> Outcome:
        return Outcome()

    def handle(self, request: Any, now: int) -> Outcome:
        what, key = request
        timer = Timer("session", key)
        if what == "beat":
            return Outcome(
                response="alive", timers=(SetTimer(timer, now + SESSION_MS),), standing=Standing(key[0], timer, SESSION_MS)
            )
        if what == "leave":
            return Outcome(response="gone", facts=(key[0],), timers=(CancelTimer(timer),))
        return Outcome(records=[b"r"] if what == "write" else [], response="done", facts=(key,))

    def apply(self, offset: int, record: Any) -> None:
        pass

    def observe(self, fact: Any, now: int) -> None:
        self.touched.add(fact)

    def expire(self, timer: Timer, now: int) -> Outcome:
        self.expired.append((timer.key, now))
        return Outcome(facts=(timer.key[0],))


def started() -> tuple[ShardRuntime, Sessions, Kept]:
    kept, shard = Kept(), Sessions()
    runtime = ShardRuntime(lambda each: each, kept=kept)
    runtime.start(shard, 1, 0, 0, 0)
    return runtime, shard, kept


def beat(runtime: ShardRuntime, key: tuple[str, str], now: int) -> int:
    [effect] = runtime.submit(1, ("beat", key), now)
    assert isinstance(effect, Respond) and effect.scope is not None
    return effect.scope


def test_an_answer_stands_until_its_subject_changes() -> None:
    runtime, _, _ = started()
    scope, other = beat(runtime, ("g", "a"), 0), beat(runtime, ("h", "a"), 0)
    assert beat(runtime, ("g", "a"), 10) == scope
    runtime.submit(2, ("change", "g"), 20)
    assert not runtime.stands(scope) and runtime.stands(other)
    assert beat(runtime, ("g", "a"), 30) not in (scope, other)


def test_an_answer_that_is_released_after_a_change_does_not_stand() -> None:
    runtime, _, _ = started()
    runtime.submit(1, ("write", "x"), 0)
    assert runtime.submit(2, ("beat", ("g", "a")), 0) == [], "what it rests on is not committed"
    runtime.submit(3, ("change", "g"), 0)
    runtime.flush()
    released = [each for each in runtime.committed(1) if each.ticket == 2]
    assert released[0].scope is not None and not runtime.stands(released[0].scope)


def test_who_is_heard_elsewhere_does_not_run_out_of_time() -> None:
    runtime, shard, kept = started()
    scope = beat(runtime, ("g", "a"), 0)
    kept.given[scope] = 70
    assert runtime.expire(100) == [] and shard.expired == []
    assert runtime.deadline() == 70 + SESSION_MS
    runtime.expire(170)
    assert shard.expired == [(("g", "a"), 170)]


def test_one_that_is_out_takes_nobody_along_who_was_heard() -> None:
    runtime, shard, kept = started()
    beat(runtime, ("g", "silent"), 0)
    kept.given[beat(runtime, ("g", "heard"), 0)] = 90
    runtime.expire(100)
    assert shard.expired == [(("g", "silent"), 100)]
    assert runtime.deadline() == 90 + SESSION_MS


def test_time_goes_on_from_when_the_answer_was_last_given_but_a_cancelled_timer_stays_so() -> None:
    runtime, _, kept = started()
    kept.given[beat(runtime, ("g", "a"), 0)] = 60
    kept.given[beat(runtime, ("g", "b"), 0)] = 70
    runtime.submit(2, ("leave", ("g", "b")), 80)
    assert runtime.deadline() == 60 + SESSION_MS
    assert kept.given == {}


def test_all_is_taken_back_when_the_shard_is_gone_or_everything_changed() -> None:
    runtime, _, kept = started()
    kept.given[beat(runtime, ("g", "a"), 0)] = 10
    runtime.submit(2, ("change", ALL), 20)
    assert kept.given == {}
    kept.given[beat(runtime, ("g", "a"), 30)] = 40
    runtime.stop("the leadership moved on")
    assert kept.given == {}
