"""What the command line tools share: options, properties files, reaching a cluster, and how they fail.

What it is: an argument parser that complains as Apache's tools do, and `run`, which gives a tool its client.
What it is not: any tool's own business. Help texts are this project's own words; flags, output and exit codes are Kafka's.
INVARIANT: a tool never shows a traceback for something a user did or a cluster said; it says it in a line and exits 1.
"""

from __future__ import annotations

import re
import sys
from argparse import Action, ArgumentParser, HelpFormatter, Namespace
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from pykafkacore.client import Client

Key = TypeVar("Key")

REACH_TIMEOUT_MS = 10_000
API_TIMEOUT_MS = 60_000


class ToolError(Exception):
    """What a tool cannot do; its text is for the user."""


def fail(message: str) -> NoReturn:
    """Say why on stderr and end with exit code 1."""
    print(message, file=sys.stderr)
    raise SystemExit(1)


class _Once(Action):
    """Stores a value, and remembers the first option that was given twice."""

    def __call__(self, parser: ArgumentParser, namespace: Namespace, values: Any, option_string: str | None = None) -> None:
        given = namespace.__dict__.setdefault("given_options", set())
        if self.dest in given and not hasattr(namespace, "repeated_option"):
            namespace.repeated_option = self.option_strings[-1].lstrip("-")
        given.add(self.dest)
        setattr(namespace, self.dest, values)


class Parser(ArgumentParser):
    """argparse with the manners of Apache's tools: exit code 1, `Missing required argument "[topic]"` and the like."""

    may_repeat = False

    def __init__(self, program: str, about: str, **more: Any) -> None:
        def formatter(prog: str) -> HelpFormatter:
            return HelpFormatter(prog, max_help_position=40, width=100)

        super().__init__(
            prog=program, description=about, formatter_class=formatter, add_help=False, allow_abbrev=False, **more
        )
        self.on_bad_value: Callable[[str, str], None] = lambda option, message: None
        """Called with option and message before the program ends for a value: a tool may say it elsewhere."""
        self.complain: Callable[[str], NoReturn] = fail
        """Ends the program for options that cannot be taken as they are."""
        if not self.may_repeat:
            self.register("action", None, _Once)
            self.register("action", "store", _Once)

    def parse(self, arguments: Sequence[str] | None) -> Namespace:
        """The options, or exit 1. KAFKA: `-topic` is `--topic`; what is neither option nor value is passed over."""
        known = self._option_string_actions
        rest = iter(sys.argv[1:] if arguments is None else arguments)
        tokens = []
        for token in rest:
            if token.startswith("-") and f"-{token.partition('=')[0]}" in known:
                token = f"-{token}"
            if token in known and known[token].nargs is None and (value := next(rest, None)) is not None:
                # KAFKA: what follows is the value, and be it another option.
                token = f"{token}={value}"
            tokens.append(token)
        options, extra = self.parse_known_args(tokens)
        for one in extra:
            if one.startswith("-") and len(one) > 1:
                name = one.lstrip("-").partition("=")[0]
                self.complain(f"{name} is not a recognized option")
        repeated = getattr(options, "repeated_option", None)
        if repeated is not None and not getattr(options, "help", False):
            self._bad_value(repeated, f"Found multiple arguments for option {repeated}, but you asked for only one")
        return options

    def _bad_value(self, option: str, message: str) -> NoReturn:
        self.on_bad_value(option, message)
        self.complain(message)

    def error(self, message: str) -> NoReturn:
        option, text = _translated(message)
        if text.startswith("Cannot parse"):
            self._bad_value(option, text)
        if option:
            self.complain(text)
        self.usage_error(text)

    def usage_error(self, message: str) -> NoReturn:
        """The message and the help on stderr, exit 1."""
        print(message, file=sys.stderr)
        self.print_help(sys.stderr)
        raise SystemExit(1)

    def require(self, options: Namespace, *names: str) -> None:
        for name in names:
            if getattr(options, name.replace("-", "_")) is None:
                self.usage_error(f'Missing required argument "[{name}]"')

    def refuse_together(self, options: Namespace, used: str, *others: str) -> None:
        """`used` was given: none of `others` may be."""
        for other in others:
            if getattr(options, other.replace("-", "_")) not in (None, False, []):
                self.usage_error(f'Option "[{used}]" can\'t be used with option "[{other}]"')


