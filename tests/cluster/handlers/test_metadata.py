"""Which topics Metadata and DescribeTopicPartitions tell of, and how."""

from __future__ import annotations

import pytest

from cluster.handlers import metadata
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import Code
from tests.cluster.handlers.fake import FakeContext, call, done

WANTED = api("Metadata").request.MetadataRequestTopic
ZERO, UNKNOWN = bytes(16), b"\x11" * 16


@pytest.fixture
def ctx() -> FakeContext:
    ctx = FakeContext()
    ctx.harness.create("one", 2)
    ctx.harness.create("two")
    return ctx


def received(name: str, api_version: int, answer: object):
    """What the client reads."""
    message = api(name).response
    return message.decode(message.encode(answer, api_version), api_version)


def ask(ctx: FakeContext, api_version: int, *topics: object, listener: str = "PLAINTEXT", create: bool = False, **fields: object):
    asked = call("Metadata", api_version, listener, topics=list(topics), allow_auto_topic_creation=create, **fields)
    return received("Metadata", api_version, done(metadata.metadata(ctx, asked)))


def test_no_topics_are_all_of_them_in_version_0_only(ctx) -> None:
    assert {topic.name for topic in ask(ctx, 0).topics} == {"one", "two"}
    assert ask(ctx, 1).topics == []
    every = metadata.answer(ctx, call("Metadata", 1, topics=None))
    assert {topic.name for topic in every.topics} == {"one", "two"}


def test_a_topic_that_is_named_twice_is_told_once(ctx) -> None:
    assert [topic.name for topic in ask(ctx, 9, WANTED(name="one"), WANTED(name="one")).topics] == ["one"]


def test_an_id_counts_whatever_name_stands_beside_it(ctx) -> None:
    [topic] = ask(ctx, 12, WANTED(name="one", topic_id=UNKNOWN)).topics
    assert (topic.error_code, topic.name) == (Code.UNKNOWN_TOPIC_ID, None)
    [topic] = ask(ctx, 12, WANTED(name=None, topic_id=ctx.image.topic_named("two").topic_id)).topics
    assert (topic.error_code, topic.name) == (Code.NONE, "two")


@pytest.mark.parametrize("api_version", [10, 11])
def test_versions_10_and_11_take_no_ids(ctx, api_version: int) -> None:
    answer = ask(ctx, api_version, WANTED(name=None, topic_id=UNKNOWN), WANTED(name="one"))
    assert [topic.error_code for topic in answer.topics] == [Code.INVALID_REQUEST] * 2
    assert (answer.brokers, answer.cluster_id, answer.controller_id) == ([], None, -1)


def test_a_topic_without_name_and_id_spoils_the_request(ctx) -> None:
    answer = ask(ctx, 13, WANTED(name=None, topic_id=ZERO), WANTED(name="one"))
    assert answer.error_code == Code.INVALID_REQUEST
    assert [(topic.error_code, topic.name) for topic in answer.topics] == [(42, ""), (42, "one")]
    assert ask(ctx, 12, WANTED(name=None, topic_id=ZERO)).error_code == Code.NONE


def test_a_name_that_no_topic_can_have_is_told_from_one_that_none_has(ctx) -> None:
    answer = ask(ctx, 9, WANTED(name="no-such"), WANTED(name="no such"), WANTED(name=""))
    unknown, invalid = Code.UNKNOWN_TOPIC_OR_PARTITION, Code.INVALID_TOPIC_EXCEPTION
    assert [topic.error_code for topic in answer.topics] == [unknown, invalid, invalid]


def test_a_topic_made_by_asking_stands_in_the_answer(ctx) -> None:
    [topic] = ask(ctx, 9, WANTED(name="new"), create=True).topics
    assert (topic.error_code, len(topic.partitions)) == (Code.NONE, 1)


def test_nothing_is_made_where_request_or_broker_forbid_it(ctx) -> None:
    assert ask(ctx, 9, WANTED(name="new"), create=False).topics[0].error_code == Code.UNKNOWN_TOPIC_OR_PARTITION
    strict = FakeContext(auto_create_topics_enable="false")
    assert ask(strict, 9, WANTED(name="new"), create=True).topics[0].error_code == Code.UNKNOWN_TOPIC_OR_PARTITION
    assert ctx.controller.asked == strict.controller.asked == []


def test_a_partition_whose_leader_is_gone_says_so() -> None:
    ctx = FakeContext(broker_count=2)
    ctx.harness.create("lonely", assignments={0: [2]})
    ctx.harness.heartbeat(2, fence=True)
    [topic] = ask(ctx, 9, WANTED(name="lonely")).topics
    [partition] = topic.partitions
    assert (partition.error_code, partition.leader_id, partition.offline_replicas) == (Code.LEADER_NOT_AVAILABLE, -1, [2])


def test_a_leader_without_the_listener_is_told_by_version(ctx) -> None:
    answers = [ask(ctx, version, WANTED(name="two"), listener="OTHER") for version in (5, 6)]
    codes = [answer.topics[0].partitions[0].error_code for answer in answers]
    assert codes == [Code.LEADER_NOT_AVAILABLE, Code.LISTENER_NOT_FOUND]


