"""Groups and transactions over two brokers: coordinators, partitions and offsets stand on different nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.nodes import Cluster

pytestmark = [pytest.mark.e2e, pytest.mark.compat]

PARTITIONS = 4
ONE_REPLICA = {
    "transaction_state_log_replication_factor": "1",
    "transaction_state_log_min_isr": "1",
    "transaction_state_log_num_partitions": "6",
    "offsets_topic_num_partitions": "6",
    "group_initial_rebalance_delay_ms": "0",
}


def read(bootstrap: str, topic: str, level: str) -> list[str]:
    from confluent_kafka import Consumer, KafkaError, TopicPartition

    config = {"bootstrap.servers": bootstrap, "group.id": "reader", "isolation.level": level}
    consumer = Consumer({**config, "enable.partition.eof": True, "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, index, 0) for index in range(PARTITIONS)])
    found, ended = [], set()
    while len(ended) < PARTITIONS:
        message = consumer.poll(20)
        assert message is not None, f"nothing more comes, {ended} ended"
        if message.error():
            assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
            ended.add(message.partition())
        else:
            found.append(message.value().decode())
    consumer.close()
    return sorted(found)


def test_transactions_and_groups_span_brokers(tmp_path: Path) -> None:
    from confluent_kafka import Consumer, Producer, TopicPartition
    from confluent_kafka.admin import AdminClient, NewTopic

    with Cluster(tmp_path, 1, 2, **ONE_REPLICA) as cluster:
        bootstrap = cluster.bootstrap
        admin = AdminClient({"bootstrap.servers": bootstrap})
        for done in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in ("source", "target")]).values():
            done.result(20)
        leaders = {p.leader for p in admin.list_topics("target", 10).topics["target"].partitions.values()}
        assert leaders == {1, 2}, "the partitions stand on both brokers"
        filler = Producer({"bootstrap.servers": bootstrap})
        for number in range(40):
            filler.produce("source", str(number), partition=number % PARTITIONS)
        assert filler.flush(20) == 0
        # Four ids and four groups: their coordinators stand on either broker.
        for number in range(4):
            group = f"group-{number}"
            config = {"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest"}
            consumer = Consumer({**config, "enable.auto.commit": False, "isolation.level": "read_committed"})
            consumer.subscribe(["source"])
            producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"id-{number}"})
            producer.init_transactions(30)
            taken = 0
            for commits in (True, False):
                producer.begin_transaction()
                ends: dict[int, int] = {}
                batch = consumer.consume(10, 20)
                assert batch, "the group was given nothing"
                for message in batch:
                    assert not message.error(), message.error()
                    producer.produce("target", f"{commits}-{number}-{message.value().decode()}", partition=message.partition())
                    ends[message.partition()] = message.offset() + 1
                # What is aborted before it is sent would never stand in the log.
                assert producer.flush(30) == 0
                offsets = [TopicPartition("source", partition, offset) for partition, offset in ends.items()]
                producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 30)
                if commits:
                    producer.commit_transaction(30)
                    taken = sum(ends.values())
                else:
                    producer.abort_transaction(30)
            committed = consumer.committed([TopicPartition("source", index) for index in range(PARTITIONS)], 20)
            assert sum(max(0, each.offset) for each in committed) == taken
            consumer.close()
        committed_only = read(bootstrap, "target", "read_committed")
        everything = read(bootstrap, "target", "read_uncommitted")
        assert committed_only == [value for value in everything if value.startswith("True")]
        assert any(value.startswith("False") for value in everything)
        assert {value.split("-")[1] for value in committed_only} == {"0", "1", "2", "3"}
