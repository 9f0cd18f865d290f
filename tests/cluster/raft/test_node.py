from __future__ import annotations

from random import Random
from typing import Any

import pytest

from cluster.raft import effects as fx
from cluster.raft import messages as msg
from cluster.raft.log_facts import LogFacts
from cluster.raft.messages import Batch, Endpoint, LeaderChange, ReplicaKey, Voter
from cluster.raft.node import RaftNode
from cluster.raft.replica import FatalInconsistency, RaftConfig
from cluster.raft.replication import describe_replicas
from cluster.raft.roles import Candidate, Follower, Leader, Prospective, Resigned, Unattached
from cluster.raft.state import QuorumState
from cluster.raft.voters import VoterHistory, VoterSet
from pykafkacore.protocol.errors import Code

CLUSTER = "c"


def key(node_id: int) -> ReplicaKey:
    return ReplicaKey(node_id, bytes([node_id]) * 16)


def endpoint(node_id: int) -> Endpoint:
    return Endpoint("CONTROLLER", f"host{node_id}", 9093)


def voters(count: int) -> VoterSet:
    return VoterSet(tuple(Voter(key(i), (endpoint(i),)) for i in range(1, count + 1)))


def make(
    count: int = 3, node_id: int = 1, state: QuorumState | None = None, log: LogFacts | None = None, **config: Any
) -> RaftNode:
    settings = RaftConfig(node_id, key(node_id).directory_id, CLUSTER, (endpoint(node_id),), **config)
    log = log or LogFacts()
    return RaftNode(settings, Random(4), state or QuorumState(), log, VoterHistory(voters(count), 1))


def of(kind: type, effects: list[Any]) -> list[Any]:
    return [effect for effect in effects if isinstance(effect, kind)]


def sends(effects: list[Any], kind: type) -> list[fx.Send]:
    return [effect for effect in of(fx.Send, effects) if isinstance(effect.request, kind)]


def answered(node: RaftNode, request: Any, now: int = 0) -> Any:
    """The response to a request, given at once."""
    [reply] = of(fx.Reply, node.step(fx.Received(1, request), now))
    return reply.response


def vote(candidate: int, epoch: int, pre_vote: bool = False, last: tuple[int, int] = (0, 0), **fields: Any) -> Any:
    return msg.VoteRequest(
        fields.get("cluster_id", CLUSTER), fields.get("to", key(1)), key(candidate), epoch, *last, pre_vote
    )


def log_of(*entries: tuple[int, int]) -> LogFacts:
    log = LogFacts()
    for epoch, count in entries:
        log.append(Batch(log.end_offset, log.end_offset + count, epoch))
    log.flushed_offset = log.end_offset
    return log


def following(epoch: int = 3, **kwargs: Any) -> RaftNode:
    """Node 1, following node 2."""
    node = make(**kwargs)
    node.start(0)
    node.step(fx.Received(1, msg.BeginQuorumEpochRequest(CLUSTER, key(1), 2, epoch, (endpoint(2),))), 0)
    assert isinstance(node.role, Follower)
    return node


def leader(count: int = 3, log: LogFacts | None = None) -> tuple[RaftNode, list[Any], int]:
    """A node that has just become leader, the effects of that step, and the time."""
    node = make(count, log=log)
    node.start(0)
    assert isinstance(node.role, Unattached)
    now = node.role.election_deadline
    effects = node.step(fx.Tick(), now)
    for _ in range(2):
        [send] = [each for each in sends(effects, msg.VoteRequest) if each.to.node_id == 2]
        response = msg.QuorumResponse(leader_epoch=node.epoch, vote_granted=True)
        effects = node.step(fx.Responded(send.request_id, response), now)
    assert isinstance(node.role, Leader)
    return node, effects, now


def fetch(node: RaftNode, follower: int, offset: int, epoch: int, now: int, **fields: Any) -> list[Any]:
    request = msg.FetchRequest(
        CLUSTER, key(follower), node.epoch, offset, epoch, fields.get("high_watermark", node.high_watermark),
        fields.get("max_wait_ms", 500), 1000,
    )  # fmt: skip
    return node.step(fx.Received(follower, request), now)


