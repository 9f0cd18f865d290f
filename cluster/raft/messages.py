"""What Raft nodes say to one another, free of API versions. Pure values.

`wire.py` turns these into the protocol's messages and back; the simulator passes them as they are.
Sources: KIP-595 (Vote, Begin/EndQuorumEpoch, Fetch), KIP-630 (FetchSnapshot), KIP-853 (voters), KIP-996 (pre-vote).
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

Uuid = bytes
ZERO_UUID = bytes(16)
NO_NODE = -1


class ReplicaKey(Struct, frozen=True, order=True):
    """A replica is its node id and its directory id; a zero directory id is one that nobody knows (kraft.version 0)."""

    node_id: int
    directory_id: Uuid = ZERO_UUID


class Endpoint(Struct, frozen=True):
    """Where a listener of a controller is reached."""

    name: str
    host: str
    port: int


class SnapshotId(Struct, frozen=True, order=True):
    """The first offset that the snapshot does not contain, and the leader epoch of the last one that it does."""

    end_offset: int
    leader_epoch: int


BOOTSTRAP_SNAPSHOT = SnapshotId(0, 0)


class Voter(Struct, frozen=True):
    key: ReplicaKey
    endpoints: tuple[Endpoint, ...] = ()
    kraft_version_min: int = 0
    kraft_version_max: int = 1


# --- control records: facts that Raft itself writes into the log ---------------------------------------------------


class LeaderChange(Struct, frozen=True):
    leader_id: int
    voter_ids: tuple[int, ...]
    granting_voter_ids: tuple[int, ...]


class KRaftVersion(Struct, frozen=True):
    kraft_version: int


class Voters(Struct, frozen=True):
    voters: tuple[Voter, ...]


ControlRecord = LeaderChange | KRaftVersion | Voters


class Batch(Struct, frozen=True):
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


class VoteRequest(Struct, frozen=True):
    cluster_id: str | None
    to: ReplicaKey
    candidate: ReplicaKey
    replica_epoch: int
    last_epoch: int
    last_offset: int
    pre_vote: bool


class BeginQuorumEpochRequest(Struct, frozen=True):
    cluster_id: str | None
    to: ReplicaKey
    leader_id: int
    leader_epoch: int
    leader_endpoints: tuple[Endpoint, ...] = ()


class EndQuorumEpochRequest(Struct, frozen=True):
    cluster_id: str | None
    leader_id: int
    leader_epoch: int
    preferred_candidates: tuple[ReplicaKey, ...] = ()
    leader_endpoints: tuple[Endpoint, ...] = ()


class FetchRequest(Struct, frozen=True):
    """`high_watermark` is the follower's own (-1 unknown), or None where the API version cannot say it."""

    cluster_id: str | None
    replica: ReplicaKey
    leader_epoch: int
    fetch_offset: int
    last_fetched_epoch: int
    high_watermark: int | None
    max_wait_ms: int
    max_bytes: int


class FetchSnapshotRequest(Struct, frozen=True):
    cluster_id: str | None
    replica: ReplicaKey
    leader_epoch: int
    snapshot_id: SnapshotId
    position: int
    max_bytes: int


class ApiVersionsProbe(Struct, frozen=True):
    """Asks a would-be voter which range of kraft.version it supports."""


class AddVoterRequest(Struct, frozen=True):
    cluster_id: str | None
    voter: ReplicaKey
    endpoints: tuple[Endpoint, ...]
    timeout_ms: int
    ack_when_committed: bool = True


class RemoveVoterRequest(Struct, frozen=True):
    cluster_id: str | None
    voter: ReplicaKey


class UpdateVoterRequest(Struct, frozen=True):
    cluster_id: str | None
    leader_epoch: int
    voter: Voter


class QuorumResponse(Struct, frozen=True):
    """The answer to Vote, BeginQuorumEpoch, EndQuorumEpoch, and to voter changes. The current leader is always told."""

    error: int = 0
    leader_id: int = NO_NODE
    leader_epoch: int = -1
    leader_endpoint: Endpoint | None = None
    vote_granted: bool = False
    message: str = ""


class FetchResponse(Struct, frozen=True):
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


class FetchSnapshotResponse(Struct, frozen=True):
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


class ApiVersionsProbed(Struct, frozen=True):
    error: int = 0
    kraft_version_min: int = 0
    kraft_version_max: int = 0
