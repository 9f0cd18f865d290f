"""Schemas of classic and consumer groups, their offsets, and the consumer protocol embedded in classic groups."""

from __future__ import annotations

from pykafkacore.protocol.schema import Message

FIND_COORDINATOR_REQUEST = Message("FindCoordinatorRequest", api_key=10, versions="0-6", flexible="3+", fields="""
    key               string    0-3
    key_type          int8      1+
    coordinator_keys  []string  4+
""")

FIND_COORDINATOR_RESPONSE = Message("FindCoordinatorResponse", api_key=10, versions="0-6", flexible="3+", fields="""
    throttle_time_ms   int32          1+ ignorable
    error_code         int16          0-3
    error_message      string         1-3 nullable ignorable
    node_id            int32          0-3
    host               string         0-3
    port               int32          0-3
    coordinators       []Coordinator  4+
        key            string
        node_id        int32
        host           string
        port           int32
        error_code     int16
        error_message  string         nullable ignorable
""")

JOIN_GROUP_REQUEST = Message("JoinGroupRequest", api_key=11, versions="0-9", flexible="6+", fields="""
    group_id              string
    session_timeout_ms    int32
    rebalance_timeout_ms  int32                       1+ default=-1 ignorable
    member_id             string
    group_instance_id     string                      5+ nullable default=null
    protocol_type         string
    protocols             []JoinGroupRequestProtocol
        name              string
        metadata          bytes
    reason                string                      8+ nullable default=null ignorable
""")

JOIN_GROUP_RESPONSE = Message("JoinGroupResponse", api_key=11, versions="0-9", flexible="6+", fields="""
    throttle_time_ms       int32                      2+ ignorable
    error_code             int16
    generation_id          int32                      default=-1
    protocol_type          string                     7+ nullable default=null ignorable
    protocol_name          string                     nullable=7+
    leader                 string
    skip_assignment        bool                       9+
    member_id              string
    members                []JoinGroupResponseMember
        member_id          string
        group_instance_id  string                     5+ nullable default=null ignorable
        metadata           bytes
""")

SYNC_GROUP_REQUEST = Message("SyncGroupRequest", api_key=14, versions="0-5", flexible="4+", fields="""
    group_id           string
    generation_id      int32
    member_id          string
    group_instance_id  string                        3+ nullable default=null
    protocol_type      string                        5+ nullable default=null ignorable
    protocol_name      string                        5+ nullable default=null ignorable
    assignments        []SyncGroupRequestAssignment
        member_id      string
        assignment     bytes
""")

SYNC_GROUP_RESPONSE = Message("SyncGroupResponse", api_key=14, versions="0-5", flexible="4+", fields="""
    throttle_time_ms  int32   1+ ignorable
    error_code        int16
    protocol_type     string  5+ nullable default=null ignorable
    protocol_name     string  5+ nullable default=null ignorable
    assignment        bytes
""")

HEARTBEAT_REQUEST = Message("HeartbeatRequest", api_key=12, versions="0-4", flexible="4+", fields="""
    group_id           string
    generation_id      int32
    member_id          string
    group_instance_id  string  3+ nullable default=null
""")

HEARTBEAT_RESPONSE = Message("HeartbeatResponse", api_key=12, versions="0-4", flexible="4+", fields="""
    throttle_time_ms  int32  1+ ignorable
    error_code        int16
""")

LEAVE_GROUP_REQUEST = Message("LeaveGroupRequest", api_key=13, versions="0-5", flexible="4+", fields="""
    group_id               string
    member_id              string            0-2
    members                []MemberIdentity  3+
        member_id          string
        group_instance_id  string            nullable default=null
        reason             string            5+ nullable default=null ignorable
""")

LEAVE_GROUP_RESPONSE = Message("LeaveGroupResponse", api_key=13, versions="0-5", flexible="4+", fields="""
    throttle_time_ms       int32             1+ ignorable
    error_code             int16
    members                []MemberResponse  3+
        member_id          string
        group_instance_id  string            nullable
        error_code         int16
""")

