"""FindCoordinator: where the state of groups and transactions lives."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from cluster.coordinator.values import KEPT_LENGTH_MAX
from cluster.handlers.context import Call, Context
from cluster.handlers.internal_topics import GROUP_TOPIC, SHARE_TOPIC, TRANSACTION_TOPIC
from cluster.handlers.metadata import create_topics
from pykafkacore.protocol.errors import Code
from pykafkacore.protocol.schemas import groups as group_schemas

_TOPICS = {0: GROUP_TOPIC, 1: TRANSACTION_TOPIC, 2: SHARE_TOPIC}


@lru_cache(maxsize=16_384)
def java_hash(text: str) -> int:
    """Java's String.hashCode, over UTF-16 units."""
    value = 0
    data = text.encode("utf-16-be", "surrogatepass")
    for at in range(0, len(data), 2):
        value = (31 * value + (data[at] << 8 | data[at + 1])) & 0xFFFFFFFF
    return value - 2**32 if value >= 2**31 else value


def partition_of(key: str, partition_count: int) -> int:
    """KAFKA: the absolute value, with the one that has none taken as 0."""
    value = (java_hash if len(key) <= KEPT_LENGTH_MAX else java_hash.__wrapped__)(key)
    return (0 if value == -(2**31) else abs(value)) % partition_count


async def find_coordinator(ctx: Context, call: Call) -> Any:
    request, message = call.request, group_schemas.FIND_COORDINATOR_RESPONSE
    if call.api_version < 4:
        error, text, node = await _find(ctx, call, request.key, request.key_type)
        node_id, host, port = node
        # KAFKA: success is spelt out here, and an empty text from version 4 on.
        text = text if error else "NONE"
        return message(error_code=error, error_message=text, node_id=node_id, host=host, port=port)
    response = message()
    for key in request.coordinator_keys:
        error, text, (node_id, host, port) = await _find(ctx, call, key, request.key_type)
        response.coordinators.append(
            message.Coordinator(key=key, node_id=node_id, host=host, port=port, error_code=error, error_message=text or "")
        )
    return response


NOWHERE = (-1, "", -1)


async def _find(ctx: Context, call: Call, key: str, key_type: int) -> tuple[int, str | None, tuple[int, str, int]]:
    if key_type not in _TOPICS or (key_type == 2 and call.api_version < 6):
        return Code.INVALID_REQUEST, f"key type {key_type} is not known", NOWHERE
    if key_type == 2:
        return Code.UNSUPPORTED_VERSION, "this broker does not offer share groups yet", NOWHERE
    name = _TOPICS[key_type]
    topic = ctx.image.topic_named(name)
    if topic is None:
        error, text = (await create_topics(ctx, call, [name])).get(name, (0, None))
        topic = ctx.image.topic_named(name)
        if topic is None:
            return (error if error == Code.INVALID_REPLICATION_FACTOR else Code.COORDINATOR_NOT_AVAILABLE), text, NOWHERE
    partition = topic.partitions[partition_of(key, len(topic.partitions))]
    broker = ctx.image.brokers.get(partition.leader)
    listener = None if broker is None or broker.is_fenced else broker.listener(call.listener)
    if listener is None:
        return Code.COORDINATOR_NOT_AVAILABLE, None, NOWHERE
    return 0, None, (partition.leader, listener.host, listener.port)
