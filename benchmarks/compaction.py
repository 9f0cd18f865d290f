"""What a second of processor time compacts: this broker beside Apache Kafka, on the same batches.

    python -m benchmarks.compaction [--mib 256] [--rounds 2] [--produce]

Each round fills a topic with random keys while its dirty ratio forbids cleaning, then allows it, and counts the processor
time of the whole process until the cleaner's checkpoint stands behind the last full segment. MB are those of the log that is
cleaned, read once. The first round of each codec is not counted: the JVM compiles.
With `--produce`, one record after the other is produced to another topic meanwhile, and before: p99 of both.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path
from random import Random

from benchmarks.versus.brokers import Apache, Broker, Ours
from pykafkacore import _core
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.headers import decode_response
from tests.support.wire import Wire, produce_frame

CODECS = {"none": 0, "lz4": 3, "zstd": 4}
SEGMENT_BYTES = 32 << 20
KEYS, VALUE_BYTES, BATCH_RECORDS = 200_000, 256, 500
CONFIG = {
    "cleanup.policy": "compact",
    "segment.bytes": str(SEGMENT_BYTES),
    "min.cleanable.dirty.ratio": "1.0",
    "file.delete.delay.ms": "0",
    "max.message.bytes": "2000000",
}
EXTRA = {"log.cleaner.backoff.ms": "100", "log.initial.task.delay.ms": "100"}


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def batches(codec: int, count: int) -> list[bytes]:
    """A quarter of each value is random: half-way compressible, as records are."""
    random = Random(codec)
    rows = [
        [
            (1_700_000_000_000, b"key-%d" % random.randrange(KEYS), random.randbytes(VALUE_BYTES // 4) * 4, [])
            for _ in range(BATCH_RECORDS)
        ]
        for _ in range(count)
    ]
    return [_core.build_batch(each, codec=codec) for each in rows]


def allow_cleaning(wire: Wire, topic: str) -> None:
    message = api("IncrementalAlterConfigs").request
    config = message.AlterableConfig(name="min.cleanable.dirty.ratio", config_operation=0, value="0.01")
    resource = message.AlterConfigsResource(resource_type=2, resource_name=topic, configs=[config])
    answer = wire.ask("IncrementalAlterConfigs", 1, message(resources=[resource]))
    assert answer.responses[0].error_code == 0, answer


def last_segment(data: Path, topic: str) -> int:
    return max(int(path.stem) for path in (data / f"{topic}-0").glob("*.log"))


def is_clean(data: Path, topic: str, offset: int) -> bool:
    path = data / "cleaner-offset-checkpoint"
    lines = path.read_text().splitlines() if path.exists() else []
    return any(line.startswith(f"{topic} 0 ") and int(line.split()[2]) >= offset for line in lines)


class Pings:
    """Produces one record after the other, and keeps how long each took."""

    def __init__(self, port: int) -> None:
        self.times: list[float] = []
        self._wire, self._stopping = Wire(port), threading.Event()
        self._frame = produce_frame("pings", 0, _core.build_batch([(1, b"k", bytes(100), [])]), -1)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.wait(0.001):
            begun = time.perf_counter()
            self._wire.send(self._frame)
            self._wire.receive()
            self.times.append(time.perf_counter() - begun)

    def stop(self) -> str:
        self._stopping.set()
        self._thread.join()
        self._wire.close()
        if len(self.times) < 100:
            return "too few"
        return f"{statistics.quantiles(self.times, n=100)[98] * 1000:.2f} ms of {len(self.times)}"


def measure(broker: Broker, topic: str, frames: list[bytes], with_pings: bool) -> tuple[float, float, float, list[str]]:
    """MB, processor seconds, seconds, p99s."""
    data = broker.directory / "data"
    broker.create_topic(topic, 1, CONFIG)
    wire = Wire(broker.port)
    for frame in frames:
        wire.send(frame)
        answer = decode_response(api("Produce"), 9, wire.receive())[1].responses[0].partition_responses[0]
        assert answer.error_code == 0, answer
    end = last_segment(data, topic)
    size = sum(path.stat().st_size for path in (data / f"{topic}-0").glob("*.log") if int(path.stem) < end)
    told = []
    if with_pings:
        quiet = Pings(broker.port)
        time.sleep(3)
        told.append(quiet.stop())
    pings = Pings(broker.port) if with_pings else None
    before, begun = cpu_s(broker.pid), time.monotonic()
    allow_cleaning(wire, topic)
    while not is_clean(data, topic, end):
        time.sleep(0.02)
    spent, took = cpu_s(broker.pid) - before, time.monotonic() - begun
    if pings is not None:
        told.append(pings.stop())
    wire.close()
    broker.delete_topic(topic)
    return size / 1e6, spent, took, told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--produce", action="store_true")
    options = parser.parse_args()
    found: dict[tuple[str, str], float] = {}
    for kind in (Ours, Apache):
        with tempfile.TemporaryDirectory(prefix="compaction-") as directory:
            broker = kind(Path(directory) / "broker", extra=EXTRA)
            broker.format()
            broker.start()
            broker.create_topic("pings", 1)
            for codec, number in CODECS.items():
                made = batches(number, 400)
                count = max(len(made), (options.mib << 20) * len(made) // sum(map(len, made)))
                for turn in range(options.rounds + 1):
                    topic = f"{codec}-{turn}"
                    frames = [produce_frame(topic, 0, made[at % len(made)], 1) for at in range(count)]
                    megabytes, spent, took, told = measure(broker, topic, frames, options.produce and turn > 0)
                    line = f"{kind.name:13} {codec:5} {megabytes:6.0f} MB  {spent:6.2f} CPU s  {took:6.2f} s  "
                    line += f"{megabytes / spent:7.0f} MB per CPU s"
                    print(line + ("  (not counted)" if turn == 0 else "") + "".join(f"  p99 {text}" for text in told))
                    if turn:
                        found[kind.name, codec] = max(found.get((kind.name, codec), 0), megabytes / spent)
            broker.discard()
    for codec in CODECS:
        ratio = found[Ours.name, codec] / found[Apache.name, codec]
        print(f"{codec:5} {ratio:5.1f} times Apache Kafka's MB per CPU second")


if __name__ == "__main__":
    main()
