"""The harness itself: its table is sound, its verdicts are right, its page renders. No time is ever asserted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.versus import __main__ as versus
from benchmarks.versus import measure, report
from benchmarks.versus.loading import Form
from benchmarks.versus.row import MEASURES, Goal, Row
from benchmarks.versus.rows import ROWS
from tests.support import apache

ROOT = Path(__file__).parent.parent.parent


LATENCY = {"p50_us": 12.0, "p99_us": 15.0, "p99_9_us": 50.0, "p99_99_us": 200.0}
LIMITS = {
    **dict.fromkeys(("memcpy_gb_s", "crc32c_gb_s", "loopback_cpu_s_gb", "page_cache_write_gb_s", "interpreter_s"), 1.5),
    "loopback_gb_s": 3, "fdatasync": LATENCY, "wake_up": LATENCY,
}  # fmt: skip


def result(bytes_moved: float, cpu_s: float = 1.0) -> dict[str, float]:
    return {"bytes": bytes_moved, "read_bytes": 0, "seconds": 1, "broker_user_s": cpu_s, "broker_system_s": 0}


def test_rows_have_names_of_their_own_and_measures_that_exist() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert all(goal.measure in MEASURES for row in ROWS for goal in row.goals)


def test_an_advantage_is_more_of_what_is_good_or_less_of_what_is_not() -> None:
    row = Row("r", "", {}, (Goal("produced", 2), Goal("cpu-gb", 4)))
    found = {"ours": [result(4e9), result(6e9)], "Apache Kafka": [result(2e9), result(2e9, 2)]}
    more, less = measure.judge(row, found, LIMITS)
    assert (more.advantage, more.worst, more.best, more.met) == (2.5, 2, 3, True)
    assert less.advantage == pytest.approx((2 + 6) / 2) and less.met is True


def test_a_goal_that_is_missed_is_told_as_short() -> None:
    row = Row("r", "", {}, (Goal("produced", 2, limit=1.3), Goal("cpu-gb", at_most=0.1)))
    found = {"ours": [result(1e9)], "Apache Kafka": [result(2e9)], "bare": [result(1.2e9)]}
    verdicts = measure.judge(row, found, LIMITS)
    assert [verdict.met for verdict in verdicts] == [False, False]
    assert all("SHORT" in line for line in measure.lines(verdicts))


def test_every_limit_of_the_machine_that_a_row_names_is_measured() -> None:
    allowed = {
        (row.name, goal.measure): goal.machine(LIMITS) for row in ROWS for goal in row.goals if goal.machine is not None
    }
    assert (allowed["api-versions", "ack-p99"], allowed["start-up", "took"]) == (0.015, 1.5)
    assert not any(row.bare for row in ROWS for goal in row.goals if goal.machine), "the bare loop is the limit there"
    row = Row("r", "", {}, (Goal("produced", 2, machine=lambda limits: limits["loopback_gb_s"]),))
    assert measure.judge(row, {"ours": [result(1e9)]}, LIMITS)[0].bare == 3


def test_a_limit_alone_can_be_missed() -> None:
    row = Row("r", "", {}, (Goal("produced", limit=1.3),))
    assert measure.judge(row, {"ours": [result(1e9)], "bare": [result(1.2e9)]}, LIMITS)[0].met is True
    assert measure.judge(row, {"ours": [result(1e9)], "bare": [result(1.4e9)]}, LIMITS)[0].met is False


def test_a_limit_is_told_as_so_many_times_what_the_bare_loop_takes() -> None:
    row = Row("r", "", {}, (Goal("produced"), Goal("cpu-gb")))
    rate, cost = measure.judge(row, {"ours": [result(1e9, 3)], "bare": [result(2e9, 3)]}, LIMITS)
    assert (rate.away, cost.away) == (2, 2)
    assert "2x of the limit 2" in measure.lines([rate])[0]
    assert measure.judge(row, {"ours": [result(1e9)]}, LIMITS)[0].away is None


def told() -> dict[str, Any]:
    """What a run tells, made up."""
    row = next(row for row in ROWS if row.name == "produce-zstd")
    run = {**result(2e9), "requests": 10, "payload_bytes": 4e9, "broker_rss_bytes": 1 << 20}
    found = {"ours": [run], "Apache Kafka": [{**run, "broker_user_s": 4}]}
    point = {"runs": [{**run, "latency": LATENCY}]}
    return {
        "machine": {"processors": 2, "memory_bytes": 1 << 30, "kernel": "6", "python": "3"},
        "form": {"rounds": 1, "seconds": 1, "scale": 0.5}, "failed": {},
        "rows": {row.name: {"about": row.about, "stolen_cores": 0.25}},
        "verdicts": [asdict(verdict) for verdict in measure.judge(row, found, LIMITS)],
        "limits": LIMITS,
        "growth": {"connections": {side: [{"point": 1, **point}, {"point": 5000, **point}] for side in found}},
    }  # fmt: skip


def test_the_page_tells_losses_first_and_says_what_was_scaled(tmp_path: Path) -> None:
    text = report.page(told(), tmp_path)
    short = text.partition("## Short of a goal")[2].partition("## Every row")[0]
    assert "produce-zstd" in short and "4.00x" in short and "≥ 8x" in short
    assert "did 0.5 of it" in text and "the host took 0.25 of a processor" in text
    pictures = sorted(path.name for path in tmp_path.glob("*.svg"))
    assert "advantages.svg" in pictures and "connections-requests.svg" in pictures
    for path in tmp_path.glob("*.svg"):
        ElementTree.parse(path)


def test_of_several_runs_the_last_that_had_a_row_tells_it_and_in_what_form_it_ran(tmp_path: Path) -> None:
    first, again = told(), told()
    again |= {"form": {"rounds": 5, "seconds": 10, "scale": 1}, "growth": {}}
    again["verdicts"] = [{**verdict, "advantage": 7.0} for verdict in again["verdicts"]]
    text = report.page(report.combined([first, again]), tmp_path)
    assert "7.00x" in text and "4.00x" not in text
    assert "5 rounds of 10 s; 1 of the work that it counts; the host took" in text and "How cost grows" in text


def test_a_row_that_failed_stops_no_other_and_stands_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [Row(name, f"about {name}", {}, (Goal("produced", 2),)) for name in ("hard", "easy")]

    def run_row(row: Row, *_: object) -> dict[str, list[dict[str, float]]]:
        if row.name == "hard":
            raise RuntimeError("hard on Apache Kafka: 12 requests are unanswered")
        return {"ours": [result(1e9)], "Apache Kafka": [result(4e8)]}

    monkeypatch.setattr(measure, "run_row", run_row)
    found = {**told(), "rows": {}, "verdicts": [], "growth": {}}
    versus.run_rows(rows, [], Form(1, 1, 0, 1, None), found)
    assert (list(found["rows"]), list(found["failed"])) == (["easy"], ["hard"])
    assert "**hard**: hard on Apache Kafka: 12 requests are unanswered" in report.page(report.combined([found]), tmp_path)
    again = {**found, "rows": {"hard": found["rows"]["easy"]}, "failed": {}}
    assert "12 requests are unanswered" not in report.page(report.combined([found, again]), tmp_path), "it was measured since"


@pytest.mark.slow
@pytest.mark.oracle
@pytest.mark.skipif(apache.missing() is not None or shutil.which("cargo") is None, reason="needs Java, Maven and Cargo")
def test_a_row_runs_on_both_brokers_and_its_page_renders(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    command = [sys.executable, "-m", "benchmarks.versus", "--row", "produce-64k", "--rounds", "1", "--seconds", "0.5"]
    more = ["--leave-memory", "--warm-brokers", "1", "--results", str(path)]
    subprocess.run([*command, *more], cwd=ROOT, check=True, timeout=300)
    told = json.loads(path.read_text())
    runs = told["rows"]["produce-64k"]["runs"]
    assert set(runs) == {"ours", "Apache Kafka", "bare"}
    for side in runs.values():
        assert side[0]["requests"] > 0 and side[0]["latency"]["count"] > 0 and side[0]["broker_rss_bytes"] > 0
    assert {verdict["measure"] for verdict in told["verdicts"]} == {goal.measure for goal in ROWS[0].goals}
    assert told["limits"]["memcpy_gb_s"] > 0
    text = report.page(told, tmp_path)
    assert "produce-64k" in text and (tmp_path / "advantages.svg").read_text().startswith("<svg")
