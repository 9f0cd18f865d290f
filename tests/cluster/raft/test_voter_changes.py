from __future__ import annotations

from typing import Any

import pytest

from cluster.raft import effects as fx
from cluster.raft import messages as msg
from cluster.raft.messages import Endpoint, ReplicaKey
from cluster.raft.node import RaftNode
from cluster.raft.roles import Leader, Resigned
from pykafkacore.protocol.errors import Code
from tests.cluster.raft.test_node import CLUSTER, answered, endpoint, fetch, key, leader, make, of, sends


def committed_leader(count: int = 3) -> tuple[RaftNode, int]:
    node, effects, now = leader(count)
    commit(node, now)
    return node, now


def commit(node: RaftNode, now: int, follower: int = 2) -> list[Any]:
    """Everything is flushed here and on one follower."""
    effects = node.step(fx.LogFlushed(node.log.end_offset), now)
    return effects + fetch(node, follower, node.log.end_offset, node.epoch, now)


def add(node: RaftNode, now: int, node_id: int = 4, **fields: Any) -> list[Any]:
    request = msg.AddVoterRequest(
        CLUSTER, fields.get("voter", key(node_id)), fields.get("endpoints", (endpoint(node_id),)), 5000,
        fields.get("ack_when_committed", True),
    )  # fmt: skip
    return node.step(fx.Received(77, request), now)


def answer_of(effects: list[Any], ticket: int = 77) -> Any:
    [reply] = [each for each in of(fx.Reply, effects) if each.ticket == ticket]
    return reply.response


def probed(node: RaftNode, effects: list[Any], now: int, low: int = 0, high: int = 1) -> list[Any]:
    [send] = sends(effects, msg.ApiVersionsProbe)
    return node.step(fx.Responded(send.request_id, msg.ApiVersionsProbed(0, low, high)), now)


def test_a_voter_is_added_when_it_answers_has_caught_up_and_the_change_is_committed() -> None:
    node, now = committed_leader()
    effects = add(node, now)
    assert not of(fx.Reply, effects)
    assert not of(fx.AppendToLog, probed(node, effects, now))
    effects = fetch(node, 4, node.log.end_offset, node.epoch, now)
    [append] = of(fx.AppendToLog, effects)
    [record] = append.batches[0].control
    assert isinstance(record, msg.Voters) and [each.key.node_id for each in record.voters] == [1, 2, 3, 4]
    assert node.voters.ids == (1, 2, 3, 4), "a voter set holds from when it is appended"
    commit(node, now)
    assert answer_of(commit(node, now, 3)).error == 0


def test_an_impatient_client_is_answered_when_the_change_is_appended() -> None:
    node, now = committed_leader()
    probed(node, add(node, now, ack_when_committed=False), now)
    assert answer_of(fetch(node, 4, node.log.end_offset, node.epoch, now)).error == 0


def test_a_voter_that_does_not_catch_up_is_given_up() -> None:
    node, now = committed_leader()
    probed(node, add(node, now), now)
    for step in range(1, 5):
        fetch(node, 2, node.log.end_offset, 1, now + step * 1000)
    assert answer_of(node.step(fx.Tick(), now + 5000)).error == Code.REQUEST_TIMED_OUT
    assert isinstance(node.role, Leader) and node.role.change is None


def test_a_replica_of_the_same_id_with_another_disk_does_not_count_as_caught_up() -> None:
    node, now = committed_leader()
    probed(node, add(node, now), now)
    request = msg.FetchRequest(
        CLUSTER, ReplicaKey(4, b"another disk...."), node.epoch, node.log.end_offset, node.epoch, 0, 0, 1
    )
    assert not of(fx.AppendToLog, node.step(fx.Received(1, request), now))


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"node_id": 2}, Code.DUPLICATE_VOTER),
        ({"endpoints": (Endpoint("OTHER", "h", 1),)}, Code.INVALID_REQUEST),
        ({"voter": ReplicaKey(4)}, Code.INVALID_REQUEST),
    ],
)
def test_wrong_voters_are_refused(fields: dict[str, Any], code: Code) -> None:
    node, now = committed_leader()
    assert answer_of(add(node, now, **fields)).error == code


