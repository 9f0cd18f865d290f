"""Offset commits, heartbeats and transactions a second, beside Apache Kafka's, in turns.

    commits       sixteen connections, each with a group of its own, one commit in flight
    heartbeats    sixteen members, each the one of its own consumer group (KIP-848), one heartbeat in flight
    transactions  one librdkafka producer, ten records a transaction: by the old protocol, and more than half of its time is
                  its own, for it waits a millisecond before it registers a partition
    one, fifty    producers of the new protocol (KIP-890), ten records a transaction, which wait for nothing but answers

The first two are asked by the load in Rust.
Run: python -m benchmarks.coordinators [--rounds 3] [--only fifty]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import load, transaction_producers
from benchmarks.versus import brokers
from benchmarks.versus.admin import create_topics
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.headers import decode_response
from tests.support import apache
from tests.support.wire import Wire, create_topic, request_frame

CONNECTIONS = 16
PARTITIONS = 10
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def replay(port: int, frames: list[bytes], seconds: float) -> tuple[float, float, float]:
    """(requests a second, p50, p99 in ms) with one request in flight on each connection."""
    command = [str(brokers.LOAD), "replay", "--port", str(port), "--seconds", str(seconds)]
    lines = "\n".join(frame.hex() for frame in frames)
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True, timeout=seconds + 60)
    told = json.loads(done.stdout)
    latency = told["latency"]
    return told["requests"] / told["seconds"], latency["p50_us"] / 1000, latency["p99_us"] / 1000


def wait_for_coordinator(port: int, name: str, of_transactions: bool = False) -> None:
    """Of a group or a transactional id. Who first asks for one has the coordinators' topic made."""
    wire = Wire(port)
    request = api("FindCoordinator").request(key_type=int(of_transactions), coordinator_keys=[name])
    while wire.ask("FindCoordinator", 4, request).coordinators[0].error_code:
        time.sleep(0.05)
    wire.close()


def commits(port: int, seconds: float) -> tuple[float, float, float]:
    message = api("OffsetCommit").request
    row = message.OffsetCommitRequestPartition(partition_index=0, committed_offset=7, committed_metadata="")
    topics = [message.OffsetCommitRequestTopic(name="bench", partitions=[row])]
    frames, wire = [], Wire(port)
    for number in range(CONNECTIONS):
        wait_for_coordinator(port, f"commits-{number}")
        frames.append(request_frame("OffsetCommit", 8, message(group_id=f"commits-{number}", topics=topics)))

    def refused(frame: bytes) -> int:
        wire.send(frame)
        code: int = decode_response(api("OffsetCommit"), 8, wire.receive())[1].topics[0].partitions[0].error_code
        return code

    for frame in frames:
        while refused(frame):
            time.sleep(0.05)
    found = replay(port, frames, seconds)
    assert not any(map(refused, frames))
    wire.close()
    return found


def heartbeats(port: int, seconds: float) -> tuple[float, float, float]:
    message = api("ConsumerGroupHeartbeat").request
    beats, wire = [], Wire(port)
    for number in range(CONNECTIONS):
        group, member = f"beats-{number}-{time.monotonic_ns()}", f"member-{number}"
        wait_for_coordinator(port, group)
        first = message(
            group_id=group, member_id=member, member_epoch=0, rebalance_timeout_ms=60_000, topic_partitions=[],
            subscribed_topic_names=["bench"],
        )  # fmt: skip
        while (told := wire.ask("ConsumerGroupHeartbeat", 1, first)).error_code:
            time.sleep(0.05)
        beats.append(message(group_id=group, member_id=member, member_epoch=told.member_epoch))
    found = replay(port, [request_frame("ConsumerGroupHeartbeat", 1, beat) for beat in beats], seconds)
    assert not any(wire.ask("ConsumerGroupHeartbeat", 1, beat).error_code for beat in beats)
    wire.close()
    return found


def transactions(port: int, seconds: float) -> tuple[float, float, float]:
    from confluent_kafka import Producer

    config = {"bootstrap.servers": f"127.0.0.1:{port}", "transactional.id": "bench", "linger.ms": 0}
    producer = Producer(config)
    producer.init_transactions(60)
    found: list[float] = []
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        began = time.perf_counter()
        producer.begin_transaction()
        for _ in range(10):
            producer.produce("bench", b"v" * 100, partition=0)
        producer.commit_transaction(30)
        found.append(time.perf_counter() - began)
    elapsed = time.perf_counter() - start
    return len(found) / elapsed, load.quantile(found, 0.5) * 1000, load.quantile(found, 0.99) * 1000


def by_new_protocol(producers: int) -> Callable[[int, float], tuple[float, float, float]]:
    def run(port: int, seconds: float) -> tuple[float, float, float]:
        create_topics(port, ["many"], PARTITIONS)
        wait_for_coordinator(port, "many", of_transactions=True)
        found, _, elapsed = transaction_producers.transactions(port, "many", producers, PARTITIONS, seconds)
        return len(found) / elapsed, load.quantile(found, 0.5) * 1000, load.quantile(found, 0.99) * 1000

    return run


ROWS = {
    "commits": commits,
    "heartbeats": heartbeats,
    "transactions": transactions,
    "one": by_new_protocol(1),
    "fifty": by_new_protocol(50),
}


def start_ours(directory: Path) -> tuple[subprocess.Popen, int]:
    port = apache.free_port()
    program = Path(sys.executable).with_name("pykafkacore")
    command = [str(program), "dev", "--port", str(port), "--data", str(directory / "ours")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    apache.wait_for_port(port, process)
    return process, port


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--only", choices=list(ROWS), action="append")
    given = parser.parse_args()
    directory = Path(tempfile.mkdtemp())
    brokers.build_load()
    ours, our_port = start_ours(directory)
    kafka = apache.ApacheKafka(directory / "theirs")
    kafka.format()
    kafka.start()
    sides = {"ours": (our_port, ours.pid), "Apache": (kafka.port, kafka.process.pid)}
    found: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    try:
        for port, _ in sides.values():
            create_topic(port, "bench", 1)
        for name in given.only or ROWS:
            run = ROWS[name]
            for port, _ in sides.values():
                run(port, given.seconds)  # the JVM warms up, ours compiles its codecs
            for _ in load.rounds(given.rounds):
                for side, (port, pid) in sides.items():
                    before, began = cpu_s(pid), time.perf_counter()
                    rate, p50, p99 = run(port, given.seconds)
                    cores = (cpu_s(pid) - before) / (time.perf_counter() - began)
                    found.setdefault((name, side), []).append((rate, p50, p99, cores))
            row = {side: [statistics.median(each) for each in zip(*found[name, side], strict=True)] for side in sides}
            for side, (rate, p50, p99, cores) in row.items():
                print(f"{name:13} {side:7} {rate:9.0f}/s   p50 {p50:7.2f} ms   p99 {p99:7.2f} ms   {cores:5.2f} cores")
            pairs = list(zip(found[name, "ours"], found[name, "Apache"], strict=True))
            ratio, tail = (statistics.median(o[i] / a[i] for o, a in pairs) for i in (0, 2))
            print(f"{name:13} ratio   {ratio:9.2f} of its rate, {tail:.2f} of its p99", flush=True)
    finally:
        ours.terminate()
        ours.wait(30)
        kafka.stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
