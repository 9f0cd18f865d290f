"""Raft's messages as the protocol's, and back: one pair of functions per API. Pure; only this file here knows versions.

    request_from(api_key, api_version, body)    a request that came in, as the node takes it
    response_to(api_key, api_version, answer)   the node's answer, as the protocol says it; Fetch and FetchSnapshot have
                                                functions of their own, which take what the driver read
    request_to(request, api_version)            (api key, body) of a request that the node sends
    response_from(api_key, body)                an answer that came in, as the node takes it

INVARIANT: every request names exactly the metadata partition; anything else is answered INVALID_REQUEST: `request_from`
raises ApiError. Sources: PROTOCOL E.1, E.2; KIP-595, KIP-853.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from cluster.raft import messages as msg
from cluster.raft.batches import Crc, crc32c, read_batches
from cluster.raft.messages import NO_NODE, Endpoint, ReplicaKey, SnapshotId, Voter
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import ApiError, Code
from pykafkacore.protocol.types import METADATA_TOPIC_ID

METADATA_TOPIC = "__cluster_metadata"
FETCH, VOTE, BEGIN, END, FETCH_SNAPSHOT, ADD_VOTER, REMOVE_VOTER, UPDATE_VOTER = 1, 52, 53, 54, 59, 80, 81, 82
API_VERSIONS = 18
HIGH_WATERMARK_NOT_SENT = 2**63 - 1


def request_from(api_key: int, api_version: int, body: Any) -> Any:
    """Raises ApiError(INVALID_REQUEST) where the request names anything but the one metadata partition."""
    if api_key == ADD_VOTER:
        key = ReplicaKey(body.voter_id, body.voter_directory_id)
        return msg.AddVoterRequest(
            body.cluster_id, key, _endpoints(body.listeners), body.timeout_ms, body.ack_when_committed
        )
    if api_key == REMOVE_VOTER:
        return msg.RemoveVoterRequest(body.cluster_id, ReplicaKey(body.voter_id, body.voter_directory_id))
    if api_key == UPDATE_VOTER:
        feature = body.kraft_version_feature
        voter = Voter(
            ReplicaKey(body.voter_id, body.voter_directory_id),
            _endpoints(body.listeners),
            feature.min_supported_version,
            feature.max_supported_version,
        )
        return msg.UpdateVoterRequest(body.cluster_id, body.current_leader_epoch, voter)
    partition = _only_partition(api_key, api_version, body)
    if api_key == VOTE:
        return msg.VoteRequest(
            body.cluster_id,
            ReplicaKey(body.voter_id, partition.voter_directory_id),
            ReplicaKey(partition.replica_id, partition.replica_directory_id),
            partition.replica_epoch,
            partition.last_offset_epoch,
            partition.last_offset,
            partition.pre_vote,
        )
    if api_key == BEGIN:
        return msg.BeginQuorumEpochRequest(
            body.cluster_id,
            ReplicaKey(body.voter_id, partition.voter_directory_id),
            partition.leader_id,
            partition.leader_epoch,
            _endpoints(body.leader_endpoints),
        )
    if api_key == END:
        candidates = tuple(
            ReplicaKey(each.candidate_id, each.candidate_directory_id) for each in partition.preferred_candidates
        )
        if api_version == 0:
            candidates = tuple(ReplicaKey(each) for each in partition.preferred_successors)
        return msg.EndQuorumEpochRequest(
            body.cluster_id, partition.leader_id, partition.leader_epoch, candidates, _endpoints(body.leader_endpoints)
        )
    if api_key == FETCH:
        replica_id = body.replica_state.replica_id if api_version >= 15 else body.replica_id
        high_watermark = None if partition.high_watermark == HIGH_WATERMARK_NOT_SENT else partition.high_watermark
        return msg.FetchRequest(
            body.cluster_id,
            ReplicaKey(replica_id, partition.replica_directory_id),
            partition.current_leader_epoch,
            partition.fetch_offset,
            partition.last_fetched_epoch,
            high_watermark,
            body.max_wait_ms,
            min(body.max_bytes, partition.partition_max_bytes),
        )
    if api_key == FETCH_SNAPSHOT:
        return msg.FetchSnapshotRequest(
            body.cluster_id,
            ReplicaKey(body.replica_id, partition.replica_directory_id),
            partition.current_leader_epoch,
            SnapshotId(partition.snapshot_id.end_offset, partition.snapshot_id.epoch),
            partition.position,
            body.max_bytes,
        )
    raise ValueError(f"api key {api_key} is not one of Raft's")


def _only_partition(api_key: int, api_version: int, body: Any) -> Any:
    topics = body.topics
    if len(topics) != 1 or len(topics[0].partitions) != 1:
        raise ApiError(Code.INVALID_REQUEST, "a quorum request names exactly one partition")
    topic, partition = topics[0], topics[0].partitions[0]
    if api_key == FETCH:
        is_metadata = topic.topic_id == METADATA_TOPIC_ID if api_version >= 13 else topic.topic == METADATA_TOPIC
        index = partition.partition
    elif api_key == FETCH_SNAPSHOT:
        is_metadata, index = topic.name == METADATA_TOPIC, partition.partition
    else:
        is_metadata, index = topic.topic_name == METADATA_TOPIC, partition.partition_index
    if not is_metadata or index != 0:
        raise ApiError(Code.INVALID_REQUEST, "a quorum request names the partition of the metadata log")
    return partition


def error_response(api_key: int, error: Code, message: str = "") -> Any:
    """An answer that carries nothing but a top-level error."""
    response = api(api_key).response
    fields: dict[str, Any] = {"error_code": int(error)}
    if api_key in (ADD_VOTER, REMOVE_VOTER):
        fields["error_message"] = message or None
    return response(**fields)


def response_to(api_key: int, api_version: int, answer: Any) -> Any:
    """The node's answer as a protocol message. Fetch and FetchSnapshot: see their own functions."""
    response = api(api_key).response
    if api_key in (ADD_VOTER, REMOVE_VOTER):
        return response(error_code=int(answer.error), error_message=answer.message or None)
    if api_key == UPDATE_VOTER:
        endpoint = answer.leader_endpoint
        leader = response.CurrentLeader(leader_id=answer.leader_id, leader_epoch=answer.leader_epoch)
        if endpoint is not None:
            leader.host, leader.port = endpoint.host, endpoint.port
        return response(error_code=int(answer.error), current_leader=leader)
    if answer.error in (Code.INCONSISTENT_CLUSTER_ID, Code.INVALID_REQUEST):
        return response(error_code=int(answer.error))
    partition = response.PartitionData(
        partition_index=0, error_code=int(answer.error), leader_id=answer.leader_id, leader_epoch=answer.leader_epoch
    )
    if api_key == VOTE:
        partition.vote_granted = answer.vote_granted
    return response(
        topics=[response.TopicData(topic_name=METADATA_TOPIC, partitions=[partition])],
        node_endpoints=_node_endpoints(response, answer) if api_version >= 1 else [],
    )


