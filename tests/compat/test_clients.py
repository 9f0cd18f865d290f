"""Every client produces a real data set with every codec and every acks; every other reads it back byte for byte."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from pykafkacore.testing import Broker
from tests.compat.clients.common import Record, read_records, to_line
from tests.support import apache

pytestmark = pytest.mark.compat

HERE = Path(__file__).parent
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
SPECS = [(codec, "default") for codec in CODECS] + [("none", acks) for acks in ("0", "1", "all")]


def python_client(name: str) -> list[str]:
    return [sys.executable, "-m", f"clients.{name}"]


def go_client() -> list[str]:
    binary = HERE / "go" / "target" / "compat"
    if not binary.exists() or binary.stat().st_mtime < (HERE / "go" / "main.go").stat().st_mtime:
        subprocess.run(["go", "build", "-o", str(binary), "."], cwd=HERE / "go", check=True, timeout=600)
    return [str(binary)]


def node_client() -> list[str]:
    if not (HERE / "node" / "node_modules").exists():
        command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"]
        subprocess.run(command, cwd=HERE / "node", check=True, timeout=600)
    return ["node", str(HERE / "node" / "client.js")]


def java_client() -> list[str]:
    reason = apache.missing()
    if reason:
        pytest.skip(reason)
    return apache.java("pykafkacore.Client")


CLIENTS = {
    "java": java_client,
    "confluent": lambda: python_client("confluent"),
    "kafka_python": lambda: python_client("kafka_python"),
    "aiokafka": lambda: python_client("aio"),
    "franz_go": go_client,
    "kafkajs": node_client,
    "kcat": lambda: ["kcat"],
}
PROGRAM = {"franz_go": "go", "kafkajs": "npm", "kcat": "kcat"}


def command_of(client: str) -> list[str]:
    program = PROGRAM.get(client)
    if program and shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    return CLIENTS[client]()


def run(client: str, *args: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    done = subprocess.run(
        [*command_of(client), *args], capture_output=True, text=True, timeout=300, env=environment, check=False
    )
    assert done.returncode == 0, f"{client} {' '.join(args)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def broker():
    with Broker({"num.partitions": "3", "log.retention.ms": "-1"}) as broker:
        yield broker


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> Path:
    """The airports of the United States, keyed by state: 3,376 rows that a PyPI package ships."""
    import vega_datasets

    source = Path(vega_datasets.__file__).parent / "_data" / "airports.csv"
    lines = source.read_text().splitlines()
    names = lines[0].split(",")
    state = names.index("state")
    rows = []
    for number, line in enumerate(lines[1:]):
        key = line.split(",")[state].encode()
        headers = [("source", b"airports.csv"), ("line", str(number).encode())]
        rows.append(to_line(Record(1_700_000_000_000 + number, key, line.encode(), headers)))
    path = tmp_path_factory.mktemp("records") / "airports.tsv"
    path.write_text("\n".join(rows) + "\n")
    return path


def produce_with_kcat(bootstrap: str, records: Path, topic: str, codec: str, acks: str) -> None:
    # kcat takes keys and values from lines, headers and timestamps from nowhere: it gets its own plain form.
    settings = [] if acks == "default" else ["-X", f"acks={acks}"]
    lines = "".join(
        f"{(r.key or b'').decode()}\x01{(r.value or b'').decode()}\n" for r in read_records(str(records))
    )
    command = ["kcat", "-P", "-b", bootstrap, "-t", topic, "-K", "\x01", "-z", codec, *settings]
    subprocess.run(command, input=lines, text=True, check=True, timeout=120, capture_output=True)


def read_with_kcat(bootstrap: str, topic: str) -> list[tuple[int, int, int, str, str]]:
    template = "%p\x01%o\x01%T\x01%k\x01%s\n"
    wait = ["-X", "fetch.wait.max.ms=20"]
    command = ["kcat", "-C", "-b", bootstrap, "-t", topic, "-o", "beginning", "-e", "-q", "-f", template, *wait]
    out = subprocess.run(command, text=True, check=True, timeout=120, capture_output=True).stdout
    rows = [line.split("\x01") for line in out.splitlines()]
    return sorted((int(p), int(o), int(t), k, v) for p, o, t, k, v in rows)


@pytest.fixture(scope="module")
def produced(broker, records, request) -> dict[str, list[str]]:
    """Topics by client, each holding the whole data set once."""
    return {}


@pytest.mark.parametrize("client", list(CLIENTS))
def test_a_client_produces_with_every_codec_and_acks(client, broker, records, produced) -> None:
    if client == "kcat":
        command_of(client)
        specs = [(f"{client}-{codec}-{acks}", codec, acks) for codec, acks in SPECS]
        for spec in specs:
            produce_with_kcat(broker.bootstrap_servers, records, *spec)
    else:
        specs = [(f"{client}-{codec}-{acks}", codec, acks) for codec, acks in SPECS]
        run(client, "produce", broker.bootstrap_servers, str(records), *(":".join(spec) for spec in specs))
    produced[client] = [topic for topic, _, _ in specs]


@pytest.mark.parametrize("reader", list(CLIENTS))
def test_a_client_reads_what_every_other_produced_byte_for_byte(reader, broker, records, produced, tmp_path) -> None:
    topics = [topic for topics in produced.values() for topic in topics]
    assert topics, "nothing was produced"
    sent = read_records(str(records))
    if reader == "kcat":
        command_of(reader)
        for topic in topics:
            check_plain(sent, read_with_kcat(broker.bootstrap_servers, topic), topic)
        return
    run(reader, "consume", broker.bootstrap_servers, str(tmp_path), *topics)
    for topic in topics:
        rows = [line.split("\t", 2) for line in (tmp_path / f"{topic}.tsv").read_text().splitlines()]
        by_partition = defaultdict(list)
        for partition, offset, record in rows:
            by_partition[int(partition)].append((int(offset), record))
        if topic.startswith("kcat-"):
            plain = []
            for partition, entries in by_partition.items():
                for offset, record in entries:
                    timestamp, key, value, _ = record.split("\t")
                    plain.append((partition, offset, int(timestamp), *(_text(each) for each in (key, value))))
            check_plain(sent, sorted(plain), topic)
            continue
        for entries in by_partition.values():
            assert [offset for offset, _ in entries] == list(range(len(entries))), f"offsets of {topic}"
        expected, found = defaultdict(list), defaultdict(list)
        for record in sent:
            expected[record.key].append(to_line(record))
        for entries in by_partition.values():
            for _, line in entries:
                found[read_key(line)].append(line)
        assert {key: sorted(lines) for key, lines in found.items()} == {
            key: sorted(lines) for key, lines in expected.items()
        }, topic
        assert found == expected, f"order per key of {topic}"


def read_key(line: str) -> bytes | None:
    from tests.compat.clients.common import decode

    return decode(line.split("\t")[1])


def _text(encoded: str) -> str:
    from tests.compat.clients.common import decode

    return (decode(encoded) or b"").decode()


def check_plain(sent: list[Record], rows: list[tuple[int, int, int, str, str]], topic: str) -> None:
    """Keys and values in order per key, offsets without gaps: all that kcat can carry."""
    expected, found = defaultdict(list), defaultdict(list)
    for record in sent:
        expected[(record.key or b"").decode()].append((record.value or b"").decode())
    last: dict[int, int] = {}
    for partition, offset, _, key, value in rows:
        assert offset == last.get(partition, -1) + 1, f"offsets of {topic}"
        last[partition] = offset
        found[key].append(value)
    assert found == expected, topic
