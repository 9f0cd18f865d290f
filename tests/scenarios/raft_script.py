"""Runs scripts over Raft nodes by hand: no time passes and nothing is delivered unless the script says so.

    start N           start (or restart) node N with what its disk holds
    at MS             move the clock, and give every running node a tick
    deliver           carry messages and finish flushes until nothing is left
    cut A B / heal    messages between A and B are lost / all links work
    propose N V...    propose values on node N
    crash N           node N forgets what it had not flushed
    resign N          ask node N to resign
    show              every node's role, epoch, leader, log end, high watermark

Each command's output (one line per effect that matters) is compared with what the script expects.
"""

from __future__ import annotations

from random import Random
from typing import Any

from msgspec.structs import replace

from cluster.raft import effects as fx
from cluster.raft import messages as msg
from cluster.raft.messages import Batch, Voter
from cluster.raft.node import RaftNode
from cluster.raft.replica import RaftConfig
from cluster.raft.voters import VoterSet
from tests.sim.cluster import CLUSTER_ID, endpoint, replica_key
from tests.sim.disk import SimDisk


class Script:
    def __init__(self, node_count: int) -> None:
        ids = range(1, node_count + 1)
        voters = VoterSet(tuple(Voter(replica_key(i), (endpoint(i),)) for i in ids))
        self.disks = {i: SimDisk(voters, 1) for i in ids}
        self.nodes: dict[int, RaftNode] = {}
        self.now = 0
        self.cuts: set[frozenset[int]] = set()
        self.queue: list[tuple[Any, ...]] = []
        self.tickets: dict[int, tuple[int, int, Any]] = {}
        self.lines: list[str] = []
        self._ticket = 0

    def run(self, command: str) -> list[str]:
        self.lines = []
        word, *arguments = command.split()
        getattr(self, f"do_{word}")(*arguments)
        return self.lines

    # --- commands ---------------------------------------------------------------------------------------------------

    def do_start(self, name: str) -> None:
        node_id = int(name)
        disk = self.disks[node_id]
        log, history = disk.load()
        config = RaftConfig(node_id, replica_key(node_id).directory_id, CLUSTER_ID, (endpoint(node_id),))
        node = self.nodes[node_id] = RaftNode(config, Random(node_id), disk.quorum_state, log, history)
        self._effects(node_id, node.start(self.now))

    def do_at(self, time: str) -> None:
        self.now = int(time)
        for node_id in sorted(self.nodes):
            self._step(node_id, fx.Tick())

    def do_deliver(self) -> None:
        for _ in range(1000):
            if not self.queue:
                return
            kind, node_id, *rest = self.queue.pop(0)
            if node_id in self.nodes:
                getattr(self, f"_{kind}")(node_id, *rest)
        raise AssertionError("the messages never end")

    def do_cut(self, a: str, b: str) -> None:
        self.cuts.add(frozenset((int(a), int(b))))

    def do_heal(self) -> None:
        self.cuts.clear()

    def do_propose(self, name: str, *values: str) -> None:
        node = self.nodes[int(name)]
        self._step(int(name), fx.Propose(node.epoch, node.log.end_offset, values))

    def do_crash(self, name: str) -> None:
        node_id = int(name)
        del self.nodes[node_id]
        disk = self.disks[node_id]
        disk.truncate(disk.synced_offset)
        self.queue = [each for each in self.queue if each[1] != node_id]

    def do_resign(self, name: str) -> None:
        self._step(int(name), fx.Resign())

    def do_show(self) -> None:
        for node_id, node in sorted(self.nodes.items()):
            epochs = " ".join(f"{epoch}@{offset}" for epoch, offset in node.log.epochs)
            self.lines.append(
                f"{node_id} {type(node.role).__name__} epoch={node.epoch} leader={node.leader_id} "
                f"log=[{epochs}]{node.log.end_offset} hw={node.high_watermark}"
            )

    # --- carrying things out ----------------------------------------------------------------------------------------

    def _step(self, node_id: int, event: Any) -> None:
        self._effects(node_id, self.nodes[node_id].step(event, self.now))

    def _effects(self, node_id: int, effects: list[Any]) -> None:
        for effect in effects:
            self._effect(node_id, effect)

    def _effect(self, node_id: int, effect: Any) -> None:
        disk = self.disks[node_id]
        if isinstance(effect, fx.PersistQuorumState):
            disk.quorum_state = effect.state
            voted = effect.state.voted.node_id if effect.state.voted else "-"
            self.lines.append(f"{node_id} persist epoch={effect.state.leader_epoch} voted={voted} "
                              f"leader={effect.state.leader_id}")
        elif isinstance(effect, fx.AppendToLog):
            disk.append(effect.batches)
            for batch in effect.batches:
                self.lines.append(f"{node_id} append {batch.base_offset}..{batch.end_offset} {self._content(batch)}")
        elif isinstance(effect, fx.TruncateLog):
            disk.truncate(effect.end_offset)
            self.lines.append(f"{node_id} truncate to {effect.end_offset}")
        elif isinstance(effect, fx.Flush):
            self.queue.append(("flush", node_id, effect))
        elif isinstance(effect, fx.Send):
            self._sent(node_id, effect)
        elif isinstance(effect, fx.Reply):
            self._replied(node_id, effect)
        elif isinstance(effect, fx.Committed):
            self.lines.append(f"{node_id} committed {effect.high_watermark}")
        elif isinstance(effect, fx.BecameLeader):
            self.lines.append(f"{node_id} leads epoch {effect.leader_epoch}")
        elif isinstance(effect, fx.LostLeadership):
            self.lines.append(f"{node_id} lost epoch {effect.leader_epoch}")

    def _content(self, batch: Batch) -> str:
        if batch.control:
            return "+".join(type(record).__name__ for record in batch.control)
        return " ".join(batch.records)

    def _sent(self, node_id: int, send: fx.Send) -> None:
        target = send.to.port - 9000
        if not isinstance(send.request, msg.FetchRequest):
            name = type(send.request).__name__.removesuffix("Request")
            if isinstance(send.request, msg.VoteRequest) and send.request.pre_vote:
                name = "PreVote"
            self.lines.append(f"{node_id} -> {target} {name}")
        if frozenset((node_id, target)) not in self.cuts:
            self.queue.append(("receive", target, node_id, send))

    def _replied(self, node_id: int, reply: fx.Reply) -> None:
        sender, request_id, request = self.tickets.pop(reply.ticket)
        response = reply.response
        if isinstance(response, msg.QuorumResponse):
            verdict = f"error {response.error}" if response.error else "ok"
            if isinstance(request, msg.VoteRequest) and not response.error:
                verdict = "granted" if response.vote_granted else "refused"
            self.lines.append(f"{node_id} => {sender} {verdict}")
        elif isinstance(response, msg.FetchResponse):
            if response.records_from is not None:
                batches = self.disks[node_id].read(response.records_from, 10)
                response = replace(response, batches=batches, records_from=None)
            if response.diverging_epoch is not None:
                end = response.diverging_end_offset
                self.lines.append(f"{node_id} => {sender} diverges: epoch {response.diverging_epoch} ends at {end}")
        if frozenset((node_id, sender)) not in self.cuts:
            self.queue.append(("answer", sender, request_id, response))

    def _flush(self, node_id: int, flush: fx.Flush) -> None:
        if flush.truncation_count == self.nodes[node_id].log.truncation_count:
            self.disks[node_id].sync(flush.end_offset)
            self._step(node_id, fx.LogFlushed(flush.end_offset, flush.truncation_count))

    def _receive(self, node_id: int, sender: int, send: fx.Send) -> None:
        self._ticket += 1
        self.tickets[self._ticket] = (sender, send.request_id, send.request)
        self._step(node_id, fx.Received(self._ticket, send.request))

    def _answer(self, node_id: int, request_id: int, response: Any) -> None:
        self._step(node_id, fx.Responded(request_id, response))
