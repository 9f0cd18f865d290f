"""One transactional id as the log tells of it: a value, and the steps from one value to the next. Pure.

    state                may follow                                   when
    Empty                Empty, CompleteCommit, CompleteAbort, none   InitProducerId
    Ongoing              Ongoing, Empty, CompleteCommit, CompleteAbort  a partition is added
    PrepareCommit        Ongoing                                      EndTxn
    PrepareAbort         Ongoing, PrepareEpochFence;                  EndTxn, time-out, another producer;
                         Empty, CompleteCommit, CompleteAbort         an abort without partitions (new protocol)
    CompleteCommit       PrepareCommit                                every marker is written
    CompleteAbort        PrepareAbort                                 every marker is written
    Dead                 Empty, CompleteCommit, CompleteAbort         expired: written as a tombstone
    PrepareEpochFence    Ongoing                                      never written: it is left within the same decision

Old and new protocol (transaction version 2, KIP-890) differ in who has which epoch:
    old   one epoch for all transactions of a producer, from one InitProducerId to the next
    new   one epoch for each transaction: the epoch rises as the transaction ends, the markers carry the risen one

INVARIANT: of one producer id the epoch never falls, and no client is ever told EPOCH_MAX: the coordinator keeps that one
for itself, to end a transaction of the last epoch with.
Sources: KIP-98, KIP-360 (an epoch may be renewed by who has it), KIP-588, KIP-890.
"""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct
from msgspec.structs import replace

from cluster.shard import Millis

TopicPartition = tuple[str, int]

NO_PRODUCER_ID = -1
NO_EPOCH = -1
EPOCH_MAX = 2**15 - 1
NO_TIME = -1

OLD_PROTOCOL = 0
NEW_PROTOCOL = 2
"""As the log has them: the transaction version that a client goes by."""

NEVER_TIMES_OUT_MS = 2**31 - 1
"""The time-out of a transaction in two phases, which only its producer may end."""


class Status(IntEnum):
    EMPTY = 0
    ONGOING = 1
    PREPARE_COMMIT = 2
    PREPARE_ABORT = 3
    COMPLETE_COMMIT = 4
    COMPLETE_ABORT = 5
    DEAD = 6
    PREPARE_EPOCH_FENCE = 7


NAMES: dict[Status, str] = {
    Status.EMPTY: "Empty",
    Status.ONGOING: "Ongoing",
    Status.PREPARE_COMMIT: "PrepareCommit",
    Status.PREPARE_ABORT: "PrepareAbort",
    Status.COMPLETE_COMMIT: "CompleteCommit",
    Status.COMPLETE_ABORT: "CompleteAbort",
    Status.DEAD: "Dead",
    Status.PREPARE_EPOCH_FENCE: "PrepareEpochFence",
}
STATUS_NAMED = {name: status for status, name in NAMES.items()}

AT_REST = frozenset((Status.EMPTY, Status.COMPLETE_COMMIT, Status.COMPLETE_ABORT))
PREPARED = frozenset((Status.PREPARE_COMMIT, Status.PREPARE_ABORT))

MAY_FOLLOW: dict[Status, frozenset[Status]] = {
    Status.EMPTY: AT_REST,
    Status.ONGOING: AT_REST | {Status.ONGOING},
    Status.PREPARE_COMMIT: frozenset((Status.ONGOING,)),
    Status.PREPARE_ABORT: AT_REST | {Status.ONGOING, Status.PREPARE_EPOCH_FENCE},
    Status.COMPLETE_COMMIT: frozenset((Status.PREPARE_COMMIT,)),
    Status.COMPLETE_ABORT: frozenset((Status.PREPARE_ABORT,)),
    Status.DEAD: AT_REST,
    Status.PREPARE_EPOCH_FENCE: frozenset((Status.ONGOING,)),
}


class Producer(Struct, frozen=True):
    """A producer id at an epoch."""

    producer_id: int
    producer_epoch: int


