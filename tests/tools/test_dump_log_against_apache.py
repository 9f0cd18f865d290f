"""kafka-dump-log against Apache's own, line by line: on a directory that Apache wrote and on one that our broker wrote."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from pykafkacore.testing import Broker
from tests.support import apache
from tests.support.apache import ApacheKafka
from tests.tools.kit import ApacheTools, agree, agree_roughly, ours

pytestmark = [pytest.mark.oracle, pytest.mark.skipif(apache.missing() is not None, reason=str(apache.missing()))]

TOOL = "kafka-dump-log"
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
DECODERS = {
    "__cluster_metadata": "--cluster-metadata-decoder",
    "__consumer_offsets": "--offsets-decoder",
    "__transaction_state": "--transaction-log-decoder",
}
SUFFIXES = (".log", ".index", ".timeindex", ".snapshot", ".txnindex", ".checkpoint")
# What the directory of a topic is dumped with.
OPTIONS = [
    "",
    "--print-data-log",
    "--deep-iteration",
    "--deep-iteration --skip-record-metadata",
    "--print-data-log --skip-record-metadata",
    "--print-data-log --max-bytes 1500",
    "--index-sanity-check",
    "--verify-index-only",
    "--max-message-size 10",
    "--value-decoder-class org.apache.kafka.tools.api.StringDecoder",
    "--key-decoder-class org.apache.kafka.tools.api.StringDecoder --deep-iteration",
]


def write_records(bootstrap: str, send: Callable[..., None]) -> None:
    """Every codec by `send`, then transactions (one given up) and groups by a client of its own."""
    from confluent_kafka import Consumer, Producer, TopicPartition
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    config = {"index.interval.bytes": "100", "segment.bytes": "1048576"}
    topics = [NewTopic(name, 1, 1, config=config) for name in ("codecs", "transactions")]
    for future in admin.create_topics(topics).values():
        future.result(30)
    options = ("parse.key=true", "parse.headers=true", "null.marker=N")
    properties = [each for option in options for each in ("--reader-property", option)]
    lines = b"".join(b"h:%d,i:x\tkey%d\tvalue %d\n" % (number, number, number) for number in range(30))
    for codec in CODECS:
        where = ["--bootstrap-server", bootstrap, "--topic", "codecs", "--compression-codec", codec]
        send("kafka-console-producer", *where, *properties, stdin=lines + b"h:N\tk\tN\nN\tN\tv\n")
        send("kafka-console-producer", *where, "--producer-property", "enable.idempotence=false", stdin=b"a\nb\n")
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": "t", "linger.ms": 0, "log_level": 0})
    producer.init_transactions(30)
    for is_kept in (True, False, True, False):
        producer.begin_transaction()
        producer.produce("transactions", f"kept: {is_kept}")
        producer.produce("codecs", b"\xff\xfe no text")
        assert producer.flush(30) == 0
        (producer.commit_transaction if is_kept else producer.abort_transaction)(30)
    for protocol in ("classic", "consumer"):
        config = {"bootstrap.servers": bootstrap, "group.id": protocol, "group.protocol": protocol, "log_level": 0}
        consumer = Consumer(config)
        consumer.subscribe(["codecs", "transactions"])
        for _ in range(100):
            consumer.poll(0.1)
            if consumer.assignment():
                break
        consumer.commit(offsets=[TopicPartition("codecs", 0, 3)], asynchronous=False)
        consumer.close()
    admin.delete_consumer_groups(["classic"])["classic"].result(30)


@pytest.fixture(scope="module")
def of_apache(theirs: ApacheTools, broker: ApacheKafka, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy: the broker goes on, with indexes that are larger than what they hold."""
    write_records(broker.bootstrap, theirs)
    copy = tmp_path_factory.mktemp("apache-logs") / "data"
    shutil.copytree(broker.data, copy)
    return copy


@pytest.fixture(scope="module")
def of_ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("our-logs")
    with Broker(data=directory) as running:
        write_records(running.bootstrap_servers, ours)
    return running.data


def files_of(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.suffix in SUFFIXES)


def dump_both(theirs: ApacheTools, files: list[Path], options: str) -> str:
    """What both print of these files."""
    args = ["--files", ",".join(map(str, files)), *options.split()]
    mine, apaches = ours(TOOL, *args), theirs(TOOL, *args)
    if apaches.code == 0:
        agree(mine, apaches, f"{args}")
    else:
        agree_roughly(mine, apaches)  # a Java exception
    return mine.out


@pytest.mark.parametrize("options", OPTIONS)
def test_a_topic_of_apache_is_dumped_alike(theirs: ApacheTools, of_apache: Path, options: str) -> None:
    for topic in ("codecs-0", "transactions-0"):
        dump_both(theirs, files_of(of_apache / topic), options)


@pytest.mark.parametrize("options", OPTIONS)
def test_a_topic_of_ours_is_dumped_alike(theirs: ApacheTools, of_ours: Path, options: str) -> None:
    for topic in ("codecs-0", "transactions-0"):
        dump_both(theirs, files_of(of_ours / topic), options)


