"""Messages declared as text in our notation: `Message` is the one handle on a message in all of its versions.

What it is not: the generated readers and writers, which compile.py makes when a version is first used.

INVARIANT: nothing is parsed or compiled before it is needed; declaring a message costs one small object.
Sources: Kafka's protocol guide; KIP-482 (flexible versions).
"""

from __future__ import annotations

from struct import error as _struct_error
from typing import TYPE_CHECKING, Any

from pykafkacore.protocol.notation import VERSION_MAX, StructSpec, parse_fields, parse_versions
from pykafkacore.protocol.types import MalformedMessage, Repeated, UnencodableMessage

if TYPE_CHECKING:
    from collections.abc import Callable


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
        # By version where they are of the whole message.
        self._writers: dict[int | tuple[str, int], Callable[..., bytes]] = {}

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

    def encode(self, struct: Any, version: int, part: str = "") -> bytes:
        """The bytes of `struct` at `version`; a value which that version cannot carry is an error.

        Of a struct within the message `part` is the type's name; the bytes are those of an element (`Encoded`)."""
        if struct.__class__ is Repeated:
            return struct.encoded(self.encode, version)
        write = self._writers.get((part, version) if part else version) or self._make_writer(part, version)
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

    def _make_writer(self, part: str, version: int) -> Callable[..., bytes]:
        from pykafkacore.protocol.compile import all_structs, make_writer

        self._check_version(version)
        [spec] = [each for each in all_structs(self.root) if each.name == (part or self.name)]
        write = make_writer(spec, self._make_classes(), version, self.is_flexible(version))
        self._writers[(part, version) if part else version] = write
        return write
