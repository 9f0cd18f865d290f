"""The golden batches of `tests/vectors`, read from Python: what the Rust tests read, by other means.

`batches.tsv` has a line for each `batches/<name>.bin`; `rust/record/tests/vectors.rs` says how a line is written.
The CRC and the sizes are worked out here from the bytes themselves, so that they don't rest on the code they judge.
"""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from pykafkacore import _core

FOLDER = Path(__file__).parents[1] / "vectors"
LINES = (FOLDER / "batches.tsv").read_text(encoding="ascii").splitlines()
COLUMNS = LINES[0].split("\t")
GOLDEN = [dict(zip(COLUMNS, line.split("\t"), strict=True)) for line in LINES[1:]]
NUMBERS = tuple(name for name in COLUMNS if name not in ("name", "crc", "records"))


def crc32c(data: bytes) -> int:
    """CRC-32C bit by bit, from its polynomial."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def text(value: bytes | None) -> str:
    return "-" if value is None else "".join(chr(b) if 32 <= b < 127 else f"\\x{b:02x}" for b in value)


def record_text(record: tuple) -> str:
    offset, timestamp, key, value, headers = record
    pairs = "&".join(f"{text(name.encode() if isinstance(name, str) else name)}={text(of)}" for name, of in headers)
    return f"{offset},{timestamp},{text(key)},{text(value)},{pairs}"


@pytest.fixture(params=GOLDEN, ids=lambda golden: golden["name"])
def golden(request: pytest.FixtureRequest) -> tuple[dict[str, str], bytes]:
    return request.param, (FOLDER / "batches" / f"{request.param['name']}.bin").read_bytes()


def test_a_golden_batch_reads_as_its_line_says(golden: tuple[dict[str, str], bytes]) -> None:
    line, data = golden
    [batch] = _core.parse_batches(data)
    assert {name: str(batch[name]) for name in NUMBERS} == {name: line[name] for name in NUMBERS}
    assert "|".join(record_text(record) for record in batch["records"]) == line["records"]
    assert batch["crc_is_valid"]


def test_its_crc_and_sizes_follow_from_its_bytes(golden: tuple[dict[str, str], bytes]) -> None:
    line, data = golden
    length, _, magic, crc = struct.unpack_from(">iibI", data, 8)
    assert (length + 12, magic) == (len(data), 2)
    assert f"{crc:08x}" == f"{crc32c(data[21:]):08x}" == line["crc"]


def test_one_changed_byte_is_noticed(golden: tuple[dict[str, str], bytes]) -> None:
    _, data = golden
    changed = data[:-1] + bytes([data[-1] ^ 1])
    assert not _core.parse_batches(changed, records=False)[0]["crc_is_valid"]