DESCRIBE_GROUPS_REQUEST = Message("DescribeGroupsRequest", api_key=15, versions="0-6", flexible="5+", fields="""
    groups                         []string
    include_authorized_operations  bool      3+
""")

DESCRIBE_GROUPS_RESPONSE = Message("DescribeGroupsResponse", api_key=15, versions="0-6", flexible="5+", fields="""
    throttle_time_ms           int32                   1+ ignorable
    groups                     []DescribedGroup
        error_code             int16
        error_message          string                  6+ nullable default=null
        group_id               string
        group_state            string
        protocol_type          string
        protocol_data          string
        members                []DescribedGroupMember
            member_id          string
            group_instance_id  string                  4+ nullable default=null ignorable
            client_id          string
            client_host        string
            member_metadata    bytes
            member_assignment  bytes
        authorized_operations  int32                   3+ default=-2147483648
""")

LIST_GROUPS_REQUEST = Message("ListGroupsRequest", api_key=16, versions="0-5", flexible="3+", fields="""
    states_filter  []string  4+
    types_filter   []string  5+
""")

LIST_GROUPS_RESPONSE = Message("ListGroupsResponse", api_key=16, versions="0-5", flexible="3+", fields="""
    throttle_time_ms   int32          1+ ignorable
    error_code         int16
    groups             []ListedGroup
        group_id       string
        protocol_type  string
        group_state    string         4+ ignorable
        group_type     string         5+ ignorable
""")

DELETE_GROUPS_REQUEST = Message("DeleteGroupsRequest", api_key=42, versions="0-3", flexible="2+", fields="""
    groups_names  []string
""")

DELETE_GROUPS_RESPONSE = Message("DeleteGroupsResponse", api_key=42, versions="0-3", flexible="2+", fields="""
    throttle_time_ms   int32
    results            []DeletableGroupResult
        group_id       string
        error_code     int16
        error_message  string                  3+ nullable default=null ignorable
""")

OFFSET_COMMIT_REQUEST = Message("OffsetCommitRequest", api_key=8, versions="2-10", flexible="8+", fields="""
    group_id                        string
    generation_id_or_member_epoch   int32                           default=-1 ignorable
    member_id                       string                          ignorable
    group_instance_id               string                          7+ nullable default=null
    retention_time_ms               int64                           2-4 default=-1 ignorable
    topics                          []OffsetCommitRequestTopic
        name                        string                          0-9 ignorable
        topic_id                    uuid                            10+ ignorable
        partitions                  []OffsetCommitRequestPartition
            partition_index         int32
            committed_offset        int64
            committed_leader_epoch  int32                           6+ default=-1 ignorable
            committed_metadata      string                          nullable
""")

OFFSET_COMMIT_RESPONSE = Message("OffsetCommitResponse", api_key=8, versions="2-10", flexible="8+", fields="""
    throttle_time_ms         int32                            3+ ignorable
    topics                   []OffsetCommitResponseTopic
        name                 string                           0-9 ignorable
        topic_id             uuid                             10+ ignorable
        partitions           []OffsetCommitResponsePartition
            partition_index  int32
            error_code       int16
""")

OFFSET_FETCH_REQUEST = Message("OffsetFetchRequest", api_key=9, versions="1-10", flexible="6+", fields="""
    group_id                   string                      0-7
    topics                     []OffsetFetchRequestTopic   0-7 nullable=2-7
        name                   string
        partition_indexes      []int32
    groups                     []OffsetFetchRequestGroup   8+
        group_id               string
        member_id              string                      9+ nullable default=null ignorable
        member_epoch           int32                       9+ default=-1 ignorable
        topics                 []OffsetFetchRequestTopics  nullable
            name               string                      8-9 ignorable
            topic_id           uuid                        10+ ignorable
            partition_indexes  []int32
    require_stable             bool                        7+
""")

