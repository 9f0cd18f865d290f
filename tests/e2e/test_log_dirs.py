"""A broker over several disks: where partitions go, and what becomes of them when a disk fails, is away, and is back."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.broker.storage import Format, format_directories, random_uuid, standalone_voter
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import Code
from pykafkacore.protocol.headers import decode_response
from tests.support.apache import addresses, free_port
from tests.support.faults import faults
from tests.support.nodes import CLUSTER_ID, Node
from tests.support.waiting import wait_until
from tests.support.wire import Wire, batch_of, create_topic, produce_frame

pytestmark = pytest.mark.e2e

PARTITIONS = 6
DIRECTORIES = ("a", "b", "c")


def make_node(home: Path, **extra: str) -> Node:
    """Formatted on first use. The metadata log lies in `a`."""
    port = free_port()
    paths = [str(home / name) for name in DIRECTORIES]
    ids = {path: random_uuid() for path in paths}
    voters = (standalone_voter(1, ids[paths[0]], [("CONTROLLER", "127.0.0.1", port + 1)]),)
    format_directories(Format(CLUSTER_ID, 1, tuple(paths), paths[0], voters), ids, time.time_ns() // 1_000_000)
    lines = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.listener.names": "CONTROLLER",
        **addresses(port, port + 1),
        "log.dirs": ",".join(paths),
        "broker.heartbeat.interval.ms": "200",
        **{key.replace("_", "."): value for key, value in extra.items()},
    }
    return Node(home, 1, lines, port)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = make_node(tmp_path)
    yield made
    made.kill()


def ask(node: Node, name: str, version: int, request: Any) -> Any:
    wire = Wire(node.port)
    try:
        return wire.ask(name, version, request)
    finally:
        wire.close()


def produce(node: Node, topic: str, partition: int) -> Code:
    wire = Wire(node.port)
    wire.send(produce_frame(topic, partition, batch_of(1, 100), -1))
    [told] = decode_response(api("Produce"), 9, wire.receive())[1].responses[0].partition_responses
    wire.close()
    return Code(told.error_code)


def described(node: Node) -> dict[str, Any]:
    """What DescribeLogDirs tells of each directory."""
    answer = ask(node, "DescribeLogDirs", 5, api("DescribeLogDirs").request(topics=None))
    return {Path(each.log_dir).name: each for each in answer.results}


def places(node: Node, topic: str) -> dict[str, list[int]]:
    return {
        name: sorted(row.partition_index for found in told.topics if found.name == topic for row in found.partitions)
        for name, told in described(node).items()
    }


def leaders(node: Node, topic: str) -> dict[int, int]:
    message = api("Metadata").request
    told = ask(node, "Metadata", 9, message(topics=[message.MetadataRequestTopic(name=topic)])).topics[0]
    return {each.partition_index: each.leader_id for each in told.partitions}


def ends(node: Node, topic: str) -> list[tuple[Code, int]]:
    message = api("ListOffsets").request
    rows = [message.ListOffsetsPartition(partition_index=number, timestamp=-1) for number in range(PARTITIONS)]
    answer = ask(node, "ListOffsets", 7, message(replica_id=-1, topics=[message.ListOffsetsTopic(name=topic, partitions=rows)]))
    return [(Code(each.error_code), each.offset) for each in answer.topics[0].partitions]


def test_new_partitions_go_where_the_fewest_are_and_stay_there(node: Node) -> None:
    node.start().wait()
    create_topic(node.port, "one", 2)
    create_topic(node.port, "spread", PARTITIONS - 2)
    counts = Counter({name: len(one) for name, one in places(node, "one").items()})
    counts.update({name: len(spread) for name, spread in places(node, "spread").items()})
    assert counts == dict.fromkeys(DIRECTORIES, 2)
    before = places(node, "spread")
    node.kill()
    node.start().wait()
    assert places(node, "spread") == before


def test_a_directory_that_fails_takes_only_its_own_partitions_offline(library: Path, node: Node) -> None:
    node.environment = faults(library, node.directory, "pwrite", "/b/")
    node.start().wait()
    create_topic(node.port, "spread", PARTITIONS)
    lost = places(node, "spread")["b"]
    assert len(lost) == 2
    assert [produce(node, "spread", number) for number in range(PARTITIONS)] == [Code.NONE] * PARTITIONS
    (node.directory / "on").touch()
    assert produce(node, "spread", lost[0]) == Code.KAFKA_STORAGE_ERROR
    wait_until(lambda: described(node)["b"].error_code == Code.KAFKA_STORAGE_ERROR)
    told = described(node)
    assert (told["b"].topics, told["b"].total_bytes) == ([], -1)
    wait_until(lambda: [number for number, leader in leaders(node, "spread").items() if leader == -1] == lost)
    kept = [number for number in range(PARTITIONS) if number not in lost]
    assert [produce(node, "spread", number) for number in kept] == [Code.NONE] * len(kept)
    assert Code.NONE not in [produce(node, "spread", number) for number in lost]
    create_topic(node.port, "later", 4)
    assert {name: len(later) for name, later in places(node, "later").items()} == {"a": 2, "b": 0, "c": 2}


def test_a_directory_that_is_away_at_the_start_is_left_out_and_is_whole_when_it_is_back(node: Node) -> None:
    node.start().wait()
    create_topic(node.port, "spread", PARTITIONS)
    assert [produce(node, "spread", number) for number in range(PARTITIONS)] == [Code.NONE] * PARTITIONS
    lost = places(node, "spread")["b"]
    wait_until(lambda: node.stop() == 0)
    (node.directory / "b").rename(node.directory / "away")
    (node.directory / "b").touch()
    node.start().wait()
    assert described(node)["b"].error_code == Code.KAFKA_STORAGE_ERROR
    assert f"{node.directory / 'b'} cannot be used" in node.log()
    is_kept = [number not in lost for number in range(PARTITIONS)]
    assert [end == (Code.NONE, 1) for end in ends(node, "spread")] == is_kept
    assert sum(map(len, places(node, "spread").values())) == PARTITIONS - len(lost), "none is made anew elsewhere"
    node.kill()
    (node.directory / "b").unlink()
    (node.directory / "away").rename(node.directory / "b")
    node.start().wait()
    wait_until(lambda: ends(node, "spread") == [(Code.NONE, 1)] * PARTITIONS)
    assert [produce(node, "spread", number) for number in range(PARTITIONS)] == [Code.NONE] * PARTITIONS


def test_a_cordoned_directory_takes_no_new_partitions(tmp_path: Path) -> None:
    node = make_node(tmp_path, cordoned_log_dirs=str(tmp_path / "b"))
    try:
        node.start().wait()
        create_topic(node.port, "spread", PARTITIONS)
        assert {name: len(found) for name, found in places(node, "spread").items()} == {"a": 3, "b": 0, "c": 3}
        assert {name: told.is_cordoned for name, told in described(node).items()} == {"a": False, "b": True, "c": False}
    finally:
        node.kill()


def test_without_the_directory_of_the_metadata_log_a_node_refuses_to_start(node: Node) -> None:
    (node.directory / "a").rename(node.directory / "away")
    (node.directory / "a").touch()
    node.start()
    assert node.process is not None and node.process.wait(30) == 1
    assert "holds the metadata log and cannot be used" in node.log()
