"""Groups, offsets and transactions: Apache's tools on ours, Apache Kafka on our directory, and we on what it left."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pykafkacore.testing import Broker
from tests.support import apache
from tests.support.apache import ApacheKafka, run_tool

pytestmark = [pytest.mark.oracle, pytest.mark.skipif(apache.missing() is not None, reason=str(apache.missing()))]

GROUPS = {"old": "classic", "new": "consumer"}
TOPIC = "events"
SETTINGS = {
    "offsets.topic.num.partitions": "3",
    "transaction.state.log.num.partitions": "3",
    "group.initial.rebalance.delay.ms": "0",
    "group.consumer.min.session.timeout.ms": "6000",
    "group.consumer.session.timeout.ms": "6000",
}


def produce(bootstrap: str, count: int) -> None:
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": bootstrap})
    for number in range(count):
        producer.produce(TOPIC, str(number), partition=number % 2)
    assert producer.flush(30) == 0


def consume(bootstrap: str, group: str, protocol: str, count: int) -> None:
    """A member that reads so many records, commits and leaves."""
    from confluent_kafka import Consumer

    config = {"bootstrap.servers": bootstrap, "group.id": group, "group.protocol": protocol, "client.id": "reader"}
    consumer = Consumer({**config, "enable.auto.commit": False, "auto.offset.reset": "earliest"})
    consumer.subscribe([TOPIC])
    read = 0
    while read < count:
        message = consumer.poll(20)
        assert message is not None, f"{read} of {count} records came"
        assert not message.error(), message.error()
        read += 1
    consumer.commit(asynchronous=False)
    consumer.close()


def leave_open(bootstrap: str, transactional_id: str):
    """A transaction that nobody ends."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": transactional_id, "transaction.timeout.ms": 600000})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(TOPIC, b"open", partition=0)
    assert producer.flush(30) == 0
    return producer


def told_of_groups(bootstrap: str) -> list[str]:
    """What Apache's kafka-consumer-groups says of all groups."""
    found = []
    for flags in (["--list"], ["--list", "--state"], ["--list", "--type"], ["--describe", "--all-groups", "--offsets"],
                  ["--describe", "--all-groups", "--state"], ["--describe", "--all-groups", "--members"]):  # fmt: skip
        text = run_tool("kafka-consumer-groups", "--bootstrap-server", bootstrap, *flags)
        found.extend(sorted(re.sub(r" +", " ", line).strip() for line in text.splitlines() if line.strip()))
    return found


def told_of_transactions(bootstrap: str) -> list[list[str]]:
    """What Apache's kafka-transactions says of all of them, less what goes with the time of asking."""
    text = run_tool("kafka-transactions", "--bootstrap-server", bootstrap, "list")
    # transactional id, producer id, state; which broker coordinates it stands between.
    listed = sorted(line.split() for line in text.splitlines()[1:])
    for transactional_id in ("ended", "open"):
        flags = ["describe", "--transactional-id", transactional_id]
        text = run_tool("kafka-transactions", "--bootstrap-server", bootstrap, *flags)
        row = dict(zip(*(line.split("\t") for line in text.splitlines()), strict=True))
        row = {name.strip(): value.strip() for name, value in row.items()}
        listed.append([row[name] for name in row if "Duration" not in name])
    return listed


def dump(data: Path, topic: str, flag: str) -> str:
    logs = sorted(file for each in data.glob(f"{topic}-*") for file in each.glob("*.log"))
    assert logs
    return run_tool("kafka-dump-log", "--deep-iteration", flag, "--files", ",".join(map(str, logs)))


def test_groups_offsets_and_transactions_go_from_ours_to_apache_and_back(directory: Path) -> None:
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    port, controller_port = apache.free_port(), apache.free_port()
    ours = {**apache.addresses(port, controller_port), **SETTINGS}
    with Broker(ours, data=directory) as broker:
        bootstrap = broker.bootstrap_servers
        admin = AdminClient({"bootstrap.servers": bootstrap})
        admin.create_topics([NewTopic(TOPIC, 2, 1)])[TOPIC].result(10)
        produce(bootstrap, 100)
        for group, protocol in GROUPS.items():
            consume(bootstrap, group, protocol, 100)
        ended = Producer({"bootstrap.servers": bootstrap, "transactional.id": "ended"})
        ended.init_transactions(30)
        for commits in (True, False):
            ended.begin_transaction()
            ended.produce(TOPIC, b"ended", partition=1)
            (ended.commit_transaction if commits else ended.abort_transaction)(30)
        kept_open = leave_open(bootstrap, "open")
        groups, transactions = told_of_groups(bootstrap), told_of_transactions(bootstrap)
    assert kept_open is not None
    assert any("old" in line and "50" in line for line in groups)
    assert any(row[0] == "open" and "Ongoing" in row for row in transactions)

    offsets = dump(directory / "kafka", "__consumer_offsets", "--offsets-decoder")
    assert "isvalid: false" not in offsets
    assert 'OffsetCommitKey' in offsets or '"type":"1"' in offsets, offsets[-2000:]
    states = dump(directory / "kafka", "__transaction_state", "--transaction-log-decoder")
    assert "isvalid: false" not in states
    assert "open" in states

    with ApacheKafka(directory / "apache", port=port, controller_port=controller_port, log_dirs=str(directory / "kafka"),
                     **{key.replace(".", "_"): value for key, value in SETTINGS.items()}) as theirs:  # fmt: skip
        assert told_of_groups(theirs.bootstrap) == groups
        assert told_of_transactions(theirs.bootstrap) == transactions
        produce(theirs.bootstrap, 20)
        # Up to the open transaction and what was ended: who reads on starts where the other left off.
        for group, protocol in GROUPS.items():
            consume(theirs.bootstrap, group, protocol, 1)
        groups, transactions = told_of_groups(theirs.bootstrap), told_of_transactions(theirs.bootstrap)

    with Broker(ours, data=directory) as broker:
        assert told_of_groups(broker.bootstrap_servers) == groups
        assert told_of_transactions(broker.bootstrap_servers) == transactions
        # Whoever takes the transactional id over ends what was left open.
        taker = Producer({"bootstrap.servers": broker.bootstrap_servers, "transactional.id": "open"})
        taker.init_transactions(30)
        assert all("Ongoing" not in row for row in told_of_transactions(broker.bootstrap_servers))
