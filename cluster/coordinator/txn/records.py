"""The records of `__transaction_state`: a transactional id as bytes and back. Pure.

KAFKA: value version 0 while transaction.version is 0, else 1. A version 0 value has no room for what the new protocol
must not forget, so what was decided by the new protocol is written as version 1 whatever the feature says.
"""

from __future__ import annotations

from cluster.coordinator.txn.state import NEW_PROTOCOL, NO_PRODUCER_ID, OLD_PROTOCOL, Status, Transaction
from cluster.coordinator.values import Record
from pykafkacore.protocol.log_records import TRANSACTION_RECORDS
from pykafkacore.protocol.schemas.coordinator_records import TRANSACTION_LOG_KEY, TRANSACTION_LOG_VALUE
from pykafkacore.protocol.types import MalformedMessage

TABLE = TRANSACTION_RECORDS


def value_version(transaction: Transaction, transaction_version: int) -> int:
    return 1 if transaction_version or transaction.protocol >= NEW_PROTOCOL else 0


def transaction_record(transaction: Transaction, transaction_version: int) -> Record:
    message = TRANSACTION_LOG_VALUE
    version = value_version(transaction, transaction_version)
    topics: dict[str, list[int]] = {}
    for topic, partition in sorted(transaction.partitions):
        topics.setdefault(topic, []).append(partition)
    rows = [message.PartitionsSchema(topic=topic, partition_ids=ids) for topic, ids in topics.items()]
    value = message(
        producer_id=transaction.producer_id,
        previous_producer_id=transaction.previous_producer_id if version else NO_PRODUCER_ID,
        next_producer_id=transaction.next_producer_id if version else NO_PRODUCER_ID,
        producer_epoch=transaction.producer_epoch,
        transaction_timeout_ms=transaction.timeout_ms,
        transaction_status=int(transaction.status),
        transaction_partitions=None if transaction.status is Status.EMPTY else rows,
        transaction_last_update_timestamp_ms=transaction.updated_ms,
        transaction_start_timestamp_ms=transaction.started_ms,
        client_transaction_version=transaction.protocol if version else OLD_PROTOCOL,
    )
    key = TRANSACTION_LOG_KEY(transactional_id=transaction.transactional_id)
    return Record(TRANSACTION_LOG_KEY, key, message, value, version)


def tombstone(transactional_id: str) -> Record:
    key = TRANSACTION_LOG_KEY(transactional_id=transactional_id)
    return Record(TRANSACTION_LOG_KEY, key, TRANSACTION_LOG_VALUE, None, 0)


def transaction_from(record: Record) -> Transaction | None:
    """None for a tombstone, and for an id that is on its way out."""
    value = record.value
    if value is None or value.transaction_status == Status.DEAD:
        return None
    try:
        status = Status(value.transaction_status)
    except ValueError:
        raise MalformedMessage(
            f"transactional id {record.key.transactional_id!r} has the unknown status {value.transaction_status}"
        ) from None
    rows = value.transaction_partitions or ()
    return Transaction(
        transactional_id=record.key.transactional_id,
        producer_id=value.producer_id,
        producer_epoch=value.producer_epoch,
        timeout_ms=value.transaction_timeout_ms,
        status=status,
        updated_ms=value.transaction_last_update_timestamp_ms,
        partitions=frozenset((row.topic, partition) for row in rows for partition in row.partition_ids),
        started_ms=value.transaction_start_timestamp_ms,
        previous_producer_id=value.previous_producer_id,
        next_producer_id=value.next_producer_id,
        protocol=value.client_transaction_version,
    )
