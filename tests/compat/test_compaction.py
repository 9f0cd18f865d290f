"""Compaction against Apache Kafka's own: the same input into both, compacted by both, and the same records survive.

Random keys, tombstones, headers, all codecs, transactions committed and aborted. Behind the input comes a fence of unique
keys, so that all of the input lies in segments that both have cleaned. Then each starts on the other's directory.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from pykafkacore.testing import Broker
from tests.support import apache
from tests.support.apache import ApacheKafka, run_tool

pytestmark = [pytest.mark.oracle, pytest.mark.skipif(apache.missing() is not None, reason=str(apache.missing()))]

CLEANER = {"log.cleaner.backoff.ms": "50", "log.initial.task.delay.ms": "50"}
CONFIG = {
    "cleanup.policy": "compact",
    "internal.segment.bytes": "65536",
    "min.cleanable.dirty.ratio": "0.01",
    "file.delete.delay.ms": "100",
}
TOPICS = {
    "kept": {**CONFIG, "delete.retention.ms": "3600000"},
    "buried": {**CONFIG, "delete.retention.ms": "1"},
}
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
START_MS = 1_700_000_000_000


class Writer:
    """Writes the same to any broker: what it sends is a matter of the seed."""

    def __init__(self, bootstrap: str, seed: int) -> None:
        self.bootstrap, self.random, self.clock_ms = bootstrap, Random(seed), START_MS

    def producer(self, **config: object):
        from confluent_kafka import Producer

        def delivered(error: object, _message: object) -> None:
            assert error is None, error

        facts = {"bootstrap.servers": self.bootstrap, "linger.ms": 5, "batch.size": 16000, "enable.idempotence": True}
        return Producer({**facts, "on_delivery": delivered, **config})

    def rows(self, count: int) -> Iterator[dict]:
        for _ in range(count):
            self.clock_ms += self.random.randrange(5)
            value = None if self.random.random() < 0.1 else self.random.randbytes(self.random.randrange(1, 200))
            headers = [("h", self.random.randbytes(3)), ("none", None)] if self.random.random() < 0.3 else []
            key = b"k%d" % self.random.randrange(120)
            yield {"key": key, "value": value, "headers": headers, "timestamp": self.clock_ms}

    def plain(self, topic: str, codec: str, count: int) -> None:
        producer = self.producer(**{"compression.type": codec})
        for row in self.rows(count):
            producer.produce(topic, partition=0, **row)
        assert producer.flush(30) == 0

    def transactions(self, topic: str, codec: str, count: int) -> None:
        producer = self.producer(**{"compression.type": codec, "transactional.id": f"{topic}-{codec}"})
        producer.init_transactions(30)
        for _ in range(count):
            commits = self.random.random() < 0.5
            producer.begin_transaction()
            for row in self.rows(self.random.randrange(1, 30)):
                producer.produce(topic, partition=0, **row)
            producer.flush(30)
            if commits:
                producer.commit_transaction(30)
            else:
                producer.abort_transaction(30)

    def fence(self, topic: str, name: str) -> None:
        """Enough for two segments more, each key once."""
        producer = self.producer()
        for number in range(700):
            self.clock_ms += 1
            producer.produce(topic, key=f"{name}-{number}", value=bytes(250), partition=0, timestamp=self.clock_ms)
        assert producer.flush(30) == 0


def create_topics(bootstrap: str) -> None:
    from confluent_kafka.admin import AdminClient, NewTopic

    new = [NewTopic(name, 1, 1, config=config) for name, config in TOPICS.items()]
    client = AdminClient({"bootstrap.servers": bootstrap})
    for future in client.create_topics(new).values():
        future.result(30)


def end_of(bootstrap: str, topic: str) -> int:
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "end"})
    end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)[1]
    consumer.close()
    return end


def read_all(bootstrap: str, topic: str, isolation: str) -> list[tuple]:
    from confluent_kafka import Consumer, TopicPartition

    config = {"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False, "check.crcs": True}
    consumer = Consumer({**config, "enable.partition.eof": True, "isolation.level": isolation})
    consumer.assign([TopicPartition(topic, 0, 0)])
    found = []
    while True:
        message = consumer.poll(20)
        assert message is not None, "nothing more comes"
        if message.error():
            assert message.error().name() == "_PARTITION_EOF", message.error()
            break
        found.append((message.offset(), message.timestamp(), message.key(), message.value(), message.headers()))
    consumer.close()
    return found


def wait_until_clean(data: Path, fences: dict[str, int]) -> None:
    end = time.monotonic() + 60
    while True:
        path = data / "cleaner-offset-checkpoint"
        found = dict(re.findall(r"^(\S+) 0 (\d+)$", path.read_text(), re.M)) if path.exists() else {}
        if all(int(found.get(topic, 0)) >= fence for topic, fence in fences.items()):
            return
        assert time.monotonic() < end, f"{found} of {fences} is clean"
        time.sleep(0.05)


def fill(bootstrap: str, data: Path) -> dict[str, int]:
    """The offset of each topic behind which nothing is compared."""
    create_topics(bootstrap)
    fences = {}
    for topic in TOPICS:
        writer = Writer(bootstrap, seed=7)
        for codec in CODECS:
            writer.plain(topic, codec, 400)
            writer.transactions(topic, codec, 12)
        fences[topic] = end_of(bootstrap, topic)
        writer.fence(topic, "first")
    wait_until_clean(data, fences)
    # A second cleaning, for what has to wait for its horizon.
    for topic in TOPICS:
        fence = end_of(bootstrap, topic)
        Writer(bootstrap, seed=8).fence(topic, "second")
        wait_until_clean(data, {topic: fence})
    return fences


def survivors(bootstrap: str, fences: dict[str, int]) -> dict[tuple[str, str], list[tuple]]:
    return {
        (topic, isolation): [row for row in read_all(bootstrap, topic, isolation) if row[0] < fence]
        for topic, fence in fences.items()
        for isolation in ("read_uncommitted", "read_committed")
    }


def check_with_dump_log(data: Path) -> None:
    for topic in TOPICS:
        files = sorted((data / f"{topic}-0").glob("*.log"))
        told = run_tool("kafka-dump-log", "--deep-iteration", "--files", ",".join(map(str, files)))
        assert "isvalid: false" not in told
        indexes = [
            file for kind in ("index", "timeindex", "txnindex") for file in (data / f"{topic}-0").glob(f"*.{kind}")
        ]
        told = run_tool("kafka-dump-log", "--files", ",".join(map(str, indexes)))
        for fault in ("Mismatches", "mismatch", "Found timestamp", "out of order"):
            assert fault not in told, told


def test_the_same_records_survive_and_each_reads_what_the_other_has_compacted(tmp_path: Path) -> None:
    port, controller_port = apache.free_port(), apache.free_port()
    ours = {**apache.addresses(port, controller_port), **CLEANER}
    with Broker(ours, data=tmp_path / "ours") as broker:
        fences = fill(broker.bootstrap_servers, broker.data)
        by_us = survivors(broker.bootstrap_servers, fences)
    check_with_dump_log(broker.data)

    options = {key.replace(".", "_"): value for key, value in CLEANER.items()}
    theirs = ApacheKafka(tmp_path / "apache", port=port, controller_port=controller_port, **options)
    theirs.format()
    with theirs:
        assert fill(theirs.bootstrap, theirs.data) == fences
        by_apache = survivors(theirs.bootstrap, fences)

    for key in by_us:
        assert by_us[key] == by_apache[key], key
    for topic in TOPICS:
        rows = by_us[topic, "read_committed"]
        assert len({row[2] for row in rows}) == len(rows), "each key once"
        assert rows == by_us[topic, "read_uncommitted"], "nothing aborted is left"
    assert any(row[3] is None for row in by_us["kept", "read_committed"])
    assert not any(row[3] is None for row in by_us["buried", "read_committed"])

    # Each on the other's directory, with its own cleaner at work.
    on_theirs = ApacheKafka(
        tmp_path / "on-ours", port=port, controller_port=controller_port, log_dirs=str(broker.data), **options
    )
    with on_theirs:
        assert survivors(on_theirs.bootstrap, fences) == by_us
    shutil.copytree(theirs.data, tmp_path / "copied" / "kafka")
    with Broker(ours, data=tmp_path / "copied") as broker:
        assert survivors(broker.bootstrap_servers, fences) == by_apache
