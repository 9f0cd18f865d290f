from __future__ import annotations

import pytest

from cluster.metadata.features import SUPPORTED
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import Code
from tests.cluster.metadata.harness import Harness, directory


def test_a_registered_broker_is_fenced_until_it_is_caught_up_and_wants_to_serve() -> None:
    harness = Harness(0)
    epoch = harness.register(1).broker_epoch
    assert harness.image.brokers[1].is_fenced
    behind = harness.heartbeat(1, offset=epoch - 1)
    assert (behind.is_caught_up, behind.is_fenced) == (False, True)
    waiting = harness.heartbeat(1, fence=True)
    assert (waiting.is_caught_up, waiting.is_fenced) == (True, True)
    ready = harness.heartbeat(1, offset=epoch)
    assert (ready.is_caught_up, ready.is_fenced, ready.should_shut_down) == (True, False, False)
    assert harness.image.brokers[1].is_active


def test_the_broker_epoch_is_the_offset_of_the_registration() -> None:
    harness = Harness(0)
    epoch = harness.register(1).broker_epoch
    assert harness.log[epoch].body.broker_id == 1
    assert harness.log[epoch].body.broker_epoch == epoch


def test_the_same_process_registers_again_at_the_same_epoch() -> None:
    harness = Harness(1)
    before = harness.epochs[1]
    assert harness.register(1).broker_epoch == before
    assert not harness.image.brokers[1].is_fenced


def test_another_process_waits_until_the_session_of_the_first_is_over() -> None:
    harness = Harness(1)
    assert harness.register(1, b"second").error_code == Code.DUPLICATE_BROKER_REGISTRATION
    harness.pass_time(9001)
    first = harness.epochs[1]
    assert harness.register(1, b"second").error_code == 0
    assert harness.epochs[1] > first
    assert harness.heartbeat(1, broker_epoch=first).error_code == Code.STALE_BROKER_EPOCH


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"cluster_id": "other"}, Code.INCONSISTENT_CLUSTER_ID),
        ({"log_dirs": []}, Code.INVALID_REGISTRATION),
        ({"log_dirs": [b"x" * 16, b"x" * 16]}, Code.INVALID_REGISTRATION),
        ({"log_dirs": [bytes(15) + b"\x01"]}, Code.INVALID_REGISTRATION),
        ({"log_dirs": [directory(1)]}, Code.INVALID_REGISTRATION),
        ({"features": []}, Code.UNSUPPORTED_VERSION),
        ({"broker_id": -1}, Code.INVALID_REQUEST),
    ],
)
def test_a_wrong_registration_is_refused(changes: dict[str, object], code: Code) -> None:
    harness = Harness(1)
    assert harness.register(2, **changes).error_code == code


@pytest.mark.parametrize("name", sorted(set(SUPPORTED) - {"kraft.version"}))
def test_a_broker_must_offer_every_finalised_level(name: str) -> None:
    message = api("BrokerRegistration").request
    features = [
        message.Feature(name=each, min_supported_version=low, max_supported_version=high if each != name else low)
        for each, (low, high) in SUPPORTED.items()
    ]
    assert Harness(0).register(1, features=features).error_code == Code.UNSUPPORTED_VERSION


def test_a_broker_that_falls_silent_is_fenced_and_loses_its_leaderships() -> None:
    harness = Harness(2)
    harness.made("t", assignments={0: [1, 2]})
    harness.pass_time(5000)
    harness.heartbeat(2)
    harness.pass_time(5000)
    assert harness.image.brokers[1].is_fenced and not harness.image.brokers[2].is_fenced
    partition = harness.partition("t")
    assert (partition.leader, partition.isr, partition.leader_epoch) == (2, (2,), 1)


def test_heartbeats_keep_the_session_alive() -> None:
    harness = Harness(1)
    for _ in range(5):
        harness.pass_time(8000)
        harness.heartbeat(1)
    assert not harness.image.brokers[1].is_fenced


def test_a_broker_may_ask_to_be_fenced() -> None:
    harness = Harness(2)
    harness.made("t", assignments={0: [1, 2]})
    assert harness.heartbeat(1, fence=True).is_fenced
    assert harness.partition("t").leader == 2


def test_controlled_shutdown_moves_leaders_waits_for_the_others_and_ends_fenced() -> None:
    harness = Harness(2)
    harness.made("t", assignments={0: [1, 2]})
    harness.heartbeat(2, offset=0)
    first = harness.heartbeat(1, shut_down=True)
    assert (first.is_fenced, first.should_shut_down) == (False, False)
    assert harness.image.brokers[1].is_in_controlled_shutdown
    assert (harness.partition("t").leader, harness.partition("t").isr) == (2, (2,))
    assert not harness.heartbeat(1, shut_down=True).should_shut_down, "broker 2 has not applied the change yet"
    harness.heartbeat(2)
    last = harness.heartbeat(1, shut_down=True)
    assert (last.is_fenced, last.should_shut_down) == (True, True)


