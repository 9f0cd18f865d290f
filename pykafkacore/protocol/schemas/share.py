"""Schemas of share groups, of their fetch path, and of the share coordinator."""

from __future__ import annotations

from pykafkacore.protocol.schema import Message

SHARE_GROUP_HEARTBEAT_REQUEST = Message(
    "ShareGroupHeartbeatRequest", api_key=76, versions="1", flexible="0+", fields="""
    group_id                string
    member_id               string
    member_epoch            int32
    rack_id                 string    nullable default=null
    subscribed_topic_names  []string  nullable default=null
""")

SHARE_GROUP_HEARTBEAT_RESPONSE = Message(
    "ShareGroupHeartbeatResponse", api_key=76, versions="1", flexible="0+", fields="""
    throttle_time_ms       int32
    error_code             int16
    error_message          string             nullable default=null
    member_id              string             nullable default=null
    member_epoch           int32
    heartbeat_interval_ms  int32
    assignment             Assignment         nullable default=null
        topic_partitions   []TopicPartitions
            topic_id       uuid
            partitions     []int32
""")

SHARE_GROUP_DESCRIBE_REQUEST = Message("ShareGroupDescribeRequest", api_key=77, versions="1", flexible="0+", fields="""
    group_ids                      []string
    include_authorized_operations  bool
""")

SHARE_GROUP_DESCRIBE_RESPONSE = Message(
    "ShareGroupDescribeResponse", api_key=77, versions="1", flexible="0+", fields="""
    throttle_time_ms                int32
    groups                          []DescribedGroup
        error_code                  int16
        error_message               string             nullable default=null
        group_id                    string
        group_state                 string
        group_epoch                 int32
        assignment_epoch            int32
        assignor_name               string
        members                     []Member
            member_id               string
            rack_id                 string             nullable default=null
            member_epoch            int32
            client_id               string
            client_host             string
            subscribed_topic_names  []string
            assignment              Assignment
                topic_partitions    []TopicPartitions
                    topic_id        uuid
                    topic_name      string
                    partitions      []int32
        authorized_operations       int32              default=-2147483648
""")

SHARE_FETCH_REQUEST = Message("ShareFetchRequest", api_key=78, versions="1-2", flexible="0+", fields="""
    group_id                         string                  nullable default=null
    member_id                        string                  nullable
    share_session_epoch              int32
    max_wait_ms                      int32
    min_bytes                        int32
    max_bytes                        int32                   default=0x7fffffff
    max_records                      int32
    batch_size                       int32
    share_acquire_mode               int8                    2+ ignorable
    is_renew_ack                     bool                    2+
    topics                           []FetchTopic
        topic_id                     uuid
        partitions                   []FetchPartition
            partition_index          int32
            acknowledgement_batches  []AcknowledgementBatch
                first_offset         int64
                last_offset          int64
                acknowledge_types    []int8
    forgotten_topics_data            []ForgottenTopic
        topic_id                     uuid
        partitions                   []int32
""")

SHARE_FETCH_RESPONSE = Message("ShareFetchResponse", api_key=78, versions="1-2", flexible="0+", fields="""
    throttle_time_ms                   int32
    error_code                         int16
    error_message                      string                         nullable default=null
    acquisition_lock_timeout_ms        int32
    responses                          []ShareFetchableTopicResponse
        topic_id                       uuid
        partitions                     []PartitionData
            partition_index            int32
            error_code                 int16
            error_message              string                         nullable default=null
            acknowledge_error_code     int16
            acknowledge_error_message  string                         nullable default=null
            current_leader             LeaderIdAndEpoch
                leader_id              int32
                leader_epoch           int32
            records                    records
            acquired_records           []AcquiredRecords
                first_offset           int64
                last_offset            int64
                delivery_count         int16
    node_endpoints                     []NodeEndpoint
        node_id                        int32
        host                           string
        port                           int32
        rack                           string                         nullable default=null
""")

