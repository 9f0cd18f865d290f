"""Creating and deleting topics, and adding partitions. Pure: plans records, answers per topic.

INVARIANT: every topic of a request is answered once; a name given twice is refused once, for all its entries.
INVARIANT: a topic is created whole (its configs and all its partitions in one batch) or not at all.
KAFKA: a time-out of 0 or less is over before it begins: REQUEST_TIMED_OUT, with validate_only too.
KAFKA: CreateTopics v2-3 take -1 for partitions and replication factor too, though only v4 promises it.
Sources: KIP-4, KIP-464, KIP-516, KIP-599; PROTOCOL A.5, A.10, N.
"""

from __future__ import annotations

from typing import Any

from cluster.config.settings import describe_topic, validate_topic
from cluster.config.values import ConfigError
from cluster.metadata import records as r
from cluster.metadata.controller_state import ControllerRequest, ControllerState
from cluster.metadata.image import TopicImage
from cluster.metadata.placement import UsableBroker, place_partitions
from cluster.metadata.records import MetadataRecord, config_record, record
from cluster.shard import Outcome
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import ApiError, Code
from pykafkacore.protocol.types import DIRECTORY_MIGRATING, DIRECTORY_UNASSIGNED, ZERO_UUID, Uuid

NAME_LENGTH_MAX = 249
NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
METADATA_TOPIC = "__cluster_metadata"
PARTITIONS_PER_REQUEST_MAX = 10_000


def check_topic_name(name: str) -> None:
    if not name or name in (".", ".."):
        raise ApiError(Code.INVALID_TOPIC_EXCEPTION, f"a topic cannot be named {name!r}")
    if len(name) > NAME_LENGTH_MAX:
        raise ApiError(Code.INVALID_TOPIC_EXCEPTION, f"a topic name has at most {NAME_LENGTH_MAX} characters")
    if not NAME_CHARACTERS.issuperset(name):
        raise ApiError(Code.INVALID_TOPIC_EXCEPTION, f"topic name {name!r}: only letters, digits, '.', '_' and '-'")


# --- creation --------------------------------------------------------------------------------------------------------


def create_topics(state: ControllerState, request: ControllerRequest, now: int) -> Outcome:
    body, message = request.body, api("CreateTopics").response
    names = [topic.name for topic in body.topics]
    repeated = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    asked_count = sum(len(topic.assignments) or max(topic.num_partitions, 0) for topic in body.topics)
    records: list[MetadataRecord] = []
    results: list[Any] = []
    taken: dict[str, str] = {}
    for topic in body.topics:
        if topic.name in repeated and any(result.name == topic.name for result in results):
            continue
        try:
            if body.timeout_ms <= 0:
                raise ApiError(Code.REQUEST_TIMED_OUT, f"timeout_ms is {body.timeout_ms}: there is no time to do it")
            if topic.name in repeated:
                raise ApiError(Code.INVALID_REQUEST, "the topic is given more than once")
            if asked_count > PARTITIONS_PER_REQUEST_MAX:
                raise ApiError(
                    Code.POLICY_VIOLATION,
                    f"{asked_count} partitions in one request; {PARTITIONS_PER_REQUEST_MAX} at most",
                )
            planned, result = _create(state, topic, taken)
            records.extend(planned)
            results.append(result)
        except ApiError as error:
            results.append(
                message.CreatableTopicResult(
                    name=topic.name, error_code=int(error.code), error_message=error.message
                )
            )
    return Outcome(() if body.validate_only else records, message(topics=results))


def _create(state: ControllerState, topic: Any, taken: dict[str, str]) -> tuple[list[MetadataRecord], Any]:
    _check_new_name(state, topic.name, taken)
    configs = _new_configs(state, topic)
    if topic.assignments:
        placed = _manual_assignments(state, topic)
    else:
        placed = _automatic_assignments(state, topic)
    _ask_policy(state, topic, configs)
    topic_id = state.random_uuid()
    records = [record(r.TOPIC, name=topic.name, topic_id=topic_id)]
    records.extend(config_record(r.RESOURCE_TOPIC, topic.name, key, value) for key, value in sorted(configs.items()))
    records.extend(_new_partition(state, topic_id, index, replicas) for index, replicas in enumerate(placed))
    taken[_collision_key(topic.name)] = topic.name
    return records, _created(state, topic.name, topic_id, placed, configs)


