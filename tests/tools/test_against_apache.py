"""Our tools and Apache's, the same calls on the same Apache broker: the same text, the same exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import apache
from tests.tools.kit import ApacheTools, Done, Pair, agree, agree_roughly, ours

pytestmark = [pytest.mark.oracle, pytest.mark.skipif(apache.missing() is not None, reason=str(apache.missing()))]

# What is said about the options alone: no broker is asked.
BAD_OPTIONS = [
    ("kafka-topics", ""),
    ("kafka-topics", "--list"),
    ("kafka-topics", "--bootstrap-server {b} --list --describe"),
    ("kafka-topics", "--bootstrap-server {b}"),
    ("kafka-topics", "--bootstrap-server {b} --create"),
    ("kafka-topics", "--bootstrap-server {b} --alter --topic x"),
    ("kafka-topics", "--bootstrap-server {b} --delete"),
    ("kafka-topics", "--bootstrap-server {b} --list --partitions 3"),
    ("kafka-topics", "--bootstrap-server {b} --list --if-exists"),
    ("kafka-topics", "--bootstrap-server {b} --alter --topic x --config a=b"),
    ("kafka-topics", "--bootstrap-server {b} --describe --if-exists"),
    ("kafka-topics", "--bootstrap-server {b} --describe --topic x --replication-factor 1"),
    ("kafka-topics", "--bootstrap-server {b} --create --topic x --replica-assignment 1 --partitions 1"),
    ("kafka-topics", "--bootstrap-server {b} --create --topic x --if-exists"),
    ("kafka-topics", "--bootstrap-server {b} --delete --topic x --if-not-exists"),
    ("kafka-topics", "--bootstrap-server {b} --describe --topics-with-overrides --unavailable-partitions"),
    ("kafka-topics", "--bootstrap-server {b} --describe --under-min-isr-partitions --unavailable-partitions"),
    ("kafka-topics", "--bootstrap-server {b} --create --topic x --exclude-internal"),
    ("kafka-topics", "--bootstrap-server {b} --create --topic x --partitions many"),
    ("kafka-topics", "--bootstrap-server {b} --create --topic"),
    ("kafka-topics", "--bootstrap-server {b} --list --nonsense"),
    ("kafka-topics", "--bootstrap-server {b} --list nonsense"),
    ("kafka-topics", "--zookeeper x --list"),
    ("kafka-topics", "--help"),
    ("kafka-topics", "--bootstrap-server {b} --li"),
    ("kafka-topics", "--bootstrap-server {b} -list"),
    ("kafka-topics", "--bootstrap-server {b} --list --topic a --topic b"),
    ("kafka-topics", "--bootstrap-server {b} --bootstrap-server {b} --list"),
    ("kafka-configs", ""),
    ("kafka-configs", "--help"),
    ("kafka-configs", "--bootstrap-server {b}"),
    ("kafka-configs", "--bootstrap-server {b} --describe --topic x --topic y"),
    ("kafka-configs", "--bootstrap-server {b} --alter --client-metrics x"),
    ("kafka-configs", "--bootstrap-server {b} --describe --alter"),
    ("kafka-configs", "--bootstrap-server {b} --describe"),
    ("kafka-configs", "--describe --topic x"),
    ("kafka-configs", "--bootstrap-server {b} --bootstrap-controller {b} --describe --topic x"),
    ("kafka-configs", "--bootstrap-server {b} --describe --entity-type nonsense"),
    ("kafka-configs", "--bootstrap-server {b} --describe --topic x --add-config a=b"),
    ("kafka-configs", "--bootstrap-server {b} --describe --topic x --delete-config a"),
    ("kafka-configs", "--bootstrap-server {b} --describe --topic x --entity-type topics"),
    ("kafka-configs", "--bootstrap-server {b} --describe --topic x --entity-name y"),
    ("kafka-configs", "--bootstrap-server {b} --describe --entity-type topics --entity-type topics"),
    ("kafka-configs", "--bootstrap-server {b} --describe --entity-type topics --entity-type brokers"),
    ("kafka-configs", "--bootstrap-server {b} --describe --entity-type topics --entity-default"),
    ("kafka-configs", "--bootstrap-server {b} --describe --entity-type brokers --entity-name one"),
    ("kafka-configs", "--bootstrap-server {b} --describe --entity-type broker-loggers"),
    ("kafka-configs", "--bootstrap-server {b} --alter --topic x"),
    ("kafka-configs", "--bootstrap-server {b} --alter --entity-type topics --add-config a=b"),
    ("kafka-configs", "--bootstrap-server {b} --alter --entity-type brokers --add-config a=b"),
    ("kafka-configs", "--bootstrap-server {b} --alter --topic x --add-config a"),
    ("kafka-configs", "--bootstrap-server {b} --alter --topic x --add-config a$=b"),
    ("kafka-configs", "--bootstrap-server {b} --alter --topic x --delete-config a$"),
    ("kafka-configs", "--bootstrap-server {b} --alter --topic x --add-config a=b --add-config-file nowhere"),
    ("kafka-console-producer", ""),
    ("kafka-console-producer", "--help"),
    ("kafka-console-producer", "--topic x"),
    ("kafka-console-producer", "--bootstrap-server {b} --topic x --topic y"),
    ("kafka-console-producer", "--bootstrap-server {b} --topic x --batch-size x"),
    ("kafka-console-producer", "--bootstrap-server {b}"),
    ("kafka-console-producer", "--bootstrap-server {b} --topic x --compression-codec rar"),
    ("kafka-console-producer", "--bootstrap-server {b} --topic x --request-required-acks 2"),
    ("kafka-console-producer", "--bootstrap-server nonsense --topic x"),
    ("kafka-console-producer", "--bootstrap-server {b} --topic x --property a=b --reader-property a=b"),
    ("kafka-console-producer", "--bootstrap-server {b} --topic x --max-block-ms soon"),
    ("kafka-console-consumer", ""),
    ("kafka-console-consumer", "--bootstrap-server {b}"),
    ("kafka-console-consumer", "--help"),
    ("kafka-console-consumer", "--topic x"),
    ("kafka-console-consumer", "--bootstrap-server {b} --topic x --include y"),
    ("kafka-console-consumer", "--bootstrap-server {b} --topic x --offset 3"),
    ("kafka-console-consumer", "--bootstrap-server {b} --topic x --partition 0 --offset soon"),
    ("kafka-console-consumer", "--bootstrap-server {b} --topic x --partition 0 --offset -3"),
    ("kafka-console-consumer", "--bootstrap-server {b} --topic x --partition 0 --offset 3 --from-beginning"),
    ("kafka-console-consumer", "--bootstrap-server {b} --topic x --group g --partition 0"),
    ("kafka-console-consumer", "--bootstrap-server {b} --include x --partition 0"),
    ("kafka-console-consumer", "--bootstrap-server {b} --topic x --property a=b --formatter-property a=b"),
    ("kafka-dump-log", ""),
    ("kafka-dump-log", "--help"),
    ("kafka-dump-log", "--print-data-log"),
    ("kafka-dump-log", "--files"),
    ("kafka-broker-api-versions", ""),
    ("kafka-broker-api-versions", "--help"),
    ("kafka-broker-api-versions", "--command-config x"),
    ("kafka-broker-api-versions", "--bootstrap-server {b} --nonsense"),
]
# The same, but Apache shows a Java exception, or nothing at all, where ours has a sentence.
OUR_WORDS = [
    ("kafka-console-consumer", "--bootstrap-server {b} --topic x --isolation-level none"),
    ("kafka-console-consumer", "--bootstrap-server {b} --topic x --formatter nonsense.Formatter"),
    ("kafka-console-consumer", "--bootstrap-server {b} --topic x --command-config nowhere"),
    ("kafka-console-consumer", "--bootstrap-server {b} --topic x --topic y"),
    ("kafka-console-consumer", "--bootstrap-server nonsense --topic x"),
    ("kafka-console-producer", "--bootstrap-server {b} --topic x --line-reader nonsense"),
    ("kafka-topics", "--bootstrap-server nonsense --list"),
    ("kafka-topics", "--bootstrap-server localhost:port --list"),
    ("kafka-topics", "--bootstrap-server {b} --list --command-config nowhere"),
    ("kafka-configs", "--bootstrap-server nonsense --describe --topic x"),
    ("kafka-configs", "--bootstrap-server {b} --describe --topic x --command-config nowhere"),
    ("kafka-configs", "--bootstrap-server {b} --alter --topic x --add-config-file nowhere"),
    ("kafka-cluster", "cluster-id --bootstrap-server nonsense"),
    ("kafka-broker-api-versions", "--bootstrap-server nonsense"),
    ("kafka-dump-log", "--files nowhere.log"),
    ("kafka-dump-log", "--files /nowhere/00000000000000000000.log"),
]

T, C, B = "kafka-topics", "kafka-configs", "--bootstrap-server {b}"
# In this order: each line works on what those before it made.
TOPICS = [
    "--list",
    "--create --topic {w}plain",
    "--create --topic {w}plain",
    "--create --topic {w}plain --if-not-exists",
    "--create --topic {w}three --partitions 3 --replication-factor 1",
    "--create --topic {w}set --partitions 2 --config retention.ms=60000 --config cleanup.policy=compact,delete",
    "--create --topic {w}with.dot_x --config segment.bytes=2000000 --config min.insync.replicas=1",
    "--create --topic {w}placed --replica-assignment 1,1,1",
    "--create --topic bad --config nonsense=1",
    "--create --topic bad --config retention.ms=abc",
    "--create --topic bad --config retention.ms",
    "--create --topic bad --replication-factor 3",
    "--create --topic bad --partitions 0",
    "--create --topic bad --partitions -1",
    "--create --topic bad --partitions many",
    "--create --topic bad --replication-factor 0",
    "--create --topic bad --replication-factor 40000",
    "--create --topic bad --replica-assignment 1,2",
    "--create --topic bad --replica-assignment 1:1",
    "--create --topic bad --replica-assignment 1:2,1",
    "--create --topic bad --replica-assignment x",
    "--create --topic bad!name",
    "--create --topic .",
    "--list",
    "--list passed over",
    "--list --topic {w}plain.*",
    "--list --topic {w}pl",
    "--list --topic {w}plain,{w}set",
    "--list --topic nowhere",
    "--list --exclude-internal",
    "--describe",
    "--describe --topic ours.*",
    "--describe --topic {w}set",
    "--describe --topic nowhere",
    "--describe --topic nowhere --if-exists",
    "--describe --topics-with-overrides",
    "--describe --under-replicated-partitions",
    "--describe --unavailable-partitions",
    "--describe --at-min-isr-partitions",
    "--describe --under-min-isr-partitions",
    "--describe --topic-id MkU3OEVBNTcwNTJENDM2Qg",
    "--describe --topic-id MkU3OEVBNTcwNTJENDM2Qg --if-exists",
    "--describe --topic {w}three --partition-size-limit-per-response 1",
    "--describe --topic {w}three --partition-size-limit-per-response x",
    "--alter --topic {w}plain --partitions 4",
    "--alter --topic {w}plain --partitions 2",
    "--alter --topic nowhere --partitions 2",
    "--alter --topic nowhere --partitions 2 --if-exists",
    "--alter --topic {w}three --partitions 5 --replica-assignment 1,1,1,1,1",
    "--alter --topic {w}three --partitions 7 --replica-assignment 1",
    "--describe --topic {w}three",
    "--delete --topic nowhere",
    "--delete --topic nowhere --if-exists",
    "--delete --topic {w}placed,{w}three",
    "--delete --topic {w}placed",
    "--list",
]
CONFIGS = [
    "--describe --topic {w}set",
    "--describe --topic {w}plain",
    "--describe --topic {w}plain --all",
    "--describe --topic nowhere",
    "--describe --entity-type topics",
    "--describe --entity-type topics --entity-name {w}set",
    "--alter --topic {w}plain --add-config retention.ms=1234,cleanup.policy=[compact,delete]",
    "--describe --topic {w}plain",
    "--alter --topic {w}plain --add-config-file {file}",
    "--describe --topic {w}plain",
    "--alter --topic {w}plain --delete-config retention.ms",
    "--alter --topic {w}plain --delete-config cleanup.policy,segment.bytes",
    "--alter --topic {w}plain --delete-config nonsense",
    "--alter --topic {w}plain --add-config nonsense=1",
    "--alter --topic {w}plain --add-config retention.ms=abc",
    "--alter --topic {w}plain --add-config retention.ms=5 --delete-config retention.ms",
    "--alter --topic nowhere --add-config retention.ms=1",
    "--describe --topic {w}plain",
    "--describe --broker 1",
    "--describe --broker 1 --all",
    "--describe --broker 7",
    "--describe --entity-type brokers",
    "--alter --broker 1 --add-config log.cleaner.threads=2",
    "--alter --broker-defaults --add-config log.retention.ms=100000000",
    "--alter --entity-type brokers --entity-default --delete-config nonsense",
    "--describe --broker 1",
    "--describe --broker-defaults",
    "--describe --entity-type brokers --entity-default",
    "--describe --entity-type brokers",
    "--alter --broker 1 --add-config log.dirs=x",
    "--alter --broker 1 --delete-config log.cleaner.threads",
    "--alter --broker-defaults --delete-config log.retention.ms",
    "--describe --broker-logger 1",
    "--alter --broker-logger 1 --add-config nonsense=DEBUG",
    "--alter --client-metrics {w}m --add-config interval.ms=1000,metrics=[a,b]",
    "--alter --client-metrics {w}m --add-config nonsense=1",
    "--describe --client-metrics {w}m",
    "--describe --client-metrics nowhere",
    "--describe --entity-type client-metrics",
    "--alter --group {w}g --add-config consumer.session.timeout.ms=50000",
    "--describe --group {w}g",
    "--describe --group nowhere",
    "--describe --entity-type groups",
]
AT_A_CONTROLLER = [
    "--describe --broker 1",
    "--describe --broker 1 --all",
    "--describe --entity-type brokers",
    "--describe --topic x",
    "--alter --broker 1 --add-config log.cleaner.threads=2",
    "--alter --broker 1 --delete-config log.cleaner.threads",
]
CLUSTER = [
    "cluster-id --bootstrap-server {b}",
    "cluster-id -b {b}",
    "cluster-id --bootstrap-controller {c}",
    "cluster-id --config {file} --bootstrap-server {b}",
    "list-endpoints --bootstrap-server {b}",
    "list-endpoints --bootstrap-server {b} --include-fenced-brokers",
    "list-endpoints -C {c}",
    "list-endpoints -C {c} --include-fenced-brokers",
    "unregister --id 77 --bootstrap-server {b}",
]
# What stands in an options parser that ends the process itself: kafka-cluster and kafka-storage.
BAD_COMMANDS = [
    ("kafka-cluster", ""),
    ("kafka-cluster", "nonsense"),
    ("kafka-cluster", "cluster-id -b x:1 -C y:1"),
    ("kafka-cluster", "unregister -b x:1 -i many"),
    ("kafka-cluster", "cluster-id -b x:1 --nonsense"),
    ("kafka-storage", "format -c x -t y -s -N"),
    ("kafka-storage", "random-uuid -c"),
]
# The newest tools published are of 4.3.1: they know older versions of these APIs, or none.
NEWER_IN_4_4 = {
    "ApiVersions(18)": ("5", "4"), "TxnOffsetCommit(28)": ("6", "5"), "DeleteGroups(42)": ("3", "2"),
    "StreamsGroupHeartbeat(88)": ("1", "0"), "StreamsGroupDescribe(89)": ("1", "0"),
}  # fmt: skip
NEW_IN_4_4 = {"StreamsGroupTopologyDescriptionUpdate(93)": "UNKNOWN(93)", "UnregisterController(94)": "UNKNOWN(94)"}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("configs") / "add.properties"
    path.write_text("retention.ms=1000\nsegment.bytes=2000000\n")
    return path


@pytest.mark.parametrize(("name", "line"), BAD_OPTIONS)
def test_mistakes_in_options_are_told_alike(both: Pair, name: str, line: str) -> None:
    both.check(name, line)


@pytest.mark.parametrize(("name", "line"), OUR_WORDS)
def test_what_java_says_by_exceptions_is_a_sentence_here(both: Pair, name: str, line: str) -> None:
    mine, theirs = both.run(name, line)
    agree_roughly(mine, theirs)
    assert len(mine.err.splitlines()) <= 2


def test_topics_are_handled_alike(both: Pair) -> None:
    for line in TOPICS:
        both.check(T, f"{B} {line}")


def test_a_topic_is_described_by_its_id_alike(both: Pair) -> None:
    found = ours(T, *both.arguments(f"{B} --describe --topic ourswith.dot_x", "")).out
    topic_id = found.split("TopicId: ")[1].split("\t")[0]
    both.check(T, f"{B} --describe --topic-id {topic_id}")


def test_configs_are_handled_alike(both: Pair, file: Path) -> None:
    for line in CONFIGS:
        both.check(C, f"{B} {line}".replace("{file}", str(file)))


def test_configs_of_a_topic_that_is_not_there_are_no_answer(both: Pair) -> None:
    mine, theirs = both.run(C, f"{B} --describe --topic nowhere --all")
    agree_roughly(mine, theirs)


@pytest.mark.parametrize("line", AT_A_CONTROLLER)
def test_configs_are_handled_alike_at_a_controller(both: Pair, line: str) -> None:
    both.check(C, f"--bootstrap-controller {{c}} {line}")


@pytest.mark.parametrize("line", CLUSTER)
def test_the_cluster_is_described_alike(both: Pair, file: Path, line: str) -> None:
    both.check("kafka-cluster", line.replace("{file}", str(file)))


@pytest.mark.parametrize(("name", "line"), BAD_COMMANDS)
def test_mistakes_in_commands_are_told_alike(theirs: ApacheTools, name: str, line: str) -> None:
    def complaint(done: Done) -> tuple[int, str, str]:
        # Apache's parser breaks lines, and fills them with blanks.
        return done.code, done.out, "".join(done.err[done.err.index(f"{name}: ") :].split())

    assert complaint(ours(name, *line.split())) == complaint(theirs.alone(name, *line.split()))


def test_api_versions_are_listed_alike(both: Pair) -> None:
    mine, theirs = both.run("kafka-broker-api-versions", B)
    expected = []
    for line in mine.out.splitlines():
        name = line.strip().partition(":")[0]
        if name in NEWER_IN_4_4:
            line = line.replace(f"[usable: {NEWER_IN_4_4[name][0]}]", f"[usable: {NEWER_IN_4_4[name][1]}]")
        elif name in NEW_IN_4_4:
            line = line.replace(name, NEW_IN_4_4[name]).replace(" [usable: 0]", "")
        expected.append(line)
    agree(Done(mine.code, "\n".join([*expected, ""]), mine.err), theirs)
