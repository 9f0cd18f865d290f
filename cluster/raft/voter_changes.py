"""Adding, removing and updating voters, one at a time (KIP-853): the leader's side, and a voter's news of itself.

    add      probe (ask the new voter's kraft.version range) -> catch_up (it has fetched up to here) -> commit
    update   probe -> commit
    remove   commit

INVARIANT: no change starts before a record of the leader's own epoch, and the change before it, are committed: else two
majorities could exist that share no member.
Every failure is answered with the code that Kafka gives; REQUEST_TIMED_OUT asks for a retry.
"""

from __future__ import annotations

from msgspec.structs import replace

from cluster.raft import effects as fx
from cluster.raft import messages as msg
from cluster.raft.messages import Voter
from cluster.raft.replica import Replica
from cluster.raft.roles import Follower, Leader, VoterChange
from cluster.raft.voters import VoterSet
from pykafkacore.protocol.errors import Code

UPDATE_TIMEOUT_MS = 30_000


def on_add_voter(node: Replica, request: msg.AddVoterRequest, ticket: int, now: int) -> None:
    error, message = _change_error(node, request.cluster_id)
    if error == Code.NONE and node.voters.get(request.voter.node_id) is not None:
        error, message = Code.DUPLICATE_VOTER, f"node {request.voter.node_id} is a voter already"
    if error == Code.NONE and not _has_default_listener(node, request.endpoints):
        error, message = Code.INVALID_REQUEST, f"no endpoint for listener {node.config.endpoints[0].name}"
    if error == Code.NONE and (request.voter.node_id < 0 or request.voter.directory_id == msg.ZERO_UUID):
        error, message = Code.INVALID_REQUEST, "a voter needs a node id and a directory id"
    if error != Code.NONE:
        node.emit(fx.Reply(ticket, node.quorum_response(error, message)))
        return
    assert isinstance(node.role, Leader)
    voter = Voter(request.voter, request.endpoints)
    change = VoterChange(ticket, "add", voter, now + max(0, request.timeout_ms), "probe")
    if not request.ack_when_committed:
        change.kind = "add_ack_at_append"
    node.role.change = change
    _probe(node, change, now)


def on_remove_voter(node: Replica, request: msg.RemoveVoterRequest, ticket: int, now: int) -> None:
    error, message = _change_error(node, request.cluster_id)
    voter = node.voters.get(request.voter.node_id)
    if error == Code.NONE and (voter is None or voter.key != request.voter):
        error, message = Code.VOTER_NOT_FOUND, f"node {request.voter.node_id} with that directory id is no voter"
    if error == Code.NONE and len(node.voters.voters) == 1:
        error, message = Code.INVALID_REQUEST, "the last voter cannot be removed"
    if error != Code.NONE:
        node.emit(fx.Reply(ticket, node.quorum_response(error, message)))
        return
    assert isinstance(node.role, Leader) and voter is not None
    node.role.change = VoterChange(ticket, "remove", voter, now + UPDATE_TIMEOUT_MS, "commit")
    _append_voters(node, node.role.change, node.voters.without(voter.key))


def on_update_voter(node: Replica, request: msg.UpdateVoterRequest, ticket: int, now: int) -> None:
    error = node.leader_error(request.cluster_id, request.leader_epoch)
    message = ""
    if error == Code.NONE and node.history.kraft_version == 0:
        # KAFKA: under kraft.version 0 the news is only kept in memory, for a later upgrade; we have no use for it yet.
        node.emit(fx.Reply(ticket, node.quorum_response()))
        return
    if error == Code.NONE:
        error, message = _change_error(node, request.cluster_id)
    voter = node.voters.get(request.voter.key.node_id)
    if error == Code.NONE and (voter is None or voter.key != request.voter.key):
        error, message = Code.VOTER_NOT_FOUND, f"node {request.voter.key.node_id} with that directory id is no voter"
    if error == Code.NONE and not _has_default_listener(node, request.voter.endpoints):
        error, message = Code.INVALID_REQUEST, f"no endpoint for listener {node.config.endpoints[0].name}"
    if error != Code.NONE:
        node.emit(fx.Reply(ticket, node.quorum_response(error, message)))
        return
    assert isinstance(node.role, Leader)
    node.role.change = VoterChange(ticket, "update", request.voter, now + UPDATE_TIMEOUT_MS, "probe")
    _probe(node, node.role.change, now)


def _change_error(node: Replica, cluster_id: str | None) -> tuple[Code, str]:
    if cluster_id is not None and cluster_id != node.config.cluster_id:
        return Code.INCONSISTENT_CLUSTER_ID, f"this cluster is {node.config.cluster_id}"
    role = node.role
    if not isinstance(role, Leader):
        return Code.NOT_LEADER_OR_FOLLOWER, "only the leader of the quorum changes the voters"
    if node.high_watermark <= role.epoch_start_offset:
        return Code.REQUEST_TIMED_OUT, "the leader's epoch is not committed yet; try again"
    if node.history.kraft_version < 1:
        return Code.UNSUPPORTED_VERSION, "kraft.version is 0: the voters are fixed by controller.quorum.voters"
    if role.change is not None or node.history.voters_offset >= node.high_watermark:
        return Code.REQUEST_TIMED_OUT, "another change of the voters is under way; try again"
    return Code.NONE, ""


def _has_default_listener(node: Replica, endpoints: tuple[msg.Endpoint, ...]) -> bool:
    if not node.config.endpoints:
        return True
    return any(endpoint.name == node.config.endpoints[0].name for endpoint in endpoints)


