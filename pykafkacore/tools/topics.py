"""kafka-topics: create, delete, list, describe, alter.

What it is: Apache Kafka's TopicCommand: its flags, which of them exclude one another, its output and its exit codes.
What it is not: placement or validation; the cluster decides, and what it says is printed.
KAFKA: errors of a running command go to standard output as `Error while executing topic command : ...`, exit code 1;
errors in the options go to standard error.
Sources: KIP-377, KIP-455, KIP-966, KIP-1011, and Apache's tool for the text of its output.
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
    run_with_client,
)

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable, Sequence

    from pykafkacore.client import Client

ABOUT = "Create, delete, describe, or change a topic."
ACTIONS = ("list", "describe", "create", "alter", "delete")
REPORTS = (
    "under-replicated-partitions", "under-min-isr-partitions", "at-min-isr-partitions", "unavailable-partitions",
    "topics-with-overrides",
)  # fmt: skip
# option -> the actions that it goes with
ALLOWED = {
    "config": ("create",),
    "partitions": ("create", "alter"),
    "replication-factor": ("create",),
    "replica-assignment": ("create", "alter"),
    **dict.fromkeys(REPORTS, ("describe",)),
    "if-exists": ("alter", "delete", "describe"),
    "if-not-exists": ("create",),
    "exclude-internal": ("list", "describe"),
}
COLLISION_WARNING = (
    "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. "
    "To avoid issues it is best to use either, but not both."
)
DEFAULT_SOURCE = 5
TOPIC_RESOURCE = 2


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    finish(lambda: run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    options = parse(arguments)

    async def work(client: Client) -> None:
        await _WORK[options.action](client, options)

    return run_with_client(options, work, on_error=_complain)


def _complain(message: str) -> None:
    print(f"Error while executing topic command : {message}")


def _complain_of_value(option: str, message: str) -> None:
    """KAFKA: all but these values are read while the command runs already."""
    if option not in ("bootstrap-server", "command-config"):
        _complain(message)
        raise SystemExit(1)


def _parser() -> Parser:
    parser = Parser("kafka-topics", ABOUT)
    add_common(parser)
    for action in ACTIONS:
        parser.add_argument(f"--{action}", action="store_true", help=f"{action} topics")
    parser.add_argument("--topic", help="the topic; a regular expression except with --create")
    parser.add_argument("--topic-id", help="the id of a topic to describe")
    parser.add_argument("--partitions", type=int, metavar="COUNT", help="how many partitions; the cluster's default")
    parser.add_argument("--replication-factor", type=int, metavar="COUNT", help="replicas of each; the cluster's default")
    parser.add_argument("--replica-assignment", metavar="1:2,2:3", help="brokers of each partition, instead of both")
    parser.add_argument("--config", action="append", metavar="NAME=VALUE", help="a config of the topic to create")
    parser.add_argument("--if-exists", action="store_true", help="do nothing where there is no such topic")
    parser.add_argument("--if-not-exists", action="store_true", help="do nothing where the topic is there already")
    parser.add_argument("--exclude-internal", action="store_true", help="leave out internal topics")
    parser.add_argument("--under-replicated-partitions", action="store_true", help="describe only these")
    parser.add_argument("--unavailable-partitions", action="store_true", help="describe only those without a leader")
    parser.add_argument("--under-min-isr-partitions", action="store_true", help="describe only these")
    parser.add_argument("--at-min-isr-partitions", action="store_true", help="describe only these")
    parser.add_argument("--topics-with-overrides", action="store_true", help="describe only topics with configs")
    parser.add_argument(
        "--partition-size-limit-per-response", type=int, metavar="COUNT", help="partitions asked for at a time"
    )
    return parser


def parse(arguments: Sequence[str]) -> Namespace:
    """The options, checked against one another; ends the program on any mistake."""
    parser = _parser()
    parser.on_bad_value = _complain_of_value
    if not arguments:
        parser.usage_error(ABOUT)
    options = parser.parse(arguments)
    handle_help(parser, options, f"This tool helps to {ABOUT[0].lower()}{ABOUT[1:]}")
    actions = [action for action in ACTIONS if getattr(options, action)]
    if len(actions) != 1:
        parser.usage_error(
            "Command must include exactly one action: --list, --describe, --create, --alter or --delete"
        )
    options.action = action = actions[0]
    if options.bootstrap_server is None:
        fail("--bootstrap-server must be specified")
    _check_required(parser, options, action)
    for option, allowed in ALLOWED.items():
        if getattr(options, option.replace("-", "_")) not in (None, False) and action not in allowed:
            if option == "config" and action == "alter":
                parser.usage_error(
                    'Option combination "[[bootstrap-server], [config]]" can\'t be used with option "[alter]" '
                    "(To alter topic configurations, the kafka-configs tool can be used.)"
                )
            parser.usage_error(f'Option "[{option}]" can\'t be used with option "[{action}]"')
    if action == "create" and options.replica_assignment is not None:
        parser.refuse_together(options, "replica-assignment", "partitions", "replication-factor")
    if sum(bool(getattr(options, report.replace("-", "_"))) for report in REPORTS) > 1 and options.topics_with_overrides:
        other = next(each for each in REPORTS if getattr(options, each.replace("-", "_")))
        parser.usage_error(f'Option "[{other}]" can\'t be used with option "[topics-with-overrides]"')
    return options


def _check_required(parser: Parser, options: Namespace, action: str) -> None:
    if action == "create" or action == "delete":
        parser.require(options, "topic")
    elif action == "describe" and options.if_exists and options.topic is None and options.topic_id is None:
        parser.usage_error("--topic or --topic-id is required to describe a topic")
    elif action == "alter":
        parser.require(options, "topic")
        if not options.config:
            parser.require(options, "partitions")


# ---- choosing topics


def topic_pattern(text: str) -> Any:
    """The regular expression of --topic: commas separate alternatives, blanks and outer quotes count for nothing."""
    import re

    try:
        return re.compile(text.strip().replace(",", "|").replace(" ", "").strip("\"'"))
    except re.error as error:
        raise ToolError(f"{text} is an invalid regex: {error}") from None


def choose_topics(names: Iterable[tuple[str, bool]], options: Namespace) -> list[str]:
    """Sorted names out of (name, is internal) that --topic and --exclude-internal leave over."""
    pattern = None if options.topic is None else topic_pattern(options.topic)
    return sorted(
        name
        for name, is_internal in names
        if (pattern is None or pattern.fullmatch(name)) and not (is_internal and options.exclude_internal)
    )


async def _find_topics(client: Client, options: Namespace, must_exist: bool) -> list[str]:
    metadata = await client.refresh_metadata()
    chosen = choose_topics(((topic.name, topic.is_internal) for topic in metadata.topics.values()), options)
    if not chosen and must_exist and options.topic is not None:
        raise ToolError(f"Topic '{options.topic}' does not exist as expected")
    return chosen


# ---- create, alter, delete, list


def parse_configs(texts: Iterable[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ToolError(
                'requirement failed: Invalid topic config: all configs to be added must be in the format "key=val".'
            )
        found[key.strip()] = value.strip()
    return found


def parse_assignment(text: str) -> list[list[int]]:
    """The brokers of each partition out of `1:2,2:3`."""
    found: list[list[int]] = []
    for part in text.split(","):
        brokers = []
        for broker in part.split(":"):
            try:
                brokers.append(int(broker.strip()))
            except ValueError:
                raise ToolError(f'For input string: "{broker.strip()}"') from None
        twice = [broker for at, broker in enumerate(brokers) if broker in brokers[:at]]
        if twice:
            raise ToolError(f"Partition replica lists may not contain duplicate entries: {','.join(map(str, twice))}")
        if found and len(brokers) != len(found[0]):
            raise ToolError(f"Partition {len(found)} has different replication factor: {brokers}")
        found.append(brokers)
    return found


async def _create(client: Client, options: Namespace) -> None:
    from pykafkacore.protocol.apis import api
    from pykafkacore.protocol.errors import Code

    name = options.topic
    configs = parse_configs(options.config or [])
    assignment = [] if options.replica_assignment is None else parse_assignment(options.replica_assignment)
    if options.partitions is not None and options.partitions < 1:
        raise ToolError("The partitions must be greater than 0")
    if options.replication_factor is not None and not 1 <= options.replication_factor <= 32767:
        raise ToolError("The replication factor must be between 1 and 32767 inclusive")
    if "." in name or "_" in name:
        print(COLLISION_WARNING)
    request = api("CreateTopics").request
    topic = request.CreatableTopic(
        name=name,
        num_partitions=-1 if options.partitions is None or assignment else options.partitions,
        replication_factor=-1 if options.replication_factor is None or assignment else options.replication_factor,
        assignments=[
            request.CreatableReplicaAssignment(partition_index=partition, broker_ids=brokers)
            for partition, brokers in enumerate(assignment)
        ],
        configs=[request.CreatableTopicConfig(name=key, value=value) for key, value in configs.items()],
    )
    answer = await ask_controller(client, "CreateTopics", request(topics=[topic], timeout_ms=client.timeout_ms))
    result = answer.topics[0]
    if result.error_code == Code.TOPIC_ALREADY_EXISTS and options.if_not_exists:
        return
    check(result)
    print(f"Created topic {name}.")


async def _alter(client: Client, options: Namespace) -> None:
    from pykafkacore.protocol.apis import api

    chosen = await _find_topics(client, options, not options.if_exists)
    if not chosen:
        return
    assignment = None if options.replica_assignment is None else parse_assignment(options.replica_assignment)
    request = api("CreatePartitions").request
    topics = []
    for name in chosen:
        placed = None
        if assignment is not None:
            # KAFKA: the list speaks of all partitions; only what it says of the new ones counts.
            new = assignment[len(client.metadata.topics[name].partitions) :]
            placed = [request.CreatePartitionsAssignment(broker_ids=brokers) for brokers in new]
        topics.append(request.CreatePartitionsTopic(name=name, count=options.partitions, assignments=placed))
    answer = await ask_controller(client, "CreatePartitions", request(topics=topics, timeout_ms=client.timeout_ms))
    for result in answer.results:
        check(result)


async def _delete(client: Client, options: Namespace) -> None:
    from pykafkacore.protocol.apis import api

    chosen = await _find_topics(client, options, not options.if_exists)
    if not chosen:
        return
    request = api("DeleteTopics").request

    def body(api_version: int) -> Any:
        named = {"topics": [request.DeleteTopicState(name=name) for name in chosen]}
        return request(timeout_ms=client.timeout_ms, **(named if api_version >= 6 else {"topic_names": chosen}))

    for result in (await ask_controller(client, "DeleteTopics", body)).responses:
        check(result)


async def _list(client: Client, options: Namespace) -> None:
    # KAFKA: nothing to list is an empty line.
    print("\n".join(await _find_topics(client, options, False)))


# ---- describe


class Partition(Struct, frozen=True):
    """One partition as it is described; without eligible leader replicas where the cluster does not tell them."""

    index: int
    leader: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    eligible_leader_replicas: tuple[int, ...] | None = None
    last_known_elr: tuple[int, ...] | None = None
    adding: tuple[int, ...] | None = None
    removing: tuple[int, ...] | None = None

    @property
    def replication_factor(self) -> int:
        return len(self.replicas) - len(self.adding or ())


class Topic(Struct, frozen=True):
    name: str
    topic_id: str
    partitions: tuple[Partition, ...]
    configs: dict[str, str]
    """Without what is only a default, in the order in which they are printed."""
    min_isr: int | None = None


def describe_lines(topic: Topic, options: Namespace, live_brokers: Iterable[int]) -> list[str]:
    """What is printed about a topic."""
    is_filtered = any(getattr(options, report.replace("-", "_")) for report in REPORTS[:4])
    lines = []
    if not is_filtered and (topic.configs or not options.topics_with_overrides):
        configs = ",".join(f"{key}={topic.configs[key]}" for key in topic.configs)
        factor = topic.partitions[0].replication_factor if topic.partitions else 0
        lines.append(
            f"Topic: {topic.name}\tTopicId: {topic.topic_id}\tPartitionCount: {len(topic.partitions)}"
            f"\tReplicationFactor: {factor}\tConfigs: {configs}"
        )
    if options.topics_with_overrides:
        return lines
    live = set(live_brokers)
    for partition in topic.partitions:
        min_isr = topic.min_isr
        if (
            not is_filtered
            or (options.under_replicated_partitions and partition.replication_factor > len(partition.isr))
            or (options.unavailable_partitions and partition.leader not in live)
            or (options.under_min_isr_partitions and min_isr is not None and len(partition.isr) < min_isr)
            or (options.at_min_isr_partitions and min_isr is not None and len(partition.isr) == min_isr)
        ):
            lines.append(_partition_line(topic.name, partition))
    return lines


def _partition_line(name: str, partition: Partition) -> str:
    def shown(brokers: tuple[int, ...] | None) -> str:
        return "N/A" if brokers is None else ",".join(map(str, brokers))

    parts = [
        f"\tTopic: {name}\tPartition: {partition.index}",
        f"\tLeader: {partition.leader if partition.leader >= 0 else 'none'}",
        f"\tReplicas: {shown(partition.replicas)}\tIsr: {shown(partition.isr)}",
    ]
    if partition.adding is not None:
        parts.append(f"\tAdding Replicas: {shown(partition.adding)}\tRemoving Replicas: {shown(partition.removing)}")
    elr, last_known = shown(partition.eligible_leader_replicas), shown(partition.last_known_elr)
    return "".join([*parts, f"\tElr: {elr}\tLastKnownElr: {last_known}"])


async def _describe(client: Client, options: Namespace) -> None:
    from pykafkacore.client import UnsupportedApi

    if options.topic_id is not None:
        chosen = await _topic_of_id(client, options)
        rows = _rows_of_metadata(client, chosen)
    else:
        chosen = await _find_topics(client, options, not options.if_exists)
        try:
            rows = await _topic_partitions(client, chosen, options.partition_size_limit_per_response or 2000)
        except UnsupportedApi:
            rows = _rows_of_metadata(client, chosen)
    if not rows:
        return
    configs = await _configs(client, list(rows))
    moving = await _reassignments(client)
    for name in java_hash_order(sorted(rows), is_sized=True):
        topic_id, partitions = rows[name]
        described = tuple(_with_reassignment(each, moving.get((name, each.index))) for each in partitions)
        entries = {each.name: each for each in configs.get(name, [])}
        min_isr = entries.get("min.insync.replicas")
        overrides = {
            key: entries[key].value or ""
            for key in java_hash_order(entries)
            if entries[key].config_source != DEFAULT_SOURCE
        }
        topic = Topic(name, topic_id, described, overrides, int(min_isr.value) if min_isr else None)
        for line in describe_lines(topic, options, client.metadata.nodes):
            print(line)


async def _topic_of_id(client: Client, options: Namespace) -> list[str]:
    from pykafkacore.protocol.types import uuid_from_text

    try:
        wanted = uuid_from_text(options.topic_id)
    except ValueError as error:
        raise ToolError(str(error)) from None
    metadata = await client.refresh_metadata()
    chosen = [topic.name for topic in metadata.topics.values() if topic.topic_id == wanted]
    if not chosen and not options.if_exists:
        raise ToolError(f"TopicId '{options.topic_id}' does not exist as expected")
    return chosen


def _rows_of_metadata(client: Client, names: Sequence[str]) -> dict[str, tuple[str, list[Partition]]]:
    """KAFKA: described by id, or by a cluster before 3.7, a topic has no eligible leader replicas to show."""
    from pykafkacore.protocol.types import uuid_to_text

    return {
        name: (
            uuid_to_text(client.metadata.topics[name].topic_id),
            [
                Partition(each.partition, each.leader_id, each.replicas, each.isr)
                for _, each in sorted(client.metadata.topics[name].partitions.items())
            ],
        )
        for name in names
    }


async def _topic_partitions(
    client: Client, names: Sequence[str], limit: int
) -> dict[str, tuple[str, list[Partition]]]:
    """Topics by name, asked for page by page."""
    from pykafkacore.protocol.apis import api
    from pykafkacore.protocol.types import uuid_to_text

    request = api("DescribeTopicPartitions").request
    found: dict[str, tuple[str, list[Partition]]] = {}
    left, cursor = sorted(names), None
    while left:
        body = request(
            topics=[request.TopicRequest(name=name) for name in left], response_partition_limit=limit, cursor=cursor
        )
        answer = await client.request_any("DescribeTopicPartitions", body)
        for topic in answer.topics:
            check(topic, f"Topic '{topic.name}' cannot be described")
            _, partitions = found.setdefault(topic.name, (uuid_to_text(topic.topic_id), []))
            partitions += [
                Partition(
                    each.partition_index, each.leader_id, tuple(each.replica_nodes), tuple(each.isr_nodes),
                    tuple(each.eligible_leader_replicas or ()), tuple(each.last_known_elr or ()),
                )
                for each in topic.partitions
            ]  # fmt: skip
        after = answer.next_cursor
        if after is None:
            break
        left = [name for name in left if name >= after.topic_name]
        cursor = request.Cursor(topic_name=after.topic_name, partition_index=after.partition_index)
    for _, partitions in found.values():
        partitions.sort(key=lambda each: each.index)
    return found


def _with_reassignment(partition: Partition, moving: tuple[tuple[int, ...], tuple[int, ...]] | None) -> Partition:
    if moving is None:
        return partition
    from msgspec.structs import replace

    return replace(partition, adding=moving[0], removing=moving[1])


async def _configs(client: Client, names: Sequence[str]) -> dict[str, list[Any]]:
    from pykafkacore.protocol.apis import api

    request = api("DescribeConfigs").request
    resources = [
        request.DescribeConfigsResource(resource_type=TOPIC_RESOURCE, resource_name=name, configuration_keys=None)
        for name in names
    ]
    answer = await client.request_any("DescribeConfigs", request(resources=resources))
    for result in answer.results:
        check(result, f"the configs of topic {result.resource_name} cannot be described")
    return {result.resource_name: list(result.configs) for result in answer.results}


async def _reassignments(client: Client) -> dict[tuple[str, int], tuple[tuple[int, ...], tuple[int, ...]]]:
    """Adding and removing replicas of what is being moved. KAFKA: a cluster that does not say counts as still."""
    from pykafkacore.client import UnsupportedApi
    from pykafkacore.protocol.apis import api
    from pykafkacore.protocol.errors import Code

    body = api("ListPartitionReassignments").request(timeout_ms=client.timeout_ms)
    try:
        answer = await ask_controller(client, "ListPartitionReassignments", body)
    except UnsupportedApi:
        return {}
    if answer.error_code in (Code.CLUSTER_AUTHORIZATION_FAILED, Code.UNSUPPORTED_VERSION):
        return {}
    check(answer)
    return {
        (topic.name, each.partition_index): (tuple(each.adding_replicas), tuple(each.removing_replicas))
        for topic in answer.topics
        for each in topic.partitions
    }


_WORK = {"create": _create, "alter": _alter, "delete": _delete, "list": _list, "describe": _describe}
