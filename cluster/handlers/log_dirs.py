"""AlterReplicaLogDirs (KIP-113): replicas of this broker are to lie in other log directories of its.

An answer without an error says that the move has begun, and goes on whatever happens to this process; DescribeLogDirs shows
how far it is.
"""

from __future__ import annotations

from typing import Any

from cluster.handlers.context import Call, Context
from pykafkacore.protocol.errors import Code
from pykafkacore.protocol.schemas import brokers as schemas

# `<topic>-<partition>.<32 hex digits>-future` is the name of a directory, and is never cut.
DIRECTORY_NAME_CHARS_MAX = 255
_UNIQUE_CHARS = 32


async def alter_replica_log_dirs(ctx: Context, call: Call) -> Any:
    # KAFKA: what is asked to lie in two directories goes to the one that is named last.
    wanted = {
        (topic.name, index): directory.path
        for directory in call.request.dirs
        for topic in directory.topics
        for index in topic.partitions
    }
    message = schemas.ALTER_REPLICA_LOG_DIRS_RESPONSE
    response = message()
    asked, places = [], []
    by_topic: dict[str, Any] = {}
    for (name, index), path in wanted.items():
        if name not in by_topic:
            by_topic[name] = message.AlterReplicaLogDirTopicResult(topic_name=name)
            response.results.append(by_topic[name])
        topic = ctx.image.topic_named(name)
        place = message.AlterReplicaLogDirPartitionResult(partition_index=index)
        place.error_code = _refusal(ctx, name, index, path)
        by_topic[name].partitions.append(place)
        if not place.error_code and topic is not None:
            asked.append(((topic.topic_id, index), path))
            places.append(place)
    for place, error in zip(places, await ctx.plane.alter_dirs(asked) if asked else [], strict=True):
        place.error_code = error
    return response


def _refusal(ctx: Context, name: str, index: int, path: str) -> int:
    """What is wrong before anybody looks at the replica."""
    topic = ctx.image.topic_named(name)
    if len(f"{name}-{index}.-future") + _UNIQUE_CHARS > DIRECTORY_NAME_CHARS_MAX:
        return Code.INVALID_TOPIC_EXCEPTION
    if path not in ctx.node.log_dirs:
        return Code.LOG_DIR_NOT_FOUND
    if path in ctx.failed_directories:
        return Code.KAFKA_STORAGE_ERROR
    if path in ctx.cordoned_directories:
        return Code.INVALID_REPLICA_ASSIGNMENT
    if topic is None or index not in topic.partitions:
        return Code.UNKNOWN_TOPIC_OR_PARTITION
    return Code.NONE
