"""Kafka's internal topics: their names, and what they are made with when somebody first needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cluster.config.settings import BrokerSettings

GROUP_TOPIC = "__consumer_offsets"
TRANSACTION_TOPIC = "__transaction_state"
SHARE_TOPIC = "__share_group_state"

# topic: keys of partition count, replication factor and segment size; configs
_CREATION: dict[str, tuple[str, str, str, dict[str, str]]] = {
    GROUP_TOPIC: (
        "offsets.topic.num.partitions",
        "offsets.topic.replication.factor",
        "offsets.topic.segment.bytes",
        {"cleanup.policy": "compact", "compression.type": "producer"},
    ),
    TRANSACTION_TOPIC: (
        "transaction.state.log.num.partitions",
        "transaction.state.log.replication.factor",
        "transaction.state.log.segment.bytes",
        {"cleanup.policy": "compact", "compression.type": "uncompressed", "unclean.leader.election.enable": "false"},
    ),
    SHARE_TOPIC: (
        "share.coordinator.state.topic.num.partitions",
        "share.coordinator.state.topic.replication.factor",
        "share.coordinator.state.topic.segment.bytes",
        {"cleanup.policy": "delete", "compression.type": "uncompressed", "retention.ms": "-1"},
    ),
}
_MIN_ISR = {
    TRANSACTION_TOPIC: "transaction.state.log.min.isr",
    SHARE_TOPIC: "share.coordinator.state.topic.min.isr",
}


def is_internal(name: str) -> bool:
    """KAFKA: the share state topic counts as internal since 4.1 too."""
    return name in _CREATION


def creation_of(name: str, settings: BrokerSettings, request: Any) -> Any:
    """How to make a topic that nobody described: the broker's defaults, or an internal topic's own."""
    if name not in _CREATION:
        return request.CreatableTopic(name=name, num_partitions=-1, replication_factor=-1)
    partitions, replication, segment, configs = _CREATION[name]
    configs = {**configs, "segment.bytes": str(settings[segment])}
    if name in _MIN_ISR:
        configs["min.insync.replicas"] = str(settings[_MIN_ISR[name]])
    return request.CreatableTopic(
        name=name,
        num_partitions=settings[partitions],
        replication_factor=settings[replication],
        configs=[request.CreatableTopicConfig(name=key, value=value) for key, value in sorted(configs.items())],
    )
