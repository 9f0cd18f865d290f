"""DescribeQuorum, from what the Raft node knows. KAFKA: only the leader answers."""

from __future__ import annotations

from typing import Any

from cluster.broker.clock import Clock
from cluster.handlers.context import Call
from cluster.raft.node import RaftNode
from cluster.raft.replication import describe_replicas
from pykafkacore.protocol.errors import Code

METADATA_TOPIC = "__cluster_metadata"


def describe_quorum(node: RaftNode, clock: Clock, call: Call) -> Any:
    message, topics = call.api.response, call.request.topics
    if len(topics) != 1 or topics[0].topic_name != METADATA_TOPIC or len(topics[0].partitions) != 1:
        error = Code.UNKNOWN_TOPIC_OR_PARTITION
        rows = [
            message.TopicData(
                topic_name=topic.topic_name,
                partitions=[
                    message.PartitionData(partition_index=p.partition_index, error_code=error) for p in topic.partitions
                ],
            )
            for topic in topics
        ]
        return message(topics=rows) if topics else message(error_code=Code.INVALID_REQUEST)
    partition = message.PartitionData(partition_index=topics[0].partitions[0].partition_index)
    response = message(topics=[message.TopicData(topic_name=METADATA_TOPIC, partitions=[partition])])
    if partition.partition_index != 0:
        partition.error_code = Code.UNKNOWN_TOPIC_OR_PARTITION
        return response
    if not node.is_leader:
        partition.error_code = Code.NOT_LEADER_OR_FOLLOWER
        return response
    # Raft lives by a clock that only goes forward; people read wall clock time.
    now_ms = clock.now_ms()
    ahead_ms = clock.wall_ms() - now_ms

    def state(progress: Any) -> Any:
        def wall(at_ms: int) -> int:
            return at_ms + ahead_ms if at_ms >= 0 else -1

        return message.ReplicaState(
            replica_id=progress.key.node_id,
            replica_directory_id=progress.key.directory_id,
            log_end_offset=progress.fetch_offset,
            last_fetch_timestamp=wall(progress.last_fetch_ms),
            last_caught_up_timestamp=wall(progress.last_caught_up_ms),
        )

    voters, observers = describe_replicas(node, now_ms)
    partition.leader_id, partition.leader_epoch = node.key.node_id, node.epoch
    partition.high_watermark = node.high_watermark
    partition.current_voters = [state(each) for each in voters]
    partition.observers = [state(each) for each in observers]
    if call.api_version >= 2:
        response.nodes = [
            message.Node(
                node_id=voter.key.node_id,
                listeners=[message.Listener(name=e.name, host=e.host, port=e.port) for e in voter.endpoints],
            )
            for voter in node.voters.voters
        ]
    return response