# --- a quorum of one -------------------------------------------------------------------------------------------------


def test_a_quorum_of_one_leads_within_its_first_step() -> None:
    effects = make(1).start(0)
    kinds = [type(each) for each in effects if not isinstance(each, fx.LeaderChanged)]
    assert kinds == [fx.PersistQuorumState, fx.BecameLeader, fx.AppendToLog, fx.Flush]
    assert of(fx.PersistQuorumState, effects)[0].state == QuorumState(1, 1, key(1))
    [append] = of(fx.AppendToLog, effects)
    assert append.batches[0].control[0] == LeaderChange(1, (1,), (1,))


def test_a_quorum_of_one_commits_when_its_own_flush_is_done() -> None:
    node = make(1)
    [flush] = of(fx.Flush, node.start(0))
    assert node.high_watermark == 0
    assert fx.Committed(flush.end_offset) in node.step(fx.LogFlushed(flush.end_offset), 1)
    effects = node.step(fx.Propose(1, flush.end_offset, (b"a", b"b")), 2)
    [append], [flush] = of(fx.AppendToLog, effects), of(fx.Flush, effects)
    assert append.batches[0].records == (b"a", b"b")
    assert not of(fx.Committed, effects)
    assert fx.Committed(flush.end_offset) in node.step(fx.LogFlushed(flush.end_offset), 3)


def test_a_quorum_of_one_goes_one_epoch_up_at_each_start() -> None:
    node = make(1, state=QuorumState(7, 1, key(1)), log=log_of((7, 3)))
    effects = node.start(0)
    assert of(fx.BecameLeader, effects) == [fx.BecameLeader(8, 3)]


def test_the_first_leader_writes_the_voters_of_the_bootstrap_snapshot_into_the_log() -> None:
    node = make(1)
    [append] = of(fx.AppendToLog, node.start(0))
    assert append.batches[0].control[1:] == (msg.KRaftVersion(1), msg.Voters(node.voters.voters))
    assert node.history.voters_offset == 2


def test_a_static_quorum_writes_no_voters() -> None:
    settings = RaftConfig(1, b"d" * 16, CLUSTER, (endpoint(1),))
    history = VoterHistory(VoterSet((Voter(ReplicaKey(1)),)), 0)
    [append] = of(fx.AppendToLog, RaftNode(settings, Random(1), QuorumState(), LogFacts(), history).start(0))
    assert append.batches[0].control == (LeaderChange(1, (1,), (1,)),)


@pytest.mark.parametrize(("epoch", "base_offset"), [(1, 99), (2, 3)])
def test_a_proposal_for_another_epoch_or_place_is_refused(epoch: int, base_offset: int) -> None:
    node = make(1)
    node.start(0)
    effects = node.step(fx.Propose(epoch, base_offset, (b"a",)), 1)
    assert [type(each) for each in effects] == [fx.ProposalRefused]


# --- elections -------------------------------------------------------------------------------------------------------


def test_an_election_asks_first_then_votes_for_itself_then_leads() -> None:
    node = make()
    node.start(0)
    role = node.role
    assert isinstance(role, Unattached) and 1000 <= role.election_deadline < 2000
    effects = node.step(fx.Tick(), role.election_deadline)
    requests = sends(effects, msg.VoteRequest)
    assert [each.to.node_id for each in requests] == [2, 3]
    assert all(each.request.pre_vote and each.request.replica_epoch == 0 for each in requests)
    assert not of(fx.PersistQuorumState, effects)
    granted = msg.QuorumResponse(leader_epoch=0, vote_granted=True)
    effects = node.step(fx.Responded(requests[0].request_id, granted), 1500)
    assert isinstance(node.role, Candidate)
    assert isinstance(effects[0], fx.PersistQuorumState) and effects[0].state == QuorumState(1, -1, key(1))
    [real] = [each for each in sends(effects, msg.VoteRequest) if each.to.node_id == 2]
    assert not real.request.pre_vote and real.request.replica_epoch == 1
    effects = node.step(fx.Responded(real.request_id, msg.QuorumResponse(leader_epoch=1, vote_granted=True)), 1510)
    assert of(fx.BecameLeader, effects) == [fx.BecameLeader(1, 0)]
    assert [each.to.node_id for each in sends(effects, msg.BeginQuorumEpochRequest)] == [2, 3]


