"""Connections of a real broker, byte by byte: order, limits, back-pressure, and bytes that mean harm."""

from __future__ import annotations

import logging
import socket
import struct
import time

import pytest

from pykafkacore.protocol.apis import api
from pykafkacore.protocol.headers import decode_response
from pykafkacore.testing import Broker
from tests.support.wire import Wire, batch_of, create_topic, fetch_frame, produce_frame, request_frame


@pytest.fixture(scope="module")
def broker():
    with Broker({"socket.request.max.bytes": "1000000", "max.connections.per.ip": "200"}) as broker:
        create_topic(broker.port, "wire", 2)
        yield broker


@pytest.fixture
def wire(broker):
    wire = Wire(broker.port)
    wire.socket.settimeout(10)
    yield wire
    wire.close()


def api_versions() -> bytes:
    message = api("ApiVersions").request
    return request_frame("ApiVersions", 3, message(client_software_name="test", client_software_version="1"))


def is_closed(wire: Wire) -> bool:
    try:
        return wire.socket.recv(1) == b""
    except ConnectionResetError:
        return True


HOSTILE = {
    "a zero-length frame": struct.pack(">i", 0),
    "a negative length": struct.pack(">i", -5),
    "a length above socket.request.max.bytes": struct.pack(">i", 1_000_001) + b"x",
    "an unknown api": struct.pack(">ihhih", 10, 999, 0, 1, -1),
    "an api that was withdrawn": struct.pack(">ihhih", 10, 4, 0, 1, -1),
    "an unsupported version": struct.pack(">ihhih", 10, 3, 99, 1, -1),
    "a produce version that is only advertised": struct.pack(">ihhih", 10, 0, 2, 1, -1),
    "a header that is cut short": struct.pack(">ih", 2, 0),
    "a body that is cut short": struct.pack(">ihhih", 10, 3, 1, 1, -1),
    "a huge array": struct.pack(">ihhihi", 14, 3, 1, 1, -1, 2**31 - 1),
    "a huge array in Produce": struct.pack(">ihhihhhii", 22, 0, 7, 1, -1, -1, 1, 1000, 2**31 - 1),
    "a tag section that never ends": struct.pack(">ihhih", 15, 3, 12, 1, -1) + b"\xff" * 5,
}