NUMBERS = {"int": "Integer", "long": "Long", "short": "Short"}
_BAD_NUMBER = re.compile(rf"(argument .*): invalid ({'|'.join(NUMBERS)}) value: '(.*)'", re.DOTALL)


def long(text: str) -> int:
    """For options that are numbers of 64 bits. Called as it is: its name is what a complaint is made of."""
    return _within(text, 64)


def short(text: str) -> int:
    return _within(text, 16)


def _within(text: str, bits: int) -> int:
    value = int(text)
    if not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise ValueError(f"{text} has more than {bits} bits")
    return value


class CommandParser(Parser):
    """For tools with subcommands. They complain with a short usage and `kafka-x: error: ...`."""

    may_repeat = True

    def __init__(self, program: str, about: str, tool: str | None = None, help_code: int = 0, **more: Any) -> None:
        super().__init__(program, about, **more)
        self.tool = tool or program
        self.help_code = help_code
        self.add_argument("-h", "--help", action="help", help="print this help")

    def add_commands(self, *names: str) -> Any:
        def make(prog: str, about: str, **more: Any) -> CommandParser:
            return CommandParser(prog, about, self.tool, self.help_code, **more)

        parser_class: Any = make
        return self.add_subparsers(dest="command", required=True, parser_class=parser_class, metavar=f"{{{','.join(names)}}}")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Here, as the command itself is to complain about what it does not know."""
        options, extra = super().parse_known_args(args, namespace)
        if extra:
            self.error(f"unrecognized arguments: '{extra[0]}'")
        return options, extra

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        # Help is all that argparse itself ends the program for: `error` is ours.
        raise SystemExit(status or self.help_code)

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        missing = message.removeprefix("the following arguments are required: ")
        if missing != message:
            names = missing.split(", ")
            has_command = not any(name.startswith(("command", "{")) for name in names)
            message = f"argument {names[0]} is required" if has_command else "too few arguments"
        elif message.startswith("argument ") and ": invalid choice" in message:
            message = message.partition(": ")[2]
        elif (found := _BAD_NUMBER.fullmatch(message)) is not None:
            kind, value = NUMBERS[found[2]], found[3]
            message = f"{found[1]}: could not convert '{value}' to {kind} (For input string: \"{value}\")"
        print(f"{self.tool}: error: {message}", file=sys.stderr)
        raise SystemExit(1)


def _translated(message: str) -> tuple[str, str]:
    """The option that argparse complains about, if it is about one, and its complaint in the words of Apache's tools."""
    head, colon, rest = message.partition(": ")
    if not head.startswith("argument ") or not colon:
        return "", message
    option = head.removeprefix("argument ").split("/")[0].lstrip("-")
    if rest.startswith("expected"):
        return option, f"Option {option} requires an argument"
    return option, f"Cannot parse argument {rest.rpartition(': ')[2]} of option {option}"


def add_common(parser: Parser, *, version: bool = True, controller: bool = False) -> None:
    """--bootstrap-server, --command-config, --help and --version."""
    parser.add_argument("--bootstrap-server", metavar="HOST:PORT,...", help="brokers to connect to first")
    if controller:
        parser.add_argument("--bootstrap-controller", metavar="HOST:PORT,...", help="controllers to connect to first")
    else:
        parser.set_defaults(bootstrap_controller=None)
    parser.add_argument("--command-config", metavar="FILE", help="properties file with settings of the client")
    parser.add_argument("--help", action="store_true", help="print this help")
    if version:
        parser.add_argument("--version", action="store_true", help="print the version")


def handle_help(parser: Parser, options: Namespace, about: str) -> None:
    """--help and --version end here."""
    if getattr(options, "help", False):
        # KAFKA: help goes to standard error, and the exit code is 1.
        parser.usage_error(about)
    if getattr(options, "version", False):
        from pykafkacore import __version__

        print(__version__)
        raise SystemExit(0)


