"""What a Raft node asks of its driver (effects), and what the driver tells it (events). Pure values.

THE ORDERING CONTRACT. The driver carries out the effects of one step in their order, and all of a step before those of
the next. Each effect says below what must be true before the one after it may start. A failure of any local effect
(disk) is fatal: the driver stops the node and never steps it again; better fenced than wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cluster.raft.messages import Batch, Endpoint, SnapshotId, Voter
from cluster.raft.state import QuorumState

# --- effects --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PersistQuorumState:
    """PERSIST BEFORE SEND: written, fsynced and renamed into place before the next effect starts. A vote or an epoch
    that was told to anyone must survive a power loss."""

    state: QuorumState


@dataclass(frozen=True, slots=True)
class AppendToLog:
    """Written (readable by offset) before the next effect; NOT yet durable: durability is asked for with Flush."""

    batches: tuple[Batch, ...]


@dataclass(frozen=True, slots=True)
class Flush:
    """May run behind: the driver reports `LogFlushed(end_offset)` after an fsync that began after the appends below
    `end_offset`. Several may be answered by one fsync. The node counts nothing as its own acknowledgement before.
    `truncation_count` is handed back as it is: a report from before a truncation says nothing about what came after."""

    end_offset: int
    truncation_count: int = 0


@dataclass(frozen=True, slots=True)
class TruncateLog:
    """All at and above `end_offset` is gone before the next effect; later appends start there."""

    end_offset: int


@dataclass(frozen=True, slots=True)
class Destination:
    """A node id below -1 is a bootstrap server whose node id nobody knows."""

    node_id: int
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Send:
    """Answered with `Responded(request_id, ...)`, with None where no answer came. Sent only after every earlier
    PersistQuorumState is durable."""

    request_id: int
    to: Destination
    request: Any
    timeout_ms: int


@dataclass(frozen=True, slots=True)
class Reply:
    """Sent only after every earlier PersistQuorumState is durable. Holes (records, snapshot bytes) are filled now."""

    ticket: int
    response: Any


@dataclass(frozen=True, slots=True)
class Committed:
    """Every record below `high_watermark` is committed for ever."""

    high_watermark: int


@dataclass(frozen=True, slots=True)
class BecameLeader:
    """The node leads `leader_epoch` from `epoch_start_offset` on. Decide nothing before Committed passes it."""

    leader_epoch: int
    epoch_start_offset: int


@dataclass(frozen=True, slots=True)
class LostLeadership:
    leader_epoch: int


@dataclass(frozen=True, slots=True)
class LeaderChanged:
    """News for whoever routes requests to the active controller. `leader_id` -1: not known."""

    leader_id: int
    leader_epoch: int
    endpoint: Endpoint | None


@dataclass(frozen=True, slots=True)
class ProposalRefused:
    """Nothing of the proposal was appended."""

    leader_epoch: int
    reason: str


@dataclass(frozen=True, slots=True)
class WriteSnapshotChunk:
    """Written to the `.part` file of `snapshot_id` at `position`; position 0 starts it anew."""

    snapshot_id: SnapshotId
    position: int
    data: bytes


@dataclass(frozen=True, slots=True)
class LoadSnapshot:
    """The `.part` file is whole: check it, fsync, rename, drop the whole log, start it at the snapshot's end, reset the
    metadata image to it; then report `SnapshotLoaded` (or `SnapshotRefused` where the file is bad, with the log left as
    it was). Done and reported before any other event: until then the node speaks of a log that is gone."""

    snapshot_id: SnapshotId


# --- events ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; due at `node.deadline()`."""


@dataclass(frozen=True, slots=True)
class Received:
    ticket: int
    request: Any


@dataclass(frozen=True, slots=True)
class Responded:
    """`response` None: refused, cut off or timed out."""

    request_id: int
    response: Any


@dataclass(frozen=True, slots=True)
class LogFlushed:
    end_offset: int
    truncation_count: int = 0


@dataclass(frozen=True, slots=True)
class Propose:
    """Append these record values as one batch, if still leader of `leader_epoch` and the log ends where expected."""

    leader_epoch: int
    expected_base_offset: int
    records: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class SnapshotTaken:
    """This node has made a snapshot of its own committed state; the log may have been cut up to `log_start_offset`."""

    snapshot_id: SnapshotId
    log_start_offset: int


@dataclass(frozen=True, slots=True)
class SnapshotLoaded:
    """Answers LoadSnapshot, with what the snapshot's control records say (None: says nothing)."""

    snapshot_id: SnapshotId
    kraft_version: int | None
    voters: tuple[Voter, ...] | None


@dataclass(frozen=True, slots=True)
class SnapshotRefused:
    snapshot_id: SnapshotId


@dataclass(frozen=True, slots=True)
class Resign:
    """Graceful stop, or a controller that failed: give leadership away. Others take no notice."""


Event = (
    Tick | Received | Responded | LogFlushed | Propose | SnapshotTaken | SnapshotLoaded | SnapshotRefused | Resign
)