@pytest.mark.parametrize("frame", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_connection_that_misbehaves_is_closed_with_a_reason_and_disturbs_no_other(frame, broker, wire, caplog) -> None:
    other = Wire(broker.port)
    other.send(api_versions())
    other.receive()
    with caplog.at_level(logging.INFO, logger="pykafkacore"):
        wire.send(frame)
        assert is_closed(wire)
        other.send(api_versions())
        assert other.receive()
        deadline = time.monotonic() + 5
        while not any("closing connection from 127.0.0.1" in r.getMessage() for r in caplog.records):
            assert time.monotonic() < deadline, "no reason in the log"
            time.sleep(0.001)
    other.close()


def test_requests_sent_byte_by_byte_are_understood(wire) -> None:
    for byte in api_versions():
        wire.send(bytes([byte]))
    assert decode_response(api("ApiVersions"), 3, wire.receive())[1].error_code == 0


def test_answers_keep_the_order_of_pipelined_requests_of_both_planes(wire) -> None:
    metadata = api("Metadata").request
    frames, expected = [], []
    for number in range(60):
        if number % 3 == 0:
            frame, name = request_frame("Metadata", 9, metadata(topics=[])), "Metadata"
        elif number % 3 == 1:
            frame, name = produce_frame("wire", 0, batch_of(200, 50), -1), "Produce"
        else:
            frame, name = fetch_frame("wire", 0, 0, 100), "Fetch"
        frames.append(frame[:8] + struct.pack(">i", number) + frame[12:])
        expected.append((number, name))
    wire.send(b"".join(frames))
    for number, name in expected:
        body = wire.receive()
        assert struct.unpack(">i", body[:4])[0] == number, name


def test_acks_zero_is_never_answered_and_an_error_closes(broker, wire) -> None:
    wire.send(produce_frame("wire", 0, batch_of(200, 50), 0))
    wire.send(api_versions())
    assert decode_response(api("ApiVersions"), 3, wire.receive())[1].error_code == 0, "the next answer is the next request's"
    wire.send(produce_frame("no-such-topic", 0, batch_of(200, 50), 0))
    assert is_closed(wire)


def test_a_reader_that_takes_nothing_is_not_read_from(broker, wire) -> None:
    producer = Wire(broker.port)
    for _ in range(20):
        producer.send(produce_frame("wire", 1, batch_of(100_000, 1000), 1))
        producer.receive()
    producer.close()
    frame = fetch_frame("wire", 1, 0, 1 << 20)
    wire.socket.setblocking(False)
    sent = 0
    deadline = time.monotonic() + 3
    blocked_since = None
    while time.monotonic() < deadline:
        try:
            sent += wire.socket.send(frame * 100)
            blocked_since = None
        except BlockingIOError:
            blocked_since = blocked_since or time.monotonic()
            if time.monotonic() - blocked_since > 0.3:
                break
            time.sleep(0.01)
    assert blocked_since is not None, f"the broker went on reading: {sent} bytes of requests taken"


def test_connections_beyond_the_limit_of_an_address_are_refused() -> None:
    with Broker({"max.connections.per.ip": "3"}) as broker:
        wires = [Wire(broker.port) for _ in range(3)]
        for each in wires:
            each.send(api_versions())
            each.receive()
        refused = Wire(broker.port)
        assert is_closed(refused)
        wires.pop().close()
        deadline = time.monotonic() + 5
        while True:
            again = Wire(broker.port)
            try:
                again.send(api_versions())
                again.receive()
                break
            except (ConnectionError, OSError):
                assert time.monotonic() < deadline, "room is not given back"
        for each in [*wires, again, refused]:
            each.close()


def test_an_idle_connection_is_closed_and_a_busy_one_is_not() -> None:
    with Broker({"connections.max.idle.ms": "300"}) as broker:
        idle, busy = Wire(broker.port), Wire(broker.port)
        idle.socket.settimeout(0.05)
        for _ in range(200):
            busy.send(api_versions())
            busy.receive()
            try:
                assert idle.socket.recv(1) == b""
                break
            except TimeoutError:
                continue
        else:
            pytest.fail("the idle connection stayed open")
        busy.send(api_versions())
        busy.receive()


def test_bytes_queued_are_bounded_and_everybody_is_served_in_the_end() -> None:
    with Broker({"queued.max.request.bytes": "300000", "socket.request.max.bytes": "300000"}) as broker:
        create_topic(broker.port, "bounded", 1)
        frame = produce_frame("bounded", 0, batch_of(200_000, 1000), 1)
        wires = [Wire(broker.port) for _ in range(8)]
        for each in wires:
            each.send(frame[: len(frame) // 2])
        for each in wires:
            each.send(frame[len(frame) // 2 :])
        for each in wires:
            each.socket.settimeout(10)
            assert each.receive()
            each.close()


def test_a_broker_survives_random_bytes_on_every_api(broker) -> None:
    from random import Random

    random = Random(11)
    for number in range(300):
        wire = socket.create_connection(("127.0.0.1", broker.port))
        body = random.randbytes(random.randrange(1, 200))
        head = struct.pack(">hhih", random.randrange(0, 95), random.randrange(0, 14), number, -1)
        wire.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
        wire.settimeout(0.005)
        try:
            wire.recv(100)
        except (TimeoutError, ConnectionError):
            pass
        wire.close()
    checked = Wire(broker.port)
    checked.send(api_versions())
    assert decode_response(api("ApiVersions"), 3, checked.receive())[1].error_code == 0
    checked.close()


def produced_at(wire: Wire) -> int:
    """The offset that the next answer tells."""
    row = decode_response(api("Produce"), 9, wire.receive())[1].responses[0].partition_responses[0]
    assert row.error_code == 0
    return row.base_offset


def test_requests_of_many_connections_that_come_together_are_each_answered_with_their_own_offsets(broker) -> None:
    create_topic(broker.port, "together", 2)
    wires = [Wire(broker.port) for _ in range(30)]
    # Small ones are appended together, large ones at once; those of a connection keep their order.
    sizes = [60, 60, 20_000, 60, 6_000, 60, 60, 60]
    for turn in range(5):
        for number, wire in enumerate(wires):
            frames = [produce_frame("together", (number + at) % 2, batch_of(1, size), 1) for at, size in enumerate(sizes)]
            wire.send(b"".join(frames))
        found: dict[int, list[int]] = {0: [], 1: []}
        for number, wire in enumerate(wires):
            offsets = [produced_at(wire) for _ in sizes]
            for parity in (0, 1):
                own = offsets[parity::2]
                assert own == sorted(own)
                found[(number + parity) % 2] += own
        for offsets in found.values():
            assert sorted(offsets) == list(range(120 * turn, 120 * (turn + 1)))
    for wire in wires:
        wire.close()


def test_what_came_before_a_request_that_ends_its_connection_counts(broker, wire) -> None:
    create_topic(broker.port, "before", 1)
    wire.send(produce_frame("before", 0, batch_of(1, 60), 1) * 3 + HOSTILE["an unsupported version"])
    with pytest.raises(ConnectionError):
        for _ in range(4):
            wire.receive()
    other = Wire(broker.port)
    other.send(produce_frame("before", 0, batch_of(1, 60), 1))
    assert produced_at(other) == 3
    other.close()
