from __future__ import annotations

from typing import Any

import pytest

from cluster.metadata.controller_state import Policies
from pykafkacore.policies import PolicyViolation
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import Code
from tests.cluster.metadata.harness import Harness, directory


def test_a_topic_gets_its_partitions_leaders_and_directories() -> None:
    harness = Harness(3)
    result = harness.create("orders", 6, 3)
    assert (result.error_code, result.num_partitions, result.replication_factor) == (0, 6, 3)
    topic = harness.image.topic_named("orders")
    assert topic is not None and topic.topic_id == result.topic_id and set(topic.partitions) == set(range(6))
    for partition in topic.partitions.values():
        assert sorted(partition.replicas) == [1, 2, 3]
        assert partition.isr == partition.replicas
        assert (partition.leader, partition.leader_epoch, partition.partition_epoch) == (partition.replicas[0], 0, 0)
        assert partition.directories == tuple(directory(replica) for replica in partition.replicas)
    assert sorted(partition.leader for partition in topic.partitions.values()) == [1, 1, 2, 2, 3, 3]


def test_minus_one_takes_the_brokers_defaults() -> None:
    harness = Harness(2, static={"num.partitions": "4", "default.replication.factor": "2"})
    result = harness.create("defaulted", -1, -1)
    assert (result.num_partitions, result.replication_factor) == (4, 2)


def test_the_answer_lists_the_effective_configs_with_their_sources() -> None:
    harness = Harness(1)
    result = harness.create("kept", configs={"retention.ms": "1000"})
    by_name = {config.name: config for config in result.configs}
    assert (by_name["retention.ms"].value, by_name["retention.ms"].config_source) == ("1000", 1)
    assert by_name["segment.bytes"].config_source == 5


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", Code.INVALID_TOPIC_EXCEPTION),
        (".", Code.INVALID_TOPIC_EXCEPTION),
        ("..", Code.INVALID_TOPIC_EXCEPTION),
        ("a" * 250, Code.INVALID_TOPIC_EXCEPTION),
        ("a b", Code.INVALID_TOPIC_EXCEPTION),
        ("naïve", Code.INVALID_TOPIC_EXCEPTION),
        ("__cluster_metadata", Code.INVALID_REQUEST),
        ("taken", Code.TOPIC_ALREADY_EXISTS),
        ("da_shed.name", Code.INVALID_TOPIC_EXCEPTION),
    ],
)
def test_a_wrong_name_is_refused(name: str, code: Code) -> None:
    harness = Harness(1)
    harness.made("taken")
    harness.made("da.shed_name")
    before = len(harness.log)
    assert harness.create(name).error_code == code
    assert len(harness.log) == before


def test_names_that_collide_within_one_request_are_refused() -> None:
    harness = Harness(1)
    message = api("CreateTopics").request
    topics = [message.CreatableTopic(name=name, num_partitions=1, replication_factor=1) for name in ("a.b", "a_b")]
    answer = harness.ask("CreateTopics", 7, topics=topics)
    assert [topic.error_code for topic in answer.topics] == [0, Code.INVALID_TOPIC_EXCEPTION]


@pytest.mark.parametrize(
    ("partitions", "factor", "code"),
    [
        (0, 1, Code.INVALID_PARTITIONS),
        (-2, 1, Code.INVALID_PARTITIONS),
        (1, 0, Code.INVALID_REPLICATION_FACTOR),
        (1, -2, Code.INVALID_REPLICATION_FACTOR),
        (1, 3, Code.INVALID_REPLICATION_FACTOR),
        (10_001, 1, Code.POLICY_VIOLATION),
    ],
)
def test_wrong_sizes_are_refused(partitions: int, factor: int, code: Code) -> None:
    assert Harness(2).create("sized", partitions, factor).error_code == code


def test_ten_thousand_partitions_are_created_at_once() -> None:
    harness = Harness(1)
    harness.made("big", 10_000)
    topic = harness.image.topic_named("big")
    assert topic is not None and len(topic.partitions) == 10_000


def test_without_an_unfenced_broker_nothing_is_created() -> None:
    harness = Harness(0)
    harness.register(1)
    assert harness.create("early").error_code == Code.INVALID_REPLICATION_FACTOR


