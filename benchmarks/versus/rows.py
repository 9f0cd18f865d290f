"""The table of rows: what is run, what is read off it, and what must come out. Data, not code.

A goal is an *advantage*: how many times more (or, where less is better, less) than Apache Kafka. `absolute` is a bound on our
own value, and `limit` how many times the machine's own limit, run in the same turns, a value may stand away from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Result = Mapping[str, Any]


@dataclass(frozen=True)
class Measure:
    """A number that is read off a run's result."""

    label: str
    unit: str
    more_is_better: bool
    read: Callable[[Result], float]


def _broker_cpu_s(result: Result) -> float:
    return result["broker_user_s"] + result["broker_system_s"]


def _moved_bytes(result: Result) -> float:
    return result["bytes"] + result["read_bytes"]


def _quantile(group: str, name: str) -> Callable[[Result], float]:
    return lambda result: result[group][name] / 1000


MEASURES = {
    "produced": Measure("produced", "GB/s", True, lambda r: r["bytes"] / r["seconds"] / 1e9),
    "read": Measure("read", "GB/s", True, lambda r: r["read_bytes"] / r["seconds"] / 1e9),
    "requests": Measure("requests", "/s", True, lambda r: r["requests"] / r["seconds"]),
    "records": Measure("records", "/s", True, lambda r: r["records"] / r["seconds"]),
    "cpu-gb": Measure("broker CPU", "s/GB", False, lambda r: _broker_cpu_s(r) / _moved_bytes(r) * 1e9),
    "cpu-payload-gb": Measure("broker CPU", "s/GB inflated", False, lambda r: _broker_cpu_s(r) / r["payload_bytes"] * 1e9),
    "cpu-requests": Measure("broker CPU", "s/M requests", False, lambda r: _broker_cpu_s(r) / r["requests"] * 1e6),
    "cpu-records": Measure("broker CPU", "s/M records", False, lambda r: _broker_cpu_s(r) / r["records"] * 1e6),
    "machine-gb": Measure("whole machine", "s/GB", False, lambda r: r["machine_busy_s"] / _moved_bytes(r) * 1e9),
    "load-gb": Measure("load's own CPU", "s/GB", False, lambda r: (r["own_user_s"] + r["own_system_s"]) / _moved_bytes(r) * 1e9),
    "rss": Measure("RSS", "MiB", False, lambda r: r["broker_rss_bytes"] / (1 << 20)),
    "cores": Measure("broker", "cores", False, lambda r: _broker_cpu_s(r) / r["seconds"]),
    **{f"ack-{name}": Measure(f"ack {name.replace('_', '.')}", "ms", False, _quantile("latency", f"{name}_us"))
       for name in ("p50", "p99", "p99_9", "p99_99")},
    **{f"e2e-{name}": Measure(f"end to end {name.replace('_', '.')}", "ms", False, _quantile("end_to_end", f"{name}_us"))
       for name in ("p50", "p99", "p99_9", "p99_99")},
    "took": Measure("took", "s", False, lambda r: r["took_s"]),
}  # fmt: skip


@dataclass(frozen=True)
class Goal:
    """What must come out for one measure; a measure without any bound is told for its own sake."""

    measure: str
    advantage: float | None = None
    at_most: float | None = None
    at_least: float | None = None
    limit: float | None = None


@dataclass(frozen=True)
class Row:
    name: str
    about: str
    load: Mapping[str, object]
    goals: tuple[Goal, ...]
    partitions: int = 6
    # A load that is run before, unmeasured, on the same topic.
    fill: Mapping[str, object] | None = None
    configs: Mapping[str, str] = field(default_factory=dict)
    # The machine's bare loop takes part, too.
    bare: bool = False
    # Rows that are no load of records: a function of (broker, row, seconds) that gives a result.
    special: Callable[..., Result] | None = None
    # A window never holds more bytes than this, so that it ends before the kernel throttles writers.
    limit_bytes: int = 2_000_000_000
    seconds: float | None = None


def _produce(**more: object) -> dict[str, object]:
    return {"producers": 4, "in-flight": 5, "acks": 1, "batch-bytes": 64 << 10, "record-bytes": 1024, **more}


ROWS = [
    Row(
        "produce-64k", "64 KiB batches of 1 KiB, 4 connections x 5 in flight, acks 1, 6 partitions", _produce(),
        (Goal("produced", 2.5, limit=1.3), Goal("cpu-gb", 3), Goal("machine-gb"), Goal("load-gb"), Goal("ack-p99")),
        bare=True,
    ),
]  # fmt: skip
