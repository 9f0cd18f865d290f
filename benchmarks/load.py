"""A raw-wire load: prebuilt requests over plain sockets, replayed. Cheap enough that the broker is what is measured."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator

from pykafkacore import _core
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.headers import decode_response, encode_request

CLIENT_ID = "load"


class Wire:
    """One connection, blocking."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self.socket.makefile("rb", buffering=1 << 20)

    def send(self, frame: bytes) -> None:
        self.socket.sendall(frame)

    def receive(self) -> bytes:
        head = self._file.read(4)
        if len(head) < 4:
            raise ConnectionError("the broker closed the connection")
        return self._file.read(struct.unpack(">i", head)[0])

    def ask(self, name: str, version: int, request: object) -> object:
        self.send(request_frame(name, version, request))
        return decode_response(api(name), version, self.receive())[1]

    def close(self) -> None:
        self._file.close()
        self.socket.close()


def request_frame(name: str, version: int, request: object) -> bytes:
    data = encode_request(api(name), version, 1, CLIENT_ID, request)
    return data if struct.unpack(">i", data[:4])[0] == len(data) - 4 else struct.pack(">i", len(data)) + data


def create_topic(port: int, name: str, partitions: int) -> None:
    wire = Wire(port)
    message = api("CreateTopics").request
    topic = message.CreatableTopic(name=name, num_partitions=partitions, replication_factor=1)
    response = wire.ask("CreateTopics", 7, message(topics=[topic], timeout_ms=30_000))
    assert response.topics[0].error_code in (0, 36), response
    while True:
        metadata = api("Metadata").request
        wanted = metadata(topics=[metadata.MetadataRequestTopic(name=name)])
        told = wire.ask("Metadata", 9, wanted).topics[0]
        if told.error_code == 0 and all(p.error_code == 0 for p in told.partitions):
            break
        time.sleep(0.01)
    wire.close()


def batch_of(batch_bytes: int, record_bytes: int) -> bytes:
    value = bytes(range(256)) * (record_bytes // 256 + 1)
    record = (int(time.time() * 1000), None, value[:record_bytes], [])
    return _core.build_batch([record] * max(1, batch_bytes // (record_bytes + 10)))


def produce_frame(topic: str, partition: int, batch: bytes, acks: int) -> bytes:
    message = api("Produce").request
    data = message.PartitionProduceData(index=partition, records=batch)
    request = message(acks=acks, timeout_ms=10_000, topic_data=[message.TopicProduceData(name=topic, partition_data=[data])])
    return request_frame("Produce", 9, request)


def fetch_frame(topic: str, partition: int, offset: int, bytes_max: int) -> bytes:
    message = api("Fetch").request
    place = message.FetchPartition(partition=partition, fetch_offset=offset, partition_max_bytes=bytes_max)
    request = message(
        max_wait_ms=500, min_bytes=1, max_bytes=bytes_max, topics=[message.FetchTopic(topic=topic, partitions=[place])]
    )
    return request_frame("Fetch", 12, request)


def produce_for(port: int, topic: str, seconds: float, batch: bytes, in_flight: int = 5, acks: int = 1) -> float:
    """Bytes a second of one connection with so many requests in flight."""
    wire = Wire(port)
    frame = produce_frame(topic, 0, batch, acks)
    for _ in range(in_flight):
        wire.send(frame)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        wire.receive()
        wire.send(frame)
        done += 1
    elapsed = time.perf_counter() - start
    for _ in range(in_flight):
        wire.receive()
    wire.close()
    return done * len(batch) / elapsed


def latencies(port: int, frame: bytes, count: int) -> list[float]:
    """Seconds of each of `count` round trips, one at a time."""
    wire = Wire(port)
    found = []
    for _ in range(count):
        start = time.perf_counter()
        wire.send(frame)
        wire.receive()
        found.append(time.perf_counter() - start)
    wire.close()
    return found


def read_for(port: int, topic: str, seconds: float, batch: bytes) -> float:
    """Bytes a second of one reader that fetches the same region again and again."""
    wire = Wire(port)
    frame = fetch_frame(topic, 0, 0, 1 << 20)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        wire.send(frame)
        done += len(wire.receive())
    elapsed = time.perf_counter() - start
    wire.close()
    return done / elapsed


def quantile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def rounds(count: int) -> Iterator[int]:
    """Numbers the rounds and shows where it is."""
    for number in range(count):
        print(f"  round {number + 1} of {count}", end="\r", flush=True)
        yield number
    print(" " * 40, end="\r")
