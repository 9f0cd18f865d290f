"""kafka-get-offsets and kafka-delete-records, ours and Apache's, on Apache's broker and on ours: the same text, the same
exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import apache
from tests.tools.kit import KEPT, Done, Pair, agree, agree_roughly

pytestmark = [pytest.mark.oracle, pytest.mark.skipif(apache.missing() is not None, reason=str(apache.missing()))]

O, D, B = "kafka-get-offsets", "kafka-delete-records", "--bootstrap-server {b}"
BAD_OPTIONS = [
    (O, ""), (O, "--help"), (O, "--topic x"), (O, "--bootstrap-server nonsense"), (O, f"{B} --nonsense"), (O, f"{B} --time"),
    (O, f"{B} --time soon"), (O, f"{B} --topic-partitions a --topic b"), (O, f"{B} --topic-partitions a --partitions 1"),
    (O, f"{B} --partitions a"), (O, f"{B} --topic nowhere"),
    (D, ""), (D, "--help"), (D, f"{B}"), (D, "--offset-json-file x"), (D, f"{B} --nonsense"),
]  # fmt: skip
READS = [
    "--topic offsets", "--topic offsets,other", "--topic o.*s", "--topic offsets --partitions 0,2", "--topic offsets --time -1",
    "--topic offsets --time earliest", "--topic offsets --time -2", "--topic offsets --time max-timestamp",
    "--topic offsets --time -3", "--topic offsets --time 1700000002000", "--topic offsets --time 1900000000000",
    "--topic offsets --time earliest-local", "--topic offsets --time latest-tiered",
    "--topic offsets --time earliest-pending-upload",
    "--topic-partitions offsets:1", "--topic-partitions offsets:0-2", "--topic-partitions offsets:1-",
    "--topic-partitions offsets:-1", "--topic-partitions :2,other", "--topic-partitions offsets,other:0",
    "--topic offsets|other --exclude-internal-topics",
]  # fmt: skip
FILES = {
    "good": '{"partitions": [{"topic": "WHO", "partition": 0, "offset": 3}, {"topic": "WHO", "partition": 1, "offset": -1}]}',
    "more": '{"version": 1, "partitions": [{"topic": "WHO", "partition": 0, "offset": 4}]}',
    "far": '{"partitions": [{"topic": "WHO", "partition": 0, "offset": 99}]}',
    "none": '{"partitions": []}',
    "twice": '{"partitions": [{"topic": "a", "partition": 0, "offset": 1}, {"topic": "a", "partition": 0, "offset": 2}]}',
    "json": "{",
    "array": "[]",
    "version": '{"version": 2, "partitions": []}',
    "word": '{"version": "one", "partitions": []}',
    "fields": '{"partitions": [{"topic": "a", "partition": 0}]}',
    "number": '{"partitions": [{"topic": "a", "partition": "0", "offset": 1}]}',
    "partitions": "{}",
}


@pytest.fixture(scope="module")
def filled(either: Pair) -> Pair:
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": either.broker.bootstrap})
    counts = {"offsets": 3, "other": 1, "oursdelete": 2, "themdelete": 2}
    topics = [NewTopic(name, count, 1, config=KEPT) for name, count in counts.items()]
    for future in admin.create_topics(topics).values():
        future.result(30)
    producer = Producer({"bootstrap.servers": either.broker.bootstrap})
    for number in range(10):
        producer.produce("offsets", b"x", partition=number % 2, timestamp=1_700_000_000_000 + number * 1000)
        for topic in ("oursdelete", "themdelete"):
            producer.produce(topic, b"x", partition=number % 2)
    assert producer.flush(30) == 0
    return either


@pytest.mark.parametrize(("name", "line"), BAD_OPTIONS)
def test_mistakes_in_options_are_told_alike(both: Pair, name: str, line: str) -> None:
    both.check(name, line)


@pytest.mark.parametrize("line", ["--topic-partitions a:b", "--topic a --topic b", "--topic a(b"])
def test_what_java_says_by_exceptions_is_a_sentence_here(both: Pair, line: str) -> None:
    mine, theirs = both.run(O, f"{B} {line}")
    agree_roughly(mine, theirs)
    assert len(mine.err.splitlines()) == 1


@pytest.mark.parametrize("line", READS)
def test_offsets_are_told_alike(filled: Pair, line: str) -> None:
    filled.check(O, f"{B} {line}")


def test_records_are_deleted_alike(filled: Pair, tmp_path: Path) -> None:
    for who in ("ours", "them"):
        for name, text in FILES.items():
            (tmp_path / f"{who}{name}").write_text(text.replace("WHO", f"{who}delete"))
    for name in FILES:
        mine, theirs = filled.run(D, f"{B} --offset-json-file {tmp_path}/{{w}}{name}")
        # Apache's come in another order each time.
        agree(*(Done(done.code, "\n".join(sorted(done.out.splitlines())), done.err) for done in (mine, theirs)), name)
        filled.check(O, f"{B} --topic {{w}}delete --time earliest")


def test_a_file_that_is_not_there_is_told(filled: Pair) -> None:
    mine, theirs = filled.run(D, f"{B} --offset-json-file nowhere.json")
    agree_roughly(mine, theirs)
