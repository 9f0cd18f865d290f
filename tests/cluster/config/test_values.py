from __future__ import annotations

import pytest

from cluster.config.definitions import Definition, broker_definitions, group_definitions, topic_definitions
from cluster.config.values import ConfigError, default_value, parse, parse_address, parse_duration_ms, to_text


def definition(name: str) -> Definition:
    for read in (topic_definitions, broker_definitions, group_definitions):
        if name in read():
            return read()[name]
    raise KeyError(name)


# Outcomes measured on Kafka 4.4; a NaN, which it accepts, is refused here.
@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("cleanup.policy", "", []),
        ("cleanup.policy", "delete,delete", ["delete"]),
        ("cleanup.policy", "delete , compact", ["delete", "compact"]),
        ("leader.replication.throttled.replicas", " *", ["*"]),
        ("leader.replication.throttled.replicas", "0:1,0:1", ["0:1", "0:1"]),
        ("retention.ms", "+5", 5),
        ("retention.ms", " 7 ", 7),
        ("retention.ms", "000000000000000000000000000008", 8),
        ("retention.ms", "9223372036854775807", 2**63 - 1),
        ("preallocate", " True", True),
        ("min.cleanable.dirty.ratio", ".5", 0.5),
        ("min.cleanable.dirty.ratio", "0.5f", 0.5),
        ("min.cleanable.dirty.ratio", "1d", 1.0),
        ("compression.gzip.level", "-1", -1),
        ("compression.gzip.level", "9", 9),
        ("compression.type", " gzip", "gzip"),
        ("listeners", "A://:1,A://:1", ["A://:1"]),
        ("process.roles", "broker,controller", ["broker", "controller"]),
        ("group.consumer.migration.policy", "Bidirectional", "Bidirectional"),
        ("share.auto.offset.reset", "by_duration:PT1H", "by_duration:PT1H"),
        ("authorizer.class.name", "", ""),
        ("log.retention.ms", None, None),
        ("controller.quorum.bootstrap.servers", "a:1,[::1]:2", ["a:1", "[::1]:2"]),
    ],
)
def test_values_that_kafka_accepts(name: str, text: str | None, value: object) -> None:
    assert parse(definition(name), text) == value


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("cleanup.policy", "compact,", "has an empty element"),
        ("cleanup.policy", "foo", "holds foo, which is not one of compact, delete"),
        ("leader.replication.throttled.replicas", "1:a", "neither * nor a list of partition:broker pairs"),
        ("leader.replication.throttled.replicas", "0:1,", "neither * nor"),
        ("retention.ms", "-2", "is not in [-1..]"),
        ("retention.ms", "9223372036854775808", "the bounds of a long"),
        ("retention.ms", "9" * 5000, "the bounds of a long"),
        ("retention.ms", "1e3", "is not a whole number"),
        ("retention.ms", "1_000", "is not a whole number"),
        ("retention.ms", "", "is not a whole number"),
        ("retention.ms", None, "is not allowed"),
        ("preallocate", "yes", "neither true nor false"),
        ("min.cleanable.dirty.ratio", "1.01", "is not in [0..1]"),
        ("min.cleanable.dirty.ratio", "NaN", "is not a number"),
        ("min.cleanable.dirty.ratio", "f", "is not a number"),
        ("compression.gzip.level", "0", "is not in [1..9] and is not -1"),
        ("compression.type", "GZIP", "is not one of uncompressed, zstd, lz4, snappy, gzip, producer"),
        ("listeners", "", "is an empty list"),
        ("process.roles", "x", "holds x, which is not one of broker, controller"),
        ("process.roles", "", "is an empty list"),
        ("group.consumer.migration.policy", "x", "is not one of DISABLED"),
        ("node.id", "2147483648", "the bounds of a int"),
        ("node.id", "-1", "is not in [0..]"),
        ("remote.log.metadata.manager.class.name", "", "may not be empty"),
        ("share.auto.offset.reset", "none", "by_duration"),
        ("share.auto.offset.reset", "by_duration:P-1D", "by_duration"),
        ("controller.quorum.bootstrap.servers", "a", "does not end in : and a port"),
        ("controller.quorum.bootstrap.servers", "::1:9092", "IPv6 host without brackets"),
        ("controller.quorum.voters", "x@a:1", "write id@host:port"),
        ("controller.quorum.voters", "1@a:99999", "write id@host:port"),
    ],
)
def test_values_that_kafka_refuses(name: str, text: str | None, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(definition(name), text)
    assert problem in str(caught.value)
    assert str(caught.value).startswith(f"key {name}: value ")


def test_an_error_says_key_value_bounds_and_line() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(definition("segment.bytes"), "5")
    assert str(caught.value) == "key segment.bytes: value 5 is not in [1048576..]"
    assert ConfigError("a", "b", "is wrong", line=3).message == "line 3: key a: value b is wrong"


def test_a_key_without_default_must_be_given() -> None:
    with pytest.raises(ConfigError, match=r"key node\.id: .* must be given"):
        default_value(definition("node.id"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        (True, "true"),
        (5, "5"),
        (["a", "b"], "a,b"),
        ([], ""),
        (0.5, "0.5"),
        (1.0, "1.0"),
        (1e-4, "1.0E-4"),
        (1.5e-5, "1.5E-5"),
        (12345678.0, "1.2345678E7"),
        (1e7, "1.0E7"),
        (9999999.0, "9999999.0"),
        (1.7976931348623157e308, "1.7976931348623157E308"),
        (-123456789.5, "-1.234567895E8"),
    ],
)
def test_values_are_shown_as_java_shows_them(value: object, text: str | None) -> None:
    assert to_text(value) == text  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("PT1H", 3_600_000),
        ("P2DT3H4M5.5S", 2 * 86_400_000 + 3 * 3_600_000 + 4 * 60_000 + 5500),
        ("P1D", 86_400_000),
        ("PT0S", 0),
        ("P", None),
        ("PT", None),
        ("P1DT", None),
        ("PT1", None),
        ("PT1S1H", None),
        ("PT1.5H", None),
        ("P1M", None),
        ("1H", None),
        ("P-1D", None),
        ("PTS", None),
        ("PT..S", None),
    ],
)
def test_durations(text: str, milliseconds: int | None) -> None:
    assert parse_duration_ms(text) == milliseconds


def test_addresses() -> None:
    assert parse_address("h:1") == ("h", 1)
    assert parse_address("[::1]:65535") == ("::1", 65535)
    for wrong in ("h", "h:", ":1", "h:65536", "h:x", "[]:1"):
        with pytest.raises(ValueError, match=r"port|host"):
            parse_address(wrong)
