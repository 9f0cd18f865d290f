"""AlterPartition: leaders propose in-sync replicas, the controller decides. Pure; costs what is proposed.

INVARIANT: only the leader at the present leader and partition epoch may propose, and only active replicas of the
broker epoch it saw may come in (KIP-903: a restarted, empty broker is not the one that had caught up).
Sources: KIP-497, KIP-704, KIP-841, KIP-903; PROTOCOL E.10.
"""

from __future__ import annotations

from typing import Any

from cluster.metadata.apply import merge
from cluster.metadata.controller_state import ControllerRequest, ControllerState
from cluster.metadata.elections import Election, allows_unclean_election, change_of
from cluster.metadata.image import RECOVERED, RECOVERING, PartitionImage, TopicImage
from cluster.metadata.records import MetadataRecord
from cluster.shard import Outcome
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import ApiError, Code


def alter_partition(state: ControllerState, request: ControllerRequest, now: int) -> Outcome:
    body, message = request.body, api("AlterPartition").response
    try:
        state.check_broker_epoch(body.broker_id, body.broker_epoch)
    except ApiError as error:
        return Outcome(response=message(error_code=int(error.code)))
    records: list[MetadataRecord] = []
    topics = []
    seen: set[tuple[bytes, int]] = set()
    for topic_data in body.topics:
        topic = state.image.topics.get(topic_data.topic_id)
        results = []
        for data in topic_data.partitions:
            try:
                if topic is None:
                    raise ApiError(Code.UNKNOWN_TOPIC_ID)
                if (topic.topic_id, data.partition_index) in seen:
                    raise ApiError(Code.INVALID_REQUEST, "a partition is given twice")
                seen.add((topic.topic_id, data.partition_index))
                written, after = _alter(state, body.broker_id, request.api_version, topic, data)
                if written is not None:
                    records.append(written)
                if after is None:
                    raise ApiError(Code.NEW_LEADER_ELECTED)
                results.append(_result(message, data.partition_index, after))
            except ApiError as error:
                results.append(message.PartitionData(partition_index=data.partition_index, error_code=int(error.code)))
        topics.append(message.TopicData(topic_id=topic_data.topic_id, partitions=results))
    return Outcome(records, message(topics=topics), atomic=False)


def _result(message: Any, index: int, after: PartitionImage) -> Any:
    return message.PartitionData(
        partition_index=index,
        leader_id=after.leader,
        leader_epoch=after.leader_epoch,
        isr=list(after.isr),
        leader_recovery_state=after.leader_recovery_state,
        partition_epoch=after.partition_epoch,
    )


def _alter(
    state: ControllerState, broker_id: int, api_version: int, topic: TopicImage, data: Any
) -> tuple[MetadataRecord | None, PartitionImage | None]:
    before = topic.partitions.get(data.partition_index)
    if before is None:
        raise ApiError(Code.UNKNOWN_TOPIC_OR_PARTITION)
    if api_version >= 3:
        members = [(each.broker_id, each.broker_epoch) for each in data.new_isr_with_epochs]
    else:
        members = [(each, -1) for each in data.new_isr]
    isr = tuple(member for member, _ in members)
    _check_epochs(before, broker_id, data)
    _check_isr(before, isr, data.leader_recovery_state)
    _check_members(state, before, members)
    change = change_of(state, topic, data.partition_index)
    change.isr = isr
    change.recovery_state = data.leader_recovery_state
    if allows_unclean_election(state, topic.name):
        change.election = Election.UNCLEAN
    written = change.plan()
    if written is None:
        return None, before
    after = merge(before, written.body)
    if before.is_reassigning and not after.is_reassigning and after.leader != broker_id:
        # The change is made all the same; the code only tells the proposer that it is not the leader any more.
        return written, None
    return written, after


def _check_epochs(before: PartitionImage, broker_id: int, data: Any) -> None:
    # A proposer ahead of this controller has seen a later one: it must look for that.
    if data.leader_epoch > before.leader_epoch or data.partition_epoch > before.partition_epoch:
        raise ApiError(Code.NOT_CONTROLLER)
    if data.leader_epoch < before.leader_epoch:
        raise ApiError(Code.FENCED_LEADER_EPOCH)
    if broker_id != before.leader:
        raise ApiError(Code.INVALID_REQUEST, "only the leader proposes in-sync replicas")
    if data.partition_epoch < before.partition_epoch:
        raise ApiError(Code.INVALID_UPDATE_VERSION)


def _check_isr(before: PartitionImage, isr: tuple[int, ...], recovery_state: int) -> None:
    if not isr or len(set(isr)) != len(isr) or any(replica not in before.replicas for replica in isr):
        raise ApiError(Code.INVALID_REQUEST, "the proposed ISR is empty, has a broker twice, or one without replica")
    if before.leader not in isr:
        raise ApiError(Code.INVALID_REQUEST, "the proposed ISR lacks the leader")
    if recovery_state not in (RECOVERED, RECOVERING):
        raise ApiError(Code.INVALID_REQUEST, "the leader recovery state is neither 0 nor 1")
    if recovery_state == RECOVERING and (len(isr) > 1 or before.leader_recovery_state == RECOVERED):
        raise ApiError(Code.INVALID_REQUEST, "a leader recovers alone in the ISR, after an unclean election")


def _check_members(state: ControllerState, before: PartitionImage, members: list[tuple[int, int]]) -> None:
    for broker_id, broker_epoch in members:
        broker = state.image.brokers.get(broker_id)
        is_stale = broker is None or (broker_epoch != -1 and broker.broker_epoch != broker_epoch)
        if is_stale or not state.image.is_replica_online(broker_id, before):
            raise ApiError(Code.INELIGIBLE_REPLICA)
