"""Many produces in flight on one connection, of which some wait for the disk: answers keep their order, and nothing but Produce
overtakes one that waits."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from pykafkacore.protocol.apis import api
from pykafkacore.protocol.headers import decode_response
from pykafkacore.testing import Broker
from tests.support.wire import Wire, batch_of, create_topic, fetch_frame, produce_frame, request_frame

pytestmark = pytest.mark.e2e

COUNT = 150
"""More than may wait at once."""


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Broker() as broker:
        setup, message = Wire(broker.port), api("CreateTopics").request
        config = message.CreatableTopicConfig(name="flush.messages", value="1")
        topic = message.CreatableTopic(name="durable", num_partitions=1, replication_factor=1, configs=[config])
        setup.ask("CreateTopics", 7, message(topics=[topic], timeout_ms=30_000))
        setup.close()
        create_topic(broker.port, "cached", 1)
        wire = Wire(broker.port)
        yield wire
        wire.close()


def numbered(frame: bytes, number: int) -> bytes:
    """With a correlation id of its own."""
    return frame[:8] + struct.pack(">i", number) + frame[12:]


def produced(wire: Wire, number: int, version: int = 9) -> tuple[str, int, int]:
    answer = wire.receive()
    assert struct.unpack(">i", answer[:4])[0] == number
    told = decode_response(api("Produce"), version, answer)[1].responses[0]
    row = told.partition_responses[0]
    return told.name, row.error_code, row.base_offset


def end_offset(wire: Wire, topic: str) -> bytes:
    message = api("ListOffsets").request
    row = message.ListOffsetsPartition(partition_index=0, timestamp=-1)
    topics = [message.ListOffsetsTopic(name=topic, partitions=[row])]
    return request_frame("ListOffsets", 7, message(replica_id=-1, topics=topics))


def test_answers_keep_their_order_and_other_requests_see_all_before_them(wire: Wire) -> None:
    batch = batch_of(100, 100)
    topics = ["durable" if number % 3 else "cached" for number in range(COUNT)]
    frames = [numbered(produce_frame(topic, 0, batch, -1), number) for number, topic in enumerate(topics)]
    asked = [numbered(end_offset(wire, "durable"), COUNT), numbered(fetch_frame("durable", 0, 0, 1 << 20), COUNT + 1)]
    again = numbered(produce_frame("durable", 0, batch, -1), COUNT + 2)
    wire.send(b"".join([*frames, *asked, again]))
    seen = {"durable": 0, "cached": 0}
    for number, topic in enumerate(topics):
        assert produced(wire, number) == (topic, 0, seen[topic])
        seen[topic] += 1
    told = decode_response(api("ListOffsets"), 7, wire.receive())[1].topics[0].partitions[0]
    assert (told.error_code, told.offset) == (0, seen["durable"])
    fetched = decode_response(api("Fetch"), 12, wire.receive())[1].responses[0].partitions[0]
    assert (fetched.error_code, fetched.high_watermark) == (0, seen["durable"])
    assert produced(wire, COUNT + 2) == ("durable", 0, seen["durable"])


def test_requests_that_want_no_answer_are_appended_in_their_order_before_anything_behind_them(wire: Wire) -> None:
    sizes = [100, 16_000, 16_000, 40_000, 2_000, 23_000, 16_000] * 8
    answered = set(range(5, len(sizes), 9))
    frames = [
        numbered(produce_frame("cached", 0, batch_of(size, size), 1 if number in answered else 0), number)
        for number, size in enumerate(sizes)
    ]
    wire.send(b"".join([*frames, numbered(end_offset(wire, "cached"), COUNT)]))
    for number in sorted(answered):
        assert produced(wire, number) == ("cached", 0, number)
    told = decode_response(api("ListOffsets"), 7, wire.receive())[1].topics[0].partitions[0]
    assert (told.error_code, told.offset) == (0, len(sizes))


def test_a_refusal_waits_for_what_came_before_it(wire: Wire) -> None:
    batch = batch_of(100, 100)
    spoilt = batch[:-1] + bytes([batch[-1] ^ 1])
    for number, each in enumerate([batch, spoilt, batch]):
        wire.send(numbered(produce_frame("durable", 0, each, 1), number))
    assert produced(wire, 0) == ("durable", 0, 0)
    name, error, _ = produced(wire, 1)
    assert (name, error) == ("durable", 2)
    assert produced(wire, 2) == ("durable", 0, 1)


def test_a_client_that_leaves_meanwhile_harms_nobody(wire: Wire) -> None:
    port = wire.socket.getpeername()[1]
    batch = batch_of(100, 100)
    for _ in range(20):
        leaver = Wire(port)
        leaver.send(produce_frame("durable", 0, batch, -1) * 30)
        leaver.close()
    before = produce_frame("durable", 0, batch, -1)
    wire.send(numbered(before, 7))
    name, error, _ = produced(wire, 7)
    assert (name, error) == ("durable", 0)
