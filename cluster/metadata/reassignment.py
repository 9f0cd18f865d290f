"""Moving replicas and leaderships on request or by schedule. Pure: plans PartitionChange records.

A reassignment sets the replicas to the target plus those that leave, and marks who is added and who is removed; the
AlterPartition that brings the last added one into the ISR completes it (elections.py).
INVARIANT: every partition of a request is answered once.
Sources: KIP-183, KIP-455, KIP-460, KIP-860; PROTOCOL A.10, F.7.
"""

from __future__ import annotations

from typing import Any

from cluster.metadata import records as r
from cluster.metadata.controller_state import ControllerRequest, ControllerState
from cluster.metadata.elections import Election, allows_unclean_election, change_of, partitions_where
from cluster.metadata.image import PartitionImage, TopicImage
from cluster.metadata.records import MetadataRecord
from cluster.metadata.topics import check_replicas, default_directory
from cluster.shard import Outcome
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import ApiError, Code

PREFERRED, UNCLEAN = 0, 1


# --- leaders ---------------------------------------------------------------------------------------------------------


def elect_leaders(state: ControllerState, request: ControllerRequest, now: int) -> Outcome:
    body, message = request.body, api("ElectLeaders").response
    election_type = body.election_type if request.api_version >= 1 else PREFERRED
    if election_type not in (PREFERRED, UNCLEAN):
        return Outcome(response=message(error_code=int(Code.INVALID_REQUEST)))
    records: list[MetadataRecord] = []
    results = []
    is_for_all = body.topic_partitions is None
    if is_for_all:
        wanted = [(topic.name, sorted(topic.partitions)) for topic in state.image.topics.values()]
    else:
        wanted = [(each.topic, each.partitions) for each in body.topic_partitions]
    for name, indexes in wanted:
        partitions = []
        for index in dict.fromkeys(indexes):
            code, text = _elect(state, election_type, name, index, records)
            if is_for_all and code == Code.ELECTION_NOT_NEEDED:
                continue  # asked about everything: only what was done or failed is news
            partitions.append(
                message.PartitionResult(partition_id=index, error_code=int(code), error_message=text or None)
            )
        if partitions or not is_for_all:
            results.append(message.ReplicaElectionResult(topic=name, partition_result=partitions))
    return Outcome(records, message(replica_election_results=results), atomic=False)


def _elect(
    state: ControllerState, election_type: int, name: str, index: int, records: list[MetadataRecord]
) -> tuple[Code, str]:
    topic = state.image.topic_named(name)
    partition = topic.partitions.get(index) if topic else None
    if topic is None or partition is None:
        return Code.UNKNOWN_TOPIC_OR_PARTITION, f"there is no partition {name}-{index}"
    if election_type == PREFERRED and partition.leader == partition.replicas[0]:
        return Code.ELECTION_NOT_NEEDED, "the preferred replica leads already"
    if election_type == UNCLEAN and partition.has_leader:
        return Code.ELECTION_NOT_NEEDED, "the partition has a leader"
    change = change_of(state, topic, index)
    change.election = Election.PREFERRED if election_type == PREFERRED else Election.UNCLEAN
    written = change.plan()
    if written is None or written.body.leader == r.NO_LEADER_CHANGE:
        if election_type == PREFERRED:
            return Code.PREFERRED_LEADER_NOT_AVAILABLE, "the preferred replica is not in sync or not active"
        return Code.ELIGIBLE_LEADERS_NOT_AVAILABLE, "no replica is active"
    if election_type == PREFERRED and written.body.leader != partition.replicas[0]:
        return Code.PREFERRED_LEADER_NOT_AVAILABLE, "the preferred replica is not in sync or not active"
    records.append(written)
    return Code.NONE, ""


def plan_balance(state: ControllerState) -> list[MetadataRecord]:
    """Leaderships back to the preferred replicas, as many as one batch takes."""
    records = []
    for topic, index, _ in partitions_where(state.image, lambda each: each.leader != each.replicas[0]):
        change = change_of(state, topic, index)
        change.election = Election.PREFERRED
        written = change.plan()
        if written is not None:
            records.append(written)
            if len(records) >= r.RECORDS_PER_BATCH_MAX:
                break
    return records


def plan_unclean(state: ControllerState) -> list[MetadataRecord]:
    """Leaders for leaderless partitions of topics that prefer being there to being whole."""
    records = []
    for topic, index, _ in partitions_where(state.image, lambda each: not each.has_leader):
        if allows_unclean_election(state, topic.name):
            change = change_of(state, topic, index)
            change.election = Election.UNCLEAN
            written = change.plan()
            if written is not None:
                records.append(written)
    return records


# --- replicas --------------------------------------------------------------------------------------------------------


