"""The console producer and consumer against Apache's own, over the same broker, and in both directions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import apache
from tests.tools.kit import Done, Pair, agree, agree_roughly, ours

pytestmark = [pytest.mark.oracle, pytest.mark.skipif(apache.missing() is not None, reason=str(apache.missing()))]

B, PRODUCER, CONSUMER = "--bootstrap-server {b}", "kafka-console-producer", "kafka-console-consumer"
KEY, HEADERS = "--reader-property parse.key=true", "--reader-property parse.headers=true"
NULL = "--reader-property null.marker=NULL"
SHOW = "--formatter-property"
# What each line is read with, and the lines.
INPUTS = [
    ("", b"one\ntwo\n\nfour"),
    ("", "smörgås\r\nzwei\r\n".encode()),
    ("--reader-property nonsense --reader-property more=", b"a\n"),
    (KEY, b"k\tv\nk2\tv\tw\n\tempty\n"),
    (KEY, b"kv\n"),
    (KEY, b"a\tb\nkv\nc\td\n"),
    (f"{KEY} --reader-property key.separator=:", b"k:v:w\n"),
    (f"{KEY} --reader-property key.separator=", b"k:v\n"),
    (f"{KEY} --reader-property ignore.error=true", b"plain\nk\tv\n"),
    (f"{KEY} --reader-property null.marker=: --reader-property key.separator=:", b"k:v\n"),
    (f"{KEY} {HEADERS} --reader-property key.separator=, --reader-property headers.separator=,", b"k:v\n"),
    (f"{HEADERS} --reader-property headers.delimiter=, --reader-property headers.separator=,", b"k:v\n"),
    (f"{HEADERS} --reader-property headers.key.separator=, --reader-property headers.separator=,", b"k:v\n"),
    (f"{HEADERS} {KEY} --reader-property headers.delimiter=, --reader-property key.separator=,", b"h:1,k,v\n"),
    (HEADERS, b"h1:a,h2:b\tvalue\n"),
    (HEADERS, b"h1\tvalue\n"),
    (f"{HEADERS} --reader-property ignore.error=true", b"novalue\nh1\tvalue\n"),
    (f"{HEADERS} {NULL}", b"NULL:x\tv\n"),
    (f"{HEADERS} {KEY}", b"h1:a,h2:b\tkey\tvalue\nh:\tk\t\n"),
    (f"{HEADERS} {KEY}", b"nothing\n"),
    (f"{HEADERS} {KEY} {NULL}", b"h:NULL\tNULL\tNULL\nNULL\tk\tv\n"),
    ("--property parse.key=true", b"k\tv\n"),
    ("--reader-config {file}", b"k|v\n"),
    ("--producer-property acks=1", b"v\n"),
    ("--command-property acks=1 --command-property linger.ms=5 --command-property nonsense", b"v\n"),
    ("--request-required-acks 0", b"a\n"),
    ("--request-required-acks all", b"a\n"),
    ("--compression-codec", b"a\nb\n"),
    *((f"--compression-codec {codec}", b"a\nb\n") for codec in ("none", "gzip", "snappy", "lz4", "zstd")),
    (
        "--timeout 5 --batch-size 100 --retry-backoff-ms 100 --max-block-ms 5000 --request-timeout-ms 4000 "
        "--socket-buffer-size 1000 --message-send-max-retries 3 --metadata-expiry-ms 1000 --max-memory-bytes 100000",
        b"a\n",
    ),
]
EVERYTHING = " ".join(
    f"{SHOW} print.{name}=true" for name in ("timestamp", "partition", "offset", "delivery", "epoch", "headers", "key")
)
LONG = "org.apache.kafka.common.serialization.LongDeserializer"
INTEGER = "org.apache.kafka.common.serialization.IntegerDeserializer"
FORMATTERS = "org.apache.kafka.tools.consumer"
# Five records in one partition: see `records`.
READS = [
    "--from-beginning --max-messages 0",
    "--partition 0 --offset 0 --timeout-ms 1500",
    "--timeout-ms 500",
    "--partition 0 --offset 2 --max-messages 2",
    "--partition 0 --offset earliest --max-messages 2",
    "--partition 0 --offset latest --timeout-ms 300",
    "--partition 0 --offset 100 --timeout-ms 300",
    f"--from-beginning --max-messages 3 {EVERYTHING}",
    f"--partition 0 --offset 0 --max-messages 3 {SHOW} print.key=true {SHOW} key.separator=|",
    f"--partition 0 --offset 0 --max-messages 3 {SHOW} print.key=TRUE {SHOW} print.value=false",
    f"--partition 0 --offset 0 --max-messages 3 {SHOW} print.headers=true {SHOW} headers.separator=;",
    f"--partition 0 --offset 0 --max-messages 3 {SHOW} print.headers=true {SHOW} null.literal=NIL {SHOW} print.key=true",
    f"--partition 0 --offset 0 --max-messages 3 {SHOW} line.separator=; {SHOW} nonsense",
    f"--partition 0 --offset 0 --max-messages 3 {SHOW} print.key=true {SHOW} key.deserializer={INTEGER} "
    "--skip-message-on-error",
    f"--partition 0 --offset 0 --max-messages 3 {SHOW} print.key=true {SHOW} key.deserializer={LONG} "
    "--skip-message-on-error",
    "--partition 0 --offset 0 --max-messages 3 --property print.key=true",
    "--partition 0 --offset 0 --max-messages 3 --formatter-config {file}",
    f"--partition 0 --offset 0 --max-messages 3 --formatter {FORMATTERS}.NoOpMessageFormatter",
    f"--partition 0 --offset 0 --max-messages 3 --formatter {FORMATTERS}.LoggingMessageFormatter",
    "--partition 0 --offset 0 --max-messages 3 --isolation-level read_committed",
    "--partition 0 --offset 0 --max-messages 3 --consumer.config {file} --consumer-property client.id=x",
    "--max-messages 3 --command-property auto.offset.reset=earliest",
]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("console") / "some.properties"
    path.write_text("parse.key=true\nprint.key=true\nkey.separator=|\n")
    return path


def write_records(both: Pair) -> str:
    """A topic with records of all kinds. Ours wrote the first three, Apache's the others."""
    bootstrap = both.broker.bootstrap
    args = ["--bootstrap-server", bootstrap, "--topic", "records"]
    done = ours("kafka-topics", *args, "--create", "--partitions", "1")
    assert done.code == 0, done
    options = f"{KEY} {HEADERS} --reader-property null.marker=N".split()
    assert ours(PRODUCER, *args, *options, stdin=b"h:1,i:2\tk\tv1\nN\tN\tv2\nh:N\tkey3\tN\n").code == 0
    assert both.theirs(PRODUCER, *args, stdin=b"v4\nv5\n").code == 0
    return "records"


