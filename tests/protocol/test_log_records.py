from __future__ import annotations

import pytest

from pykafkacore.protocol import log_records
from pykafkacore.protocol.schemas.security import DEFAULT_PRINCIPAL_DATA
from pykafkacore.protocol.types import MalformedMessage
from tests.protocol.oracle import definitions, needs_oracle


def test_a_topic_record_has_the_frame_of_the_metadata_log() -> None:
    record = log_records.TOPIC_RECORD(name="t", topic_id=bytes(range(16)))
    data = log_records.encode_metadata_record(log_records.TOPIC_RECORD, record, 0)
    assert data.hex() == "0102000274" + bytes(range(16)).hex() + "00"
    assert log_records.decode_metadata_record(data) == (log_records.TOPIC_RECORD, 0, record)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ("", "ends inside"),
        ("00", "frame version 0"),
        ("02 14 00 00", "frame version 2"),
        ("01 63 00 00", "unknown api key 99"),
        ("01 14 01 00", "NoOpRecord has the unknown version 1"),
        ("01 14 00 00 ff", "1 unexpected bytes"),
        ("01 02 00 02", "TopicRecord v0"),
    ],
)
def test_a_metadata_record_that_is_not_understood_is_an_error(data: str, complaint: str) -> None:
    with pytest.raises(MalformedMessage, match=complaint):
        log_records.decode_metadata_record(bytes.fromhex(data))


@needs_oracle
def test_every_record_type_of_kafka_is_found_by_its_number() -> None:
    families = {
        "metadata": {number: message.name for number, message in log_records.METADATA_RECORDS.items()},
        "group-coordinator": log_records.GROUP_RECORDS,
        "transaction-coordinator": log_records.TRANSACTION_RECORDS,
        "share-coordinator": log_records.SHARE_RECORDS,
    }
    for definition in definitions().values():
        records = families.get(definition["family"])
        if records is None:
            continue
        found = records[definition["apiKey"]]
        if isinstance(found, tuple):
            key, value = found
            found = key.name if definition["type"] == "coordinator-key" else value.name
        assert found == definition["name"]


def test_the_key_of_an_offset_commit_is_its_type_and_a_plain_body() -> None:
    key, value = log_records.GROUP_RECORDS[1]
    struct = key(group="g", topic="t", partition=3)
    data = log_records.encode_coordinator_key(key, struct)
    assert data.hex() == "000100016700017400000003"
    assert log_records.decode_coordinator_key(data, log_records.GROUP_RECORDS) == (1, value, struct)


def test_the_value_of_an_offset_commit_starts_with_its_version() -> None:
    value = log_records.OFFSET_COMMIT_VALUE
    struct = value(offset=7, leader_epoch=2, metadata="m", commit_timestamp=9)
    data = log_records.encode_versioned(value, struct, 3)
    assert data.hex() == "000300000000000000070000000200016d0000000000000009"
    assert log_records.decode_versioned(value, data) == (3, struct)


def test_an_unknown_type_is_skipped_and_an_unknown_version_is_not() -> None:
    assert log_records.decode_coordinator_key(bytes.fromhex("0063"), log_records.GROUP_RECORDS) is None
    with pytest.raises(MalformedMessage, match="OffsetCommitValue has the unknown version 9"):
        log_records.decode_versioned(log_records.OFFSET_COMMIT_VALUE, bytes.fromhex("0009"))
    with pytest.raises(MalformedMessage, match="too few"):
        log_records.decode_coordinator_key(b"\0", log_records.GROUP_RECORDS)


def test_a_principal_is_serialised_with_its_version_in_front() -> None:
    principal = DEFAULT_PRINCIPAL_DATA(type="User", name="a", token_authenticated=True)
    assert log_records.encode_versioned(DEFAULT_PRINCIPAL_DATA, principal, 0).hex() == "0000055573657202610100"


def test_control_keys_tell_the_type_whatever_their_version() -> None:
    assert log_records.encode_control_key(log_records.CONTROL_LEADER_CHANGE).hex() == "00000002"
    assert log_records.decode_control_key(bytes.fromhex("00000002")) == 2
    assert log_records.decode_control_key(bytes.fromhex("00050006")) == 6
    for bad in ("000000", "ffff0000"):
        with pytest.raises(MalformedMessage):
            log_records.decode_control_key(bytes.fromhex(bad))


def test_a_leader_change_is_its_flexible_message_at_version_0() -> None:
    message = log_records.CONTROL_RECORDS[log_records.CONTROL_LEADER_CHANGE]
    struct = message(
        version=0, leader_id=1, voters=[message.Voter(voter_id=1)], granting_voters=[message.Voter(voter_id=1)]
    )
    assert message.encode(struct, 0).hex() == "00000000000102000000010002000000010000"


def test_a_tagged_struct_that_kafka_writes_as_null_is_null() -> None:
    """Bytes of a running 4.4.0: one tag, of one byte, which is 0."""
    from pykafkacore.protocol.schemas.coordinator_records import CONSUMER_GROUP_MEMBER_METADATA_VALUE as message

    data = bytes.fromhex("0000000007726561646572" "0b2f3132372e302e302e31" "02076576656e7473" "01000493e0" "00" "01000100")
    version, value = log_records.decode_versioned(message, data)
    assert (version, value.classic_member_metadata, value.subscribed_topic_names) == (0, None, ["events"])
    kept = message(classic_member_metadata=message.ClassicMemberMetadata(session_timeout_ms=7))
    assert message.decode(message.encode(kept, 0), 0) == kept
