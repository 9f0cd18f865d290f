"""Schemas of the KRaft quorum: elections, snapshots, voters."""

from __future__ import annotations

from pykafkacore.protocol.schema import Message

VOTE_REQUEST = Message("VoteRequest", api_key=52, versions="0-2", flexible="0+", fields="""
    cluster_id                    string           nullable default=null
    voter_id                      int32            1+ default=-1 ignorable
    topics                        []TopicData
        topic_name                string
        partitions                []PartitionData
            partition_index       int32
            replica_epoch         int32
            replica_id            int32
            replica_directory_id  uuid             1+ ignorable
            voter_directory_id    uuid             1+ ignorable
            last_offset_epoch     int32
            last_offset           int64
            pre_vote              bool             2+
""")

VOTE_RESPONSE = Message("VoteResponse", api_key=52, versions="0-2", flexible="0+", fields="""
    error_code               int16
    topics                   []TopicData
        topic_name           string
        partitions           []PartitionData
            partition_index  int32
            error_code       int16
            leader_id        int32
            leader_epoch     int32
            vote_granted     bool
    node_endpoints           []NodeEndpoint   1+ tag=0
        node_id              int32
        host                 string
        port                 uint16
""")

BEGIN_QUORUM_EPOCH_REQUEST = Message("BeginQuorumEpochRequest", api_key=53, versions="0-1", flexible="1+", fields="""
    cluster_id                  string            nullable default=null
    voter_id                    int32             1+ default=-1 ignorable
    topics                      []TopicData
        topic_name              string
        partitions              []PartitionData
            partition_index     int32
            voter_directory_id  uuid              1+ ignorable
            leader_id           int32
            leader_epoch        int32
    leader_endpoints            []LeaderEndpoint  1+ ignorable
        name                    string
        host                    string
        port                    uint16
""")

BEGIN_QUORUM_EPOCH_RESPONSE = Message("BeginQuorumEpochResponse", api_key=53, versions="0-1", flexible="1+", fields="""
    error_code               int16
    topics                   []TopicData
        topic_name           string
        partitions           []PartitionData
            partition_index  int32
            error_code       int16
            leader_id        int32
            leader_epoch     int32
    node_endpoints           []NodeEndpoint   1+ tag=0
        node_id              int32
        host                 string
        port                 uint16
""")

END_QUORUM_EPOCH_REQUEST = Message("EndQuorumEpochRequest", api_key=54, versions="0-1", flexible="1+", fields="""
    cluster_id                          string            nullable default=null
    topics                              []TopicData
        topic_name                      string
        partitions                      []PartitionData
            partition_index             int32
            leader_id                   int32
            leader_epoch                int32
            preferred_successors        []int32           0 ignorable
            preferred_candidates        []ReplicaInfo     1+ ignorable
                candidate_id            int32
                candidate_directory_id  uuid
    leader_endpoints                    []LeaderEndpoint  1+ ignorable
        name                            string
        host                            string
        port                            uint16
""")

END_QUORUM_EPOCH_RESPONSE = Message("EndQuorumEpochResponse", api_key=54, versions="0-1", flexible="1+", fields="""
    error_code               int16
    topics                   []TopicData
        topic_name           string
        partitions           []PartitionData
            partition_index  int32
            error_code       int16
            leader_id        int32
            leader_epoch     int32
    node_endpoints           []NodeEndpoint   1+ tag=0
        node_id              int32
        host                 string
        port                 uint16
""")

DESCRIBE_QUORUM_REQUEST = Message("DescribeQuorumRequest", api_key=55, versions="0-2", flexible="0+", fields="""
    topics                   []TopicData
        topic_name           string
        partitions           []PartitionData
            partition_index  int32
""")

