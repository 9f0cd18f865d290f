"""kafka-console-producer: every line of standard input is a record.

What it is: Apache Kafka's ConsoleProducer: its flags, its line reader with keys, headers and null markers.
What it is not: a place for other line readers, or for settings of the Java client that have no meaning here: those
flags are taken and change nothing.
Lines are kept as bytes; what is no UTF-8 arrives as it was.
KAFKA: a bad line ends the tool with exit code 1, and the lines before it have been sent. Records that the cluster refuses
are told on standard error; they are a failure of the tool with --sync only.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from msgspec import Struct

from pykafkacore.tools.common import (
    Parser,
    ToolError,
    add_common,
    client_properties,
    fail,
    finish,
    handle_help,
    int_property,
    moved_option,
    parse_bootstrap,
    parse_pairs,
    run_client,
)

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Sequence

    from pykafkacore.client import Client, Producer

ABOUT = "This tool helps to read data from standard input and publish it to Kafka."
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
READER_CLASSES = ("", "LineMessageReader", "org.apache.kafka.tools.LineMessageReader")
CHUNK_BYTES = 256 * 1024
# Flags that tune the Java client; taken so that scripts keep working.
_WITHOUT_MEANING = (
    "batch-size", "message-send-max-retries", "retry-backoff-ms", "timeout", "request-timeout-ms", "metadata-expiry-ms",
    "max-memory-bytes", "max-partition-memory-bytes", "socket-buffer-size",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    finish(lambda: run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    options = parse(arguments)
    try:
        properties = client_properties(
            options.command_config, parse_pairs(options.command_property or [], "command-property")
        )
        reader_file = options.reader_config
        reader = LineReader.of(
            {**(_file(reader_file)), **parse_pairs(options.reader_property or [], "reader-property")}
        )
        settings = _producer_settings(options, properties)
        if options.max_block_ms is not None:
            properties.setdefault("default.api.timeout.ms", str(options.max_block_ms))
        properties.setdefault("client.id", "console-producer")

        async def work(client: Client) -> int:
            return await _produce(client, options.topic, reader, settings)

        return run_client(options.bootstrap, properties, work)
    except ToolError as error:
        print(error, file=sys.stderr)
        return 1


def _file(path: str | None) -> dict[str, str]:
    from pykafkacore.tools.common import read_properties

    return read_properties(path) if path else {}


def parse(arguments: Sequence[str]) -> Namespace:
    parser = Parser("kafka-console-producer", ABOUT)
    add_common(parser)
    parser.add_argument("--topic", help="the topic to send to")
    parser.add_argument("--sync", action="store_true", help="wait for every record before the next line")
    parser.add_argument(
        "--compression-codec", nargs="?", const="gzip", metavar="CODEC", help=f"one of {', '.join(CODECS)}; bare: gzip"
    )
    parser.add_argument("--request-required-acks", metavar="ACKS", help="all, -1, 0 or 1; all if not given")
    parser.add_argument("--max-block-ms", type=int, metavar="MS", help="how long to wait for the cluster")
    parser.add_argument("--reader-property", action="append", metavar="KEY=VALUE", help=_READER_HELP)
    parser.add_argument("--property", action="append", metavar="KEY=VALUE", help="old name of --reader-property")
    parser.add_argument("--reader-config", metavar="FILE", help="properties file with settings of the line reader")
    parser.add_argument("--line-reader", default="", metavar="CLASS", help="only the default, which reads lines")
    parser.add_argument("--command-property", action="append", metavar="KEY=VALUE", help="a setting of the client")
    parser.add_argument("--producer-property", action="append", metavar="KEY=VALUE", help="old name of the same")
    parser.add_argument("--producer.config", dest="producer_config", metavar="FILE", help="old: --command-config")
    for name in _WITHOUT_MEANING:
        parser.add_argument(f"--{name}", type=int, metavar="NUMBER", help="taken and ignored")
    if not arguments:
        parser.usage_error(ABOUT)
    options = parser.parse(arguments)
    handle_help(parser, options, ABOUT)
    parser.require(options, "topic")
    if options.bootstrap_server is None:
        parser.usage_error("Error while validating the bootstrap address\n")
    try:
        options.bootstrap = parse_bootstrap(options.bootstrap_server)
    except ToolError:
        parser.usage_error("Please provide valid host:port like host1:9091,host2:9092\n")
    moved_option(parser, options, "reader-property", "property", "Warning:")
    moved_option(parser, options, "command-property", "producer-property", "Warning:")
    moved_option(parser, options, "command-config", "producer.config", "Warning:")
    if options.line_reader not in READER_CLASSES:
        fail(f"{options.line_reader} cannot be loaded here: only LineMessageReader is offered")
    return options


_READER_HELP = (
    "how lines are read: parse.key=false, key.separator=tab, parse.headers=false, headers.delimiter=tab, "
    "headers.separator=comma, headers.key.separator=colon, null.marker, ignore.error=false"
)


class Settings(Struct, frozen=True):
    acks: int
    codec: str
    is_idempotent: bool
    is_sync: bool


def _producer_settings(options: Namespace, properties: dict[str, str]) -> Settings:
    codec = options.compression_codec or properties.get("compression.type", "none")
    if codec not in CODECS:
        raise ToolError(
            f"Invalid value {codec} for configuration compression.type: String must be one of: {', '.join(CODECS)}"
        )
    acks = options.request_required_acks or properties.get("acks", "-1")
    if acks not in ("all", "-1", "0", "1"):
        raise ToolError(f"Invalid value {acks} for configuration acks: String must be one of: all, -1, 0, 1")
    number = -1 if acks == "all" else int(acks)
    is_idempotent = properties.get("enable.idempotence", "true").strip().lower() == "true"
    int_property(properties, "request.timeout.ms", 0)
    return Settings(number, codec, is_idempotent and number == -1, options.sync)


# ---- lines


class Line(Struct, frozen=True):
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class LineReader(Struct, frozen=True):
    """How a line becomes a record. Pure."""

    has_key: bool = False
    key_separator: bytes = b"\t"
    has_headers: bool = False
    headers_delimiter: bytes = b"\t"
    headers_separator: bytes = b","
    headers_key_separator: bytes = b":"
    null_marker: bytes | None = None
    ignores_errors: bool = False

    @staticmethod
    def of(properties: dict[str, str]) -> LineReader:
        """The reader of these properties; ToolError when two of its marks are the same."""

        def text(name: str, default: str) -> bytes:
            return properties.get(name, default).encode()

        def flag(name: str) -> bool:
            return properties.get(name, "").strip().lower() == "true"

        marks = {
            "key.separator": text("key.separator", "\t"),
            "headers.delimiter": text("headers.delimiter", "\t"),
            "headers.separator": text("headers.separator", ","),
            "headers.key.separator": text("headers.key.separator", ":"),
        }
        null_marker = text("null.marker", "") if "null.marker" in properties else None
        for name, mark in marks.items():
            if not mark and name != "key.separator":
                raise ToolError(f"{name} is empty")
            if mark == null_marker:
                raise ToolError(f"null.marker and {name} may not be equal")
        pairs = (("headers.delimiter", "headers.separator"), ("headers.delimiter", "headers.key.separator"),
                 ("headers.separator", "headers.key.separator"))  # fmt: skip
        for one, other in pairs:
            if marks[one] == marks[other]:
                raise ToolError(f"{one} and {other} may not be equal")
        return LineReader(
            flag("parse.key"), marks["key.separator"], flag("parse.headers"), marks["headers.delimiter"],
            marks["headers.separator"], marks["headers.key.separator"], null_marker, flag("ignore.error"),
        )  # fmt: skip

    def read(self, line: bytes, number: int) -> Line:
        headers, rest = self._cut(self.has_headers, line, self.headers_delimiter, "headers delimiter", line, number)
        key, value = self._cut(self.has_key, rest, self.key_separator, "key separator", line, number)
        return Line(
            None if key is None or key == self.null_marker else key,
            None if value == self.null_marker else value,
            () if headers is None or headers == self.null_marker else self._headers(headers, number),
        )

    def _cut(
        self, is_wanted: bool, text: bytes, mark: bytes, name: str, line: bytes, number: int
    ) -> tuple[bytes | None, bytes]:
        if not is_wanted:
            return None, text
        # KAFKA: an empty separator is found before the first letter.
        head, found, tail = text.partition(mark) if mark else (b"", True, text)
        if found:
            return head, tail
        if self.ignores_errors:
            return None, text
        raise ToolError(f"No {name} found on line number {number}: '{_shown(line)}'")

    def _headers(self, text: bytes, number: int) -> tuple[tuple[str, bytes | None], ...]:
        found: list[tuple[str, bytes | None]] = []
        for pair in text.split(self.headers_separator):
            name, mark, value = pair.partition(self.headers_key_separator)
            if not mark and not self.ignores_errors:
                raise ToolError(f"No header key separator found in pair '{_shown(pair)}' on line number {number}")
            if name == self.null_marker:
                shown = _shown(name)
                raise ToolError(f"Header keys should not be equal to the null marker '{shown}' as they can't be null")
            found.append((
                name.decode("utf-8", "surrogateescape"), None if not mark or value == self.null_marker else value
            ))  # fmt: skip
        return tuple(found)


def _shown(text: bytes) -> str:
    return text.decode("utf-8", "replace")


class LineSplitter:
    """Lines out of chunks; `\\n`, `\\r\\n` and `\\r` end one, wherever a chunk is cut."""

    __slots__ = ("_after_return", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._after_return = False

    def feed(self, chunk: bytes) -> list[bytes]:
        if self._after_return and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        if chunk:
            self._after_return = chunk.endswith(b"\r")
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return lines

    def end(self) -> list[bytes]:
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


def read_chunks(is_terminal: bool, read: Callable[[], bytes]) -> Iterator[list[bytes]]:
    """Lines in the portions in which they come, with a prompt before each on a terminal."""
    splitter = LineSplitter()
    while True:
        if is_terminal:
            print(">", end="", flush=True)
        chunk = read()
        if not chunk:
            yield splitter.end()
            return
        yield splitter.feed(chunk)


# ---- sending


class _Compressing:
    """A client whose batches are compressed on their way out, by the extension: it knows every codec, and is fast."""

    def __init__(self, client: Client, codec: str) -> None:
        self._client = client
        self._codec = CODECS.index(codec)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def produce(self, topic: str, partition: int, batch: bytes, **more: Any) -> Any:
        return await self._client.produce(topic, partition, compressed(batch, self._codec), **more)


def compressed(batch: bytes, codec: int) -> bytes:
    """The same records and the same producer, with another codec."""
    if codec == 0:
        return batch
    from pykafkacore._core import build_batch, parse_batches

    facts = parse_batches(batch)[0]
    return build_batch(
        [(timestamp, key, value, headers) for _, timestamp, key, value, headers in facts["records"]],
        codec=codec,
        producer_id=facts["producer_id"],
        producer_epoch=facts["producer_epoch"],
        base_sequence=facts["base_sequence"],
    )


async def _produce(client: Client, topic: str, reader: LineReader, settings: Settings) -> int:
    import os

    import trio

    from pykafkacore.client import open_producer

    chunks = read_chunks(sys.stdin.isatty(), lambda: os.read(0, CHUNK_BYTES))
    number = 0
    is_known = False
    compressing: Any = _Compressing(client, settings.codec)
    async with open_producer(
        compressing, acks=settings.acks, is_idempotent=settings.is_idempotent
    ) as producer:
        while True:
            lines = await trio.to_thread.run_sync(next, chunks, None, abandon_on_cancel=True)
            if lines is None:
                return 0
            for text in lines:
                number += 1
                try:
                    line = reader.read(text, number)
                except ToolError:
                    await _flush(producer, topic)
                    raise
                is_known = is_known or await _is_writable(client, topic)
                is_sent = is_known and await _send(producer, topic, line)
                if settings.is_sync and not (is_sent and await _flush(producer, topic)):
                    return 1
            await _flush(producer, topic)


async def _send(producer: Producer, topic: str, line: Line) -> bool:
    from pykafkacore.protocol.errors import ApiError

    try:
        await producer.send(topic, line.value, line.key, headers=line.headers)
    except ApiError as error:
        return _refused(topic, error)
    return True


async def _flush(producer: Producer, topic: str) -> bool:
    from pykafkacore.protocol.errors import ApiError

    try:
        await producer.flush()
    except ApiError as error:
        return _refused(topic, error)
    return True


def _refused(topic: str, error: Exception) -> bool:
    print(f"Error when sending message to topic {topic}: {error}", file=sys.stderr)
    return False


async def _is_writable(client: Client, topic: str) -> bool:
    """Waits for the topic's partitions, made by the cluster if it makes topics by itself."""
    from pykafkacore.protocol.errors import ApiError, Code

    async def attempt() -> None:
        found = (await client.refresh_metadata([topic], auto_create=True)).topics.get(topic)
        if found is None or not found.partitions:
            code = found.error if found and found.error is not Code.NONE else Code.UNKNOWN_TOPIC_OR_PARTITION
            raise ApiError(code, f"it cannot be written to ({code.name})")

    try:
        await client.retrying(attempt)
    except ApiError as error:
        return _refused(topic, error)
    return True
