"""Schemas of what the coordinators keep: __consumer_offsets, __transaction_state, __share_group_state.

A record is a pair: the key is an int16 record type and a body that is never flexible, the value an int16 version and
a body. `api_key` is the record type.
"""

from __future__ import annotations

from pykafkacore.protocol.schema import Message

LEGACY_OFFSET_COMMIT_KEY = Message("LegacyOffsetCommitKey", api_key=0, versions="0", fields="""
    group      string
    topic      string
    partition  int32
""")

LEGACY_OFFSET_COMMIT_VALUE = Message("LegacyOffsetCommitValue", api_key=0, versions="0", fields="""
    offset            int64
    metadata          string
    commit_timestamp  int64
""")

OFFSET_COMMIT_KEY = Message("OffsetCommitKey", api_key=1, versions="0", fields="""
    group      string
    topic      string
    partition  int32
""")

OFFSET_COMMIT_VALUE = Message("OffsetCommitValue", api_key=1, versions="0-4", flexible="4+", fields="""
    offset            int64
    leader_epoch      int32   3+ default=-1 ignorable
    metadata          string
    commit_timestamp  int64
    expire_timestamp  int64   1 default=-1 ignorable
    topic_id          uuid    4+ tag=0 ignorable
""")

GROUP_METADATA_KEY = Message("GroupMetadataKey", api_key=2, versions="0", fields="""
    group  string
""")

GROUP_METADATA_VALUE = Message("GroupMetadataValue", api_key=2, versions="0-4", flexible="4+", fields="""
    protocol_type            string
    generation               int32
    protocol                 string            nullable
    leader                   string            nullable
    current_state_timestamp  int64             2+ default=-1 ignorable
    members                  []MemberMetadata
        member_id            string
        group_instance_id    string            3+ nullable default=null ignorable
        client_id            string
        client_host          string
        rebalance_timeout    int32             1+ default=-1 ignorable
        session_timeout      int32
        subscription         bytes
        assignment           bytes
""")

CONSUMER_GROUP_METADATA_KEY = Message("ConsumerGroupMetadataKey", api_key=3, versions="0", fields="""
    group_id  string
""")

CONSUMER_GROUP_METADATA_VALUE = Message("ConsumerGroupMetadataValue", api_key=3, versions="0", flexible="0+", fields="""
    epoch          int32
    metadata_hash  int64  tag=0
""")

CONSUMER_GROUP_PARTITION_METADATA_KEY = Message("ConsumerGroupPartitionMetadataKey", api_key=4, versions="0", fields="""
    group_id  string
""")

CONSUMER_GROUP_PARTITION_METADATA_VALUE = Message(
    "ConsumerGroupPartitionMetadataValue", api_key=4, versions="0", flexible="0+", fields="""
    topics                  []TopicMetadata
        topic_id            uuid
        topic_name          string
        num_partitions      int32
        partition_metadata  []PartitionMetadata
            partition       int32
            racks           []string
""")

CONSUMER_GROUP_MEMBER_METADATA_KEY = Message("ConsumerGroupMemberMetadataKey", api_key=5, versions="0", fields="""
    group_id   string
    member_id  string
""")

CONSUMER_GROUP_MEMBER_METADATA_VALUE = Message(
    "ConsumerGroupMemberMetadataValue", api_key=5, versions="0", flexible="0+", fields="""
    instance_id              string                 nullable
    rack_id                  string                 nullable
    client_id                string
    client_host              string
    subscribed_topic_names   []string
    subscribed_topic_regex   string                 nullable
    rebalance_timeout_ms     int32                  default=-1
    server_assignor          string                 nullable
    classic_member_metadata  ClassicMemberMetadata  nullable tag=0
        session_timeout_ms   int32
        supported_protocols  []ClassicProtocol
            name             string
            metadata         bytes
""")

CONSUMER_GROUP_TARGET_ASSIGNMENT_METADATA_KEY = Message(
    "ConsumerGroupTargetAssignmentMetadataKey", api_key=6, versions="0", fields="""
    group_id  string
""")

