"""Answers that stand: the same request would be given the same answer until something about its subject changes, so whoever
is closer to the client may give it meanwhile. Pure.

    decided, with a `Standing` --stand--> scope --released--> the host keeps the answer under that scope
    something about the subject changed, or the shard is gone --take_back--> it is given no more

A heartbeat says two things: what the coordinator answers, and that the member is alive. So each time that a standing answer
is given, its timer is as good as set anew: a timer that runs out asks first when that was, and one whose answer is taken back
goes on from there.

INVARIANT: a scope is used for one life of one answer, so an answer that was decided before a change is never kept after it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from cluster.shard import Millis, SetTimer, Standing, Timer

ALL = object()
"""Among the subjects that changed: every one."""


class KeptAnswers(Protocol):
    """Whoever gives answers meanwhile. Times are on the clock of the shard."""

    def new_scope(self) -> int:
        """A scope that was never used."""
        ...

    def last_given(self, scope: int, now: Millis) -> Millis | None:
        """When; None if it is not kept."""
        ...

    def take_back(self, scope: int, now: Millis) -> Millis | None:
        """The last of it; when it was last given, as above."""
        ...


class StandingAnswers:
    def __init__(self, kept: KeptAnswers) -> None:
        self._kept = kept
        self._scopes: dict[Timer, tuple[int, Standing]] = {}
        self._subjects: dict[Any, set[Timer]] = {}
        self._live: set[int] = set()

    def stand(self, standing: Standing) -> int:
        """The scope to keep the answer under, once it is released and if it still stands then."""
        known = self._scopes.get(standing.timer)
        if known is not None and known[1] == standing:
            return known[0]
        scope = self._kept.new_scope() if known is None else known[0]
        self._scopes[standing.timer] = (scope, standing)
        self._subjects.setdefault(standing.subject, set()).add(standing.timer)
        self._live.add(scope)
        return scope

    def stands(self, scope: int) -> bool:
        return scope in self._live

    def renewed(self, timer: Timer, now: Millis) -> Millis | None:
        """Until when a timer that has run out runs, for its answer was given meanwhile."""
        known = self._scopes.get(timer)
        if known is None:
            return None
        scope, standing = known
        given = self._kept.last_given(scope, now)
        return None if given is None or given + standing.after_ms <= now else given + standing.after_ms

    def take_back(self, subjects: Iterable[Any], now: Millis) -> list[SetTimer]:
        """The timers as they run on."""
        subjects = list(subjects)
        found = []
        for subject in list(self._subjects) if ALL in subjects else subjects:
            for timer in self._subjects.pop(subject, ()):
                scope, standing = self._scopes.pop(timer)
                self._live.discard(scope)
                given = self._kept.take_back(scope, now)
                if given is not None:
                    found.append(SetTimer(timer, given + standing.after_ms))
        return found
