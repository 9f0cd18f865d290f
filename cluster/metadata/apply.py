"""Records into images: the only mutator of metadata. A working copy takes records one by one, noting changes.

    WorkingImage(image) -- apply(offset, record)... --> image(), take_delta()

INVARIANT: the image is a function of the log: two nodes that applied the same records hold equal images.
INVARIANT: records between Begin and EndTransaction show all at once or, after Abort, never.
INVARIANT: a record that does not fit the image (a change to what is not there) raises InconsistentLog: stop the node.
KAFKA: a PartitionChange raises partition_epoch by one, and leader_epoch too where it names a leader, even the same.
Sources: PROTOCOL E.6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from immutables import Map
from msgspec import Struct, field
from msgspec.structs import replace

from cluster.metadata import records as r
from cluster.metadata.image import (
    EMPTY,
    EMPTY_IMAGE,
    BrokerImage,
    ControllerImage,
    ImageReads,
    ListenerImage,
    MetadataImage,
    PartitionImage,
    TopicImage,
)
from cluster.metadata.records import MetadataRecord
from pykafkacore.protocol.types import DIRECTORY_MIGRATING, DIRECTORY_UNASSIGNED, Uuid


class InconsistentLog(AssertionError):
    """The log says something that cannot follow from what it said before."""


class ImageDelta(Struct):
    """What changed between two images. Sets hold keys; look the values up in `before` and `after`."""

    before: MetadataImage
    after: MetadataImage
    partitions: dict[Uuid, set[int]] = field(default_factory=dict)
    topics_added: set[Uuid] = field(default_factory=set)
    topics_removed: set[Uuid] = field(default_factory=set)
    brokers: set[int] = field(default_factory=set)
    controllers: set[int] = field(default_factory=set)
    configs: set[tuple[int, str]] = field(default_factory=set)
    features: set[str] = field(default_factory=set)
    acls: set[Uuid] = field(default_factory=set)
    scram_credentials: set[tuple[str, int]] = field(default_factory=set)
    quotas: set[tuple[tuple[str, str | None], ...]] = field(default_factory=set)
    delegation_tokens: set[str] = field(default_factory=set)
    producer_ids_changed: bool = False


class WorkingImage(ImageReads):
    def __init__(self, image: MetadataImage = EMPTY_IMAGE) -> None:
        self.offset = image.offset
        self.leader_epoch = image.leader_epoch
        self.features = image.features
        self.brokers = image.brokers
        self.controllers = image.controllers
        self.topics = image.topics
        self.topic_ids = image.topic_ids
        self.configs = image.configs
        self.next_producer_id = image.next_producer_id
        self.acls = image.acls
        self.scram_credentials = image.scram_credentials
        self.quotas = image.quotas
        self.delegation_tokens = image.delegation_tokens
        self.zk_migration_state = image.zk_migration_state
        self._transaction: list[MetadataRecord] | None = None
        self._before = image
        self._delta = ImageDelta(image, image)

    @property
    def is_in_transaction(self) -> bool:
        return self._transaction is not None

    def apply(self, offset: int, record: MetadataRecord, leader_epoch: int | None = None) -> None:
        """Make the record at `offset` true (or keep it, where a transaction is open)."""
        if leader_epoch is not None:
            self.leader_epoch = leader_epoch
        key = record.api_key
        if key == r.BEGIN_TRANSACTION:
            if self._transaction is not None:
                raise InconsistentLog(f"offset {offset}: a transaction begins within a transaction")
            self._transaction = []
        elif key in (r.END_TRANSACTION, r.ABORT_TRANSACTION):
            if self._transaction is None:
                raise InconsistentLog(f"offset {offset}: the end of a transaction that never began")
            pending, self._transaction = self._transaction, None
            for each in pending if key == r.END_TRANSACTION else ():
                self._apply(offset, each)
        elif self._transaction is not None:
            self._transaction.append(record)
        else:
            self._apply(offset, record)
        self.offset = offset + 1

    def skip(self, end_offset: int, leader_epoch: int) -> None:
        """Control batches move the offset and nothing else."""
        self.offset, self.leader_epoch = end_offset, leader_epoch

    def image(self) -> MetadataImage:
        return MetadataImage(
            self.offset,
            self.leader_epoch,
            self.features,
            self.brokers,
            self.controllers,
            self.topics,
            self.topic_ids,
            self.configs,
            self.next_producer_id,
            self.acls,
            self.scram_credentials,
            self.quotas,
            self.delegation_tokens,
            self.zk_migration_state,
        )

    def take_delta(self) -> ImageDelta:
        """What has changed since the last call (or the start). While a transaction is open nothing of it shows."""
        delta, after = self._delta, self.image()
        delta.after = after
        self._before = after
        self._delta = ImageDelta(after, after)
        return delta

    def _apply(self, offset: int, record: MetadataRecord) -> None:
        handler = _HANDLERS.get(record.api_key)
        if handler is None:
            raise InconsistentLog(f"offset {offset}: no way to apply a record with api key {record.api_key}")
        handler(self, record.body)

    # --- brokers and controllers ------------------------------------------------------------------------------------

    def _register_broker(self, body: Any) -> None:
        self.brokers = self.brokers.set(
            body.broker_id,
            BrokerImage(
                body.broker_id,
                body.broker_epoch,
                body.incarnation_id,
                _listeners(body.end_points),
                _ranges(body.features),
                body.rack,
                body.fenced,
                body.in_controlled_shutdown,
                tuple(body.log_dirs),
                None if body.cordoned_log_dirs is None else tuple(body.cordoned_log_dirs),
                body.is_migrating_zk_broker,
            ),
        )
        self._delta.brokers.add(body.broker_id)

    def _unregister_broker(self, body: Any) -> None:
        self._known_broker(body.broker_id, body.broker_epoch)
        self.brokers = self.brokers.delete(body.broker_id)
        self._delta.brokers.add(body.broker_id)

    def _known_broker(self, broker_id: int, broker_epoch: int) -> BrokerImage:
        broker = self.brokers.get(broker_id)
        if broker is None or broker.broker_epoch != broker_epoch:
            known = "unknown" if broker is None else f"at epoch {broker.broker_epoch}"
            raise InconsistentLog(f"a record about broker {broker_id} at epoch {broker_epoch}, which is {known}")
        return broker

    def _set_broker(self, broker: BrokerImage) -> None:
        self.brokers = self.brokers.set(broker.broker_id, broker)
        self._delta.brokers.add(broker.broker_id)

    def _fence_broker(self, body: Any) -> None:
        self._set_broker(replace(self._known_broker(body.id, body.epoch), is_fenced=True))

    def _unfence_broker(self, body: Any) -> None:
        self._set_broker(replace(self._known_broker(body.id, body.epoch), is_fenced=False))

    def _change_broker_registration(self, body: Any) -> None:
        broker = self._known_broker(body.broker_id, body.broker_epoch)
        if body.fenced not in (-1, 0, 1) or body.in_controlled_shutdown not in (0, 1):
            raise InconsistentLog(f"a change of broker {body.broker_id} that nobody defined: {body}")
        changes: dict[str, Any] = {}
        if body.fenced:
            changes["is_fenced"] = body.fenced == 1
        if body.in_controlled_shutdown:
            changes["is_in_controlled_shutdown"] = True
        if body.log_dirs:
            changes["log_dirs"] = tuple(body.log_dirs)
        if body.cordoned_log_dirs is not None:
            changes["cordoned_log_dirs"] = tuple(body.cordoned_log_dirs)
        self._set_broker(replace(broker, **changes))

    def _register_controller(self, body: Any) -> None:
        controller = ControllerImage(
            body.controller_id,
            body.incarnation_id,
            body.zk_migration_ready,
            _listeners(body.end_points),
            _ranges(body.features),
        )
        self.controllers = self.controllers.set(body.controller_id, controller)
        self._delta.controllers.add(body.controller_id)

    def _unregister_controller(self, body: Any) -> None:
        if body.controller_id not in self.controllers:
            raise InconsistentLog(f"controller {body.controller_id} leaves, which was never registered")
        self.controllers = self.controllers.delete(body.controller_id)
        self._delta.controllers.add(body.controller_id)

    # --- topics -----------------------------------------------------------------------------------------------------

    def _add_topic(self, body: Any) -> None:
        if body.topic_id in self.topics or body.name in self.topic_ids:
            raise InconsistentLog(f"topic {body.name} is created twice")
        self.topics = self.topics.set(body.topic_id, TopicImage(body.topic_id, body.name, EMPTY))
        self.topic_ids = self.topic_ids.set(body.name, body.topic_id)
        self._delta.topics_added.add(body.topic_id)

    def _remove_topic(self, body: Any) -> None:
        topic = self._known_topic(body.topic_id)
        self.topics = self.topics.delete(topic.topic_id)
        self.topic_ids = self.topic_ids.delete(topic.name)
        resource = (r.RESOURCE_TOPIC, topic.name)
        if resource in self.configs:
            self.configs = self.configs.delete(resource)
            self._delta.configs.add(resource)
        delta = self._delta
        delta.partitions.pop(topic.topic_id, None)
        if topic.topic_id in delta.topics_added:
            delta.topics_added.discard(topic.topic_id)
        else:
            delta.topics_removed.add(topic.topic_id)

    def _known_topic(self, topic_id: Uuid) -> TopicImage:
        topic = self.topics.get(topic_id)
        if topic is None:
            raise InconsistentLog(f"a record about topic {topic_id.hex()}, which is not there")
        return topic

    def _set_partition(self, topic: TopicImage, index: int, partition: PartitionImage) -> None:
        topic_id = topic.topic_id
        partitions = topic.partitions.set(index, partition)
        self.topics = self.topics.set(topic_id, TopicImage(topic_id, topic.name, partitions))
        changed = self._delta.partitions.get(topic_id)
        if changed is None:
            self._delta.partitions[topic_id] = {index}
        else:
            changed.add(index)

    def _add_partition(self, body: Any) -> None:
        topic = self._known_topic(body.topic_id)
        replicas = tuple(body.replicas)
        directories = tuple(body.directories) or (DIRECTORY_MIGRATING,) * len(replicas)
        if len(directories) != len(replicas):
            raise InconsistentLog(f"{topic.name}-{body.partition_id} has {len(directories)} directories")
        self._set_partition(
            topic,
            body.partition_id,
            PartitionImage(
                replicas,
                tuple(body.isr),
                body.leader,
                body.leader_epoch,
                body.partition_epoch,
                directories,
                tuple(body.removing_replicas),
                tuple(body.adding_replicas),
                body.leader_recovery_state,
                tuple(body.eligible_leader_replicas or ()),
                tuple(body.last_known_elr or ()),
            ),
        )

    def _change_partition(self, body: Any) -> None:
        topic = self._known_topic(body.topic_id)
        before = topic.partitions.get(body.partition_id)
        if before is None:
            raise InconsistentLog(f"a change of {topic.name}-{body.partition_id}, which is not there")
        self._set_partition(topic, body.partition_id, merge(before, body))

    def _clear_elr(self, body: Any) -> None:
        if body.topic_name:
            topic_id = self.topic_ids.get(body.topic_name)
            if topic_id is None:
                raise InconsistentLog(f"the ELR of topic {body.topic_name} is cleared, which is not there")
            topics = [self.topics[topic_id]]
        else:
            topics = list(self.topics.values())
        for topic in topics:
            for index, partition in topic.partitions.items():
                if partition.eligible_leader_replicas or partition.last_known_elr:
                    cleared = replace(
                        partition,
                        eligible_leader_replicas=(),
                        last_known_elr=(),
                        partition_epoch=partition.partition_epoch + 1,
                    )
                    self._set_partition(self.topics[topic.topic_id], index, cleared)

    # --- configs, features, ids -------------------------------------------------------------------------------------

    def _set_config(self, body: Any) -> None:
        resource = (body.resource_type, body.resource_name)
        values = self.configs.get(resource, EMPTY)
        if body.value is not None:
            values = values.set(body.name, body.value)
        elif body.name in values:
            values = values.delete(body.name)
        if values:
            self.configs = self.configs.set(resource, values)
        elif resource in self.configs:
            self.configs = self.configs.delete(resource)
        self._delta.configs.add(resource)

    def _set_feature_level(self, body: Any) -> None:
        if body.feature_level:
            self.features = self.features.set(body.name, body.feature_level)
        elif body.name in self.features:
            self.features = self.features.delete(body.name)
        self._delta.features.add(body.name)

    def _set_producer_ids(self, body: Any) -> None:
        if body.next_producer_id <= self.next_producer_id and self.next_producer_id > 0:
            raise InconsistentLog(f"producer ids go back from {self.next_producer_id} to {body.next_producer_id}")
        self.next_producer_id = body.next_producer_id
        self._delta.producer_ids_changed = True

    def _set_quota(self, body: Any) -> None:
        entity = tuple(sorted((each.entity_type, each.entity_name) for each in body.entity))
        values = self.quotas.get(entity, EMPTY)
        if not body.remove:
            values = values.set(body.key, body.value)
        elif body.key in values:
            values = values.delete(body.key)
        if values:
            self.quotas = self.quotas.set(entity, values)
        elif entity in self.quotas:
            self.quotas = self.quotas.delete(entity)
        self._delta.quotas.add(entity)

    # --- security ---------------------------------------------------------------------------------------------------

    def _add_acl(self, body: Any) -> None:
        self.acls = self.acls.set(body.id, body)
        self._delta.acls.add(body.id)

    def _remove_acl(self, body: Any) -> None:
        if body.id not in self.acls:
            raise InconsistentLog(f"ACL {body.id.hex()} is removed, which is not there")
        self.acls = self.acls.delete(body.id)
        self._delta.acls.add(body.id)

    def _set_scram_credential(self, body: Any) -> None:
        key = (body.name, body.mechanism)
        self.scram_credentials = self.scram_credentials.set(key, body)
        self._delta.scram_credentials.add(key)

    def _remove_scram_credential(self, body: Any) -> None:
        key = (body.name, body.mechanism)
        if key not in self.scram_credentials:
            raise InconsistentLog(f"the credential of {body.name} is removed, which is not there")
        self.scram_credentials = self.scram_credentials.delete(key)
        self._delta.scram_credentials.add(key)

    def _set_delegation_token(self, body: Any) -> None:
        self.delegation_tokens = self.delegation_tokens.set(body.token_id, body)
        self._delta.delegation_tokens.add(body.token_id)

    def _remove_delegation_token(self, body: Any) -> None:
        if body.token_id in self.delegation_tokens:
            self.delegation_tokens = self.delegation_tokens.delete(body.token_id)
        self._delta.delegation_tokens.add(body.token_id)

    def _set_zk_migration_state(self, body: Any) -> None:
        self.zk_migration_state = body.zk_migration_state

    def _no_op(self, body: Any) -> None:
        pass


def merge(before: PartitionImage, body: Any) -> PartitionImage:
    """A partition after a PartitionChange."""
    replicas = before.replicas if body.replicas is None else tuple(body.replicas)
    if body.directories is not None:
        directories = tuple(body.directories)
    elif replicas == before.replicas:
        directories = before.directories
    else:
        known = dict(zip(before.replicas, before.directories, strict=False))
        directories = tuple(known.get(replica, DIRECTORY_UNASSIGNED) for replica in replicas)
    if len(directories) != len(replicas):
        raise InconsistentLog(f"a partition of {len(replicas)} replicas in {len(directories)} directories")
    names_leader = body.leader != r.NO_LEADER_CHANGE
    return PartitionImage(
        replicas,
        before.isr if body.isr is None else tuple(body.isr),
        body.leader if names_leader else before.leader,
        before.leader_epoch + 1 if names_leader else before.leader_epoch,
        before.partition_epoch + 1,
        directories,
        before.removing_replicas if body.removing_replicas is None else tuple(body.removing_replicas),
        before.adding_replicas if body.adding_replicas is None else tuple(body.adding_replicas),
        before.leader_recovery_state
        if body.leader_recovery_state == r.NO_RECOVERY_CHANGE
        else body.leader_recovery_state,
        before.eligible_leader_replicas
        if body.eligible_leader_replicas is None
        else tuple(body.eligible_leader_replicas),
        before.last_known_elr if body.last_known_elr is None else tuple(body.last_known_elr),
    )


def _listeners(end_points: Any) -> tuple[ListenerImage, ...]:
    return tuple(ListenerImage(each.name, each.host, each.port, each.security_protocol) for each in end_points)


def _ranges(features: Any) -> Map[str, tuple[int, int]]:
    return Map({each.name: (each.min_supported_version, each.max_supported_version) for each in features})


_HANDLERS: dict[int, Callable[[WorkingImage, Any], None]] = {
    r.REGISTER_BROKER: WorkingImage._register_broker,
    r.UNREGISTER_BROKER: WorkingImage._unregister_broker,
    r.TOPIC: WorkingImage._add_topic,
    r.PARTITION: WorkingImage._add_partition,
    r.CONFIG: WorkingImage._set_config,
    r.PARTITION_CHANGE: WorkingImage._change_partition,
    r.FENCE_BROKER: WorkingImage._fence_broker,
    r.UNFENCE_BROKER: WorkingImage._unfence_broker,
    r.REMOVE_TOPIC: WorkingImage._remove_topic,
    r.DELEGATION_TOKEN: WorkingImage._set_delegation_token,
    r.USER_SCRAM_CREDENTIAL: WorkingImage._set_scram_credential,
    r.FEATURE_LEVEL: WorkingImage._set_feature_level,
    r.CLIENT_QUOTA: WorkingImage._set_quota,
    r.PRODUCER_IDS: WorkingImage._set_producer_ids,
    r.BROKER_REGISTRATION_CHANGE: WorkingImage._change_broker_registration,
    r.ACCESS_CONTROL_ENTRY: WorkingImage._add_acl,
    r.REMOVE_ACCESS_CONTROL_ENTRY: WorkingImage._remove_acl,
    r.NO_OP: WorkingImage._no_op,
    r.ZK_MIGRATION_STATE: WorkingImage._set_zk_migration_state,
    r.REMOVE_USER_SCRAM_CREDENTIAL: WorkingImage._remove_scram_credential,
    r.REMOVE_DELEGATION_TOKEN: WorkingImage._remove_delegation_token,
    r.REGISTER_CONTROLLER: WorkingImage._register_controller,
    r.CLEAR_ELR: WorkingImage._clear_elr,
    r.UNREGISTER_CONTROLLER: WorkingImage._unregister_controller,
}
