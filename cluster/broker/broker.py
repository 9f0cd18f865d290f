"""The composition root: read this to see the whole program.

    settings -> directories -> data plane (locks them) -> metadata log -> Raft -> controller
    committed image -> projector -> view -> data plane;  upcalls -> handlers -> answers

    start:  load metadata, lead or follow, register, publish the first view, listen, unfence
    stop:   controlled shutdown, close the listeners, close every log cleanly
"""

from __future__ import annotations

import logging
import os
from functools import partial
from pathlib import Path
from typing import Any

import trio

from cluster.broker.answering import in_task
from cluster.broker.clock import Clock
from cluster.broker.late_host import LateHost
from cluster.broker.lifecycle import BrokerLifecycle, OwnDirectories, controller_registration
from cluster.broker.metadata_log import MetadataLog
from cluster.broker.peers import ControllerLink, Links, RaftPeers
from cluster.broker.producer_ids import ProducerIds
from cluster.broker.quorum import describe_quorum
from cluster.broker.raft_driver import RaftDriver
from cluster.broker.storage import MetaProperties, StorageError, load_directories, random_uuid, usable_directories
from cluster.broker.topic_parts import TopicParts
from cluster.broker.upcall_pump import IMAGE_SCOPE, UpcallPump
from cluster.config.node import NodeSettings, read_node
from cluster.config.settings import BrokerSettings
from cluster.handlers.answers import Answer
from cluster.handlers.context import Call
from cluster.handlers.dispatch import offered
from cluster.handlers.internal_topics import GROUP_TOPIC, TRANSACTION_TOPIC
from cluster.metadata.apply import ImageDelta
from cluster.metadata.controller import Controller
from cluster.metadata.controller_state import ControllerRequest, ControllerSettings, Policies
from cluster.metadata.features import KRAFT_VERSION
from cluster.metadata.image import EMPTY_IMAGE, RECOVERING, MetadataImage
from cluster.metadata.view import Projector
from cluster.plane.native import NativePlane
from cluster.raft.messages import Endpoint, ReplicaKey, Voter
from cluster.raft.node import RaftNode
from cluster.raft.replica import RaftConfig
from cluster.raft.voters import VoterSet
from pykafkacore.policies import AlterConfigPolicy, CreateTopicPolicy, load_policy
from pykafkacore.protocol.apis import BROKER, CONTROLLER, Api
from pykafkacore.protocol.apis import api as api_named
from pykafkacore.protocol.errors import ApiError, Code

log = logging.getLogger("pykafkacore.broker")

MOVE_RATE = "replica.alter.log.dirs.io.max.bytes.per.second"

# What the hot tails of all partitions may hold together, and one of them alone (see benchmarks/read_path.py).
TAIL_BYTES_MAX = 64 << 20
TAIL_PARTITION_BYTES_MAX = 4 << 20


def _housekeeping(settings: BrokerSettings) -> dict[str, Any]:
    """What the data plane's housekeeper goes by, apart from the settings of each topic."""
    return {
        "initial_delay_ms": settings["log.initial.task.delay.ms"],
        "retention_period_ms": settings["log.retention.check.interval.ms"],
        "producer_expiration_period_ms": settings["producer.id.expiration.check.interval.ms"],
        "compacts": settings["log.cleaner.enable"],
        "compaction_period_ms": settings["log.cleaner.backoff.ms"],
        "compaction_dedupe_bytes": settings["log.cleaner.dedupe.buffer.size"],
        "compaction_load_factor": settings["log.cleaner.io.buffer.load.factor"],
        "compaction_io_buffer_bytes": settings["log.cleaner.io.buffer.size"],
        "compaction_bytes_per_s": settings["log.cleaner.io.max.bytes.per.second"],
        "scrub_bytes_per_s": settings["log.scrub.bytes.per.second"],
    }


