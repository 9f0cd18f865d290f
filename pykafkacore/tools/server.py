"""kafka-server-start and kafka-server-stop.

What it is: reading server.properties and its overrides, going into the background, and finding the brokers of this user.
What it is not: the broker (cluster/broker/main.py).
A broker is known by its command line in the process table, as with Apache's script: no pid file can go stale.
Nothing heavy is imported here: from exec to the first record counts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

from msgspec import Struct

START_USAGE = "USAGE: kafka-server-start [-daemon] server.properties [--override property=value]*"
STOP_USAGE = "USAGE: kafka-server-stop [--process-role=broker|controller] [--node-id=N]"


def start(arguments: Sequence[str] | None = None) -> NoReturn:
    raise SystemExit(run_start(sys.argv[1:] if arguments is None else list(arguments)))


def stop(arguments: Sequence[str] | None = None) -> NoReturn:
    raise SystemExit(run_stop(sys.argv[1:] if arguments is None else list(arguments)))


class StartOptions(Struct, frozen=True):
    properties: str
    overrides: dict[str, str]
    is_daemon: bool


def parse_start(arguments: Sequence[str]) -> StartOptions:
    """ValueError says what is wrong."""
    rest = list(arguments)
    is_daemon = False
    while rest and rest[0] in ("-daemon", "--daemon", "-name", "-loggc"):
        option = rest.pop(0)
        is_daemon = is_daemon or option.endswith("daemon")
        if option == "-name" and rest:
            rest.pop(0)  # names a Java process; taken so that scripts keep working
    if not rest or rest[0].startswith("-"):
        raise ValueError("the path of a server.properties is missing")
    properties = rest.pop(0)
    overrides: dict[str, str] = {}
    while rest:
        option = rest.pop(0)
        if option == "--override":
            if not rest:
                raise ValueError("--override needs property=value")
            text = rest.pop(0)
        elif option.startswith("--override="):
            text = option.removeprefix("--override=")
        else:
            raise ValueError(f"Found non argument parameters: {option}")
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise ValueError(f"--override {text}: expected property=value")
        overrides[key.strip()] = value.strip()
    return StartOptions(properties, overrides, is_daemon)


def run_start(arguments: Sequence[str]) -> int:
    if any(each in ("--version", "-version") for each in arguments):
        from pykafkacore import __version__

        print(__version__)
        return 0
    if any(each in ("--help", "-h") for each in arguments):
        print(START_USAGE, file=sys.stderr)
        return 0
    try:
        options = parse_start(arguments)
    except ValueError as error:
        print(f"{error}\n{START_USAGE}", file=sys.stderr)
        return 1
    try:
        with open(options.properties, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        print(f"{options.properties}: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        return 1
    if options.is_daemon:
        _go_into_background(os.environ.get("LOG_DIR", "logs"))
    import gc

    gc.disable()  # until the broker serves: what is imported stays
    from cluster.broker.main import run

    return run(text, options.overrides)


def _go_into_background(log_directory: str) -> None:
    """Leave the terminal; output goes to kafkaServer.out in the directory for logs, as with Apache's script."""
    os.makedirs(log_directory, exist_ok=True)
    out = os.open(os.path.join(log_directory, "kafkaServer.out"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    for target, source in ((0, nothing), (1, out), (2, out)):
        os.dup2(source, target)


# ---- stop


class Process(Struct, frozen=True):
    process_id: int
    arguments: tuple[str, ...]
    directory: str


def server_arguments(arguments: Sequence[str]) -> Sequence[str] | None:
    """The arguments of a broker's command line after `kafka-server-start`; None for any other program."""
    if len(arguments) < 2 or not os.path.basename(arguments[0]).startswith(("python", "pypy")):
        return None
    position = 1
    while position < len(arguments) and arguments[position].startswith("-"):
        if arguments[position] in ("-c", "-m"):
            return None  # what follows is no script
        position += 1  # options of the interpreter
    if position == len(arguments):
        return None
    script, rest = os.path.basename(arguments[position]), arguments[position + 1 :]
    if script in ("kafka-server-start", "kafka-server-start.sh"):
        return rest
    if script == "pykafkacore" and list(rest[:1]) == ["server-start"]:
        return rest[1:]
    return None


def own_processes(table: str = "/proc") -> Iterable[Process]:
    """Processes of this user, from the table of Linux, or from ps elsewhere."""
    if not os.path.isdir(os.path.join(table, "self")):
        yield from _processes_by_ps()
        return
    for name in os.listdir(table):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        path = os.path.join(table, name)
        try:
            if os.stat(path).st_uid != os.geteuid():
                continue
            with open(os.path.join(path, "cmdline"), "rb") as file:
                arguments = tuple(os.fsdecode(each) for each in file.read().split(b"\0")[:-1])
            yield Process(int(name), arguments, os.readlink(os.path.join(path, "cwd")))
        except OSError:
            continue  # gone meanwhile


def _processes_by_ps() -> Iterable[Process]:
    import subprocess

    done = subprocess.run(
        ["ps", "-xww", "-U", str(os.geteuid()), "-o", "pid=,command="], capture_output=True, text=True, check=False
    )
    for line in done.stdout.splitlines():
        number, _, command = line.strip().partition(" ")
        if number.isdigit() and int(number) != os.getpid():
            yield Process(int(number), tuple(command.split()), ".")


def _settings_of(process: Process, arguments: Sequence[str]) -> dict[str, str]:
    from cluster.config.properties import PropertiesError, parse_properties

    try:
        options = parse_start(arguments)
        with open(os.path.join(process.directory, options.properties), encoding="utf-8") as file:
            found = {key: entry.value for key, entry in parse_properties(file.read()).items()}
        return {**found, **options.overrides}
    except (OSError, ValueError, PropertiesError):
        return {}


def find_servers(processes: Iterable[Process], role: str | None, node_id: str | None) -> list[int]:
    """Process ids of the brokers that match; a broker whose properties cannot be read matches no filter."""
    found = []
    for process in processes:
        arguments = server_arguments(process.arguments)
        if arguments is None:
            continue
        if role is not None or node_id is not None:
            settings = _settings_of(process, arguments)
            roles = sorted(each.strip() for each in settings.get("process.roles", "").split(","))
            if role is not None and roles != sorted(each.strip() for each in role.split(",")):
                continue
            if node_id is not None and settings.get("node.id", "").strip() != node_id:
                continue
        found.append(process.process_id)
    return sorted(found)


def run_stop(arguments: Sequence[str], processes: Callable[[], Iterable[Process]] = own_processes) -> int:
    from signal import SIGTERM

    role = node_id = None
    for each in arguments:
        option, equals, value = each.partition("=")
        if option == "--process-role" and value:
            role = value
        elif option == "--node-id" and value:
            node_id = value
        else:
            print(f"{each} is not understood\n{STOP_USAGE}", file=sys.stderr)
            return 0 if each in ("--help", "-h") else 1
    found = find_servers(processes(), role, node_id)
    if not found:
        filters = [f"{key}={value}" for key, value in (("process.roles", role), ("node.id", node_id)) if value]
        print(f"No kafka server to stop{' with ' + ' and '.join(filters) if filters else ''}")
        return 1
    for process_id in found:
        try:
            os.kill(process_id, SIGTERM)
        except ProcessLookupError:
            continue
        except PermissionError as error:
            print(f"process {process_id}: {error.strerror}", file=sys.stderr)
            return 1
    return 0
