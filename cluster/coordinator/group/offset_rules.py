"""What may be done with committed offsets: commit, commit within a transaction, fetch, delete, expire. Pure.

A request is judged by its group first (is this its member, in this generation?), then place by place.
Topics that do not exist were refused before it came here: shards know no metadata.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cluster.coordinator.group import records
from cluster.coordinator.group.classic import COMPLETING as COMPLETING_REBALANCE
from cluster.coordinator.group.classic import CONSUMER_PROTOCOL, DEAD, EMPTY, ClassicGroup
from cluster.coordinator.group.classic_rules import check_member
from cluster.coordinator.group.consumer import ConsumerGroup, ConsumerMember
from cluster.coordinator.group.consumer_rules import may_commit
from cluster.coordinator.group.offsets import Offsets, expires_at
from cluster.coordinator.values import KEPT_LENGTH_MAX, Pending, Record
from pykafkacore.protocol.errors import ApiError, Code
from pykafkacore.protocol.schemas import groups as schemas
from pykafkacore.protocol.schemas import transactions as transaction_schemas
from pykafkacore.protocol.types import Repeated

if TYPE_CHECKING:
    from cluster.coordinator.group.settings import GroupSettings
    from cluster.coordinator.group.turn import Group
    from cluster.coordinator.values import Request
    from cluster.shard import Millis

NO_RETENTION = -1
KEPT_ROWS_MAX = 16
"""Of an answer that is kept: whoever asks may name as many as a request holds."""
INT64_MAX = 2**63 - 1


# --- who may ----------------------------------------------------------------------------------------------------------------


def check_classic_commit(group: ClassicGroup | None, body: Any, api_version: int, is_transactional: bool) -> None:
    """Raises ApiError if this commit is not the group's."""
    generation = _generation(body)
    if group is None:
        # Somebody without a group manages its own partitions: a simple group comes to be.
        if generation >= 0:
            gone = api_version >= (6 if is_transactional else 9)
            raise ApiError(Code.GROUP_ID_NOT_FOUND if gone else Code.ILLEGAL_GENERATION, "there is no such group")
        return
    if group.state == DEAD:
        raise ApiError(Code.COORDINATOR_NOT_AVAILABLE, "the group is gone")
    if generation < 0 and group.state == EMPTY:
        return
    if generation >= 0 or body.member_id != "" or body.group_instance_id is not None:
        error = check_member(group, body.member_id, body.group_instance_id)
        if error:
            raise ApiError(Code(error), "no such member in the group")
        if generation != group.generation:
            raise ApiError(Code.ILLEGAL_GENERATION, f"generation {generation}, but the group is in {group.generation}")
    elif not is_transactional and group.state != EMPTY:
        raise ApiError(Code.UNKNOWN_MEMBER_ID, "the group has members, and this is none of them")
    if group.state == COMPLETING_REBALANCE and not is_transactional:
        raise ApiError(Code.REBALANCE_IN_PROGRESS, "the group waits for its assignment")


def _generation(body: Any) -> int:
    generation: int = body.generation_id_or_member_epoch
    return generation


# --- commit -----------------------------------------------------------------------------------------------------------------


def commit(
    request: Request, now: Millis, settings: GroupSettings, member: ConsumerMember | None = None
) -> tuple[list[Record], Any]:
    """Records and response of an OffsetCommit that is allowed; `member`: of a consumer group, judged by partition."""
    body = request.body
    retention_ms = body.retention_time_ms if 2 <= request.api_version <= 4 else NO_RETENTION
    expire_ms = min(now + retention_ms, INT64_MAX) if retention_ms != NO_RETENTION else -1
    found: list[Record] = []
    places: list[Answered] = []
    for topic in body.topics:
        rows = []
        for partition in topic.partitions:
            if member is None or may_commit(member, _generation(body), topic.topic_id, partition.partition_index):
                error = _take(found, body.group_id, topic, partition, now, expire_ms, settings)
            else:
                error = Code.STALE_MEMBER_EPOCH
            rows.append((partition.partition_index, error))
        places.append((topic.name, topic.topic_id, tuple(rows)))
    is_small = len(places) == 1 and len(rows) <= KEPT_ROWS_MAX and len(places[0][0]) <= KEPT_LENGTH_MAX
    return found, (_kept_answer if is_small else _commit_answer)(tuple(places))


Answered = tuple[str, bytes, tuple[tuple[int, int], ...]]
"""Name and id of a topic, and an error code for each of its partitions that was committed."""


def _commit_answer(places: tuple[Answered, ...]) -> Any:
    message = schemas.OFFSET_COMMIT_RESPONSE
    row = message.OffsetCommitResponsePartition
    topics = [
        message.OffsetCommitResponseTopic(
            name=name, topic_id=topic_id, partitions=[row(partition_index=index, error_code=code) for index, code in rows]
        )
        for name, topic_id, rows in places
    ]
    return message(topics=topics)


@lru_cache(maxsize=4_096)
def _kept_answer(places: tuple[Answered, ...]) -> Repeated:
    """Consumers commit the same places again and again, and all is well with them."""
    return Repeated(_commit_answer(places))


