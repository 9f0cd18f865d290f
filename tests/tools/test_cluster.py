"""kafka-cluster and kafka-broker-api-versions without a cluster: tables and lines."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from pykafkacore.tools import cluster
from pykafkacore.tools.api_versions import version_lines
from pykafkacore.tools.cluster import BROKERS, CONTROLLERS, endpoint_lines
from tests.support.apache import free_port
from tests.tools.kit import ours

NODES = [
    SimpleNamespace(broker_id=1, host="long.example.com", port=9092, rack=None, is_fenced=False),
    SimpleNamespace(broker_id=22, host="h", port=19092, rack="r1", is_fenced=True),
]


def test_brokers_are_a_table_with_states() -> None:
    assert endpoint_lines(NODES, BROKERS) == [
        "ID         HOST             PORT       RACK       STATE      ENDPOINT_TYPE  ",
        "1          long.example.com 9092       null       unfenced   broker         ",
        "22         h                19092      r1         fenced     broker         ",
    ]


def test_controllers_are_a_table_without_states() -> None:
    # A column is as wide as the longest host, whatever its title.
    assert endpoint_lines(NODES[1:], CONTROLLERS) == [
        "ID         HOST PORT       RACK       ENDPOINT_TYPE  ",
        "22         h 19092      r1         controller     ",
    ]


def test_fenced_brokers_are_asked_of_brokers(capsys: pytest.CaptureFixture[str]) -> None:
    assert cluster.run(["list-endpoints", "-C", "h:1", "--include-fenced-brokers"]) == 1
    assert "only supported with --bootstrap-server" in capsys.readouterr().err


def test_versions_are_told_with_the_one_that_would_be_used() -> None:
    lines = version_lines({0: (0, 13), 18: (0, 99), 3: (50, 60), 46: (0, 0), 9999: (1, 2)})
    assert lines[0] == "\tProduce(0): 0 to 13 [usable: 13]"
    assert "\tMetadata(3): 50 to 60 [unusable: node too new]" in lines
    assert "\tListPartitionReassignments(46): 0 [usable: 0]" in lines
    assert lines[-1] == "\tUNKNOWN(9999): 1 to 2"
    assert "\tFetch(1): UNSUPPORTED" in lines


def test_a_cluster_that_does_not_answer_is_said_in_a_line(tmp_path: Path) -> None:
    config = tmp_path / "client.properties"
    config.write_text("default.api.timeout.ms=200\n")
    done = ours("kafka-cluster", "cluster-id", "-b", f"127.0.0.1:{free_port()}", "-c", str(config))
    assert done.code == 1 and done.out == ""
    assert done.err.startswith("No Kafka node answers at 127.0.0.1:") and len(done.err.splitlines()) == 1
