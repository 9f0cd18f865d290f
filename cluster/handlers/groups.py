"""The APIs of groups and committed offsets: each finds the coordinator's partition, asks its shard, and puts the answer
into the response of the version that was asked for.

Topics are resolved here, by name or by id: shards know no metadata. Whatever the shard refuses as a whole is spread over
the items by `dispatch.error_response`.
"""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, Any

from cluster.coordinator.values import Request
from cluster.handlers.context import Call, Context, Coordinators
from cluster.handlers.coordination import partition_of
from pykafkacore.protocol.errors import ApiError, Code
from pykafkacore.protocol.schemas import groups as schemas
from pykafkacore.protocol.types import ZERO_UUID

if TYPE_CHECKING:
    from cluster.metadata.image import TopicImage

RETENTION_MS_MAX = 1 << 62
# Read, Delete, Describe, DescribeConfigs, AlterConfigs, by their bits.
GROUP_OPERATIONS = 0b1101_0100_1000

_JOINS = frozenset({"ConsumerGroupHeartbeat", "JoinGroup"})
"""Requests of members that may have no name yet."""


def request_for(ctx: Context, call: Call, body: Any, ticket: int) -> Request:
    name = call.api.name
    fresh_id = ctx.fresh_id() if name in _JOINS else ""
    # KAFKA: Java writes an address with a slash in front.
    return Request(ticket, name, call.api_version, body, call.client_id or "", f"/{call.peer_host}", fresh_id)


def _ask(ctx: Context, call: Call, group_id: str, body: Any) -> Awaitable[Any]:
    groups = ctx.groups
    partition_count = groups.partition_count
    if not partition_count:
        raise ApiError(Code.COORDINATOR_NOT_AVAILABLE, "the topic of the group coordinators is not there yet")
    return groups.ask(partition_of(group_id, partition_count), partial(request_for, ctx, call, body))


def of_group(ctx: Context, call: Call) -> Awaitable[Any]:
    """JoinGroup, SyncGroup, Heartbeat, LeaveGroup, ConsumerGroupHeartbeat, OffsetDelete: one group, one answer."""
    return _ask(ctx, call, call.request.group_id, call.request)


def sync_group(ctx: Context, call: Call) -> Awaitable[Any]:
    """KAFKA: from version 5 on the protocol must be told, which comes before all else."""
    if call.api_version >= 5 and (call.request.protocol_type is None or call.request.protocol_name is None):
        raise ApiError(Code.INCONSISTENT_GROUP_PROTOCOL, "SyncGroup names no protocol type or no protocol")
    return of_group(ctx, call)


async def offset_delete(ctx: Context, call: Call) -> Any:
    body, message = call.request, schemas.OFFSET_DELETE_RESPONSE
    if not body.group_id:
        raise ApiError(Code.INVALID_GROUP_ID, "the group has no name")
    places = Places(ctx, [topic for topic in body.topics if topic.partitions], by_id=False)
    response = await _ask(ctx, call, body.group_id, schemas.OFFSET_DELETE_REQUEST(group_id=body.group_id, topics=places.known))
    if response.error_code:
        return response
    return places.told(message, message.OffsetDeleteResponseTopic, message.OffsetDeleteResponsePartition, response.topics)


# --- offsets --------------------------------------------------------------------------------------------------------------


class Places:
    """Of the topics in a request those that exist go on, under their names; the others are told so, in their places."""

    def __init__(self, ctx: Context, topics: list[Any], by_id: bool) -> None:
        self.known: list[Any] = []
        self._rows: list[tuple[Any, int | None]] = []
        for topic in topics:
            image = _image_of(ctx, topic, by_id)
            if image is None:
                self._rows.append((topic, Code.UNKNOWN_TOPIC_ID if by_id else Code.UNKNOWN_TOPIC_OR_PARTITION))
                continue
            there = [p for p in topic.partitions if p.partition_index in image.partitions]
            self._rows.append((_topic_row(topic, image, topic.partitions), None))
            if there:
                self.known.append(_topic_row(topic, image, there))

    def told(self, message: Any, topic_type: Any, partition_type: Any, answered: list[Any]) -> Any:
        """The response: what the shard said of the known ones, and errors for the others."""
        codes: dict[tuple[str, int], int] = {}
        for topic in answered:
            for partition in topic.partitions:
                codes[topic.name, partition.partition_index] = partition.error_code
        response = message()
        for topic, error in self._rows:
            rows = [
                partition_type(
                    partition_index=p.partition_index,
                    error_code=error
                    if error is not None
                    else codes.get((topic.name, p.partition_index), Code.UNKNOWN_TOPIC_OR_PARTITION),
                )
                for p in topic.partitions
            ]
            response.topics.append(_topic_row(topic_type, topic, rows))
        return response


