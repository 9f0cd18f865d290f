"""What Raft nodes say to one another, free of API versions. Pure values.

`wire.py` turns these into the protocol's messages and back; the simulator passes them as they are.
Sources: KIP-595 (Vote, Begin/EndQuorumEpoch, Fetch), KIP-630 (FetchSnapshot), KIP-853 (voters), KIP-996 (pre-vote).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Uuid = bytes
ZERO_UUID = bytes(16)
NO_NODE = -1


@dataclass(frozen=True, slots=True, order=True)
class ReplicaKey:
    """A replica is its node id and its directory id; a zero directory id is one that nobody knows (kraft.version 0)."""

    node_id: int
    directory_id: Uuid = ZERO_UUID


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a listener of a controller is reached."""

    name: str
    host: str
    port: int


@dataclass(frozen=True, slots=True, order=True)
class SnapshotId:
    """The first offset that the snapshot does not contain, and the leader epoch of the last one that it does."""

    end_offset: int
    leader_epoch: int


BOOTSTRAP_SNAPSHOT = SnapshotId(0, 0)


@dataclass(frozen=True, slots=True)
class Voter:
    key: ReplicaKey
    endpoints: tuple[Endpoint, ...] = ()
    kraft_version_min: int = 0
    kraft_version_max: int = 1


# --- control records: facts that Raft itself writes into the log ---------------------------------------------------


@dataclass(frozen=True, slots=True)
class LeaderChange:
    leader_id: int
    voter_ids: tuple[int, ...]
    granting_voter_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class KRaftVersion:
    kraft_version: int


@dataclass(frozen=True, slots=True)
class Voters:
    voters: tuple[Voter, ...]


ControlRecord = LeaderChange | KRaftVersion | Voters


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as Raft needs to know it. `end_offset` is exclusive.

    Either `records` (values that a leader appends; the driver makes a batch of them), or `control` (the same), or
    `raw`: the bytes that came from a leader, appended as they are, with its control records read out into `control`.
    """

    base_offset: int
    end_offset: int
    leader_epoch: int
    records: tuple[Any, ...] = ()
    control: tuple[ControlRecord | None, ...] = ()
    raw: Any = None


# --- requests and responses ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VoteRequest:
    cluster_id: str | None
    to: ReplicaKey
    candidate: ReplicaKey
    replica_epoch: int
    last_epoch: int
    last_offset: int
    pre_vote: bool


@dataclass(frozen=True, slots=True)
class BeginQuorumEpochRequest:
    cluster_id: str | None
    to: ReplicaKey
    leader_id: int
    leader_epoch: int
    leader_endpoints: tuple[Endpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class EndQuorumEpochRequest:
    cluster_id: str | None
    leader_id: int
    leader_epoch: int
    preferred_candidates: tuple[ReplicaKey, ...] = ()
    leader_endpoints: tuple[Endpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """`high_watermark` is the follower's own (-1 unknown), or None where the API version cannot say it."""

    cluster_id: str | None
    replica: ReplicaKey
    leader_epoch: int
    fetch_offset: int
    last_fetched_epoch: int
    high_watermark: int | None
    max_wait_ms: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class FetchSnapshotRequest:
    cluster_id: str | None
    replica: ReplicaKey
    leader_epoch: int
    snapshot_id: SnapshotId
    position: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class ApiVersionsProbe:
    """Asks a would-be voter which range of kraft.version it supports."""


@dataclass(frozen=True, slots=True)
class AddVoterRequest:
    cluster_id: str | None
    voter: ReplicaKey
    endpoints: tuple[Endpoint, ...]
    timeout_ms: int
    ack_when_committed: bool = True


@dataclass(frozen=True, slots=True)
class RemoveVoterRequest:
    cluster_id: str | None
    voter: ReplicaKey


@dataclass(frozen=True, slots=True)
class UpdateVoterRequest:
    cluster_id: str | None
    leader_epoch: int
    voter: Voter


@dataclass(frozen=True, slots=True)
class QuorumResponse:
    """The answer to Vote, BeginQuorumEpoch, EndQuorumEpoch, and to voter changes. The current leader is always told."""

    error: int = 0
    leader_id: int = NO_NODE
    leader_epoch: int = -1
    leader_endpoint: Endpoint | None = None
    vote_granted: bool = False
    message: str = ""


@dataclass(frozen=True, slots=True)
class FetchResponse:
    """A leader leaves a hole: `records_from` says where the driver reads up to `max_bytes`; `batches` arrive."""

    error: int = 0
    leader_id: int = NO_NODE
    leader_epoch: int = -1
    leader_endpoint: Endpoint | None = None
    high_watermark: int = -1
    log_start_offset: int = -1
    diverging_epoch: int | None = None
    diverging_end_offset: int = -1
    snapshot_id: SnapshotId | None = None
    records_from: int | None = None
    max_bytes: int = 0
    batches: tuple[Batch, ...] = ()


@dataclass(frozen=True, slots=True)
class FetchSnapshotResponse:
    """A leader leaves a hole where error is 0: the driver fills `size` and `data` from the named snapshot, or answers
    SNAPSHOT_NOT_FOUND or POSITION_OUT_OF_RANGE."""

    error: int = 0
    leader_id: int = NO_NODE
    leader_epoch: int = -1
    leader_endpoint: Endpoint | None = None
    snapshot_id: SnapshotId | None = None
    position: int = 0
    max_bytes: int = 0
    size: int = 0
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class ApiVersionsProbed:
    error: int = 0
    kraft_version_min: int = 0
    kraft_version_max: int = 0