class Transaction(Struct, frozen=True):
    """A transactional id and its current, last or next transaction. Times are those of the records that told them."""

    transactional_id: str
    producer_id: int
    producer_epoch: int
    timeout_ms: int
    status: Status
    updated_ms: Millis
    partitions: frozenset[TopicPartition] = frozenset()
    started_ms: Millis = NO_TIME
    previous_producer_id: int = NO_PRODUCER_ID
    """Whose epochs were used up before this id took its place."""
    next_producer_id: int = NO_PRODUCER_ID
    """Takes over, at epoch 0, once the prepared end is complete."""
    protocol: int = OLD_PROTOCOL
    was_fenced: bool = False
    """A transaction of the old protocol was aborted without its producer. The log tells it by the record before."""

    @property
    def ends_epoch(self) -> bool:
        """The transaction that is ending or has ended took its producer's epoch along: who had it may go on from here."""
        return self.protocol >= NEW_PROTOCOL or self.was_fenced

    @property
    def producer(self) -> Producer:
        return Producer(self.producer_id, self.producer_epoch)

    @property
    def has_used_up_its_epochs(self) -> bool:
        """The next epoch is the one that no client may have."""
        return self.producer_epoch >= EPOCH_MAX - 1

    @property
    def successor(self) -> Producer:
        """Who the next transaction belongs to, as the answer to EndTxn tells."""
        if self.next_producer_id != NO_PRODUCER_ID:
            return Producer(self.next_producer_id, 0)
        return self.producer

    def renewed(self, timeout_ms: int, now: Millis) -> Transaction:
        """The same producer id, at its next epoch."""
        return replace(self._at_rest(timeout_ms, now), producer_epoch=self.producer_epoch + 1)

    def rotated(self, producer_id: int, timeout_ms: int, now: Millis) -> Transaction:
        """Another producer id, from epoch 0."""
        return replace(
            self._at_rest(timeout_ms, now),
            producer_id=producer_id, producer_epoch=0, previous_producer_id=self.producer_id,
        )  # fmt: skip

    def answered_again(self, timeout_ms: int, now: Millis) -> Transaction:
        """As it is: the answer to the renewal was lost."""
        return self._at_rest(timeout_ms, now)

    def _at_rest(self, timeout_ms: int, now: Millis) -> Transaction:
        return replace(
            self,
            status=Status.EMPTY, timeout_ms=timeout_ms, updated_ms=now, partitions=frozenset(), started_ms=NO_TIME,
            next_producer_id=NO_PRODUCER_ID,
        )  # fmt: skip

    def with_partitions(self, partitions: frozenset[TopicPartition], protocol: int, now: Millis) -> Transaction:
        is_ongoing = self.status is Status.ONGOING
        return replace(
            self,
            status=Status.ONGOING, partitions=self.partitions | partitions, updated_ms=now,
            started_ms=self.started_ms if is_ongoing else now, protocol=protocol,
        )  # fmt: skip

    def prepared(
        self, is_commit: bool, protocol: int, now: Millis, next_producer_id: int = NO_PRODUCER_ID
    ) -> Transaction:
        """Its outcome is decided. By the new protocol this transaction's epoch is over with it."""
        is_ongoing = self.status is Status.ONGOING
        return replace(
            self,
            status=Status.PREPARE_COMMIT if is_commit else Status.PREPARE_ABORT, updated_ms=now,
            started_ms=self.started_ms if is_ongoing else now, protocol=protocol,
            producer_epoch=self.producer_epoch + (protocol >= NEW_PROTOCOL), next_producer_id=next_producer_id,
            partitions=self.partitions if is_ongoing else frozenset(),
        )  # fmt: skip

    def fenced(self, now: Millis) -> Transaction:
        """Aborted without its producer, whose epoch ends with it by either protocol."""
        return replace(
            self,
            status=Status.PREPARE_ABORT, updated_ms=now, producer_epoch=min(self.producer_epoch + 1, EPOCH_MAX),
            next_producer_id=NO_PRODUCER_ID,
        )  # fmt: skip

    def following(self, before: Transaction) -> Transaction:
        """As the log has it, with what only the record before tells."""
        if self.status is Status.PREPARE_ABORT and before.status in (Status.ONGOING, Status.PREPARE_EPOCH_FENCE):
            is_old = self.protocol < NEW_PROTOCOL
            return replace(self, was_fenced=is_old and self.producer_epoch == before.producer_epoch + 1)
        if self.status is Status.COMPLETE_ABORT and before.status is Status.PREPARE_ABORT:
            return replace(self, was_fenced=before.was_fenced)
        return self

    def completed(self, now: Millis) -> Transaction:
        """Every marker is written."""
        is_commit = self.status is Status.PREPARE_COMMIT
        successor = self.successor
        is_other = successor.producer_id != self.producer_id
        return replace(
            self,
            status=Status.COMPLETE_COMMIT if is_commit else Status.COMPLETE_ABORT, updated_ms=now,
            partitions=frozenset(), producer_id=successor.producer_id, producer_epoch=successor.producer_epoch,
            previous_producer_id=self.producer_id if is_other else self.previous_producer_id,
            next_producer_id=NO_PRODUCER_ID,
        )  # fmt: skip
