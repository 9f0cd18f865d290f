"""The notation in which messages are declared, and what a text in it comes to: structs of fields.

One field a line, nesting by indentation:

    name   type   [versions] [nullable[=versions]] [tag=N] [default=X] [ignorable] [plain]

`versions` is `3`, `1-4` or `5+`; left out, the field stands wherever its parent stands. A type is a primitive, the name
of a struct, or `[]` and one of these. A struct is defined by the lines nested under its first use; later uses name it
only. `nullable` without versions means in all of them. `plain` keeps the old length prefix in flexible versions.
"""

from __future__ import annotations

from typing import Any

Versions = tuple[int, int]  # inclusive; an open end is VERSION_MAX
VERSION_MAX = 32767
ALL_VERSIONS: Versions = (0, VERSION_MAX)

PRIMITIVES = frozenset(
    ["bool", "int8", "int16", "uint16", "int32", "uint32", "int64", "float64", "string", "bytes", "records", "uuid"]
)


class SchemaError(Exception):
    """A schema text that does not follow the notation: always a bug in a table of ours."""


class StructSpec:
    """A struct type: its name and its fields in wire order."""

    __slots__ = ("fields", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.fields: list[FieldSpec] = []


class FieldSpec:
    """One field in all versions. `default` is None for null; empty lists and fresh structs are made at use."""

    __slots__ = ("default", "ignorable", "is_array", "name", "nullable", "plain", "struct", "tag", "type", "versions")

    def __init__(self, name: str, type_name: str, is_array: bool) -> None:
        self.name = name
        self.type = type_name
        self.is_array = is_array
        self.versions: Versions = ALL_VERSIONS
        self.nullable: Versions | None = None
        self.tag: int | None = None
        self.default: Any = "fresh"
        self.ignorable = False
        self.plain = False
        self.struct: StructSpec | None = None

    def present(self, version: int) -> bool:
        return self.versions[0] <= version <= self.versions[1]

    def null_allowed(self, version: int) -> bool:
        return self.nullable is not None and self.nullable[0] <= version <= self.nullable[1]

    @property
    def is_fresh(self) -> bool:
        """Whether the default must be made anew for every struct: a list, or a struct that is not null."""
        return self.default is not None and (self.is_array or self.struct is not None)


def parse_versions(text: str) -> Versions:
    """`3`, `1-4` or `5+` as an inclusive pair."""
    low, dash, high = text.partition("-")
    try:
        if dash:
            pair = int(low), int(high)
        elif text.endswith("+"):
            pair = int(text[:-1]), VERSION_MAX
        else:
            pair = int(text), int(text)
    except ValueError:
        raise SchemaError(f"{text!r} is not a version range such as 3, 1-4 or 5+") from None
    if not 0 <= pair[0] <= pair[1]:
        raise SchemaError(f"{text!r} is an empty version range")
    return pair


def parse_fields(name: str, text: str) -> StructSpec:
    """Parse the notation. Indentation only has to be consistent, not a fixed width."""
    root = StructSpec(name)
    structs: dict[str, StructSpec] = {}
    open_structs: list[tuple[int, StructSpec]] = [(-1, root)]
    deepest = VERSION_MAX  # how far the next line may be indented: deeper only right after a struct's first use
    for line in text.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        indent = len(line) - len(line.lstrip())
        while indent <= open_structs[-1][0]:
            open_structs.pop()
        owner = open_structs[-1][1]
        if indent > deepest:
            raise SchemaError(f"{name}: {line.strip()!r} is nested under a field that opens no struct")
        deepest = indent
        if len(words) < 2:
            raise SchemaError(f"{name}: {line.strip()!r} has no type")
        field = _parse_field(name, words)
        if field.type not in PRIMITIVES:
            known = structs.get(field.type)
            if known is None:
                known = structs[field.type] = StructSpec(field.type)
                # Deeper lines that follow belong to this struct.
                open_structs.append((indent, known))
                deepest = VERSION_MAX
            field.struct = known
        if any(other.name == field.name for other in owner.fields):
            raise SchemaError(f"{name}: {owner.name} has the field {field.name} twice")
        owner.fields.append(field)
    for spec in structs.values():
        if not spec.fields:
            raise SchemaError(f"{name}: struct {spec.name} has no fields")
    return root


def _parse_field(message: str, words: list[str]) -> FieldSpec:
    type_name = words[1]
    is_array = type_name.startswith("[]")
    field = FieldSpec(words[0], type_name[2:] if is_array else type_name, is_array)
    default: str | None = None
    for word in words[2:]:
        key, _, value = word.partition("=")
        if key == "nullable":
            field.nullable = parse_versions(value) if value else ALL_VERSIONS
        elif key == "tag":
            field.tag = int(value)
        elif key == "default":
            default = value
        elif key == "ignorable":
            field.ignorable = True
        elif key == "plain":
            field.plain = True
        elif word[0].isdigit():
            field.versions = parse_versions(word)
        else:
            raise SchemaError(f"{message}: field {field.name} has the unknown word {word!r}")
    field.default = _default_of(message, field, default)
    return field


def _default_of(message: str, field: FieldSpec, text: str | None) -> Any:
    kind = field.type
    if text == "null":
        if field.nullable is None:
            raise SchemaError(f"{message}: field {field.name} defaults to null but is not nullable")
        return None
    if field.is_array or kind not in PRIMITIVES:
        if text is not None:
            raise SchemaError(f"{message}: field {field.name} of type {kind} cannot default to {text!r}")
        return "fresh"
    if kind == "string":
        return text or ""
    if kind == "bool":
        return text == "true"
    if kind == "float64":
        return float(text or 0)
    if kind == "bytes":
        return b""
    if kind == "records":
        return None
    if kind == "uuid":
        return bytes(16)
    return int(text or "0", 0)
