"""pykafkacore: one command for everything: `pykafkacore dev`, and every tool as a subcommand.

What it is: a table of subcommands, and a broker for development in one line.
What it is not: any of the tools; each is imported only when it is asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

# subcommand -> (module, function, what it does)
TOOLS = {
    "server-start": ("server", "start", "start a broker from a server.properties"),
    "server-stop": ("server", "stop", "stop the brokers of this user"),
    "storage": ("storage", "main", "format log directories, make uuids"),
    "topics": ("topics", "main", "create, list, describe, alter and delete topics"),
    "configs": ("configs", "main", "describe and alter configs of topics, brokers, groups and client metrics"),
    "console-producer": ("console_producer", "main", "send lines of standard input as records"),
    "console-consumer": ("console_consumer", "main", "print records"),
    "dump-log": ("dump_log", "main", "print segments, indexes and snapshots of a log directory"),
    "broker-api-versions": ("api_versions", "main", "list the APIs that brokers speak"),
    "cluster": ("cluster", "main", "tell the cluster id, list endpoints, unregister brokers"),
    "consumer-groups": ("consumer_groups", "main", "list, describe and delete consumer groups, reset their offsets"),
    "transactions": ("transactions", "main", "list, describe and end transactions, find those that hang"),
    "get-offsets": ("get_offsets", "main", "tell where partitions begin, end, or are for a time"),
    "log-dirs": ("log_dirs", "main", "tell what lies in which log directory"),
    "delete-records": ("delete_records", "main", "let partitions begin at later offsets"),
}

DEV_USAGE = "usage: pykafkacore dev [--port 9092] [--host 127.0.0.1] [--data DIR | --memory]"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    raise SystemExit(run(sys.argv[1:] if arguments is None else list(arguments)))


def help_text() -> str:
    width = max(map(len, TOOLS))
    lines = [f"  {name:<{width}}  {about}" for name, (_, _, about) in TOOLS.items()]
    return "\n".join(
        [
            "usage: pykafkacore [--version] [--help] <command> ...",
            "",
            f"  {'dev':<{width}}  run a broker on this machine, formatted on first use",
            *lines,
            "",
            "pykafkacore <command> --help tells more. Each of these is also installed as kafka-<command>.",
        ]
    )


def run(arguments: list[str]) -> int:
    if not arguments:
        print(help_text(), file=sys.stderr)
        return 1
    command, rest = arguments[0], arguments[1:]
    if command in ("--help", "-h", "help"):
        print(help_text())
        return 0
    if command in ("--version", "version"):
        from pykafkacore import __version__

        print(__version__)
        return 0
    if command == "dev":
        return _dev(rest)
    name = command.removeprefix("kafka-").removesuffix(".sh")
    if name not in TOOLS:
        print(f"pykafkacore has no command {command}{_nearest(name)}\n\n{help_text()}", file=sys.stderr)
        return 1
    from importlib import import_module

    module, function, _ = TOOLS[name]
    getattr(import_module(f"pykafkacore.tools.{module}"), function)(rest)
    return 0


def _nearest(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, ["dev", *TOOLS], 1)
    return f": did you mean {near[0]}?" if near else ""


def parse_dev(arguments: Sequence[str]) -> dict[str, str]:
    """The options of dev by name; ValueError says what is wrong. By hand: argparse would cost a tenth of the start."""
    found = {"port": "9092", "host": "127.0.0.1", "data": "data"}
    rest = list(arguments)
    given = set()
    while rest:
        option, equals, value = rest.pop(0).partition("=")
        name = option.removeprefix("--")
        if name == "memory" and not equals:
            found["memory"] = "true"
        elif option.startswith("--") and name in ("port", "host", "data"):
            if not equals:
                if not rest:
                    raise ValueError(f"{option} needs a value")
                value = rest.pop(0)
            found[name] = value
        else:
            raise ValueError(f"{option} is not an option of dev")
        given.add(name)
    if {"data", "memory"} <= given:
        raise ValueError("--data and --memory exclude each other")
    if not found["port"].isdecimal() or int(found["port"]) > 65534:
        raise ValueError(f"--port {found['port']} is not a port: the controller takes the next one, so 65534 is the last")
    return found


def _dev(arguments: Sequence[str]) -> int:
    if any(each in ("--help", "-h") for each in arguments):
        print(DEV_USAGE)
        return 0
    try:
        options = parse_dev(arguments)
    except ValueError as error:
        print(f"{error}\n{DEV_USAGE}", file=sys.stderr)
        return 1
    import gc

    gc.disable()  # until the broker serves: what is imported stays
    from cluster.broker.main import dev

    port, host = int(options["port"]), options["host"]
    if "memory" not in options:
        return dev(port, options["data"], host)
    import os
    from tempfile import TemporaryDirectory

    # Where the system has a file system in memory, that is where the logs go; else a directory that is removed.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with TemporaryDirectory(prefix="pykafkacore-", dir=memory) as directory:
        return dev(port, directory, host)


if __name__ == "__main__":
    main()
