"""The assignors on random groups: complete, even, sticky."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.rebalance.check import BadAssignment, checked
from cluster.rebalance.range import RangeAssignor
from cluster.rebalance.uniform import UniformAssignor
from pykafkacore.policies.assignor import GroupMember, SubscribedTopic

IDS = [bytes([n]) * 16 for n in range(1, 6)]


def topic(topic_id: bytes, count: int, racks: tuple[frozenset[str], ...] = ()) -> SubscribedTopic:
    return SubscribedTopic(topic_id, f"t{topic_id[0]}", count, racks)


def member(name: str, topics: Any, assigned: Any = None, rack: str | None = None, instance: str | None = None) -> GroupMember:
    return GroupMember(name, instance, rack, frozenset(topics), assigned or {})


@st.composite
def groups(draw: st.DrawFn) -> tuple[dict[str, GroupMember], dict[bytes, SubscribedTopic]]:
    topics = {i: topic(i, draw(st.integers(0, 12))) for i in IDS[: draw(st.integers(0, 5))]}
    alike = draw(st.booleans())
    same = draw(st.frozensets(st.sampled_from(list(topics)))) if topics else frozenset()
    members = {}
    for number in range(draw(st.integers(1, 7))):
        own = same if alike or not topics else draw(st.frozensets(st.sampled_from(list(topics))))
        assigned = {i: draw(st.frozensets(st.integers(0, 14), max_size=6)) for i in IDS[:3] if draw(st.booleans())}
        members[f"m{number}"] = member(f"m{number}", own, assigned)
    return members, topics


def count(given: dict[bytes, frozenset[int]]) -> int:
    return sum(map(len, given.values()))


@pytest.mark.parametrize("assignor", [UniformAssignor(), RangeAssignor()], ids=lambda a: a.name)
@settings(max_examples=200, deadline=None)
@given(group=groups())
def test_every_partition_goes_to_one_of_its_subscribers(assignor: Any, group: Any) -> None:
    members, topics = group
    found = checked(assignor.assign(members, topics), members, topics)
    places = {(t, p) for given in found.values() for t, ps in given.items() for p in ps}
    wanted = {
        (t, p)
        for t, each in topics.items()
        if any(t in m.topic_ids for m in members.values())
        for p in range(each.partition_count)
    }
    assert places == wanted


@settings(max_examples=200, deadline=None)
@given(group=groups())
def test_uniform_is_even_and_stays_as_it_is_once_it_is(group: Any) -> None:
    members, topics = group
    found = checked(UniformAssignor().assign(members, topics), members, topics)
    if len({m.topic_ids for m in members.values()}) == 1:
        counts = [count(given) for given in found.values()]
        assert max(counts) - min(counts) <= 1
    again = {m: member(m, each.topic_ids, found[m]) for m, each in members.items()}
    assert checked(UniformAssignor().assign(again, topics), members, topics) == found


def test_uniform_moves_only_what_a_newcomer_is_due() -> None:
    topics = {IDS[0]: topic(IDS[0], 9)}
    before = {"a": range(0, 5), "b": range(5, 9)}
    members = {m: member(m, topics, {IDS[0]: frozenset(ps)}) for m, ps in before.items()} | {"c": member("c", topics)}
    after = UniformAssignor().assign(members, topics)
    moved = [p for m, ps in before.items() for p in ps if p not in after[m][IDS[0]]]
    assert len(moved) == 3 == count(after["c"])


def test_uniform_evens_out_unlike_subscriptions() -> None:
    topics = {IDS[0]: topic(IDS[0], 6), IDS[1]: topic(IDS[1], 6)}
    members = {
        "a": member("a", topics, {IDS[0]: frozenset(range(6)), IDS[1]: frozenset(range(6))}),
        "b": member("b", [IDS[0]]),
    }
    after = UniformAssignor().assign(members, topics)
    assert (count(after["a"]), count(after["b"])) == (6, 6)


def test_uniform_prefers_replicas_in_the_members_own_rack() -> None:
    racks = tuple(frozenset({"east"} if p % 2 else {"west"}) for p in range(8))
    topics = {IDS[0]: topic(IDS[0], 8, racks)}
    members = {"a": member("a", topics, rack="west"), "b": member("b", topics, rack="east")}
    after = UniformAssignor().assign(members, topics)
    assert after == {"a": {IDS[0]: {0, 2, 4, 6}}, "b": {IDS[0]: {1, 3, 5, 7}}}


def test_range_gives_runs_and_splits_like_topics_alike() -> None:
    topics = {IDS[0]: topic(IDS[0], 5), IDS[1]: topic(IDS[1], 5)}
    members = {m: member(m, topics) for m in ("a", "b")}
    after = RangeAssignor().assign(members, topics)
    assert after["a"] == {IDS[0]: {0, 1, 2}, IDS[1]: {0, 1, 2}}
    assert after["b"] == {IDS[0]: {3, 4}, IDS[1]: {3, 4}}


@pytest.mark.parametrize(
    ("assignment", "complaint"),
    [
        (None, "instead of a mapping"),
        ({"x": {}}, "no member"),
        ({"a": [1]}, "instead of a mapping"),
        ({"a": {IDS[1]: [0]}}, "does not subscribe"),
        ({"a": {IDS[0]: [5]}}, "does not exist"),
        ({"a": {IDS[0]: ["0"]}}, "does not exist"),
        ({"a": {IDS[0]: 3}}, "no collection"),
        ({"a": {IDS[0]: [0]}, "b": {IDS[0]: [0]}}, "given to a and to b"),
    ],
)
def test_nonsense_is_refused_with_what_is_wrong_about_it(assignment: Any, complaint: str) -> None:
    topics = {IDS[0]: topic(IDS[0], 5)}
    members = {m: member(m, topics) for m in ("a", "b")}
    with pytest.raises(BadAssignment, match=complaint):
        checked(assignment, members, topics)
