"""Whether an assignment is one: what a user's assignor hands back is not trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pykafkacore.policies.assignor import GroupMember, SubscribedTopic


class BadAssignment(ValueError):
    """Says what is wrong with it."""


def checked(
    assignment: Any, members: Mapping[str, GroupMember], topics: Mapping[bytes, SubscribedTopic]
) -> dict[str, dict[bytes, frozenset[int]]]:
    """The assignment in our own types, with every member in it."""
    if not isinstance(assignment, Mapping):
        raise BadAssignment(f"it is {type(assignment).__name__} instead of a mapping of member ids")
    found: dict[str, dict[bytes, frozenset[int]]] = {member_id: {} for member_id in members}
    owners: dict[tuple[bytes, int], str] = {}
    for member_id, given in assignment.items():
        if member_id not in members:
            raise BadAssignment(f"it names {member_id!r}, which is no member")
        if not isinstance(given, Mapping):
            raise BadAssignment(f"member {member_id} has {type(given).__name__} instead of a mapping of topic ids")
        for topic_id, partitions in given.items():
            if topic_id not in topics or topic_id not in members[member_id].topic_ids:
                raise BadAssignment(f"member {member_id} is given topic {topic_id!r}, to which it does not subscribe")
            name = topics[topic_id].name
            try:
                numbers = frozenset(partitions)
            except TypeError:
                raise BadAssignment(f"member {member_id} has no collection of partitions of {name}") from None
            for partition in numbers:
                if type(partition) is not int or not 0 <= partition < topics[topic_id].partition_count:
                    raise BadAssignment(f"member {member_id} is given {name}-{partition}, which does not exist")
                owner = owners.setdefault((topic_id, partition), member_id)
                if owner != member_id:
                    raise BadAssignment(f"{name}-{partition} is given to {owner} and to {member_id}")
            if numbers:
                found[member_id][topic_id] = numbers
    return found
