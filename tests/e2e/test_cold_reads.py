"""Records that only the disk has: they are brought into memory by threads of their own, and told whole and in order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pykafkacore.protocol.apis import api
from pykafkacore.protocol.headers import decode_response
from pykafkacore.testing import Broker
from tests.support.wire import Wire, batch_of, create_topic, fetch_frame, produce_frame

pytestmark = pytest.mark.e2e

BATCHES = 160
BATCH_BYTES = 64 << 10


def forget(path: Path) -> bool:
    """Has memory lose the file; whether it did."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        try:
            os.preadv(descriptor, [bytearray(1)], BATCH_BYTES * BATCHES // 2, os.RWF_NOWAIT)
        except BlockingIOError:
            return True
        return False
    finally:
        os.close(descriptor)


def bringers() -> int:
    names = (Path(f"/proc/self/task/{task}/comm").read_text().strip() for task in os.listdir("/proc/self/task"))
    return sum(name == "bringer" for name in names)


def test_what_memory_has_lost_is_read_whole() -> None:
    with Broker() as broker:
        create_topic(broker.port, "cold", 1)
        wire = Wire(broker.port)
        batch = batch_of(BATCH_BYTES, 1024)
        for _ in range(BATCHES):
            wire.send(produce_frame("cold", 0, batch, -1))
            told = decode_response(api("Produce"), 9, wire.receive())[1].responses[0].partition_responses[0]
            assert told.error_code == 0
        [path] = broker.data.rglob("cold-0/00000000000000000000.log")
        was_forgotten = forget(path)
        found, offset = b"", 0
        while len(found) < BATCHES * len(batch):
            wire.send(fetch_frame("cold", 0, offset, 1 << 20))
            row = decode_response(api("Fetch"), 12, wire.receive())[1].responses[0].partitions[0]
            assert row.error_code == 0
            assert row.records
            found += row.records
            base_offset, last_offset_delta = (row.records[-len(batch) :][at:end] for at, end in ((0, 8), (23, 27)))
            offset = int.from_bytes(base_offset, "big") + int.from_bytes(last_offset_delta, "big") + 1
        wire.close()
        assert bringers() > 0 or not was_forgotten
        assert found == path.read_bytes()[: BATCHES * len(batch)]
