"""kafka-storage against Apache's of 4.4, and each broker on what the other's tool formatted."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import apache
from tests.support.apache import ApacheKafka, wait_for_port
from tests.tools.kit import PROGRAMS, ApacheTools, Done, agree, agree_roughly, ours

pytestmark = [pytest.mark.oracle, pytest.mark.skipif(apache.missing() is not None, reason=str(apache.missing()))]

TOOL = "kafka-storage"
CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qg"
DIRECTORY_ID = "JEXY6aqzQY-32P5TStzaFg"
BASE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.quorum.bootstrap.servers": "127.0.0.1:9093",
    "listeners": "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093",
    "controller.listener.names": "CONTROLLER",
    "log.dirs": "DATA",
}
NODES = {
    "combined": BASE,
    "several": {**BASE, "log.dirs": "DATA/zeta,DATA/alpha,DATA/m1,DATA/m2,DATA/x", "metadata.log.dir": "DATA/meta"},
    # Two names of the same hash.
    "colliding": {**BASE, "log.dirs": "DATA/BB,DATA/x", "metadata.log.dir": "DATA/Aa"},
    "static": {
        **{key: value for key, value in BASE.items() if key != "controller.quorum.bootstrap.servers"},
        "controller.quorum.voters": "1@127.0.0.1:9093",
    },
    "broker": {**BASE, "process.roles": "broker", "listeners": "PLAINTEXT://127.0.0.1:9092"},
    "controller": {**BASE, "process.roles": "controller", "listeners": "CONTROLLER://127.0.0.1:9093"},
}
INFO, FORMAT = "info -c {file}", f"format -c {{file}} -t {CLUSTER_ID}"
# One after the other in the same directories.
LIVES = [
    [
        INFO, FORMAT, f"{FORMAT} -s", INFO, f"{FORMAT} -s", f"{FORMAT} -s -g",
        "format -c {file} -t AAAAAAAAAAAAAAAAAAAAAA -s -g", f"{FORMAT} -N -g",
        f"{FORMAT} -I 1@127.0.0.1:9093:{DIRECTORY_ID} -g", INFO,
    ],
    [f"{FORMAT} -N", INFO],
    [f"{FORMAT} -I 1@127.0.0.1:9093:{DIRECTORY_ID},2@127.0.0.1:9094:MvDxzVmcRsaTz33bUuRU6A", INFO],
    [f"{FORMAT} -I 7@127.0.0.1:9093:{DIRECTORY_ID}", INFO],
]  # fmt: skip
LEVELS = [
    "-r 3.9", "-r 4.0-IV0", "-r 4.4", "-r 4.4-IV2", "-r 4.5-IV0", "-r 9.9", "-r 3.3", "-r 3.2", "-r 3.8",
    "-r 4.0 -f metadata.version=25", "-r 3.9 -f eligible.leader.replicas.version=1",
    *(f"-f kraft.version={level}" for level in (0, 1, 2)),
    *(f"-f metadata.version={level}" for level in (20, 25, 34, 99)),
    "-f transaction.version=0", "-f transaction.version=9", "-f transaction.version=x", "-f nonsense=1", "-f nonsense",
    "-f group.version=1 -f transaction.version=2 -f eligible.leader.replicas.version=1",
    "-f group.version=1 -f group.version=0", "-f share.version=1",
]  # fmt: skip
VOTERS = [
    "1", "1@h", "1@h:1", f"x@h:1:{DIRECTORY_ID}", f"1@h:x:{DIRECTORY_ID}", "1@h:1:zz", f"1@[::1]:1:{DIRECTORY_ID}",
    f"1@h:1:{DIRECTORY_ID},1@h:2:MvDxzVmcRsaTz33bUuRU6A",
]  # fmt: skip
WITHOUT_FILES = [
    *(f"version-mapping{each}" for each in ("", *(f" -r {name}" for name in ("3.9", "4.0-IV0", "4.4", "4.5-IV0", "9.9")))),
    *(
        f"feature-dependencies -f {each}"
        for each in (
            "metadata.version=25", "transaction.version=2", "eligible.leader.replicas.version=1 -f group.version=1",
            "kraft.version=1", "share.version=2 -f streams.version=1", "nonsense=1", "transaction.version=9", "x",
            "group.version=x", "metadata.version=99",
        )
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def newest() -> Iterator[ApacheTools]:
    """This one tool is published in 4.4."""
    tools = ApacheTools(apache.JAVA_DIR)
    try:
        yield tools.wait_until_ready()
    finally:
        tools.stop()


def life(tool: object, directory: Path, lines: dict[str, str], calls: list[str]) -> list[Done]:
    """What a tool says to these calls, in a directory that is new and always the same: its name tells the order.
    Which of several formatted directories an error names is the JDK's choice (a HashMap that is copied)."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    file = directory / "server.properties"
    file.write_text("".join(f"{key}={value}\n" for key, value in lines.items()).replace("DATA", str(directory / "data")))
    data = f"{lines['log.dirs']},{lines.get('metadata.log.dir', '')}".replace("DATA", str(directory / "data"))
    formatted = "|".join(re.escape(each) for each in data.split(",") if each)
    found = []
    for call in calls:
        done = tool(TOOL, *call.format(file=file).split())  # type: ignore[operator]
        err = re.sub(rf"(?<=^Log directory )(?:{formatted})(?= is already)", "ONE", done.err)
        found.append(Done(done.code, re.sub(r"(?<=directory\.id=)[\w-]{22}", "ID", done.out), err))
    return found


