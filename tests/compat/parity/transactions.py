"""Cases of transactions: what coordinators say to producers, to other brokers, and to those who look on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.compat.parity import batches
from tests.compat.parity.groups import fresh
from tests.compat.parity.hostile import UNKNOWN_ID
from tests.compat.parity.recorder import Case, Site, Step

Tree = dict[str, Any]
TIMEOUT_MS = 600_000
TOPIC = "moved"


def producer_id(site: Site) -> int:
    return site.answers[0].producer_id


def producer_epoch(site: Site) -> int:
    return site.answers[0].producer_epoch


PRODUCER = {"producer_id": producer_id, "producer_epoch": producer_epoch}
BEGIN = Step("InitProducerId", 4, {"transactional_id": fresh, "transaction_timeout_ms": TIMEOUT_MS})


def coordinators(site: Site) -> None:
    """Waits until both partitions of the coordinators answer, and leaves one transaction open for those who look."""
    for name in ("x", "y", "kept-transaction"):
        while True:
            answer = site.ask("InitProducerId", 4, {"transactional_id": name, "transaction_timeout_ms": TIMEOUT_MS})
            if not answer.error_code:
                break
            assert answer.error_code in (14, 15, 16, 51), answer
            time.sleep(0.02)
    tree = add(3, "kept-transaction", producer_id=answer.producer_id, producer_epoch=answer.producer_epoch)
    told = site.ask("AddPartitionsToTxn", 3, tree)
    assert told.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code == 0, told


def init_producer_id(version: int) -> dict[str, Tree]:
    def one(**more: Any) -> Tree:
        kept = {key: value for key, value in more.items() if version >= 3 or not key.startswith("producer")}
        return {"transactional_id": None, "transaction_timeout_ms": 60_000, **kept}

    return {
        "idempotent": one(),
        "with an id": one(producer_id=5, producer_epoch=0),
        "with an id alone": one(producer_id=5),
        "with an epoch alone": one(producer_epoch=5),
        "transactional id empty": one(transactional_id=""),
        "timeout 0": one(transaction_timeout_ms=0),
        "transactional": one(transactional_id=fresh),
        "transactional, timeout 0": one(transactional_id=fresh, transaction_timeout_ms=0),
        "transactional, timeout too long": one(transactional_id=fresh, transaction_timeout_ms=2_000_000),
        "transactional, unknown id": one(transactional_id=fresh, producer_id=5, producer_epoch=0),
    }


def lives(version: int) -> Iterator[Case]:
    again = {"transactional_id": fresh, "transaction_timeout_ms": TIMEOUT_MS}
    yield Case("again", version, (BEGIN, Step("InitProducerId", version, again)))
    if version >= 3:
        yield Case("again with its id", version, (BEGIN, Step("InitProducerId", version, again | PRODUCER)))
        stale = again | PRODUCER | {"producer_epoch": 7}
        yield Case("again with another epoch", version, (BEGIN, Step("InitProducerId", version, stale)))


def add(version: int, name: Any, topic: str = TOPIC, index: int = 0, *, verify_only: bool = False, **more: Any) -> Tree:
    topics = [{"name": topic, "partitions": [index]}]
    who = {"transactional_id": name, "producer_id": 70_000, "producer_epoch": 0, **more}
    if version >= 4:
        return {"transactions": [{**who, "verify_only": verify_only, "topics": topics}]}
    return {f"v3_and_below_{key}": value for key, value in {**who, "topics": topics}.items()}


def add_partitions(version: int) -> dict[str, Tree]:
    return {
        "unknown transaction": add(version, fresh),
        "transaction without a name": add(version, ""),
        "unknown topic": add(version, fresh, "no-such-topic"),
        "unknown partition": add(version, fresh, TOPIC, 9),
        "verified": add(version, fresh, verify_only=True),
    }


def added(version: int) -> Iterator[Case]:
    good = Step("AddPartitionsToTxn", version, add(version, fresh, **PRODUCER))
    yield Case("added", version, (BEGIN, good, good))
    yield Case(
        "unknown topic in a transaction",
        version,
        (BEGIN, Step("AddPartitionsToTxn", version, add(version, fresh, "no-such-topic", **PRODUCER))),
    )
    for told, more in (("epoch", {"producer_epoch": 7}), ("producer", {"producer_id": 80_000})):
        yield Case(
            f"wrong {told}",
            version,
            (BEGIN, Step("AddPartitionsToTxn", version, add(version, fresh, **PRODUCER | more))),
        )
    if version >= 4:
        yield Case(
            "verified before",
            version,
            (BEGIN, Step("AddPartitionsToTxn", version, add(version, fresh, verify_only=True, **PRODUCER))),
        )
        yield Case(
            "verified after",
            version,
            (BEGIN, good, Step("AddPartitionsToTxn", version, add(version, fresh, verify_only=True, **PRODUCER))),
        )


def add_offsets(version: int) -> dict[str, Tree]:
    one = {"transactional_id": fresh, "producer_id": 70_000, "producer_epoch": 0, "group_id": "kept-one"}
    return {
        "unknown transaction": one,
        "transaction without a name": one | {"transactional_id": ""},
        "group without a name": one | {"group_id": ""},
    }


def offsets_added(version: int) -> Iterator[Case]:
    good = Step("AddOffsetsToTxn", version, {"transactional_id": fresh, "group_id": fresh, **PRODUCER})
    yield Case("added", version, (BEGIN, good, good))
    for told, more in (("epoch", {"producer_epoch": 7}), ("producer", {"producer_id": 80_000})):
        wrong = {"transactional_id": fresh, "group_id": fresh, **PRODUCER, **more}
        yield Case(f"wrong {told}", version, (BEGIN, Step("AddOffsetsToTxn", version, wrong)))


def end_txn(version: int) -> dict[str, Tree]:
    one = {"transactional_id": fresh, "producer_id": 70_000, "producer_epoch": 0, "committed": True}
    return {"unknown transaction": one, "transaction without a name": one | {"transactional_id": ""}}


def ends(version: int) -> Iterator[Case]:
    opened = Step("AddPartitionsToTxn", 3, add(3, fresh, **PRODUCER))

    def end(committed: bool, **more: Any) -> Step:
        return Step("EndTxn", version, {"transactional_id": fresh, **PRODUCER, "committed": committed, **more})

    for committed in (True, False):
        told = "commit" if committed else "abort"
        yield Case(told, version, (BEGIN, opened, end(committed)))
        yield Case(f"{told} of nothing", version, (BEGIN, end(committed)))
        yield Case(f"{told} with another epoch", version, (BEGIN, opened, end(committed, producer_epoch=7)))
        yield Case(f"{told} of another producer", version, (BEGIN, opened, end(committed, producer_id=80_000)))


def write_txn_markers(version: int) -> dict[str, Tree]:
    def one(topic: str = TOPIC, index: int = 1, **more: Any) -> Tree:
        topics = [{"name": topic, "partition_indexes": [index]}]
        marker = {
            "producer_id": 90_000,
            "producer_epoch": 3,
            "transaction_result": True,
            "topics": topics,
            "coordinator_epoch": 0,
        }
        return {"markers": [marker | more]}

    return {
        "of nothing": one(producer_id=90_001),
        "unknown topic": one("no-such-topic"),
        "unknown partition": one(TOPIC, 9),
        "older epoch": one(producer_id=90_001, producer_epoch=1),
        "abort": one(producer_id=90_002, transaction_result=False),
        "no markers": {"markers": []},
    }


def txn_offset_commit(version: int) -> dict[str, Tree]:
    def one(topic: str = "groups", index: int = 0, **more: Any) -> Tree:
        row = {"partition_index": index, "committed_offset": 5, "committed_metadata": "m"}
        where: Tree = {"name": topic}
        if version >= 6:
            where = {"topic_id": UNKNOWN_ID if topic == "no-such-topic" else lambda site: site.topic_ids[topic]}
        who = {"transactional_id": fresh, "group_id": fresh, "producer_id": 70_000, "producer_epoch": 0}
        return {**who, "topics": [{**where, "partitions": [row]}], **more}

    return {
        "unknown transaction": one(),
        "unknown topic": one("no-such-topic"),
        "unknown partition": one(index=9),
        "group without a name": one(group_id=""),
        "transaction without a name": one(transactional_id=""),
        "no topics": one(topics=[]),
    }


def offsets_in_transactions(version: int) -> Iterator[Case]:
    good = txn_offset_commit(version)["unknown transaction"] | PRODUCER
    commit = Step("TxnOffsetCommit", version, good)
    adds = Step("AddOffsetsToTxn", 3, {"transactional_id": fresh, "group_id": fresh, **PRODUCER})
    end = Step("EndTxn", 3, {"transactional_id": fresh, **PRODUCER, "committed": True})
    seen = Step("OffsetFetch", 7, {"group_id": fresh, "topics": [{"name": "groups", "partition_indexes": [0]}]})
    stable = Step(
        "OffsetFetch",
        7,
        {"group_id": fresh, "topics": [{"name": "groups", "partition_indexes": [0]}], "require_stable": True},
    )
    yield Case("committed", version, (BEGIN, adds, commit, seen, stable, end))
    yield Case("not added before", version, (BEGIN, commit))
    yield Case("wrong epoch", version, (BEGIN, adds, Step("TxnOffsetCommit", version, good | {"producer_epoch": 7})))
    if version >= 3:
        member = good | {"member_id": "nobody", "generation_id_or_member_epoch": 1}
        yield Case("wrong member", version, (BEGIN, adds, Step("TxnOffsetCommit", version, member)))


def describe_transactions(version: int) -> dict[str, Tree]:
    return {
        "open": {"transactional_ids": ["kept-transaction"]},
        "unknown": {"transactional_ids": [fresh]},
        "without a name": {"transactional_ids": [""]},
        "two": {"transactional_ids": ["kept-transaction", fresh]},
    }


def list_transactions(version: int) -> dict[str, Tree]:
    found: dict[str, Tree] = {"all": {}}
    for states in (
        ["Ongoing"],
        ["Empty"],
        ["NoSuchState"],
        ["ongoing"],
        ["Ongoing", "NoSuchState"],
        ["PrepareEpochFence"],
        ["Dead"],
    ):
        found[f"states {states}"] = {"state_filters": states}
    found["producer"] = {"producer_id_filters": [80_000]}
    if version >= 1:
        found["lasting"] = {"duration_filter": 10**9}
        found["lasting 0"] = {"duration_filter": 0}
    if version >= 2:
        for pattern in ("kept-.*", "kept", "[", "", ".*action"):
            found[f"pattern {pattern}"] = {"transactional_id_pattern": pattern}
    return found


def transactional_batch(site: Site) -> bytes:
    return batches.good(
        transactional=True, producer_id=producer_id(site), producer_epoch=producer_epoch(site), base_sequence=0
    )


def produced(version: int) -> Iterator[Case]:
    """Produce inside of a transaction."""
    where = {"topic_id": lambda site: site.topic_ids[TOPIC]} if version >= 13 else {"name": TOPIC}
    topics = [{**where, "partition_data": [{"index": 0, "records": transactional_batch}]}]
    write = Step("Produce", version, {"transactional_id": fresh, "acks": -1, "timeout_ms": 5000, "topic_data": topics})
    opened = Step("AddPartitionsToTxn", 3, add(3, fresh, **PRODUCER))
    yield Case("transaction", version, (BEGIN, opened, write, write))
    yield Case("transaction not opened", version, (BEGIN, write))


GOOD: dict[str, Callable[[int], dict[str, Tree]]] = {
    "InitProducerId": init_producer_id,
    "AddPartitionsToTxn": add_partitions,
    "AddOffsetsToTxn": add_offsets,
    "EndTxn": end_txn,
    "WriteTxnMarkers": write_txn_markers,
    "TxnOffsetCommit": txn_offset_commit,
    "DescribeTransactions": describe_transactions,
    "ListTransactions": list_transactions,
}
SPECIAL: dict[str, Callable[[int], Iterator[Case]]] = {
    "InitProducerId": lives,
    "AddPartitionsToTxn": added,
    "AddOffsetsToTxn": offsets_added,
    "EndTxn": ends,
    "TxnOffsetCommit": offsets_in_transactions,
}
