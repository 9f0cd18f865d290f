from __future__ import annotations

from cluster.config.settings import BrokerSettings
from cluster.metadata.view import Projector
from cluster.plane.port import BrokerEndpoint, ViewDelta
from pykafkacore.protocol.apis import api
from tests.cluster.metadata.harness import STATIC, Harness, directory


class Viewer:
    """Broker `node_id`'s projection of what a harness commits."""

    def __init__(self, harness: Harness, node_id: int) -> None:
        self.harness = harness
        self.projector = Projector(node_id, BrokerSettings({**STATIC, "log.segment.bytes": "2000000"}), "PLAINTEXT")

    def look(self) -> ViewDelta:
        return self.projector.project(self.harness.controller.state.image.take_delta())


def test_a_hosted_topic_comes_with_its_settings_and_partitions() -> None:
    harness = Harness(3)
    topic_id = harness.made("t", assignments={0: [1, 2], 1: [2, 3]}, configs={"retention.ms": "5"})
    view = Viewer(harness, 1).look()
    [topic] = view.topics
    assert (topic.topic_id, topic.name) == (topic_id, "t")
    assert (topic.settings["retention_ms"], topic.settings["segment_bytes"]) == (5, 2000000)
    [partition] = view.partitions
    assert (partition.partition, partition.leader_id, partition.replicas) == (0, 1, (1, 2))
    assert partition.directory_id == directory(1)
    assert view.metadata_offset == len(harness.log)


def test_brokers_are_the_unfenced_ones_with_their_listener() -> None:
    harness = Harness(2, racks={2: "r"})
    harness.register(3)
    viewer = Viewer(harness, 1)
    assert viewer.look().brokers == (BrokerEndpoint(1, "host1", 9092, None), BrokerEndpoint(2, "host2", 9092, "r"))
    harness.made("t")
    assert viewer.look().brokers is None


def test_a_change_of_one_isr_shows_one_partition() -> None:
    harness = Harness(2)
    harness.made("t", assignments={index: [1, 2] for index in range(50)})
    viewer = Viewer(harness, 2)
    viewer.look()
    harness.alter_isr("t", [1], index=7)
    view = viewer.look()
    assert [(each.partition, each.isr, each.partition_epoch) for each in view.partitions] == [(7, (1,), 1)]
    assert not view.topics


def test_what_is_hosted_elsewhere_does_not_show() -> None:
    harness = Harness(2)
    viewer = Viewer(harness, 1)
    viewer.look()
    harness.made("t", assignments={0: [2]})
    view = viewer.look()
    assert not view.topics and not view.partitions


def test_a_partition_that_moved_away_shows_once_more_without_this_broker() -> None:
    harness = Harness(2)
    harness.made("t", assignments={0: [1, 2]})
    viewer = Viewer(harness, 1)
    viewer.look()
    message = api("AlterPartitionReassignments").request
    topic = message.ReassignableTopic(
        name="t", partitions=[message.ReassignablePartition(partition_index=0, replicas=[2])]
    )
    harness.ask("AlterPartitionReassignments", 1, topics=[topic])
    [partition] = viewer.look().partitions
    assert partition.replicas == (2,)


def test_a_changed_topic_config_shows_the_topic_alone() -> None:
    harness = Harness(1)
    harness.made("t")
    viewer = Viewer(harness, 1)
    viewer.look()
    harness.set_config(2, "t", ("retention.ms", 0, "9"))
    view = viewer.look()
    assert [topic.settings["retention_ms"] for topic in view.topics] == [9]
    assert not view.partitions


def test_a_changed_default_shows_every_hosted_topic() -> None:
    harness = Harness(2)
    harness.made("t", assignments={0: [1]})
    harness.made("u", assignments={0: [1]}, configs={"retention.ms": "4"})
    harness.made("v", assignments={0: [2]})
    viewer = Viewer(harness, 1)
    viewer.look()
    harness.set_config(4, "", ("log.retention.ms", 0, "8"))
    assert {topic.name: topic.settings["retention_ms"] for topic in viewer.look().topics} == {"t": 8, "u": 4}
    harness.set_config(4, "1", ("log.retention.ms", 0, "7"))
    assert {topic.name: topic.settings["retention_ms"] for topic in viewer.look().topics} == {"t": 7, "u": 4}


def test_a_removed_topic_is_named_by_its_id() -> None:
    harness = Harness(1)
    topic_id = harness.made("t")
    viewer = Viewer(harness, 1)
    viewer.look()
    message = api("DeleteTopics").request
    harness.ask("DeleteTopics", 6, topics=[message.DeleteTopicState(name="t")], timeout_ms=9)
    view = viewer.look()
    assert view.removed_topics == (topic_id,) and not view.partitions and not view.topics
