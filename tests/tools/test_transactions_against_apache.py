"""kafka-transactions, ours and Apache's, on Apache's broker and on ours: the same text, the same exit code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from pykafkacore.client import Record
from pykafkacore.client.records import encode_batch
from pykafkacore.protocol.apis import api
from tests.support import apache
from tests.support.wire import Wire
from tests.tools.kit import KEPT, KINDS, ApacheTools, Done, Pair, agree, ours, running

pytestmark = [pytest.mark.oracle, pytest.mark.skipif(apache.missing() is not None, reason=str(apache.missing()))]

T, B = "kafka-transactions", "--bootstrap-server {b}"
TOPIC = "events"
WHOS = ("ours", "them")
# What argparse4j says of the options: it ends the Java process, so each line has one of its own.
BAD_OPTIONS = [
    "", "nonsense", "list", "--bootstrap-server x:1", "--bootstrap-server x:1 nonsense", "--bootstrap-server x:1 describe",
    "--bootstrap-server x:1 list --nonsense", "--bootstrap-server x:1 list --duration-filter long",
    "--bootstrap-server x:1 abort --topic t", "--bootstrap-server x:1 abort --topic t --partition x",
    "--bootstrap-server x:1 forceTerminateTransaction",
]  # fmt: skip
BAD_COMBINATIONS = [
    "abort --topic t --partition 0",
    "abort --topic t --partition 0 --producer-id 1",
    "abort --topic t --partition 0 --producer-id 1 --producer-epoch 0",
    "find-hanging",
    "find-hanging --partition 1",
    "find-hanging --partition 1 --broker-id 1",
]
VIEWS = [
    "list",
    "list --duration-filter 100000000",
    "list --duration-filter 0",
    "list --transactional-id-pattern op.*",
    "list --transactional-id-pattern op",
    "list --transactional-id-pattern a(b",
    "describe --transactional-id ended",
    "describe --transactional-id open",
    "describe --transactional-id nowhere",
    "describe-producers --topic events --partition 0",
    "describe-producers --topic events --partition 2",
    "describe-producers --topic events --partition 0 --broker-id 1",
    "find-hanging --topic events",
    "find-hanging --topic events --partition 0 --max-transaction-timeout 0",
    "find-hanging --broker-id 1",
    "find-hanging --broker-id 1 --max-transaction-timeout 0",
    "find-hanging --topic nowhere",
]
# In this order: each line works on what those before it made.
ENDS = [
    "find-hanging --topic {w}hanging --max-transaction-timeout 0",
    "abort --topic {w}hanging --partition 0 --start-offset 7",
    "abort --topic {w}hanging --partition 0 --start-offset 0",
    "abort --topic {w}hanging --partition 0 --start-offset 0",
    "find-hanging --topic {w}hanging --max-transaction-timeout 0",
    "describe-producers --topic {w}hanging --partition 0",
    "abort --topic {w}hanging --partition 1 --producer-id 500001 --producer-epoch 3 --coordinator-epoch -1",
    "abort --topic {w}hanging --partition 1 --producer-id 500001 --producer-epoch 1 --coordinator-epoch 0",
    "describe-producers --topic {w}hanging --partition 1",
    "forceTerminateTransaction --transactionalId {w}open",
]


def leave_hanging(bootstrap: str) -> None:
    """Records of transactions that no coordinator has heard of; brokers take them if they are told not to ask."""
    wire = Wire(int(bootstrap.rpartition(":")[2]))
    message = api("Produce").request
    for who in WHOS:
        for partition in (0, 1):
            batch = encode_batch(
                [Record(b"value", None, (), 1_700_000_000_000)], producer_id=500_000 + partition, producer_epoch=1,
                base_sequence=0, is_transactional=True,
            )  # fmt: skip
            data = message.PartitionProduceData(index=partition, records=batch)
            topic = message.TopicProduceData(name=f"{who}hanging", partition_data=[data])
            # Older than version 12: newer ones have the partition added to the transaction.
            answer = wire.ask("Produce", 11, message(transactional_id="x", acks=-1, timeout_ms=10_000, topic_data=[topic]))
            assert answer.responses[0].partition_responses[0].error_code == 0, answer
    wire.close()


def begin(bootstrap: str, transactional_id: str) -> Any:
    from confluent_kafka import Producer

    producer = Producer(
        {"bootstrap.servers": bootstrap, "transactional.id": transactional_id, "transaction.timeout.ms": 600000}
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    for partition in range(3):
        producer.produce(TOPIC, b"value", partition=partition, timestamp=1_700_000_000_000 + partition)
    assert producer.flush(30) == 0
    return producer


@pytest.fixture(scope="module", params=KINDS)
def cluster(request: pytest.FixtureRequest, theirs: ApacheTools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    from confluent_kafka.admin import AdminClient, NewTopic

    settings = {"transaction_partition_verification_enable": "false"}
    with running(request.param, tmp_path_factory.mktemp("transactions"), **settings) as broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        counts = {TOPIC: 3} | {f"{who}hanging": 2 for who in WHOS}
        topics = [NewTopic(name, count, 1, config=KEPT) for name, count in counts.items()]
        for future in admin.create_topics(topics).values():
            future.result(30)
        producer = begin(broker.bootstrap, "ended")
        producer.commit_transaction(30)
        kept = [producer, *(begin(broker.bootstrap, name) for name in ("open", *(f"{who}open" for who in WHOS)))]
        leave_hanging(broker.bootstrap)
        yield Pair(theirs, broker)
        assert kept


def timeless(done: Done, line: str) -> Done:
    """Without what goes with the moment of asking, and with ids that each caller has of its own."""
    # The records are of 2023; what is newer was written by the broker while it was being asked.
    out = re.sub(r"\b17[89]\d{10}\b|\b18\d{11}\b", "NOW", done.out)
    unwanted = ("Duration", "ProducerId") if "{w}open" in line else ("Duration",)
    rows = [[cell.strip() for cell in row.split("\t")] for row in out.splitlines()]
    dropped = [at for at, name in enumerate(rows[0] if rows else []) if name.startswith(unwanted) or "Duration" in name]
    lines = ("\t".join(cell for at, cell in enumerate(row) if at not in dropped) for row in rows)
    return Done(done.code, "\n".join(lines) if dropped else out, done.err)


def check(cluster: Pair, line: str) -> None:
    mine, theirs = (timeless(done, line) for done in cluster.run(T, f"{B} {line}"))
    agree(mine, theirs, line)


@pytest.mark.parametrize("line", BAD_OPTIONS)
def test_mistakes_in_options_are_told_alike(theirs: ApacheTools, line: str) -> None:
    def complaint(done: Done) -> tuple[int, str, str]:
        # Apache's parser breaks lines, and fills them with blanks.
        told = "".join(done.err[done.err.index(f"{T}.sh:") :].split())
        return done.code, done.out, told.replace("',' ", "','")

    assert complaint(ours(T, *line.split())) == complaint(theirs.alone(T, *line.split()))


@pytest.mark.parametrize("line", BAD_COMBINATIONS)
def test_options_that_do_not_go_together_are_told_alike(both: Pair, line: str) -> None:
    both.check(T, f"{B} {line}")


@pytest.mark.parametrize("line", VIEWS)
def test_transactions_are_told_alike(cluster: Pair, line: str) -> None:
    check(cluster, line)


def test_transactions_are_ended_alike(cluster: Pair) -> None:
    for line in ENDS:
        check(cluster, line)
    # Who terminates a transaction comes back when it has been ended: its id has a new epoch, and nothing open.
    check(cluster, "describe --transactional-id {w}open")
    done = ours(T, *cluster.arguments(f"{B} force-terminate --transactional-id open", ""))
    assert (done.code, done.out, done.err) == (0, "", "")
    told = ours(T, *cluster.arguments(f"{B} describe --transactional-id open", "")).out
    assert "Ongoing" not in told and "events-0" not in told
