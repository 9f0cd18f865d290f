"""Random damage to every message: decoding either succeeds or raises MalformedMessage, nothing else.

What the fuzzer of the Rust parsers makes (`rust/record/tests/fuzzing`) is read by the Python codec as well.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from pykafkacore.protocol import apis, headers
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


ROOT = Path(__file__).parents[2]
INPUTS = 100_000


def kept(file: Path) -> Iterator[bytes]:
    data, at = file.read_bytes(), 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 4 + size]
        at += 4 + size


@pytest.fixture(scope="module")
def rust_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    subprocess.run(
        ["cargo", "test", "--release", "--quiet", "-p", "pykafkacore-wire", "--test", "fuzz", "--", "--ignored", "fuzz"],
        cwd=ROOT, check=True, capture_output=True,
        env=os.environ | {"FUZZ_INTO": str(folder), "FUZZ_INPUTS": str(INPUTS)},
    )  # fmt: skip
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("parser", "api"), [("produce_request", apis.api("Produce")), ("fetch_request", apis.api("Fetch"))])
def test_the_codec_survives_the_requests_that_the_rust_parsers_were_given(
    rust_corpus: Path, parser: str, api: apis.Api
) -> None:
    refused = count = 0
    for data in kept(rust_corpus / parser):
        count += 1
        # The first byte says which version the rest is of, if it stayed as it was.
        version = data[0] if data and api.oldest <= data[0] <= api.latest else api.latest
        try:
            api.request.decode_from(data, 1, version)
        except MalformedMessage:
            refused += 1
    assert count == INPUTS
    assert 0 < refused < count


@pytest.mark.slow
def test_the_codec_survives_the_headers_that_the_rust_parsers_were_given(rust_corpus: Path) -> None:
    refused = count = 0
    for data in kept(rust_corpus / "request_header"):
        count += 1
        try:
            headers.decode_request_header(data)
        except MalformedMessage:
            refused += 1
    assert count == INPUTS
    assert 0 < refused < count
