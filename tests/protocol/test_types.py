from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykafkacore.protocol.types import (
    METADATA_TOPIC_ID,
    ZERO_UUID,
    MalformedMessage,
    decode_uvarint,
    decode_zigzag,
    encode_uvarint,
    encode_zigzag,
    uuid_from_text,
    uuid_is_reserved,
    uuid_to_text,
)


def test_the_id_of_the_metadata_topic_prints_as_kafka_prints_it() -> None:
    assert uuid_to_text(METADATA_TOPIC_ID) == "AAAAAAAAAAAAAAAAAAAAAQ"
    assert uuid_to_text(ZERO_UUID) == "A" * 22


@given(st.binary(min_size=16, max_size=16))
def test_a_uuid_survives_its_text_form(uuid: bytes) -> None:
    assert uuid_from_text(uuid_to_text(uuid)) == uuid


@pytest.mark.parametrize("text", ["", "AAAA", "A" * 23, "A" * 21 + "!", "A" * 21 + "+", "é" * 22, "A" * 24])
def test_text_that_is_no_uuid_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a uuid"):
        uuid_from_text(text)


def test_padding_of_a_uuid_is_tolerated() -> None:
    assert uuid_from_text("AAAAAAAAAAAAAAAAAAAAAQ==") == METADATA_TOPIC_ID


def test_the_first_hundred_uuids_are_reserved() -> None:
    assert uuid_is_reserved(bytes(15) + bytes((99,)))
    assert not uuid_is_reserved(bytes(15) + bytes((100,)))


@pytest.mark.parametrize(
    ("value", "data"), [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), (2**31 - 1, "ffffffff07")]
)
def test_uvarints_have_the_bytes_of_leb128(value: int, data: str) -> None:
    assert encode_uvarint(value).hex() == data
    assert decode_uvarint(bytes.fromhex(data), 0) == (value, len(data) // 2)


def test_an_over_long_uvarint_is_accepted_up_to_five_bytes() -> None:
    assert decode_uvarint(bytes.fromhex("8080808000"), 0) == (0, 5)
    with pytest.raises(MalformedMessage, match="more than five bytes"):
        decode_uvarint(bytes.fromhex("808080808000"), 0)


def test_a_uvarint_beyond_int32_is_refused() -> None:
    with pytest.raises(MalformedMessage, match="too large"):
        decode_uvarint(bytes.fromhex("ffffffff0f"), 0)


def test_a_cut_varint_is_refused() -> None:
    for decode in (decode_uvarint, decode_zigzag):
        with pytest.raises(MalformedMessage, match="ends inside"):
            decode(b"\x80", 0)


@given(st.integers(-(2**63), 2**63 - 1))
def test_signed_varints_round_trip(value: int) -> None:
    data = encode_zigzag(value)
    assert decode_zigzag(data, 0) == (value, len(data))
