"""Where a group or a transaction is kept."""

from __future__ import annotations

import pytest

from cluster.coordinator import values
from cluster.coordinator.group import offset_rules
from cluster.coordinator.group.records import offset_tombstone
from cluster.coordinator.values import KEPT_LENGTH_MAX
from cluster.handlers import coordination
from pykafkacore.protocol.errors import Code
from pykafkacore.protocol.schemas import groups as schemas
from tests.cluster.coordinator.group.world import World
from tests.cluster.handlers.fake import FakeContext, call, done


@pytest.mark.parametrize(
    ("text", "value"), [("", 0), ("a", 97), ("hello", 99162322), ("é", 233), ("😀", 1772899)]
)
def test_the_hash_is_the_one_of_java(text: str, value: int) -> None:
    assert coordination.java_hash(text) == value


def test_the_one_hash_without_an_absolute_value_counts_as_0() -> None:
    assert coordination.java_hash("polygenelubricants") == -(2**31)
    assert coordination.partition_of("polygenelubricants", 50) == 0


def test_what_is_made_of_a_long_name_is_not_remembered() -> None:
    kept = (coordination.java_hash, values._encoded_key, offset_rules._kept_answer)
    for length, more in ((KEPT_LENGTH_MAX, 1), (KEPT_LENGTH_MAX + 1, 0)):
        name = "n" * length
        for each in kept:
            each.cache_clear()
        assert coordination.partition_of(name, 50) == abs(coordination.java_hash.__wrapped__(name)) % 50
        assert values.encode(offset_tombstone(name, "t", 0)) == values.encode(offset_tombstone(name, "t", 0))
        world = World()
        topic = schemas.OFFSET_COMMIT_REQUEST.OffsetCommitRequestTopic(name=name, partitions=[])
        world.ask("OffsetCommit", 8, group_id="g", topics=[topic])
        assert [each.cache_info().currsize for each in kept] == [more] * 3


def found(ctx: FakeContext, api_version: int, key: str, key_type: int = 0):
    fields = {"coordinator_keys": [key]} if api_version >= 4 else {"key": key}
    answer = done(coordination.find_coordinator(ctx, call("FindCoordinator", api_version, key_type=key_type, **fields)))
    return answer.coordinators[0] if api_version >= 4 else answer


def test_the_topic_of_groups_is_made_when_somebody_first_asks() -> None:
    ctx = FakeContext(offsets_topic_num_partitions="3", offsets_topic_replication_factor="1")
    assert (found(ctx, 4, "g").error_code, found(ctx, 4, "g").node_id) == (Code.NONE, 1)
    assert len(ctx.image.topic_named("__consumer_offsets").partitions) == 3
    assert len(ctx.controller.asked) == 1


def test_success_is_spelt_out_below_version_4() -> None:
    ctx = FakeContext(offsets_topic_replication_factor="1")
    assert (found(ctx, 3, "g").error_message, found(ctx, 4, "g").error_message) == ("NONE", "")


@pytest.mark.parametrize(("api_version", "key_type"), [(3, 3), (4, -1), (5, 2)])
def test_a_kind_of_key_that_the_version_does_not_know_is_refused(api_version: int, key_type: int) -> None:
    answer = found(FakeContext(), api_version, "x", key_type)
    assert (answer.error_code, answer.node_id, answer.host, answer.port) == (Code.INVALID_REQUEST, -1, "", -1)


def test_too_few_brokers_for_the_topic_are_told() -> None:
    assert found(FakeContext(offsets_topic_replication_factor="3"), 4, "g").error_code == Code.INVALID_REPLICATION_FACTOR
