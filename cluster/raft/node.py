"""One Raft node: `step(event, now) -> effects`. Pure: time and randomness are arguments, the log is outside.

    role         leaves for                          when
    -----------  ----------------------------------  -----------------------------------------------------------------
    Unattached   Unattached, Follower                a higher epoch, a leader
                 Prospective                         election timeout (voters); at once where it is the only voter
    Prospective  Candidate                           a majority would vote for it, or a peer cannot say (old version)
                 Follower, Unattached                a majority would not, time-out; or a higher epoch or a leader
    Candidate    Leader                              a majority voted for it
                 Prospective                         election timeout
                 Follower, Unattached                a leader in this epoch, a higher epoch
    Follower     Prospective                         fetch timeout (voters), or EndQuorumEpoch names it first
                 Follower, Unattached                a higher epoch; an observer or a non-voter lost its leader
    Leader       Resigned                            no majority fetches (check quorum); asked to resign; removed itself
                 Follower, Unattached                a higher epoch
    Resigned     Unattached                          election timeout (one epoch up), or a higher epoch
                 Follower                            a leader in a higher epoch

INVARIANT: the epoch never goes back, and a vote never changes within an epoch.
INVARIANT: each change of (epoch, vote, leader) is an effect PersistQuorumState ahead of all messages that rest on it.
INVARIANT: the high watermark never goes back.
Sources: KIP-595, KIP-853, KIP-996; PROTOCOL E.3-E.5. Elections are in election.py, the log in replication.py, changes
of the voter set in voter_changes.py; this file holds the state, the transitions and the routing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from cluster.raft import effects as fx
from cluster.raft import election, replication, voter_changes
from cluster.raft import messages as msg
from cluster.raft.log_facts import LogFacts
from cluster.raft.messages import NO_NODE, Endpoint, ReplicaKey, Voter
from cluster.raft.roles import Candidate, Follower, Leader, Prospective, Resigned, Role, Unattached
from cluster.raft.state import QuorumState
from cluster.raft.voters import VoterHistory, VoterSet, endpoint_of

LEGAL_TRANSITIONS: dict[type, tuple[type, ...]] = {
    Unattached: (Unattached, Follower, Prospective),
    Prospective: (Unattached, Follower, Candidate),
    Candidate: (Unattached, Follower, Leader, Prospective),
    Follower: (Unattached, Follower, Prospective),
    Leader: (Unattached, Follower, Resigned),
    Resigned: (Unattached, Follower),
}


class FatalInconsistency(AssertionError):
    """The quorum broke a promise that safety rests on (two leaders in one epoch): stop the node."""


class RandomSource(Protocol):
    def randrange(self, stop: int, /) -> int: ...


@dataclass(frozen=True, slots=True)
class RaftConfig:
    """Names after `controller.quorum.*`. `bootstrap_servers`: where to look for a leader besides the voters."""

    node_id: int
    directory_id: bytes
    cluster_id: str
    endpoints: tuple[Endpoint, ...] = ()
    bootstrap_servers: tuple[tuple[str, int], ...] = ()
    may_become_voter: bool = True
    election_timeout_ms: int = 1000
    election_backoff_max_ms: int = 1000
    fetch_timeout_ms: int = 2000
    request_timeout_ms: int = 2000
    retry_backoff_ms: int = 20
    fetch_max_wait_ms: int = 500
    fetch_max_bytes: int = 1024 * 1024
    fetch_snapshot_max_bytes: int = 1024 * 1024
    observer_expiry_ms: int = 300_000
    kraft_version_max: int = 1


@dataclass(slots=True)
class _InFlight:
    peer: int
    kind: str
    deadline: int
    context: Any


class RaftNode:
    def __init__(
        self, config: RaftConfig, random: RandomSource, state: QuorumState, log: LogFacts, history: VoterHistory
    ) -> None:
        self.config = config
        self.key = ReplicaKey(config.node_id, config.directory_id)
        self.log = log
        self.history = history
        self.epoch = state.leader_epoch
        self.leader_id = state.leader_id
        self.voted = state.voted
        self.leader_endpoint: Endpoint | None = None
        self.high_watermark = max(log.start_offset, log.snapshot_id.end_offset if log.snapshot_id else 0)
        self.role: Role = Unattached(0)
        self._random = random
        self._persisted = state
        self._announced: tuple[int, int, Endpoint | None] = (NO_NODE, -1, None)
        self._effects: list[Any] = []
        self._in_flight: dict[int, _InFlight] = {}
        self._busy: dict[tuple[int, str], int] = {}
        self._backoff: dict[tuple[int, str], int] = {}
        self._next_request_id = 1

    # --- the face ---------------------------------------------------------------------------------------------------

    def start(self, now: int) -> list[Any]:
        """The first step: take up the role that the stored state allows."""
        self._effects = []
        if self.log.last_epoch > self.epoch:
            self.epoch, self.leader_id, self.voted = self.log.last_epoch, NO_NODE, None
        only_voter = self._is_only_voter()
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

    @property
    def is_leader(self) -> bool:
        return isinstance(self.role, Leader)

    @property
    def is_voter(self) -> bool:
        return self.history.voters.match(self.key) is not None

    @property
    def voters(self) -> VoterSet:
        return self.history.voters

    # --- transitions ------------------------------------------------------------------------------------------------

    def to_unattached(self, epoch: int, now: int, leader_id: int = NO_NODE) -> None:
        voted = self.voted if epoch == self.epoch else None
        self._become(Unattached(now + self.random_election_timeout()), epoch, leader_id, None, voted)

    def to_follower(self, epoch: int, leader_id: int, endpoint: Endpoint | None, now: int) -> None:
        assert leader_id not in (NO_NODE, self.key.node_id)
        voted = self.voted if epoch == self.epoch else None
        role = Follower(now + self.config.fetch_timeout_ms, update_voter_at=now + 2 * self.config.fetch_timeout_ms)
        self._become(role, epoch, leader_id, endpoint, voted)

    def to_prospective(self, now: int) -> None:
        role = Prospective(now + self.random_election_timeout(), self.fresh_votes(), self.voters.majority)
        # The leader stays known: a refused pre-vote leads back to it.
        self._become(role, self.epoch, self.leader_id, self.leader_endpoint, self.voted)

    def to_candidate(self, now: int) -> None:
        role = Candidate(now + self.random_election_timeout(), self.fresh_votes(), self.voters.majority)
        self._become(role, self.epoch + 1, NO_NODE, None, self.key)

    def to_leader(self, now: int) -> None:
        assert isinstance(self.role, Candidate)
        granting = tuple(sorted(node_id for node_id, granted in self.role.votes.items() if granted))
        role = Leader(self.log.end_offset, now, granting)
        self._become(role, self.epoch, self.key.node_id, None, self.voted)
        replication.begin_epoch(self, role, now)

    def to_resigned(self, now: int) -> None:
        assert isinstance(self.role, Leader)
        candidates = replication.candidates_by_progress(self, self.role)
        peers = set(self.voters.ids) - {self.key.node_id}
        role = Resigned(now + self.random_election_timeout(), candidates, peers)
        self._become(role, self.epoch, self.key.node_id, None, self.voted)

    def _become(
        self, role: Role, epoch: int, leader_id: int, endpoint: Endpoint | None, voted: ReplicaKey | None
    ) -> None:
        before = self.role
        assert type(role) in LEGAL_TRANSITIONS[type(before)], f"{type(before).__name__} to {type(role).__name__}"
        assert epoch >= self.epoch, f"epoch {self.epoch} to {epoch}"
        assert epoch > self.epoch or self.voted is None or voted == self.voted, "a vote changed within an epoch"
        previous_epoch = self.epoch
        self.role, self.epoch, self.voted = role, epoch, voted
        self.leader_id, self.leader_endpoint = leader_id, endpoint
        self.persist()
        if isinstance(before, Leader):
            self.emit(fx.LostLeadership(previous_epoch))
            replication.release_all(self, before)
            voter_changes.abandon(self, before)
        announced_leader = NO_NODE if isinstance(role, Resigned) else leader_id
        announced = (announced_leader, epoch, self.leader_endpoint_now() if announced_leader != NO_NODE else None)
        if announced != self._announced:
            self._announced = announced
            self.emit(fx.LeaderChanged(*announced))

    def add_vote(self, candidate: ReplicaKey, now: int) -> None:
        """Give the one vote of this epoch away."""
        assert self.voted is None or self.voted == candidate
        role = self.role
        assert isinstance(role, Unattached | Prospective)
        self.voted = candidate
        role.election_deadline = now + self.random_election_timeout()
        self.persist()

    def persist(self) -> None:
        state = QuorumState(self.epoch, self.leader_id, self.voted)
        if state != self._persisted:
            self._persisted = state
            self.emit(fx.PersistQuorumState(state))

    # --- what the other files of this room use ----------------------------------------------------------------------

    def emit(self, effect: Any) -> None:
        self._effects.append(effect)

    def random_election_timeout(self) -> int:
        return self.config.election_timeout_ms + self._random.randrange(self.config.election_timeout_ms)

    def fresh_votes(self) -> dict[int, bool | None]:
        return {node_id: True if node_id == self.key.node_id else None for node_id in self.voters.ids}

    def is_my_key(self, to: ReplicaKey) -> bool:
        """Whether a request was meant for this replica; what the sender left open (-1, zero) matches."""
        if to.node_id >= 0 and to.node_id != self.key.node_id:
            return False
        return to.directory_id in (msg.ZERO_UUID, self.key.directory_id)

    def endpoint_of_node(self, node_id: int) -> Endpoint | None:
        if node_id == self.key.node_id:
            return self.config.endpoints[0] if self.config.endpoints else None
        if node_id == self.leader_id and self.leader_endpoint is not None:
            return self.leader_endpoint
        voter = self.voters.get(node_id)
        return self.endpoint_of_voter(voter) if voter else None

    def endpoint_of_voter(self, voter: Voter) -> Endpoint | None:
        listener = self.config.endpoints[0].name if self.config.endpoints else ""
        return endpoint_of(voter, listener)

    def leader_endpoint_now(self) -> Endpoint | None:
        return self.endpoint_of_node(self.leader_id) if self.leader_id != NO_NODE else None

    def learn(self, leader_id: int, epoch: int, endpoint: Endpoint | None, now: int) -> bool:
        """Take in what a response says about the quorum. True when it changed anything here."""
        if epoch < self.epoch or epoch < 0:
            return False
        if leader_id == self.key.node_id:
            leader_id = NO_NODE
        if endpoint is None and leader_id != NO_NODE:
            endpoint_known = self.endpoint_of_node(leader_id) is not None
        else:
            endpoint_known = leader_id != NO_NODE
        if epoch > self.epoch:
            if endpoint_known:
                self.to_follower(epoch, leader_id, endpoint, now)
            else:
                self.to_unattached(epoch, now, leader_id)
            return True
        if not endpoint_known or isinstance(self.role, Leader | Resigned | Follower):
            return False
        if self.leader_id not in (NO_NODE, leader_id):
            raise FatalInconsistency(f"epoch {epoch} has two leaders: {self.leader_id} and {leader_id}")
        if isinstance(self.role, Prospective) and self.leader_id == leader_id:
            return False
        self.to_follower(epoch, leader_id, endpoint, now)
        return True

    def can_send(self, peer: int, kind: str, now: int) -> bool:
        return (peer, kind) not in self._busy and self._backoff.get((peer, kind), now) <= now

    def is_busy_with(self, kind: str) -> bool:
        return any(each == kind for _, each in self._busy)

    def send(
        self, to: fx.Destination, kind: str, request: Any, now: int, context: Any = None, wait_ms: int = 0
    ) -> None:
        """At most one request of a kind is on its way to a peer."""
        request_id = self._next_request_id
        self._next_request_id += 1
        timeout_ms = self.config.request_timeout_ms + wait_ms
        self._in_flight[request_id] = _InFlight(to.node_id, kind, now + timeout_ms, context)
        self._busy[to.node_id, kind] = request_id
        self._backoff.pop((to.node_id, kind), None)
        self.emit(fx.Send(request_id, to, request, timeout_ms))

    def back_off(self, peer: int, kind: str, now: int, delay_ms: int | None = None) -> None:
        self._backoff[peer, kind] = now + (self.config.retry_backoff_ms if delay_ms is None else delay_ms)

    def destination(self, node_id: int) -> fx.Destination | None:
        endpoint = self.endpoint_of_node(node_id)
        return fx.Destination(node_id, endpoint.host, endpoint.port) if endpoint else None

    def quorum_response(self, error: int = 0, message: str = "", vote_granted: bool = False) -> msg.QuorumResponse:
        leader_id = NO_NODE if isinstance(self.role, Resigned) else self.leader_id
        endpoint = self.leader_endpoint_now() if leader_id != NO_NODE else None
        return msg.QuorumResponse(error, leader_id, self.epoch, endpoint, vote_granted, message)

    def advance_high_watermark(self, offset: int) -> bool:
        if offset <= self.high_watermark:
            return False
        assert offset <= self.log.end_offset
        self.high_watermark = offset
        self.emit(fx.Committed(offset))
        return True

    def choose(self, count: int) -> int:
        return self._random.randrange(count)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _is_only_voter(self) -> bool:
        return self.voters.ids == (self.key.node_id,) and self.is_voter

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
                if self.is_voter and (now >= role.election_deadline or self._is_only_voter()):
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
            self.to_resigned(now)

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
