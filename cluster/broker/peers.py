"""Other nodes of the cluster, over the network: Raft's requests to them, and a broker's to the active controller.

One connection a destination and purpose, made when first needed and again after it broke. No answer is None: Raft
decides what that means.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import trio

from cluster.raft import effects as fx
from cluster.raft import messages as msg
from cluster.raft import wire
from pykafkacore.client.connection import Connection, ConnectionClosed, UnsupportedApi
from pykafkacore.protocol.apis import BY_KEY, Api
from pykafkacore.protocol.errors import ApiError, Code

log = logging.getLogger("pykafkacore.peers")

CONNECT_TIMEOUT_S = 2


class Links:
    """Connections by (purpose, host, port)."""

    def __init__(self, nursery: trio.Nursery, client_id: str) -> None:
        self._nursery = nursery
        self._client_id = client_id
        self._links: dict[tuple[str, str, int], Connection] = {}
        self._locks: dict[tuple[str, str, int], trio.Lock] = {}

    async def to(self, purpose: str, host: str, port: int) -> Connection:
        key = (purpose, host, port)
        async with self._locks.setdefault(key, trio.Lock()):
            link = self._links.get(key)
            if link is None or link.is_closed:
                with trio.fail_after(CONNECT_TIMEOUT_S):
                    stream = await trio.open_tcp_stream(host, port)
                    link = Connection(stream, self._client_id, name=f"{host}:{port}")
                    await link.start(self._nursery)
                self._links[key] = link
            return link


UNREACHABLE = (OSError, ConnectionClosed, UnsupportedApi, ApiError, trio.TooSlowError, trio.BrokenResourceError)


class RaftPeers:
    """Carries `Send` effects out; `answered(request_id, response or None)` is called for each, once."""

    def __init__(self, links: Links, nursery: trio.Nursery, answered: Callable[[int, Any], None]) -> None:
        self._links = links
        self._nursery = nursery
        self._answered = answered

    def send(self, effect: fx.Send) -> None:
        self._nursery.start_soon(self._send, effect)

    async def _send(self, effect: fx.Send) -> None:
        response = None
        with trio.move_on_after(effect.timeout_ms / 1000):
            try:
                # A long-polling Fetch must not hold up a vote.
                purpose = "fetch" if isinstance(effect.request, msg.FetchRequest) else "quorum"
                link = await self._links.to(purpose, effect.to.host, effect.to.port)
                response = await self._exchange(link, effect.request)
            except UNREACHABLE as error:
                log.debug("no answer from %s:%d: %r", effect.to.host, effect.to.port, error)
        self._answered(effect.request_id, response)

    async def _exchange(self, link: Connection, request: Any) -> Any:
        if isinstance(request, msg.ApiVersionsProbe):
            features = {each.name: each for each in link.api_versions.supported_features}
            kraft = features.get("kraft.version")
            if kraft is None:
                return msg.ApiVersionsProbed(error=int(Code.UNSUPPORTED_VERSION))
            return msg.ApiVersionsProbed(0, kraft.min_version, kraft.max_version)
        row = BY_KEY[wire.API_KEY_OF[type(request)]]
        version = link.version_for(row)
        _, body = wire.request_to(request, version)
        return wire.response_from(row.key, await link.request(row, body, version))


class ControllerLink:
    """A broker's requests to the active controller, wherever that is now."""

    def __init__(self, links: Links, where: Callable[[], msg.Endpoint | None], timeout_s: float = 30) -> None:
        self._links = links
        self._where = where
        self._timeout_s = timeout_s

    async def ask(self, row: Api, request: Any, at_most: int | None = None) -> Any:
        """Its answer. Looks for the new controller while there is none; ApiError once that has taken too long."""
        with trio.move_on_after(self._timeout_s):
            while True:
                endpoint = self._where()
                if endpoint is not None:
                    try:
                        link = await self._links.to("controller", endpoint.host, endpoint.port)
                        response = await link.request(row, request, link.version_for(row, at_most))
                    except UnsupportedApi as error:
                        raise ApiError(Code.UNSUPPORTED_VERSION, str(error)) from None
                    except UNREACHABLE as error:
                        log.info("the controller at %s:%d does not answer: %r", endpoint.host, endpoint.port, error)
                    else:
                        if getattr(response, "error_code", 0) != Code.NOT_CONTROLLER:
                            return response
                await trio.sleep(0.05)
        raise ApiError(Code.REQUEST_TIMED_OUT, f"no active controller answered {row.name} within {self._timeout_s} s")


