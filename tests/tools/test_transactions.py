"""kafka-transactions: what its options mean, and the rows of its tables."""

from __future__ import annotations

import pytest

from pykafkacore.client.transactions import ActiveProducer, TransactionState, abort_text
from pykafkacore.tools.transactions import described_row, hanging_row, producer_row, run

PRODUCER = ActiveProducer(500, 1, -1, 7, 1_000_000, 42)
AT = ["--bootstrap-server", "x:1"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "too few arguments"),
        (["list"], "argument --bootstrap-server is required"),
        ([*AT, "force-terminate"], "argument --transactionalId is required"),
        ([*AT, "abort", "--topic", "t"], "argument --partition is required"),
        (
            [*AT, "abort", "--topic", "t", "--partition", "0", "--producer-epoch", "40000"],
            "argument --producer-epoch: could not convert '40000' to Short (For input string: \"40000\")",
        ),
        (
            [*AT, "grow"],
            "invalid choice: 'grow' (choose from 'list', 'describe', 'describe-producers', 'abort', 'find-hanging', "
            "'forceTerminateTransaction')",
        ),
    ],
)
def test_mistakes_in_options_are_told_behind_the_usage(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(arguments)
    assert ended.value.code == 1
    assert capsys.readouterr().err.endswith(f"\nkafka-transactions.sh: error: {said}\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["find-hanging"], "The `find-hanging` command requires either --topic or --broker-id to limit the scope of the search"),
        (["find-hanging", "--partition", "1", "--broker-id", "1"], "The --partition argument requires --topic to be provided"),
        (
            ["abort", "--topic", "t", "--partition", "0", "--producer-id", "1", "--producer-epoch", "1"],
            "Missing required argument --coordinator-epoch",
        ),
    ],
)
def test_options_that_need_one_another_are_told(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    with pytest.raises(SystemExit):
        run([*AT, *arguments])
    assert capsys.readouterr().err == f"{said}\n"


def test_a_transaction_is_described_with_its_partitions() -> None:
    found = TransactionState(3, "id", 500, 1, "Ongoing", 60_000, 1_000, (("t", 1), ("t", 0)))
    assert described_row(found, 5_000) == ("3", "id", "500", "1", "Ongoing", "60000", "1000", "4000", "t-1,t-0")
    ended = TransactionState(3, "id", 500, 1, "CompleteCommit", 60_000, -1, ())
    assert described_row(ended, 5_000)[6:] == ("None", "None", "")


def test_a_producer_without_a_transaction_has_no_start() -> None:
    assert producer_row(PRODUCER) == ("500", "1", "-1", "7", "1000000", "42")
    assert producer_row(ActiveProducer(500, 1, 2, 7, 1_000_000, -1))[-1] == "None"


def test_what_hangs_is_told_with_its_age_in_minutes() -> None:
    row = hanging_row(("t", 3), PRODUCER, 1_000_000 + 119_999)
    assert row == ("t", "3", "500", "1", "-1", "42", "1000000", "1")


def test_what_is_to_be_aborted_is_named_in_full() -> None:
    assert abort_text(("t", 3), PRODUCER) == (
        "AbortTransactionSpec(topicPartition=t-3, producerId=500, producerEpoch=1, coordinatorEpoch=-1)"
    )
