"""Reading many partitions at once, for kafka-console-consumer: one long poll per broker over all that it leads.

What it is: positions, leaders that move, offsets that are gone.
What it is not: a consumer: no group (see group_reading.py), no commits, no fetch sessions.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import trio
from msgspec import Struct

from pykafkacore.client.client import EARLIEST, LATEST
from pykafkacore.client.connection import ConnectionClosed
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import RETRIABLE, ApiError, Code, code_of
from pykafkacore.protocol.types import ZERO_UUID
from pykafkacore.tools.common import ToolError
from pykafkacore.tools.shown_records import Shown, visible_records

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pykafkacore.client import Client

FETCH_BYTES = 50 * 1024 * 1024
PARTITION_BYTES = 1024 * 1024
MAX_WAIT_MS = 500
PAUSE_MS = 200

Place = tuple[str, int]


class Read(Struct, frozen=True):
    """What one fetch found in a partition, and where to go on once all of it is printed."""

    place: Place
    records: list[Shown]
    next_offset: int


async def find_partitions(client: Client, topic: str | None, pattern: str | None, partition: int | None) -> list[Place]:
    """The partitions to read; waits for a topic, or a partition of it, that is not there yet."""
    if pattern is not None:
        from pykafkacore.tools.topics import topic_pattern

        wanted = topic_pattern(pattern)
        names = [name for name in (await client.refresh_metadata()).topics if wanted.fullmatch(name)]
        return [(name, index) for name in sorted(names) for index in sorted(client.metadata.topics[name].partitions)]
    assert topic is not None
    is_told = False
    while True:
        found = (await client.refresh_metadata([topic], auto_create=True)).topics.get(topic)
        if found is not None and found.partitions:
            if partition is None or partition in found.partitions:
                return [(topic, index) for index in sorted(found.partitions) if partition in (None, index)]
            if not is_told:
                told = f"Topic {topic} has no partition {partition} yet: it has {len(found.partitions)}. Waiting for it."
                print(told, file=sys.stderr)
                is_told = True
        if found is not None and found.error is Code.INVALID_TOPIC_EXCEPTION:
            raise ToolError(f"Invalid topics: [{topic}]")
        await trio.sleep(PAUSE_MS / 1000)


class Fetching:
    """Sends what it reads to a channel until it is cancelled."""

    def __init__(
        self, client: Client, sender: trio.MemorySendChannel[Any], read_committed: bool, start: str
    ) -> None:
        self._client = client
        self._sender = sender
        self._read_committed = read_committed
        self._start = start
        self._positions: dict[Place, int] = {}

    async def run(self, places: list[Place], known: Mapping[Place, int] | None = None) -> None:
        """Begins where a position is `known`, or else where this was told to begin."""
        if not places:
            await trio.sleep(math.inf)
        for place in places:
            position = (known or {}).get(place)
            self._positions[place] = await self.first_position(place) if position is None else position
        while True:
            leaders: dict[int, list[Place]] = {}
            for place in places:
                leaders.setdefault(await self._leader_of(place), []).append(place)
            # One task a broker; when what is known of leaders has changed, all of them begin anew.
            problems: list[Exception] = []
            async with trio.open_nursery() as nursery:
                for node_id, led in leaders.items():
                    nursery.start_soon(self._follow, node_id, led, problems, nursery.cancel_scope)
            if problems and not _is_passing(problems[0]):
                raise problems[0]
            await trio.sleep(PAUSE_MS / 1000)
            await self._client.refresh_metadata(sorted({topic for topic, _ in places}))

    async def first_position(self, place: Place) -> int:
        """Where to begin with a partition that nothing is known of."""
        if self._start.isdigit():
            return int(self._start)
        return await self._client.list_offset(*place, EARLIEST if self._start == "earliest" else LATEST)

    async def _leader_of(self, place: Place) -> int:
        return await self._client.retrying(lambda: self._client.leader_of(*place))

    async def _follow(
        self, node_id: int, led: list[Place], problems: list[Exception], scope: trio.CancelScope
    ) -> None:
        try:
            while True:
                answer = await self._fetch(node_id, led)
                for place, found in self._by_place(answer):
                    if found.error_code == Code.OFFSET_OUT_OF_RANGE:
                        # KAFKA: an offset that is gone is answered by where one would begin without it.
                        to = EARLIEST if self._start == "earliest" else LATEST
                        self._positions[place] = await self._client.list_offset(*place, to)
                        continue
                    if found.error_code != Code.NONE:
                        raise ApiError(code_of(found.error_code), f"fetch of {place[0]}-{place[1]}")
                    before = self._positions[place]
                    records: list[Shown]
                    records, after = visible_records(place[1], found, before, self._read_committed)
                    self._positions[place] = after
                    # Markers are nothing to print, but something to go past.
                    if records or after > before:
                        await self._sender.send(Read(place, records, after))
                led = led[1:] + led[:1]  # each comes first in turn
        except Exception as error:  # handed over: a nursery would wrap it
            problems.append(error)
            scope.cancel()

    async def _fetch(self, node_id: int, led: list[Place]) -> Any:
        metadata = self._client.metadata
        row = api("Fetch")
        connection = await self._client.connection_to_node(node_id)
        by_name = any(metadata.topic_id(topic) == ZERO_UUID for topic, _ in led)
        version = connection.version_for(row, at_most=12 if by_name else None)
        request = row.request
        topics: dict[str, list[Any]] = {}
        for topic, partition in led:
            asked = request.FetchPartition(
                partition=partition, fetch_offset=self._positions[topic, partition], partition_max_bytes=PARTITION_BYTES
            )
            topics.setdefault(topic, []).append(asked)
        body = request(
            replica_id=-1, max_wait_ms=MAX_WAIT_MS, min_bytes=1, max_bytes=FETCH_BYTES,
            isolation_level=int(self._read_committed), session_id=0, session_epoch=-1,
            topics=[
                request.FetchTopic(
                    partitions=partitions,
                    **({"topic_id": metadata.topic_id(topic)} if version >= 13 else {"topic": topic}),
                )
                for topic, partitions in topics.items()
            ],
        )  # fmt: skip
        answer = await connection.request(row, body, version)
        if answer.error_code != Code.NONE:
            raise ApiError(code_of(answer.error_code), "Fetch was refused")
        return answer

    def _by_place(self, answer: Any) -> list[tuple[Place, Any]]:
        names = {topic.topic_id: topic.name for topic in self._client.metadata.topics.values()}
        return [
            ((getattr(topic, "topic", "") or names.get(topic.topic_id, ""), found.partition_index), found)
            for topic in answer.responses
            for found in topic.partitions
        ]


def _is_passing(error: Exception) -> bool:
    return isinstance(error, ConnectionClosed) or (isinstance(error, ApiError) and error.code in RETRIABLE)
