"""Straight-line readers and writers, generated as Python source per (message, version) and compiled at first use.

What it is: the only place that knows how schema types lie on the wire, flexible and not.
What it is not: an interpreter of schemas; nothing here runs per message once a version is compiled.

How it gets its speed: adjacent fields of fixed size, together with the length prefix of the field that follows them,
are read and written by one precompiled `struct.Struct`; loops are inlined; structs are filled without their
constructors.
INVARIANT: a reader raises only MalformedMessage, IndexError or struct.error (Message turns the last two into the
first), and makes no list longer than the bytes left can justify.
KAFKA: measured on 4.4: a boolean is any byte, a negative length is null where null is allowed, invalid UTF-8 is kept
(surrogateescape round-trips it), tags may repeat or fall, a known tag may hold surplus bytes.
"""

from __future__ import annotations

from functools import cache
from struct import Struct as ByteLayout
from struct import pack, unpack_from
from typing import TYPE_CHECKING, Any

from pykafkacore.protocol.types import (
    ARRAY_ELEMENTS_MAX,
    MESSAGE_STRUCTS_MAX,
    TAGGED_FIELDS_MAX,
    Encoded,
    MalformedMessage,
    UnencodableMessage,
    continue_uvarint,
    encode_uvarint,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykafkacore.protocol.notation import FieldSpec, StructSpec

# type: (struct format, size in bytes)
FIXED = {
    "bool": ("?", 1),
    "int8": ("b", 1),
    "int16": ("h", 2),
    "uint16": ("H", 2),
    "int32": ("i", 4),
    "uint32": ("I", 4),
    "int64": ("q", 8),
    "float64": ("d", 8),
    "uuid": ("16s", 16),
}
FRESH: Any = object()  # stands for "make a new list or struct" in constructors


@cache
def _layout(text: str) -> ByteLayout:
    """One object for each, so that generated code names it once."""
    return ByteLayout(text)


class Struct:
    """Base of all generated struct classes: comparison, representation, copying."""

    __slots__: tuple[str, ...] = ()
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"

    def replace(self, **changes: Any) -> Any:
        """A shallow copy with some fields changed."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        fields.update(changes)
        return type(self)(**fields)


# ---- errors and slow paths that generated code calls


def _bad_length(field: str) -> MalformedMessage:
    return MalformedMessage(f"{field} has a length that is negative or longer than the message")


def _bad_count(field: str, count: int) -> MalformedMessage:
    return MalformedMessage(f"{field} claims {count} elements, which the message cannot hold or which are too many")


def _bad_tags(struct: str) -> MalformedMessage:
    return MalformedMessage(f"{struct} has malformed tagged fields")


def _absent(field: str) -> UnencodableMessage:
    return UnencodableMessage(f"{field} has a value but does not exist in this version")


def _skip_tags(buf: bytes | memoryview, pos: int, count: int, end: int) -> int:
    """Step over a tag section none of whose tags is known. `count` is the first byte of the section, already read."""
    if count > 127:
        count, pos = continue_uvarint(buf, pos, count)
    if count > TAGGED_FIELDS_MAX:
        raise _bad_tags("the message")
    for _ in range(count):
        for _ in (0, 1):  # the tag, then the size
            size = buf[pos]
            pos += 1
            if size > 127:
                size, pos = continue_uvarint(buf, pos, size)
        pos += size
        if pos > end:
            raise _bad_tags("the message")
    return pos


_GLOBALS: dict[str, Any] = {
    "FRESH": FRESH,
    "Struct": Struct,
    "Encoded": Encoded,
    "new": object.__new__,
    "unpack_from": unpack_from,
    "pack": pack,
    "join": b"".join,
    "more": continue_uvarint,
    "uvarint": encode_uvarint,
    "UV": [bytes((value,)) for value in range(128)],
    "bad_length": _bad_length,
    "bad_count": _bad_count,
    "bad_tags": _bad_tags,
    "absent": _absent,
    "skip_tags": _skip_tags,
}


# ---- struct classes


def all_structs(root: StructSpec) -> list[StructSpec]:
    """Every struct of a message, inner ones first."""
    found: list[StructSpec] = []

    def visit(spec: StructSpec) -> None:
        for field in spec.fields:
            if field.struct is not None:
                visit(field.struct)
        if spec not in found:
            found.append(spec)

    visit(root)
    return found


def make_classes(root: StructSpec) -> dict[str, type]:
    """One slotted class per struct of the message, with a keyword-only constructor."""
    lines: list[str] = []
    for spec in all_structs(root):
        names = [field.name for field in spec.fields]
        lines.append(f"class {spec.name}(Struct):")
        lines.append(f" __slots__ = {tuple(names)!r}")
        defaults = [f"{field.name}={'FRESH' if field.is_fresh else repr(field.default)}" for field in spec.fields]
        lines.append(f" def __init__(self{', *, ' if defaults else ''}{', '.join(defaults)}):")
        for field in spec.fields:
            if field.is_fresh:
                lines.append(f"  self.{field.name} = {_fresh(field)} if {field.name} is FRESH else {field.name}")
            else:
                lines.append(f"  self.{field.name} = {field.name}")
        if not spec.fields:
            lines.append("  pass")
    namespace = dict(_GLOBALS)
    namespace["__name__"] = __name__
    exec(compile("\n".join(lines), f"<classes of {root.name}>", "exec"), namespace)
    classes = {spec.name: namespace[spec.name] for spec in all_structs(root)}
    for name, cls in classes.items():
        if name != root.name:
            cls.__qualname__ = f"{root.name}.{name}"
    return classes


def _fresh(field: FieldSpec) -> str:
    return "[]" if field.is_array or field.struct is None else f"{field.struct.name}()"


# ---- what readers and writers share


def min_bytes(spec: StructSpec, version: int, flexible: bool) -> int:
    """The least number of bytes that a struct takes at a version."""
    total = 1 if flexible else 0
    for field in spec.fields:
        if not field.present(version) or field.tag is not None:
            continue
        if field.is_array:
            total += 1 if flexible else 4
        elif field.struct is not None:
            total += 1 if field.null_allowed(version) else min_bytes(field.struct, version, flexible)
        elif field.type in FIXED:
            total += FIXED[field.type][1]
        elif flexible and not field.plain:
            total += 1
        else:
            total += 2 if field.type == "string" else 4
    return total


class _Source:
    """Source under construction: indentation, unique names, and the pending group of fixed fields."""

    def __init__(self, version: int, flexible: bool) -> None:
        self.version = version
        self.flexible = flexible
        self.lines: list[str] = []
        self.indent = 1
        self.names = 0
        self.constants: dict[str, Any] = {}
        self.formats: list[str] = []
        self.values: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(" " * self.indent + text)

    def name(self, prefix: str) -> str:
        self.names += 1
        return f"{prefix}{self.names}"

    def group(self, code: str, value: str | None) -> None:
        self.formats.append(code)
        if value is not None:
            self.values.append(value)

    def take_group(self) -> tuple[str, list[str], int] | None:
        """The pending group as (format, values, size in bytes)."""
        if not self.formats:
            return None
        layout = ">" + "".join(self.formats)
        values = self.values
        self.formats, self.values = [], []
        return layout, values, _layout(layout).size

    def constant(self, prefix: str, value: Any) -> str:
        for name, known in self.constants.items():
            if known is value or (type(known) is type(value) and known == value):
                return name
        name = f"{prefix}{len(self.constants)}"
        self.constants[name] = value
        return name

    def build(self, header: str, function: str, title: str, classes: dict[str, type]) -> Callable[..., Any]:
        namespace = dict(_GLOBALS)
        namespace.update({f"C_{name}": cls for name, cls in classes.items()})
        namespace.update(self.constants)
        source = header + "\n" + "\n".join(self.lines)
        exec(compile(source, f"<{title} v{self.version}>", "exec"), namespace)
        built: Callable[..., Any] = namespace[function]
        return built

    def is_compact(self, field: FieldSpec) -> bool:
        return self.flexible and not field.plain


# ---- reading


class _ReaderSource(_Source):
    def flush(self) -> None:
        group = self.take_group()
        if group is None:
            return
        layout, targets, size = group
        if layout == ">B":
            self.line(f"{targets[0]} = buf[pos]; pos += 1")
            return
        unpack = self.constant("U", _layout(layout).unpack_from)
        self.line(f"{', '.join(targets)}, = {unpack}(buf, pos); pos += {size}")

    def struct(self, spec: StructSpec, target: str) -> None:
        """Fill the struct that the expression `target` holds."""
        tagged: list[FieldSpec] = []
        for field in spec.fields:
            place = f"{target}.{field.name}"
            if not field.present(self.version):
                self.default(field, place)
            elif field.tag is not None:
                self.default(field, place)
                tagged.append(field)
            else:
                self.field(field, place)
        if self.flexible:
            self.tags(spec, tagged, target)

    def default(self, field: FieldSpec, place: str) -> None:
        if not field.is_fresh:
            self.line(f"{place} = {field.default!r}")
        elif field.is_array or field.struct is None:
            self.line(f"{place} = []")
        else:
            self.line(f"{place} = C_{field.struct.name}()")

    def field(self, field: FieldSpec, place: str) -> None:
        if field.is_array:
            self.array(field, place)
        elif field.struct is not None:
            self.one_struct(field, field.struct, place)
        elif field.type in FIXED:
            self.group(FIXED[field.type][0], place)
        else:
            self.text_or_bytes(field, place, field.null_allowed(self.version))

    def length(self, field: FieldSpec, narrow: bool) -> str:
        """Read a length prefix; returns the expression of the length itself, which is negative for null."""
        if self.is_compact(field):
            self.group("B", "n")
            self.flush()
            self.line("if n > 127: n, pos = more(buf, pos, n)")
            return "n - 1"
        self.group("h" if narrow else "i", "n")
        self.flush()
        return "n"

    def text_or_bytes(self, field: FieldSpec, place: str, nullable: bool) -> None:
        length = self.length(field, field.type == "string")
        null = "not n" if length != "n" else "n < 0"
        if nullable:
            self.line(f"if {null}: {place} = None")
            self.line("else:")
            self.indent += 1
        else:
            self.line(f"if {null}: raise bad_length({field.name!r})")
        self.line(f"e = pos + {length}")
        self.line(f"if e > end: raise bad_length({field.name!r})")
        if field.type == "string":
            self.line(f"{place} = str(buf[pos:e], 'utf-8', 'surrogateescape'); pos = e")
        elif field.type == "bytes":
            self.line(f"{place} = bytes(buf[pos:e]); pos = e")
        else:  # records stay a slice of what came in: a memoryview is not copied
            self.line(f"{place} = buf[pos:e]; pos = e")
        if nullable:
            self.indent -= 1

    def one_struct(self, field: FieldSpec, spec: StructSpec, place: str) -> None:
        target = self.name("o")
        if not field.null_allowed(self.version):
            self.line(f"{place} = {target} = new(C_{spec.name})")
            self.struct(spec, target)
            return
        self.group("b", "n")
        self.flush()
        # KAFKA: in front of a tagged struct 0 is null; elsewhere only what is negative.
        self.line(f"if n {'<=' if field.tag is not None else '<'} 0: {place} = None")
        self.line("else:")
        self.indent += 1
        self.line(f"{place} = {target} = new(C_{spec.name})")
        self.struct(spec, target)
        self.flush()
        self.indent -= 1

    def array(self, field: FieldSpec, place: str) -> None:
        length = self.length(field, narrow=False)
        compact = length != "n"
        count = self.name("m")
        if field.null_allowed(self.version):
            self.line(f"if n {'==' if compact else '<'} 0: {place} = None")
            self.line("else:")
            self.indent += 1
            self.elements(field, place, count, length)
            self.indent -= 1
        else:
            self.elements(field, place, count, length)

    def elements(self, field: FieldSpec, place: str, count: str, length: str) -> None:
        if field.struct is not None:
            size = max(1, min_bytes(field.struct, self.version, self.flexible))
        elif field.type in FIXED:
            size = FIXED[field.type][1]
        else:
            size = 1 if self.is_compact(field) else 2 if field.type == "string" else 4
        self.line(f"{count} = {length}")
        self.line(f"if not 0 <= {count} <= {ARRAY_ELEMENTS_MAX} or {count} * {size} > end - pos:")
        self.line(f" raise bad_count({field.name!r}, {count})")
        if field.struct is not None:
            self.structs(field, field.struct, place, count)
        elif field.type == "uuid":
            self.line(f"{place} = [bytes(buf[i:i + 16]) for i in range(pos, pos + 16 * {count}, 16)]")
            self.line(f"pos += 16 * {count}")
        elif field.type in FIXED:
            code = FIXED[field.type][0]
            self.line(f"{place} = list(unpack_from('>%d{code}' % {count}, buf, pos)); pos += {size} * {count}")
        else:
            items = self.name("l")
            self.line(f"{place} = {items} = []")
            self.line(f"for _ in range({count}):")
            self.indent += 1
            self.text_or_bytes(field, "s", nullable=False)
            self.line(f"{items}.append(s)")
            self.indent -= 1

    def structs(self, field: FieldSpec, spec: StructSpec, place: str, count: str) -> None:
        items, target = self.name("l"), self.name("o")
        self.line(f"left -= {count}")
        self.line(f"if left < 0: raise bad_count({field.name!r}, {count})")
        self.line(f"{place} = {items} = []")
        self.line(f"for _ in range({count}):")
        self.indent += 1
        self.line(f"{target} = new(C_{spec.name}); {items}.append({target})")
        self.struct(spec, target)
        self.flush()
        self.indent -= 1

    def tags(self, spec: StructSpec, tagged: list[FieldSpec], target: str) -> None:
        self.group("B", "t")
        self.flush()
        if not tagged:
            self.line("if t: pos = skip_tags(buf, pos, t, end)")
            return
        stop = self.name("e")
        self.line("if t:")
        self.indent += 1
        self.line("if t > 127: t, pos = more(buf, pos, t)")
        self.line(f"if t > {TAGGED_FIELDS_MAX}: raise bad_tags({spec.name!r})")
        self.line("for _ in range(t):")
        self.indent += 1
        self.line("k = buf[pos]; pos += 1")
        self.line("if k > 127: k, pos = more(buf, pos, k)")
        self.line("n = buf[pos]; pos += 1")
        self.line("if n > 127: n, pos = more(buf, pos, n)")
        self.line(f"{stop} = pos + n")
        self.line(f"if {stop} > end: raise bad_tags({spec.name!r})")
        for position, field in enumerate(tagged):
            self.line(f"{'if' if position == 0 else 'elif'} k == {field.tag}:")
            self.indent += 1
            self.field(field, f"{target}.{field.name}")
            self.flush()
            self.indent -= 1
        self.line(f"if pos > {stop}: raise bad_tags({spec.name!r})")
        self.line(f"pos = {stop}")
        self.indent -= 2


def make_reader(root: StructSpec, classes: dict[str, type], version: int, flexible: bool) -> Callable[..., Any]:
    """`read(buf, pos) -> (struct, position after it)`."""
    source = _ReaderSource(version, flexible)
    source.line("end = len(buf)")
    source.line(f"left = {MESSAGE_STRUCTS_MAX}")
    source.line(f"o = new(C_{root.name})")
    source.struct(root, "o")
    source.flush()
    source.line("return o, pos")
    return source.build("def read(buf, pos):", "read", f"reader of {root.name}", classes)


# ---- writing


class _WriterSource(_Source):
    """Bytes that stand one behind the other, with no branch between them, are gathered as expressions, and written together."""

    def __init__(self, version: int, flexible: bool) -> None:
        super().__init__(version, flexible)
        self.out = "out"
        self.pieces: list[str] = []
        self.writes = False
        """Whether `out` is needed: there is a branch or a loop."""

    def flush(self) -> None:
        group = self.take_group()
        if group is None:
            return
        layout, values, size = group
        packed = f"{self.constant('P', _layout(layout).pack)}({', '.join(values)})"
        self.pieces.append(packed if values else repr(bytes(size)))

    def write(self, *more: str) -> None:
        """What is gathered, and these expressions."""
        self.flush()
        pieces, self.pieces = [*self.pieces, *more], []
        self.writes = self.writes or bool(pieces)
        if len(pieces) == 1:
            self.line(f"{self.out}.append({pieces[0]})")
        elif pieces:
            self.line(f"{self.out} += {', '.join(pieces)}")

    def struct(self, spec: StructSpec, source: str) -> None:
        tagged: list[FieldSpec] = []
        for field in spec.fields:
            value = f"{source}.{field.name}"
            if not field.present(self.version):
                if not field.ignorable:
                    self.line(f"if {self.differs(field, value)}: raise absent({field.name!r})")
            elif field.tag is not None:
                tagged.append(field)
            else:
                self.field(field, value)
        if not self.flexible:
            return
        if tagged:
            self.tags(sorted(tagged, key=lambda field: field.tag or 0), source)
        else:
            self.group("x", None)

    def differs(self, field: FieldSpec, value: str) -> str:
        """An expression that is true when the value is not the field's default."""
        if field.default is None:
            return f"{value} is not None"
        if field.is_array:
            return f"{value} is None or {value}" if field.nullable else value
        if field.struct is not None:
            return f"{value} != C_{field.struct.name}()"
        return f"{value} != {field.default!r}"

    def field(self, field: FieldSpec, value: str) -> None:
        if field.is_array:
            self.nullable(field, value, self.array)
        elif field.struct is not None:
            self.one_struct(field, field.struct, value)
        elif field.type in FIXED:
            self.group(FIXED[field.type][0], value)
        else:
            self.nullable(field, value, self.text_or_bytes)

    def nullable(self, field: FieldSpec, value: str, write: Callable[[FieldSpec, str], None]) -> None:
        if not field.null_allowed(self.version):
            write(field, value)
            return
        self.write()
        name = self.name("v")
        self.line(f"{name} = {value}")
        if self.is_compact(field):
            null = b"\0"
        else:
            null = b"\xff\xff" if field.type == "string" and not field.is_array else b"\xff\xff\xff\xff"
        self.line(f"if {name} is None: {self.out}.append({null!r})")
        self.line("else:")
        self.indent += 1
        write(field, name)
        self.write()
        self.indent -= 1

    def length(self, field: FieldSpec, thing: str, narrow: bool) -> None:
        if self.is_compact(field):
            self.flush()
            count = self.name("n")
            self.line(f"{count} = len({thing}) + 1")
            self.pieces.append(f"UV[{count}] if {count} < 128 else uvarint({count})")
        else:
            self.group("h" if narrow else "i", f"len({thing})")
            self.flush()

    def text_or_bytes(self, field: FieldSpec, value: str) -> None:
        thing = self.name("s")
        if field.type == "string":
            self.line(f"{thing} = {value}.encode('utf-8', 'surrogateescape')")
        else:
            self.line(f"{thing} = {value}")
        self.length(field, thing, field.type == "string")
        self.pieces.append(thing)

    def one_struct(self, field: FieldSpec, spec: StructSpec, value: str) -> None:
        name = self.name("o")
        self.line(f"{name} = {value}")
        if not field.null_allowed(self.version):
            self.struct(spec, name)
            return
        self.write()
        null = b"\0" if field.tag is not None else b"\xff"
        self.line(f"if {name} is None: {self.out}.append({null!r})")
        self.line("else:")
        self.indent += 1
        self.group("b", "1")
        self.struct(spec, name)
        self.write()
        self.indent -= 1

    def array(self, field: FieldSpec, value: str) -> None:
        items = self.name("l")
        self.line(f"{items} = {value}")
        self.length(field, items, narrow=False)
        if field.type in FIXED:
            count = f"len({items})"
            layout = f"'16s' * {count}" if field.type == "uuid" else f"'>%d{FIXED[field.type][0]}' % {count}"
            self.pieces.append(f"pack({layout}, *{items})")
            return
        self.write()
        item = self.name("o")
        if field.struct is None:
            self.line(f"for {item} in {items}:")
            self.indent += 1
            self.text_or_bytes(field, item)
            self.write()
            self.indent -= 1
            return
        self.line(f"if {items}.__class__ is Encoded: {self.out}.append({items}.data)")
        self.line("else:")
        self.line(f" for {item} in {items}:")
        self.indent += 2
        self.struct(field.struct, item)
        self.write()
        self.line("pass")
        self.indent -= 2

    def tags(self, tagged: list[FieldSpec], source: str) -> None:
        self.flush()
        if len(tagged) == 1 and tagged[0].type in FIXED and not tagged[0].is_array:
            value = f"{source}.{tagged[0].name}"
            self.pieces.append(f"{self.fixed_tag(tagged[0], value, 1)} if {self.differs(tagged[0], value)} else {bytes(1)!r}")
            return
        self.write()
        section = self.name("t")
        self.line(f"{section} = []")
        for field in tagged:
            value = f"{source}.{field.name}"
            self.line(f"if {self.differs(field, value)}:")
            self.indent += 1
            if field.type in FIXED and not field.is_array:
                self.line(f"{section}.append({self.fixed_tag(field, value)})")
                self.indent -= 1
                continue
            parts, outer = self.name("p"), self.out
            self.line(f"{parts} = []")
            self.out = parts
            self.field(field, value)
            self.write()
            self.out = outer
            self.line(f"{parts} = join({parts})")
            self.line(f"{section}.append({encode_uvarint(field.tag or 0)!r} + uvarint(len({parts})) + {parts})")
            self.indent -= 1
        self.write(f"UV[len({section})]", f"*{section}")

    def fixed_tag(self, field: FieldSpec, value: str, *count: int) -> str:
        """A tagged field whose size is known beforehand, behind the count of all where that is known, too."""
        code, size = FIXED[field.type]
        front = bytes(count) + encode_uvarint(field.tag or 0) + encode_uvarint(size)
        return f"{self.constant('P', _layout(f'>{len(front)}s{code}').pack)}({front!r}, {value})"


def make_writer(spec: StructSpec, classes: dict[str, type], version: int, flexible: bool) -> Callable[..., bytes]:
    """`write(struct) -> bytes`, of a whole message or of a struct in it."""
    source = _WriterSource(version, flexible)
    source.struct(spec, "o")
    source.flush()
    if not source.writes:
        source.line(f"return join(({''.join(f'{piece}, ' for piece in source.pieces)}))")
    else:
        source.lines.insert(0, " out = []")
        source.write()
        source.line("return join(out)")
    return source.build("def write(o):", "write", f"writer of {spec.name}", classes)
