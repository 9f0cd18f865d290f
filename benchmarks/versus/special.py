"""Rows that are more than one load: functions of (broker, row, seconds, form) that give a result.

Each cleans up behind itself. Those that need a broker of their own make one beside the given one, of the same kind.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.startup import first_acknowledged_produce
from benchmarks.versus import admin
from benchmarks.versus.brokers import Broker, settle
from benchmarks.versus.loading import Form, Result, fresh_name, load_command, rss_bytes, run_load, watching
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.headers import decode_response
from tests.support.wire import Wire, request_frame

if TYPE_CHECKING:
    from benchmarks.versus.row import Row

UNKNOWN_TOPIC = 3


@contextmanager
def another(broker: Broker, started: bool = True) -> Iterator[Broker]:
    """A fresh broker of the same kind and settings."""
    made = type(broker)(broker.directory.with_name(fresh_name(broker.directory.name)), broker.processors, broker.extra)
    made.format()
    try:
        yield made.start() if started else made
    finally:
        made.discard()


def start_up(broker: Broker, row: Row, seconds: float, form: Form) -> Result:
    """From exec to the first acknowledged produce, on a formatted and empty directory; then memory when idle."""
    with another(broker, started=False) as fresh:
        began = time.perf_counter()
        fresh.start()
        first_acknowledged_produce(fresh.port)
        took_s = time.perf_counter() - began
        time.sleep(3)
        return {"took_s": took_s, "broker_rss_bytes": rss_bytes(fresh.pid)}


def restart(broker: Broker, row: Row, seconds: float, form: Form) -> Result:
    """A clean stop with many partitions; then from exec to the first acknowledged produce."""
    with another(broker) as fresh:
        admin.create_topics(fresh.port, ["wide"], int(row.partitions * form.scale))
        fresh.stop()
        began = time.perf_counter()
        fresh.start(deadline_s=300)
        first_acknowledged_produce(fresh.port, 300)
        return {"took_s": time.perf_counter() - began, "partitions": int(row.partitions * form.scale)}


def connections(broker: Broker, row: Row, seconds: float, form: Form) -> Result:
    """Memory of idle connections, each of which was served once; then of as many that write once a second."""
    count = 5_000
    with another(broker) as fresh:
        admin.create_topics(fresh.port, ["trickle"], row.partitions)
        warm = {"port": fresh.port, "topic": "trickle", "partitions": row.partitions, "producers": 10, **row.load}
        run_load({**warm, "seconds": 1})
        time.sleep(1)
        before = rss_bytes(fresh.pid)
        command = load_command("hold", {"port": fresh.port, "connections": count})
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as held:
            told = held.stdout.readline()
            time.sleep(1)
            idle = rss_bytes(fresh.pid)
            held.communicate()
        if json.loads(told or "{}").get("held") != count:
            raise RuntimeError(f"{broker.name} did not serve {count} idle connections")
        trickle = {"watch": fresh.pid, "producers": count, "rate": count, "warmup": 1.5, "seconds": max(seconds, 2)}
        loaded = run_load({**warm, **trickle})
        return {**loaded, "connection_bytes": max(0, idle - before) / count, "idle_rss_bytes": idle}


def many_partitions(broker: Broker, row: Row, seconds: float, form: Form) -> Result:
    """One topic of very many partitions: memory of each, idle processor time, keyed writes that are read back, metadata."""
    partitions = int(row.partitions * form.scale)
    with another(broker) as fresh:
        admin.create_topics(fresh.port, ["warm"], 1)
        before = rss_bytes(fresh.pid)
        began = time.perf_counter()
        admin.create_topics(fresh.port, ["wide"], partitions)
        created_s = time.perf_counter() - began
        time.sleep(2)
        memory = rss_bytes(fresh.pid) - before
        with watching(fresh.pid) as idle:
            time.sleep(4)
        common = {"port": fresh.port, "topic": "wide", "partitions": partitions, "watch": fresh.pid}
        run_load({**common, **row.load, "warmup": 0, "seconds": max(3, seconds)}, form.load_processors)
        loaded = run_load({**common, **row.load, "warmup": 1, "seconds": max(3, seconds)}, form.load_processors)
        message = api("Metadata").request
        wanted = message(topics=[message.MetadataRequestTopic(name="wide")])
        asked = ask(fresh, "Metadata", 12, wanted, seconds, form, _no_metadata_error)
        return {
            **loaded, "partition_bytes": memory / partitions, "created_s": created_s, "metadata": asked,
            "idle_cores": (idle["broker_user_s"] + idle["broker_system_s"]) / idle["seconds"],
        }  # fmt: skip


def ask(
    broker: Broker, name: str, version: int, request: object, seconds: float, form: Form, check: Callable[[Any], None]
) -> dict[str, Any]:
    """Replays one request over four connections with one in flight each; the first answer is checked."""
    with tempfile.TemporaryDirectory() as directory:
        frame, answer = Path(directory) / "frame", Path(directory) / "answer"
        frame.write_bytes(request_frame(name, version, request))
        arguments = {"producers": 4, "in-flight": 1, "replay": frame, "answer": answer, "warmup": 1, "seconds": seconds}
        found = run_load({"port": broker.port, "watch": broker.pid, **arguments}, form.load_processors)
        check(decode_response(api(name), version, answer.read_bytes())[1])
    return found


def _no_error(answer: Any) -> None:
    assert answer.error_code == 0, answer


def _no_metadata_error(answer: Any) -> None:
    assert answer.topics[0].error_code == 0, answer.topics[0].error_code


def _no_config_error(answer: Any) -> None:
    assert answer.results[0].error_code == 0 and answer.results[0].configs, answer.results[0]


def api_versions(broker: Broker, row: Row, seconds: float, form: Form) -> Result:
    message = api("ApiVersions").request
    wanted = message(client_software_name="load", client_software_version="1")
    return ask(broker, "ApiVersions", 3, wanted, seconds, form, _no_error)


def describe_configs(broker: Broker, row: Row, seconds: float, form: Form) -> Result:
    message = api("DescribeConfigs").request
    topic = fresh_name(row.name)
    broker.create_topic(topic, 1)
    wanted = message(resources=[message.DescribeConfigsResource(resource_type=2, resource_name=topic)])
    try:
        return ask(broker, "DescribeConfigs", 4, wanted, seconds, form, _no_config_error)
    finally:
        broker.delete_topic(topic)


def topics(broker: Broker, row: Row, seconds: float, form: Form) -> Result:
    """Create topics until every leader is known, describe them all, delete them until nobody knows them."""
    names = [fresh_name("ddl") for _ in range(max(1, int(row.load["topics"] * form.scale)))]
    a_request = row.load["a-request"]
    message = api("Metadata").request
    groups = [names[at : at + a_request] for at in range(0, len(names), a_request)]
    asked = [
        message(topics=[message.MetadataRequestTopic(name=name) for name in group], allow_auto_topic_creation=False)
        for group in groups
    ]
    wire = Wire(broker.port)
    began = time.perf_counter()
    for group in groups:
        admin.create_topics(broker.port, group, row.partitions, a_request=a_request)
    created_at = time.perf_counter()
    frames = [request_frame("Metadata", 9, request) for request in asked]
    asked_at = time.perf_counter()
    answers = []
    for frame in frames:
        wire.send(frame)
        answers.append(wire.receive())
    described_at = time.perf_counter()
    # Their decoding here costs more than the broker's answer: it is no part of what is measured.
    for answer in answers:
        told = decode_response(api("Metadata"), 9, answer)[1].topics
        assert all(not topic.error_code and len(topic.partitions) == row.partitions for topic in told), told
    checked_at = time.perf_counter()
    for group in groups:
        admin.delete_topics(broker.port, group, a_request=a_request)
    while any(topic.error_code != UNKNOWN_TOPIC for topic in wire.ask("Metadata", 9, asked[-1]).topics):
        time.sleep(0.005)
    deleted_at = time.perf_counter()
    wire.close()
    created, described, deleted = created_at - began, described_at - asked_at, deleted_at - checked_at
    took = created + described + deleted
    return {"created_s": created, "described_s": described, "deleted_s": deleted, "took_s": took}


def forget_pages(directory: Path) -> int:
    """Writes back and drops what the page cache holds of the files below; gives their bytes."""
    total = 0
    for path in sorted(directory.rglob("*.log")):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        total += os.fstat(descriptor).st_size
        os.close(descriptor)
    return total


def disk_bytes_per_s(directory: Path) -> float:
    """How fast all segments come from the disk, forgotten before. A host below may keep what was read once: whoever compares
    must have read all of it before, too."""
    forget_pages(directory)
    buffer, done, began = bytearray(1 << 20), 0, time.perf_counter()
    for path in sorted(directory.glob("*.log")):
        with path.open("rb", buffering=0) as file:
            while got := file.readinto(buffer):
                done += got
    return done / (time.perf_counter() - began)


def only_on_disk(directory: Path, bytes_per_s: float | None) -> float:
    """From here on only the disk has the segments, and this is how fast they come from it: as told, or measured."""
    bytes_per_s = bytes_per_s or disk_bytes_per_s(directory)
    forget_pages(directory)
    return bytes_per_s


_CGROUPS = Path("/sys/fs/cgroup")
_BLOCK_GROUPS = _CGROUPS / "blkio"
"""Of the first version of control groups; in the second, all kinds are in one."""


def may_slow_disks() -> bool:
    """Whether a process can be kept from reading faster than a disk of our choice: for that one must be root."""
    if _BLOCK_GROUPS.is_dir():
        return os.access(_BLOCK_GROUPS, os.W_OK)
    given = _CGROUPS / "cgroup.subtree_control"
    return os.access(_CGROUPS, os.W_OK) and given.exists() and "io" in given.read_text().split()


@contextmanager
def slow_disk(broker: Broker, bytes_per_s: float) -> Iterator[None]:
    """The broker reads no faster than this from the disk that its directory is on."""
    device = os.stat(broker.directory).st_dev
    block = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()
    disk = ((block.parent if (block / "partition").exists() else block) / "dev").read_text().strip()
    parent = _BLOCK_GROUPS if _BLOCK_GROUPS.is_dir() else _CGROUPS
    group = parent / fresh_name("pykafkacore-slow-disk")
    group.mkdir()
    try:
        if parent is _BLOCK_GROUPS:
            (group / "blkio.throttle.read_bps_device").write_text(f"{disk} {bytes_per_s:.0f}")
        else:
            (group / "io.max").write_text(f"{disk} rbps={bytes_per_s:.0f}")
        (group / "cgroup.procs").write_text(str(broker.pid))
        yield
    finally:
        (parent / "cgroup.procs").write_text(str(broker.pid))
        group.rmdir()


def slow_backlog(broker: Broker, row: Row, seconds: float, form: Form, bytes_per_s: float = 200e6) -> Result:
    """As `cold_backlog`, from a disk that is no memory of a host."""
    with slow_disk(broker, bytes_per_s):
        return cold_backlog(broker, row, seconds, form, bytes_per_s)


def cold_backlog(broker: Broker, row: Row, seconds: float, form: Form, disk: float | None = None) -> Result:
    """Live writes that are tailed, first alone, then beside a reader of a backlog that only the disk still has. `disk`: its
    bytes a second, where that need not be measured."""
    backlog, live = fresh_name("backlog"), fresh_name("live")
    broker.create_topic(backlog, 1)
    broker.create_topic(live, row.partitions)
    try:
        size = int(disk * 5 if disk else max(2e9, 6e9 * form.scale))
        fill = {"producers": 1, "batch-bytes": 128 << 10, "warmup": 0, "seconds": 120, "limit-bytes": size}
        run_load({"port": broker.port, "topic": backlog, "partitions": 1, **fill})
        settle(deadline_s=30)
        work = {"port": broker.port, "topic": live, "partitions": row.partitions, **row.load, "seconds": max(seconds, 3)}
        quiet = run_load(work, form.load_processors)
        directory = broker.directory / "data" / f"{backlog}-0"
        before = only_on_disk(directory, disk)
        reading = {"port": broker.port, "topic": backlog, "partitions": 1, "readers": 1, "from": "once", "share": "one"}
        with subprocess.Popen(load_command("run", {**work, "seconds": 30}), stdout=subprocess.PIPE, text=True) as writer:
            time.sleep(1)
            read = run_load({**reading, "warmup": 0, "seconds": 120, "watch": broker.pid}, form.load_processors)
            writer.kill()
        # The better of before and after, so that no hiccup of the disk makes a reader look good.
        disk = max(before, only_on_disk(directory, disk))
        beside = {**work, "seconds": max(1.0, read["seconds"] * 0.8)}
        with subprocess.Popen(load_command("run", {**reading, "seconds": 120}), stdout=subprocess.DEVNULL) as reader:
            loaded = run_load(beside, form.load_processors)
            reader.kill()
        return {
            **read, "disk_part": read["read_bytes"] / read["seconds"] / disk, "disk_bytes_per_s": disk,
            "live_inflation": loaded["end_to_end"]["p99_us"] / quiet["end_to_end"]["p99_us"],
            "live_p99_ms": loaded["end_to_end"]["p99_us"] / 1000, "quiet_p99_ms": quiet["end_to_end"]["p99_us"] / 1000,
        }  # fmt: skip
    finally:
        broker.delete_topic(backlog)
        broker.delete_topic(live)

