"""Members of consumer groups (KIP-848) over raw sockets, so cheap that thousands fit beside the broker that is measured.

What it is: what a client does with heartbeats, each member on a connection of its own. It heartbeats at the interval that the
broker tells, and at once when it has given back or taken partitions. What it is not: a consumer; nothing is fetched.

    joining --answer--> at rest --interval--> heartbeat;   an assignment: give back, take, tell so at once

INVARIANT: one request under way for each member. INVARIANT: no partition has two owners: `Owners` raises.
"""

from __future__ import annotations

import itertools
import selectors
import socket
import struct
import time
from collections.abc import Callable, Collection, Iterable
from heapq import heappop, heappush
from typing import Any

from pykafkacore.protocol.apis import api
from pykafkacore.protocol.headers import decode_response
from tests.support.wire import request_frame

HEARTBEAT = api("ConsumerGroupHeartbeat")
VERSION = 1
JOINS, LEAVES = 0, -1
# COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR: ask again soon.
RETRIABLE, RETRY_S = frozenset({14, 15, 16}), 0.05
# UNKNOWN_MEMBER_ID, FENCED_MEMBER_EPOCH: the broker gave the member up. It gives back all and joins anew.
LOST = frozenset({25, 110})

_numbers = itertools.count(1)


class Member:
    """One member. `owned` is what it reads at this moment."""

    __slots__ = (
        "_beat", "_buffer", "_last_answer", "awaits", "due", "epoch", "group", "heard_at", "interval_s", "is_gone", "member_id",
        "owned", "owners", "socket", "topic", "topic_id",
    )  # fmt: skip

    def __init__(self, port: int, group: str, topic: str, owners: Owners | None = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.group, self.topic, self.owners = group, topic, owners
        self.member_id = f"member-{next(_numbers):06}"
        self.epoch, self.interval_s, self.due, self.heard_at = JOINS, 5.0, 0.0, 0.0
        self.owned: frozenset[int] = frozenset()
        self.topic_id: bytes | None = None
        self.awaits = self.is_gone = False
        self._beat: bytes | None = None
        self._last_answer = b""
        self._buffer = b""

    # --- what it says -------------------------------------------------------------------------------------------------------

    def request(self) -> bytes:
        """The next heartbeat: the first tells everything, the others nothing."""
        if self.epoch == JOINS:
            return self._frame(rebalance_timeout_ms=60_000, subscribed_topic_names=[self.topic], topic_partitions=[])
        if self._beat is None:
            self._beat = self._frame()
        return self._beat

    def acknowledgement(self) -> bytes:
        row = HEARTBEAT.request.TopicPartitions
        owned = [row(topic_id=self.topic_id, partitions=sorted(self.owned))] if self.owned else []
        return self._frame(topic_partitions=owned)

    def farewell(self) -> bytes:
        self.epoch = LEAVES
        return self._frame()

    def _frame(self, **more: Any) -> bytes:
        body = HEARTBEAT.request(group_id=self.group, member_id=self.member_id, member_epoch=self.epoch, **more)
        return request_frame(HEARTBEAT.name, VERSION, body)

    # --- what it hears ------------------------------------------------------------------------------------------------------

    def answers(self) -> Iterable[bytes]:
        """Those that have come whole."""
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError(f"the broker closed the connection of {self.member_id}")
        data = self._buffer + data
        while len(data) >= 4 and len(data) >= 4 + (size := struct.unpack_from(">i", data)[0]):
            yield data[4 : 4 + size]
            data = data[4 + size :]
        self._buffer = data

    def take(self, answer: bytes, now: float) -> float:
        """Takes an answer in; in how many seconds to speak next: 0 is at once, to acknowledge."""
        self.heard_at = now
        if answer == self._last_answer and self.epoch > JOINS:
            return self.interval_s
        told = decode_response(HEARTBEAT, VERSION, answer)[1]
        if told.error_code in RETRIABLE:
            return RETRY_S
        if told.error_code in LOST:
            self._own(frozenset(), now)
            self.epoch = JOINS
            return RETRY_S
        if told.error_code:
            raise RuntimeError(f"{self.member_id} of {self.group}: error {told.error_code}, {told.error_message}")
        if told.member_epoch != self.epoch:
            self.epoch, self._beat = told.member_epoch, None
        self.interval_s = told.heartbeat_interval_ms / 1000
        if told.assignment is not None:
            self._last_answer = b""
            for row in told.assignment.topic_partitions:
                self.topic_id = row.topic_id
            rows = told.assignment.topic_partitions
            if self._own(frozenset(each for row in rows for each in row.partitions), now):
                return 0
        else:
            self._last_answer = answer
        return self.interval_s

    def _own(self, partitions: frozenset[int], now: float) -> bool:
        before, self.owned = self.owned, partitions
        if self.owners is not None:
            self.owners.moved(self, before - partitions, partitions - before, now)
        return before != partitions

    def give_back(self, now: float) -> None:
        """It is killed, or leaves."""
        self.is_gone = True
        self._own(frozenset(), now)


class Owners:
    """Who has which partition of one group, and for how long nobody had it."""

    def __init__(self, partition_count: int) -> None:
        self.partition_count = partition_count
        self.holders: dict[int, Member] = {}
        self._before: dict[int, Member] = {}
        self._free_since: dict[int, float] = {}
        self._gaps: dict[int, float] = {}

    def moved(self, member: Member, lost: Iterable[int], gained: Iterable[int], now: float) -> None:
        for partition in lost:
            del self.holders[partition]
            self._free_since[partition] = now
        for partition in gained:
            if partition in self.holders:
                names = f"{member.member_id} and {self.holders[partition].member_id}"
                raise AssertionError(f"partition {partition} has two owners, {names}")
            self.holders[partition] = member
            gap = now - self._free_since.pop(partition, now)
            self._gaps[partition] = self._gaps.get(partition, 0) + gap

    def begin(self) -> None:
        """What happens from here on is measured."""
        self._before = dict(self.holders)
        self._gaps.clear()

    def stayed(self) -> tuple[int, float]:
        """How many partitions have the owner that they had, and the longest time that one of them had none."""
        same = [each for each, member in self.holders.items() if self._before.get(each) is member]
        return len(same), max((self._gaps.get(each, 0) for each in same), default=0)

    def is_stable(self, members: Collection[Member], above_epoch: int) -> bool:
        """Each partition has an owner, each member its share, and all of them the newest epoch."""
        if len(self.holders) != self.partition_count:
            return False
        least, more = divmod(self.partition_count, len(members))
        epoch = max(member.epoch for member in members)
        return epoch > above_epoch and all(
            member.epoch == epoch and least <= len(member.owned) <= least + (more > 0) for member in members
        )


class Crowd:
    """Members of any groups, driven by one loop."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._due: list[tuple[float, int, Member]] = []
        self._numbers = itertools.count()
        self.beats = 0
        """Answers heard."""

    def add(self, member: Member, at: float | None = None) -> None:
        """It joins at once, or then."""
        self._selector.register(member.socket, selectors.EVENT_READ, member)
        self._set_due(member, time.perf_counter() if at is None else at)

    def spread(self, over_s: float) -> None:
        """Members that would speak speak evenly over so many seconds instead: of those that nobody ran for a while all are
        overdue, and would stay in step."""
        silent = [member for due, _, member in self._due if due == member.due and not member.is_gone]
        self._due.clear()
        now = time.perf_counter()
        for number, member in enumerate(silent):
            self._set_due(member, now + number * over_s / len(silent))

    def leave(self, member: Member) -> float:
        """It gives back what it has and says so; when that was. Of one that has spoken the answer is awaited first."""
        self.run(lambda now: not member.awaits, 30)
        now = time.perf_counter()
        member.socket.sendall(member.farewell())
        member.give_back(now)
        return now

    def kill(self, member: Member) -> float:
        """It is gone without a word; when the broker heard it last."""
        self.run(lambda now: not member.awaits, 30)
        member.give_back(time.perf_counter())
        self._remove(member)
        return member.heard_at

    def _remove(self, member: Member) -> None:
        self._selector.unregister(member.socket)
        member.socket.close()

    def run(self, is_over: Callable[[float], bool], deadline_s: float) -> float:
        """Lets the members speak until it is over; when that was."""
        end = time.perf_counter() + deadline_s
        while True:
            now = time.perf_counter()
            if is_over(now):
                return now
            if now > end:
                raise TimeoutError(f"not over after {deadline_s} s")
            self._speak(now)
            wait = self._due[0][0] - time.perf_counter() if self._due else 0.05
            for key, _ in self._selector.select(max(0.0, min(wait, 0.05))):
                self._hear(key.data)

    def close(self) -> None:
        """Everybody goes without a word."""
        for key in list(self._selector.get_map().values()):
            key.data.is_gone = True
            self._remove(key.data)
        self._selector.close()

    def _speak(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            due, _, member = heappop(self._due)
            if due == member.due and not member.awaits and not member.is_gone:
                member.awaits = True
                member.socket.sendall(member.request())

    def _hear(self, member: Member) -> None:
        if member.is_gone:
            self._remove(member)
            return
        for answer in member.answers():
            now = time.perf_counter()
            self.beats += 1
            member.awaits = False
            wait_s = member.take(answer, now)
            if wait_s == 0:
                member.awaits = True
                member.socket.sendall(member.acknowledgement())
            else:
                self._set_due(member, now + wait_s)

    def _set_due(self, member: Member, at: float) -> None:
        member.due = at
        heappush(self._due, (at, next(self._numbers), member))
