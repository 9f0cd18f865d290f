"""Administration of groups over a client: listing, describing, their offsets, deletion.

What it is: each call asks the right coordinator and gives plain values, or raises ApiError.
What it is not: membership in a group (consumer.py), or any text for users.
KAFKA: which of the two protocols a group speaks is not known before it is asked: ConsumerGroupDescribe is tried first, and
DescribeGroups where that finds no such group. Of the two reasons the first is the more telling, so that one is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import ApiError, Code, code_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pykafkacore.client.client import Client

GROUP, TRANSACTION = 0, 1
CONSUMER_PROTOCOL = "consumer"
# Newer versions of these two name topics by id only: whoever has names asks in the last that takes them.
OFFSETS_BY_NAME = 9

Place = tuple[str, int]


class Coordinator(Struct, frozen=True):
    node_id: int
    host: str
    port: int


class ListedGroup(Struct, frozen=True):
    group_id: str
    protocol_type: str
    state: str
    type: str


class GroupMember(Struct, frozen=True):
    """What a classic group does not tell of its members is None."""

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    assignment: tuple[Place, ...]
    target_assignment: tuple[Place, ...] = ()
    member_epoch: int | None = None
    is_upgraded: bool | None = None
    """Whether it speaks the consumer protocol; None where the group's version does not say."""


class DescribedGroup(Struct, frozen=True):
    group_id: str
    state: str
    assignor: str
    coordinator: Coordinator
    members: tuple[GroupMember, ...]
    group_epoch: int | None = None
    assignment_epoch: int | None = None


class CommittedOffset(Struct, frozen=True):
    offset: int
    leader_epoch: int | None = None
    metadata: str = ""


# ---- coordinators


async def find_coordinator(client: Client, key: str, kind: int = GROUP) -> Coordinator:
    """Who coordinates a group or a transactional id. Retriable errors are raised, for the caller to try again."""
    row = api("FindCoordinator")
    connection = await client.any_connection()
    version = connection.version_for(row)
    if version >= 4:
        asked = {"coordinator_keys": [key], "key_type": kind}
    elif version >= 1:
        asked = {"key": key, "key_type": kind}
    else:
        asked = {"key": key}
    answer = await connection.request(row, row.request(**asked), version)
    found = answer.coordinators[0] if version >= 4 else answer
    if found.error_code != Code.NONE:
        raise ApiError(code_of(found.error_code), found.error_message or f"coordinator of {key}")
    return Coordinator(found.node_id, found.host, found.port)


async def ask_coordinator(
    client: Client,
    key: str,
    name: str,
    body: Any,
    check: Callable[[Any], None],
    *,
    kind: int = GROUP,
    at_most: int | None = None,
    timeout_ms: int | None = None,
) -> tuple[Any, Coordinator]:
    """One request to the coordinator of a key. `body` may be a function of the version; `check` raises for errors in the
    answer, and those that pass are tried again with whoever coordinates it then."""
    row = api(name)

    async def attempt() -> tuple[Any, Coordinator]:
        coordinator = await find_coordinator(client, key, kind)
        connection = await client.connection_to(coordinator.host, coordinator.port)
        version = connection.version_for(row, at_most)
        answer = await connection.request(row, body(version) if callable(body) else body, version)
        check(answer)
        return answer, coordinator

    return await client.retrying(attempt, timeout_ms)


def raise_for(result: Any, code: int | None = None) -> None:
    """ApiError for the error of a result, with its message if it has one, else without."""
    found = result.error_code if code is None else code
    if found != Code.NONE:
        raise ApiError(code_of(found), getattr(result, "error_message", None) or "")


# ---- listing and describing


async def list_groups(
    client: Client, states: Iterable[str] = (), types: Iterable[str] = ()
) -> dict[str, ListedGroup]:
    """All groups of all brokers by id; the brokers apply the filters."""
    body = api("ListGroups").request(states_filter=list(states), types_filter=list(types))
    found: dict[str, ListedGroup] = {}
    nodes = (await client.refresh_metadata([])).nodes
    for node_id in nodes:

        async def attempt(node_id: int = node_id) -> Any:
            answer = await client.request_node(node_id, "ListGroups", body)
            raise_for(answer)
            return answer

        for group in (await client.retrying(attempt)).groups:
            listed = ListedGroup(group.group_id, group.protocol_type, group.group_state, group.group_type)
            found.setdefault(group.group_id, listed)
    return found