def test_the_only_broker_shuts_down_at_once_and_comes_back_to_lead() -> None:
    harness = Harness(1)
    harness.made("t")
    harness.heartbeat(1, shut_down=True)
    assert harness.heartbeat(1, shut_down=True).should_shut_down
    alone = harness.partition("t")
    assert (alone.leader, alone.isr, alone.eligible_leader_replicas) == (-1, (), (1,))
    harness.pass_time(9001)
    harness.register(1, b"second", previous_epoch=harness.epochs[1])
    harness.heartbeat(1)
    back = harness.partition("t")
    assert (back.leader, back.isr, back.eligible_leader_replicas, back.leader_recovery_state) == (1, (1,), (), 0)


def test_a_lone_node_writes_nothing_for_its_clean_stop_and_leads_what_it_led() -> None:
    harness = Harness(1, node_id=1)
    harness.made("t", partitions=3)
    led, written = harness.partition("t", 2), len(harness.log)
    assert harness.heartbeat(1, shut_down=True).should_shut_down
    assert len(harness.log) == written
    harness.restart()
    harness.register(1, b"second", previous_epoch=harness.epochs[1])
    harness.heartbeat(1)
    assert len(harness.log) == written + 2, "its registration and its unfencing"
    assert harness.partition("t", 2) == led


def test_a_lone_node_back_from_an_unclean_stop_is_elected_anew() -> None:
    harness = Harness(1, node_id=1)
    harness.made("t")
    harness.restart()
    harness.register(1, b"second", previous_epoch=-1)
    assert (harness.partition("t").leader, harness.partition("t").last_known_elr) == (-1, (1,))
    harness.heartbeat(1)
    assert (harness.partition("t").leader, harness.partition("t").leader_recovery_state) == (1, 1)


def test_a_lone_node_leads_nothing_of_a_directory_that_it_comes_back_without() -> None:
    harness = Harness(1, node_id=1)
    harness.made("t")
    assert harness.heartbeat(1, shut_down=True).should_shut_down
    harness.restart()
    harness.register(1, b"second", previous_epoch=harness.epochs[1], log_dirs=[b"other directory."])
    harness.heartbeat(1)
    assert harness.partition("t").leader == -1


def test_one_of_several_brokers_moves_its_leaderships_though_it_is_the_controller_too() -> None:
    harness = Harness(2, node_id=1)
    harness.made("t", assignments={0: [1, 2]})
    assert not harness.heartbeat(1, shut_down=True).should_shut_down
    assert harness.partition("t").leader == 2


def test_a_broker_back_from_an_unclean_stop_has_no_standing_but_as_last_known_leader() -> None:
    harness = Harness(1)
    harness.made("t")
    harness.pass_time(9001)
    harness.register(1, b"second", previous_epoch=-1)
    lost = harness.partition("t")
    assert (lost.isr, lost.eligible_leader_replicas, lost.last_known_elr) == ((), (), (1,))
    harness.heartbeat(1)
    back = harness.partition("t")
    assert (back.leader, back.isr, back.leader_recovery_state) == (1, (1,), 1)


def test_an_unregistered_broker_is_gone_with_its_leaderships() -> None:
    harness = Harness(2)
    harness.made("t", assignments={0: [1, 2]})
    assert harness.ask("UnregisterBroker", 0, broker_id=1).error_code == 0
    assert set(harness.image.brokers) == {2}
    assert harness.partition("t").leader == 2
    assert harness.ask("UnregisterBroker", 0, broker_id=1).error_code == Code.BROKER_ID_NOT_REGISTERED


def test_heartbeats_of_strangers_are_stale() -> None:
    harness = Harness(1)
    assert harness.heartbeat(1, broker_id=7).error_code == Code.STALE_BROKER_EPOCH


def test_a_failed_directory_costs_the_replicas_in_it() -> None:
    harness = Harness(1)
    other = b"other directory."
    harness.register(2, log_dirs=[directory(2), other])
    harness.heartbeat(2)
    topic_id = harness.made("t", assignments={0: [2, 1], 1: [2, 1]})
    message = api("AssignReplicasToDirs").request

    def assign(directory_id: bytes, index: int) -> int:
        partition = message.PartitionData(partition_index=index)
        topic = message.TopicData(topic_id=topic_id, partitions=[partition])
        answer = harness.ask(
            "AssignReplicasToDirs", 0, broker_id=2, broker_epoch=harness.epochs[2],
            directories=[message.DirectoryData(id=directory_id, topics=[topic])],
        )
        return answer.directories[0].topics[0].partitions[0].error_code

    assert assign(directory(2), 0) == 0 and assign(other, 1) == 0
    assert assign(other, 9) == Code.UNKNOWN_TOPIC_OR_PARTITION
    harness.heartbeat(2, offline_log_dirs=[other])
    assert harness.partition("t", 0).leader == 2
    assert (harness.partition("t", 1).leader, harness.partition("t", 1).isr) == (1, (1,))
    assert harness.image.brokers[2].log_dirs == (directory(2),)


def test_controllers_register_and_leave() -> None:
    harness = Harness(0)
    fields = {"controller_id": 101, "incarnation_id": b"i" * 16, "zk_migration_ready": False}
    assert harness.ask("ControllerRegistration", 0, **fields).error_code == 0
    assert set(harness.image.controllers) == {101}
    assert harness.ask("UnregisterController", 0, controller_id=101).error_code == 0
    assert not harness.image.controllers
    assert harness.ask("UnregisterController", 0, controller_id=101).error_code == Code.CONTROLLER_ID_NOT_REGISTERED
