"""Running rows in turns: every round runs each side once, on a fresh topic. Gives plain results for tables and JSON."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.versus import brokers
from benchmarks.versus.brokers import Broker
from benchmarks.versus.loading import Form, Result, fresh_name, run_load
from benchmarks.versus.row import MEASURES, Goal, Row


def run_once(broker: Broker, row: Row, form: Form) -> Result:
    """One run of a row on one side, on a topic of its own. What fails says on which side."""
    try:
        return _run_once(broker, row, form)
    except RuntimeError as error:
        raise RuntimeError(f"{row.name} on {broker.name}: {error}") from error


def _run_once(broker: Broker, row: Row, form: Form) -> Result:
    seconds = row.seconds or form.seconds
    if row.special is not None:
        return row.special(broker, row, seconds, form)
    topic = fresh_name(row.name)
    broker.create_topic(topic, row.partitions, row.configs)
    common = {"port": broker.port, "topic": topic, "partitions": row.partitions, "watch": broker.pid}
    try:
        if row.fill is not None:
            run_load({**common, "warmup": 0, "seconds": 120, **row.fill})
        brokers.settle()
        timing = {"warmup": form.warmup, "seconds": seconds, "limit-bytes": row.limit_bytes}
        return run_load({**common, **timing, **row.load}, form.load_processors)
    finally:
        broker.delete_topic(topic)


def run_row(row: Row, sides: Sequence[Broker], form: Form) -> dict[str, list[Result]]:
    """The results of each side, by round. A short one before them is thrown away: both sides warm up to the row."""
    taking_part = [side for side in sides if row.bare or side.name != "bare"]
    if row.special is None:
        warm = replace(form, seconds=min(form.seconds, 0.5), warmup=min(form.warmup, 0.2))
        for side in taking_part:
            run_once(side, row, warm)
    found: dict[str, list[Result]] = {side.name: [] for side in taking_part}
    for number in range(min(form.rounds, row.rounds_max or form.rounds)):
        # Who goes first changes from round to round, so that neither always follows the other.
        for side in taking_part if number % 2 == 0 else reversed(taking_part):
            found[side.name].append(run_once(side, row, form))
    return found


@dataclass(frozen=True)
class Verdict:
    """One line of the table: a measure of a row on both sides, and what was asked of it."""

    row: str
    measure: str
    ours: float
    apache: float | None
    bare: float | None
    # How many times the bare loop's own it is: below 1 where ours is the better one.
    away: float | None
    advantage: float | None
    worst: float | None
    best: float | None
    goal: str
    met: bool | None


def _values(results: Sequence[Result], name: str) -> list[float]:
    return [MEASURES[name].read(result) for result in results]


def judge(row: Row, found: Mapping[str, Sequence[Result]], limits: Mapping[str, Any]) -> list[Verdict]:
    """`limits`: the machine's own, measured in the same run."""
    return [_judge(row, goal, found, limits) for goal in row.goals]


def _judge(row: Row, goal: Goal, found: Mapping[str, Sequence[Result]], limits: Mapping[str, Any]) -> Verdict:
    better = MEASURES[goal.measure].more_is_better
    ours = _values(found["ours"], goal.measure)
    apache = _values(found.get("Apache Kafka", []), goal.measure)
    bare = _values(found.get("bare", []), goal.measure)
    pairs = zip(ours, apache, strict=True) if apache else []
    ratios = [(a / b if better else b / a) for a, b in pairs if a and b]
    mine, limit = statistics.median(ours), statistics.median(bare) if bare else None
    if goal.machine is not None:
        limit = goal.machine(limits)
    away = (limit / mine if better else mine / limit) if limit and mine else None
    advantage = statistics.median(ratios) if ratios else None
    asked: list[tuple[str, bool]] = []
    if goal.advantage is not None and advantage is not None:
        asked.append((f">= {goal.advantage:g}x", advantage >= goal.advantage))
    if goal.at_most is not None:
        asked.append((f"<= {goal.at_most:g}", mine <= goal.at_most))
    if goal.at_least is not None:
        asked.append((f">= {goal.at_least:g}", mine >= goal.at_least))
    if goal.limit is not None and away is not None:
        asked.append((f"within {goal.limit:g}x of the limit", away <= goal.limit))
    return Verdict(
        row.name, goal.measure, mine, statistics.median(apache) if apache else None, limit, away, advantage,
        min(ratios, default=None), max(ratios, default=None),
        ", ".join(text for text, _ in asked), all(met for _, met in asked) if asked else None,
    )  # fmt: skip


def number(value: float | None) -> str:
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def lines(verdicts: Sequence[Verdict]) -> list[str]:
    """The table's lines, as they are printed."""
    out = []
    for v in verdicts:
        measure = MEASURES[v.measure]
        ratio = "" if v.advantage is None else f"{v.advantage:6.2f}x ({number(v.worst)}-{number(v.best)})"
        mark = {True: "met", False: "SHORT", None: ""}[v.met]
        limit = "" if v.away is None else f" {number(v.away)}x of the limit {number(v.bare)}"
        out.append(
            f"{v.row:22} {measure.label:16} {number(v.ours):>9} : {number(v.apache):>9} {measure.unit:13} {ratio:26}"
            f" {v.goal:34} {mark}{limit}"
        )
    return out


