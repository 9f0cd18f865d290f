"""All messages of the protocol package, and random values for any of them."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from hypothesis import strategies as st

from pykafkacore.protocol import headers, schemas
from pykafkacore.protocol.notation import FieldSpec, StructSpec
from pykafkacore.protocol.schema import Message

INTEGER_BITS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64}


@cache
def all_messages() -> dict[str, Message]:
    found: dict[str, Message] = {}
    modules = [import_module(f"{schemas.__name__}.{info.name}") for info in iter_modules(schemas.__path__)]
    for module in [headers, *modules]:
        for value in vars(module).values():
            if isinstance(value, Message):
                assert found.setdefault(value.name, value) is value, f"{value.name} is declared twice"
    return found


def message_versions() -> list[tuple[Message, int]]:
    return [
        (message, version)
        for message in all_messages().values()
        for version in range(message.versions[0], message.versions[1] + 1)
    ]


@cache
def structs(message: Message, version: int) -> st.SearchStrategy[Any]:
    """Any struct that the message can carry at this version."""
    return _struct(message, message.root, version)


def _struct(message: Message, spec: StructSpec, version: int) -> st.SearchStrategy[Any]:
    cls = message.struct if spec is message.root else getattr(message, spec.name)
    fields = {field.name: _field(message, field, version) for field in spec.fields if field.present(version)}
    return st.builds(cls, **fields)


def _field(message: Message, field: FieldSpec, version: int) -> st.SearchStrategy[Any]:
    value = _struct(message, field.struct, version) if field.struct else _primitive(field.type)
    if field.is_array:
        value = st.lists(value, max_size=3)
    if field.null_allowed(version):
        return st.none() | value
    return value


def _primitive(kind: str) -> st.SearchStrategy[Any]:
    if kind in INTEGER_BITS:
        bound = 1 << (INTEGER_BITS[kind] - 1)
        return st.integers(-bound, bound - 1)
    if kind in ("uint16", "uint32"):
        return st.integers(0, (1 << int(kind[4:])) - 1)
    return {
        "bool": st.booleans(),
        "float64": st.floats(allow_nan=False),
        "string": st.text(max_size=20),
        "bytes": st.binary(max_size=200),
        "records": st.binary(max_size=200),
        "uuid": st.binary(min_size=16, max_size=16),
    }[kind]