CONSUMER_GROUP_TARGET_ASSIGNMENT_METADATA_VALUE = Message(
    "ConsumerGroupTargetAssignmentMetadataValue", api_key=6, versions="0", flexible="0+", fields="""
    assignment_epoch      int32
    assignment_timestamp  int64  tag=0 ignorable
""")

CONSUMER_GROUP_TARGET_ASSIGNMENT_MEMBER_KEY = Message(
    "ConsumerGroupTargetAssignmentMemberKey", api_key=7, versions="0", fields="""
    group_id   string
    member_id  string
""")

CONSUMER_GROUP_TARGET_ASSIGNMENT_MEMBER_VALUE = Message(
    "ConsumerGroupTargetAssignmentMemberValue", api_key=7, versions="0", flexible="0+", fields="""
    topic_partitions  []TopicPartition
        topic_id      uuid
        partitions    []int32
""")

CONSUMER_GROUP_CURRENT_MEMBER_ASSIGNMENT_KEY = Message(
    "ConsumerGroupCurrentMemberAssignmentKey", api_key=8, versions="0", fields="""
    group_id   string
    member_id  string
""")

CONSUMER_GROUP_CURRENT_MEMBER_ASSIGNMENT_VALUE = Message(
    "ConsumerGroupCurrentMemberAssignmentValue", api_key=8, versions="0", flexible="0+", fields="""
    member_epoch                   int32
    previous_member_epoch          int32
    state                          int8
    assigned_partitions            []TopicPartitions
        topic_id                   uuid
        partitions                 []int32
        assignment_epochs          []int32            nullable tag=0
    partitions_pending_revocation  []TopicPartitions
""")

SHARE_GROUP_MEMBER_METADATA_KEY = Message("ShareGroupMemberMetadataKey", api_key=10, versions="0", fields="""
    group_id   string
    member_id  string
""")

SHARE_GROUP_MEMBER_METADATA_VALUE = Message(
    "ShareGroupMemberMetadataValue", api_key=10, versions="0", flexible="0+", fields="""
    rack_id                 string    nullable
    client_id               string
    client_host             string
    subscribed_topic_names  []string
""")

SHARE_GROUP_METADATA_KEY = Message("ShareGroupMetadataKey", api_key=11, versions="0", fields="""
    group_id  string
""")

SHARE_GROUP_METADATA_VALUE = Message("ShareGroupMetadataValue", api_key=11, versions="0", flexible="0+", fields="""
    epoch          int32
    metadata_hash  int64
""")

SHARE_GROUP_TARGET_ASSIGNMENT_METADATA_KEY = Message(
    "ShareGroupTargetAssignmentMetadataKey", api_key=12, versions="0", fields="""
    group_id  string
""")

SHARE_GROUP_TARGET_ASSIGNMENT_METADATA_VALUE = Message(
    "ShareGroupTargetAssignmentMetadataValue", api_key=12, versions="0", flexible="0+", fields="""
    assignment_epoch      int32
    assignment_timestamp  int64  tag=0 ignorable
""")

SHARE_GROUP_TARGET_ASSIGNMENT_MEMBER_KEY = Message(
    "ShareGroupTargetAssignmentMemberKey", api_key=13, versions="0", fields="""
    group_id   string
    member_id  string
""")

SHARE_GROUP_TARGET_ASSIGNMENT_MEMBER_VALUE = Message(
    "ShareGroupTargetAssignmentMemberValue", api_key=13, versions="0", flexible="0+", fields="""
    topic_partitions  []TopicPartition
        topic_id      uuid
        partitions    []int32
""")

SHARE_GROUP_CURRENT_MEMBER_ASSIGNMENT_KEY = Message(
    "ShareGroupCurrentMemberAssignmentKey", api_key=14, versions="0", fields="""
    group_id   string
    member_id  string
""")

