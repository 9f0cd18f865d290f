"""What a client knows about the cluster: nodes, topics, leaders. Frozen; a refresh makes a new one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from pykafkacore.protocol.errors import Code, code_of
from pykafkacore.protocol.types import ZERO_UUID

if TYPE_CHECKING:
    from pykafkacore.protocol.types import Uuid


class NodeMetadata(Struct, frozen=True):
    node_id: int
    host: str
    port: int
    rack: str | None = None


class PartitionMetadata(Struct, frozen=True):
    partition: int
    leader_id: int
    leader_epoch: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    offline_replicas: tuple[int, ...]
    error: Code


class TopicMetadata(Struct, frozen=True):
    name: str
    topic_id: Uuid
    is_internal: bool
    error: Code
    partitions: dict[int, PartitionMetadata]


class ClusterMetadata(Struct, frozen=True):
    """One answer to a Metadata request, with older knowledge about other topics kept."""

    cluster_id: str | None = None
    controller_id: int = -1
    nodes: dict[int, NodeMetadata] = field(default_factory=dict)
    topics: dict[str, TopicMetadata] = field(default_factory=dict)

    def leader_of(self, topic: str, partition: int) -> int | None:
        """The node that leads a partition, as far as is known."""
        found = self.topics.get(topic)
        known = found.partitions.get(partition) if found else None
        return known.leader_id if known and known.leader_id >= 0 else None

    def topic_id(self, topic: str) -> Uuid:
        found = self.topics.get(topic)
        return found.topic_id if found else ZERO_UUID


def read_metadata(response: Any, older: ClusterMetadata) -> ClusterMetadata:
    """The knowledge after a Metadata response."""
    nodes = {one.node_id: NodeMetadata(one.node_id, one.host, one.port, one.rack) for one in response.brokers}
    topics = dict(older.topics)
    for topic in response.topics:
        if topic.name is None:
            continue
        topics[topic.name] = TopicMetadata(
            name=topic.name,
            topic_id=topic.topic_id,
            is_internal=topic.is_internal,
            error=code_of(topic.error_code),
            partitions={
                one.partition_index: PartitionMetadata(
                    partition=one.partition_index,
                    leader_id=one.leader_id,
                    leader_epoch=one.leader_epoch,
                    replicas=tuple(one.replica_nodes),
                    isr=tuple(one.isr_nodes),
                    offline_replicas=tuple(one.offline_replicas),
                    error=code_of(one.error_code),
                )
                for one in topic.partitions
            },
        )
    return ClusterMetadata(
        cluster_id=response.cluster_id or older.cluster_id,
        controller_id=response.controller_id,
        nodes=nodes or older.nodes,
        topics=topics,
    )
