"""Compression of record batches in Python: for the client, whose batches are few.

What it is: the five codecs as Kafka frames them; inflating is bounded.
What it is not: the broker's codecs, which are in the data plane.
lz4 and zstd need the packages of the same names (lz4, zstandard) and say so when they are missing. Snappy is read
without any package, both in Kafka's framing and raw; it is not written.
"""

from __future__ import annotations

import zlib
from enum import IntEnum
from typing import Any

INFLATED_BYTES_MAX = 256 * 1024 * 1024
_XERIAL_MAGIC = b"\x82SNAPPY\x00"


class Codec(IntEnum):
    """The lowest three bits of a batch's attributes."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4


class CodecError(ValueError):
    """Data that its codec cannot read, or a codec that is not installed."""


def compress(codec: Codec, data: bytes) -> bytes:
    """`data` as the payload of a batch."""
    if codec is Codec.NONE:
        return data
    if codec is Codec.GZIP:
        packer = zlib.compressobj(wbits=31)
        return packer.compress(data) + packer.flush()
    if codec is Codec.LZ4:
        frame = _lz4_frame()
        # KAFKA: blocks must not depend on one another.
        return bytes(frame.compress(data, block_linked=False, block_size=frame.BLOCKSIZE_MAX64KB, store_size=False))
    if codec is Codec.ZSTD:
        return bytes(_zstandard().ZstdCompressor(level=3).compress(data))
    raise CodecError("snappy can be read but not written: choose gzip, lz4 or zstd")


def decompress(codec: Codec, data: bytes, bytes_max: int = INFLATED_BYTES_MAX) -> bytes:
    """What `data` holds, at most `bytes_max`; CodecError for anything that is broken or larger."""
    if codec is Codec.NONE:
        return data
    if codec is Codec.SNAPPY:
        return _snappy_stream(data, bytes_max)
    try:
        if codec is Codec.GZIP:
            unpacker = zlib.decompressobj(wbits=31)
            out = unpacker.decompress(data, bytes_max + 1)
            complete = unpacker.eof
        elif codec is Codec.LZ4:
            lz4 = _lz4_frame().LZ4FrameDecompressor()
            out = lz4.decompress(data, max_length=bytes_max + 1)
            complete = lz4.eof
        else:
            reader = _zstandard().ZstdDecompressor().stream_reader(data)
            out = reader.read(bytes_max + 1)
            complete = True
    except CodecError:
        raise
    except Exception as error:  # every package has exceptions of its own
        raise CodecError(f"the payload is not {codec.name.lower()}: {error}") from None
    if len(out) > bytes_max:
        raise CodecError(f"the payload holds more than {bytes_max} bytes")
    if not complete:
        raise CodecError(f"the {codec.name.lower()} payload ends too early")
    return out


def _lz4_frame() -> Any:
    try:
        import lz4.frame
    except ImportError:
        raise CodecError("lz4 needs the package lz4") from None
    return lz4.frame


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError:
        raise CodecError("zstd needs the package zstandard") from None
    return zstandard


def _snappy_stream(data: bytes, bytes_max: int) -> bytes:
    """Blocks behind the framing that Java clients write, or one raw block."""
    if not data.startswith(_XERIAL_MAGIC):
        return _snappy_block(data, bytes_max)
    out = bytearray()
    position = 16
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "big", signed=True)
        position += 4
        if length < 0 or position + length > len(data):
            raise CodecError("the snappy payload ends too early")
        out += _snappy_block(data[position : position + length], bytes_max - len(out))
        position += length
    return bytes(out)


def _snappy_block(data: bytes, bytes_max: int) -> bytes:
    try:
        size, position = _snappy_size(data)
        if size > bytes_max:
            raise CodecError(f"the payload holds more than {bytes_max} bytes")
        out = bytearray()
        while position < len(data):
            position = _snappy_element(data, position, out)
            if len(out) > size:
                break
    except IndexError:
        raise CodecError("the snappy payload ends too early") from None
    if len(out) != size:
        raise CodecError(f"the snappy payload holds {len(out)} bytes instead of {size}")
    return bytes(out)


def _snappy_size(data: bytes) -> tuple[int, int]:
    size = shift = position = 0
    while shift < 35:
        byte = data[position]
        position += 1
        size |= (byte & 127) << shift
        if byte < 128:
            return size, position
        shift += 7
    raise CodecError("the snappy payload has a broken size")


def _snappy_element(data: bytes, position: int, out: bytearray) -> int:
    """Append one literal or copy; returns the position after it."""
    tag = data[position]
    position += 1
    kind = tag & 3
    if kind == 0:
        length = tag >> 2
        if length >= 60:
            width = length - 59
            if position + width > len(data):
                raise IndexError
            length = int.from_bytes(data[position : position + width], "little")
            position += width
        length += 1
        if position + length > len(data):
            raise IndexError
        out += data[position : position + length]
        return position + length
    if kind == 1:
        length, distance = (tag >> 2 & 7) + 4, (tag >> 5) << 8 | data[position]
        position += 1
    else:
        width = 2 if kind == 2 else 4
        if position + width > len(data):
            raise IndexError
        length, distance = (tag >> 2) + 1, int.from_bytes(data[position : position + width], "little")
        position += width
    if not 0 < distance <= len(out):
        raise CodecError("the snappy payload refers to bytes before its start")
    start = len(out) - distance
    for offset in range(length):  # may overlap with what it appends
        out.append(out[start + offset])
    return position
