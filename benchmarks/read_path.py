"""Memory or file? The same region read from the hot tail by one gathered send, and straight from the file by sendfile.

Two brokers that differ in nothing but the size of their hot tails, in turns. Run: python -m benchmarks.read_path
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import load

PROGRAM = """
import sys
import cluster.broker.broker as broker
broker.TAIL_BYTES_MAX = broker.TAIL_PARTITION_BYTES_MAX = int(sys.argv[1])
from pykafkacore.testing import Broker
running = Broker({"log.retention.ms": "-1"}).start()
print(running.port, flush=True)
sys.stdin.read()
running.close()
"""


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def read_for(port: int, topic: str, bytes_max: int, seconds: float) -> float:
    """Bytes read in `seconds` by one reader of the same region, into a buffer of its own."""
    wire = load.Wire(port)
    wire.close()
    import socket
    import struct

    stream = socket.create_connection(("127.0.0.1", port))
    frame = load.fetch_frame(topic, 0, 0, bytes_max)
    buffer = memoryview(bytearray(8 << 20))
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        stream.sendall(frame)
        size, got = 4, 0
        while got < size:
            got += stream.recv_into(buffer[got:])
            if size == 4 and got >= 4:
                size = 4 + struct.unpack(">i", buffer[:4])[0]
        done += got
    stream.close()
    return done / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1)
    given = parser.parse_args()
    brokers = {}
    for name, tail_bytes in (("memory", 64 << 20), ("file", 0)):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tail_bytes)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        brokers[name] = (process, int(process.stdout.readline()))
    cases = [(batch, region) for batch in (300, 16 << 10, 128 << 10) for region in (16 << 10, 1 << 20)]
    try:
        for batch_bytes, region in cases:
            topic = f"read-{batch_bytes}-{region}"
            for _, port in brokers.values():
                load.create_topic(port, topic, 1)
                wire = load.Wire(port)
                frame = load.produce_frame(topic, 0, load.batch_of(batch_bytes, min(batch_bytes // 2, 1000)), 1)
                for _ in range((2 << 20) // batch_bytes):
                    wire.send(frame)
                    wire.receive()
                wire.close()
            rates: dict[str, list[float]] = {name: [] for name in brokers}
            costs: dict[str, list[float]] = {name: [] for name in brokers}
            for _ in load.rounds(given.rounds):
                for name, (process, port) in brokers.items():
                    before = cpu_seconds(process.pid)
                    rate = read_for(port, topic, region, given.seconds)
                    rates[name].append(rate)
                    costs[name].append((cpu_seconds(process.pid) - before) / (rate * given.seconds) * 1e9)
            a, b = statistics.median(rates["memory"]), statistics.median(rates["file"])
            c, d = statistics.median(costs["memory"]), statistics.median(costs["file"])
            print(
                f"batches {batch_bytes:6} B, fetch {region:7} B: memory {a / 1e9:5.2f} GB/s {c:5.2f} CPU s/GB, "
                f"file {b / 1e9:5.2f} GB/s {d:5.2f} CPU s/GB, ratio {a / b:.2f}x GB/s, {c / d:.2f}x CPU"
            )
    finally:
        for process, _ in brokers.values():
            process.stdin.close()
            process.wait(30)


if __name__ == "__main__":
    main()
