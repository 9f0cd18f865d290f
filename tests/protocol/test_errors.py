from __future__ import annotations

from pykafkacore.protocol.errors import ApiError, Code, code_of
from tests.protocol.oracle import needs_oracle, table


@needs_oracle
def test_codes_and_their_numbers_are_those_of_kafka() -> None:
    assert {code.name: int(code) for code in Code} == {row["name"]: row["code"] for row in table("errors")}


@needs_oracle
def test_retriable_codes_are_those_of_kafka() -> None:
    assert {code.name for code in Code if code.retriable} == {
        row["name"] for row in table("errors") if row["retriable"]
    }


def test_a_number_from_a_newer_kafka_is_an_unknown_server_error() -> None:
    assert code_of(3) is Code.UNKNOWN_TOPIC_OR_PARTITION
    assert code_of(30000) is Code.UNKNOWN_SERVER_ERROR


def test_an_api_error_says_its_code_and_why() -> None:
    error = ApiError(Code.INVALID_CONFIG, "key x: no such key")
    assert error.code is Code.INVALID_CONFIG
    assert str(error) == "INVALID_CONFIG: key x: no such key"
    assert str(ApiError(Code.NOT_CONTROLLER)) == "NOT_CONTROLLER"
