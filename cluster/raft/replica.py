"""One replica of the quorum's log: its state, the transitions between roles, and what it owes to its driver and its peers.

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
What decides on transitions is election.py, replication.py and voter_changes.py; node.py puts them together.
Sources: KIP-595, KIP-853, KIP-996; PROTOCOL E.3-E.5.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

from msgspec import Struct

from cluster.raft import effects as fx
from cluster.raft import messages as msg
from cluster.raft.log_facts import LogFacts
from cluster.raft.messages import NO_NODE, Batch, Endpoint, ReplicaKey, Voter
from cluster.raft.roles import Candidate, Follower, Leader, Prospective, Resigned, Role, Unattached
from cluster.raft.state import QuorumState
from cluster.raft.voters import VoterHistory, VoterSet, endpoint_of
from pykafkacore.protocol.errors import Code

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


class RaftConfig(Struct, frozen=True):
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


class _InFlight(Struct):
    peer: int
    kind: str
    deadline: int
    context: Any


class Replica(ABC):
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

    @property
    def is_leader(self) -> bool:
        return isinstance(self.role, Leader)

    @property
    def is_voter(self) -> bool:
        return self.history.voters.match(self.key) is not None

    @property
    def voters(self) -> VoterSet:
        return self.history.voters

    @property
    def is_only_voter(self) -> bool:
        return self.voters.ids == (self.key.node_id,) and self.is_voter

    def emit(self, effect: Any) -> None:
        self._effects.append(effect)

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
        self.begin_leading(role, now)

    def to_resigned(self, candidates: tuple[ReplicaKey, ...], now: int) -> None:
        """`candidates`: who is to stand for election, the first at once."""
        assert isinstance(self.role, Leader)
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
            self.end_leading(before)
        announced_leader = NO_NODE if isinstance(role, Resigned) else leader_id
        announced = (announced_leader, epoch, self.leader_endpoint_now() if announced_leader != NO_NODE else None)
        if announced != self._announced:
            self._announced = announced
            self.emit(fx.LeaderChanged(*announced))

    @abstractmethod
    def begin_leading(self, role: Leader, now: int) -> None:
        """The first acts of a leader."""

    @abstractmethod
    def end_leading(self, role: Leader) -> None:
        """The last: whoever waits for it is sent away."""

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

    # --- the log ----------------------------------------------------------------------------------------------------

    def append(self, batches: tuple[Batch, ...]) -> None:
        for batch in batches:
            self.log.append(batch)
            for index, record in enumerate(batch.control):
                offset = batch.base_offset + index
                if isinstance(record, msg.Voters):
                    self.history.add_voters(offset, VoterSet(record.voters))
                elif isinstance(record, msg.KRaftVersion):
                    self.history.add_kraft_version(offset, record.kraft_version)
        self.emit(fx.AppendToLog(batches))

    def append_control(self, control: tuple[msg.ControlRecord, ...]) -> int:
        """Append control records in a batch of their own; returns its end offset."""
        base_offset = self.log.end_offset
        batch = Batch(base_offset, base_offset + len(control), self.epoch, control=control)
        self.append((batch,))
        self.flush()
        return batch.end_offset

    def flush(self) -> None:
        self.emit(fx.Flush(self.log.end_offset, self.log.truncation_count))

    def advance_high_watermark(self, offset: int) -> bool:
        if offset <= self.high_watermark:
            return False
        assert offset <= self.log.end_offset
        self.high_watermark = offset
        self.emit(fx.Committed(offset))
        return True

    # --- peers ------------------------------------------------------------------------------------------------------

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

    def choose(self, count: int) -> int:
        return self._random.randrange(count)

    def leader_error(self, cluster_id: str | None, leader_epoch: int) -> Code:
        """The checks that every request to the leader passes, in Kafka's order."""
        if cluster_id is not None and cluster_id != self.config.cluster_id:
            return Code.INCONSISTENT_CLUSTER_ID
        if isinstance(self.role, Resigned):
            return Code.BROKER_NOT_AVAILABLE
        if leader_epoch < self.epoch:
            return Code.FENCED_LEADER_EPOCH
        if leader_epoch > self.epoch:
            return Code.UNKNOWN_LEADER_EPOCH
        if not isinstance(self.role, Leader):
            return Code.NOT_LEADER_OR_FOLLOWER if self.leader_id != NO_NODE else Code.BROKER_NOT_AVAILABLE
        return Code.NONE