async def describe_group(client: Client, group_id: str) -> DescribedGroup:
    """A group of either protocol. ApiError GROUP_ID_NOT_FOUND where there is none."""
    from pykafkacore.client.connection import UnsupportedApi

    why = ""
    try:
        return await _describe_consumer_group(client, group_id)
    except ApiError as error:
        if error.code not in (Code.GROUP_ID_NOT_FOUND, Code.UNSUPPORTED_VERSION):
            raise
        why = error.message
    except UnsupportedApi:
        pass
    try:
        return await _describe_classic_group(client, group_id)
    except ApiError as error:
        if error.code is Code.GROUP_ID_NOT_FOUND:
            raise ApiError(error.code, why or error.message) from None
        raise


async def _describe_consumer_group(client: Client, group_id: str) -> DescribedGroup:
    def places(assignment: Any) -> tuple[Place, ...]:
        return tuple(
            (topic.topic_name, partition) for topic in assignment.topic_partitions for partition in topic.partitions
        )

    body = api("ConsumerGroupDescribe").request(group_ids=[group_id])
    answer, coordinator = await ask_coordinator(
        client, group_id, "ConsumerGroupDescribe", body, lambda answer: raise_for(answer.groups[0])
    )
    found = answer.groups[0]
    members = tuple(
        GroupMember(
            member_id=each.member_id,
            instance_id=each.instance_id,
            client_id=each.client_id,
            client_host=each.client_host,
            assignment=places(each.assignment),
            target_assignment=places(each.target_assignment),
            member_epoch=each.member_epoch,
            is_upgraded=None if each.member_type == -1 else each.member_type == 1,
        )
        for each in found.members
    )
    return DescribedGroup(
        group_id, found.group_state, found.assignor_name, coordinator, members, found.group_epoch, found.assignment_epoch
    )


async def _describe_classic_group(client: Client, group_id: str) -> DescribedGroup:
    body = api("DescribeGroups").request(groups=[group_id])
    answer, coordinator = await ask_coordinator(
        client, group_id, "DescribeGroups", body, lambda answer: raise_for(answer.groups[0])
    )
    found = answer.groups[0]
    if found.protocol_type not in ("", CONSUMER_PROTOCOL):
        raise ApiError(Code.INVALID_GROUP_ID, f"GroupId {group_id} is not a consumer group ({found.protocol_type}).")
    members = tuple(
        GroupMember(
            member_id=each.member_id,
            instance_id=each.group_instance_id,
            client_id=each.client_id,
            client_host=each.client_host,
            assignment=read_assignment(bytes(each.member_assignment)),
        )
        for each in found.members
    )
    return DescribedGroup(group_id, found.group_state, found.protocol_data, coordinator, members)


def read_assignment(data: bytes) -> tuple[Place, ...]:
    """The partitions in what a leader of a classic group hands to a member: two bytes of version, then the message."""
    from pykafkacore.protocol.schemas.groups import CONSUMER_PROTOCOL_ASSIGNMENT

    if not data:
        return ()
    version = min(max(int.from_bytes(data[:2], "big", signed=True), 0), 3)
    found, _ = CONSUMER_PROTOCOL_ASSIGNMENT.decode_from(data, 2, version)
    return tuple(
        (topic.topic, partition) for topic in found.assigned_partitions for partition in topic.partitions
    )


# ---- offsets