@pytest.mark.parametrize("node", list(NODES))
def test_directories_are_formatted_and_described_alike(newest: ApacheTools, node: str, tmp_path: Path) -> None:
    for calls in LIVES:
        mine = life(ours, tmp_path / "life", NODES[node], calls)
        for call, one, other in zip(calls, mine, life(newest, tmp_path / "life", NODES[node], calls), strict=True):
            agree(one, other, call)


def test_feature_levels_are_chosen_alike(newest: ApacheTools, tmp_path: Path) -> None:
    for options in LEVELS:
        calls = [f"{FORMAT} -s {options}"]
        agree(life(ours, tmp_path / "a", BASE, calls)[0], life(newest, tmp_path / "a", BASE, calls)[0], options)


def test_voters_are_read_alike(newest: ApacheTools, tmp_path: Path) -> None:
    for voters in VOTERS:
        calls = [f"{FORMAT} -I {voters}"]
        agree(life(ours, tmp_path / "a", BASE, calls)[0], life(newest, tmp_path / "a", BASE, calls)[0], voters)


def test_releases_and_features_are_explained_alike(newest: ApacheTools) -> None:
    for line in WITHOUT_FILES:
        agree(ours(TOOL, *line.split()), newest(TOOL, *line.split()), line)


@pytest.mark.parametrize("change", [{"log.retention.ms": "abc"}, {"process.roles": ""}, {"node.id": "x"}])
def test_bad_settings_are_told_in_words_of_our_own(newest: ApacheTools, change: dict[str, str], tmp_path: Path) -> None:
    calls = [f"{FORMAT} -s"]
    mine, theirs = (life(tool, tmp_path / "a", {**BASE, **change}, calls)[0] for tool in (ours, newest))
    agree_roughly(mine, theirs)
    assert next(iter(change)) in mine.err


def test_random_uuids_are_random_and_well_formed() -> None:
    found = {ours(TOOL, "random-uuid").out for _ in range(3)}
    assert len(found) == 3
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{21}\n", each) for each in found)


def test_apache_starts_on_what_ours_formatted(tmp_path: Path) -> None:
    kafka = ApacheKafka(tmp_path)
    assert ours(TOOL, "format", "--standalone", "-t", CLUSTER_ID, "-c", str(kafka.properties)).code == 0
    with kafka:
        assert ours("kafka-cluster", "cluster-id", "-b", kafka.bootstrap).out == f"Cluster ID: {CLUSTER_ID}\n"
        assert ours("kafka-topics", "--bootstrap-server", kafka.bootstrap, "--create", "--topic", "t").code == 0


def test_ours_starts_on_what_apache_formatted(newest: ApacheTools, tmp_path: Path) -> None:
    kafka = ApacheKafka(tmp_path)
    assert newest(TOOL, "format", "--standalone", "-t", CLUSTER_ID, "-c", str(kafka.properties)).code == 0
    process = subprocess.Popen(
        [str(PROGRAMS / "kafka-server-start"), str(kafka.properties)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        wait_for_port(kafka.port, process, 30)
        assert ours("kafka-cluster", "cluster-id", "-b", kafka.bootstrap).out == f"Cluster ID: {CLUSTER_ID}\n"
        assert ours("kafka-topics", "--bootstrap-server", kafka.bootstrap, "--create", "--topic", "t").code == 0
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0
