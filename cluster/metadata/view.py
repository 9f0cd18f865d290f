"""From a change of the committed image to a change of the data plane's view. Pure; costs what changed.

Projected are the partitions that this broker hosts, those it has just stopped hosting (so that it stops them), their
topics' effective settings, and the active brokers.
INVARIANT: the projection is made of committed images only, and of two that follow one another without a gap.
"""

from __future__ import annotations

from typing import Any

from cluster.config.settings import BrokerSettings, topic_settings
from cluster.metadata.apply import ImageDelta
from cluster.metadata.image import MetadataImage, TopicImage
from cluster.metadata.records import RESOURCE_BROKER, RESOURCE_TOPIC
from cluster.plane.port import BrokerEndpoint, PartitionView, TopicView, ViewDelta
from pykafkacore.protocol.types import Uuid


def effective_settings(settings: BrokerSettings, overrides: Any) -> dict[str, Any]:
    """A topic's settings as the data plane names them: `segment.bytes` is `segment_bytes`, parsed."""
    return {name.replace(".", "_"): value for name, value in topic_settings(settings, overrides).items()}


class Projector:
    """Remembers the dynamic settings of this broker, so that an unrelated change costs nothing."""

    def __init__(self, node_id: int, settings: BrokerSettings, inter_broker_listener: str) -> None:
        """`settings`: the static layer of this node."""
        self._node_id = node_id
        self._static = settings
        self._listener = inter_broker_listener
        self.settings = settings

    def project(self, delta: ImageDelta) -> ViewDelta:
        before, after = delta.before, delta.after
        retuned = self._take_settings(delta)
        partitions: list[PartitionView] = []
        topic_ids: dict[Uuid, None] = {}
        for topic_id, indexes in delta.partitions.items():
            topic = after.topics.get(topic_id)
            if topic is None:
                continue
            is_new_here = False
            for index in sorted(indexes):
                earlier = before.partition(topic_id, index)
                was_here = earlier is not None and self._node_id in earlier.replicas
                is_here = self._node_id in topic.partitions[index].replicas
                if is_here or was_here:
                    partitions.append(self._partition(topic, index))
                is_new_here = is_new_here or (is_here and not was_here)
            if is_new_here and not self._hosts(before.topics.get(topic_id)):
                topic_ids[topic_id] = None
        if retuned:
            topic_ids.update({topic.topic_id: None for topic in after.topics.values() if self._hosts(topic)})
        else:
            for resource_type, name in delta.configs:
                changed_id = after.topic_ids.get(name) if resource_type == RESOURCE_TOPIC else None
                if changed_id is not None and self._hosts(after.topics[changed_id]):
                    topic_ids[changed_id] = None
        removed = tuple(topic_id for topic_id in delta.topics_removed if self._hosts(before.topics.get(topic_id)))
        return ViewDelta(
            after.offset,
            tuple(self._topic(after, after.topics[topic_id]) for topic_id in topic_ids),
            tuple(partitions),
            removed,
            self._brokers(after) if delta.brokers else None,
        )

    def _take_settings(self, delta: ImageDelta) -> bool:
        """Whether the dynamic settings that topics inherit here have changed."""
        own = (RESOURCE_BROKER, str(self._node_id))
        if (RESOURCE_BROKER, "") not in delta.configs and own not in delta.configs:
            return False
        after = delta.after
        self.settings = self._static.with_dynamic(after.configs_of(RESOURCE_BROKER, ""), after.configs_of(*own))
        return True

    def _hosts(self, topic: TopicImage | None) -> bool:
        return topic is not None and any(self._node_id in each.replicas for each in topic.partitions.values())

    def _partition(self, topic: TopicImage, index: int) -> PartitionView:
        partition = topic.partitions[index]
        return PartitionView(
            topic.topic_id,
            topic.name,
            index,
            partition.leader,
            partition.leader_epoch,
            partition.partition_epoch,
            partition.replicas,
            partition.isr,
            partition.directory_of(self._node_id),
        )

    def _topic(self, after: MetadataImage, topic: TopicImage) -> TopicView:
        overrides = after.configs_of(RESOURCE_TOPIC, topic.name)
        return TopicView(topic.topic_id, topic.name, effective_settings(self.settings, overrides))

    def _brokers(self, after: MetadataImage) -> tuple[BrokerEndpoint, ...]:
        found = []
        for broker_id in sorted(after.brokers):
            broker = after.brokers[broker_id]
            listener = broker.listener(self._listener)
            if listener is not None and not broker.is_fenced:
                found.append(BrokerEndpoint(broker_id, listener.host, listener.port, broker.rack))
        return tuple(found)
