"""ListOffsets, OffsetForLeaderEpoch, DeleteRecords, DescribeProducers, DescribeLogDirs: questions to the logs themselves.

Each gathers its partitions, asks the data plane once, and puts the answers back in the order of the request. Every
partition that was asked for is answered exactly once.
"""

from __future__ import annotations

from typing import Any

from cluster.config.settings import topic_settings
from cluster.handlers.context import Call, Context
from cluster.handlers.internal_topics import is_internal
from cluster.handlers.names import invalid_topic_name
from cluster.metadata.records import RESOURCE_TOPIC
from pykafkacore.protocol.errors import Code
from pykafkacore.protocol.schemas import brokers as broker_schemas
from pykafkacore.protocol.schemas import produce_fetch, topics, transactions

READ_COMMITTED = 1
EARLIEST_PENDING_UPLOAD = -6

# Special timestamps, with the first version that knows each.
_SPECIAL_TIMESTAMPS = {-1: 0, -2: 0, -3: 7, -4: 8, -5: 9, -6: 11}


def _topic_id(ctx: Context, name: str, index: int) -> bytes | None:
    """The id of a topic that has such a partition."""
    topic = ctx.image.topic_named(name)
    return topic.topic_id if topic is not None and index in topic.partitions else None


def _merged(topics: list[Any]) -> dict[str, dict[int, list[Any]]]:
    """The partitions of each topic, once each, with all that the request says of it.

    KAFKA: topics that stand twice are one in the answer, and a topic without partitions is not answered.
    """
    found: dict[str, dict[int, list[Any]]] = {}
    for topic in topics:
        for partition in topic.partitions:
            found.setdefault(topic.name, {}).setdefault(partition.partition_index, []).append(partition)
    return found


async def list_offsets(ctx: Context, call: Call) -> Any:
    request, message = call.request, produce_fetch.LIST_OFFSETS_RESPONSE
    response = message()
    wanted, places = [], []
    for name, partitions in _merged(request.topics).items():
        told = message.ListOffsetsTopicResponse(name=name)
        response.topics.append(told)
        for index, asked in partitions.items():
            place = message.ListOffsetsPartitionResponse(partition_index=index)
            told.partitions.append(place)
            topic_id = _topic_id(ctx, name, index)
            place.error_code = _unanswerable(call, asked) or (Code.UNKNOWN_TOPIC_OR_PARTITION if topic_id is None else 0)
            timestamp, leader_epoch = asked[0].timestamp, asked[0].current_leader_epoch
            # KAFKA: without tiered storage nothing waits for an upload: no error, and no offset.
            if topic_id is not None and not place.error_code and timestamp != EARLIEST_PENDING_UPLOAD:
                committed_only = request.isolation_level == READ_COMMITTED
                wanted.append((topic_id, index, timestamp, committed_only, request.replica_id >= 0, leader_epoch))
                places.append(place)
    found = await ctx.plane.list_offsets(wanted) if wanted else []
    for place, (error, timestamp, offset, leader_epoch) in zip(places, found, strict=True):
        place.error_code, place.timestamp, place.offset = error, timestamp, offset
        place.leader_epoch = leader_epoch if call.api_version >= 4 else -1
    return response


def _unanswerable(call: Call, asked: list[Any]) -> int:
    """What is wrong with a question about one partition, before anybody looks at the partition."""
    timestamp = asked[0].timestamp
    if len(asked) > 1:
        return Code.INVALID_REQUEST
    if timestamp < 0 and call.api_version < _SPECIAL_TIMESTAMPS.get(timestamp, 32767):
        return Code.UNSUPPORTED_VERSION
    if call.api_version >= 2 and call.request.isolation_level not in (0, READ_COMMITTED):
        # KAFKA: 4.4 answers UNKNOWN_SERVER_ERROR.
        return Code.INVALID_REQUEST
    return Code.FENCED_LEADER_EPOCH if asked[0].current_leader_epoch < -1 else Code.NONE


async def offset_for_leader_epoch(ctx: Context, call: Call) -> Any:
    request, message = call.request, produce_fetch.OFFSET_FOR_LEADER_EPOCH_RESPONSE
    response = message()
    wanted, places = [], []
    for topic in request.topics:
        told = message.OffsetForLeaderTopicResult(topic=topic.topic)
        response.topics.append(told)
        for partition in topic.partitions:
            place = message.EpochEndOffset(partition=partition.partition)
            told.partitions.append(place)
            topic_id = _topic_id(ctx, topic.topic, partition.partition)
            if topic_id is None:
                place.error_code = Code.UNKNOWN_TOPIC_OR_PARTITION
                continue
            if partition.current_leader_epoch < -1:
                place.error_code = Code.FENCED_LEADER_EPOCH
                continue
            wanted.append((topic_id, partition.partition, partition.current_leader_epoch, partition.leader_epoch))
            places.append(place)
    found = await ctx.plane.epoch_ends(wanted) if wanted else []
    for place, (error, leader_epoch, end_offset) in zip(places, found, strict=True):
        place.error_code, place.leader_epoch, place.end_offset = error, leader_epoch, end_offset
    return response


