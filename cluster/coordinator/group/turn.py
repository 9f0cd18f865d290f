"""One decision about a group in the making: what it will be, and all that goes with it. Local to one `handle`.

The group itself is a value: a decision makes the next one, and the shard's `observe` puts it in the place of the last.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from cluster.coordinator.group.classic import ClassicGroup
from cluster.coordinator.group.consumer import ConsumerGroup
from cluster.shard import CancelTimer, Millis, Outcome, SetTimer, Standing, Ticket, Timer

Group = ClassicGroup | ConsumerGroup


class GroupIs(Struct, frozen=True):
    """The fact that a group is now this value; None: it is gone."""

    group_id: str
    group: Any | None


class Turn:
    __slots__ = ("_timers", "answers", "changed", "effects", "group", "now", "records", "standing")

    def __init__(self, group: Any, now: Millis) -> None:
        self.group = group
        self.now = now
        self.records: list[Any] = []
        self.answers: list[tuple[Ticket, Any]] = []
        self.effects: list[Any] = []
        self.changed = False
        self.standing: Standing | None = None
        self._timers: dict[Timer, SetTimer | CancelTimer] = {}

    def become(self, group: Any) -> None:
        self.group = group
        self.changed = True

    def answer(self, ticket: Ticket, response: Any) -> None:
        self.answers.append((ticket, response))

    def set_timer(self, kind: str, key: Any, at_ms: Millis) -> None:
        timer = Timer(kind, key)
        self._timers[timer] = SetTimer(timer, at_ms)

    def set_timer_once(self, kind: str, key: Any, at_ms: Millis) -> None:
        """Unless it runs already: the runtime keeps the earlier of the two."""
        timer = Timer(kind, key)
        self._timers[timer] = SetTimer(timer, at_ms, keep_earlier=True)

    def stand(self, kind: str, key: Any, after_ms: Millis) -> None:
        """The answer is the same until something about the group changes, and giving it sets this timer anew."""
        self.standing = Standing(self.group.group_id, Timer(kind, key), after_ms)

    def cancel_timer(self, kind: str, key: Any) -> None:
        timer = Timer(kind, key)
        self._timers[timer] = CancelTimer(timer)

    def outcome(self, response: Any = None) -> Outcome:
        return Outcome(
            records=self.records,
            response=response,
            timers=tuple(self._timers.values()),
            facts=(GroupIs(self.group.group_id, self.group),) if self.changed else (),
            answers=self.answers,
            effects=self.effects,
            standing=self.standing,
        )
