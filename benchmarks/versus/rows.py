"""The table of rows: what is run, what is read off it, and what must come out. Data, not code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.versus import clients, special
from benchmarks.versus.row import Goal, Row

KIB = 1024


def _wake_up(limits: Mapping[str, Any]) -> float:
    """Milliseconds there and back between two threads that sleep, p99: no answer comes sooner."""
    return limits["wake_up"]["p99_us"] / 1000


def _produce(**more: object) -> dict[str, object]:
    return {"producers": 4, "in-flight": 5, "acks": 1, "batch-bytes": 64 * KIB, "record-bytes": KIB, **more}


def _small_batches() -> list[Row]:
    """16 KiB batches of 100 B records: acks 0, 1 and all, from 1 and from 4 connections."""
    return [
        Row(
            f"produce-16k-{name}-{count}c", f"16 KiB batches of 100 B, {count} connection(s) x 5 in flight, acks {name}",
            _produce(**{"producers": count, "acks": acks, "batch-bytes": 16 * KIB, "record-bytes": 100}),
            (Goal("produced", 4), Goal("cpu-gb", 5), Goal("machine-gb")), bare=True,
        )
        for name, acks in (("0", 0), ("1", 1), ("all", -1))
        for count in (1, 4)
    ]  # fmt: skip


def _catch_up() -> list[Row]:
    """Readers of what the page cache holds. They drop what comes: Apache Kafka's side is a bare sendfile."""
    return [
        Row(
            f"catch-up-{name}-{readers}r", f"reading from the page cache, batches of {name}, {readers} reader(s)",
            {"readers": readers, "read": "discard", "from": "start", "share": "one", **batch},
            (Goal("read", 1, limit=1.1), Goal("cpu-gb", 1, limit=1.1), Goal("machine-gb")), partitions=2, bare=True,
            fill={"producers": 2, "in-flight": 20, "limit-bytes": bytes_max, **batch}, limit_bytes=0,
        )
        for name, bytes_max, batch in (
            ("300B", 48 << 20, {"batch-bytes": 300, "record-bytes": 220}),
            ("128K", 768 << 20, {"batch-bytes": 128 * KIB, "record-bytes": KIB}),
        )
        for readers in (1, 2)
    ]  # fmt: skip


def _fan_out() -> list[Row]:
    return [
        Row(
            f"fan-out-{readers}r", f"100 MB/s in as 16 KiB batches, {readers} reader(s) at the end of the log",
            _produce(**{"batch-bytes": 16 * KIB, "rate": 100e6 / (16 * KIB), "stamp": "yes", "readers": readers,
                        "read": "stamps", "stamps-per-batch": 1}),
            (Goal("cpu-gb", 3), Goal("e2e-p99", 5), Goal("e2e-p50"), Goal("read"), Goal("load-gb")), bare=True,
        )
        for readers in (1, 5, 10)
    ]  # fmt: skip


def _compressed() -> list[Row]:
    return [
        Row(
            f"produce-{codec}", f"prebuilt {codec} batches of 64 KiB inflated", _produce(codec=codec),
            (Goal("cpu-payload-gb", advantage), Goal("requests"), Goal("produced")), bare=True,
        )
        for codec, advantage in (("lz4", 5), ("snappy", 5), ("zstd", 8), ("gzip", 15))
    ]  # fmt: skip


def _clients() -> list[Row]:
    about = "linger 5 ms, acks all, 6 partitions"
    rows = []
    for name, size, count in (("100B", 100, 2_000_000), ("1K", KIB, 600_000)):
        load = {"record-bytes": size, "records": count, "batch-bytes": 64 * KIB}
        written = (Goal("cpu-records", 6), Goal("reading-records"), Goal("reading-cpu"))
        rows.append(Row(
            f"librdkafka-{name}", f"librdkafka from Python, {name} records, {about}", load,
            (Goal("records", 1.3), *written), special=clients.librdkafka,
        ))  # fmt: skip
        absolute = 100_000 if size == KIB else None
        rows.append(Row(
            f"perf-test-{name}", f"kafka-producer-perf-test, {name} records, {about}; then kafka-consumer-perf-test", load,
            (Goal("client-records", 1.3, at_least=absolute), *written), special=clients.perf_test,
        ))  # fmt: skip
    rows.append(Row(
        "perf-test-paced", f"kafka-producer-perf-test at 100,000 records of 1 KB a second, {about}",
        {"record-bytes": 1000, "records": 2_000_000, "batch-bytes": 64 * KIB, "rate": 100_000},
        (Goal("ack-p99", at_most=5), Goal("ack-p99_9", at_most=15), Goal("client-records")), special=clients.perf_test_paced,
    ))  # fmt: skip
    return rows


def _end_to_end() -> list[Row]:
    # A request a millisecond carries three records for each of the 16 partitions: 48,000 records a second and a few more.
    wide = {"producers": 1, "in-flight": 100, "acks": -1, "batch-bytes": 3200, "record-bytes": KIB, "batches-per-request": 16,
            "rate": 50_000 / 48, "linger-us": 1000, "stamp": "yes", "readers": 1, "read": "stamps"}  # fmt: skip
    slow = {**wide, "batch-bytes": 1100, "batches-per-request": 1, "rate": 1000}
    goals = (Goal("e2e-p99_9", 5), Goal("e2e-p99_99", 10), Goal("e2e-p50"), Goal("e2e-p99"))
    return [
        Row("end-to-end-50k", "50,000 records/s of 1 KiB, 16 partitions, linger 1 ms, one reader", wide, goals, 16, bare=True),
        Row("end-to-end-1k", "1,000 records/s of 1 KiB, 16 partitions, one reader", slow, goals, 16, bare=True),
    ]


