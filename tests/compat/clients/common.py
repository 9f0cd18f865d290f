"""The common file format and command line, for the clients that are Python programs."""

from __future__ import annotations

import base64
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple


class Record(NamedTuple):
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


def decode(text: str) -> bytes | None:
    return None if text == "-" else base64.b64decode(text)


def encode(data: bytes | None) -> str:
    return "-" if data is None else base64.b64encode(data).decode()


def read_records(path: str) -> list[Record]:
    records = []
    for line in Path(path).read_text().splitlines():
        timestamp, key, value, headers = line.split("\t")
        pairs = [header.partition("=") for header in headers.split(";") if header]
        records.append(Record(int(timestamp), decode(key), decode(value), [(n, decode(v)) for n, _, v in pairs]))
    return records


def to_line(record: Record) -> str:
    headers = ";".join(f"{name}={encode(value)}" for name, value in record.headers)
    return f"{record.timestamp}\t{encode(record.key)}\t{encode(record.value)}\t{headers}"


def write_read(directory: str, topic: str, rows: Iterable[tuple[int, int, Record]]) -> None:
    """`rows`: (partition, offset, record)."""
    text = "".join(f"{partition}\t{offset}\t{to_line(record)}\n" for partition, offset, record in rows)
    (Path(directory) / f"{topic}.tsv").write_text(text)


class Stop:
    """Set by SIGTERM: a member of a group leaves it and ends."""

    def __init__(self) -> None:
        self.is_set = False
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "is_set", True))


def main(
    produce: Callable[[str, list[Record], str, str, str], None],
    consume: Callable[[str, str], Iterable],
    group: Callable[[str, str, str, str, Stop], Iterable[tuple[int, int]]],
) -> None:
    command, bootstrap, path, *rest = sys.argv[1:]
    if command == "group":
        for partition, offset in group(bootstrap, path, *rest, Stop()):
            print(f"{partition}\t{offset}", flush=True)
    elif command == "produce":
        records = read_records(path)
        for spec in rest:
            produce(bootstrap, records, *spec.split(":"))
    else:
        for topic in rest:
            write_read(path, topic, consume(bootstrap, topic))
