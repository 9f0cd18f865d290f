"""The log's way through the quorum: the leader's answers to Fetch, the follower's loop, snapshots, the high watermark.

INVARIANT: a voter asks for the next records only after what it has is durable, for its fetch offset is its word for it.
INVARIANT: the leader counts its own records only up to its flushed offset, and commits by counting only once a record
of its own epoch is held by a majority (Raft 5.4.2); the LeaderChange at its epoch's start is that record.
INVARIANT: nothing at or below the high watermark is truncated.
Not here: the bytes. A leader's answer leaves a hole that the driver fills; a follower's effect carries what came.
Sources: KIP-595, KIP-630, KIP-1166 (the high watermark in Fetch); PROTOCOL E.4.
"""

from __future__ import annotations

from cluster.raft import effects as fx
from cluster.raft import messages as msg
from cluster.raft import voter_changes
from cluster.raft.messages import NO_NODE, Batch, ReplicaKey
from cluster.raft.replica import FatalInconsistency, Replica
from cluster.raft.roles import FetchingSnapshot, Follower, Leader, ParkedFetch, Progress
from cluster.raft.voters import VoterSet
from pykafkacore.protocol.errors import Code

# --- the leader ------------------------------------------------------------------------------------------------------


def begin_epoch(node: Replica, role: Leader, now: int) -> None:
    """The first act of a leader: say so in the log, in a record of its own epoch."""
    control: list[msg.ControlRecord] = [
        msg.LeaderChange(node.key.node_id, node.voters.ids, role.granting_voter_ids),
    ]
    if node.history.kraft_version >= 1 and node.history.voters_offset < 0:
        # Known from the bootstrap snapshot only, which is never sent to anybody: the log must carry it.
        control.append(msg.KRaftVersion(node.history.kraft_version))
        control.append(msg.Voters(voter_changes.with_own_endpoints(node).voters))
    elif node.history.kraft_version >= 1 and voter_changes.with_own_endpoints(node) != node.voters:
        # Same members, other places: safe without waiting for anything, as every majority stays a majority.
        control.append(msg.Voters(voter_changes.with_own_endpoints(node).voters))
    node.emit(fx.BecameLeader(node.epoch, node.log.end_offset))
    node.append_control(tuple(control))
    for voter in node.voters.voters:
        if voter.key.node_id != node.key.node_id:
            role.progress[voter.key] = Progress(voter.key, begin_epoch_at=now)


def on_propose(node: Replica, event: fx.Propose, now: int) -> None:
    role = node.role
    if not isinstance(role, Leader) or node.epoch != event.leader_epoch:
        node.emit(fx.ProposalRefused(event.leader_epoch, f"not the leader of epoch {event.leader_epoch}"))
        return
    if event.expected_base_offset != node.log.end_offset:
        reason = f"the log ends at {node.log.end_offset}, not at {event.expected_base_offset}"
        node.emit(fx.ProposalRefused(event.leader_epoch, reason))
        return
    base_offset = node.log.end_offset
    node.append((Batch(base_offset, base_offset + len(event.records), node.epoch, records=event.records),))
    node.flush()


def on_flushed(node: Replica, event: fx.LogFlushed, now: int) -> None:
    if event.truncation_count != node.log.truncation_count:
        return  # older than a truncation: what was made durable there is gone
    node.log.flushed_offset = max(node.log.flushed_offset, min(event.end_offset, node.log.end_offset))
    if isinstance(node.role, Leader):
        update_high_watermark(node, node.role)


def leader_deadlines(node: Replica, role: Leader) -> list[int]:
    times = [parked.deadline for parked in role.parked]
    times.extend(progress.begin_epoch_at for progress in _other_voters(node, role))
    quorum_deadline = _quorum_deadline(node, role)
    if quorum_deadline is not None:
        times.append(quorum_deadline)
    if role.change is not None and not role.change.is_answered:
        times.append(role.change.deadline)
    return times


def poll_leader(node: Replica, role: Leader, now: int) -> None:
    quorum_deadline = _quorum_deadline(node, role)
    if voter_changes.must_resign(node) or (quorum_deadline is not None and now >= quorum_deadline):
        resign(node, role, now)
        return
    voter_changes.poll_change(node, role, now)
    _answer_parked(node, role, now)
    for progress in _other_voters(node, role):
        if now >= progress.begin_epoch_at:
            _send_begin_quorum_epoch(node, progress, now)
    _forget_observers(node, role, now)


