"""kafka-configs: describe and alter the configs of topics, brokers, groups and client metrics.

What it is: Apache Kafka's ConfigCommand: its two ways to name an entity, its lists in brackets, its text.
What it is not: users, clients and ips: quotas and SCRAM credentials are not offered yet, and are refused by name.
KAFKA: describing what does not exist is no failure; errors of a running command go to standard error.
Sources: KIP-226, KIP-339, KIP-524, KIP-714, KIP-848, and Apache's tool for the text of its output.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn

from msgspec import Struct

from pykafkacore.tools.common import (
    Parser,
    ToolError,
    add_common,
    ask_controller,
    check,
    fail,
    finish,
    handle_help,
    java_hash_order,
    read_properties,
    run_with_client,
)

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from pykafkacore.client import Client

ABOUT = (
    "This tool helps to manipulate and describe entity config for a topic, client, user, broker, ip, client-metrics "
    "or group"
)
# Entity type -> (number of the resource, source of what it sets itself)
RESOURCES = {
    "topics": (2, 1),
    "brokers": (4, 2),
    "broker-loggers": (8, 6),
    "client-metrics": (16, 7),
    "groups": (32, 8),
}
NOT_OFFERED = ("users", "clients", "ips")
ENTITY_TYPES = ("topics", "clients", "users", "brokers", "ips", "client-metrics", "groups", "broker-loggers")
SHORT_FORMS = {
    "topic": "topics", "client": "clients", "user": "users", "broker": "brokers", "broker-logger": "broker-loggers",
    "ip": "ips", "client-metrics": "client-metrics", "group": "groups",
}  # fmt: skip
SHORT_DEFAULTS = {"client-defaults": "clients", "user-defaults": "users", "broker-defaults": "brokers", "ip-defaults": "ips"}
SOURCES = {
    1: "DYNAMIC_TOPIC_CONFIG", 2: "DYNAMIC_BROKER_CONFIG", 3: "DYNAMIC_DEFAULT_BROKER_CONFIG", 4: "STATIC_BROKER_CONFIG",
    5: "DEFAULT_CONFIG", 6: "DYNAMIC_BROKER_LOGGER_CONFIG", 7: "DYNAMIC_CLIENT_METRICS_CONFIG", 8: "DYNAMIC_GROUP_CONFIG",
}  # fmt: skip
DYNAMIC_DEFAULT_BROKER = 3
SET, DELETE = 0, 1
BAD_PAIR = (
    'requirement failed: Invalid entity config: all configs to be added must be in the format "key=val" or  '
    '"key=[val1,val2]" to group values which contain commas.'
)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    finish(lambda: run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    options = parse(arguments)

    async def work(client: Client) -> int:
        return await (_alter(client, options) if options.alter else _describe(client, options))

    def complain(message: str) -> None:
        print(f"Error while executing config command with args '{' '.join(arguments)}'\n{message}", file=sys.stderr)

    try:
        if options.alter and options.add_config_file is not None:
            added = read_properties(options.add_config_file)
            options.changes = [*((key, SET, value) for key, value in added.items()), *options.changes]
    except ToolError as error:
        complain(str(error))
        return 1
    return run_with_client(options, work, complain, complain)


class Entity(Struct, frozen=True):
    """What configs belong to. Name None is all of a type, the empty name the default of a type."""

    type: str
    name: str | None

    @property
    def singular(self) -> str:
        return self.type[:-1]

    @property
    def is_default(self) -> bool:
        return self.name == ""


# ---- options


def _parser() -> Parser:
    parser = Parser("kafka-configs", ABOUT)
    add_common(parser, controller=True)
    parser.add_argument("--alter", action="store_true", help="change configs")
    parser.add_argument("--describe", action="store_true", help="show configs")
    parser.add_argument("--all", action="store_true", help="show those that are only defaults too")
    parser.add_argument("--entity-type", action="append", metavar="TYPE", help=f"one of {', '.join(ENTITY_TYPES)}")
    parser.add_argument("--entity-name", action="append", metavar="NAME", help="its name, or id")
    parser.add_argument("--entity-default", action="append_const", const="", help="the defaults of that type")
    parser.add_argument("--add-config", metavar="A=B,C=[D,E]", help="configs to set")
    parser.add_argument("--add-config-file", metavar="FILE", help="properties file with configs to set")
    parser.add_argument("--delete-config", metavar="A,B", help="configs to remove")
    parser.add_argument("--force", action="store_true", help="taken and ignored")
    for name, entity_type in SHORT_FORMS.items():
        parser.add_argument(f"--{name}", metavar="NAME", help=f"short for --entity-type {entity_type} --entity-name")
    for name, entity_type in SHORT_DEFAULTS.items():
        parser.add_argument(f"--{name}", action="store_true", help=f"short for {entity_type} and --entity-default")
    return parser


def parse(arguments: Sequence[str]) -> Namespace:
    """The options, with `entity` and `changes` worked out; ends the program on any mistake."""
    parser = _parser()
    if not arguments:
        parser.usage_error(ABOUT)
    options = parser.parse(arguments)
    handle_help(parser, options, ABOUT)
    if options.alter == options.describe:
        parser.usage_error("Command must include exactly one action: --describe, --alter")
    if options.describe:
        for one in ("add-config", "add-config-file", "delete-config"):
            if getattr(options, one.replace("-", "_")) is not None:
                parser.usage_error(f'Option "[describe]" can\'t be used with option "[{one}]"')
    try:
        options.entity = _entity(options)
        _check_where(options)
        if options.alter:
            options.changes = _changes(options)
    except ToolError as error:
        fail(str(error))
    return options


def _entity(options: Namespace) -> Entity:
    types, names = list(options.entity_type or []), [*(options.entity_name or []), *(options.entity_default or [])]
    short = [(entity, getattr(options, name.replace("-", "_"))) for name, entity in SHORT_FORMS.items()]
    short_pairs = [(entity, name) for entity, name in short if name is not None]
    short_pairs += [(entity, "") for name, entity in SHORT_DEFAULTS.items() if getattr(options, name.replace("-", "_"))]
    if short_pairs and names:
        if types and set(types) & {entity for entity, _ in short_pairs}:
            raise ToolError(f"Duplicate entity type(s) specified: {types[0]}")
        raise ToolError("--entity-{type,name,default} should not be used in conjunction with specific entity flags")
    all_types = [*types, *(entity for entity, _ in short_pairs)]
    for one in all_types:
        if one not in ENTITY_TYPES:
            raise ToolError(
                f"Invalid entity type {one}, the entity type must be one of {', '.join(ENTITY_TYPES)} "
                "with a --bootstrap-server or --bootstrap-controller argument"
            )
    if not all_types:
        raise ToolError("At least one entity type must be specified")
    if len(set(all_types)) < len(all_types):
        raise ToolError(f"Duplicate entity type(s) specified: {all_types[0]}")
    if len(all_types) > 1 and set(all_types) != {"users", "clients"}:
        raise ToolError("Only 'users' and 'clients' entity types may be specified together")
    for one in all_types:
        if one in NOT_OFFERED:
            raise ToolError(f"entity type {one} is not offered yet: there are no quotas and no SCRAM credentials so far")
    name = short_pairs[0][1] if short_pairs else names[0] if names else None
    return Entity(all_types[0], name)


def _check_where(options: Namespace) -> None:
    """--bootstrap-server or --bootstrap-controller, and a name where one is needed."""
    entity: Entity = options.entity
    if options.bootstrap_server is None and options.bootstrap_controller is None:
        raise ToolError("Either --bootstrap-server or --bootstrap-controller must be specified.")
    if options.bootstrap_server is not None and options.bootstrap_controller is not None:
        raise ToolError("Only one of --bootstrap-server or --bootstrap-controller can be specified")
    action = "describe" if options.describe else "alter"
    has_defaults = entity.type == "brokers"
    if entity.is_default and not has_defaults:
        if options.entity_name:
            raise ToolError(f"the name of {entity.type} is empty")
        raise ToolError(f"--entity-default must not be specified with --{action} of {entity.type}")
    if entity.name is None and options.alter:
        if has_defaults:
            raise ToolError(
                "An entity-name or default entity must be specified with --alter of users, clients, brokers or ips"
            )
        raise ToolError(f"An entity name must be specified with --alter of {entity.type}")
    if entity.name is None and entity.type == "broker-loggers":
        raise ToolError("An entity name must be specified with --describe of broker-loggers")
    if entity.name and entity.type in ("brokers", "broker-loggers") and not entity.name.lstrip("-").isdecimal():
        raise ToolError(
            f"The entity name for {entity.type} must be a valid integer broker id, but it is: {entity.name}"
        )


def parse_added(text: str) -> dict[str, str]:
    """`a=b,c=[d,e]`: brackets keep commas together and are not part of the value."""
    parts, depth, start = [], 0, 0
    for position, letter in enumerate(text):
        if letter == "[":
            depth += 1
        elif letter == "]":
            depth = max(0, depth - 1)
        elif letter == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    parts.append(text[start:])
    found = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals:
            raise ToolError(BAD_PAIR)
        found[key.strip()] = value.strip().replace("[", "").replace("]", "")
    return found


def _changes(options: Namespace) -> list[tuple[str, int, str | None]]:
    """(key, operation, value) in the order of the options: set, then delete. Those of a file come later: it may be gone."""
    if options.add_config is None and options.add_config_file is None and options.delete_config is None:
        raise ToolError(
            "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter"
        )
    if options.add_config is not None and options.add_config_file is not None:
        raise ToolError("Only one of --add-config or --add-config-file must be specified")
    added: dict[str, str] = {}
    if options.add_config is not None:
        added = parse_added(options.add_config)
    deleted = [key.strip() for key in (options.delete_config or "").split(",") if key.strip()]
    changes: list[tuple[str, int, str | None]] = [(key, SET, value) for key, value in added.items()]
    return changes + [(key, DELETE, None) for key in deleted]


# ---- alter


async def _alter(client: Client, options: Namespace) -> int:
    from pykafkacore.protocol.apis import api

    entity: Entity = options.entity
    if entity.type == "broker-loggers" and entity.name:
        known = {each.name for each in await _entries(client, entity, entity.name, True, options.bootstrap_server is None)}
        if unknown := [key for key, _, _ in options.changes if key not in known]:
            print(f"Invalid broker logger(s): {','.join(unknown)}", file=sys.stderr)
            return 1
    request = api("IncrementalAlterConfigs").request
    resource = request.AlterConfigsResource(
        resource_type=RESOURCES[entity.type][0],
        resource_name=entity.name,
        configs=[
            request.AlterableConfig(name=key, config_operation=operation, value=value)
            for key, operation, value in options.changes
        ],
    )
    body = request(resources=[resource])
    if entity.type in ("brokers", "broker-loggers") and entity.name and options.bootstrap_server is not None:
        # KAFKA: a broker checks changes of its own configs itself, so they go to it and not to the controller.
        answer = await client.request_node(int(entity.name), "IncrementalAlterConfigs", body)
    else:
        answer = await ask_controller(client, "IncrementalAlterConfigs", body)
    for result in answer.responses:
        check(result, f"the configs of {entity.singular} {entity.name} cannot be changed")
    if entity.is_default:
        print(f"Completed updating default config for {entity.type} in the cluster.")
    else:
        print(f"Completed updating config for {entity.singular} {entity.name}.")
    return 0


# ---- describe


def config_line(entry: Any) -> str:
    """One config as `  name=value sensitive=... synonyms={...}`."""

    def shown(value: str | None) -> str:
        return "null" if value is None else value

    synonyms = ", ".join(
        f"{SOURCES.get(each.source, 'UNKNOWN')}:{each.name}={shown(each.value)}" for each in entry.synonyms
    )
    sensitive = "true" if entry.is_sensitive else "false"
    return f"  {entry.name}={shown(entry.value)} sensitive={sensitive} synonyms={{{synonyms}}}"


def title(entity: Entity, name: str, with_defaults: bool) -> str:
    if not name and entity.type == "brokers":
        return "Default configs for brokers in the cluster are:"
    return f"{'All' if with_defaults else 'Dynamic'} configs for {entity.singular} {name} are:"


async def _describe(client: Client, options: Namespace) -> int:
    entity: Entity = options.entity
    # KAFKA: with --all nobody looks first whether there is such a thing.
    known = [entity.name] if options.all and entity.name is not None else await _known_names(client, entity, options)
    if entity.name is None:
        names = java_hash_order(known)
        if entity.type == "brokers":
            names = [*sorted(set(known), key=int), ""]
    elif entity.is_default or entity.type == "broker-loggers" or entity.name in known:
        names = [entity.name]
    else:
        print(f"The {entity.singular} '{entity.name}' doesn't exist and doesn't have dynamic config.")
        return 0
    for name in names:
        print(title(entity, name, options.all))
        entries = await _entries(client, entity, name, options.all, options.bootstrap_server is None)
        for entry in sorted(entries, key=lambda each: each.name):
            print(config_line(entry))
    return 0


async def _known_names(client: Client, entity: Entity, options: Namespace) -> list[str]:
    """In the order in which the cluster tells them."""
    from pykafkacore.client import UnsupportedApi
    from pykafkacore.protocol.apis import api

    if options.bootstrap_server is None and entity.type != "brokers":
        raise ToolError("This Admin API is not yet supported when communicating directly with the controller quorum.")
    if entity.type == "topics":
        return list((await client.refresh_metadata()).topics)
    if entity.type in ("brokers", "broker-loggers"):
        if options.bootstrap_server is None:
            return [*map(str, client.metadata.nodes), *([entity.name] if entity.name else [])]
        answer = await client.request_any("DescribeCluster", api("DescribeCluster").request())
        check(answer)
        return [str(each.broker_id) for each in answer.brokers]
    number = RESOURCES[entity.type][0]
    answer = await client.request_any(
        "ListConfigResources",
        # Version 0 knows only client metrics, and takes no types.
        lambda version: api("ListConfigResources").request(**({"resource_types": [number]} if version else {})),
    )
    check(answer, "ListConfigResources was refused")
    names = [each.resource_name for each in answer.config_resources if each.resource_type == number]
    if entity.type == "groups":
        try:
            listed = await client.request_any("ListGroups", api("ListGroups").request())
            names += [each.group_id for each in listed.groups]
        except UnsupportedApi:
            pass
    return names


async def _entries(client: Client, entity: Entity, name: str, with_defaults: bool, is_controller: bool) -> list[Any]:
    from pykafkacore.protocol.apis import api

    number, own_source = RESOURCES[entity.type]
    request = api("DescribeConfigs").request
    resource = request.DescribeConfigsResource(resource_type=number, resource_name=name, configuration_keys=None)
    body = request(resources=[resource], include_synonyms=True)
    if entity.type in ("brokers", "broker-loggers") and name and not is_controller:
        answer = await client.request_node(int(name), "DescribeConfigs", body)
    else:
        answer = await client.request_any("DescribeConfigs", body)
    check(answer.results[0], f"the configs of {entity.singular} {name} cannot be described")
    if entity.type == "brokers" and not name:
        own_source = DYNAMIC_DEFAULT_BROKER
    everything = with_defaults or entity.type == "broker-loggers"
    return [each for each in answer.results[0].configs if everything or each.config_source == own_source]

