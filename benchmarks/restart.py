"""Back after kill -9? From exec until every partition serves, with so many GB in 1,000 partitions, beside Apache Kafka's.

Both are given the same batches of random bytes, are killed right behind the last acknowledgement, and are started again in
turns. A partition serves when Metadata tells of no error and ListOffsets gives the end that was acknowledged. The page cache is
warm, as after any kill of a process.

Run: python -m benchmarks.restart [--gb 4] [--partitions 1000] [--runs 5] [--no-apache]
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
from benchmarks.startup import rss_mib
from benchmarks.versus.admin import create_topics
from benchmarks.versus.brokers import Apache, Broker, Ours
from pykafkacore import _core
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.headers import decode_response
from tests.support import apache

TOPIC = "filled"
RECORD_BYTES = 1000
IN_FLIGHT = 8
FREE_PART_MAX = 0.4


def fill(port: int, partitions: int, batches: int, batch_bytes: int) -> int:
    """So many batches a partition, partition after partition; gives the offset at which each ends."""
    record = (int(time.time() * 1000), None, os.urandom(RECORD_BYTES), [])
    count = batch_bytes // (RECORD_BYTES + 10)
    batch = _core.build_batch([record] * count)
    wire = load.Wire(port)
    waiting = 0

    def take_answer() -> None:
        [told] = decode_response(api("Produce"), 9, wire.receive())[1].responses[0].partition_responses
        assert told.error_code == 0, told

    for _ in range(batches):
        for partition in range(partitions):
            wire.send(load.produce_frame(TOPIC, partition, batch, -1))
            waiting += 1
            if waiting == IN_FLIGHT:
                take_answer()
                waiting -= 1
    for _ in range(waiting):
        take_answer()
    wire.close()
    return batches * count


def serves(port: int, partitions: int, end: int) -> bool:
    """Every partition has a leader, and that leader tells this end."""
    try:
        wire = load.Wire(port)
    except OSError:
        return False
    try:
        metadata, offsets = api("Metadata").request, api("ListOffsets").request
        told = wire.ask("Metadata", 9, metadata(topics=[metadata.MetadataRequestTopic(name=TOPIC)])).topics[0]
        if told.error_code or len(told.partitions) != partitions or any(each.error_code for each in told.partitions):
            return False
        rows = [offsets.ListOffsetsPartition(partition_index=number, timestamp=-1) for number in range(partitions)]
        topic = offsets.ListOffsetsTopic(name=TOPIC, partitions=rows)
        found = wire.ask("ListOffsets", 7, offsets(replica_id=-1, topics=[topic])).topics[0].partitions
        if any(each.error_code for each in found):
            return False
        wrong = [(each.partition_index, each.offset) for each in found if each.offset != end]
        assert not wrong, f"partitions that do not end at {end}: {wrong[:5]}"
        return True
    except OSError:
        return False
    finally:
        wire.close()


def kill(broker: Broker) -> None:
    assert broker.process is not None
    broker.process.kill()
    broker.process.wait()
    broker.process = None


def restarted(broker: Broker, partitions: int, end: int) -> tuple[float, float]:
    """(seconds from exec until all serve, MiB resident then)"""
    began = time.perf_counter()
    broker.start(deadline_s=1800)
    while not serves(broker.port, partitions, end):
        time.sleep(0.002)
    return time.perf_counter() - began, rss_mib(broker.pid)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gb", type=float, default=4)
    parser.add_argument("--partitions", type=int, default=1000)
    parser.add_argument("--batch-kib", type=int, default=64)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--no-apache", action="store_true")
    given = parser.parse_args()
    sides = [Ours] if given.no_apache or apache.missing() else [Ours, Apache]
    directory = Path(tempfile.mkdtemp())
    size = min(given.gb * 1e9, shutil.disk_usage(directory).free * FREE_PART_MAX / len(sides))
    batches = max(1, round(size / given.partitions / (given.batch_kib << 10)))
    brokers = [side(directory / side.__name__) for side in sides]
    ends: dict[str, int] = {}
    found: dict[str, list[tuple[float, float]]] = {broker.name: [] for broker in brokers}
    try:
        for broker in brokers:
            broker.format()
            broker.start()
            create_topics(broker.port, [TOPIC], given.partitions)
            ends[broker.name] = fill(broker.port, given.partitions, batches, given.batch_kib << 10)
            kill(broker)
        print(f"{ends[brokers[0].name] * given.partitions * RECORD_BYTES / 1e9:.1f} GB in {given.partitions} partitions")
        for _ in range(given.runs):
            for broker in brokers:
                found[broker.name].append(restarted(broker, given.partitions, ends[broker.name]))
                kill(broker)
        for name, rows in found.items():
            times, sizes = [row[0] for row in rows], [row[1] for row in rows]
            print(
                f"{name:14} {statistics.median(times):8.3f} s ({min(times):.3f}-{max(times):.3f}) to all partitions serving"
                f"   {statistics.median(sizes):7.1f} MiB"
            )
        if len(sides) == 2:
            quicker = statistics.median(t[0] / o[0] for o, t in zip(*found.values(), strict=True))
            print(f"ratio          {quicker:.1f}x quicker")
    finally:
        for broker in brokers:
            broker.discard()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
