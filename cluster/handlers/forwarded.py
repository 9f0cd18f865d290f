"""What the active controller decides: passed on as it came. The answer leaves once the change is committed there and
published to this broker's own data plane, so that a client's next request finds what it just made.

KAFKA: 4.4 answers at commit, and clients retry until the broker has caught up; a deliberate difference.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from cluster.handlers.context import Call, Context
from pykafkacore.protocol.errors import Code
from pykafkacore.protocol.types import ZERO_UUID

METADATA_PARTITION = ("__cluster_metadata", 0)


async def to_controller(ctx: Context, call: Call) -> Any:
    response = await ctx.controller.ask(call)
    await ctx.published(-1)
    return response


async def at_controller(ctx: Context, call: Call) -> Any:
    """On a controller's own listener: answered at commit."""
    return await ctx.controller.ask(call)


async def describe_quorum(ctx: Context, call: Call) -> Any:
    refused = _not_of_the_quorum(call)
    if refused is not None:
        return refused
    response = ctx.describe_quorum(call)
    if isinstance(response, Awaitable):
        response = await response
    if call.api_version < 2:
        for partition in (each for topic in response.topics for each in topic.partitions):
            for replica in (*partition.current_voters, *partition.observers):
                replica.replica_directory_id = ZERO_UUID
    return response


def _not_of_the_quorum(call: Call) -> Any | None:
    """Whoever asks for anything but the one partition of the metadata log is told so for each that he asked for."""
    message, topics = call.api.response, call.request.topics
    asked = [(topic.topic_name, each.partition_index) for topic in topics for each in topic.partitions]
    if asked == [METADATA_PARTITION]:
        return None
    error, text = Code.UNKNOWN_TOPIC_OR_PARTITION, "only partition 0 of __cluster_metadata has a quorum"

    def row(index: int) -> Any:
        return message.PartitionData(partition_index=index, error_code=error, error_message=text)

    return message(
        error_message="",
        topics=[
            message.TopicData(topic_name=each.topic_name, partitions=[row(p.partition_index) for p in each.partitions])
            for each in topics
        ],
    )


def of_quorum(ctx: Context, call: Call) -> Any:
    """Raft's own requests, from other nodes and from tools that change the voters."""
    return ctx.quorum_request(call)
