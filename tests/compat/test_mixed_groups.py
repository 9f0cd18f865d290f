"""One group of every client library and both protocols at once: members come, leave and are killed; every record is read,
and once the group is stable no partition has two owners."""

from __future__ import annotations

import signal
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from pykafkacore.testing import Broker
from tests.compat.test_groups import Member, group_command, until

pytestmark = pytest.mark.compat

PARTITIONS = 12
TOPIC = GROUP = "mixed"
# Those who begin are classic; the others find a classic group, and make it one of both protocols.
CLASSIC = [("java", "classic"), ("kafka_python", "classic")]
CONSUMERS = [("java", "consumer"), ("confluent", "consumer"), ("console", "consumer")]
MORE_CLASSIC = [
    ("confluent", "classic"), ("aiokafka", "range"), ("franz_go", "range"), ("kafkajs", "range"), ("console", "classic"),
]  # fmt: skip


class Records:
    """What was produced, and who read it."""

    def __init__(self, broker: Broker) -> None:
        from confluent_kafka import Producer
        from confluent_kafka.admin import AdminClient, NewTopic

        admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
        admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result(10)
        self._producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "linger.ms": 1})
        self.sent: set[tuple[int, int]] = set()

    def produce(self, rounds: int = 1) -> set[tuple[int, int]]:
        """So many records to each partition: where they went."""
        acknowledged: list = []
        for number in range(rounds * PARTITIONS):
            place = number % PARTITIONS
            self._producer.produce(TOPIC, b"value", partition=place, on_delivery=lambda e, m: acknowledged.append(m))
        assert self._producer.flush(30) == 0
        where = {(message.partition(), message.offset()) for message in acknowledged}
        self.sent |= where
        return where

    def owners(self, where: set[tuple[int, int]], members: list[Member]) -> dict[int, set[Member]]:
        """By partition, the members that read these records of it."""
        found: dict[int, set[Member]] = defaultdict(set)
        for member in members:
            for partition, _ in where & set(member.seen):
                found[partition].add(member)
        return found


@pytest.fixture
def broker() -> Iterator[Broker]:
    quick = {
        "group.consumer.min.session.timeout.ms": "6000", "group.consumer.session.timeout.ms": "6000",
        "group.consumer.min.heartbeat.interval.ms": "500", "group.consumer.heartbeat.interval.ms": "500",
        "group.initial.rebalance.delay.ms": "500",
    }  # fmt: skip
    with Broker(quick) as broker:
        yield broker


def kind_of(broker: Broker) -> str:
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    found = admin.list_consumer_groups().result(10)
    return next(group.type.name for group in found.valid if group.group_id == GROUP)


def test_all_libraries_and_both_protocols_share_one_group(broker: Broker, tmp_path: Path) -> None:
    records = Records(broker)
    everybody: list[Member] = []
    alive: list[Member] = []

    def join(*kinds: tuple[str, str]) -> list[Member]:
        come = [Member(client, broker, TOPIC, GROUP, protocol, tmp_path) for client, protocol in kinds]
        everybody.extend(come)
        alive.extend(come)
        return come

    def settle(what: str) -> None:
        """Wait until every member that is alive has a share, and every partition one owner."""
        rounds: list[set[tuple[int, int]]] = []

        def is_shared() -> bool:
            rounds.append(records.produce())
            recent = set().union(*rounds[-3:-1]) if len(rounds) > 3 else set()
            owners = records.owners(recent, everybody)
            one_each = [next(iter(found)) for found in owners.values() if len(found) == 1]
            return len(one_each) == PARTITIONS and set(one_each) == set(alive)

        until(what, is_shared, *alive, seconds=90)

    for client, protocol in (*CLASSIC, *CONSUMERS, *MORE_CLASSIC):
        group_command(client, "", "", "", protocol)  # skips what is not installed
    try:
        records.produce(20)
        java, kafka_python = join(*CLASSIC)
        settle("two classic members share")
        assert kind_of(broker) == "CLASSIC"
        java_consumer, confluent_consumer, console_consumer = join(*CONSUMERS)
        settle("three more have come with the other protocol")
        assert kind_of(broker) == "CONSUMER"
        join(*MORE_CLASSIC)
        settle("five classic members have come to a group of both")

        for killed in (kafka_python, java_consumer):
            alive.remove(killed)
            killed.end(signal.SIGKILL)
        alive.remove(console_consumer)
        console_consumer.end()
        records.produce(20)
        settle("two were killed and one has left")

        join(("kafka_python", "classic"), ("console", "consumer"))
        settle("others have come in their place")
        for member in [each for each in alive if each is confluent_consumer or each is alive[-1]]:
            alive.remove(member)
            member.end()
        settle("those of the newer protocol have left")
        assert kind_of(broker) == "CLASSIC", "who is left speaks the classic protocol only"

        alive.remove(java)
        java.end(signal.SIGKILL)
        settle("a classic member was killed")
        last = records.produce(5)
        read = lambda: records.sent <= {each for member in everybody for each in member.seen}  # noqa: E731
        until("every record is read", read, *alive, seconds=60)
        assert all(len(found) == 1 for found in records.owners(last, everybody).values())
    finally:
        for member in everybody:
            member.end(signal.SIGKILL)