def test_a_name_given_twice_is_refused_once_and_others_go_on() -> None:
    harness = Harness(1)
    message = api("CreateTopics").request
    topics = [
        message.CreatableTopic(name=name, num_partitions=1, replication_factor=1) for name in ("two", "one", "two")
    ]
    answer = harness.ask("CreateTopics", 7, topics=topics)
    assert [(topic.name, topic.error_code) for topic in answer.topics] == [("two", Code.INVALID_REQUEST), ("one", 0)]
    assert set(harness.image.topic_ids) == {"one"}


def test_validate_only_answers_as_if_and_writes_nothing() -> None:
    harness = Harness(1)
    before = len(harness.log)
    assert harness.create("dry", 3, validate_only=True).num_partitions == 3
    assert len(harness.log) == before and not harness.image.topics


@pytest.mark.parametrize("validate_only", [False, True])
@pytest.mark.parametrize("timeout_ms", [0, -1])
def test_a_time_out_of_nothing_is_over_at_once(timeout_ms: int, validate_only: bool) -> None:
    result = Harness(1).create("late", timeout_ms=timeout_ms, validate_only=validate_only)
    assert result.error_code == Code.REQUEST_TIMED_OUT


def test_replicas_may_be_given_by_hand() -> None:
    harness = Harness(3)
    harness.made("manual", assignments={0: [3, 1], 1: [2, 3]})
    assert harness.partition("manual", 0).replicas == (3, 1)
    assert harness.partition("manual", 1).leader == 2


@pytest.mark.parametrize(
    "assignments",
    [
        {1: [1]},
        {0: [1], 2: [1]},
        {0: []},
        {0: [1, 1]},
        {0: [1, 9]},
        {0: [1, 2], 1: [1]},
    ],
)
def test_wrong_replicas_by_hand_are_refused(assignments: dict[int, list[int]]) -> None:
    assert Harness(2).create("manual", assignments=assignments).error_code == Code.INVALID_REPLICA_ASSIGNMENT


def test_replicas_by_hand_must_include_an_active_broker() -> None:
    harness = Harness(1)
    harness.register(2)
    assert harness.create("manual", assignments={0: [2]}).error_code == Code.INVALID_REPLICA_ASSIGNMENT
    assert harness.create("manual", assignments={0: [2, 1]}).error_code == 0
    assert (harness.partition("manual").isr, harness.partition("manual").leader) == ((1,), 1)


@pytest.mark.parametrize(
    ("configs", "code"),
    [
        ({"no.such.key": "1"}, Code.INVALID_CONFIG),
        ({"retention.ms": "soon"}, Code.INVALID_CONFIG),
        ({"retention.ms": None}, Code.INVALID_CONFIG),
        ({"cleanup.policy": ""}, Code.NONE),
    ],
)
def test_configs_are_validated(configs: dict[str, str | None], code: Code) -> None:
    assert Harness(1).create("configured", configs=configs).error_code == code


class _Refuses:
    def __init__(self, error: Exception) -> None:
        self.error = error
        self.seen: list[Any] = []

    def validate(self, request_metadata: Any) -> None:
        self.seen.append(request_metadata)
        raise self.error


def test_a_policy_may_refuse_a_topic() -> None:
    policy = _Refuses(PolicyViolation("not on a Sunday"))
    result = Harness(1, Policies(create_topic=policy)).create("sunday", 2, configs={"retention.ms": "7"})
    assert (result.error_code, result.error_message) == (Code.POLICY_VIOLATION, "not on a Sunday")
    [seen] = policy.seen
    assert (seen.topic, seen.num_partitions, seen.replication_factor, seen.configs) == (
        "sunday", 2, 1, {"retention.ms": "7"}
    )  # fmt: skip


def test_a_policy_that_breaks_refuses_the_topic_and_nothing_else() -> None:
    harness = Harness(1, Policies(create_topic=_Refuses(ZeroDivisionError("oops"))))
    assert harness.create("sunday").error_code == Code.POLICY_VIOLATION
    assert harness.runtime.is_active


