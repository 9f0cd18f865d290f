"""kafka-console-consumer: print the records of topics.

What it is: Apache Kafka's ConsoleConsumer with its default formatter, reading every partition from one process.
What it is not: a member of a group. Without --group that makes no difference to what is printed; --group is refused.
How records look stands in shown_records.py, how they are fetched in fetching.py.
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
    from pykafkacore.tools.shown_records import Shown

ABOUT = "This tool helps to read data from Kafka topics and outputs it to standard output."
FORMATTERS = ("DefaultMessageFormatter", "LoggingMessageFormatter", "NoOpMessageFormatter")
ISOLATION_LEVELS = ("read_committed", "read_uncommitted")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    finish(lambda: run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    options = parse(arguments)
    try:
        properties = client_properties(
            options.command_config, parse_pairs(options.command_property or [], "command-property")
        )
        if options.group is not None or "group.id" in properties:
            raise ToolError("--group is not offered yet: leave it out to read all partitions without a group")
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
            return await _consume(client, options, format_record)

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
        parser.usage_error("Options group and partition cannot be specified together.")
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
    parser.add_argument("--group", metavar="ID", help="not offered yet")
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


# ---- reading


class BadRecord(ToolError):
    """A record that cannot be shown."""


async def _consume(client: Client, options: Namespace, format_record: Callable[[Shown], bytes]) -> int:
    import math
    import signal

    import trio

    from pykafkacore.client import ConnectionClosed
    from pykafkacore.protocol.errors import ApiError
    from pykafkacore.tools.fetching import Fetching, find_partitions

    count = code = 0
    wanted = options.max_messages
    limit_s = options.timeout_ms / 1000 if options.timeout_ms >= 0 else math.inf
    failure: Exception | None = None
    write = sys.stdout.buffer
    async with trio.open_nursery() as nursery:

        async def watch_signals() -> None:
            nonlocal code
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for number in signals:
                    code = 128 + number
                    nursery.cancel_scope.cancel()

        nursery.start_soon(watch_signals)
        try:
            sender, receiver = trio.open_memory_channel["list[Shown] | Exception"](0)
            fetching = Fetching(client, sender, options.isolation_level == "read_committed", options.start)

            async def begin() -> None:
                places = await find_partitions(client, options.topic, options.include, options.partition)
                await fetching.run(places)

            nursery.start_soon(_carrying, begin, sender)
            while wanted < 0 or count < wanted:
                found = None
                with trio.move_on_after(limit_s):
                    found = await receiver.receive()
                if found is None:
                    break
                if isinstance(found, Exception):
                    raise found
                for record in found:
                    count += 1
                    try:
                        write.write(format_record(record))
                    except ToolError as error:
                        if not options.skip_message_on_error:
                            raise BadRecord(str(error)) from None
                    if count == wanted:
                        break
                write.flush()
        except Exception as error:
            failure = error
        nursery.cancel_scope.cancel()
    if isinstance(failure, OSError) and not isinstance(failure, ConnectionClosed):
        raise failure  # the reader of our output is gone
    print(f"Processed a total of {count} messages", file=sys.stderr)
    if failure is None:
        return code
    if isinstance(failure, BadRecord) or not isinstance(failure, (ToolError, ApiError, ConnectionClosed)):
        raise failure
    # KAFKA: what goes wrong while reading ends the tool, and is no failure of it.
    print(message_of(failure), file=sys.stderr)
    return code


async def _carrying(work: Callable[[], Any], sender: Any) -> None:
    """Failures of the reading tasks are received like records: the printing loop raises them."""
    try:
        await work()
    except Exception as error:
        await sender.send(error)