def commit_in_transaction(request: Request, now: Millis, settings: GroupSettings) -> tuple[list[Pending], Any]:
    body, message = request.body, transaction_schemas.TXN_OFFSET_COMMIT_RESPONSE
    found: list[Record] = []
    response = message()
    for topic in body.topics:
        told = message.TxnOffsetCommitResponseTopic(name=topic.name, topic_id=topic.topic_id)
        response.topics.append(told)
        for partition in topic.partitions:
            error = _take(found, body.group_id, topic, partition, now, -1, settings)
            told.partitions.append(
                message.TxnOffsetCommitResponsePartition(partition_index=partition.partition_index, error_code=error)
            )
    return [Pending(body.producer_id, body.producer_epoch, record) for record in found], response


def _take(
    found: list[Record], group_id: str, topic: Any, partition: Any, now: Millis, expire_ms: int, settings: GroupSettings
) -> int:
    if len(partition.committed_metadata or "") > settings.metadata_bytes_max:
        return Code.OFFSET_METADATA_TOO_LARGE
    found.append(records.commit_record(group_id, topic, partition, now, expire_ms))
    return 0


# --- fetch ------------------------------------------------------------------------------------------------------------------


def fetch(offsets: Offsets, group: Any, require_stable: bool) -> Any:
    """The answer for one group of an OffsetFetch; `group` is that part of the request. No topics: all that it has.

    An offset of a topic that was deleted and made anew is not the new topic's: ids decide where both are known."""
    message = schemas.OFFSET_FETCH_RESPONSE
    known = offsets.of_group(group.group_id)
    answer = message.OffsetFetchResponseGroup(group_id=group.group_id)
    asked: list[tuple[str, bytes, list[int]]]
    if group.topics is None:
        by_topic: dict[tuple[str, bytes], list[int]] = {}
        for (name, index), committed in known.items():
            by_topic.setdefault((name, committed.topic_id), []).append(index)
        asked = [(name, topic_id, indexes) for (name, topic_id), indexes in by_topic.items()]
    else:
        asked = [(topic.name, topic.topic_id, topic.partition_indexes) for topic in group.topics]
    for name, topic_id, indexes in asked:
        rows = []
        for index in indexes:
            latest = known.get((name, index))
            row = message.OffsetFetchResponsePartitions(
                partition_index=index, committed_offset=-1, committed_leader_epoch=-1, metadata=""
            )
            if require_stable and offsets.is_pending(group.group_id, (name, index)):
                row.error_code = Code.UNSTABLE_OFFSET_COMMIT
            elif latest is not None and _same_topic(latest.topic_id, topic_id):
                row.committed_offset = latest.offset
                row.committed_leader_epoch = latest.leader_epoch
                row.metadata = latest.metadata
            rows.append(row)
        answer.topics.append(message.OffsetFetchResponseTopics(name=name, topic_id=topic_id, partitions=rows))
    return answer


def _same_topic(one: bytes, other: bytes) -> bool:
    return one == other or not any(one) or not any(other)


# --- delete and expire ------------------------------------------------------------------------------------------------------


def delete(offsets: Offsets, body: Any, subscribed: set[str]) -> tuple[list[Record], Any]:
    """Records and response of an OffsetDelete on a group that subscribes to these topics."""
    message = schemas.OFFSET_DELETE_RESPONSE
    response, found = message(), []
    known = offsets.of_group(body.group_id)
    for topic in body.topics:
        told = message.OffsetDeleteResponseTopic(name=topic.name)
        response.topics.append(told)
        for partition in topic.partitions:
            place = (topic.name, partition.partition_index)
            error = Code.GROUP_SUBSCRIBED_TO_TOPIC if topic.name in subscribed else 0
            if not error and (place in known or offsets.is_pending(body.group_id, place)):
                found.append(records.offset_tombstone(body.group_id, *place))
            told.partitions.append(
                message.OffsetDeleteResponsePartition(partition_index=partition.partition_index, error_code=error)
            )
    return found, response


def all_tombstones(offsets: Offsets, group_id: str) -> list[Record]:
    return [records.offset_tombstone(group_id, *place) for place in sorted(offsets.of_group(group_id))]


def expired(
    offsets: Offsets, group: Group, now: Millis, settings: GroupSettings
) -> list[Record]:
    """Tombstones of what a group no longer needs (KIP-211)."""
    retention_ms, found = settings.offsets_retention_ms, []
    subscribed: set[str] = set()
    if isinstance(group, ConsumerGroup):
        subscribed = set(group.subscribed_topics())
    elif group.state != EMPTY:
        topics = group.subscribed_topics() if group.protocol_type == CONSUMER_PROTOCOL else None
        if topics is None:
            return []
        subscribed = topics
    for place, committed in sorted(offsets.of_group(group.group_id).items()):
        if place[0] in subscribed or offsets.is_pending(group.group_id, place):
            continue
        since_ms = committed.commit_ms
        if isinstance(group, ClassicGroup) and group.state == EMPTY and not group.is_simple:
            # KAFKA: the retention runs from when the group became empty, where that is known.
            since_ms = group.state_since_ms if group.state_since_ms >= 0 else committed.commit_ms
        if expires_at(committed, since_ms, retention_ms) <= now:
            found.append(records.offset_tombstone(group.group_id, *place))
    return found
