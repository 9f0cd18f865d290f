"""The primitive types of the protocol: uuids, variable-length integers, and the two errors of the codec.

Not here: composite messages (notation.py, schema.py) and the straight-line readers and writers (compile.py).
INVARIANT: a Kafka uuid is always `bytes` of length 16; text appears only at the edges (files, logs, tools).
"""

from __future__ import annotations

from binascii import Error as _Base64Error
from binascii import a2b_base64, b2a_base64
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Uuid = bytes

ZERO_UUID: Uuid = bytes(16)
# Ids that Kafka sets aside. As a topic id, METADATA_TOPIC_ID names __cluster_metadata; as a directory id the same
# sixteen bytes mean "not assigned yet".
METADATA_TOPIC_ID: Uuid = bytes(15) + b"\x01"
DIRECTORY_MIGRATING: Uuid = ZERO_UUID
DIRECTORY_UNASSIGNED: Uuid = bytes(15) + b"\x01"
DIRECTORY_LOST: Uuid = bytes(15) + b"\x02"
RESERVED_UUID_COUNT = 100

ARRAY_ELEMENTS_MAX = 1_000_000
TAGGED_FIELDS_MAX = 10_000
# One request may hold many small arrays; together they may not make more objects than this. Kafka has no such limit,
# but without it a frame of 100 MiB can unfold into several GiB of Python objects.
MESSAGE_STRUCTS_MAX = 2_000_000


class MalformedMessage(ValueError):
    """Bytes that are not the message they claim to be. The only error that decoding may raise on hostile input."""


class UnencodableMessage(ValueError):
    """A message that its own schema cannot express at the version asked for: a bug or a missing downgrade of ours."""


class Encoded:
    """Elements of an array of structs as they stand on the wire at the version that is written: their count and their bytes.

    It may stand for the list of them where a message is encoded; nothing checks the bytes.
    """

    __slots__ = ("count", "data")

    def __init__(self, count: int, data: bytes) -> None:
        self.count = count
        self.data = data

    def __len__(self) -> int:
        return self.count


class Repeated:
    """A struct that is written again and again and never changes any more: its bytes are made once for each version.

    It may stand for the struct where a message is encoded, and has the struct's fields.
    """

    __slots__ = ("_encoded", "_struct")

    def __init__(self, struct: Any) -> None:
        self._struct = struct
        self._encoded: dict[int, bytes] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._struct, name)

    def __repr__(self) -> str:
        return f"Repeated({self._struct!r})"

    def encoded(self, encode: Callable[[Any, int], bytes], version: int) -> bytes:
        """The struct as `encode(struct, version)` writes it."""
        data = self._encoded.get(version)
        if data is None:
            data = self._encoded[version] = encode(self._struct, version)
        return data


def uuid_to_text(uuid: Uuid) -> str:
    """The 22 characters of unpadded base64url that Kafka prints."""
    if len(uuid) != 16:
        raise ValueError(f"a uuid has 16 bytes, not {len(uuid)}")
    return b2a_base64(uuid, newline=False)[:22].decode("ascii").replace("+", "-").replace("/", "_")


def uuid_from_text(text: str) -> Uuid:
    """Parse Kafka's text form; padding (`==`) is tolerated, as Kafka does."""
    bare = text[:22] if len(text) == 24 and text.endswith("==") else text
    if len(bare) != 22 or not bare.isascii() or "+" in bare or "/" in bare:
        raise ValueError(f"{text!r} is not a uuid: expected 22 characters of base64url")
    try:
        uuid = a2b_base64(bare.replace("-", "+").replace("_", "/") + "==", strict_mode=True)
    except _Base64Error as error:
        raise ValueError(f"{text!r} is not a uuid: {error}") from None
    if len(uuid) != 16:
        raise ValueError(f"{text!r} is not a uuid: it holds {len(uuid)} bytes instead of 16")
    return uuid


def uuid_is_reserved(uuid: Uuid) -> bool:
    """The first hundred uuids carry special meanings and are never given out."""
    return uuid[:15] == bytes(15) and uuid[15] < RESERVED_UUID_COUNT


def encode_uvarint(value: int) -> bytes:
    """Unsigned LEB128, as lengths and tags are written in flexible versions."""
    if value < 0:
        raise ValueError(f"an unsigned varint cannot be negative: {value}")
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_uvarint(buf: bytes | memoryview, pos: int) -> tuple[int, int]:
    """The value at `pos` and the position after it. Over-long forms are accepted up to five bytes, as Kafka does."""
    try:
        first = buf[pos]
        return (first, pos + 1) if first < 128 else continue_uvarint(buf, pos + 1, first)
    except IndexError:
        raise MalformedMessage("the message ends inside a varint") from None


def continue_uvarint(buf: bytes | memoryview, pos: int, first: int) -> tuple[int, int]:
    """The rest of a varint whose first byte had its high bit set; IndexError when the buffer ends."""
    value = first & 127
    shift = 7
    while shift < 35:
        byte = buf[pos]
        pos += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if value > 0x7FFFFFFF:
                raise MalformedMessage(f"varint {value} is too large for a length or a tag")
            return value, pos
        shift += 7
    raise MalformedMessage("a varint goes on for more than five bytes")


def encode_zigzag(value: int) -> bytes:
    """Signed varint, as inside record batches."""
    return encode_uvarint(value << 1 if value >= 0 else (-value << 1) - 1)


def decode_zigzag(buf: bytes | memoryview, pos: int) -> tuple[int, int]:
    """Signed varint of up to ten bytes (64 bits)."""
    value = shift = 0
    try:
        while shift < 70:
            byte = buf[pos]
            pos += 1
            value |= (byte & 127) << shift
            if byte < 128:
                value &= 0xFFFFFFFFFFFFFFFF
                return (value >> 1) ^ -(value & 1), pos
            shift += 7
    except IndexError:
        raise MalformedMessage("the message ends inside a varint") from None
    raise MalformedMessage("a varint goes on for more than ten bytes")
