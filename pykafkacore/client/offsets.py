"""Offsets of many partitions at once: one request to each leader, and again for those that have to be asked again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import RETRIABLE, ApiError, Code, code_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pykafkacore.client.client import Client

Place = tuple[str, int]


async def list_offsets(client: Client, wanted: Mapping[Place, int]) -> dict[Place, int | ApiError]:
    """The offset of each partition for its timestamp, EARLIEST or LATEST; -1 when there is none. What a leader refuses for
    good is an ApiError in its place; what can pass is tried again until the time is over, and raised then."""
    row = api("ListOffsets")
    found: dict[Place, int | ApiError] = {}

    async def attempt() -> None:
        request = row.request
        led: dict[int, dict[str, list[int]]] = {}
        for topic, partition in wanted:
            if (topic, partition) not in found:
                leader_id = await client.leader_of(topic, partition)
                led.setdefault(leader_id, {}).setdefault(topic, []).append(partition)
        passing: ApiError | None = None
        for leader_id, topics in led.items():
            asked = [
                request.ListOffsetsTopic(
                    name=topic,
                    partitions=[
                        request.ListOffsetsPartition(partition_index=partition, timestamp=wanted[topic, partition])
                        for partition in partitions
                    ],
                )
                for topic, partitions in topics.items()
            ]
            connection = await client.connection_to_node(leader_id)
            body = request(replica_id=-1, timeout_ms=client.timeout_ms, topics=asked)
            answer = await connection.request(row, body)
            for topic in answer.topics:
                for one in topic.partitions:
                    code = code_of(one.error_code)
                    if code is Code.NONE:
                        found[topic.name, one.partition_index] = int(one.offset)
                    elif code in RETRIABLE:
                        passing = ApiError(code, f"offset of {topic.name}-{one.partition_index}")
                    else:
                        found[topic.name, one.partition_index] = ApiError(code)
        if passing is not None:
            raise passing

    await client.retrying(attempt)
    return found
