"""Producers of the simulated world, each a generator: it yields what it sends, and is sent the answer, or None once it has
waited long enough.

A producer gets its id, then goes through transactions: some partitions, some records, a commit or an abort. It repeats what
is not answered, gives up when it is fenced, and may instead show its epoch and go on with the next, as KIP-360 has it.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from cluster.coordinator.txn.state import Producer
from tests.sim.txn_news import EndAsked, EndTold, Place, Token

if TYPE_CHECKING:
    from tests.sim.txn import TxnWorld

AGAIN = frozenset(("NOT_COORDINATOR", "COORDINATOR_LOAD_IN_PROGRESS", "CONCURRENT_TRANSACTIONS", "NOT_ENOUGH_REPLICAS"))


@dataclass(frozen=True, slots=True)
class Wait:
    ms: int


@dataclass(frozen=True, slots=True)
class Init:
    timeout_ms: int
    shows: Producer | None = None


@dataclass(frozen=True, slots=True)
class Add:
    producer: Producer
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class End:
    producer: Producer
    commit: bool


@dataclass(frozen=True, slots=True)
class Write:
    producer: Producer
    place: Place
    sequence: int
    token: Token


@dataclass(frozen=True, slots=True)
class Answer:
    code: str
    producer: Producer | None = None


Steps = Generator[Any, Answer | None, Any]


class SimProducer:
    def __init__(self, world: TxnWorld, number: int, transactional_id: str, is_new: bool, random: Random) -> None:
        self.world = world
        self.number = number
        self.transactional_id = transactional_id
        self.is_new = is_new
        self.random = random
        self.producer = Producer(-1, -1)
        self._transactions = 0
        self._sequences: dict[Place, int] = {}

    def run(self) -> Steps:
        if not (yield from self._become(None)):
            return
        while not self.world.is_winding_down:
            yield Wait(self.random.choice((0, 0, 20, 300)))
            if not (yield from self._transaction()):
                return

    def _ask(self, what: Any) -> Steps:
        """Repeats it until there is an answer that tells something."""
        while True:
            answer = yield what
            if answer is not None and answer.code not in AGAIN:
                return answer
            yield Wait(self.random.choice((10, 50)))

    def _become(self, shows: Producer | None) -> Steps:
        timeout_ms = self.random.choice((1_000, 5_000, 60_000))
        answer = yield from self._ask(Init(timeout_ms, shows))
        if answer.code != "NONE":
            return False
        self._is_now(answer.producer)
        return True

    def _is_now(self, producer: Producer) -> None:
        if producer != self.producer:
            self.producer = producer
            self._sequences = {}

    def _recover(self) -> Steps:
        """By the epoch that it has. Not every producer tries."""
        if self.random.random() < 0.4:
            return False
        return (yield from self._become(self.producer))

    def _transaction(self) -> Steps:
        """Whether there can be another."""
        self._transactions += 1
        token = (self.number, self._transactions)
        count = self.random.randint(1, len(self.world.partitions))
        places = self.random.sample(sorted(self.world.partitions), count)
        commit = self.random.random() < 0.7
        if not self.is_new:
            for some in (places[:1], places[1:]) if self.random.random() < 0.5 else (places,):
                if some:
                    answer = yield from self._ask(Add(self.producer, tuple(some)))
                    if answer.code != "NONE":
                        return (yield from self._recover())
        unsure = False
        for place in places * self.random.choice((1, 1, 2)):
            code = yield from self._write(place, token)
            if code in ("INVALID_PRODUCER_EPOCH", "INVALID_PRODUCER_ID_MAPPING"):
                return (yield from self._recover())
            if code != "NONE":
                commit, unsure = False, True
                break
        yield Wait(self.random.choice((0, 0, 30, 2_000)))
        return (yield from self._end(token, commit, unsure))

    def _write(self, place: Place, token: Token) -> Steps:
        sequence = self._sequences.get(place, 0)
        write = Write(self.producer, place, sequence, token)
        for _ in range(self.random.randint(1, 6)):
            answer = yield write
            if answer is not None and answer.code not in AGAIN:
                if answer.code == "NONE":
                    self._sequences[place] = sequence + 1
                return answer.code
            yield Wait(20)
        return "REQUEST_TIMED_OUT"

    def _end(self, token: Token, commit: bool, unsure: bool) -> Steps:
        self.world.tell(EndAsked(token, commit))
        answer = yield from self._ask(End(self.producer, commit))
        if answer.code != "NONE":
            return (yield from self._recover())
        self.world.tell(EndTold(token, commit))
        if self.is_new:
            self._is_now(answer.producer)
            return True
        # What was not answered may or may not stand in the partition: by the old protocol only another epoch tells.
        return True if not unsure else (yield from self._become(self.producer))
