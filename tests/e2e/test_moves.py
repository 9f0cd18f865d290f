"""Replicas move between log directories (KIP-113) while they are written, through restarts, and within a throttle."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import Code
from pykafkacore.protocol.headers import decode_response
from tests.e2e.test_log_dirs import DIRECTORIES, ask, described, leaders, make_node, places, produce
from tests.support.faults import faults
from tests.support.nodes import Node
from tests.support.waiting import wait_until
from tests.support.wire import Wire, batch_of, create_topic, fetch_frame, produce_frame

pytestmark = pytest.mark.e2e

RATE = "replica.alter.log.dirs.io.max.bytes.per.second"
BATCH = batch_of(400_000, 1000)
BATCH_RECORDS = int.from_bytes(BATCH[57:61])


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = make_node(tmp_path)
    yield made
    made.kill()


def move(node: Node, directory: str, topic: str, *partitions: int) -> list[Code]:
    message = api("AlterReplicaLogDirs").request
    row = message.AlterReplicaLogDirTopic(name=topic, partitions=list(partitions))
    asked = message.AlterReplicaLogDir(path=str(node.directory / directory), topics=[row])
    answer = ask(node, "AlterReplicaLogDirs", 2, message(dirs=[asked]))
    return [Code(each.error_code) for each in answer.results[0].partitions]


def set_rate(node: Node, value: str) -> None:
    message = api("IncrementalAlterConfigs").request
    config = message.AlterableConfig(name=RATE, config_operation=0, value=value)
    resource = message.AlterConfigsResource(resource_type=4, resource_name="1", configs=[config])
    assert ask(node, "IncrementalAlterConfigs", 1, message(resources=[resource])).responses[0].error_code == 0


def fill(node: Node, topic: str, batches: int) -> None:
    wire = Wire(node.port)
    for _ in range(batches):
        wire.send(produce_frame(topic, 0, BATCH, -1))
        [told] = decode_response(api("Produce"), 9, wire.receive())[1].responses[0].partition_responses
        assert told.error_code == 0, told
    wire.close()


def rows(node: Node, topic: str) -> dict[str, Any]:
    """Directory to what lies there of partition 0."""
    return {
        name: row
        for name, told in described(node).items()
        for found in told.topics
        if found.name == topic
        for row in found.partitions
    }


def where(node: Node, topic: str) -> str:
    [place] = [name for name, row in rows(node, topic).items() if not row.is_future_key]
    return place


def other_than(place: str) -> str:
    return next(name for name in reversed(DIRECTORIES) if name != place)


def has_arrived(node: Node, topic: str, place: str) -> bool:
    return list(rows(node, topic)) == [place]


def record_count(node: Node, topic: str) -> int:
    """Read from the start on, with offsets without a gap."""
    wire, offset, deadline = Wire(node.port), 0, time.monotonic() + 20
    while True:
        wire.send(fetch_frame(topic, 0, offset, 4 << 20))
        [told] = decode_response(api("Fetch"), 12, wire.receive())[1].responses[0].partitions
        if told.error_code == Code.NOT_LEADER_OR_FOLLOWER and time.monotonic() < deadline:
            continue  # a node that has just started
        assert told.error_code == 0, told
        if not told.records:
            wire.close()
            assert offset == told.high_watermark
            return offset
        for base_offset, last_offset in spans(told.records):
            assert base_offset == offset
            offset = last_offset + 1


def spans(records: bytes) -> list[tuple[int, int]]:
    """First and last offset of each whole batch."""
    found, at = [], 0
    while at + 61 <= len(records):
        base = int.from_bytes(records[at : at + 8])
        size = int.from_bytes(records[at + 8 : at + 12]) + 12
        if at + size > len(records):
            break
        found.append((base, base + int.from_bytes(records[at + 23 : at + 27])))
        at += size
    return found


@pytest.mark.parametrize("flush_messages", ["9223372036854775807", "1"])
def test_a_replica_moves_while_it_is_written_and_nothing_is_lost(tmp_path: Path, flush_messages: str) -> None:
    node = make_node(tmp_path, log_flush_interval_messages=flush_messages)
    try:
        node.start().wait()
        create_topic(node.port, "moving", 1)
        fill(node, "moving", 20)
        source = where(node, "moving")
        target = other_than(source)
        acknowledged, stop = [0], threading.Event()

        def go_on() -> None:
            while not stop.is_set():
                assert produce(node, "moving", 0) == Code.NONE
                acknowledged[0] += 1

        writer = threading.Thread(target=go_on)
        writer.start()
        try:
            assert move(node, target, "moving", 0) == [Code.NONE]
            wait_until(lambda: has_arrived(node, "moving", target))
            there = acknowledged[0]
            wait_until(lambda: acknowledged[0] > there + 5)
        finally:
            stop.set()
            writer.join()
        assert not (node.directory / source / "moving-0").exists()
        assert (node.directory / target / "moving-0").exists()
        count = record_count(node, "moving")
        assert count == 20 * BATCH_RECORDS + acknowledged[0]
        node.kill()
        node.start().wait()
        assert record_count(node, "moving") == count
        assert has_arrived(node, "moving", target)
        # Back again, where the copy of before may not yet be removed.
        assert move(node, source, "moving", 0) == [Code.NONE]
        wait_until(lambda: has_arrived(node, "moving", source))
        assert record_count(node, "moving") == count
        wait_until(lambda: node.stop() == 0)
        node.start().wait()
        assert record_count(node, "moving") == count
    finally:
        node.kill()


def test_a_move_goes_on_after_a_kill_and_its_progress_is_told(tmp_path: Path) -> None:
    node = make_node(tmp_path, **{RATE: "1000000"})
    try:
        node.start().wait()
        create_topic(node.port, "moving", 1)
        fill(node, "moving", 20)
        source = where(node, "moving")
        target = other_than(source)
        begun = time.monotonic()
        assert move(node, target, "moving", 0) == [Code.NONE]
        wait_until(lambda: rows(node, "moving")[target].partition_size > 0)
        row = rows(node, "moving")[target]
        elapsed = time.monotonic() - begun
        assert row.is_future_key
        assert row.offset_lag > 0
        assert row.partition_size <= 1_000_000 * (elapsed + 1), "it keeps to the throttle"
        assert where(node, "moving") == source
        node.kill()
        assert len(list((node.directory / target).glob("moving-0.*-future"))) == 1
        node.start().wait()
        assert rows(node, "moving")[target].is_future_key
        assert produce(node, "moving", 0) == Code.NONE
        set_rate(node, "1000000000")
        wait_until(lambda: has_arrived(node, "moving", target))
        assert record_count(node, "moving") == 20 * BATCH_RECORDS + 1
    finally:
        node.kill()


def test_a_move_back_to_where_it_is_ends_a_move(tmp_path: Path) -> None:
    node = make_node(tmp_path, **{RATE: "100000"})
    try:
        node.start().wait()
        create_topic(node.port, "staying", 1)
        fill(node, "staying", 5)
        source = where(node, "staying")
        target = other_than(source)
        [third] = set(DIRECTORIES) - {source, target}
        assert move(node, target, "staying", 0) == [Code.NONE]
        assert set(rows(node, "staying")) == {source, target}
        assert move(node, third, "staying", 0) == [Code.NONE]
        assert set(rows(node, "staying")) == {source, third}
        assert move(node, source, "staying", 0) == [Code.NONE]
        assert has_arrived(node, "staying", source)
        wait_until(lambda: not list(node.directory.glob("*/staying-0.*-future")))
        assert record_count(node, "staying") == 5 * BATCH_RECORDS
    finally:
        node.kill()


def test_a_directory_that_fails_takes_what_has_moved_there_offline_and_not_what_has_left(library: Path, node: Node) -> None:
    node.environment = faults(library, node.directory, "pwrite", "/c/")
    node.start().wait()
    create_topic(node.port, "spread", 3)
    at = places(node, "spread")
    [leaves], [comes] = at["c"], at["b"]
    assert move(node, "b", "spread", leaves) == [Code.NONE]
    assert move(node, "c", "spread", comes) == [Code.NONE]
    wait_until(lambda: places(node, "spread") == {"a": at["a"], "b": [leaves], "c": [comes]})
    (node.directory / "on").touch()
    assert produce(node, "spread", comes) == Code.KAFKA_STORAGE_ERROR
    wait_until(lambda: leaders(node, "spread")[comes] == -1)
    kept = [number for number in range(3) if number != comes]
    assert [produce(node, "spread", number) for number in kept] == [Code.NONE] * 2
    assert move(node, "c", "spread", leaves) == [Code.KAFKA_STORAGE_ERROR]


def test_a_copy_that_cannot_be_written_leaves_the_replica_where_it_is(library: Path, node: Node) -> None:
    node.environment = faults(library, node.directory, "pwrite", "-future/")
    node.start().wait()
    create_topic(node.port, "staying", 1)
    fill(node, "staying", 5)
    source = where(node, "staying")
    (node.directory / "on").touch()
    assert move(node, other_than(source), "staying", 0) in ([Code.NONE], [Code.KAFKA_STORAGE_ERROR])
    wait_until(lambda: "stays where it is" in node.log() or "cannot move" in node.log())
    wait_until(lambda: described(node)[other_than(source)].error_code == Code.KAFKA_STORAGE_ERROR)
    assert produce(node, "staying", 0) == Code.NONE
    assert record_count(node, "staying") == 5 * BATCH_RECORDS + 1


def test_a_topic_that_is_deleted_while_it_moves_leaves_nothing(tmp_path: Path) -> None:
    node = make_node(tmp_path, **{RATE: "100000", "log.segment.delete.delay.ms": "0"})
    try:
        node.start().wait()
        create_topic(node.port, "going", 1)
        fill(node, "going", 5)
        assert move(node, other_than(where(node, "going")), "going", 0) == [Code.NONE]
        message = api("DeleteTopics").request
        answer = ask(node, "DeleteTopics", 6, message(topics=[message.DeleteTopicState(name="going")], timeout_ms=30_000))
        assert answer.responses[0].error_code == 0
        wait_until(lambda: not list(node.directory.glob("*/going-0*")))
    finally:
        node.kill()


def test_what_was_copied_of_a_topic_that_is_no_more_goes_with_the_next_start(node: Node) -> None:
    node.start().wait()
    assert node.stop() == 0
    future = node.directory / "c" / f"gone-0.{'0a' * 16}-future"
    future.mkdir()
    (future / "00000000000000000000.log").write_bytes(BATCH)
    node.start().wait()
    assert not future.exists()


def test_what_cannot_move_is_told(node: Node) -> None:
    node.start().wait()
    create_topic(node.port, "known", 1)
    assert move(node, "nowhere", "known", 0) == [Code.LOG_DIR_NOT_FOUND]
    assert move(node, "a", "unknown", 0) == [Code.UNKNOWN_TOPIC_OR_PARTITION]
    assert move(node, "a", "known", 7) == [Code.UNKNOWN_TOPIC_OR_PARTITION]
    assert move(node, "a", "x" * 249, 0) == [Code.INVALID_TOPIC_EXCEPTION]
    assert move(node, where(node, "known"), "known", 0) == [Code.NONE]
