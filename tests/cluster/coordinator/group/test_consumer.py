"""Groups of the consumer protocol (KIP-848), in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.coordinator.group.settings import ConsumerSettings
from cluster.coordinator.group.shard import AssignmentComputed, MetadataIs
from cluster.coordinator.group.topics import GroupTopics
from pykafkacore.protocol.errors import ApiError, Code
from pykafkacore.protocol.schemas import groups as schemas
from tests.cluster.coordinator.group.world import ClassicMember, World, commit, committed, form, image, match, topic_id


@pytest.fixture
def world() -> World:
    return World()


class Member:
    """A client of the consumer protocol: takes what it is told, and gives back what it is asked for."""

    def __init__(self, world: World, name: str, topics: tuple[str, ...] = ("t",), group: str = "g", **fields: Any) -> None:
        self.world, self.name, self.group, self.fields = world, name, group, fields
        self.topics = topics
        self.epoch = 0
        self.owned: dict[bytes, set[int]] = {}
        self.told: dict[bytes, set[int]] = {}

    def send(self, **changes: Any) -> Any:
        fields: dict[str, Any] = {"group_id": self.group, "member_id": self.name, "member_epoch": self.epoch}
        if self.epoch == 0:
            fields |= {"rebalance_timeout_ms": 60_000, "topic_partitions": [], **self.fields}
            if "subscribed_topic_regex" not in fields:
                fields["subscribed_topic_names"] = list(self.topics)
        if "instance_id" in self.fields:
            fields["instance_id"] = self.fields["instance_id"]
        return self.world.ask("ConsumerGroupHeartbeat", **{**fields, **changes})

    def beat(self, says_owned: bool = True, **changes: Any) -> Any:
        """One heartbeat; the client then does what it was told. Gives the response, or an error code."""
        if says_owned and self.epoch > 0 and self.owned != self.told:
            # It was asked to give back, has, and says so.
            self.owned = {t: set(ps) for t, ps in self.told.items()}
            row = schemas.CONSUMER_GROUP_HEARTBEAT_REQUEST.TopicPartitions
            changes["topic_partitions"] = [row(topic_id=t, partitions=sorted(p)) for t, p in self.owned.items()]
        answer = self.send(**changes)
        if isinstance(answer, ApiError):
            return int(answer.code)
        self.epoch = answer.member_epoch
        if answer.assignment is not None:
            self.told = {row.topic_id: set(row.partitions) for row in answer.assignment.topic_partitions}
            if all(ps <= self.told.get(t, set()) for t, ps in self.owned.items()):
                self.owned = {t: set(ps) for t, ps in self.told.items()}
        return answer

    def partitions(self, topic: str = "t") -> set[int]:
        return self.owned.get(topic_id(topic), set())


def settle(world: World, *members: Member, rounds: int = 6) -> None:
    for _ in range(rounds):
        for member in members:
            assert not isinstance(member.beat(), int)
        check_owners(*members)


def check_owners(*members: Member) -> None:
    """No partition has two owners, at any moment."""
    owned = [(t, p) for member in members for t, ps in member.owned.items() for p in ps]
    assert len(owned) == len(set(owned)), "a partition has two owners"


def describe(world: World, group: str = "g") -> Any:
    return world.ask("ConsumerGroupDescribe", body=group)


def test_the_first_member_gets_everything_at_once(world: World) -> None:
    a = Member(world, "a")
    answer = a.beat()
    assert (answer.member_id, answer.member_epoch, answer.heartbeat_interval_ms) == ("a", 1, 5000)
    assert a.partitions() == {0, 1, 2, 3}
    assert describe(world).group_state == "Stable"


def test_an_old_client_is_given_a_name(world: World) -> None:
    answer = world.ask(
        "ConsumerGroupHeartbeat", 0, group_id="g", member_id="", member_epoch=0, rebalance_timeout_ms=1000,
        topic_partitions=[], subscribed_topic_names=["t"],
    )  # fmt: skip
    assert answer.member_id.startswith("id")


def test_a_newcomer_gets_its_share_once_it_is_given_back(world: World) -> None:
    a, b = Member(world, "a"), Member(world, "b")
    a.beat()
    b.beat()
    assert (b.epoch, b.partitions()) == (2, set()), "a still has everything"
    a.beat()
    assert (a.epoch, len(a.told[topic_id("t")])) == (1, 2), "asked to give back, in its old epoch"
    b.beat()
    assert b.partitions() == set()
    a.beat()
    assert a.epoch == 2
    b.beat()
    assert len(a.partitions()) == len(b.partitions()) == 2
    assert describe(world).group_state == "Stable"


def test_a_heartbeat_that_changes_nothing_writes_nothing(world: World) -> None:
    a = Member(world, "a")
    a.beat()
    length = len(world.log)
    for _ in range(5):
        assert a.beat().assignment is None
    assert len(world.log) == length


def test_who_leaves_frees_its_partitions(world: World) -> None:
    a, b = Member(world, "a"), Member(world, "b")
    settle(world, a, b)
    answer = b.send(member_epoch=-1)
    assert (answer.error_code, answer.member_epoch) == (0, -1)
    settle(world, a)
    assert a.partitions() == {0, 1, 2, 3}
    a.send(member_epoch=-1)
    assert describe(world).group_state == "Empty"


def test_who_is_silent_is_out(world: World) -> None:
    a, b = Member(world, "a"), Member(world, "b")
    settle(world, a, b)
    world.pass_ms(30_000)
    settle(world, a)
    world.pass_ms(20_000)
    settle(world, a)
    assert a.partitions() == {0, 1, 2, 3}
    assert b.beat() == Code.UNKNOWN_MEMBER_ID


def test_who_does_not_give_back_in_time_is_out(world: World) -> None:
    a, b = Member(world, "a", rebalance_timeout_ms=10_000), Member(world, "b")
    a.beat(), b.beat()
    for _ in range(12):
        a.beat(says_owned=False)
        world.pass_ms(1_000)
    assert a.beat() == Code.UNKNOWN_MEMBER_ID
    settle(world, b)
    assert b.partitions() == {0, 1, 2, 3}


def test_a_change_of_subscription_moves_partitions(world: World) -> None:
    a = Member(world, "a")
    settle(world, a)
    a.beat(subscribed_topic_names=["t", "u"])
    settle(world, a)
    assert (len(a.partitions("t")), len(a.partitions("u"))) == (4, 4)
    a.beat(subscribed_topic_names=["u"])
    settle(world, a)
    assert (a.partitions("t"), len(a.partitions("u"))) == (set(), 4)


def test_new_partitions_and_topics_are_taken_up(world: World) -> None:
    a = Member(world, "a", ("t", "new"))
    settle(world, a)
    world.submit(MetadataIs(GroupTopics(image({"t": 6, "u": 4, "new": 1}, offset=2), match)))
    settle(world, a)
    assert (a.partitions("t"), a.partitions("new")) == ({0, 1, 2, 3, 4, 5}, {0})


def test_a_pattern_subscribes_to_what_matches_now_and_later(world: World) -> None:
    a = Member(world, "a", subscribed_topic_regex="[tv].*")
    settle(world, a)
    assert (len(a.partitions("t")), a.partitions("u")) == (4, set())
    world.topics = GroupTopics(image({"t": 4, "u": 4, "v1": 2}, offset=2), match)
    world.submit(MetadataIs(world.topics))
    settle(world, a)
    assert len(a.partitions("v1")) == 2
    world.reload()
    settle(world, a)
    assert len(a.partitions("v1")) == 2


def test_a_pattern_that_is_none_is_refused(world: World) -> None:
    assert Member(world, "a", subscribed_topic_regex="[").beat() == Code.INVALID_REGULAR_EXPRESSION


def test_the_assignor_that_most_ask_for_is_used(world: World) -> None:
    a, b = Member(world, "a", server_assignor="range"), Member(world, "b", server_assignor="range")
    settle(world, a, b)
    assert (a.partitions(), b.partitions()) == ({0, 1}, {2, 3})
    assert describe(world).assignor_name == "range"
    assert Member(world, "c", server_assignor="best").beat() == Code.UNSUPPORTED_ASSIGNOR


# --- epochs -----------------------------------------------------------------------------------------------------------------


def test_epochs_that_are_not_the_members_own_are_refused(world: World) -> None:
    a, b = Member(world, "a"), Member(world, "b")
    settle(world, a, b)
    epoch = a.epoch
    assert a.beat(member_epoch=epoch + 1) == Code.FENCED_MEMBER_EPOCH
    assert a.beat(member_epoch=epoch - 1) == Code.FENCED_MEMBER_EPOCH
    assert Member(world, "x").beat(member_epoch=3, topic_partitions=None) == Code.UNKNOWN_MEMBER_ID
    assert Member(world, "x", group="none").beat(member_epoch=3, topic_partitions=None) == Code.GROUP_ID_NOT_FOUND


def test_an_answer_that_was_lost_is_told_again(world: World) -> None:
    a, b = Member(world, "a"), Member(world, "b")
    a.beat(), b.beat(), a.beat()
    before, had = a.epoch, {t: set(p) for t, p in a.told.items()}
    a.beat()
    assert a.epoch == before + 1
    row = schemas.CONSUMER_GROUP_HEARTBEAT_REQUEST.TopicPartitions
    rows = [row(topic_id=t, partitions=sorted(p)) for t, p in had.items()]
    answer = a.send(member_epoch=before, topic_partitions=rows)
    assert answer.member_epoch == before + 1


def test_a_member_may_join_again_and_is_told_everything(world: World) -> None:
    a = Member(world, "a")
    settle(world, a)
    a.epoch, a.owned = 0, {}
    assert a.beat().error_code == 0
    assert a.partitions() == {0, 1, 2, 3}


@pytest.mark.parametrize(
    "fields",
    [
        {"group_id": ""},
        {"member_id": ""},
        {"rebalance_timeout_ms": -1},
        {"topic_partitions": None},
        {"topic_partitions": [schemas.CONSUMER_GROUP_HEARTBEAT_REQUEST.TopicPartitions(topic_id=topic_id("t"))]},
        {"subscribed_topic_names": None},
        {"instance_id": ""},
        {"rack_id": ""},
        {"member_epoch": -2},
        {"member_epoch": -3},
    ],
    ids=str,
)
def test_a_request_that_makes_no_sense_is_refused(world: World, fields: dict[str, Any]) -> None:
    assert Member(world, "a").beat(**fields) == Code.INVALID_REQUEST


# --- static members -----------------------------------------------------------------------------------------------------------


def test_a_static_member_that_was_away_gets_its_own_back(world: World) -> None:
    a, b = Member(world, "a", instance_id="one"), Member(world, "b")
    settle(world, a, b)
    had = a.partitions()
    assert a.send(member_epoch=-2).member_epoch == -2
    settle(world, b)
    assert len(b.partitions()) == 2, "its place is kept"
    group_epoch = describe(world).group_epoch
    back = Member(world, "a2", instance_id="one")
    settle(world, back, b)
    assert back.partitions() == had
    assert describe(world).group_epoch == group_epoch, "nobody else is disturbed"
    assert a.beat() == Code.FENCED_INSTANCE_ID


def test_an_instance_that_is_held_is_not_given_to_another(world: World) -> None:
    a = Member(world, "a", instance_id="one")
    settle(world, a)
    assert Member(world, "b", instance_id="one").beat() == Code.UNRELEASED_INSTANCE_ID


def test_a_static_member_that_stays_away_too_long_is_out(world: World) -> None:
    a, b = Member(world, "a", instance_id="one"), Member(world, "b")
    settle(world, a, b)
    a.send(member_epoch=-2)
    for _ in range(5):
        world.pass_ms(10_000)
        settle(world, b)
    assert b.partitions() == {0, 1, 2, 3}


# --- the log --------------------------------------------------------------------------------------------------------------------


def test_a_group_is_the_same_after_a_reload_at_any_moment(world: World) -> None:
    a, b, c = Member(world, "a"), Member(world, "b"), Member(world, "c")
    a.beat()
    for member in (b, a, b, a, c, b, a, c, b, a, c, b, a, c, b, a):
        before = describe(world)
        world.reload()
        assert describe(world) == before
        assert not isinstance(member.beat(), int)
        check_owners(a, b, c)
    assert sorted(len(member.partitions()) for member in (a, b, c)) == [1, 1, 2]


def test_deleting_an_empty_group_leaves_nothing(world: World) -> None:
    a = Member(world, "a")
    settle(world, a)
    assert world.ask("DeleteGroups", body="g") == Code.NON_EMPTY_GROUP
    a.send(member_epoch=-1)
    assert world.ask("DeleteGroups", body="g") == 0
    world.reload()
    assert world.shard.groups == {}


# --- offsets and the classic protocol -------------------------------------------------------------------------------------------


def test_only_members_in_their_epoch_commit(world: World) -> None:
    a = Member(world, "a")
    settle(world, a)
    fields = {"member_id": "a", "generation_id_or_member_epoch": a.epoch}
    assert commit(world, "g", 5, **fields) == 0
    assert commit(world, "g", 6, version=8, **fields) == Code.UNSUPPORTED_VERSION
    assert commit(world, "g", 6, member_id="x", generation_id_or_member_epoch=1) == Code.UNKNOWN_MEMBER_ID
    assert commit(world, "g", 6, member_id="a", generation_id_or_member_epoch=9) == Code.STALE_MEMBER_EPOCH
    assert committed(world, "g") == 5


def test_an_older_epoch_commits_what_the_member_has_held_since(world: World) -> None:
    a, b = Member(world, "a"), Member(world, "b")
    a.beat()
    before = a.epoch
    settle(world, a, b)
    kept, given = min(a.partitions()), min(b.partitions())
    for partition, error in ((kept, 0), (given, Code.STALE_MEMBER_EPOCH)):
        request = schemas.OFFSET_COMMIT_REQUEST
        row = request.OffsetCommitRequestPartition(partition_index=partition, committed_offset=3, committed_metadata="")
        topic = request.OffsetCommitRequestTopic(topic_id=topic_id("t"), name="t", partitions=[row])
        body = request(group_id="g", member_id="a", generation_id_or_member_epoch=before, topics=[topic])
        answer = world.ask("OffsetCommit", 10, body=body)
        assert answer.topics[0].partitions[0].error_code == error


def test_an_empty_classic_group_becomes_a_consumer_group_and_back(world: World) -> None:
    classic = ClassicMember(world)
    form(classic)
    classic.commit(7)
    classic.leave()
    a = Member(world, "a")
    settle(world, a)
    assert committed(world, "g") == 7
    world.reload()
    assert describe(world).group_state == "Stable"
    a.send(member_epoch=-1)
    again = ClassicMember(world)
    form(again)
    assert committed(world, "g") == 7
    world.reload()
    assert again.heartbeat() == 0


def test_groups_are_listed_and_described_by_their_kind(world: World) -> None:
    settle(world, Member(world, "a"))
    listed = world.ask("ListGroups", body=schemas.LIST_GROUPS_REQUEST(types_filter=["Consumer"]))
    assert [(g.group_id, g.group_state, g.group_type) for g in listed] == [("g", "Stable", "consumer")]
    told = world.ask("DescribeGroups", body="g")
    assert (told.error_code, told.group_state) == (Code.GROUP_ID_NOT_FOUND, "Dead")
    assert describe(world, "none").error_code == Code.GROUP_ID_NOT_FOUND


# --- assignors of users ---------------------------------------------------------------------------------------------------


class Users:
    """Somebody's own assignor: the host runs it."""

    name = "users"


