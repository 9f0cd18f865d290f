"""kafka-consumer-groups: list, describe and delete consumer groups, and move or delete their offsets.

What it is: Apache Kafka's ConsumerGroupCommand: its flags, its tables and its texts.
What it is not: the arithmetic of new offsets (reset_offsets.py), or what is printed of a group (shown_groups.py).
KAFKA: what goes wrong while a command runs is told on standard output, and the exit code is 0; only mistakes in the options
end with 1. An option named `[group]` in a message is `--group`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

from pykafkacore.tools import shown_groups
from pykafkacore.tools.common import (
    Parser,
    ToolError,
    add_common,
    client_properties,
    fail,
    finish,
    handle_help,
    java_hash_order,
    parse_bootstrap,
    run_client,
)
from pykafkacore.tools.java import WRAPPED, Mistake, exception_text, told_as_java
from pykafkacore.tools.shown_groups import print_error

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable, Sequence

    from pykafkacore.client import Client
    from pykafkacore.client.groups import DescribedGroup, ListedGroup
    from pykafkacore.protocol.errors import Code

ABOUT = (
    "This tool helps to list all consumer groups, describe a consumer group, delete consumer group info, "
    "or reset consumer group offsets."
)
ACTIONS = ("list", "describe", "delete", "reset-offsets", "delete-offsets", "validate-regex")
VIEWS = ("members", "offsets", "state")
SCENARIOS = (
    "to-offset", "to-datetime", "by-duration", "to-earliest", "to-latest", "to-current", "shift-by", "from-file",
)  # fmt: skip
STATES = (
    "PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Empty", "Assigning", "Reconciling",
)  # fmt: skip
TYPES = ("Classic", "Consumer")
WITHOUT_MODE = (
    "WARN: No action will be performed as the --execute option is missing. In version 5.0, this command will require either "
    "--dry-run or --execute to be specified. You should add the --dry-run option explicitly if you are scripting this "
    "command and want to keep the current default behavior without prompting."
)
Place = tuple[str, int]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    finish(lambda: run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    parser = _parser()
    parser.on_bad_value = _complain_of_value
    options = _parse(parser, arguments)
    if options.validate_regex is not None:
        shown_groups.print_verdict(options.validate_regex)
        return 0

    async def work(client: Client) -> None:
        client.timeout_ms = options.timeout
        await _WORK[options.action](client, options)

    try:
        settings = client_properties(options.command_config)
        run_client(parse_bootstrap(options.bootstrap_server), settings, work)
    except Mistake as mistake:
        parser.usage_error(str(mistake))
    except ToolError as error:
        _complain(str(error))
    return 0


def _complain(message: str) -> None:
    print_error(f"Executing consumer group command failed due to {message}")
    print(message, file=sys.stderr)


def _complain_of_value(option: str, message: str) -> None:
    """KAFKA: numbers are read while the command runs already."""
    if option in ("timeout", "to-offset", "shift-by"):
        _complain(message)
        raise SystemExit(0)


# ---- options


def _parser() -> Parser:
    parser = Parser("kafka-consumer-groups", ABOUT)
    add_common(parser)
    for action, about in (
        ("list", "list all consumer groups"),
        ("describe", "describe groups: their offsets and lag, or see below"),
        ("delete", "delete groups with all their offsets"),
        ("reset-offsets", "move the offsets of groups without members"),
        ("delete-offsets", "delete offsets of one group"),
    ):
        parser.add_argument(f"--{action}", action="store_true", help=about)
    parser.add_argument("--validate-regex", metavar="REGEX", help="tell whether this is a valid expression of RE2")
    parser.add_argument("--group", action="append", metavar="ID", help="the group; may be given again")
    parser.add_argument("--all-groups", action="store_true", help="all groups")
    parser.add_argument("--topic", action="append", metavar="TOPIC[:0,1]", help="the topic; may be given again")
    parser.add_argument("--all-topics", action="store_true", help="all topics that the group has offsets of")
    parser.add_argument("--timeout", type=int, default=30_000, metavar="MS", help="how long to try")
    parser.add_argument("--members", action="store_true", help="with --describe: members")
    parser.add_argument("--offsets", action="store_true", help="with --describe: offsets, which is what is told anyway")
    parser.add_argument("--verbose", action="store_true", help="with --describe: more columns")
    parser.add_argument("--state", nargs="?", const="", metavar="STATE,...", help="states, with --list of these alone")
    parser.add_argument("--type", nargs="?", const="", metavar="TYPE,...", help="with --list: types, or of these alone")
    parser.add_argument("--dry-run", action="store_true", help="with --reset-offsets: only tell the new offsets")
    parser.add_argument("--execute", action="store_true", help="with --reset-offsets: commit the new offsets")
    parser.add_argument("--export", action="store_true", help="with --reset-offsets: print them as CSV")
    parser.add_argument("--to-offset", type=int, action="append", metavar="OFFSET", help="this offset")
    parser.add_argument("--to-datetime", action="append", metavar="YYYY-MM-DDTHH:mm:SS.sss", help="that of a time")
    parser.add_argument("--by-duration", metavar="PnDTnHnMnS", help="that of so long ago")
    parser.add_argument("--to-earliest", action="store_true", help="the first offset")
    parser.add_argument("--to-latest", action="store_true", help="the end")
    parser.add_argument("--to-current", action="store_true", help="the committed offset, or else the end")
    parser.add_argument("--shift-by", type=int, metavar="COUNT", help="so much further, or back when negative")
    parser.add_argument("--from-file", action="append", metavar="FILE", help="those of a CSV file, see --export")
    return parser


def _is_given(options: Namespace, name: str) -> bool:
    return getattr(options, name.replace("-", "_")) not in (None, False)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"[{name}]" for name in names)


def _parse(parser: Parser, arguments: Sequence[str]) -> Namespace:
    """The options, checked against one another; ends the program on any mistake."""
    if not arguments:
        parser.usage_error(ABOUT)
    options = parser.parse(arguments)
    handle_help(parser, options, ABOUT)
    for name, partners in (("members", "describe"), ("verbose", "describe"), ("offsets", "describe"),
                           ("state", "describe list"), ("type", "list")):  # fmt: skip
        if _is_given(options, name) and not any(_is_given(options, each) for each in partners.split()):
            fail(f"Option(s) [{name}] are unavailable given other options on the command line")
    if options.validate_regex is None:
        parser.require(options, "bootstrap-server")
    _check_scope(parser, options)
    if options.reset_offsets:
        _check_reset(parser, options)
    if options.group is not None:
        parser.refuse_together(options, "group", "all-groups", "list")
    if options.topic is not None:
        parser.refuse_together(options, "topic", "list", "describe")
    actions = [action for action in ACTIONS if _is_given(options, action)]
    if len(actions) != 1:
        names = ", ".join(f"--{action}" for action in ACTIONS)
        parser.usage_error(f"Command must include exactly one action: {names}")
    options.action = actions[0]
    return options


def _check_scope(parser: Parser, options: Namespace) -> None:
    has_group = options.group is not None or options.all_groups
    if options.describe:
        if not has_group:
            parser.usage_error("Option [describe] takes one of these options: [group], [all-groups]")
        if sum(_is_given(options, view) for view in VIEWS) > 1:
            parser.usage_error(f"Option [describe] takes at most one of these options: {_listed(VIEWS)}")
        if options.state:
            parser.usage_error("Option [describe] does not take a value for [state]")
    if options.delete:
        if not has_group:
            parser.usage_error("Option [delete] takes one of these options: [group], [all-groups]")
        if options.topic is not None:
            parser.usage_error("The consumer does not support topic-specific offset deletion from a consumer group.")
    if options.delete_offsets and (options.group is None or options.topic is None):
        parser.usage_error("Option [delete-offsets] takes the following options: [group], [topic]")


def _check_reset(parser: Parser, options: Namespace) -> None:
    if options.dry_run and options.execute:
        parser.usage_error("Option [reset-offsets] only accepts one of [execute] and [dry-run]")
    if not options.dry_run and not options.execute:
        print(WITHOUT_MODE, file=sys.stderr)
    if options.group is None and not options.all_groups:
        parser.usage_error("Option [reset-offsets] takes one of these options: [group], [all-groups]")
    for scenario in SCENARIOS:
        if _is_given(options, scenario):
            parser.refuse_together(options, scenario, *(each for each in SCENARIOS if each != scenario))


# ---- list


def parse_states(text: str) -> list[str]:
    """States as Kafka writes them; Mistake where a group has no such state."""
    return _chosen(text, STATES, "state list", "states")


def parse_types(text: str) -> list[str]:
    return _chosen(text, TYPES, "types list", "types")


def _chosen(text: str, known: Sequence[str], what: str, plural: str) -> list[str]:
    by_name = {name.lower(): name for name in known}
    found = [by_name.get(each.strip().lower()) for each in text.split(",")]
    if None in found:
        raise Mistake(f"Invalid {what} '{text}'. Valid {plural} are: {', '.join(known)}")
    return [name for name in found if name]


async def _list(client: Client, options: Namespace) -> None:
    if options.type is None and options.state is None:
        for group in await _consumer_groups(client, types=TYPES):
            print(group.group_id)
        return
    types = parse_types(options.type) if options.type else ()
    states = parse_states(options.state) if options.state else ()
    with told_as_java():
        groups = await _consumer_groups(client, states, types)
    shown_groups.print_list(groups, options.type is not None, options.state is not None)


async def _consumer_groups(
    client: Client, states: Iterable[str] = (), types: Iterable[str] = ()
) -> list[ListedGroup]:
    from pykafkacore.client.groups import CONSUMER_PROTOCOL, list_groups

    with told_as_java(WRAPPED):
        groups = await list_groups(client, states, types)
    known = {key: group for key, group in groups.items() if group.protocol_type in ("", CONSUMER_PROTOCOL)}
    return [known[group_id] for group_id in java_hash_order(known)]


async def group_ids(client: Client, options: Namespace) -> list[str]:
    """The groups that are meant, in the order in which they are handled."""
    if options.all_groups:
        return [group.group_id for group in await _consumer_groups(client, types=TYPES)]
    return java_hash_order(options.group)


# ---- describe


async def _describe(client: Client, options: Namespace) -> None:
    from pykafkacore.client.groups import describe_group

    groups: dict[str, DescribedGroup] = {}
    for group_id in await group_ids(client, options):
        with told_as_java():
            groups[group_id] = await describe_group(client, group_id)
    if options.members:
        for group_id in sorted(groups):
            shown_groups.print_members(groups[group_id], options.verbose)
    elif options.state is not None:
        for group_id in sorted(groups):
            shown_groups.print_state(groups[group_id], options.verbose)
    else:
        rows = {group_id: await _offset_rows(client, groups[group_id]) for group_id in groups}
        for group_id in sorted(groups):
            shown_groups.print_offsets(groups[group_id], rows[group_id], options.verbose)


async def _offset_rows(client: Client, group: DescribedGroup) -> list[shown_groups.OffsetRow]:
    """Members with the most partitions first, then what nobody reads."""
    from pykafkacore.client.client import LATEST
    from pykafkacore.client.groups import fetch_committed
    from pykafkacore.tools.reset_offsets import find_leaders, log_offsets

    with told_as_java(WRAPPED):
        committed = await fetch_committed(client, group.group_id)
    owned: list[tuple[str, str, str, set[Place]]] = [
        (member.member_id, member.client_host, member.client_id, set(member.assignment))
        for member in sorted(group.members, key=lambda member: -len(set(member.assignment)))
        if member.assignment
    ]
    unowned = set(committed) - {place for *_, places in owned for place in places}
    dash = shown_groups.MISSING
    rows = []
    for member_id, host, client_id, places in [*owned, (dash, dash, dash, unowned)]:
        # KAFKA: KafkaAdminClient is asked for every member on its own, and fails as a whole.
        with told_as_java(WRAPPED):
            leaders = await find_leaders(client, places)
        ends = await log_offsets(client, [place for place in places if leaders[place] is not None], LATEST)
        rows += [
            shown_groups.OffsetRow(place, committed.get(place), ends.get(place), member_id, host, client_id)
            for place in sorted(places)
        ]
    return rows


# ---- delete


def _quoted(group_ids: Iterable[str]) -> str:
    return ", ".join(f"'{group_id}'" for group_id in java_hash_order(group_ids))


async def _delete(client: Client, options: Namespace) -> None:
    from pykafkacore.client.groups import delete_group
    from pykafkacore.protocol.errors import ApiError

    deleted: list[str] = []
    failed: dict[str, ApiError] = {}
    for group_id in await group_ids(client, options):
        try:
            await delete_group(client, group_id)
            deleted.append(group_id)
        except ApiError as error:
            failed[group_id] = error
    if not failed:
        print(f"Deletion of requested consumer groups ({_quoted(deleted)}) was successful.")
        return
    print_error("Deletion of some consumer groups failed:")
    for group_id in java_hash_order(failed):
        print(f"* Group '{group_id}' could not be deleted due to: {exception_text(failed[group_id])}")
    if deleted:
        print(f"\nThese consumer groups were deleted successfully: {_quoted(deleted)}")


# ---- offsets: delete, reset


async def _delete_offsets(client: Client, options: Namespace) -> None:
    from pykafkacore.client.groups import delete_offsets
    from pykafkacore.protocol.errors import ApiError
    from pykafkacore.tools.java import partition_order
    from pykafkacore.tools.reset_offsets import parse_partitions, partitions_of

    if len(options.group) > 1:
        raise ToolError("Found multiple arguments for option group, but you asked for only one")
    group_id = options.group[0]
    results: dict[Place, ApiError | None] = {}
    wanted: list[Place] = []
    for text in options.topic:
        if ":" in text:
            wanted += parse_partitions(text)
            continue
        try:
            wanted += await partitions_of(client, [text])
        except ApiError as error:
            results[text, -1] = error
    first: Code | None = None
    try:
        refused = await delete_offsets(client, group_id, wanted)
        for place in partition_order(wanted):
            results[place] = ApiError(refused[place]) if place in refused else None
            first = first or refused.get(place)
    except ApiError as error:
        results.update(dict.fromkeys(wanted, error))
        first = error.code
    shown_groups.print_deletion(group_id, first, results)


async def _reset(client: Client, options: Namespace) -> None:
    from pykafkacore.tools.reset_offsets import print_csv, print_plan, reset_groups

    plans = await reset_groups(client, options, await group_ids(client, options))
    if options.export:
        print_csv(plans, options.group is not None and len(options.group) == 1)
    else:
        print_plan(plans)


_WORK = {
    "list": _list, "describe": _describe, "delete": _delete, "reset-offsets": _reset, "delete-offsets": _delete_offsets,
}  # fmt: skip
