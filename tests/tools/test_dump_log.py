"""Dumping files that are built here, byte by byte: lines, findings, damage."""

from __future__ import annotations

from pathlib import Path
from struct import pack

import pytest
from pykafkacore._core import build_batch, crc32c

from pykafkacore.tools import dump_log
from pykafkacore.tools.dump_log import Index, producer_lines

LOG = "00000000000000000003.log"


def batch(offset: int, *values: bytes, **more: object) -> bytes:
    records = [(100 + number, b"k", value, [(b"h", None)]) for number, value in enumerate(values)]
    return build_batch(records, base_offset=offset, leader_epoch=2, **more)  # type: ignore[arg-type]


def dump(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str], list[str]]:
    code = dump_log.run(list(arguments))
    found = capsys.readouterr()
    return code, found.out.splitlines(), found.err.splitlines()


def test_a_batch_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = batch(3, b"a", b"b", codec=4, producer_id=7, producer_epoch=1, base_sequence=5)
    (tmp_path / LOG).write_bytes(data)
    code, lines, errors = dump(capsys, "--files", str(tmp_path / LOG))
    assert (code, errors) == (0, [])
    assert lines[:2] == [f"Dumping {tmp_path / LOG}", "Log starting offset: 3"]
    crc = int.from_bytes(data[17:21], "big")
    assert lines[2:] == [
        "baseOffset: 3 lastOffset: 4 count: 2 baseSequence: 5 lastSequence: 6 producerId: 7 producerEpoch: 1 "
        "partitionLeaderEpoch: 2 isTransactional: false isControl: false deleteHorizonMs: OptionalLong.empty "
        f"position: 0 CreateTime: 101 size: {len(data)} magic: 2 compresscodec: zstd crc: {crc} isvalid: true"
    ]


def test_records_are_shown_on_demand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / LOG).write_bytes(batch(3, b"a"))
    facts = "| offset: 3 CreateTime: 100 keySize: 1 valueSize: 1 sequence: -1 headerKeys: [h]"
    file = ["--files", str(tmp_path / LOG)]
    assert dump(capsys, *file, "--deep-iteration")[1][-1] == facts
    assert dump(capsys, *file, "--print-data-log")[1][-1] == f"{facts} key: k payload: a"
    assert dump(capsys, *file, "--print-data-log", "--skip-record-metadata")[1][-1] == "| key: k payload: a"
    assert dump(capsys, *file, "--deep-iteration", "--skip-record-metadata")[1][-1] == ""


def test_sequences_go_round(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sequences = {"producer_id": 1, "producer_epoch": 0, "base_sequence": 0x7FFFFFFF}
    (tmp_path / LOG).write_bytes(batch(3, b"a", b"b", **sequences))
    _, lines, _ = dump(capsys, "--files", str(tmp_path / LOG), "--deep-iteration")
    assert [line.split("sequence: ")[1].split()[0] for line in lines[-2:]] == ["2147483647", "0"]


def test_records_that_do_not_follow_one_another_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / LOG).write_bytes(batch(3, b"a") + batch(9, b"b"))
    code, _, errors = dump(capsys, "--files", str(tmp_path / LOG), "--deep-iteration")
    assert (code, errors) == (0, [f"Non-consecutive offsets in {tmp_path / LOG}", "  3 is followed by 9"])


def test_a_wrong_crc_is_said_in_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray(batch(3, b"a"))
    data[-1] ^= 1
    (tmp_path / LOG).write_bytes(data)
    code, lines, _ = dump(capsys, "--files", str(tmp_path / LOG))
    assert code == 0 and lines[-1].endswith("isvalid: false")


def test_a_torn_batch_at_the_end_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = batch(3, b"a")
    (tmp_path / LOG).write_bytes(whole + whole[:20])
    code, lines, _ = dump(capsys, "--files", str(tmp_path / LOG))
    assert code == 0 and lines[-1] == f"Found 20 invalid bytes at the end of {LOG}"
    assert "invalid bytes" not in dump(capsys, "--files", str(tmp_path / LOG), "--max-bytes", str(len(whole)))[1][-1]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\0" * 40, "Found record size 0 smaller than minimum record overhead"),
        (pack(">qi", 0, -5) + bytes(40), "smaller than minimum record overhead"),
        (pack(">qiib", 0, 49, 0, 1) + bytes(60), "has magic 1; only 2 can be read"),
        (pack(">qiib", 0, 40, 0, 2) + bytes(60), "too few for a batch"),
    ],
)
def test_what_is_no_batch_ends_the_dump(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes, said: str
) -> None:
    (tmp_path / LOG).write_bytes(data)
    code, _, errors = dump(capsys, "--files", str(tmp_path / LOG))
    assert code == 1 and said in errors[-1]


