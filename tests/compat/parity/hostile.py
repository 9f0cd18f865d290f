"""Requests that a codec would refuse to write: trees of plain values, encoded by the schema, right or wrong.

What it is: an encoder that puts null where null is not allowed, counts that are not so, lengths below zero; and the
mutations of a good request that are made by its schema alone.
What it is not: a judge. Which answer is right, the two brokers say.
A tree is a dict of field names; what it leaves out takes its default. A value may be a function of the site that the
request goes to, because topic ids and the like differ from broker to broker.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pykafkacore.protocol.apis import api
from pykafkacore.protocol.notation import FieldSpec, StructSpec
from pykafkacore.protocol.types import encode_uvarint

FIXED = {
    "bool": ">?", "int8": ">b", "int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "int64": ">q",
    "float64": ">d", "uuid": "16s",
}  # fmt: skip
INT_MAX = {"int8": 2**7 - 1, "int16": 2**15 - 1, "int32": 2**31 - 1, "int64": 2**63 - 1}
UNKNOWN_ID = b"\x11" * 16
CLIENT_ID = "parity"


@dataclass(frozen=True)
class Length:
    """A length or count with nothing after it."""

    length: int


def _length(value: int, compact: bool, width: str) -> bytes:
    if compact:
        return encode_uvarint((value + 1) & 0xFFFFFFFF)
    return struct.pack(width, value)


class Encoder:
    """Writes one tree at one version, for one site."""

    def __init__(self, site: Any, version: int, flexible: bool) -> None:
        self.site, self.version, self.flexible = site, version, flexible

    def struct(self, spec: StructSpec, tree: dict[str, Any]) -> bytes:
        out, tags = [], []
        for field in spec.fields:
            if not field.present(self.version):
                continue
            if field.tag is not None and self.flexible:
                if field.name in tree:
                    data = self.field(field, tree[field.name])
                    tags.append(encode_uvarint(field.tag) + encode_uvarint(len(data)) + data)
                continue
            out.append(self.field(field, tree.get(field.name, _default(field))))
        if self.flexible:
            out += [encode_uvarint(len(tags)), *tags]
        return b"".join(out)

    def field(self, field: FieldSpec, value: Any) -> bytes:
        if callable(value):
            value = value(self.site)
        compact = self.flexible and not field.plain
        if not field.is_array:
            return self.element(field, value, compact)
        if value is None or isinstance(value, Length):
            return _length(-1 if value is None else value.length, compact, ">i")
        return _length(len(value), compact, ">i") + b"".join(self.element(field, each, compact) for each in value)

    def element(self, field: FieldSpec, value: Any, compact: bool) -> bytes:
        if callable(value):
            value = value(self.site)
        if field.struct is not None:
            if field.null_allowed(self.version) and not field.is_array:
                return b"\xff" if value is None else b"\x01" + self.struct(field.struct, value)
            return self.struct(field.struct, value)
        if field.type in FIXED:
            return struct.pack(FIXED[field.type], value)
        width = ">h" if field.type == "string" else ">i"
        if value is None or isinstance(value, Length):
            return _length(-1 if value is None else value.length, compact, width)
        data = value.encode() if isinstance(value, str) else value
        return _length(len(data), compact, width) + data


def _default(field: FieldSpec) -> Any:
    if field.default == "fresh" or field.is_fresh:
        return [] if field.is_array else {} if field.struct is not None else _zero(field)
    return field.default


def _zero(field: FieldSpec) -> Any:
    zeros: dict[str, Any] = {"string": "", "bytes": b"", "records": b"", "uuid": bytes(16)}
    return zeros.get(field.type, 0)


def body_of(name: str, version: int, tree: dict[str, Any], site: Any) -> bytes:
    message = api(name).request
    return Encoder(site, version, message.is_flexible(version)).struct(message.root, tree)


def header_of(
    name: str, version: int, client_id: bytes | None = CLIENT_ID.encode(), length: int | None = None
) -> bytes:
    """`length` instead of the true one, for client ids that lie."""
    row = api(name)
    told = length if length is not None else -1 if client_id is None else len(client_id)
    tags = b"\0" if row.request_header_version(version) == 2 else b""
    return struct.pack(">hhih", row.key, version, 7, told) + (client_id or b"") + tags


def framed(data: bytes) -> bytes:
    return struct.pack(">i", len(data)) + data


# --- mutations ------------------------------------------------------------------------------------------------------------

# Fields whose largest value asks the broker to wait, or to work for very long.
PATIENCE = {"max_wait_ms", "timeout_ms", "rebalance_timeout_ms", "session_timeout_ms"}
# Not spoilt by rule: what Apache Kafka's controller does not survive (see cases.last).
SPARED = {"config_operation"}


def mutations(name: str, version: int, tree: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(what was done, the changed tree) for each way that the schema offers to spoil one value."""
    yield from _of_struct(api(name).request.root, version, tree, "", lambda changed: changed)


Rebuild = Callable[[dict[str, Any]], dict[str, Any]]


def _of_struct(
    spec: StructSpec, version: int, tree: dict[str, Any], path: str, rebuild: Rebuild
) -> Iterator[tuple[str, dict[str, Any]]]:
    for field in spec.fields:
        if not field.present(version) or (field.tag is not None and field.name not in tree):
            continue
        if field.name in SPARED:
            continue
        place = f"{path}{field.name}"
        value = tree.get(field.name, _default(field))

        def put(changed: Any, key: str = field.name) -> dict[str, Any]:
            return rebuild({**tree, key: changed})

        for told, changed in _of_value(field, value, version):
            yield f"{place} {told}", put(changed)
        if field.struct is None or not value or callable(value):
            continue
        if field.is_array:
            inner: Rebuild = lambda changed, put=put, value=value: put([changed, *value[1:]])  # noqa: E731
            yield from _of_struct(field.struct, version, value[0], f"{place}.", inner)
        else:
            yield from _of_struct(field.struct, version, value, f"{place}.", put)


def _of_value(field: FieldSpec, value: Any, version: int) -> Iterator[tuple[str, Any]]:
    if field.is_array:
        if value:
            yield "empty", []
            yield "twice", [*value, value[0]]
        yield "null", None
        yield "of length -2", Length(-2)
        yield "longer than the request", Length(2**31 - 1)
    elif field.struct is not None:
        if field.null_allowed(version) and value is not None:
            yield "null", None
    elif field.type == "string":
        if value != "":
            yield "empty", ""
        yield "null", None
        yield "of length -2", Length(-2)
        yield "longer than the request", Length(2**15 - 1)
    elif field.type in ("bytes", "records"):
        yield "empty", b""
        yield "null", None
        yield "of length -2", Length(-2)
        yield "longer than the request", Length(2**31 - 1)
    elif field.type == "uuid":
        if value != bytes(16):
            yield "zero", bytes(16)
        yield "unknown", UNKNOWN_ID
    elif field.type in INT_MAX:
        for told, changed in (("-1", -1), ("-2", -2), ("0", 0), ("largest", INT_MAX[field.type])):
            if (
                changed != value
                and not (told == "largest" and field.name in PATIENCE)
                and (field.name, told) != ("acks", "0")
            ):
                yield told, changed
    elif field.type == "bool":
        yield ("false" if value else "true"), not value