def _image_of(ctx: Context, topic: Any, by_id: bool) -> TopicImage | None:
    return ctx.image.topics.get(topic.topic_id) if by_id else ctx.image.topic_named(topic.name)


def _topic_row(like: Any, topic: Any, partitions: list[Any]) -> Any:
    """A row of the type `like` (or of its type), with the id where that type has one."""
    kind: Any = like if isinstance(like, type) else type(like)
    if "topic_id" in kind.__slots__:
        return kind(name=topic.name, topic_id=topic.topic_id, partitions=partitions)
    return kind(name=topic.name, partitions=partitions)


def offset_commit(ctx: Context, call: Call) -> Awaitable[Any]:
    body, by_id = call.request, call.api_version >= 10
    # Added to the clock it must stay a time that can be written down.
    body.retention_time_ms = min(body.retention_time_ms, RETENTION_MS_MAX)
    if body.topics and _are_there(ctx, body.topics, by_id):
        return _ask(ctx, call, body.group_id, body)
    # KAFKA: a topic without partitions is not answered.
    return _commit_what_is_there(ctx, call, Places(ctx, [topic for topic in body.topics if topic.partitions], by_id))


def _are_there(ctx: Context, topics: list[Any], by_id: bool) -> bool:
    """Whether all topics and partitions exist. Each is known by both its name and its id afterwards."""
    for topic in topics:
        image = _image_of(ctx, topic, by_id)
        if image is None or not topic.partitions:
            return False
        topic.name, topic.topic_id = image.name, image.topic_id
        for row in topic.partitions:
            if row.partition_index not in image.partitions:
                return False
    return True


async def _commit_what_is_there(ctx: Context, call: Call, places: Places) -> Any:
    body, message = call.request, schemas.OFFSET_COMMIT_RESPONSE
    asked = schemas.OFFSET_COMMIT_REQUEST(
        group_id=body.group_id,
        generation_id_or_member_epoch=body.generation_id_or_member_epoch,
        member_id=body.member_id,
        group_instance_id=body.group_instance_id,
        retention_time_ms=body.retention_time_ms,
        topics=places.known,
    )
    answered = (await _ask(ctx, call, body.group_id, asked)).topics if places.known else []
    parts = message.OffsetCommitResponseTopic, message.OffsetCommitResponsePartition
    return places.told(message, *parts, answered)


async def offset_fetch(ctx: Context, call: Call) -> Any:
    body, version = call.request, call.api_version
    message = schemas.OFFSET_FETCH_RESPONSE
    if version >= 8:
        response = message()
        for group in body.groups:
            response.groups.append(await _fetch_group(ctx, call, group, body.require_stable))
        return response
    request = schemas.OFFSET_FETCH_REQUEST
    topics = body.topics
    if topics is not None:
        topics = [request.OffsetFetchRequestTopics(name=t.name, partition_indexes=t.partition_indexes) for t in topics]
    group = request.OffsetFetchRequestGroup(group_id=body.group_id, topics=topics)
    answer = await _fetch_group(ctx, call, group, body.require_stable)
    return message(
        error_code=answer.error_code,
        topics=[
            message.OffsetFetchResponseTopic(
                name=topic.name,
                partitions=[
                    message.OffsetFetchResponsePartition(
                        partition_index=row.partition_index,
                        committed_offset=row.committed_offset,
                        committed_leader_epoch=row.committed_leader_epoch,
                        metadata=row.metadata,
                        # Version 1 has no other place for an error of the whole group.
                        error_code=row.error_code or (answer.error_code if version < 2 else 0),
                    )
                    for row in topic.partitions
                ],
            )
            for topic in answer.topics
        ],
    )


