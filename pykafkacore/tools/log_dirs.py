"""kafka-log-dirs: what lies in which log directory of which broker.

What it is: Apache Kafka's LogDirsCommand: one line of JSON behind two lines of words, in the order of its hash maps.
What it is not: a way to move anything.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn

from pykafkacore.tools.common import (
    Parser,
    ToolError,
    add_common,
    finish,
    handle_help,
    java_hash_order,
    run_with_client,
)
from pykafkacore.tools.java import exception_name, partition_order

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from pykafkacore.client import Client

ABOUT = "This tool helps to query log directory usage on the specified brokers."


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    finish(lambda: run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    parser = Parser("kafka-log-dirs", ABOUT)
    add_common(parser)
    parser.add_argument("--describe", action="store_true", help="tell what lies in the log directories")
    parser.add_argument("--topic-list", default="", metavar="NAME,...", help="these topics; all if not given")
    parser.add_argument("--broker-list", default="", metavar="ID,...", help="these brokers; all if not given")
    if not arguments:
        parser.usage_error(ABOUT)
    options = parser.parse(arguments)
    handle_help(parser, options, ABOUT)
    parser.require(options, "bootstrap-server")
    if not options.describe:
        parser.usage_error('Missing required argument "[describe]"')
    return run_with_client(options, lambda client: _describe(client, options))


def parse_brokers(text: str) -> set[int]:
    """Numbers between commas; what is empty counts for nothing."""
    try:
        return {int(each) for each in text.split(",") if each}
    except ValueError:
        wrong = next(each for each in text.split(",") if each and not each.lstrip("+-").isdecimal())
        raise ToolError(f'For input string: "{wrong}"') from None


async def _describe(client: Client, options: Namespace) -> int:
    import json

    existing = set((await client.refresh_metadata()).nodes)
    asked = parse_brokers(options.broker_list) or existing
    missing = asked - existing
    if missing:
        told = f"The given brokers do not exist from --broker-list: {_numbers(missing)}."
        print(f"ERROR: {told} Current existent brokers: {_numbers(existing)}", file=sys.stderr)
        return 1
    print("Querying brokers for log directories information")
    topics = {each for each in options.topic_list.split(",") if each}
    brokers = [{"broker": broker, "logDirs": await _directories(client, broker, topics)} for broker in sorted(asked)]
    print(f"Received log directory information from brokers {_numbers(asked)}")
    print(json.dumps({"brokers": brokers, "version": 1}, separators=(",", ":"), ensure_ascii=False))
    return 0


def _numbers(brokers: set[int]) -> str:
    return ",".join(str(each) for each in sorted(brokers))


async def _directories(client: Client, broker: int, topics: set[str]) -> list[dict[str, Any]]:
    from pykafkacore.protocol.apis import api
    from pykafkacore.tools.common import check

    answer = await client.request_node(broker, "DescribeLogDirs", api("DescribeLogDirs").request(topics=None))
    check(answer)
    by_path = {each.log_dir: each for each in answer.results}
    return [_told(by_path[path], topics) for path in java_hash_order(by_path, is_sized=True)]


def _told(found: Any, topics: set[str]) -> dict[str, Any]:
    from pykafkacore.protocol.errors import code_of

    wanted = [topic for topic in found.topics if not topics or topic.name in topics]
    rows = {(topic.name, row.partition_index): row for topic in wanted for row in topic.partitions}
    partitions = [
        {
            "partition": f"{topic}-{index}",
            "size": rows[topic, index].partition_size,
            "offsetLag": rows[topic, index].offset_lag,
            "isFuture": rows[topic, index].is_future_key,
        }
        for topic, index in partition_order(rows)
    ]
    error = exception_name(code_of(found.error_code)) if found.error_code else None
    return {"partitions": partitions, "error": error, "logDir": found.log_dir}
