"""Apache Kafka reads our directory, and we read what it left: topics, configs, records, offsets, there and back."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from pykafkacore.testing import Broker
from tests.support import apache
from tests.support.apache import ApacheKafka, run_tool
from tests.support.dumped import check_metadata, check_segments, partitions_of

pytestmark = [pytest.mark.oracle, pytest.mark.skipif(apache.missing() is not None, reason=str(apache.missing()))]

TOPICS = {
    "plain": {"config": {}, "partitions": 3},
    "compacted": {"config": {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.9"}, "partitions": 1},
    "small-segments": {"config": {"segment.bytes": "1048576", "compression.type": "lz4"}, "partitions": 2},
    "unwritten": {"config": {}, "partitions": 2},
}
UNWRITTEN = ("unwritten",)
WRITTEN = tuple(topic for topic in TOPICS if topic not in UNWRITTEN)


def admin(bootstrap: str):
    from confluent_kafka.admin import AdminClient

    return AdminClient({"bootstrap.servers": bootstrap})


def create_topics(bootstrap: str) -> None:
    from confluent_kafka.admin import NewTopic

    new = [NewTopic(name, spec["partitions"], 1, config=spec["config"]) for name, spec in TOPICS.items()]
    client = admin(bootstrap)
    for future in client.create_topics(new).values():
        future.result(30)


def produce(bootstrap: str, start: int, count: int, topics: tuple[str, ...] = WRITTEN, **config: object) -> None:
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, **config})
    for topic in topics:
        for number in range(start, start + count):
            value = f"{topic}:{number}:".encode() + Random(number).randbytes(400)
            producer.produce(topic, key=str(number % 97), value=value, headers=[("n", str(number).encode())])
            producer.poll(0)
    assert producer.flush(60) == 0


def read_all(bootstrap: str) -> dict[tuple[str, int], list[tuple]]:
    from confluent_kafka import Consumer, TopicPartition

    config = {"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False, "check.crcs": True}
    consumer = Consumer({**config, "enable.partition.eof": True})
    places = [TopicPartition(topic, p, 0) for topic, spec in TOPICS.items() for p in range(spec["partitions"])]
    found: dict[tuple[str, int], list[tuple]] = {(place.topic, place.partition): [] for place in places}
    consumer.assign(places)
    open_places = set(found)
    while open_places:
        message = consumer.poll(20)
        assert message is not None, f"nothing more comes; still open: {open_places}"
        key = (message.topic(), message.partition())
        if message.error():
            assert message.error().name() == "_PARTITION_EOF", message.error()
            open_places.discard(key)
            continue
        row = (message.offset(), message.timestamp(), message.key(), message.value(), message.headers())
        found[key].append(row)
    consumer.close()
    return found


def configs_of(bootstrap: str) -> dict[str, dict[str, str]]:
    from confluent_kafka.admin import ConfigResource

    resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in TOPICS]
    client = admin(bootstrap)
    described = client.describe_configs(resources)
    return {
        resource.name: {name: entry.value for name, entry in future.result(30).items() if entry.source == 1}
        for resource, future in described.items()
    }


def check_with_dump_log(data: Path) -> None:
    assert check_segments(partitions_of(data), "--deep-iteration") > 6, "small segments should have rolled"
    check_metadata(data)


def test_apache_starts_on_our_directory_and_we_start_on_what_it_left(directory: Path) -> None:
    port, controller_port = apache.free_port(), apache.free_port()
    ours = {**apache.addresses(port, controller_port), "offsets.topic.num.partitions": "2"}
    with Broker(ours, data=directory) as broker:
        create_topics(broker.bootstrap_servers)
        produce(broker.bootstrap_servers, 0, 8000, **{"enable.idempotence": True})
        produce(broker.bootstrap_servers, 8000, 2000, **{"compression.type": "zstd"})
        before = read_all(broker.bootstrap_servers)
        configs = configs_of(broker.bootstrap_servers)
    assert sum(map(len, before.values())) == 30_000
    check_with_dump_log(directory / "kafka")
    assert not list((directory / "kafka").glob("unwritten-*/*.log")), "the file of a segment comes with its first batch"

    theirs = ApacheKafka(directory / "apache", port=port, controller_port=controller_port, log_dirs=str(directory / "kafka"))
    with theirs:
        assert read_all(theirs.bootstrap) == before
        assert configs_of(theirs.bootstrap) == configs
        produce(theirs.bootstrap, 10_000, 3000, **{"enable.idempotence": True})
        produce(theirs.bootstrap, 0, 1000, UNWRITTEN)
        between = read_all(theirs.bootstrap)
        run_tool("kafka-configs", "--bootstrap-server", theirs.bootstrap, "--alter", "--entity-type", "topics",
                 "--entity-name", "plain", "--add-config", "retention.ms=777777777")  # fmt: skip

    with Broker(ours, data=directory) as broker:
        assert read_all(broker.bootstrap_servers) == between
        assert configs_of(broker.bootstrap_servers)["plain"] == {**configs["plain"], "retention.ms": "777777777"}
        produce(broker.bootstrap_servers, 13_000, 1000, **{"enable.idempotence": True})
        produce(broker.bootstrap_servers, 1000, 1000, UNWRITTEN)
        after = read_all(broker.bootstrap_servers)
    assert {key: rows[: len(between[key])] for key, rows in after.items()} == between
    assert sum(map(len, after.values())) == 44_000
    check_with_dump_log(directory / "kafka")


def test_apache_recovers_partitions_that_nobody_has_written_to(directory: Path) -> None:
    port, controller_port = apache.free_port(), apache.free_port()
    ours = apache.addresses(port, controller_port)
    with Broker(ours, data=directory) as broker:
        create_topics(broker.bootstrap_servers)
    data = directory / "kafka"
    (data / ".kafka_cleanshutdown").unlink()
    for topic, spec in TOPICS.items():
        for index in range(spec["partitions"]):
            assert [each.name for each in (data / f"{topic}-{index}").iterdir()] == ["partition.metadata"]
    theirs = ApacheKafka(directory / "apache", port=port, controller_port=controller_port, log_dirs=str(data))
    with theirs:
        produce(theirs.bootstrap, 0, 500, tuple(TOPICS))
        before = read_all(theirs.bootstrap)
        assert sum(map(len, before.values())) == 2000
    with Broker(ours, data=directory) as broker:
        assert read_all(broker.bootstrap_servers) == before


def test_we_start_on_a_directory_that_apache_formatted_and_filled(directory: Path) -> None:
    theirs = ApacheKafka(directory / "apache", log_dirs=str(directory / "kafka"))
    theirs.format()
    with theirs:
        create_topics(theirs.bootstrap)
        produce(theirs.bootstrap, 0, 5000, **{"enable.idempotence": True})
        before, configs = read_all(theirs.bootstrap), configs_of(theirs.bootstrap)
    ours = apache.addresses(theirs.port, theirs.controller_port)
    with Broker(ours, data=directory) as broker:
        assert read_all(broker.bootstrap_servers) == before
        assert configs_of(broker.bootstrap_servers) == configs
        produce(broker.bootstrap_servers, 5000, 1000, **{"enable.idempotence": True})
        after = read_all(broker.bootstrap_servers)
    check_with_dump_log(directory / "kafka")
    with theirs:
        assert read_all(theirs.bootstrap) == after