def moved_option(parser: Parser, options: Namespace, new: str, old: str, mark: str, *, old_first: bool = False) -> None:
    """Take an option under its old name too: not both at once, and with a word that the name goes away."""
    first, second = (old, new) if old_first else (new, old)
    new_field, old_field = new.replace("-", "_"), old.replace("-", "_").replace(".", "_")
    if not getattr(options, old_field):
        return
    if getattr(options, new_field):
        parser.usage_error(f"Options --{first} and --{second} cannot be specified together.")
    print(f"{mark} --{old} is deprecated and will be removed in a future version. Use --{new} instead.")
    setattr(options, new_field, getattr(options, old_field))


# ---- properties


def read_properties(path: str) -> dict[str, str]:
    from cluster.config.properties import PropertiesError, parse_properties

    try:
        with open(path, encoding="utf-8") as file:
            return {key: entry.value for key, entry in parse_properties(file.read()).items()}
    except OSError as error:
        raise ToolError(f"{path}: {error.strerror or error}") from None
    except (PropertiesError, UnicodeDecodeError) as error:
        raise ToolError(f"{path}: {error}") from None


def parse_pairs(texts: Iterable[str], option: str) -> dict[str, str]:
    """`key=value` arguments. KAFKA: a key alone has the empty value; the last of several holds."""
    found: dict[str, str] = {}
    for text in texts:
        key, _, value = text.partition("=")
        if not key:
            raise ToolError(f"--{option} {text}: expected key=value")
        found[key] = value
    return found


def client_properties(file: str | None, pairs: dict[str, str] | None = None) -> dict[str, str]:
    """Settings of the client from a file and the command line; what cannot be offered is refused by name."""
    found = {**(read_properties(file) if file else {}), **(pairs or {})}
    protocol = found.get("security.protocol", "PLAINTEXT")
    if protocol.upper() != "PLAINTEXT":
        raise ToolError(f"security.protocol={protocol} is not offered yet: only PLAINTEXT is")
    return found


def int_property(properties: dict[str, str], key: str, default: int) -> int:
    text = properties.get(key)
    if text is None:
        return default
    try:
        return int(text.strip())
    except ValueError:
        raise ToolError(f"Invalid value {text} for configuration {key}: not a whole number") from None


# ---- addresses and the client


def parse_bootstrap(text: str, option: str = "bootstrap-server") -> list[tuple[str, int]]:
    """`host:port,[::1]:port`, or ToolError."""
    found = []
    for part in (each.strip() for each in text.split(",") if each.strip()):
        host, colon, port = part.rpartition(":")
        host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if not colon or not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
            raise ToolError(f"--{option} {text}: {part} is not host:port")
        found.append((host, int(port)))
    if not found:
        raise ToolError(f"--{option} is empty: give host:port")
    return found


def say_on_stderr(message: str) -> None:
    print(message, file=sys.stderr)


def run_with_client(
    options: Namespace,
    work: Callable[[Client], Awaitable[int | None]],
    on_error: Callable[[str], None] = say_on_stderr,
    on_bad_settings: Callable[[str], None] = say_on_stderr,
) -> int:
    """Run `work` with a client of the cluster that the options name; the exit code."""
    try:
        settings = client_properties(options.command_config)
        is_controller = options.bootstrap_server is None and options.bootstrap_controller is not None
        option = "bootstrap-controller" if is_controller else "bootstrap-server"
        address = options.bootstrap_controller if is_controller else options.bootstrap_server
        if address is None:
            raise ToolError("--bootstrap-server must be specified")
        bootstrap = parse_bootstrap(address, option)
    except ToolError as error:
        on_bad_settings(str(error))
        return 1
    try:
        return run_client(bootstrap, settings, work, option)
    except ToolError as error:
        on_error(str(error))
        return 1


def run_client(
    bootstrap: list[tuple[str, int]],
    settings: dict[str, str],
    work: Callable[[Client], Awaitable[int | None]],
    option: str = "bootstrap-server",
) -> int:
    """The same for known addresses; what goes wrong is a ToolError."""
    import trio

    from pykafkacore.client import ConnectionClosed, UnsupportedApi, open_client
    from pykafkacore.protocol.errors import ApiError
    from pykafkacore.protocol.types import MalformedMessage

    timeout_ms = int_property(settings, "default.api.timeout.ms", API_TIMEOUT_MS)

    async def main() -> int:
        client_id = settings.get("client.id", "pykafkacore")
        async with open_client(bootstrap, client_id=client_id, timeout_ms=timeout_ms) as client:
            await _reach(client, bootstrap, min(timeout_ms, REACH_TIMEOUT_MS), option)
            if option == "bootstrap-controller":
                await _learn_controllers(client)
            return await work(client) or 0

    try:
        return trio.run(main)
    except (ApiError, ConnectionClosed, UnsupportedApi, MalformedMessage) as error:
        raise ToolError(message_of(error)) from None
    except (KeyboardInterrupt, BaseExceptionGroup) as error:
        if isinstance(error, BaseExceptionGroup) and error.split(KeyboardInterrupt)[1] is not None:
            raise
        return 130


