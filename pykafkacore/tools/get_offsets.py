"""kafka-get-offsets: where the logs of partitions begin, end, or are for a time.

What it is: Apache Kafka's GetOffsetShell: its filters, its lines `topic:partition:offset`, in the order of their text.
What it is not: about groups (consumer_groups.py). A partition without an offset for the time that is asked has no line.
Sources: KIP-635, KIP-734, KIP-1005.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, NoReturn

from pykafkacore.tools.common import (
    Parser,
    ToolError,
    add_common,
    client_properties,
    fail,
    finish,
    handle_help,
    parse_bootstrap,
    run_client,
)

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Sequence

    from pykafkacore.client import Client

ABOUT = "An interactive shell for getting topic-partition offsets."
TIMES = {
    "latest": -1, "earliest": -2, "max-timestamp": -3, "earliest-local": -4, "latest-tiered": -5,
    "earliest-pending-upload": -6,
}  # fmt: skip
_RULE = re.compile(r"([^:,]*)(?::(?:([0-9]*)|([0-9]*)-([0-9]*)))?")
_BOOTSTRAP = re.compile(r"(?:[0-9a-zA-Z\-%._]*://)?\[?[0-9a-zA-Z\-%._:]*\]?:[0-9]+")
INT_MAX = 2**31 - 1
Place = tuple[str, int]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    finish(lambda: run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    options = _parse(arguments)
    try:
        if options.topic_partitions is not None and (options.topic is not None or options.partitions is not None):
            raise ToolError("--topic-partitions cannot be used with --topic or --partitions")
        timestamp = parse_time(options.time)
        allows = parse_filter(options)
        settings = client_properties(options.command_config)
        settings.setdefault("client.id", "GetOffsetShell")

        async def work(client: Client) -> None:
            await _print_offsets(client, allows, timestamp, options.exclude_internal_topics)

        return run_client(parse_bootstrap(options.bootstrap_server), settings, work)
    except ToolError as error:
        _complain(str(error))


def _complain(message: str) -> NoReturn:
    fail(f"Error occurred: {message}")


def _parse(arguments: Sequence[str]) -> Namespace:
    parser = Parser("kafka-get-offsets", ABOUT)
    parser.complain = _complain
    add_common(parser)
    parser.add_argument("--topic-partitions", metavar="T:0-3,...", help="patterns of topics, with numbers or ranges of them")
    parser.add_argument("--topic", metavar="REGEX", help="the topics; all if not given")
    parser.add_argument("--partitions", metavar="0,1,...", help="the partitions; all if not given")
    parser.add_argument("--time", default="latest", metavar="TIME", help=f"milliseconds, or one of {', '.join(TIMES)}")
    parser.add_argument("--exclude-internal-topics", action="store_true", help="leave out internal topics")
    if not arguments:
        parser.usage_error(ABOUT)
    options = parser.parse(arguments)
    handle_help(parser, options, ABOUT)
    parser.require(options, "bootstrap-server")
    if not options.bootstrap_server.strip():
        parser.usage_error("Error while validating the bootstrap address\n")
    if not all(_BOOTSTRAP.fullmatch(each) for each in options.bootstrap_server.split(",")):
        parser.usage_error("Please provide valid host:port like host1:9091,host2:9092\n")
    return options


def parse_time(text: str) -> int:
    """What ListOffsets is asked for: a timestamp, or the number that stands for a place."""
    if text in TIMES:
        return TIMES[text]
    if not re.fullmatch(r"[+-]?[0-9]+", text) or not -(2**63) <= int(text) < 2**63:
        names = " / ".join(f"{number} or {name}" for name, number in TIMES.items())
        raise ToolError(f"Malformed time argument {text}. Please use {names}, or a specified long format timestamp")
    return int(text)


# ---- which partitions


def parse_filter(options: Namespace) -> Callable[[Place], bool]:
    """Whether a partition is meant. KAFKA: commas in --topic separate patterns as well."""
    if options.topic_partitions is not None:
        rules = [_rule(text) for text in options.topic_partitions.split(",")]
        return lambda place: any(rule(place) for rule in rules)
    try:
        wanted = {int(text) for text in (options.partitions or "").split(",") if options.partitions}
    except ValueError:
        raise ToolError(
            f"--partitions expects a comma separated list of numeric partition ids, but received: {options.partitions}"
        ) from None
    topics = _topics(".*" if options.topic is None else options.topic)
    return lambda place: topics.fullmatch(place[0]) is not None and (not wanted or place[1] in wanted)


def _topics(text: str) -> re.Pattern[str]:
    from pykafkacore.tools.topics import topic_pattern

    try:
        return topic_pattern(text)
    except ToolError:
        raise ToolError(f"{text} is an invalid regex.") from None


def _rule(text: str) -> Callable[[Place], bool]:
    """`topic`, `topic:3`, `topic:3-5`, `topic:3-`, `topic:-5` or `:3`; an upper end is exclusive."""
    found = _RULE.fullmatch(text)
    if found is None:
        raise ToolError(f"Invalid rule specification: {text}")
    name, number, low, high = found.groups()
    topics = _topics(name or ".*")
    first = int(number or low or 0)
    end = first + 1 if number else int(high or INT_MAX)
    return lambda place: topics.fullmatch(place[0]) is not None and first <= place[1] < end


async def _print_offsets(
    client: Client, allows: Callable[[Place], bool], timestamp: int, excludes_internal: bool
) -> None:
    from pykafkacore.client.offsets import list_offsets
    from pykafkacore.protocol.errors import ApiError
    from pykafkacore.tools.java import exception_text

    topics = (await client.refresh_metadata()).topics
    places = [
        (topic.name, partition)
        for topic in topics.values()
        if not (topic.is_internal and excludes_internal)
        for partition in topic.partitions
        if allows((topic.name, partition))
    ]
    if not places:
        raise ToolError("Could not match any topic-partitions with the specified filters")
    found = await list_offsets(client, dict.fromkeys(places, timestamp))
    for place in sorted(places, key=lambda place: f"{place[0]}-{place[1]}"):
        offset, (topic, partition) = found[place], place
        if isinstance(offset, ApiError):
            why = exception_text(offset)
            print(f"Skip getting offsets for topic-partition {topic}-{partition} due to error: {why}", file=sys.stderr)
        elif offset != -1:
            print(f"{topic}:{partition}:{offset}")