SHARE_ACKNOWLEDGE_REQUEST = Message("ShareAcknowledgeRequest", api_key=79, versions="1-2", flexible="0+", fields="""
    group_id                         string                  nullable default=null
    member_id                        string                  nullable
    share_session_epoch              int32
    is_renew_ack                     bool                    2+
    topics                           []AcknowledgeTopic
        topic_id                     uuid
        partitions                   []AcknowledgePartition
            partition_index          int32
            acknowledgement_batches  []AcknowledgementBatch
                first_offset         int64
                last_offset          int64
                acknowledge_types    []int8
""")

SHARE_ACKNOWLEDGE_RESPONSE = Message("ShareAcknowledgeResponse", api_key=79, versions="1-2", flexible="0+", fields="""
    throttle_time_ms             int32
    error_code                   int16
    error_message                string                           nullable default=null
    acquisition_lock_timeout_ms  int32                            2+ ignorable
    responses                    []ShareAcknowledgeTopicResponse
        topic_id                 uuid
        partitions               []PartitionData
            partition_index      int32
            error_code           int16
            error_message        string                           nullable default=null
            current_leader       LeaderIdAndEpoch
                leader_id        int32
                leader_epoch     int32
    node_endpoints               []NodeEndpoint
        node_id                  int32
        host                     string
        port                     int32
        rack                     string                           nullable default=null
""")

INITIALIZE_SHARE_GROUP_STATE_REQUEST = Message(
    "InitializeShareGroupStateRequest", api_key=83, versions="0", flexible="0+", fields="""
    group_id              string
    topics                []InitializeStateData
        topic_id          uuid
        partitions        []PartitionData
            partition     int32
            state_epoch   int32
            start_offset  int64
""")

INITIALIZE_SHARE_GROUP_STATE_RESPONSE = Message(
    "InitializeShareGroupStateResponse", api_key=83, versions="0", flexible="0+", fields="""
    results                []InitializeStateResult
        topic_id           uuid
        partitions         []PartitionResult
            partition      int32
            error_code     int16
            error_message  string                   nullable default=null
""")

READ_SHARE_GROUP_STATE_REQUEST = Message(
    "ReadShareGroupStateRequest", api_key=84, versions="0", flexible="0+", fields="""
    group_id              string
    topics                []ReadStateData
        topic_id          uuid
        partitions        []PartitionData
            partition     int32
            leader_epoch  int32
""")

READ_SHARE_GROUP_STATE_RESPONSE = Message(
    "ReadShareGroupStateResponse", api_key=84, versions="0", flexible="0+", fields="""
    results                     []ReadStateResult
        topic_id                uuid
        partitions              []PartitionResult
            partition           int32
            error_code          int16
            error_message       string             nullable default=null
            state_epoch         int32
            start_offset        int64
            state_batches       []StateBatch
                first_offset    int64
                last_offset     int64
                delivery_state  int8
                delivery_count  int16
""")

WRITE_SHARE_GROUP_STATE_REQUEST = Message(
    "WriteShareGroupStateRequest", api_key=85, versions="0-1", flexible="0+", fields="""
    group_id                         string
    topics                           []WriteStateData
        topic_id                     uuid
        partitions                   []PartitionData
            partition                int32
            state_epoch              int32
            leader_epoch             int32
            start_offset             int64
            delivery_complete_count  int32             1+ default=-1 ignorable
            state_batches            []StateBatch
                first_offset         int64
                last_offset          int64
                delivery_state       int8
                delivery_count       int16
""")

WRITE_SHARE_GROUP_STATE_RESPONSE = Message(
    "WriteShareGroupStateResponse", api_key=85, versions="0-1", flexible="0+", fields="""
    results                []WriteStateResult
        topic_id           uuid
        partitions         []PartitionResult
            partition      int32
            error_code     int16
            error_message  string              nullable default=null
""")

DELETE_SHARE_GROUP_STATE_REQUEST = Message(
    "DeleteShareGroupStateRequest", api_key=86, versions="0", flexible="0+", fields="""
    group_id           string
    topics             []DeleteStateData
        topic_id       uuid
        partitions     []PartitionData
            partition  int32
""")