DESCRIBE_QUORUM_RESPONSE = Message("DescribeQuorumResponse", api_key=55, versions="0-2", flexible="0+", fields="""
    error_code                            int16
    error_message                         string           2+ nullable ignorable
    topics                                []TopicData
        topic_name                        string
        partitions                        []PartitionData
            partition_index               int32
            error_code                    int16
            error_message                 string           2+ nullable ignorable
            leader_id                     int32
            leader_epoch                  int32
            high_watermark                int64
            current_voters                []ReplicaState
                replica_id                int32
                replica_directory_id      uuid             2+
                log_end_offset            int64
                last_fetch_timestamp      int64            1+ default=-1 ignorable
                last_caught_up_timestamp  int64            1+ default=-1 ignorable
            observers                     []ReplicaState
    nodes                                 []Node           2+
        node_id                           int32
        listeners                         []Listener
            name                          string
            host                          string
            port                          uint16
""")

FETCH_SNAPSHOT_REQUEST = Message("FetchSnapshotRequest", api_key=59, versions="0-1", flexible="0+", fields="""
    cluster_id                    string               nullable tag=0 default=null
    replica_id                    int32                default=-1
    max_bytes                     int32                default=0x7fffffff
    topics                        []TopicSnapshot
        name                      string
        partitions                []PartitionSnapshot
            partition             int32
            current_leader_epoch  int32
            snapshot_id           SnapshotId
                end_offset        int64
                epoch             int32
            position              int64
            replica_directory_id  uuid                 1+ tag=0 ignorable
""")

FETCH_SNAPSHOT_RESPONSE = Message("FetchSnapshotResponse", api_key=59, versions="0-1", flexible="0+", fields="""
    throttle_time_ms           int32                ignorable
    error_code                 int16
    topics                     []TopicSnapshot
        name                   string
        partitions             []PartitionSnapshot
            index              int32
            error_code         int16
            snapshot_id        SnapshotId
                end_offset     int64
                epoch          int32
            current_leader     LeaderIdAndEpoch     tag=0
                leader_id      int32
                leader_epoch   int32
            size               int64
            position           int64
            unaligned_records  records
    node_endpoints             []NodeEndpoint       1+ tag=0
        node_id                int32
        host                   string
        port                   uint16
""")

ADD_RAFT_VOTER_REQUEST = Message("AddRaftVoterRequest", api_key=80, versions="0-1", flexible="0+", fields="""
    cluster_id          string      nullable
    timeout_ms          int32
    voter_id            int32
    voter_directory_id  uuid
    listeners           []Listener
        name            string
        host            string
        port            uint16
    ack_when_committed  bool        1+ default=true
""")

ADD_RAFT_VOTER_RESPONSE = Message("AddRaftVoterResponse", api_key=80, versions="0-1", flexible="0+", fields="""
    throttle_time_ms  int32
    error_code        int16
    error_message     string  nullable ignorable
""")

REMOVE_RAFT_VOTER_REQUEST = Message("RemoveRaftVoterRequest", api_key=81, versions="0", flexible="0+", fields="""
    cluster_id          string  nullable
    voter_id            int32
    voter_directory_id  uuid
""")

REMOVE_RAFT_VOTER_RESPONSE = Message("RemoveRaftVoterResponse", api_key=81, versions="0", flexible="0+", fields="""
    throttle_time_ms  int32
    error_code        int16
    error_message     string  nullable ignorable
""")

UPDATE_RAFT_VOTER_REQUEST = Message("UpdateRaftVoterRequest", api_key=82, versions="0", flexible="0+", fields="""
    cluster_id                 string               nullable
    current_leader_epoch       int32
    voter_id                   int32
    voter_directory_id         uuid
    listeners                  []Listener
        name                   string
        host                   string
        port                   uint16
    kraft_version_feature      KRaftVersionFeature
        min_supported_version  int16
        max_supported_version  int16
""")

UPDATE_RAFT_VOTER_RESPONSE = Message("UpdateRaftVoterResponse", api_key=82, versions="0", flexible="0+", fields="""
    throttle_time_ms  int32
    error_code        int16
    current_leader    CurrentLeader  tag=0
        leader_id     int32          default=-1
        leader_epoch  int32          default=-1
        host          string
        port          int32
""")
