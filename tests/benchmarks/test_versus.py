"""The harness itself: its table is sound, its verdicts are right, its page renders. No time is ever asserted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.versus import measure, report
from benchmarks.versus.rows import MEASURES, ROWS, Goal, Row
from tests.support import apache

ROOT = Path(__file__).parent.parent.parent


def result(bytes_moved: float, cpu_s: float = 1.0) -> dict[str, float]:
    return {"bytes": bytes_moved, "read_bytes": 0, "seconds": 1, "broker_user_s": cpu_s, "broker_system_s": 0}


def test_rows_have_names_of_their_own_and_measures_that_exist() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert all(goal.measure in MEASURES for row in ROWS for goal in row.goals)


def test_an_advantage_is_more_of_what_is_good_or_less_of_what_is_not() -> None:
    row = Row("r", "", {}, (Goal("produced", 2), Goal("cpu-gb", 4)))
    found = {"ours": [result(4e9), result(6e9)], "Apache Kafka": [result(2e9), result(2e9, 2)]}
    more, less = measure.judge(row, found)
    assert (more.advantage, more.worst, more.best, more.met) == (2.5, 2, 3, True)
    assert less.advantage == pytest.approx((2 + 6) / 2) and less.met is True


def test_a_goal_that_is_missed_is_told_as_short() -> None:
    row = Row("r", "", {}, (Goal("produced", 2, limit=1.3), Goal("cpu-gb", at_most=0.1)))
    found = {"ours": [result(1e9)], "Apache Kafka": [result(2e9)], "bare": [result(1.2e9)]}
    verdicts = measure.judge(row, found)
    assert [verdict.met for verdict in verdicts] == [False, False]
    assert all("SHORT" in line for line in measure.lines(verdicts))


def test_a_limit_alone_can_be_missed() -> None:
    row = Row("r", "", {}, (Goal("produced", limit=1.3),))
    assert measure.judge(row, {"ours": [result(1e9)], "bare": [result(1.2e9)]})[0].met is True
    assert measure.judge(row, {"ours": [result(1e9)], "bare": [result(1.4e9)]})[0].met is False


@pytest.mark.slow
@pytest.mark.oracle
@pytest.mark.skipif(apache.missing() is not None or shutil.which("cargo") is None, reason="needs Java, Maven and Cargo")
def test_a_row_runs_on_both_brokers_and_its_page_renders(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    command = [sys.executable, "-m", "benchmarks.versus", "--row", "produce-64k", "--rounds", "1", "--seconds", "0.5"]
    more = ["--touch-gib", "0", "--warm-brokers", "1", "--results", str(path)]
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