def test_a_peer_that_knows_no_pre_vote_is_asked_for_its_vote() -> None:
    node = make()
    node.start(0)
    requests = sends(node.step(fx.Tick(), 2000), msg.VoteRequest)
    node.step(fx.Responded(requests[0].request_id, msg.QuorumResponse(Code.UNSUPPORTED_VERSION)), 2001)
    assert isinstance(node.role, Candidate) and node.epoch == 1


def test_a_refused_pre_vote_leads_back_to_the_leader() -> None:
    node = following()
    requests = sends(node.step(fx.Tick(), 2000), msg.VoteRequest)
    assert isinstance(node.role, Prospective)
    for each in requests:
        node.step(fx.Responded(each.request_id, msg.QuorumResponse(leader_epoch=3)), 2001)
    assert isinstance(node.role, Follower) and (node.epoch, node.leader_id) == (3, 2)


def test_a_vote_is_durable_before_it_is_told() -> None:
    node = make()
    node.start(0)
    effects = node.step(fx.Received(1, vote(2, 1)), 0)
    kinds = [type(each) for each in effects if isinstance(each, fx.PersistQuorumState | fx.Reply)]
    assert kinds[-1] is fx.Reply and fx.PersistQuorumState in kinds
    assert of(fx.PersistQuorumState, effects)[-1].state == QuorumState(1, -1, key(2))


def test_a_vote_is_given_once_in_an_epoch() -> None:
    node = make()
    node.start(0)
    assert answered(node, vote(2, 1)).vote_granted
    assert answered(node, vote(2, 1)).vote_granted
    assert not answered(node, vote(3, 1)).vote_granted
    assert answered(node, vote(3, 2)).vote_granted


def test_a_restart_does_not_give_a_second_vote() -> None:
    node = make(state=QuorumState(5, -1, key(2)))
    node.start(0)
    assert not answered(node, vote(3, 5)).vote_granted
    assert answered(node, vote(2, 5)).vote_granted


@pytest.mark.parametrize(
    ("last", "granted"), [((2, 5), True), ((2, 6), True), ((3, 1), True), ((2, 4), False), ((1, 99), False)]
)
def test_a_vote_goes_only_to_a_log_that_lacks_nothing(last: tuple[int, int], granted: bool) -> None:
    for pre_vote in (True, False):
        node = make(log=log_of((1, 2), (2, 3)))
        node.start(0)
        assert answered(node, vote(2, 9, pre_vote, last)).vote_granted is granted


def test_a_pre_vote_changes_nothing_but_the_epoch() -> None:
    node = make()
    node.start(0)
    effects = node.step(fx.Received(1, vote(2, 4, True)), 0)
    assert of(fx.PersistQuorumState, effects)[0].state == QuorumState(4, -1, None)
    assert node.voted is None


def test_a_follower_that_hears_its_leader_refuses_pre_votes() -> None:
    node = following()
    assert answered(node, vote(3, 3, True), 10).vote_granted
    node.step(fx.Responded(first_fetch(node), msg.FetchResponse(0, 2, 3, endpoint(2), 0, 0)), 40)
    assert not answered(node, vote(3, 3, True), 50).vote_granted


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (vote(2, 3, cluster_id="other"), Code.INCONSISTENT_CLUSTER_ID),
        (vote(2, 2), Code.FENCED_LEADER_EPOCH),
        (vote(2, 3, last=(3, 1)), Code.INVALID_REQUEST),
        (vote(2, 3, True, last=(4, 1)), Code.INVALID_REQUEST),
        (vote(2, 3, last=(-1, 1)), Code.INVALID_REQUEST),
        (vote(2, 3, to=key(3)), Code.INVALID_VOTER_KEY),
        (vote(2, 3, to=ReplicaKey(1, b"wrong directory.")), Code.INVALID_VOTER_KEY),
    ],
)
def test_a_wrong_vote_request_is_refused(request_: Any, code: Code) -> None:
    node = make(state=QuorumState(3))
    node.start(0)
    response = answered(node, request_)
    assert (response.error, response.vote_granted) == (code, False)