def _node_endpoints(response: Any, answer: Any) -> list[Any]:
    endpoint = answer.leader_endpoint
    if endpoint is None or answer.leader_id == NO_NODE:
        return []
    return [response.NodeEndpoint(node_id=answer.leader_id, host=endpoint.host, port=endpoint.port)]


def fetch_response_to(api_version: int, answer: msg.FetchResponse, records: bytes | memoryview = b"") -> Any:
    """`records` are the bytes that the driver read at `answer.records_from`."""
    response = api(FETCH).response
    if answer.error == Code.INCONSISTENT_CLUSTER_ID:
        return response(error_code=int(answer.error))
    partition = response.PartitionData(
        partition_index=0,
        error_code=int(answer.error),
        high_watermark=answer.high_watermark,
        last_stable_offset=-1,
        log_start_offset=answer.log_start_offset,
        records=records,
    )
    if api_version >= 12:
        partition.current_leader = response.LeaderIdAndEpoch(
            leader_id=answer.leader_id, leader_epoch=answer.leader_epoch
        )
        if answer.diverging_epoch is not None:
            partition.diverging_epoch = response.EpochEndOffset(
                epoch=answer.diverging_epoch, end_offset=answer.diverging_end_offset
            )
        if answer.snapshot_id is not None:
            partition.snapshot_id = response.SnapshotId(
                end_offset=answer.snapshot_id.end_offset, epoch=answer.snapshot_id.leader_epoch
            )
    topic = response.FetchableTopicResponse(topic=METADATA_TOPIC, topic_id=METADATA_TOPIC_ID, partitions=[partition])
    return response(responses=[topic], node_endpoints=_node_endpoints(response, answer) if api_version >= 16 else [])