@pytest.mark.parametrize("api_version", range(14))
def test_each_partition_is_told_of_by_itself_at_every_version(api_version: int) -> None:
    ctx = FakeContext(broker_count=3)
    ctx.harness.create("t", assignments={0: [1, 2], 1: [2, 1], 2: [1, 2], 3: [3, 1], 4: [1, 2]})
    ctx.harness.alter_isr("t", [1], index=4)
    ctx.harness.heartbeat(3, fence=True)
    [topic] = ask(ctx, api_version, WANTED(name="t")).topics
    fields = ("partition_index", "error_code", "leader_id", "replica_nodes", "isr_nodes")
    assert [tuple(getattr(each, field) for field in fields) for each in topic.partitions] == [
        (0, 0, 1, [1, 2], [1, 2]), (1, 0, 2, [2, 1], [2, 1]), (2, 0, 1, [1, 2], [1, 2]),
        (3, 0, 1, [3, 1], [1]), (4, 0, 1, [1, 2], [1]),
    ]  # fmt: skip
    if api_version >= 5:
        assert [each.offline_replicas for each in topic.partitions] == [[], [], [], [3], []]
    if api_version >= 7:
        assert [each.leader_epoch for each in topic.partitions] == [0, 0, 0, 1, 0]


def test_operations_are_told_when_asked_for(ctx) -> None:
    asked = ask(ctx, 8, WANTED(name="one"), include_topic_authorized_operations=True)
    assert asked.topics[0].topic_authorized_operations == 3576
    assert ask(ctx, 8, WANTED(name="one")).topics[0].topic_authorized_operations == -(2**31)


# --- DescribeTopicPartitions


REQUEST = api("DescribeTopicPartitions").request


def pages(ctx: FakeContext, *names: str, limit: int = 100, cursor: tuple[str, int] | None = None):
    at = None if cursor is None else REQUEST.Cursor(topic_name=cursor[0], partition_index=cursor[1])
    topics = [REQUEST.TopicRequest(name=name) for name in names]
    asked = call("DescribeTopicPartitions", 0, topics=topics, response_partition_limit=limit, cursor=at)
    answer = received("DescribeTopicPartitions", 0, metadata.describe_topic_partitions(ctx, asked))
    rows = [(topic.name, topic.error_code, [row.partition_index for row in topic.partitions]) for topic in answer.topics]
    after = answer.next_cursor and (answer.next_cursor.topic_name, answer.next_cursor.partition_index)
    return rows, after


def test_topics_come_by_name_and_pages_end_at_the_limit(ctx) -> None:
    assert pages(ctx, "two", "one") == ([("one", 0, [0, 1]), ("two", 0, [0])], None)
    assert pages(ctx, "two", "one", limit=1) == ([("one", 0, [0])], ("one", 1))
    assert pages(ctx, "two", "one", limit=2) == ([("one", 0, [0, 1])], ("two", 0))
    assert pages(ctx, limit=3) == ([("one", 0, [0, 1]), ("two", 0, [0])], None)


def test_each_partition_is_described_by_itself() -> None:
    ctx = FakeContext(broker_count=2)
    ctx.harness.create("t", assignments={0: [1, 2], 1: [2, 1], 2: [1, 2]})
    ctx.harness.alter_isr("t", [1], index=2)
    ctx.harness.heartbeat(2, fence=True)
    asked = call("DescribeTopicPartitions", 0, topics=[REQUEST.TopicRequest(name="t")])
    answer = received("DescribeTopicPartitions", 0, metadata.describe_topic_partitions(ctx, asked))
    fields = ("partition_index", "error_code", "leader_id", "leader_epoch", "replica_nodes", "isr_nodes", "offline_replicas")
    assert [tuple(getattr(each, field) for field in fields) for each in answer.topics[0].partitions] == [
        (0, 0, 1, 0, [1, 2], [1], [2]), (1, 0, 1, 1, [2, 1], [1], [2]), (2, 0, 1, 0, [1, 2], [1], [2]),
    ]  # fmt: skip


def test_a_limit_below_1_is_1(ctx) -> None:
    assert pages(ctx, "one", limit=0) == pages(ctx, "one", limit=-7) == ([("one", 0, [0])], ("one", 1))


def test_a_cursor_goes_on_where_the_page_before_ended(ctx) -> None:
    assert pages(ctx, "one", "two", cursor=("one", 1)) == ([("one", 0, [1]), ("two", 0, [0])], None)
    assert pages(ctx, cursor=("p", 0)) == ([("two", 0, [0])], None)


@pytest.mark.parametrize("cursor", [("a", 0), ("zzz", 0), ("", 0), ("one", -1)])
def test_a_cursor_that_fits_no_topic_of_the_request_is_refused_for_each(ctx, cursor: tuple[str, int]) -> None:
    assert pages(ctx, "one", "two", cursor=cursor) == ([("one", 42, []), ("two", 42, [])], None)


def test_unknown_topics_take_nothing_of_the_limit(ctx) -> None:
    rows, after = pages(ctx, "no-such", "no such", "one", limit=2)
    assert rows == [("no such", 17, []), ("no-such", 3, []), ("one", 0, [0, 1])]
    assert after is None
