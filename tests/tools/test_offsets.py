"""kafka-get-offsets and kafka-delete-records: times, filters and files."""

from __future__ import annotations

from argparse import Namespace

import pytest

from pykafkacore.tools.common import ToolError
from pykafkacore.tools.delete_records import parse_offsets
from pykafkacore.tools.get_offsets import parse_filter, parse_time

PLACES = [("a", 0), ("a", 1), ("a", 5), ("b", 1)]


def chosen(**options: str) -> list[tuple[str, int]]:
    allows = parse_filter(Namespace(**{"topic_partitions": None, "topic": None, "partitions": None, **options}))
    return [place for place in PLACES if allows(place)]


def test_a_time_is_a_name_or_a_number() -> None:
    assert [parse_time(text) for text in ("latest", "earliest", "-3", "1700000000000")] == [-1, -2, -3, 1_700_000_000_000]
    for text in ("soon", "1_000", "9223372036854775808"):
        with pytest.raises(ToolError, match=f"Malformed time argument {text}. Please use -1 or latest / -2 or earliest / "):
            parse_time(text)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("a", [("a", 0), ("a", 1), ("a", 5)]),
        ("a:1", [("a", 1)]),
        ("a:0-5", [("a", 0), ("a", 1)]),
        ("a:1-", [("a", 1), ("a", 5)]),
        ("a:-1,b", [("a", 0), ("b", 1)]),
        (":1", [("a", 1), ("b", 1)]),
    ],
)
def test_rules_choose_partitions(rules: str, expected: list[tuple[str, int]]) -> None:
    assert chosen(topic_partitions=rules) == expected


def test_topics_are_patterns_and_partitions_numbers() -> None:
    assert chosen(topic="a|b", partitions="1") == [("a", 1), ("b", 1)]
    assert chosen() == PLACES
    for wrong, said in (
        ({"partitions": "x"}, "--partitions expects a comma separated list of numeric partition ids, but received: x"),
        ({"topic_partitions": "a:b"}, "Invalid rule specification: a:b"),
        ({"topic": "a("}, "is an invalid regex."),
    ):
        with pytest.raises(ToolError) as error:
            chosen(**wrong)
        assert said in str(error.value)


def test_a_file_names_partitions_and_offsets() -> None:
    text = '{"partitions": [{"topic": "a", "partition": 1, "offset": -1}, {"topic": "a", "partition": 0, "offset": 7}]}'
    assert parse_offsets(text) == {("a", 1): -1, ("a", 0): 7}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "The input string is not a valid JSON"),
        ("3", "Expected JSON object, received 3"),
        ('{"version": 2}', "Not supported version field value 2"),
        ("{}", "Missing partitions field"),
        ('{"partitions": [{"partition": 0}]}', "No such field exists: `topic`"),
        ('{"partitions": [{"topic": "a", "partition": true}]}', "Expected `Integer` value, received true"),
        ('{"partitions": [{"topic": "a", "partition": 0, "offset": 9223372036854775808}]}', "Expected `Long` value, received "),
        (
            '{"partitions": [{"topic": "a", "partition": 0, "offset": 1}, {"topic": "a", "partition": 0, "offset": 1}]}',
            "Offset json file contains duplicate topic partitions: a-0",
        ),
    ],
)
def test_a_file_that_is_something_else_is_refused(text: str, said: str) -> None:
    with pytest.raises(ToolError) as error:
        parse_offsets(text)
    assert str(error.value).startswith(said)
