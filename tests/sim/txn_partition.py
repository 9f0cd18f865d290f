"""A small model of a partition that transactions write to: producer epochs, sequences, verification, markers.

What it is not: replicated, or ever lost. It follows the leader's rules: an epoch never falls, a sequence has no gap, the
first write of a transaction is asked about at the coordinator, and what happened meanwhile is looked at again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.sim.txn_news import Appended, Marked, Place, Token

Reply = Callable[[str], None]


@dataclass(slots=True)
class _Producer:
    epoch: int
    last_sequence: int = -1
    open_tokens: list[Token] = field(default_factory=list)
    coordinator_epoch: int = -1
    guard: object | None = None
    """Who asked the coordinator and waits; a marker takes it away."""


class Partition:
    def __init__(self, place: Place, verify: Callable[..., None], tell: Callable[[Any], None]) -> None:
        """`verify(place, producer_id, epoch, is_new, answered)` asks the coordinator."""
        self.place = place
        self._verify = verify
        self._tell = tell
        self.producers: dict[int, _Producer] = {}

    def open_tokens(self) -> dict[int, list[Token]]:
        return {pid: each.open_tokens for pid, each in self.producers.items() if each.open_tokens}

    def produce(self, pid: int, epoch: int, sequence: int, token: Token, is_new: bool, reply: Reply) -> None:
        problem = self._check(pid, epoch, sequence)
        if problem is not None:
            reply(problem)
            return
        producer = self.producers.get(pid)
        if producer is not None and self._is_open(pid, epoch):
            self._append(pid, epoch, sequence, token)
            reply("NONE")
            return
        guard = object()
        if producer is None:
            producer = self.producers[pid] = _Producer(-1)
        producer.guard = guard

        def answered(code: str) -> None:
            if code != "NONE":
                reply({"PRODUCER_FENCED": "INVALID_PRODUCER_EPOCH"}.get(code, code))
                return
            problem = self._check(pid, epoch, sequence)
            if problem is not None:
                reply(problem)
            elif not self._is_open(pid, epoch) and self.producers[pid].guard is not guard:
                reply("NOT_ENOUGH_REPLICAS")
            else:
                self._append(pid, epoch, sequence, token)
                reply("NONE")

        self._verify(self.place, pid, epoch, is_new, answered)

    def _is_open(self, pid: int, epoch: int) -> bool:
        """An open transaction of an epoch before is another one, whose marker is still to come."""
        producer = self.producers[pid]
        return bool(producer.open_tokens) and producer.epoch == epoch

    def _check(self, pid: int, epoch: int, sequence: int) -> str | None:
        producer = self.producers.get(pid)
        if producer is None or producer.epoch < 0:
            return None if sequence == 0 else "OUT_OF_ORDER_SEQUENCE_NUMBER"
        if epoch < producer.epoch:
            return "INVALID_PRODUCER_EPOCH"
        if epoch == producer.epoch and sequence <= producer.last_sequence:
            return "NONE"
        expected = producer.last_sequence + 1 if epoch == producer.epoch else 0
        return None if sequence == expected else "OUT_OF_ORDER_SEQUENCE_NUMBER"

    def _append(self, pid: int, epoch: int, sequence: int, token: Token) -> None:
        producer = self.producers[pid]
        producer.epoch, producer.last_sequence = epoch, sequence
        producer.open_tokens.append(token)
        self._tell(Appended(self.place, pid, epoch, token))

    def write_marker(self, pid: int, epoch: int, commit: bool, coordinator_epoch: int, transaction_version: int) -> str:
        producer = self.producers.setdefault(pid, _Producer(-1))
        if coordinator_epoch < producer.coordinator_epoch:
            return "TRANSACTION_COORDINATOR_FENCED"
        if epoch < producer.epoch:
            return "INVALID_PRODUCER_EPOCH"
        if transaction_version >= 2 and epoch == producer.epoch:
            return "INVALID_PRODUCER_EPOCH" if producer.open_tokens else "NONE"
        tokens, producer.open_tokens = producer.open_tokens, []
        if epoch > producer.epoch:
            producer.last_sequence = -1
        producer.epoch, producer.coordinator_epoch, producer.guard = epoch, coordinator_epoch, None
        self._tell(Marked(self.place, pid, epoch, commit, tuple(tokens)))
        return "NONE"