async def delete_records(ctx: Context, call: Call) -> Any:
    request, message = call.request, topics.DELETE_RECORDS_RESPONSE
    response = message()
    wanted, places = [], []
    for name, partitions in _merged(request.topics).items():
        told = message.DeleteRecordsTopicResult(name=name)
        response.topics.append(told)
        refused = _may_not_delete(ctx, name)
        for index, asked in partitions.items():
            place = message.DeleteRecordsPartitionResult(partition_index=index, low_watermark=-1)
            told.partitions.append(place)
            topic_id = _topic_id(ctx, name, index)
            if topic_id is None:
                place.error_code = Code.UNKNOWN_TOPIC_OR_PARTITION
            elif refused:
                place.error_code = refused
            else:
                wanted.append(((topic_id, index), asked[-1].offset))
                places.append(place)
    found = await ctx.plane.delete_records(wanted) if wanted else []
    for place, (error, low_watermark) in zip(places, found, strict=True):
        place.error_code, place.low_watermark = error, low_watermark
    return response


def _may_not_delete(ctx: Context, name: str) -> int:
    if is_internal(name):
        return Code.INVALID_TOPIC_EXCEPTION
    policy: Any = topic_settings(ctx.settings, ctx.image.configs_of(RESOURCE_TOPIC, name))["cleanup.policy"]
    return 0 if not policy or "delete" in policy else Code.POLICY_VIOLATION


async def describe_producers(ctx: Context, call: Call) -> Any:
    request, message = call.request, transactions.DESCRIBE_PRODUCERS_RESPONSE
    response = message()
    wanted, places = [], []
    for topic in request.topics:
        told = message.TopicResponse(name=topic.name)
        response.topics.append(told)
        invalid = invalid_topic_name(topic.name)
        for index in topic.partition_indexes:
            place = message.PartitionResponse(partition_index=index)
            told.partitions.append(place)
            topic_id = _topic_id(ctx, topic.name, index)
            if invalid is not None:
                place.error_code, place.error_message = Code.INVALID_TOPIC_EXCEPTION, invalid
            elif topic_id is None:
                place.error_code = Code.UNKNOWN_TOPIC_OR_PARTITION
                place.error_message = f"topic {topic.name} has no partition {index}"
            else:
                wanted.append((topic_id, index))
                places.append(place)
    found = await ctx.plane.describe_producers(wanted) if wanted else []
    for place, (error, producers) in zip(places, found, strict=True):
        place.error_code = error
        place.active_producers = [
            message.ProducerState(
                producer_id=producer_id,
                producer_epoch=producer_epoch,
                last_sequence=last_sequence,
                last_timestamp=last_timestamp,
                coordinator_epoch=coordinator_epoch,
                current_txn_start_offset=first_offset,
            )
            for producer_id, producer_epoch, last_sequence, last_timestamp, coordinator_epoch, first_offset in producers
        ]
    return response


async def describe_log_dirs(ctx: Context, call: Call) -> Any:
    request, message = call.request, broker_schemas.DESCRIBE_LOG_DIRS_RESPONSE
    asked = None if request.topics is None else {t.topic: set(t.partitions) for t in request.topics}
    response = message()
    for path, error, total_bytes, usable_bytes, partitions in await ctx.plane.describe_log_dirs():
        told = message.DescribeLogDirsResult(
            error_code=error,
            log_dir=path,
            total_bytes=total_bytes,
            usable_bytes=usable_bytes,
            is_cordoned=path in ctx.cordoned_directories,
        )
        response.results.append(told)
        by_topic: dict[str, list[Any]] = {}
        for topic, index, size_bytes, offset_lag, is_future in sorted(partitions):
            if asked is None or index in asked.get(topic, ()):
                place = message.DescribeLogDirsPartition(
                    partition_index=index, partition_size=size_bytes, offset_lag=offset_lag, is_future_key=is_future
                )
                by_topic.setdefault(topic, []).append(place)
        told.topics = [message.DescribeLogDirsTopic(name=name, partitions=rows) for name, rows in by_topic.items()]
    for path in ctx.failed_directories:
        response.results.append(message.DescribeLogDirsResult(error_code=Code.KAFKA_STORAGE_ERROR, log_dir=path))
    return response
