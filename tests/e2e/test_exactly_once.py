"""Consume, transform, produce: 100,000 records in transactions, while the client is killed ten times and so is the broker.

What comes out is what went in: as a set, in order per key, nothing twice.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest

from tests.compat.test_clients import HERE, java_client
from tests.support.apache import free_port
from tests.support.nodes import start_dev

pytestmark = [pytest.mark.e2e, pytest.mark.compat]

RECORDS = 100_000
KILLS = 10
KEYS = 500
PARTITIONS = 4
SECONDS = 240

CLIENTS = {
    "confluent": lambda: [sys.executable, "-m", "clients.transform"],
    "java": java_client,
}


class Transformer:
    """A client process that is started again whenever it ends."""

    def __init__(self, command: list[str], error: Path) -> None:
        self._command, self._error = command, error
        self.starts = 0
        self._start()

    def _start(self) -> None:
        self.starts += 1
        environment = {**os.environ, "PYTHONPATH": str(HERE)}
        with open(self._error, "ab") as error:
            self.process = subprocess.Popen(self._command, stdout=error, stderr=error, env=environment)

    def keep_alive(self) -> None:
        if self.process.poll() is not None:
            self._start()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def fill(bootstrap: str, source: str, target: str) -> None:
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": bootstrap})
    for done in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in (source, target)]).values():
        done.result(10)
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5})
    for number in range(RECORDS):
        producer.produce(source, key=f"key-{number % KEYS}", value=str(number))
        producer.poll(0)
    assert producer.flush(60) == 0


def committed_count(bootstrap: str, source: str, group: str) -> int:
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    try:
        found = consumer.committed([TopicPartition(source, index) for index in range(PARTITIONS)], 5)
        return sum(max(0, each.offset) for each in found)
    except Exception:
        return 0
    finally:
        consumer.close()


def read_committed(bootstrap: str, target: str) -> dict[bytes, list[int]]:
    from confluent_kafka import Consumer, KafkaError, TopicPartition

    config = {"bootstrap.servers": bootstrap, "group.id": "reader", "isolation.level": "read_committed"}
    consumer = Consumer({**config, "enable.partition.eof": True, "enable.auto.commit": False})
    consumer.assign([TopicPartition(target, index, 0) for index in range(PARTITIONS)])
    found: dict[bytes, list[int]] = defaultdict(list)
    ended: set[int] = set()
    while len(ended) < PARTITIONS:
        for message in consumer.consume(5000, 10):
            if message.error():
                assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                ended.add(message.partition())
            else:
                found[message.key()].append(int(message.value().removeprefix(b"out-")))
    consumer.close()
    return found


@pytest.mark.parametrize("client", list(CLIENTS))
def test_what_comes_out_is_what_went_in_through_kills_of_both_sides(client: str, tmp_path: Path) -> None:
    seed = int(os.environ.get("SEED", "7"))
    chance = random.Random(seed)
    port = free_port()
    bootstrap = f"127.0.0.1:{port}"
    source, target, group = f"{client}-source", f"{client}-target", f"{client}-group"
    data = tmp_path / "data"
    broker = start_dev(port, data)
    arguments = ["transform", bootstrap, source, target, group, f"{client}-transaction"]
    error = tmp_path / "client.log"
    transformer = None
    try:
        fill(bootstrap, source, target)
        transformer = Transformer([*CLIENTS[client](), *arguments], error)
        kills = ["broker"] * KILLS + ["client"] * KILLS
        chance.shuffle(kills)
        deadline = time.monotonic() + SECONDS
        done = 0
        while done < RECORDS or kills:
            assert time.monotonic() < deadline, f"{done} of {RECORDS} done, seed {seed}\n{error.read_text()[-3000:]}"
            transformer.keep_alive()
            time.sleep(chance.uniform(0.2, 1.2) if kills else 0.2)
            done = committed_count(bootstrap, source, group)
            # Kills come while there is work to do, evenly spread over it.
            if kills and done >= RECORDS * (2 * KILLS - len(kills)) // (2 * KILLS + 1):
                if kills.pop() == "client":
                    transformer.kill()
                else:
                    broker.kill()
                    broker.wait()
                    broker = start_dev(port, data)
        transformer.kill()
        found = read_committed(bootstrap, target)
        expected = {f"key-{n}".encode(): list(range(n, RECORDS, KEYS)) for n in range(KEYS)}
        assert found == expected, f"seed {seed}"
        assert transformer.starts >= KILLS
    finally:
        if transformer is not None:
            transformer.kill()
        broker.kill()
        broker.wait()
