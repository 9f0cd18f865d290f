"""kafka-cluster: the id of a cluster, its endpoints, and taking a broker off the books.

What it is: Apache Kafka's ClusterTool, for brokers and for controllers, with its text.
What it is not: a tool that stops or starts anything.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn

from pykafkacore.tools.common import CommandParser, ToolError, ask_controller, check, finish, run_with_client

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from pykafkacore.client import Client

PROGRAM = "kafka-cluster"
BROKERS, CONTROLLERS = 1, 2


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    finish(lambda: run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    options = _parse(arguments)
    if options.config is not None:
        print(
            "Option --config has been deprecated and will be removed in a future version. "
            "Use --command-config instead."
        )
        options.command_config = options.command_config or options.config
    if options.command == "list-endpoints" and options.include_fenced_brokers and options.bootstrap_server is None:
        print("The option --include-fenced-brokers is only supported with --bootstrap-server option", file=sys.stderr)
        return 1
    return run_with_client(options, lambda client: _WORK[options.command](client, options))


def _parse(arguments: list[str]) -> Namespace:
    # KAFKA: help ends this tool with exit code 1.
    parser = CommandParser(PROGRAM, "Tells about a cluster, and takes brokers off its books.", help_code=1)
    commands = parser.add_commands("cluster-id", "unregister", "list-endpoints")
    found = {
        "cluster-id": commands.add_parser("cluster-id", about="Tells the id of a cluster."),
        "unregister": commands.add_parser("unregister", about="Takes a broker that is gone for good off the books."),
        "list-endpoints": commands.add_parser("list-endpoints", about="Lists brokers, or controllers, and where they are."),
    }
    for command in found.values():
        where = command.add_mutually_exclusive_group(required=True)
        where.add_argument("--bootstrap-server", "-b", metavar="HOST:PORT,...", help="brokers to connect to first")
        where.add_argument("--bootstrap-controller", "-C", metavar="HOST:PORT,...", help="controllers instead")
        command.add_argument("--command-config", "-c", metavar="FILE", help="properties file with client settings")
        command.add_argument("--config", metavar="FILE", help="old name of --command-config")
    found["unregister"].add_argument("--id", "-i", type=int, required=True, help="id of the broker")
    found["list-endpoints"].add_argument("--include-fenced-brokers", action="store_true", help="fenced brokers as well")
    return parser.parse_args(arguments)


async def _describe(client: Client, options: Namespace, include_fenced: bool = False) -> Any:
    from pykafkacore.protocol.apis import api

    kind = CONTROLLERS if options.bootstrap_server is None else BROKERS
    body = api("DescribeCluster").request(endpoint_type=kind, include_fenced_brokers=include_fenced)
    answer = await client.request_any("DescribeCluster", body)
    check(answer)
    return answer


async def _cluster_id(client: Client, options: Namespace) -> int:
    answer = await _describe(client, options)
    print(f"Cluster ID: {answer.cluster_id}")
    return 0


async def _unregister(client: Client, options: Namespace) -> int:
    from pykafkacore.client import UnsupportedApi
    from pykafkacore.protocol.apis import api

    try:
        answer = await ask_controller(client, "UnregisterBroker", api("UnregisterBroker").request(broker_id=options.id))
    except UnsupportedApi:
        raise ToolError("The target cluster does not support the broker unregistration API.") from None
    check(answer, f"broker {options.id} cannot be unregistered")
    print(f"Broker {options.id} is no longer registered.")
    return 0


def endpoint_lines(nodes: Sequence[Any], kind: int) -> list[str]:
    """A table; brokers have a state in it, controllers have none."""
    rows = [("ID", "HOST", "PORT", "RACK", *(["STATE"] if kind == BROKERS else []), "ENDPOINT_TYPE")]
    for node in nodes:
        rack = "null" if node.rack is None else node.rack
        state = ["fenced" if node.is_fenced else "unfenced"] if kind == BROKERS else []
        name = "broker" if kind == BROKERS else "controller"
        rows.append((str(node.broker_id), node.host, str(node.port), rack, *state, name))
    host_width = max((len(node.host) for node in nodes), default=4)
    widths = [10, host_width, 10, 10, *([10] if kind == BROKERS else []), 15]
    return [" ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]


async def _list_endpoints(client: Client, options: Namespace) -> int:
    answer = await _describe(client, options, options.include_fenced_brokers)
    kind = CONTROLLERS if options.bootstrap_server is None else BROKERS
    for line in endpoint_lines(answer.brokers, kind):
        print(line)
    return 0


_WORK = {"cluster-id": _cluster_id, "unregister": _unregister, "list-endpoints": _list_endpoints}
