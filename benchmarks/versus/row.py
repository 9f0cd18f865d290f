"""What a row of the table is made of: what is read off a run, what must come out, and how it is run.

A goal is an *advantage*: how many times more (or, where less is better, less) than Apache Kafka. `at_most` and `at_least` bound
our own value, and `limit` says how many times the machine's own limit, run in the same turns, a value may stand away from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.versus.loading import Result


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


def _rate(result: Result) -> float:
    return result.get("records_per_s") or result["records"] / result["seconds"]


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
    "created": Measure("create", "s", False, lambda r: r["created_s"]),
    "described": Measure("describe", "s", False, lambda r: r["described_s"]),
    "deleted": Measure("delete", "s", False, lambda r: r["deleted_s"]),
    "connection": Measure("a connection", "KiB", False, lambda r: r["connection_bytes"] / 1024),
    "partition": Measure("a partition", "KiB", False, lambda r: r["partition_bytes"] / 1024),
    "idle": Measure("idle", "cores", False, lambda r: r["idle_cores"]),
    "metadata-requests": Measure("Metadata", "/s", True, lambda r: r["metadata"]["requests"] / r["metadata"]["seconds"]),
    "metadata-p99": Measure("Metadata p99", "ms", False, lambda r: r["metadata"]["latency"]["p99_us"] / 1000),
    "disk-part": Measure("backlog", "of the disk", True, lambda r: r["disk_part"]),
    "inflation": Measure("live p99", "x its quiet", False, lambda r: r["live_inflation"]),
    "live-p99": Measure("live p99", "ms", False, lambda r: r["live_p99_ms"]),
    "client-records": Measure("records", "/s", True, lambda r: r["records_per_s"]),
    "reading-records": Measure("read", "records/s", True, lambda r: _rate(r["reading"])),
    "reading-cpu": Measure("broker CPU, read", "s/M records", False,
                           lambda r: _broker_cpu_s(r["reading"]) / r["reading"]["records"] * 1e6),
}  # fmt: skip


@dataclass(frozen=True)
class Goal:
    """What must come out for one measure; a measure without any bound is told for its own sake."""

    measure: str
    advantage: float | None = None
    at_most: float | None = None
    at_least: float | None = None
    limit: float | None = None
    # What the machine's own limits (see `loading.run_limits`) allow, where no bare loop takes part in the row.
    machine: Callable[[Mapping[str, Any]], float] | None = None


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
    # The machine's bare loop takes part, too, and every measure is told as so many times its own.
    bare: bool = False
    # Rows that are no load of records: a function of (broker, row, seconds) that gives a result.
    special: Callable[..., Result] | None = None
    # A window never holds more bytes than this, so that it ends before the kernel throttles writers.
    limit_bytes: int = 2_000_000_000
    seconds: float | None = None
    # Rows that take long and vary little are run less often than others.
    rounds_max: int | None = None
