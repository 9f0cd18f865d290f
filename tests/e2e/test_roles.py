"""Brokers and controllers as separate processes; a quorum of three that loses its leader."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.nodes import Cluster

pytestmark = [pytest.mark.e2e, pytest.mark.compat]


def create(bootstrap: str, topic: str) -> None:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": bootstrap})
    deadline = time.monotonic() + 30
    while True:
        try:
            admin.create_topics([NewTopic(topic, 2, 1)], operation_timeout=10)[topic].result(15)
            return
        except KafkaException as error:
            if error.args[0].name() == "TOPIC_ALREADY_EXISTS":
                return
            assert time.monotonic() < deadline, error


def round_trip(bootstrap: str, topic: str) -> None:
    from confluent_kafka import Consumer, Producer, TopicPartition

    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    for number in range(100):
        producer.produce(topic, value=str(number), partition=0)
    assert producer.flush(20) == 0
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "g", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    values = [message.value() for message in consumer.consume(100, 20)]
    consumer.close()
    assert values == [str(number).encode() for number in range(100)]


def test_a_broker_and_a_controller_are_processes_of_their_own(tmp_path: Path) -> None:
    with Cluster(tmp_path, controllers=1, brokers=1) as cluster:
        create(cluster.bootstrap, "apart")
        round_trip(cluster.bootstrap, "apart")
        assert cluster.brokers[0].stop() == 0
        assert "shutting down" in cluster.brokers[0].log()
        cluster.brokers[0].start().wait()
        round_trip_again(cluster.bootstrap)


def round_trip_again(bootstrap: str) -> None:
    create(bootstrap, "after-restart")
    round_trip(bootstrap, "after-restart")


def test_a_quorum_of_three_goes_on_without_its_leader(tmp_path: Path) -> None:
    with Cluster(tmp_path, controllers=3, brokers=1) as cluster:
        create(cluster.bootstrap, "before")
        leaders = [node for node in cluster.controllers if "this controller leads" in node.log()]
        assert len(leaders) == 1, "one controller leads"
        leaders[0].kill()
        create(cluster.bootstrap, "after")
        round_trip(cluster.bootstrap, "after")
        leaders[0].start().wait()
        create(cluster.bootstrap, "with-all-three")
        round_trip(cluster.bootstrap, "with-all-three")
