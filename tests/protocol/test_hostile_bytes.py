"""Random damage to every message: decoding either succeeds or raises MalformedMessage, nothing else."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from pykafkacore.protocol.schema import Message
from pykafkacore.protocol.types import MalformedMessage
from tests.protocol.messages import message_versions, structs

INTERESTING = (0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF)


def damage(data: bytes, source: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(source.randint(1, 4)):
        kind = source.randrange(4)
        at = source.randrange(len(out) + 1)
        if kind == 0 and at < len(out):
            out[at] = source.choice(INTERESTING)
        elif kind == 1 and at < len(out):
            out[at] = source.randrange(256)
        elif kind == 2:
            del out[at : at + source.randint(1, 8)]
        else:
            out[at:at] = source.randbytes(source.randint(1, 8))
    return bytes(out)


@pytest.mark.parametrize(
    ("message", "version"), message_versions(), ids=lambda value: getattr(value, "name", None) or f"v{value}"
)
@seed(20261121)
@settings(max_examples=3, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(data=st.data(), number=st.integers(0, 2**32))
def test_damaged_bytes_raise_nothing_but_malformed_message(
    message: Message, version: int, data: st.DataObject, number: int
) -> None:
    good = message.encode(data.draw(structs(message, version)), version)
    source = random.Random(number)
    for _ in range(40):
        bad = damage(good, source)
        try:
            struct, end = message.decode_from(bad, 0, version)
        except MalformedMessage:
            continue
        assert 0 <= end <= len(bad)
        # What was accepted is a proper struct again.
        again = message.encode(struct, version)
        assert message.encode(message.decode(again, version), version) == again
