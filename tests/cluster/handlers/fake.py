"""A broker as handlers see it, without one: a cluster's image, settings, and logs that answer what the test says."""

from __future__ import annotations

from typing import Any

from cluster.config.node import read_node
from cluster.config.settings import BrokerSettings
from cluster.handlers.context import Call
from cluster.handlers.dispatch import offered
from cluster.metadata.image import MetadataImage
from pykafkacore.protocol.apis import BROKER, CONTROLLER, Api, api
from pykafkacore.protocol.errors import ApiError, Code
from tests.cluster.metadata.harness import CLUSTER_ID, Harness

STATIC = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listeners": "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093",
    "controller.listener.names": "CONTROLLER",
    "controller.quorum.bootstrap.servers": "127.0.0.1:9093",
    "log.dirs": "/nowhere",
}


class Logs:
    """The look-ups of the data plane: every partition is empty, and all questions are kept."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def list_offsets(self, wanted: list[Any]) -> list[tuple[int, int, int, int]]:
        self.asked.extend(wanted)
        return [(0, -1, 5, 3) for _ in wanted]

    async def epoch_ends(self, wanted: list[Any]) -> list[tuple[int, int, int]]:
        self.asked.extend(wanted)
        return [(0, 0, 5) for _ in wanted]

    async def delete_records(self, wanted: list[Any]) -> list[tuple[int, int]]:
        self.asked.extend(wanted)
        return [(0, 2) for _ in wanted]

    async def describe_producers(self, wanted: list[Any]) -> list[tuple[int, list[Any]]]:
        return [(0, []) for _ in wanted]


class Shards:
    """Coordinators of which each answers with what the test put into `answer`, or raises it."""

    def __init__(self, partition_count: int = 2) -> None:
        self.partition_count = partition_count
        self.answer: Any = ApiError(Code.NOT_COORDINATOR)
        self.asked: list[tuple[int, Any]] = []

    def led_partitions(self) -> list[int]:
        return list(range(self.partition_count))

    async def ask(self, partition: int, make_request: Any) -> Any:
        self.asked.append((partition, make_request(1)))
        if isinstance(self.answer, ApiError):
            raise self.answer
        return self.answer


class Controllers:
    """The way to a controller that takes everything at once."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.asked: list[Call] = []

    async def ask(self, call: Call) -> Any:
        self.asked.append(call)
        slots = type(call.request).__slots__
        return self.harness.ask(call.api.name, call.api_version, **{name: getattr(call.request, name) for name in slots})


class FakeContext:
    """`cluster.handlers.context.Context` over a controller of the tests."""

    def __init__(self, broker_count: int = 1, **static: str) -> None:
        self.harness = Harness(broker_count)
        self.settings = BrokerSettings({**STATIC, **{key.replace("_", "."): value for key, value in static.items()}})
        self.node = read_node(self.settings)
        self.cluster_id = CLUSTER_ID
        self.plane = Logs()
        self.groups = Shards()
        self.transactions = Shards()
        self.controller = Controllers(self.harness)
        self.finalized_features = {"metadata.version": 33, "group.version": 1, "share.version": 0}
        self.has_controller = True
        self.quorum: Any = None

    @property
    def image(self) -> MetadataImage:
        return self.harness.image

    def describe_quorum(self, call: Call) -> Any:
        return self.quorum

    def offered(self, listener: str) -> list[Api]:
        return list(offered(CONTROLLER if listener in self.node.controller_listener_names else BROKER))

    async def published(self, metadata_offset: int) -> None:
        return None

    def fresh_id(self) -> str:
        return "fresh"

    async def producer_id(self) -> int:
        return 42


def call(name: str, api_version: int, listener: str = "PLAINTEXT", **fields: Any) -> Call:
    row = api(name)
    return Call(row, api_version, row.request(**fields), "tests", listener, "127.0.0.1")


def done(coroutine: Any) -> Any:
    """The result of a coroutine that has nothing to wait for; a plain value as it is."""
    if not hasattr(coroutine, "send"):
        return coroutine
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise AssertionError("the handler waits for something that the fake does not have")
