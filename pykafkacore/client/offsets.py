"""Offsets of many partitions at once: where logs begin and end, and deleting what is before an offset.

What it is: one request to each leader, and again to whoever leads then for those that have to be asked again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pykafkacore.client.groups import by_topic
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import RETRIABLE, ApiError, Code, code_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from pykafkacore.client.client import Client

Place = tuple[str, int]


async def list_offsets(client: Client, wanted: Mapping[Place, int]) -> dict[Place, int | ApiError]:
    """The offset of each partition for its timestamp, EARLIEST or LATEST; -1 when there is none. What a leader refuses for
    good is an ApiError in its place; what can pass is tried again until the time is over, and raised then."""
    request = api("ListOffsets").request

    def body(led: Mapping[str, list[int]]) -> Any:
        topics = [
            request.ListOffsetsTopic(
                name=topic,
                partitions=[
                    request.ListOffsetsPartition(partition_index=partition, timestamp=wanted[topic, partition])
                    for partition in partitions
                ],
            )
            for topic, partitions in led.items()
        ]
        return request(replica_id=-1, timeout_ms=client.timeout_ms, topics=topics)

    return await _ask_leaders(client, wanted, "ListOffsets", body, lambda one: int(one.offset))


async def delete_records(client: Client, before: Mapping[Place, int]) -> dict[Place, int | ApiError]:
    """Delete what is before an offset, or before the high watermark for -1: where each partition begins after that, or why
    its leader refused."""
    request = api("DeleteRecords").request

    def body(led: Mapping[str, list[int]]) -> Any:
        topics = [
            request.DeleteRecordsTopic(
                name=topic,
                partitions=[
                    request.DeleteRecordsPartition(partition_index=partition, offset=before[topic, partition])
                    for partition in partitions
                ],
            )
            for topic, partitions in led.items()
        ]
        return request(timeout_ms=client.timeout_ms, topics=topics)

    return await _ask_leaders(client, before, "DeleteRecords", body, lambda one: int(one.low_watermark))


async def _ask_leaders(
    client: Client,
    places: Collection[Place],
    name: str,
    body: Callable[[Mapping[str, list[int]]], Any],
    result: Callable[[Any], int],
) -> dict[Place, int | ApiError]:
    row = api(name)
    found: dict[Place, int | ApiError] = {}

    async def attempt() -> None:
        led: dict[int, list[Place]] = {}
        for place in places:
            if place not in found:
                led.setdefault(await client.leader_of(*place), []).append(place)
        passing: ApiError | None = None
        for leader_id, wanted in led.items():
            connection = await client.connection_to_node(leader_id)
            answer = await connection.request(row, body(by_topic(wanted)))
            for topic in answer.topics:
                for one in topic.partitions:
                    code = code_of(one.error_code)
                    if code is Code.NONE:
                        found[topic.name, one.partition_index] = result(one)
                    elif code in RETRIABLE:
                        passing = ApiError(code, f"{name} of {topic.name}-{one.partition_index}")
                    else:
                        found[topic.name, one.partition_index] = ApiError(code)
        if passing is not None:
            raise passing

    await client.retrying(attempt)
    return {place: found[place] for place in places}
