"""Steps of the control plane, each alone: codec, dispatch, metadata apply, view projection, groups and offsets.

Run: `python -m pytest benchmarks/control`. Not a test: nothing here asserts a time, only that each step did its work.
"""

from __future__ import annotations

from typing import Any

import pytest

from cluster.handlers.dispatch import BROKER_HANDLERS
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.headers import decode_response
from tests.cluster.coordinator.group.world import World
from tests.cluster.handlers.fake import FakeContext, call, done
from tests.cluster.metadata.harness import Harness
from tests.cluster.metadata.test_view import Viewer

PARTITIONS = 10_000


def offset_commit(offset: int = 7) -> Any:
    """A commit of ten partitions, of a client that manages its partitions itself."""
    message = api("OffsetCommit").request
    rows = [
        message.OffsetCommitRequestPartition(partition_index=number, committed_offset=offset, committed_metadata="")
        for number in range(10)
    ]
    return message(group_id="group", topics=[message.OffsetCommitRequestTopic(name="t", partitions=rows)])


def test_encode_a_request_of_ten_partitions(benchmark: Any) -> None:
    message, request = api("OffsetCommit").request, offset_commit()
    assert benchmark(message.encode, request, 8)


def test_decode_a_request_of_ten_partitions(benchmark: Any) -> None:
    message = api("OffsetCommit").request
    data = message.encode(offset_commit(), 8)
    assert len(benchmark(message.decode, data, 8).topics[0].partitions) == 10


@pytest.fixture(scope="module")
def wide() -> FakeContext:
    """A broker that knows one topic of very many partitions, and a small one."""
    context = FakeContext(2)
    context.harness.made("wide", assignments={number: [1, 2] for number in range(PARTITIONS)})
    context.harness.made("small", assignments={0: [1, 2]})
    return context


def metadata_of(name: str) -> Any:
    message = api("Metadata").request
    return call("Metadata", 12, topics=[message.MetadataRequestTopic(name=name)])


@pytest.mark.parametrize(("name", "partitions"), [("small", 1), ("wide", PARTITIONS)])
def test_answer_metadata(benchmark: Any, wide: FakeContext, name: str, partitions: int) -> None:
    """From the decoded request to the bytes of the answer's body."""
    asked = metadata_of(name)
    message = api("Metadata").response

    def answer() -> bytes:
        return message.encode(done(BROKER_HANDLERS["Metadata"](wide, asked)), 12)

    assert len(message.decode(benchmark(answer), 12).topics[0].partitions) == partitions


def test_answer_api_versions(benchmark: Any, wide: FakeContext) -> None:
    asked = call("ApiVersions", 3, client_software_name="bench", client_software_version="1")
    message = api("ApiVersions").response
    body = benchmark(lambda: message.encode(done(BROKER_HANDLERS["ApiVersions"](wide, asked)), 3))
    assert decode_response(api("ApiVersions"), 3, bytes(4) + body)[1].api_keys


def test_answer_describe_configs_of_a_topic(benchmark: Any, wide: FakeContext) -> None:
    message = api("DescribeConfigs")
    resource = message.request.DescribeConfigsResource(resource_type=2, resource_name="small")
    asked = call("DescribeConfigs", 4, resources=[resource])
    body = benchmark(lambda: message.response.encode(done(BROKER_HANDLERS["DescribeConfigs"](wide, asked)), 4))
    assert message.response.decode(body, 4).results[0].configs


@pytest.fixture(scope="module")
def harness() -> Harness:
    made = Harness(2)
    made.made("wide", assignments={number: [1, 2] for number in range(PARTITIONS)})
    return made


def test_decide_and_apply_a_change_of_one_isr_among_ten_thousand(benchmark: Any, harness: Harness) -> None:
    isrs = [[1, 2], [1]]

    def change() -> None:
        isrs.reverse()
        harness.alter_isr("wide", isrs[0], index=4711)

    benchmark.pedantic(change, rounds=200, warmup_rounds=2)
    assert harness.partition("wide", 4711).isr == tuple(isrs[0])


def test_project_a_change_of_one_isr_among_ten_thousand(benchmark: Any) -> None:
    harness = Harness(2)
    harness.made("wide", assignments={number: [1, 2] for number in range(PARTITIONS)})
    viewer = Viewer(harness, 1)
    viewer.look()
    isrs = [[1, 2], [1]]

    def prepare() -> tuple[tuple[Any], dict[str, Any]]:
        isrs.reverse()
        harness.alter_isr("wide", isrs[0], index=4711)
        return (harness.controller.state.image.take_delta(),), {}

    view = benchmark.pedantic(viewer.projector.project, setup=prepare, rounds=200)
    assert [partition.partition for partition in view.partitions] == [4711]


def test_commit_offsets_of_ten_partitions(benchmark: Any) -> None:
    """Decide, encode records, append to a log in memory, apply, answer."""
    world = World()
    world.ask("OffsetCommit", 8, body=offset_commit())
    answer = benchmark.pedantic(
        lambda body: world.ask("OffsetCommit", 8, body=body), setup=lambda: ((offset_commit(len(world.log)),), {}), rounds=500
    )
    assert all(row.error_code == 0 for row in answer.topics[0].partitions)


def test_heartbeat_of_a_consumer_group_member(benchmark: Any) -> None:
    world = World()
    joined = world.ask(
        "ConsumerGroupHeartbeat", group_id="g", member_id="m", member_epoch=0, rebalance_timeout_ms=60_000,
        topic_partitions=[], subscribed_topic_names=["t"],
    )  # fmt: skip
    assert joined.error_code == 0

    def beat() -> Any:
        return world.ask("ConsumerGroupHeartbeat", group_id="g", member_id="m", member_epoch=joined.member_epoch)

    assert benchmark(beat).error_code == 0
