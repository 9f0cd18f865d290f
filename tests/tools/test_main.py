"""`pykafkacore`: its subcommands, its help, the options of dev."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

from pykafkacore import __version__
from pykafkacore.tools import main
from tests.tools.kit import ours


def test_help_lists_every_command() -> None:
    done = ours("pykafkacore", "--help")
    assert (done.code, done.err) == (0, "")
    for name in ("dev", *main.TOOLS):
        assert f"\n  {name} " in done.out


def test_the_version_is_that_of_the_package() -> None:
    assert ours("pykafkacore", "--version").out == f"{__version__}\n"
    assert ours("kafka-topics", "--version").out == f"{__version__}\n"
    assert ours("kafka-server-start", "--version").out == f"{__version__}\n"


def test_no_command_is_a_failure_with_help() -> None:
    done = ours("pykafkacore")
    assert (done.code, done.out) == (1, "") and done.err.startswith("usage: pykafkacore")


def test_a_command_that_is_misspelt_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["topic"]) == 1
    assert capsys.readouterr().err.startswith("pykafkacore has no command topic: did you mean topics?")


@pytest.mark.parametrize("name", ["topics", "kafka-topics", "kafka-topics.sh"])
def test_every_tool_is_a_subcommand_under_all_of_its_names(capsys: pytest.CaptureFixture[str], name: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main.run([name, "--list"])
    assert ended.value.code == 1
    assert capsys.readouterr().err == "--bootstrap-server must be specified\n"


def test_every_entry_of_the_table_is_there() -> None:
    for module, function, _ in main.TOOLS.values():
        assert callable(getattr(import_module(f"pykafkacore.tools.{module}"), function))


def test_dev_has_defaults_and_takes_both_ways_of_writing() -> None:
    assert main.parse_dev([]) == {"port": "9092", "host": "127.0.0.1", "data": "data"}
    assert main.parse_dev(["--port=1", "--data", "d"]) == {"port": "1", "host": "127.0.0.1", "data": "d"}
    assert main.parse_dev(["--memory"])["memory"] == "true"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port"], "--port needs a value"),
        (["--port", "x"], "--port x is not a port"),
        (["--port", "65535"], "the controller takes the next one"),
        (["--nonsense"], "--nonsense is not an option of dev"),
        (["--data", "d", "--memory"], "--data and --memory exclude each other"),
    ],
)
def test_dev_says_what_is_wrong_with_its_options(arguments: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        main.parse_dev(arguments)


def test_no_tool_imports_what_it_does_not_need_to_say_its_version() -> None:
    import subprocess

    program = (
        "import sys\nfrom pykafkacore.tools.topics import run\n"
        "try: run(['--version'])\nexcept SystemExit: pass\n"
        "print(sorted({'trio', 'asyncio', 'json', 'pykafkacore._core', 'cluster'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [__version__, "[]"]


def test_the_modules_of_the_tools_do_not_import_one_another_in_a_circle() -> None:
    import subprocess

    for module in ("fetching", "console_consumer", "shown_records"):
        subprocess.run([sys.executable, "-c", f"import pykafkacore.tools.{module}"], check=True)
