"""The client: connections by node, metadata, routing to leaders and controller, retries.

What it is: every request as one call that finds the right node, negotiates the version and tries again while that can
help and time remains.
What it is not: batching (producer.py), shapes of admin requests (admin.py), groups.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import trio
from msgspec import Struct

from pykafkacore.client.connection import Connection, ConnectionClosed
from pykafkacore.client.metadata import ClusterMetadata, read_metadata
from pykafkacore.client.records import Batch, Record, decode_batches
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import RETRIABLE, STALE_METADATA, ApiError, Code, code_of
from pykafkacore.protocol.types import ZERO_UUID

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from pykafkacore.protocol.apis import Api

Result = TypeVar("Result")

BACKOFF_MS = 50
BACKOFF_MS_MAX = 1000
LATEST = -1
EARLIEST = -2


class FetchedPartition(Struct, frozen=True):
    """One answer to a fetch of one partition."""

    high_watermark: int
    last_stable_offset: int
    log_start_offset: int
    batches: list[Batch]
    fetch_offset: int

    @property
    def records(self) -> list[Record]:
        """Data records from the fetch offset on; a batch may begin before it."""
        return [
            record
            for batch in self.batches
            if not batch.is_control
            for record in batch.records
            if record.offset >= self.fetch_offset
        ]

    @property
    def next_offset(self) -> int:
        """Where to fetch next."""
        return max([self.fetch_offset, *(batch.last_offset + 1 for batch in self.batches)])


class Produced(Struct, frozen=True):
    """Where a batch went; offsets are -1 when no answer was asked for."""

    base_offset: int = -1
    log_append_time_ms: int = -1
    log_start_offset: int = -1


async def _ask(connection: Connection, row: Api, body: Any) -> Any:
    version = connection.version_for(row)
    return await connection.request(row, body(version) if callable(body) else body, version)


@asynccontextmanager
async def open_client(
    bootstrap: Sequence[tuple[str, int]],
    *,
    client_id: str | None = "pykafkacore",
    dial: Callable[[str, int], Awaitable[trio.abc.Stream]] = trio.open_tcp_stream,
    timeout_ms: int = 30_000,
) -> AsyncIterator[Client]:
    """A client that lives as long as the block. `dial` opens streams; tests give one of their own."""
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield Client(bootstrap, nursery, client_id=client_id, dial=dial, timeout_ms=timeout_ms)
        except Exception as error:
            # Carried around the nursery, which would wrap it into a group.
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


class Client:
    """Made by open_client."""

    def __init__(
        self,
        bootstrap: Sequence[tuple[str, int]],
        nursery: trio.Nursery,
        *,
        client_id: str | None,
        dial: Callable[[str, int], Awaitable[trio.abc.Stream]],
        timeout_ms: int,
    ) -> None:
        self.metadata = ClusterMetadata()
        self.timeout_ms = timeout_ms
        self._bootstrap = list(bootstrap)
        self._nursery = nursery
        self._client_id = client_id
        self._dial = dial
        self._connections: dict[tuple[str, int], Connection] = {}
        self._dial_locks: dict[tuple[str, int], trio.Lock] = {}

    # ---- connections

    async def connection_to(self, host: str, port: int) -> Connection:
        """The connection to an address, made when there is none. ConnectionClosed when nobody answers."""
        address = (host, port)
        async with self._dial_locks.setdefault(address, trio.Lock()):
            connection = self._connections.get(address)
            if connection is not None and not connection.is_closed:
                return connection
            try:
                stream = await self._dial(host, port)
            except OSError as error:
                raise ConnectionClosed(f"{host}:{port} cannot be reached: {error}") from None
            connection = Connection(stream, self._client_id, f"{host}:{port}")
            await connection.start(self._nursery)
            self._connections[address] = connection
            return connection

    async def connection_to_node(self, node_id: int) -> Connection:
        node = self.metadata.nodes.get(node_id)
        if node is None:
            raise ApiError(Code.BROKER_NOT_AVAILABLE, f"node {node_id} is not known")
        return await self.connection_to(node.host, node.port)

    async def any_connection(self) -> Connection:
        """A connection to whoever answers: open ones first, then known nodes, then the bootstrap addresses."""
        for connection in self._connections.values():
            if not connection.is_closed:
                return connection
        known = [(node.host, node.port) for node in self.metadata.nodes.values()]
        problems = []
        for host, port in dict.fromkeys([*known, *self._bootstrap]):
            try:
                return await self.connection_to(host, port)
            except ConnectionClosed as error:
                problems.append(str(error))
        raise ConnectionClosed("no node answers: " + "; ".join(problems))

    # ---- retries

    async def retrying(self, attempt: Callable[[], Awaitable[Result]], timeout_ms: int | None = None) -> Result:
        """The result of `attempt`, tried again on retriable errors until the time is over."""
        limit_ms = self.timeout_ms if timeout_ms is None else timeout_ms
        deadline = trio.current_time() + limit_ms / 1000
        pause_ms = BACKOFF_MS
        last: Exception | None = None
        while trio.current_time() < deadline:
            with trio.move_on_at(deadline):
                try:
                    return await attempt()
                except ConnectionClosed as error:
                    last = error
                    self._forget_leaders()
                except ApiError as error:
                    if error.code not in RETRIABLE and error.code is not Code.BROKER_NOT_AVAILABLE:
                        raise
                    last = error
                    if error.code in STALE_METADATA or error.code is Code.BROKER_NOT_AVAILABLE:
                        self._forget_leaders()
                await trio.sleep(pause_ms / 1000)
            pause_ms = min(pause_ms * 2, BACKOFF_MS_MAX)
        raise ApiError(Code.REQUEST_TIMED_OUT, f"gave up after {limit_ms} ms; last: {last}") from last

    def _forget_leaders(self) -> None:
        """Make the next routing decision ask for metadata; nodes stay known, for one of them has to answer."""
        old = self.metadata
        self.metadata = ClusterMetadata(old.cluster_id, -1, old.nodes, {})

    # ---- metadata

    async def refresh_metadata(self, topics: Sequence[str] | None = None, auto_create: bool = False) -> ClusterMetadata:
        """Ask again: about `topics`, or about all when None."""

        async def attempt() -> ClusterMetadata:
            row = api("Metadata")
            connection = await self.any_connection()
            version = connection.version_for(row)
            asked = None if topics is None else [row.request.MetadataRequestTopic(name=name) for name in topics]
            if asked is None and version == 0:
                asked = []  # the oldest version says "all" so
            body = row.request(topics=asked, allow_auto_topic_creation=auto_create or version < 4)
            response = await connection.request(row, body, version)
            if response.error_code != Code.NONE:
                raise ApiError(code_of(response.error_code), "Metadata was refused")
            self.metadata = read_metadata(response, self.metadata if topics is not None else ClusterMetadata())
            return self.metadata

        return await self.retrying(attempt)

    async def leader_of(self, topic: str, partition: int) -> int:
        """The leader's node id, asked for when unknown; a retriable error when there is none."""
        leader_id = self.metadata.leader_of(topic, partition)
        if leader_id is not None and leader_id in self.metadata.nodes:
            return leader_id
        found = (await self.refresh_metadata([topic])).topics.get(topic)
        if found is None or (found.error is not Code.NONE and not found.partitions):
            code = found.error if found else Code.UNKNOWN_TOPIC_OR_PARTITION
            raise ApiError(code, f"topic {topic}")
        if partition not in found.partitions:
            raise ApiError(Code.UNKNOWN_TOPIC_OR_PARTITION, f"topic {topic} has no partition {partition}")
        leader_id = self.metadata.leader_of(topic, partition)
        if leader_id is None:
            raise ApiError(Code.LEADER_NOT_AVAILABLE, f"{topic}-{partition} has no leader")
        return leader_id

    # ---- requests by destination; a body may be a function of the version that was negotiated

    async def request_any(self, name: str, body: Any, timeout_ms: int | None = None) -> Any:
        """To any node; the answer as it is, with the errors in it."""
        row = api(name)

        async def attempt() -> Any:
            return await _ask(await self.any_connection(), row, body)

        return await self.retrying(attempt, timeout_ms)

    async def request_node(self, node_id: int, name: str, body: Any, timeout_ms: int | None = None) -> Any:
        """To one node; the answer as it is."""
        row = api(name)

        async def attempt() -> Any:
            if node_id not in self.metadata.nodes:
                await self.refresh_metadata([])
            return await _ask(await self.connection_to_node(node_id), row, body)

        return await self.retrying(attempt, timeout_ms)

    async def request_controller(
        self, name: str, body: Any, check: Callable[[Any], None], timeout_ms: int | None = None
    ) -> Any:
        """To the node that takes admin requests. `check` raises ApiError for errors in the answer."""
        row = api(name)

        async def attempt() -> Any:
            controller_id = self.metadata.controller_id
            if controller_id not in self.metadata.nodes:
                controller_id = (await self.refresh_metadata([])).controller_id
            if controller_id in self.metadata.nodes:
                connection = await self.connection_to_node(controller_id)
            else:
                connection = await self.any_connection()
            answer = await _ask(connection, row, body)
            check(answer)
            return answer

        return await self.retrying(attempt, timeout_ms)

    # ---- records

    async def produce(
        self, topic: str, partition: int, batch: bytes, *, acks: int = -1, timeout_ms: int | None = None
    ) -> Produced:
        """Append one encoded batch. With acks=0 nothing is known about its fate."""
        row = api("Produce")
        limit_ms = self.timeout_ms if timeout_ms is None else timeout_ms

        async def attempt() -> Produced:
            connection = await self.connection_to_node(await self.leader_of(topic, partition))
            topic_id = self.metadata.topic_id(topic)
            version = connection.version_for(row, at_most=12 if topic_id == ZERO_UUID else None)
            request = row.request
            named = {"topic_id": topic_id} if version >= 13 else {"name": topic}
            data = request.TopicProduceData(
                partition_data=[request.PartitionProduceData(index=partition, records=batch)], **named
            )
            body = request(acks=acks, timeout_ms=limit_ms, topic_data=[data])
            if acks == 0:
                await connection.send(row, body, version)
                return Produced()
            answer = (await connection.request(row, body, version)).responses[0].partition_responses[0]
            if answer.error_code != Code.NONE:
                raise ApiError(code_of(answer.error_code), answer.error_message or f"produce to {topic}-{partition}")
            return Produced(answer.base_offset, answer.log_append_time_ms, answer.log_start_offset)

        return await self.retrying(attempt, timeout_ms)

    async def fetch(
        self,
        topic: str,
        partition: int,
        offset: int,
        *,
        max_bytes: int = 1024 * 1024,
        min_bytes: int = 1,
        max_wait_ms: int = 500,
        read_committed: bool = False,
        timeout_ms: int | None = None,
    ) -> FetchedPartition:
        """What the leader has from `offset` on."""
        row = api("Fetch")

        async def attempt() -> FetchedPartition:
            connection = await self.connection_to_node(await self.leader_of(topic, partition))
            topic_id = self.metadata.topic_id(topic)
            version = connection.version_for(row, at_most=12 if topic_id == ZERO_UUID else None)
            request = row.request
            named = {"topic_id": topic_id} if version >= 13 else {"topic": topic}
            asked = request.FetchPartition(partition=partition, fetch_offset=offset, partition_max_bytes=max_bytes)
            body = request(
                replica_id=-1, max_wait_ms=max_wait_ms, min_bytes=min_bytes, max_bytes=max_bytes,
                isolation_level=int(read_committed), session_id=0, session_epoch=-1,
                topics=[request.FetchTopic(partitions=[asked], **named)],
            )  # fmt: skip
            answer = await connection.request(row, body, version)
            if answer.error_code != Code.NONE:
                raise ApiError(code_of(answer.error_code), "Fetch was refused")
            found = answer.responses[0].partitions[0]
            if found.error_code != Code.NONE:
                raise ApiError(code_of(found.error_code), f"fetch of {topic}-{partition} at {offset}")
            return FetchedPartition(
                high_watermark=found.high_watermark,
                last_stable_offset=found.last_stable_offset,
                log_start_offset=found.log_start_offset,
                batches=list(decode_batches(found.records or b"")),
                fetch_offset=offset,
            )

        return await self.retrying(attempt, timeout_ms)

    async def list_offset(self, topic: str, partition: int, timestamp: int = LATEST) -> int:
        """The offset for a timestamp, or for LATEST or EARLIEST; -1 when there is none."""
        row = api("ListOffsets")

        async def attempt() -> int:
            connection = await self.connection_to_node(await self.leader_of(topic, partition))
            request = row.request
            asked = request.ListOffsetsPartition(partition_index=partition, timestamp=timestamp)
            body = request(
                replica_id=-1, timeout_ms=self.timeout_ms,
                topics=[request.ListOffsetsTopic(name=topic, partitions=[asked])],
            )  # fmt: skip
            found = (await connection.request(row, body)).topics[0].partitions[0]
            if found.error_code != Code.NONE:
                raise ApiError(code_of(found.error_code), f"offset of {topic}-{partition}")
            return int(found.offset)

        return await self.retrying(attempt)
