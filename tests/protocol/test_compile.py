"""Bytes derived by hand from the rules of the protocol, and round trips of everything."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pykafkacore.protocol.apis import api
from pykafkacore.protocol.schema import Message
from pykafkacore.protocol.types import Encoded, MalformedMessage, Repeated
from tests.protocol.messages import message_versions, structs

OFFSET_COMMIT = api("OffsetCommit").request
METADATA = api("Metadata").request
FETCH = api("Fetch")


def hexes(*parts: str) -> bytes:
    return bytes.fromhex("".join(parts))


@pytest.mark.parametrize(
    ("message", "version"), message_versions(), ids=lambda value: getattr(value, "name", None) or f"v{value}"
)
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_message_survives_the_wire_at_every_version(message: Message, version: int, data: st.DataObject) -> None:
    struct = data.draw(structs(message, version))
    encoded = message.encode(struct, version)
    assert message.decode_from(encoded, 0, version) == (struct, len(encoded))
    assert message.decode(memoryview(encoded), version) == struct


@pytest.mark.parametrize("version", [2, 9])
def test_elements_that_are_encoded_already_stand_for_themselves(version: int) -> None:
    row = OFFSET_COMMIT.OffsetCommitRequestPartition(committed_metadata="m")
    rows = [row.replace(partition_index=at, committed_offset=at) for at in range(200)]
    topic = OFFSET_COMMIT.OffsetCommitRequestTopic(name="tp", partitions=rows)
    struct = OFFSET_COMMIT(group_id="g", topics=[topic])
    plain = OFFSET_COMMIT.encode(struct, version)
    parts = [OFFSET_COMMIT.encode(row, version, "OffsetCommitRequestPartition") for row in rows]
    topic.partitions = Encoded(len(rows), b"".join(parts))
    assert OFFSET_COMMIT.encode(struct, version) == plain


# ---- golden bytes


def test_an_old_offset_commit_has_fixed_lengths() -> None:
    struct = OFFSET_COMMIT(
        group_id="g", generation_id_or_member_epoch=5, member_id="m", retention_time_ms=-1,
        topics=[OFFSET_COMMIT.OffsetCommitRequestTopic(name="tp", partitions=[
            OFFSET_COMMIT.OffsetCommitRequestPartition(
                partition_index=1, committed_offset=258, committed_metadata=None
            ),
        ])],
    )  # fmt: skip
    golden = hexes(
        "0001 67", "00000005", "0001 6d", "ffffffffffffffff",
        "00000001", "0002 7470", "00000001", "00000001", "0000000000000102", "ffff",
    )  # fmt: skip
    assert OFFSET_COMMIT.encode(struct, 2) == golden
    assert OFFSET_COMMIT.decode(golden, 2) == struct


def test_a_flexible_offset_commit_has_compact_lengths_and_a_tag_section_in_every_struct() -> None:
    struct = OFFSET_COMMIT(
        group_id="g", generation_id_or_member_epoch=5, member_id="m", group_instance_id=None,
        topics=[OFFSET_COMMIT.OffsetCommitRequestTopic(name="tp", partitions=[
            OFFSET_COMMIT.OffsetCommitRequestPartition(
                partition_index=1, committed_offset=258, committed_leader_epoch=7, committed_metadata=""
            ),
        ])],
    )  # fmt: skip
    golden = hexes(
        "02 67", "00000005", "02 6d", "00",
        "02", "03 7470", "02", "00000001", "0000000000000102", "00000007", "01", "00", "00", "00",
    )  # fmt: skip
    assert OFFSET_COMMIT.encode(struct, 8) == golden
    assert OFFSET_COMMIT.decode(golden, 8) == struct


def test_null_and_empty_lists_of_topics_differ() -> None:
    assert METADATA.encode(METADATA(topics=None, allow_auto_topic_creation=True), 4) == hexes("ffffffff", "01")
    assert METADATA.encode(METADATA(topics=[], allow_auto_topic_creation=True), 4) == hexes("00000000", "01")
    assert METADATA.encode(METADATA(topics=None), 13) == hexes("00", "01", "00", "00")
    assert METADATA.encode(METADATA(topics=[]), 13) == hexes("01", "01", "00", "00")


def test_tagged_fields_are_written_in_order_of_tag_and_only_when_not_default() -> None:
    request = FETCH.request
    struct = request(max_wait_ms=1, min_bytes=2, cluster_id="c", replica_state=request.ReplicaState(replica_id=3))
    tail = hexes(
        "02",  # two tags
        "00", "02", "02 63",
        "01", "0d", "00000003", "ffffffffffffffff", "00",
    )  # fmt: skip
    assert request.encode(struct, 17).endswith(tail)
    assert request.encode(request(max_wait_ms=1), 17).endswith(hexes("01 01 01 00"))


def test_a_nullable_struct_has_a_sign_byte() -> None:
    request = api("DescribeTopicPartitions").request
    assert request.encode(request(), 0) == hexes("01", "000007d0", "ff", "00")
    cursor = request.Cursor(topic_name="t", partition_index=1)
    assert request.encode(request(cursor=cursor), 0) == hexes("01", "000007d0", "01 02 74 00000001 00", "00")
    for flag in ("00", "01", "7f"):
        assert request.decode(hexes("01", "000007d0", flag, "02 74 00000001 00", "00"), 0).cursor == cursor
    assert request.decode(hexes("01", "000007d0", "80", "00"), 0).cursor is None


def test_ports_are_unsigned_and_floats_are_big_endian() -> None:
    vote = api("Vote").response
    struct = vote(node_endpoints=[vote.NodeEndpoint(node_id=1, host="h", port=65535)])
    assert hexes("00000001 02 68 ffff 00") in vote.encode(struct, 1)
    quotas = api("AlterClientQuotas").request
    op = quotas.OpData(key="k", value=1.5, remove=False)
    encoded = quotas.encode(quotas(entries=[quotas.EntryData(entity=[], ops=[op])]), 0)
    assert hexes("0001 6b 3ff8000000000000 00") in encoded


# ---- what Kafka tolerates


def test_unknown_tags_are_skipped_even_when_they_fall_or_repeat() -> None:
    body = hexes("01", "01", "00")
    assert METADATA.decode(body + hexes("03", "05 02 aabb", "05 00", "02 01 cc"), 13) == METADATA()


def test_a_known_tag_with_surplus_bytes_is_accepted_and_an_empty_one_is_not() -> None:
    response = FETCH.request
    plain = response.encode(response(), 17)[:-1]
    data = plain + hexes("01", "01", "0f", "00000003", "ffffffffffffffff", "00", "eeee")
    assert response.decode(data, 17).replica_state.replica_id == 3
    with pytest.raises(MalformedMessage):
        response.decode(plain + hexes("01", "01", "00"), 17)


def test_a_boolean_may_be_any_byte() -> None:
    assert METADATA.decode(hexes("ffffffff", "7f"), 4).allow_auto_topic_creation is True


def test_any_negative_count_is_null_where_null_is_allowed_and_refused_elsewhere() -> None:
    assert METADATA.decode(hexes("fffffffe"), 1).topics is None
    with pytest.raises(MalformedMessage, match="claims -2 elements"):
        METADATA.decode(hexes("fffffffe"), 0)


def test_text_that_is_not_utf8_round_trips() -> None:
    data = hexes("00000001", "0002 ff41", "01")
    struct = METADATA.decode(data, 4)
    assert METADATA.encode(struct, 4) == data


def test_bytes_after_the_message_are_ignored() -> None:
    assert METADATA.decode(hexes("ffffffff", "01", "deadbeef"), 4) == METADATA(topics=None)


def test_records_of_a_memoryview_are_not_copied() -> None:
    produce = api("Produce").request
    partition = produce.PartitionProduceData(index=0, records=b"batch")
    struct = produce(topic_data=[produce.TopicProduceData(name="t", partition_data=[partition])])
    data = bytearray(produce.encode(struct, 9))
    records = produce.decode(memoryview(data), 9).topic_data[0].partition_data[0].records
    assert records == b"batch"
    data[data.index(b"batch")] = ord("B")
    assert records == b"Batch"


# ---- hostile sizes


def test_an_array_that_the_message_cannot_hold_is_refused_before_it_is_made() -> None:
    for count in ("7fffffff", "000f4241", "00000002"):
        with pytest.raises(MalformedMessage, match="topics claims"):
            METADATA.decode(hexes(count, "0000"), 1)


def test_a_million_elements_is_the_most_that_an_array_may_have() -> None:
    request = api("DescribeGroups").request
    assert len(request.decode((1_000_000).to_bytes(4, "big") + bytes(2_000_000), 0).groups) == 1_000_000
    with pytest.raises(MalformedMessage, match="claims 1000001"):
        request.decode((1_000_001).to_bytes(4, "big") + bytes(2_000_002), 0)


def test_the_structs_of_all_arrays_together_are_bounded() -> None:
    request = api("CreatePartitions").request
    inner = (1_000_000).to_bytes(4, "big") + bytes(4_000_000)
    topic = hexes("0001 74 00000001") + inner
    with pytest.raises(MalformedMessage, match="assignments claims 1000000"):
        request.decode((3).to_bytes(4, "big") + topic * 3 + bytes(100), 0)


def test_too_many_tags_are_refused() -> None:
    with pytest.raises(MalformedMessage, match="malformed tagged fields"):
        METADATA.decode(hexes("01 01 00", "914e") + bytes(30_000), 13)


def test_a_tag_longer_than_the_message_is_refused() -> None:
    with pytest.raises(MalformedMessage, match="malformed tagged fields"):
        METADATA.decode(hexes("01 01 00", "01 05 7f 00"), 13)


def test_a_repeated_struct_is_written_once_for_each_version_and_reads_as_the_struct_does() -> None:
    message = Message("M", versions="0-1", flexible="1", fields="""
        name   string
        codes  []int32
    """)
    struct = message(name="n", codes=[1, 2])
    repeated = Repeated(struct)
    assert (repeated.name, repeated.codes) == ("n", [1, 2])
    for version in (0, 1):
        assert message.encode(repeated, version) == message.encode(struct, version)
        assert message.encode(repeated, version) is message.encode(repeated, version)
    with pytest.raises(AttributeError):
        repeated.absent  # noqa: B018
