"""What ListOffsets and its neighbours ask of the logs, and what they answer without asking."""

from __future__ import annotations

import pytest

from cluster.handlers import offsets
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import Code
from tests.cluster.handlers.fake import FakeContext, call, done

LIST = api("ListOffsets").request
DELETE = api("DeleteRecords").request
EPOCHS = api("OffsetForLeaderEpoch").request


@pytest.fixture
def ctx() -> FakeContext:
    ctx = FakeContext()
    ctx.harness.create("one", 2)
    ctx.harness.create("kept", configs={"cleanup.policy": "compact"})
    return ctx


def listed(ctx: FakeContext, api_version: int, timestamp: int, name: str = "one", isolation: int = 0, **fields: int):
    partition = LIST.ListOffsetsPartition(partition_index=0, timestamp=timestamp, **fields)
    topic = LIST.ListOffsetsTopic(name=name, partitions=[partition])
    asked = call("ListOffsets", api_version, replica_id=-1, isolation_level=isolation, topics=[topic])
    [answer] = done(offsets.list_offsets(ctx, asked)).topics[0].partitions
    return answer.error_code, answer.offset, answer.leader_epoch


@pytest.mark.parametrize(("timestamp", "since"), [(-3, 7), (-4, 8), (-5, 9), (-6, 11)])
def test_a_special_timestamp_is_known_from_its_version_on(ctx, timestamp: int, since: int) -> None:
    assert listed(ctx, since - 1, timestamp)[0] == Code.UNSUPPORTED_VERSION
    assert listed(ctx, since, timestamp)[0] == Code.NONE


def test_nothing_waits_for_an_upload(ctx) -> None:
    assert listed(ctx, 11, -6) == (Code.NONE, -1, -1)
    assert ctx.plane.asked == []


def test_versions_without_leader_epochs_are_not_told_one(ctx) -> None:
    assert listed(ctx, 3, -1) == (Code.NONE, 5, -1)
    assert listed(ctx, 4, -1) == (Code.NONE, 5, 3)


def test_what_is_wrong_with_the_question_is_told_before_the_log_is_asked(ctx) -> None:
    assert listed(ctx, 9, -1, isolation=7)[0] == Code.INVALID_REQUEST
    assert listed(ctx, 9, -1, current_leader_epoch=-2)[0] == Code.FENCED_LEADER_EPOCH
    assert listed(ctx, 9, -1, name="no-such")[0] == Code.UNKNOWN_TOPIC_OR_PARTITION
    assert ctx.plane.asked == []


def test_a_partition_that_stands_twice_is_refused_once_and_topics_are_merged(ctx) -> None:
    def topic(*indexes: int):
        partitions = [LIST.ListOffsetsPartition(partition_index=index, timestamp=-1) for index in indexes]
        return LIST.ListOffsetsTopic(name="one", partitions=partitions)

    empty = LIST.ListOffsetsTopic(name="kept", partitions=[])
    asked = call("ListOffsets", 9, replica_id=-1, topics=[topic(0), empty, topic(1, 1)])
    answer = done(offsets.list_offsets(ctx, asked))
    [told] = answer.topics
    assert [(row.partition_index, row.error_code) for row in told.partitions] == [(0, 0), (1, Code.INVALID_REQUEST)]


@pytest.mark.parametrize(
    ("name", "index", "code"),
    [
        ("one", 0, Code.NONE),
        ("one", 9, Code.UNKNOWN_TOPIC_OR_PARTITION),
        ("no-such", 0, Code.UNKNOWN_TOPIC_OR_PARTITION),
        ("kept", 0, Code.POLICY_VIOLATION),
    ],
)
def test_records_are_deleted_where_the_topic_allows_it(ctx, name: str, index: int, code: Code) -> None:
    row = DELETE.DeleteRecordsPartition(partition_index=index, offset=2)
    asked = call("DeleteRecords", 2, topics=[DELETE.DeleteRecordsTopic(name=name, partitions=[row])])
    [told] = done(offsets.delete_records(ctx, asked)).topics[0].partitions
    assert (told.error_code, told.low_watermark) == (code, 2 if code == Code.NONE else -1)


def test_an_impossible_leader_epoch_is_fenced(ctx) -> None:
    row = EPOCHS.OffsetForLeaderPartition(partition=0, current_leader_epoch=-2, leader_epoch=0)
    asked = call("OffsetForLeaderEpoch", 4, topics=[EPOCHS.OffsetForLeaderTopic(topic="one", partitions=[row])])
    [told] = done(offsets.offset_for_leader_epoch(ctx, asked)).topics[0].partitions
    assert (told.error_code, told.end_offset) == (Code.FENCED_LEADER_EPOCH, -1)


def test_producers_of_what_is_not_there_are_told_with_a_reason(ctx) -> None:
    message = api("DescribeProducers").request
    topics = [message.TopicRequest(name=name, partition_indexes=[0]) for name in ("one", "no-such", "no such")]
    answer = done(offsets.describe_producers(ctx, call("DescribeProducers", 0, topics=topics)))
    rows = [topic.partitions[0] for topic in answer.topics]
    assert [row.error_code for row in rows] == [0, Code.UNKNOWN_TOPIC_OR_PARTITION, Code.INVALID_TOPIC_EXCEPTION]
    assert [bool(row.error_message) for row in rows] == [False, True, True]
