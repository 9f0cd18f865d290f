"""Who votes: the voter set, its history in the log, and changes to it (KIP-853).

INVARIANT: a Voters or KRaftVersion record takes effect when it is appended, not when it is committed, and is undone by
truncation; so the history keeps every value with the offset that brought it.
INVARIANT: one change at a time: none is proposed before the one before it, and the leader's epoch start, are committed.
Under kraft.version 0 the set is static, directories are unknown and a voter is its node id.
Not here: the steps of a change in flight (voter_changes.py).
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from cluster.raft.messages import ZERO_UUID, Endpoint, ReplicaKey, Voter


class VoterSet(Struct, frozen=True):
    voters: tuple[Voter, ...] = ()

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(voter.key.node_id for voter in self.voters)

    def get(self, node_id: int) -> Voter | None:
        for voter in self.voters:
            if voter.key.node_id == node_id:
                return voter
        return None

    def match(self, replica: ReplicaKey) -> Voter | None:
        """The voter that `replica` is. A voter without a directory id is matched by node id alone."""
        voter = self.get(replica.node_id)
        if voter is None:
            return None
        if voter.key.directory_id == ZERO_UUID or voter.key.directory_id == replica.directory_id:
            return voter
        return None

    @property
    def majority(self) -> int:
        return len(self.voters) // 2 + 1

    def with_voter(self, voter: Voter) -> VoterSet:
        assert self.get(voter.key.node_id) is None
        return VoterSet(tuple(sorted((*self.voters, voter), key=lambda each: each.key.node_id)))

    def without(self, key: ReplicaKey) -> VoterSet:
        return VoterSet(tuple(voter for voter in self.voters if voter.key != key))

    def updated(self, voter: Voter) -> VoterSet:
        return VoterSet(tuple(voter if each.key.node_id == voter.key.node_id else each for each in self.voters))


def endpoint_of(voter: Voter, listener: str) -> Endpoint | None:
    """Where to reach a voter: the endpoint of that listener, else its first."""
    for endpoint in voter.endpoints:
        if endpoint.name == listener:
            return endpoint
    return voter.endpoints[0] if voter.endpoints else None


class VoterHistory:
    """Voter sets and kraft.version levels by the offset that brought them.

    What configuration or the bootstrap snapshot says stands at offset -1; what a later snapshot says stands at the
    offset just below its end.
    """

    __slots__ = ("_sets", "_versions")

    def __init__(self, voters: VoterSet, kraft_version: int = 0, offset: int = -1) -> None:
        self._sets: list[tuple[int, VoterSet]] = [(offset, voters)]
        self._versions: list[tuple[int, int]] = [(offset, kraft_version)]

    @property
    def voters(self) -> VoterSet:
        return self._sets[-1][1]

    @property
    def kraft_version(self) -> int:
        return self._versions[-1][1]

    @property
    def voters_offset(self) -> int:
        """The offset of the record that brought the present set; -1 where no log record did."""
        return self._sets[-1][0]

    def add_voters(self, offset: int, voters: VoterSet) -> None:
        assert offset > self._sets[-1][0]
        self._sets.append((offset, voters))

    def add_kraft_version(self, offset: int, kraft_version: int) -> None:
        assert offset > self._versions[-1][0]
        self._versions.append((offset, kraft_version))

    def truncate(self, end_offset: int) -> None:
        while len(self._sets) > 1 and self._sets[-1][0] >= end_offset:
            self._sets.pop()
        while len(self._versions) > 1 and self._versions[-1][0] >= end_offset:
            self._versions.pop()

    def restart(self, offset: int, kraft_version: int | None, voters: VoterSet | None) -> None:
        """A snapshot takes the log's place. One without control records leaves the static set in force."""
        self._sets = [(offset, voters)] if voters is not None else self._sets[:1]
        self._versions = [(offset, kraft_version)] if kraft_version is not None else self._versions[:1]

    def at(self, end_offset: int) -> tuple[int, VoterSet]:
        """(kraft.version, voters) as of the records below `end_offset`: what a snapshot ending there must say."""
        version = next(value for offset, value in reversed(self._versions) if offset < end_offset)
        voters = next(value for offset, value in reversed(self._sets) if offset < end_offset)
        return version, voters

    def forget_below(self, offset: int) -> None:
        """Values replaced before `offset` can never be needed again."""
        for history in (self._sets, self._versions):
            while len(history) > 1 and history[1][0] < offset:
                del history[0]


def with_range(voter: Voter, kraft_version_min: int, kraft_version_max: int) -> Voter:
    return replace(voter, kraft_version_min=kraft_version_min, kraft_version_max=kraft_version_max)
