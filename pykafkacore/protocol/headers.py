"""Request and response headers, and the pieces that every connection puts together from them.

What it is: both headers in all their flavours, chosen by the table of APIs.
What it is not: framing; the four bytes of size in front belong to whoever owns the stream.
KAFKA: the client id keeps its two-byte length even in the flexible header.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pykafkacore.protocol.apis import BY_KEY
from pykafkacore.protocol.schema import Message
from pykafkacore.protocol.types import MalformedMessage

if TYPE_CHECKING:
    from pykafkacore.protocol.apis import Api

REQUEST_HEADER = Message("RequestHeader", versions="1-2", flexible="2+", fields="""
    request_api_key      int16
    request_api_version  int16
    correlation_id       int32
    client_id            string  nullable plain
""")

RESPONSE_HEADER = Message("ResponseHeader", versions="0-1", flexible="1+", fields="""
    correlation_id  int32
""")


def encode_request(api: Api, api_version: int, correlation_id: int, client_id: str | None, body: Any) -> bytes:
    """Header and body of a request, without the size in front."""
    header = REQUEST_HEADER(
        request_api_key=api.key, request_api_version=api_version, correlation_id=correlation_id, client_id=client_id
    )
    encoded = REQUEST_HEADER.encode(header, api.request_header_version(api_version))
    return encoded + api.request.encode(body, api_version)


def decode_request_header(data: bytes | memoryview) -> tuple[Any, int]:
    """The header of a request and the position of its body.

    KAFKA: an unknown api key is refused here, an unknown version of ApiVersions is not: it is answered later, and is
    flexible when it is higher than what we know.
    """
    if len(data) < 4:
        raise MalformedMessage(f"a request of {len(data)} bytes has no header")
    key = int.from_bytes(data[0:2], "big", signed=True)
    api_version = int.from_bytes(data[2:4], "big", signed=True)
    api = BY_KEY.get(key)
    if api is None:
        raise MalformedMessage(f"there is no API with key {key}")
    return REQUEST_HEADER.decode_from(data, 0, api.request_header_version(api_version))


def encode_response(api: Api, api_version: int, correlation_id: int, body: Any) -> bytes:
    """Header and body of a response, without the size in front."""
    header = RESPONSE_HEADER.encode(
        RESPONSE_HEADER(correlation_id=correlation_id), api.response_header_version(api_version)
    )
    return header + api.response.encode(body, api_version)


def decode_response(api: Api, api_version: int, data: bytes | memoryview) -> tuple[int, Any]:
    """(correlation id, body) of a response."""
    header, position = RESPONSE_HEADER.decode_from(data, 0, api.response_header_version(api_version))
    return header.correlation_id, api.response.decode_from(data, position, api_version)[0]
