"""Renders docs/BENCHMARKS.md and its pictures from the JSON of a run: `python -m benchmarks.versus.report [RESULTS.json]...`.

Everything that was measured is told, losses first of all. Nothing is computed here that is not in the JSON. Of several runs,
which need not have had the same rows, the last that had a row tells it, and in what form that row ran.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.versus import svg
from benchmarks.versus.growth import GROWTHS
from benchmarks.versus.measure import number
from benchmarks.versus.row import MEASURES
from benchmarks.versus.rows import ROWS

ROOT = Path(__file__).parent.parent.parent
STOLEN_MIN = 0.01
MARKS = {True: "met", False: "**short**", None: ""}
RULES = """\
Every row runs both brokers in turns, in one run, on one machine, with a load generator on raw sockets that replays prebuilt
batches (or with the real clients that a row names). A number is the median of its rounds; an advantage is the median of the
rounds' ratios, with the worst and the best round behind it: 2x means twice as much of what is good, or half of what is not.
Latency counts from the moment at which a request was *meant* to be sent, in nanoseconds. Broker CPU is user and system time
of its process. An acknowledgement is from the page cache on both sides; free memory has been touched before, as on a
machine that has run for a day ([PERFORMANCE.md](PERFORMANCE.md) says why, and which rows are older than that). *Limit* is a
bare loop on the same machine in the same turns: it receives, checks the CRC, writes to the page cache and answers, sends a
file, or hands each batch to whoever waits for it, and does nothing else; where no such loop takes part, what the machine
gave in this run: wake-ups there and back, bulk over loopback, Python's own start. *2x of it* means twice its time or CPU,
or half its rate. The machine is small and shared: read ratios, not absolute numbers, and run it on yours (`make bench`,
`make bench-full`).
"""


def bound(goal: str) -> str:
    return goal.replace("<=", "≤").replace(">=", "≥")


def table(verdicts: Sequence[Mapping[str, Any]], about: Mapping[str, str]) -> list[str]:
    out = ["| row | measure | ours | Apache Kafka | advantage | limit | goal | |", "|---|---|---|---|---|---|---|---|"]
    last = None
    for v in verdicts:
        measure = MEASURES[v["measure"]]
        first = f"**{v['row']}** {about[v['row']]}" if v["row"] != last else ""
        last = v["row"]
        ratio = ""
        if v["advantage"] is not None:
            ratio = f"{v['advantage']:.2f}x ({number(v['worst'])} to {number(v['best'])})"
        limit = "-" if v["away"] is None else f"{number(v['bare'])} ({number(v['away'])}x of it)"
        cells = (first, f"{measure.label}, {measure.unit}", number(v["ours"]), number(v["apache"]), ratio, limit)
        out.append(f"| {' | '.join(cells)} | {bound(v['goal'])} | {MARKS[v['met']]} |")
    return out


def bars(verdicts: Sequence[Mapping[str, Any]]) -> list[tuple[str, float, float, float, float | None]]:
    """One bar for each measure that has a goal against Apache Kafka."""
    goals = {(row.name, goal.measure): goal.advantage for row in ROWS for goal in row.goals}
    return [
        (f"{v['row']}: {MEASURES[v['measure']].label}", v["advantage"], v["worst"], v["best"], goals[v["row"], v["measure"]])
        for v in verdicts
        if v["advantage"] is not None and goals.get((v["row"], v["measure"])) is not None
    ]


def growth_pictures(told: Mapping[str, Any], directory: Path) -> list[str]:
    out = []
    for growth in GROWTHS:
        found = told.get("growth", {}).get(growth.name)
        if not found:
            continue
        out += ["", f"### {growth.name}", "", growth.about + ".", ""]
        for name in growth.measures:
            measure = MEASURES[name]
            lines = {
                side: [(point["point"], statistics.median(map(measure.read, point["runs"]))) for point in points]
                for side, points in found.items()
            }
            path = directory / f"{growth.name}-{name}.svg"
            path.write_text(svg.growth(measure.label, growth.along, measure.unit, lines))
            out.append(f"![{measure.label} by {growth.along}](benchmarks/{path.name})")
    return out


def limits(found: Mapping[str, Any]) -> list[str]:
    rows = [
        ("memcpy", found["memcpy_gb_s"], "GB/s"),
        ("CRC-32C of a hot block", found["crc32c_gb_s"], "GB/s"),
        ("loopback in bulk", found["loopback_gb_s"], "GB/s"),
        ("the same, both ends", found["loopback_cpu_s_gb"], "CPU s/GB"),
        ("write into the page cache", found["page_cache_write_gb_s"], "GB/s"),
        ("append of 4 KiB and fdatasync, p50", found["fdatasync"]["p50_us"] / 1000, "ms"),
        ("the same, p99", found["fdatasync"]["p99_us"] / 1000, "ms"),
        ("64 B there and back between sleeping threads, p50", found["wake_up"]["p50_us"], "us"),
        ("the same, p99", found["wake_up"]["p99_us"], "us"),
        ("Python and its event loop, from exec", found["interpreter_s"], "s"),
    ]
    lines = [f"| {name} | {number(value)} {unit} |" for name, value, unit in rows]
    return ["| the machine's own limits | |", "|---|---|", *lines]


def told_of(row: Mapping[str, Any], form: Mapping[str, Any]) -> str:
    """What a row is, how it ran if that was not as the others, and what the host took away meanwhile."""
    notes = []
    own = row.get("form", form)
    if own != form:
        notes.append(f"{own['rounds']} rounds of {own['seconds']:g} s")
        if own["scale"] != form["scale"]:
            notes.append(f"{own['scale']:g} of the work that it counts")
    if row["stolen_cores"] >= STOLEN_MIN:
        notes.append(f"the host took {row['stolen_cores']:.2g} of a processor meanwhile")
    return f"{row['about']} ({'; '.join(notes)})" if notes else row["about"]


def combined(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One run of several: of each row and each plot the last."""
    told: dict[str, Any] = {**runs[0], "rows": {}, "failed": {}, "verdicts": [], "growth": {}}
    for run in runs:
        told["failed"] |= run.get("failed", {})
        told["rows"] |= {name: {**row, "form": run["form"]} for name, row in run["rows"].items()}
        told["growth"] |= run["growth"]
    for row in ROWS:
        last = next((run for run in reversed(runs) if row.name in run["rows"]), None)
        if last is not None:
            told["verdicts"] += [verdict for verdict in last["verdicts"] if verdict["row"] == row.name]
    return told


