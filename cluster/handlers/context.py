"""What a handler sees of the broker around it, and of the call it answers. Values and Protocols only.

Not here: anything that performs I/O. The shell (`cluster.broker`) fills these in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from cluster.config.node import NodeSettings
    from cluster.config.settings import BrokerSettings
    from cluster.metadata.image import MetadataImage
    from pykafkacore.protocol.apis import Api

ANONYMOUS = "User:ANONYMOUS"


class Call(Struct, frozen=True):
    """One request, decoded."""

    api: Api
    api_version: int
    request: Any
    client_id: str | None
    listener: str
    peer_host: str
    principal: str = ANONYMOUS


class Queries(Protocol):
    """The data plane's look-ups; each takes and gives a row for each partition."""

    async def list_offsets(self, wanted: list[tuple[bytes, int, int, bool, bool, int]]) -> list[tuple[int, int, int, int]]: ...
    async def epoch_ends(self, wanted: list[tuple[bytes, int, int, int]]) -> list[tuple[int, int, int]]: ...
    async def delete_records(self, wanted: list[tuple[tuple[bytes, int], int]]) -> list[tuple[int, int]]: ...
    async def describe_producers(self, wanted: list[tuple[bytes, int]]) -> list[tuple[int, list[tuple[int, ...]]]]: ...
    async def describe_log_dirs(self) -> list[tuple[str, int, int, int, list[tuple[str, int, int, int, bool]]]]: ...
    async def alter_dirs(self, wanted: list[tuple[tuple[bytes, int], str]]) -> list[int]: ...


class ControllerPort(Protocol):
    """The way to the active controller."""

    def ask(self, call: Call) -> Awaitable[Any]:
        """The controller's response, released once it is committed. Raises ApiError where the request fails whole."""
        ...


class Coordinators(Protocol):
    """The coordinators of one kind on this broker. What they give is awaited by `answers.stepped` coroutines."""

    partition_count: int
    """Of their topic; 0 while it is not there."""

    def led_partitions(self) -> list[int]: ...

    def ask(self, partition: int, make_request: Callable[[int], Any]) -> Awaitable[Any]:
        """The shard's answer to `make_request(ticket)`, once committed. Raises ApiError."""
        ...


class Transactions(Coordinators, Protocol):
    async def ask_with_spare(self, partition: int, make_request: Callable[[int, int], Any]) -> Any:
        """As `ask`, with a producer id that the coordinator may give away: `make_request(ticket, spare)`."""
        ...

    async def verify(
        self, transactional_id: str, producer_id: int, producer_epoch: int, places: list[tuple[str, int]], verify_only: bool
    ) -> dict[tuple[str, int], int]:
        """What the transaction's coordinator says of each partition; without `verify_only` it adds them."""
        ...

    async def write_here(self, markers: Any, places: list[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Writes the markers of a `WriteMarkers` to partitions that are led here; an error code for each."""
        ...


class Context(Protocol):
    """The broker, as handlers see it."""

    @property
    def cluster_id(self) -> str: ...

    @property
    def node(self) -> NodeSettings: ...

    @property
    def plane(self) -> Queries: ...

    @property
    def controller(self) -> ControllerPort: ...

    @property
    def groups(self) -> Coordinators: ...

    @property
    def transactions(self) -> Transactions: ...

    @property
    def cordoned_directories(self) -> Collection[str]:
        """Of `log.dirs`: those that take no new partitions."""
        ...

    @property
    def failed_directories(self) -> Collection[str]:
        """Of `log.dirs`: those that could not be used at the start."""
        ...

    @property
    def image(self) -> MetadataImage:
        """As committed and published to the data plane."""
        ...

    @property
    def settings(self) -> BrokerSettings:
        """With the dynamic layers of this broker."""
        ...

    @property
    def finalized_features(self) -> dict[str, int]:
        """Feature levels of the cluster, kraft.version among them, which no metadata record carries."""
        ...

    @property
    def has_controller(self) -> bool: ...

    def describe_quorum(self, call: Call) -> Any:
        """The response to DescribeQuorum, or an awaitable of it."""
        ...

    def quorum_request(self, call: Call) -> Awaitable[Any]:
        """The response to a request of Raft's own."""
        ...

    def offered(self, listener: str) -> tuple[Api, ...]:
        """The APIs that a listener answers."""
        ...

    async def published(self, metadata_offset: int) -> None:
        """Returns once the data plane's view is at least that new."""
        ...

    def fresh_id(self) -> str:
        """A UUID as text that nobody else is given."""
        ...

    def producer_id(self) -> Awaitable[int]:
        """An id that no producer ever had."""
        ...
