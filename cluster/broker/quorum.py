"""DescribeQuorum, from what the Raft node knows. KAFKA: only the leader answers."""

from __future__ import annotations

from typing import Any

from cluster.broker.clock import Clock
from cluster.handlers.context import Call
from cluster.raft.node import RaftNode
from pykafkacore.protocol.errors import Code

METADATA_TOPIC = "__cluster_metadata"


def describe_quorum(node: RaftNode, clock: Clock, call: Call) -> Any:
    message = call.api.response
    topics = call.request.topics
    if len(topics) != 1 or topics[0].topic_name != METADATA_TOPIC or len(topics[0].partitions) != 1:
        error = Code.UNKNOWN_TOPIC_OR_PARTITION if topics else Code.INVALID_REQUEST
        rows = [
            message.TopicData(
                topic_name=topic.topic_name,
                partitions=[
                    message.PartitionData(partition_index=p.partition_index, error_code=error) for p in topic.partitions
                ],
            )
            for topic in topics
        ]
        return message(topics=rows) if topics else message(error_code=error)
    partition = message.PartitionData(partition_index=topics[0].partitions[0].partition_index)
    response = message(topics=[message.TopicData(topic_name=METADATA_TOPIC, partitions=[partition])])
    if partition.partition_index != 0:
        partition.error_code = Code.UNKNOWN_TOPIC_OR_PARTITION
        return response
    if not node.is_leader:
        partition.error_code = Code.NOT_LEADER_OR_FOLLOWER
        return response
    now_ms = clock.wall_ms()
    partition.leader_id, partition.leader_epoch = node.key.node_id, node.epoch
    partition.high_watermark = node.high_watermark
    for voter in node.voters.voters:
        is_self = voter.key.node_id == node.key.node_id
        partition.current_voters.append(
            message.ReplicaState(
                replica_id=voter.key.node_id,
                replica_directory_id=voter.key.directory_id,
                log_end_offset=node.log.end_offset if is_self else -1,
                last_fetch_timestamp=now_ms if is_self else -1,
                last_caught_up_timestamp=now_ms if is_self else -1,
            )
        )
        if call.api_version >= 2:
            listeners = [message.Listener(name=e.name, host=e.host, port=e.port) for e in voter.endpoints]
            response.nodes.append(message.Node(node_id=voter.key.node_id, listeners=listeners))
    return response