def test_a_leader_that_restarts_resigns_from_its_epoch() -> None:
    node = make(state=QuorumState(5, 1, key(1)), log=log_of((5, 2)))
    effects = node.start(0)
    assert isinstance(node.role, Resigned)
    assert [each.to.node_id for each in sends(effects, msg.EndQuorumEpochRequest)] == [2, 3]
    assert not answered(node, vote(2, 5, last=(4, 9))).vote_granted
    node.step(fx.Tick(), 2000)
    assert node.epoch == 6 and isinstance(node.role, Unattached)


def test_two_leaders_in_one_epoch_stop_the_node() -> None:
    node = following()
    with pytest.raises(FatalInconsistency):
        node.step(fx.Received(1, msg.BeginQuorumEpochRequest(CLUSTER, key(1), 3, 3, (endpoint(3),))), 1)


def test_the_first_named_in_the_end_of_an_epoch_stands_at_once() -> None:
    node = following()
    request = msg.EndQuorumEpochRequest(CLUSTER, 2, 3, (key(1), key(3)), (endpoint(2),))
    node.step(fx.Received(1, request), 5)
    assert isinstance(node.role, Prospective)


@pytest.mark.parametrize(("candidates", "wait_ms"), [((3, 1), 500), ((3, 4, 1), 500), ((3, 4), 1000)])
def test_later_ones_wait_in_turn(candidates: tuple[int, ...], wait_ms: int) -> None:
    node = following()
    keys = tuple(key(each) for each in candidates)
    node.step(fx.Received(1, msg.EndQuorumEpochRequest(CLUSTER, 2, 3, keys, (endpoint(2),))), 5)
    assert isinstance(node.role, Follower) and node.role.fetch_deadline == 5 + wait_ms


# --- the leader ------------------------------------------------------------------------------------------------------


def test_records_are_committed_by_a_majority_that_has_flushed() -> None:
    node, effects, now = leader()
    end = of(fx.Flush, effects)[0].end_offset
    assert not of(fx.Committed, fetch(node, 2, end, 1, now)), "the leader itself has not flushed yet"
    assert of(fx.Committed, node.step(fx.LogFlushed(end), now)) == [fx.Committed(end)]


def test_nothing_of_an_earlier_epoch_is_committed_by_counting() -> None:
    node, _, now = leader(log=log_of((1, 4)))
    node.step(fx.LogFlushed(node.log.end_offset), now)
    assert not of(fx.Committed, fetch(node, 2, 4, 1, now))
    assert of(fx.Committed, fetch(node, 2, node.log.end_offset, node.epoch, now)) == [fx.Committed(node.log.end_offset)]


def test_a_follower_is_told_where_its_log_diverges() -> None:
    node, _, now = leader(log=log_of((1, 4), (3, 2)))
    [reply] = of(fx.Reply, fetch(node, 2, 6, 2, now))
    assert (reply.response.diverging_epoch, reply.response.diverging_end_offset) == (1, 4)
    assert reply.response.records_from is None


def test_a_follower_without_news_waits_for_records() -> None:
    node, effects, now = leader()
    end = node.log.end_offset
    assert not of(fx.Reply, fetch(node, 2, end, 1, now))
    [reply] = of(fx.Reply, node.step(fx.Propose(1, end, (b"a",)), now + 1))
    assert (reply.ticket, reply.response.records_from) == (2, end)


def test_a_follower_without_news_is_answered_when_its_time_is_up() -> None:
    node, _, now = leader()
    fetch(node, 2, node.log.end_offset, 1, now)
    assert not of(fx.Reply, node.step(fx.Tick(), now + 499))
    [reply] = of(fx.Reply, node.step(fx.Tick(), now + 500))
    assert (reply.response.error, reply.response.records_from) == (0, None)


