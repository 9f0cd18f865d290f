"""What DescribeGroups, ConsumerGroupDescribe and ListGroups tell of groups. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cluster.coordinator.group.classic import CONSUMER_PROTOCOL, DEAD, STABLE, ClassicGroup
from cluster.coordinator.group.consumer import ConsumerGroup
from cluster.coordinator.group.topics import GroupTopics
from cluster.coordinator.group.turn import Group
from pykafkacore.protocol.errors import Code
from pykafkacore.protocol.schemas import groups as schemas


def classic(group_id: str, group: Group | None, api_version: int) -> Any:
    """A group in a DescribeGroups response. One of another kind is not known there."""
    message = schemas.DESCRIBE_GROUPS_RESPONSE
    if not isinstance(group, ClassicGroup) or group.state == DEAD:
        told = message.DescribedGroup(group_id=group_id, group_state=DEAD)
        if api_version >= 6:
            told.error_code = Code.GROUP_ID_NOT_FOUND
            told.error_message = f"group {group_id} is not known here"
        return told
    is_stable = group.state == STABLE
    told = message.DescribedGroup(
        group_id=group.group_id,
        group_state=group.state,
        protocol_type=group.protocol_type or "",
        protocol_data=(group.protocol or "") if is_stable else "",
    )
    for member in group.members.values():
        told.members.append(
            message.DescribedGroupMember(
                member_id=member.member_id,
                group_instance_id=member.instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                member_metadata=member.metadata_of(group.protocol) if is_stable else b"",
                member_assignment=member.assignment if is_stable else b"",
            )
        )
    return told


def listed(groups: Iterable[Group], body: Any) -> list[Any]:
    """Those that a ListGroups request asks for."""
    message = schemas.LIST_GROUPS_RESPONSE
    states = {state.lower() for state in body.states_filter}
    types = {kind.lower() for kind in body.types_filter}
    found = []
    for group in groups:
        is_classic = isinstance(group, ClassicGroup)
        kind = "classic" if is_classic else "consumer"
        if (states and group.state.lower() not in states) or (types and kind not in types):
            continue
        protocol_type = (group.protocol_type or "") if isinstance(group, ClassicGroup) else CONSUMER_PROTOCOL
        found.append(
            message.ListedGroup(
                group_id=group.group_id, protocol_type=protocol_type, group_state=group.state, group_type=kind
            )
        )
    return found


def consumer(group_id: str, group: Group | None, topics: GroupTopics, default_assignor: str) -> Any:
    """A group in a ConsumerGroupDescribe response."""
    message = schemas.CONSUMER_GROUP_DESCRIBE_RESPONSE
    if not isinstance(group, ConsumerGroup):
        kind = "is not known here" if group is None else "is no consumer group"
        return message.DescribedGroup(
            group_id=group_id, error_code=Code.GROUP_ID_NOT_FOUND, error_message=f"group {group_id} {kind}"
        )

    def assignment(partitions: Mapping[bytes, Any]) -> Any:
        rows = [
            message.TopicPartitions(topic_id=t, topic_name=topics.name_of(t), partitions=sorted(partitions[t]))
            for t in sorted(partitions)
        ]
        return message.Assignment(topic_partitions=rows)

    return message.DescribedGroup(
        group_id=group.group_id,
        group_state=group.state,
        group_epoch=group.group_epoch,
        assignment_epoch=group.target_epoch,
        assignor_name=group.preferred_assignor(group.members.values(), default_assignor),
        members=[
            message.Member(
                member_id=member.member_id,
                instance_id=member.instance_id,
                rack_id=member.rack_id,
                member_epoch=member.member_epoch,
                client_id=member.client_id,
                client_host=member.client_host,
                subscribed_topic_names=sorted(member.topics),
                subscribed_topic_regex=member.regex,
                assignment=assignment(member.assigned),
                target_assignment=assignment(group.target_of(member.member_id)),
                # 0 speaks the classic protocol, 1 the consumer protocol.
                member_type=0 if member.classic is not None else 1,
            )
            for member in group.members.values()
        ],
    )
