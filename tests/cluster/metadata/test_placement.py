from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.metadata.placement import UsableBroker, place_partitions
from pykafkacore.protocol.errors import ApiError, Code


def brokers(*racks: str | None, fenced: tuple[int, ...] = ()) -> list[UsableBroker]:
    return [UsableBroker(index + 1, rack, index + 1 in fenced) for index, rack in enumerate(racks)]


def test_leaders_are_spread_evenly() -> None:
    placed = place_partitions(12, 2, brokers(None, None, None, None), Random(3))
    assert Counter(replicas[0] for replicas in placed) == {1: 3, 2: 3, 3: 3, 4: 3}


def test_replicas_are_spread_evenly() -> None:
    placed = place_partitions(60, 3, brokers(*[None] * 6), Random(3))
    counts = Counter(replica for replicas in placed for replica in replicas)
    assert max(counts.values()) - min(counts.values()) <= 3


def test_replicas_stand_on_different_racks() -> None:
    usable = brokers("a", "a", "b", "b", "c", "c")
    racks = {broker.broker_id: broker.rack for broker in usable}
    for replicas in place_partitions(30, 3, usable, Random(5)):
        assert {racks[replica] for replica in replicas} == {"a", "b", "c"}


def test_a_fenced_broker_leads_nothing_and_follows_only_where_it_must() -> None:
    placed = place_partitions(10, 2, brokers(None, None, None, fenced=(3,)), Random(1))
    assert all(3 not in replicas for replicas in placed)
    placed = place_partitions(10, 3, brokers(None, None, None, fenced=(3,)), Random(1))
    assert all(replicas[2] == 3 for replicas in placed)


@pytest.mark.parametrize(("factor", "fenced"), [(4, ()), (0, ()), (1, (1, 2, 3))])
def test_what_cannot_be_placed_is_refused(factor: int, fenced: tuple[int, ...]) -> None:
    with pytest.raises(ApiError) as caught:
        place_partitions(1, factor, brokers(None, None, None, fenced=fenced), Random(1))
    assert caught.value.code == Code.INVALID_REPLICATION_FACTOR


@given(
    st.integers(0, 30),
    st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.booleans()), min_size=1, max_size=8),
    st.integers(1, 8),
    st.integers(),
)
def test_a_placement_never_repeats_a_broker_and_leads_from_an_unfenced_one(
    count: int, entries: list[tuple[str | None, bool]], factor: int, seed: int
) -> None:
    usable = [UsableBroker(index, rack, fenced) for index, (rack, fenced) in enumerate(entries)]
    if factor > len(usable) or all(broker.is_fenced for broker in usable):
        with pytest.raises(ApiError):
            place_partitions(count, factor, usable, Random(seed))
        return
    placed = place_partitions(count, factor, usable, Random(seed))
    assert len(placed) == count
    for replicas in placed:
        assert len(set(replicas)) == len(replicas) == factor
        assert not usable[replicas[0]].is_fenced
