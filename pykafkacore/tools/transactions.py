"""kafka-transactions: what coordinators and partitions know of transactions, and ending those that hang.

What it is: Apache Kafka's TransactionsCommand, with its tables and texts. A transaction hangs when a partition has it open
and its coordinator knows nothing of it: no marker will ever come, and readers of what is committed wait for ever.
What it is not: a guess. Only what has been open longer than `--max-transaction-timeout` is looked at.
KAFKA: one command is named forceTerminateTransaction; force-terminate, in the form of the others, is the same here.
Sources: KIP-664, KIP-1152.
"""

from __future__ import annotations

import sys
from argparse import Action
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from msgspec.structs import replace

from pykafkacore.tools.common import CommandParser, ToolError, fail, finish, long, run_with_client, short
from pykafkacore.tools.java import number_order, partition_order, print_table, words_of

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Sequence

    from pykafkacore.client import Client
    from pykafkacore.client.transactions import ActiveProducer, TransactionState

PROGRAM = "kafka-transactions.sh"
ABOUT = (
    "Tells about transactions of producers: what the coordinators know, and what the partitions do; finds those that hang "
    "and ends them."
)
LISTED = ("TransactionalId", "Coordinator", "ProducerId", "TransactionState")
DESCRIBED = (
    "CoordinatorId", "TransactionalId", "ProducerId", "ProducerEpoch", "TransactionState", "TransactionTimeoutMs",
    "CurrentTransactionStartTimeMs", "TransactionDurationMs", "TopicPartitions",
)  # fmt: skip
PRODUCERS = (
    "ProducerId", "ProducerEpoch", "LatestCoordinatorEpoch", "LastSequence", "LastTimestamp", "CurrentTransactionStartOffset",
)  # fmt: skip
HANGING = (
    "Topic", "Partition", "ProducerId", "ProducerEpoch", "CoordinatorEpoch", "StartOffset", "LastTimestamp", "Duration(min)",
)  # fmt: skip
TERMINATE = "forceTerminateTransaction"
MINUTE_MS = 60_000
PARTITIONS_AT_A_TIME = 500
Place = tuple[str, int]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    finish(lambda: run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    options = _parse(arguments)
    if options.command == "abort":
        _check_abort(options)
    elif options.command == "find-hanging":
        _check_search(options)

    async def work(client: Client) -> None:
        await _WORK[options.command](client, options)

    return run_with_client(options, work)


def _parse(arguments: list[str]) -> Namespace:
    parser = CommandParser("kafka-transactions", ABOUT, tool=PROGRAM)
    parser.set_defaults(bootstrap_controller=None)
    parser.add_argument("-v", "--version", action=_Version, nargs=0, help="print the version")
    parser.add_argument("--command-config", metavar="FILE", help="properties file with settings of the client")
    parser.add_argument("--bootstrap-server", required=True, metavar="HOST:PORT,...", help="brokers to connect to first")
    commands = parser.add_commands(
        "list", "describe", "describe-producers", "abort", "find-hanging", TERMINATE
    )
    listing = commands.add_parser("list", about="Lists transactions.")
    listing.add_argument("--duration-filter", type=long, metavar="MS", help="only those that have been open longer")
    listing.add_argument("--transactional-id-pattern", metavar="REGEX", help="only ids that match as a whole")
    one = commands.add_parser("describe", about="Describes the transaction of an id.")
    one.add_argument("--transactional-id", required=True, help="the id")
    producers = commands.add_parser("describe-producers", about="Describes the producers that a partition knows.")
    producers.add_argument("--broker-id", type=int, help="ask this replica, not the leader")
    abort = commands.add_parser("abort", about="Aborts a transaction that hangs.")
    for command in (producers, abort):
        command.add_argument("--topic", required=True, help="the topic")
        command.add_argument("--partition", type=int, required=True, help="the partition")
    abort.add_argument("--start-offset", type=long, help="where the transaction begins; all that brokers since 3.0 need")
    abort.add_argument("--producer-id", type=long, help="for older brokers, as is what follows")
    abort.add_argument("--producer-epoch", type=short)
    abort.add_argument("--coordinator-epoch", type=int)
    search = commands.add_parser("find-hanging", about="Finds transactions that hang.")
    search.add_argument("--broker-id", type=int, help="search the partitions of this broker")
    search.add_argument("--max-transaction-timeout", type=int, default=15, metavar="MINUTES", help="15 if not given")
    search.add_argument("--topic", help="search this topic")
    search.add_argument("--partition", type=int, help="search this partition of the topic")
    terminate = commands.add_parser(TERMINATE, about="Aborts whatever an id has open, and fences who uses it.")
    terminate.add_argument("--transactionalId", dest="transactional_id", required=True, help="the id")
    at = _command_position(arguments)
    if arguments[at : at + 1] == ["force-terminate"]:
        rest = ("--transactionalId" if each == "--transactional-id" else each for each in arguments[at + 1 :])
        arguments = [*arguments[:at], TERMINATE, *rest]
    return parser.parse_args(arguments)


def _command_position(arguments: Sequence[str]) -> int:
    """Where the command stands, behind options that all have a value."""
    position = 0
    while position < len(arguments) and arguments[position].startswith("-"):
        position += 1 if "=" in arguments[position] else 2
    return position


class _Version(Action):
    def __call__(self, *_: object) -> None:
        from pykafkacore import __version__

        print(__version__)
        raise SystemExit(0)


def _check_abort(options: Namespace) -> None:
    if options.start_offset is None:
        if options.producer_id is None:
            fail(
                "The transaction to abort must be identified either with --start-offset (for brokers on 3.0 or above) or "
                "with --producer-id, --producer-epoch, and --coordinator-epoch (for older brokers)"
            )
        for option in ("producer-epoch", "coordinator-epoch"):
            if getattr(options, option.replace("-", "_")) is None:
                fail(f"Missing required argument --{option}")


def _check_search(options: Namespace) -> None:
    if options.topic is None and options.broker_id is None:
        fail("The `find-hanging` command requires either --topic or --broker-id to limit the scope of the search")
    if options.partition is not None and options.topic is None:
        fail("The --partition argument requires --topic to be provided")


@contextmanager
def _failing(what: str) -> Iterator[None]:
    """An ApiError in the block becomes the sentence that Kafka's tool says of it."""
    from pykafkacore.protocol.errors import ApiError

    try:
        yield
    except ApiError as error:
        raise ToolError(f"{what}: {words_of(error)}. Enable debug logging for additional detail.") from None


def _now_ms() -> int:
    from time import time_ns

    return time_ns() // 1_000_000


# ---- what there is


async def _list(client: Client, options: Namespace) -> None:
    from pykafkacore.client.transactions import list_transactions

    duration_ms = -1 if options.duration_filter is None else options.duration_filter
    with _failing("Failed to list transactions"):
        by_broker = await list_transactions(
            client, duration_ms=duration_ms, pattern=options.transactional_id_pattern or None
        )
    rows = [
        (one.transactional_id, str(broker_id), str(one.producer_id), one.state)
        for broker_id in number_order(by_broker)
        for one in by_broker[broker_id]
    ]
    print_table(LISTED, rows)


async def _describe(client: Client, options: Namespace) -> None:
    from pykafkacore.client.transactions import describe_transaction

    transactional_id = options.transactional_id
    with _failing(f"Failed to describe transaction state of transactional-id `{transactional_id}`"):
        found = await describe_transaction(client, transactional_id)
    print_table(DESCRIBED, [described_row(found, _now_ms())])


def described_row(found: TransactionState, now_ms: int) -> tuple[str, ...]:
    from pykafkacore.client.transactions import name_of

    is_open = found.start_time_ms >= 0
    return (
        str(found.coordinator_id),
        found.transactional_id,
        str(found.producer_id),
        str(found.producer_epoch),
        found.state,
        str(found.timeout_ms),
        str(found.start_time_ms) if is_open else "None",
        str(now_ms - found.start_time_ms) if is_open else "None",
        ",".join(name_of(place) for place in partition_order(found.partitions)),
    )


async def _describe_producers(client: Client, options: Namespace) -> None:
    from pykafkacore.client.transactions import check_describable, describe_producers, name_of

    place, broker_id = (options.topic, options.partition), options.broker_id
    where = "leader" if broker_id is None else f"broker {broker_id}"
    with _failing(f"Failed to describe producers for partition {name_of(place)} on {where}"):
        await check_describable(client, broker_id)
        producers = (await describe_producers(client, [place], broker_id))[place]
    print_table(PRODUCERS, [producer_row(producer) for producer in producers])


def producer_row(producer: ActiveProducer) -> tuple[str, ...]:
    start = producer.transaction_start_offset
    return (
        str(producer.producer_id),
        str(producer.producer_epoch),
        str(max(producer.coordinator_epoch, -1)),
        str(producer.last_sequence),
        str(producer.last_timestamp_ms),
        str(start) if start >= 0 else "None",
    )


# ---- what hangs


async def _find_hanging(client: Client, options: Namespace) -> None:
    from pykafkacore.client.transactions import list_transactions

    places = await _partitions_to_search(client, options)
    open_long = await _open_for_long(client, places, options)
    by_producer: dict[int, list[tuple[Place, ActiveProducer]]] = {}
    for place, producer in open_long:
        by_producer.setdefault(producer.producer_id, []).append((place, producer))
    ids: dict[int, str] = {}
    if by_producer:
        with _failing(f"Failed to list transactions for {len(by_producer)} producers"):
            for listed in (await list_transactions(client, producer_ids=by_producer)).values():
                ids.update((one.producer_id, one.transactional_id) for one in listed)
    expected = await _expected_markers(client, ids)
    now_ms = _now_ms()
    rows = [
        hanging_row(place, producer, now_ms)
        for producer_id in number_order(by_producer)
        for place, producer in by_producer[producer_id]
        if place not in expected.get(producer_id, ())
    ]
    print_table(HANGING, rows)


def hanging_row(place: Place, producer: ActiveProducer, now_ms: int) -> tuple[str, ...]:
    return (
        place[0],
        str(place[1]),
        str(producer.producer_id),
        str(producer.producer_epoch),
        str(max(producer.coordinator_epoch, -1)),
        str(producer.transaction_start_offset),
        str(producer.last_timestamp_ms),
        str((now_ms - producer.last_timestamp_ms) // MINUTE_MS),
    )


async def _partitions_to_search(client: Client, options: Namespace) -> list[Place]:
    from pykafkacore.protocol.errors import ApiError, Code

    if options.partition is not None:
        return [(options.topic, options.partition)]
    wanted = None if options.topic is None else [options.topic]
    topics = (await client.refresh_metadata(wanted)).topics
    names = list(topics) if wanted is None else wanted
    with _failing(f"Failed to describe {len(names)} topics"):
        for name in names:
            if topics[name].error is not Code.NONE and not topics[name].partitions:
                raise ApiError(topics[name].error)
    return [
        (name, partition.partition)
        for name in names
        for partition in topics[name].partitions.values()
        if options.broker_id is None or options.broker_id in partition.replicas
    ]


async def _open_for_long(
    client: Client, places: Sequence[Place], options: Namespace
) -> list[tuple[Place, ActiveProducer]]:
    """The transactions that have been open for longer than any should be."""
    from pykafkacore.client.transactions import describe_producers

    found = []
    broker = "Optional.empty" if options.broker_id is None else f"Optional[{options.broker_id}]"
    for first in range(0, len(places), PARTITIONS_AT_A_TIME):
        batch = places[first : first + PARTITIONS_AT_A_TIME]
        with _failing(f"Failed to describe producers for {len(batch)} partitions on broker {broker}"):
            producers = await describe_producers(client, batch, options.broker_id)
        now_ms = _now_ms()
        found += [
            (place, producer)
            for place in partition_order(producers, is_sized=True)
            for producer in producers[place]
            if producer.transaction_start_offset >= 0
            and now_ms - producer.last_timestamp_ms > options.max_transaction_timeout * MINUTE_MS
        ]
    return found


async def _expected_markers(client: Client, ids: dict[int, str]) -> dict[int, tuple[Place, ...]]:
    """By producer id, where a coordinator still is to write a marker."""
    from pykafkacore.client.transactions import describe_transaction
    from pykafkacore.protocol.errors import ApiError, Code

    found = {}
    with _failing(f"Failed to describe {len(ids)} transactions"):
        for producer_id, transactional_id in ids.items():
            try:
                found[producer_id] = (await describe_transaction(client, transactional_id)).partitions
            except ApiError as error:
                if error.code is not Code.TRANSACTIONAL_ID_NOT_FOUND:
                    raise
    return found


# ---- ending them


async def _abort(client: Client, options: Namespace) -> None:
    from pykafkacore.client.transactions import (
        ActiveProducer,
        abort_at_partition,
        abort_text,
        describe_producers,
        name_of,
    )

    place = (options.topic, options.partition)
    start = options.start_offset
    if start is None:
        producer = ActiveProducer(options.producer_id, options.producer_epoch, options.coordinator_epoch, -1, -1, -1)
    else:
        with _failing(f"Failed to validate producer state for partition {name_of(place)}"):
            producers = (await describe_producers(client, [place]))[place]
        candidates = [each for each in producers if start >= 0 and each.transaction_start_offset == start]
        if not candidates:
            raise ToolError(
                f"Could not find any open transactions starting at offset {start} on partition {name_of(place)}"
            )
        producer = candidates[0]
    # KAFKA: a producer that never saw a marker has no epoch of a coordinator; 0 is at most anybody's.
    producer = replace(producer, coordinator_epoch=max(producer.coordinator_epoch, 0))
    with _failing(f"Failed to abort transaction {abort_text(place, producer)}"):
        await abort_at_partition(client, place, producer)


async def _terminate(client: Client, options: Namespace) -> None:
    from pykafkacore.client.transactions import terminate_transaction

    with _failing(f"Failed to force terminate transactionalId `{options.transactional_id}`"):
        await terminate_transaction(client, options.transactional_id)


_WORK = {
    "list": _list,
    "describe": _describe,
    "describe-producers": _describe_producers,
    "find-hanging": _find_hanging,
    "abort": _abort,
    TERMINATE: _terminate,
}
