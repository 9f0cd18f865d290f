"""Logs in a broker's directories that are of no partition which the cluster has there."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import Code
from pykafkacore.protocol.types import uuid_to_text
from pykafkacore.testing import Broker
from tests.cluster.broker.test_broker import create, latest, produce
from tests.support.wire import Wire, batch_of

SEGMENT = "00000000000000000000.log"
UNIQUE = "[0-9a-f]{32}"


def log_of(data: Path, name: str, topic_id: str | None, records: bytes) -> None:
    directory = data / name
    directory.mkdir()
    (directory / SEGMENT).write_bytes(records)
    if topic_id is not None:
        (directory / "partition.metadata").write_text(f"version: 0\ntopic_id: {topic_id}")


def strays(data: Path) -> dict[str, Path]:
    """By the partition's name."""
    found = {}
    for path in data.iterdir():
        named = re.fullmatch(rf"(.+)\.{UNIQUE}-stray", path.name)
        if named is not None:
            found[named[1]] = path
    return found


def described(wire: Wire) -> set[str]:
    answer = wire.ask("DescribeLogDirs", 4, api("DescribeLogDirs").request(topics=None))
    return {topic.name for result in answer.results for topic in result.topics}


def filled(tmp_path: Path, *names: str) -> Path:
    """Where a broker's logs lie that has stopped; one record in each topic."""
    with Broker(data=tmp_path) as broker:
        wire = Wire(broker.port)
        for name in names:
            assert create(wire, name) == produce(wire, name, batch_of(1, 100)) == Code.NONE
        wire.close()
        return broker.data


def test_logs_of_topics_that_are_no_more_are_set_aside_whole_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = filled(tmp_path, "kept")
    gone = uuid_to_text(b"a topic deleted.")
    log_of(data, "gone-0", gone, b"once")
    log_of(data, "gone-12", gone, b"more")
    log_of(data, "nameless-0", None, b"")
    log_of(data, "kept-7", (data / "kept-0/partition.metadata").read_text().split()[-1], b"none")
    (data / f"gone-1.{'0a' * 16}-delete").mkdir()
    (data / "notes").mkdir()
    for _ in range(2):
        with Broker(data=tmp_path) as broker, caplog.at_level(logging.WARNING):
            wire = Wire(broker.port)
            assert (latest(wire, "kept"), described(wire)) == (1, {"kept"})
            wire.close()
        found = strays(data)
        assert set(found) == {"gone-0", "gone-12", "nameless-0", "kept-7"}
        assert {name: (path / SEGMENT).read_bytes() for name, path in found.items()} == {
            "gone-0": b"once", "gone-12": b"more", "nameless-0": b"", "kept-7": b"none",
        }  # fmt: skip
        assert not any((data / name).exists() for name in found)
        assert (data / "kept-0").exists() and (data / "notes").exists() and (data / "__cluster_metadata-0").exists()
    told = [each.getMessage() for each in caplog.records if "is of no partition" in each.getMessage()]
    assert len(told) == 4, "told once, when it is set aside"
    [of_gone] = [text for text in told if f"{data / 'gone-0'} " in text]
    assert str(found["gone-0"]) in of_gone and "log.dirs" in of_gone


def test_a_topic_that_was_made_again_meanwhile_gets_a_log_of_its_own(tmp_path: Path) -> None:
    data = filled(tmp_path, "again", "kept")
    identity = data / "again-0/partition.metadata"
    identity.write_text(f"version: 0\ntopic_id: {uuid_to_text(b'the topic before')}")
    with Broker(data=tmp_path) as broker:
        wire = Wire(broker.port)
        assert (latest(wire, "again"), latest(wire, "kept")) == (0, 1)
        assert produce(wire, "again", batch_of(1, 100)) == Code.NONE
        wire.close()
    assert set(strays(data)) == {"again-0"}
    assert (strays(data)["again-0"] / SEGMENT).stat().st_size > 100
    with Broker(data=tmp_path) as broker:
        wire = Wire(broker.port)
        assert (latest(wire, "again"), latest(wire, "kept")) == (1, 1)
        wire.close()
