from __future__ import annotations

from typing import Any

import pytest

from pykafkacore.client import Codec, Record, open_producer
from pykafkacore.client.producer import Producer, murmur2
from pykafkacore.client.records import Batch, decode_batches
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import ApiError, Code
from tests.client.fake_broker import FakeBroker, metadata_answer, run
from tests.client.test_client import ONE, PRODUCE, cluster


def broker_with(partitions: int = 2, errors: list[int] | None = None) -> FakeBroker:
    broker = FakeBroker(1)
    left = list(errors or [])
    broker.handlers["Metadata"] = lambda body, version: metadata_answer(
        {1: ONE}, {"t": {partition: 1 for partition in range(partitions)}}
    )
    ids = iter(range(100, 200))
    broker.handlers["InitProducerId"] = lambda body, version: api("InitProducerId").response(
        producer_id=next(ids), producer_epoch=0
    )

    def produce(body: Any, version: int) -> Any:
        index = body.topic_data[0].partition_data[0].index
        answer = PRODUCE.PartitionProduceResponse(index=index, error_code=left.pop(0) if left else 0, base_offset=0)
        return PRODUCE(responses=[PRODUCE.TopicProduceResponse(name="t", partition_responses=[answer])])

    broker.handlers["Produce"] = produce
    return broker


def batches(broker: FakeBroker) -> list[tuple[int, Batch]]:
    found = []
    for body in broker.asked("Produce"):
        data = body.topic_data[0].partition_data[0]
        found += [(data.index, batch) for batch in decode_batches(data.records)]
    return found


@run
async def test_records_are_gathered_into_one_batch_per_partition() -> None:
    broker = broker_with()
    async with (
        cluster({ONE: broker}) as client,
        open_producer(client, now_ms=lambda: 5, codec=Codec.GZIP) as producer,
    ):
        for number in range(6):
            await producer.send("t", b"%d" % number, headers=(("h", b"x"),))
        assert broker.asked("Produce") == []
    found = dict(batches(broker))
    assert [record.value for record in found[0].records] == [b"0", b"2", b"4"]
    assert [record.value for record in found[1].records] == [b"1", b"3", b"5"]
    assert found[0].records[0] == Record(b"0", None, (("h", b"x"),), 5, 0)
    assert found[0].codec is Codec.GZIP


@run
async def test_the_same_key_goes_to_the_same_partition() -> None:
    broker = broker_with(partitions=7)
    async with cluster({ONE: broker}) as client, open_producer(client) as producer:
        for _ in range(5):
            await producer.send("t", b"v", key=b"foobar")
    ((partition, batch),) = batches(broker)
    assert partition == (murmur2(b"foobar") & 0x7FFFFFFF) % 7
    assert len(batch.records) == 5


@run
async def test_a_full_buffer_is_sent_at_once() -> None:
    broker = broker_with()
    async with cluster({ONE: broker}) as client, open_producer(client) as producer:
        await producer.send("t", bytes(70_000), partition=1)
        assert len(broker.asked("Produce")) == 1


@run
async def test_sequences_follow_one_another_per_partition() -> None:
    broker = broker_with()
    async with cluster({ONE: broker}) as client:
        producer = Producer(client)
        await producer.produce("t", 0, [Record(b"a"), Record(b"b")])
        await producer.produce("t", 0, [Record(b"c")])
        await producer.produce("t", 1, [Record(b"d")])
    found = [(p, batch.producer_id, batch.producer_epoch, batch.base_sequence) for p, batch in batches(broker)]
    assert found == [(0, 100, 0, 0), (0, 100, 0, 2), (1, 100, 0, 0)]


@run
async def test_a_retry_sends_the_same_sequence() -> None:
    broker = broker_with(errors=[Code.NOT_ENOUGH_REPLICAS_AFTER_APPEND])
    async with cluster({ONE: broker}) as client:
        await Producer(client).produce("t", 0, [Record(b"a")])
    assert [batch.base_sequence for _, batch in batches(broker)] == [0, 0]


@run
async def test_after_a_failure_the_producer_gets_a_new_id() -> None:
    broker = broker_with(errors=[Code.MESSAGE_TOO_LARGE])
    async with cluster({ONE: broker}) as client:
        producer = Producer(client)
        with pytest.raises(ApiError):
            await producer.produce("t", 0, [Record(b"a")])
        await producer.produce("t", 0, [Record(b"b")])
    assert [(batch.producer_id, batch.base_sequence) for _, batch in batches(broker)] == [(100, 0), (101, 0)]


@run
async def test_a_flush_raises_what_was_refused_and_sends_the_rest() -> None:
    broker = broker_with(errors=[Code.MESSAGE_TOO_LARGE])
    async with cluster({ONE: broker}) as client:
        producer = Producer(client, is_idempotent=False)
        await producer.send("t", b"a")
        await producer.send("t", b"b")
        with pytest.raises(ApiError, match="MESSAGE_TOO_LARGE"):
            await producer.flush()
        await producer.flush()
    assert {partition for partition, _ in batches(broker)} == {0, 1}
    assert len(batches(broker)) == 2


@run
async def test_without_idempotence_no_producer_id_is_asked_for() -> None:
    broker = broker_with()
    async with cluster({ONE: broker}) as client:
        await Producer(client, is_idempotent=False, acks=1).produce("t", 0, [Record(b"a")])
    assert broker.asked("InitProducerId") == []
    assert batches(broker)[0][1].producer_id == -1


def test_an_idempotent_producer_needs_all_acknowledgements() -> None:
    with pytest.raises(ValueError, match="acks=-1"):
        Producer(None, acks=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_the_hash_of_kafkas_clients(data: bytes, signed: int) -> None:
    assert murmur2(data) == signed & 0xFFFFFFFF
