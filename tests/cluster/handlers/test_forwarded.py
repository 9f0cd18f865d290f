"""DescribeQuorum's own rules."""

from __future__ import annotations

import pytest

from cluster.handlers import forwarded
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import Code
from tests.cluster.handlers.fake import FakeContext, call, done

QUORUM = api("DescribeQuorum")


def asked(*partitions: tuple[str, int], api_version: int = 2):
    message = QUORUM.request
    topics = [
        message.TopicData(topic_name=name, partitions=[message.PartitionData(partition_index=index)])
        for name, index in partitions
    ]
    return call("DescribeQuorum", api_version, topics=topics)


@pytest.mark.parametrize("partitions", [[("one", 0)], [("__cluster_metadata", 1)], [("__cluster_metadata", 0), ("one", 0)]])
def test_all_but_the_metadata_log_alone_is_unknown(partitions: list[tuple[str, int]]) -> None:
    answer = done(forwarded.describe_quorum(FakeContext(), asked(*partitions)))
    rows = [row for topic in answer.topics for row in topic.partitions]
    assert [row.error_code for row in rows] == [Code.UNKNOWN_TOPIC_OR_PARTITION] * len(partitions)
    assert answer.error_code == Code.NONE


def test_who_asks_for_nothing_is_told_nothing() -> None:
    answer = done(forwarded.describe_quorum(FakeContext(), asked()))
    assert (answer.error_code, answer.topics) == (Code.NONE, [])


@pytest.mark.parametrize("api_version", [0, 1, 2])
def test_directory_ids_go_to_those_who_can_read_them(api_version: int) -> None:
    ctx, message = FakeContext(), QUORUM.response
    voter = message.ReplicaState(replica_id=1, replica_directory_id=b"d" * 16)
    partition = message.PartitionData(partition_index=0, current_voters=[voter])
    ctx.quorum = message(topics=[message.TopicData(topic_name="__cluster_metadata", partitions=[partition])])
    answer = done(forwarded.describe_quorum(ctx, asked(("__cluster_metadata", 0), api_version=api_version)))
    [told] = QUORUM.response.decode(QUORUM.response.encode(answer, api_version), api_version).topics[0].partitions
    assert told.current_voters[0].replica_directory_id == (b"d" * 16 if api_version >= 2 else bytes(16))
