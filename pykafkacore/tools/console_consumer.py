"""kafka-console-consumer: print the records of topics.

What it is: Apache Kafka's ConsoleConsumer with its default formatter, reading every partition from one process.
What it is not: a member of a group, unless --group or group.id says so: what is printed is the same without one.
How records look stands in shown_records.py, how they are fetched in fetching.py, what a group adds in group_reading.py.
KAFKA: the count of records goes to standard error; running out of --timeout-ms is no failure.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn

from pykafkacore.tools.common import (
    Parser,
    ToolError,
    add_common,
    client_properties,
    fail,
    finish,
    handle_help,
    int_property,
    message_of,
    moved_option,
    parse_bootstrap,
    parse_pairs,
    read_properties,
    run_client,
)

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Sequence

    from pykafkacore.client import Client
    from pykafkacore.tools.fetching import Read
    from pykafkacore.tools.group_reading import GroupReading
    from pykafkacore.tools.shown_records import Shown

ABOUT = "This tool helps to read data from Kafka topics and outputs it to standard output."
FORMATTERS = ("DefaultMessageFormatter", "LoggingMessageFormatter", "NoOpMessageFormatter")
NO_PARTITION_IN_A_GROUP = "Options group and partition cannot be specified together."
ISOLATION_LEVELS = ("read_committed", "read_uncommitted")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    finish(lambda: run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    options = parse(arguments)
    try:
        properties = client_properties(
            options.command_config, parse_pairs(options.command_property or [], "command-property")
        )
        options.group = _group_id(options, properties)
        settings = {
            **(read_properties(options.formatter_config) if options.formatter_config else {}),
            **parse_pairs(options.formatter_property or [], "formatter-property"),
        }
        for kind in ("key", "value"):
            if getattr(options, f"{kind}_deserializer"):
                settings[f"{kind}.deserializer"] = getattr(options, f"{kind}_deserializer")
        from pykafkacore.tools.shown_records import formatter

        format_record = (lambda record: b"") if options.formatter == "NoOpMessageFormatter" else formatter(settings)
        bootstrap = parse_bootstrap(options.bootstrap_server)
        properties.setdefault("client.id", "console-consumer")
        options.start = _start(options, properties)

        async def work(client: Client) -> int:
            return await _consume(client, options, properties, format_record)

        return run_client(bootstrap, properties, work)
    except ToolError as error:
        print(error, file=sys.stderr)
        return 1


def parse(arguments: Sequence[str]) -> Namespace:
    parser = _parser()
    if not arguments:
        parser.usage_error(ABOUT)
    options = parser.parse(arguments)
    handle_help(parser, options, ABOUT)
    parser.require(options, "bootstrap-server")
    if (options.topic is None) == (options.include is None):
        parser.usage_error("Exactly one of the following arguments is required: [topic], [include]")
    moved_option(parser, options, "command-property", "consumer-property", "Option", old_first=True)
    moved_option(parser, options, "command-config", "consumer.config", "Option", old_first=True)
    moved_option(parser, options, "formatter-property", "property", "Option", old_first=True)
    options.formatter = options.formatter.rpartition(".")[2]
    if options.formatter not in FORMATTERS:
        fail(f"{options.formatter} cannot be loaded here: only {', '.join(FORMATTERS)} are offered")
    if options.partition is not None and options.topic is None:
        parser.usage_error("The topic is required when partition is specified.")
    if options.group is not None and options.partition is not None:
        parser.usage_error(NO_PARTITION_IN_A_GROUP)
    if options.offset is not None:
        if options.partition is None:
            parser.usage_error("The partition is required when offset is specified.")
        if options.from_beginning:
            parser.usage_error("Options from-beginning and offset cannot be specified together.")
        text = options.offset.strip().lower()
        if text not in ("earliest", "latest") and not (text.isascii() and text.isdigit()):
            parser.usage_error(
                f"The provided offset value '{options.offset}' is incorrect. "
                "Valid values are 'earliest', 'latest', or a non-negative long."
            )
        options.offset = text
    if options.isolation_level not in ISOLATION_LEVELS:
        print(
            f"Invalid value {options.isolation_level} for configuration isolation.level: "
            f"String must be one of: {', '.join(ISOLATION_LEVELS)}",
            file=sys.stderr,
        )
        raise SystemExit(1)
    return options


def _parser() -> Parser:
    parser = Parser("kafka-console-consumer", ABOUT)
    add_common(parser)
    parser.add_argument("--topic", help="the topic to read")
    parser.add_argument("--include", metavar="REGEX", help="the topics to read")
    parser.add_argument("--partition", type=int, metavar="NUMBER", help="read only this partition")
    parser.add_argument("--offset", metavar="OFFSET", help="begin there: a number, earliest or latest")
    parser.add_argument("--from-beginning", action="store_true", help="begin with the first record, not with new ones")
    parser.add_argument("--max-messages", type=int, default=-1, metavar="COUNT", help="end after so many records")
    parser.add_argument("--timeout-ms", type=int, default=-1, metavar="MS", help="end when none came for so long")
    parser.add_argument("--skip-message-on-error", action="store_true", help="go on after a record that cannot be shown")
    parser.add_argument("--group", metavar="ID", help="read as a member of this group, and commit")
    parser.add_argument("--isolation-level", default="read_uncommitted", help=" or ".join(ISOLATION_LEVELS))
    parser.add_argument("--formatter", default=FORMATTERS[0], metavar="CLASS", help=f"one of {', '.join(FORMATTERS)}")
    parser.add_argument("--formatter-property", action="append", metavar="KEY=VALUE", help=_FORMATTER_HELP)
    parser.add_argument("--property", action="append", metavar="KEY=VALUE", help="old name of --formatter-property")
    parser.add_argument("--formatter-config", metavar="FILE", help="properties file with settings of the formatter")
    parser.add_argument("--key-deserializer", metavar="CLASS", help="how keys are shown")
    parser.add_argument("--value-deserializer", metavar="CLASS", help="how values are shown")
    parser.add_argument("--enable-systest-events", action="store_true", help="taken and ignored")
    parser.add_argument("--command-property", action="append", metavar="KEY=VALUE", help="a setting of the client")
    parser.add_argument("--consumer-property", action="append", metavar="KEY=VALUE", help="old name of the same")
    parser.add_argument("--consumer.config", dest="consumer_config", metavar="FILE", help="old: --command-config")
    return parser


_FORMATTER_HELP = (
    "what is shown: print.timestamp=false, print.partition=false, print.offset=false, print.delivery=false, "
    "print.epoch=false, print.headers=false, print.key=false, print.value=true, key.separator=tab, "
    "headers.separator=comma, line.separator=newline, null.literal=null, key.deserializer, value.deserializer, "
    "headers.deserializer"
)


def _start(options: Namespace, properties: dict[str, str]) -> str:
    """Where to begin: `earliest`, `latest` or a number."""
    if options.offset is not None:
        return str(options.offset)
    if options.from_beginning:
        return "earliest"
    reset = properties.get("auto.offset.reset", "latest")
    if reset not in ("earliest", "latest"):
        raise ToolError(f"Invalid value {reset} for configuration auto.offset.reset: use earliest or latest")
    return reset


def _group_id(options: Namespace, properties: dict[str, str]) -> str | None:
    """The group, wherever it is named; ends the program when two places name different ones."""
    found = {each: None for each in (options.group, properties.get("group.id")) if each is not None}
    if len(found) > 1:
        _parser().usage_error(
            "The group ids provided in different places (directly using '--group', via '--consumer-property', or via "
            f"'--consumer.config') do not match. Detected group ids: {', '.join(repr(each) for each in found)}"
        )
    if found and options.partition is not None:
        _parser().usage_error(NO_PARTITION_IN_A_GROUP)
    return next(iter(found), None)


# ---- reading


class BadRecord(ToolError):
    """A record that cannot be shown."""


async def _consume(
    client: Client, options: Namespace, properties: dict[str, str], format_record: Callable[[Shown], bytes]
) -> int:
    import math
    import signal

    import trio

    from pykafkacore.client import ConnectionClosed
    from pykafkacore.protocol.errors import ApiError

    code = 0
    limit_s = options.timeout_ms / 1000 if options.timeout_ms >= 0 else math.inf
    failure: Exception | None = None
    sender, receiver = trio.open_memory_channel["Read | Exception"](0)
    group, read = _source(client, options, properties, sender)
    printer = _Printer(options, format_record, None if group is None else group.note_printed)
    async with trio.open_nursery() as nursery:

        async def watch_signals() -> None:
            nonlocal code
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for number in signals:
                    code = 128 + number
                    nursery.cancel_scope.cancel()

        nursery.start_soon(watch_signals)
        try:
            nursery.start_soon(_carrying, read, sender)
            deadline = trio.current_time() + limit_s
            while not printer.is_done:
                found = None
                with trio.move_on_at(deadline):
                    found = await receiver.receive()
                if found is None:
                    break
                if isinstance(found, Exception):
                    raise found
                if found.records:
                    deadline = math.inf
                printer.print(found)
                if found.records:
                    deadline = trio.current_time() + limit_s
        except Exception as error:
            failure = error
        nursery.cancel_scope.cancel()
    if group is not None:
        await group.close()
    if isinstance(failure, OSError) and not isinstance(failure, ConnectionClosed):
        raise failure  # the reader of our output is gone
    print(f"Processed a total of {printer.count} messages", file=sys.stderr)
    if failure is None:
        return code
    if isinstance(failure, BadRecord) or not isinstance(failure, (ToolError, ApiError, ConnectionClosed)):
        raise failure
    # KAFKA: what goes wrong while reading ends the tool, and is no failure of it.
    print(message_of(failure), file=sys.stderr)
    return code


class _Printer:
    """Prints up to so many records, and tells how far it has come: with what is on its way out, and not before."""

    def __init__(
        self,
        options: Namespace,
        format_record: Callable[[Shown], bytes],
        on_printed: Callable[[tuple[str, int], int], None] | None,
    ) -> None:
        self.count = 0
        self._wanted = options.max_messages
        self._skips_bad = options.skip_message_on_error
        self._format = format_record
        self._on_printed = on_printed

    @property
    def is_done(self) -> bool:
        return 0 <= self._wanted <= self.count

    def print(self, found: Read) -> None:
        write = sys.stdout.buffer
        next_offset = found.next_offset
        bad: ToolError | None = None
        for record in found.records:
            self.count += 1
            try:
                write.write(self._format(record))
            except ToolError as error:
                bad = None if self._skips_bad else error
            if bad is not None or self.is_done:
                # KAFKA: a record that cannot be shown has been received all the same.
                next_offset = record.offset + 1
                break
        write.flush()
        if self._on_printed is not None:
            self._on_printed(found.place, next_offset)
        if bad is not None:
            raise BadRecord(str(bad))


def _source(
    client: Client, options: Namespace, properties: dict[str, str], sender: Any
) -> tuple[GroupReading | None, Callable[[], Any]]:
    """Who reads: a member of a group, if one is given, or one for all partitions; and the call that does it."""
    from pykafkacore.tools.fetching import Fetching, find_partitions

    fetching = Fetching(client, sender, options.isolation_level == "read_committed", options.start)
    if options.group is None:

        async def read_all() -> None:
            await fetching.run(await find_partitions(client, options.topic, options.include, options.partition))

        return None, read_all
    from pykafkacore.tools import group_reading

    wants = group_reading.subscription(properties, options.group, options.topic, options.include)
    membership = group_reading.open_membership(client, wants, group_reading.parse_protocol(properties))
    interval_ms: int | None = int_property(properties, "auto.commit.interval.ms", group_reading.COMMIT_INTERVAL_MS)
    if properties.get("enable.auto.commit", "true").strip().lower() == "false":
        interval_ms = None
    group = group_reading.GroupReading(client, membership, options.group, fetching, interval_ms)

    async def read_share() -> None:
        if options.topic is not None:
            # A topic that is not there yet is made, if the brokers let it.
            await client.refresh_metadata([options.topic], auto_create=True)
        await group.run()

    return group, read_share


async def _carrying(work: Callable[[], Any], sender: Any) -> None:
    """Failures of the reading tasks are received like records: the printing loop raises them."""
    try:
        await work()
    except Exception as error:
        await sender.send(error)