def snapshot_response_to(api_version: int, answer: msg.FetchSnapshotResponse) -> Any:
    """With the driver's `size` and `data` filled in."""
    response = api(FETCH_SNAPSHOT).response
    if answer.error == Code.INCONSISTENT_CLUSTER_ID:
        return response(error_code=int(answer.error))
    snapshot_id = answer.snapshot_id or SnapshotId(0, 0)
    partition = response.PartitionSnapshot(
        index=0,
        error_code=int(answer.error),
        snapshot_id=response.SnapshotId(end_offset=snapshot_id.end_offset, epoch=snapshot_id.leader_epoch),
        current_leader=response.LeaderIdAndEpoch(leader_id=answer.leader_id, leader_epoch=answer.leader_epoch),
        size=answer.size,
        position=answer.position,
        unaligned_records=answer.data,
    )
    return response(
        topics=[response.TopicSnapshot(name=METADATA_TOPIC, partitions=[partition])],
        node_endpoints=_node_endpoints(response, answer) if api_version >= 1 else [],
    )


# --- what the node sends ---------------------------------------------------------------------------------------------


def request_to(request: Any, api_version: int) -> tuple[int, Any]:
    """(api key, body at `api_version`)."""
    api_key = API_KEY_OF[type(request)]
    message = api(api_key).request
    to_body: Any = _REQUEST_TO[api_key]
    return api_key, to_body(request, message, api_version)


def _leader_endpoints(message: Any, request: Any) -> list[Any]:
    return [message.LeaderEndpoint(name=e.name, host=e.host, port=e.port) for e in request.leader_endpoints]


def _vote(request: msg.VoteRequest, message: Any, api_version: int) -> Any:
    partition = message.PartitionData(
        partition_index=0,
        replica_epoch=request.replica_epoch,
        replica_id=request.candidate.node_id,
        replica_directory_id=request.candidate.directory_id,
        voter_directory_id=request.to.directory_id,
        last_offset_epoch=request.last_epoch,
        last_offset=request.last_offset,
        pre_vote=request.pre_vote,
    )
    topic = message.TopicData(topic_name=METADATA_TOPIC, partitions=[partition])
    return message(cluster_id=request.cluster_id, voter_id=request.to.node_id, topics=[topic])


def _begin(request: msg.BeginQuorumEpochRequest, message: Any, api_version: int) -> Any:
    partition = message.PartitionData(
        partition_index=0,
        voter_directory_id=request.to.directory_id,
        leader_id=request.leader_id,
        leader_epoch=request.leader_epoch,
    )
    return message(
        cluster_id=request.cluster_id,
        voter_id=request.to.node_id,
        topics=[message.TopicData(topic_name=METADATA_TOPIC, partitions=[partition])],
        leader_endpoints=_leader_endpoints(message, request),
    )


def _end(request: msg.EndQuorumEpochRequest, message: Any, api_version: int) -> Any:
    partition = message.PartitionData(
        partition_index=0, leader_id=request.leader_id, leader_epoch=request.leader_epoch
    )
    for candidate in request.preferred_candidates:
        if api_version == 0:
            partition.preferred_successors.append(candidate.node_id)
        else:
            info = message.ReplicaInfo(candidate_id=candidate.node_id, candidate_directory_id=candidate.directory_id)
            partition.preferred_candidates.append(info)
    return message(
        cluster_id=request.cluster_id,
        topics=[message.TopicData(topic_name=METADATA_TOPIC, partitions=[partition])],
        leader_endpoints=_leader_endpoints(message, request),
    )


def _fetch(request: msg.FetchRequest, message: Any, api_version: int) -> Any:
    partition = message.FetchPartition(
        partition=0,
        current_leader_epoch=request.leader_epoch,
        fetch_offset=request.fetch_offset,
        last_fetched_epoch=request.last_fetched_epoch,
        partition_max_bytes=request.max_bytes,
        replica_directory_id=request.replica.directory_id,
    )
    if request.high_watermark is not None:
        partition.high_watermark = request.high_watermark
    topic = message.FetchTopic(topic=METADATA_TOPIC, topic_id=METADATA_TOPIC_ID, partitions=[partition])
    body = message(
        cluster_id=request.cluster_id, max_wait_ms=request.max_wait_ms, max_bytes=request.max_bytes, topics=[topic]
    )
    if api_version >= 15:
        body.replica_state = message.ReplicaState(replica_id=request.replica.node_id)
    else:
        body.replica_id = request.replica.node_id
    return body


def _fetch_snapshot(request: msg.FetchSnapshotRequest, message: Any, api_version: int) -> Any:
    partition = message.PartitionSnapshot(
        partition=0,
        current_leader_epoch=request.leader_epoch,
        snapshot_id=message.SnapshotId(
            end_offset=request.snapshot_id.end_offset, epoch=request.snapshot_id.leader_epoch
        ),
        position=request.position,
        replica_directory_id=request.replica.directory_id,
    )
    return message(
        cluster_id=request.cluster_id,
        replica_id=request.replica.node_id,
        max_bytes=request.max_bytes,
        topics=[message.TopicSnapshot(name=METADATA_TOPIC, partitions=[partition])],
    )


