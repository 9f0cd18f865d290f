from __future__ import annotations

from typing import Any

import pytest

from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import ApiError, Code
from tests.cluster.metadata.harness import Harness


def reassign(harness: Harness, replicas: list[int] | None, name: str = "t", index: int = 0, **fields: Any) -> int:
    message = api("AlterPartitionReassignments").request
    partition = message.ReassignablePartition(partition_index=index, replicas=replicas)
    topic = message.ReassignableTopic(name=name, partitions=[partition])
    answer = harness.ask("AlterPartitionReassignments", 1, topics=[topic], **fields)
    return answer.responses[0].partitions[0].error_code


def elect(harness: Harness, kind: int, *partitions: int) -> list[int]:
    message = api("ElectLeaders").request
    topics = [message.TopicPartitions(topic="t", partitions=list(partitions))]
    answer = harness.ask("ElectLeaders", 2, election_type=kind, topic_partitions=topics)
    return [each.error_code for each in answer.replica_election_results[0].partition_result]


def harness_with_topic(**kwargs: Any) -> Harness:
    harness = Harness(4)
    harness.made("t", assignments={0: [1, 2]}, **kwargs)
    return harness


def test_a_reassignment_ends_when_the_added_replicas_are_in_sync() -> None:
    harness = harness_with_topic()
    assert reassign(harness, [3, 4]) == 0
    moving = harness.partition("t")
    assert (moving.replicas, moving.adding_replicas, moving.removing_replicas) == ((3, 4, 1, 2), (3, 4), (1, 2))
    assert moving.leader == 1
    assert harness.alter_isr("t", [1, 2, 3]).error_code == 0
    assert harness.partition("t").is_reassigning
    assert harness.alter_isr("t", [1, 2, 3, 4]).error_code == Code.NEW_LEADER_ELECTED
    done = harness.partition("t")
    assert (done.replicas, done.isr, done.leader, done.is_reassigning) == ((3, 4), (3, 4), 3, False)
    assert done.leader_epoch == moving.leader_epoch + 1


def test_ongoing_reassignments_are_listed() -> None:
    harness = harness_with_topic()
    assert not harness.ask("ListPartitionReassignments", 0).topics
    reassign(harness, [1, 3])
    [topic] = harness.ask("ListPartitionReassignments", 0).topics
    [partition] = topic.partitions
    assert (topic.name, partition.adding_replicas, partition.removing_replicas) == ("t", [3], [2])


def test_a_reassignment_without_time_to_do_it_is_refused_and_one_of_nothing_is_answered() -> None:
    harness = harness_with_topic()
    message = api("AlterPartitionReassignments").request
    wanted = message.ReassignablePartition(partition_index=0, replicas=[3, 4])
    topics = [message.ReassignableTopic(name="t", partitions=[wanted])]
    refused = harness.ask("AlterPartitionReassignments", 1, topics=topics, timeout_ms=0)
    assert isinstance(refused, ApiError) and refused.code == Code.REQUEST_TIMED_OUT
    assert not harness.partition("t").is_reassigning
    answer = harness.ask("AlterPartitionReassignments", 1, topics=[], timeout_ms=0)
    assert (answer.error_code, answer.error_message, answer.responses) == (0, "", [])


def test_a_cancelled_reassignment_leaves_things_as_they_were() -> None:
    harness = harness_with_topic()
    before = harness.partition("t")
    reassign(harness, [3, 4])
    harness.alter_isr("t", [1, 2, 3])
    assert reassign(harness, None) == 0
    after = harness.partition("t")
    assert (after.replicas, after.isr, after.leader) == (before.replicas, before.isr, before.leader)
    assert not after.is_reassigning
    assert reassign(harness, None) == Code.NO_REASSIGNMENT_IN_PROGRESS


@pytest.mark.parametrize(
    ("replicas", "fields", "code"),
    [
        ([], {}, Code.INVALID_REPLICA_ASSIGNMENT),
        ([1, 1], {}, Code.INVALID_REPLICA_ASSIGNMENT),
        ([1, 9], {}, Code.INVALID_REPLICA_ASSIGNMENT),
        ([1, 2, 3], {"allow_replication_factor_change": False}, Code.INVALID_REPLICATION_FACTOR),
        ([1, 2, 3], {}, Code.NONE),
        ([1], {"name": "none"}, Code.UNKNOWN_TOPIC_OR_PARTITION),
        ([1], {"index": 5}, Code.UNKNOWN_TOPIC_OR_PARTITION),
    ],
)
def test_wrong_targets_are_refused(replicas: list[int], fields: dict[str, Any], code: Code) -> None:
    assert reassign(harness_with_topic(), replicas, **fields) == code


def test_removing_a_replica_only_is_done_at_once() -> None:
    harness = harness_with_topic()
    assert reassign(harness, [2]) == 0
    partition = harness.partition("t")
    assert (partition.replicas, partition.isr, partition.leader, partition.is_reassigning) == ((2,), (2,), 2, False)


def test_the_preferred_replica_is_elected_when_it_is_in_sync() -> None:
    harness = harness_with_topic()
    assert elect(harness, 0, 0) == [Code.ELECTION_NOT_NEEDED]
    harness.heartbeat(1, fence=True)
    assert elect(harness, 0, 0, 7) == [Code.PREFERRED_LEADER_NOT_AVAILABLE, Code.UNKNOWN_TOPIC_OR_PARTITION]
    harness.heartbeat(1)
    harness.alter_isr("t", [1, 2])
    assert harness.partition("t").leader == 2
    assert elect(harness, 0, 0) == [0]
    assert harness.partition("t").leader == 1


def test_an_unclean_election_takes_whoever_is_there() -> None:
    harness = harness_with_topic()
    harness.heartbeat(2, fence=True)
    harness.heartbeat(1, fence=True)
    assert harness.partition("t").leader == -1
    assert elect(harness, 1, 0) == [Code.ELIGIBLE_LEADERS_NOT_AVAILABLE]
    harness.heartbeat(2)
    assert harness.partition("t").leader == -1, "2 was not in sync any more when 1 went"
    assert elect(harness, 1, 0) == [0]
    after = harness.partition("t")
    assert (after.leader, after.isr, after.leader_recovery_state) == (2, (2,), 1)
    assert elect(harness, 1, 0) == [Code.ELECTION_NOT_NEEDED]


def test_leaderships_go_back_to_the_preferred_replicas_by_schedule() -> None:
    harness = Harness(2, static={"auto.leader.rebalance.enable": "true", "broker.session.timeout.ms": "1000000"})
    harness.made("t", assignments={0: [1, 2]})
    harness.heartbeat(1, fence=True)
    harness.heartbeat(1)
    harness.alter_isr("t", [1, 2])
    assert harness.partition("t").leader == 2
    harness.pass_time(300_001)
    assert harness.partition("t").leader == 1


def test_topics_that_allow_it_get_an_unclean_leader_by_themselves() -> None:
    harness = harness_with_topic(configs={"unclean.leader.election.enable": "true"})
    harness.heartbeat(2, fence=True)
    harness.heartbeat(1, fence=True)
    harness.heartbeat(2)
    assert (harness.partition("t").leader, harness.partition("t").leader_recovery_state) == (2, 1)
