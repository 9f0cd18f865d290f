"""How cost grows with work: the same load at more and more connections, partitions, or bytes a record. For plots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.versus import brokers
from benchmarks.versus.brokers import Broker
from benchmarks.versus.loading import Form, Result, fresh_name, run_load


@dataclass(frozen=True)
class Growth:
    name: str
    about: str
    along: str
    points: Sequence[int]
    load: Callable[[int], Mapping[str, object]]
    measures: tuple[str, ...]
    partitions: Callable[[int], int] = lambda _: 6


TINY = {"in-flight": 1, "acks": 1, "batch-bytes": 180, "record-bytes": 100}

GROWTHS = [
    Growth(
        "connections", "one 100 B record a request, one in flight on each connection", "connections",
        (1, 10, 100, 1000, 5000), lambda n: {**TINY, "producers": n, "warmup": 1 if n < 1000 else 2},
        ("requests", "ack-p99", "cpu-requests", "rss"),
    ),
    Growth(
        "partitions", "20,000 records/s of 1 KiB, one a request, over ever more partitions", "partitions",
        (1, 10, 100, 1000, 10_000),
        lambda n: {"producers": 4, "in-flight": 20, "batch-bytes": 1100, "spread": "keyed", "rate": 20_000, "seed": n},
        ("ack-p99", "cpu-requests", "rss"), lambda n: n,
    ),
    Growth(
        "record-size", "one record a request, 4 connections x 5 in flight", "bytes a record",
        (10, 100, 1 << 10, 10 << 10, 100 << 10, 1_000_000),
        lambda n: {"producers": 4, "in-flight": 5, "batch-bytes": n, "record-bytes": n, "limit-bytes": 1_500_000_000},
        ("requests", "produced", "cpu-requests"),
    ),
]  # fmt: skip


def run_point(growth: Growth, broker: Broker, point: int, form: Form) -> Result:
    topic, partitions = fresh_name(f"grow-{growth.name}"), growth.partitions(point)
    broker.create_topic(topic, partitions)
    try:
        brokers.settle()
        common = {"port": broker.port, "topic": topic, "partitions": partitions, "watch": broker.pid}
        return run_load({**common, "warmup": 1, "seconds": form.seconds, **growth.load(point)}, form.load_processors)
    finally:
        broker.delete_topic(topic)


def run_growth(growth: Growth, sides: Sequence[Broker], form: Form) -> dict[str, list[dict[str, object]]]:
    """For each side a list of {point, runs}, the sides in turns at every point."""
    found: dict[str, list[dict[str, object]]] = {side.name: [] for side in sides}
    for point in growth.points:
        runs: dict[str, list[Result]] = {side.name: [] for side in sides}
        for number in range(form.rounds):
            for side in sides if number % 2 == 0 else reversed(sides):
                runs[side.name].append(run_point(growth, side, point, form))
        for side in sides:
            found[side.name].append({"point": point, "runs": runs[side.name]})
    return found
