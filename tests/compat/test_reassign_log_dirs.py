"""Apache's kafka-reassign-partitions moves replicas of our broker between its log directories, throttled, to its end."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.e2e.test_log_dirs import make_node
from tests.e2e.test_moves import BATCH_RECORDS, RATE, fill, has_arrived, other_than, record_count, rows, where
from tests.support import apache
from tests.support.nodes import Node
from tests.support.wire import create_topic

pytestmark = [pytest.mark.oracle, pytest.mark.skipif(apache.missing() is not None, reason=str(apache.missing()))]

TOOL = "kafka-reassign-partitions"
BATCHES = 20
SLOW, QUICK = "1000000", "500000000"


def reassign(node: Node, plan: Path, *arguments: str) -> str:
    server = f"127.0.0.1:{node.port}"
    return apache.run_tool(TOOL, "--bootstrap-server", server, "--reassignment-json-file", str(plan), *arguments)


def write_plan(node: Node, path: Path, topic: str, directory: str) -> Path:
    row = {"topic": topic, "partition": 0, "replicas": [1], "log_dirs": [str(node.directory / directory)]}
    path.write_text(json.dumps({"version": 1, "partitions": [row]}))
    return path


def configured_rate(node: Node) -> str:
    server = f"127.0.0.1:{node.port}"
    return apache.run_tool("kafka-configs", "--bootstrap-server", server, "--describe", "--broker", "1")


def test_a_replica_moves_within_the_throttle_and_the_tool_sees_it_arrive(tmp_path: Path) -> None:
    node = make_node(tmp_path)
    try:
        node.start().wait()
        create_topic(node.port, "moving", 1)
        fill(node, "moving", BATCHES)
        source = where(node, "moving")
        target = other_than(source)
        plan = write_plan(node, tmp_path / "plan.json", "moving", target)
        throttle = "--replica-alter-log-dirs-throttle"

        began = time.monotonic()
        told = reassign(node, plan, "--execute", throttle, SLOW)
        there = node.directory / target
        assert f"Successfully started moving log directory to {there} for replica moving-0 with broker 1" in told
        assert f"{RATE}={SLOW}" in configured_rate(node)
        told = reassign(node, plan, "--verify", "--preserve-throttles")
        row = rows(node, "moving")[target]
        assert row.is_future_key
        assert 0 < row.partition_size <= int(SLOW) * (time.monotonic() - began + 1)
        assert "Reassignment of replica moving-0-1 is still in progress." in told

        # The same move again, with another throttle.
        reassign(node, plan, "--execute", "--additional", throttle, QUICK)
        deadline = time.monotonic() + 30
        while not has_arrived(node, "moving", target):
            assert time.monotonic() < deadline, rows(node, "moving")
            time.sleep(0.05)
        told = reassign(node, plan, "--verify")
        assert "Reassignment of replica moving-0-1 completed successfully." in told
        assert RATE not in configured_rate(node), "the tool takes its throttle away"
        assert record_count(node, "moving") == BATCHES * BATCH_RECORDS
    finally:
        node.kill()
