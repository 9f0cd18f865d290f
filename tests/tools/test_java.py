"""Forms that are Java's: names of exceptions, orders of hash maps, dates and durations, tables."""

from __future__ import annotations

import pytest

from pykafkacore.protocol.errors import ApiError, Code
from pykafkacore.tools.common import ToolError
from pykafkacore.tools.java import (
    EXCEPTIONS,
    WORDS,
    exception_name,
    exception_text,
    number_order,
    parse_date,
    parse_duration,
    partition_order,
    print_table,
    told_as_java,
)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (Code.GROUP_ID_NOT_FOUND, "GroupIdNotFoundException"),
        (Code.NON_EMPTY_GROUP, "GroupNotEmptyException"),
        (Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "TransactionalIdAuthorizationException"),
        (Code.INVALID_TOPIC_EXCEPTION, "InvalidTopicException"),
    ],
)
def test_a_code_has_its_exception(code: Code, name: str) -> None:
    assert exception_name(code) == f"org.apache.kafka.common.errors.{name}"


def test_the_tables_speak_of_codes_that_are() -> None:
    assert set(EXCEPTIONS) | set(WORDS) <= set(Code.__members__)


def test_an_error_without_words_gets_kafkas() -> None:
    name = "org.apache.kafka.common.errors.GroupIdNotFoundException"
    assert exception_text(ApiError(Code.GROUP_ID_NOT_FOUND)) == f"{name}: The group id does not exist."
    with pytest.raises(ToolError, match=f"^wrapped: {name}: No such group.$"), told_as_java("wrapped: "):
        raise ApiError(Code.GROUP_ID_NOT_FOUND, "No such group.")


def test_partitions_and_numbers_come_as_from_a_hash_map() -> None:
    places = [("events", number) for number in range(5)]
    assert [number for _, number in partition_order(places)] == [3, 4, 0, 1, 2]
    assert number_order([4000, 17, 3, 1]) == [4000, 17, 1, 3]


@pytest.mark.parametrize(
    ("text", "millis"),
    [
        ("1970-01-01T00:00:01.500", 1500),
        ("1970-01-01T00:00:01.500Z", 1500),
        ("1970-01-01T02:00:01.500+02:00", 1500),
        ("1969-12-31T22:30:01.500-01:30", 1500),
        ("2023-11-14T20:13:22.000-02", 1_700_000_002_000),
        ("2023-11-14T22:13:22.5", 1_700_000_002_005),
    ],
)
def test_a_date_is_a_moment(text: str, millis: int) -> None:
    assert parse_date(text) == millis


@pytest.mark.parametrize("text", ["yesterday", "2023-11-14", "2023-13-14T22:13:22.000", "2023-11-14T22:13:22", "T"])
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"Unparseable date|does not contain a 'T'"):
        parse_date(text)


@pytest.mark.parametrize(
    ("text", "millis"),
    [("P1D", 86_400_000), ("pt1h2m3.5s", 3_723_500), ("-PT1H", -3_600_000), ("PT-0.5S", -500), ("P-1DT1H", -82_800_000)],
)
def test_a_duration_is_a_length(text: str, millis: int) -> None:
    assert parse_duration(text) == millis


@pytest.mark.parametrize("text", ["", "P", "PT", "P1DT", "1D", "P1H"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Text cannot be parsed to a Duration"):
        parse_duration(text)


def test_a_table_has_columns_as_wide_as_their_cells(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["Id", "Name"], [["100", "x"], ["7", "longer"]])
    assert capsys.readouterr().out == "Id \tName  \t\n100\tx     \t\n7  \tlonger\t\n"
