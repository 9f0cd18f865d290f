from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from pykafkacore.client import (
    Client,
    ConnectionClosed,
    Record,
    alter_configs,
    create_partitions,
    create_topic,
    delete_topic,
    describe_cluster,
    describe_configs,
    open_client,
)
from pykafkacore.client.client import EARLIEST
from pykafkacore.client.records import encode_batch
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import ApiError, Code
from tests.client.fake_broker import HANG_UP, NO_ANSWER, FakeBroker, FakeNetwork, metadata_answer, run

ONE, TWO = ("one", 1), ("two", 2)
NODES = {1: ONE, 2: TWO}
TOPIC_ID = bytes(range(16))
PRODUCE, FETCH, LIST_OFFSETS = api("Produce").response, api("Fetch").response, api("ListOffsets").response


@asynccontextmanager
async def cluster(
    brokers: dict[tuple[str, int], FakeBroker], timeout_ms: int = 30_000, bootstrap: tuple[str, int] = ONE
) -> AsyncIterator[Client]:
    async with trio.open_nursery() as nursery:
        network = FakeNetwork(nursery, brokers)
        async with open_client([bootstrap], dial=network.dial, timeout_ms=timeout_ms) as client:
            yield client
        nursery.cancel_scope.cancel()


def two_brokers(leader_id: int = 2, **metadata: Any) -> dict[tuple[str, int], FakeBroker]:
    one, two = FakeBroker(1), FakeBroker(2)
    for broker in (one, two):
        broker.handlers["Metadata"] = lambda body, version: metadata_answer(NODES, {"t": {0: leader_id}}, **metadata)
    return {ONE: one, TWO: two}


def produced(error_code: int = 0, base_offset: int = 7) -> Any:
    answer = PRODUCE.PartitionProduceResponse(index=0, error_code=error_code, base_offset=base_offset)
    return PRODUCE(responses=[PRODUCE.TopicProduceResponse(name="t", partition_responses=[answer])])


def fetched(records: bytes | None = None, error_code: int = 0, **fields: Any) -> Any:
    answer = FETCH.PartitionData(partition_index=0, error_code=error_code, high_watermark=9, records=records)
    return FETCH(responses=[FETCH.FetchableTopicResponse(partitions=[answer])], **fields)


@run
async def test_metadata_is_read_from_whoever_answers() -> None:
    brokers = two_brokers()
    async with cluster(brokers) as client:
        metadata = await client.refresh_metadata()
        assert metadata.cluster_id == "c"
        assert metadata.controller_id == 1
        assert metadata.leader_of("t", 0) == 2
        assert metadata.leader_of("t", 1) is None
        assert brokers[ONE].asked("Metadata")[0].topics is None


@pytest.mark.parametrize("version", [0, 1, 4, 9, 13])
@run
async def test_all_versions_of_metadata_can_be_asked(version: int) -> None:
    brokers = two_brokers()
    brokers[ONE].max_versions = {"Metadata": version}
    async with cluster(brokers) as client:
        assert "t" in (await client.refresh_metadata()).topics
        assert "t" in (await client.refresh_metadata(["t"])).topics


@run
async def test_a_batch_goes_to_the_leader() -> None:
    brokers = two_brokers()
    brokers[TWO].handlers["Produce"] = [produced()]
    async with cluster(brokers) as client:
        assert (await client.produce("t", 0, b"batch")).base_offset == 7
    sent = brokers[TWO].asked("Produce")[0]
    assert sent.topic_data[0].name == "t"
    assert sent.topic_data[0].partition_data[0].records == b"batch"
    assert sent.acks == -1
    assert brokers[ONE].asked("Produce") == []


@run
async def test_a_topic_with_an_id_is_named_by_it() -> None:
    brokers = two_brokers(topic_ids={"t": TOPIC_ID})
    brokers[TWO].handlers["Produce"] = [produced()]
    brokers[TWO].handlers["Fetch"] = [fetched()]
    async with cluster(brokers) as client:
        await client.produce("t", 0, b"batch")
        await client.fetch("t", 0, 0)
    assert brokers[TWO].requests[-2][:2] == ("Produce", 13)
    assert brokers[TWO].asked("Produce")[0].topic_data[0].topic_id == TOPIC_ID
    assert brokers[TWO].asked("Fetch")[0].topics[0].topic_id == TOPIC_ID


@run
async def test_a_batch_without_acknowledgement_does_not_wait() -> None:
    brokers = two_brokers()
    brokers[TWO].handlers["Produce"] = [NO_ANSWER]
    async with cluster(brokers) as client:
        assert (await client.produce("t", 0, b"batch", acks=0)).base_offset == -1


@run
async def test_a_moved_leader_is_looked_up_again() -> None:
    brokers = two_brokers()
    one, two = brokers.values()
    one.handlers["Metadata"] = [metadata_answer(NODES, {"t": {0: 1}}), metadata_answer(NODES, {"t": {0: 2}})]
    one.handlers["Produce"] = [produced(Code.NOT_LEADER_OR_FOLLOWER)]
    two.handlers["Produce"] = [produced()]
    async with cluster(brokers) as client:
        assert (await client.produce("t", 0, b"batch")).base_offset == 7
    assert len(one.asked("Metadata")) == 2


