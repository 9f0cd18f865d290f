"""Rows that users run themselves: librdkafka, and Apache Kafka's own kafka-producer-perf-test and kafka-consumer-perf-test.

Here the client is the limit more often than not; what tells the brokers apart is their processor time.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.versus import brokers
from benchmarks.versus.brokers import Broker
from benchmarks.versus.loading import Form, Result, fresh_name, watching
from tests.support import apache

if TYPE_CHECKING:
    from benchmarks.versus.row import Row

# The consumer's queue holds all there is: with a full one it would wait a second by default before it asks again, and the
# quicker a broker is, the sooner that comes. A program of its own, so that its processor time is not the
# harness's. Prints records and seconds.
LIBRDKAFKA = """
import json, sys, time
from confluent_kafka import Producer, Consumer, TopicPartition
port, topic, what, count, size, partitions = sys.argv[1], sys.argv[2], sys.argv[3], *map(int, sys.argv[4:7])
servers = {"bootstrap.servers": f"127.0.0.1:{port}"}
if what == "produce":
    producer = Producer({**servers, "linger.ms": 5, "acks": "all", "queue.buffering.max.messages": 500000,
                         "queue.buffering.max.kbytes": 1 << 20, "batch.size": 1000000})
    value, failed = b"x" * size, []
    def told(error, message):
        if error is not None:
            failed.append(str(error))
    producer.list_topics(topic, 10)
    start = time.perf_counter()
    for number in range(count):
        while True:
            try:
                producer.produce(topic, value, on_delivery=told if number % 1000 == 0 else None)
                break
            except BufferError:
                producer.poll(0.01)
        if number % 1000 == 0:
            producer.poll(0)
    left = producer.flush(120)
    seconds = time.perf_counter() - start
    assert not failed and left == 0, (failed[:3], left)
else:
    consumer = Consumer({**servers, "group.id": "versus", "enable.auto.commit": False, "check.crcs": False,
                         "queued.max.messages.kbytes": 262144, "queued.min.messages": 1000000,
                         "fetch.queue.backoff.ms": 10})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    done, start = 0, None
    while done < count:
        got = consumer.consume(10000, 30)
        assert got, f"{done} of {count} came"
        start = start or time.perf_counter()
        done += sum(1 for message in got if message.error() is None)
    seconds = time.perf_counter() - start
    consumer.close()
print(json.dumps({"records": count, "seconds": seconds}))
"""

SUMMARY = re.compile(
    r"(\d+) records sent, ([\d.]+) records/sec.*?([\d.]+) ms avg latency, ([\d.]+) ms max latency, (\d+) ms 50th, (\d+) ms 95th,"
    r" (\d+) ms 99th, (\d+) ms 99\.9th"
)


def _run(command: list[str], processors: str | None) -> str:
    done = subprocess.run(brokers.pinned(command, processors), capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)[:300]}\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
    return done.stdout


def _with_topic(broker: Broker, row: Row, run: Any) -> Result:
    topic = fresh_name(row.name)
    broker.create_topic(topic, row.partitions)
    try:
        return run(topic)
    finally:
        broker.delete_topic(topic)


# Fewer would tell of the client's own start, most of all of a JVM's.
RECORD_COUNT_MIN = 300_000


def _record_count(row: Row, form: Form) -> int:
    return max(RECORD_COUNT_MIN, int(row.load["records"] * form.scale))


def librdkafka(broker: Broker, row: Row, seconds: float, form: Form) -> Result:
    """Writes records, then reads them; each with the broker's processor time."""
    count, size = _record_count(row, form), row.load["record-bytes"]

    def program(topic: str, what: str) -> dict[str, Any]:
        command = [sys.executable, "-c", LIBRDKAFKA, str(broker.port), topic, what, *map(str, (count, size, row.partitions))]
        with watching(broker.pid) as used:
            told = json.loads(_run(command, form.load_processors))
        return {**used, **told}

    def run(topic: str) -> Result:
        written = program(topic, "produce")
        return {**written, "reading": program(topic, "consume")}

    return _with_topic(broker, row, run)


def _perf_test(broker: Broker, topic: str, row: Row, count: int, throughput: int, form: Form) -> dict[str, Any]:
    options = [
        "--bootstrap-server", f"127.0.0.1:{broker.port}", "--topic", topic, "--num-records", str(count),
        "--record-size", str(row.load["record-bytes"]), "--throughput", str(throughput), "--warmup-records", str(count // 4),
        "--command-property", "linger.ms=5", "acks=all", f"batch.size={row.load['batch-bytes']}", "buffer.memory=67108864",
    ]  # fmt: skip
    with watching(broker.pid) as used:
        told = _run(_java("kafka-producer-perf-test", options), form.load_processors)
    lines = SUMMARY.findall(told)
    if not lines:
        raise RuntimeError(f"kafka-producer-perf-test said nothing that can be read:\n{told[-1000:]}")
    _, rate, mean, longest, p50, _, p99, p99_9 = map(float, lines[-1])
    latency = {"mean_us": mean * 1e3, "p50_us": p50 * 1e3, "p99_us": p99 * 1e3, "p99_9_us": p99_9 * 1e3, "max_us": longest * 1e3}
    # The rate is of the records behind the warm-up, the processor time of all: both are told for all records sent.
    return {**used, "records": count, "records_per_s": rate, "latency": latency}


def _java(tool: str, options: list[str]) -> list[str]:
    program = brokers.java_program("newest")
    return [
        program, "-Xmx512m", f"-Dlog4j.configuration=file:{apache.log_config()}", "-cp", apache.jars(apache.TOOLS_DIR),
        apache.TOOLS[tool], *options,
    ]  # fmt: skip


def perf_test(broker: Broker, row: Row, seconds: float, form: Form) -> Result:
    """kafka-producer-perf-test as fast as it goes, then kafka-consumer-perf-test over what it wrote."""
    count = _record_count(row, form)

    def run(topic: str) -> Result:
        written = _perf_test(broker, topic, row, count, -1, form)
        options = ["--bootstrap-server", f"127.0.0.1:{broker.port}", "--topic", topic, "--num-records", str(count)]
        with watching(broker.pid) as used:
            told = _run(_java("kafka-consumer-perf-test", [*options, "--hide-header"]), form.load_processors)
        # start, end, MB, MB/s, records, records/s, rebalance ms, fetch ms, fetch MB/s, fetch records/s
        fields = [field.strip() for field in told.strip().splitlines()[-1].split(",")]
        return {**written, "reading": {**used, "records": int(fields[4]), "records_per_s": float(fields[9])}}

    return _with_topic(broker, row, run)


def perf_test_paced(broker: Broker, row: Row, seconds: float, form: Form) -> Result:
    """kafka-producer-perf-test at a given rate, for its latencies."""
    count = _record_count(row, form)
    return _with_topic(broker, row, lambda topic: _perf_test(broker, topic, row, count, row.load["rate"], form))
