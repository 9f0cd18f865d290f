"""The programs that start and stop brokers, as an operator runs them."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from pykafkacore.tools.server import find_servers, own_processes
from tests.support.apache import addresses, free_port, wait_for_port
from tests.support.waiting import wait_until
from tests.tools.kit import PROGRAMS, ours

pytestmark = pytest.mark.e2e

# kafka-server-stop looks at every broker of this user: nothing but this one may have this id.
NODE_ID = str(1_000_000 + os.getpid())


def write_properties(directory: Path, port: int) -> Path:
    lines = {
        "process.roles": "broker,controller",
        "node.id": NODE_ID,
        **addresses(port, free_port()),
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(directory / "data"),
    }
    path = directory / "server.properties"
    path.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
    return path


@pytest.fixture
def properties(tmp_path: Path) -> tuple[Path, int]:
    port = free_port()
    path = write_properties(tmp_path, port)
    done = ours("kafka-storage", "format", "-s", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", str(path))
    assert done.code == 0, done
    return path, port


def launch(*command: str, cwd: Path | None = None) -> subprocess.Popen[str]:
    program = [str(PROGRAMS / command[0]), *command[1:]]
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd)


def test_a_broker_starts_from_its_properties_and_stops_by_kafka_server_stop(properties: tuple[Path, int]) -> None:
    path, port = properties
    process = launch("kafka-server-start", path.name, "--override", "num.partitions=3", cwd=path.parent)
    try:
        wait_for_port(port, process, 30)
        bootstrap = f"127.0.0.1:{port}"
        assert ours("kafka-topics", "--bootstrap-server", bootstrap, "--create", "--topic", "t").code == 0
        found = ours("kafka-topics", "--bootstrap-server", bootstrap, "--describe", "--topic", "t").out
        assert "PartitionCount: 3" in found, "the override does not hold"
        other = ours("kafka-server-stop", "--process-role=controller", f"--node-id={NODE_ID}")
        assert other.code == 1, "a combined node is not a controller alone"
        assert ours("kafka-server-stop", f"--node-id={NODE_ID}", "--process-role=controller,broker").code == 0
        process.communicate(timeout=30)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def test_a_daemon_leaves_the_terminal_and_stops_by_its_id(properties: tuple[Path, int], tmp_path: Path) -> None:
    path, port = properties
    command = [str(PROGRAMS / "kafka-server-start"), "-daemon", str(path)]
    done = subprocess.run(command, capture_output=True, timeout=30, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    try:
        # It waits by itself until somebody answers.
        assert ours("kafka-cluster", "cluster-id", "-b", f"127.0.0.1:{port}").code == 0
    finally:
        stopped = ours("kafka-server-stop", f"--node-id={NODE_ID}")
    assert stopped.code == 0
    wait_until(lambda: not find_servers(own_processes(), None, NODE_ID), 30)
    assert (tmp_path / "logs" / "kafkaServer.out").exists()


def test_nothing_to_stop_is_said_and_a_failure() -> None:
    done = ours("kafka-server-stop", "--node-id=999999999")
    assert (done.code, done.out) == (1, "No kafka server to stop with node.id=999999999\n")


def test_a_directory_that_is_not_formatted_is_no_start(tmp_path: Path) -> None:
    path = write_properties(tmp_path, free_port())
    done = ours("kafka-server-start", str(path))
    assert done.code == 1
    # The broker's log goes to standard output, as Apache's does.
    assert "kafka-storage" in done.out and "Traceback" not in done.out + done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "USAGE: kafka-server-start"),
        (["nowhere.properties"], "nowhere.properties: No such file or directory"),
        (["x.properties", "--override"], "--override needs property=value"),
        (["x.properties", "nonsense"], "Found non argument parameters: nonsense"),
    ],
)
def test_a_start_that_is_misspelt_is_refused(arguments: list[str], said: str) -> None:
    done = ours("kafka-server-start", *arguments)
    assert done.code == 1 and said in done.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_dev_prints_where_it_listens_and_stops_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    port = free_port()
    process = launch("pykafkacore", "dev", "--port", str(port), "--data", str(tmp_path / "dev"))
    try:
        wait_for_port(port, process, 30)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert f"127.0.0.1:{port}" in line
        done = ours("kafka-console-producer", "--bootstrap-server", f"127.0.0.1:{port}", "--topic", "t", stdin=b"one\n")
        assert done.code == 0, done
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
    finally:
        process.kill()
        process.communicate()


def test_dev_keeps_its_data_for_the_next_time(tmp_path: Path) -> None:
    port = free_port()
    for stdin, expected in ((b"one\n", "one\n"), (b"two\n", "one\ntwo\n")):
        process = launch("pykafkacore", "dev", "--port", str(port), "--data", str(tmp_path / "dev"))
        try:
            wait_for_port(port, process, 30)
            where = ["--bootstrap-server", f"127.0.0.1:{port}", "--topic", "t"]
            assert ours("kafka-console-producer", *where, stdin=stdin).code == 0
            count = str(expected.count("\n"))
            found = ours("kafka-console-consumer", *where, "--from-beginning", "--max-messages", count, "--timeout-ms", "9000")
            assert (found.out, found.err) == (expected, f"Processed a total of {count} messages\n")
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
            assert process.returncode == 0
        finally:
            process.kill()
            process.communicate()


def test_ctrl_c_ends_a_consumer_with_its_count(tmp_path: Path) -> None:
    port = free_port()
    broker = launch("pykafkacore", "dev", "--port", str(port), "--data", str(tmp_path / "dev"))
    consumer = None
    try:
        wait_for_port(port, broker, 30)
        where = ["--bootstrap-server", f"127.0.0.1:{port}", "--topic", "t"]
        assert ours("kafka-console-producer", *where, stdin=b"one\n").code == 0
        consumer = launch("kafka-console-consumer", *where, "--from-beginning")
        assert consumer.stdout is not None
        assert consumer.stdout.readline() == "one\n"
        consumer.send_signal(signal.SIGINT)
        _, errors = consumer.communicate(timeout=30)
        assert errors == "Processed a total of 1 messages\n"
        assert consumer.returncode == 130
    finally:
        for process in (consumer, broker):
            if process is not None:
                process.kill()
                process.communicate()


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_member_of_a_group_goes_on_when_the_broker_was_killed_and_leaves_when_told(
    properties: tuple[Path, int], tmp_path: Path, protocol: str
) -> None:
    path, port = properties
    where = ["--bootstrap-server", f"127.0.0.1:{port}"]
    out, err = tmp_path / "out", tmp_path / "err"

    def start() -> subprocess.Popen[str]:
        process = launch("kafka-server-start", str(path), "--override", "offsets.topic.replication.factor=1")
        wait_for_port(port, process, 30)
        return process

    def produce(word: str) -> None:
        assert ours("kafka-console-producer", *where, "--topic", "t", stdin=f"{word}\n".encode()).code == 0
        wait_until(lambda: word in out.read_text(), 30)

    broker = start()
    command = [str(PROGRAMS / "kafka-console-consumer"), *where, "--topic", "t", "--group", "g", "--from-beginning"]
    with open(out, "wb") as to, open(err, "wb") as errors:
        reader = subprocess.Popen([*command, "--command-property", f"group.protocol={protocol}"], stdout=to, stderr=errors)
    try:
        produce("before")
        broker.kill()
        broker.communicate()
        broker = start()
        produce("after")
        reader.send_signal(signal.SIGINT)
        assert reader.wait(30) == 130
        assert (out.read_text(), err.read_text()) == ("before\nafter\n", "Processed a total of 2 messages\n")
        told = ours("kafka-consumer-groups", *where, "--describe", "--group", "g")
        assert told.err == "\nConsumer group 'g' has no active members.\n", "it has left"
        row = told.out.splitlines()[-1].split()
        assert row == ["g", "t", "0", "2", "2", "0", "-", "-", "-"], "all that was printed is committed"
    finally:
        for process in (reader, broker):
            process.kill()
            process.wait()