def _other_voters(node: Replica, role: Leader) -> list[Progress]:
    others = []
    for voter in node.voters.voters:
        if voter.key.node_id != node.key.node_id:
            others.append(progress_of(node, role, voter.key))
    return others


def progress_of(node: Replica, role: Leader, replica: ReplicaKey) -> Progress:
    """The book on a replica; a voter's is kept under the voter's own key."""
    voter = node.voters.match(replica)
    key = voter.key if voter else replica
    progress = role.progress.get(key)
    if progress is None:
        # A voter that was added under way has been an observer, so its book moves along with it.
        progress = role.progress.pop(replica) if replica in role.progress else Progress(key)
        role.progress[key] = progress
        progress.key = key
    return progress


def _quorum_deadline(node: Replica, role: Leader) -> int | None:
    """When the leader must give up unless more voters fetch; None where it is a majority by itself."""
    needed = node.voters.majority - (1 if node.is_voter else 0)
    if needed <= 0:
        return None
    times = sorted((max(each.last_fetch_ms, role.since_ms) for each in _other_voters(node, role)), reverse=True)
    return times[needed - 1] + node.config.fetch_timeout_ms * 3 // 2


def _send_begin_quorum_epoch(node: Replica, progress: Progress, now: int) -> None:
    interval = node.config.fetch_timeout_ms // 2
    if progress.last_fetch_ms >= 0 and now - progress.last_fetch_ms < interval:
        progress.begin_epoch_at = progress.last_fetch_ms + interval
        return
    progress.begin_epoch_at = now + interval
    to = node.destination(progress.key.node_id)
    if to is None or not node.can_send(to.node_id, "begin_quorum_epoch", now):
        return
    request = msg.BeginQuorumEpochRequest(
        node.config.cluster_id, progress.key, node.key.node_id, node.epoch, node.config.endpoints
    )
    node.send(to, "begin_quorum_epoch", request, now)


def _forget_observers(node: Replica, role: Leader, now: int) -> None:
    expired = [
        key
        for key, progress in role.progress.items()
        if now - max(progress.last_fetch_ms, role.since_ms) > node.config.observer_expiry_ms
        and node.voters.match(key) is None
    ]
    for key in expired:
        del role.progress[key]


def on_fetch_request(node: Replica, request: msg.FetchRequest, ticket: int, now: int) -> None:
    error = node.leader_error(request.cluster_id, request.leader_epoch)
    if error == Code.NONE and (
        request.replica.node_id < 0 or request.fetch_offset < 0 or request.last_fetched_epoch < 0
    ):
        error = Code.INVALID_REQUEST
    if error != Code.NONE:
        node.emit(fx.Reply(ticket, _fetch_response(node, error)))
        return
    role = node.role
    assert isinstance(role, Leader)
    snapshot_id = node.log.snapshot_for(request.fetch_offset, request.last_fetched_epoch)
    if snapshot_id is not None:
        _note_contact(node, role, request.replica, now)
        node.emit(fx.Reply(ticket, _fetch_response(node, snapshot_id=snapshot_id)))
        return
    epoch, end_offset = node.log.end_of_epoch(request.last_fetched_epoch)
    if epoch != request.last_fetched_epoch or end_offset < request.fetch_offset:
        _note_contact(node, role, request.replica, now)
        response = _fetch_response(node, diverging_epoch=epoch, diverging_end_offset=end_offset)
        node.emit(fx.Reply(ticket, response))
        return
    _note_fetch(node, role, request, now)
    parked = ParkedFetch(
        ticket,
        request.replica,
        request.fetch_offset,
        request.high_watermark,
        max(0, request.max_bytes),
        now + max(0, request.max_wait_ms),
    )
    role.parked.append(parked)
    # Counting this replica may commit, and committing may be the very news it waits for: answer after counting.
    update_high_watermark(node, role)
    _answer_parked(node, role, now)


def _note_contact(node: Replica, role: Leader, replica: ReplicaKey, now: int) -> None:
    progress_of(node, role, replica).last_fetch_ms = now