@run
async def test_a_lost_connection_is_made_anew() -> None:
    brokers = two_brokers()
    brokers[TWO].handlers["Produce"] = [HANG_UP, produced()]
    async with cluster(brokers) as client:
        assert (await client.produce("t", 0, b"batch")).base_offset == 7
    assert brokers[TWO].connection_count == 2


@run
async def test_an_error_that_will_not_go_away_is_raised_at_once() -> None:
    brokers = two_brokers()
    brokers[TWO].handlers["Produce"] = [produced(Code.MESSAGE_TOO_LARGE)]
    async with cluster(brokers) as client:
        with pytest.raises(ApiError) as caught:
            await client.produce("t", 0, b"batch")
        assert caught.value.code is Code.MESSAGE_TOO_LARGE


@run
async def test_retries_end_with_the_time_and_name_the_last_error() -> None:
    brokers = two_brokers()
    brokers[TWO].handlers["Produce"] = lambda body, version: produced(Code.NOT_ENOUGH_REPLICAS)
    async with cluster(brokers, timeout_ms=5000) as client:
        start = trio.current_time()
        with pytest.raises(ApiError, match="gave up after 5000 ms; last: NOT_ENOUGH_REPLICAS") as caught:
            await client.produce("t", 0, b"batch")
        assert caught.value.code is Code.REQUEST_TIMED_OUT
        assert trio.current_time() - start == pytest.approx(5)
    assert 5 <= len(brokers[TWO].asked("Produce")) <= 20


@run
async def test_a_node_that_never_answers_does_not_hold_a_caller_for_ever() -> None:
    brokers = two_brokers()
    brokers[TWO].handlers["Produce"] = [NO_ANSWER]
    async with cluster(brokers, timeout_ms=3000) as client:
        with pytest.raises(ApiError, match="gave up after 3000 ms"):
            await client.produce("t", 0, b"batch")


@run
async def test_a_topic_without_leader_is_waited_for() -> None:
    brokers = two_brokers()
    one, two = brokers.values()
    one.handlers["Metadata"] = [
        metadata_answer(NODES, {"t": {}}, errors={"t": Code.UNKNOWN_TOPIC_OR_PARTITION}),
        metadata_answer(NODES, {"t": {0: -1}}),
        metadata_answer(NODES, {"t": {0: 2}}),
    ]
    two.handlers["Produce"] = [produced()]
    async with cluster(brokers) as client:
        assert (await client.produce("t", 0, b"batch")).base_offset == 7


@run
async def test_nobody_answering_is_said_with_every_address() -> None:
    async with cluster({}, timeout_ms=1000) as client:
        with pytest.raises(ApiError, match="one:1 cannot be reached: connection refused"):
            await client.refresh_metadata()
        with pytest.raises(ConnectionClosed):
            await client.any_connection()


@run
async def test_a_dead_bootstrap_node_is_replaced_by_a_known_one() -> None:
    brokers = two_brokers()
    brokers[TWO].handlers["Produce"] = [produced()]
    async with cluster(brokers) as client:
        await client.refresh_metadata()
        await client.connection_to(*TWO)
        brokers[ONE].is_down = True
        await (await client.connection_to(*ONE)).close()
        assert (await client.produce("t", 0, b"batch")).base_offset == 7
        assert "t" in (await client.refresh_metadata()).topics
    assert brokers[TWO].asked("Metadata")


@run
async def test_callers_share_one_connection() -> None:
    brokers = two_brokers()
    async with cluster(brokers) as client, trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(client.connection_to, *ONE)
    assert brokers[ONE].connection_count == 1


@run
async def test_errors_of_the_block_are_raised_as_they_are() -> None:
    with pytest.raises(KeyError):
        async with open_client([ONE]):
            raise KeyError("mine")


# ---- fetching


@run
async def test_a_fetch_gives_records_from_its_offset_on() -> None:
    batch = encode_batch([Record(b"a"), Record(b"b"), Record(b"c")], base_offset=5)
    brokers = two_brokers()
    brokers[TWO].handlers["Fetch"] = [fetched(batch)]
    async with cluster(brokers) as client:
        found = await client.fetch("t", 0, 6, read_committed=True)
    assert [(record.offset, record.value) for record in found.records] == [(6, b"b"), (7, b"c")]
    assert (found.high_watermark, found.next_offset) == (9, 8)
    assert brokers[TWO].asked("Fetch")[0].isolation_level == 1


@run
async def test_a_fetch_of_nothing_stays_where_it_is() -> None:
    brokers = two_brokers()
    brokers[TWO].handlers["Fetch"] = [fetched(None)]
    async with cluster(brokers) as client:
        found = await client.fetch("t", 0, 6)
    assert (found.records, found.next_offset) == ([], 6)


@run
async def test_a_fetch_outside_of_the_log_is_an_error() -> None:
    brokers = two_brokers()
    brokers[TWO].handlers["Fetch"] = [fetched(error_code=Code.OFFSET_OUT_OF_RANGE)]
    async with cluster(brokers) as client:
        with pytest.raises(ApiError, match="OFFSET_OUT_OF_RANGE: fetch of t-0 at 6"):
            await client.fetch("t", 0, 6)


