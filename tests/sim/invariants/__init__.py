"""One property per file, checked after every step.

| file                 | property                                                               | source               |
|----------------------|------------------------------------------------------------------------|----------------------|
| single_leader        | at most one leader in an epoch, for ever                               | Raft fig. 3          |
| log_matching         | equal (offset, epoch) means equal records and an equal past            | Raft fig. 3          |
| committed_never_lost | what was committed once stays, and every later leader holds it         | Raft fig. 3          |
| monotonic            | epochs never go back (across crashes), high watermarks never in a life | KRaft's simulation   |
| vote_once            | no node votes twice in an epoch, across crashes                        | Raft 5.2             |
| durable_state        | what a node knows of epochs, votes and leaders is on its disk          | KIP-595              |
| majority_durable     | what a leader commits is on the disks of a majority of its voters      | Raft 5.3             |

In the TLA+ models of KRaft these are NeverTwoLeadersInSameEpoch, MetadataLogMatching and AckedValueNotLost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.sim.cluster import SimCluster, SimNode


class Invariant:
    def on_start(self, cluster: SimCluster, node: SimNode) -> None:
        """A node starts, or starts over from a snapshot."""

    def check(self, cluster: SimCluster, node: SimNode, effects: list[Any]) -> None:
        raise NotImplementedError


def all_invariants() -> list[Invariant]:
    from tests.sim.invariants.committed_never_lost import CommittedNeverLost
    from tests.sim.invariants.durable_state import DurableState
    from tests.sim.invariants.log_matching import LogMatching
    from tests.sim.invariants.majority_durable import MajorityDurable
    from tests.sim.invariants.monotonic import Monotonic
    from tests.sim.invariants.single_leader import SingleLeader
    from tests.sim.invariants.vote_once import VoteOnce

    return [
        SingleLeader(),
        LogMatching(),
        CommittedNeverLost(),
        Monotonic(),
        VoteOnce(),
        DurableState(),
        MajorityDurable(),
    ]