class Broker:
    """One node: broker, controller or both. `serve` runs it until `stop` is called. Also the handlers' `Context`."""

    def __init__(self, settings: BrokerSettings) -> None:
        self.static_settings = settings
        self.node: NodeSettings = read_node(settings)
        self._take_directories()
        self.cluster_id = self._identities[0].cluster_id
        self.clock = Clock()
        self._listener_names = [each.name for each in self._listeners()]
        self.plane = NativePlane(self._plane_config(), settings["producer.id.expiration.ms"])
        self.bound: dict[str, int] = {}
        self.ready = trio.Event()
        self._stopping = trio.Event()
        self._published_offset = -1
        self._published_waiters: list[tuple[int, trio.Event]] = []
        self._handed_offset = 0
        self._image: MetadataImage = EMPTY_IMAGE
        self._topic_parts = TopicParts(self, self.plane.core, self._listener_names)
        self._projector = Projector(self.node.node_id, settings, self.node.inter_broker_listener_name)
        self._policies = self._load_policies()
        self.raft = self._make_raft()
        data = os.urandom(10).hex()
        self._run_id = f"{data[:8]}-{data[8:12]}-4{data[12:15]}-a{data[15:18]}-"
        self._fresh_ids = 0
        self._producer_ids = ProducerIds(lambda: in_task(self._nursery, self._allocate_producer_ids()))

    # --- what this node is made of --------------------------------------------------------------------------------------

    def _take_directories(self) -> None:
        """All that can be used. Whatever lies in another is offline until that is repaired and this node started again."""
        node = self.node
        own = node.log_dirs if node.is_broker else ()
        configured = own if node.metadata_log_dir in own else (node.metadata_log_dir, *own)
        self._directories, self.failed_directories = usable_directories(configured, node.metadata_log_dir)
        for directory, why in self.failed_directories.items():
            log.error("log directory %s cannot be used, and all that lies in it is offline: %s", directory, why)
        if node.is_broker and not set(own) & set(self._directories):
            raise StorageError(f"no directory of log.dirs={','.join(own)} can be used")
        self._identities: list[MetaProperties] = load_directories(self._directories, node.node_id)
        cordoned = set(self.static_settings["cordoned.log.dirs"])
        unknown = cordoned - set(own) - {"*"}
        if unknown:
            raise StorageError(f"cordoned.log.dirs={','.join(sorted(unknown))}: not in log.dirs={','.join(own)}")
        self.cordoned_directories = {each for each in own if each in cordoned or "*" in cordoned}

    def _listeners(self) -> list[Any]:
        node = self.node
        return [
            *(node.broker_listeners if node.is_broker else ()),
            *(node.controller_listeners if node.is_controller else ()),
        ]

    def _plane_config(self) -> dict[str, Any]:
        settings, node = self.static_settings, self.node
        apis = {api.key: api for kind in (BROKER, CONTROLLER) for api in offered(kind)}
        idle_ms = settings["connections.max.idle.ms"]
        queued_bytes = settings["queued.max.request.bytes"]

        def buffer_bytes(key: str) -> int | None:
            # Left to the kernel's own tuning unless somebody asked: that is quicker than Kafka's fixed 100 KiB.
            return settings[key] if settings.is_set(key) and settings[key] > 0 else None

        return {
            "housekeeping": _housekeeping(settings),
            "node_id": node.node_id,
            "listeners": [
                (each.name, each.host, each.port, each.name not in node.controller_listener_names)
                for each in self._listeners()
            ],
            "log_dirs": [
                (path, identity.directory_id, path in node.log_dirs and path not in self.cordoned_directories)
                for path, identity in zip(self._directories, self._identities, strict=True)
            ],
            "is_dir_away": bool(self.failed_directories),
            "apis": [(api.key, api.oldest, api.latest_served(), min(api.flexible_from, 32767)) for api in apis.values()],
            "reactor_count": min(settings["num.network.threads"], os.cpu_count() or 1),
            "request_bytes_max": settings["socket.request.max.bytes"],
            "send_buffer_bytes": buffer_bytes("socket.send.buffer.bytes"),
            "receive_buffer_bytes": buffer_bytes("socket.receive.buffer.bytes"),
            "idle_ms_max": idle_ms if idle_ms >= 0 else None,
            "connections_max": settings["max.connections"],
            "connections_per_ip_max": settings["max.connections.per.ip"],
            "queued_requests_max": settings["queued.max.requests"],
            "queued_request_bytes_max": queued_bytes if queued_bytes > 0 else None,
            "fetch_bytes_max": settings["fetch.max.bytes"],
            "fetch_session_slots": settings["max.incremental.fetch.session.cache.slots"],
            "tail_bytes_max": TAIL_BYTES_MAX,
            "reserve_bytes": settings["log.reserve.bytes"],
            "move_bytes_per_s": settings[MOVE_RATE],
            "tail_partition_bytes_max": TAIL_PARTITION_BYTES_MAX,
            "file_delete_delay_ms": settings["log.segment.delete.delay.ms"],
            "seed": int.from_bytes(os.urandom(8)),
        }

    def _load_policies(self) -> Policies:
        def load(key: str, protocol: type) -> Any:
            path = self.static_settings[key]
            if not path:
                return None
            policy: Any = load_policy(path, protocol)
            policy.configure(dict(self.static_settings.static))
            return policy

        if set(self.static_settings["group.consumer.assignors"]) - {"uniform", "range"}:
            # Needed once there are groups, but what cannot be loaded is to be known now.
            from cluster.broker.group_host import load_assignors

            load_assignors(self.static_settings)
        return Policies(
            create_topic=load("create.topic.policy.class.name", CreateTopicPolicy),
            alter_config=load("alter.config.policy.class.name", AlterConfigPolicy),
        )

    def _identity(self, directory: str) -> MetaProperties:
        return self._identities[self._directories.index(directory)]

    def _make_raft(self) -> RaftDriver:
        from random import Random

        settings, node = self.static_settings, self.node
        at = self._directories.index(node.metadata_log_dir)
        was_clean = self.plane.core.stops[at][0]
        metadata_log = MetadataLog(
            Path(node.metadata_log_dir),
            was_clean,
            self.clock.wall_ms(),
            settings["metadata.log.segment.bytes"],
            settings["metadata.log.segment.ms"],
        )
        configured = VoterSet(
            tuple(
                Voter(ReplicaKey(each.node_id), (Endpoint(node.controller_listener_names[0], each.host, each.port),))
                for each in node.quorum_voters
            )
        )
        endpoints = tuple(Endpoint(each.name, each.host, each.port) for each in node.advertised_controller_listeners)
        config = RaftConfig(
            node_id=node.node_id,
            directory_id=self._identity(node.metadata_log_dir).directory_id,
            cluster_id=self.cluster_id,
            endpoints=endpoints,
            bootstrap_servers=node.quorum_bootstrap_servers,
            may_become_voter=node.is_controller,
            election_timeout_ms=settings["controller.quorum.election.timeout.ms"],
            election_backoff_max_ms=settings["controller.quorum.election.backoff.max.ms"],
            fetch_timeout_ms=settings["controller.quorum.fetch.timeout.ms"],
            request_timeout_ms=settings["controller.quorum.request.timeout.ms"],
            retry_backoff_ms=settings["controller.quorum.retry.backoff.ms"],
        )
        random = Random(os.urandom(16))
        raft_node = RaftNode(
            config, random, metadata_log.quorum_state(), metadata_log.facts(), metadata_log.history(configured)
        )
        controller_settings = ControllerSettings(self.cluster_id, node.node_id, settings)

        def make_controller(image: MetadataImage) -> Controller:
            return Controller(image, controller_settings, self._policies, random, self._bootstrap(metadata_log))

        driver = RaftDriver(raft_node, metadata_log, self.plane, self.clock, make_controller, self._on_image)
        driver.set_snapshot_policy(
            settings["metadata.log.max.record.bytes.between.snapshots"], settings["metadata.log.max.snapshot.interval.ms"]
        )
        return driver

    def _bootstrap(self, metadata_log: MetadataLog) -> list[Any] | None:
        from cluster.metadata.image import ELR_VERSION, MIN_IN_SYNC_REPLICAS
        from cluster.metadata.records import RESOURCE_BROKER, config_record

        records = metadata_log.bootstrap()
        if not records:
            return None
        if any(each.body.name == ELR_VERSION and each.body.feature_level for each in records):
            text = str(self.static_settings["min.insync.replicas"])
            records.append(config_record(RESOURCE_BROKER, "", MIN_IN_SYNC_REPLICAS, text))
        return records

    # --- the handlers' context ------------------------------------------------------------------------------------------

    @property
    def image(self) -> MetadataImage:
        return self._image

    @property
    def settings(self) -> BrokerSettings:
        return self._projector.settings

    @property
    def controller(self) -> Broker:
        return self

    @property
    def finalized_features(self) -> dict[str, int]:
        return {**self._image.features, KRAFT_VERSION: self.raft.node.history.kraft_version}

    @property
    def has_controller(self) -> bool:
        return self.raft.is_active_controller

    async def ask(self, call: Call) -> Any:
        if self.raft.is_active_controller:
            return await self.raft.ask(ControllerRequest(call.api.key, call.api_version, call.request, call))
        if not self.node.is_broker:
            raise ApiError(Code.NOT_CONTROLLER, "this controller is not the active one")
        return await self._controller_link.ask(call.api, call.request, call.api_version)

    def offered(self, listener: str) -> tuple[Api, ...]:
        return offered(CONTROLLER if listener in self.node.controller_listener_names else BROKER)

    def fresh_id(self) -> str:
        # A random half for this run of the broker and a number: asked for with each request, it must cost nothing.
        self._fresh_ids += 1
        return f"{self._run_id}{self._fresh_ids:012x}"

    def producer_id(self) -> Answer:
        return self._producer_ids.next()

    def describe_quorum(self, call: Call) -> Any:
        if self.raft.node.is_leader or not self.node.is_broker:
            return describe_quorum(self.raft.node, self.clock, call)
        return self._controller_link.ask(call.api, call.request, call.api_version)

    def quorum_request(self, call: Call) -> Any:
        return self.raft.receive(call.api.key, call.api_version, call.request)

    async def published(self, metadata_offset: int) -> None:
        """-1: all that is committed and applied by now."""
        wanted = self._handed_offset if metadata_offset < 0 else metadata_offset
        if self._published_offset < wanted:
            event = trio.Event()
            self._published_waiters.append((wanted, event))
            await event.wait()

    # --- views ----------------------------------------------------------------------------------------------------------

    def _on_image(self, delta: ImageDelta) -> None:
        if not self.node.is_broker:
            self._take_image(delta.after)
            return
        settings = self._projector.settings
        view = self._projector.project(delta)
        if self._projector.settings is not settings:
            self._take_dynamic_settings()
        self._handed_offset = view.metadata_offset
        after = delta.after

        def published(value: Any, error: str | None) -> None:
            if error is not None:
                raise RuntimeError(f"the view cannot be published: {error}")
            self._logs_opened(value)
            self._take_image(after)
            self._topic_parts.on_image(delta)
            self._published_offset = after.offset
            self._report_recovered(delta)
            self._tell_coordinators(delta)
            waiters, self._published_waiters = self._published_waiters, []
            for wanted, event in waiters:
                if wanted <= after.offset:
                    event.set()
                else:
                    self._published_waiters.append((wanted, event))

        if view.topics or view.partitions or view.removed_topics or view.brokers is not None:
            self.plane.publish(view, published)
        elif self._published_offset >= delta.before.offset:
            published((after.offset, (), ()), None)
        else:
            self.plane.publish(view, published)

    def _logs_opened(self, published: Any) -> None:
        """Tells what could not be opened, and the controller where the rest lies that is new."""
        _, failed, placed = published
        for topic_id, partition, why in failed:
            log.error("partition %d of topic %s is offline: %s", partition, topic_id.hex(), why)
        if placed:
            self._nursery.start_soon(self.lifecycle.assign_directories, self._placements(placed))

    def _own_directories(self) -> OwnDirectories:
        own = {path: self._identity(path).directory_id for path in self.node.log_dirs if path in self._directories}
        cordoned = [own[path] for path in own if path in self.cordoned_directories]

        def failed() -> list[bytes]:
            lost = {self._directories[at] for at in self.plane.core.failed_dirs()}
            return [own[path] for path in own if path in lost]

        return OwnDirectories(list(own.values()), cordoned, failed)

    def _placements(self, placed: list[tuple[bytes, int, int]]) -> dict[bytes, list[tuple[bytes, int]]]:
        """What lies where, by the directory's id."""
        found: dict[bytes, list[tuple[bytes, int]]] = {}
        for topic_id, index, at in placed:
            found.setdefault(self._identities[at].directory_id, []).append((topic_id, index))
        return found

    def _take_image(self, image: MetadataImage) -> None:
        self._image = image
        self.plane.core.forget(IMAGE_SCOPE)

    def _tell_coordinators(self, delta: ImageDelta) -> None:
        self.groups.on_image(delta)
        self.transactions.on_image(delta)

    def _take_dynamic_settings(self) -> None:
        """Dynamic broker configs that the data plane acts on; topics' defaults go down with the view."""
        settings = self._projector.settings
        self.plane.core.forget(IMAGE_SCOPE)
        self.plane.core.set_connection_limits(settings["max.connections"], settings["max.connections.per.ip"])
        self.plane.core.set_housekeeping(_housekeeping(settings))
        self.plane.core.set_reserve(settings["log.reserve.bytes"])
        self.plane.core.set_move_throttle(settings[MOVE_RATE])

    def _report_recovered(self, delta: ImageDelta) -> None:
        """Partitions that this broker leads as the first after an unclean stop, once their logs stand."""
        led = [
            (topic_id, index, partition)
            for topic_id, indexes in delta.partitions.items()
            for index in indexes
            if (partition := delta.after.partition(topic_id, index)) is not None
            and partition.leader_recovery_state == RECOVERING
            and partition.leader == self.node.node_id
        ]
        if led:
            self._nursery.start_soon(self.lifecycle.finish_recovery, led)

    # --- life -----------------------------------------------------------------------------------------------------------

    def _make_group_host(self, nursery: trio.Nursery) -> Any:
        from cluster.broker.coordinator_host import CoordinatorHost
        from cluster.broker.group_host import GroupHost

        make_host = partial(CoordinatorHost, self.node.node_id, self.plane, self.clock, nursery)
        return GroupHost(self.static_settings, lambda: self._image, make_host)

    def _make_transaction_host(self, nursery: trio.Nursery, links: Links) -> Any:
        from cluster.broker.coordinator_host import CoordinatorHost
        from cluster.broker.transaction_host import TransactionHost

        make_host = partial(CoordinatorHost, self.node.node_id, self.plane, self.clock, nursery)
        return TransactionHost(self, self.node.node_id, self.node.inter_broker_listener_name, links, make_host)

    def _on_verify(self, upcall: Any) -> None:
        if self.transactions.partition_count:
            self.transactions.on_verify(upcall)
        else:
            self.plane.verified(upcall.ticket, [int(Code.INVALID_TXN_STATE)] * len(upcall.partitions))

    def _on_placed(self, upcall: Any) -> None:
        """A replica has moved: the controller is told where it is."""
        placed = self._placements([(upcall.topic_id, upcall.partition, upcall.dir)])
        self._nursery.start_soon(self.lifecycle.assign_directories, placed)

    async def _allocate_producer_ids(self) -> tuple[int, int]:
        message = api_named("AllocateProducerIds").request
        request = message(broker_id=self.node.node_id, broker_epoch=self.lifecycle.broker_epoch)
        response = await self._ask_named("AllocateProducerIds", request)
        if response.error_code:
            raise ApiError(response.error_code, "no block of producer ids")
        return response.producer_id_start, response.producer_id_len

    async def _ask_named(self, name: str, request: Any) -> Any:
        api = api_named(name)
        if self.raft.is_active_controller:
            return await self.raft.ask(ControllerRequest(api.key, api.latest, request))
        return await self._controller_link.ask(api, request)

    def _controller_endpoint(self) -> Endpoint | None:
        raft = self.raft.node
        return None if raft.leader_id in (-1, self.node.node_id) else raft.leader_endpoint_now()

    async def serve(self) -> None:
        """Runs until `stop`. `ready` is set once clients are served."""
        try:
            async with trio.open_nursery() as nursery:
                await self._run(nursery)
                nursery.cancel_scope.cancel()
        finally:
            self._close()

    async def _run(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        settings = self.static_settings
        pump = UpcallPump(self, self.plane, nursery, self._listener_names, self._topic_parts)
        nursery.start_soon(self.plane.pump, pump.on_request, self._on_verify, self._on_placed)
        nursery.start_soon(self._topic_parts.run)
        links = Links(nursery, f"node-{self.node.node_id}")
        self._controller_link = ControllerLink(links, self._controller_endpoint)
        self.groups = LateHost(GROUP_TOPIC, lambda: self._make_group_host(nursery))
        self.transactions = LateHost(TRANSACTION_TOPIC, lambda: self._make_transaction_host(nursery, links))
        self.raft.send = RaftPeers(links, nursery, self.raft.answered).send
        # Ports that the system is to choose must be known before they can be registered; peers must reach a voter.
        if any(each.port == 0 for each in self._listeners()) or (self.node.is_controller and not self._is_alone()):
            self._listen()
        self.raft.start()
        nursery.start_soon(self.raft.run)
        while not self.raft.is_active_controller and self._controller_endpoint() is None:
            await trio.sleep(0.001)
        if self.node.is_controller:
            nursery.start_soon(self._register_controller)
        if self.node.is_broker:
            await self._join(nursery)
        self._listen()
        pump.open()
        self.ready.set()
        await self._stopping.wait()
        log.info("shutting down")
        if self.node.is_broker and settings["controlled.shutdown.enable"]:
            await self.lifecycle.shut_down(5000)
        if not self._is_alone():
            self.raft.resign()

    def _is_alone(self) -> bool:
        """A combined node that is the only voter needs nobody to start."""
        return self.node.is_broker and self.raft.node.voters.ids == (self.node.node_id,)

    async def _join(self, nursery: trio.Nursery) -> None:
        """Registers this broker, catches up, listens, and asks to be unfenced."""
        settings = self.static_settings
        stops = self.plane.core.stops
        epochs = {epoch for clean, epoch in stops if clean and epoch is not None}
        previous = epochs.pop() if len(epochs) == 1 and all(clean for clean, _ in stops) else -1
        self.lifecycle = BrokerLifecycle(
            self._ask_named,
            self.node,
            self.cluster_id,
            random_uuid(),
            self._own_directories(),
            previous,
            lambda: self._published_offset,
        )
        await self.lifecycle.register(self.bound, settings["initial.broker.registration.timeout.ms"])
        await self.published(self.lifecycle.broker_epoch + 1)
        self._logs_opened(await self.plane.set_strays_aside())
        self._listen()
        await self.lifecycle.unfence()
        await self.published(-1)
        # A controller elsewhere says so before this broker has read it: clients must not be told that there is nobody.
        while (own := self._image.brokers.get(self.node.node_id)) is None or own.is_fenced:
            await trio.sleep(0.005)
        nursery.start_soon(self.lifecycle.keep_alive, settings["broker.heartbeat.interval.ms"])

    async def _register_controller(self) -> None:
        """KIP-919: each controller tells the active one who it is, until the metadata says so."""
        incarnation_id = random_uuid()
        request = controller_registration(self.node, incarnation_id, self.bound)
        while True:
            known = self._image.controllers.get(self.node.node_id)
            if known is not None and known.incarnation_id == incarnation_id:
                return
            try:
                await self._ask_named("ControllerRegistration", request)
            except ApiError as error:
                log.info("controller registration is to be tried again: %s", error)
            await trio.sleep(0.5)

    def _listen(self) -> None:
        if not self.bound:
            addresses = self.plane.core.listen()
            self.bound = {name: port for name, (_, port) in zip(self._listener_names, addresses, strict=True)}

    def stop(self) -> None:
        """Asks for a controlled shutdown; `serve` returns once it is done."""
        self._stopping.set()

    def _close(self) -> None:
        if hasattr(self, "groups"):
            self.groups.close()
            self.transactions.close()
        self.raft.leave_snapshot()
        self.raft.fail_all()
        self.raft.log.close(self.clock.wall_ms())
        self.plane.core.stop(self.lifecycle.broker_epoch if hasattr(self, "lifecycle") else -1)
        for policy in (self._policies.create_topic, self._policies.alter_config):
            if policy is not None:
                policy.close()