def test_a_new_high_watermark_is_news_to_those_who_sent_theirs() -> None:
    node, _, now = leader()
    end = node.log.end_offset
    fetch(node, 3, end, 1, now, high_watermark=0)
    replies = of(fx.Reply, node.step(fx.LogFlushed(end), now))
    assert [(reply.ticket, reply.response.high_watermark) for reply in replies] == [(3, end)]


@pytest.mark.parametrize(
    ("epoch", "cluster_id", "code"),
    [
        (0, CLUSTER, Code.FENCED_LEADER_EPOCH),
        (9, CLUSTER, Code.UNKNOWN_LEADER_EPOCH),
        (1, "x", Code.INCONSISTENT_CLUSTER_ID),
    ],
)
def test_a_fetch_of_another_epoch_is_refused_and_told_the_leader(epoch: int, cluster_id: str, code: Code) -> None:
    node, _, now = leader()
    response = answered(node, msg.FetchRequest(cluster_id, key(2), epoch, 0, 0, None, 0, 1), now)
    assert (response.error, response.leader_id, response.leader_epoch) == (code, 1, 1)
    assert response.leader_endpoint == endpoint(1)


def test_only_the_leader_answers_fetches() -> None:
    node = following()
    response = answered(node, msg.FetchRequest(CLUSTER, key(3), 3, 0, 0, None, 0, 1))
    assert (response.error, response.leader_id) == (Code.NOT_LEADER_OR_FOLLOWER, 2)


def test_a_leader_without_a_majority_that_fetches_resigns() -> None:
    node, _, now = leader()
    node.step(fx.Tick(), now + 2999)
    assert isinstance(node.role, Leader)
    effects = node.step(fx.Tick(), now + 3000)
    assert isinstance(node.role, Resigned)
    assert of(fx.LostLeadership, effects) == [fx.LostLeadership(1)]


def test_a_leader_with_a_majority_that_fetches_stays() -> None:
    node, _, now = leader()
    fetch(node, 3, 0, 0, now + 2000)
    node.step(fx.Tick(), now + 3000)
    assert isinstance(node.role, Leader)


def test_a_leader_asked_to_resign_names_the_longest_logs_first() -> None:
    node, _, now = leader()
    fetch(node, 3, node.log.end_offset, 1, now)
    effects = node.step(fx.Resign(), now)
    requests = sends(effects, msg.EndQuorumEpochRequest)
    assert [each.to.node_id for each in requests] == [2, 3]
    assert requests[0].request.preferred_candidates == (key(3), key(2))
    [reply] = of(fx.Reply, effects)
    assert reply.response.error == Code.NOT_LEADER_OR_FOLLOWER


def test_a_leader_steps_down_for_a_higher_epoch() -> None:
    node, _, now = leader()
    effects = node.step(fx.Received(9, vote(2, 5, last=(1, 99))), now)
    assert of(fx.LostLeadership, effects) == [fx.LostLeadership(1)]
    assert of(fx.Reply, effects)[-1].response.vote_granted


def test_a_replica_that_lacks_the_start_of_the_log_is_sent_to_the_snapshot() -> None:
    node, _, now = leader(log=log_of((1, 4)))
    node.high_watermark = 4
    node.step(fx.SnapshotTaken(msg.SnapshotId(4, 1), 4), now)
    [reply] = of(fx.Reply, fetch(node, 2, 0, 0, now))
    assert reply.response.snapshot_id == msg.SnapshotId(4, 1)
    request = msg.FetchSnapshotRequest(CLUSTER, key(2), node.epoch, msg.SnapshotId(4, 1), 0, 100)
    response = answered(node, request, now)
    assert (response.error, response.snapshot_id, response.max_bytes) == (0, msg.SnapshotId(4, 1), 100)


# --- the follower ----------------------------------------------------------------------------------------------------


def first_fetch(node: RaftNode) -> int:
    return next(each for each, flight in node._in_flight.items() if flight.kind == "fetch")


def batch(base: int, end: int, epoch: int) -> Batch:
    return Batch(base, end, epoch, tuple(range(base, end)))