SHARE_GROUP_CURRENT_MEMBER_ASSIGNMENT_VALUE = Message(
    "ShareGroupCurrentMemberAssignmentValue", api_key=14, versions="0", flexible="0+", fields="""
    member_epoch           int32
    previous_member_epoch  int32
    state                  int8
    assigned_partitions    []TopicPartitions
        topic_id           uuid
        partitions         []int32
""")

SHARE_GROUP_STATE_PARTITION_METADATA_KEY = Message(
    "ShareGroupStatePartitionMetadataKey", api_key=15, versions="0", fields="""
    group_id  string
""")

SHARE_GROUP_STATE_PARTITION_METADATA_VALUE = Message(
    "ShareGroupStatePartitionMetadataValue", api_key=15, versions="0", flexible="0+", fields="""
    initializing_topics  []TopicPartitionsInfo
        topic_id         uuid
        topic_name       string
        partitions       []int32
    initialized_topics   []TopicPartitionsInfo
    deleting_topics      []TopicInfo
        topic_id         uuid
        topic_name       string
""")

CONSUMER_GROUP_REGULAR_EXPRESSION_KEY = Message(
    "ConsumerGroupRegularExpressionKey", api_key=16, versions="0", fields="""
    group_id            string
    regular_expression  string
""")

CONSUMER_GROUP_REGULAR_EXPRESSION_VALUE = Message(
    "ConsumerGroupRegularExpressionValue", api_key=16, versions="0", flexible="0+", fields="""
    topics     []string
    version    int64
    timestamp  int64
""")

STREAMS_GROUP_METADATA_KEY = Message("StreamsGroupMetadataKey", api_key=17, versions="0", fields="""
    group_id  string
""")

STREAMS_GROUP_METADATA_VALUE = Message("StreamsGroupMetadataValue", api_key=17, versions="0", flexible="0+", fields="""
    epoch                              int32
    metadata_hash                      int64
    validated_topology_epoch           int32                   tag=0 default=-1
    last_assignment_configs            []LastAssignmentConfig  nullable tag=1
        key                            string
        value                          string
    stored_description_topology_epoch  int32                   tag=2 default=-1
    failed_description_topology_epoch  int32                   tag=3 default=-1
""")

STREAMS_GROUP_MEMBER_METADATA_KEY = Message("StreamsGroupMemberMetadataKey", api_key=19, versions="0", fields="""
    group_id   string
    member_id  string
""")

STREAMS_GROUP_MEMBER_METADATA_VALUE = Message(
    "StreamsGroupMemberMetadataValue", api_key=19, versions="0", flexible="0+", fields="""
    instance_id           string      nullable
    rack_id               string      nullable
    client_id             string
    client_host           string
    rebalance_timeout_ms  int32       default=-1
    topology_epoch        int32
    process_id            string
    user_endpoint         Endpoint    nullable default=null
        host              string
        port              uint16
    client_tags           []KeyValue
        key               string
        value             string
""")

STREAMS_GROUP_TARGET_ASSIGNMENT_METADATA_KEY = Message(
    "StreamsGroupTargetAssignmentMetadataKey", api_key=20, versions="0", fields="""
    group_id  string
""")

STREAMS_GROUP_TARGET_ASSIGNMENT_METADATA_VALUE = Message(
    "StreamsGroupTargetAssignmentMetadataValue", api_key=20, versions="0", flexible="0+", fields="""
    assignment_epoch      int32
    assignment_timestamp  int64  tag=0 ignorable
""")

STREAMS_GROUP_TARGET_ASSIGNMENT_MEMBER_KEY = Message(
    "StreamsGroupTargetAssignmentMemberKey", api_key=21, versions="0", fields="""
    group_id   string
    member_id  string
""")

STREAMS_GROUP_TARGET_ASSIGNMENT_MEMBER_VALUE = Message(
    "StreamsGroupTargetAssignmentMemberValue", api_key=21, versions="0", flexible="0+", fields="""
    active_tasks        []TaskIds
        subtopology_id  string
        partitions      []int32
    standby_tasks       []TaskIds
    warmup_tasks        []TaskIds
""")