def _created(
    state: ControllerState, name: str, topic_id: Uuid, placed: list[tuple[int, ...]], configs: dict[str, str]
) -> Any:
    message = api("CreateTopics").response
    described = [
        message.CreatableTopicConfigs(
            name=each.name,
            value=each.value,
            read_only=each.is_read_only,
            config_source=int(each.source),
            is_sensitive=each.is_sensitive,
        )
        for each in describe_topic(state.cluster_settings(), configs)
    ]
    return message.CreatableTopicResult(
        name=name,
        topic_id=topic_id,
        error_code=0,
        error_message=None,
        num_partitions=len(placed),
        replication_factor=len(placed[0]),
        configs=described,
    )


def _collision_key(name: str) -> str:
    """Metric names turn dots into underscores, so names that differ only in these are the same there."""
    return name.replace(".", "_")


def _check_new_name(state: ControllerState, name: str, taken: dict[str, str]) -> None:
    if name == METADATA_TOPIC:
        raise ApiError(Code.INVALID_REQUEST, f"{METADATA_TOPIC} is the log of the controllers")
    check_topic_name(name)
    if name in state.image.topic_ids:
        raise ApiError(Code.TOPIC_ALREADY_EXISTS, f"topic {name} exists")
    key = _collision_key(name)
    rival = taken.get(key)
    if rival is None and "_" in key:
        rival = next((other for other in state.image.topic_ids if _collision_key(other) == key), None)
    if rival is not None:
        raise ApiError(Code.INVALID_TOPIC_EXCEPTION, f"topic {name} collides with {rival}: '.' and '_' count as one")


def _new_configs(state: ControllerState, topic: Any) -> dict[str, str]:
    configs: dict[str, str] = {}
    for config in topic.configs:
        if config.value is None:
            raise ApiError(Code.INVALID_CONFIG, f"config {config.name} has no value: leave it out for the default")
        configs[config.name] = config.value
    try:
        validate_topic(configs, state.cluster_settings().topic_defaults())
    except ConfigError as error:
        raise ApiError(Code.INVALID_CONFIG, error.message) from None
    return configs


def _manual_assignments(state: ControllerState, topic: Any) -> list[tuple[int, ...]]:
    if topic.num_partitions != -1:
        raise ApiError(Code.INVALID_REQUEST, "with replicas given, num_partitions must be -1")
    if topic.replication_factor != -1:
        raise ApiError(Code.INVALID_REQUEST, "with replicas given, replication_factor must be -1")
    by_index: dict[int, tuple[int, ...]] = {}
    for assignment in topic.assignments:
        if assignment.partition_index in by_index:
            raise ApiError(Code.INVALID_REPLICA_ASSIGNMENT, f"partition {assignment.partition_index} is given twice")
        by_index[assignment.partition_index] = tuple(assignment.broker_ids)
    if set(by_index) != set(range(len(by_index))):
        raise ApiError(Code.INVALID_REPLICA_ASSIGNMENT, "partitions must be numbered from 0 without gaps")
    size = len(by_index[0])
    return [_checked_replicas(state, index, by_index[index], size) for index in range(len(by_index))]


def _checked_replicas(state: ControllerState, index: int, replicas: tuple[int, ...], size: int) -> tuple[int, ...]:
    check_replicas(state, index, replicas)
    if len(replicas) != size:
        raise ApiError(
            Code.INVALID_REPLICA_ASSIGNMENT, f"partition {index} has {len(replicas)} replicas, others have {size}"
        )
    if not any(state.image.is_active(replica) for replica in replicas):
        raise ApiError(Code.INVALID_REPLICA_ASSIGNMENT, f"partition {index}: none of its brokers is active")
    return replicas


def check_replicas(state: ControllerState, index: int, replicas: tuple[int, ...]) -> None:
    if not replicas:
        raise ApiError(Code.INVALID_REPLICA_ASSIGNMENT, f"partition {index} has no replicas")
    if len(set(replicas)) != len(replicas):
        raise ApiError(Code.INVALID_REPLICA_ASSIGNMENT, f"partition {index} has a broker twice")
    for replica in replicas:
        if replica not in state.image.brokers:
            raise ApiError(Code.INVALID_REPLICA_ASSIGNMENT, f"partition {index}: broker {replica} is not registered")


