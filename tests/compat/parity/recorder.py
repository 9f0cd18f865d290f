"""Sends the requests of a case to one broker and notes what comes back: the bytes, "closed", or "silent".

What it is: sockets and memory of one broker (a site). What it is not: a judge of the answers.
Each case has a connection of its own; its steps share it.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pykafkacore.protocol.apis import BROKER, api
from pykafkacore.protocol.errors import Code
from pykafkacore.protocol.headers import decode_response
from tests.compat.parity.hostile import body_of, framed, header_of

CLOSED, SILENT = "closed", "silent"
PATIENCE_S = 1.0
ASIDE_S = 0.3  # for what Apache Kafka is known to leave unanswered


@dataclass(frozen=True)
class Step:
    """One request of a case: a tree that is written by the schema, or the frame itself."""

    api_name: str
    version: int
    tree: dict[str, Any] | None = None
    frame: Callable[[Any], bytes] | None = None
    is_one_way: bool = False  # nothing comes back: the answer of the next step shows it

    def frame_for(self, site: Site) -> bytes:
        if self.frame is not None:
            return self.frame(site)
        body = body_of(self.api_name, self.version, self.tree or {}, site)
        return framed(header_of(self.api_name, self.version) + body)


@dataclass(frozen=True)
class Case:
    """What is sent on one connection. `is_silent`: Apache Kafka never answers it."""

    name: str
    version: int
    steps: tuple[Step, ...]
    is_silent: bool = False


@dataclass
class Site:
    """One broker, and what a run has learnt of it."""

    name: str
    port: int
    is_oracle: bool = False
    kind: str = BROKER  # of the listener
    cluster_id: str = ""
    topic_ids: dict[str, bytes] = field(default_factory=dict)
    fresh: str = ""
    answers: list[Any] = field(default_factory=list)

    def ask(self, name: str, version: int, tree: dict[str, Any]) -> Any:
        """For preparations: the decoded answer."""
        data = _exchange(self._connect(), Step(name, version, tree).frame_for(self), 30)
        assert isinstance(data, bytes), f"{self.name} did not answer {name}: {data}"
        return decode_response(api(name), version, data)[1]

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def learn(self) -> None:
        metadata = self.ask("Metadata", 12, {"topics": None})
        self.cluster_id = metadata.cluster_id
        self.topic_ids = {topic.name: topic.topic_id for topic in metadata.topics}

    def create(self, topics: dict[str, int], configs: dict[str, dict[str, str]]) -> None:
        """Makes topics (name: partitions) that are not there yet, and waits until they are served."""
        rows = [
            {
                "name": name,
                "num_partitions": partitions,
                "replication_factor": 1,
                "configs": [{"name": key, "value": value} for key, value in configs.get(name, {}).items()],
            }
            for name, partitions in topics.items()
        ]
        answer = self.ask("CreateTopics", 7, {"topics": rows, "timeout_ms": 30_000})
        assert {row.error_code for row in answer.topics} <= {Code.NONE, Code.TOPIC_ALREADY_EXISTS}, answer
        self.wait_for(topics)

    def wait_for(self, topics: dict[str, int]) -> None:
        # Apache Kafka tells clients of a partition before it serves it: only its own answer counts.
        rows = [
            {"name": name, "partitions": [{"partition_index": index, "timestamp": -1} for index in range(count)]}
            for name, count in topics.items()
        ]
        while True:
            told = self.ask("ListOffsets", 5, {"replica_id": -1, "topics": rows}).topics
            if not any(partition.error_code for topic in told for partition in topic.partitions):
                break
            time.sleep(0.01)
        self.learn()

    def run(self, case: Case, label: str) -> list[bytes | str]:
        """What came back of each step; the steps after a closed connection are not sent."""
        self.fresh, self.answers = f"fresh-{label}", []
        connection = self._connect()
        found: list[bytes | str] = []
        for step in case.steps:
            if step.is_one_way:
                connection.sendall(step.frame_for(self))
                continue
            is_aside = case.is_silent and self.is_oracle
            answer = _exchange(connection, step.frame_for(self), ASIDE_S if is_aside else PATIENCE_S)
            found.append(answer)
            if isinstance(answer, str):
                break
            self.answers.append(_decoded(step, answer))
        connection.close()
        return found


def _decoded(step: Step, answer: bytes) -> Any:
    """For later steps; None where it is no answer of that version."""
    row = api(step.api_name)
    return decode_response(row, step.version, answer)[1] if row.serves(step.version) else None


def _exchange(connection: socket.socket, frame: bytes, patience_s: float) -> bytes | str:
    connection.settimeout(patience_s)
    try:
        connection.sendall(frame)
        head = _read(connection, 4)
        return CLOSED if head is None else _read(connection, struct.unpack(">i", head)[0]) or CLOSED
    except TimeoutError:
        return SILENT
    except ConnectionError:
        return CLOSED


def _read(connection: socket.socket, count: int) -> bytes | None:
    data = bytearray()
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            return None
        data += more
    return bytes(data)
