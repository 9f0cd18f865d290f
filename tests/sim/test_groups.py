"""The simulator of groups over some seeds, and proof that it would see what it looks for: twelve planted bugs.

Many more: python -m tests.sim.groups --seeds 10000.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from cluster.coordinator import runtime, standing
from cluster.coordinator.group import classic_rules, consumer_rules
from cluster.coordinator.group import shard as shards
from cluster.coordinator.group.consumer import ConsumerGroup
from tests.sim.groups import simulate


@pytest.mark.parametrize("seed", range(12))
def test_all_invariants_hold_and_every_group_converges(seed: int) -> None:
    world = simulate(seed, rounds=10)
    assert world.step_count > 100
    assert world.kept.given_count > 0


def test_the_same_seed_takes_the_same_course() -> None:
    first, second = (simulate(5, rounds=10) for _ in range(2))
    assert (first.step_count, first.now, len(first.log)) == (second.step_count, second.now, len(second.log))


# --- planted bugs -------------------------------------------------------------------------------------------------------------

Patch = Callable[[pytest.MonkeyPatch], None]


def gives_away_what_is_held(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ConsumerGroup, "holder", lambda self, topic_id, partition: None)


def revokes_without_asking(patch: pytest.MonkeyPatch) -> None:
    honest = consumer_rules.reconciled

    def hasty(group: Any, member: Any, epoch: int, target: Any, owned: Any, *rest: Any) -> Any:
        return honest(group, member, epoch, target, [], *rest)

    patch.setattr(consumer_rules, "reconciled", hasty)


def takes_any_member_epoch(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(consumer_rules, "_check_epoch", lambda member, body: None)
    honest = consumer_rules.reconciled

    def forgetful(group: Any, member: Any, target_epoch: int, *rest: Any) -> Any:
        return honest(group, member, target_epoch - (target_epoch % 7 == 3), *rest)

    patch.setattr(consumer_rules, "reconciled", forgetful)


def keeps_the_dead(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(consumer_rules, "_renew_session", lambda *args: None)
    honest = shards.GroupShard.activate

    def deaf(self: Any, now: int) -> Any:
        return replace(honest(self, now), timers=())

    patch.setattr(shards.GroupShard, "activate", deaf)
    patch.setattr(classic_rules, "_renew_session", lambda turn, member: None)


def answers_before_it_is_replicated(patch: pytest.MonkeyPatch) -> None:
    def at_once(self: Any, effect: Any, effects: list[Any]) -> None:
        effects.append(effect)

    patch.setattr(runtime.ShardRuntime, "_park", at_once)


def reuses_generations(patch: pytest.MonkeyPatch) -> None:
    honest = classic_rules.complete_join

    def stuck(turn: Any, settings: Any) -> None:
        honest(turn, settings)
        if turn.group.generation % 3 == 2:
            turn.become(replace(turn.group, generation=1))

    patch.setattr(classic_rules, "complete_join", stuck)


def gives_everybody_the_first_members_share(patch: pytest.MonkeyPatch) -> None:
    honest = classic_rules._take_assignments

    def doubled(turn: Any, assignments: dict[str, bytes]) -> None:
        first = next(iter(assignments.values()), b"")
        honest(turn, {member_id: first for member_id in assignments})

    patch.setattr(classic_rules, "_take_assignments", doubled)


def does_not_log_the_target(patch: pytest.MonkeyPatch) -> None:
    honest = consumer_rules.take_target

    def silent(turn: Any, epoch: int, target: Any, before: Any) -> None:
        length = len(turn.records)
        honest(turn, epoch, target, before)
        del turn.records[length:-1]

    patch.setattr(consumer_rules, "take_target", silent)


def waits_for_ever(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(classic_rules, "join_time_is_up", lambda turn, settings: None)


def gives_answers_that_no_longer_stand(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(standing.StandingAnswers, "take_back", lambda self, subjects, now: [])


def puts_out_whom_it_does_not_hear_itself(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(standing.StandingAnswers, "renewed", lambda self, timer, now: None)


BUGS: list[Patch] = [
    gives_away_what_is_held,
    revokes_without_asking,
    takes_any_member_epoch,
    keeps_the_dead,
    answers_before_it_is_replicated,
    reuses_generations,
    gives_everybody_the_first_members_share,
    does_not_log_the_target,
    waits_for_ever,
    gives_answers_that_no_longer_stand,
    puts_out_whom_it_does_not_hear_itself,
]


@pytest.mark.slow
@pytest.mark.parametrize("plant", BUGS, ids=lambda plant: plant.__name__)
def test_it_sees_a_coordinator_that(plant: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    for seed in range(60):
        try:
            simulate(seed, rounds=20)
        except Exception as error:
            assert error.__notes__[-1] == f"replay: python -m tests.sim.groups --seed {seed}"
            return
    pytest.fail("sixty histories passed with the bug in place")


def test_offsets_that_a_reload_forgets_are_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = shards.GroupShard.apply

    def forgetful(self: Any, offset: int, logged: Any) -> None:
        # Only what is replayed is forgotten: a shard at work has been activated.
        if getattr(self, "_works", False) or offset % 10 or not hasattr(logged, "key"):
            honest(self, offset, logged)

    def activate(self: Any, now: int) -> Any:
        self._works = True
        return honest_activate(self, now)

    honest_activate = shards.GroupShard.activate
    monkeypatch.setattr(shards.GroupShard, "apply", forgetful)
    monkeypatch.setattr(shards.GroupShard, "activate", activate)
    with pytest.raises(AssertionError, match="ReplayIsState"):
        for seed in range(20):
            simulate(seed, rounds=10)


@pytest.mark.slow
def test_a_seed_takes_the_same_course_in_every_process() -> None:
    program = "from tests.sim.groups import simulate; w = simulate(8); print(w.step_count, w.now, len(w.log))"

    def told(seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", program]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert len({told(seed) for seed in ("1", "2", "3")}) == 1
