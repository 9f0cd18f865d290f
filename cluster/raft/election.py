"""Votes, and the requests that begin and end a leader's epoch. Decides on the node's state; the node makes transitions.

INVARIANT: at most one vote per epoch, and never for a log that lacks what this one holds.
Not here: replication, and when a follower gives up on its leader (replication.py).
Sources: KIP-595, KIP-996; PROTOCOL E.3 gives the order of the checks, which peers can see and so is kept.
"""

from __future__ import annotations

from cluster.raft import effects as fx
from cluster.raft import messages as msg
from cluster.raft.messages import NO_NODE
from cluster.raft.replica import FatalInconsistency, Replica
from cluster.raft.roles import Candidate, Follower, Leader, Prospective, Resigned, Unattached
from pykafkacore.protocol.errors import Code


def on_vote_request(node: Replica, request: msg.VoteRequest, ticket: int, now: int) -> None:
    error = _vote_error(node, request)
    granted = False
    if error == Code.NONE:
        if request.replica_epoch > node.epoch:
            node.to_unattached(request.replica_epoch, now)
        if not node.is_my_key(request.to):
            error = Code.INVALID_VOTER_KEY
        else:
            granted = would_pre_vote(node, request) if request.pre_vote else _vote(node, request, now)
    node.emit(fx.Reply(ticket, node.quorum_response(error, vote_granted=granted)))


def _vote_error(node: Replica, request: msg.VoteRequest) -> Code:
    if request.cluster_id is not None and request.cluster_id != node.config.cluster_id:
        return Code.INCONSISTENT_CLUSTER_ID
    if min(request.last_epoch, request.last_offset, request.replica_epoch, request.candidate.node_id) < 0:
        return Code.INVALID_REQUEST
    # A candidate has raised its epoch above its log's; one that only asks has not.
    if request.last_epoch > request.replica_epoch or (
        not request.pre_vote and request.last_epoch == request.replica_epoch
    ):
        return Code.INVALID_REQUEST
    if request.replica_epoch < node.epoch:
        return Code.FENCED_LEADER_EPOCH
    return Code.NONE


def would_pre_vote(node: Replica, request: msg.VoteRequest) -> bool:
    role = node.role
    if isinstance(role, Leader) or (isinstance(role, Follower) and role.has_fetched):
        return False
    return node.log.admits(request.last_epoch, request.last_offset)


def _vote(node: Replica, request: msg.VoteRequest, now: int) -> bool:
    if not isinstance(node.role, Unattached | Prospective):
        # KAFKA: a candidate that is asked again by itself does not happen; followers have a leader in this epoch.
        return False
    if node.voted is not None:
        return node.voted == request.candidate
    if node.leader_id != NO_NODE or not node.log.admits(request.last_epoch, request.last_offset):
        return False
    node.add_vote(request.candidate, now)
    return True


def on_vote_response(
    node: Replica, peer: int, response: msg.QuorumResponse | None, context: tuple[int, bool], now: int
) -> None:
    epoch, pre_vote = context
    role = node.role
    if response is None:
        node.back_off(peer, "vote", now)
        return
    if response.error == Code.UNSUPPORTED_VERSION:
        # A peer that knows no pre-vote cannot be asked: stand for election as before KIP-996.
        if pre_vote and isinstance(role, Prospective) and epoch == node.epoch:
            node.to_candidate(now)
        return
    if node.learn(response.leader_id, response.leader_epoch, response.leader_endpoint, now):
        return
    if epoch != node.epoch or not isinstance(role, Prospective if pre_vote else Candidate):
        return
    if response.error != Code.NONE:
        node.back_off(peer, "vote", now, node.config.election_timeout_ms)
    elif peer in role.votes and role.votes[peer] is None:
        role.votes[peer] = response.vote_granted


def poll_election(node: Replica, role: Prospective | Candidate, now: int) -> None:
    granted_count = sum(1 for vote in role.votes.values() if vote)
    refused_count = sum(1 for vote in role.votes.values() if vote is False)
    is_lost = refused_count > len(role.votes) - role.majority
    if granted_count >= role.majority:
        node.to_candidate(now) if isinstance(role, Prospective) else node.to_leader(now)
        return
    if isinstance(role, Prospective) and (is_lost or now >= role.election_deadline):
        leader_id = node.leader_id
        if leader_id not in (NO_NODE, node.key.node_id) and node.endpoint_of_node(leader_id) is not None:
            node.to_follower(node.epoch, leader_id, node.leader_endpoint, now)
        else:
            node.to_unattached(node.epoch, now, NO_NODE if leader_id == node.key.node_id else leader_id)
        return
    if isinstance(role, Candidate) and now >= role.election_deadline:
        node.to_prospective(now)
        return
    _ask_for_votes(node, role, now)


def _ask_for_votes(node: Replica, role: Prospective | Candidate, now: int) -> None:
    pre_vote = isinstance(role, Prospective)
    for voter in node.voters.voters:
        node_id = voter.key.node_id
        if role.votes.get(node_id, False) is not None or not node.can_send(node_id, "vote", now):
            continue
        to = node.destination(node_id)
        if to is None:
            continue
        request = msg.VoteRequest(
            node.config.cluster_id, voter.key, node.key, node.epoch, node.log.last_epoch, node.log.end_offset, pre_vote
        )
        node.send(to, "vote", request, now, (node.epoch, pre_vote))


