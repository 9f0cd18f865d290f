"""kafka-broker-api-versions: which APIs, in which versions, every broker speaks, and which version this client would use.

What it is: Apache Kafka's BrokerApiVersionsCommand, with its text.
What it is not: the table itself (protocol/apis.py).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

from pykafkacore.tools.common import Parser, ToolError, add_common, check, fail, finish, handle_help, run_with_client

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pykafkacore.client import Client

ABOUT = "This tool helps to retrieve broker version information."


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    finish(lambda: run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    parser = Parser("kafka-broker-api-versions", ABOUT)
    add_common(parser)
    if not arguments:
        parser.usage_error(ABOUT)
    options = parser.parse(arguments)
    handle_help(parser, options, ABOUT)
    parser.require(options, "bootstrap-server")
    if not options.bootstrap_server:
        fail("--bootstrap-server is empty: give host:port")
    return run_with_client(options, _print_versions)


def version_lines(ranges: Mapping[int, tuple[int, int]]) -> list[str]:
    """One line an API: those of the broker, then what a broker should speak and this one does not, by number."""
    from pykafkacore.protocol.apis import APIS, BROKER

    known = {row.key: row for row in APIS}
    shown: dict[int, str] = {}
    for key, (low, high) in ranges.items():
        row = known.get(key)
        text = f"{row.name if row else 'UNKNOWN'}({key}): {low}" + (f" to {high}" if low != high else "")
        if row is not None and row.listeners:
            usable = min(high, row.latest_served())
            if usable >= max(low, row.oldest):
                text += f" [usable: {usable}]"
            else:
                text += " [unusable: node too new]" if low > row.latest_served() else " [unusable: node too old]"
        shown[key] = text
    for row in APIS:
        if BROKER in row.listeners and row.key not in shown and not row.is_withdrawn:
            shown[row.key] = f"{row.name}({row.key}): UNSUPPORTED"
    return [f"\t{shown[key]}" for key in sorted(shown)]


async def _print_versions(client: Client) -> int:
    from pykafkacore.client import ConnectionClosed
    from pykafkacore.protocol.apis import api

    answer = await client.request_any("DescribeCluster", api("DescribeCluster").request())
    check(answer)
    for node in answer.brokers:
        name = f"{node.host}:{node.port} (id: {node.broker_id} rack: {_or_null(node.rack)} isFenced: false)"
        try:
            connection = await client.connection_to(node.host, node.port)
        except ConnectionClosed as error:
            print(f"{name} -> ERROR: {error}")
            continue
        lines = ",\n".join(version_lines(connection.api_ranges))
        print(f"{name} -> (\n{lines}\n)")
    if not answer.brokers:
        raise ToolError("the cluster names no brokers")
    return 0


def _or_null(text: str | None) -> str:
    return "null" if text is None else text