def _note_fetch(node: Replica, role: Leader, request: msg.FetchRequest, now: int) -> None:
    progress = progress_of(node, role, request.replica)
    if request.fetch_offset >= node.log.end_offset:
        progress.last_caught_up_ms = now
    elif request.fetch_offset >= progress.leader_end_offset_at_fetch >= 0:
        progress.last_caught_up_ms = max(progress.last_caught_up_ms, progress.last_fetch_ms)
    progress.fetch_offset = request.fetch_offset
    progress.last_fetch_ms = now
    progress.leader_end_offset_at_fetch = node.log.end_offset


def _fetch_response(node: Replica, error: int = 0, **news: object) -> msg.FetchResponse:
    quorum = node.quorum_response()
    high_watermark = node.high_watermark if isinstance(node.role, Leader) else -1
    return msg.FetchResponse(
        error,
        quorum.leader_id,
        quorum.leader_epoch,
        quorum.leader_endpoint,
        high_watermark,
        node.log.start_offset,
        **news,  # type: ignore[arg-type]
    )


def describe_replicas(node: Replica, now: int) -> tuple[list[Progress], list[Progress]]:
    """(voters, observers) as this leader knows them, itself among the voters; times are -1 where nothing is known."""
    role = node.role
    if not isinstance(role, Leader):
        return [], []
    own = Progress(node.key, node.log.end_offset, now, now)
    voters = [
        own if voter.key.node_id == node.key.node_id else progress_of(node, role, voter.key)
        for voter in node.voters.voters
    ]
    observers = [progress for key, progress in sorted(role.progress.items()) if node.voters.match(key) is None]
    return voters, observers


def _answer_parked(node: Replica, role: Leader, now: int) -> None:
    """Answer those who have waited for records, for a higher high watermark, or long enough."""
    if not role.parked:
        return
    waiting: list[ParkedFetch] = []
    for parked in role.parked:
        has_records = parked.fetch_offset < node.log.end_offset
        has_news = parked.high_watermark is not None and parked.high_watermark < node.high_watermark
        if has_records and parked.fetch_offset >= node.log.start_offset:
            response = _fetch_response(node, records_from=parked.fetch_offset, max_bytes=parked.max_bytes)
            node.emit(fx.Reply(parked.ticket, response))
        elif has_news or now >= parked.deadline:
            node.emit(fx.Reply(parked.ticket, _fetch_response(node)))
        else:
            waiting.append(parked)
    role.parked = waiting


def release_all(node: Replica, role: Leader) -> None:
    """A leader that is none any more sends everybody away."""
    for parked in role.parked:
        node.emit(fx.Reply(parked.ticket, _fetch_response(node, Code.NOT_LEADER_OR_FOLLOWER)))
    role.parked = []


def update_high_watermark(node: Replica, role: Leader) -> None:
    if not node.voters.voters:
        return
    ends = []
    for voter in node.voters.voters:
        if voter.key.node_id == node.key.node_id:
            ends.append(node.log.flushed_offset if node.is_voter else -1)
        else:
            ends.append(progress_of(node, role, voter.key).fetch_offset)
    ends.sort(reverse=True)
    majority_end = min(ends[node.voters.majority - 1], node.log.end_offset)
    if majority_end > role.epoch_start_offset and node.advance_high_watermark(majority_end):
        node.history.forget_below(node.log.start_offset)
        voter_changes.on_committed(node, role)


def resign(node: Replica, role: Leader, now: int) -> None:
    """Lead no more. Of the other voters the one with the longest log is to stand first."""
    others = sorted(_other_voters(node, role), key=lambda each: (-each.fetch_offset, each.key.node_id))
    node.to_resigned(tuple(progress.key for progress in others), now)


def on_fetch_snapshot_request(node: Replica, request: msg.FetchSnapshotRequest, ticket: int, now: int) -> None:
    error = node.leader_error(request.cluster_id, request.leader_epoch)
    if error == Code.NONE and request.position < 0:
        error = Code.POSITION_OUT_OF_RANGE
    if error == Code.NONE and request.snapshot_id == msg.BOOTSTRAP_SNAPSHOT:
        error = Code.SNAPSHOT_NOT_FOUND
    quorum = node.quorum_response()
    if error == Code.NONE:
        assert isinstance(node.role, Leader)
        # A voter that downloads is alive, though it acknowledges nothing.
        _note_contact(node, node.role, request.replica, now)
    node.emit(
        fx.Reply(
            ticket,
            msg.FetchSnapshotResponse(
                error,
                quorum.leader_id,
                quorum.leader_epoch,
                quorum.leader_endpoint,
                request.snapshot_id,
                request.position,
                min(request.max_bytes, node.config.fetch_snapshot_max_bytes),
            ),
        )
    )