# --- beginning and ending an epoch ---------------------------------------------------------------------------------


def on_begin_quorum_epoch(node: Replica, request: msg.BeginQuorumEpochRequest, ticket: int, now: int) -> None:
    error = Code.NONE
    if request.cluster_id is not None and request.cluster_id != node.config.cluster_id:
        error = Code.INCONSISTENT_CLUSTER_ID
    elif request.leader_epoch < node.epoch:
        error = Code.FENCED_LEADER_EPOCH
    elif request.leader_id < 0 or request.leader_id == node.key.node_id:
        error = Code.INVALID_REQUEST
    else:
        # KAFKA: the leader is taken up before the voter key is checked, so that a stale voter set cannot hide it.
        _take_up_leader(node, request.leader_id, request.leader_epoch, request.leader_endpoints, now)
        if not node.is_my_key(request.to):
            error = Code.INVALID_VOTER_KEY
    node.emit(fx.Reply(ticket, node.quorum_response(error)))


def _take_up_leader(
    node: Replica, leader_id: int, epoch: int, endpoints: tuple[msg.Endpoint, ...], now: int
) -> None:
    listener = node.config.endpoints[0].name if node.config.endpoints else ""
    endpoint = next((each for each in endpoints if each.name == listener), endpoints[0] if endpoints else None)
    if epoch == node.epoch and node.leader_id not in (NO_NODE, leader_id):
        raise FatalInconsistency(f"epoch {epoch} has two leaders: {node.leader_id} and {leader_id}")
    if epoch == node.epoch and isinstance(node.role, Follower):
        if endpoint is not None and node.leader_endpoint != endpoint:
            node.leader_endpoint = endpoint
        return
    if endpoint is None and node.endpoint_of_node(leader_id) is None:
        if epoch > node.epoch or node.leader_id == NO_NODE:
            node.to_unattached(epoch, now, leader_id)
        return
    node.to_follower(epoch, leader_id, endpoint, now)


def on_begin_quorum_epoch_response(
    node: Replica, peer: int, response: msg.QuorumResponse | None, context: None, now: int
) -> None:
    if response is not None and node.learn(response.leader_id, response.leader_epoch, response.leader_endpoint, now):
        return
    role = node.role
    if isinstance(role, Leader) and (response is None or response.error != Code.NONE):
        # Not told yet: try again after the back-off rather than after half a fetch timeout.
        for progress in role.progress.values():
            if progress.key.node_id == peer:
                progress.begin_epoch_at = min(progress.begin_epoch_at, now + 5 * node.config.retry_backoff_ms)


def on_end_quorum_epoch(node: Replica, request: msg.EndQuorumEpochRequest, ticket: int, now: int) -> None:
    error = Code.NONE
    if request.cluster_id is not None and request.cluster_id != node.config.cluster_id:
        error = Code.INCONSISTENT_CLUSTER_ID
    elif request.leader_epoch < node.epoch:
        error = Code.FENCED_LEADER_EPOCH
    elif request.leader_id < 0 or request.leader_id == node.key.node_id:
        error = Code.INVALID_REQUEST
    else:
        _take_up_leader(node, request.leader_id, request.leader_epoch, request.leader_endpoints, now)
        _hasten_election(node, request.preferred_candidates, now)
    node.emit(fx.Reply(ticket, node.quorum_response(error)))


def _hasten_election(node: Replica, candidates: tuple[msg.ReplicaKey, ...], now: int) -> None:
    """The first in the leader's list stands at once, each later one waits twice as long as the one before."""
    role = node.role
    if not node.is_voter or not isinstance(role, Follower | Unattached):
        return
    ids = [candidate.node_id for candidate in candidates]
    position = ids.index(node.key.node_id) if node.key.node_id in ids else -1
    if position == 0:
        node.to_prospective(now)
        return
    backoff_max = node.config.election_backoff_max_ms
    delay = backoff_max if position < 0 else min(backoff_max, (backoff_max >> min(len(ids) - 1, 30)) << (position - 1))
    if isinstance(role, Follower):
        role.fetch_deadline = min(role.fetch_deadline, now + delay)
    else:
        role.election_deadline = min(role.election_deadline, now + delay)


def poll_resigned(node: Replica, role: Resigned, now: int) -> None:
    if now >= role.election_deadline:
        # One epoch up, because in this one it must never follow, vote or lead again.
        node.to_unattached(node.epoch + 1, now)
        return
    for node_id in sorted(role.unacknowledged):
        to = node.destination(node_id)
        if to is None or not node.can_send(node_id, "end_quorum_epoch", now):
            continue
        request = msg.EndQuorumEpochRequest(
            node.config.cluster_id, node.key.node_id, node.epoch, role.preferred_candidates, node.config.endpoints
        )
        node.send(to, "end_quorum_epoch", request, now, node.epoch)


def on_end_quorum_epoch_response(
    node: Replica, peer: int, response: msg.QuorumResponse | None, context: int, now: int
) -> None:
    if response is None:
        node.back_off(peer, "end_quorum_epoch", now)
        return
    if node.learn(response.leader_id, response.leader_epoch, response.leader_endpoint, now):
        return
    if isinstance(node.role, Resigned) and context == node.epoch:
        node.role.unacknowledged.discard(peer)
