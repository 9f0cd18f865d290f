"""Apache Kafka at its best: a few ways of running it, each loaded shortly in the two extremes, and the quickest kept.

The extremes are large batches and tiny requests; the score is the geometric mean of both rates. The choice is told with the
results, and kept for the short form in benchmarks/results/apache.json.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from benchmarks.versus.brokers import JVMS, Apache, Broker, Jvm
from benchmarks.versus.loading import Form, fresh_name, run_load

LOADS: dict[str, Mapping[str, object]] = {
    "large batches": {"producers": 4, "in-flight": 5, "batch-bytes": 64 << 10, "limit-bytes": 1_500_000_000},
    "tiny requests": {"producers": 64, "in-flight": 5, "batch-bytes": 180, "record-bytes": 100},
    "tail": {"producers": 1, "in-flight": 100, "acks": -1, "batch-bytes": 1100, "rate": 2000, "stamp": "yes",
             "readers": 1, "read": "stamps"},
}  # fmt: skip
SCORED = ("large batches", "tiny requests")


def warm_up(broker: Broker, seconds: float, form: Form) -> None:
    """Loads of every kind in turns, for so long, before anything is measured."""
    for load in LOADS.values():
        topic = fresh_name("warm")
        broker.create_topic(topic, 6)
        timing = {"port": broker.port, "topic": topic, "warmup": 0, "seconds": seconds / len(LOADS)}
        try:
            if broker.name != "bare":
                run_load({**timing, **load}, form.load_processors)
        finally:
            broker.delete_topic(topic)


def score(jvm: Jvm, directory: Path, seconds: float, form: Form) -> dict[str, float]:
    """Bytes and requests a second of one way of running it."""
    broker = Apache(directory / fresh_name("calibrated"))
    broker.jvm = jvm
    broker.format()
    try:
        broker.start()
        warm_up(broker, seconds, form)
        found = {}
        for name in SCORED:
            topic = fresh_name("calibrate")
            broker.create_topic(topic, 6)
            told = run_load({"port": broker.port, "topic": topic, "warmup": 0.5, "seconds": seconds, **LOADS[name]})
            found[name] = told["requests"] / told["seconds"]
            broker.delete_topic(topic)
        return found
    finally:
        broker.discard()


def best_jvm(directory: Path, seconds: float, form: Form) -> tuple[Jvm, dict[str, dict[str, float]]]:
    scores = {jvm.name: score(jvm, directory, seconds, form) for jvm in JVMS}
    best = max(JVMS, key=lambda jvm: math.prod(scores[jvm.name].values()))
    return best, scores


def kept(path: Path) -> Jvm | None:
    """The choice of an earlier calibration, if there was one."""
    if not path.exists():
        return None
    name = json.loads(path.read_text())["best"]
    return next((jvm for jvm in JVMS if jvm.name == name), None)
