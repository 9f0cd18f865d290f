"""The whole broker in this process: settings, policies, restarts, and what a blocked control plane leaves alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.broker.storage import METADATA_DIR
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import Code
from pykafkacore.protocol.headers import decode_response
from pykafkacore.testing import Broker
from tests.support.policies import POLICY, held_up
from tests.support.wire import Wire, batch_of, create_topic, fetch_frame, produce_frame

TOPIC, BROKER = 2, 4
SET, DELETE = 0, 1


def create(wire: Wire, name: str, partitions: int = 1, configs: dict[str, str] | None = None) -> int:
    message = api("CreateTopics").request
    rows = [message.CreatableTopicConfig(name=key, value=value) for key, value in (configs or {}).items()]
    topic = message.CreatableTopic(name=name, num_partitions=partitions, replication_factor=1, configs=rows)
    return wire.ask("CreateTopics", 7, message(topics=[topic], timeout_ms=10_000)).topics[0].error_code


def alter(wire: Wire, kind: int, name: str, key: str, value: str | None, operation: int = SET) -> int:
    message = api("IncrementalAlterConfigs").request
    config = message.AlterableConfig(name=key, config_operation=operation, value=value)
    resource = message.AlterConfigsResource(resource_type=kind, resource_name=name, configs=[config])
    return wire.ask("IncrementalAlterConfigs", 1, message(resources=[resource])).responses[0].error_code


def produce(wire: Wire, topic: str, batch: bytes, partition: int = 0) -> int:
    wire.send(produce_frame(topic, partition, batch, -1))
    answer = decode_response(api("Produce"), 9, wire.receive())[1]
    return answer.responses[0].partition_responses[0].error_code


def latest(wire: Wire, topic: str) -> int:
    message = api("ListOffsets").request
    place = message.ListOffsetsPartition(partition_index=0, timestamp=-1)
    request = message(replica_id=-1, topics=[message.ListOffsetsTopic(name=topic, partitions=[place])])
    return wire.ask("ListOffsets", 9, request).topics[0].partitions[0].offset


@pytest.fixture(scope="module")
def broker():
    with Broker() as broker:
        yield broker


@pytest.fixture
def wire(broker):
    wire = Wire(broker.port)
    yield wire
    wire.close()


def test_a_topic_is_served_as_soon_as_its_creation_is_answered(wire) -> None:
    for number in range(20):
        assert create(wire, f"at-once-{number}") == Code.NONE
        assert produce(wire, f"at-once-{number}", batch_of(100, 10)) == Code.NONE


def test_a_changed_topic_config_holds_from_its_answer_on(wire) -> None:
    create(wire, "tuned")
    assert produce(wire, "tuned", batch_of(5000, 1000)) == Code.NONE
    assert alter(wire, TOPIC, "tuned", "max.message.bytes", "2000") == Code.NONE
    assert produce(wire, "tuned", batch_of(5000, 1000)) == Code.MESSAGE_TOO_LARGE
    assert alter(wire, TOPIC, "tuned", "max.message.bytes", None, DELETE) == Code.NONE
    assert produce(wire, "tuned", batch_of(5000, 1000)) == Code.NONE


def test_a_changed_cluster_default_reaches_topics_that_do_not_say_otherwise(wire) -> None:
    create(wire, "inherits")
    create(wire, "insists", configs={"max.message.bytes": "100000"})
    assert alter(wire, BROKER, "", "message.max.bytes", "2000") == Code.NONE
    try:
        assert produce(wire, "inherits", batch_of(5000, 1000)) == Code.MESSAGE_TOO_LARGE
        assert produce(wire, "insists", batch_of(5000, 1000)) == Code.NONE
    finally:
        alter(wire, BROKER, "", "message.max.bytes", None, DELETE)
    assert produce(wire, "inherits", batch_of(5000, 1000)) == Code.NONE


def test_a_limit_of_connections_can_change_while_the_broker_runs() -> None:
    with Broker() as broker:
        first, second = Wire(broker.port), Wire(broker.port)
        assert alter(first, BROKER, "1", "max.connections.per.ip", "2") == Code.NONE
        assert create(second, "still-served") == Code.NONE
        refused = Wire(broker.port)
        with pytest.raises((ConnectionError, OSError)):
            create(refused, "refused")
        assert alter(first, BROKER, "1", "max.connections.per.ip", "3") == Code.NONE
        third = Wire(broker.port)
        assert create(third, "served-again") == Code.NONE
        for each in (first, second, refused, third):
            each.close()


def test_a_compacted_topic_refuses_records_without_a_key(wire) -> None:
    create(wire, "compacted", configs={"cleanup.policy": "compact"})
    assert produce(wire, "compacted", batch_of(100, 10)) == Code.INVALID_RECORD


def test_a_deleted_topic_is_unknown_at_once_and_its_name_is_free(wire) -> None:
    create(wire, "short-lived")
    produce(wire, "short-lived", batch_of(100, 10))
    message = api("DeleteTopics").request
    answer = wire.ask("DeleteTopics", 6, message(topics=[message.DeleteTopicState(name="short-lived")], timeout_ms=5000))
    assert answer.responses[0].error_code == Code.NONE
    assert produce(wire, "short-lived", batch_of(100, 10)) == Code.UNKNOWN_TOPIC_OR_PARTITION
    assert create(wire, "short-lived") == Code.NONE
    assert latest(wire, "short-lived") == 0


def test_asking_for_a_topic_makes_it_where_that_is_allowed(broker, wire) -> None:
    message = api("Metadata").request
    wanted = message(topics=[message.MetadataRequestTopic(name="made-by-asking")])
    assert wire.ask("Metadata", 9, wanted).topics[0].error_code == Code.NONE
    refused = message(topics=[message.MetadataRequestTopic(name="not-made")], allow_auto_topic_creation=False)
    assert wire.ask("Metadata", 9, refused).topics[0].error_code == Code.UNKNOWN_TOPIC_OR_PARTITION


def test_producer_ids_are_never_given_twice_even_across_a_restart(tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        with Broker(data=tmp_path) as broker:
            wire = Wire(broker.port)
            message = api("InitProducerId").request
            for _ in range(1200):
                answer = wire.ask("InitProducerId", 4, message(transactional_id=None, transaction_timeout_ms=1000))
                found.append(answer.producer_id)
            wire.close()
    assert len(set(found)) == len(found)


def test_records_topics_and_configs_survive_a_restart(tmp_path: Path) -> None:
    with Broker(data=tmp_path) as broker:
        wire = Wire(broker.port)
        create(wire, "kept", configs={"retention.ms": "123456"})
        for _ in range(5):
            produce(wire, "kept", batch_of(1000, 100))
        end = latest(wire, "kept")
        wire.close()
    with Broker(data=tmp_path) as broker:
        wire = Wire(broker.port)
        assert latest(wire, "kept") == end > 0
        message = api("DescribeConfigs").request
        resource = message.DescribeConfigsResource(resource_type=TOPIC, resource_name="kept", configuration_keys=None)
        told = wire.ask("DescribeConfigs", 4, message(resources=[resource])).results[0]
        assert {c.name: c.value for c in told.configs}["retention.ms"] == "123456"
        wire.send(fetch_frame("kept", 0, 0, 1 << 20))
        answer = decode_response(api("Fetch"), 12, wire.receive())[1]
        assert len(answer.responses[0].partitions[0].records) > 4000
        wire.close()


def test_metadata_is_snapshotted_by_size_and_read_back_from_the_snapshot(tmp_path: Path) -> None:
    with Broker({"metadata.log.max.record.bytes.between.snapshots": "20000"}, data=tmp_path) as broker:
        create_topic(broker.port, "many", 300)
        create_topic(broker.port, "more", 300)
    names = [path.name for path in (tmp_path / "kafka" / METADATA_DIR).glob("*.checkpoint")]
    assert [name for name in names if not name.startswith("0" * 20)], names
    with Broker(data=tmp_path) as broker:
        wire = Wire(broker.port)
        message = api("Metadata").request
        told = wire.ask("Metadata", 9, message(topics=None)).topics
        assert {topic.name: len(topic.partitions) for topic in told} == {"many": 300, "more": 300}
        wire.close()


def test_a_policy_in_python_refuses_topics_with_its_own_words() -> None:
    with Broker(POLICY) as broker:
        wire = Wire(broker.port)
        message = api("CreateTopics").request
        topic = message.CreatableTopic(name="forbidden-x", num_partitions=3, replication_factor=1)
        told = wire.ask("CreateTopics", 7, message(topics=[topic], timeout_ms=1000)).topics[0]
        assert (told.error_code, told.error_message) == (Code.POLICY_VIOLATION, "forbidden-x with 3 partitions")
        assert create(wire, "allowed") == Code.NONE
        wire.close()


def test_a_blocked_control_plane_leaves_produce_and_fetch_alone() -> None:
    with Broker(POLICY) as broker:
        create_topic(broker.port, "open", 1)
        with held_up(broker.port):
            wire = Wire(broker.port)
            wire.socket.settimeout(10)
            for _ in range(100):
                assert produce(wire, "open", batch_of(1000, 100)) == Code.NONE
            wire.send(fetch_frame("open", 0, 0, 1 << 20))
            assert len(wire.receive()) > 100_000 / 2
            wire.close()


def test_a_bad_setting_is_refused_with_key_and_value() -> None:
    with pytest.raises(Exception, match=r"num\.partitions.*many"), Broker({"num.partitions": "many"}):
        pass
    with pytest.raises(Exception, match="NoSuchPolicy"), Broker({"create.topic.policy.class.name": "no.such.NoSuchPolicy"}):
        pass


def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    import subprocess
    import sys

    with Broker(data=tmp_path):
        program = f"from pykafkacore.testing import Broker; Broker(data={str(tmp_path)!r}).start()"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode != 0
        assert "another broker has this log directory open" in done.stderr


def test_what_a_client_asks_before_the_broker_is_unfenced_is_answered_once_it_is() -> None:
    """A client that is told of no broker at all may ask again only minutes later."""
    from types import SimpleNamespace

    from cluster.broker.topic_parts import TopicParts
    from cluster.broker.upcall_pump import UpcallPump
    from pykafkacore.protocol.apis import api

    answered: list[tuple[int, bool]] = []
    plane = SimpleNamespace(respond=lambda ticket, body, close=False: answered.append((ticket, close)))
    node = SimpleNamespace(controller_listener_names=("CONTROLLER",))
    context = SimpleNamespace(node=node, has_controller=True)
    pump = UpcallPump(context, plane, None, ["PLAINTEXT"], TopicParts(context, None, ["PLAINTEXT"]))

    def asks(ticket: int, key: int, version: int) -> SimpleNamespace:
        return SimpleNamespace(
            ticket=ticket, api_key=key, api_version=version, listener=0, body=b"", client_id=None, peer_host="::1"
        )

    pump.on_request(asks(1, api("Metadata").key, 9))
    assert answered == []
    pump.open()
    assert answered == [(1, True)], "the empty body is malformed, and only now anybody looks at it"
    pump.on_request(asks(2, api("Metadata").key, 9))
    assert [ticket for ticket, _ in answered] == [1, 2]
