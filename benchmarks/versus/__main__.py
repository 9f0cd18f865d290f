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
from dataclasses import asdict
from pathlib import Path

from benchmarks.versus import brokers, measure
from benchmarks.versus.brokers import Apache, Bare, Broker, Ours
from benchmarks.versus.loading import Form, run_limits
from benchmarks.versus.rows import ROWS

RESULTS = Path(__file__).parent.parent / "results"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.versus", description=__doc__.splitlines()[0])
    parser.add_argument("--row", action="append", choices=[row.name for row in ROWS], help="only this row (may be repeated)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--warmup", type=float, default=0.5, help="seconds of each run before its window")
    parser.add_argument("--scale", type=float, default=1, help="part of the work of rows that are counted, not timed")
    parser.add_argument("--touch-gib", type=int, default=4, help="page cache that is touched before anything is measured")
    parser.add_argument("--pin", action="store_true", help="brokers on processor 0, the load on processor 1")
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


def main() -> None:
    given = arguments()
    # A harness that is told to stop stops its brokers, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rows = [row for row in ROWS if given.row is None or row.name in given.row]
    brokers.build_load()
    directory = given.directory or Path(tempfile.mkdtemp(prefix="versus-"))
    processors = "0" if given.pin else None
    form = Form(given.rounds, given.seconds, given.warmup, given.scale, "1" if given.pin else None)
    kinds: list[type[Broker]] = [Ours, Bare] if given.no_apache else [Ours, Apache, Bare]
    sides = [kind(directory / kind.__name__.lower(), processors) for kind in kinds]
    told: dict[str, object] = {"machine": machine(), "form": asdict(form), "rows": {}, "verdicts": []}
    began = time.monotonic()
    try:
        for side in sides:
            side.format()
            side.start()
        brokers.touch_page_cache(directory, given.touch_gib << 30)
        told["limits"] = run_limits(directory)
        print("limits:", json.dumps(told["limits"]), flush=True)
        for row in rows:
            row_began = time.monotonic()
            found = measure.run_row(row, sides, form)
            verdicts = measure.judge(row, found)
            told["rows"][row.name] = {"about": row.about, "took_s": time.monotonic() - row_began, "runs": found}
            told["verdicts"] += [asdict(verdict) for verdict in verdicts]
            print("\n".join(measure.lines(verdicts)), flush=True)
    finally:
        for side in sides:
            side.discard()
        if given.directory is None:
            shutil.rmtree(directory, ignore_errors=True)
    told["took_s"] = time.monotonic() - began
    given.results.parent.mkdir(parents=True, exist_ok=True)
    given.results.write_text(json.dumps(told, indent=1) + "\n")
    print(f"{time.monotonic() - began:.0f} s; results in {given.results}")


if __name__ == "__main__":
    main()