@pytest.fixture(scope="module")
def records(both: Pair) -> str:
    return write_records(both)


@pytest.fixture(scope="module")
def written(either: Pair) -> Pair:
    write_records(either)
    return either


def all_of(both: Pair, topic: str, count: int) -> str:
    """What Apache's consumer prints of a topic, without the timestamps."""
    line = f"{B} --topic {topic} --partition 0 --offset 0 --timeout-ms 5000 --max-messages {count} {EVERYTHING}"
    line = line.replace(f"{SHOW} print.timestamp=true", "")
    done = both.theirs(CONSUMER, *both.arguments(line, ""))
    assert f"Processed a total of {count} messages" in done.err, done
    return done.out


def test_lines_become_the_same_records_and_complaints(both: Pair, file: Path) -> None:
    for who in ("ours", "them"):
        assert ours("kafka-topics", *both.arguments(f"{B} --create --topic {who}written --partitions 1", "")).code == 0
    for options, stdin in INPUTS:
        line = f"{B} --topic {{w}}written {options}".replace("{file}", str(file))
        both.check(PRODUCER, line, stdin)
    count = 41
    assert all_of(both, "ourswritten", count) == all_of(both, "themwritten", count)
    rest = ours(CONSUMER, *both.arguments(f"{B} --topic ourswritten --partition 0 --offset {count} --timeout-ms 500", ""))
    assert rest.err == "Processed a total of 0 messages\n", "the count is not that of all"


