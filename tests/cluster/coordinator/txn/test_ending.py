from __future__ import annotations

import pytest

from cluster.coordinator.txn.state import EPOCH_MAX, Producer
from tests.cluster.coordinator.txn.world import LAST, T0, T1, U0, World, at_epoch, code_of, ongoing, shown

# --- EndTxn, the old protocol -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("commit", "done"), [(True, "CompleteCommit"), (False, "CompleteAbort")])
@pytest.mark.parametrize("version", [0, 4, 5])
def test_a_transaction_ends_as_asked_once_every_marker_is_written(version: int, commit: bool, done: str) -> None:
    world, producer = ongoing(version)
    assert code_of(world.end(producer, commit, version)) == "NONE", "before any marker is written"
    assert world.status() == done.replace("Complete", "Prepare")
    (markers,) = world.markers
    assert (markers.commit, markers.partitions) == (commit, (T0, T1))
    assert not world.report(markers, T0)
    assert world.status() != done
    assert world.report(markers, T1)
    assert world.status() == done


def test_by_the_old_protocol_the_epoch_stays() -> None:
    world, producer = ongoing(4)
    answer = world.end(producer, version=4)
    assert (answer.producer_id, answer.producer_epoch) == (-1, -1), "which the answer has no room for"
    assert world.markers[0].producer_epoch == producer.producer_epoch
    assert world.markers[0].transaction_version == 0
    world.write_markers()
    assert world.commit(producer, U0, version=4) == producer


@pytest.mark.parametrize("commit", [True, False])
def test_by_the_old_protocol_the_same_end_again_is_told_to_wait_then_that_it_is_so(commit: bool) -> None:
    world, producer = ongoing(4)
    world.end(producer, commit, 4)
    assert code_of(world.end(producer, commit, 4)) == "CONCURRENT_TRANSACTIONS"
    assert code_of(world.end(producer, not commit, 4)) == "INVALID_TXN_STATE"
    world.write_markers()
    end = len(world.log)
    assert code_of(world.end(producer, commit, 4)) == "NONE"
    assert code_of(world.end(producer, not commit, 4)) == "INVALID_TXN_STATE"
    assert len(world.log) == end


@pytest.mark.parametrize("commit", [True, False])
def test_by_the_old_protocol_there_is_nothing_to_end_without_a_transaction(commit: bool) -> None:
    world = World()
    assert code_of(world.end(world.producer(), commit, 4)) == "INVALID_TXN_STATE"


@pytest.mark.parametrize(("version", "code"), [(1, "INVALID_PRODUCER_EPOCH"), (2, "PRODUCER_FENCED"), (5, "PRODUCER_FENCED")])
def test_an_epoch_that_is_over_cannot_end(version: int, code: str) -> None:
    world = World()
    old = world.producer()
    world.add(world.producer(), T0)
    assert code_of(world.end(old, version=version)) == code
    assert code_of(world.end(Producer(old.producer_id, 9), version=version)) == code
    assert code_of(world.end(Producer(4, 0), version=version)) == "INVALID_PRODUCER_ID_MAPPING"
    assert code_of(world.end(old, version=version, transactional_id="who")) == "INVALID_PRODUCER_ID_MAPPING"
    assert code_of(world.end(old, version=version, transactional_id="")) == "INVALID_REQUEST"


# --- EndTxn, the new protocol -----------------------------------------------------------------------------------------------


def test_by_the_new_protocol_the_epoch_rises_with_the_end_and_the_markers_carry_it() -> None:
    world, producer = ongoing()
    answer = world.end(producer)
    assert (answer.producer_id, answer.producer_epoch) == (producer.producer_id, producer.producer_epoch + 1)
    assert world.markers[0].producer_epoch == producer.producer_epoch + 1
    assert world.markers[0].transaction_version == 2


@pytest.mark.parametrize("commit", [True, False])
def test_by_the_new_protocol_the_same_end_again_is_given_the_same_answer(commit: bool) -> None:
    world, producer = ongoing()
    answer = world.end(producer, commit)
    assert code_of(world.end(producer, commit)) == "CONCURRENT_TRANSACTIONS"
    assert code_of(world.end(producer, not commit)) == "INVALID_TXN_STATE"
    world.write_markers()
    end = len(world.log)
    assert world.end(producer, commit) == answer
    assert code_of(world.end(producer, not commit)) == "INVALID_TXN_STATE"
    assert len(world.log) == end


def test_by_the_new_protocol_the_next_end_waits_for_the_last() -> None:
    world, producer = ongoing()
    answer = world.end(producer)
    after = Producer(answer.producer_id, answer.producer_epoch)
    assert code_of(world.end(after)) == "CONCURRENT_TRANSACTIONS"
    assert code_of(world.end(Producer(after.producer_id, after.producer_epoch + 1))) == "PRODUCER_FENCED"
    assert code_of(world.end(Producer(4, 0))) == "INVALID_PRODUCER_ID_MAPPING"


