"""Controllers on top of the simulated Raft cluster: brokers register, topics come and go, leaders change and crash.

What must hold besides Raft's own invariants: what was acknowledged is there (or was deleted later), and all nodes end
with the same image, which is the one that replaying the committed log gives.
"""

from __future__ import annotations

from random import Random
from typing import Any

from cluster.config.settings import BrokerSettings
from cluster.coordinator.runtime import Append, Dropped, Fail, Faulted, Respond, ShardRuntime
from cluster.metadata.controller import Controller
from cluster.metadata.controller_state import ControllerRequest, ControllerSettings, Policies
from cluster.metadata.features import SUPPORTED
from cluster.metadata.loader import MetadataLoader
from cluster.metadata.records import frame
from cluster.raft import effects as fx
from pykafkacore.protocol.apis import api
from tests.sim.cluster import CLUSTER_ID, SimCluster, SimNode

STATIC = {"node.id": "1", "process.roles": "controller", "controller.listener.names": "CONTROLLER"}


class Host:
    """What a node has besides Raft: the committed image, and while it leads a controller."""

    def __init__(self) -> None:
        self.loader = MetadataLoader()
        self.runtime = ShardRuntime(frame)
        self.leads_from: tuple[int, int] | None = None


class ControllerCluster(SimCluster):
    def __init__(self, seed: int, node_count: int, kraft_version: int = 1, spare_count: int = 0) -> None:
        super().__init__(seed, node_count, kraft_version, spare_count)
        self.hosts: dict[int, Host] = {}
        self.settings = ControllerSettings(CLUSTER_ID, 1000, BrokerSettings(STATIC))
        self.acknowledged: dict[str, bytes] = {}
        self.deleted: set[str] = set()
        self.epochs: dict[int, int] = {}
        self._asked: dict[int, tuple[str, Any]] = {}
        self._next_topic = 0
        self._next_ask = 0

    # --- hosting ----------------------------------------------------------------------------------------------------

    def start(self, node_id: int) -> None:
        host = self.hosts[node_id] = Host()
        snapshot = self.nodes[node_id].disk.snapshot
        if snapshot is not None:
            host.loader.load_snapshot(
                snapshot.snapshot_id.end_offset, snapshot.snapshot_id.leader_epoch, snapshot.values
            )
        super().start(node_id)

    def _effect(self, node: SimNode, effect: Any) -> None:
        host = self.hosts[node.node_id]
        if isinstance(effect, fx.LoadSnapshot):
            assert node.part is not None
            host.loader.load_snapshot(
                effect.snapshot_id.end_offset, effect.snapshot_id.leader_epoch, node.part.values
            )
        super()._effect(node, effect)
        if isinstance(effect, fx.BecameLeader):
            host.leads_from = (effect.leader_epoch, effect.epoch_start_offset)
        elif isinstance(effect, fx.LostLeadership):
            host.leads_from = None
            self._carry(node, host.runtime.stop("leadership moved on"))
        elif isinstance(effect, fx.ProposalRefused):
            self._carry(node, host.runtime.append_failed(effect.leader_epoch, effect.reason))
        elif isinstance(effect, fx.Committed):
            self._load(node, effect.high_watermark)
            self._activate(node)
            self._carry(node, host.runtime.committed(effect.high_watermark))

    def _load(self, node: SimNode, high_watermark: int) -> None:
        loader = self.hosts[node.node_id].loader
        for batch in node.disk.batches:
            if loader.offset <= batch.base_offset < high_watermark:
                if batch.control:
                    loader.skip(batch.end_offset, batch.leader_epoch)
                else:
                    loader.load(batch.base_offset, batch.leader_epoch, batch.records)

    def _activate(self, node: SimNode) -> None:
        """Take over once all that is in the log is committed and known here."""
        host, raft = self.hosts[node.node_id], node.raft
        if host.leads_from is None or host.runtime.is_active or raft is None or not raft.is_leader:
            return
        leader_epoch, start_offset = host.leads_from
        if host.loader.offset <= start_offset or host.loader.offset != raft.log.end_offset:
            return
        controller = Controller(
            host.loader.image(), self.settings, Policies(), Random(self.random.randrange(2**32))
        )
        offset = host.loader.offset
        self._carry(node, host.runtime.start(controller, leader_epoch, offset, offset, self.now))

    def _carry(self, node: SimNode, effects: list[Any]) -> None:
        life = node.life
        for effect in effects:
            if isinstance(effect, Append):
                # Not within the step that led here: its own effects come first.
                self.at(0, lambda effect=effect: self._append(node, life, effect))
            elif isinstance(effect, Respond):
                self._answered(effect)
            elif isinstance(effect, Fail):
                self._asked.pop(effect.ticket, None)
            elif isinstance(effect, Faulted):
                raise effect.exception
            else:
                assert isinstance(effect, Dropped)
                self.at(1, lambda: self._activate(node) if node.life == life else None)

    def _append(self, node: SimNode, life: int, append: Append) -> None:
        if node.raft is not None and node.life == life:
            self.step(node, fx.Propose(append.leader_epoch, append.base_offset, append.records))

    def take_snapshot(self, node: SimNode) -> None:
        if self.hosts[node.node_id].loader.may_snapshot:
            super().take_snapshot(node)

    # --- workload ---------------------------------------------------------------------------------------------------

    def propose(self) -> None:
        for node in self.leaders():
            host = self.hosts[node.node_id]
            if host.runtime.is_active:
                self._carry(node, host.runtime.expire(self.now))
                for _ in range(1 + self.random.randrange(3)):
                    self._ask(node, host)
                self._carry(node, host.runtime.flush())

    def _ask(self, node: SimNode, host: Host) -> None:
        broker_id = 1 + self.random.randrange(3)
        choice = self.random.randrange(4)
        if broker_id not in self.epochs or choice == 0:
            self._submit(node, host, "register", broker_id, 62, 4, **registration(broker_id, self.random.randrange(3)))
        elif choice == 1:
            self._submit(
                node, host, "heartbeat", broker_id, 63, 0, broker_id=broker_id, broker_epoch=self.epochs[broker_id],
                current_metadata_offset=2**40, want_fence=self.random.random() < 0.2, want_shut_down=False,
            )  # fmt: skip
        elif choice == 2 or not self.acknowledged:
            self._next_topic += 1
            message = api("CreateTopics").request
            name = f"topic{self._next_topic}"
            topic = message.CreatableTopic(name=name, num_partitions=2, replication_factor=1)
            self._submit(node, host, "create", name, 19, 7, topics=[topic])
        else:
            name = self.random.choice(sorted(self.acknowledged))
            self.deleted.add(name)
            message = api("DeleteTopics").request
            topics = [message.DeleteTopicState(name=name)]
            self._submit(node, host, "delete", name, 20, 6, topics=topics, timeout_ms=1000)

    def _submit(
        self, node: SimNode, host: Host, kind: str, subject: Any, api_key: int, api_version: int, **fields: Any
    ) -> None:
        self._next_ask += 1
        self._asked[self._next_ask] = (kind, subject)
        request = ControllerRequest(api_key, api_version, api(api_key).request(**fields))
        self._carry(node, host.runtime.submit(self._next_ask, request, self.now))

    def _answered(self, effect: Respond) -> None:
        kind, subject = self._asked.pop(effect.ticket)
        if kind == "register" and effect.response.error_code == 0:
            self.epochs[subject] = effect.response.broker_epoch
        elif kind == "create" and effect.response.topics[0].error_code == 0:
            self.acknowledged[subject] = effect.response.topics[0].topic_id

    def check_images(self) -> None:
        """After healing: one image everywhere, and in it all that was acknowledged and never asked to be deleted."""
        self.run(5_000)
        images = [host.loader.image() for host in self.hosts.values()]
        assert all(image == images[0] for image in images), "the nodes hold different images"
        for name, topic_id in self.acknowledged.items():
            is_there = images[0].topic_ids.get(name) == topic_id
            assert is_there or name in self.deleted, f"{name} was acknowledged and is gone"
        node = self.leaders()[0]
        image = self.hosts[node.node_id].loader.image()
        replayed = MetadataLoader()
        replayed.load_snapshot(image.offset, image.leader_epoch, node.values)
        assert replayed.image() == image, "replaying the log gives another image"


def registration(broker_id: int, incarnation: int) -> dict[str, Any]:
    message = api("BrokerRegistration").request
    return {
        "broker_id": broker_id,
        "cluster_id": CLUSTER_ID,
        "incarnation_id": bytes([broker_id, incarnation]) * 8,
        "listeners": [message.Listener(name="PLAINTEXT", host="h", port=9092)],
        "features": [
            message.Feature(name=name, min_supported_version=low, max_supported_version=high)
            for name, (low, high) in SUPPORTED.items()
        ],
        "log_dirs": [bytes([broker_id]) * 16],
    }


def simulate_controllers(seed: int, node_count: int, rounds: int = 40, spare_count: int = 0) -> ControllerCluster:
    cluster = ControllerCluster(seed, node_count, 1, spare_count)
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
        assert any(host.runtime.is_active for host in cluster.hosts.values()), "no controller 30 s after healing"
        cluster.propose()
        cluster.check_images()
    except Exception as error:
        error.add_note(
            f"replay: python -m tests.sim.run --controllers --seed {seed} --nodes {node_count} --rounds {rounds}"
            f" --spares {spare_count}"
        )
        raise
    return cluster
