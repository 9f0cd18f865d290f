"""Kafka's own records as the text that kafka-dump-log prints."""

from __future__ import annotations

import json

import pytest

from pykafkacore.protocol import log_records as lr
from pykafkacore.tools import record_text
from pykafkacore.tools.common import ToolError


def test_names_of_fields_are_those_of_json() -> None:
    assert record_text.field_name("topic_id") == "topicId"
    assert record_text.field_name("isr") == "isr"
    assert record_text.field_name("kraft_version") == "kRaftVersion"


def test_a_metadata_record_tells_its_type_version_and_fields() -> None:
    value = lr.encode_metadata_record(lr.TOPIC_RECORD, lr.TOPIC_RECORD(name="t", topic_id=bytes(15) + b"\1"), 0)
    key, shown = record_text.metadata(5, None, value)
    assert key is None
    assert shown == '{"type":"TOPIC_RECORD","version":0,"data":{"name":"t","topicId":"AAAAAAAAAAAAAAAAAAAAAQ"}}'


def test_tagged_fields_are_shown_only_when_they_are_set() -> None:
    message = lr.PARTITION_CHANGE_RECORD
    shown = {}
    for leader in (-2, 3):
        value = lr.encode_metadata_record(message, message(partition_id=1, topic_id=bytes(16), leader=leader), 0)
        shown[leader] = json.loads(record_text.metadata(0, None, value)[1] or "")["data"]
    assert shown[-2] == {"partitionId": 1, "topicId": "AAAAAAAAAAAAAAAAAAAAAA"}
    assert shown[3] == {**shown[-2], "leader": 3}


def test_what_is_no_metadata_record_is_said_in_its_line() -> None:
    assert (record_text.metadata(5, None, b"\7nonsense")[1] or "").startswith("Error at 5, skipping. ")


def test_offsets_are_shown_with_their_group() -> None:
    key = lr.encode_coordinator_key(lr.OFFSET_COMMIT_KEY, lr.OFFSET_COMMIT_KEY(group="g", topic="t", partition=2))
    value = lr.encode_versioned(lr.OFFSET_COMMIT_VALUE, lr.OFFSET_COMMIT_VALUE(offset=7, metadata="m"), 3)
    shown_key, shown_value = record_text.groups(0, key, value)
    assert json.loads(shown_key or "") == {"type": "1", "data": {"group": "g", "topic": "t", "partition": 2}}
    assert json.loads(shown_value or "")["version"] == "3"
    assert json.loads(shown_value or "")["data"]["offset"] == 7
    assert record_text.groups(0, key, None)[1] == "<DELETE>"


def test_unknown_kinds_and_damage_are_said_in_their_lines() -> None:
    assert record_text.groups(4, b"\x7f\xff", b"")[0] == "Unknown record type 32767 at offset 4, skipping."
    assert (record_text.groups(4, b"\0\1\0\x50g", b"")[0] or "").startswith("Error at offset 4, skipping. ")


def test_a_record_without_a_key_is_none_of_kafkas_own() -> None:
    with pytest.raises(ToolError, match="at offset 4 using the specified decoder"):
        record_text.transactions(4, None, b"")


def test_markers_and_leaders_are_control_records() -> None:
    marker = lr.encode_versioned(lr.END_TXN_MARKER, lr.END_TXN_MARKER(coordinator_epoch=3), 0)
    commit, abort = lr.encode_control_key(lr.CONTROL_COMMIT), lr.encode_control_key(lr.CONTROL_ABORT)
    assert record_text.control(commit, marker) == " endTxnMarker: COMMIT coordinatorEpoch: 3"
    assert record_text.control(abort, marker) == " endTxnMarker: ABORT coordinatorEpoch: 3"
    leader = lr.LEADER_CHANGE_MESSAGE
    value = leader.encode(leader(version=0, leader_id=1), 0)
    assert record_text.control(lr.encode_control_key(lr.CONTROL_LEADER_CHANGE), value).startswith(
        ' LeaderChange: {"version":0,"leaderId":1,'
    )
    assert record_text.control(b"\0\0\0\x63", b"") == " controlType: UNKNOWN(99)"


def test_data_that_is_no_text_is_shown_all_the_same() -> None:
    assert record_text.plain(0, None, b"\xff\xfe") == (None, "\ufffd\ufffd")