OFFSET_FETCH_RESPONSE = Message("OffsetFetchResponse", api_key=9, versions="1-10", flexible="6+", fields="""
    throttle_time_ms                    int32                            3+ ignorable
    topics                              []OffsetFetchResponseTopic       0-7
        name                            string
        partitions                      []OffsetFetchResponsePartition
            partition_index             int32
            committed_offset            int64
            committed_leader_epoch      int32                            5-7 default=-1 ignorable
            metadata                    string                           nullable
            error_code                  int16
    error_code                          int16                            2-7 ignorable
    groups                              []OffsetFetchResponseGroup       8+
        group_id                        string
        topics                          []OffsetFetchResponseTopics
            name                        string                           8-9 ignorable
            topic_id                    uuid                             10+ ignorable
            partitions                  []OffsetFetchResponsePartitions
                partition_index         int32
                committed_offset        int64
                committed_leader_epoch  int32                            default=-1 ignorable
                metadata                string                           nullable
                error_code              int16
        error_code                      int16
""")

OFFSET_DELETE_REQUEST = Message("OffsetDeleteRequest", api_key=47, versions="0", fields="""
    group_id                 string
    topics                   []OffsetDeleteRequestTopic
        name                 string
        partitions           []OffsetDeleteRequestPartition
            partition_index  int32
""")

OFFSET_DELETE_RESPONSE = Message("OffsetDeleteResponse", api_key=47, versions="0", fields="""
    error_code               int16
    throttle_time_ms         int32                            ignorable
    topics                   []OffsetDeleteResponseTopic
        name                 string
        partitions           []OffsetDeleteResponsePartition
            partition_index  int32
            error_code       int16
""")

CONSUMER_GROUP_HEARTBEAT_REQUEST = Message(
    "ConsumerGroupHeartbeatRequest", api_key=68, versions="0-1", flexible="0+", fields="""
    group_id                string
    member_id               string
    member_epoch            int32
    instance_id             string             nullable default=null
    rack_id                 string             nullable default=null
    rebalance_timeout_ms    int32              default=-1
    subscribed_topic_names  []string           nullable default=null
    subscribed_topic_regex  string             1+ nullable default=null
    server_assignor         string             nullable default=null
    topic_partitions        []TopicPartitions  nullable default=null
        topic_id            uuid
        partitions          []int32
""")

CONSUMER_GROUP_HEARTBEAT_RESPONSE = Message(
    "ConsumerGroupHeartbeatResponse", api_key=68, versions="0-1", flexible="0+", fields="""
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

CONSUMER_GROUP_DESCRIBE_REQUEST = Message(
    "ConsumerGroupDescribeRequest", api_key=69, versions="0-1", flexible="0+", fields="""
    group_ids                      []string
    include_authorized_operations  bool
""")

CONSUMER_GROUP_DESCRIBE_RESPONSE = Message(
    "ConsumerGroupDescribeResponse", api_key=69, versions="0-1", flexible="0+", fields="""
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
            instance_id             string             nullable default=null
            rack_id                 string             nullable default=null
            member_epoch            int32
            client_id               string
            client_host             string
            subscribed_topic_names  []string
            subscribed_topic_regex  string             nullable default=null
            assignment              Assignment
                topic_partitions    []TopicPartitions
                    topic_id        uuid
                    topic_name      string
                    partitions      []int32
            target_assignment       Assignment
            member_type             int8               1+ default=-1 ignorable
        authorized_operations       int32              default=-2147483648
""")

CONSUMER_PROTOCOL_SUBSCRIPTION = Message("ConsumerProtocolSubscription", versions="0-3", fields="""
    topics            []string
    user_data         bytes             nullable default=null
    owned_partitions  []TopicPartition  1+ ignorable
        topic         string
        partitions    []int32
    generation_id     int32             2+ default=-1 ignorable
    rack_id           string            3+ nullable default=null ignorable
""")

CONSUMER_PROTOCOL_ASSIGNMENT = Message("ConsumerProtocolAssignment", versions="0-3", fields="""
    assigned_partitions  []TopicPartition
        topic            string
        partitions       []int32
    user_data            bytes             nullable default=null
""")
