"""Committed offsets: who may commit, what transactions hold back, what expires."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.coordinator.group.shard import EndTransaction, MarkerSeen, OffsetsOfTransaction, TopicsDeleted
from pykafkacore.protocol.errors import ApiError, Code
from pykafkacore.protocol.schemas import groups as schemas
from pykafkacore.protocol.schemas import transactions
from tests.cluster.coordinator.group.world import ClassicMember, World, commit, committed, form

DAY_MS = 86_400_000


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("indexes", [(0,), (1, 0), tuple(range(40))], ids=["one", "two", "more than are kept"])
def test_a_commit_is_told_of_each_of_its_places_in_order_and_again(world: World, indexes: tuple[int, ...]) -> None:
    request, response = schemas.OFFSET_COMMIT_REQUEST, schemas.OFFSET_COMMIT_RESPONSE

    def ask(group: str, metadata: str) -> list[Any]:
        row = request.OffsetCommitRequestPartition
        rows = [row(partition_index=index, committed_offset=1, committed_metadata=metadata) for index in indexes]
        topics = [request.OffsetCommitRequestTopic(name=name, partitions=rows) for name in ("t", "u")]
        told = []
        for asked in (topics[:1], topics):
            answer = response.decode(response.encode(world.ask("OffsetCommit", 8, group_id=group, topics=asked), 8), 8)
            told.append([(t.name, [(p.partition_index, p.error_code) for p in t.partitions]) for t in answer.topics])
        return told

    for group, metadata, code in (("g", "", 0), ("h", "", 0), ("g", "m" * 5000, Code.OFFSET_METADATA_TOO_LARGE), ("g", "", 0)):
        rows = [(index, int(code)) for index in indexes]
        assert ask(group, metadata) == [[("t", rows)], [("t", rows), ("u", rows)]]


def test_a_commit_without_a_group_makes_a_simple_one(world: World) -> None:
    assert commit(world, "g", 42) == 0
    assert committed(world, "g") == 42
    assert committed(world, "g", partition=1) == -1
    told = world.ask("DescribeGroups", body="g")
    assert (told.group_state, told.protocol_type) == ("Empty", "")
    world.reload()
    assert committed(world, "g") == 42


def test_only_members_of_this_generation_commit(world: World) -> None:
    a = ClassicMember(world)
    form(a)
    assert a.commit(5) == 0
    assert commit(world, "g", 6) == Code.UNKNOWN_MEMBER_ID
    assert commit(world, "g", 6, member_id=a.member_id, generation_id_or_member_epoch=9) == Code.ILLEGAL_GENERATION
    assert commit(world, "g", 6, member_id="x", generation_id_or_member_epoch=1) == Code.UNKNOWN_MEMBER_ID
    assert committed(world, "g") == 5


def test_a_generation_of_a_group_that_does_not_exist_is_refused_by_version(world: World) -> None:
    fields = {"member_id": "x", "generation_id_or_member_epoch": 1}
    assert commit(world, "none", 1, version=8, **fields) == Code.ILLEGAL_GENERATION
    assert commit(world, "none", 1, version=9, **fields) == Code.GROUP_ID_NOT_FOUND


def test_a_commit_keeps_the_session_alive(world: World) -> None:
    a = ClassicMember(world)
    form(a)
    for _ in range(5):
        world.pass_ms(9_000)
        assert a.commit(1) == 0


def test_metadata_has_a_limit(world: World) -> None:
    assert commit(world, "g", 1, metadata="m" * 4096) == 0
    assert commit(world, "g", 2, metadata="m" * 4097) == Code.OFFSET_METADATA_TOO_LARGE
    assert committed(world, "g") == 1


def test_all_offsets_of_a_group_are_fetched_at_once(world: World) -> None:
    commit(world, "g", 1), commit(world, "g", 2, partition=1), commit(world, "g", 3, topic="u")
    group = schemas.OFFSET_FETCH_REQUEST.OffsetFetchRequestGroup(group_id="g", topics=None)
    answer = world.ask("OffsetFetch", body=(group, False))
    found = {(t.name, p.partition_index): p.committed_offset for t in answer.topics for p in t.partitions}
    assert found == {("t", 0): 1, ("t", 1): 2, ("u", 0): 3}


# --- transactions -------------------------------------------------------------------------------------------------------


def commit_in_transaction(
    world: World, offset: int, producer_id: int = 9, epoch: int = 0, guard: int | None = None, **fields: Any
) -> int:
    request = transactions.TXN_OFFSET_COMMIT_REQUEST
    row = request.TxnOffsetCommitRequestPartition(partition_index=0, committed_offset=offset, committed_metadata="")
    body = request(
        transactional_id="tx", group_id="g", producer_id=producer_id, producer_epoch=epoch,
        topics=[request.TxnOffsetCommitRequestTopic(name="t", partitions=[row])], **fields,
    )  # fmt: skip
    if guard is None:
        guard = world.submit(MarkerSeen(producer_id))
    answer = world.ask("TxnOffsetCommit", 4, body=OffsetsOfTransaction(body, guard))
    return int(answer.code) if isinstance(answer, ApiError) else int(answer.topics[0].partitions[0].error_code)


def test_offsets_of_a_transaction_count_from_its_commit_on(world: World) -> None:
    commit(world, "g", 1)
    assert commit_in_transaction(world, 10) == 0
    assert committed(world, "g") == 1
    assert committed(world, "g", require_stable=True) == -2
    world.reload()
    assert committed(world, "g", require_stable=True) == -2
    world.submit(EndTransaction(9, 0, is_commit=True, coordinator_epoch=1))
    assert committed(world, "g", require_stable=True) == 10
    world.reload()
    assert committed(world, "g") == 10


def test_offsets_of_an_aborted_transaction_never_count(world: World) -> None:
    assert commit_in_transaction(world, 10) == 0
    world.submit(EndTransaction(9, 0, is_commit=False, coordinator_epoch=1))
    assert committed(world, "g", require_stable=True) == -1


def test_a_later_commit_outlives_the_transaction_that_was_open_then(world: World) -> None:
    commit_in_transaction(world, 10)
    commit(world, "g", 20)
    world.submit(EndTransaction(9, 0, is_commit=True, coordinator_epoch=1))
    assert committed(world, "g") == 20


def test_a_fenced_producer_commits_nothing_and_harms_nobody(world: World) -> None:
    commit_in_transaction(world, 10, epoch=5)
    assert commit_in_transaction(world, 11, epoch=4) == Code.INVALID_PRODUCER_EPOCH
    world.submit(EndTransaction(9, 6, is_commit=True, coordinator_epoch=1))
    assert commit_in_transaction(world, 12, epoch=5) == Code.INVALID_PRODUCER_EPOCH
    assert committed(world, "g") == 10


def test_offsets_that_were_verified_before_a_marker_come_too_late(world: World) -> None:
    commit_in_transaction(world, 10)
    guard = world.submit(MarkerSeen(9))
    world.submit(EndTransaction(9, 0, is_commit=True, coordinator_epoch=1))
    assert commit_in_transaction(world, 11, guard=guard) == Code.INVALID_TXN_STATE
    assert committed(world, "g", require_stable=True) == 10


# --- deletion and expiry ------------------------------------------------------------------------------------------------


def delete(world: World, topic: str = "t", group: str = "g") -> int:
    request = schemas.OFFSET_DELETE_REQUEST
    row = request.OffsetDeleteRequestPartition(partition_index=0)
    answer = world.ask(
        "OffsetDelete", group_id=group, topics=[request.OffsetDeleteRequestTopic(name=topic, partitions=[row])]
    )
    return int(answer.error_code or answer.topics[0].partitions[0].error_code)


def test_offsets_are_deleted_unless_a_member_subscribes_to_their_topic(world: World) -> None:
    a = ClassicMember(world, topics=("t",))
    form(a)
    a.commit(1), a.commit(2, topic="u")
    assert delete(world) == Code.GROUP_SUBSCRIBED_TO_TOPIC
    assert delete(world, "u") == 0
    assert committed(world, "g", "u") == -1
    assert delete(world, group="none") == Code.GROUP_ID_NOT_FOUND


def test_a_group_of_another_kind_of_protocol_must_be_empty_first(world: World) -> None:
    a = ClassicMember(world, protocol_type="connect")
    ticket = a.start_join()
    world.pass_ms(3000)
    a.take_join(ticket)
    assert delete(world) == Code.NON_EMPTY_GROUP


def test_only_empty_groups_are_deleted_with_all_that_is_theirs(world: World) -> None:
    a = ClassicMember(world)
    form(a)
    a.commit(1)
    assert world.ask("DeleteGroups", body="g") == Code.NON_EMPTY_GROUP
    a.leave()
    assert world.ask("DeleteGroups", body="g") == 0
    assert committed(world, "g") == -1
    assert world.ask("DeleteGroups", body="g") == Code.GROUP_ID_NOT_FOUND
    world.reload()
    assert world.ask("DeleteGroups", body="g") == Code.GROUP_ID_NOT_FOUND


def test_a_simple_groups_offsets_expire_by_their_own_age(world: World) -> None:
    commit(world, "g", 1)
    world.pass_ms(6 * DAY_MS)
    commit(world, "g", 2, partition=1)
    world.pass_ms(2 * DAY_MS)
    assert (committed(world, "g"), committed(world, "g", partition=1)) == (-1, 2)
    world.pass_ms(6 * DAY_MS)
    assert world.ask("DeleteGroups", body="g") == Code.GROUP_ID_NOT_FOUND


def test_an_empty_groups_offsets_expire_from_when_it_became_empty(world: World) -> None:
    a = ClassicMember(world, session_timeout_ms=1_800_000)
    form(a)
    a.commit(1)
    for _ in range(10 * 96):
        world.pass_ms(DAY_MS // 96)
        a.heartbeat()
    assert committed(world, "g") == 1, "a live group keeps what it subscribes to"
    a.leave()
    world.pass_ms(6 * DAY_MS)
    assert committed(world, "g") == 1
    world.pass_ms(2 * DAY_MS)
    assert committed(world, "g") == -1


def test_a_retention_of_its_own_counts_instead(world: World) -> None:
    assert commit(world, "g", 1, version=4, retention_time_ms=3_600_000) == 0
    world.pass_ms(DAY_MS)
    assert committed(world, "g") == -1


def test_pending_offsets_keep_their_group(world: World) -> None:
    commit_in_transaction(world, 10)
    world.pass_ms(30 * DAY_MS)
    assert committed(world, "g", require_stable=True) == -2


def test_offsets_of_a_deleted_topic_go_with_it(world: World) -> None:
    commit(world, "g", 1), commit(world, "g", 2, topic="u")
    world.submit(TopicsDeleted(frozenset({"t"})))
    assert (committed(world, "g"), committed(world, "g", "u")) == (-1, 2)


def test_groups_are_listed_by_state_and_type(world: World) -> None:
    form(ClassicMember(world, group="a"))
    commit(world, "b", 1)
    request = schemas.LIST_GROUPS_REQUEST

    def listed(**filters: Any) -> list[str]:
        return sorted(group.group_id for group in world.ask("ListGroups", body=request(**filters)))

    assert listed() == ["a", "b"]
    assert listed(states_filter=["stable"]) == ["a"]
    assert listed(types_filter=["Classic"], states_filter=["Empty"]) == ["b"]
    assert listed(types_filter=["consumer"]) == []
