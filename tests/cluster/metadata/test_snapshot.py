from __future__ import annotations

from msgspec.structs import replace

from cluster.metadata import records as r
from cluster.metadata.apply import WorkingImage
from cluster.metadata.image import EMPTY_IMAGE, MetadataImage
from cluster.metadata.records import frame, record, unframe
from cluster.metadata.snapshot import bootstrap_records, image_records
from tests.cluster.metadata.harness import Harness

ACL = {
    "resource_type": 2, "resource_name": "t", "pattern_type": 3, "principal": "User:a", "host": "*", "operation": 3,
    "permission_type": 3,
}  # fmt: skip


def full_image() -> MetadataImage:
    """An image with something of every kind."""
    harness = Harness(2)
    harness.made("t", 3, 2, configs={"retention.ms": "5", "min.insync.replicas": "2"})
    harness.made("u", assignments={0: [1, 2]})
    harness.heartbeat(2, fence=True)
    harness.ask("AllocateProducerIds", 0, broker_id=1, broker_epoch=harness.epochs[1])
    harness.ask("ControllerRegistration", 0, controller_id=100, incarnation_id=b"i" * 16, zk_migration_ready=False)
    working = harness.controller.state.image
    quota = r.message_of(r.CLIENT_QUOTA)
    more = [
        record(r.ACCESS_CONTROL_ENTRY, id=b"a" * 16, **ACL),
        record(r.USER_SCRAM_CREDENTIAL, name="a", mechanism=1, salt=b"s", stored_key=b"k", server_key=b"v"),
        record(r.DELEGATION_TOKEN, owner="User:a", requester="User:a", token_id="x"),
        record(
            r.CLIENT_QUOTA,
            entity=[
                quota.EntityData(entity_type="user", entity_name=None),
                quota.EntityData(entity_type="client-id", entity_name="c"),
            ],
            key="producer_byte_rate",
            value=1.5,
            remove=False,
        ),
        record(r.CONFIG, resource_type=16, resource_name="sub", name="interval.ms", value="1000"),
        record(r.ZK_MIGRATION_STATE, zk_migration_state=0),
    ]
    for each in more:
        working.apply(working.offset, each)
    return working.image()


def rebuilt(image: MetadataImage) -> MetadataImage:
    working = WorkingImage()
    for offset, each in enumerate(image_records(image)):
        working.apply(offset, unframe(frame(each)))
    return replace(working.image(), offset=image.offset, leader_epoch=image.leader_epoch)


def test_an_image_comes_back_from_its_records() -> None:
    image = full_image()
    for name in MetadataImage.__slots__:
        if name not in ("offset", "leader_epoch"):
            assert getattr(image, name) != getattr(EMPTY_IMAGE, name), f"the image has no {name} to lose"
    assert rebuilt(image) == image


def test_an_empty_image_needs_no_records() -> None:
    assert list(image_records(EMPTY_IMAGE)) == []


def test_the_metadata_version_comes_first() -> None:
    first = next(iter(image_records(full_image())))
    assert (first.api_key, first.body.name) == (r.FEATURE_LEVEL, "metadata.version")


def test_a_topic_stands_before_its_partitions() -> None:
    keys = [(each.api_key, getattr(each.body, "topic_id", None)) for each in image_records(full_image())]
    for position, (key, topic_id) in enumerate(keys):
        if key == r.PARTITION:
            assert (r.TOPIC, topic_id) in keys[:position]


def test_a_new_cluster_begins_with_the_levels_of_4_4() -> None:
    written = bootstrap_records(static_min_in_sync_replicas=2)
    levels = [(each.body.name, each.body.feature_level) for each in written if each.api_key == r.FEATURE_LEVEL]
    assert levels == [
        ("metadata.version", 33), ("eligible.leader.replicas.version", 1), ("group.version", 1), ("share.version", 2),
        ("streams.version", 1), ("transaction.version", 2),
    ]  # fmt: skip
    config = written[-1]
    assert (config.api_key, config.body.resource_type, config.body.resource_name) == (r.CONFIG, 4, "")
    assert (config.body.name, config.body.value) == ("min.insync.replicas", "2")


def test_without_elr_no_minimum_of_in_sync_replicas_is_fixed() -> None:
    assert [each.api_key for each in bootstrap_records({"metadata.version": 22})] == [r.FEATURE_LEVEL]
