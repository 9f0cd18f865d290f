"""Small and quick? From exec to the first acknowledged produce on an empty directory, and memory when idle.

Ours formats its directory within that time. Apache Kafka 4.4.0's directory is formatted before its clock starts.

Run: python -m benchmarks.startup [--runs 5] [--no-apache]
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import load
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.headers import decode_response
from tests.support import apache


def first_acknowledged_produce(port: int, deadline_s: float = 60) -> float:
    """Seconds until a produce to a topic that is made on the way is acknowledged."""
    start = time.perf_counter()
    frame = load.produce_frame("first", 0, load.batch_of(200, 100), -1)
    metadata = api("Metadata").request
    wanted = metadata(topics=[metadata.MetadataRequestTopic(name="first")])
    while time.perf_counter() - start < deadline_s:
        try:
            wire = load.Wire(port)
            while wire.ask("Metadata", 9, wanted).topics[0].error_code != 0:
                time.sleep(0.001)
            while True:
                wire.send(frame)
                answer = decode_response(api("Produce"), 9, wire.receive())[1]
                if answer.responses[0].partition_responses[0].error_code == 0:
                    wire.close()
                    return time.perf_counter() - start
                time.sleep(0.001)
        except OSError:
            time.sleep(0.001)
    raise TimeoutError(f"nothing acknowledged on port {port} within {deadline_s} s")


def rss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise LookupError(pid)


def run(command: list[str], port: int, settle_s: float) -> tuple[float, float]:
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        first_acknowledged_produce(port)
        took = time.perf_counter() - start
        time.sleep(settle_s)
        return took, rss_mib(process.pid)
    finally:
        process.terminate()
        process.wait(60)


def ours(directory: Path) -> tuple[float, float]:
    port = apache.free_port()
    program = Path(sys.executable).with_name("pykafkacore")
    return run([str(program), "dev", "--port", str(port), "--data", str(directory / "data")], port, 1)


def theirs(directory: Path) -> tuple[float, float]:
    kafka = apache.ApacheKafka(directory)
    kafka.format()
    return run(apache.java("kafka.Kafka", str(kafka.properties), heap="1g"), kafka.port, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--no-apache", action="store_true")
    given = parser.parse_args()
    with_apache = not given.no_apache and apache.missing() is None
    sides = {"pykafkacore": ours, **({"Apache Kafka": theirs} if with_apache else {})}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in load.rounds(given.runs):
        for name, side in sides.items():
            directory = Path(tempfile.mkdtemp())
            try:
                found[name].append(side(directory))
            finally:
                shutil.rmtree(directory)
    print(f"{'':14} exec to first acknowledged produce    RSS idle   (median of {given.runs}, min-max)")
    for name, runs in found.items():
        times, sizes = [r[0] for r in runs], [r[1] for r in runs]
        print(
            f"{name:14} {statistics.median(times):6.3f} s ({min(times):.3f}-{max(times):.3f})"
            f"          {statistics.median(sizes):7.1f} MiB ({min(sizes):.1f}-{max(sizes):.1f})"
        )
    if with_apache:
        quicker, smaller = (
            statistics.median(t[i] / o[i] for o, t in zip(*found.values(), strict=True)) for i in (0, 1)
        )
        print(f"ratio          {quicker:.1f}x quicker, {smaller:.1f}x smaller")


if __name__ == "__main__":
    main()
