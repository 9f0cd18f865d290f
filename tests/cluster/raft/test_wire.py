from __future__ import annotations

from typing import Any

import pytest

from cluster.raft import messages as msg
from cluster.raft import wire
from cluster.raft.batches import encode_batch
from cluster.raft.messages import Batch, Endpoint, KRaftVersion, ReplicaKey, SnapshotId, Voter
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import ApiError, Code

ENDPOINT = Endpoint("", "host", 9093)
LISTENERS = (Endpoint("CONTROLLER", "host", 9093),)
ONE, TWO = ReplicaKey(1, b"1" * 16), ReplicaKey(2, b"2" * 16)

REQUESTS: list[Any] = [
    msg.VoteRequest("c", TWO, ONE, 5, 4, 100, True),
    msg.BeginQuorumEpochRequest("c", TWO, 1, 5, LISTENERS),
    msg.EndQuorumEpochRequest("c", 1, 5, (TWO, ONE), LISTENERS),
    msg.FetchRequest("c", ONE, 5, 100, 4, 90, 500, 1000),
    msg.FetchRequest("c", ONE, 5, 100, 4, None, 500, 1000),
    msg.FetchSnapshotRequest("c", ONE, 5, SnapshotId(100, 4), 7, 1000),
    msg.UpdateVoterRequest("c", 5, Voter(ONE, LISTENERS, 0, 1)),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda each: type(each).__name__)
def test_a_request_arrives_as_it_was_sent(request_: Any) -> None:
    api_key = wire.API_KEY_OF[type(request_)]
    api_version = api(api_key).latest_served()
    sent_key, body = wire.request_to(request_, api_version)
    assert sent_key == api_key
    message = api(api_key).request
    arrived = message.decode(message.encode(body, api_version), api_version)
    assert wire.request_from(api_key, api_version, arrived) == request_


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda each: type(each).__name__)
def test_every_version_can_be_said(request_: Any) -> None:
    api_key = wire.API_KEY_OF[type(request_)]
    first = 12 if api_key == wire.FETCH else 2 if isinstance(request_, msg.VoteRequest) else 0
    for api_version in range(first, api(api_key).latest_served() + 1):
        _, body = wire.request_to(request_, api_version)
        message = api(api_key).request
        arrived = wire.request_from(
            api_key, api_version, message.decode(message.encode(body, api_version), api_version)
        )
        assert type(arrived) is type(request_)


@pytest.mark.parametrize("api_key", [wire.VOTE, wire.BEGIN, wire.END])
def test_a_quorum_answer_arrives_as_it_was_given(api_key: int) -> None:
    answer = msg.QuorumResponse(int(Code.FENCED_LEADER_EPOCH), 3, 9, ENDPOINT, api_key == wire.VOTE)
    version = api(api_key).latest_served()
    message = api(api_key).response
    body = message.decode(message.encode(wire.response_to(api_key, version, answer), version), version)
    assert wire.response_from(api_key, body) == answer


def test_voter_changes_are_asked_and_answered() -> None:
    add = api(wire.ADD_VOTER).request
    body = add(
        cluster_id="c", timeout_ms=9, voter_id=2, voter_directory_id=TWO.directory_id,
        listeners=[add.Listener(name="CONTROLLER", host="host", port=9093)], ack_when_committed=False,
    )  # fmt: skip
    assert wire.request_from(wire.ADD_VOTER, 1, body) == msg.AddVoterRequest("c", TWO, LISTENERS, 9, False)
    remove = api(wire.REMOVE_VOTER).request(cluster_id="c", voter_id=2, voter_directory_id=TWO.directory_id)
    assert wire.request_from(wire.REMOVE_VOTER, 0, remove) == msg.RemoveVoterRequest("c", TWO)
    answer = wire.response_to(wire.ADD_VOTER, 0, msg.QuorumResponse(int(Code.DUPLICATE_VOTER), message="twice"))
    assert (answer.error_code, answer.error_message) == (Code.DUPLICATE_VOTER, "twice")
    answer = wire.response_to(wire.UPDATE_VOTER, 0, msg.QuorumResponse(0, 3, 9, ENDPOINT))
    assert wire.response_from(wire.UPDATE_VOTER, answer) == msg.QuorumResponse(0, 3, 9, ENDPOINT)


