"""The records of consumer groups (types 3 to 8 and 16). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cluster.coordinator.values import Record
from pykafkacore.protocol.schemas import coordinator_records as schemas

if TYPE_CHECKING:
    from cluster.coordinator.group.consumer import ConsumerGroup, ConsumerMember, Partitions, ResolvedRegex
    from pykafkacore.protocol.schema import Message


def _record(name: str, key: dict[str, Any], value: dict[str, Any] | None) -> Record:
    key_message: Message = getattr(schemas, f"{name}_KEY")
    value_message: Message = getattr(schemas, f"{name}_VALUE")
    struct = None if value is None else value_message(**value)
    return Record(key_message, key_message(**key), value_message, struct, 0)


def epoch_record(group_id: str, group_epoch: int, metadata_hash: int) -> Record:
    value = {"epoch": group_epoch, "metadata_hash": metadata_hash}
    return _record("CONSUMER_GROUP_METADATA", {"group_id": group_id}, value)


def member_record(group_id: str, member: ConsumerMember) -> Record:
    message = schemas.CONSUMER_GROUP_MEMBER_METADATA_VALUE
    classic = member.classic
    value = {
        "instance_id": member.instance_id,
        "rack_id": member.rack_id,
        "client_id": member.client_id,
        "client_host": member.client_host,
        "subscribed_topic_names": sorted(member.topics),
        "subscribed_topic_regex": member.regex,
        "rebalance_timeout_ms": member.rebalance_timeout_ms,
        "server_assignor": member.assignor,
        "classic_member_metadata": None
        if classic is None
        else message.ClassicMemberMetadata(
            session_timeout_ms=classic.session_timeout_ms,
            supported_protocols=[message.ClassicProtocol(name=n, metadata=m) for n, m in classic.protocols],
        ),
    }
    key = {"group_id": group_id, "member_id": member.member_id}
    return _record("CONSUMER_GROUP_MEMBER_METADATA", key, value)


def target_epoch_record(group_id: str, assignment_epoch: int, now_ms: int) -> Record:
    value = {"assignment_epoch": assignment_epoch, "assignment_timestamp": now_ms}
    return _record("CONSUMER_GROUP_TARGET_ASSIGNMENT_METADATA", {"group_id": group_id}, value)


def target_record(group_id: str, member_id: str, partitions: Partitions) -> Record:
    row = schemas.CONSUMER_GROUP_TARGET_ASSIGNMENT_MEMBER_VALUE.TopicPartition
    rows = [row(topic_id=topic_id, partitions=sorted(partitions[topic_id])) for topic_id in sorted(partitions)]
    key = {"group_id": group_id, "member_id": member_id}
    return _record("CONSUMER_GROUP_TARGET_ASSIGNMENT_MEMBER", key, {"topic_partitions": rows})


def current_record(group_id: str, member: ConsumerMember) -> Record:
    row = schemas.CONSUMER_GROUP_CURRENT_MEMBER_ASSIGNMENT_VALUE.TopicPartitions
    assigned = []
    for topic_id in sorted(member.assigned):
        epochs = member.assigned[topic_id]
        partitions = sorted(epochs)
        assigned.append(row(topic_id=topic_id, partitions=partitions, assignment_epochs=[epochs[p] for p in partitions]))
    value = {
        "member_epoch": member.member_epoch,
        "previous_member_epoch": member.previous_epoch,
        "state": member.state,
        "assigned_partitions": assigned,
        "partitions_pending_revocation": [
            row(topic_id=topic_id, partitions=sorted(member.revoking[topic_id])) for topic_id in sorted(member.revoking)
        ],
    }
    key = {"group_id": group_id, "member_id": member.member_id}
    return _record("CONSUMER_GROUP_CURRENT_MEMBER_ASSIGNMENT", key, value)


def regex_record(group_id: str, regex: str, resolved: ResolvedRegex) -> Record:
    value = {"topics": sorted(resolved.topics), "version": resolved.version, "timestamp": resolved.timestamp_ms}
    key = {"group_id": group_id, "regular_expression": regex}
    return _record("CONSUMER_GROUP_REGULAR_EXPRESSION", key, value)


def member_tombstones(group_id: str, member_id: str) -> list[Record]:
    """In the order in which a member comes apart."""
    key = {"group_id": group_id, "member_id": member_id}
    names = (
        "CONSUMER_GROUP_CURRENT_MEMBER_ASSIGNMENT",
        "CONSUMER_GROUP_TARGET_ASSIGNMENT_MEMBER",
        "CONSUMER_GROUP_MEMBER_METADATA",
    )
    return [_record(name, key, None) for name in names]


def regex_tombstone(group_id: str, regex: str) -> Record:
    key = {"group_id": group_id, "regular_expression": regex}
    return _record("CONSUMER_GROUP_REGULAR_EXPRESSION", key, None)


def group_tombstones(group: ConsumerGroup) -> list[Record]:
    """KAFKA: current assignments, target, members, patterns, the group."""
    by_kind = list(zip(*(member_tombstones(group.group_id, each) for each in group.members), strict=True))
    current, targets, members = by_kind or ((), (), ())
    key = {"group_id": group.group_id}
    return [
        *current,
        *targets,
        _record("CONSUMER_GROUP_TARGET_ASSIGNMENT_METADATA", key, None),
        *members,
        *(regex_tombstone(group.group_id, regex) for regex in group.regexes),
        _record("CONSUMER_GROUP_METADATA", key, None),
    ]
