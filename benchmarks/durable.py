"""Acknowledged only when it is on the disk: `flush.messages=1`, beside Apache Kafka's, in turns.

    sixteen   sixteen producers on sixteen partitions, a record of 1 KiB a request, five in flight each; beside the least that
              anybody could do for them (`bare`): receive, write over one file, one sync for all that came, answer; no log is
              kept, nothing can be read
    one       one producer, one in flight, beside a bare loop of 1.5 KiB written over and synced on the same disk

The load is the generator of benchmarks/load, so cheap that the broker is what is measured.

Run: python -m benchmarks.durable [--rounds 3] [--seconds 3]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks import load
from benchmarks.coordinators import start_ours
from benchmarks.versus.brokers import SyncedBare, build_load
from benchmarks.versus.loading import run_load
from benchmarks.versus.memory import touched_memory
from pykafkacore.protocol.apis import api
from tests.support import apache
from tests.support.wire import Wire

PARTITIONS = 16
RECORD_BYTES = 1024
IN_FLIGHT = 5


def create(port: int) -> None:
    message = api("CreateTopics").request
    config = message.CreatableTopicConfig(name="flush.messages", value="1")
    topic = message.CreatableTopic(name="durable", num_partitions=PARTITIONS, replication_factor=1, configs=[config])
    wire = Wire(port)
    wire.ask("CreateTopics", 7, message(topics=[topic], timeout_ms=30_000))
    wire.close()


def produce(port: int, pid: int, producers: int, in_flight: int, seconds: float) -> tuple[float, float, float, float]:
    """MB/s, p50 and p99 in ms from request to answer, and processors that the broker kept busy."""
    told = run_load({
        "port": port, "topic": "durable", "partitions": PARTITIONS, "producers": producers, "in-flight": in_flight, "acks": -1,
        "batch-bytes": RECORD_BYTES, "record-bytes": RECORD_BYTES, "warmup": 0.5, "seconds": seconds, "watch": pid,
    })  # fmt: skip
    latency, elapsed = told["latency"], told["seconds"]
    cores = (told["broker_user_s"] + told["broker_system_s"]) / elapsed
    return told["records"] * RECORD_BYTES / 1e6 / elapsed, latency["p50_us"] / 1e3, latency["p99_us"] / 1e3, cores


def bare_syncs(path: Path, seconds: float) -> list[float]:
    """Seconds of each write and sync, over a file that is there already."""
    size, bytes_each = 32 << 20, 1536
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, bytes(size), 0)
    os.fdatasync(fd)
    found, at, start = [], 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        began = time.perf_counter()
        os.pwrite(fd, bytes(bytes_each), at % size)
        os.fdatasync(fd)
        found.append(time.perf_counter() - began)
        at += bytes_each
    os.close(fd)
    path.unlink()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--warmup", type=float, default=3)
    given = parser.parse_args()
    build_load()
    directory = Path(tempfile.mkdtemp())
    try:
        with touched_memory(directory):
            run(given, directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def run(given: argparse.Namespace, directory: Path) -> None:
    ours, our_port = start_ours(directory)
    kafka = apache.ApacheKafka(directory / "theirs")
    kafka.format()
    kafka.start()
    floor = SyncedBare(directory / "floor")
    floor.format()
    floor.start()
    sides = {
        "ours": (our_port, ours.pid),
        "Apache": (kafka.port, kafka.process.pid),
        "bare": (floor.port, floor.pid),
    }
    rows = {"sixteen": (PARTITIONS, IN_FLIGHT), "one": (1, 1)}
    found: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    bare: list[list[float]] = []
    try:
        for port in (our_port, kafka.port):
            create(port)
        for name, (producers, in_flight) in rows.items():
            for port, pid in sides.values():
                produce(port, pid, producers, in_flight, given.warmup)
            for _ in load.rounds(given.rounds):
                for side, (port, pid) in sides.items():
                    found.setdefault((name, side), []).append(produce(port, pid, producers, in_flight, given.seconds))
                bare.append(bare_syncs(directory / "bare", 0.5))
            row = {side: [statistics.median(each) for each in zip(*found[name, side], strict=True)] for side in sides}
            for side, (mb_s, p50, p99, cores) in row.items():
                print(f"{name:8} {side:7} {mb_s:8.2f} MB/s   p50 {p50:7.3f} ms   p99 {p99:7.3f} ms   {cores:5.2f} cores")
            pairs = list(zip(found[name, "ours"], found[name, "Apache"], strict=True))
            ratio, p50, p99 = (statistics.median(o[i] / a[i] for o, a in pairs) for i in (0, 1, 2))
            print(f"{name:8} ratio   {ratio:8.2f} of its MB/s, {p50:.2f} of its p50, {p99:.2f} of its p99", flush=True)
        p50, p99 = (statistics.median(load.quantile(each, part) for each in bare) * 1000 for part in (0.5, 0.99))
        print(f"bare write and sync              p50 {p50:7.3f} ms   p99 {p99:7.3f} ms")
    finally:
        ours.terminate()
        ours.wait(30)
        floor.stop()
        kafka.stop()


if __name__ == "__main__":
    main()
