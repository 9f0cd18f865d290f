from __future__ import annotations

import pytest

from cluster.metadata import records as r
from cluster.metadata.apply import InconsistentLog
from cluster.metadata.loader import MetadataLoader
from cluster.metadata.records import frame, record
from cluster.metadata.snapshot import image_records
from pykafkacore.protocol.types import MalformedMessage
from tests.cluster.metadata.harness import Harness

TOPIC = frame(record(r.TOPIC, name="t", topic_id=b"t" * 16))


def test_batches_and_control_batches_move_the_offset() -> None:
    loader = MetadataLoader()
    loader.skip(1, 1)
    loader.load(1, 1, [TOPIC])
    loader.skip(3, 2)
    assert (loader.offset, loader.image().leader_epoch) == (3, 2)
    assert loader.take_delta().topics_added == {b"t" * 16}


def test_what_was_loaded_is_passed_over() -> None:
    loader = MetadataLoader()
    loader.load(0, 1, [TOPIC])
    loader.load(0, 1, [TOPIC, frame(record(r.NO_OP))])
    assert loader.offset == 2


def test_a_gap_is_an_error() -> None:
    with pytest.raises(InconsistentLog):
        MetadataLoader().load(1, 1, [TOPIC])


def test_an_unknown_record_is_an_error() -> None:
    with pytest.raises(MalformedMessage):
        MetadataLoader().load(0, 1, [bytes([1, 99, 0, 0])])


def test_no_snapshot_is_taken_within_a_transaction() -> None:
    loader = MetadataLoader()
    loader.load(0, 1, [frame(record(r.BEGIN_TRANSACTION))])
    assert not loader.may_snapshot
    loader.load(1, 1, [frame(record(r.END_TRANSACTION))])
    assert loader.may_snapshot


def test_a_snapshot_replaces_everything() -> None:
    harness = Harness(2)
    harness.made("new", 3)
    loader = MetadataLoader()
    loader.load(0, 1, [TOPIC])
    delta = loader.load_snapshot(500, 4, [frame(each) for each in image_records(harness.image)])
    image = loader.image()
    assert (image.offset, image.leader_epoch, set(image.topic_ids)) == (500, 4, {"new"})
    assert delta.topics_added == set(image.topics) and delta.brokers == {1, 2}
