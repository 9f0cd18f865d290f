"""What Apache's tools print only because they are Java programs: names of exceptions, orders of hash maps, forms of dates.

What it is: these forms as plain functions, so that a line of ours is the line that scripts look for.
What it is not: anything about Kafka's own meaning. KAFKA: all of it.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pykafkacore.tools.common import ToolError, java_hash, java_hash_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pykafkacore.protocol.errors import ApiError, Code

Place = tuple[str, int]

# What the name of a code does not tell by itself.
EXCEPTIONS = {
    "CORRUPT_MESSAGE": "CorruptRecordException",
    "DUPLICATE_SEQUENCE_NUMBER": "DuplicateSequenceException",
    "INVALID_CONFIG": "InvalidConfigurationException",
    "INVALID_PRODUCER_ID_MAPPING": "InvalidPidMappingException",
    "INVALID_REGULAR_EXPRESSION": "InvalidRegularExpression",
    "INVALID_TOPIC_EXCEPTION": "InvalidTopicException",
    "INVALID_TRANSACTION_TIMEOUT": "InvalidTxnTimeoutException",
    "KAFKA_STORAGE_ERROR": "KafkaStorageException",
    "MESSAGE_TOO_LARGE": "RecordTooLargeException",
    "NON_EMPTY_GROUP": "GroupNotEmptyException",
    "OFFSET_METADATA_TOO_LARGE": "OffsetMetadataTooLarge",
    "OUT_OF_ORDER_SEQUENCE_NUMBER": "OutOfOrderSequenceException",
    "REQUEST_TIMED_OUT": "TimeoutException",
    "TOPIC_ALREADY_EXISTS": "TopicExistsException",
    "UNKNOWN_SERVER_ERROR": "UnknownServerException",
}
# What is said of a code where the answer has no words of its own: those that tools of groups and transactions meet.
WORDS = {
    "CLUSTER_AUTHORIZATION_FAILED": "Cluster authorization failed.",
    "COORDINATOR_NOT_AVAILABLE": "The coordinator is not available.",
    "GROUP_AUTHORIZATION_FAILED": "Group authorization failed.",
    "GROUP_ID_NOT_FOUND": "The group id does not exist.",
    "GROUP_SUBSCRIBED_TO_TOPIC":
        "Deleting offsets of a topic is forbidden while the consumer group is actively subscribed to it.",
    "INVALID_GROUP_ID": "The group id is invalid.",
    "INVALID_TOPIC_EXCEPTION": "The request attempted to perform an operation on an invalid topic.",
    "NON_EMPTY_GROUP": "The group is not empty.",
    "NOT_COORDINATOR": "This is not the correct coordinator.",
    "OFFSET_OUT_OF_RANGE": "The requested offset is not within the range of offsets maintained by the server.",
    "POLICY_VIOLATION": "Request parameters do not satisfy the configured policy.",
    "REQUEST_TIMED_OUT": "The request timed out.",
    "STALE_MEMBER_EPOCH":
        "The member epoch is stale. The member must retry after receiving its updated member epoch via the "
        "ConsumerGroupHeartbeat API.",
    "TOPIC_AUTHORIZATION_FAILED": "Topic authorization failed.",
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED": "Transactional Id authorization failed.",
    "UNKNOWN_MEMBER_ID": "The coordinator is not aware of this member.",
    "UNKNOWN_SERVER_ERROR": "The server experienced an unexpected error when processing the request.",
    "UNKNOWN_TOPIC_OR_PARTITION": "This server does not host this topic-partition.",
}  # fmt: skip
WRAPPED = "java.util.concurrent.ExecutionException: "


class Mistake(ToolError):
    """Options that turn out to make no sense while a command runs: told with the help, exit code 1."""


@contextmanager
def told_as_java(prefix: str = "") -> Iterator[None]:
    """An ApiError in the block becomes what Java shows of an exception, behind the names of those that wrap it."""
    from pykafkacore.protocol.errors import ApiError

    try:
        yield
    except ApiError as error:
        raise ToolError(f"{prefix}{exception_text(error)}") from None


def exception_name(code: Code) -> str:
    """`GROUP_ID_NOT_FOUND` as `org.apache.kafka.common.errors.GroupIdNotFoundException`."""
    name = EXCEPTIONS.get(code.name)
    if name is None:
        stem = code.name.removesuffix("_FAILED") if "AUTHORIZATION" in code.name else code.name
        name = "".join(word.capitalize() for word in stem.split("_")) + "Exception"
    return f"org.apache.kafka.common.errors.{name}"


def words_of(error: ApiError) -> str:
    return error.message or WORDS.get(error.code.name, error.code.name)


def exception_text(error: ApiError) -> str:
    """Name and words: how Java prints one, and how one that only wraps another begins."""
    return f"{exception_name(error.code)}: {words_of(error)}"


def partition_order(places: Iterable[Place], is_sized: bool = False) -> list[Place]:
    """Partitions in the order of a hash map that has them for keys."""

    def hash_of(place: Place) -> int:
        topic, partition = place
        return (31 * (31 + partition) + java_hash(topic)) & 0xFFFFFFFF

    return java_hash_order(places, is_sized, hash_of)


def number_order(numbers: Iterable[int]) -> list[int]:
    """Longs and ints in the order of a hash map that has them for keys."""
    return java_hash_order(numbers, hash_of=lambda number: (number ^ number >> 32) & 0xFFFFFFFF)


# ---- dates


_DATE = re.compile(r"(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)\.(\d+)(Z|[+-]\d\d:\d\d|[+-]\d\d)")
_DURATION = re.compile(
    r"([-+]?)P(?:([-+]?\d+)D)?(T(?:([-+]?\d+)H)?(?:([-+]?\d+)M)?(?:([-+]?\d+)(?:[.,](\d{0,9}))?S)?)?", re.IGNORECASE
)


def parse_date(text: str) -> int:
    """Milliseconds since 1970 of `2024-01-31T12:00:00.000`, with a zone or in UTC; ValueError in Java's words."""
    from datetime import UTC, datetime, timedelta

    if "T" not in text.rstrip("T"):
        raise ValueError("Error parsing timestamp. It does not contain a 'T' according to ISO8601 format")
    time = text.split("T")[1]
    whole = text if any(mark in time for mark in "+-Z") else f"{text}Z"
    found = _DATE.match(whole)
    try:
        if found is None or int(found[7]) > 999:
            raise ValueError
        *parts, zone = found.groups()
        year, month, day, hour, minute, second, millis = map(int, parts)
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise ValueError(f'Unparseable date: "{whole}"') from None
    offset_s = 0
    if zone != "Z":
        offset_s = (int(zone[1:3]) * 60 + int(zone[4:6] or 0)) * (-60 if zone[0] == "-" else 60)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(milliseconds=1) + millis - offset_s * 1000


def parse_duration(text: str) -> int:
    """Milliseconds of `P1DT2H3M4.5S`; ValueError in Java's words."""
    found = _DURATION.fullmatch(text)
    if found is None or (found[3] is None and found[2] is None) or (found[3] or "").upper() == "T":
        raise ValueError("Text cannot be parsed to a Duration")
    sign, days, _, hours, minutes, seconds, fraction = found.groups()
    millis = ((int(days or 0) * 24 + int(hours or 0)) * 60 + int(minutes or 0)) * 60_000 + int(seconds or 0) * 1000
    part = int((fraction or "").ljust(3, "0")[:3] or 0)
    millis += -part if (seconds or "").startswith("-") else part
    return -millis if sign == "-" else millis


# ---- tables


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Every column as wide as its widest cell, a tab after each."""
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    for row in (headers, *rows):
        print("".join(f"{cell:<{width}}\t" for cell, width in zip(row, widths, strict=True)))
