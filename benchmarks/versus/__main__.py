"""Runs rows side by side and prints a table: `python -m benchmarks.versus [--row NAME]... [--rounds N] [--seconds S]`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.versus import brokers, calibrate, measure
from benchmarks.versus.brokers import JVMS, Apache, Bare, Broker, Jvm, Ours
from benchmarks.versus.growth import GROWTHS, run_growth
from benchmarks.versus.loading import Form, machine_s, run_limits
from benchmarks.versus.memory import touched_memory
from benchmarks.versus.row import Row
from benchmarks.versus.rows import ROWS

RESULTS = Path(__file__).parent.parent / "results"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.versus", description=__doc__.splitlines()[0])
    parser.add_argument("--row", action="append", choices=[row.name for row in ROWS], help="only this row (may be repeated)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--warmup", type=float, default=0.5, help="seconds of each run before its window")
    parser.add_argument("--scale", type=float, default=1, help="part of the work of rows that are counted, not timed")
    parser.add_argument("--leave-memory", action="store_true", help="free memory is not touched beforehand")
    parser.add_argument("--pin", action="store_true", help="brokers on processor 0, the load on processor 1")
    parser.add_argument("--growth", action="store_true", help="also how cost grows with connections, partitions, record sizes")
    parser.add_argument("--calibrate", action="store_true", help="find out first which JVM settings are Apache Kafka's best")
    parser.add_argument("--jvm", choices=[jvm.name for jvm in JVMS], help="one of them by name")
    parser.add_argument("--warm-brokers", type=float, default=10, help="seconds of every kind of load before all rows")
    parser.add_argument("--no-apache", action="store_true", help="ours alone")
    parser.add_argument("--directory", type=Path, help="where the brokers keep their data (default: a temporary directory)")
    parser.add_argument("--results", type=Path, default=RESULTS / "latest.json")
    return parser.parse_args()


def machine() -> dict[str, object]:
    return {
        "processors": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def choose_jvm(given: argparse.Namespace, directory: Path, form: Form) -> tuple[Jvm, object]:
    """The way of running Apache Kafka: named, kept from before, or found out now."""
    if given.jvm is not None:
        return next(jvm for jvm in JVMS if jvm.name == given.jvm), "named on the command line"
    path = given.results.parent / "apache.json"
    if not given.calibrate and (jvm := calibrate.kept(path)) is not None:
        return jvm, json.loads(path.read_text())["scores"]
    if not given.calibrate:
        return JVMS[0], "not calibrated: its start script's own settings"
    best, scores = calibrate.best_jvm(directory, max(3.0, form.seconds), form)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"best": best.name, "scores": scores}, indent=1) + "\n")
    return best, scores


def run(given: argparse.Namespace, directory: Path, told: dict[str, Any]) -> None:
    """Starts all sides, runs every row and plot that was asked for, and fills in what is told."""
    form = Form(given.rounds, given.seconds, given.warmup, given.scale, "1" if given.pin else None)
    sides: list[Broker] = [Ours(directory / "ours", "0" if given.pin else None)]
    told |= {"machine": machine(), "form": asdict(form), "pinned": given.pin, "touched_memory": not given.leave_memory}
    told |= {"rows": {}, "failed": {}, "verdicts": [], "growth": {}}
    if not given.no_apache:
        kafka = Apache(directory / "apache", "0" if given.pin else None)
        kafka.jvm, scores = choose_jvm(given, directory, form)
        told["apache"] = {"settings": kafka.jvm.told(), "name": kafka.jvm.name, "scores": scores}
        print("Apache Kafka:", told["apache"]["settings"], flush=True)
        sides.append(kafka)
    sides.append(Bare(directory / "bare", "0" if given.pin else None))
    try:
        for side in sides:
            side.format()
            side.start()
        brokers.settle()
        for side in sides:
            calibrate.warm_up(side, given.warm_brokers, form)
        told["limits"] = run_limits(directory)
        print("limits:", json.dumps(told["limits"]), flush=True)
        run_rows([row for row in ROWS if given.row is None or row.name in given.row], sides, form, told)
        for growth in GROWTHS if given.growth else []:
            print("growth:", growth.name, flush=True)
            told["growth"][growth.name] = run_growth(growth, sides[:-1], form)
    finally:
        for side in sides:
            side.discard()


def run_rows(rows: Sequence[Row], sides: list[Broker], form: Form, told: dict[str, Any]) -> None:
    """A row that one of the sides cannot do is told as such, and the others have their turn all the same."""
    for row in rows:
        try:
            run_row(row, sides, form, told)
        except RuntimeError as error:
            told["failed"][row.name] = str(error)
            print(f"{row.name:22} not measured: {error}", flush=True)


def run_row(row: Row, sides: list[Broker], form: Form, told: dict[str, Any]) -> None:
    began, (_, steal) = time.monotonic(), machine_s()
    found = measure.run_row(row, sides, form)
    verdicts = measure.judge(row, found, told["limits"])
    took_s = time.monotonic() - began
    stolen = (machine_s()[1] - steal) / took_s
    told["rows"][row.name] = {"about": row.about, "took_s": took_s, "stolen_cores": stolen, "runs": found}
    told["verdicts"] += [asdict(verdict) for verdict in verdicts]
    print("\n".join(measure.lines(verdicts)), flush=True)


def main() -> None:
    given = arguments()
    # A harness that is told to stop stops its brokers, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    brokers.build_load()
    directory = given.directory or Path(tempfile.mkdtemp(prefix="versus-"))
    told: dict[str, Any] = {}
    began = time.monotonic()
    try:
        with nullcontext() if given.leave_memory else touched_memory(directory):
            run(given, directory, told)
    finally:
        if given.directory is None:
            shutil.rmtree(directory, ignore_errors=True)
        told["took_s"] = time.monotonic() - began
        given.results.parent.mkdir(parents=True, exist_ok=True)
        given.results.write_text(json.dumps(told, indent=1) + "\n")
    short = [verdict["row"] for verdict in told["verdicts"] if verdict["met"] is False]
    print(f"{told['took_s']:.0f} s; results in {given.results}; short of a goal: {', '.join(dict.fromkeys(short)) or 'none'}")
    if told["failed"]:
        sys.exit(f"not measured: {', '.join(told['failed'])}")


if __name__ == "__main__":
    main()