DELETE_SHARE_GROUP_STATE_RESPONSE = Message(
    "DeleteShareGroupStateResponse", api_key=86, versions="0", flexible="0+", fields="""
    results                []DeleteStateResult
        topic_id           uuid
        partitions         []PartitionResult
            partition      int32
            error_code     int16
            error_message  string               nullable default=null
""")

READ_SHARE_GROUP_STATE_SUMMARY_REQUEST = Message(
    "ReadShareGroupStateSummaryRequest", api_key=87, versions="0-1", flexible="0+", fields="""
    group_id              string
    topics                []ReadStateSummaryData
        topic_id          uuid
        partitions        []PartitionData
            partition     int32
            leader_epoch  int32
""")

READ_SHARE_GROUP_STATE_SUMMARY_RESPONSE = Message(
    "ReadShareGroupStateSummaryResponse", api_key=87, versions="0-1", flexible="0+", fields="""
    results                          []ReadStateSummaryResult
        topic_id                     uuid
        partitions                   []PartitionResult
            partition                int32
            error_code               int16
            error_message            string                    nullable default=null
            state_epoch              int32
            leader_epoch             int32
            start_offset             int64
            delivery_complete_count  int32                     1+ default=-1 ignorable
""")

DESCRIBE_SHARE_GROUP_OFFSETS_REQUEST = Message(
    "DescribeShareGroupOffsetsRequest", api_key=90, versions="0-1", flexible="0+", fields="""
    groups              []DescribeShareGroupOffsetsRequestGroup
        group_id        string
        topics          []DescribeShareGroupOffsetsRequestTopic  nullable
            topic_name  string
            partitions  []int32
""")

DESCRIBE_SHARE_GROUP_OFFSETS_RESPONSE = Message(
    "DescribeShareGroupOffsetsResponse", api_key=90, versions="0-1", flexible="0+", fields="""
    throttle_time_ms             int32
    groups                       []DescribeShareGroupOffsetsResponseGroup
        group_id                 string
        topics                   []DescribeShareGroupOffsetsResponseTopic
            topic_name           string
            topic_id             uuid
            partitions           []DescribeShareGroupOffsetsResponsePartition
                partition_index  int32
                start_offset     int64
                leader_epoch     int32
                lag              int64                                         1+ default=-1 ignorable
                error_code       int16
                error_message    string                                        nullable default=null
        error_code               int16
        error_message            string                                        nullable default=null
""")

ALTER_SHARE_GROUP_OFFSETS_REQUEST = Message(
    "AlterShareGroupOffsetsRequest", api_key=91, versions="0", flexible="0+", fields="""
    group_id                 string
    topics                   []AlterShareGroupOffsetsRequestTopic
        topic_name           string
        partitions           []AlterShareGroupOffsetsRequestPartition
            partition_index  int32
            start_offset     int64
""")

ALTER_SHARE_GROUP_OFFSETS_RESPONSE = Message(
    "AlterShareGroupOffsetsResponse", api_key=91, versions="0", flexible="0+", fields="""
    throttle_time_ms         int32
    error_code               int16
    error_message            string                                     nullable default=null
    responses                []AlterShareGroupOffsetsResponseTopic
        topic_name           string
        topic_id             uuid
        partitions           []AlterShareGroupOffsetsResponsePartition
            partition_index  int32
            error_code       int16
            error_message    string                                     nullable default=null
""")

DELETE_SHARE_GROUP_OFFSETS_REQUEST = Message(
    "DeleteShareGroupOffsetsRequest", api_key=92, versions="0", flexible="0+", fields="""
    group_id        string
    topics          []DeleteShareGroupOffsetsRequestTopic
        topic_name  string
""")

DELETE_SHARE_GROUP_OFFSETS_RESPONSE = Message(
    "DeleteShareGroupOffsetsResponse", api_key=92, versions="0", flexible="0+", fields="""
    throttle_time_ms   int32
    error_code         int16
    error_message      string                                  nullable default=null
    responses          []DeleteShareGroupOffsetsResponseTopic
        topic_name     string
        topic_id       uuid
        error_code     int16
        error_message  string                                  nullable default=null
""")