def page(told: Mapping[str, Any], directory: Path) -> str:
    verdicts, machine, form = told["verdicts"], told["machine"], told["form"]
    about = {name: told_of(row, form) for name, row in told["rows"].items()}
    short = [v for v in verdicts if v["met"] is False]
    settings = told.get("apache", {}).get("settings", "not part of this run")
    out = ["# Benchmarks: side by side with Apache Kafka 4.4.0", "", RULES]
    out.append(
        f"Machine: {machine['processors']} processors, {machine['memory_bytes'] / 2**30:.0f} GiB, Linux {machine['kernel']}, "
        f"Python {machine['python']}. Apache Kafka: {settings}. Rounds: {form['rounds']}, of {form['seconds']:g} s, "
        f"{'brokers on one processor and the load on the other' if told.get('pinned') else 'processors shared with the load'}."
    )
    if form["scale"] != 1:
        out.append(f"Rows that count work instead of time did {form['scale']:g} of it in this run, on both sides.")
    if bar_list := bars(verdicts):
        (directory / "advantages.svg").write_text(svg.advantages(bar_list))
        out += ["", "![advantages over Apache Kafka; the mark is the goal](benchmarks/advantages.svg)"]
    out += ["", "## Short of a goal", ""]
    out += table(short, about) if short else ["Nothing in this run."]
    if failed := [f"- **{name}**: {why}" for name, why in told["failed"].items() if name not in told["rows"]]:
        out += ["", "## Not measured: one of the sides failed", "", *failed]
    out += ["", "## Every row", "", *table(verdicts, about), "", "## Limits", "", *limits(told["limits"])]
    if pictures := growth_pictures(told, directory):
        out += ["", "## How cost grows", *pictures]
    return "\n".join(out) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.versus.report", description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="*", type=Path, default=[ROOT / "benchmarks" / "results" / "full.json"])
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    given = parser.parse_args()
    directory = given.docs / "benchmarks"
    directory.mkdir(parents=True, exist_ok=True)
    told = combined([json.loads(path.read_text()) for path in given.results])
    (given.docs / "BENCHMARKS.md").write_text(page(told, directory))
    print(given.docs / "BENCHMARKS.md")


if __name__ == "__main__":
    main()
