"""kafka-consumer-groups, ours and Apache's, on Apache's broker and on ours: the same text, the same exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support import apache
from tests.support.waiting import wait_until
from tests.tools.kit import KEPT, Pair, agree, same_output

pytestmark = [pytest.mark.oracle, pytest.mark.skipif(apache.missing() is not None, reason=str(apache.missing()))]

G, B = "kafka-consumer-groups", "--bootstrap-server {b}"
RESET = "--reset-offsets --group {w}old"
SHORT, LONG = "events", "a-topic-with-a-name-longer-than-any-column"
PARTITIONS = {SHORT: 5, LONG: 2}

# What is said about the options alone: no broker is asked.
BAD_OPTIONS = [
    "", "--help", "--list", "--describe --group g",
    f"{B}", f"{B} --list --describe --group g", f"{B} --list nonsense", f"{B} --nonsense",
    f"{B} --describe", f"{B} --describe --group g --all-groups", f"{B} --describe --group g --members --offsets",
    f"{B} --describe --group g --state Stable", f"{B} --describe --group g --topic t", f"{B} --describe --group",
    f"{B} --delete", f"{B} --delete --group g --topic t", f"{B} --delete-offsets --group g", f"{B} --delete-offsets --topic t",
    f"{B} --list --group g", f"{B} --list --topic t", f"{B} --list --members", f"{B} --list --verbose", f"{B} --list --offsets",
    f"{B} --delete --group g --state", f"{B} --describe --group g --type", f"{B} --list --timeout soon",
    f"{B} --reset-offsets", f"{B} --reset-offsets --group g --dry-run --execute", f"{B} --reset-offsets --group g --all-groups",
    f"{B} --reset-offsets --group g --to-earliest --to-latest --dry-run",
    f"{B} --reset-offsets --group g --shift-by 3 --from-file x --dry-run",
    f"{B} --reset-offsets --group g --to-offset 3 --to-current --dry-run",
    f"{B} --reset-offsets --group g --to-offset x --topic t --dry-run",
    f"{B} --reset-offsets --group g --shift-by x --topic t --dry-run",
    f"{B} --list --state Nonsense", f"{B} --list --type Nonsense", f"{B} --list --type share", f"{B} --list --state NotReady",
    "--validate-regex a.*", "--validate-regex a(b", "--validate-regex a[b", "--validate-regex a)b", "--validate-regex a{{2,1}}",
    "--validate-regex a\\", "--validate-regex (?<=a)b", "--validate-regex *",
]  # fmt: skip
LISTS = [
    "--list", "--list --state", "--list --type", "--list --state --type", "--list --state Empty", "--list --state empty,STABLE",
    "--list --type classic", "--list --type Consumer,classic", "--list --state Stable --type consumer", "--list --state Dead",
    "--list --timeout 20000",
]  # fmt: skip
DESCRIPTIONS = [
    f"--describe {which} {what}"
    for which in ("--group classic", "--group consumer", "--group static", "--group mixed", "--group oursold", "--all-groups",
                  "--group oursnew --group classic", "--group nowhere")
    for what in ("", "--offsets", "--offsets --verbose", "--members", "--members --verbose", "--state", "--state --verbose")
]  # fmt: skip
# In this order: each line works on what those before it made.
RESETS = [
    f"{RESET} --topic {SHORT} --to-earliest",
    f"{RESET} --topic {SHORT} --to-earliest --dry-run",
    f"{RESET} --topic {SHORT} --to-latest --dry-run",
    f"{RESET} --topic {SHORT} --to-current --dry-run",
    f"{RESET} --all-topics --to-current --dry-run",
    f"{RESET} --topic {SHORT} --to-offset 2 --dry-run",
    f"{RESET} --topic {SHORT} --to-offset 1000000 --dry-run",
    f"{RESET} --topic {SHORT} --to-offset -5 --dry-run",
    f"{RESET} --all-topics --shift-by -1 --dry-run",
    f"{RESET} --all-topics --shift-by 1000 --dry-run",
    f"{RESET} --topic {SHORT}:0,3 --shift-by 1 --dry-run",
    f"{RESET} --topic {SHORT}:4 --shift-by 1 --dry-run",
    f"{RESET} --topic {SHORT} --to-datetime 2023-11-14T22:13:22.000 --dry-run",
    f"{RESET} --topic {SHORT} --to-datetime 2023-11-14T22:13:22.000Z --dry-run",
    f"{RESET} --topic {SHORT} --to-datetime 2023-11-14T23:13:22.5+01:00 --dry-run",
    f"{RESET} --topic {SHORT} --to-datetime 2023-11-14T20:13:22.000-02 --dry-run",
    f"{RESET} --topic {SHORT} --to-datetime 2033-01-01T00:00:00.000 --dry-run",
    f"{RESET} --topic {SHORT} --to-datetime yesterday --dry-run",
    f"{RESET} --topic {SHORT} --to-datetime 2023-13-14T22:13:22.000 --dry-run",
    f"{RESET} --topic {SHORT} --to-datetime 2023-11-14T22:13:22 --dry-run",
    f"{RESET} --topic {SHORT} --by-duration P10000D --dry-run",
    f"{RESET} --topic {SHORT} --by-duration PT0.5S --dry-run",
    f"{RESET} --topic {SHORT} --by-duration -PT1H --dry-run",
    f"{RESET} --topic {SHORT} --by-duration 1d --dry-run",
    f"{RESET} --from-file {{file}} --dry-run",
    f"{RESET} --from-file {{other}} --dry-run",
    f"{RESET} --topic {SHORT} --dry-run",
    f"{RESET} --to-earliest --dry-run",
    f"{RESET} --topic nowhere --to-earliest --dry-run",
    f"{RESET} --topic nowhere:0 --to-earliest --dry-run",
    f"{RESET} --topic {SHORT}:9,1,8 --to-earliest --dry-run",
    f"{RESET} --topic {SHORT}:x --to-earliest --dry-run",
    f"{RESET} --topic {SHORT}:1:2 --to-earliest --dry-run",
    f"{RESET} --topic {SHORT} --topic {LONG} --to-latest --dry-run",
    f"{RESET} --topic {SHORT}:1 --topic {LONG} --to-latest --export --dry-run",
    "--reset-offsets --group {w}old --group {w}new --all-topics --to-earliest --export --dry-run",
    "--reset-offsets --group classic --topic events --to-earliest --dry-run",
    "--reset-offsets --group consumer --topic events --to-earliest --execute",
    "--reset-offsets --group {w}fresh --topic events --to-latest --execute",
    "--describe --group {w}fresh",
    f"{RESET} --topic {SHORT} --topic {LONG}:1 --to-offset 1 --execute",
    "--describe --group {w}old",
    f"{RESET} --all-topics --shift-by 2 --execute",
    "--describe --group {w}old --verbose",
    f"{RESET} --from-file {{file}} --execute --export",
    "--describe --group {w}old",
    "--reset-offsets --group {w}new --from-file {groups} --execute",
    "--reset-offsets --group {w}old --group {w}new --from-file {groups} --dry-run --export",
    "--describe --group {w}new",
    "--delete-offsets --group {w}old --topic events:0,4",
    "--delete-offsets --group {w}old --topic events --topic nowhere",
    "--delete-offsets --group {w}old --topic nowhere:3",
    "--delete-offsets --group {w}old --topic events:x",
    "--delete-offsets --group nowhere --topic events:0",
    "--delete-offsets --group classic --topic events:0",
    "--delete-offsets --group consumer --topic events",
    "--delete-offsets --group a --group b --topic events",
    "--describe --group {w}old",
    "--delete --group {w}old",
    "--delete --group {w}old",
    "--delete --group classic",
    "--delete --group nowhere --group {w}new --group consumer",
    "--delete --group {w}fresh",
]


@contextmanager
def members(bootstrap: str, group: str, *protocols: str, **extra: str) -> Iterator[None]:
    """Live members, one after the other, that share all partitions; the first commits some of its own."""
    from confluent_kafka import Consumer, TopicPartition

    consumers: list[Consumer] = []

    def is_shared() -> bool:
        for consumer in consumers:
            consumer.poll(0.1)
        shares = [len(consumer.assignment()) for consumer in consumers]
        return all(shares) and sum(shares) == sum(PARTITIONS.values())

    try:
        for protocol in protocols:
            config = {"bootstrap.servers": bootstrap, "group.id": group, "group.protocol": protocol, "client.id": f"c-{group}"}
            consumers.append(Consumer({**config, **extra, "enable.auto.commit": False, "auto.offset.reset": "earliest"}))
            consumers[-1].subscribe([SHORT, LONG])
            wait_until(is_shared, 30)
        places = [place for place in consumers[0].assignment() if place.topic == SHORT][:3]
        offsets = [TopicPartition(place.topic, place.partition, place.partition + 1) for place in places]
        consumers[0].commit(offsets=offsets, asynchronous=False)
        yield
    finally:
        for consumer in consumers:
            consumer.close()


def prepare(bootstrap: str) -> None:
    """Topics with records a second apart, and groups that have nobody."""
    from confluent_kafka import Consumer, Producer, TopicPartition
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics([NewTopic(name, count, 1, config=KEPT) for name, count in PARTITIONS.items()]).values():
        future.result(30)
    producer = Producer({"bootstrap.servers": bootstrap})
    for number in range(40):
        # The last partition stays empty.
        producer.produce(SHORT, str(number), partition=number % 4, timestamp=1_700_000_000_000 + number * 1000)
        producer.produce(LONG, str(number), partition=number % 2, timestamp=1_700_000_000_000 + number * 1000)
    assert producer.flush(30) == 0
    for who in ("ours", "them"):
        for name, protocol in (("old", "classic"), ("new", "consumer")):
            config = {"bootstrap.servers": bootstrap, "group.id": who + name, "group.protocol": protocol}
            consumer = Consumer({**config, "enable.auto.commit": False})
            consumer.subscribe([SHORT])
            wait_until(
                lambda consumer=consumer: consumer.poll(0.1) is None and len(consumer.assignment()) == PARTITIONS[SHORT], 30
            )
            places = [TopicPartition(SHORT, 0, 3), TopicPartition(SHORT, 2, 0), TopicPartition(SHORT, 3, 10)]
            consumer.commit(offsets=[*places, TopicPartition(LONG, 1, 7)], asynchronous=False)
            consumer.close()


@pytest.fixture(scope="module")
def groups(either: Pair) -> Iterator[Pair]:
    bootstrap = either.broker.bootstrap
    prepare(bootstrap)
    with ExitStack() as stack:
        stack.enter_context(members(bootstrap, "classic", "classic"))
        stack.enter_context(members(bootstrap, "consumer", "consumer"))
        stack.enter_context(members(bootstrap, "static", "classic", **{"group.instance.id": "the-one"}))
        stack.enter_context(members(bootstrap, "mixed", "classic", "consumer"))
        yield either


@pytest.mark.parametrize("line", BAD_OPTIONS)
def test_mistakes_in_options_are_told_alike(both: Pair, line: str) -> None:
    both.check(G, line)


@pytest.mark.parametrize("line", LISTS)
def test_groups_are_listed_alike(groups: Pair, line: str) -> None:
    groups.check(G, f"{B} {line}")


@pytest.mark.parametrize("line", DESCRIPTIONS)
def test_groups_are_described_alike(groups: Pair, line: str) -> None:
    groups.check(G, f"{B} {line}")


def test_offsets_are_reset_and_deleted_alike(groups: Pair, tmp_path: Path) -> None:
    """With what Apache's tool logs left aside: the words about an offset that was moved."""
    names = ("oursold", "oursnew", "themold", "themnew")
    files = {
        "file": f"{SHORT},1,4\n{LONG},0,3\n{SHORT},0,1000\n",
        "other": f"someone,{SHORT},1,4\n",
        "groups": "".join(f"{name},{SHORT},{at},{at}\n" for name in names for at in (1, 3)),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    for line in RESETS:
        for name in files:
            line = line.replace("{" + name + "}", str(tmp_path / name))
        mine, theirs = groups.run(G, f"{B} {line}")
        same_output(mine, theirs, line)
        if "file" not in line and "WARN" not in mine.err:
            agree(mine, theirs, line)
