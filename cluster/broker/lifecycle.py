"""A broker's life in the cluster: registering, heartbeats, controlled shutdown (KIP-631).

    STARTING --registered, metadata caught up--> RUNNING (unfenced) --stop--> CONTROLLED_SHUTDOWN --> gone
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from msgspec import Struct

from cluster.config.node import SECURITY_PROTOCOLS, NodeSettings
from cluster.metadata.features import SUPPORTED
from cluster.metadata.image import RECOVERED, PartitionImage
from pykafkacore.protocol.apis import api as api_named
from pykafkacore.protocol.errors import ApiError, Code

log = logging.getLogger("pykafkacore.lifecycle")

AskController = Callable[[str, Any], Awaitable[Any]]


def _endpoints(message: Any, listeners: Any, ports: dict[str, int]) -> list[Any]:
    """`ports`: what was bound, for listeners that were configured with port 0."""
    return [
        message.Listener(
            name=each.name,
            host=each.host,
            port=each.port or ports.get(each.name, 0),
            security_protocol=SECURITY_PROTOCOLS[each.security_protocol],
        )
        for each in listeners
    ]


def _features(message: Any) -> list[Any]:
    return [
        message.Feature(name=name, min_supported_version=low, max_supported_version=high)
        for name, (low, high) in sorted(SUPPORTED.items())
    ]


def controller_registration(node: NodeSettings, incarnation_id: bytes, ports: dict[str, int]) -> Any:
    message = api_named("ControllerRegistration").request
    return message(
        controller_id=node.node_id,
        incarnation_id=incarnation_id,
        listeners=_endpoints(message, node.advertised_controller_listeners, ports),
        features=_features(message),
    )


class OwnDirectories(Struct, frozen=True):
    """Ids of the log directories that could be used at the start; `failed()` tells which could not since."""

    ids: list[bytes]
    cordoned: list[bytes]
    failed: Callable[[], list[bytes]]

    def offline(self) -> list[bytes]:
        """KAFKA: a broker without any directory left halts. Ours goes on to say KAFKA_STORAGE_ERROR, and reports nothing."""
        failed = self.failed()
        return failed if len(failed) < len(self.ids) else []


class BrokerLifecycle:
    """`ask(api name, request)` reaches the active controller."""

    def __init__(
        self,
        ask: AskController,
        node: NodeSettings,
        cluster_id: str,
        incarnation_id: bytes,
        directories: OwnDirectories,
        previous_broker_epoch: int,
        metadata_offset: Callable[[], int],
    ) -> None:
        self._ask = ask
        self._node = node
        self._cluster_id = cluster_id
        self._incarnation_id = incarnation_id
        self._directories = directories
        self._previous_broker_epoch = previous_broker_epoch
        self._metadata_offset = metadata_offset
        self.broker_epoch = -1
        self._is_leaving = False

    def _registration(self, ports: dict[str, int]) -> Any:
        message = api_named("BrokerRegistration").request
        return message(
            broker_id=self._node.node_id,
            cluster_id=self._cluster_id,
            incarnation_id=self._incarnation_id,
            listeners=_endpoints(message, self._node.advertised_broker_listeners, ports),
            features=_features(message),
            rack=self._node.rack,
            log_dirs=self._directories.ids,
            previous_broker_epoch=self._previous_broker_epoch,
        )

    async def register(self, ports: dict[str, int], timeout_ms: int) -> None:
        """`ports`: what was bound, for listeners that were configured with port 0."""
        request = self._registration(ports)
        deadline = trio.current_time() + timeout_ms / 1000
        while True:
            try:
                response = await self._ask("BrokerRegistration", request)
                error, text = response.error_code, ""
            except ApiError as failure:
                error, text, response = failure.code, failure.message, None
            if response is not None and error == Code.NONE:
                self.broker_epoch = response.broker_epoch
                return
            if error in (Code.INCONSISTENT_CLUSTER_ID, Code.UNSUPPORTED_VERSION, Code.INVALID_REGISTRATION):
                raise RuntimeError(f"the controller refuses this broker: {Code(error).name} {text}")
            if trio.current_time() > deadline:
                raise RuntimeError(f"no registration within initial.broker.registration.timeout.ms: {Code(error).name} {text}")
            # An earlier life of this broker may still have a session: wait for it to end.
            await trio.sleep(0.1)

    async def heartbeat(self, want_fence: bool = False) -> Any:
        message = api_named("BrokerHeartbeat").request
        return await self._ask(
            "BrokerHeartbeat",
            message(
                broker_id=self._node.node_id,
                broker_epoch=self.broker_epoch,
                current_metadata_offset=self._metadata_offset(),
                want_fence=want_fence,
                want_shut_down=self._is_leaving,
                offline_log_dirs=self._directories.offline(),
                cordoned_log_dirs=self._directories.cordoned,
            ),
        )

    async def unfence(self) -> None:
        while (await self.heartbeat()).is_fenced:
            await trio.sleep(0.005)

    async def keep_alive(self, interval_ms: int) -> None:
        while True:
            await trio.sleep(interval_ms / 1000)
            try:
                await self.heartbeat()
            except ApiError as error:
                log.warning("heartbeat refused: %s", error)

    async def shut_down(self, timeout_ms: float = math.inf) -> None:
        """Controlled: leaderships move away first. Gives up after `timeout_ms`.

        From here on every heartbeat says so: an ordinary one of `keep_alive` would unfence a broker that may go.
        """
        self._is_leaving = True
        with trio.move_on_after(timeout_ms / 1000):
            try:
                while not (await self.heartbeat()).should_shut_down:
                    await trio.sleep(0.05)
            except ApiError as error:
                log.warning("controlled shutdown was refused: %s", error)

    async def finish_recovery(self, partitions: list[tuple[bytes, int, PartitionImage]]) -> None:
        """Tells the controller that partitions which this broker leads after an unclean stop are whole again: their
        logs were recovered when they were opened (LeaderRecoveryState, KIP-704)."""
        message = api_named("AlterPartition").request
        topics: dict[bytes, Any] = {}
        for topic_id, index, partition in partitions:
            topic = topics.setdefault(topic_id, message.TopicData(topic_id=topic_id))
            topic.partitions.append(
                message.PartitionData(
                    partition_index=index,
                    leader_epoch=partition.leader_epoch,
                    new_isr_with_epochs=[message.BrokerState(broker_id=self._node.node_id, broker_epoch=self.broker_epoch)],
                    leader_recovery_state=RECOVERED,
                    partition_epoch=partition.partition_epoch,
                )
            )
        request = message(broker_id=self._node.node_id, broker_epoch=self.broker_epoch, topics=list(topics.values()))
        try:
            await self._ask("AlterPartition", request)
        except ApiError as error:
            log.warning("recovered partitions could not be reported: %s", error)

    async def assign_directories(self, placed: dict[bytes, list[tuple[bytes, int]]]) -> None:
        """Tells the controller which replicas lie in which directory (KIP-858): what fails with a directory is known by that.
        What it refuses is told again when the log is next opened."""
        message = api_named("AssignReplicasToDirs").request
        directories = []
        for directory_id, partitions in placed.items():
            topics: dict[bytes, Any] = {}
            for topic_id, index in partitions:
                topic = topics.setdefault(topic_id, message.TopicData(topic_id=topic_id))
                topic.partitions.append(message.PartitionData(partition_index=index))
            directories.append(message.DirectoryData(id=directory_id, topics=list(topics.values())))
        request = message(broker_id=self._node.node_id, broker_epoch=self.broker_epoch, directories=directories)
        while True:
            try:
                await self._ask("AssignReplicasToDirs", request)
                return
            except ApiError as error:
                log.info("the directories of replicas are to be told again: %s", error)
                await trio.sleep(1)
