from __future__ import annotations

import pytest

from cluster.metadata import records as r
from cluster.metadata.apply import InconsistentLog, WorkingImage
from cluster.metadata.records import MetadataRecord, record

TOPIC_ID = b"t" * 16


def applied(*written: MetadataRecord, onto: WorkingImage | None = None) -> WorkingImage:
    working = onto or WorkingImage()
    for each in written:
        working.apply(working.offset, each)
    return working


def topic() -> MetadataRecord:
    return record(r.TOPIC, name="t", topic_id=TOPIC_ID)


def partition(index: int = 0) -> MetadataRecord:
    return record(
        r.PARTITION, 1, partition_id=index, topic_id=TOPIC_ID, replicas=[1, 2], isr=[1, 2], leader=1, leader_epoch=3,
        partition_epoch=4, directories=[b"a" * 16, b"b" * 16],
    )  # fmt: skip


def change(**fields: object) -> MetadataRecord:
    return record(r.PARTITION_CHANGE, 2, partition_id=0, topic_id=TOPIC_ID, **fields)


def test_a_change_that_names_a_leader_raises_both_epochs() -> None:
    working = applied(topic(), partition(), change(leader=1))
    after = working.partition(TOPIC_ID, 0)
    assert after is not None and (after.leader, after.leader_epoch, after.partition_epoch) == (1, 4, 5)


def test_a_change_without_a_leader_raises_the_partition_epoch_only() -> None:
    after = applied(topic(), partition(), change(isr=[1])).partition(TOPIC_ID, 0)
    assert after is not None and (after.isr, after.leader_epoch, after.partition_epoch) == ((1,), 3, 5)


def test_a_partition_without_directories_is_migrating() -> None:
    old = record(
        r.PARTITION, 0, partition_id=0, topic_id=TOPIC_ID, replicas=[1, 2], isr=[1], leader=1, leader_epoch=0,
        partition_epoch=0,
    )  # fmt: skip
    after = applied(topic(), old).partition(TOPIC_ID, 0)
    assert after is not None and after.directories == (bytes(16), bytes(16))


def test_new_replicas_keep_the_directories_of_those_that_stay() -> None:
    after = applied(topic(), partition(), change(replicas=[2, 3])).partition(TOPIC_ID, 0)
    assert after is not None and after.directories == (b"b" * 16, bytes(15) + b"\x01")


def test_a_removed_topic_takes_its_configs_along() -> None:
    config = record(r.CONFIG, resource_type=2, resource_name="t", name="retention.ms", value="1")
    working = applied(topic(), partition(), config, record(r.REMOVE_TOPIC, topic_id=TOPIC_ID))
    assert not working.topics and not working.topic_ids and not working.configs


def test_a_transaction_shows_all_at_once() -> None:
    working = applied(record(r.BEGIN_TRANSACTION), topic(), partition())
    assert not working.topics and working.is_in_transaction and working.offset == 3
    applied(record(r.END_TRANSACTION), onto=working)
    assert working.partition(TOPIC_ID, 0) is not None and not working.is_in_transaction


def test_an_aborted_transaction_never_was() -> None:
    working = applied(record(r.BEGIN_TRANSACTION), topic(), record(r.ABORT_TRANSACTION))
    assert not working.topics and not working.is_in_transaction


@pytest.mark.parametrize(
    "written",
    [
        [record(r.END_TRANSACTION)],
        [record(r.ABORT_TRANSACTION)],
        [record(r.BEGIN_TRANSACTION), record(r.BEGIN_TRANSACTION)],
        [partition()],
        [topic(), topic()],
        [topic(), change(leader=1)],
        [record(r.REMOVE_TOPIC, topic_id=TOPIC_ID)],
        [record(r.UNREGISTER_BROKER, broker_id=1, broker_epoch=2)],
        [record(r.BROKER_REGISTRATION_CHANGE, 1, broker_id=1, broker_epoch=2, fenced=1)],
        [record(r.REMOVE_ACCESS_CONTROL_ENTRY, id=TOPIC_ID)],
        [record(r.CLEAR_ELR, topic_name="t")],
        [record(r.PRODUCER_IDS, broker_id=1, next_producer_id=each) for each in (5, 4)],
    ],
)
def test_what_cannot_follow_from_the_log_is_an_error(written: list[MetadataRecord]) -> None:
    with pytest.raises(InconsistentLog):
        applied(*written)


def test_clearing_the_elr_touches_only_partitions_that_have_one() -> None:
    working = applied(topic(), partition(0), partition(1), change(eligible_leader_replicas=[2]))
    applied(record(r.CLEAR_ELR, topic_name=""), onto=working)
    first, second = working.partition(TOPIC_ID, 0), working.partition(TOPIC_ID, 1)
    assert first is not None and (first.eligible_leader_replicas, first.partition_epoch) == ((), 6)
    assert second is not None and second.partition_epoch == 4


def test_a_delta_names_what_changed_and_nothing_else() -> None:
    working = applied(topic(), partition(0), partition(1))
    first = working.take_delta()
    assert (first.topics_added, first.partitions) == ({TOPIC_ID}, {TOPIC_ID: {0, 1}})
    applied(change(isr=[1]), onto=working)
    second = working.take_delta()
    assert (second.partitions, second.topics_added, second.brokers) == ({TOPIC_ID: {0}}, set(), set())
    assert second.before is first.after
    assert second.before.topics[TOPIC_ID].partitions[1] is second.after.topics[TOPIC_ID].partitions[1]


def test_a_topic_that_came_and_went_within_a_delta_is_in_neither_list() -> None:
    working = applied(topic(), partition(), record(r.REMOVE_TOPIC, topic_id=TOPIC_ID))
    delta = working.take_delta()
    assert not delta.topics_added and not delta.topics_removed and not delta.partitions


def test_an_image_stays_as_it_was_when_its_successor_changes() -> None:
    working = applied(topic(), partition())
    before = working.image()
    applied(change(isr=[2]), onto=working)
    kept = before.partition(TOPIC_ID, 0)
    assert kept is not None and kept.isr == (1, 2)
