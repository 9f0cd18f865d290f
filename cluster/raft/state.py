"""The `quorum-state` file: what a node must never forget about elections. Builds and parses its text; no I/O.

Version 0 (kraft.version 0) names the voters and no directories; version 1 (kraft.version 1) names the voted directory.
INVARIANT: a state with a leader may still carry the vote that was cast in the same epoch.
Source: Apache Kafka's QuorumStateData; PROTOCOL C.6.
"""

from __future__ import annotations

from msgspec import Struct

from cluster.raft.messages import NO_NODE, ZERO_UUID, ReplicaKey
from pykafkacore.protocol.types import uuid_from_text, uuid_to_text


class QuorumState(Struct, frozen=True):
    leader_epoch: int = 0
    leader_id: int = NO_NODE
    voted: ReplicaKey | None = None


class MalformedQuorumState(ValueError):
    pass


def build_quorum_state(state: QuorumState, kraft_version: int, voter_ids: tuple[int, ...] = ()) -> str:
    """The file's one line of JSON, in the version that belongs to `kraft_version`."""
    voted_id = state.voted.node_id if state.voted else NO_NODE
    if kraft_version == 0:
        voters = ",".join(f'{{"voterId":{voter_id}}}' for voter_id in voter_ids)
        return (
            f'{{"clusterId":"","leaderId":{state.leader_id},"leaderEpoch":{state.leader_epoch},"votedId":{voted_id},'
            f'"appliedOffset":0,"currentVoters":[{voters}],"data_version":0}}'
        )
    directory_id = uuid_to_text(state.voted.directory_id if state.voted else ZERO_UUID)
    return (
        f'{{"leaderId":{state.leader_id},"leaderEpoch":{state.leader_epoch},"votedId":{voted_id},'
        f'"votedDirectoryId":"{directory_id}","data_version":1}}'
    )


def parse_quorum_state(text: str) -> QuorumState:
    import json

    try:
        fields = json.loads(text)
        data_version = fields["data_version"]
        if data_version not in (0, 1):
            raise MalformedQuorumState(f"quorum-state: data_version {data_version!r} is not 0 or 1")
        voted_id = _int(fields, "votedId")
        directory_id = uuid_from_text(fields.get("votedDirectoryId", "")) if data_version == 1 else ZERO_UUID
        voted = ReplicaKey(voted_id, directory_id) if voted_id != NO_NODE else None
        return QuorumState(_int(fields, "leaderEpoch"), _int(fields, "leaderId"), voted)
    except MalformedQuorumState:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MalformedQuorumState(f"quorum-state: not what a quorum-state file holds: {error!r}") from error


def _int(fields: dict[str, object], name: str) -> int:
    value = fields[name]
    if not isinstance(value, int) or value < -1:
        raise MalformedQuorumState(f"quorum-state: {name} is {value!r}, not a number from -1 up")
    return value
