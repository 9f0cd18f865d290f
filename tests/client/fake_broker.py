"""A broker made of handler functions behind in-memory streams: what the client's tests talk to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from inspect import signature
from typing import Any

import trio
import trio.testing

from pykafkacore.protocol.apis import BROKER, BY_KEY, advertised, api
from pykafkacore.protocol.headers import decode_request_header, encode_response

Handler = Callable[[Any, int], Any]
NO_ANSWER = object()
HANG_UP = object()


def run(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test on a clock that jumps over every wait."""

    def runner(**arguments: Any) -> None:
        trio.run(partial(test, **arguments), clock=trio.testing.MockClock(autojump_threshold=0))

    runner.__name__ = test.__name__
    runner.__doc__ = test.__doc__
    # pytest reads the parameters of the test itself.
    runner.__signature__ = signature(test)  # type: ignore[attr-defined]
    return runner


class FakeBroker:
    """Answers APIs by name from `handlers`: a function of (body, api version), or a list of answers used up in turn."""

    def __init__(self, node_id: int = 1, max_versions: dict[str, int] | None = None) -> None:
        self.node_id = node_id
        self.handlers: dict[str, Handler | list[Any]] = {}
        self.requests: list[tuple[str, int, Any]] = []
        self.max_versions = max_versions or {}
        self.connection_count = 0
        self.is_down = False

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.connection_count += 1
        buffer = bytearray()
        try:
            async with stream:
                while True:
                    while len(buffer) < 4 or len(buffer) < 4 + int.from_bytes(buffer[:4], "big"):
                        data = await stream.receive_some()
                        if not data:
                            return
                        buffer += data
                    size = int.from_bytes(buffer[:4], "big")
                    frame = bytes(buffer[4 : 4 + size])
                    del buffer[: 4 + size]
                    answer = self.answer(frame)
                    if answer is HANG_UP:
                        return
                    if answer is not NO_ANSWER:
                        await stream.send_all(len(answer).to_bytes(4, "big") + answer)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    def answer(self, frame: bytes) -> Any:
        header, position = decode_request_header(frame)
        row, version = BY_KEY[header.request_api_key], header.request_api_version
        if row.name == "ApiVersions" and version > self.max_versions.get("ApiVersions", row.latest):
            self.requests.append((row.name, version, None))
            limit = self.max_versions["ApiVersions"]
            keys = [row.response.ApiVersion(api_key=18, min_version=0, max_version=limit)]
            return encode_response(row, 0, header.correlation_id, row.response(error_code=35, api_keys=keys))
        body = row.request.decode_from(frame, position, version)[0]
        self.requests.append((row.name, version, body))
        handler = self.handlers.get(row.name, self.api_versions if row.name == "ApiVersions" else None)
        assert handler is not None, f"the fake broker has no handler for {row.name}"
        made = handler.pop(0) if isinstance(handler, list) else handler
        answer = made(body, version) if callable(made) else made
        if answer is HANG_UP or answer is NO_ANSWER:
            return answer
        return encode_response(row, version, header.correlation_id, answer)

    def api_versions(self, body: Any, version: int) -> Any:
        response = api("ApiVersions").response
        return response(
            api_keys=[
                response.ApiVersion(
                    api_key=key, min_version=low, max_version=min(high, self.max_versions.get(BY_KEY[key].name, high))
                )
                for key, low, high in advertised(BROKER)
            ]
        )

    def asked(self, name: str) -> list[Any]:
        """The bodies of all requests of an API so far."""
        return [body for asked, _, body in self.requests if asked == name]


class FakeNetwork:
    """Several fake brokers by address; `dial` is given to the client."""

    def __init__(self, nursery: trio.Nursery, brokers: dict[tuple[str, int], FakeBroker]) -> None:
        self.nursery = nursery
        self.brokers = brokers

    async def dial(self, host: str, port: int) -> trio.abc.Stream:
        broker = self.brokers.get((host, port))
        if broker is None or broker.is_down:
            raise OSError("connection refused")
        ours, theirs = trio.testing.memory_stream_pair()
        self.nursery.start_soon(broker.serve, theirs)
        return ours


def metadata_answer(
    nodes: dict[int, tuple[str, int]],
    topics: dict[str, dict[int, int]] | None = None,
    controller_id: int = 1,
    topic_ids: dict[str, bytes] | None = None,
    errors: dict[str, int] | None = None,
) -> Any:
    """A Metadata answer: nodes by id, topics as {name: {partition: leader}}."""
    response = api("Metadata").response
    return response(
        brokers=[response.MetadataResponseBroker(node_id=n, host=h, port=p) for n, (h, p) in nodes.items()],
        cluster_id="c",
        controller_id=controller_id,
        topics=[
            response.MetadataResponseTopic(
                name=name,
                topic_id=(topic_ids or {}).get(name, bytes(16)),
                error_code=(errors or {}).get(name, 0),
                partitions=[
                    response.MetadataResponsePartition(
                        partition_index=partition, leader_id=leader, leader_epoch=0, replica_nodes=[leader],
                        isr_nodes=[leader],
                    )
                    for partition, leader in partitions.items()
                ],
            )
            for name, partitions in (topics or {}).items()
        ],
    )  # fmt: skip
