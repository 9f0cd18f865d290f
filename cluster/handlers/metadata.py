"""Metadata and DescribeTopicPartitions: who leads what, and where to reach them.

A topic that is asked for by name and may be made by asking (`auto.create.topics.enable`) is made before the answer.
KAFKA: 4.4 answers UNKNOWN_TOPIC_OR_PARTITION first and lets the client ask again; a deliberate difference, it saves a
round trip and the client's back-off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from struct import Struct as ByteLayout
from typing import Any

from cluster.handlers.context import Call, Context
from cluster.handlers.internal_topics import creation_of, is_internal
from cluster.handlers.names import invalid_topic_name
from cluster.metadata.image import MetadataImage, PartitionImage, TopicImage
from pykafkacore.protocol.apis import api as api_named
from pykafkacore.protocol.errors import Code
from pykafkacore.protocol.schemas import core as schemas
from pykafkacore.protocol.schemas import topics as topic_schemas
from pykafkacore.protocol.types import ZERO_UUID, Encoded

# Create, Delete, Alter, Describe, Read, Write, DescribeConfigs, AlterConfigs, by their bits.
TOPIC_OPERATIONS = 0b1101_1111_1000
CLUSTER_OPERATIONS = 0b1_1111_1010_0000
NOT_ASKED = -(2**31)


def metadata(ctx: Context, call: Call) -> Any:
    """Answers at once, unless topics are to be made first."""
    request, version = call.request, call.api_version
    may_create = ctx.settings["auto.create.topics.enable"] and (version < 4 or request.allow_auto_topic_creation)
    missing = sorted(
        {t.name for t in request.topics or () if t.name and ctx.image.topic_named(t.name) is None} if may_create else ()
    )
    valid = [name for name in missing if invalid_topic_name(name) is None]
    return _create_and_answer(ctx, call, valid) if valid else answer(ctx, call)


async def _create_and_answer(ctx: Context, call: Call, names: list[str]) -> Any:
    await create_topics(ctx, call, names)
    return answer(ctx, call)


def answer(ctx: Context, call: Call) -> Any:
    request, version = call.request, call.api_version
    message = schemas.METADATA_RESPONSE
    wanted = request.topics
    # KAFKA: version 0 means "all" by an empty list, later ones by null.
    everything = wanted is None or (version == 0 and not wanted)
    if not everything and version in (10, 11) and any(t.name is None or t.topic_id != ZERO_UUID for t in wanted):
        topics = [
            message.MetadataResponseTopic(error_code=Code.INVALID_REQUEST, name=t.name or "", topic_id=t.topic_id)
            for t in wanted
        ]
        return message(topics=topics)
    if not everything and version >= 12 and any(t.name is None and t.topic_id == ZERO_UUID for t in wanted):
        # KAFKA: 4.4 says UNKNOWN_SERVER_ERROR here; the request itself is at fault.
        topics = [
            message.MetadataResponseTopic(error_code=Code.INVALID_REQUEST, name=t.name or "", topic_id=t.topic_id)
            for t in wanted
        ]
        return message(topics=topics, error_code=Code.INVALID_REQUEST if version >= 13 else Code.NONE)
    image = ctx.image
    operations = TOPIC_OPERATIONS if version >= 8 and request.include_topic_authorized_operations else NOT_ASKED
    rows = partition_rows(image, call)
    if everything:
        topics = [_topic(message, topic, rows, operations) for topic in image.topics.values()]
    else:
        once = {(each.topic_id, each.name): each for each in wanted}.values()
        topics = [_named(message, image, each, rows, operations) for each in once]
    asks_cluster = 8 <= version <= 10 and request.include_cluster_authorized_operations
    return _with_cluster(ctx, call.listener, topics, CLUSTER_OPERATIONS if asks_cluster else NOT_ASKED)


def _with_cluster(ctx: Context, listener: str, topics: list[Any] | Encoded, operations: int = NOT_ASKED) -> Any:
    message = schemas.METADATA_RESPONSE
    brokers = [
        message.MetadataResponseBroker(node_id=node_id, host=host, port=port, rack=rack)
        for node_id, host, port, rack in live_brokers(ctx.image, listener)
    ]
    return message(
        brokers=brokers,
        cluster_id=ctx.cluster_id,
        controller_id=brokers[0].node_id if brokers else -1,
        topics=topics,
        cluster_authorized_operations=operations,
    )


# In no answer: neither a host nor an id has such bytes.
_HERE = b"\xff" * 64


def around_topics(ctx: Context, call: Call) -> tuple[bytes, bytes]:
    """What an answer to `call`, which names topics and asks nothing more, has before their count and behind them."""
    whole = call.api.response.encode(_with_cluster(ctx, call.listener, Encoded(0, _HERE)), call.api_version)
    before, _, behind = whole.partition(_HERE)
    return before[: -1 if call.api.is_flexible(call.api_version) else -4], behind


def topic_part(call: Call, topic: TopicImage, rows: Rows) -> bytes:
    """What such an answer tells of a topic. `rows`: `partition_rows` of the image."""
    told = _topic(schemas.METADATA_RESPONSE, topic, rows, NOT_ASKED)
    data: bytes = call.api.response.encode(told, call.api_version, type(told).__name__)
    return data


def partition_rows(image: MetadataImage, call: Call) -> Rows:
    return rows_of(image, call, _partition)


def live_brokers(image: MetadataImage, listener_name: str) -> Iterable[tuple[int, str, int, str | None]]:
    for broker_id, broker in sorted(image.brokers.items()):
        listener = None if broker.is_fenced else broker.listener(listener_name)
        if listener is not None:
            yield broker_id, listener.host, listener.port, broker.rack


async def create_topics(ctx: Context, call: Call, names: list[str]) -> dict[str, tuple[int, str | None]]:
    """Makes topics with the broker's defaults, and returns once the data plane serves them."""
    api = api_named("CreateTopics")
    request = api.request(topics=[creation_of(name, ctx.settings, api.request) for name in names], timeout_ms=30_000)
    creation = Call(api, api.latest, request, call.client_id, call.listener, call.peer_host, call.principal)
    response = await ctx.controller.ask(creation)
    await ctx.published(-1)
    return {topic.name: (topic.error_code, topic.error_message) for topic in response.topics}