def _pings() -> list[Row]:
    load = {"producers": 1, "in-flight": 1, "acks": -1, "batch-bytes": 1100, "record-bytes": KIB}
    goals = (Goal("ack-p50", 1.3), Goal("ack-p99", 2.5), Goal("ack-p99_9", 5), Goal("cpu-requests"))
    return [
        Row("ping", "1 connection, 1 in flight, 1 KiB, acks all", load, goals, 1, bare=True),
        Row("ping-1000", "the same at 1,000 a second, from the intended send time", {**load, "rate": 1000}, goals, 1, bare=True),
    ]


def _control() -> list[Row]:
    thousand = {"topics": 1000, "a-request": 100}
    ddl = (Goal("took", 10), Goal("created", 10), Goal("described", 10), Goal("deleted", 10))
    ask = (Goal("requests", 1), Goal("ack-p99", 1, machine=_wake_up), Goal("cpu-requests"))
    keyed = {"producers": 4, "in-flight": 5, "acks": -1, "batch-bytes": 1100, "record-bytes": KIB, "batches-per-request": 25,
             "spread": "keyed", "rate": 800, "linger-us": 5000, "stamp": "yes", "readers": 4, "share": "split", "read": "stamps"}
    return [
        Row(
            "partitions-10k", "a topic of 10,000 partitions, 20,000 records/s keyed, 4 producers, 4 readers; its Metadata", keyed,
            (Goal("e2e-p99", 10), Goal("ack-p99"), Goal("partition", at_most=64), Goal("idle", at_most=0.01),
             Goal("metadata-requests", 1), Goal("metadata-p99", 1, machine=_wake_up), Goal("created")),
            10_000, special=special.many_partitions, rounds_max=2,
        ),
        Row("topics-batched", "create, describe, delete 1,000 topics x 10 partitions, 100 a request", thousand, ddl, 10,
            special=special.topics, rounds_max=2),
        Row("topics-one-by-one", "the same, one a request", {**thousand, "a-request": 1}, ddl, 10,
            special=special.topics, rounds_max=2),
        Row("api-versions", "ApiVersions 3, 4 connections", {}, ask, special=special.api_versions),
        Row("describe-configs", "DescribeConfigs 4 of one topic, 4 connections", {}, ask, special=special.describe_configs),
    ]  # fmt: skip


def _footprint() -> list[Row]:
    trickle = {"in-flight": 5, "acks": 1, "batch-bytes": 180, "record-bytes": 100}
    return [
        Row("start-up", "exec to first acknowledged produce; memory when idle", {},
            (Goal("took", at_most=0.25, machine=lambda limits: limits["interpreter_s"]), Goal("rss", at_most=60)),
            special=special.start_up),
        Row("restart-10k", "a clean restart with 10,000 partitions", {}, (Goal("took", at_most=1),), 10_000,
            special=special.restart, rounds_max=2),
        Row("connections-5k", "5,000 idle connections; then 5,000 that write once a second", trickle,
            (Goal("connection", at_most=16), Goal("rss", at_most=150), Goal("ack-p99")),
            special=special.connections, rounds_max=2),
    ]  # fmt: skip


def _cold_backlog() -> list[Row]:
    load = {
        "producers": 2, "in-flight": 5, "acks": 1, "batch-bytes": 16 * KIB, "record-bytes": KIB, "rate": 50e6 / (16 * KIB),
        "stamp": "yes", "readers": 1, "read": "stamps", "stamps-per-batch": 1, "warmup": 0.5,
    }  # fmt: skip
    goals = (Goal("disk-part", at_least=0.9), Goal("inflation", at_most=1.5), Goal("live-p99"), Goal("read"))
    about = "a backlog from {} beside 50 MB/s live"
    rows = [Row("cold-backlog", about.format("the disk"), load, goals, 2, special=special.cold_backlog, rounds_max=3)]
    if special.may_slow_disks():
        slow = "a disk of 200 MB/s"
        rows.append(Row("slow-backlog", about.format(slow), load, goals, 2, special=special.slow_backlog, rounds_max=3))
    return rows


ROWS = [
    Row(
        "produce-64k", "64 KiB batches of 1 KiB, 4 connections x 5 in flight, acks 1, 6 partitions", _produce(),
        (Goal("produced", 2.5, limit=1.3), Goal("cpu-gb", 3), Goal("machine-gb"), Goal("load-gb"), Goal("ack-p99")),
        bare=True,
    ),
    *_small_batches(),
    *_clients(),
    Row(
        "tiny-requests", "one 100 B record a request, 64 connections x 5 in flight",
        {"producers": 64, "in-flight": 5, "acks": 1, "batch-bytes": 180, "record-bytes": 100},
        (Goal("requests", 4), Goal("cpu-requests", 6), Goal("ack-p99", 5)), bare=True,
    ),
    *_pings(),
    *_end_to_end(),
    *_catch_up(),
    *_fan_out(),
    *_cold_backlog(),
    *_compressed(),
    *_control(),
    *_footprint(),
]  # fmt: skip
