"""What stands between a request about groups and the shard that keeps them."""

from __future__ import annotations

import pytest

from cluster.handlers import groups
from cluster.handlers.dispatch import error_response
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import ApiError, Code
from tests.cluster.handlers.fake import FakeContext, call, done

COMMIT = api("OffsetCommit")
UNKNOWN = b"\x11" * 16


@pytest.fixture
def ctx() -> FakeContext:
    ctx = FakeContext()
    ctx.harness.create("one", 2)
    return ctx


def commit(ctx: FakeContext, api_version: int, *topics: object, **fields: object):
    asked = call("OffsetCommit", api_version, group_id="g", topics=list(topics), **fields)
    return [
        (topic.name, [(row.partition_index, row.error_code) for row in topic.partitions])
        for topic in done(groups.offset_commit(ctx, asked)).topics
    ]


def topic(name: str, *indexes: int, topic_id: bytes = bytes(16)):
    rows = [COMMIT.request.OffsetCommitRequestPartition(partition_index=index) for index in indexes]
    return COMMIT.request.OffsetCommitRequestTopic(name=name, topic_id=topic_id, partitions=rows)


def committed(*indexes: int):
    message = COMMIT.response
    rows = [message.OffsetCommitResponsePartition(partition_index=index) for index in indexes]
    return message(topics=[message.OffsetCommitResponseTopic(name="one", partitions=rows)])


def test_offsets_of_what_is_not_there_are_refused_and_the_others_go_on(ctx) -> None:
    ctx.groups.answer = committed(1)
    assert commit(ctx, 9, topic("one", 1, 7), topic("no-such", 0), topic("one")) == [
        ("one", [(1, 0), (7, Code.UNKNOWN_TOPIC_OR_PARTITION)]),
        ("no-such", [(0, Code.UNKNOWN_TOPIC_OR_PARTITION)]),
    ]
    [(_, request)] = ctx.groups.asked
    assert [row.partition_index for row in request.body.topics[0].partitions] == [1]


def test_offsets_by_an_unknown_id_are_refused_as_such(ctx) -> None:
    assert commit(ctx, 10, topic("", 0, topic_id=UNKNOWN)) == [("", [(0, Code.UNKNOWN_TOPIC_ID)])]
    assert ctx.groups.asked == []


def test_a_refusal_of_the_whole_names_what_is_not_there_too(ctx) -> None:
    ctx.groups.answer = ApiError(Code.ILLEGAL_GENERATION)
    asked = call("OffsetCommit", 9, group_id="g", topics=[topic("one", 0), topic("no-such", 4)])
    with pytest.raises(ApiError) as caught:
        done(groups.offset_commit(ctx, asked))
    told = error_response(asked, caught.value)
    assert [(each.name, each.partitions[0].error_code) for each in told.topics] == [
        ("one", Code.ILLEGAL_GENERATION), ("no-such", Code.ILLEGAL_GENERATION),
    ]  # fmt: skip


def test_a_retention_that_no_clock_can_hold_is_cut(ctx) -> None:
    ctx.groups.answer = committed(0)
    commit(ctx, 2, topic("one", 0), retention_time_ms=2**63 - 1)
    [(_, request)] = ctx.groups.asked
    assert request.body.retention_time_ms < 2**63 - 2**61


@pytest.mark.parametrize("missing", ["protocol_type", "protocol_name"])
def test_a_sync_that_names_no_protocol_is_inconsistent_from_version_5_on(ctx, missing: str) -> None:
    fields = {"group_id": "g", "protocol_type": "consumer", "protocol_name": "range", missing: None}
    with pytest.raises(ApiError) as caught:
        groups.sync_group(ctx, call("SyncGroup", 5, **fields))
    assert caught.value.code == Code.INCONSISTENT_GROUP_PROTOCOL
    ctx.groups.answer = "synced"
    assert done(groups.sync_group(ctx, call("SyncGroup", 4, group_id="g"))) == "synced"


def test_a_group_without_a_name_has_no_offsets_to_delete(ctx) -> None:
    with pytest.raises(ApiError) as caught:
        done(groups.offset_delete(ctx, call("OffsetDelete", 0, group_id="")))
    assert caught.value.code == Code.INVALID_GROUP_ID


def test_operations_are_told_of_groups_that_are_there(ctx) -> None:
    message = api("DescribeGroups").response
    asked = call("DescribeGroups", 6, groups=["g"], include_authorized_operations=True)
    ctx.groups.answer = message.DescribedGroup(group_id="g", group_state="Empty")
    assert done(groups.describe_groups(ctx, asked)).groups[0].authorized_operations == 3400
    ctx.groups.answer = ApiError(Code.GROUP_ID_NOT_FOUND, "no")
    assert done(groups.describe_groups(ctx, asked)).groups[0].authorized_operations == -(2**31)


def test_a_group_that_is_deleted_twice_is_answered_once(ctx) -> None:
    ctx.groups.answer = Code.NONE
    answer = done(groups.delete_groups(ctx, call("DeleteGroups", 2, groups_names=["g", "h", "g"])))
    assert [row.group_id for row in answer.results] == ["g", "h"]
