"""What a Raft node asks of its driver (effects), and what the driver tells it (events). Pure values.

THE ORDERING CONTRACT. The driver carries out the effects of one step in their order, and all of a step before those of
the next. Each effect says below what must be true before the one after it may start. A failure of any local effect
(disk) is fatal: the driver stops the node and never steps it again; better fenced than wrong.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from cluster.raft.messages import Batch, Endpoint, SnapshotId, Voter
from cluster.raft.state import QuorumState

# --- effects --------------------------------------------------------------------------------------------------------


class PersistQuorumState(Struct, frozen=True):
    """PERSIST BEFORE SEND: written, fsynced and renamed into place before the next effect starts. A vote or an epoch
    that was told to anyone must survive a power loss."""

    state: QuorumState


class AppendToLog(Struct, frozen=True):
    """Written (readable by offset) before the next effect; NOT yet durable: durability is asked for with Flush."""

    batches: tuple[Batch, ...]


class Flush(Struct, frozen=True):
    """May run behind: the driver reports `LogFlushed(end_offset)` after an fsync that began after the appends below
    `end_offset`. Several may be answered by one fsync. The node counts nothing as its own acknowledgement before.
    `truncation_count` is handed back as it is: a report from before a truncation says nothing about what came after."""

    end_offset: int
    truncation_count: int = 0


class TruncateLog(Struct, frozen=True):
    """All at and above `end_offset` is gone before the next effect; later appends start there."""

    end_offset: int


class Destination(Struct, frozen=True):
    """A node id below -1 is a bootstrap server whose node id nobody knows."""

    node_id: int
    host: str
    port: int


class Send(Struct, frozen=True):
    """Answered with `Responded(request_id, ...)`, with None where no answer came. Sent only after every earlier
    PersistQuorumState is durable."""

    request_id: int
    to: Destination
    request: Any
    timeout_ms: int


class Reply(Struct, frozen=True):
    """Sent only after every earlier PersistQuorumState is durable. Holes (records, snapshot bytes) are filled now."""

    ticket: int
    response: Any


class Committed(Struct, frozen=True):
    """Every record below `high_watermark` is committed for ever."""

    high_watermark: int


class BecameLeader(Struct, frozen=True):
    """The node leads `leader_epoch` from `epoch_start_offset` on. Decide nothing before Committed passes it."""

    leader_epoch: int
    epoch_start_offset: int


class LostLeadership(Struct, frozen=True):
    leader_epoch: int


class LeaderChanged(Struct, frozen=True):
    """News for whoever routes requests to the active controller. `leader_id` -1: not known."""

    leader_id: int
    leader_epoch: int
    endpoint: Endpoint | None


class ProposalRefused(Struct, frozen=True):
    """Nothing of the proposal was appended."""

    leader_epoch: int
    reason: str


class WriteSnapshotChunk(Struct, frozen=True):
    """Written to the `.part` file of `snapshot_id` at `position`; position 0 starts it anew."""

    snapshot_id: SnapshotId
    position: int
    data: bytes


class LoadSnapshot(Struct, frozen=True):
    """The `.part` file is whole: check it, fsync, rename, drop the whole log, start it at the snapshot's end, reset the
    metadata image to it; then report `SnapshotLoaded` (or `SnapshotRefused` where the file is bad, with the log left as
    it was). Done and reported before any other event: until then the node speaks of a log that is gone."""

    snapshot_id: SnapshotId


# --- events ---------------------------------------------------------------------------------------------------------


class Tick(Struct, frozen=True):
    """Time has passed; due at `node.deadline()`."""


class Received(Struct, frozen=True):
    ticket: int
    request: Any


class Responded(Struct, frozen=True):
    """`response` None: refused, cut off or timed out."""

    request_id: int
    response: Any


class LogFlushed(Struct, frozen=True):
    end_offset: int
    truncation_count: int = 0


class Propose(Struct, frozen=True):
    """Append these record values as one batch, if still leader of `leader_epoch` and the log ends where expected."""

    leader_epoch: int
    expected_base_offset: int
    records: tuple[Any, ...]


class SnapshotTaken(Struct, frozen=True):
    """This node has made a snapshot of its own committed state; the log may have been cut up to `log_start_offset`."""

    snapshot_id: SnapshotId
    log_start_offset: int


class SnapshotLoaded(Struct, frozen=True):
    """Answers LoadSnapshot, with what the snapshot's control records say (None: says nothing)."""

    snapshot_id: SnapshotId
    kraft_version: int | None
    voters: tuple[Voter, ...] | None


class SnapshotRefused(Struct, frozen=True):
    snapshot_id: SnapshotId


class Resign(Struct, frozen=True):
    """Graceful stop, or a controller that failed: give leadership away. Others take no notice."""


Event = (
    Tick | Received | Responded | LogFlushed | Propose | SnapshotTaken | SnapshotLoaded | SnapshotRefused | Resign
)
