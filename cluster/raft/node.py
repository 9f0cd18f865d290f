"""One Raft node: `step(event, now) -> effects`. Pure: time and randomness are arguments, the log is outside.

It routes events, requests and responses to those who decide on them, and does what is due: elections are in election.py,
the log in replication.py, changes of the voter set in voter_changes.py; state and transitions are the replica's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cluster.raft import effects as fx
from cluster.raft import election, replication, voter_changes
from cluster.raft import messages as msg
from cluster.raft.messages import NO_NODE
from cluster.raft.replica import Replica
from cluster.raft.roles import Candidate, Follower, Leader, Resigned, Unattached


class RaftNode(Replica):
    # --- the face ---------------------------------------------------------------------------------------------------

    def start(self, now: int) -> list[Any]:
        """The first step: take up the role that the stored state allows."""
        self._effects = []
        if self.log.last_epoch > self.epoch:
            self.epoch, self.leader_id, self.voted = self.log.last_epoch, NO_NODE, None
        only_voter = self.is_only_voter
        if self.leader_id == self.key.node_id and self.is_voter and not only_voter:
            # It led this epoch before: it may neither vote nor lead in it again, and must not follow itself.
            self.role = Resigned(now + self.random_election_timeout(), (), set(self.voters.ids) - {self.key.node_id})
        elif self.voted == self.key and self.leader_id == NO_NODE and self.is_voter and not only_voter:
            self.role = Candidate(now + self.random_election_timeout(), self.fresh_votes(), self.voters.majority)
        else:
            if self.leader_id == self.key.node_id:
                self.leader_id = NO_NODE
            self.role = Unattached(now + self.random_election_timeout())
            if self.leader_id != NO_NODE and self.endpoint_of_node(self.leader_id) is not None:
                self.to_follower(self.epoch, self.leader_id, None, now)
        self.persist()
        self._poll(now)
        return self._take_effects()

    def step(self, event: fx.Event, now: int) -> list[Any]:
        self._effects = []
        handler = _EVENT_HANDLERS.get(type(event))
        if handler is None:
            raise TypeError(f"{type(event).__name__} is not an event of a Raft node")
        handler(self, event, now)
        self._poll(now)
        return self._take_effects()

    def deadline(self) -> int | None:
        """When the next Tick is due, if nothing else happens first."""
        times = [flight.deadline for flight in self._in_flight.values()]
        times.extend(self._backoff.values())
        role = self.role
        if isinstance(role, Leader):
            times.extend(replication.leader_deadlines(self, role))
        elif isinstance(role, Follower):
            times.append(role.fetch_deadline)
            if voter_changes.wants_update(self, role):
                times.append(role.update_voter_at)
        elif isinstance(role, Resigned) or self.is_voter:
            times.append(role.election_deadline)
        return min(times) if times else None

    # --- inside -----------------------------------------------------------------------------------------------------

    def begin_leading(self, role: Leader, now: int) -> None:
        replication.begin_epoch(self, role, now)

    def end_leading(self, role: Leader) -> None:
        replication.release_all(self, role)
        voter_changes.abandon(self, role)

    def _take_effects(self) -> list[Any]:
        effects, self._effects = self._effects, []
        return _without_superseded_states(effects)

    def _poll(self, now: int) -> None:
        """Do what is due. Runs again while the role changes, so that a quorum of one leads within its first step."""
        for request_id in [each for each, flight in self._in_flight.items() if flight.deadline <= now]:
            self._respond(fx.Responded(request_id, None), now)
        for key in [each for each, until in self._backoff.items() if until <= now]:
            del self._backoff[key]
        while True:
            role = self.role
            if isinstance(role, Leader):
                replication.poll_leader(self, role, now)
            elif isinstance(role, Follower):
                replication.poll_follower(self, role, now)
            elif isinstance(role, Unattached):
                if self.is_voter and (now >= role.election_deadline or self.is_only_voter):
                    self.to_prospective(now)
                else:
                    replication.find_leader(self, now)
            elif isinstance(role, Resigned):
                election.poll_resigned(self, role, now)
            else:
                election.poll_election(self, role, now)
            if self.role is role:
                return

    def _receive(self, event: fx.Received, now: int) -> None:
        handler = _REQUEST_HANDLERS.get(type(event.request))
        if handler is None:
            raise TypeError(f"{type(event.request).__name__} is not a request that a Raft node answers")
        handler(self, event.request, event.ticket, now)

    def _respond(self, event: fx.Responded, now: int) -> None:
        flight = self._in_flight.pop(event.request_id, None)
        if flight is None:
            return  # answered after it had timed out here
        self._busy.pop((flight.peer, flight.kind), None)
        _RESPONSE_HANDLERS[flight.kind](self, flight.peer, event.response, flight.context, now)

    def _resign(self, event: fx.Resign, now: int) -> None:
        if isinstance(self.role, Leader):
            replication.resign(self, self.role, now)

    def _tick(self, event: fx.Tick, now: int) -> None:
        pass


def _without_superseded_states(effects: list[Any]) -> list[Any]:
    """A state that another replaces before anything is told to anyone need not reach the disk: saves an fsync."""
    kept: list[Any] = []
    is_superseded = False
    for effect in reversed(effects):
        if isinstance(effect, fx.PersistQuorumState):
            if is_superseded:
                continue
            is_superseded = True
        elif isinstance(effect, fx.Send | fx.Reply):
            is_superseded = False
        kept.append(effect)
    kept.reverse()
    return kept


_EVENT_HANDLERS: dict[type, Callable[[RaftNode, Any, int], None]] = {
    fx.Tick: RaftNode._tick,
    fx.Received: RaftNode._receive,
    fx.Responded: RaftNode._respond,
    fx.Resign: RaftNode._resign,
    fx.LogFlushed: replication.on_flushed,
    fx.Propose: replication.on_propose,
    fx.SnapshotTaken: replication.on_snapshot_taken,
    fx.SnapshotLoaded: replication.on_snapshot_loaded,
    fx.SnapshotRefused: replication.on_snapshot_refused,
}

_REQUEST_HANDLERS: dict[type, Callable[[RaftNode, Any, int, int], None]] = {
    msg.VoteRequest: election.on_vote_request,
    msg.BeginQuorumEpochRequest: election.on_begin_quorum_epoch,
    msg.EndQuorumEpochRequest: election.on_end_quorum_epoch,
    msg.FetchRequest: replication.on_fetch_request,
    msg.FetchSnapshotRequest: replication.on_fetch_snapshot_request,
    msg.AddVoterRequest: voter_changes.on_add_voter,
    msg.RemoveVoterRequest: voter_changes.on_remove_voter,
    msg.UpdateVoterRequest: voter_changes.on_update_voter,
}

_RESPONSE_HANDLERS: dict[str, Callable[[RaftNode, int, Any, Any, int], None]] = {
    "vote": election.on_vote_response,
    "begin_quorum_epoch": election.on_begin_quorum_epoch_response,
    "end_quorum_epoch": election.on_end_quorum_epoch_response,
    "fetch": replication.on_fetch_response,
    "find": replication.on_find_response,
    "fetch_snapshot": replication.on_fetch_snapshot_response,
    "probe": voter_changes.on_probe_response,
    "update_voter": voter_changes.on_update_voter_response,
}
