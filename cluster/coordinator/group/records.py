"""The records of `__consumer_offsets` that a group coordinator writes. Pure.

KAFKA: value versions are those that 4.4 writes: offsets v4 (v1 with a retention of their own), classic groups v3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from cluster.coordinator.values import Record, RecurringKey
from pykafkacore.protocol.log_records import GROUP_RECORDS
from pykafkacore.protocol.schemas.coordinator_records import (
    GROUP_METADATA_KEY,
    GROUP_METADATA_VALUE,
    OFFSET_COMMIT_KEY,
    OFFSET_COMMIT_VALUE,
)

if TYPE_CHECKING:
    from cluster.coordinator.group.classic import ClassicGroup
    from cluster.shard import Millis

TABLE = GROUP_RECORDS

OFFSET_VERSION = 4
OFFSET_VERSION_WITH_RETENTION = 1
GROUP_VERSION = 3


class OffsetKey(RecurringKey, frozen=True):
    """The fields of an OffsetCommitKey."""

    topic: str
    partition: int


class OffsetValue(Struct, frozen=True):
    """The fields of an OffsetCommitValue."""

    offset: int
    leader_epoch: int
    metadata: str
    commit_timestamp: Millis
    expire_timestamp: Millis
    topic_id: bytes


def commit_record(group_id: str, topic: Any, row: Any, now: Millis, expire_ms: Millis) -> Record:
    """A row of an OffsetCommit, or TxnOffsetCommit, of a topic with its name and its id. No `expire_ms`: -1."""
    value = OffsetValue(
        row.committed_offset, row.committed_leader_epoch, row.committed_metadata or "", now, expire_ms, topic.topic_id
    )
    version = OFFSET_VERSION_WITH_RETENTION if expire_ms >= 0 else OFFSET_VERSION
    key = OffsetKey(group_id, topic.name, row.partition_index)
    return Record(OFFSET_COMMIT_KEY, key, OFFSET_COMMIT_VALUE, value, version)


def offset_tombstone(group_id: str, topic: str, partition: int) -> Record:
    return Record(OFFSET_COMMIT_KEY, OffsetKey(group_id, topic, partition), OFFSET_COMMIT_VALUE, None, OFFSET_VERSION)


def group_record(group: ClassicGroup) -> Record:
    """A classic group as it is after its assignment, or once it is empty."""
    message = GROUP_METADATA_VALUE
    members = [
        message.MemberMetadata(
            member_id=member.member_id,
            group_instance_id=member.instance_id,
            client_id=member.client_id,
            client_host=member.client_host,
            rebalance_timeout=member.rebalance_timeout_ms,
            session_timeout=member.session_timeout_ms,
            subscription=member.metadata_of(group.protocol),
            assignment=member.assignment,
        )
        for member in group.members.values()
    ]
    value = message(
        protocol_type=group.protocol_type or "",
        generation=group.generation,
        protocol=group.protocol,
        leader=group.leader_id,
        current_state_timestamp=group.state_since_ms,
        members=members,
    )
    return Record(GROUP_METADATA_KEY, GROUP_METADATA_KEY(group=group.group_id), message, value, GROUP_VERSION)


def group_tombstone(group_id: str) -> Record:
    return Record(GROUP_METADATA_KEY, GROUP_METADATA_KEY(group=group_id), GROUP_METADATA_VALUE, None, GROUP_VERSION)


def is_offset(record: Record) -> bool:
    return record.key_message is OFFSET_COMMIT_KEY


def is_classic_group(record: Record) -> bool:
    return record.key_message is GROUP_METADATA_KEY