def test_a_voter_that_does_not_support_the_present_kraft_version_is_refused() -> None:
    node, now = committed_leader()
    assert answer_of(probed(node, add(node, now), now, 0, 0)).error == Code.INVALID_REQUEST


def test_no_change_starts_before_the_leaders_epoch_is_committed() -> None:
    node, _, now = leader()
    assert answer_of(add(node, now)).error == Code.REQUEST_TIMED_OUT


def test_one_change_at_a_time() -> None:
    node, now = committed_leader()
    add(node, now)
    response = answered(node, msg.RemoveVoterRequest(CLUSTER, key(3)), now)
    assert response.error == Code.REQUEST_TIMED_OUT


def test_a_follower_changes_nothing() -> None:
    node = make()
    node.start(0)
    assert answer_of(add(node, 0)).error == Code.NOT_LEADER_OR_FOLLOWER


def test_a_removed_voter_does_not_count_any_more() -> None:
    node, now = committed_leader()
    node.step(fx.Received(77, msg.RemoveVoterRequest(CLUSTER, key(3))), now)
    assert node.voters.ids == (1, 2)
    assert answer_of(commit(node, now)).error == 0


def test_a_leader_that_removes_itself_leads_until_that_is_committed() -> None:
    node, now = committed_leader()
    node.step(fx.Received(77, msg.RemoveVoterRequest(CLUSTER, key(1))), now)
    assert isinstance(node.role, Leader)
    node.step(fx.LogFlushed(node.log.end_offset), now)
    fetch(node, 2, node.log.end_offset, node.epoch, now)
    assert isinstance(node.role, Leader), "half of the two that remain"
    assert answer_of(fetch(node, 3, node.log.end_offset, node.epoch, now)).error == 0
    assert isinstance(node.role, Resigned)


@pytest.mark.parametrize("voter", [key(9), ReplicaKey(3, b"another disk....")])
def test_only_voters_can_be_removed(voter: ReplicaKey) -> None:
    node, now = committed_leader()
    assert answered(node, msg.RemoveVoterRequest(CLUSTER, voter), now).error == Code.VOTER_NOT_FOUND


def test_losing_leadership_answers_what_is_under_way() -> None:
    node, now = committed_leader()
    add(node, now)
    assert answer_of(node.step(fx.Resign(), now)).error == Code.NOT_LEADER_OR_FOLLOWER


def test_a_voter_with_a_new_address_tells_each_leader() -> None:
    node = make()
    node.config = type(node.config)(1, key(1).directory_id, CLUSTER, (Endpoint("CONTROLLER", "moved", 9093),))
    node.start(0)
    node.step(fx.Received(1, msg.BeginQuorumEpochRequest(CLUSTER, key(1), 2, 3, (endpoint(2),))), 0)
    found = []
    for now in range(0, 4001, 500):
        for flight in [each for each, flight in node._in_flight.items() if flight.kind == "fetch"]:
            fetched = node.step(fx.Responded(flight, msg.FetchResponse(0, 2, 3, endpoint(2), 0, 0)), now)
            found += sends(fetched, msg.UpdateVoterRequest)
        found += sends(node.step(fx.Tick(), now), msg.UpdateVoterRequest)
    [send] = found
    assert send.request.voter.endpoints == (Endpoint("CONTROLLER", "moved", 9093),)


def test_an_updated_voter_is_written_after_it_confirms_what_it_supports() -> None:
    node, now = committed_leader()
    moved = msg.Voter(key(3), (Endpoint("CONTROLLER", "moved", 9093),), 0, 1)
    effects = node.step(fx.Received(77, msg.UpdateVoterRequest(CLUSTER, node.epoch, moved)), now)
    [append] = of(fx.AppendToLog, probed(node, effects, now))
    assert moved in append.batches[0].control[0].voters
    assert answer_of(commit(node, now)).error == 0
