from __future__ import annotations

import pytest

from cluster.metadata import records as r
from cluster.metadata.records import frame, record, unframe
from pykafkacore.protocol.types import MalformedMessage


def test_a_frame_is_its_version_the_key_the_record_version_and_the_body() -> None:
    assert frame(record(r.NO_OP)) == bytes([1, 20, 0, 0])
    assert unframe(bytes([1, 20, 0, 0])).api_key == r.NO_OP


@pytest.mark.parametrize(
    "data", [b"", bytes([2, 20, 0, 0]), bytes([1, 99, 0, 0]), bytes([1, 20, 9, 0]), bytes([1, 20, 0, 0, 0])]
)
def test_what_is_unknown_or_goes_on_is_an_error(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        unframe(data)


@pytest.mark.parametrize(
    ("metadata_version", "register", "change", "partition", "partition_with_elr"),
    [(7, 1, 1, 0, 0), (8, 2, 1, 0, 0), (17, 3, 2, 1, 1), (23, 3, 2, 1, 2), (30, 4, 3, 1, 2), (33, 4, 3, 1, 2)],
)
def test_record_versions_follow_the_metadata_version(
    metadata_version: int, register: int, change: int, partition: int, partition_with_elr: int
) -> None:
    assert r.register_broker_version(metadata_version) == register
    assert r.broker_registration_change_version(metadata_version) == change
    assert r.partition_version(metadata_version, elr_is_on=False) == partition
    assert r.partition_version(metadata_version, elr_is_on=True) == partition_with_elr
