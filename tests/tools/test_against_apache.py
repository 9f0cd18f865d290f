"""Our tools and Apache's, the same calls on the same Apache broker: the same text, the same exit code."""

from __future__ import annotations

import pytest

from tests.support import apache
from tests.support.apache import ApacheKafka
from tests.tools.kit import ApacheTools, agree, ours

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
    ("kafka-configs", ""),
    ("kafka-configs", "--bootstrap-server {b}"),
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
    ("kafka-console-producer", "--topic x"),
    ("kafka-console-producer", "--bootstrap-server {b}"),
    ("kafka-console-producer", "--bootstrap-server {b} --topic x --compression-codec rar"),
    ("kafka-console-producer", "--bootstrap-server {b} --topic x --request-required-acks 2"),
    ("kafka-console-producer", "--bootstrap-server nonsense --topic x"),
    ("kafka-console-producer", "--bootstrap-server {b} --topic x --property a=b --reader-property a=b"),
    ("kafka-console-producer", "--bootstrap-server {b} --topic x --max-block-ms soon"),
    ("kafka-console-consumer", ""),
    ("kafka-console-consumer", "--bootstrap-server {b}"),
    ("kafka-console-consumer", "--topic x"),
    ("kafka-console-consumer", "--bootstrap-server {b} --topic x --include y"),
    ("kafka-console-consumer", "--bootstrap-server {b} --topic x --offset 3"),
    ("kafka-console-consumer", "--bootstrap-server {b} --topic x --partition 0 --offset soon"),
    ("kafka-console-consumer", "--bootstrap-server {b} --topic x --partition 0 --offset -3"),
    ("kafka-console-consumer", "--bootstrap-server {b} --topic x --partition 0 --offset 3 --from-beginning"),
    ("kafka-console-consumer", "--bootstrap-server {b} --topic x --group g --partition 0"),
    ("kafka-console-consumer", "--bootstrap-server {b} --include x --partition 0"),
    ("kafka-console-consumer", "--bootstrap-server {b} --topic x --isolation-level none"),
    ("kafka-console-consumer", "--bootstrap-server {b} --topic x --formatter nonsense.Formatter"),
    ("kafka-console-consumer", "--bootstrap-server {b} --topic x --property a=b --formatter-property a=b"),
    ("kafka-console-consumer", "--bootstrap-server {b} --topic x --max-messages many"),
    ("kafka-dump-log", ""),
    ("kafka-dump-log", "--print-data-log"),
    ("kafka-dump-log", "--files"),
    ("kafka-broker-api-versions", ""),
    ("kafka-broker-api-versions", "--command-config x"),
]

# In this order: each works on what those before it made.
ON_A_BROKER = [
    ("kafka-topics", "--list"),
]


def both(theirs: ApacheTools, broker: ApacheKafka, name: str, line: str) -> None:
    args = [each.format(b=broker.bootstrap) for each in line.split()]
    agree(ours(name, *args), theirs(name, *args))


@pytest.mark.parametrize(("name", "line"), BAD_OPTIONS)
def test_mistakes_in_options_are_told_alike(theirs: ApacheTools, broker: ApacheKafka, name: str, line: str) -> None:
    both(theirs, broker, name, line)