def _automatic_assignments(state: ControllerState, topic: Any) -> list[tuple[int, ...]]:
    if topic.num_partitions < -1 or topic.num_partitions == 0:
        raise ApiError(Code.INVALID_PARTITIONS, f"{topic.num_partitions} partitions: give 1 or more, or -1")
    if topic.replication_factor < -1 or topic.replication_factor == 0:
        raise ApiError(
            Code.INVALID_REPLICATION_FACTOR,
            f"replication factor {topic.replication_factor}: give 1 or more, or -1 for the default",
        )
    count = topic.num_partitions if topic.num_partitions > 0 else state.settings.partition_count
    factor = topic.replication_factor if topic.replication_factor > 0 else state.settings.replication_factor
    return place_partitions(count, factor, usable_brokers(state), state.random)


def usable_brokers(state: ControllerState) -> list[UsableBroker]:
    """Brokers that are leaving get nothing new; cordoned ones neither."""
    return [
        UsableBroker(broker.broker_id, broker.rack, broker.is_fenced)
        for broker in state.image.brokers.values()
        if not broker.is_in_controlled_shutdown
        and not (broker.cordoned_log_dirs and set(broker.log_dirs) <= set(broker.cordoned_log_dirs))
    ]


def _ask_policy(state: ControllerState, topic: Any, configs: dict[str, str]) -> None:
    policy = state.policies.create_topic
    if policy is None:
        return
    from pykafkacore.policies import CreateTopicRequestMetadata, PolicyViolation

    is_manual = bool(topic.assignments)
    assignments = {each.partition_index: tuple(each.broker_ids) for each in topic.assignments} if is_manual else None
    count = topic.num_partitions if topic.num_partitions > 0 else state.settings.partition_count
    factor = topic.replication_factor if topic.replication_factor > 0 else state.settings.replication_factor
    try:
        policy.validate(
            CreateTopicRequestMetadata(
                topic.name, None if is_manual else count, None if is_manual else factor, assignments, configs
            )
        )
    except PolicyViolation as error:
        raise ApiError(Code.POLICY_VIOLATION, str(error)) from None
    except Exception as error:  # a user's code: its bug refuses this topic, it does not stop the controller
        raise ApiError(Code.POLICY_VIOLATION, f"the policy failed: {type(error).__name__}: {error}") from error


def _new_partition(state: ControllerState, topic_id: Uuid, index: int, replicas: tuple[int, ...]) -> MetadataRecord:
    image = state.image
    version = r.partition_version(image.metadata_version, image.elr_is_on)
    isr = [replica for replica in replicas if image.is_active(replica)]
    fields: dict[str, Any] = {}
    if version >= 1:
        fields["directories"] = [default_directory(state, replica) for replica in replicas]
    return record(
        r.PARTITION,
        version,
        partition_id=index,
        topic_id=topic_id,
        replicas=list(replicas),
        isr=isr,
        leader=isr[0],
        leader_epoch=0,
        partition_epoch=0,
        **fields,
    )


def default_directory(state: ControllerState, broker_id: int) -> Uuid:
    """A broker with one directory has no choice; with more it chooses itself and says so later."""
    broker = state.image.brokers[broker_id]
    if not broker.log_dirs:
        return DIRECTORY_MIGRATING
    usable = [each for each in broker.log_dirs if each not in (broker.cordoned_log_dirs or ())]
    return usable[0] if len(usable) == 1 else DIRECTORY_UNASSIGNED


# --- deletion --------------------------------------------------------------------------------------------------------


def delete_topics(state: ControllerState, request: ControllerRequest, now: int) -> Outcome:
    body, message = request.body, api("DeleteTopics").response
    if request.api_version >= 6:
        wanted = [(topic.name, topic.topic_id) for topic in body.topics]
    else:
        wanted = [(name, ZERO_UUID) for name in body.topic_names]
    records: list[MetadataRecord] = []
    results = []
    answered: set[tuple[str | None, Uuid]] = set()
    meant = [_meant(state, name, topic_id) for name, topic_id in wanted]
    for name, topic_id in wanted:
        if (name, topic_id) in answered:
            continue
        answered.add((name, topic_id))
        try:
            if wanted.count((name, topic_id)) > 1:
                raise ApiError(Code.INVALID_REQUEST, "the topic is given more than once")
            topic = _topic_to_delete(state, request, name, topic_id)
            if meant.count(topic.topic_id) > 1:
                name, topic_id = topic.name, topic.topic_id
                if (name, topic_id) in answered:
                    continue
                answered.add((name, topic_id))
                raise ApiError(Code.INVALID_REQUEST, "the topic is given by its name and by its id")
            records.append(record(r.REMOVE_TOPIC, topic_id=topic.topic_id))
            results.append(message.DeletableTopicResult(name=topic.name, topic_id=topic.topic_id, error_code=0))
        except ApiError as error:
            results.append(
                message.DeletableTopicResult(
                    name=name, topic_id=topic_id, error_code=int(error.code), error_message=error.message
                )
            )
    return Outcome(records, message(responses=results), atomic=False)