def test_a_voter_fetches_on_only_when_what_it_has_is_durable() -> None:
    node = following()
    response = msg.FetchResponse(0, 2, 3, endpoint(2), 0, 0, batches=(batch(0, 2, 3),))
    effects = node.step(fx.Responded(first_fetch(node), response), 5)
    [flush] = of(fx.Flush, effects)
    assert not sends(effects, msg.FetchRequest)
    [send] = sends(node.step(fx.LogFlushed(flush.end_offset, flush.truncation_count), 6), msg.FetchRequest)
    assert (send.request.fetch_offset, send.request.last_fetched_epoch) == (2, 3)


def test_an_observer_that_may_never_vote_does_not_wait_for_its_disk() -> None:
    node = make(3, 9, may_become_voter=False)
    node.start(0)
    node.step(fx.Received(1, msg.BeginQuorumEpochRequest(CLUSTER, key(9), 2, 3, (endpoint(2),))), 0)
    response = msg.FetchResponse(0, 2, 3, endpoint(2), 0, 0, batches=(batch(0, 2, 3),))
    assert sends(node.step(fx.Responded(first_fetch(node), response), 5), msg.FetchRequest)


def test_a_follower_commits_no_further_than_its_own_log() -> None:
    node = following()
    response = msg.FetchResponse(0, 2, 3, endpoint(2), 10, 0, batches=(batch(0, 2, 3),))
    assert of(fx.Committed, node.step(fx.Responded(first_fetch(node), response), 5)) == [fx.Committed(2)]


def test_a_follower_truncates_to_where_the_logs_part() -> None:
    node = following(log=log_of((1, 4), (2, 2)))
    response = msg.FetchResponse(0, 2, 3, endpoint(2), 0, 0, diverging_epoch=1, diverging_end_offset=3)
    effects = node.step(fx.Responded(first_fetch(node), response), 5)
    assert of(fx.TruncateLog, effects) == [fx.TruncateLog(3)]
    [send] = sends(effects, msg.FetchRequest)
    assert (send.request.fetch_offset, send.request.last_fetched_epoch) == (3, 1)


def test_a_divergence_below_what_is_committed_stops_the_node() -> None:
    node = following(log=log_of((1, 4)))
    node.high_watermark = 4
    response = msg.FetchResponse(0, 2, 3, endpoint(2), 0, 0, diverging_epoch=1, diverging_end_offset=3)
    with pytest.raises(FatalInconsistency):
        node.step(fx.Responded(first_fetch(node), response), 5)


def test_a_flush_from_before_a_truncation_says_nothing_about_what_came_after() -> None:
    node = following(log=log_of((1, 4)))
    diverging = msg.FetchResponse(0, 2, 3, endpoint(2), 0, 0, diverging_epoch=1, diverging_end_offset=2)
    node.step(fx.Responded(first_fetch(node), diverging), 5)
    response = msg.FetchResponse(0, 2, 3, endpoint(2), 0, 0, batches=(batch(2, 5, 3),))
    node.step(fx.Responded(first_fetch(node), response), 6)
    node.step(fx.LogFlushed(4, 0), 7)
    assert node.log.flushed_offset == 2


@pytest.mark.parametrize("wrong", [batch(1, 2, 3), batch(0, 2, 4), Batch(0, 0, 3)])
def test_a_batch_that_does_not_fit_is_not_taken(wrong: Batch) -> None:
    node = following()
    response = msg.FetchResponse(0, 2, 3, endpoint(2), 0, 0, batches=(wrong,))
    assert not of(fx.AppendToLog, node.step(fx.Responded(first_fetch(node), response), 5))