# --- the follower ----------------------------------------------------------------------------------------------------


def poll_follower(node: Replica, role: Follower, now: int) -> None:
    if now >= role.fetch_deadline:
        if node.is_voter:
            node.to_prospective(now)
        else:
            node.to_unattached(node.epoch, now)
        return
    to = node.destination(node.leader_id)
    if to is None:
        return
    if role.snapshot is not None:
        if not role.snapshot.is_loading and node.can_send(to.node_id, "fetch_snapshot", now):
            _send_fetch_snapshot(node, to, role.snapshot, now)
        return
    voter_changes.poll_update(node, role, to, now)
    if _may_acknowledge(node) and node.can_send(to.node_id, "fetch", now):
        _send_fetch(node, to, "fetch", now)


def _may_acknowledge(node: Replica) -> bool:
    """Whether a fetch offset may be told: to whoever leads it is the promise that all below it is durable here."""
    is_durable = node.log.flushed_offset >= node.log.end_offset
    return is_durable or not (node.is_voter or node.config.may_become_voter)


def _send_fetch(node: Replica, to: fx.Destination, kind: str, now: int) -> None:
    request = msg.FetchRequest(
        node.config.cluster_id,
        node.key,
        node.epoch,
        node.log.end_offset,
        node.log.last_epoch,
        node.high_watermark,
        node.config.fetch_max_wait_ms if kind == "fetch" else 0,
        node.config.fetch_max_bytes,
    )
    node.send(to, kind, request, now, (node.epoch, node.log.end_offset), request.max_wait_ms)


def find_leader(node: Replica, now: int) -> None:
    """Without a leader that can be reached: ask some voter or bootstrap server, which names the one it knows."""
    if not _may_acknowledge(node) or not node.can_send(NO_NODE, "find", now):
        return
    if node.is_busy_with("find"):
        return
    known = [node.destination(voter.key.node_id) for voter in node.voters.voters if voter.key != node.key]
    places = [to for to in known if to is not None and to.node_id != node.key.node_id]
    for index, (host, port) in enumerate(node.config.bootstrap_servers):
        places.append(fx.Destination(-2 - index, host, port))
    if places:
        _send_fetch(node, places[node.choose(len(places))], "find", now)


def on_find_response(
    node: Replica, peer: int, response: msg.FetchResponse | None, context: tuple[int, int], now: int
) -> None:
    node.back_off(NO_NODE, "find", now, 5 * node.config.retry_backoff_ms)
    if response is not None:
        node.learn(response.leader_id, response.leader_epoch, response.leader_endpoint, now)


def on_fetch_response(
    node: Replica, peer: int, response: msg.FetchResponse | None, context: tuple[int, int], now: int
) -> None:
    if response is None:
        node.back_off(peer, "fetch", now)
        return
    if node.learn(response.leader_id, response.leader_epoch, response.leader_endpoint, now):
        return
    role = node.role
    if not isinstance(role, Follower) or context != (node.epoch, node.log.end_offset) or role.snapshot is not None:
        return
    if response.error != Code.NONE:
        node.back_off(peer, "fetch", now)
        return
    role.fetch_deadline = now + node.config.fetch_timeout_ms
    if response.snapshot_id is not None:
        if response.snapshot_id.end_offset < node.high_watermark:
            node.back_off(peer, "fetch", now)
            return
        role.snapshot = FetchingSnapshot(response.snapshot_id)
    elif response.diverging_epoch is not None:
        _truncate_to(node, response.diverging_epoch, response.diverging_end_offset)
    else:
        role.has_fetched = True
        _append_fetched(node, response)
        node.advance_high_watermark(min(response.high_watermark, node.log.end_offset))


def _truncate_to(node: Replica, leader_epoch: int, leader_end_offset: int) -> None:
    """Go back to the last point where both logs may agree; the next fetch asks again from there."""
    epoch, end_offset = node.log.end_of_epoch(leader_epoch)
    if epoch == leader_epoch:
        end_offset = min(end_offset, leader_end_offset)
    end_offset = min(end_offset, node.log.end_offset)
    if end_offset < node.high_watermark:
        raise FatalInconsistency(
            f"leader {node.leader_id} of epoch {node.epoch} diverges at {end_offset}, below the high watermark "
            f"{node.high_watermark}: a committed record would be lost"
        )
    if end_offset < node.log.end_offset:
        node.log.truncate(end_offset)
        node.history.truncate(end_offset)
        node.emit(fx.TruncateLog(end_offset))
        if node.log.flushed_offset < end_offset:
            node.flush()


