"""Cases of groups and committed offsets, which mostly need more than one request."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.compat.parity.hostile import UNKNOWN_ID
from tests.compat.parity.recorder import Case, Site, Step

Tree = dict[str, Any]


def coordinators(site: Site) -> None:
    """Waits until the coordinator of groups answers."""
    while True:
        found = site.ask("FindCoordinator", 4, {"coordinator_keys": ["x", "y"], "key_type": 0}).coordinators
        codes = {each.error_code for each in found}
        if codes == {0}:
            codes = {
                site.ask("Heartbeat", 4, {"group_id": each, "member_id": "m", "generation_id": 1}).error_code
                for each in "xy"
            }
            if codes == {25}:
                break
        assert codes <= {0, 14, 15, 16, 25}, codes
        time.sleep(0.02)
    while True:
        # The other internal topic is made before the first case, wherever it is offered.
        code = site.ask("FindCoordinator", 4, {"coordinator_keys": ["t"], "key_type": 1}).coordinators[0].error_code
        if code != 15:
            break
        time.sleep(0.02)
    site.learn()


def kept_groups(site: Site) -> None:
    """Groups of offsets alone, for those who look at them."""
    for group in ("kept-one", "kept-two"):
        rows = [{"partition_index": 0, "committed_offset": 5, "committed_metadata": "m"}]
        tree = {"group_id": group, "topics": [{"name": "groups", "partitions": rows}]}
        answer = site.ask("OffsetCommit", 8, tree)
        assert answer.topics[0].partitions[0].error_code == 0, answer


def find_coordinator(version: int) -> dict[str, Tree]:
    def one(key: str, kind: int = 0) -> Tree:
        return {"coordinator_keys": [key], "key_type": kind} if version >= 4 else {"key": key, "key_type": kind}

    found = {"a group": one("kept-one")}
    if version >= 1:
        found |= {
            "transaction": one("t", 1),
            "type 2": one("kept-one", 2),
            "type 3": one("t", 3),
            "type -1": one("t", -1),
        }
        found["a transaction without a name"] = one("", 1)
    return found


def fresh(site: Site) -> str:
    """A group of this case alone, the same on both sites."""
    return site.fresh


def member(site: Site) -> str:
    """The member id that the first step was given."""
    return site.answers[0].member_id


def by_name_or_id(version: int, ids_from: int, name: str) -> Tree:
    return {"topic_id": lambda site: site.topic_ids[name]} if version >= ids_from else {"name": name}


def offset_commit(version: int) -> dict[str, Tree]:
    def one(topic: str = "groups", index: int = 0, offset: int = 7, group: Any = fresh, **more: Any) -> Tree:
        row = {"partition_index": index, "committed_offset": offset, "committed_metadata": "m"}
        where = (
            {"topic_id": UNKNOWN_ID}
            if version >= 10 and topic == "no-such-topic"
            else by_name_or_id(version, 10, topic)
        )
        if topic == "no-such-topic" and version < 10:
            where = {"name": topic}
        return {"group_id": group, "topics": [{**where, "partitions": [row | more.pop("row", {})]}], **more}

    return {
        "good": one(),
        "unknown topic": one("no-such-topic"),
        "unknown partition": one(index=9),
        "offset -1": one(offset=-1),
        "offset -2": one(offset=-2),
        "long metadata": one(row={"committed_metadata": "x" * 5000}),
        "no metadata": one(row={"committed_metadata": None}),
        "group without a name": one(group=""),
        "generation 3": one(generation_id_or_member_epoch=3),
        "a member": one(member_id="m"),
        "a member of generation 3": one(member_id="m", generation_id_or_member_epoch=3),
    }


def offset_fetch(version: int) -> dict[str, Tree]:
    key = "partition_indexes"

    def one(group: Any = "kept-one", topics: Any = None, *rest: Tree, **more: Any) -> Tree:
        if version >= 8:
            return {"groups": [{"group_id": group, "topics": topics, **more}, *rest]}
        return {"group_id": group, "topics": topics}

    def of(name: str, *indexes: int) -> Tree:
        if name == "no-such-topic" and version >= 10:
            return {"topic_id": UNKNOWN_ID, key: list(indexes)}
        return ({"name": name} if name == "no-such-topic" else by_name_or_id(version, 10, name)) | {key: list(indexes)}

    found = {
        "good": one(topics=[of("groups", 0)]),
        "nothing committed": one(topics=[of("groups", 1)]),
        "unknown topic": one(topics=[of("no-such-topic", 0)]),
        "unknown partition": one(topics=[of("groups", 9)]),
        "unknown group": one(fresh, [of("groups", 0)]),
        "group without a name": one("", [of("groups", 0)]),
        "no topics": one(topics=[]),
    }
    if version >= 2:
        found["all"] = one()
        found["all of an unknown group"] = one(fresh)
    if version >= 7:
        found["stable"] = one(topics=[of("groups", 0)]) | {"require_stable": True}
    if version >= 8:
        found["two groups"] = one("kept-one", [of("groups", 0)], {"group_id": "kept-two", "topics": None})
        found["one group twice"] = one("kept-one", [of("groups", 0)], {"group_id": "kept-one", "topics": None})
    if version >= 9:
        found["as a member"] = one(topics=[of("groups", 0)], member_id="m", member_epoch=3)
        found["as a member of nothing"] = one(fresh, [of("groups", 0)], member_id="m", member_epoch=3)
    return found


def subscription(user_data: bytes) -> bytes:
    """What a member of the classic consumer protocol says of itself."""
    topics = struct.pack(">ih", 1, 6) + b"groups"
    return struct.pack(">h", 0) + topics + struct.pack(">i", len(user_data)) + user_data


PROTOCOLS = [{"name": "range", "metadata": subscription(b"1")}, {"name": "roundrobin", "metadata": subscription(b"2")}]


def join(version: int, **more: Any) -> Tree:
    tree = {
        "group_id": fresh, "session_timeout_ms": 10_000, "rebalance_timeout_ms": 10_000, "member_id": "",
        "protocol_type": "consumer", "protocols": PROTOCOLS,
    }  # fmt: skip
    return tree | more


def join_group(version: int) -> dict[str, Tree]:
    found = {
        "good": join(version),
        "group without a name": join(version, group_id=""),
        "member unknown": join(version, member_id="nobody"),
        "no protocol type": join(version, protocol_type=""),
        "no protocols": join(version, protocols=[]),
        "one protocol twice": join(version, protocols=PROTOCOLS[:1] * 2),
        "session too short": join(version, session_timeout_ms=100),
        "session too long": join(version, session_timeout_ms=10_000_000),
    }
    if version >= 5:
        found["static"] = join(version, group_instance_id="i")
        found["static without a name"] = join(version, group_instance_id="")
        found["static with a bad name"] = join(version, group_instance_id="a b")
    return found


def joined(version: int, **more: Any) -> tuple[Step, ...]:
    """The steps after which the one member of a fresh group has its generation."""
    first = Step("JoinGroup", version, join(version, **more))
    if version < 4 or "group_instance_id" in more:
        return (first,)
    return first, Step("JoinGroup", version, join(version, member_id=member, **more))


def sync(version: int, generation: int = 1, who: Any = member, **more: Any) -> Step:
    given = [{"member_id": who, "assignment": b"mine"}]
    tree = {"group_id": fresh, "generation_id": generation, "member_id": who, "assignments": given}
    protocol = {"protocol_type": "consumer", "protocol_name": "range"} if version >= 5 else {}
    return Step("SyncGroup", version, tree | protocol | more)


def generations(version: int) -> Iterator[Case]:
    """JoinGroup to the end of a life, with the newest of the other APIs."""
    start = joined(version)
    beat = {"group_id": fresh, "generation_id": 1, "member_id": member}
    gone = [{"member_id": member}]
    yield Case(
        "life",
        version,
        (*start, sync(5), Step("Heartbeat", 4, beat), Step("LeaveGroup", 5, {"group_id": fresh, "members": gone})),
    )
    yield Case(
        "life: joins again", version, (*start, sync(5), Step("JoinGroup", version, join(version, member_id=member)))
    )
    other = [{"name": "sticky", "metadata": subscription(b"3")}]
    yield Case(
        "life: other protocols", version, (*start, sync(5), Step("JoinGroup", version, join(version, protocols=other)))
    )
    yield Case(
        "life: other type",
        version,
        (*start, sync(5), Step("JoinGroup", version, join(version, protocol_type="connect"))),
    )
    described = Step("DescribeGroups", 6, {"groups": [fresh]})
    yield Case("life: described", version, (*start, described, sync(5), described))
    if version >= 5:
        static = joined(version, group_instance_id="i")
        fence = {"group_id": fresh, "generation_id": 1, "member_id": "other", "group_instance_id": "i"}
        yield Case("life: static", version, (*static, sync(5, group_instance_id="i")))
        yield Case("life: fenced", version, (*static, sync(5, group_instance_id="i"), Step("Heartbeat", 4, fence)))


def sync_group(version: int) -> dict[str, Tree]:
    protocol = {"protocol_type": "consumer", "protocol_name": "range"} if version >= 5 else {}
    tree = {
        "group_id": fresh,
        "generation_id": 1,
        "member_id": "nobody",
        "assignments": [{"member_id": "nobody", "assignment": b"x"}],
    }
    return {"unknown group": tree | protocol, "group without a name": tree | protocol | {"group_id": ""}}


def syncs(version: int) -> Iterator[Case]:
    start = joined(9)
    yield Case("synced", version, (*start, sync(version), sync(version)))
    yield Case("wrong generation", version, (*start, sync(version, 7)))
    yield Case("wrong member", version, (*start, sync(version, 1, "nobody")))
    if version >= 5:
        yield Case("wrong protocol", version, (*start, sync(version, protocol_name="roundrobin")))
        yield Case("wrong protocol type", version, (*start, sync(version, protocol_type="connect")))
    if version >= 3:
        yield Case("wrong instance", version, (*start, sync(version, group_instance_id="i")))


def heartbeat(version: int) -> dict[str, Tree]:
    tree = {"group_id": fresh, "generation_id": 1, "member_id": "nobody"}
    return {
        "unknown group": tree,
        "group without a name": tree | {"group_id": ""},
        "group of offsets": tree | {"group_id": "kept-one"},
    }


def heartbeats(version: int) -> Iterator[Case]:
    def beat(**more: Any) -> Step:
        return Step("Heartbeat", version, {"group_id": fresh, "generation_id": 1, "member_id": member, **more})

    start = joined(9)
    yield Case("before the sync", version, (*start, beat()))
    yield Case("stable", version, (*start, sync(5), beat()))
    yield Case("wrong generation", version, (*start, sync(5), beat(generation_id=7)))
    yield Case("wrong member", version, (*start, sync(5), beat(member_id="nobody")))


def leave_group(version: int) -> dict[str, Tree]:
    who = {"members": [{"member_id": "nobody"}]} if version >= 3 else {"member_id": "nobody"}
    found = {"unknown group": {"group_id": fresh, **who}, "group without a name": {"group_id": "", **who}}
    if version >= 3:
        found["nobody"] = {"group_id": fresh, "members": []}
    return found


def leaves(version: int) -> Iterator[Case]:
    def gone(*who: Any) -> Step:
        rows = {"members": [{"member_id": each} for each in who]} if version >= 3 else {"member_id": who[0]}
        return Step("LeaveGroup", version, {"group_id": fresh, **rows})

    start = joined(9)
    yield Case("leaves", version, (*start, gone(member), gone(member)))
    yield Case("another leaves", version, (*start, gone("nobody")))
    if version >= 3:
        yield Case("two leave", version, (*start, gone(member, "nobody")))
        yield Case("leaves twice at once", version, (*start, gone(member, member)))


def describe_groups(version: int) -> dict[str, Tree]:
    return {
        "of offsets": {"groups": ["kept-one"]},
        "unknown": {"groups": [fresh]},
        "without a name": {"groups": [""]},
        "two": {"groups": ["kept-two", "kept-one"]},
        "with operations": {"groups": ["kept-one", fresh], "include_authorized_operations": True},
    }


def list_groups(version: int) -> dict[str, Tree]:
    found: dict[str, Tree] = {"all": {}}
    if version >= 4:
        for states in (["Empty"], ["empty"], ["Stable"], ["NoSuchState"], [""], ["Empty", "Stable"]):
            found[f"states {states}"] = {"states_filter": states}
    if version >= 5:
        for types in (["classic"], ["Classic"], ["consumer"], ["no-such-type"], ["share"]):
            found[f"types {types}"] = {"types_filter": types}
    return found


def delete_groups(version: int) -> dict[str, Tree]:
    return {
        "unknown": {"groups_names": [fresh]},
        "without a name": {"groups_names": [""]},
        "two unknown": {"groups_names": ["no-such-1", "no-such-2"]},
    }


def deletions(version: int) -> Iterator[Case]:
    row = {"partition_index": 0, "committed_offset": 5, "committed_metadata": ""}
    commit = Step("OffsetCommit", 8, {"group_id": fresh, "topics": [{"name": "groups", "partitions": [row]}]})
    delete = Step("DeleteGroups", version, {"groups_names": [fresh]})
    yield Case("deleted", version, (commit, delete, delete))
    yield Case("in use", version, (*joined(9), delete))


def offset_delete(version: int) -> dict[str, Tree]:
    def one(group: Any = "kept-two", topic: str = "groups", index: int = 1) -> Tree:
        return {"group_id": group, "topics": [{"name": topic, "partitions": [{"partition_index": index}]}]}

    return {
        "good": one(),
        "unknown group": one(fresh),
        "group without a name": one(""),
        "unknown topic": one(topic="no-such-topic"),
        "unknown partition": one(index=9),
        "no topics": {"group_id": "kept-two", "topics": []},
    }


def offset_deletions(version: int) -> Iterator[Case]:
    row = {"partition_index": 0, "committed_offset": 5, "committed_metadata": ""}
    commit = Step("OffsetCommit", 8, {"group_id": fresh, "topics": [{"name": "groups", "partitions": [row]}]})
    delete = Step(
        "OffsetDelete",
        version,
        {"group_id": fresh, "topics": [{"name": "groups", "partitions": [{"partition_index": 0}]}]},
    )
    yield Case("deleted", version, (commit, delete, delete))
    yield Case("in use", version, (*joined(9), delete))


def consumer_group_heartbeat(version: int) -> dict[str, Tree]:
    first = {
        "group_id": fresh, "member_id": "" if version == 0 else "AAAAAAAAAAAAAAAAAAAAAA", "member_epoch": 0,
        "rebalance_timeout_ms": 10_000, "subscribed_topic_names": ["groups"], "topic_partitions": [],
    }  # fmt: skip
    return {
        "first": first,
        "group without a name": first | {"group_id": ""},
        "no member id": first | {"member_id": ""},
        "long member id": first | {"member_id": "x" * 37},
        "partitions at first": first | {"topic_partitions": [{"topic_id": UNKNOWN_ID, "partitions": [0]}]},
        "no rebalance timeout": first | {"rebalance_timeout_ms": -1},
        "no subscription": first | {"subscribed_topic_names": None},
        "empty subscription": first | {"subscribed_topic_names": []},
        "unknown assignor": first | {"server_assignor": "no-such-assignor"},
        "known assignor": first | {"server_assignor": "range"},
        "empty instance id": first | {"instance_id": ""},
        "empty rack": first | {"rack_id": ""},
        "epoch 5 of an unknown group": first | {"member_id": "m", "member_epoch": 5},
        "leaves an unknown group": first | {"member_id": "m", "member_epoch": -1},
        "epoch -2 without instance": first | {"member_id": "m", "member_epoch": -2},
        "epoch -3": first | {"member_id": "m", "member_epoch": -3},
        "regex": first | ({"subscribed_topic_regex": "gro.*", "subscribed_topic_names": None} if version else {}),
        "bad regex": first | ({"subscribed_topic_regex": "gro[", "subscribed_topic_names": None} if version else {}),
        "classic group": first | {"group_id": "kept-classic"},
    }


def consumer_lives(version: int) -> Iterator[Case]:
    first = Step("ConsumerGroupHeartbeat", version, consumer_group_heartbeat(version)["first"])

    def beat(epoch: int, **more: Any) -> Step:
        at = (lambda site: site.answers[0].member_epoch) if epoch == 1 else epoch
        return Step(
            "ConsumerGroupHeartbeat", version, {"group_id": fresh, "member_id": member, "member_epoch": at, **more}
        )

    def owned(*indexes: int) -> list[Tree]:
        return [{"topic_id": lambda site: site.topic_ids["groups"], "partitions": list(indexes)}]

    described = Step("ConsumerGroupDescribe", 1, {"group_ids": [fresh]})
    yield Case("life", version, (first, beat(1), beat(1, topic_partitions=owned(0, 1)), described, beat(-1), described))
    yield Case("life: fenced", version, (first, beat(7)))
    yield Case(
        "life: epoch 0 again",
        version,
        (first, beat(0, rebalance_timeout_ms=10_000, subscribed_topic_names=["groups"], topic_partitions=[])),
    )
    yield Case(
        "life: subscription changed", version, (first, beat(1, subscribed_topic_names=["one", "groups"]), described)
    )
    yield Case(
        "life: wrong member",
        version,
        (first, Step("ConsumerGroupHeartbeat", version, {"group_id": fresh, "member_id": "nobody", "member_epoch": 2})),
    )
    yield Case(
        "life: classic look",
        version,
        (first, Step("DescribeGroups", 6, {"groups": [fresh]}), Step("DeleteGroups", 2, {"groups_names": [fresh]})),
    )
    rows = [{"partition_index": 0, "committed_offset": 5, "committed_metadata": ""}]
    commit = {"group_id": fresh, "topics": [{"name": "groups", "partitions": rows}], "member_id": member}
    yield Case(
        "life: commits",
        version,
        (
            first,
            Step(
                "OffsetCommit", 9, commit | {"generation_id_or_member_epoch": lambda site: site.answers[0].member_epoch}
            ),
            Step("OffsetCommit", 9, commit | {"generation_id_or_member_epoch": 7}),
            Step("OffsetCommit", 9, commit | {"generation_id_or_member_epoch": 1, "member_id": "nobody"}),
            Step("OffsetCommit", 8, commit | {"generation_id_or_member_epoch": 1}),
        ),
    )


def consumer_group_describe(version: int) -> dict[str, Tree]:
    return {
        "unknown": {"group_ids": [fresh]},
        "without a name": {"group_ids": [""]},
        "classic": {"group_ids": ["kept-one"]},
        "with operations": {"group_ids": [fresh], "include_authorized_operations": True},
    }


GOOD: dict[str, Callable[[int], dict[str, Tree]]] = {
    "OffsetCommit": offset_commit,
    "OffsetFetch": offset_fetch,
    "FindCoordinator": find_coordinator,
    "JoinGroup": join_group,
    "Heartbeat": heartbeat,
    "LeaveGroup": leave_group,
    "SyncGroup": sync_group,
    "DescribeGroups": describe_groups,
    "ListGroups": list_groups,
    "DeleteGroups": delete_groups,
    "OffsetDelete": offset_delete,
    "ConsumerGroupHeartbeat": consumer_group_heartbeat,
    "ConsumerGroupDescribe": consumer_group_describe,
}
SPECIAL: dict[str, Callable[[int], Iterator[Case]]] = {
    "JoinGroup": generations,
    "Heartbeat": heartbeats,
    "LeaveGroup": leaves,
    "SyncGroup": syncs,
    "DeleteGroups": deletions,
    "OffsetDelete": offset_deletions,
    "ConsumerGroupHeartbeat": consumer_lives,
}
