"""From upcalls to handlers and back: decodes, dispatches, encodes, answers. One connection has one request under way,
so answers need no order of their own here.

A handler that can answer at once, or waits for coordinators only, does so within the pump; the others run as tasks. What
was made of nothing but the metadata is kept by the data plane, which gives the same answer to the same question until the
metadata changes; so are coordinators' answers that stand, and what is told of topics (`topic_parts`). A handler that fails in
a way nobody foresaw is told to the log with its traceback and to the client as UNKNOWN_SERVER_ERROR, and disturbs no other.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, Any

from cluster.handlers import core
from cluster.handlers.answers import Answer
from cluster.handlers.context import Call, Context
from cluster.handlers.dispatch import HANDLERS, error_response, is_kept
from pykafkacore.protocol.apis import API_VERSIONS_KEY, BROKER, BY_KEY, CONTROLLER, METADATA_KEY
from pykafkacore.protocol.errors import ApiError, Code
from pykafkacore.protocol.types import MalformedMessage

if TYPE_CHECKING:
    import trio

    from cluster.broker.topic_parts import TopicParts
    from cluster.plane.native import NativePlane

log = logging.getLogger("pykafkacore.requests")

IMAGE_SCOPE = 0
"""Of kept answers: all that stand on the metadata image and the settings of this broker. Those of coordinators have others."""


class UpcallPump:
    def __init__(
        self, ctx: Context, plane: NativePlane, nursery: trio.Nursery, listeners: list[str], topic_parts: TopicParts
    ) -> None:
        self._ctx = ctx
        self._plane = plane
        self._nursery = nursery
        self._topic_parts = topic_parts
        self._listeners = listeners
        controllers = ctx.node.controller_listener_names
        kinds = [CONTROLLER if name in controllers else BROKER for name in listeners]
        self._of_clients = [kind == BROKER for kind in kinds]
        self._handlers = [HANDLERS[kind] for kind in kinds]
        self._held: list[Any] | None = []

    def open(self) -> None:
        """This broker serves: what clients have asked so far is answered now.

        Before it is unfenced, the metadata knows no broker and no controller, and a client that is told so may ask again
        only minutes later."""
        held, self._held = self._held or [], None
        for upcall in held:
            self.on_request(upcall)

    def on_request(self, upcall: Any) -> None:
        api_key, api_version, place, client_id = upcall.api_key, upcall.api_version, upcall.listener, upcall.client_id
        if self._held is not None and self._of_clients[place] and api_key != API_VERSIONS_KEY:
            self._held.append(upcall)
            return
        api = BY_KEY[api_key]
        listener = self._listeners[place]
        if api_key == API_VERSIONS_KEY and not api.serves(api_version):
            self._plane.respond(upcall.ticket, core.unsupported_api_versions(self._ctx, listener))
            return
        try:
            request = api.request.decode(upcall.body, api_version)
        except MalformedMessage as error:
            self._close(upcall, f"malformed {api.name} v{api_version}: {error}")
            return
        if client_id is not None:
            client_id = client_id.decode("utf-8", "surrogateescape")
        call = Call(api, api_version, request, client_id, listener, upcall.peer_host)
        handler = self._handlers[place].get(api.name)
        if handler is None:
            self._close(upcall, f"{api.name} is not answered on listener {listener}")
            return
        try:
            result = handler(self._ctx, call)
        except Exception as error:
            self._fail(upcall, call, error)
            return
        if isinstance(result, Answer):
            result.then(partial(self._told, upcall, call, result))
        elif isinstance(result, Awaitable):
            self._nursery.start_soon(self._finish, upcall, call, result)
        else:
            body = self._respond(upcall, call, result)
            if body is not None and is_kept(call):
                self._keep(IMAGE_SCOPE, upcall, body)
                if api_key == METADATA_KEY and request.topics:
                    self._topic_parts.asked((api_version, place))

    def _keep(self, scope: int, upcall: Any, body: bytes) -> None:
        self._plane.core.keep(scope, (upcall.api_key, upcall.api_version, upcall.listener, upcall.body), body)

    def _told(self, upcall: Any, call: Call, answer: Answer, outcome: Any) -> None:
        if isinstance(outcome, Exception):
            self._fail(upcall, call, outcome)
            return
        body = self._respond(upcall, call, outcome)
        if body is not None and answer.scope is not None:
            self._keep(answer.scope, upcall, body)

    async def _finish(self, upcall: Any, call: Call, result: Awaitable[Any]) -> None:
        try:
            response = await result
        except Exception as error:
            self._fail(upcall, call, error)
            return
        self._respond(upcall, call, response)

    def _respond(self, upcall: Any, call: Call, response: Any) -> bytes | None:
        try:
            body = call.api.response.encode(response, call.api_version)
        except Exception:
            log.exception("cannot encode the response to %s v%d", call.api.name, call.api_version)
            self._plane.respond(upcall.ticket, b"", True)
            return None
        self._plane.respond(upcall.ticket, body)
        return body

    def _fail(self, upcall: Any, call: Call, error: Exception) -> None:
        if not isinstance(error, ApiError):
            log.error("%s v%d from %s failed", call.api.name, call.api_version, call.peer_host, exc_info=error)
            error = ApiError(Code.UNKNOWN_SERVER_ERROR, "The server experienced an unexpected error")
        response = error_response(call, error)
        if response is None:
            self._close(upcall, f"{call.api.name} v{call.api_version} failed: {error}")
        else:
            self._respond(upcall, call, response)

    def _close(self, upcall: Any, reason: str) -> None:
        log.info("closing connection from %s: %s", upcall.peer_host, reason)
        self._plane.respond(upcall.ticket, b"", True)
