"""Changing configs: IncrementalAlterConfigs and AlterConfigs (full replace). Pure: plans Config records.

INVARIANT: only what is valid as a whole is written, and only what changes.
INVARIANT: every resource of a request is answered once; one given twice is refused.
KAFKA: an invalid config of brokers or client metrics is INVALID_REQUEST, of all others INVALID_CONFIG.
KAFKA: with ELR a change of min.insync.replicas clears the ELR of the topics it holds for; no broker has its own.
Sources: KIP-133, KIP-339, KIP-966; PROTOCOL A.10, E.6.
"""

from __future__ import annotations

from typing import Any

from cluster.config.definitions import (
    Definition,
    broker_definitions,
    client_metrics_definitions,
    group_definitions,
    topic_definitions,
)
from cluster.config.settings import (
    group_settings,
    topic_settings,
    validate_client_metrics,
    validate_dynamic_broker,
    validate_group,
    validate_topic,
)
from cluster.config.values import ConfigError, to_text
from cluster.metadata import records as r
from cluster.metadata.controller_state import ControllerRequest, ControllerState
from cluster.metadata.image import MIN_IN_SYNC_REPLICAS
from cluster.metadata.records import MetadataRecord, config_record, record
from cluster.metadata.topics import check_topic_name
from cluster.shard import Outcome
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import ApiError, Code

SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3

RESOURCE_NAMES = {
    r.RESOURCE_TOPIC: "topic",
    r.RESOURCE_BROKER: "broker",
    r.RESOURCE_CLIENT_METRICS: "client_metrics",
    r.RESOURCE_GROUP: "group",
}


def incremental_alter_configs(state: ControllerState, request: ControllerRequest, now: int) -> Outcome:
    return _alter_all(state, request, api("IncrementalAlterConfigs").response, _incremental)


def alter_configs(state: ControllerState, request: ControllerRequest, now: int) -> Outcome:
    return _alter_all(state, request, api("AlterConfigs").response, _replaced)


def _alter_all(state: ControllerState, request: ControllerRequest, message: Any, change: Any) -> Outcome:
    body = request.body
    keys = [(resource.resource_type, resource.resource_name) for resource in body.resources]
    records: list[MetadataRecord] = []
    results = []
    for position, resource in enumerate(body.resources):
        key = keys[position]
        if key in keys[:position]:
            continue
        code, error_message = Code.NONE, None
        try:
            if keys.count(key) > 1:
                raise ApiError(Code.INVALID_REQUEST, "the resource is given more than once")
            check_resource(state, *key)
            records.extend(_plan(state, key, change(state, key, resource.configs)))
        except ApiError as error:
            code, error_message = error.code, error.message
        results.append(
            message.AlterConfigsResourceResponse(
                error_code=int(code), error_message=error_message, resource_type=key[0], resource_name=key[1]
            )
        )
    return Outcome(() if body.validate_only else records, message(responses=results), atomic=False)


def check_resource(state: ControllerState, resource_type: int, name: str) -> None:
    if resource_type not in RESOURCE_NAMES:
        raise ApiError(Code.INVALID_REQUEST, f"resource type {resource_type} has no configs that a controller keeps")
    if resource_type == r.RESOURCE_TOPIC and not name:
        raise ApiError(Code.INVALID_REQUEST, "topics have no default resource: name a topic")
    if resource_type == r.RESOURCE_TOPIC:
        check_topic_name(name)
    if resource_type == r.RESOURCE_TOPIC and name not in state.image.topic_ids:
        raise ApiError(Code.UNKNOWN_TOPIC_OR_PARTITION, f"there is no topic {name!r}")
    if resource_type == r.RESOURCE_BROKER and name:
        if not (name.isascii() and name.isdigit() and len(name) < 11):
            raise ApiError(Code.INVALID_REQUEST, f"broker {name!r} is no broker id")
        if int(name) not in state.image.brokers:
            raise ApiError(Code.BROKER_ID_NOT_REGISTERED, f"broker {name} is not registered")
    if resource_type in (r.RESOURCE_GROUP, r.RESOURCE_CLIENT_METRICS) and not name:
        raise ApiError(Code.INVALID_REQUEST, f"a {RESOURCE_NAMES[resource_type]} resource needs a name")


# --- what the request asks for, as the whole of the resource's configs afterwards ------------------------------------


def _replaced(state: ControllerState, key: tuple[int, str], entries: Any) -> dict[str, str]:
    """AlterConfigs: these and no others."""
    configs: dict[str, str] = {}
    for entry in entries:
        if entry.value is None:
            raise ApiError(Code.INVALID_REQUEST, f"config {entry.name} has no value: leave it out for the default")
        if entry.name in configs:
            raise ApiError(Code.INVALID_REQUEST, f"config {entry.name} is given more than once")
        configs[entry.name] = entry.value
    return configs


