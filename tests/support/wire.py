"""Requests over plain sockets, for tests and benchmarks that must see every byte."""

from __future__ import annotations

import socket
import struct
import time

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
