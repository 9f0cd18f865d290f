"""Records on their way to the screen: from fetched batches to what Kafka's default formatter prints.

What it is: which records of a batch a consumer sees, and the bytes that are printed of one.
What it is not: reading (fetching.py) or options (console_consumer.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pykafkacore.tools.common import ToolError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence



class Shown(Struct, frozen=True):
    """A record on its way to the screen."""

    partition: int
    offset: int
    timestamp: int
    is_append_time: bool
    headers: Sequence[tuple[bytes, bytes | None]]
    key: bytes | None
    value: bytes | None


def _deserializer(name: str | None) -> Callable[[bytes], bytes]:
    """Bytes as they are, or as text of what a Java deserializer would make of them."""
    short = (name or "String").rpartition(".")[2].removesuffix("Deserializer")
    sizes = {"Long": 8, "Integer": 4, "Short": 2}
    if short in sizes:
        size = sizes[short]

        def number(data: bytes) -> bytes:
            if len(data) != size:
                raise ToolError(f"Size of data received by {short}Deserializer is not {size}")
            return str(int.from_bytes(data, "big", signed=True)).encode()

        return number
    if short in ("String", "ByteArray", "Bytes", "ByteBuffer", "UUID"):
        return lambda data: data
    raise ToolError(f"{name} cannot be loaded here: String, Long, Integer, Short, UUID and ByteArray are offered")


def formatter(settings: dict[str, str]) -> Callable[[Shown], bytes]:
    """Kafka's default formatter with these settings. KAFKA: the text for null is deserialized, like any other bytes."""

    def flag(name: str, default: str = "false") -> bool:
        return settings.get(name, default).strip().lower() == "true"

    def text(name: str, default: str) -> bytes:
        return settings.get(name, default).encode()

    separator, line_end = text("key.separator", "\t"), text("line.separator", "\n")
    headers_separator, null = text("headers.separator", ","), text("null.literal", "null")
    to_key, to_value, to_header = (
        _deserializer(settings.get(f"{kind}.deserializer")) for kind in ("key", "value", "headers")
    )

    def headers_of(record: Shown) -> bytes:
        if not record.headers:
            return b"NO_HEADERS"
        pairs = (name + b":" + to_header(null if value is None else value) for name, value in record.headers)
        return headers_separator.join(pairs)

    def timestamp_of(record: Shown) -> bytes:
        if record.timestamp < 0:
            return b"NO_TIMESTAMP"
        return b"%s:%d" % (b"LogAppendTime" if record.is_append_time else b"CreateTime", record.timestamp)

    parts: list[Callable[[Shown], bytes]] = []
    for name, part in (
        ("timestamp", timestamp_of),
        ("partition", lambda record: b"Partition:%d" % record.partition),
        ("offset", lambda record: b"Offset:%d" % record.offset),
        # Only share groups count deliveries.
        ("delivery", lambda record: b"Delivery:NOT_PRESENT"),
        # KAFKA: the leader epoch of a record does not get as far as here.
        ("epoch", lambda record: b"Epoch:NOT_PRESENT"),
        ("headers", headers_of),
        ("key", lambda record: to_key(null if record.key is None else record.key)),
        ("value", lambda record: to_value(null if record.value is None else record.value)),
    ):
        if flag(f"print.{name}", "true" if name == "value" else "false"):
            parts.append(part)

    def show(record: Shown) -> bytes:
        return separator.join([part(record) for part in parts]) + line_end

    return show


def visible_records(partition: int, found: Any, position: int, read_committed: bool) -> tuple[list[Shown], int]:
    """The records of a fetched partition from `position` on, and where to go on; ToolError for a damaged batch."""
    from pykafkacore._core import CoreError, parse_batches

    aborted = sorted((found.aborted_transactions or []) if read_committed else [], key=lambda one: one.first_offset)
    open_aborted: set[int] = set()
    shown: list[Shown] = []
    try:
        batches = parse_batches(found.records or b"")
    except CoreError as error:
        raise ToolError(f"partition {partition}: what follows offset {position} cannot be read: {error}") from None
    for batch in batches:
        if not batch["crc_is_valid"]:
            raise ToolError(f"partition {partition}: the batch at offset {batch['base_offset']} has a wrong CRC")
        while aborted and aborted[0].first_offset <= batch["last_offset"]:
            open_aborted.add(aborted.pop(0).producer_id)
        next_position = batch["last_offset"] + 1
        if batch["is_control"]:
            # An abort marker ends what was aborted; a commit marker of that producer cannot come before it.
            open_aborted.discard(batch["producer_id"])
        elif not (batch["is_transactional"] and batch["producer_id"] in open_aborted):
            shown += [
                Shown(partition, offset, timestamp, batch["log_append_time"], headers, key, value)
                for offset, timestamp, key, value, headers in batch["records"]
                if offset >= position
            ]
        position = max(position, next_position)
    return shown, position
