"""Retention and compaction, as clients and the directory see it: settings of topics, live changes, restarts.

Each test waits for what the housekeeper does by asking for it again and again; its rounds are a few ms apart here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pykafkacore import _core
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import Code
from pykafkacore.protocol.headers import decode_response
from pykafkacore.testing import Broker
from tests.cluster.broker.test_broker import BROKER, DELETE, TOPIC, alter, create, latest, produce
from tests.support.wire import Wire, fetch_frame

ROUNDS = {
    "log.initial.task.delay.ms": "5",
    "log.retention.check.interval.ms": "5",
    "log.cleaner.backoff.ms": "5",
}
SMALL = {"internal.segment.bytes": "2000", "retention.ms": "-1", "file.delete.delay.ms": "0"}
LONG_AGO, DAY_MS = 1_000_000, 86_400_000


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with Broker(ROUNDS) as broker:
        yield broker


@pytest.fixture
def wire(broker: Broker) -> Iterator[Wire]:
    wire = Wire(broker.port)
    yield wire
    wire.close()


def earliest(wire: Wire, topic: str) -> int:
    message = api("ListOffsets").request
    place = message.ListOffsetsPartition(partition_index=0, timestamp=-2)
    request = message(replica_id=-1, topics=[message.ListOffsetsTopic(name=topic, partitions=[place])])
    return wire.ask("ListOffsets", 9, request).topics[0].partitions[0].offset


def write(wire: Wire, topic: str, count: int, timestamp: int | None = None, size: int = 900) -> None:
    """Batches of one record; two fill a segment of 2000 bytes."""
    for number in range(count):
        when = int(time.time() * 1000) if timestamp is None else timestamp + number
        assert produce(wire, topic, _core.build_batch([(when, b"k%d" % (number % 5), bytes(size), [])])) == Code.NONE


def comes(what: Callable[[], bool]) -> bool:
    end = time.monotonic() + 20
    while not what():
        if time.monotonic() > end:
            return False
    return True


def files(broker: Broker, topic: str) -> list[str]:
    return sorted(path.name for path in (Path(broker.data) / f"{topic}-0").iterdir())


def fetch_error(wire: Wire, topic: str, offset: int) -> int:
    wire.send(fetch_frame(topic, 0, offset, 1 << 20))
    return decode_response(api("Fetch"), 12, wire.receive())[1].responses[0].partitions[0].error_code


def test_what_is_older_than_retention_ms_goes_with_all_its_files(broker: Broker, wire: Wire) -> None:
    create(wire, "aged", configs={**SMALL, "retention.ms": str(DAY_MS)})
    write(wire, "aged", 8, LONG_AGO)
    write(wire, "aged", 1)
    assert comes(lambda: earliest(wire, "aged") == 8)
    assert latest(wire, "aged") == 9
    assert fetch_error(wire, "aged", 7) == Code.OFFSET_OUT_OF_RANGE
    assert fetch_error(wire, "aged", 8) == Code.NONE
    expected = [f"{8:020}.{suffix}" for suffix in ("log", "snapshot")]
    assert comes(lambda: [name for name in files(broker, "aged") if name[0] == "0"] == expected), files(broker, "aged")


def test_the_active_segment_goes_too_when_all_of_it_is_expired(wire: Wire) -> None:
    create(wire, "forgotten", configs={**SMALL, "retention.ms": str(DAY_MS)})
    write(wire, "forgotten", 3, LONG_AGO)
    assert comes(lambda: earliest(wire, "forgotten") == 3)
    assert latest(wire, "forgotten") == 3
    write(wire, "forgotten", 1)
    assert (earliest(wire, "forgotten"), latest(wire, "forgotten")) == (3, 4)


def test_the_oldest_go_while_the_log_is_larger_than_retention_bytes(wire: Wire) -> None:
    create(wire, "sized", configs={**SMALL, "retention.bytes": "4000"})
    write(wire, "sized", 21)
    assert comes(lambda: earliest(wire, "sized") == 16), earliest(wire, "sized")


def test_a_changed_setting_of_the_topic_or_the_broker_takes_effect(broker: Broker, wire: Wire) -> None:
    create(wire, "changing", configs=SMALL)
    create(wire, "inheriting", configs={name: value for name, value in SMALL.items() if name != "retention.ms"})
    write(wire, "changing", 5, LONG_AGO)
    write(wire, "inheriting", 5, int(time.time() * 1000) - DAY_MS)
    write(wire, "changing", 1)
    write(wire, "inheriting", 1)
    assert (earliest(wire, "changing"), earliest(wire, "inheriting")) == (0, 0)
    assert alter(wire, TOPIC, "changing", "retention.ms", "1000000") == Code.NONE
    assert comes(lambda: earliest(wire, "changing") == 5), "the newest record has begun a segment by its time"
    assert alter(wire, BROKER, "", "log.retention.ms", "1000000") == Code.NONE
    assert comes(lambda: earliest(wire, "inheriting") == 4)
    assert alter(wire, BROKER, "", "log.retention.ms", None, DELETE) == Code.NONE


def test_without_the_policy_only_what_lies_before_the_start_goes(wire: Wire) -> None:
    create(wire, "kept", configs={**SMALL, "cleanup.policy": "compact", "retention.ms": "1", "retention.bytes": "1"})
    create(wire, "witness", configs={**SMALL, "retention.ms": "1"})
    write(wire, "kept", 5, LONG_AGO)
    write(wire, "witness", 5, LONG_AGO)
    assert comes(lambda: earliest(wire, "witness") == 5), "a round has passed"
    assert earliest(wire, "kept") == 0


def test_deleted_files_stay_for_the_delay_and_a_start_removes_them(tmp_path: Path) -> None:
    delayed = {**SMALL, "retention.ms": str(DAY_MS), "file.delete.delay.ms": "3600000"}
    with Broker(ROUNDS, data=tmp_path) as broker:
        wire = Wire(broker.port)
        create(wire, "delayed", configs=delayed)
        write(wire, "delayed", 4, LONG_AGO)
        write(wire, "delayed", 1)
        assert comes(lambda: earliest(wire, "delayed") == 4)
        gone = {f"{base:020}.{suffix}.deleted" for base in (0, 2) for suffix in ("log", "index", "timeindex")}
        # Where the log starts is told, and noted on the disk, before its files are renamed.
        assert comes(lambda: gone <= set(files(broker, "delayed")))
        wire.close()
    with Broker(ROUNDS, data=tmp_path) as broker:
        wire = Wire(broker.port)
        assert (earliest(wire, "delayed"), latest(wire, "delayed")) == (4, 5)
        assert not [name for name in files(broker, "delayed") if name.endswith(".deleted")]
        wire.close()


def test_a_deleted_topic_leaves_the_disk_once_its_delay_is_over_or_at_the_next_start(tmp_path: Path) -> None:
    def left() -> list[str]:
        return [path.name for path in Path(broker.data).iterdir() if path.name.startswith("gone")]

    def delete(broker: Broker) -> None:
        wire = Wire(broker.port)
        create(wire, "gone", partitions=3)
        request = api("DeleteTopics").request(topic_names=["gone"], timeout_ms=5000)
        assert wire.ask("DeleteTopics", 5, request).responses[0].error_code == Code.NONE
        wire.close()

    with Broker({**ROUNDS, "log.segment.delete.delay.ms": "3600000"}, data=tmp_path) as broker:
        delete(broker)
        assert len(left()) == 3
    with Broker({**ROUNDS, "log.segment.delete.delay.ms": "0"}, data=tmp_path) as broker:
        assert comes(lambda: not left()), left()
        delete(broker)
        assert comes(lambda: not left()), left()


def test_a_reader_in_the_middle_of_a_deleted_segment_gets_all_of_it(broker: Broker, wire: Wire) -> None:
    create(wire, "read", configs={**SMALL, "internal.segment.bytes": str(64 << 20), "max.message.bytes": str(8 << 20)})
    for _ in range(8):
        write(wire, "read", 1, LONG_AGO, size=4 << 20)
    slow = Wire(broker.port)
    slow.send(fetch_frame("read", 0, 0, 40 << 20))
    slow.socket.settimeout(20)
    head = slow._file.read(4096)  # the answer has begun; the rest waits in the broker
    assert alter(wire, TOPIC, "read", "retention.ms", "1000") == Code.NONE
    assert comes(lambda: earliest(wire, "read") == 8)
    size = int.from_bytes(head[:4])
    assert len(slow._file.read(size - 4092)) == size - 4092 > 30 << 20
    slow.close()


COMPACTED = {
    "cleanup.policy": "compact",
    "internal.segment.bytes": "2000",
    "min.cleanable.dirty.ratio": "0.01",
    "file.delete.delay.ms": "0",
    "delete.retention.ms": "100",
}


def put(wire: Wire, topic: str, *records: tuple[bytes, bytes | None], **facts: object) -> None:
    rows = [(int(time.time() * 1000), key, value, []) for key, value in records]
    assert produce(wire, topic, _core.build_batch(rows, **facts)) == Code.NONE


def fetched(wire: Wire, topic: str) -> list[tuple[int, bytes, bytes | None]]:
    """Offset, key and value of every record."""
    found, at, end = [], earliest(wire, topic), latest(wire, topic)
    while at < end:
        wire.send(fetch_frame(topic, 0, at, 1 << 20))
        data = decode_response(api("Fetch"), 12, wire.receive())[1].responses[0].partitions[0].records
        for batch in _core.parse_batches(bytes(data)):
            found += [(offset, key, value) for offset, _, key, value, _ in batch["records"] if offset >= at]
            at = batch["last_offset"] + 1
    return found


def test_of_each_key_the_newest_record_stays_and_a_reader_at_the_end_sees_the_same(wire: Wire) -> None:
    create(wire, "compacted", configs=COMPACTED)
    for number in range(60):
        put(wire, "compacted", (b"k%d" % (number % 4), b"%d" % number + bytes(300)))
    assert comes(lambda: len(fetched(wire, "compacted")) <= 10), len(fetched(wire, "compacted"))
    found = fetched(wire, "compacted")
    assert {key: value.rstrip(b"\0") for _, key, value in found} == {b"k%d" % (n % 4): b"%d" % n for n in range(56, 60)}
    assert [offset for offset, _, _ in found] == sorted(int(value.rstrip(b"\0")) for _, _, value in found)
    assert (earliest(wire, "compacted"), latest(wire, "compacted")) == (0, 60)


def test_a_tombstone_is_seen_and_then_goes(wire: Wire) -> None:
    create(wire, "buried", configs=COMPACTED)
    put(wire, "buried", (b"a", b"1"))
    put(wire, "buried", (b"a", None))
    assert [value for _, key, value in fetched(wire, "buried") if key == b"a"][-1:] == [None]
    fill = iter(range(10_000))

    def gone() -> bool:
        put(wire, "buried", (b"filler", b"%d" % next(fill) + bytes(300)))
        return b"a" not in {key for _, key, _ in fetched(wire, "buried")}

    assert comes(gone)


def test_a_compacted_log_is_the_same_after_a_restart_and_is_not_compacted_anew(tmp_path: Path) -> None:
    with Broker(ROUNDS, data=tmp_path) as broker:
        wire = Wire(broker.port)
        create(wire, "again", configs=COMPACTED)
        for number in range(60):
            put(wire, "again", (b"k%d" % (number % 4), b"%d" % number + bytes(300)))
        # Five to a segment: the active one, and of what is sealed each key once.
        assert comes(lambda: [offset for offset, _, _ in fetched(wire, "again")] == list(range(51, 60)))
        before = fetched(wire, "again")
        wire.close()
    checkpoint = (broker.data / "cleaner-offset-checkpoint").read_text().splitlines()
    assert checkpoint[:2] == ["0", "1"]
    assert checkpoint[2].startswith("again 0 ")
    with Broker(ROUNDS, data=tmp_path) as broker:
        wire = Wire(broker.port)
        assert fetched(wire, "again") == before
        wire.close()


def test_compact_and_delete_do_both(wire: Wire) -> None:
    create(wire, "both", configs={**COMPACTED, "cleanup.policy": "compact,delete", "retention.ms": str(DAY_MS)})
    write(wire, "both", 10, LONG_AGO)
    for number in range(40):
        put(wire, "both", (b"k%d" % (number % 4), b"%d" % number + bytes(300)))
    assert comes(lambda: earliest(wire, "both") == 10)
    assert comes(lambda: len(fetched(wire, "both")) <= 10)


def test_a_log_that_cannot_be_compacted_is_set_aside_and_the_others_go_on(broker: Broker, wire: Wire) -> None:
    create(wire, "rotten", configs={**COMPACTED, "min.compaction.lag.ms": "10000000", "max.compaction.lag.ms": "20000000"})
    create(wire, "sound", configs=COMPACTED)
    for number in range(40):
        put(wire, "rotten", (b"k%d" % (number % 4), b"%d" % number + bytes(300)))
    path = broker.data / "rotten-0" / f"{0:020}.log"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    assert alter(wire, TOPIC, "rotten", "min.compaction.lag.ms", "0") == Code.NONE
    for number in range(40):
        put(wire, "sound", (b"k%d" % (number % 4), b"%d" % number + bytes(300)))
    assert comes(lambda: len(fetched(wire, "sound")) <= 10)
    assert len(fetched(wire, "rotten")) == 40


def test_rot_in_a_sealed_segment_is_told_once_with_its_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Broker(ROUNDS, data=tmp_path) as broker:
        wire = Wire(broker.port)
        create(wire, "scrubbed", configs=SMALL)
        write(wire, "scrubbed", 9)
        wire.close()
    path = broker.data / "scrubbed-0" / f"{4:020}.log"
    data = bytearray(path.read_bytes())
    second = int.from_bytes(data[8:12]) + 12
    data[second + 100] ^= 1
    path.write_bytes(data)
    with Broker(ROUNDS, data=tmp_path), caplog.at_level("ERROR"):
        assert comes(lambda: "scrubbed-0" in caplog.text)
    [told] = [record.message for record in caplog.records if "scrubbed-0" in record.message]
    assert path.name in told
    assert f"CRC, at position {second};" in told


PLACES = list(range(400))


def commit(wire: Wire, group: str, offset: int) -> set[int]:
    message = api("OffsetCommit").request
    rows = [
        message.OffsetCommitRequestPartition(partition_index=at, committed_offset=offset + at, committed_metadata="")
        for at in PLACES
    ]
    topic = message.OffsetCommitRequestTopic(name="committed", partitions=rows)
    answer = wire.ask("OffsetCommit", 8, message(group_id=group, member_id="", topics=[topic]))
    return {row.error_code for row in answer.topics[0].partitions}


def committed(wire: Wire, group: str) -> list[int]:
    message = api("OffsetFetch").request
    topic = message.OffsetFetchRequestTopic(name="committed", partition_indexes=PLACES)
    answer = wire.ask("OffsetFetch", 7, message(group_id=group, topics=[topic], require_stable=False))
    return [row.committed_offset for row in answer.topics[0].partitions] if not answer.error_code else []


def test_committed_offsets_are_found_in_a_compacted_log(tmp_path: Path) -> None:
    properties = {**ROUNDS, "offsets.topic.num.partitions": "1", "offsets.topic.segment.bytes": "1048576"}
    log_dir = tmp_path / "kafka" / "__consumer_offsets-0"
    with Broker({**properties, "log.cleaner.min.cleanable.ratio": "0.01"}, data=tmp_path) as broker:
        wire = Wire(broker.port)
        create(wire, "committed", partitions=len(PLACES))
        find = api("FindCoordinator").request
        assert comes(lambda: not wire.ask("FindCoordinator", 3, find(key="g", key_type=0)).error_code)
        assert comes(lambda: commit(wire, "g", 0) == {Code.NONE})
        for offset in range(1, 121):
            assert commit(wire, "g", 1000 * offset) == {Code.NONE}
        expected = committed(wire, "g")
        assert comes(lambda: any(path.stat().st_size < 200_000 for path in log_dir.glob(f"{0:020}.log"))), "compacted"
        wire.close()
    with Broker(properties, data=tmp_path) as broker:
        wire = Wire(broker.port)
        assert comes(lambda: committed(wire, "g") == expected)
        assert expected[:2] == [120_000, 120_001]
        assert commit(wire, "g", 7) == {Code.NONE}
        wire.close()
