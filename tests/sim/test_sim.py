"""The simulator over some seeds, and proof that it would see what it looks for. Many more: python -m tests.sim.run."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.raft import effects as fx
from cluster.raft.log_facts import LogFacts
from cluster.raft.node import RaftNode
from cluster.raft.state import QuorumState
from tests.sim.cluster import InvariantViolated, simulate


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("node_count", "spare_count"), [(1, 0), (3, 0), (5, 0), (3, 2)])
def test_all_invariants_hold_and_the_cluster_recovers(seed: int, node_count: int, spare_count: int) -> None:
    cluster = simulate(seed, node_count, rounds=25, spare_count=spare_count)
    assert cluster.committed_values


@pytest.mark.parametrize("seed", range(3))
def test_a_static_quorum_keeps_the_same_promises(seed: int) -> None:
    assert simulate(seed, 3, rounds=25, kraft_version=0).committed_values


def test_the_same_seed_takes_the_same_course() -> None:
    first, second = (simulate(11, 3, rounds=15) for _ in range(2))
    assert (first.step_count, first.now, first.committed_values) == (
        second.step_count, second.now, second.committed_values,
    )  # fmt: skip


def fails_within(seeds: int, **shape: Any) -> BaseException | None:
    for seed in range(seeds):
        try:
            simulate(seed, **shape)
        except Exception as error:
            return error
    return None


def test_it_sees_a_leader_that_counts_what_it_has_not_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = RaftNode.append

    def dishonest(node: RaftNode, batches: Any) -> None:
        honest(node, batches)
        node.log.flushed_offset = node.log.end_offset

    monkeypatch.setattr(RaftNode, "append", dishonest)
    error = fails_within(20, node_count=3, rounds=25)
    assert isinstance(error, InvariantViolated) and "MajorityDurable" in str(error)
    assert error.__notes__[0].startswith("replay: python -m tests.sim.run --seed ")


def test_it_sees_a_vote_that_is_kept_in_memory_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(self: RaftNode) -> None:
        self.emit(fx.PersistQuorumState(QuorumState(self.epoch, self.leader_id, None)))

    monkeypatch.setattr(RaftNode, "persist", forgetful)
    error = fails_within(5, node_count=3, rounds=10)
    assert isinstance(error, InvariantViolated) and "DurableState" in str(error)


def test_it_sees_a_vote_for_a_log_that_lacks_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LogFacts, "admits", lambda self, last_epoch, last_offset: True)
    assert fails_within(60, node_count=3, rounds=40) is not None
