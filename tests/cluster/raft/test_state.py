from __future__ import annotations

import pytest

from cluster.raft.messages import ReplicaKey
from cluster.raft.state import MalformedQuorumState, QuorumState, build_quorum_state, parse_quorum_state

VOTED = QuorumState(5, -1, ReplicaKey(2, b"d" * 16))


def test_version_1_keeps_the_voted_directory() -> None:
    text = build_quorum_state(VOTED, kraft_version=1)
    assert text == (
        '{"leaderId":-1,"leaderEpoch":5,"votedId":2,"votedDirectoryId":"ZGRkZGRkZGRkZGRkZGRkZA","data_version":1}'
    )
    assert parse_quorum_state(text) == VOTED


def test_version_0_names_the_voters_and_no_directory() -> None:
    text = build_quorum_state(QuorumState(5, 2, None), kraft_version=0, voter_ids=(1, 2))
    assert text == (
        '{"clusterId":"","leaderId":2,"leaderEpoch":5,"votedId":-1,"appliedOffset":0,'
        '"currentVoters":[{"voterId":1},{"voterId":2}],"data_version":0}'
    )
    assert parse_quorum_state(text) == QuorumState(5, 2, None)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"data_version":2}', '{"leaderId":"x","leaderEpoch":1,"votedId":-1,"data_version":0}',
     '{"leaderId":1,"leaderEpoch":-5,"votedId":-1,"data_version":0}'],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(MalformedQuorumState):
        parse_quorum_state(text)
