"""The console producer without a cluster: lines out of chunks, records out of lines."""

from __future__ import annotations

import pytest
from pykafkacore._core import build_batch, parse_batches

from pykafkacore.tools.common import ToolError
from pykafkacore.tools.console_producer import CODECS, Line, LineReader, LineSplitter, compressed, parse, read_chunks


def read(text: bytes, **properties: str) -> Line:
    return LineReader.of({key.replace("_", "."): value for key, value in properties.items()}).read(text, 1)


def test_a_line_is_a_value() -> None:
    assert read(b"a\tb") == Line(None, b"a\tb")
    assert read(b"\xff") == Line(None, b"\xff")


def test_keys_and_headers_come_before_the_value() -> None:
    assert read(b"k\tv\tw", parse_key="true") == Line(b"k", b"v\tw")
    assert read(b"k:v", parse_key="TRUE", key_separator=":") == Line(b"k", b"v")
    assert read(b"h:1,i:2\tk\tv", parse_key="true", parse_headers="true") == Line(b"k", b"v", (("h", b"1"), ("i", b"2")))
    assert read(b"h=1;i=\tv", parse_headers="true", headers_separator=";", headers_key_separator="=") == Line(
        None, b"v", (("h", b"1"), ("i", b""))
    )


def test_the_null_marker_stands_for_nothing() -> None:
    assert read(b"N\tN\tN", parse_key="true", parse_headers="true", null_marker="N") == Line(None, None, ())
    assert read(b"h:N\tv", parse_headers="true", null_marker="N") == Line(None, b"v", (("h", None),))
    with pytest.raises(ToolError, match="Header keys should not be equal to the null marker"):
        read(b"N:1\tv", parse_headers="true", null_marker="N")


@pytest.mark.parametrize(
    ("text", "properties", "said"),
    [
        (b"kv", {"parse_key": "true"}, "No key separator found on line number 1: 'kv'"),
        (b"hv", {"parse_headers": "true"}, "No headers delimiter found on line number 1: 'hv'"),
        (b"h\tv", {"parse_headers": "true"}, "No header key separator found in pair 'h' on line number 1"),
    ],
)
def test_a_line_without_its_marks_is_refused_or_taken_as_it_is(
    text: bytes, properties: dict[str, str], said: str
) -> None:
    with pytest.raises(ToolError, match=said):
        read(text, **properties)
    assert read(text, ignore_error="true", **properties).value in (text, b"v")


@pytest.mark.parametrize(
    "properties",
    [
        {"null.marker": ":", "key.separator": ":", "parse.key": "true"},
        {"parse.headers": "true", "headers.delimiter": ",", "headers.separator": ","},
        {"parse.headers": "true", "headers.separator": ""},
    ],
)
def test_marks_that_cannot_be_told_apart_are_refused(properties: dict[str, str]) -> None:
    with pytest.raises(ToolError):
        LineReader.of(properties)


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([b"a\nb\n"], [b"a", b"b"]),
        ([b"a\r\nb\rc"], [b"a", b"b", b"c"]),
        ([b"a\r", b"\nb"], [b"a", b"b"]),
        ([b"a", b"b\n\n", b""], [b"ab", b""]),
        ([], []),
    ],
)
def test_lines_end_wherever_a_chunk_is_cut(chunks: list[bytes], lines: list[bytes]) -> None:
    splitter = LineSplitter()
    found = [line for chunk in chunks for line in splitter.feed(chunk)] + splitter.end()
    assert found == lines


def test_a_terminal_is_prompted(capsys: pytest.CaptureFixture[str]) -> None:
    chunks = iter([b"a\n", b"b\n", b""])
    assert list(read_chunks(True, lambda: next(chunks))) == [[b"a"], [b"b"], []]
    assert capsys.readouterr().out == ">>>"


@pytest.mark.parametrize("codec", CODECS)
def test_a_batch_is_compressed_without_losing_its_producer(codec: str) -> None:
    records = [(5, b"k", b"v" * 50, [(b"h", None)]), (6, None, None, [])]
    batch = build_batch(records, producer_id=7, producer_epoch=1, base_sequence=3)
    before, after = parse_batches(batch)[0], parse_batches(compressed(batch, CODECS.index(codec)))[0]
    assert after["codec"] == codec and after["crc_is_valid"]
    for name in ("records", "producer_id", "producer_epoch", "base_sequence", "base_offset", "max_timestamp"):
        assert after[name] == before[name]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--bootstrap-server", "h:1"], 'Missing required argument "[topic]"'),
        (["--topic", "t"], "Error while validating the bootstrap address"),
        (["--topic", "t", "--bootstrap-server", "h"], "Please provide valid host:port"),
        (["--topic", "t", "--bootstrap-server", "h:1", "--line-reader", "my.Reader"], "my.Reader cannot be loaded here"),
        (["--topic", "t", "--bootstrap-server", "h:1", "--timeout", "x"], "Cannot parse argument 'x' of option timeout"),
    ],
)
def test_bad_options_end_the_producer(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith(said)


def test_a_bare_compression_codec_is_gzip() -> None:
    assert parse(["--topic", "t", "--bootstrap-server", "h:1", "--compression-codec"]).compression_codec == "gzip"
