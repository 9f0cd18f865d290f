"""How an error of a whole request becomes the response of its API."""

from __future__ import annotations

import pytest

from cluster.handlers.dispatch import BROKER_HANDLERS, CONTROLLER_HANDLERS, error_response, offered
from pykafkacore.protocol.apis import BROKER, CONTROLLER, api
from pykafkacore.protocol.errors import ApiError, Code
from tests.cluster.handlers.fake import call

ERROR = ApiError(Code.NOT_CONTROLLER, "not here")


def test_what_is_offered_is_what_has_a_handler_and_belongs_to_the_listener() -> None:
    assert {row.name for row in offered(BROKER)} == set(BROKER_HANDLERS)
    assert {row.name for row in offered(CONTROLLER)} == set(CONTROLLER_HANDLERS)
    assert all(CONTROLLER in row.listeners for row in offered(CONTROLLER))


def test_an_error_at_the_top_is_put_there() -> None:
    answer = error_response(call("DescribeCluster", 0), ERROR)
    assert (answer.error_code, answer.error_message) == (Code.NOT_CONTROLLER, "not here")


def test_an_error_without_words_has_none() -> None:
    assert error_response(call("DescribeCluster", 0), ApiError(Code.NOT_CONTROLLER)).error_message is None


def test_a_refused_producer_has_no_epoch() -> None:
    answer = error_response(call("InitProducerId", 4, transactional_id=""), ERROR)
    assert (answer.producer_id, answer.producer_epoch) == (-1, -1)


@pytest.mark.parametrize("name", ["JoinGroup", "SyncGroup", "Heartbeat", "InitProducerId", "DescribeCluster", "Metadata"])
def test_a_refusal_can_be_written_in_every_version(name: str) -> None:
    row = api(name)
    for version in range(row.oldest, row.latest_served() + 1):
        answer = row.response.decode(row.response.encode(error_response(call(name, version), ERROR), version), version)
        assert (name == "Metadata" and version < 13) or answer.error_code == Code.NOT_CONTROLLER


def test_where_there_is_no_top_every_item_gets_the_error() -> None:
    create = api("CreateTopics").request
    topics = [create.CreatableTopic(name="a"), create.CreatableTopic(name="b")]
    answer = error_response(call("CreateTopics", 7, topics=topics), ERROR)
    assert [(row.name, row.error_code) for row in answer.topics] == [("a", 41), ("b", 41)]

    delete = api("DeleteTopics").request
    by_id = error_response(call("DeleteTopics", 6, topics=[delete.DeleteTopicState(topic_id=b"i" * 16)]), ERROR)
    by_name = error_response(call("DeleteTopics", 5, topic_names=["a"]), ERROR)
    assert [(row.name, row.topic_id, row.error_code) for row in by_id.responses] == [(None, b"i" * 16, 41)]
    assert [(row.name, row.error_code) for row in by_name.responses] == [("a", 41)]

    commit = api("OffsetCommit").request
    rows = [commit.OffsetCommitRequestPartition(partition_index=index) for index in (0, 3)]
    answer = error_response(call("OffsetCommit", 9, topics=[commit.OffsetCommitRequestTopic(name="a", partitions=rows)]), ERROR)
    assert [(row.partition_index, row.error_code) for row in answer.topics[0].partitions] == [(0, 41), (3, 41)]


def test_a_refused_reassignment_says_so_as_a_whole_and_for_each_partition() -> None:
    message = api("AlterPartitionReassignments").request
    rows = [message.ReassignablePartition(partition_index=index, replicas=[1]) for index in (0, 3)]
    asked = call("AlterPartitionReassignments", 1, topics=[message.ReassignableTopic(name="a", partitions=rows)])
    answer = error_response(asked, ERROR)
    assert (answer.error_code, answer.error_message) == (41, "not here")
    [topic] = answer.responses
    told = [(row.partition_index, row.error_code, row.error_message) for row in topic.partitions]
    assert (topic.name, told) == ("a", [(0, 41, "not here"), (3, 41, "not here")])


@pytest.mark.parametrize("name", ["DescribeConfigs", "ListOffsets"])
def test_an_api_without_a_place_for_it_gets_no_answer(name: str) -> None:
    assert error_response(call(name, 4), ERROR) is None
