"""An image as the records that would make it, and the records that a new cluster begins with. Pure.

INVARIANT: applying `image_records(image)` to an empty image gives the image back (all but its offset and epoch).
The order is Kafka's: features first, so that a reader knows the metadata.version before all else; then brokers,
controllers, topics each with its partitions, configs, quotas, producer ids, ACLs, credentials, tokens.
Not here: the file around them (cluster/raft/snapshot.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cluster.metadata import features as f
from cluster.metadata import records as r
from cluster.metadata.image import (
    METADATA_VERSION,
    MIN_IN_SYNC_REPLICAS,
    BrokerImage,
    ControllerImage,
    MetadataImage,
    PartitionImage,
)
from cluster.metadata.records import MetadataRecord, config_record, record


def image_records(image: MetadataImage) -> Iterator[MetadataRecord]:
    metadata_version = image.metadata_version
    if METADATA_VERSION in image.features:
        yield record(r.FEATURE_LEVEL, name=METADATA_VERSION, feature_level=metadata_version)
    for name in sorted(image.features):
        if name != METADATA_VERSION:
            yield record(r.FEATURE_LEVEL, name=name, feature_level=image.features[name])
    for broker_id in sorted(image.brokers):
        yield broker_record(image.brokers[broker_id], metadata_version)
    for controller_id in sorted(image.controllers):
        yield controller_record(image.controllers[controller_id])
    partition_version = r.partition_version(metadata_version, image.elr_is_on)
    for name in sorted(image.topic_ids):
        topic = image.topics[image.topic_ids[name]]
        yield record(r.TOPIC, name=name, topic_id=topic.topic_id)
        for index in sorted(topic.partitions):
            yield partition_record(topic.topic_id, index, topic.partitions[index], partition_version)
    for resource_type, resource_name in sorted(image.configs):
        values = image.configs[resource_type, resource_name]
        for key in sorted(values):
            yield config_record(resource_type, resource_name, key, values[key])
    yield from _quota_records(image)
    if image.next_producer_id > 0:
        yield record(r.PRODUCER_IDS, broker_id=-1, broker_epoch=-1, next_producer_id=image.next_producer_id)
    for acl_id in sorted(image.acls):
        yield MetadataRecord(r.ACCESS_CONTROL_ENTRY, 0, image.acls[acl_id])
    for credential in sorted(image.scram_credentials):
        yield MetadataRecord(r.USER_SCRAM_CREDENTIAL, 0, image.scram_credentials[credential])
    for token_id in sorted(image.delegation_tokens):
        yield MetadataRecord(r.DELEGATION_TOKEN, 0, image.delegation_tokens[token_id])
    if image.zk_migration_state is not None:
        yield record(r.ZK_MIGRATION_STATE, zk_migration_state=image.zk_migration_state)


def _quota_records(image: MetadataImage) -> Iterator[MetadataRecord]:
    message = r.message_of(r.CLIENT_QUOTA)
    for entity in sorted(image.quotas, key=lambda each: [(kind, name or "", name is None) for kind, name in each]):
        data = [message.EntityData(entity_type=kind, entity_name=name) for kind, name in entity]
        for key in sorted(image.quotas[entity]):
            yield record(r.CLIENT_QUOTA, entity=data, key=key, value=image.quotas[entity][key], remove=False)


def broker_record(broker: BrokerImage, metadata_version: int) -> MetadataRecord:
    record_version = r.register_broker_version(metadata_version)
    message = r.message_of(r.REGISTER_BROKER)
    fields: dict[str, Any] = {}
    if record_version >= 2:
        fields["is_migrating_zk_broker"] = broker.is_migrating_zk_broker
    if record_version >= 3:
        fields["log_dirs"] = list(broker.log_dirs)
    if record_version >= 4 and broker.cordoned_log_dirs is not None:
        fields["cordoned_log_dirs"] = list(broker.cordoned_log_dirs)
    return record(
        r.REGISTER_BROKER,
        record_version,
        broker_id=broker.broker_id,
        incarnation_id=broker.incarnation_id,
        broker_epoch=broker.broker_epoch,
        end_points=[
            message.BrokerEndpoint(name=e.name, host=e.host, port=e.port, security_protocol=e.security_protocol)
            for e in broker.listeners
        ],
        features=[
            message.BrokerFeature(name=name, min_supported_version=low, max_supported_version=high)
            for name, (low, high) in sorted(broker.features.items())
        ],
        rack=broker.rack,
        fenced=broker.is_fenced,
        in_controlled_shutdown=broker.is_in_controlled_shutdown,
        **fields,
    )


def controller_record(controller: ControllerImage) -> MetadataRecord:
    message = r.message_of(r.REGISTER_CONTROLLER)
    return record(
        r.REGISTER_CONTROLLER,
        controller_id=controller.controller_id,
        incarnation_id=controller.incarnation_id,
        zk_migration_ready=controller.zk_migration_ready,
        end_points=[
            message.ControllerEndpoint(name=e.name, host=e.host, port=e.port, security_protocol=e.security_protocol)
            for e in controller.listeners
        ],
        features=[
            message.ControllerFeature(name=name, min_supported_version=low, max_supported_version=high)
            for name, (low, high) in sorted(controller.features.items())
        ],
    )


def partition_record(topic_id: bytes, index: int, partition: PartitionImage, record_version: int) -> MetadataRecord:
    fields: dict[str, Any] = {}
    if record_version >= 1:
        fields["directories"] = list(partition.directories)
    if record_version >= 2:
        if partition.eligible_leader_replicas:
            fields["eligible_leader_replicas"] = list(partition.eligible_leader_replicas)
        if partition.last_known_elr:
            fields["last_known_elr"] = list(partition.last_known_elr)
    return record(
        r.PARTITION,
        record_version,
        partition_id=index,
        topic_id=topic_id,
        replicas=list(partition.replicas),
        isr=list(partition.isr),
        removing_replicas=list(partition.removing_replicas),
        adding_replicas=list(partition.adding_replicas),
        leader=partition.leader,
        leader_recovery_state=partition.leader_recovery_state,
        leader_epoch=partition.leader_epoch,
        partition_epoch=partition.partition_epoch,
        **fields,
    )


def bootstrap_records(
    levels: dict[str, int] | None = None, static_min_in_sync_replicas: int = 1
) -> list[MetadataRecord]:
    """What a new cluster begins with: its feature levels (those of 4.4 unless given), metadata.version first.

    kraft.version is no feature record: it stands in a control record of Raft.
    """
    chosen = dict(f.DEFAULT_LEVELS if levels is None else levels)
    metadata_version = chosen.pop(METADATA_VERSION)
    found = [record(r.FEATURE_LEVEL, name=METADATA_VERSION, feature_level=metadata_version)]
    for name in sorted(chosen):
        if chosen[name] > 0 and name != f.KRAFT_VERSION:
            found.append(record(r.FEATURE_LEVEL, name=name, feature_level=chosen[name]))
    if chosen.get(f.ELR_VERSION, 0) >= 1:
        # With ELR every controller must count with the same number, so it may not come from anybody's file.
        found.append(config_record(r.RESOURCE_BROKER, "", MIN_IN_SYNC_REPLICAS, str(static_min_in_sync_replicas)))
    return found