def _meant(state: ControllerState, name: str | None, topic_id: Uuid) -> Uuid | None:
    """The topic that an entry names by its name or by its id, where there is one."""
    if name is None:
        return topic_id if topic_id in state.image.topics else None
    return state.image.topic_ids.get(name) if topic_id == ZERO_UUID else None


def _topic_to_delete(
    state: ControllerState, request: ControllerRequest, name: str | None, topic_id: Uuid
) -> TopicImage:
    if request.body.timeout_ms <= 0:
        raise ApiError(Code.REQUEST_TIMED_OUT, f"timeout_ms is {request.body.timeout_ms}: there is no time to do it")
    if not state.settings.deletes_topics:
        code = Code.TOPIC_DELETION_DISABLED if request.api_version >= 3 else Code.INVALID_REQUEST
        raise ApiError(code, "delete.topic.enable is false")
    if (name is None) == (topic_id == ZERO_UUID):
        raise ApiError(Code.INVALID_REQUEST, "a topic is named by its name or by its id, by one of them")
    if name is None:
        topic = state.image.topics.get(topic_id)
        if topic is None:
            raise ApiError(Code.UNKNOWN_TOPIC_ID, "there is no topic with that id")
        return topic
    topic = state.image.topic_named(name)
    if topic is None:
        raise ApiError(Code.UNKNOWN_TOPIC_OR_PARTITION, f"there is no topic {name}")
    return topic


# --- more partitions -------------------------------------------------------------------------------------------------


def create_partitions(state: ControllerState, request: ControllerRequest, now: int) -> Outcome:
    body, message = request.body, api("CreatePartitions").response
    names = [topic.name for topic in body.topics]
    records: list[MetadataRecord] = []
    results = []
    for position, topic in enumerate(body.topics):
        if topic.name in names[:position]:
            continue
        try:
            if body.timeout_ms <= 0:
                raise ApiError(Code.REQUEST_TIMED_OUT, f"timeout_ms is {body.timeout_ms}: there is no time to do it")
            if names.count(topic.name) > 1:
                raise ApiError(Code.INVALID_REQUEST, "the topic is given more than once")
            records.extend(_add_partitions(state, topic))
            results.append(message.CreatePartitionsTopicResult(name=topic.name, error_code=0, error_message=None))
        except ApiError as error:
            results.append(
                message.CreatePartitionsTopicResult(
                    name=topic.name, error_code=int(error.code), error_message=error.message
                )
            )
    return Outcome(() if body.validate_only else records, message(results=results))


def _add_partitions(state: ControllerState, wanted: Any) -> list[MetadataRecord]:
    topic = state.image.topic_named(wanted.name)
    if topic is None:
        raise ApiError(Code.UNKNOWN_TOPIC_OR_PARTITION, f"there is no topic {wanted.name}")
    before = len(topic.partitions)
    added = wanted.count - before
    if added == 0:
        raise ApiError(Code.INVALID_PARTITIONS, f"topic {wanted.name} has {before} partitions already")
    if added < 0:
        raise ApiError(Code.INVALID_PARTITIONS, f"topic {wanted.name} has {before} partitions: they never become fewer")
    if added > PARTITIONS_PER_REQUEST_MAX:
        raise ApiError(Code.POLICY_VIOLATION, f"{added} partitions at once; {PARTITIONS_PER_REQUEST_MAX} at most")
    factor = len(topic.partitions[0].replicas)
    if wanted.assignments is None:
        placed = place_partitions(added, factor, usable_brokers(state), state.random)
    else:
        if len(wanted.assignments) != added:
            raise ApiError(
                Code.INVALID_REPLICA_ASSIGNMENT, f"{len(wanted.assignments)} assignments for {added} new partitions"
            )
        placed = [
            _checked_replicas(state, before + position, tuple(assignment.broker_ids), factor)
            for position, assignment in enumerate(wanted.assignments)
        ]
    return [_new_partition(state, topic.topic_id, index, replicas) for index, replicas in enumerate(placed, before)]