def fetched(answer: msg.FetchResponse, records: bytes = b"", version: int = 17) -> msg.FetchResponse:
    message = api(wire.FETCH).response
    body = wire.fetch_response_to(version, answer, records)
    return wire.response_from(wire.FETCH, message.decode(message.encode(body, version), version))


def test_fetched_records_arrive_as_batches() -> None:
    control = Batch(7, 8, 5, control=(KRaftVersion(1),))
    data = Batch(8, 10, 5, records=(b"a", b"b"))
    answer = msg.FetchResponse(0, 3, 5, ENDPOINT, 6, 0, records_from=7, max_bytes=100)
    arrived = fetched(answer, encode_batch(control, 1) + encode_batch(data, 1))
    assert (arrived.high_watermark, arrived.leader_id, arrived.leader_endpoint) == (6, 3, ENDPOINT)
    first, second = arrived.batches
    assert (first.control, first.end_offset) == ((KRaftVersion(1),), 8)
    assert (second.records, second.leader_epoch) == ((b"a", b"b"), 5)


def test_a_divergence_arrives() -> None:
    arrived = fetched(msg.FetchResponse(0, 3, 5, ENDPOINT, 6, 0, diverging_epoch=0, diverging_end_offset=0))
    assert (arrived.diverging_epoch, arrived.diverging_end_offset, arrived.snapshot_id) == (0, 0, None)


def test_a_snapshot_id_arrives() -> None:
    arrived = fetched(msg.FetchResponse(0, 3, 5, ENDPOINT, 6, 0, snapshot_id=SnapshotId(40, 2)))
    assert (arrived.snapshot_id, arrived.diverging_epoch) == (SnapshotId(40, 2), None)


def test_pieces_of_snapshots_arrive() -> None:
    answer = msg.FetchSnapshotResponse(0, 3, 5, ENDPOINT, SnapshotId(40, 2), 7, 0, 100, b"piece")
    message = api(wire.FETCH_SNAPSHOT).response
    body = message.decode(message.encode(wire.snapshot_response_to(1, answer), 1), 1)
    assert wire.response_from(wire.FETCH_SNAPSHOT, body) == answer


def test_the_range_of_kraft_versions_is_read_off_the_features() -> None:
    message = api(wire.API_VERSIONS).response
    feature = message.SupportedFeatureKey(name="kraft.version", min_version=0, max_version=1)
    answer = wire.response_from(wire.API_VERSIONS, message(supported_features=[feature]))
    assert answer == msg.ApiVersionsProbed(0, 0, 1)


@pytest.mark.parametrize("api_key", [wire.FETCH, wire.VOTE, wire.BEGIN, wire.END, wire.FETCH_SNAPSHOT])
def test_a_request_without_topics_is_refused_not_fatal(api_key: int) -> None:
    with pytest.raises(ApiError) as caught:
        wire.request_from(api_key, api(api_key).latest_served(), api(api_key).request())
    assert caught.value.code == Code.INVALID_REQUEST


@pytest.mark.parametrize("api_key", [wire.FETCH, wire.VOTE, wire.BEGIN, wire.END, wire.FETCH_SNAPSHOT])
def test_an_answer_without_topics_is_an_error_not_a_crash(api_key: int) -> None:
    empty = wire.response_from(api_key, api(api_key).response())
    assert empty.error == Code.INVALID_REQUEST
    refused = wire.response_from(api_key, wire.error_response(api_key, Code.INCONSISTENT_CLUSTER_ID))
    assert refused.error == Code.INCONSISTENT_CLUSTER_ID


def test_another_topic_or_partition_is_refused() -> None:
    message = api(wire.VOTE).request
    for name, index in (("other", 0), ("__cluster_metadata", 1)):
        partition = message.PartitionData(partition_index=index)
        body = message(topics=[message.TopicData(topic_name=name, partitions=[partition])])
        with pytest.raises(ApiError):
            wire.request_from(wire.VOTE, 2, body)