@run
async def test_offsets_are_looked_up_at_the_leader() -> None:
    brokers = two_brokers()
    found = LIST_OFFSETS.ListOffsetsPartitionResponse(partition_index=0, offset=3)
    brokers[TWO].handlers["ListOffsets"] = [
        LIST_OFFSETS(topics=[LIST_OFFSETS.ListOffsetsTopicResponse(name="t", partitions=[found])])
    ]
    async with cluster(brokers) as client:
        assert await client.list_offset("t", 0, EARLIEST) == 3
    assert brokers[TWO].asked("ListOffsets")[0].topics[0].partitions[0].timestamp == -2


# ---- administration


@run
async def test_a_topic_is_created_at_the_controller() -> None:
    brokers = two_brokers(controller_id=2)
    response = api("CreateTopics").response
    brokers[TWO].handlers["CreateTopics"] = [
        response(topics=[response.CreatableTopicResult(name="t", error_code=41)]),
        response(topics=[response.CreatableTopicResult(name="t", topic_id=TOPIC_ID)]),
    ]
    async with cluster(brokers) as client:
        made = await create_topic(client, "t", num_partitions=3, replication_factor=1, configs={"retention.ms": "5"})
        assert made == TOPIC_ID
        await client.refresh_metadata()
        assert client.metadata.topic_id("t") == bytes(16)
    asked = brokers[TWO].asked("CreateTopics")[1].topics[0]
    assert (asked.name, asked.num_partitions, asked.replication_factor) == ("t", 3, 1)
    assert [(one.name, one.value) for one in asked.configs] == [("retention.ms", "5")]


@run
async def test_a_refused_topic_is_an_error_with_the_reason() -> None:
    brokers = two_brokers()
    response = api("CreateTopics").response
    result = response.CreatableTopicResult(name="t", error_code=36, error_message="t exists")
    brokers[ONE].handlers["CreateTopics"] = [response(topics=[result])]
    async with cluster(brokers) as client:
        with pytest.raises(ApiError, match="TOPIC_ALREADY_EXISTS: t exists"):
            await create_topic(client, "t", assignments={0: [1]})


@pytest.mark.parametrize("version", [1, 5, 6])
@run
async def test_a_topic_is_deleted_in_every_version(version: int) -> None:
    brokers = two_brokers()
    brokers[ONE].max_versions = {"DeleteTopics": version}
    response = api("DeleteTopics").response
    brokers[ONE].handlers["DeleteTopics"] = [response(responses=[response.DeletableTopicResult(name="t")])]
    async with cluster(brokers) as client:
        await delete_topic(client, "t")
    body = brokers[ONE].asked("DeleteTopics")[0]
    assert [one.name for one in body.topics] + body.topic_names == ["t"]


@run
async def test_partitions_are_added() -> None:
    brokers = two_brokers()
    response = api("CreatePartitions").response
    brokers[ONE].handlers["CreatePartitions"] = [
        response(results=[response.CreatePartitionsTopicResult(name="t", error_code=37, error_message="too few")])
    ]
    async with cluster(brokers) as client:
        with pytest.raises(ApiError, match="INVALID_PARTITIONS: too few"):
            await create_partitions(client, "t", 1, [[1]])
    assert brokers[ONE].asked("CreatePartitions")[0].topics[0].assignments[0].broker_ids == [1]


@run
async def test_configs_of_a_broker_are_asked_of_that_broker() -> None:
    brokers = two_brokers()
    response = api("DescribeConfigs").response
    entry = response.DescribeConfigsResourceResult(name="num.partitions", value="1")
    brokers[TWO].handlers["DescribeConfigs"] = [response(results=[response.DescribeConfigsResult(configs=[entry])])]
    async with cluster(brokers) as client:
        found = await describe_configs(client, "broker", "2", ["num.partitions"])
    assert found["num.partitions"].value == "1"
    assert brokers[TWO].asked("DescribeConfigs")[0].resources[0].resource_type == 4


@run
async def test_configs_are_set_and_removed() -> None:
    brokers = two_brokers()
    response = api("IncrementalAlterConfigs").response
    brokers[ONE].handlers["IncrementalAlterConfigs"] = [
        response(responses=[response.AlterConfigsResourceResponse(resource_type=2, resource_name="t")])
    ]
    async with cluster(brokers) as client:
        await alter_configs(client, "topic", "t", {"retention.ms": "5", "segment.ms": None})
    changes = brokers[ONE].asked("IncrementalAlterConfigs")[0].resources[0].configs
    assert [(one.name, one.config_operation, one.value) for one in changes] == [
        ("retention.ms", 0, "5"), ("segment.ms", 1, None),
    ]  # fmt: skip


@run
async def test_the_cluster_is_described() -> None:
    brokers = two_brokers()
    brokers[ONE].handlers["DescribeCluster"] = [api("DescribeCluster").response(cluster_id="c", controller_id=1)]
    async with cluster(brokers) as client:
        assert (await describe_cluster(client)).cluster_id == "c"
