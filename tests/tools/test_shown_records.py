"""Which records of a fetched partition a consumer shows, and how."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pykafkacore._core import build_batch

from pykafkacore.tools.common import ToolError
from pykafkacore.tools.shown_records import Shown, formatter, visible_records

RECORD = Shown(2, 7, 1000, False, [(b"h", b"1"), (b"i", None)], b"k", b"v")
BARE = Shown(0, 0, -1, True, [], None, None)


def shown(record: Shown, **settings: str) -> bytes:
    return formatter({key.replace("_", "."): value for key, value in settings.items()})(record)


def test_values_are_shown_and_nothing_else_unless_asked_for() -> None:
    assert shown(RECORD) == b"v\n"
    assert shown(RECORD, print_key="true", print_value="false") == b"k\n"


def test_everything_is_shown_in_kafkas_order() -> None:
    names = ("timestamp", "partition", "offset", "delivery", "epoch", "headers", "key")
    settings = {f"print_{name}": "true" for name in names}
    assert shown(RECORD, **settings) == (
        b"CreateTime:1000\tPartition:2\tOffset:7\tDelivery:NOT_PRESENT\tEpoch:NOT_PRESENT\th:1,i:null\tk\tv\n"
    )
    assert shown(BARE, **settings) == (
        b"NO_TIMESTAMP\tPartition:0\tOffset:0\tDelivery:NOT_PRESENT\tEpoch:NOT_PRESENT\tNO_HEADERS\tnull\tnull\n"
    )


def test_separators_and_the_text_for_null_can_be_chosen() -> None:
    settings = {"print_key": "true", "key_separator": "|", "line_separator": ";", "null_literal": "-"}
    assert shown(BARE, **settings) == b"-|-;"
    assert shown(RECORD, print_headers="true", headers_separator=" ", null_literal="-") == b"h:1 i:-\tv\n"


def test_numbers_are_deserialized() -> None:
    record = Shown(0, 0, 0, False, [], (258).to_bytes(8, "big"), (-5).to_bytes(4, "big", signed=True))
    settings = {
        "print_key": "true", "key_deserializer": "org.apache.kafka.common.serialization.LongDeserializer",
        "value_deserializer": "IntegerDeserializer",
    }  # fmt: skip
    assert shown(record, **settings) == b"258\t-5\n"
    with pytest.raises(ToolError, match="Size of data received by LongDeserializer is not 8"):
        shown(RECORD, **settings)
    with pytest.raises(ToolError, match="cannot be loaded here"):
        formatter({"value.deserializer": "my.Deserializer"})


def found(*batches: bytes, aborted: list[tuple[int, int]] | None = None) -> SimpleNamespace:
    rows = [SimpleNamespace(producer_id=producer, first_offset=first) for producer, first in aborted or []]
    return SimpleNamespace(records=b"".join(batches), aborted_transactions=rows)


def batch(offset: int, *values: bytes, **more: object) -> bytes:
    return build_batch([(0, None, value, []) for value in values], base_offset=offset, **more)  # type: ignore[arg-type]


def marker(offset: int, producer_id: int, kind: int) -> bytes:
    records = [(0, b"\0\0" + kind.to_bytes(2, "big"), bytes(6), [])]
    producer = {"producer_id": producer_id, "producer_epoch": 0}
    return build_batch(records, base_offset=offset, control=True, transactional=True, **producer)


def values_of(fetched: SimpleNamespace, position: int, read_committed: bool = False) -> tuple[list[bytes | None], int]:
    records, after = visible_records(0, fetched, position, read_committed)
    return [record.value for record in records], after


def test_records_before_the_position_are_left_out() -> None:
    assert values_of(found(batch(0, b"a", b"b", b"c")), 1) == ([b"b", b"c"], 3)
    assert values_of(found(), 5) == ([], 5)


def test_markers_are_not_records() -> None:
    assert values_of(found(batch(0, b"a"), marker(1, 7, 1)), 0) == ([b"a"], 2)


def test_what_was_aborted_is_shown_to_those_who_read_uncommitted_only() -> None:
    transactional = {"transactional": True, "producer_id": 7, "producer_epoch": 0}
    fetched = found(
        batch(0, b"bad", base_sequence=0, **transactional), batch(1, b"other"), marker(2, 7, 0),
        batch(3, b"good", base_sequence=1, **transactional), marker(4, 7, 1), aborted=[(7, 0)],
    )  # fmt: skip
    assert values_of(fetched, 0, read_committed=True) == ([b"other", b"good"], 5)
    assert values_of(fetched, 0) == ([b"bad", b"other", b"good"], 5)


def test_a_wrong_crc_is_refused() -> None:
    data = bytearray(batch(0, b"a"))
    data[-2] ^= 1
    with pytest.raises(ToolError, match="the batch at offset 0 has a wrong CRC"):
        visible_records(0, found(bytes(data)), 0, False)


def test_records_that_cannot_be_read_are_an_error_with_their_place() -> None:
    data = bytearray(batch(0, b"a"))
    data[-1] ^= 1
    with pytest.raises(ToolError, match="partition 3: what follows offset 0 cannot be read"):
        visible_records(3, found(bytes(data)), 0, False)
