from __future__ import annotations

from typing import Any

import pytest

from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import Code
from tests.cluster.metadata.harness import Harness


def harness_with_topic() -> Harness:
    harness = Harness(3)
    harness.made("t", assignments={0: [1, 2, 3]})
    return harness


def test_the_leader_shrinks_and_grows_the_isr() -> None:
    harness = harness_with_topic()
    shrunk = harness.alter_isr("t", [1, 2])
    assert (shrunk.error_code, shrunk.isr, shrunk.partition_epoch, shrunk.leader_epoch) == (0, [1, 2], 1, 0)
    assert harness.partition("t").isr == (1, 2)
    assert harness.alter_isr("t", [1, 2, 3]).isr == [1, 2, 3]
    assert harness.partition("t").partition_epoch == 2


def test_a_proposal_of_what_is_so_already_writes_nothing() -> None:
    harness = harness_with_topic()
    before = len(harness.log)
    answer = harness.alter_isr("t", [1, 2, 3])
    assert (answer.error_code, answer.partition_epoch) == (0, 0)
    assert len(harness.log) == before


@pytest.mark.parametrize(
    ("isr", "changes", "code"),
    [
        ([1, 2], {"leader_epoch": 5}, Code.NOT_CONTROLLER),
        ([1, 2], {"partition_epoch": 5}, Code.NOT_CONTROLLER),
        ([1, 2], {"partition_epoch": -1}, Code.INVALID_UPDATE_VERSION),
        ([1, 2], {"leader_epoch": -1}, Code.FENCED_LEADER_EPOCH),
        ([], {}, Code.INVALID_REQUEST),
        ([2, 3], {}, Code.INVALID_REQUEST),
        ([1, 1], {}, Code.INVALID_REQUEST),
        ([1, 9], {}, Code.INVALID_REQUEST),
        ([1, 2], {"leader_recovery_state": 1}, Code.INVALID_REQUEST),
        ([1], {"leader_recovery_state": 1}, Code.INVALID_REQUEST),
        ([1], {"leader_recovery_state": 7}, Code.INVALID_REQUEST),
        ([1, 2], {"partition_index": 9}, Code.UNKNOWN_TOPIC_OR_PARTITION),
    ],
)
def test_a_wrong_proposal_is_refused(isr: list[int], changes: dict[str, Any], code: Code) -> None:
    harness = harness_with_topic()
    assert harness.alter_isr("t", isr, **changes).error_code == code
    assert harness.partition("t").partition_epoch == 0


def test_a_follower_proposes_nothing() -> None:
    harness = harness_with_topic()
    assert harness.alter_isr("t", [1, 2], leader=2).error_code == Code.INVALID_REQUEST


def test_a_fenced_broker_does_not_come_in() -> None:
    harness = harness_with_topic()
    harness.heartbeat(3, fence=True)
    assert harness.partition("t").isr == (1, 2)
    assert harness.alter_isr("t", [1, 2, 3]).error_code == Code.INELIGIBLE_REPLICA


def test_a_broker_that_has_restarted_since_does_not_come_in_by_its_old_merits() -> None:
    harness = harness_with_topic()
    stale = dict(harness.epochs)
    harness.pass_time(8000)
    harness.heartbeat(1)
    harness.heartbeat(2)
    harness.pass_time(2000)
    harness.register(3, b"second")
    harness.heartbeat(3)
    message = api("AlterPartition").request
    members = [message.BrokerState(broker_id=each, broker_epoch=stale[each]) for each in (1, 2, 3)]
    assert harness.alter_isr("t", [], new_isr_with_epochs=members).error_code == Code.INELIGIBLE_REPLICA
    assert harness.alter_isr("t", [1, 2, 3]).error_code == 0


def test_an_unknown_topic_is_told_by_its_id() -> None:
    harness = harness_with_topic()
    message = api("AlterPartition").request
    topic = message.TopicData(topic_id=b"u" * 16, partitions=[message.PartitionData(partition_index=0)])
    answer = harness.ask("AlterPartition", 3, broker_id=1, broker_epoch=harness.epochs[1], topics=[topic])
    assert answer.topics[0].partitions[0].error_code == Code.UNKNOWN_TOPIC_ID


def test_a_stale_broker_epoch_fails_the_whole_request() -> None:
    harness = harness_with_topic()
    answer = harness.ask("AlterPartition", 3, broker_id=1, broker_epoch=0, topics=[])
    assert answer.error_code == Code.STALE_BROKER_EPOCH


def test_who_leaves_below_the_minimum_stays_eligible() -> None:
    harness = Harness(3)
    harness.made("t", assignments={0: [1, 2, 3]}, configs={"min.insync.replicas": "2"})
    harness.alter_isr("t", [1, 2])
    assert harness.partition("t").eligible_leader_replicas == ()
    harness.alter_isr("t", [1])
    assert harness.partition("t").eligible_leader_replicas == (2,)
    harness.alter_isr("t", [1, 3])
    assert harness.partition("t").eligible_leader_replicas == ()


def test_a_recovered_leader_says_so() -> None:
    harness = Harness(1)
    harness.made("t")
    harness.pass_time(9001)
    harness.register(1, b"second")
    harness.heartbeat(1)
    assert harness.partition("t").leader_recovery_state == 1
    assert harness.alter_isr("t", [1], leader_recovery_state=0).error_code == 0
    assert harness.partition("t").leader_recovery_state == 0
