from __future__ import annotations

from cluster.raft.log_facts import LogFacts
from cluster.raft.messages import Batch, SnapshotId


def log_of(*entries: tuple[int, int]) -> LogFacts:
    """Batches as (leader epoch, record count)."""
    log = LogFacts()
    for epoch, count in entries:
        log.append(Batch(log.end_offset, log.end_offset + count, epoch))
    return log


def test_an_epoch_ends_where_the_next_one_starts() -> None:
    log = log_of((1, 3), (4, 2))
    assert log.end_of_epoch(1) == (1, 3)
    assert log.end_of_epoch(3) == (1, 3)
    assert log.end_of_epoch(4) == (4, 5)
    assert log.end_of_epoch(9) == (4, 5)


def test_below_every_known_epoch_nothing_is_shared() -> None:
    assert log_of((3, 2)).end_of_epoch(2) == (0, 0)


def test_truncation_forgets_the_epochs_that_it_cuts_off() -> None:
    log = log_of((1, 3), (4, 2))
    log.truncate(3)
    assert (log.epochs, log.last_epoch, log.end_offset) == ([(1, 0)], 1, 3)


def test_a_log_that_is_longer_in_an_older_epoch_may_not_lead() -> None:
    log = log_of((1, 3), (4, 2))
    assert not log.admits(1, 100)
    assert not log.admits(4, 4)
    assert log.admits(4, 5)
    assert log.admits(5, 1)


def test_cutting_the_start_keeps_the_epoch_below_it() -> None:
    log = log_of((1, 3), (4, 2), (6, 1))
    log.snapshot_id = SnapshotId(4, 4)
    log.cut_start(4)
    assert (log.start_epoch, log.epochs) == (4, [(4, 4), (6, 5)])
    log.cut_start(6)
    assert (log.start_epoch, log.epochs, log.last_epoch) == (6, [], 6)


def test_a_replica_from_before_the_logs_start_needs_the_snapshot() -> None:
    log = log_of((1, 3), (4, 2))
    log.snapshot_id = SnapshotId(4, 4)
    log.cut_start(4)
    assert log.snapshot_for(0, 0) == SnapshotId(4, 4)
    assert log.snapshot_for(3, 1) == SnapshotId(4, 4)
    assert log.snapshot_for(4, 3) == SnapshotId(4, 4)
    assert log.snapshot_for(4, 4) is None
    assert log.snapshot_for(5, 4) is None


def test_the_bootstrap_snapshot_is_never_offered() -> None:
    log = log_of((1, 3))
    log.snapshot_id = SnapshotId(0, 0)
    assert log.snapshot_for(0, 0) is None
