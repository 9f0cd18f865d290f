"""Schemas of the data path and of the look-ups beside it.

The data plane has its own readers for Produce and Fetch; these serve the client, the raft layer and the tests.
"""

from __future__ import annotations

from pykafkacore.protocol.schema import Message

PRODUCE_REQUEST = Message("ProduceRequest", api_key=0, versions="3-13", flexible="9+", fields="""
    transactional_id    string                  nullable default=null
    acks                int16
    timeout_ms          int32
    topic_data          []TopicProduceData
        name            string                  0-12 ignorable
        topic_id        uuid                    13+ ignorable
        partition_data  []PartitionProduceData
            index       int32
            records     records                 nullable
""")

PRODUCE_RESPONSE = Message("ProduceResponse", api_key=0, versions="3-13", flexible="9+", fields="""
    responses                              []TopicProduceResponse
        name                               string                       0-12 ignorable
        topic_id                           uuid                         13+ ignorable
        partition_responses                []PartitionProduceResponse
            index                          int32
            error_code                     int16
            base_offset                    int64
            log_append_time_ms             int64                        default=-1 ignorable
            log_start_offset               int64                        5+ default=-1 ignorable
            record_errors                  []BatchIndexAndErrorMessage  8+ ignorable
                batch_index                int32
                batch_index_error_message  string                       nullable default=null
            error_message                  string                       8+ nullable default=null ignorable
            current_leader                 LeaderIdAndEpoch             10+ tag=0
                leader_id                  int32                        default=-1
                leader_epoch               int32                        default=-1
    throttle_time_ms                       int32                        ignorable
    node_endpoints                         []NodeEndpoint               10+ tag=0
        node_id                            int32
        host                               string
        port                               int32
        rack                               string                       nullable default=null
""")

FETCH_REQUEST = Message("FetchRequest", api_key=1, versions="4-18", flexible="12+", fields="""
    cluster_id                    string            12+ nullable tag=0 default=null ignorable
    replica_id                    int32             0-14 default=-1
    replica_state                 ReplicaState      15+ tag=1
        replica_id                int32             default=-1
        replica_epoch             int64             default=-1
    max_wait_ms                   int32
    min_bytes                     int32
    max_bytes                     int32             default=0x7fffffff ignorable
    isolation_level               int8              ignorable
    session_id                    int32             7+ ignorable
    session_epoch                 int32             7+ default=-1 ignorable
    topics                        []FetchTopic
        topic                     string            0-12 ignorable
        topic_id                  uuid              13+ ignorable
        partitions                []FetchPartition
            partition             int32
            current_leader_epoch  int32             9+ default=-1 ignorable
            fetch_offset          int64
            last_fetched_epoch    int32             12+ default=-1
            log_start_offset      int64             5+ default=-1 ignorable
            partition_max_bytes   int32
            replica_directory_id  uuid              17+ tag=0 ignorable
            high_watermark        int64             18+ tag=1 default=9223372036854775807 ignorable
    forgotten_topics_data         []ForgottenTopic  7+
        topic                     string            7-12 ignorable
        topic_id                  uuid              13+ ignorable
        partitions                []int32
    rack_id                       string            11+ ignorable
""")

FETCH_RESPONSE = Message("FetchResponse", api_key=1, versions="4-18", flexible="12+", fields="""
    throttle_time_ms                int32                     ignorable
    error_code                      int16                     7+ ignorable
    session_id                      int32                     7+
    responses                       []FetchableTopicResponse
        topic                       string                    0-12 ignorable
        topic_id                    uuid                      13+ ignorable
        partitions                  []PartitionData
            partition_index         int32
            error_code              int16
            high_watermark          int64
            last_stable_offset      int64                     default=-1 ignorable
            log_start_offset        int64                     5+ default=-1 ignorable
            diverging_epoch         EpochEndOffset            12+ tag=0
                epoch               int32                     default=-1
                end_offset          int64                     default=-1
            current_leader          LeaderIdAndEpoch          12+ tag=1
                leader_id           int32                     default=-1
                leader_epoch        int32                     default=-1
            snapshot_id             SnapshotId                12+ tag=2
                end_offset          int64                     default=-1
                epoch               int32                     default=-1
            aborted_transactions    []AbortedTransaction      nullable ignorable
                producer_id         int64
                first_offset        int64
            preferred_read_replica  int32                     11+ default=-1
            records                 records                   nullable
    node_endpoints                  []NodeEndpoint            16+ tag=0
        node_id                     int32
        host                        string
        port                        int32
        rack                        string                    nullable default=null
""")

LIST_OFFSETS_REQUEST = Message("ListOffsetsRequest", api_key=2, versions="1-11", flexible="6+", fields="""
    replica_id                    int32
    isolation_level               int8                    2+
    topics                        []ListOffsetsTopic
        name                      string
        partitions                []ListOffsetsPartition
            partition_index       int32
            current_leader_epoch  int32                   4+ default=-1 ignorable
            timestamp             int64
    timeout_ms                    int32                   10+ ignorable
""")

LIST_OFFSETS_RESPONSE = Message("ListOffsetsResponse", api_key=2, versions="1-11", flexible="6+", fields="""
    throttle_time_ms         int32                           2+ ignorable
    topics                   []ListOffsetsTopicResponse
        name                 string
        partitions           []ListOffsetsPartitionResponse
            partition_index  int32
            error_code       int16
            timestamp        int64                           default=-1
            offset           int64                           default=-1
            leader_epoch     int32                           4+ default=-1
""")

OFFSET_FOR_LEADER_EPOCH_REQUEST = Message(
    "OffsetForLeaderEpochRequest", api_key=23, versions="2-4", flexible="4+", fields="""
    replica_id                    int32                       3+ default=-2 ignorable
    topics                        []OffsetForLeaderTopic
        topic                     string
        partitions                []OffsetForLeaderPartition
            partition             int32
            current_leader_epoch  int32                       default=-1 ignorable
            leader_epoch          int32
""")

OFFSET_FOR_LEADER_EPOCH_RESPONSE = Message(
    "OffsetForLeaderEpochResponse", api_key=23, versions="2-4", flexible="4+", fields="""
    throttle_time_ms      int32                         ignorable
    topics                []OffsetForLeaderTopicResult
        topic             string
        partitions        []EpochEndOffset
            error_code    int16
            partition     int32
            leader_epoch  int32                         default=-1 ignorable
            end_offset    int64                         default=-1
""")
