"""Whether an EndTxn may end a transaction, by the old protocol (EndTxn up to v4) and by the new (from v5). Pure.

Each function hands back the transaction as it is to be logged, or None where it has ended so before: the answer was lost,
and is given again. All else is an ApiError.

                    old protocol                          new protocol (E: the epoch that the client gives)
    current epoch   E                                     Ongoing: E; Prepare*, Complete*: E+1, or 0 of a new producer id
    Ongoing         Prepare*                              Prepare* at E+1
    Prepare*        same end: CONCURRENT_TRANSACTIONS; other end: INVALID_TXN_STATE;
                                                          a successor's E: CONCURRENT_TRANSACTIONS
    Complete*       same end: None; other end:            the same; for a successor's E as from Empty
                    INVALID_TXN_STATE
    Empty           INVALID_TXN_STATE                     abort: PrepareAbort at E+1; commit: INVALID_TXN_STATE

By the old protocol an EndTxn that comes late, once the producer has begun its next transaction, cannot be told from that
transaction's own: it ends it (KAFKA-17754). By the new protocol its epoch gives it away.
"""

from __future__ import annotations

from cluster.coordinator.txn.state import (
    AT_REST,
    EPOCH_MAX,
    NEW_PROTOCOL,
    NO_PRODUCER_ID,
    OLD_PROTOCOL,
    PREPARED,
    Producer,
    Status,
    Transaction,
)
from cluster.shard import Millis
from pykafkacore.protocol.errors import ApiError, Code

_ENDED = (AT_REST | PREPARED) - {Status.EMPTY}
_COMMITTED = frozenset((Status.PREPARE_COMMIT, Status.COMPLETE_COMMIT))


def end_by_old_protocol(current: Transaction, producer: Producer, is_commit: bool, now: Millis) -> Transaction | None:
    check_producer(current, producer)
    if current.status is Status.ONGOING:
        return current.prepared(is_commit, OLD_PROTOCOL, now)
    if current.status is Status.EMPTY:
        raise no_transaction(current)
    check_same_end(current, is_commit)
    return None


def end_by_new_protocol(
    current: Transaction, producer: Producer, is_commit: bool, now: Millis, spare_producer_id: int
) -> Transaction | None:
    if is_ended_by(current, producer):
        check_same_end(current, is_commit)
        if current.successor.producer_epoch == EPOCH_MAX:
            raise ApiError(Code.PRODUCER_FENCED, "the producer id has no epoch left: ask for another one")
        return None
    if current.status in PREPARED and producer in (current.producer, current.successor):
        raise being_ended(current)
    check_producer(current, producer)
    if current.status in AT_REST and is_commit:
        raise no_transaction(current)
    next_producer_id = spare_producer_id if current.has_used_up_its_epochs else NO_PRODUCER_ID
    return current.prepared(is_commit, NEW_PROTOCOL, now, next_producer_id)


def is_ended_by(current: Transaction, producer: Producer) -> bool:
    """Whether this is the producer whose transaction, with its epoch, has ended or is ending: one epoch behind.

    After Empty nobody is: who asked for the producer id since then has taken it over.
    KAFKA: looks at the epochs alone. After a transaction of the old protocol, which ends no epoch, that would take a fenced
    producer for the present one, and tell it the present one's epoch.
    """
    if current.ends_epoch and current.status in _ENDED:
        if current.producer == Producer(producer.producer_id, producer.producer_epoch + 1):
            return True
        is_last_epoch = producer == Producer(current.previous_producer_id, EPOCH_MAX - 1)
        return is_last_epoch and current.producer_epoch == 0 and current.status not in PREPARED
    return False


def check_producer(current: Transaction, producer: Producer) -> None:
    if producer.producer_id != current.producer_id:
        raise ApiError(
            Code.INVALID_PRODUCER_ID_MAPPING,
            f"{current.transactional_id!r} belongs to producer id {current.producer_id}, not {producer.producer_id}",
        )
    if producer.producer_epoch != current.producer_epoch or producer.producer_epoch == EPOCH_MAX:
        raise ApiError(
            Code.PRODUCER_FENCED,
            f"producer epoch {producer.producer_epoch} of {current.transactional_id!r} is over: it is at"
            f" {current.producer_epoch}",
        )


def check_same_end(current: Transaction, is_commit: bool) -> None:
    """Of a transaction that has its outcome already."""
    if (current.status in _COMMITTED) != is_commit:
        raise ApiError(
            Code.INVALID_TXN_STATE,
            f"the transaction of {current.transactional_id!r} has been {'aborted' if is_commit else 'committed'}",
        )
    if current.status in PREPARED:
        raise being_ended(current)


def being_ended(current: Transaction) -> ApiError:
    return ApiError(Code.CONCURRENT_TRANSACTIONS, f"the last transaction of {current.transactional_id!r} is being ended")


def no_transaction(current: Transaction) -> ApiError:
    return ApiError(Code.INVALID_TXN_STATE, f"{current.transactional_id!r} has no transaction to end")
