from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pykafkacore.client import records as records_module
from pykafkacore.client.codecs import Codec, CodecError, compress, decompress
from pykafkacore.client.records import Record, crc32c, decode_batches, encode_batch, use_crc32c
from pykafkacore.protocol.types import MalformedMessage

WRITTEN = [Codec.NONE, Codec.GZIP, Codec.LZ4, Codec.ZSTD]
# One record: key "k", value "vv", header "h" without a value, at 1000 ms. The four bytes of CRC are checked apart.
GOLDEN = bytes.fromhex(
    "0000000000000000" "0000003e" "ffffffff" "02" "00000000"
    "0000" "00000000" "00000000000003e8" "00000000000003e8" "ffffffffffffffff" "ffff" "ffffffff" "00000001"
    "18" "00" "00" "00" "02" "6b" "04" "7676" "02" "02" "68" "01"
)  # fmt: skip

optional_bytes = st.none() | st.binary(max_size=50)
record = st.builds(
    Record,
    value=optional_bytes,
    key=optional_bytes,
    headers=st.lists(st.tuples(st.text(max_size=5), optional_bytes), max_size=3).map(tuple),
    timestamp_ms=st.integers(0, 2**50),
)


def test_crc32c_of_the_well_known_text() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(b"") == 0


def test_a_faster_crc32c_must_be_right() -> None:
    with pytest.raises(ValueError, match="does not compute"):
        use_crc32c(lambda data: 0)
    use_crc32c(records_module._crc32c_in_python)


def test_a_batch_has_the_bytes_of_the_format() -> None:
    batch = encode_batch([Record(b"vv", b"k", (("h", None),), timestamp_ms=1000)])
    assert (batch[:17], batch[21:]) == (GOLDEN[:17], GOLDEN[21:])
    assert int.from_bytes(batch[17:21], "big") == crc32c(GOLDEN[21:])


@pytest.mark.parametrize("codec", WRITTEN)
@settings(max_examples=25, deadline=None)
@given(written=st.lists(record, min_size=1, max_size=5), base_offset=st.integers(0, 2**40))
def test_what_is_encoded_is_decoded(codec: Codec, written: list[Record], base_offset: int) -> None:
    data = encode_batch(written, codec=codec, base_offset=base_offset, producer_id=5, producer_epoch=1, base_sequence=7)
    (batch,) = decode_batches(data + data[:30])  # a cut batch follows
    assert (batch.base_offset, batch.last_offset) == (base_offset, base_offset + len(written) - 1)
    assert (batch.codec, batch.producer_id, batch.producer_epoch, batch.base_sequence) == (codec, 5, 1, 7)
    assert [Record(one.value, one.key, one.headers, one.timestamp_ms) for one in batch.records] == written
    assert [one.offset for one in batch.records] == list(range(base_offset, base_offset + len(written)))


def test_append_time_replaces_the_time_of_every_record() -> None:
    data = bytearray(encode_batch([Record(b"a", timestamp_ms=1), Record(b"b", timestamp_ms=2)]))
    data[22] |= 0x08
    data[35:43] = (99).to_bytes(8, "big")
    data[17:21] = crc32c(bytes(data[21:])).to_bytes(4, "big")
    (batch,) = decode_batches(bytes(data))
    assert [one.timestamp_ms for one in batch.records] == [99, 99]


def test_a_wrong_crc_is_refused() -> None:
    data = bytearray(encode_batch([Record(b"a")]))
    data[-1] ^= 1
    with pytest.raises(MalformedMessage, match="CRC"):
        list(decode_batches(bytes(data)))


def test_an_old_magic_is_refused() -> None:
    data = bytearray(encode_batch([Record(b"a")]))
    data[16] = 1
    with pytest.raises(MalformedMessage, match="magic 1"):
        list(decode_batches(bytes(data)))


def test_an_empty_batch_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="at least one record"):
        encode_batch([])


@pytest.mark.parametrize("codec", WRITTEN)
def test_damaged_batches_raise_nothing_but_malformed_message(codec: Codec) -> None:
    source = random.Random(int(codec))
    good = encode_batch([Record(b"value" * 20, b"key", (("h", b"x"),), 5) for _ in range(3)], codec=codec)
    for _ in range(1500):
        bad = bytearray(good)
        for _ in range(source.randint(1, 3)):
            bad[source.randrange(21, len(bad))] = source.randrange(256)
        bad[17:21] = crc32c(bytes(bad[21:])).to_bytes(4, "big")
        try:
            for batch in decode_batches(bytes(bad), inflated_bytes_max=10_000):
                assert len(batch.records) <= 10_000
        except MalformedMessage:
            continue


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.LZ4, Codec.ZSTD])
def test_inflating_is_bounded(codec: Codec) -> None:
    packed = compress(codec, bytes(5_000_000))
    with pytest.raises(CodecError, match="more than 1000 bytes"):
        decompress(codec, packed, 1000)
    assert decompress(codec, packed, 5_000_000) == bytes(5_000_000)


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.LZ4, Codec.ZSTD, Codec.SNAPPY])
def test_garbage_is_no_payload(codec: Codec) -> None:
    with pytest.raises(CodecError):
        decompress(codec, b"\xff\xfe garbage")


def test_snappy_is_read_raw_and_framed() -> None:
    raw = bytes.fromhex("0b0c616263640d04")
    framed = b"\x82SNAPPY\x00" + bytes.fromhex("0000000100000001") + len(raw).to_bytes(4, "big") + raw
    assert decompress(Codec.SNAPPY, raw) == b"abcdabcdabc"
    assert decompress(Codec.SNAPPY, framed) == b"abcdabcdabc"
    assert decompress(Codec.SNAPPY, framed + framed[16:]) == b"abcdabcdabc" * 2


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("0b0c616263", "ends too early"),
        ("0b0c616263640d05", "before its start"),
        ("0c0c616263640d04", "instead of 12"),
        ("ffffffff0f00", "more than"),
        ("", "ends too early"),
        ("ffffffffffff", "broken size"),
    ],
)
def test_broken_snappy_is_refused(data: str, problem: str) -> None:
    with pytest.raises(CodecError, match=problem):
        decompress(Codec.SNAPPY, bytes.fromhex(data))


def test_snappy_cannot_be_written() -> None:
    with pytest.raises(CodecError, match="choose gzip"):
        compress(Codec.SNAPPY, b"")