def test_a_snapshot_is_fetched_piece_by_piece_and_takes_the_logs_place() -> None:
    node = following()
    snapshot_id = msg.SnapshotId(40, 2)
    response = msg.FetchResponse(0, 2, 3, endpoint(2), 50, 40, snapshot_id=snapshot_id)
    [send] = sends(node.step(fx.Responded(first_fetch(node), response), 5), msg.FetchSnapshotRequest)
    assert send.request.position == 0
    piece = msg.FetchSnapshotResponse(0, 2, 3, endpoint(2), snapshot_id, 0, size=5, data=b"abc")
    effects = node.step(fx.Responded(send.request_id, piece), 6)
    assert of(fx.WriteSnapshotChunk, effects) == [fx.WriteSnapshotChunk(snapshot_id, 0, b"abc")]
    [send] = sends(effects, msg.FetchSnapshotRequest)
    last = msg.FetchSnapshotResponse(0, 2, 3, endpoint(2), snapshot_id, 3, size=5, data=b"de")
    effects = node.step(fx.Responded(send.request_id, last), 7)
    assert of(fx.LoadSnapshot, effects) == [fx.LoadSnapshot(snapshot_id)]
    effects = node.step(fx.SnapshotLoaded(snapshot_id, 1, voters(3).voters), 8)
    [send] = sends(effects, msg.FetchRequest)
    assert (send.request.fetch_offset, send.request.last_fetched_epoch) == (40, 2)
    assert node.high_watermark == 40


def test_a_snapshot_that_is_gone_is_asked_for_again_from_the_start() -> None:
    node = following()
    response = msg.FetchResponse(0, 2, 3, endpoint(2), 50, 40, snapshot_id=msg.SnapshotId(40, 2))
    [send] = sends(node.step(fx.Responded(first_fetch(node), response), 5), msg.FetchSnapshotRequest)
    gone = msg.FetchSnapshotResponse(Code.SNAPSHOT_NOT_FOUND, 2, 3, endpoint(2))
    node.step(fx.Responded(send.request_id, gone), 6)
    assert sends(node.step(fx.Tick(), 30), msg.FetchRequest)


def test_a_voter_whose_leader_is_silent_asks_for_votes() -> None:
    node = following()
    node.step(fx.Tick(), 2000)
    assert isinstance(node.role, Prospective)


def test_an_observer_whose_leader_is_silent_looks_for_another() -> None:
    node = make(3, 9)
    node.start(0)
    node.step(fx.Received(1, msg.BeginQuorumEpochRequest(CLUSTER, key(9), 2, 3, (endpoint(2),))), 0)
    node.step(fx.Tick(), 2000)
    assert isinstance(node.role, Unattached)
    assert sends(node.step(fx.Tick(), 2100), msg.FetchRequest)


def test_a_node_finds_the_leader_through_a_bootstrap_server() -> None:
    settings = RaftConfig(9, key(9).directory_id, CLUSTER, (), (("boot", 1234),))
    node = RaftNode(settings, Random(1), QuorumState(), LogFacts(), VoterHistory(VoterSet(), 1))
    [send] = sends(node.start(0), msg.FetchRequest)
    assert (send.to.host, send.to.port) == ("boot", 1234)
    response = msg.FetchResponse(Code.NOT_LEADER_OR_FOLLOWER, 2, 6, endpoint(2))
    effects = node.step(fx.Responded(send.request_id, response), 3)
    assert isinstance(node.role, Follower) and (node.epoch, node.leader_id) == (6, 2)
    [send] = sends(effects, msg.FetchRequest)
    assert send.to == fx.Destination(2, "host2", 9093)


def test_a_request_that_is_none_of_rafts_is_a_bug() -> None:
    node = make()
    node.start(0)
    with pytest.raises(TypeError):
        node.step(fx.Received(1, object()), 0)


def test_a_leader_describes_voters_and_observers() -> None:
    node, _, now = leader()
    end = node.log.end_offset
    fetch(node, 2, end, 1, now + 5)
    fetch(node, 9, 0, 0, now + 6)
    voters_, observers = describe_replicas(node, now + 7)
    assert [(each.key, each.fetch_offset, each.last_fetch_ms) for each in voters_] == [
        (key(1), end, now + 7), (key(2), end, now + 5), (key(3), -1, -1)
    ]  # fmt: skip
    assert [(each.key, each.last_caught_up_ms) for each in observers] == [(key(9), -1)]


def test_who_leads_nothing_describes_nobody() -> None:
    assert describe_replicas(following(), 0) == ([], [])
