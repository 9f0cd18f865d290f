"""What an administrator's calls do on Apache Kafka, they do here: the same rounds on both, the same words printed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pykafkacore.testing import Broker
from tests.compat.test_clients import HERE, command_of
from tests.support import apache
from tests.support.apache import ApacheKafka

pytestmark = [pytest.mark.oracle, pytest.mark.skipif(apache.missing() is not None, reason=str(apache.missing()))]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    theirs = ApacheKafka(tmp_path_factory.mktemp("apache"))
    theirs.format()
    with Broker() as ours, theirs:
        yield ours.bootstrap_servers, theirs.bootstrap


def words(command: list[str]) -> list[str]:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": str(HERE)}, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return done.stdout.splitlines()


ROUNDS = {
    "java": lambda: apache.java("pykafkacore.AdminRound"),
    "confluent": lambda: [sys.executable, str(Path(HERE) / "clients" / "confluent_admin.py")],
    "franz_go": lambda: [*command_of("franz_go"), "admin"],
    "kafkajs": lambda: [*command_of("kafkajs"), "admin"],
}


@pytest.mark.parametrize("client", list(ROUNDS))
def test_administration_does_what_it_does_on_apache_kafka(client: str, both: tuple[str, str]) -> None:
    ours, theirs = both
    command = ROUNDS[client]()
    topic = f"admin-{client}"
    assert words([*command, ours, topic]) == words([*command, theirs, topic])
