"""kafka-server-start and kafka-server-stop without starting anything: options, and whose process is a broker."""

from __future__ import annotations

from pathlib import Path

import pytest

from pykafkacore.tools.server import (
    Process,
    StartOptions,
    find_servers,
    own_processes,
    parse_start,
    run_start,
    run_stop,
    server_arguments,
)


def test_a_start_takes_a_file_and_overrides() -> None:
    assert parse_start(["s.properties"]) == StartOptions("s.properties", {}, False)
    assert parse_start(["-daemon", "s.properties", "--override", "a=b=c", "--override=d= e"]) == StartOptions(
        "s.properties", {"a": "b=c", "d": "e"}, True
    )
    assert parse_start(["-name", "kafka", "-loggc", "s.properties"]).properties == "s.properties"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "is missing"),
        (["--override", "a=b"], "is missing"),
        (["s", "--override"], "--override needs property=value"),
        (["s", "--override", "a"], "--override a: expected property=value"),
        (["s", "more"], "Found non argument parameters: more"),
    ],
)
def test_a_start_that_cannot_be_is_explained(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert run_start(arguments) == 1
    error = capsys.readouterr().err
    assert said in error and "USAGE: kafka-server-start" in error


def test_a_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_start(["nowhere.properties"]) == 1
    assert capsys.readouterr().err == "nowhere.properties: No such file or directory\n"


@pytest.mark.parametrize(
    ("command", "found"),
    [
        (["/v/bin/python3", "/v/bin/kafka-server-start", "s.properties"], ["s.properties"]),
        (["python", "-X", "dev", "/v/bin/pykafkacore", "server-start", "-daemon", "s"], None),
        (["python", "-u", "/v/bin/pykafkacore", "server-start", "-daemon", "s"], ["-daemon", "s"]),
        (["python", "/v/bin/pykafkacore", "dev"], None),
        (["vim", "kafka-server-start"], None),
        (["python", "-c", "kafka-server-start"], None),
        (["python"], None),
        ([], None),
    ],
)
def test_a_broker_is_known_by_its_command_line(command: list[str], found: list[str] | None) -> None:
    arguments = server_arguments(command)
    assert (None if arguments is None else list(arguments)) == found


@pytest.fixture
def brokers(tmp_path: Path) -> list[Process]:
    (tmp_path / "one.properties").write_text("process.roles=broker,controller\nnode.id=1\n")
    (tmp_path / "two.properties").write_text("process.roles=controller\nnode.id=2\n")

    def process(number: int, *arguments: str) -> Process:
        return Process(number, ("python", "/bin/kafka-server-start", *arguments), str(tmp_path))

    return [
        process(11, "one.properties"), process(12, "two.properties"),
        process(13, "one.properties", "--override", "node.id=3"), process(14, "gone.properties"),
        Process(15, ("python", "other.py"), "/"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("role", "node_id", "found"),
    [
        (None, None, [11, 12, 13, 14]),
        (None, "1", [11]),
        (None, "3", [13]),
        ("controller", None, [12]),
        ("controller,broker", None, [11, 13]),
        ("controller", "1", []),
    ],
)
def test_brokers_are_found_by_their_role_and_id(
    brokers: list[Process], role: str | None, node_id: str | None, found: list[int]
) -> None:
    assert find_servers(brokers, role, node_id) == found


def test_nothing_to_stop_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_stop([], processes=lambda: []) == 1
    assert run_stop(["--process-role=broker", "--node-id=4"], processes=lambda: []) == 1
    assert capsys.readouterr().out == (
        "No kafka server to stop\nNo kafka server to stop with process.roles=broker and node.id=4\n"
    )


def test_a_stop_that_is_misspelt_stops_nothing(capsys: pytest.CaptureFixture[str], brokers: list[Process]) -> None:
    assert run_stop(["--node=1"], processes=lambda: brokers) == 1
    assert run_stop(["--help"], processes=lambda: brokers) == 0
    assert "USAGE: kafka-server-stop" in capsys.readouterr().err


def test_processes_are_read_from_a_table(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "77").mkdir()
    (tmp_path / "77" / "cmdline").write_bytes(b"python\0x.py\0")
    (tmp_path / "77" / "cwd").symlink_to("/somewhere")
    (tmp_path / "78").mkdir()  # gone while it is looked at
    (tmp_path / "uptime").write_text("1")
    assert list(own_processes(str(tmp_path))) == [Process(77, ("python", "x.py"), "/somewhere")]