def test_an_index_is_checked_against_its_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = batch(3, b"a"), batch(4, b"b", b"c")
    (tmp_path / LOG).write_bytes(first + second)
    index = tmp_path / LOG.replace(".log", ".index")
    index.write_bytes(pack(">iiii", 0, 0, 2, len(first)) + bytes(32))
    code, lines, errors = dump(capsys, "--files", str(index))
    assert (code, errors) == (0, [])
    assert lines[1:] == ["offset: 3 position: 0", f"offset: 5 position: {len(first)}"]
    index.write_bytes(pack(">iiii", 0, 0, 1, len(first)))
    code, lines, errors = dump(capsys, "--files", str(index), "--verify-index-only")
    assert (code, lines[1:]) == (0, [])
    assert errors == [f"Mismatches in :{index}", "  Index offset: 4, log offset: 5"]


def test_a_time_index_is_checked_against_its_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / LOG).write_bytes(batch(3, b"a", b"b") + batch(5, b"c"))
    stem = LOG.removesuffix(".log")
    (tmp_path / f"{stem}.index").write_bytes(b"")
    index = tmp_path / f"{stem}.timeindex"
    index.write_bytes(pack(">qiqiqi", 101, 1, 77, 2, 99, 9))
    code, lines, errors = dump(capsys, "--files", str(index))
    assert code == 0
    assert lines[1:] == ["timestamp: 101 offset: 4", "timestamp: 77 offset: 5", "timestamp: 99 offset: 12"]
    assert errors == [
        f"Found timestamp mismatch in :{index}",
        "  Index timestamp: 77, log timestamp: 100",
        f"Found out of order timestamp in :{index}",
        "  Index timestamp: 77, Previously indexed timestamp: 101",
        f"The following indexed offsets are not found in :{index}",
        "Indexed offset: 12, found log offset: -1",
    ]


def test_the_sanity_check_looks_at_the_ends_of_an_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = tmp_path / LOG.replace(".log", ".index")
    index.write_bytes(pack(">ii", 1, 10))
    options = ["--files", str(index), "--index-sanity-check"]
    assert dump(capsys, *options)[:2] == (0, [f"Dumping {index}", f"{index} passed sanity check."])
    index.write_bytes(pack(">ii", -1, 10))
    assert dump(capsys, *options)[0] == 1
    index.write_bytes(pack(">ii", 1, 10) + b"\0\0\0")
    assert "not a multiple of 8" in dump(capsys, *options)[2][-1]


def test_positions_are_searched_as_a_broker_does() -> None:
    index = Index([(10, 0), (20, 200), (30, 300)], 10, 0)
    assert [index.position_of(offset) for offset in (5, 10, 19, 20, 29, 30, 99)] == [0, 0, 0, 200, 200, 300, 300]
    assert Index([], 10, 0).position_of(12) == 0


def snapshot(*entries: bytes) -> bytes:
    rest = pack(">i", len(entries)) + b"".join(entries)
    return pack(">hI", 1, crc32c(rest)) + rest


def test_producers_of_a_snapshot_are_lines() -> None:
    idle = pack(">qhiqiqiq", 7, 1, -1, -1, 0, 50, 3, -1)
    busy = pack(">qhiqiqiq", 8, 0, 1, 90, 2, 60, -1, 88)
    assert list(producer_lines(snapshot(idle, busy))) == [
        "producerId: 7 producerEpoch: 1 coordinatorEpoch: 3 currentTxnFirstOffset: OptionalLong.empty lastTimestamp: 50 ",
        "producerId: 8 producerEpoch: 0 coordinatorEpoch: -1 currentTxnFirstOffset: OptionalLong[88] lastTimestamp: 60 "
        "firstSequence: 2147483647 lastSequence: 1 lastOffset: 90 offsetDelta: 2 timestamp: 60",
    ]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\0\1", "at least 10 bytes"),
        (b"\0\2" + bytes(20), "unknown file version 2"),
        (b"\0\1" + bytes(20), "CRC is no longer valid"),
        (pack(">hI", 1, crc32c(pack(">i", 9))) + pack(">i", 9), "claims 9 producers"),
        (pack(">hI", 1, crc32c(pack(">i", -1))) + pack(">i", -1), "claims -1 producers"),
    ],
)
def test_a_damaged_snapshot_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        list(producer_lines(data))


def test_aborted_transactions_are_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / LOG.replace(".log", ".txnindex")
    path.write_bytes(pack(">hqqqq", 0, 7, 1, 5, 6))
    assert dump(capsys, "--files", str(path))[1][-1] == (
        "version: 0 producerId: 7 firstOffset: 1 lastOffset: 5 lastStableOffset: 6"
    )
    path.write_bytes(b"\0" * 10)
    code, _, errors = dump(capsys, "--files", str(path))
    assert code == 1 and "no whole entry" in errors[-1]


def test_files_of_other_kinds_and_files_that_are_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dump(capsys, "--files", "x.txt") == (0, ["Dumping x.txt"], ["Ignoring unknown file x.txt"])
    gone = tmp_path / LOG
    assert dump(capsys, "--files", str(gone))[::2] == (1, [f"{gone}: No such file or directory"])
    code, _, errors = dump(capsys, "--files", "notes.log")
    assert code == 1 and "does not begin with a base offset" in errors[-1]


def test_decoders_that_are_not_offered_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert dump(capsys, "--files", "x.log", "--remote-log-metadata-decoder")[0] == 1
    assert dump(capsys, "--files", "x.log", "--value-decoder-class", "my.Decoder")[0] == 1