@pytest.mark.parametrize("line", READS)
def test_records_are_printed_alike(both: Pair, records: str, file: Path, line: str) -> None:
    both.check(CONSUMER, f"{B} --topic {records} {line}".replace("{file}", str(file)))


def test_topics_by_a_pattern_are_printed_alike(both: Pair, records: str) -> None:
    both.check(CONSUMER, f"{B} --include rec.* --from-beginning --max-messages 5")


@pytest.mark.parametrize(
    "line",
    [
        "--topic bad!name --from-beginning --timeout-ms 700",
        "--topic records --partition 7 --offset 0 --timeout-ms 700",
        f"--topic records --partition 0 --offset 0 --max-messages 2 {SHOW} print.key=true {SHOW} key.deserializer={LONG}",
    ],
)
def test_what_cannot_be_read_is_said_and_counted(both: Pair, records: str, line: str) -> None:
    mine, theirs = both.run(CONSUMER, f"{B} {line}")
    agree_roughly(mine, theirs)
    counted = [text for text in theirs.err.splitlines() if text.startswith("Processed")]
    assert [text for text in mine.err.splitlines() if text.startswith("Processed")] == counted


@pytest.mark.parametrize("options", ["", "--sync"])
def test_a_topic_that_cannot_be_is_no_failure_without_sync(both: Pair, options: str) -> None:
    mine, theirs = both.run(PRODUCER, f"{B} --topic bad!name {options}", b"a\n")
    agree_roughly(mine, theirs)
    assert mine.code == (1 if options else 0)


def test_sync_waits_for_each_record(both: Pair, records: str) -> None:
    both.check(PRODUCER, f"{B} --topic {{w}}synced --sync", b"a\nb\n")


# In this order: each reads on where the one before it left off. What is committed is compared after each.
GROUP_READS = [
    "--group {w}g --from-beginning --max-messages 2",
    "--consumer-property group.id={w}g --from-beginning --max-messages 2",
    "--group {w}g --timeout-ms 6000 --max-messages 1",
    "--group {w}g --from-beginning --timeout-ms 1500",
    "--group {w}late --timeout-ms 2500",
    "--group {w}quiet --from-beginning --max-messages 2 --command-property enable.auto.commit=false",
    "--group {w}static --from-beginning --max-messages 3 --command-property group.instance.id=one --isolation-level "
    "read_committed",
]


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_members_of_groups_print_and_commit_alike(written: Pair, protocol: str, tmp_path: Path) -> None:
    config = tmp_path / "group.properties"
    config.write_text(f"group.protocol={protocol}\n")
    for line in GROUP_READS:
        line = line.replace("{w}", f"{{w}}{protocol}")
        written.check(CONSUMER, f"{B} --topic records --command-config {config} {line}")
        group = "{w}" + line.partition("{w}")[2].split()[0]
        mine, theirs = written.run("kafka-consumer-groups", f"{B} --describe --group {group}")
        # A static member stays, under an id of its own.
        agree(*(Done(done.code, re.sub(r"\S+ /127", "MEMBER /127", done.out), done.err) for done in (mine, theirs)), line)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_group_that_subscribes_to_a_pattern_prints_alike(written: Pair, protocol: str) -> None:
    settings = f"--command-property group.protocol={protocol} --group {{w}}{protocol}pattern"
    written.check(CONSUMER, f"{B} --include rec.* --from-beginning --max-messages 5 {settings}")


@pytest.mark.parametrize(
    "line",
    [
        "--topic x --group g --command-property group.id=h",
        "--topic x --partition 0 --command-property group.id=h",
    ],
)
def test_groups_that_make_no_sense_are_told_alike(both: Pair, line: str) -> None:
    both.check(CONSUMER, f"{B} {line}")


def test_a_protocol_that_is_none_is_a_sentence_here(both: Pair, records: str) -> None:
    done = ours(CONSUMER, *both.arguments(f"{B} --topic {records} --group g --command-property group.protocol=x", ""))
    assert done.code == 1
    assert done.err == (
        "Invalid value x for configuration group.protocol: String must be one of (case insensitive): CLASSIC, CONSUMER\n"
    )
