"""A cluster of Raft nodes over a simulated network and disks, driven by one integer seed, checked after every step.

Faults come first: delay, loss, duplication, partitions, crashes that lose unsynced data, snapshots, changes of the
voters. Then all is healed, and the cluster must elect, commit and converge.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random
from typing import Any

from msgspec.structs import replace

from cluster.raft import effects as fx
from cluster.raft import messages as msg
from cluster.raft.messages import Endpoint, ReplicaKey, SnapshotId, Voter
from cluster.raft.node import RaftNode
from cluster.raft.replica import RaftConfig
from cluster.raft.voters import VoterSet
from tests.sim.disk import SimDisk, SimSnapshot
from tests.sim.invariants import Invariant, all_invariants

CLUSTER_ID = "simulated-cluster"


class InvariantViolated(AssertionError):
    pass


def endpoint(node_id: int) -> Endpoint:
    return Endpoint("CONTROLLER", f"node{node_id}", 9000 + node_id)


def replica_key(node_id: int) -> ReplicaKey:
    return ReplicaKey(node_id, bytes(15) + bytes([100 + node_id]))


class SimNode:
    def __init__(self, node_id: int, disk: SimDisk) -> None:
        self.node_id = node_id
        self.disk = disk
        self.raft: RaftNode | None = None
        self.life = 0
        self.values: list[Any] = []
        self.applied_offset = 0
        self.part: SimSnapshot | None = None
        self.tick_at: int | None = None


class SimCluster:
    def __init__(self, seed: int, node_count: int, kraft_version: int = 1, spare_count: int = 0) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.now = 0
        self.step_count = 0
        self.kraft_version = kraft_version
        ids = range(1, node_count + 1)
        keys = [replica_key(i) if kraft_version else ReplicaKey(i) for i in ids]
        voters = VoterSet(tuple(Voter(key, (endpoint(key.node_id),)) for key in keys))
        self.nodes = {i: SimNode(i, SimDisk(voters, kraft_version)) for i in ids}
        for i in range(node_count + 1, node_count + spare_count + 1):
            self.nodes[i] = SimNode(i, SimDisk(VoterSet(), kraft_version))
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0
        self._next_value = 0
        self._next_ticket = 0
        self._replies: dict[int, Callable[[Any], None]] = {}
        self.loss = 0.0
        self.duplication = 0.0
        self.delay_max = 5
        self.crash_chance = 0.0
        self.cut: set[tuple[int, int]] = set()
        self.invariants: list[Invariant] = all_invariants()
        self.committed_values: dict[int, Any] = {}
        self.answers: list[Any] = []

    # --- time -------------------------------------------------------------------------------------------------------

    def at(self, delay: int, action: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._queue, (self.now + delay, self._sequence, action))

    def run(self, duration_ms: int) -> None:
        end = self.now + duration_ms
        while self._queue and self._queue[0][0] <= end:
            self.now, _, action = heapq.heappop(self._queue)
            action()
        self.now = end

    # --- nodes ------------------------------------------------------------------------------------------------------

    def start(self, node_id: int) -> None:
        node = self.nodes[node_id]
        assert node.raft is None
        node.life += 1
        node.tick_at = None
        log, history = node.disk.load()
        config = RaftConfig(
            node_id,
            replica_key(node_id).directory_id,
            CLUSTER_ID,
            (endpoint(node_id),),
            tuple((endpoint(i).host, endpoint(i).port) for i in self.nodes if i != node_id),
        )
        node.raft = RaftNode(config, Random(self.random.randrange(2**32)), node.disk.quorum_state, log, history)
        snapshot = node.disk.snapshot
        node.values = list(snapshot.values) if snapshot else []
        node.applied_offset = snapshot.snapshot_id.end_offset if snapshot else 0
        node.part = None
        for invariant in self.invariants:
            invariant.on_start(self, node)
        self._carry_out(node, node.raft.start(self.now))

    def _restart(self, node: SimNode, life: int) -> None:
        if node.raft is None and node.life == life:
            self.start(node.node_id)

    def crash(self, node_id: int) -> None:
        node = self.nodes[node_id]
        if node.raft is not None:
            node.raft = None
            node.disk.crash(self.random)

    def step(self, node: SimNode, event: Any) -> list[Any]:
        assert node.raft is not None
        effects = node.raft.step(event, self.now)
        self._carry_out(node, effects)
        return effects

    def _carry_out(self, node: SimNode, effects: list[Any]) -> None:
        self.step_count += 1
        for effect in effects:
            self._effect(node, effect)
        self._check(node, effects)
        self._arm(node)
        if self.random.random() < self.crash_chance:
            # Right between two steps, and soon back: what was not made durable is forgotten while it still matters.
            life = node.life
            self.at(0, lambda: self.crash(node.node_id) if node.life == life else None)
            self.at(1 + self.random.randrange(50), lambda: self._restart(node, life))

    def _check(self, node: SimNode, effects: list[Any]) -> None:
        for invariant in self.invariants:
            try:
                invariant.check(self, node, effects)
            except AssertionError as error:
                name = type(invariant).__name__
                raise InvariantViolated(f"{name}: node {node.node_id} at {self.now} ms: {error}") from error

    def _arm(self, node: SimNode) -> None:
        assert node.raft is not None
        deadline = node.raft.deadline()
        if deadline is None or (node.tick_at is not None and self.now < node.tick_at <= deadline):
            return
        assert deadline > self.now, f"node {node.node_id} wants a tick in the past: {deadline} at {self.now}"
        node.tick_at = deadline
        life = node.life

        def tick() -> None:
            if node.raft is not None and node.life == life and node.tick_at == self.now:
                node.tick_at = None
                self.step(node, fx.Tick())

        self.at(deadline - self.now, tick)

    def _effect(self, node: SimNode, effect: Any) -> None:
        assert node.raft is not None
        life = node.life
        if isinstance(effect, fx.PersistQuorumState):
            node.disk.quorum_state = effect.state
        elif isinstance(effect, fx.AppendToLog):
            node.disk.append(effect.batches)
        elif isinstance(effect, fx.TruncateLog):
            node.disk.truncate(effect.end_offset)
        elif isinstance(effect, fx.Flush):
            self.at(self.random.randrange(8), lambda: self._flush(node, life, effect))
        elif isinstance(effect, fx.Send):
            self._send(node, life, effect)
        elif isinstance(effect, fx.Reply):
            answer = self._replies.pop(effect.ticket, None)
            if answer is not None:
                answer(self._fill(node, effect.response))
        elif isinstance(effect, fx.Committed):
            self._apply(node, effect.high_watermark)
        elif isinstance(effect, fx.WriteSnapshotChunk):
            pass
        elif isinstance(effect, fx.LoadSnapshot):
            assert node.part is not None
            snapshot = node.part
            node.disk.install(snapshot)
            node.values = list(snapshot.values)
            node.applied_offset = snapshot.snapshot_id.end_offset
            for invariant in self.invariants:
                invariant.on_start(self, node)
            self.step(node, fx.SnapshotLoaded(snapshot.snapshot_id, snapshot.kraft_version, snapshot.voters.voters))

    def _flush(self, node: SimNode, life: int, effect: fx.Flush) -> None:
        if node.raft is None or node.life != life or effect.truncation_count != node.raft.log.truncation_count:
            return
        node.disk.sync(effect.end_offset)
        self.step(node, fx.LogFlushed(effect.end_offset, effect.truncation_count))

    def _apply(self, node: SimNode, high_watermark: int) -> None:
        for batch in node.disk.batches:
            if node.applied_offset <= batch.base_offset < high_watermark:
                assert batch.end_offset <= high_watermark or not batch.records, "half a batch committed"
                node.values.extend(batch.records)
                node.applied_offset = batch.end_offset
                for value in batch.records:
                    self.committed_values[value] = batch.base_offset

    # --- network ----------------------------------------------------------------------------------------------------

    def _is_cut(self, a: int, b: int) -> bool:
        return (a, b) in self.cut or self.random.random() < self.loss

    def _send(self, node: SimNode, life: int, send: fx.Send) -> None:
        target_id = send.to.port - 9000
        copies = 2 if self.random.random() < self.duplication else 1
        for _ in range(copies):
            if not self._is_cut(node.node_id, target_id):
                delay = 1 + self.random.randrange(self.delay_max)
                self.at(delay, lambda: self._deliver(node, life, self.nodes[target_id], send))

    def _deliver(self, sender: SimNode, life: int, target: SimNode, send: fx.Send) -> None:
        def answer(response: Any) -> None:
            if self._is_cut(target.node_id, sender.node_id):
                return
            delay = 1 + self.random.randrange(self.delay_max)
            self.at(delay, lambda: self._answer(sender, life, send, response))

        if target.raft is None:
            answer(None)
            return
        if isinstance(send.request, msg.ApiVersionsProbe):
            answer(msg.ApiVersionsProbed(0, 0, 1))
            return
        self.request(target, send.request, answer)

    def request(self, target: SimNode, request: Any, answer: Callable[[Any], None]) -> None:
        self._next_ticket += 1
        self._replies[self._next_ticket] = answer
        self.step(target, fx.Received(self._next_ticket, request))

    def _answer(self, sender: SimNode, life: int, send: fx.Send, response: Any) -> None:
        if sender.raft is None or sender.life != life:
            return
        if isinstance(response, tuple):  # a snapshot travels beside its response
            response, snapshot = response
            sender.part = snapshot
        self.step(sender, fx.Responded(send.request_id, response))

    def _fill(self, node: SimNode, response: Any) -> Any:
        if isinstance(response, msg.FetchResponse) and response.records_from is not None:
            return replace(response, batches=node.disk.read(response.records_from, 3), records_from=None)
        if isinstance(response, msg.FetchSnapshotResponse) and response.error == 0:
            snapshot = node.disk.snapshot
            if snapshot is None or snapshot.snapshot_id != response.snapshot_id:
                return replace(response, error=98)
            data = b"x" * min(7, snapshot.size - response.position)
            return replace(response, size=snapshot.size, data=data), snapshot
        return response

    # --- what happens to it -----------------------------------------------------------------------------------------

    def leaders(self) -> list[SimNode]:
        return [node for node in self.nodes.values() if node.raft is not None and node.raft.is_leader]

    def propose(self) -> None:
        for node in self.leaders():
            raft = node.raft
            assert raft is not None
            values = tuple(range(self._next_value, self._next_value + 1 + self.random.randrange(3)))
            self._next_value += len(values)
            self.step(node, fx.Propose(raft.epoch, raft.log.end_offset, values))

    def take_snapshot(self, node: SimNode) -> None:
        raft = node.raft
        if raft is None or node.applied_offset == 0 or node.applied_offset <= raft.log.start_offset:
            return
        end_offset = node.applied_offset
        if end_offset > raft.log.end_offset:
            return
        epoch = next(
            (batch.leader_epoch for batch in reversed(node.disk.batches) if batch.end_offset <= end_offset), None
        )
        if epoch is None:
            return
        kraft_version, voters = raft.history.at(end_offset)
        snapshot = SimSnapshot(SnapshotId(end_offset, epoch), kraft_version, voters, tuple(node.values))
        start = end_offset if self.random.random() < 0.5 else raft.log.start_offset
        node.disk.take_snapshot(snapshot, start)
        self.step(node, fx.SnapshotTaken(snapshot.snapshot_id, start))

    def change_voters(self) -> None:
        for node in self.leaders():
            assert node.raft is not None
            target = self.random.choice(sorted(self.nodes))
            if node.raft.voters.get(target) is None:
                request: Any = msg.AddVoterRequest(CLUSTER_ID, replica_key(target), (endpoint(target),), 3000)
            elif len(node.raft.voters.voters) > 2:
                request = msg.RemoveVoterRequest(CLUSTER_ID, replica_key(target))
            else:
                continue
            self.request(node, request, self.answers.append)

    def wreak(self, crash: bool, reconfigure: bool) -> None:
        """One random mishap."""
        ids = sorted(self.nodes)
        choice = self.random.randrange(10)
        if choice <= 2 and crash:
            self.crash(self.random.choice(ids))
        elif choice <= 4:
            for node_id in ids:
                if self.nodes[node_id].raft is None:
                    self.start(node_id)
        elif choice == 5:
            side = {node_id for node_id in ids if self.random.random() < 0.5}
            self.cut = {(a, b) for a in ids for b in ids if (a in side) != (b in side)}
        elif choice == 6:
            self.cut = {(self.random.choice(ids), self.random.choice(ids)) for _ in range(len(ids))}
        elif choice == 7:
            self.cut = set()
            self.loss = self.random.choice([0.0, 0.05, 0.3])
            self.duplication = self.random.choice([0.0, 0.2])
            self.delay_max = self.random.choice([2, 20, 400])
            self.crash_chance = self.random.choice([0.0, 0.005, 0.03])
        elif choice == 8:
            self.take_snapshot(self.nodes[self.random.choice(ids)])
        elif choice == 9:
            for leader in self.leaders():
                if self.random.random() < 0.3:
                    self.step(leader, fx.Resign())
                elif reconfigure:
                    self.change_voters()

    def heal(self) -> None:
        self.cut, self.loss, self.duplication, self.delay_max = set(), 0.0, 0.0, 5
        self.crash_chance = 0.0
        for node_id in sorted(self.nodes):
            if self.nodes[node_id].raft is None:
                self.start(node_id)


def simulate(seed: int, node_count: int, rounds: int = 60, kraft_version: int = 1, spare_count: int = 0) -> SimCluster:
    """A run of faults, then of healing. Raises what is wrong, with the line that replays it."""
    cluster = SimCluster(seed, node_count, kraft_version, spare_count)
    try:
        for node_id in sorted(cluster.nodes):
            cluster.start(node_id)
        for _ in range(rounds):
            cluster.run(cluster.random.randrange(50, 1500))
            for _ in range(cluster.random.randrange(4)):
                cluster.propose()
                cluster.run(cluster.random.randrange(30))
            cluster.wreak(crash=True, reconfigure=spare_count > 0)
        cluster.heal()
        cluster.run(30_000)
        _check_alive(cluster)
    except Exception as error:
        error.add_note(
            f"replay: python -m tests.sim.run --seed {seed} --nodes {node_count} --rounds {rounds}"
            f" --kraft-version {kraft_version} --spares {spare_count}"
        )
        raise
    return cluster


def _check_alive(cluster: SimCluster) -> None:
    leaders = cluster.leaders()
    assert leaders, "no leader 30 s after all was healed"
    first = cluster._next_value
    cluster.propose()
    cluster.run(5_000)
    assert first in cluster.committed_values, "a record is not committed 5 s after it was proposed"
    histories = {tuple(node.values) for node in cluster.nodes.values()}
    assert len(histories) == 1, f"the nodes applied {len(histories)} different histories"
