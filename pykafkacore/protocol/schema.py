"""Messages declared as indented text, and the objects that decode and encode them.

What it is: the parser of our schema notation and `Message`, the one handle on a message in all of its versions.
What it is not: the generated readers and writers, which compile.py makes when a version is first used.

The notation, one field a line, nesting by indentation:

    name   type   [versions] [nullable[=versions]] [tag=N] [default=X] [ignorable] [plain]

`versions` is `3`, `1-4` or `5+`; left out, the field stands wherever its parent stands. A type is a primitive, the name
of a struct, or `[]` and one of these. A struct is defined by the lines nested under its first use; later uses name it
only. `nullable` without versions means in all of them. `plain` keeps the old length prefix in flexible versions.

INVARIANT: nothing is parsed or compiled before it is needed; declaring a message costs one small object.
Sources: Kafka's protocol guide; KIP-482 (flexible versions).
"""

from __future__ import annotations

from struct import error as _struct_error
from typing import TYPE_CHECKING, Any

from pykafkacore.protocol.types import MalformedMessage, UnencodableMessage

if TYPE_CHECKING:
    from collections.abc import Callable

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


class Message:
    """A message in all of its versions: `decode`, `encode`, and the struct classes as attributes.

    Calling it makes the root struct; nested struct classes are reached by their type name.
    """

    __slots__ = (
        "__dict__", "_classes", "_readers", "_root", "_writers", "api_key", "flexible_from", "name", "text", "versions",
    )  # fmt: skip

    def __init__(
        self, name: str, *, versions: str, fields: str, flexible: str = "none", api_key: int | None = None
    ) -> None:
        self.name = name
        self.api_key = api_key
        self.versions = parse_versions(versions)
        self.flexible_from = VERSION_MAX + 1 if flexible == "none" else parse_versions(flexible)[0]
        self.text = fields
        self._root: StructSpec | None = None
        self._classes: dict[str, type] | None = None
        self._readers: dict[int, Callable[..., Any]] = {}
        self._writers: dict[int, Callable[..., bytes]] = {}

    def __repr__(self) -> str:
        return f"<Message {self.name} v{self.versions[0]}-{self.versions[1]}>"

    @property
    def root(self) -> StructSpec:
        """The parsed schema."""
        if self._root is None:
            self._root = parse_fields(self.name, self.text)
        return self._root

    @property
    def struct(self) -> type:
        """The class of the root struct."""
        return self._make_classes()[self.name]

    def is_flexible(self, version: int) -> bool:
        return version >= self.flexible_from

    def __call__(self, **fields: Any) -> Any:
        classes = self._classes or self._make_classes()
        return classes[self.name](**fields)

    def __getattr__(self, name: str) -> type:
        # Reached only for names that are not slots: the struct classes, and each of them once.
        if name[:1] != "_":
            found = self._make_classes().get(name)
            if found is not None:
                self.__dict__[name] = found
                return found
        raise AttributeError(f"message {self.name} has no struct {name}")

    def decode(self, data: bytes | bytearray | memoryview, version: int) -> Any:
        """The struct that `data` starts with; bytes after it are tolerated, as Kafka does."""
        return self.decode_from(data, 0, version)[0]

    def decode_from(self, data: bytes | bytearray | memoryview, position: int, version: int) -> tuple[Any, int]:
        """The struct at `position` and the position after it."""
        read = self._readers.get(version) or self._make_reader(version)
        try:
            found: tuple[Any, int] = read(data, position)
            return found
        except MalformedMessage as error:
            raise MalformedMessage(f"{self.name} v{version}: {error}") from None
        except (IndexError, _struct_error):
            raise MalformedMessage(f"{self.name} v{version}: ends too early at {len(data)} bytes") from None

    def encode(self, struct: Any, version: int) -> bytes:
        """The bytes of `struct` at `version`; a value which that version cannot carry is an error."""
        write = self._writers.get(version) or self._make_writer(version)
        try:
            return write(struct)
        except UnencodableMessage as error:
            raise UnencodableMessage(f"{self.name} v{version}: {error}") from None
        except (_struct_error, TypeError, AttributeError, UnicodeEncodeError) as error:
            raise UnencodableMessage(f"{self.name} v{version}: {error} in {struct!r:.400}") from error

    def _make_classes(self) -> dict[str, type]:
        if self._classes is None:
            from pykafkacore.protocol.compile import make_classes

            self._classes = make_classes(self.root)
        return self._classes

    def _check_version(self, version: int) -> None:
        low, high = self.versions
        if not low <= version <= high:
            raise ValueError(f"{self.name} has versions {low}-{high}, not {version}")

    def _make_reader(self, version: int) -> Callable[..., Any]:
        from pykafkacore.protocol.compile import make_reader

        self._check_version(version)
        read = make_reader(self.root, self._make_classes(), version, self.is_flexible(version))
        self._readers[version] = read
        return read

    def _make_writer(self, version: int) -> Callable[..., bytes]:
        from pykafkacore.protocol.compile import make_writer

        self._check_version(version)
        write = make_writer(self.root, self._make_classes(), version, self.is_flexible(version))
        self._writers[version] = write
        return write


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