def _update_voter(request: msg.UpdateVoterRequest, message: Any, api_version: int) -> Any:
    voter = request.voter
    return message(
        cluster_id=request.cluster_id,
        current_leader_epoch=request.leader_epoch,
        voter_id=voter.key.node_id,
        voter_directory_id=voter.key.directory_id,
        listeners=[message.Listener(name=e.name, host=e.host, port=e.port) for e in voter.endpoints],
        kraft_version_feature=message.KRaftVersionFeature(
            min_supported_version=voter.kraft_version_min, max_supported_version=voter.kraft_version_max
        ),
    )


def _api_versions(request: msg.ApiVersionsProbe, message: Any, api_version: int) -> Any:
    return message(client_software_name="pykafkacore", client_software_version="0")


API_KEY_OF: dict[type, int] = {
    msg.VoteRequest: VOTE,
    msg.BeginQuorumEpochRequest: BEGIN,
    msg.EndQuorumEpochRequest: END,
    msg.FetchRequest: FETCH,
    msg.FetchSnapshotRequest: FETCH_SNAPSHOT,
    msg.UpdateVoterRequest: UPDATE_VOTER,
    msg.ApiVersionsProbe: API_VERSIONS,
}
_REQUEST_TO = {
    VOTE: _vote,
    BEGIN: _begin,
    END: _end,
    FETCH: _fetch,
    FETCH_SNAPSHOT: _fetch_snapshot,
    UPDATE_VOTER: _update_voter,
    API_VERSIONS: _api_versions,
}


def response_from(api_key: int, body: Any, crc: Crc | None = crc32c) -> Any:
    """An answer as the node takes it. Raises MalformedMessage where fetched records are not whole batches."""
    if api_key == API_VERSIONS:
        for feature in body.supported_features:
            if feature.name == "kraft.version":
                return msg.ApiVersionsProbed(body.error_code, feature.min_version, feature.max_version)
        return msg.ApiVersionsProbed(body.error_code)
    if api_key == UPDATE_VOTER:
        leader = body.current_leader
        endpoint = Endpoint("", leader.host, leader.port) if leader.host else None
        return msg.QuorumResponse(body.error_code, leader.leader_id, leader.leader_epoch, endpoint)
    topics = body.responses if api_key == FETCH else body.topics
    partition = topics[0].partitions[0] if topics and topics[0].partitions else None
    if partition is None:
        error = body.error_code or Code.INVALID_REQUEST
        kinds = {FETCH: msg.FetchResponse, FETCH_SNAPSHOT: msg.FetchSnapshotResponse}
        return kinds.get(api_key, msg.QuorumResponse)(int(error))
    error = body.error_code or partition.error_code
    if api_key in (VOTE, BEGIN, END):
        answer = msg.QuorumResponse(error, partition.leader_id, partition.leader_epoch)
        if api_key == VOTE:
            answer = replace(answer, vote_granted=partition.vote_granted)
        return replace(answer, leader_endpoint=_leader_endpoint(body, answer.leader_id))
    leader = partition.current_leader
    endpoint = _leader_endpoint(body, leader.leader_id)
    if api_key == FETCH_SNAPSHOT:
        snapshot_id = SnapshotId(partition.snapshot_id.end_offset, partition.snapshot_id.epoch)
        data = bytes(partition.unaligned_records or b"")
        return msg.FetchSnapshotResponse(
            error,
            leader.leader_id,
            leader.leader_epoch,
            endpoint,
            snapshot_id,
            partition.position,
            size=partition.size,
            data=data,
        )
    diverging, snapshot = partition.diverging_epoch, partition.snapshot_id
    has_diverged = diverging.epoch >= 0 or diverging.end_offset >= 0
    return msg.FetchResponse(
        error,
        leader.leader_id,
        leader.leader_epoch,
        endpoint,
        partition.high_watermark,
        partition.log_start_offset,
        diverging.epoch if has_diverged else None,
        diverging.end_offset,
        SnapshotId(snapshot.end_offset, snapshot.epoch) if snapshot.end_offset >= 0 else None,
        batches=tuple(batch for batch, _, _ in read_batches(partition.records or b"", crc)),
    )


def _endpoints(listeners: Any) -> tuple[Endpoint, ...]:
    return tuple(Endpoint(each.name, each.host, each.port) for each in listeners)


def _leader_endpoint(body: Any, leader_id: int) -> Endpoint | None:
    for each in body.node_endpoints:
        if each.node_id == leader_id:
            return Endpoint("", each.host, each.port)
    return None
