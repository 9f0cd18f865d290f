"""Every client consumes in groups: joins, shares, leaves, is killed, resumes; alone, with its like, and with others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from pykafkacore.testing import Broker
from tests.compat.test_clients import HERE, command_of

pytestmark = pytest.mark.compat

PARTITIONS = 6
PAIRS = [
    # (who stays, who is killed, their protocol)
    ("confluent", "java", "classic"),
    ("aiokafka", "confluent", "classic"),
    ("kafka_python", "aiokafka", "classic"),
    # Alone in their defaults: cooperative-sticky, and an assigner of its own name.
    ("franz_go", "franz_go", "classic"),
    ("kafkajs", "kafkajs", "classic"),
    ("java", "kafka_python", "classic"),
    ("java", "confluent", "consumer"),
    ("confluent", "java", "consumer"),
    # Our own console consumer, beside others and alone.
    ("console", "confluent", "classic"),
    ("java", "console", "consumer"),
    ("console", "console", "consumer"),
]


def group_command(client: str, bootstrap: str, topic: str, group: str, protocol: str) -> list[str]:
    if client != "console":
        return [*command_of(client), "group", bootstrap, topic, group, protocol]
    show = [f"print.{what}" for what in ("partition=true", "offset=true", "value=false")]
    # Long enough for a busy machine, short enough for a test that kills members.
    settings = [f"group.protocol={protocol}", "session.timeout.ms=6000", "heartbeat.interval.ms=1000"]
    return [
        str(Path(sys.executable).parent / "kafka-console-consumer"), "--bootstrap-server", bootstrap, "--topic", topic,
        "--group", group, "--from-beginning", *(word for each in show for word in ("--formatter-property", each)),
        *(word for each in settings for word in ("--command-property", each)),
    ]  # fmt: skip


class Member:
    """A client process in a group; `seen` is what it has printed so far."""

    def __init__(self, client: str, broker: Broker, topic: str, group: str, protocol: str, folder: Path) -> None:
        self.out = folder / f"{client}-{time.monotonic_ns()}.out"
        self.error = self.out.with_suffix(".err")
        command = group_command(client, broker.bootstrap_servers, topic, group, protocol)
        environment = {**os.environ, "PYTHONPATH": str(HERE)}
        with open(self.out, "wb") as out, open(self.error, "wb") as error:
            self.process = subprocess.Popen(command, stdout=out, stderr=error, env=environment)

    @property
    def seen(self) -> list[tuple[int, int]]:
        # The last line may be half of one.
        rows = self.out.read_text().split("\n")[:-1]
        pairs = (row.split("\t") for row in rows if row.count("\t") == 1)
        return [(int(partition.rpartition(":")[2]), int(offset.rpartition(":")[2])) for partition, offset in pairs]

    def end(self, how: int = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(30)


def until(what: str, condition, *members: Member, seconds: float = 45) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        for member in members:
            assert member.process.poll() is None, f"a client ended: {member.error.read_text()[-2000:]}"
        told = "\n".join(f"{m.out.name}: {len(m.seen)} records; {m.error.read_text()[-1500:]}" for m in members)
        assert time.monotonic() < deadline, f"{what}\n{told}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def broker():
    session = {"group.consumer.min.session.timeout.ms": "6000", "group.consumer.session.timeout.ms": "6000"}
    with Broker({"num.partitions": str(PARTITIONS), "group.initial.rebalance.delay.ms": "500", **session}) as broker:
        yield broker


@pytest.mark.parametrize(("stays", "killed", "protocol"), PAIRS, ids=lambda value: value)
def test_members_share_leave_die_and_resume(stays, killed, protocol, broker, tmp_path) -> None:
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    topic = group = f"{stays}-{killed}-{protocol}"
    for client in (stays, killed):
        group_command(client, "", "", "", "")  # skips what is not installed
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(10)
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "linger.ms": 5})
    sent: set[tuple[int, int]] = set()

    def produce(count: int) -> None:
        acknowledged = []
        for number in range(count):
            producer.produce(topic, b"value", partition=number % PARTITIONS, on_delivery=lambda e, m: acknowledged.append(m))
        assert producer.flush(30) == 0
        sent.update((m.partition(), m.offset()) for m in acknowledged)

    members = [Member(client, broker, topic, group, protocol, tmp_path) for client in (stays, killed)]
    first, second = members
    try:
        produce(300)

        def both_have_a_share() -> bool:
            produce(PARTITIONS)
            recent = {o for _, o in sorted(sent, key=lambda each: each[1])[-2 * PARTITIONS :]}
            shares = [{p for p, o in member.seen if o in recent} for member in members]
            return all(shares) and len(shares[0] | shares[1]) == PARTITIONS and not shares[0] & shares[1]

        until("both have a share of their own", both_have_a_share, *members, seconds=60)
        second.end(signal.SIGKILL)
        produce(300)
        read = lambda: sent <= set(first.seen) | set(second.seen)  # noqa: E731
        until("the one that stays takes over", read, first, seconds=60)
        first.end()
        assert first.process.returncode in (0, 143), first.error.read_text()[-2000:]
        committed = set(sent)
        produce(60)
        third = Member(stays, broker, topic, group, protocol, tmp_path)
        members.append(third)
        until("who comes back resumes", lambda: sent - committed <= set(third.seen), third)
        again = Counter(each for each in third.seen if each in committed)
        assert not again, f"committed records were read again: {len(again)}"
    finally:
        for member in members:
            member.end(signal.SIGKILL)
