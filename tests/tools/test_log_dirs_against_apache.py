"""kafka-log-dirs, ours and Apache's, on Apache's broker and on ours: the same text, the same exit code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pykafkacore.testing import Broker
from tests.support import apache
from tests.tools.kit import OurBroker, Pair, agree_roughly

pytestmark = [pytest.mark.oracle, pytest.mark.skipif(apache.missing() is not None, reason=str(apache.missing()))]

L, B = "kafka-log-dirs", "--bootstrap-server {b}"
BAD_OPTIONS = ["", "--help", B, "--describe", f"{B} --describe --nonsense"]
READS = [
    "", "--topic-list dirs", "--topic-list dirs,nowhere", "--topic-list nowhere", "--broker-list 1", "--broker-list 1,",
    "--broker-list 1 --topic-list other", "--broker-list 1,7", "--broker-list 7,9",
]  # fmt: skip


@pytest.fixture(scope="module")
def filled(either: Pair) -> Pair:
    fill(either.broker.bootstrap)
    return either


def fill(bootstrap: str) -> None:
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics([NewTopic("dirs", 12, 1), NewTopic("other", 1, 1)]).values():
        future.result(30)
    producer = Producer({"bootstrap.servers": bootstrap})
    for number in range(24):
        producer.produce("dirs", b"x" * number, partition=number % 12)
    assert producer.flush(30) == 0


@pytest.mark.parametrize("line", BAD_OPTIONS)
def test_mistakes_in_options_are_told_alike(both: Pair, line: str) -> None:
    both.check(L, line)


@pytest.mark.parametrize("line", READS)
def test_directories_are_told_alike(filled: Pair, line: str) -> None:
    filled.check(L, f"{B} --describe {line}")


def test_what_java_says_by_an_exception_is_a_sentence_here(both: Pair) -> None:
    agree_roughly(*both.run(L, f"{B} --describe --broker-list a"))


@pytest.fixture
def several(tmp_path: Path) -> Iterator[Broker]:
    from cluster.broker.main import format_dev

    data = tmp_path / "kafka"
    format_dev(data)
    meta = (data / "meta.properties").read_text().splitlines()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        own = [f"directory.id={name * 7}A" if line.startswith("directory.id=") else line for line in meta]
        (tmp_path / name / "meta.properties").write_text("\n".join(own) + "\n")
    (tmp_path / "broken").touch()
    paths = [data, tmp_path / "one", tmp_path / "two", tmp_path / "broken"]
    with Broker({"log.dirs": ",".join(map(str, paths))}, data=tmp_path) as broker:
        yield broker


def test_several_directories_one_of_them_failed_are_told_alike(both: Pair, several: Broker) -> None:
    fill(several.bootstrap_servers)
    pair = Pair(both.theirs, OurBroker(several.bootstrap_servers))
    mine, _ = pair.run(L, f"{B} --describe")
    assert mine.out.count('"error":null') == 3
    pair.check(L, f"{B} --describe")
