"""kafka-delete-records: let partitions begin at later offsets, as a JSON file says.

What it is: Apache Kafka's DeleteRecordsCommand, with its text.
What it is not: a way back: what is before the offset is gone when the tool has said so.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn

from pykafkacore.tools.common import Parser, ToolError, add_common, finish, handle_help, run_with_client
from pykafkacore.tools.java import exception_text, partition_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pykafkacore.client import Client

ABOUT = "This tool helps to delete records of the given partitions down to the specified offset."
VERSION = 1
Place = tuple[str, int]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    finish(lambda: run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    parser = Parser("kafka-delete-records", ABOUT)
    add_common(parser)
    parser.add_argument(
        "--offset-json-file",
        metavar="FILE",
        help='{"partitions": [{"topic": "foo", "partition": 1, "offset": 1}], "version": 1}',
    )
    if not arguments:
        parser.usage_error(ABOUT)
    options = parser.parse(arguments)
    handle_help(parser, options, ABOUT)
    parser.require(options, "bootstrap-server", "offset-json-file")
    try:
        with open(options.offset_json_file, encoding="utf-8") as file:
            wanted = parse_offsets(file.read())
    except OSError as error:
        print(f"{options.offset_json_file}: {error.strerror or error}", file=sys.stderr)
        return 1
    except (ToolError, UnicodeDecodeError) as error:
        print(error, file=sys.stderr)
        return 1
    return run_with_client(options, lambda client: _delete(client, wanted))


def parse_offsets(text: str) -> dict[Place, int]:
    """The offset of each partition, or ToolError for a file that is something else."""
    import json

    try:
        told = json.loads(text)
    except ValueError:
        raise ToolError("The input string is not a valid JSON") from None
    _expect(isinstance(told, dict), f"Expected JSON object, received {json.dumps(told)}")
    version = told.get("version", VERSION)
    _expect(_is_whole(version, 32), f"Expected `Integer` value, received {json.dumps(version)}")
    _expect(version == VERSION, f"Not supported version field value {version}")
    _expect("partitions" in told, "Missing partitions field")
    rows = told["partitions"]
    _expect(isinstance(rows, list), f"Expected JSON array, received {json.dumps(rows)}")
    found: dict[Place, int] = {}
    twice: dict[Place, None] = {}
    for row in rows:
        _expect(isinstance(row, dict), f"Expected JSON object, received {json.dumps(row)}")
        for field, kind, fits in (
            ("topic", "String", lambda value: isinstance(value, str)),
            ("partition", "Integer", lambda value: _is_whole(value, 32)),
            ("offset", "Long", lambda value: _is_whole(value, 64)),
        ):
            _expect(field in row, f"No such field exists: `{field}`")
            _expect(fits(row[field]), f"Expected `{kind}` value, received {json.dumps(row[field])}")
        place = (row["topic"], row["partition"])
        if place in found:
            twice[place] = None
        found[place] = row["offset"]
    names = ",".join(f"{topic}-{partition}" for topic, partition in partition_order(twice))
    _expect(not twice, f"Offset json file contains duplicate topic partitions: {names}")
    return found


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ToolError(otherwise)


def _is_whole(value: Any, bits: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(1 << bits - 1) <= value < 1 << bits - 1


async def _delete(client: Client, wanted: dict[Place, int]) -> None:
    from pykafkacore.client.offsets import delete_records
    from pykafkacore.protocol.errors import ApiError

    print("Executing records delete operation")
    found = await delete_records(client, wanted)
    print("Records delete operation completed:")
    # KAFKA: in no order; here in that of the file.
    for place, result in found.items():
        told = f"error: {exception_text(result)}" if isinstance(result, ApiError) else f"low_watermark: {result}"
        print(f"partition: {place[0]}-{place[1]}\t{told}")