@pytest.mark.parametrize("before", [None, True, False])
def test_by_the_new_protocol_an_abort_without_a_transaction_succeeds_and_raises_the_epoch(before: bool | None) -> None:
    world = World()
    producer = world.producer()
    if before is not None:
        producer = world.commit(producer, T0, commit=before)
    answer = world.end(producer, commit=False)
    assert (code_of(answer), answer.producer_epoch) == ("NONE", producer.producer_epoch + 1)
    assert (world.status(), world.markers) == ("CompleteAbort", [])
    assert world.end(producer, commit=False) == answer
    assert world.add(Producer(producer.producer_id, answer.producer_epoch), T0) == ["NONE"]


@pytest.mark.parametrize("before", [None, True, False])
def test_by_the_new_protocol_there_is_nothing_to_commit_without_a_transaction(before: bool | None) -> None:
    world = World()
    producer = world.producer()
    if before is not None:
        producer = world.commit(producer, T0, commit=before)
    assert code_of(world.end(producer)) == "INVALID_TXN_STATE"


def test_by_the_new_protocol_a_fenced_producer_cannot_even_abort_nothing() -> None:
    world = World()
    old = world.producer()
    world.producer()
    assert code_of(world.end(old, commit=False)) == "PRODUCER_FENCED"


def test_the_last_epoch_ends_in_another_producer_id() -> None:
    world = World()
    last = at_epoch(world, LAST)
    world.add(last, T0)
    answer = world.end(last)
    assert (answer.producer_id, answer.producer_epoch) == (world.spare, 0)
    (markers,) = world.markers
    assert (markers.producer_id, markers.producer_epoch) == (last.producer_id, EPOCH_MAX)
    after = Producer(answer.producer_id, answer.producer_epoch)
    assert world.add(after, T1) == ["CONCURRENT_TRANSACTIONS"]
    assert code_of(world.end(after)) == "CONCURRENT_TRANSACTIONS"
    assert code_of(world.end(last)) == "CONCURRENT_TRANSACTIONS"
    world.reload()
    world.write_markers()
    assert world.end(last) == answer, "the same end again"
    assert world.add(last, T1) == ["INVALID_PRODUCER_ID_MAPPING"]
    assert world.add(after, T1) == ["NONE"]


def test_an_abort_of_nothing_at_the_last_epoch_ends_in_another_producer_id() -> None:
    world = World()
    answer = world.end(at_epoch(world, LAST), commit=False)
    assert (answer.producer_id, answer.producer_epoch) == (world.spare, 0)


def test_nobody_is_told_the_epoch_that_the_coordinator_keeps_for_itself() -> None:
    world = World()
    last = at_epoch(world, LAST)
    world.add(last, T0)
    world.pass_ms(70_001)
    world.write_markers()
    assert code_of(world.end(last, commit=False)) == "PRODUCER_FENCED"
    assert world.add(Producer(last.producer_id, EPOCH_MAX), T0) == ["PRODUCER_FENCED"]
    assert world.producer(5, **shown(last)) == Producer(world.spare, 0)


def test_after_a_transaction_of_the_old_protocol_a_fenced_producer_is_not_told_the_epoch_of_the_present_one() -> None:
    world = World()
    old = world.producer()
    world.commit(world.producer(), T0, version=4)
    assert code_of(world.end(old)) == "PRODUCER_FENCED"


# --- the late EndTxn (KAFKA-17754) ------------------------------------------------------------------------------------------


def late_end_txn(version: int) -> tuple[World, str]:
    """An EndTxn is sent, its connection breaks, it is sent again and answered. The producer goes on; then the first copy
    arrives after all, and with it the end of a transaction whose producer asked for no such thing."""
    world, producer = ongoing(version)
    world.end(producer, True, version)
    world.write_markers()
    answer = world.end(producer, True, version)
    after = Producer(answer.producer_id, answer.producer_epoch) if version >= 5 else producer
    assert world.add(after, U0, version=5 if version >= 5 else 3) == ["NONE"]
    return world, code_of(world.end(producer, True, version))


def test_by_the_old_protocol_a_late_end_commits_the_next_transaction() -> None:
    world, code = late_end_txn(4)
    assert (code, world.status()) == ("NONE", "PrepareCommit"), "which nobody can tell from the real end"


def test_by_the_new_protocol_a_late_end_is_fenced() -> None:
    world, code = late_end_txn(5)
    assert (code, world.status()) == ("PRODUCER_FENCED", "Ongoing")
