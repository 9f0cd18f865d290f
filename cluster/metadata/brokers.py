"""Brokers and controllers as members: registration, heartbeats, fencing, controlled shutdown, log directories. Pure.

    broker       heartbeat says                  becomes
    -----------  ------------------------------  -------------------------------------------------------------------
    fenced       want_shut_down                  fenced, told to shut down
                 not want_fence, and caught up   active: leaderless partitions may choose it
    active       want_fence                      fenced: leaves ISRs and leaderships
                 want_shut_down                  in controlled shutdown: the same, but stays until it leads nothing
    shutting     (leads nothing, and every       fenced, told to shut down
    down         active broker knows)
    the only one want_shut_down                  as it was, told to shut down: see `_goes_with_all`
    any but      (nothing, for a session         fenced
    fenced       timeout)

A session is a timer: each heartbeat sets it anew. INVARIANT: a broker's epoch is the offset of its registration record.
Sources: KIP-631, KIP-841, KIP-858, KIP-966; PROTOCOL E.9.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from cluster.metadata import records as r
from cluster.metadata.apply import WorkingImage
from cluster.metadata.controller_state import ControllerRequest, ControllerState, Session
from cluster.metadata.elections import all_but, change_of, plan_with_broker, plan_without_broker
from cluster.metadata.features import KRAFT_VERSION
from cluster.metadata.image import METADATA_VERSION, BrokerImage
from cluster.metadata.records import MetadataRecord, record
from cluster.shard import CancelTimer, Outcome, SetTimer, Timer
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import ApiError, Code
from pykafkacore.protocol.types import uuid_is_reserved

SESSION = "session"
NO_OFFSET_LIMIT = 2**63 - 1


class Heard(Struct, frozen=True):
    """A broker was heard of: its session lasts until `deadline`."""

    broker_id: int
    broker_epoch: int
    deadline: int
    metadata_offset: int
    shutdown_offset: int | None


class Forgotten(Struct, frozen=True):
    broker_id: int


def observe_heartbeat(state: ControllerState, fact: Heard) -> None:
    state.sessions[fact.broker_id] = Session(
        fact.broker_epoch, fact.deadline, fact.metadata_offset, fact.shutdown_offset
    )


def _session_timer(broker_id: int, deadline: int) -> SetTimer:
    return SetTimer(Timer(SESSION, broker_id), deadline)


# --- registration ----------------------------------------------------------------------------------------------------


def register_broker(state: ControllerState, request: ControllerRequest, now: int) -> Outcome:
    body, message = request.body, api("BrokerRegistration").response
    try:
        _check_registration(state, request, now)
    except ApiError as error:
        return Outcome(response=message(error_code=int(error.code)))
    image = state.image
    before = image.brokers.get(body.broker_id)
    is_same_process = before is not None and before.incarnation_id == body.incarnation_id
    records: list[MetadataRecord] = []
    if before is not None and not is_same_process:
        is_clean = image.elr_is_on and request.api_version >= 3 and before.broker_epoch == body.previous_broker_epoch
        if not is_clean:
            # It may have lost what it had not flushed: it stands in no ISR or ELR by its old merits.
            records.extend(plan_without_broker(state, body.broker_id, is_unclean=True))
        elif lost := set(before.log_dirs) - set(body.log_dirs):
            # It may have kept leaderships (see `_goes_with_all`), but not of what lies in a directory that is gone.
            records.extend(_plan_without_directories(state, replace(before, log_dirs=tuple(body.log_dirs)), lost))
    broker_epoch = before.broker_epoch if before and is_same_process else state.next_offset + len(records)
    records.append(_registration_record(state, body, before if is_same_process else None, broker_epoch))
    deadline = now + state.settings.session_timeout_ms
    return Outcome(
        records,
        message(broker_epoch=broker_epoch),
        timers=(_session_timer(body.broker_id, deadline),),
        facts=(Heard(body.broker_id, broker_epoch, deadline, -1, None),),
    )


def _check_registration(state: ControllerState, request: ControllerRequest, now: int) -> None:
    body, image = request.body, state.image
    if body.cluster_id != state.settings.cluster_id:
        raise ApiError(Code.INCONSISTENT_CLUSTER_ID, f"this cluster is {state.settings.cluster_id}")
    if body.broker_id < 0:
        raise ApiError(Code.INVALID_REQUEST, f"broker id {body.broker_id} is negative")
    before = image.brokers.get(body.broker_id)
    if before is not None and before.incarnation_id != body.incarnation_id:
        session = state.sessions.get(body.broker_id)
        if session is not None and session.deadline > now and session.broker_epoch == before.broker_epoch:
            raise ApiError(Code.DUPLICATE_BROKER_REGISTRATION, f"another broker {body.broker_id} is alive")
    if body.is_migrating_zk_broker:
        raise ApiError(Code.BROKER_ID_NOT_REGISTERED, "there is no migration from ZooKeeper here")
    if image.metadata_version >= r.MV_3_7_IV2:
        _check_log_dirs(image, body)
    _check_features(image, body)


def _check_log_dirs(image: WorkingImage, body: Any) -> None:
    if not body.log_dirs or len(set(body.log_dirs)) != len(body.log_dirs):
        raise ApiError(Code.INVALID_REGISTRATION, "a broker registers with at least one log directory, and each once")
    for directory in body.log_dirs:
        if uuid_is_reserved(directory):
            raise ApiError(Code.INVALID_REGISTRATION, f"directory id {directory.hex()} is reserved")
    for other_id, other in image.brokers.items():
        if other_id != body.broker_id and any(directory in other.log_dirs for directory in body.log_dirs):
            raise ApiError(Code.INVALID_REGISTRATION, f"broker {other_id} has one of these log directories")


def _check_features(image: WorkingImage, body: Any) -> None:
    offered = {each.name: (each.min_supported_version, each.max_supported_version) for each in body.features}
    if METADATA_VERSION not in offered:
        raise ApiError(Code.UNSUPPORTED_VERSION, "a broker must say which metadata versions it supports")
    for name, level in (*image.features.items(), (METADATA_VERSION, image.metadata_version)):
        if name == KRAFT_VERSION:
            continue
        low, high = offered.get(name, (0, 0))
        if not low <= level <= high:
            raise ApiError(Code.UNSUPPORTED_VERSION, f"feature {name} is at {level}, the broker offers [{low}..{high}]")


def _registration_record(
    state: ControllerState, body: Any, before: BrokerImage | None, broker_epoch: int
) -> MetadataRecord:
    metadata_version = state.image.metadata_version
    version = r.register_broker_version(metadata_version)
    message = r.message_of(r.REGISTER_BROKER)
    fields: dict[str, Any] = {}
    if version >= 3:
        fields["log_dirs"] = list(body.log_dirs)
    return record(
        r.REGISTER_BROKER,
        version,
        broker_id=body.broker_id,
        incarnation_id=body.incarnation_id,
        broker_epoch=broker_epoch,
        end_points=[
            message.BrokerEndpoint(name=e.name, host=e.host, port=e.port, security_protocol=e.security_protocol)
            for e in body.listeners
        ],
        features=[
            message.BrokerFeature(
                name=e.name,
                min_supported_version=e.min_supported_version,
                max_supported_version=e.max_supported_version,
            )
            for e in sorted(body.features, key=lambda each: each.name)
        ],
        rack=body.rack,
        fenced=before.is_fenced if before else True,
        in_controlled_shutdown=before.is_in_controlled_shutdown if before else False,
        **fields,
    )


def unregister_broker(state: ControllerState, request: ControllerRequest, now: int) -> Outcome:
    broker_id, message = request.body.broker_id, api("UnregisterBroker").response
    broker = state.image.brokers.get(broker_id)
    if broker is None:
        error = f"broker {broker_id} is not registered"
        return Outcome(response=message(error_code=int(Code.BROKER_ID_NOT_REGISTERED), error_message=error))
    records = plan_without_broker(state, broker_id)
    records.append(record(r.UNREGISTER_BROKER, broker_id=broker_id, broker_epoch=broker.broker_epoch))
    return Outcome(
        records,
        message(error_message=None),
        timers=(CancelTimer(Timer(SESSION, broker_id)),),
        facts=(Forgotten(broker_id),),
    )


def register_controller(state: ControllerState, request: ControllerRequest, now: int) -> Outcome:
    body, message = request.body, api("ControllerRegistration").response
    image = state.image
    if image.metadata_version < r.MV_3_7_IV0:
        error = f"metadata.version {image.metadata_version} knows no registration of controllers"
        return Outcome(response=message(error_code=int(Code.UNSUPPORTED_VERSION), error_message=error))
    entry = r.message_of(r.REGISTER_CONTROLLER)
    written = record(
        r.REGISTER_CONTROLLER,
        controller_id=body.controller_id,
        incarnation_id=body.incarnation_id,
        zk_migration_ready=body.zk_migration_ready,
        end_points=[
            entry.ControllerEndpoint(name=e.name, host=e.host, port=e.port, security_protocol=e.security_protocol)
            for e in body.listeners
        ],
        features=[
            entry.ControllerFeature(
                name=e.name,
                min_supported_version=e.min_supported_version,
                max_supported_version=e.max_supported_version,
            )
            for e in body.features
        ],
    )
    return Outcome([written], message(error_message=None))


def unregister_controller(state: ControllerState, request: ControllerRequest, now: int) -> Outcome:
    controller_id, message = request.body.controller_id, api("UnregisterController").response
    code, error = Code.NONE, None
    if state.image.metadata_version < r.MV_4_4_IV2:
        code, error = Code.UNSUPPORTED_VERSION, f"metadata.version {state.image.metadata_version} cannot say so"
    elif controller_id not in state.image.controllers:
        code, error = Code.CONTROLLER_ID_NOT_REGISTERED, f"controller {controller_id} is not registered"
    elif controller_id == state.settings.node_id:
        code, error = Code.INVALID_REQUEST, "the active controller cannot be removed"
    if code != Code.NONE:
        return Outcome(response=message(error_code=int(code), error_message=error))
    return Outcome([record(r.UNREGISTER_CONTROLLER, controller_id=controller_id)], message(error_message=None))


# --- heartbeats ------------------------------------------------------------------------------------------------------


def heartbeat(state: ControllerState, request: ControllerRequest, now: int) -> Outcome:
    body, message = request.body, api("BrokerHeartbeat").response
    try:
        state.check_broker_epoch(body.broker_id, body.broker_epoch)
    except ApiError as error:
        return Outcome(response=message(error_code=int(error.code)))
    broker = state.image.brokers[body.broker_id]
    session = state.sessions.get(body.broker_id)
    shutdown_offset = session.shutdown_offset if session and session.broker_epoch == broker.broker_epoch else None
    records: list[MetadataRecord] = []
    is_fenced, should_shut_down = broker.is_fenced, False
    is_caught_up = body.current_metadata_offset >= broker.broker_epoch
    if broker.is_fenced:
        if body.want_shut_down:
            should_shut_down = True
        elif not body.want_fence and is_caught_up:
            records, is_fenced = _plan_unfence(state, broker), False
    elif body.want_fence:
        records, is_fenced = _plan_fence(state, broker), True
        should_shut_down = body.want_shut_down
    elif broker.is_in_controlled_shutdown:
        if _leads_nothing(state, broker.broker_id):
            if shutdown_offset is None:
                shutdown_offset = state.next_offset
            if shutdown_offset <= _lowest_active_offset(state, broker.broker_id, now):
                records, is_fenced, should_shut_down = _plan_fence(state, broker), True, True
    elif body.want_shut_down and _goes_with_all(state, broker.broker_id):
        should_shut_down = True
    elif body.want_shut_down:
        records = _plan_controlled_shutdown(state, broker)
        shutdown_offset = state.next_offset + len(records)
    records.extend(_plan_directories(state, broker, body))
    deadline = now + state.settings.session_timeout_ms
    return Outcome(
        records,
        message(is_caught_up=is_caught_up, is_fenced=is_fenced, should_shut_down=should_shut_down),
        timers=(_session_timer(broker.broker_id, deadline),),
        facts=(Heard(broker.broker_id, broker.broker_epoch, deadline, body.current_metadata_offset, shutdown_offset),),
        atomic=False,
    )


def expire_session(state: ControllerState, broker_id: int, now: int) -> Outcome:
    broker = state.image.brokers.get(broker_id)
    if broker is None or broker.is_fenced:
        return Outcome()
    return Outcome(_plan_fence(state, broker), atomic=False)


def _change(state: ControllerState, broker: BrokerImage, **fields: Any) -> MetadataRecord:
    version = r.broker_registration_change_version(state.image.metadata_version)
    return record(
        r.BROKER_REGISTRATION_CHANGE, version, broker_id=broker.broker_id, broker_epoch=broker.broker_epoch, **fields
    )


def _plan_fence(state: ControllerState, broker: BrokerImage) -> list[MetadataRecord]:
    # Partitions first: were the fencing alone to be written, a reader would see a fenced leader.
    return [*plan_without_broker(state, broker.broker_id), _change(state, broker, fenced=1)]


def _plan_unfence(state: ControllerState, broker: BrokerImage) -> list[MetadataRecord]:
    return [_change(state, broker, fenced=-1), *plan_with_broker(state, broker.broker_id)]


def _plan_controlled_shutdown(state: ControllerState, broker: BrokerImage) -> list[MetadataRecord]:
    return [_change(state, broker, in_controlled_shutdown=1), *plan_without_broker(state, broker.broker_id)]


def _goes_with_all(state: ControllerState, broker_id: int) -> bool:
    """The only broker leaves together with this very controller: whoever could read that its leaderships moved is gone, too,
    and nobody could have taken them. With a clean stop it finds them when it comes back, instead of an election of each
    partition; without one it loses its place in the ISRs when it registers. That rests on ELR, which tells the two apart."""
    image = state.image
    return broker_id == state.settings.node_id and len(image.brokers) == 1 and image.elr_is_on


def _leads_nothing(state: ControllerState, broker_id: int) -> bool:
    return not any(
        partition.leader == broker_id
        for topic in state.image.topics.values()
        for partition in topic.partitions.values()
    )


def _lowest_active_offset(state: ControllerState, leaving_id: int, now: int) -> int:
    """What every active broker has applied at least; a broker without a session holds nobody up."""
    lowest = NO_OFFSET_LIMIT
    for broker_id, session in state.sessions.items():
        if broker_id != leaving_id and session.deadline > now and state.image.is_active(broker_id):
            lowest = min(lowest, session.metadata_offset)
    return lowest


# --- log directories -------------------------------------------------------------------------------------------------


def _plan_directories(state: ControllerState, broker: BrokerImage, body: Any) -> list[MetadataRecord]:
    image = state.image
    if image.metadata_version < r.MV_3_7_IV2:
        return []
    records: list[MetadataRecord] = []
    lost = [directory for directory in broker.log_dirs if directory in body.offline_log_dirs]
    if lost:
        left = [directory for directory in broker.log_dirs if directory not in lost]
        if left:
            records.append(_change(state, broker, log_dirs=left))
        records.extend(_plan_without_directories(state, broker, set(lost)))
    cordoned = body.cordoned_log_dirs
    is_news = cordoned is not None and tuple(cordoned) != (broker.cordoned_log_dirs or ())
    if is_news and image.metadata_version >= r.MV_4_3_IV0:
        records.append(_change(state, broker, cordoned_log_dirs=list(cordoned)))
    return records


def _plan_without_directories(state: ControllerState, broker: BrokerImage, lost: set[bytes]) -> list[MetadataRecord]:
    records = []
    without = replace(broker, log_dirs=tuple(each for each in broker.log_dirs if each not in lost))
    for topic in state.image.topics.values():
        for index, partition in topic.partitions.items():
            directory = partition.directory_of(broker.broker_id)
            is_affected = partition.leader == broker.broker_id or broker.broker_id in partition.isr
            if is_affected and directory in lost and not without.has_directory_online(directory):
                change = change_of(state, topic, index)
                change.is_acceptable = all_but(broker.broker_id, change.is_acceptable)
                change.isr = tuple(each for each in partition.isr if each != broker.broker_id)
                planned = change.plan()
                if planned is not None:
                    records.append(planned)
    return records


def assign_replicas_to_dirs(state: ControllerState, request: ControllerRequest, now: int) -> Outcome:
    body, message = request.body, api("AssignReplicasToDirs").response
    try:
        if state.image.metadata_version < r.MV_3_7_IV2:
            raise ApiError(Code.UNSUPPORTED_VERSION)
        state.check_broker_epoch(body.broker_id, body.broker_epoch)
    except ApiError as error:
        return Outcome(response=message(error_code=int(error.code)))
    records: list[MetadataRecord] = []
    directories = []
    seen: set[tuple[bytes, int]] = set()
    for directory in body.directories:
        topics = []
        for topic_data in directory.topics:
            partitions = []
            for data in topic_data.partitions:
                code, written = _assign(state, body.broker_id, directory.id, topic_data.topic_id, data.partition_index)
                key = (topic_data.topic_id, data.partition_index)
                if code == Code.NONE and key in seen:
                    code, written = Code.INVALID_REQUEST, None
                seen.add(key)
                if written is not None:
                    records.append(written)
                partitions.append(
                    message.PartitionData(partition_index=data.partition_index, error_code=int(code))
                )
            topics.append(message.TopicData(topic_id=topic_data.topic_id, partitions=partitions))
        directories.append(message.DirectoryData(id=directory.id, topics=topics))
    return Outcome(records, message(directories=directories), atomic=False)


def _assign(
    state: ControllerState, broker_id: int, directory_id: bytes, topic_id: bytes, index: int
) -> tuple[Code, MetadataRecord | None]:
    topic = state.image.topics.get(topic_id)
    if topic is None:
        return Code.UNKNOWN_TOPIC_ID, None
    partition = topic.partitions.get(index)
    if partition is None:
        return Code.UNKNOWN_TOPIC_OR_PARTITION, None
    if broker_id not in partition.replicas:
        return Code.NOT_LEADER_OR_FOLLOWER, None
    if partition.directory_of(broker_id) == directory_id:
        return Code.NONE, None
    change = change_of(state, topic, index)
    change.directories[broker_id] = directory_id
    broker = state.image.brokers[broker_id]
    if not broker.has_directory_online(directory_id):
        # The replica has moved into a directory that has failed: it is as if the broker were away, for this partition.
        change.is_acceptable = all_but(broker_id, change.is_acceptable)
        change.isr = tuple(each for each in partition.isr if each != broker_id)
    return Code.NONE, change.plan()