def _incremental(state: ControllerState, key: tuple[int, str], entries: Any) -> dict[str, str]:
    configs = dict(state.image.configs_of(*key))
    names = [entry.name for entry in entries]
    for entry in entries:
        name, operation = entry.name, entry.config_operation
        if names.count(name) > 1:
            raise ApiError(Code.INVALID_REQUEST, f"config {name} is given more than once")
        if operation != DELETE and entry.value is None:
            raise ApiError(Code.INVALID_REQUEST, f"config {name} has no value")
        if operation == SET:
            configs[name] = entry.value
        elif operation == DELETE:
            configs.pop(name, None)
        elif operation in (APPEND, SUBTRACT):
            configs[name] = _changed_list(state, key, configs, entry)
        else:
            # KAFKA answers UNKNOWN_SERVER_ERROR, which tells nobody anything.
            raise ApiError(Code.INVALID_REQUEST, f"config {name}: operation {operation} is none of 0, 1, 2, 3")
    return configs


def _changed_list(state: ControllerState, key: tuple[int, str], configs: dict[str, str], entry: Any) -> str:
    definition = _definitions(key[0]).get(entry.name)
    if definition is None or definition.type != "list":
        raise ApiError(Code.INVALID_CONFIG, f"config {entry.name} is no list: nothing can be appended or taken away")
    present = configs.get(entry.name)
    if present is None:
        present = _inherited(state, key[0], definition)
    items = [item.strip() for item in present.split(",") if item.strip()]
    given = [item.strip() for item in entry.value.split(",") if item.strip()]
    if entry.config_operation == APPEND:
        items.extend(item for item in given if item not in items)
    else:
        items = [item for item in items if item not in given]
    return ",".join(items)


def _definitions(resource_type: int) -> dict[str, Definition]:
    if resource_type == r.RESOURCE_TOPIC:
        return topic_definitions()
    if resource_type == r.RESOURCE_GROUP:
        return group_definitions()
    return broker_definitions() if resource_type == r.RESOURCE_BROKER else client_metrics_definitions()


def _inherited(state: ControllerState, resource_type: int, definition: Definition) -> str:
    """What a list that is not set is worth: the base for appending to it."""
    settings = state.cluster_settings()
    if resource_type == r.RESOURCE_TOPIC:
        return to_text(topic_settings(settings, {})[definition.name]) or ""
    if resource_type == r.RESOURCE_GROUP:
        return to_text(group_settings(settings, {})[definition.name]) or ""
    if resource_type == r.RESOURCE_BROKER:
        return settings.text(definition.name) or ""
    return definition.default or ""


# --- from configs to records -----------------------------------------------------------------------------------------


def _plan(state: ControllerState, key: tuple[int, str], after: dict[str, str]) -> list[MetadataRecord]:
    resource_type, name = key
    before = state.image.configs_of(resource_type, name)
    _validate(state, resource_type, name, after)
    changed: dict[str, str | None] = {each: value for each, value in after.items() if before.get(each) != value}
    changed.update({each: None for each in before if each not in after})
    if MIN_IN_SYNC_REPLICAS in changed and state.image.elr_is_on:
        _check_min_in_sync_replicas(resource_type, name, changed[MIN_IN_SYNC_REPLICAS])
    _ask_policy(state, resource_type, name, changed)
    records = [config_record(resource_type, name, each, changed[each]) for each in sorted(changed)]
    if MIN_IN_SYNC_REPLICAS in changed and state.image.elr_is_on:
        # Whether a replica holds all that is committed was judged by the old number.
        records.append(record(r.CLEAR_ELR, topic_name=name))
    return records


def _validate(state: ControllerState, resource_type: int, name: str, configs: dict[str, str]) -> None:
    try:
        if resource_type == r.RESOURCE_TOPIC:
            validate_topic(configs, state.cluster_settings().topic_defaults())
        elif resource_type == r.RESOURCE_GROUP:
            validate_group(configs, state.cluster_settings())
        elif resource_type == r.RESOURCE_CLIENT_METRICS:
            validate_client_metrics(configs)
        else:
            validate_dynamic_broker(configs, per_broker=bool(name))
    except ConfigError as error:
        is_request = resource_type in (r.RESOURCE_BROKER, r.RESOURCE_CLIENT_METRICS)
        code = Code.INVALID_REQUEST if is_request else Code.INVALID_CONFIG
        raise ApiError(code, error.message) from None


def _check_min_in_sync_replicas(resource_type: int, name: str, value: str | None) -> None:
    if resource_type == r.RESOURCE_BROKER and name:
        raise ApiError(Code.INVALID_CONFIG, f"with ELR no broker has its own {MIN_IN_SYNC_REPLICAS}")
    if resource_type == r.RESOURCE_BROKER and value is None:
        raise ApiError(Code.INVALID_CONFIG, f"with ELR the cluster's {MIN_IN_SYNC_REPLICAS} may change, not go away")


def _ask_policy(state: ControllerState, resource_type: int, name: str, changed: dict[str, str | None]) -> None:
    policy = state.policies.alter_config
    if policy is None:
        return
    from pykafkacore.policies import AlterConfigRequestMetadata, ConfigResource, PolicyViolation

    try:
        resource = ConfigResource(RESOURCE_NAMES[resource_type], name)
        policy.validate(AlterConfigRequestMetadata(resource, changed))
    except PolicyViolation as error:
        raise ApiError(Code.POLICY_VIOLATION, str(error)) from None
    except Exception as error:  # a user's code: its bug refuses this change, it does not stop the controller
        raise ApiError(Code.POLICY_VIOLATION, f"the policy failed: {type(error).__name__}: {error}") from error
