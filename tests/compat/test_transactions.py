"""Transactions of every client that has them, read by every other at both isolation levels."""

from __future__ import annotations

import pytest

from pykafkacore.testing import Broker
from tests.compat.test_clients import command_of, run

pytestmark = pytest.mark.compat

CLIENTS = ["java", "confluent", "franz_go", "kafkajs"]
COMMITTED = sorted(f"{i}-{k}" for i in (0, 2, 4) for k in range(10))
ALL = sorted(f"{i}-{k}" for i in range(6) for k in range(10))


@pytest.fixture(scope="module")
def broker():
    with Broker({"num.partitions": "2", "group.initial.rebalance.delay.ms": "0"}) as broker:
        yield broker


@pytest.fixture(scope="module")
def written(broker) -> list[str]:
    """A topic of each client that is installed."""
    return []


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_commits_and_aborts(client, broker, written) -> None:
    command_of(client)
    # Twice with one id: who comes later takes it over.
    for _ in range(2):
        run(client, "transact", broker.bootstrap_servers, f"transactions-{client}", f"id-{client}")
    written.append(f"transactions-{client}")


@pytest.mark.parametrize("reader", CLIENTS)
def test_a_reader_sees_what_its_isolation_level_lets_it_see(reader, broker, written) -> None:
    assert written
    for topic in written:
        committed = run(reader, "isolated", broker.bootstrap_servers, topic, "read_committed").split()
        assert sorted(committed) == sorted(COMMITTED * 2), topic
        everything = run(reader, "isolated", broker.bootstrap_servers, topic, "read_uncommitted").split()
        assert sorted(everything) == sorted(ALL * 2), topic
