"""Does the seam hold? The data plane beside a busy, and beside a blocked, control plane.

    busy     a Python thread spins in the broker's process; the same load with the spinner in a process of its own
             stands beside it, so that both sides lose the same processor time and only the GIL differs
    blocked  a topic policy sleeps on the Trio thread for 5 s; a client that only produces and fetches goes on
    publish  one changed partition, published with 10 and with 10,000 partitions in the view

Run: python -m benchmarks.seam [--rounds 5] [--seconds 2]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from benchmarks import load

BLOCKED_S = 5


class MischiefPolicy:
    """A user's policy that does what a policy should not: spins a thread, or sleeps."""

    spinning = threading.Event()

    def configure(self, configs: dict) -> None:
        pass

    def validate(self, metadata: object) -> None:
        name = metadata.topic
        if name.startswith("spin-on"):
            self.spinning.set()
            threading.Thread(target=self._spin, daemon=True).start()
        elif name.startswith("spin-off"):
            self.spinning.clear()
        elif name.startswith("block"):
            time.sleep(BLOCKED_S)

    def _spin(self) -> None:
        while self.spinning.is_set():
            sum(range(1000))

    def close(self) -> None:
        pass


def start_broker(directory: Path) -> tuple[subprocess.Popen, int]:
    code = (
        "import sys, time\n"
        "from pykafkacore.testing import Broker\n"
        "b = Broker({'create.topic.policy.class.name': 'benchmarks.seam.MischiefPolicy', 'log.retention.ms': '-1'},"
        f" data={str(directory)!r}).start()\n"
        "print(b.port, flush=True)\n"
        "sys.stdin.read()\n"
        "b.stop()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return process, int(process.stdout.readline())


def spinner() -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", "while True: sum(range(1000))"])


def measure(port: int, seconds: float, batch: bytes, pings: int) -> dict[str, float]:
    ping = load.produce_frame("seam", 1, load.batch_of(1024, 1024), -1)
    return {
        "produce MB/s": load.produce_for(port, "seam", seconds, batch) / 1e6,
        "fetch MB/s": load.read_for(port, "seam", seconds, batch) / 1e6,
        "ping p50 us": load.quantile(load.latencies(port, ping, pings), 0.5) * 1e6,
        "ping p99 us": load.quantile(load.latencies(port, ping, pings), 0.99) * 1e6,
    }


def busy(port: int, rounds: int, seconds: float) -> None:
    batch = load.batch_of(64 * 1024, 1024)
    load.create_topic(port, "seam", 2)
    load.produce_for(port, "seam", 1, batch)
    beside: list[dict[str, float]] = []
    inside: list[dict[str, float]] = []
    for number in load.rounds(rounds):
        other = spinner()
        try:
            beside.append(measure(port, seconds, batch, 3000))
        finally:
            other.kill()
            other.wait()
        load.create_topic(port, f"spin-on-{number}", 1)
        try:
            inside.append(measure(port, seconds, batch, 3000))
        finally:
            load.create_topic(port, f"spin-off-{number}", 1)
    print("spinning Python thread in the broker : spinner in another process (median of the rounds' ratios)")
    for name in beside[0]:
        ratios = [i[name] / b[name] for i, b in zip(inside, beside, strict=True)]
        a, b = statistics.median(r[name] for r in inside), statistics.median(r[name] for r in beside)
        spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
        print(f"  {name:14} {a:10.1f} : {b:10.1f}   ratio {statistics.median(ratios):.2f} ({spread})")


def blocked(port: int) -> None:
    frame = load.produce_frame("seam", 1, load.batch_of(1024, 1024), -1)
    quiet = load.latencies(port, frame, 5000)
    blocker = threading.Thread(target=load.create_topic, args=(port, "block-1", 1))
    started = time.perf_counter()
    blocker.start()
    time.sleep(0.1)
    found: list[float] = []
    while time.perf_counter() - started < BLOCKED_S - 0.5:
        found.extend(load.latencies(port, frame, 500))
    was_blocked = blocker.is_alive()
    blocker.join()
    print(f"Trio thread asleep for {BLOCKED_S} s in a policy (still blocked at the end of the load: {was_blocked})")
    for name, part in (("p50", 0.5), ("p99", 0.99), ("worst", 1.0)):
        a, b = load.quantile(found, part) * 1e6, load.quantile(quiet, part) * 1e6
        print(f"  ping {name:6} us {a:10.1f} : {b:10.1f} quiet   ratio {a / b:.2f}")
    print(f"  {len(found)} produce requests were answered meanwhile")


def publish(directory: Path) -> None:
    """Time to publish one changed partition, by the number of partitions in the view."""
    import trio

    from cluster.plane.port import PartitionView, ViewDelta
    from pykafkacore.testing import Broker

    medians = {}
    for count in (10, 10_000):
        with Broker(data=directory / f"publish-{count}") as broker:
            load.create_topic(broker.port, "wide", count)
            node = broker.node

            async def measure(node: object = node) -> list[float]:
                topic = node.image.topic_named("wide")
                before = topic.partitions[0]
                found = []
                for number in range(2000):
                    view = PartitionView(
                        topic.topic_id, "wide", 0, 1, 0, number, before.replicas, before.isr, before.directories[0]
                    )
                    done = trio.Event()
                    start = time.perf_counter()
                    delta = ViewDelta(node.image.offset, (), (view,))
                    node.plane.publish(delta, lambda *_, done=done: done.set())
                    await done.wait()
                    found.append(time.perf_counter() - start)
                return found

            times = trio.from_thread.run(measure, trio_token=broker._token)
            medians[count] = statistics.median(times) * 1e6
            p99 = load.quantile(times, 0.99) * 1e6
            print(f"  publish one partition of {count:6}: median {medians[count]:7.1f} us, p99 {p99:7.1f} us")
    print(f"  ratio 10,000 : 10 partitions  {medians[10_000] / medians[10]:.2f}")


def main() -> None:
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    given = parser.parse_args()
    print(f"{os.cpu_count()} processors")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        process, port = start_broker(directory / "seam")
        try:
            busy(port, given.rounds, given.seconds)
            blocked(port)
        finally:
            process.stdin.close()
            process.wait(30)
        print("publishing")
        publish(directory)


if __name__ == "__main__":
    main()