def _named(message: Any, image: MetadataImage, wanted: Any, rows: Rows, operations: int) -> Any:
    topic, name = None, wanted.name
    if wanted.topic_id != ZERO_UUID:
        # KAFKA: an id counts, whatever name stands beside it.
        topic, error, name = image.topics.get(wanted.topic_id), Code.UNKNOWN_TOPIC_ID, None
    else:
        topic = image.topic_named(name)
        error = Code.UNKNOWN_TOPIC_OR_PARTITION if invalid_topic_name(name) is None else Code.INVALID_TOPIC_EXCEPTION
    if topic is None:
        return message.MetadataResponseTopic(
            error_code=error, name=name, topic_id=wanted.topic_id, is_internal=bool(name) and is_internal(name)
        )
    return _topic(message, topic, rows, operations)


def _topic(message: Any, topic: TopicImage, rows: Rows, operations: int) -> Any:
    return message.MetadataResponseTopic(
        name=topic.name,
        topic_id=topic.topic_id,
        is_internal=is_internal(topic.name),
        partitions=rows(sorted(topic.partitions.items())),
        topic_authorized_operations=operations,
    )


def _partition(partition: PartitionImage, error: int, leader: int, offline: list[int]) -> Any:
    return schemas.METADATA_RESPONSE.MetadataResponsePartition(
        error_code=error,
        leader_id=leader,
        leader_epoch=partition.leader_epoch,
        replica_nodes=list(partition.replicas),
        isr_nodes=list(partition.isr),
        offline_replicas=offline,
    )


Rows = Callable[[list[tuple[int, PartitionImage]]], Encoded]

_TOLD_OF = attrgetter(
    "replicas", "isr", "leader", "leader_epoch", "directories", "eligible_leader_replicas", "last_known_elr"
)
_INDEX = ByteLayout(">i")