@pytest.mark.parametrize("whose", ["of_apache", "of_ours"])
def test_all_that_topics_may_hold_is_among_what_is_dumped(
    theirs: ApacheTools, whose: str, request: pytest.FixtureRequest
) -> None:
    data: Path = request.getfixturevalue(whose)
    found = dump_both(theirs, files_of(data / "codecs-0"), "--print-data-log")
    for codec in CODECS:
        assert f"compresscodec: {codec}" in found
    for text in ("headerKeys: [h,i] key: key7 payload: value 7", "keySize: 1 valueSize: -1", "baseSequence: -1"):
        assert text in found
    for text in ("endTxnMarker: COMMIT", "endTxnMarker: ABORT", "isTransactional: true isControl: true"):
        assert text in found
    found = dump_both(theirs, [path for path in files_of(data / "transactions-0") if path.suffix == ".txnindex"], "")
    assert found.count("lastStableOffset") == 2


PLACES = list(product(("of_apache", "of_ours"), DECODERS))


@pytest.mark.parametrize(("whose", "topic"), PLACES)
def test_kafkas_own_topics_are_dumped_alike(
    theirs: ApacheTools, whose: str, topic: str, request: pytest.FixtureRequest
) -> None:
    found = ""
    for log in sorted(request.getfixturevalue(whose).glob(f"{topic}-*/*.log")):
        if log.stat().st_size == 0:
            continue
        for options in (DECODERS[topic], f"{DECODERS[topic]} --skip-record-metadata", "--deep-iteration"):
            # One by one: what a log says is not found is told at the end, in an order of its own.
            for path in files_of(log.parent):
                found += dump_both(theirs, [path], options)
    expected = {
        "__cluster_metadata": ('"type":"TOPIC_RECORD"', "LeaderChange", "SnapshotHeader", "KRaftVoters"),
        "__consumer_offsets": ('"group":"consumer"', '"offset":3,', "<DELETE>", '"protocolType":"consumer"'),
        "__transaction_state": ('"transactionalId":"t"', '"transactionStatus"'),
    }[topic]
    for text in expected:
        assert text in found, text


@pytest.mark.parametrize("options", ["", "--index-sanity-check", "--verify-index-only"])
def test_indexes_without_entries_are_dumped_alike(theirs: ApacheTools, tmp_path: Path, options: str) -> None:
    for suffix in (".log", ".index", ".timeindex", ".txnindex"):
        (tmp_path / f"00000000000000000042{suffix}").write_bytes(b"")
    for path in files_of(tmp_path):
        dump_both(theirs, [path], options)


def test_damage_is_found_alike(theirs: ApacheTools, of_apache: Path, tmp_path: Path) -> None:
    directory = tmp_path / "codecs-0"
    shutil.copytree(of_apache / "codecs-0", directory)
    log = directory / "00000000000000000000.log"
    data = bytearray(log.read_bytes())
    data[100] ^= 1  # within the records of the first batch: only the CRC is wrong
    log.write_bytes(data + b"\0" * 7)
    for name, place in (("00000000000000000000.index", 3), ("00000000000000000000.timeindex", 7)):
        index = bytearray((directory / name).read_bytes())
        index[place] ^= 1
        (directory / name).write_bytes(index)
    for path in files_of(directory):
        agree(ours(TOOL, "--files", str(path)), theirs(TOOL, "--files", str(path)), str(path))


@pytest.mark.parametrize("decoder", ["--offsets-decoder", "--transaction-log-decoder", "--share-group-state-decoder"])
def test_records_without_a_key_end_the_dump_of_kafkas_own_topics(
    theirs: ApacheTools, of_apache: Path, decoder: str
) -> None:
    args = ["--files", str(of_apache / "transactions-0" / "00000000000000000000.log"), decoder]
    mine, apaches = ours(TOOL, *args), theirs(TOOL, *args)
    agree(mine, apaches)
    assert mine.code == 1 and "(message had a missing key)" in mine.err


def test_what_is_no_log_is_passed_over_alike(theirs: ApacheTools, of_apache: Path) -> None:
    args = ["--files", f"{of_apache / 'meta.properties'},,{of_apache / 'codecs-0' / '00000000000000000000.log'}"]
    agree(ours(TOOL, *args), theirs(TOOL, *args))


def test_a_cut_file_is_no_end_of_the_world(theirs: ApacheTools, of_apache: Path, tmp_path: Path) -> None:
    log = tmp_path / "00000000000000000000.log"
    whole = (of_apache / "codecs-0" / "00000000000000000000.log").read_bytes()
    for size in (0, 5, 12, 61, 1000, len(whole) - 1):
        log.write_bytes(whole[:size])
        agree(ours(TOOL, "--files", str(log)), theirs(TOOL, "--files", str(log)), f"{size} bytes")
    (tmp_path / "00000000000000000007.snapshot").write_bytes(b"\0\1 nothing of use")
    args = ["--files", str(tmp_path / "00000000000000000007.snapshot")]
    agree_roughly(ours(TOOL, *args), theirs(TOOL, *args))