def delete(harness: Harness, api_version: int = 6, names: tuple[str, ...] = (), ids: tuple[bytes, ...] = ()) -> Any:
    message = api("DeleteTopics").request
    if api_version < 6:
        return harness.ask("DeleteTopics", api_version, topic_names=list(names), timeout_ms=1000).responses
    topics = [message.DeleteTopicState(name=name) for name in names]
    topics += [message.DeleteTopicState(name=None, topic_id=topic_id) for topic_id in ids]
    return harness.ask("DeleteTopics", api_version, topics=topics, timeout_ms=1000).responses


def test_topics_are_deleted_by_name_and_by_id_with_their_configs() -> None:
    harness = Harness(1)
    harness.made("one", configs={"retention.ms": "5"})
    two = harness.made("two")
    assert [each.error_code for each in delete(harness, names=("one",), ids=(two,))] == [0, 0]
    assert not harness.image.topics and not harness.image.topic_ids
    assert (2, "one") not in harness.image.configs


def test_deleting_what_is_not_there_says_so() -> None:
    harness = Harness(1)
    results = delete(harness, names=("none",), ids=(b"n" * 16,))
    assert [each.error_code for each in results] == [Code.UNKNOWN_TOPIC_OR_PARTITION, Code.UNKNOWN_TOPIC_ID]


def test_a_topic_named_twice_is_not_deleted_by_that_name() -> None:
    harness = Harness(1)
    harness.made("one")
    assert [each.error_code for each in delete(harness, 5, ("one", "one"))] == [Code.INVALID_REQUEST]
    assert "one" in harness.image.topic_ids


def test_deletion_can_be_switched_off() -> None:
    harness = Harness(1, static={"delete.topic.enable": "false"})
    harness.made("one")
    assert delete(harness, 3, ("one",))[0].error_code == Code.TOPIC_DELETION_DISABLED
    assert delete(harness, 2, ("one",))[0].error_code == Code.INVALID_REQUEST


def test_a_deleted_topic_can_be_created_again_with_a_new_id() -> None:
    harness = Harness(1)
    first = harness.made("again")
    delete(harness, names=("again",))
    assert harness.made("again") != first


def grow(harness: Harness, name: str, count: int, assignments: list[list[int]] | None = None, **fields: Any) -> Any:
    message = api("CreatePartitions").request
    given = None if assignments is None else [
        message.CreatePartitionsAssignment(broker_ids=each) for each in assignments
    ]
    topic = message.CreatePartitionsTopic(name=name, count=count, assignments=given)
    [result] = harness.ask("CreatePartitions", 3, topics=[topic], **{"timeout_ms": 1000, **fields}).results
    return result


def test_partitions_are_added_with_the_topics_replication_factor() -> None:
    harness = Harness(3)
    harness.made("grows", 1, 2)
    assert grow(harness, "grows", 4).error_code == 0
    topic = harness.image.topic_named("grows")
    assert topic is not None and set(topic.partitions) == {0, 1, 2, 3}
    assert all(len(partition.replicas) == 2 for partition in topic.partitions.values())


def test_partitions_may_be_added_by_hand() -> None:
    harness = Harness(3)
    harness.made("grows", 1, 2)
    assert grow(harness, "grows", 2, [[3, 2]]).error_code == 0
    assert harness.partition("grows", 1).replicas == (3, 2)


@pytest.mark.parametrize(
    ("name", "count", "assignments", "code"),
    [
        ("grows", 2, None, Code.INVALID_PARTITIONS),
        ("grows", 1, None, Code.INVALID_PARTITIONS),
        ("other", 2, None, Code.UNKNOWN_TOPIC_OR_PARTITION),
        ("grows", 4, [[1, 2]], Code.INVALID_REPLICA_ASSIGNMENT),
        ("grows", 3, [[1]], Code.INVALID_REPLICA_ASSIGNMENT),
        ("grows", 3, [[1, 7]], Code.INVALID_REPLICA_ASSIGNMENT),
    ],
)
def test_wrong_growth_is_refused(name: str, count: int, assignments: list[list[int]] | None, code: Code) -> None:
    harness = Harness(2)
    harness.made("grows", 2, 2)
    assert grow(harness, name, count, assignments).error_code == code


def test_growth_with_validate_only_writes_nothing() -> None:
    harness = Harness(1)
    harness.made("grows")
    assert grow(harness, "grows", 5, validate_only=True).error_code == 0
    topic = harness.image.topic_named("grows")
    assert topic is not None and len(topic.partitions) == 1
