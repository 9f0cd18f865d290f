"""A raw-wire load: prebuilt requests over plain sockets, replayed. Cheap enough that the broker is what is measured."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.support.wire import Wire, batch_of, create_topic, fetch_frame, produce_frame

__all__ = ["Wire", "batch_of", "create_topic", "fetch_frame", "produce_frame"]


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
