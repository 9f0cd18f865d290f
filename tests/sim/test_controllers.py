from __future__ import annotations

import pytest

from cluster.coordinator.runtime import ShardRuntime
from tests.sim.controllers import simulate_controllers


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("node_count", "spare_count"), [(1, 0), (3, 0), (3, 2)])
def test_what_controllers_acknowledge_outlives_them(seed: int, node_count: int, spare_count: int) -> None:
    cluster = simulate_controllers(seed, node_count, 25, spare_count)
    assert cluster.step_count


def test_it_sees_an_answer_that_did_not_wait_for_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ShardRuntime, "_park", lambda self, effect, effects: effects.append(effect))
    with pytest.raises(AssertionError, match="was acknowledged and is gone"):
        for seed in range(200):
            simulate_controllers(seed, 3, 25)