def users_world() -> World:
    from cluster.rebalance.uniform import UniformAssignor

    world = World(assignors=(UniformAssignor(), Users()))
    world.consumer_settings = ConsumerSettings(assignment_interval_ms=0)
    return world


def test_a_users_assignor_is_asked_aside_and_its_word_taken() -> None:
    world = users_world()
    a = Member(world, "a", server_assignor="users")
    a.beat()
    [job] = world.performed
    assert a.partitions() == set()
    assert world.submit(AssignmentComputed(job, {"a": {topic_id("t"): [1, 2]}})) is None
    settle(world, a)
    assert a.partitions() == {1, 2}


@pytest.mark.parametrize("nonsense", [None, {"b": {}}, {"a": {topic_id("t"): [9]}}, RuntimeError("no idea")], ids=str)
def test_an_assignor_that_fails_leaves_its_group_and_every_other_as_they_are(nonsense: Any) -> None:
    world = users_world()
    other = Member(world, "o", group="other")
    settle(world, other)
    a = Member(world, "a", server_assignor="users")
    a.beat()
    [job] = world.performed
    assert world.submit(AssignmentComputed(job, nonsense))
    assert not isinstance(a.beat(), int)
    assert not isinstance(other.beat(), int)
    assert other.partitions() == {0, 1, 2, 3}
