"""What group coordinators promise, one property per file, checked after every step and at rest.

| file                  | property                                                                            |
|-----------------------|-------------------------------------------------------------------------------------|
| one_owner             | a partition of a consumer group has one owner, also in what its members believe     |
| epochs_rise           | generations, group and member epochs never go back, across reloads                  |
| commits_stay          | a commit that was acknowledged is never lost, and offsets never go back             |
| replay_is_state       | the log alone gives the state that the coordinator has                              |
| all_converge          | at rest: live members own every partition that they subscribe to, each once         |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.sim.groups import GroupWorld


class Invariant:
    def check(self, world: GroupWorld) -> None:
        """After every step."""

    def at_rest(self, world: GroupWorld) -> None:
        """Once faults have stopped for long enough."""


def all_invariants() -> list[Invariant]:
    from tests.sim.group_invariants.all_converge import AllConverge
    from tests.sim.group_invariants.commits_stay import CommitsStay
    from tests.sim.group_invariants.epochs_rise import EpochsRise
    from tests.sim.group_invariants.one_owner import OneOwner
    from tests.sim.group_invariants.replay_is_state import ReplayIsState

    return [OneOwner(), EpochsRise(), CommitsStay(), ReplayIsState(), AllConverge()]
