"""log.reserve.bytes: the room that clients may not write into."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import Code
from pykafkacore.protocol.headers import decode_response
from pykafkacore.testing import Broker
from tests.cluster.broker.test_broker import BROKER, DELETE, alter, create, latest
from tests.support.wire import Wire, batch_of, fetch_frame, produce_frame

RESERVE = "log.reserve.bytes"
MORE_THAN_ANY_DISK = str(2**62)


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Broker() as broker:
        wire = Wire(broker.port)
        yield wire
        wire.close()


def produced(wire: Wire, topic: str) -> tuple[Code, str]:
    wire.send(produce_frame(topic, 0, batch_of(100, 10), -1))
    [told] = decode_response(api("Produce"), 9, wire.receive())[1].responses[0].partition_responses
    return Code(told.error_code), told.error_message or ""


def test_below_the_reserve_clients_may_write_nothing_and_reads_go_on(wire: Wire) -> None:
    create(wire, "kept")
    assert produced(wire, "kept") == (Code.NONE, "")
    end = latest(wire, "kept")
    assert alter(wire, BROKER, "1", RESERVE, MORE_THAN_ANY_DISK) == Code.NONE
    code, why = produced(wire, "kept")
    assert code == Code.KAFKA_STORAGE_ERROR
    assert f"{RESERVE}={MORE_THAN_ANY_DISK}" in why
    wire.send(fetch_frame("kept", 0, 0, 1 << 20))
    [told] = decode_response(api("Fetch"), 12, wire.receive())[1].responses[0].partitions
    assert (Code(told.error_code), told.high_watermark) == (Code.NONE, end)
    assert told.records
    # Nor do the control plane's own records wait for room.
    assert create(wire, "later") == Code.NONE
    assert alter(wire, BROKER, "1", RESERVE, None, DELETE) == Code.NONE
    assert produced(wire, "kept") == (Code.NONE, "")
    assert latest(wire, "kept") == 2 * end


def test_the_reserve_holds_from_the_start_on() -> None:
    with Broker({RESERVE: MORE_THAN_ANY_DISK}) as broker:
        wire = Wire(broker.port)
        create(wire, "refused")
        assert produced(wire, "refused")[0] == Code.KAFKA_STORAGE_ERROR
        wire.close()


def test_a_reserve_may_be_nothing_but_not_less(wire: Wire) -> None:
    assert alter(wire, BROKER, "1", RESERVE, "0") == Code.NONE
    create(wire, "free")
    assert produced(wire, "free") == (Code.NONE, "")
    assert alter(wire, BROKER, "1", RESERVE, "-1") == Code.INVALID_REQUEST
