"""AlterReplicaLogDirs on Apache Kafka and on ours: the same answers, and what a client sees of a move."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import Code
from tests.support import apache
from tests.support.apache import ApacheKafka
from tests.support.nodes import CLUSTER_ID
from tests.support.wire import Wire, create_topic

pytestmark = [pytest.mark.oracle, pytest.mark.skipif(apache.missing() is not None, reason=str(apache.missing()))]

NAMES = ("a", "b", "c")
LONG_NAME = "n" * 215


class Site:
    """A broker over the directories a, b and c of which c is cordoned, and `broken`, which cannot be used."""

    def __init__(self, home: Path, port: int) -> None:
        self.home, self.port = home, port

    def ask(self, name: str, version: int, request: Any) -> Any:
        wire = Wire(self.port)
        try:
            return wire.ask(name, version, request)
        finally:
            wire.close()

    def move(self, version: int, *wanted: tuple[str, str, list[int]]) -> dict[tuple[str, int], str]:
        message = api("AlterReplicaLogDirs").request
        dirs = [
            message.AlterReplicaLogDir(
                path=str(self.home / path), topics=[message.AlterReplicaLogDirTopic(name=name, partitions=indexes)]
            )
            for path, name, indexes in wanted
        ]
        answer = self.ask("AlterReplicaLogDirs", version, message(dirs=dirs))
        return {
            (topic.topic_name, row.partition_index): Code(row.error_code).name
            for topic in answer.results
            for row in topic.partitions
        }

    def places(self, topic: str) -> dict[int, list[tuple[str, bool]]]:
        """Of each partition the directories that have it, and whether it is on its way there."""
        answer = self.ask("DescribeLogDirs", 4, api("DescribeLogDirs").request(topics=None))
        found: dict[int, list[tuple[str, bool]]] = {}
        for told in answer.results:
            for row in (row for each in told.topics if each.name == topic for row in each.partitions):
                found.setdefault(row.partition_index, []).append((Path(told.log_dir).name, row.is_future_key))
        return found


def lines(home: Path) -> dict[str, str]:
    for name in NAMES:
        (home / name).mkdir(parents=True, exist_ok=True)
    return {"log.dirs": ",".join(str(home / name) for name in (*NAMES, "broken")), "cordoned.log.dirs": str(home / "c")}


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Site]]:
    from tests.e2e.test_log_dirs import make_node

    home = tmp_path_factory.mktemp("theirs")
    theirs = ApacheKafka(home, **{key.replace(".", "_"): value for key, value in lines(home).items()})
    theirs.format(CLUSTER_ID)
    for path in (home / "broken").iterdir():
        path.unlink()
    (home / "broken").rmdir()
    (home / "broken").touch()
    own_home = tmp_path_factory.mktemp("ours")
    (own_home / "broken").touch()
    ours = make_node(own_home, **lines(own_home))
    try:
        with theirs:
            ours.start().wait()
            found = [Site(own_home, ours.port), Site(home, theirs.port)]
            for site in found:
                create_topic(site.port, "moving", 4)
                create_topic(site.port, LONG_NAME, 1)
            yield found
    finally:
        ours.kill()


CASES: dict[str, list[tuple[str, str, list[int]]]] = {
    "nothing": [],
    "unknown directory": [("nowhere", "moving", [0])],
    "offline directory": [("broken", "moving", [0])],
    "offline directory, unknown topic": [("broken", "unknown", [0])],
    "unknown topic": [("a", "unknown", [0])],
    "unknown partition": [("a", "moving", [9])],
    "negative partition": [("a", "moving", [-1])],
    "no partition": [("a", "moving", [])],
    "a name too long": [("a", LONG_NAME, [0])],
    "cordoned": [("c", "moving", [0])],
    "cordoned, unknown topic": [("c", "unknown", [0])],
    "cordoned, a name too long": [("c", LONG_NAME, [0])],
    "good and bad": [("a", "moving", [0, 9]), ("nowhere", "moving", [1])],
    "twice in one directory": [("a", "moving", [2, 2])],
    "in two directories": [("nowhere", "moving", [3]), ("b", "moving", [3])],
    "in two directories, the last of them unknown": [("b", "moving", [3]), ("nowhere", "moving", [3])],
}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_both_answer_alike(sites: list[Site], case: str, version: int) -> None:
    ours, theirs = (site.move(version, *CASES[case]) for site in sites)
    assert ours == theirs


def test_a_directory_that_is_offline_keeps_nothing_from_moving_between_the_others(sites: list[Site]) -> None:
    """KAFKA: 4.4 moves nothing while any directory is offline."""
    ours, theirs = sites
    for directory in ("b", "a"):
        assert set(ours.move(2, (directory, "moving", [0, 1])).values()) == {"NONE"}
        end = time.monotonic() + 30
        while any(ours.places("moving")[index] != [(directory, False)] for index in (0, 1)):
            assert time.monotonic() < end, ours.places("moving")
            time.sleep(0.05)
    [away] = {"a", "b"} - {name for name, _ in theirs.places("moving")[0]}
    assert set(theirs.move(2, (away, "moving", [0])).values()) == {"KAFKA_STORAGE_ERROR"}
