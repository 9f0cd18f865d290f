from __future__ import annotations

import pytest

from pykafkacore.protocol.apis import api
from pykafkacore.protocol.headers import decode_request_header, decode_response, encode_request, encode_response
from pykafkacore.protocol.types import MalformedMessage


def test_the_client_id_keeps_its_two_byte_length_in_a_flexible_header() -> None:
    versions = api("ApiVersions")
    body = versions.request(client_software_name="a", client_software_version="1")
    data = encode_request(versions, 3, 9, "me", body)
    assert data.hex() == "001200030000000900026d65000261023100"


def test_an_old_header_has_no_tag_section() -> None:
    metadata = api("Metadata")
    data = encode_request(metadata, 1, 9, None, metadata.request(topics=None))
    assert data.hex() == "0003000100000009ffffffffffff"


def test_a_request_header_is_read_up_to_its_body() -> None:
    metadata = api("Metadata")
    for version in range(metadata.oldest, metadata.latest + 1):
        body = metadata.request()
        data = encode_request(metadata, version, 9, "me", body)
        header, position = decode_request_header(data)
        assert (header.request_api_key, header.request_api_version) == (3, version)
        assert (header.correlation_id, header.client_id) == (9, "me")
        assert metadata.request.decode_from(data, position, version) == (body, len(data))


def test_a_client_id_of_any_negative_length_is_null() -> None:
    header, position = decode_request_header(bytes.fromhex("0003000100000009fffe"))
    assert header.client_id is None
    assert position == 10


@pytest.mark.parametrize("data", ["", "0003", "00030001", "03e8000000000001ffff", "fffe000000000001ffff"])
def test_short_headers_and_unknown_keys_are_refused(data: str) -> None:
    with pytest.raises(MalformedMessage):
        decode_request_header(bytes.fromhex(data))


def test_a_future_version_of_api_versions_has_a_readable_header() -> None:
    header, _ = decode_request_header(bytes.fromhex("001200630000000900026d6500"))
    assert header.request_api_version == 99


@pytest.mark.parametrize(("name", "version"), [("ApiVersions", 3), ("Metadata", 8), ("Metadata", 13)])
def test_a_response_is_read_with_its_own_header(name: str, version: int) -> None:
    row = api(name)
    data = encode_response(row, version, 77, row.response())
    assert decode_response(row, version, data) == (77, row.response())
