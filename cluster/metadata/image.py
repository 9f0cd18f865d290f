"""The metadata image: everything that the metadata log has made true, as frozen values with shared structure.

Reading it costs nothing to anyone else: a change makes a new image that shares all it did not touch. Both the frozen
`MetadataImage` and the working copy that records are applied to (apply.py) offer the same attributes and questions.
What it deliberately is not: a decision. Nothing here knows why a record was written.
Sources: the record table in PROTOCOL E.6.
"""

from __future__ import annotations

from typing import Any

from immutables import Map
from msgspec import Struct

from cluster.metadata.records import NO_LEADER, RESOURCE_BROKER, RESOURCE_TOPIC
from pykafkacore.protocol.types import DIRECTORY_LOST, DIRECTORY_MIGRATING, DIRECTORY_UNASSIGNED, Uuid

METADATA_VERSION = "metadata.version"
ELR_VERSION = "eligible.leader.replicas.version"
MIN_IN_SYNC_REPLICAS = "min.insync.replicas"
METADATA_VERSION_MIN = 7

RECOVERED = 0
RECOVERING = 1


class PartitionImage(Struct, frozen=True):
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    leader: int
    leader_epoch: int
    partition_epoch: int
    directories: tuple[Uuid, ...]
    removing_replicas: tuple[int, ...] = ()
    adding_replicas: tuple[int, ...] = ()
    leader_recovery_state: int = RECOVERED
    eligible_leader_replicas: tuple[int, ...] = ()
    last_known_elr: tuple[int, ...] = ()

    @property
    def has_leader(self) -> bool:
        return self.leader != NO_LEADER

    @property
    def is_reassigning(self) -> bool:
        return bool(self.adding_replicas or self.removing_replicas)

    def directory_of(self, broker_id: int) -> Uuid:
        """The directory of a broker's replica; UNASSIGNED where there is no such replica."""
        for replica, directory in zip(self.replicas, self.directories, strict=False):
            if replica == broker_id:
                return directory
        return DIRECTORY_UNASSIGNED


class TopicImage(Struct, frozen=True):
    topic_id: Uuid
    name: str
    partitions: Map[int, PartitionImage]


class ListenerImage(Struct, frozen=True):
    name: str
    host: str
    port: int
    security_protocol: int


class BrokerImage(Struct, frozen=True):
    broker_id: int
    broker_epoch: int
    incarnation_id: Uuid
    listeners: tuple[ListenerImage, ...]
    features: Map[str, tuple[int, int]]
    rack: str | None
    is_fenced: bool
    is_in_controlled_shutdown: bool = False
    log_dirs: tuple[Uuid, ...] = ()
    cordoned_log_dirs: tuple[Uuid, ...] | None = None
    is_migrating_zk_broker: bool = False

    @property
    def is_active(self) -> bool:
        """Whether it may lead and be in ISRs."""
        return not self.is_fenced and not self.is_in_controlled_shutdown

    def has_directory_online(self, directory: Uuid) -> bool:
        """A directory that the broker does not list is offline; the reserved ids say that nobody knows which it is."""
        if directory == DIRECTORY_LOST:
            return False
        if directory in (DIRECTORY_UNASSIGNED, DIRECTORY_MIGRATING) or not self.log_dirs:
            return True
        return directory in self.log_dirs

    def listener(self, name: str) -> ListenerImage | None:
        for each in self.listeners:
            if each.name == name:
                return each
        return None


class ControllerImage(Struct, frozen=True):
    controller_id: int
    incarnation_id: Uuid
    zk_migration_ready: bool
    listeners: tuple[ListenerImage, ...]
    features: Map[str, tuple[int, int]]


EMPTY: Map[Any, Any] = Map()


class ImageReads:
    """Questions that the image and its working copy answer alike."""

    __slots__ = ()

    features: Map[str, int]
    brokers: Map[int, BrokerImage]
    topics: Map[Uuid, TopicImage]
    topic_ids: Map[str, Uuid]
    configs: Map[tuple[int, str], Map[str, str]]

    @property
    def metadata_version(self) -> int:
        return self.features.get(METADATA_VERSION, METADATA_VERSION_MIN)

    @property
    def elr_is_on(self) -> bool:
        return self.features.get(ELR_VERSION, 0) >= 1

    def topic_named(self, name: str) -> TopicImage | None:
        topic_id = self.topic_ids.get(name)
        return None if topic_id is None else self.topics[topic_id]

    def partition(self, topic_id: Uuid, partition: int) -> PartitionImage | None:
        topic = self.topics.get(topic_id)
        return None if topic is None else topic.partitions.get(partition)

    def configs_of(self, resource_type: int, name: str) -> Map[str, str]:
        return self.configs.get((resource_type, name), EMPTY)

    def is_active(self, broker_id: int) -> bool:
        broker = self.brokers.get(broker_id)
        return broker is not None and broker.is_active

    def is_replica_online(self, broker_id: int, partition: PartitionImage) -> bool:
        """Whether a broker is active and the directory of its replica is online."""
        broker = self.brokers.get(broker_id)
        if broker is None or not broker.is_active:
            return False
        return broker.has_directory_online(partition.directory_of(broker_id))

    def min_in_sync_replicas(self, topic_name: str, default: int) -> int:
        """What holds for a topic: its own, else the cluster's dynamic config, else `default` (the static one)."""
        for resource in ((RESOURCE_TOPIC, topic_name), (RESOURCE_BROKER, "")):
            text = self.configs_of(*resource).get(MIN_IN_SYNC_REPLICAS)
            if text is not None:
                return int(text)
        return default


class MetadataImage(Struct, ImageReads, frozen=True):
    """As of `offset` (exclusive). Values of ACLs, credentials and tokens are the records' own bodies."""

    offset: int = 0
    leader_epoch: int = 0
    features: Map[str, int] = EMPTY
    brokers: Map[int, BrokerImage] = EMPTY
    controllers: Map[int, ControllerImage] = EMPTY
    topics: Map[Uuid, TopicImage] = EMPTY
    topic_ids: Map[str, Uuid] = EMPTY
    configs: Map[tuple[int, str], Map[str, str]] = EMPTY
    next_producer_id: int = 0
    acls: Map[Uuid, Any] = EMPTY
    scram_credentials: Map[tuple[str, int], Any] = EMPTY
    quotas: Map[tuple[tuple[str, str | None], ...], Map[str, float]] = EMPTY
    delegation_tokens: Map[str, Any] = EMPTY
    zk_migration_state: int | None = None


EMPTY_IMAGE = MetadataImage()
