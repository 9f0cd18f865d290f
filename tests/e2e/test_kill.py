"""A node that is killed at once: what was acknowledged is there when it is back, in order and once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.apache import free_port, wait_for_port

pytestmark = [pytest.mark.e2e, pytest.mark.compat]


def start(port: int, data: Path) -> subprocess.Popen:
    program = f"from cluster.broker.main import dev; dev({port}, {str(data)!r})"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL)
    wait_for_port(port, process, 30)
    return process


def test_acknowledged_records_survive_kills_once_and_in_order(tmp_path: Path) -> None:
    from confluent_kafka import Consumer, Producer, TopicPartition

    port = free_port()
    process = start(port, tmp_path)
    acknowledged: list[int] = []
    try:
        config = {"bootstrap.servers": f"127.0.0.1:{port}", "enable.idempotence": True, "linger.ms": 1}
        producer = Producer({**config, "reconnect.backoff.max.ms": 200})
        number = 0
        for _ in range(4):
            for _ in range(3000):
                producer.produce(
                    "killed", value=str(number), partition=0,
                    on_delivery=lambda error, message: error or acknowledged.append(int(message.value())),
                )  # fmt: skip
                number += 1
                producer.poll(0)
            process.kill()
            process.wait()
            process = start(port, tmp_path)
        assert producer.flush(60) == 0
        assert len(acknowledged) == number
        consumer = Consumer({"bootstrap.servers": f"127.0.0.1:{port}", "group.id": "g", "enable.auto.commit": False})
        consumer.assign([TopicPartition("killed", 0, 0)])
        found: list[int] = []
        while len(found) < number:
            messages = consumer.consume(5000, 10)
            assert messages, f"{len(found)} of {number} records are there"
            found.extend(int(message.value()) for message in messages)
        consumer.close()
        assert found == list(range(number))
    finally:
        process.kill()
        process.wait()
