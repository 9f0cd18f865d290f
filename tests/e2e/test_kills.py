"""Brokers killed at full load, over and over, in both modes of durability: what clients were told is what is there.

    cached    acknowledged from the page cache, which outlives the process
    durable   flush.messages=1: acknowledged from the disk

A producer with idempotence and a reader go on through all kills and are told of none. One producer writes record n of a
partition with the number n, so that at any moment the log of a partition has to hold n at offset n: no loss, no duplicate, no
gap, and order are one comparison. KILLS=200 is the long form (`make kills`).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.support import apache
from tests.support.apache import ApacheKafka
from tests.support.dumped import check_metadata, check_segments, partitions_of
from tests.support.nodes import Node
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.compat]

KILLS = int(os.environ.get("KILLS", "10"))
KILLS_OF_A_ROUND = 10
PARTITIONS = 4
SMALL_SEGMENTS = {"segment.bytes": "1048576"}
MODES = {"cached": SMALL_SEGMENTS, "durable": {**SMALL_SEGMENTS, "flush.messages": "1"}}
DEADLINE_S = 60


def number_of(value: bytes) -> int:
    return int(value[: value.index(b":")])


class Writer(threading.Thread):
    """Writes as quickly as it is let, and holds every acknowledgement against the number that it is for."""

    def __init__(self, bootstrap: str, topic: str, seed: int) -> None:
        super().__init__(daemon=True)
        from confluent_kafka import Producer

        self.topic = topic
        self.sent = [0] * PARTITIONS
        self.acknowledged = [0] * PARTITIONS
        self.faults: list[str] = []
        self.stopping = False
        self._fillers = [Random(seed + size).randbytes(size) for size in (10, 100, 400, 1500)]
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "linger.ms": 2,
                "queue.buffering.max.messages": 20_000,
                "reconnect.backoff.ms": 20,
                "reconnect.backoff.max.ms": 100,
                "retry.backoff.ms": 20,
                "log_level": 2,
            }
        )

    def told(self, error: object, message: object) -> None:
        partition, number = message.partition(), number_of(message.value())
        # librdkafka cannot tell the offset of what it is told was written before.
        if error or message.offset() not in (number, -1) or number != self.acknowledged[partition]:
            self.faults.append(f"{partition}: record {number} at {message.offset()}: {error}, {self.acknowledged}")
        self.acknowledged[partition] += 1

    def run(self) -> None:
        while not self.stopping:
            partition = sum(self.sent) % PARTITIONS
            number = self.sent[partition]
            value = b"%d:%s" % (number, self._fillers[number % len(self._fillers)])
            try:
                self._producer.produce(self.topic, value=value, partition=partition, on_delivery=self.told)
            except BufferError:
                self._producer.poll(0.01)
                continue
            self.sent[partition] += 1
            self._producer.poll(0)

    def in_flight(self) -> int:
        return sum(self.sent) - sum(self.acknowledged)

    def finish(self) -> None:
        self.stopping = True
        self.join()
        assert self._producer.flush(DEADLINE_S) == 0
        assert not self.faults, self.faults[:5]
        assert self.acknowledged == self.sent


def records(bootstrap: str, topic: str) -> Iterator[tuple[int, int, int]]:
    """(partition, offset, number) from the beginning on, for ever."""
    from confluent_kafka import Consumer, TopicPartition

    config = {"bootstrap.servers": bootstrap, "group.id": "g", "enable.auto.commit": False, "auto.offset.reset": "error"}
    backoff = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 100}
    consumer = Consumer({**config, **backoff, "check.crcs": True, "log_level": 2})
    consumer.assign([TopicPartition(topic, index, 0) for index in range(PARTITIONS)])
    try:
        while True:
            messages = consumer.consume(1000, 0.5)
            if not messages:
                yield -1, -1, -1
            for message in messages:
                error = message.error()
                if error is None:
                    yield message.partition(), message.offset(), number_of(message.value())
                elif not error.retriable() and error.name() not in ("_TRANSPORT", "_ALL_BROKERS_DOWN", "_RESOLVE"):
                    raise AssertionError(str(error))
    finally:
        consumer.close()


class Reader(threading.Thread):
    """Reads along through all kills: what was seen once is not taken back, and nothing is left out."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        super().__init__(daemon=True)
        self.bootstrap, self.topic = bootstrap, topic
        self.seen = [0] * PARTITIONS
        self.fault: str | None = None
        self.stopping = False

    def run(self) -> None:
        try:
            for partition, offset, number in records(self.bootstrap, self.topic):
                if self.stopping:
                    return
                if partition >= 0:
                    assert offset == number == self.seen[partition], (partition, offset, number, self.seen)
                    self.seen[partition] += 1
        except AssertionError as error:
            self.fault = str(error)

    def finish(self, expected: list[int]) -> None:
        """Fails unless it comes to see all that is expected, and nothing else."""
        wait_until(lambda: self.fault or self.seen == expected, DEADLINE_S, lambda: f"seen {self.seen} of {expected}")
        self.stopping = True
        self.join()
        assert self.fault is None, self.fault