def _probe(node: Replica, change: VoterChange, now: int) -> None:
    node_id = change.voter.key.node_id
    endpoint = node.endpoint_of_voter(change.voter)
    if endpoint is None or not node.can_send(node_id, "probe", now):
        _answer(node, change, Code.REQUEST_TIMED_OUT, "the voter cannot be asked now; try again")
        return
    node.send(fx.Destination(node_id, endpoint.host, endpoint.port), "probe", msg.ApiVersionsProbe(), now, change)


def on_probe_response(
    node: Replica, peer: int, response: msg.ApiVersionsProbed | None, context: VoterChange, now: int
) -> None:
    role = node.role
    if not isinstance(role, Leader) or role.change is not context or context.stage != "probe":
        return
    if response is None or response.error != Code.NONE:
        _answer(node, context, Code.REQUEST_TIMED_OUT, "the voter did not say which kraft.version it supports")
        return
    low, high = response.kraft_version_min, response.kraft_version_max
    voter = context.voter
    if not low <= node.history.kraft_version <= high:
        message = f"the voter supports kraft.version {low} to {high}, the cluster is at {node.history.kraft_version}"
        _answer(node, context, Code.INVALID_REQUEST, message)
        return
    if context.kind == "update":
        if (voter.kraft_version_min, voter.kraft_version_max) != (low, high):
            _answer(node, context, Code.INVALID_REQUEST, f"the voter itself says kraft.version {low} to {high}")
            return
        context.stage = "commit"
        _append_voters(node, context, node.voters.updated(voter))
        return
    context.voter = replace(voter, kraft_version_min=low, kraft_version_max=high)
    context.stage = "catch_up"
    context.catch_up_offset = node.log.end_offset


def poll_change(node: Replica, role: Leader, now: int) -> None:
    change = role.change
    if change is None:
        return
    if change.stage == "catch_up":
        progress = role.progress.get(change.voter.key)
        if progress is not None and progress.fetch_offset >= change.catch_up_offset:
            change.stage = "commit"
            _append_voters(node, change, node.voters.with_voter(change.voter))
            return
    if now >= change.deadline and not change.is_answered:
        _answer(node, change, Code.REQUEST_TIMED_OUT, "the change of the voters did not complete in time")


def _append_voters(node: Replica, change: VoterChange, voters: VoterSet) -> None:
    change.commit_offset = node.append_control((msg.Voters(voters.voters),))
    if change.kind == "add_ack_at_append":
        node.emit(fx.Reply(change.ticket, node.quorum_response()))
        change.is_answered = True


def on_committed(node: Replica, role: Leader) -> None:
    change = role.change
    if change is not None and change.stage == "commit" and node.high_watermark >= change.commit_offset > 0:
        role.change = None
        if not change.is_answered:
            node.emit(fx.Reply(change.ticket, node.quorum_response()))


def must_resign(node: Replica) -> bool:
    """A leader that has removed itself leads until that is committed, and no longer."""
    return not node.is_voter and node.history.voters_offset < node.high_watermark


def _answer(node: Replica, change: VoterChange, error: Code, message: str) -> None:
    """Answer a change that failed. One already in the log goes on: nobody can take it back."""
    assert isinstance(node.role, Leader)
    if not change.is_answered:
        node.emit(fx.Reply(change.ticket, node.quorum_response(error, message)))
    change.is_answered = True
    if change.stage != "commit":
        node.role.change = None


def abandon(node: Replica, role: Leader) -> None:
    """The leader is none any more: whether the change holds is the next leader's to find out."""
    change, role.change = role.change, None
    if change is not None and not change.is_answered:
        node.emit(fx.Reply(change.ticket, node.quorum_response(Code.NOT_LEADER_OR_FOLLOWER)))


# --- a voter's news of itself ----------------------------------------------------------------------------------------


def own_voter(node: Replica) -> Voter | None:
    """This node as it should stand in the voter set, where it stands there and says otherwise."""
    voter = node.voters.match(node.key)
    if voter is None or node.history.kraft_version < 1 or not node.config.endpoints:
        return None
    now_is = Voter(voter.key, node.config.endpoints, 0, node.config.kraft_version_max)
    return now_is if now_is != voter else None


def with_own_endpoints(node: Replica) -> VoterSet:
    voter = own_voter(node)
    return node.voters.updated(voter) if voter is not None else node.voters


def wants_update(node: Replica, role: Follower) -> bool:
    return not role.update_voter_is_done and own_voter(node) is not None


def poll_update(node: Replica, role: Follower, to: fx.Destination, now: int) -> None:
    if now < role.update_voter_at or not wants_update(node, role):
        return
    voter = own_voter(node)
    if voter is None or not node.can_send(to.node_id, "update_voter", now):
        return
    role.update_voter_at = now + 2 * node.config.fetch_timeout_ms
    request = msg.UpdateVoterRequest(node.config.cluster_id, node.epoch, voter)
    node.send(to, "update_voter", request, now, node.epoch)


def on_update_voter_response(
    node: Replica, peer: int, response: msg.QuorumResponse | None, context: int, now: int
) -> None:
    if response is None:
        return
    if node.learn(response.leader_id, response.leader_epoch, response.leader_endpoint, now):
        return
    if isinstance(node.role, Follower) and context == node.epoch and response.error == Code.NONE:
        node.role.update_voter_is_done = True
