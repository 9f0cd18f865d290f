"""Administration of groups: coordinators that move, both protocols, offsets by name."""

from __future__ import annotations

from typing import Any

import pytest

from pykafkacore.client.groups import (
    CommittedOffset,
    commit_offsets,
    delete_offsets,
    describe_group,
    fetch_committed,
    list_groups,
)
from pykafkacore.client.offsets import list_offsets
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import ApiError, Code
from tests.client.fake_broker import run
from tests.client.test_membership import connected, coordinator

DESCRIBED, CLASSIC = api("ConsumerGroupDescribe").response, api("DescribeGroups").response
FETCHED, COMMITTED = api("OffsetFetch").response, api("OffsetCommit").response


def described(code: Code, message: str | None = None) -> Any:
    return DESCRIBED(groups=[DESCRIBED.DescribedGroup(error_code=code, error_message=message, group_id="g")])


@run
async def test_a_group_that_is_not_of_the_consumer_protocol_is_asked_for_as_a_classic_one() -> None:
    member = CLASSIC.DescribedGroupMember(member_id="m", client_id="c", client_host="/h")
    found = CLASSIC.DescribedGroup(
        group_id="g", group_state="Stable", protocol_type="consumer", protocol_data="range", members=[member]
    )
    broker = coordinator(
        ConsumerGroupDescribe=[described(Code.GROUP_ID_NOT_FOUND)],
        # A coordinator that moves is asked for again.
        DescribeGroups=[CLASSIC(groups=[CLASSIC.DescribedGroup(error_code=Code.NOT_COORDINATOR)]), CLASSIC(groups=[found])],
    )
    async with connected(broker) as client:
        group = await describe_group(client, "g")
    assert (group.state, group.assignor, group.group_epoch) == ("Stable", "range", None)
    assert [member.member_id for member in group.members] == ["m"]
    assert len(broker.asked("FindCoordinator")) == 3


@run
async def test_of_two_refusals_the_first_is_told() -> None:
    classic = CLASSIC.DescribedGroup(error_code=Code.GROUP_ID_NOT_FOUND, group_id="g")
    broker = coordinator(
        ConsumerGroupDescribe=[described(Code.GROUP_ID_NOT_FOUND, "Group g not found.")],
        DescribeGroups=[CLASSIC(groups=[classic])],
    )
    async with connected(broker) as client:
        with pytest.raises(ApiError) as refused:
            await describe_group(client, "g")
    assert (refused.value.code, refused.value.message) == (Code.GROUP_ID_NOT_FOUND, "Group g not found.")


@run
async def test_groups_of_all_brokers_are_listed_by_id() -> None:
    response = api("ListGroups").response
    rows = [response.ListedGroup(group_id=each, protocol_type="consumer", group_state="Empty") for each in ("b", "a")]
    broker = coordinator(ListGroups=[response(error_code=Code.COORDINATOR_LOAD_IN_PROGRESS), response(groups=rows)])
    async with connected(broker) as client:
        found = await list_groups(client, states=["Empty"], types=["Classic"])
    assert list(found) == ["b", "a"] and found["a"].state == "Empty"
    asked = broker.asked("ListGroups")[-1]
    assert (asked.states_filter, asked.types_filter) == (["Empty"], ["Classic"])


@pytest.mark.parametrize("version", [9, 7])
def test_partitions_without_an_offset_are_left_out(version: int) -> None:
    @run
    async def check() -> None:
        def answer(body: Any, asked: int) -> Any:
            assert asked == version, "newer ones know topics by their ids alone"
            plural = "s" if asked >= 8 else ""
            partition = getattr(FETCHED, f"OffsetFetchResponsePartition{plural}")
            offsets = [
                partition(partition_index=0, committed_offset=7, committed_leader_epoch=2, metadata="m"),
                partition(partition_index=1, committed_offset=-1, metadata=""),
            ]
            topics = [getattr(FETCHED, f"OffsetFetchResponseTopic{plural}")(name="t", partitions=offsets)]
            if asked < 8:
                return FETCHED(topics=topics)
            return FETCHED(groups=[FETCHED.OffsetFetchResponseGroup(group_id="g", topics=topics)])

        broker = coordinator(OffsetFetch=answer)
        broker.max_versions["OffsetFetch"] = 7 if version == 7 else 10
        async with connected(broker) as client:
            assert await fetch_committed(client, "g", [("t", 0), ("t", 1)]) == {("t", 0): CommittedOffset(7, 2, "m")}

    check()


@run
async def test_a_commit_tells_what_was_refused_and_asks_again_while_a_coordinator_loads() -> None:
    def answer(*codes: Code) -> Any:
        rows = [COMMITTED.OffsetCommitResponsePartition(partition_index=at, error_code=code) for at, code in enumerate(codes)]
        return COMMITTED(topics=[COMMITTED.OffsetCommitResponseTopic(name="t", partitions=rows)])

    loading = Code.COORDINATOR_LOAD_IN_PROGRESS
    broker = coordinator(OffsetCommit=[answer(loading, loading), answer(Code.NONE, Code.ILLEGAL_GENERATION)])
    async with connected(broker) as client:
        refused = await commit_offsets(client, "g", {("t", 0): 3, ("t", 1): 4}, member_id="me", member_epoch=2)
        assert await commit_offsets(client, "g", {}) == {}
    assert refused == {("t", 1): Code.ILLEGAL_GENERATION}
    asked = broker.asked("OffsetCommit")
    assert len(asked) == 2 and (asked[1].member_id, asked[1].generation_id_or_member_epoch) == ("me", 2)


@run
async def test_what_concerns_a_whole_group_is_raised() -> None:
    response = api("OffsetDelete").response
    broker = coordinator(OffsetDelete=[response(error_code=Code.NON_EMPTY_GROUP)])
    async with connected(broker) as client:
        with pytest.raises(ApiError) as refused:
            await delete_offsets(client, "g", [("t", 0)])
    assert refused.value.code is Code.NON_EMPTY_GROUP


@run
async def test_only_partitions_that_are_still_open_are_asked_for_again() -> None:
    response = api("ListOffsets").response

    def answer(*rows: tuple[int, int, Code]) -> Any:
        partitions = [
            response.ListOffsetsPartitionResponse(partition_index=at, offset=offset, error_code=code)
            for at, offset, code in rows
        ]
        return response(topics=[response.ListOffsetsTopicResponse(name="t", partitions=partitions)])

    broker = coordinator(
        ListOffsets=[
            answer((0, 5, Code.NONE), (1, -1, Code.NOT_LEADER_OR_FOLLOWER), (2, -1, Code.TOPIC_AUTHORIZATION_FAILED)),
            answer((1, 6, Code.NONE)),
        ]
    )
    async with connected(broker) as client:
        found = await list_offsets(client, dict.fromkeys([("t", 0), ("t", 1), ("t", 2)], -1))
    refused = found.pop(("t", 2))
    assert found == {("t", 0): 5, ("t", 1): 6}
    assert isinstance(refused, ApiError) and refused.code is Code.TOPIC_AUTHORIZATION_FAILED
    again = broker.asked("ListOffsets")[1]
    assert [each.partition_index for topic in again.topics for each in topic.partitions] == [1]
