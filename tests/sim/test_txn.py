"""The simulated transactions over some seeds, and proof that the simulation sees what it looks for.

Many more seeds: python -m tests.sim.txn --seeds 10000.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from cluster.coordinator.runtime import ShardRuntime
from cluster.coordinator.txn import ending
from cluster.coordinator.txn.requests import MarkersDone
from cluster.coordinator.txn.shard import ABORT_TIMED_OUT, TransactionShard
from cluster.coordinator.txn.state import PREPARED, Producer, Status, Transaction
from cluster.shard import Outcome, SetTimer
from tests.sim.txn import InvariantViolated, simulate

Patch = Callable[[pytest.MonkeyPatch], None]


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_all_invariants_hold(first: int) -> None:
    committed = 0
    for seed in range(first, first + 50):
        committed += sum(simulate(seed).memory.outcomes.values())
    assert committed


def test_the_same_seed_takes_the_same_course() -> None:
    first, second = (simulate(11) for _ in range(2))
    assert first.log == second.log and first.step_count == second.step_count


def violated_within(seeds: int, until: str = "", first: int = 0, **shape: Any) -> set[str]:
    """The names of the invariants that so many seeds see broken, up to the one that is waited for."""
    found: set[str] = set()
    for seed in range(first, first + seeds):
        if until in found:
            break
        try:
            simulate(seed, **shape)
        except InvariantViolated as error:
            assert error.__notes__[0].startswith(f"replay: python -m tests.sim.txn --seed {seed}")
            found.add(str(error).split(":")[0])
        except AssertionError as error:
            found.add(f"assertion: {error}")
    return found


def complete_at_the_first_marker(patch: pytest.MonkeyPatch) -> None:
    honest = TransactionShard._markers_done

    def hasty(self: TransactionShard, report: MarkersDone, now: int) -> Outcome:
        return honest(self, replace(report, partitions=report.markers.partitions), now)

    patch.setattr(TransactionShard, "_markers_done", hasty)


def keep_the_epoch_at_the_end(patch: pytest.MonkeyPatch) -> None:
    honest = Transaction.prepared

    def same_epoch(self: Transaction, *arguments: Any) -> Transaction:
        return replace(honest(self, *arguments), producer_epoch=self.producer_epoch)

    patch.setattr(Transaction, "prepared", same_epoch)


def forget_outcomes_at_a_load(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TransactionShard, "activate", lambda self, now: Outcome(timers=(SetTimer(ABORT_TIMED_OUT, now + 1000),)))


def let_the_fenced_pass(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ending, "check_producer", lambda current, producer: None)


def give_the_same_epoch_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Transaction, "renewed", Transaction.answered_again)


def leave_a_partition_out(patch: pytest.MonkeyPatch) -> None:
    honest = TransactionShard._markers

    def fewer(self: TransactionShard, prepared: Transaction, offset: int) -> Any:
        return replace(honest(self, prepared, offset), partitions=tuple(sorted(prepared.partitions))[1:])

    patch.setattr(TransactionShard, "_markers", fewer)


def mark_one_partition_otherwise(patch: pytest.MonkeyPatch) -> None:
    honest = TransactionShard._carry_on

    def mixed(
        self: TransactionShard, prepared: Transaction, offset: int, now: int, records: Any, effects: list[Any]
    ) -> None:
        honest(self, prepared, offset, now, records, effects)
        if len(prepared.partitions) > 1:
            markers = effects.pop()
            effects.append(replace(markers, partitions=markers.partitions[:1]))
            effects.append(replace(markers, partitions=markers.partitions[1:], commit=not markers.commit))

    patch.setattr(TransactionShard, "_carry_on", mixed)


def take_over_without_aborting(patch: pytest.MonkeyPatch) -> None:
    honest = TransactionShard._init_producer

    def bold(self: TransactionShard, asked: Any, now: int) -> Outcome:
        known = self.transactions.get(asked.request.body.transactional_id)
        if known is not None and known.status is Status.ONGOING:
            self.transactions[known.transactional_id] = replace(known, status=Status.EMPTY)
        return honest(self, asked, now)

    patch.setattr(TransactionShard, "_init_producer", bold)


def take_over_while_it_is_being_ended(patch: pytest.MonkeyPatch) -> None:
    honest = TransactionShard._init_producer

    def bold(self: TransactionShard, asked: Any, now: int) -> Outcome:
        known = self.transactions.get(asked.request.body.transactional_id)
        if known is not None and known.status in PREPARED:
            self.transactions[known.transactional_id] = known.completed(now)
        return honest(self, asked, now)

    patch.setattr(TransactionShard, "_init_producer", bold)


def time_out_with_the_same_epoch(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Transaction, "fenced", lambda self, now: replace(self, status=Status.PREPARE_ABORT, updated_ms=now))


def abort_what_was_to_be_committed_after_a_load(patch: pytest.MonkeyPatch) -> None:
    honest = TransactionShard.activate

    def forgetful(self: TransactionShard, now: int) -> Outcome:
        outcome = honest(self, now)
        return replace(outcome, effects=[replace(each, commit=False) for each in outcome.effects])

    patch.setattr(TransactionShard, "activate", forgetful)


def answer_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ShardRuntime, "_park", lambda self, effect, effects: effects.append(effect))


def take_any_report_for_the_present_transaction(patch: pytest.MonkeyPatch) -> None:
    honest = TransactionShard._markers_done

    def trusting(self: TransactionShard, report: MarkersDone, now: int) -> Outcome:
        known = self._prepared.get(report.markers.transactional_id)
        if known is not None:
            report = replace(report, markers=replace(report.markers, prepared_offset=known.offset))
        return honest(self, report, now)

    patch.setattr(TransactionShard, "_markers_done", trusting)


def take_a_report_of_an_earlier_leader(patch: pytest.MonkeyPatch) -> None:
    honest = TransactionShard._markers_done

    def trusting(self: TransactionShard, report: MarkersDone, now: int) -> Outcome:
        markers = replace(report.markers, coordinator_epoch=self.coordinator_epoch)
        return honest(self, replace(report, markers=markers), now)

    patch.setattr(TransactionShard, "_markers_done", trusting)


def never_time_out(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TransactionShard, "_abort_timed_out", lambda self, now: Outcome())


def tell_the_epoch_to_whoever_is_one_behind(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ending, "is_ended_by", lambda current, producer: one_behind(current) == producer)


def one_behind(current: Transaction) -> Producer:
    return Producer(current.producer_id, current.producer_epoch - 1)


PLANTED: list[tuple[Patch, str]] = [
    (complete_at_the_first_marker, "an_id_has_one_open_transaction"),
    (keep_the_epoch_at_the_end, "every_outcome_is_complete"),
    (forget_outcomes_at_a_load, "every_outcome_is_complete"),
    (let_the_fenced_pass, "only_what_was_to_be_committed_is_visible"),
    (give_the_same_epoch_again, "an_epoch_belongs_to_one_producer"),
    (leave_a_partition_out, "every_outcome_is_complete"),
    (mark_one_partition_otherwise, "no_transaction_is_torn"),
    (take_over_without_aborting, "states_follow_the_table"),
    (take_over_while_it_is_being_ended, "states_follow_the_table"),
    (time_out_with_the_same_epoch, "every_outcome_is_complete"),
    (abort_what_was_to_be_committed_after_a_load, "what_a_producer_was_told_is_so"),
    (answer_before_the_commit, "an_epoch_belongs_to_one_producer"),
    (never_time_out, "every_outcome_is_complete"),
    (tell_the_epoch_to_whoever_is_one_behind, "an_epoch_belongs_to_one_producer"),
]

RARE: list[tuple[Patch, str, int]] = [
    (take_any_report_for_the_present_transaction, "an_id_has_one_open_transaction", 50),
    (take_a_report_of_an_earlier_leader, "only_what_was_to_be_committed_is_visible", 290),
]
"""It takes many seeds to see them by the old protocol, so the search begins near one that does."""


@pytest.mark.parametrize(("plant", "invariant"), PLANTED, ids=[plant.__name__ for plant, _ in PLANTED])
def test_it_sees_a_planted_bug(plant: Patch, invariant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    assert invariant in violated_within(60, invariant)


@pytest.mark.parametrize(("plant", "invariant", "first"), RARE, ids=[plant.__name__ for plant, *_ in RARE])
def test_it_sees_a_rare_bug(plant: Patch, invariant: str, first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    assert invariant in violated_within(60, invariant, first, protocols=(False,))


def test_late_requests_break_the_old_protocol() -> None:
    """KAFKA-17754: what the new protocol is for."""
    assert violated_within(60, late_requests=True, protocols=(False,)) & {
        "no_transaction_is_torn",
        "only_what_was_to_be_committed_is_visible",
        "what_a_producer_was_told_is_so",
        "nothing_is_added_to_a_committed_transaction",
    }


def test_late_requests_do_not_break_the_new_protocol() -> None:
    assert violated_within(40, late_requests=True, protocols=(True,)) == set()