def rows_of(image: MetadataImage, call: Call, make_row: Callable[[PartitionImage, int, int, list[int]], Any]) -> Rows:
    """Partitions by their indexes, as an answer to `call` tells of them.

    Most differ from another one in nothing but the index: what is told of such is encoded once, around the index.
    INVARIANT: at every version a row begins with its error code and its index.
    """
    known: dict[Any, tuple[bytes, bytes]] = {}

    def around_index(partition: PartitionImage) -> tuple[bytes, bytes]:
        row = make_row(partition, *_leader(image, partition, call), _offline(image, partition))
        data = call.api.response.encode(row, call.api_version, type(row).__name__)
        return data[:2], data[6:]

    def rows(partitions: list[tuple[int, PartitionImage]]) -> Encoded:
        told = []
        for index, partition in partitions:
            key = _TOLD_OF(partition)
            found = known.get(key)
            if found is None:
                found = known[key] = around_index(partition)
            told.append(found[0] + _INDEX.pack(index) + found[1])
        return Encoded(len(told), b"".join(told))

    return rows


def _leader(image: MetadataImage, partition: PartitionImage, call: Call) -> tuple[int, int]:
    broker = image.brokers.get(partition.leader)
    if not partition.has_leader or broker is None or broker.is_fenced:
        return Code.LEADER_NOT_AVAILABLE, -1
    if broker.listener(call.listener) is None:
        newer = call.api.name != "Metadata" or call.api_version >= 6
        return (Code.LISTENER_NOT_FOUND if newer else Code.LEADER_NOT_AVAILABLE), -1
    return Code.NONE, partition.leader


def _offline(image: MetadataImage, partition: PartitionImage) -> list[int]:
    return [replica for replica in partition.replicas if not image.is_replica_online(replica, partition)]


def describe_topic_partitions(ctx: Context, call: Call) -> Any:
    """Partitions of topics in pages: topics by name, from the cursor on, at most so many partitions."""
    request, image = call.request, ctx.image
    message, rows = topic_schemas.DESCRIBE_TOPIC_PARTITIONS_RESPONSE, rows_of(image, call, _described)
    # KAFKA: a limit of 0 or less is taken for 1.
    limit = max(1, min(request.response_partition_limit, ctx.settings["max.request.partition.size.limit"]))
    cursor = request.cursor
    names = sorted({t.name for t in request.topics}) or [
        name for name in sorted(image.topic_ids) if cursor is None or name >= cursor.topic_name
    ]
    response = message()
    if cursor is not None and request.topics and (cursor.partition_index < 0 or cursor.topic_name not in names):
        # There is no place for an error of the whole request.
        response.topics = [
            message.DescribeTopicPartitionsResponseTopic(
                error_code=Code.INVALID_REQUEST, name=name, is_internal=is_internal(name)
            )
            for name in names
        ]
        return response
    for name in names:
        first = 0
        if cursor is not None:
            if name < cursor.topic_name:
                continue
            first = cursor.partition_index if name == cursor.topic_name else 0
        if limit == 0:
            response.next_cursor = message.Cursor(topic_name=name, partition_index=0)
            return response
        topic = image.topic_named(name)
        told = message.DescribeTopicPartitionsResponseTopic(
            name=name, is_internal=is_internal(name), topic_authorized_operations=TOPIC_OPERATIONS
        )
        response.topics.append(told)
        if topic is None:
            # KAFKA: 4.4 answers UNKNOWN_SERVER_ERROR for every topic when one has no name.
            invalid = invalid_topic_name(name) is not None
            told.error_code = Code.INVALID_TOPIC_EXCEPTION if invalid else Code.UNKNOWN_TOPIC_OR_PARTITION
            continue
        told.topic_id = topic.topic_id
        partitions = sorted(each for each in topic.partitions.items() if each[0] >= first)
        told.partitions = rows(partitions[:limit])
        if len(partitions) > limit:
            response.next_cursor = message.Cursor(topic_name=name, partition_index=partitions[limit][0])
            return response
        limit -= len(partitions)
    return response


def _described(partition: PartitionImage, error: int, leader: int, offline: list[int]) -> Any:
    return topic_schemas.DESCRIBE_TOPIC_PARTITIONS_RESPONSE.DescribeTopicPartitionsResponsePartition(
        error_code=error,
        leader_id=leader,
        leader_epoch=partition.leader_epoch,
        replica_nodes=list(partition.replicas),
        isr_nodes=list(partition.isr),
        eligible_leader_replicas=list(partition.eligible_leader_replicas),
        last_known_elr=list(partition.last_known_elr),
        offline_replicas=offline,
    )