def read_anew(bootstrap: str, topic: str, expected: list[int]) -> None:
    reader = Reader(bootstrap, topic)
    reader.start()
    reader.finish(expected)


class Directory:
    """A log directory, and the brokers that take turns on it: ours, Apache's, and ours where no client finds it."""

    def __init__(self, home: Path) -> None:
        from cluster.broker.main import format_dev

        self.data = home / "kafka"
        format_dev(self.data)
        self.apache = ApacheKafka(home / "apache", log_dirs=str(self.data))
        lines = dict(line.split("=", 1) for line in self.apache.properties.read_text().splitlines())
        self.ours = Node(home, 1, lines, self.apache.port)
        (home / "quiet").mkdir()
        port = apache.free_port()
        quiet = {key: value.replace(str(self.apache.port), str(port)) for key, value in lines.items() if key != "log.dirs"}
        self.quiet = Node(home / "quiet", 1, {**quiet, "log.dirs": str(self.data)}, port)
        self.bootstrap = self.apache.bootstrap

    def start(self) -> None:
        self.ours.start().wait()

    def kill(self) -> None:
        self.ours.kill()
        self.quiet.kill()
        if self.apache.process is not None:
            self.apache.process.kill()
            self.apache.process.wait()
            self.apache.process = None

    def recover_in_quiet(self) -> None:
        self.quiet.start().wait()
        self.quiet.kill()

    def create(self, topic: str, config: dict[str, str]) -> None:
        from confluent_kafka.admin import AdminClient, NewTopic

        client = AdminClient({"bootstrap.servers": self.bootstrap})
        for future in client.create_topics([NewTopic(topic, PARTITIONS, 1, config=config)]).values():
            future.result(30)

    def delete(self, topic: str) -> None:
        from confluent_kafka.admin import AdminClient

        client = AdminClient({"bootstrap.servers": self.bootstrap})
        for future in client.delete_topics([topic]).values():
            future.result(30)

    def partitions(self, topic: str) -> list[Path]:
        return [each for each in partitions_of(self.data) if each.name.rpartition("-")[0] == topic]


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    made = Directory(tmp_path)
    yield made
    made.kill()


def load_until_killed(directory: Directory, writer: Writer, random: Random) -> int:
    """The broker is killed at some moment of full load; gives how many records were on their way."""
    before = sum(writer.acknowledged)
    wait_until(
        lambda: sum(writer.acknowledged) > before + 2000,
        DEADLINE_S,
        lambda: f"no progress: {writer.acknowledged} {writer.faults}",
    )
    time.sleep(random.random() * 0.2)
    directory.kill()
    return writer.in_flight()


@pytest.mark.parametrize("mode", MODES)
def test_kills_at_full_load_lose_nothing_that_was_acknowledged(directory: Directory, mode: str) -> None:
    random = Random(mode)
    directory.start()
    killed_at_work, written = 0, 0
    for round_number in range(max(1, KILLS // KILLS_OF_A_ROUND)):
        topic = f"{mode}-{round_number}"
        directory.create(topic, MODES[mode])
        writer, reader = Writer(directory.bootstrap, topic, round_number), Reader(directory.bootstrap, topic)
        writer.start()
        reader.start()
        for kill in range(min(KILLS, KILLS_OF_A_ROUND)):
            killed_at_work += load_until_killed(directory, writer, random) > 0
            if kill == KILLS_OF_A_ROUND // 2 and apache.missing() is None:
                directory.recover_in_quiet()
                check_segments(directory.partitions(topic))
            directory.start()
        writer.finish()
        reader.finish(writer.sent)
        read_anew(directory.bootstrap, topic, writer.sent)
        directory.delete(topic)
        written += sum(writer.sent)
        print(f"{mode}: {(round_number + 1) * KILLS_OF_A_ROUND} kills, {written} records", flush=True)
    assert killed_at_work >= KILLS * 0.9, f"only {killed_at_work} of {KILLS} kills met records on their way"


@pytest.mark.oracle
@pytest.mark.skipif(apache.missing() is not None, reason=str(apache.missing()))
@pytest.mark.parametrize("mode", MODES)
def test_apache_takes_over_what_ours_left_killed_and_ours_what_apache_left(directory: Directory, mode: str) -> None:
    random = Random(mode)
    directory.start()
    directory.create("handed-over", MODES[mode])
    writer = Writer(directory.bootstrap, "handed-over", 0)
    writer.start()
    for take_over in (directory.apache.start, directory.start, directory.apache.start):
        load_until_killed(directory, writer, random)
        take_over()
    writer.finish()
    read_anew(directory.bootstrap, "handed-over", writer.sent)
    directory.kill()
    directory.start()
    read_anew(directory.bootstrap, "handed-over", writer.sent)
    directory.kill()
    check_segments(directory.partitions("handed-over"))
    check_metadata(directory.data)
