"""Disks that fail for real: what the client is told, and what the directory holds afterwards.

    no room        a small file system of its own
    EIO            a library preloaded into the broker (tests/support/faulty_disk.c)
    short writes   the same
    rot, cuts      files changed while the broker is down
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import Code
from pykafkacore.protocol.headers import decode_response
from tests.support import apache
from tests.support.faults import faults
from tests.support.waiting import wait_until
from tests.support.wire import Wire, batch_of, fetch_frame, produce_frame

pytestmark = pytest.mark.e2e

TOPIC = "faulty"


class Node:
    """A broker over a directory, as a process that may be started again."""

    def __init__(self, directory: Path, data: Path, environment: dict[str, str] | None = None) -> None:
        self.directory, self.data = directory, data
        self.environment = environment or {}
        self.port = apache.free_port()
        self.output = directory / "output"

    def __enter__(self) -> Node:
        program = Path(sys.executable).with_name("pykafkacore")
        command = [str(program), "dev", "--port", str(self.port), "--data", str(self.data)]
        with open(self.output, "ab") as output:
            environment = {**os.environ, **self.environment}
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        apache.wait_for_port(self.port, self.process)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def create(self, name: str = TOPIC, **configs: str) -> None:
        message = api("CreateTopics").request
        rows = [message.CreatableTopicConfig(name=key.replace("_", "."), value=value) for key, value in configs.items()]
        topic = message.CreatableTopic(name=name, num_partitions=1, replication_factor=1, configs=rows)
        assert self.ask("CreateTopics", 7, message(topics=[topic], timeout_ms=30_000)).topics[0].error_code == 0

    def ask(self, name: str, version: int, request: Any) -> Any:
        wire = Wire(self.port)
        try:
            return wire.ask(name, version, request)
        finally:
            wire.close()

    def produce(self, batch_bytes: int = 1, topic: str = TOPIC) -> tuple[Code, int, str | None]:
        """(error, offset, message) of one batch of records of a kilobyte with acks=all."""
        wire = Wire(self.port)
        wire.send(produce_frame(topic, 0, batch_of(batch_bytes, 1000), -1))
        [told] = decode_response(api("Produce"), 9, wire.receive())[1].responses[0].partition_responses
        wire.close()
        return Code(told.error_code), told.base_offset, told.error_message

    def produce_together(self, count: int, batch_bytes: int = 1) -> list[tuple[Code, int]]:
        """(error, offset) of requests that come in one piece, and so are written together."""
        wire = Wire(self.port)
        wire.send(b"".join(produce_frame(TOPIC, 0, batch_of(batch_bytes, 1000), -1) for _ in range(count)))
        answers = [decode_response(api("Produce"), 9, wire.receive())[1].responses[0] for _ in range(count)]
        wire.close()
        rows = [answer.partition_responses[0] for answer in answers]
        return [(Code(row.error_code), row.base_offset) for row in rows]

    def read(self, offset: int = 0) -> tuple[Code, bytes]:
        wire = Wire(self.port)
        wire.send(fetch_frame(TOPIC, 0, offset, 1 << 20))
        [told] = decode_response(api("Fetch"), 12, wire.receive())[1].responses[0].partitions
        wire.close()
        return Code(told.error_code), told.records or b""

    def end(self) -> int:
        message = api("ListOffsets").request
        row = message.ListOffsetsPartition(partition_index=0, timestamp=-1)
        topic = message.ListOffsetsTopic(name=TOPIC, partitions=[row])
        [told] = self.ask("ListOffsets", 7, message(replica_id=-1, topics=[topic])).topics[0].partitions
        assert told.error_code == 0, told
        end: int = told.offset
        return end


def test_after_a_failed_sync_nothing_is_acknowledged_and_the_sync_is_not_tried_again(library: Path, tmp_path: Path) -> None:
    environment = faults(library, tmp_path, "fdatasync", ".journal-")
    with Node(tmp_path, tmp_path / "data", environment) as node:
        node.create(flush_messages="1")
        node.create("beside")
        assert [node.produce()[:2] for _ in range(5)] == [(Code.NONE, offset) for offset in range(5)]
        assert node.produce(topic="beside")[0] == Code.NONE
        (tmp_path / "on").touch()
        assert node.produce()[0] == Code.KAFKA_STORAGE_ERROR
        failed = (tmp_path / "calls").read_text().count("fdatasync -1")
        assert node.produce()[0] == Code.KAFKA_STORAGE_ERROR
        assert node.produce(topic="beside")[0] == Code.KAFKA_STORAGE_ERROR, "the directory is fenced, not the topic alone"
        assert node.read()[0] == Code.KAFKA_STORAGE_ERROR
        assert failed == (tmp_path / "calls").read_text().count("fdatasync -1") == 1
        # The control plane writes it, which nobody waits for.
        wait_until(lambda: "is not used any more" in node.output.read_text(), 10)
        node.kill()
    (tmp_path / "on").unlink()
    with Node(tmp_path, tmp_path / "data") as node:
        assert node.end() >= 5
        assert node.produce()[0] == Code.NONE


def test_a_failed_write_takes_the_directory_offline(library: Path, tmp_path: Path) -> None:
    with Node(tmp_path, tmp_path / "data", faults(library, tmp_path, "pwrite", f"{TOPIC}-0/")) as node:
        node.create()
        node.create("beside")
        assert node.produce()[:2] == (Code.NONE, 0)
        (tmp_path / "on").touch()
        code, _, message = node.produce()
        assert code == Code.KAFKA_STORAGE_ERROR
        assert TOPIC in (message or ""), "the message names the file"
        wait_until(lambda: node.produce(topic="beside")[0] == Code.KAFKA_STORAGE_ERROR, 10)
        node.kill()
    with Node(tmp_path, tmp_path / "data") as node:
        assert node.end() == 1
        assert node.produce()[:2] == (Code.NONE, 1)


def test_writes_that_fall_short_are_completed(library: Path, tmp_path: Path) -> None:
    with Node(tmp_path, tmp_path / "data", faults(library, tmp_path, "short", f"{TOPIC}-0/")) as node:
        node.create()
        (tmp_path / "on").touch()
        assert [node.produce(5000)[0] for _ in range(20)] == [Code.NONE] * 20
        end = node.end()
        assert node.produce_together(10) == [(Code.NONE, end + number) for number in range(10)]
        assert "pwritev" in (tmp_path / "calls").read_text()
        end += 10
        records = node.read(end - 10)[1]
        node.kill()
    with Node(tmp_path, tmp_path / "data") as node:
        assert node.end() == end
        assert node.read(end - 10) == (Code.NONE, records)


def test_a_failed_write_of_requests_that_came_together_fails_all_of_them(library: Path, tmp_path: Path) -> None:
    with Node(tmp_path, tmp_path / "data", faults(library, tmp_path, "pwrite", f"{TOPIC}-0/")) as node:
        node.create()
        assert node.produce_together(5) == [(Code.NONE, offset) for offset in range(5)]
        (tmp_path / "on").touch()
        assert node.produce_together(5) == [(Code.KAFKA_STORAGE_ERROR, -1)] * 5
        assert "pwritev -1" in (tmp_path / "calls").read_text()
        node.kill()
    with Node(tmp_path, tmp_path / "data") as node:
        assert node.end() == 5


@contextmanager
def small_file_system(directory: Path, mebibytes: int) -> Iterator[Path]:
    directory.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", directory], capture_output=True)
    if mounted.returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", directory], check=True)


def test_a_full_disk_refuses_records_and_serves_reads_until_there_is_room_again(tmp_path: Path) -> None:
    with small_file_system(tmp_path / "small", 48) as disk:
        ballast = disk / "ballast"
        with Node(tmp_path, disk / "data") as node:
            node.create()
            assert node.produce()[0] == Code.NONE
            # So quickly that nobody has measured the room that is left.
            ballast.write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize - (1 << 20)))
            codes = []
            while not codes or codes[-1] == Code.NONE:
                codes.append(node.produce(200_000)[0])
            assert codes[-1] == Code.KAFKA_STORAGE_ERROR
            code, _, message = node.produce(200_000)
            assert code == Code.KAFKA_STORAGE_ERROR
            assert "space" in (message or "").lower() or "log.reserve.bytes" in (message or "")
            code, records = node.read()
            assert (code, bool(records)) == (Code.NONE, True)
            end = node.end()
            # What is left may be enough for some of them; of each write all is there, or nothing.
            told = node.produce_together(1000, 1)
            taken = [offset for code, offset in told if code == Code.NONE]
            assert (Code.KAFKA_STORAGE_ERROR, -1) in told
            assert taken == list(range(end, end + len(taken)))
            end += len(taken)
            assert node.end() == end
            ballast.unlink()
            wait_until(lambda: node.produce()[0] == Code.NONE, 10)
            assert node.end() == end + 1, "what was refused is not there, what came afterwards is"
            node.kill()
        with Node(tmp_path, disk / "data") as node:
            assert node.end() == end + 1
            assert node.produce()[:2] == (Code.NONE, end + 1)


def test_a_durable_topic_goes_on_where_there_is_no_room_for_a_journal(tmp_path: Path) -> None:
    with small_file_system(tmp_path / "small", 40) as disk, Node(tmp_path, disk / "data") as node:
        node.create(flush_messages="1")
        assert [node.produce()[:2] for _ in range(3)] == [(Code.NONE, offset) for offset in range(3)]
        assert not list((disk / "data").glob(".journal-*"))


def rotten_tail(tmp_path: Path, at: Callable[[int], int]) -> Path:
    """The segment of ten batches that a kill left unchecked, with a byte spoilt at `at(size)`, after a stop of the machine."""
    with Node(tmp_path, tmp_path / "data") as node:
        node.create()
        for _ in range(10):
            assert node.produce()[0] == Code.NONE
        node.kill()
    segment = tmp_path / "data" / f"{TOPIC}-0" / f"{0:020}.log"
    content = bytearray(segment.read_bytes())
    content[at(len(content))] ^= 0xFF
    segment.write_bytes(content)
    (tmp_path / "data" / ".last-life").unlink(missing_ok=True)
    return segment


def test_rot_in_the_tail_is_cut_and_told(tmp_path: Path) -> None:
    """Every batch of the tail is checked, unless the machine went on all the while and so has all that was written."""
    segment = rotten_tail(tmp_path, lambda size: size - 100)
    with Node(tmp_path, tmp_path / "data") as node:
        assert node.end() == 9
        assert "cut at offset 9" in node.output.read_text()
        [told] = [each for each in recovery_report(tmp_path / "data") if each["directory"].endswith(f"{TOPIC}-0")]
        assert (told["stop"], told["log_end_offset"], told["truncated"]["is_rot"]) == ("unknown", 9, False)
        assert told["kept_bytes"] == told["scanned_bytes"] == segment.stat().st_size


def recovery_report(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "recovery-report.jsonl").read_text().splitlines()]


def test_rot_in_the_middle_of_the_tail_is_reported_as_such(tmp_path: Path) -> None:
    segment = rotten_tail(tmp_path, lambda size: size // 2)
    segment_bytes = segment.stat().st_size
    with Node(tmp_path, tmp_path / "data") as node:
        end = node.end()
        [told] = [each for each in recovery_report(tmp_path / "data") if each["directory"].endswith(f"{TOPIC}-0")]
        assert told["truncated"]["is_rot"]
        assert told["truncated"]["at_offset"] == told["log_end_offset"] == end
        assert told["kept_bytes"] + told["truncated"]["lost_bytes"] == segment_bytes
        assert "rot, with sound batches behind it" in node.output.read_text()
        assert node.process.terminate() is None
        node.process.wait(30)
    before = (tmp_path / "data" / "recovery-report.jsonl").read_text()
    with Node(tmp_path, tmp_path / "data") as node:
        assert node.end() == end
    assert (tmp_path / "data" / "recovery-report.jsonl").read_text() == before, "it is of the last start that was not clean"


def test_a_segment_cut_short_loses_what_is_gone_and_no_more(tmp_path: Path) -> None:
    with Node(tmp_path, tmp_path / "data") as node:
        node.create()
        for _ in range(10):
            assert node.produce()[0] == Code.NONE
        node.kill()
    segment = tmp_path / "data" / f"{TOPIC}-0" / f"{0:020}.log"
    os.truncate(segment, segment.stat().st_size * 3 // 4)
    with Node(tmp_path, tmp_path / "data") as node:
        assert node.end() == 7
        assert node.produce()[:2] == (Code.NONE, 7)