def alter_partition_reassignments(state: ControllerState, request: ControllerRequest, now: int) -> Outcome:
    body, message = request.body, api("AlterPartitionReassignments").response
    allows_factor = body.allow_replication_factor_change if request.api_version >= 1 else True
    if not body.topics:
        # KAFKA: the words of an answer to nothing are empty, of any other there are none.
        return Outcome(response=message(error_message="", allow_replication_factor_change=True))
    if body.timeout_ms <= 0:
        raise ApiError(Code.REQUEST_TIMED_OUT, f"timeout_ms is {body.timeout_ms}: there is no time to do it")
    records: list[MetadataRecord] = []
    responses = []
    for wanted in body.topics:
        topic = state.image.topic_named(wanted.name)
        partitions = []
        indexes = [each.partition_index for each in wanted.partitions]
        for data in wanted.partitions:
            code, text = Code.NONE, None
            try:
                if indexes.count(data.partition_index) > 1:
                    raise ApiError(Code.INVALID_REQUEST, "the partition is given more than once")
                written = _reassign(state, topic, wanted.name, data, allows_factor)
                if written is not None:
                    records.append(written)
            except ApiError as error:
                code, text = error.code, error.message
            partitions.append(
                message.ReassignablePartitionResponse(
                    partition_index=data.partition_index, error_code=int(code), error_message=text
                )
            )
        responses.append(message.ReassignableTopicResponse(name=wanted.name, partitions=partitions))
    answer = message(error_message=None, responses=responses)
    if request.api_version >= 1:
        answer.allow_replication_factor_change = allows_factor
    return Outcome(records, answer, atomic=False)


def _reassign(
    state: ControllerState, topic: TopicImage | None, name: str, data: Any, allows_factor: bool
) -> MetadataRecord | None:
    partition = topic.partitions.get(data.partition_index) if topic else None
    if topic is None or partition is None:
        raise ApiError(Code.UNKNOWN_TOPIC_OR_PARTITION, f"there is no partition {name}-{data.partition_index}")
    if data.replicas is None:
        return _cancel(state, topic, data.partition_index, partition)
    target = tuple(data.replicas)
    check_replicas(state, data.partition_index, target)
    original = tuple(each for each in partition.replicas if each not in partition.adding_replicas)
    if not allows_factor and len(target) != len(original):
        raise ApiError(
            Code.INVALID_REPLICATION_FACTOR, f"the partition has {len(original)} replicas, the target {len(target)}"
        )
    change = change_of(state, topic, data.partition_index)
    # Of what an earlier reassignment was adding, only what this one wants too is kept on its way.
    kept = tuple(each for each in original if each not in target)
    change.adding = tuple(each for each in target if each not in original)
    change.removing = kept
    change.replicas = (*target, *kept)
    change.isr = tuple(each for each in partition.isr if each in change.replicas)
    for replica in change.adding:
        if replica not in partition.replicas:
            change.directories[replica] = default_directory(state, replica)
    if not change.isr:
        raise ApiError(Code.INVALID_REPLICA_ASSIGNMENT, "no replica in sync would be left")
    return change.plan()


def _cancel(
    state: ControllerState, topic: TopicImage, index: int, partition: PartitionImage
) -> MetadataRecord | None:
    if not partition.is_reassigning:
        raise ApiError(Code.NO_REASSIGNMENT_IN_PROGRESS, f"{topic.name}-{index} is not being reassigned")
    change = change_of(state, topic, index)
    added = partition.adding_replicas
    change.replicas = tuple(each for each in partition.replicas if each not in added)
    change.isr = tuple(each for each in partition.isr if each not in added)
    change.adding, change.removing = (), ()
    if not change.isr and not allows_unclean_election(state, topic.name):
        raise ApiError(Code.INVALID_REPLICA_ASSIGNMENT, "no replica in sync would be left: cancelling would lose data")
    if not change.isr:
        change.election = Election.UNCLEAN
    return change.plan()


def list_partition_reassignments(state: ControllerState, request: ControllerRequest, now: int) -> Outcome:
    body, message = request.body, api("ListPartitionReassignments").response
    wanted = None if body.topics is None else {each.name: set(each.partition_indexes) for each in body.topics}
    topics: dict[str, list[Any]] = {}
    for topic, index, partition in partitions_where(state.image, lambda each: each.is_reassigning):
        if wanted is None or index in wanted.get(topic.name, ()):
            entry = message.OngoingPartitionReassignment(
                partition_index=index,
                replicas=list(partition.replicas),
                adding_replicas=list(partition.adding_replicas),
                removing_replicas=list(partition.removing_replicas),
            )
            topics.setdefault(topic.name, []).append(entry)
    found = [message.OngoingTopicReassignment(name=name, partitions=each) for name, each in sorted(topics.items())]
    return Outcome(response=message(error_message=None, topics=found))
