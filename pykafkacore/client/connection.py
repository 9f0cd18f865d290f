"""One connection to one node: pipelined requests, answers in order, versions negotiated at the start.

What it is: frames, correlation ids, the ApiVersions exchange, and who waits for what.
What it is not: knowledge of the cluster, retries (client.py), or security: streams come from outside, ready to use.
INVARIANT: answers come in the order of the requests; anything else closes the connection.
INVARIANT: a caller that is cancelled while waiting leaves the connection usable; one that is cancelled while its bytes
are being sent closes it, for nobody knows how many of them went out.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import trio

from pykafkacore import __version__
from pykafkacore.protocol.apis import API_VERSIONS_KEY, Api, api
from pykafkacore.protocol.errors import ApiError, Code, code_of
from pykafkacore.protocol.headers import decode_response, encode_request
from pykafkacore.protocol.types import MalformedMessage

if TYPE_CHECKING:
    from collections.abc import Mapping

RESPONSE_BYTES_MAX = 256 * 1024 * 1024
_RECEIVE_BYTES = 64 * 1024


class ConnectionClosed(Exception):
    """The connection is gone, and with it the answers that were still to come."""


class UnsupportedApi(Exception):
    """The other side does not speak an API, or no version of it that we speak."""


class _Waiting:
    __slots__ = ("answer", "api", "api_version", "correlation_id", "event", "failure")

    def __init__(self, row: Api, api_version: int, correlation_id: int) -> None:
        self.api = row
        self.api_version = api_version
        self.correlation_id = correlation_id
        self.event = trio.Event()
        self.answer: Any = None
        self.failure: Exception | None = None


class Connection:
    """Use `start` to begin, then `request`. The reading task lives in the nursery given to `start`."""

    def __init__(self, stream: trio.abc.Stream, client_id: str | None, name: str = "") -> None:
        self.client_id = client_id
        self.name = name
        self.api_ranges: Mapping[int, tuple[int, int]] = {}
        self.api_versions: Any = None
        self._stream = stream
        self._send_lock = trio.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._next_correlation_id = 1
        self._closed_because: str | None = None

    @property
    def is_closed(self) -> bool:
        return self._closed_because is not None

    async def start(self, nursery: trio.Nursery, *, negotiate: bool = True) -> None:
        """Begin to read, and learn what the other side speaks.

        Without `negotiate` every request must name its version: followers fetch so.
        """
        nursery.start_soon(self._read_answers)
        if negotiate:
            try:
                await self._negotiate()
            except BaseException:
                self._break("versions could not be negotiated")
                await trio.aclose_forcefully(self._stream)
                raise

    async def close(self) -> None:
        self._break("closed by us")
        await self._stream.aclose()

    # ---- versions

    def version_for(self, row: Api, at_most: int | None = None) -> int:
        """The newest version that both sides speak, or UnsupportedApi."""
        if row.key not in self.api_ranges:
            raise UnsupportedApi(f"{self.name or 'the node'} does not speak {row.name}")
        low, high = self.api_ranges[row.key]
        version = min(high, row.latest_served())
        if at_most is not None:
            version = min(version, at_most)
        if version < max(low, row.oldest):
            raise UnsupportedApi(
                f"{self.name or 'the node'} speaks {row.name} {low}-{high}, but {row.oldest}-{version} is wanted"
            )
        return version

    async def _negotiate(self) -> None:
        row = api("ApiVersions")
        body = row.request(client_software_name="pykafkacore", client_software_version=__version__)
        answer = await self.request(row, body, row.latest)
        if answer.error_code == Code.UNSUPPORTED_VERSION:
            # KAFKA: the answer then has the oldest body, with the range that is spoken.
            theirs = next((one.max_version for one in answer.api_keys if one.api_key == row.key), 0)
            answer = await self.request(row, body, max(0, min(theirs, row.latest)))
        if answer.error_code != Code.NONE:
            raise ApiError(code_of(answer.error_code), f"{self.name or 'the node'} refused ApiVersions")
        self.api_versions = answer
        self.api_ranges = {one.api_key: (one.min_version, one.max_version) for one in answer.api_keys}

    # ---- requests

    async def request(self, row: Api, body: Any, api_version: int | None = None) -> Any:
        """Send one request and wait for its answer. Several callers may wait at a time."""
        waiting = await self._send(row, body, api_version, expects_answer=True)
        assert waiting is not None
        await waiting.event.wait()
        if waiting.failure is not None:
            raise waiting.failure
        return waiting.answer

    async def send(self, row: Api, body: Any, api_version: int | None = None) -> None:
        """Send one request that is not answered: a Produce with acks=0."""
        await self._send(row, body, api_version, expects_answer=False)

    async def _send(self, row: Api, body: Any, api_version: int | None, expects_answer: bool) -> _Waiting | None:
        version = self.version_for(row) if api_version is None else api_version
        async with self._send_lock:
            self._check_open()
            waiting = _Waiting(row, version, self._next_correlation_id)
            data = encode_request(row, version, waiting.correlation_id, self.client_id, body)
            self._next_correlation_id = waiting.correlation_id % 0x7FFFFFFF + 1
            if expects_answer:
                self._waiting.append(waiting)
            try:
                await self._stream.send_all(len(data).to_bytes(4, "big") + data)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                self._break(f"sending failed: {error}")
                self._check_open()
            except BaseException:
                self._break("a request was cut short")
                raise
        return waiting if expects_answer else None

    def _check_open(self) -> None:
        if self._closed_because is not None:
            raise ConnectionClosed(f"the connection to {self.name or 'the node'} is closed: {self._closed_because}")

    # ---- answers

    async def _read_answers(self) -> None:
        try:
            buffer = bytearray()
            while True:
                data = await self._stream.receive_some(_RECEIVE_BYTES)
                if not data:
                    self._break("the other side closed it" + (" in the middle of an answer" if buffer else ""))
                    return
                buffer += data
                self._take_frames(buffer)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._break(f"receiving failed: {error or type(error).__name__}")
        except MalformedMessage as error:
            self._break(str(error))
        finally:
            self._break("its nursery ended")
            await trio.aclose_forcefully(self._stream)

    def _take_frames(self, buffer: bytearray) -> None:
        position = 0
        while len(buffer) - position >= 4:
            size = int.from_bytes(buffer[position : position + 4], "big", signed=True)
            if not 4 <= size <= RESPONSE_BYTES_MAX:
                raise MalformedMessage(f"an answer of {size} bytes is announced")
            if len(buffer) - position < 4 + size:
                break
            self._take_answer(bytes(buffer[position + 4 : position + 4 + size]))
            position += 4 + size
        del buffer[:position]

    def _take_answer(self, data: bytes) -> None:
        if not self._waiting:
            raise MalformedMessage("an answer came that nobody asked for")
        waiting = self._waiting.popleft()
        version = waiting.api_version
        if waiting.api.key == API_VERSIONS_KEY and data[4:6] == b"\x00\x23":
            version = 0  # UNSUPPORTED_VERSION is always said in the oldest body
        try:
            correlation_id, answer = decode_response(waiting.api, version, data)
            if correlation_id != waiting.correlation_id:
                raise MalformedMessage(
                    f"answer {correlation_id} came where {waiting.correlation_id} was due: answers are out of order"
                )
        except MalformedMessage:
            self._waiting.appendleft(waiting)  # fails with all the others
            raise
        waiting.answer = answer
        waiting.event.set()

    def _break(self, why: str) -> None:
        if self._closed_because is None:
            self._closed_because = why
        while self._waiting:
            waiting = self._waiting.popleft()
            waiting.failure = ConnectionClosed(
                f"the connection to {self.name or 'the node'} closed before {waiting.api.name} was answered: "
                f"{self._closed_because}"
            )
            waiting.event.set()
