"""Which function answers which API, and how an error becomes a response. ApiVersions is derived from this table: what
is not here is not offered.

A handler is a plain function where it can answer at once, else it returns an Answer or a coroutine; any may raise ApiError,
and this is the one place that turns it into the response of that API and version.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

from cluster.handlers import configs, coordination, core, forwarded, log_dirs, metadata, offsets
from cluster.handlers.answers import Answer, stepped
from cluster.handlers.context import Call, Context
from pykafkacore.protocol.apis import APIS, BROKER, CONTROLLER, Api
from pykafkacore.protocol.errors import ApiError

Handler = Callable[[Context, Call], Any]


def _asking(module: str, name: str) -> Handler:
    """A handler that waits for coordinators' answers only. Its module is imported when somebody first asks: a broker
    starts quicker without it."""
    found: Handler | None = None

    def handler(ctx: Context, call: Call) -> Answer:
        nonlocal found
        if found is None:
            found = getattr(import_module(f"cluster.handlers.{module}"), name)
        result = found(ctx, call)
        return result if isinstance(result, Answer) else stepped(result)

    return handler


# Produce and Fetch are answered by the data plane.
BROKER_HANDLERS: dict[str, Handler | None] = {
    "Produce": None,
    "Fetch": None,
    "ListOffsets": offsets.list_offsets,
    "Metadata": metadata.metadata,
    "OffsetCommit": _asking("groups", "offset_commit"),
    "OffsetFetch": _asking("groups", "offset_fetch"),
    "FindCoordinator": coordination.find_coordinator,
    "JoinGroup": _asking("groups", "of_group"),
    "Heartbeat": _asking("groups", "of_group"),
    "LeaveGroup": _asking("groups", "of_group"),
    "SyncGroup": _asking("groups", "sync_group"),
    "DescribeGroups": _asking("groups", "describe_groups"),
    "ListGroups": _asking("groups", "list_groups"),
    "ApiVersions": core.api_versions,
    "CreateTopics": forwarded.to_controller,
    "DeleteTopics": forwarded.to_controller,
    "DeleteRecords": offsets.delete_records,
    "InitProducerId": _asking("transactions", "init_producer_id"),
    "AddPartitionsToTxn": _asking("transactions", "add_partitions_to_txn"),
    "AddOffsetsToTxn": _asking("transactions", "add_offsets_to_txn"),
    "EndTxn": _asking("transactions", "end_txn"),
    "WriteTxnMarkers": _asking("transactions", "write_txn_markers"),
    "TxnOffsetCommit": _asking("transactions", "txn_offset_commit"),
    "OffsetForLeaderEpoch": offsets.offset_for_leader_epoch,
    "DescribeConfigs": configs.describe_configs,
    "AlterConfigs": configs.alter_configs,
    "AlterReplicaLogDirs": log_dirs.alter_replica_log_dirs,
    "DescribeLogDirs": offsets.describe_log_dirs,
    "CreatePartitions": forwarded.to_controller,
    "IncrementalAlterConfigs": configs.alter_configs,
    "AlterPartitionReassignments": forwarded.to_controller,
    "ListPartitionReassignments": forwarded.to_controller,
    "DescribeQuorum": forwarded.describe_quorum,
    "DeleteGroups": _asking("groups", "delete_groups"),
    "OffsetDelete": _asking("groups", "offset_delete"),
    "UpdateFeatures": forwarded.to_controller,
    "DescribeCluster": core.describe_cluster,
    "DescribeProducers": offsets.describe_producers,
    "UnregisterBroker": forwarded.to_controller,
    "ListConfigResources": configs.list_config_resources,
    "ConsumerGroupHeartbeat": _asking("groups", "of_group"),
    "ConsumerGroupDescribe": _asking("groups", "describe_consumer_groups"),
    "DescribeTransactions": _asking("transactions", "describe_transactions"),
    "ListTransactions": _asking("transactions", "list_transactions"),
    "DescribeTopicPartitions": metadata.describe_topic_partitions,
}

CONTROLLER_HANDLERS: dict[str, Handler] = {
    "ApiVersions": core.api_versions,
    "CreateTopics": forwarded.at_controller,
    "DeleteTopics": forwarded.at_controller,
    "CreatePartitions": forwarded.at_controller,
    "AlterConfigs": forwarded.at_controller,
    "IncrementalAlterConfigs": forwarded.at_controller,
    "AlterPartitionReassignments": forwarded.at_controller,
    "ListPartitionReassignments": forwarded.at_controller,
    "DescribeQuorum": forwarded.describe_quorum,
    "UpdateFeatures": forwarded.at_controller,
    "DescribeCluster": core.describe_cluster,
    "Fetch": forwarded.of_quorum,
    "FetchSnapshot": forwarded.of_quorum,
    "Vote": forwarded.of_quorum,
    "BeginQuorumEpoch": forwarded.of_quorum,
    "EndQuorumEpoch": forwarded.of_quorum,
    "AlterPartition": forwarded.at_controller,
    "ControllerRegistration": forwarded.at_controller,
    "BrokerRegistration": forwarded.at_controller,
    "BrokerHeartbeat": forwarded.at_controller,
    "UnregisterBroker": forwarded.at_controller,
    "AllocateProducerIds": forwarded.at_controller,
}

HANDLERS: dict[str, dict[str, Any]] = {BROKER: BROKER_HANDLERS, CONTROLLER: CONTROLLER_HANDLERS}


# Where they answer at once, these look at the metadata, the settings and the request, and do nothing.
_KEPT = frozenset({"ApiVersions", "DescribeCluster", "DescribeConfigs", "DescribeTopicPartitions", "Metadata"})


def is_kept(call: Call) -> bool:
    """Whether an answer that was given at once stays true until the metadata changes."""
    return call.api.name in _KEPT


@cache
def offered(kind: str) -> tuple[Api, ...]:
    """The rows of the API table that a listener of this kind answers."""
    return tuple(api for api in APIS if api.name in HANDLERS[kind] and kind in api.listeners)


def error_response(call: Call, error: ApiError) -> Any | None:
    """The whole request failed: the response that says so, or None where this API has no place for it."""
    response = call.api.response()
    if hasattr(response, "error_code"):
        response.error_code = error.code
        if call.api.name == "JoinGroup" and call.api_version < 7:
            response.protocol_name = ""
        if call.api.name == "InitProducerId":
            response.producer_epoch = -1
        if hasattr(response, "error_message"):
            response.error_message = error.message or None
        if call.api.name not in _TOLD_TWICE:
            return response
    return _spread(call, response, error)


# KAFKA: the request as a whole and each of its items get the error.
_TOLD_TWICE = frozenset({"AlterPartitionReassignments"})


def _spread(call: Call, response: Any, error: ApiError) -> Any | None:
    """Where each item has a place for an error, every item that was asked for gets it."""
    message, request = call.api.response, call.request
    name, code, text = call.api.name, error.code, error.message or None
    if name == "CreateTopics":
        response.topics = [
            message.CreatableTopicResult(name=t.name, error_code=code, error_message=text) for t in request.topics
        ]
    elif name == "DeleteTopics":
        states = [(t.name, t.topic_id) for t in request.topics] or [(each, bytes(16)) for each in request.topic_names]
        response.responses = [
            message.DeletableTopicResult(name=each, topic_id=topic_id, error_code=code, error_message=text)
            for each, topic_id in states
        ]
    elif name == "CreatePartitions":
        response.results = [
            message.CreatePartitionsTopicResult(name=t.name, error_code=code, error_message=text)
            for t in request.topics
        ]
    elif name in ("AlterConfigs", "IncrementalAlterConfigs"):
        response.responses = [
            message.AlterConfigsResourceResponse(
                error_code=code, error_message=text, resource_type=r.resource_type, resource_name=r.resource_name
            )
            for r in request.resources
        ]
    elif name == "AlterPartitionReassignments":
        row = message.ReassignablePartitionResponse
        response.responses = [
            message.ReassignableTopicResponse(
                name=t.name,
                partitions=[
                    row(partition_index=p.partition_index, error_code=code, error_message=text) for p in t.partitions
                ],
            )
            for t in request.topics
        ]
    elif name in ("OffsetCommit", "TxnOffsetCommit"):
        row = getattr(message, f"{name}ResponsePartition")
        response.topics = [
            getattr(message, f"{name}ResponseTopic")(
                name=t.name,
                topic_id=t.topic_id,
                partitions=[row(partition_index=p.partition_index, error_code=code) for p in t.partitions],
            )
            for t in request.topics
        ]
    else:
        return None
    return response
