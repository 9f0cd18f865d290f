from __future__ import annotations

import pytest

from cluster.raft.batches import crc32c, encode_batch, read_batches
from cluster.raft.messages import Batch, Endpoint, KRaftVersion, LeaderChange, ReplicaKey, SnapshotId, Voter, Voters
from cluster.raft.snapshot import build_snapshot, parse_snapshot, parse_snapshot_name, snapshot_name
from pykafkacore.protocol.types import MalformedMessage

VOTER = Voter(ReplicaKey(1, b"d" * 16), (Endpoint("CONTROLLER", "localhost", 9093),), 0, 1)


def whole(records: list[bytes], kraft_version: int = 1) -> bytes:
    return b"".join(build_snapshot(SnapshotId(7, 3), 55, kraft_version, (VOTER,), records, 1000))


def test_crc32c_gives_the_published_check_value() -> None:
    assert crc32c(b"123456789") == 0xE3069283


def test_a_snapshot_comes_back_as_it_was_built() -> None:
    records = [bytes([index % 250]) * 5 for index in range(3000)]
    parsed = parse_snapshot(whole(records))
    assert parsed.records == tuple(records)
    assert (parsed.last_contained_log_timestamp_ms, parsed.kraft_version, parsed.voters) == (55, 1, (VOTER,))


def test_a_snapshot_of_kraft_version_0_names_no_voters() -> None:
    parsed = parse_snapshot(whole([b"x"], kraft_version=0))
    assert (parsed.kraft_version, parsed.voters) == (None, None)


def test_every_prefix_of_a_snapshot_is_refused() -> None:
    data = whole([b"one", b"two"])
    for size in range(len(data)):
        with pytest.raises(MalformedMessage):
            parse_snapshot(data[:size])


def test_a_flipped_bit_is_refused() -> None:
    data = bytearray(whole([b"one"]))
    data[-3] ^= 4
    with pytest.raises(MalformedMessage, match="checksum"):
        parse_snapshot(bytes(data))


def test_a_snapshot_that_goes_on_after_its_footer_is_refused() -> None:
    data = whole([b"one"])
    with pytest.raises(MalformedMessage, match="footer"):
        parse_snapshot(data + data)


def test_snapshot_names_are_kafkas() -> None:
    name = snapshot_name(SnapshotId(7, 3))
    assert name == "00000000000000000007-0000000003.checkpoint"
    assert parse_snapshot_name(name) == SnapshotId(7, 3)
    for other in (name + ".part", name + ".deleted", "7-3.checkpoint", "leader-epoch-checkpoint"):
        assert parse_snapshot_name(other) is None


def test_batches_come_back_with_their_control_records() -> None:
    control = (LeaderChange(1, (1, 2), (1,)), KRaftVersion(1), Voters((VOTER,)))
    data = encode_batch(Batch(4, 7, 2, control=control), 10) + encode_batch(Batch(7, 9, 2, records=(b"a", b"b")), 11)
    first, second = (batch for batch, _, _ in read_batches(data))
    assert (first.base_offset, first.end_offset, first.control) == (4, 7, control)
    assert (second.base_offset, second.end_offset, second.records) == (7, 9, (b"a", b"b"))
    assert first.raw + second.raw == data


def test_a_torn_tail_ends_the_batches_quietly() -> None:
    one = encode_batch(Batch(0, 1, 1, records=(b"a",)), 10)
    assert [batch.base_offset for batch, _, _ in read_batches(one + one[:-1])] == [0]