async def _fetch_group(ctx: Context, call: Call, group: Any, require_stable: bool) -> Any:
    message = schemas.OFFSET_FETCH_RESPONSE
    unknown: list[Any] = []
    if call.api_version >= 10 and group.topics is not None:
        unknown = [topic for topic in group.topics if topic.topic_id not in ctx.image.topics]
        known = [topic for topic in group.topics if topic.topic_id in ctx.image.topics]
        for topic in known:
            topic.name = ctx.image.topics[topic.topic_id].name
        group.topics = known
    elif group.topics is not None:
        for topic in group.topics:
            image = ctx.image.topic_named(topic.name)
            topic.topic_id = ZERO_UUID if image is None else image.topic_id
    try:
        answer = await _ask(ctx, call, group.group_id, (group, require_stable))
    except ApiError as error:
        topics = [] if call.api_version >= 2 or group.topics is None else group.topics
        rows = message.OffsetFetchResponsePartitions
        return message.OffsetFetchResponseGroup(
            group_id=group.group_id,
            error_code=error.code,
            topics=[
                message.OffsetFetchResponseTopics(
                    name=topic.name,
                    partitions=[
                        rows(partition_index=i, committed_offset=-1, metadata="") for i in topic.partition_indexes
                    ],
                )
                for topic in topics
            ],
        )
    if call.api_version >= 10:
        answer.topics = [_by_id(ctx, topic) for topic in answer.topics]
    for topic in unknown:
        told = [
            message.OffsetFetchResponsePartitions(
                partition_index=index, committed_offset=-1, metadata="", error_code=Code.UNKNOWN_TOPIC_ID
            )
            for index in topic.partition_indexes
        ]
        answer.topics.append(message.OffsetFetchResponseTopics(topic_id=topic.topic_id, partitions=told))
    return answer


def _by_id(ctx: Context, topic: Any) -> Any:
    """Offsets that were committed by name have no id of their own: the topic's of today."""
    if not any(topic.topic_id):
        image = ctx.image.topic_named(topic.name)
        topic.topic_id = ZERO_UUID if image is None else image.topic_id
    return topic


# --- administration -------------------------------------------------------------------------------------------------------


async def describe_groups(ctx: Context, call: Call) -> Any:
    message = schemas.DESCRIBE_GROUPS_RESPONSE
    response = message()
    for group_id in call.request.groups:
        try:
            told = await _ask(ctx, call, group_id, group_id)
        except ApiError as error:
            text = error.message or None if call.api_version >= 6 else None
            told = message.DescribedGroup(group_id=group_id, error_code=error.code, error_message=text)
        if call.api_version >= 3 and call.request.include_authorized_operations and not told.error_code:
            told.authorized_operations = GROUP_OPERATIONS
        response.groups.append(told)
    return response


async def describe_consumer_groups(ctx: Context, call: Call) -> Any:
    message = schemas.CONSUMER_GROUP_DESCRIBE_RESPONSE
    response = message()
    for group_id in call.request.group_ids:
        try:
            if not group_id:
                raise ApiError(Code.INVALID_GROUP_ID, "the group has no name")
            told = await _ask(ctx, call, group_id, group_id)
        except ApiError as error:
            text = error.message or None
            told = message.DescribedGroup(group_id=group_id, error_code=error.code, error_message=text)
        if call.request.include_authorized_operations and not told.error_code:
            told.authorized_operations = GROUP_OPERATIONS
        for member in told.members:
            # KAFKA: no expression is an empty one here.
            member.subscribed_topic_regex = member.subscribed_topic_regex or ""
        response.groups.append(told)
    return response


async def delete_groups(ctx: Context, call: Call) -> Any:
    message = schemas.DELETE_GROUPS_RESPONSE
    response = message()
    for group_id in dict.fromkeys(call.request.groups_names):
        try:
            code = await _ask(ctx, call, group_id, group_id)
        except ApiError as error:
            code = error.code
        response.results.append(message.DeletableGroupResult(group_id=group_id, error_code=code))
    return response


async def list_groups(ctx: Context, call: Call) -> Any:
    """The groups of every partition that this broker leads; clients ask every broker."""
    response = schemas.LIST_GROUPS_RESPONSE()
    for found in await ask_every_partition(ctx, call, ctx.groups):
        response.groups.extend(found)
    return response


async def ask_every_partition(ctx: Context, call: Call, coordinators: Coordinators) -> list[Any]:
    """What each of the shards here answers to a request. One whose partition moved away meanwhile is another broker's."""
    answers = []
    for partition in coordinators.led_partitions():
        try:
            answers.append(await coordinators.ask(partition, lambda ticket: request_for(ctx, call, call.request, ticket)))
        except ApiError as error:
            if error.code != Code.NOT_COORDINATOR:
                raise
    return answers