STREAMS_GROUP_CURRENT_MEMBER_ASSIGNMENT_KEY = Message(
    "StreamsGroupCurrentMemberAssignmentKey", api_key=22, versions="0", fields="""
    group_id   string
    member_id  string
""")

STREAMS_GROUP_CURRENT_MEMBER_ASSIGNMENT_VALUE = Message(
    "StreamsGroupCurrentMemberAssignmentValue", api_key=22, versions="0", flexible="0+", fields="""
    member_epoch                      int32
    previous_member_epoch             int32
    state                             int8
    active_tasks                      []TaskIds
        subtopology_id                string
        partitions                    []int32
        assignment_epochs             []int32    nullable tag=0
    standby_tasks                     []TaskIds
    warmup_tasks                      []TaskIds
    active_tasks_pending_revocation   []TaskIds
    standby_tasks_pending_revocation  []TaskIds
    warmup_tasks_pending_revocation   []TaskIds
""")

STREAMS_GROUP_TOPOLOGY_KEY = Message("StreamsGroupTopologyKey", api_key=23, versions="0", fields="""
    group_id  string
""")

STREAMS_GROUP_TOPOLOGY_VALUE = Message("StreamsGroupTopologyValue", api_key=23, versions="0", flexible="0+", fields="""
    epoch                              int32
    subtopologies                      []Subtopology
        subtopology_id                 string
        source_topics                  []string
        source_topic_regex             []string
        state_changelog_topics         []TopicInfo
            name                       string
            partitions                 int32
            replication_factor         int16
            topic_configs              []TopicConfig
                key                    string
                value                  string
        repartition_sink_topics        []string
        repartition_source_topics      []TopicInfo
        copartition_groups             []CopartitionGroup
            source_topics              []int16
            source_topic_regex         []int16
            repartition_source_topics  []int16
""")

TRANSACTION_LOG_KEY = Message("TransactionLogKey", api_key=0, versions="0", fields="""
    transactional_id  string
""")

TRANSACTION_LOG_VALUE = Message("TransactionLogValue", api_key=0, versions="0-1", flexible="1+", fields="""
    producer_id                           int64
    previous_producer_id                  int64               1+ tag=0 default=-1
    next_producer_id                      int64               1+ tag=1 default=-1
    producer_epoch                        int16
    next_producer_epoch                   int16               1+ tag=3 default=-1
    transaction_timeout_ms                int32
    transaction_status                    int8
    transaction_partitions                []PartitionsSchema  nullable
        topic                             string
        partition_ids                     []int32
    transaction_last_update_timestamp_ms  int64
    transaction_start_timestamp_ms        int64
    client_transaction_version            int16               1+ tag=2
""")

SHARE_SNAPSHOT_KEY = Message("ShareSnapshotKey", api_key=0, versions="0", fields="""
    group_id   string
    topic_id   uuid
    partition  int32
""")

SHARE_SNAPSHOT_VALUE = Message("ShareSnapshotValue", api_key=0, versions="0", flexible="0+", fields="""
    snapshot_epoch           int32
    state_epoch              int32
    leader_epoch             int32
    start_offset             int64
    delivery_complete_count  int32         tag=0 default=-1
    create_timestamp         int64
    write_timestamp          int64
    state_batches            []StateBatch
        first_offset         int64
        last_offset          int64
        delivery_state       int8
        delivery_count       int16
""")

SHARE_UPDATE_KEY = Message("ShareUpdateKey", api_key=1, versions="0", fields="""
    group_id   string
    topic_id   uuid
    partition  int32
""")

SHARE_UPDATE_VALUE = Message("ShareUpdateValue", api_key=1, versions="0", flexible="0+", fields="""
    snapshot_epoch           int32
    leader_epoch             int32
    start_offset             int64
    delivery_complete_count  int32         tag=0 default=-1
    state_batches            []StateBatch
        first_offset         int64
        last_offset          int64
        delivery_state       int8
        delivery_count       int16
""")
