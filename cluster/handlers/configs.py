"""DescribeConfigs and ListConfigResources, answered from the image; changes go to the controller.

Every key is told with its default and its source: clients and tools rely on that (PROTOCOL K.8).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.config.definitions import client_metrics_definitions
from cluster.config.settings import Described, Source, describe_group, describe_topic
from cluster.handlers.context import Call, Context
from cluster.handlers.forwarded import to_controller
from cluster.handlers.names import invalid_topic_name
from cluster.metadata.records import (
    RESOURCE_BROKER,
    RESOURCE_BROKER_LOGGER,
    RESOURCE_CLIENT_METRICS,
    RESOURCE_GROUP,
    RESOURCE_TOPIC,
)
from pykafkacore.protocol.errors import ApiError, Code
from pykafkacore.protocol.schemas import configs as schemas

LISTABLE = (RESOURCE_TOPIC, RESOURCE_BROKER, RESOURCE_BROKER_LOGGER, RESOURCE_CLIENT_METRICS, RESOURCE_GROUP)


def describe_configs(ctx: Context, call: Call) -> Any:
    request, message = call.request, schemas.DESCRIBE_CONFIGS_RESPONSE
    response = message()
    for resource in request.resources:
        told = message.DescribeConfigsResult(
            resource_type=resource.resource_type, resource_name=resource.resource_name
        )
        response.results.append(told)
        try:
            described = _describe(ctx, resource, request.include_synonyms)
        except ApiError as error:
            told.error_code, told.error_message = error.code, error.message
            continue
        # KAFKA: no keys at all are all of them too.
        keys = set(resource.configuration_keys) if resource.configuration_keys else None
        told.configs = [
            _row(message, each, request) for each in described if keys is None or each.name in keys
        ]
    return response


def _row(message: Any, each: Described, request: Any) -> Any:
    synonyms = [
        message.DescribeConfigsSynonym(name=one.name, value=one.value, source=one.source) for one in each.synonyms
    ]
    return message.DescribeConfigsResourceResult(
        name=each.name,
        value=each.value,
        read_only=each.is_read_only,
        config_source=each.source,
        is_sensitive=each.is_sensitive,
        synonyms=synonyms if request.include_synonyms else [],
        config_type=each.type_number,
        documentation=each.documentation if request.include_documentation else None,
    )


def _describe(ctx: Context, resource: Any, with_synonyms: bool) -> list[Described]:
    kind, name, image = resource.resource_type, resource.resource_name, ctx.image
    if kind == RESOURCE_TOPIC:
        problem = invalid_topic_name(name)
        if problem is not None:
            raise ApiError(Code.INVALID_TOPIC_EXCEPTION, problem)
        if image.topic_named(name) is None:
            raise ApiError(Code.UNKNOWN_TOPIC_OR_PARTITION, f"topic {name} does not exist")
        return describe_topic(ctx.settings, image.configs_of(kind, name), with_synonyms=with_synonyms)
    if kind == RESOURCE_BROKER:
        if name == "":
            return ctx.settings.describe_cluster_default(with_synonyms=with_synonyms)
        if name != str(ctx.node.node_id):
            told = f"Unexpected broker id, expected {ctx.node.node_id} or empty string, but received {name}"
            raise ApiError(Code.INVALID_REQUEST, told)
        return ctx.settings.describe(with_synonyms=with_synonyms)
    if kind == RESOURCE_GROUP:
        if not name:
            raise ApiError(Code.INVALID_REQUEST, "Group name must not be empty")
        return describe_group(ctx.settings, image.configs_of(kind, name), with_synonyms=with_synonyms)
    if kind == RESOURCE_CLIENT_METRICS:
        if not name:
            raise ApiError(Code.INVALID_REQUEST, "a client metrics subscription has a name")
        return _describe_client_metrics(image.configs_of(kind, name))
    raise ApiError(Code.INVALID_REQUEST, f"Unsupported resource type: {kind}")


def _describe_client_metrics(configs: Mapping[str, str]) -> list[Described]:
    """KAFKA: no synonyms, whoever asks."""
    return [
        Described(
            name=definition.name,
            value=configs.get(definition.name, definition.default),
            source=Source.CLIENT_METRICS if definition.name in configs else Source.DEFAULT,
            is_read_only=False,
            is_sensitive=definition.is_sensitive,
            type_number=definition.type_number,
            documentation=definition.documentation,
            synonyms=(),
        )
        for definition in client_metrics_definitions().values()
    ]


async def alter_configs(ctx: Context, call: Call) -> Any:
    """Both ways to change configs. The controller decides; what differs is one word on a broker's own listener."""
    response = await to_controller(ctx, call)
    for told in response.responses:
        # KAFKA: a broker takes an unknown broker id for a wrong request, a controller says that it is not registered.
        if told.error_code == Code.BROKER_ID_NOT_REGISTERED:
            told.error_code = Code.INVALID_REQUEST
    # KAFKA: here a resource that is named twice is refused twice, by a controller once.
    rows = {(told.resource_type, told.resource_name): told for told in response.responses}
    response.responses = [rows[each.resource_type, each.resource_name] for each in call.request.resources]
    return response


def list_config_resources(ctx: Context, call: Call) -> Any:
    request, message, image = call.request, schemas.LIST_CONFIG_RESOURCES_RESPONSE, ctx.image
    # KAFKA: version 0 is the old ListClientMetricsResources; an empty list asks for everything.
    asked = [RESOURCE_CLIENT_METRICS] if call.api_version == 0 else (list(request.resource_types) or list(LISTABLE))
    asked = list(dict.fromkeys(asked))
    unknown = [kind for kind in asked if kind not in LISTABLE]
    if unknown:
        raise ApiError(Code.UNSUPPORTED_VERSION, f"resource type {unknown[0]} cannot be listed")
    rows: list[tuple[int, str]] = []
    for kind in asked:
        if kind == RESOURCE_TOPIC:
            names = list(image.topic_ids)
        elif kind in (RESOURCE_BROKER, RESOURCE_BROKER_LOGGER):
            names = [str(broker_id) for broker_id in image.brokers]
        else:
            names = [name for resource, name in image.configs if resource == kind]
        rows.extend((kind, name) for name in sorted(names))
    return message(
        config_resources=[message.ConfigResource(resource_name=name, resource_type=kind) for kind, name in rows]
    )