async def fetch_committed(
    client: Client,
    group_id: str,
    places: Sequence[Place] | None = None,
    *,
    require_stable: bool = False,
    member_id: str | None = None,
    member_epoch: int = -1,
) -> dict[Place, CommittedOffset]:
    """The committed offsets of these partitions, or of all that have one; partitions without are left out."""
    request = api("OffsetFetch").request

    def body(version: int) -> Any:
        newer = version >= 8
        topic_of = request.OffsetFetchRequestTopics if newer else request.OffsetFetchRequestTopic
        topics = None
        if places is not None:
            topics = [topic_of(name=name, partition_indexes=partitions) for name, partitions in by_topic(places).items()]
        if not newer:
            return request(group_id=group_id, topics=topics, **({"require_stable": require_stable} if version == 7 else {}))
        group = request.OffsetFetchRequestGroup(
            group_id=group_id, topics=topics, **({"member_id": member_id, "member_epoch": member_epoch} if version >= 9 else {})
        )
        return request(groups=[group], require_stable=require_stable)

    def of_group(answer: Any) -> Any:
        groups = getattr(answer, "groups", None)
        return groups[0] if groups else answer

    def check(answer: Any) -> None:
        found = of_group(answer)
        raise_for(found)
        for topic in found.topics:
            for partition in topic.partitions:
                raise_for(partition)

    answer, _ = await ask_coordinator(client, group_id, "OffsetFetch", body, check, at_most=OFFSETS_BY_NAME)
    return {
        (topic.name, one.partition_index): CommittedOffset(
            one.committed_offset,
            None if one.committed_leader_epoch < 0 else one.committed_leader_epoch,
            one.metadata or "",
        )
        for topic in of_group(answer).topics
        for one in topic.partitions
        if one.committed_offset >= 0
    }


async def commit_offsets(
    client: Client,
    group_id: str,
    offsets: Mapping[Place, int],
    *,
    member_id: str = "",
    member_epoch: int = -1,
    instance_id: str | None = None,
) -> dict[Place, Code]:
    """Commit as a member, or from outside where the group has none. The partitions that were refused, with the reason."""
    if not offsets:
        return {}
    request = api("OffsetCommit").request
    topics = [
        request.OffsetCommitRequestTopic(
            name=name,
            partitions=[
                request.OffsetCommitRequestPartition(
                    partition_index=partition, committed_offset=offsets[name, partition], committed_metadata=""
                )
                for partition in partitions
            ],
        )
        for name, partitions in by_topic(offsets).items()
    ]
    body = request(
        group_id=group_id, generation_id_or_member_epoch=member_epoch, member_id=member_id,
        group_instance_id=instance_id, topics=topics,
    )  # fmt: skip
    # What concerns the group as a whole comes with every partition.
    passing = (Code.COORDINATOR_LOAD_IN_PROGRESS, Code.COORDINATOR_NOT_AVAILABLE, Code.NOT_COORDINATOR)

    def check(answer: Any) -> None:
        for topic in answer.topics:
            for partition in topic.partitions:
                if partition.error_code in passing:
                    raise_for(partition)

    answer, _ = await ask_coordinator(client, group_id, "OffsetCommit", body, check, at_most=OFFSETS_BY_NAME)
    return _refused(answer)


async def delete_offsets(client: Client, group_id: str, places: Sequence[Place]) -> dict[Place, Code]:
    """Forget the offsets of these partitions. Those that were refused, with the reason; ApiError concerns the group."""
    request = api("OffsetDelete").request
    topics = [
        request.OffsetDeleteRequestTopic(
            name=name,
            partitions=[request.OffsetDeleteRequestPartition(partition_index=partition) for partition in partitions],
        )
        for name, partitions in by_topic(places).items()
    ]
    body = request(group_id=group_id, topics=topics)
    answer, _ = await ask_coordinator(client, group_id, "OffsetDelete", body, raise_for)
    return _refused(answer)


async def delete_group(client: Client, group_id: str) -> None:
    body = api("DeleteGroups").request(groups_names=[group_id])
    await ask_coordinator(client, group_id, "DeleteGroups", body, lambda answer: raise_for(answer.results[0]))


def by_topic(places: Iterable[Place]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for topic, partition in places:
        found.setdefault(topic, []).append(partition)
    return found


def _refused(answer: Any) -> dict[Place, Code]:
    return {
        (topic.name, one.partition_index): code_of(one.error_code)
        for topic in answer.topics
        for one in topic.partitions
        if one.error_code != Code.NONE
    }
