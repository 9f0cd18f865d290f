"""Administration over a client: topics, configs, the cluster. Each call does one thing or raises ApiError."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import ApiError, Code, code_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pykafkacore.client.client import Client
    from pykafkacore.protocol.types import Uuid

RESOURCE_TYPES = {"topic": 2, "broker": 4, "broker_logger": 8, "client_metrics": 16, "group": 32}
_SET, _DELETE = 0, 1


def check_error(result: Any, what: str) -> None:
    """Raise the error that a result carries, if any."""
    if result.error_code != Code.NONE:
        raise ApiError(code_of(result.error_code), getattr(result, "error_message", None) or what)


async def create_topic(
    client: Client,
    name: str,
    *,
    num_partitions: int = -1,
    replication_factor: int = -1,
    assignments: Mapping[int, Sequence[int]] | None = None,
    configs: Mapping[str, str | None] | None = None,
    validate_only: bool = False,
) -> Uuid:
    """Create a topic and return its id; -1 leaves a number to the brokers."""
    request = api("CreateTopics").request
    topic = request.CreatableTopic(
        name=name,
        num_partitions=num_partitions,
        replication_factor=replication_factor,
        assignments=[
            request.CreatableReplicaAssignment(partition_index=partition, broker_ids=list(brokers))
            for partition, brokers in (assignments or {}).items()
        ],
        configs=[request.CreatableTopicConfig(name=key, value=value) for key, value in (configs or {}).items()],
    )
    body = request(topics=[topic], timeout_ms=client.timeout_ms, validate_only=validate_only)
    answer = await client.request_controller(
        "CreateTopics", body, lambda response: check_error(response.topics[0], f"creation of {name}")
    )
    return bytes(answer.topics[0].topic_id)


async def delete_topic(client: Client, name: str) -> None:
    request = api("DeleteTopics").request

    def body(api_version: int) -> Any:
        # Versions up to 5 have a list of names, later ones a list of structs.
        named = {"topics": [request.DeleteTopicState(name=name)]} if api_version >= 6 else {"topic_names": [name]}
        return request(timeout_ms=client.timeout_ms, **named)

    await client.request_controller(
        "DeleteTopics", body, lambda response: check_error(response.responses[0], f"deletion of {name}")
    )


async def create_partitions(
    client: Client, name: str, count: int, assignments: Sequence[Sequence[int]] | None = None
) -> None:
    """Let a topic have `count` partitions; `assignments` are those of the new ones."""
    request = api("CreatePartitions").request
    placed = None
    if assignments is not None:
        placed = [request.CreatePartitionsAssignment(broker_ids=list(brokers)) for brokers in assignments]
    topic = request.CreatePartitionsTopic(name=name, count=count, assignments=placed)
    body = request(topics=[topic], timeout_ms=client.timeout_ms)
    await client.request_controller(
        "CreatePartitions", body, lambda response: check_error(response.results[0], f"partitions of {name}")
    )


async def describe_configs(
    client: Client, resource_type: str, resource_name: str, keys: Sequence[str] | None = None
) -> dict[str, Any]:
    """The configs of a resource by key, as the protocol describes them, with synonyms."""
    request = api("DescribeConfigs").request
    resource = request.DescribeConfigsResource(
        resource_type=RESOURCE_TYPES[resource_type],
        resource_name=resource_name,
        configuration_keys=None if keys is None else list(keys),
    )
    body = request(resources=[resource], include_synonyms=True)
    if resource_type in ("broker", "broker_logger") and resource_name:
        answer = await client.request_node(int(resource_name), "DescribeConfigs", body)
    else:
        answer = await client.request_any("DescribeConfigs", body)
    check_error(answer.results[0], f"configs of {resource_type} {resource_name}")
    return {entry.name: entry for entry in answer.results[0].configs}


async def alter_configs(
    client: Client,
    resource_type: str,
    resource_name: str,
    changes: Mapping[str, str | None],
    *,
    validate_only: bool = False,
) -> None:
    """Set configs of a resource, or remove those whose value is None; the others stay."""
    request = api("IncrementalAlterConfigs").request
    resource = request.AlterConfigsResource(
        resource_type=RESOURCE_TYPES[resource_type],
        resource_name=resource_name,
        configs=[
            request.AlterableConfig(name=key, config_operation=_DELETE if value is None else _SET, value=value)
            for key, value in changes.items()
        ],
    )
    body = request(resources=[resource], validate_only=validate_only)
    await client.request_controller(
        "IncrementalAlterConfigs",
        body,
        lambda response: check_error(response.responses[0], f"configs of {resource_type} {resource_name}"),
    )


async def describe_cluster(client: Client) -> Any:
    """The answer to DescribeCluster."""
    answer = await client.request_any("DescribeCluster", api("DescribeCluster").request())
    check_error(answer, "DescribeCluster")
    return answer