def _append_fetched(node: Replica, response: msg.FetchResponse) -> None:
    end_offset, last_epoch = node.log.end_offset, node.log.last_epoch
    batches = []
    for batch in response.batches:
        # A batch from the future of this epoch, or a gap, is not a leader's to send: take what came before it.
        if not last_epoch <= batch.leader_epoch <= node.epoch or batch.base_offset != end_offset:
            break
        if batch.end_offset <= batch.base_offset:
            break
        end_offset, last_epoch = batch.end_offset, batch.leader_epoch
        batches.append(batch)
    if batches:
        node.append(tuple(batches))
        node.flush()


def _send_fetch_snapshot(node: Replica, to: fx.Destination, snapshot: FetchingSnapshot, now: int) -> None:
    request = msg.FetchSnapshotRequest(
        node.config.cluster_id,
        node.key,
        node.epoch,
        snapshot.snapshot_id,
        snapshot.position,
        node.config.fetch_snapshot_max_bytes,
    )
    node.send(to, "fetch_snapshot", request, now, (node.epoch, snapshot.snapshot_id, snapshot.position))


def on_fetch_snapshot_response(
    node: Replica,
    peer: int,
    response: msg.FetchSnapshotResponse | None,
    context: tuple[int, msg.SnapshotId, int],
    now: int,
) -> None:
    if response is None:
        node.back_off(peer, "fetch_snapshot", now)
        return
    if node.learn(response.leader_id, response.leader_epoch, response.leader_endpoint, now):
        return
    role = node.role
    if not isinstance(role, Follower) or role.snapshot is None or role.snapshot.is_loading:
        return
    snapshot = role.snapshot
    if context != (node.epoch, snapshot.snapshot_id, snapshot.position):
        return
    if response.error != Code.NONE:
        # The leader has a newer one, or is none: ask it again what to do.
        role.snapshot = None
        node.back_off(peer, "fetch", now)
        return
    is_wrong = response.snapshot_id != snapshot.snapshot_id or response.position != snapshot.position
    if is_wrong or (not response.data and response.size > snapshot.position):
        node.back_off(peer, "fetch_snapshot", now)
        return
    role.fetch_deadline = now + node.config.fetch_timeout_ms
    node.emit(fx.WriteSnapshotChunk(snapshot.snapshot_id, snapshot.position, response.data))
    snapshot.position += len(response.data)
    if snapshot.position >= response.size:
        snapshot.is_loading = True
        node.emit(fx.LoadSnapshot(snapshot.snapshot_id))


# --- snapshots on this node ------------------------------------------------------------------------------------------


def on_snapshot_loaded(node: Replica, event: fx.SnapshotLoaded, now: int) -> None:
    # The driver has dropped the log already, so this counts even if the role has changed meanwhile.
    node.log.restart_at(event.snapshot_id)
    offset = event.snapshot_id.end_offset - 1
    node.history.restart(offset, event.kraft_version, VoterSet(event.voters) if event.voters is not None else None)
    node.advance_high_watermark(event.snapshot_id.end_offset)
    if isinstance(node.role, Follower):
        node.role.snapshot = None
        node.role.fetch_deadline = now + node.config.fetch_timeout_ms


def on_snapshot_refused(node: Replica, event: fx.SnapshotRefused, now: int) -> None:
    if isinstance(node.role, Follower) and node.role.snapshot is not None:
        node.role.snapshot = None
        node.back_off(node.leader_id, "fetch", now, node.config.fetch_timeout_ms // 2)


def on_snapshot_taken(node: Replica, event: fx.SnapshotTaken, now: int) -> None:
    assert event.snapshot_id.end_offset <= node.high_watermark, "a snapshot holds committed records only"
    if node.log.snapshot_id is None or event.snapshot_id > node.log.snapshot_id:
        node.log.snapshot_id = event.snapshot_id
    if event.log_start_offset > node.log.start_offset:
        node.log.cut_start(event.log_start_offset)