def message_of(error: Exception) -> str:
    """What an error of the client says, in a line."""
    from pykafkacore.protocol.errors import ApiError

    return (error.message or error.code.name) if isinstance(error, ApiError) else str(error)


async def _reach(client: Client, bootstrap: list[tuple[str, int]], timeout_ms: int, option: str) -> None:
    """Wait until somebody answers, or say plainly that nobody does."""
    from pykafkacore.protocol.errors import ApiError

    try:
        await client.retrying(client.any_connection, timeout_ms)
    except ApiError:
        where = ", ".join(f"{host}:{port}" for host, port in bootstrap)
        raise ToolError(
            f"No Kafka node answers at {where} (tried for {timeout_ms / 1000:g} s): "
            f"is it running, and is --{option} right?"
        ) from None


async def _learn_controllers(client: Client) -> None:
    """Controllers do not answer Metadata: learn from DescribeCluster who they are and which one is active."""
    from pykafkacore.client.metadata import ClusterMetadata, NodeMetadata
    from pykafkacore.protocol.apis import api

    answer = await client.request_any("DescribeCluster", api("DescribeCluster").request(endpoint_type=2))
    check(answer)
    nodes = {one.broker_id: NodeMetadata(one.broker_id, one.host, one.port, one.rack) for one in answer.brokers}
    client.metadata = ClusterMetadata(answer.cluster_id, answer.controller_id, nodes)


def check(result: Any, what: str = "") -> None:
    """ApiError when a result carries an error, with Kafka's words for it where the result has none of its own."""
    from pykafkacore.protocol.errors import ApiError, Code, code_of

    if result.error_code != Code.NONE:
        code = code_of(result.error_code)
        raise ApiError(code, getattr(result, "error_message", None) or what or code.name)


def finish(main: Callable[[], int]) -> NoReturn:
    """Run a tool as a program: a reader that goes away early is no error, Ctrl-C is 130."""
    import os

    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except KeyboardInterrupt:
        code = 130
    raise SystemExit(code)


def java_hash_order(
    keys: Iterable[Key], is_sized: bool = False, hash_of: Callable[[Key], int] | None = None
) -> list[Key]:
    """Keys in the order of a Java HashMap, `is_sized` one made for their number. KAFKA: some tools print maps in it,
    and scripts compare their lines. Keys are texts unless `hash_of` tells their hash."""
    unique = list(dict.fromkeys(keys))
    capacity = 1 if is_sized else 16
    while is_sized and capacity < len(unique):
        capacity *= 2
    while len(unique) > capacity * 3 // 4:
        capacity *= 2

    def bucket(key: Key) -> int:
        value = java_hash(str(key)) if hash_of is None else hash_of(key)
        return (value ^ value >> 16) & (capacity - 1)

    return sorted(unique, key=bucket)


def java_hash(text: str) -> int:
    """The hash of a Java string, as an unsigned number."""
    value = 0
    units = text.encode("utf-16-be")
    for position in range(0, len(units), 2):
        value = (31 * value + (units[position] << 8 | units[position + 1])) & 0xFFFFFFFF
    return value


async def ask_controller(client: Client, name: str, body: Any) -> Any:
    """One admin request to the controller; the answer as it is. Only a controller that moved is a reason to ask again."""
    from pykafkacore.protocol.errors import ApiError, Code

    def moved(answer: Any) -> None:
        for rows in ([answer], *(getattr(answer, field, None) or [] for field in ("topics", "responses", "results"))):
            if any(getattr(row, "error_code", Code.NONE) == Code.NOT_CONTROLLER for row in rows):
                raise ApiError(Code.NOT_CONTROLLER, f"{name}: the controller moved")

    return await client.request_controller(name, body, moved)
