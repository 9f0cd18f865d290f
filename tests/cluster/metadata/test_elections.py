from __future__ import annotations

from immutables import Map

from cluster.metadata.elections import Election, PartitionChange
from cluster.metadata.image import MetadataImage, PartitionImage

ELR_ON = MetadataImage(features=Map({"metadata.version": 33, "eligible.leader.replicas.version": 1}))
ELR_OFF = MetadataImage(features=Map({"metadata.version": 33}))
BEFORE_3_6 = MetadataImage(features=Map({"metadata.version": 11}))


def partition(isr: tuple[int, ...], leader: int, **fields: object) -> PartitionImage:
    return PartitionImage((1, 2, 3), isr, leader, 5, 7, (bytes(16),) * 3, **fields)  # type: ignore[arg-type]


def planned(
    image: MetadataImage,
    before: PartitionImage,
    active: set[int],
    isr: tuple[int, ...] | None = None,
    election: Election = Election.ONLINE,
    min_isr: int = 1,
) -> dict[str, object]:
    """What the change record says beyond its defaults."""
    change = PartitionChange(image, b"t" * 16, 0, before, min_isr)
    change.is_acceptable = active.__contains__
    change.election = election
    if isr is not None:
        change.isr = isr
    written = change.plan()
    if written is None:
        return {}
    empty = type(written.body)(partition_id=0, topic_id=b"t" * 16)
    return {
        name: getattr(written.body, name)
        for name in type(written.body).__slots__
        if getattr(written.body, name) != getattr(empty, name)
    }


def test_a_valid_leader_stays() -> None:
    assert planned(ELR_OFF, partition((1, 2), 2), {1, 2, 3}) == {}


def test_the_first_replica_in_sync_and_active_takes_over() -> None:
    assert planned(ELR_OFF, partition((1, 2, 3), 1), {2, 3}, isr=(2, 3)) == {"leader": 2, "isr": [2, 3]}


def test_the_preferred_replica_takes_over_when_asked_for() -> None:
    assert planned(ELR_OFF, partition((1, 2), 2), {1, 2}, election=Election.PREFERRED) == {"leader": 1}


def test_a_preferred_replica_out_of_sync_does_not() -> None:
    assert planned(ELR_OFF, partition((2,), 2), {1, 2}, election=Election.PREFERRED) == {}


def test_without_elr_the_last_member_stays_in_the_isr() -> None:
    assert planned(ELR_OFF, partition((1,), 1), {2, 3}, isr=()) == {"leader": -1}


def test_without_elr_an_unclean_election_is_the_only_way_out() -> None:
    before = partition((1,), -1)
    assert planned(ELR_OFF, before, {2, 3}) == {}
    assert planned(ELR_OFF, before, {2, 3}, election=Election.UNCLEAN) == {
        "leader": 2, "isr": [2], "leader_recovery_state": 1
    }  # fmt: skip


def test_with_elr_the_last_member_becomes_eligible_and_known() -> None:
    assert planned(ELR_ON, partition((1,), 1), {2, 3}, isr=()) == {
        "leader": -1, "isr": [], "eligible_leader_replicas": [1], "last_known_elr": [1]
    }  # fmt: skip


def test_an_eligible_replica_is_elected_cleanly_when_the_isr_is_empty() -> None:
    before = partition((), -1, eligible_leader_replicas=(2, 1), last_known_elr=(1,))
    assert planned(ELR_ON, before, {2}) == {
        "leader": 2, "isr": [2], "eligible_leader_replicas": [], "last_known_elr": []
    }  # fmt: skip


def test_an_elected_eligible_replica_leaves_the_others_eligible_below_the_minimum() -> None:
    before = partition((), -1, eligible_leader_replicas=(2, 3))
    assert planned(ELR_ON, before, {2}, min_isr=2) == {"leader": 2, "isr": [2], "eligible_leader_replicas": [3]}


def test_the_last_known_leader_is_elected_uncleanly_when_nobody_is_eligible() -> None:
    before = partition((), -1, last_known_elr=(3,))
    assert planned(ELR_ON, before, {1, 2}) == {}
    assert planned(ELR_ON, before, {1, 3}) == {
        "leader": 3, "isr": [3], "leader_recovery_state": 1, "last_known_elr": []
    }  # fmt: skip


def test_who_stays_eligible_is_not_stored_twice() -> None:
    before = partition((1,), 1, eligible_leader_replicas=(2, 3))
    assert planned(ELR_ON, before, {1, 2, 3}, isr=(1, 2), min_isr=3) == {
        "isr": [1, 2], "eligible_leader_replicas": [3]
    }  # fmt: skip


def test_shrinking_the_isr_raised_the_leader_epoch_before_3_6() -> None:
    assert planned(BEFORE_3_6, partition((1, 2), 1), {1, 2, 3}, isr=(1,)) == {"isr": [1], "leader": 1}
    assert planned(ELR_OFF, partition((1, 2), 1), {1, 2, 3}, isr=(1,)) == {"isr": [1]}
