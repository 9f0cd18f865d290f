"""The six roles of a Raft node, as the data that each needs. Which may follow which is in node.py."""

from __future__ import annotations

from msgspec import Struct, field

from cluster.raft.messages import ReplicaKey, SnapshotId, Voter


class Unattached(Struct):
    """Knows the epoch; perhaps a vote, perhaps a leader that it cannot reach."""

    election_deadline: int


class Prospective(Struct):
    """Asks whether it could win before it disturbs anybody (KIP-996). True, False, or None while unanswered."""

    election_deadline: int
    votes: dict[int, bool | None]
    majority: int


class Candidate(Struct):
    election_deadline: int
    votes: dict[int, bool | None]
    majority: int


class FetchingSnapshot(Struct):
    snapshot_id: SnapshotId
    position: int = 0
    is_loading: bool = False


class Follower(Struct):
    fetch_deadline: int
    has_fetched: bool = False
    """Once true, this follower refuses pre-votes: it has seen that its leader lives."""
    snapshot: FetchingSnapshot | None = None
    update_voter_at: int = 0
    update_voter_is_done: bool = False


class Progress(Struct):
    """What a leader knows of one replica."""

    key: ReplicaKey
    fetch_offset: int = -1
    last_fetch_ms: int = -1
    last_caught_up_ms: int = -1
    leader_end_offset_at_fetch: int = -1
    begin_epoch_at: int = 0
    """When to tell this voter (again) who leads, unless it fetches."""


class ParkedFetch(Struct):
    ticket: int
    replica: ReplicaKey
    fetch_offset: int
    high_watermark: int | None
    max_bytes: int
    deadline: int


class VoterChange(Struct):
    """A change of the voter set on its way. Stages: probe (ask the range), catch_up, commit (it is in the log)."""

    ticket: int
    kind: str
    voter: Voter
    deadline: int
    stage: str
    catch_up_offset: int = -1
    commit_offset: int = -1
    is_answered: bool = False


class Leader(Struct):
    epoch_start_offset: int
    since_ms: int
    granting_voter_ids: tuple[int, ...]
    progress: dict[ReplicaKey, Progress] = field(default_factory=dict)
    parked: list[ParkedFetch] = field(default_factory=list)
    change: VoterChange | None = None


class Resigned(Struct):
    election_deadline: int
    preferred_candidates: tuple[ReplicaKey, ...]
    unacknowledged: set[int]


Role = Unattached | Prospective | Candidate | Follower | Leader | Resigned
