"""Schemas of streams groups."""

from __future__ import annotations

from pykafkacore.protocol.schema import Message

STREAMS_GROUP_HEARTBEAT_REQUEST = Message(
    "StreamsGroupHeartbeatRequest", api_key=88, versions="0-1", flexible="0+", fields="""
    group_id                               string
    member_id                              string
    member_epoch                           int32
    endpoint_information_epoch             int32
    instance_id                            string              nullable default=null
    rack_id                                string              nullable default=null
    rebalance_timeout_ms                   int32               default=-1
    topology                               Topology            nullable default=null
        epoch                              int32
        subtopologies                      []Subtopology
            subtopology_id                 string
            source_topics                  []string
            source_topic_regex             []string
            state_changelog_topics         []TopicInfo
                name                       string
                partitions                 int32
                replication_factor         int16
                topic_configs              []KeyValue
                    key                    string
                    value                  string
            repartition_sink_topics        []string
            repartition_source_topics      []TopicInfo
            copartition_groups             []CopartitionGroup
                source_topics              []int16
                source_topic_regex         []int16
                repartition_source_topics  []int16
    active_tasks                           []TaskIds           nullable default=null
        subtopology_id                     string
        partitions                         []int32
    standby_tasks                          []TaskIds           nullable default=null
    warmup_tasks                           []TaskIds           nullable default=null
    process_id                             string              nullable default=null
    user_endpoint                          Endpoint            nullable default=null
        host                               string
        port                               uint16
    client_tags                            []KeyValue          nullable default=null
    task_offsets                           []TaskOffset        nullable default=null
        subtopology_id                     string
        partition                          int32
        offset                             int64
    task_end_offsets                       []TaskOffset        nullable default=null
    shutdown_application                   bool
""")

STREAMS_GROUP_HEARTBEAT_RESPONSE = Message(
    "StreamsGroupHeartbeatResponse", api_key=88, versions="0-1", flexible="0+", fields="""
    throttle_time_ms                int32
    error_code                      int16
    error_message                   string                  nullable default=null
    member_id                       string
    member_epoch                    int32
    heartbeat_interval_ms           int32
    acceptable_recovery_lag_legacy  int32                   0
    task_offset_interval_ms         int32
    acceptable_recovery_lag         int64                   1+ default=-1 ignorable
    status                          []Status                nullable
        status_code                 int8
        status_detail               string
    active_tasks                    []TaskIds               nullable default=null
        subtopology_id              string
        partitions                  []int32
    standby_tasks                   []TaskIds               nullable default=null
    warmup_tasks                    []TaskIds               nullable default=null
    topology_description_required   bool                    1+
    endpoint_information_epoch      int32
    partitions_by_user_endpoint     []EndpointToPartitions  nullable default=null
        user_endpoint               Endpoint
            host                    string
            port                    uint16
        active_partitions           []TopicPartition
            topic                   string
            partitions              []int32
        standby_partitions          []TopicPartition
""")

STREAMS_GROUP_DESCRIBE_REQUEST = Message(
    "StreamsGroupDescribeRequest", api_key=89, versions="0-1", flexible="0+", fields="""
    group_ids                      []string
    include_authorized_operations  bool
    include_topology_description   bool      1+
""")

STREAMS_GROUP_DESCRIBE_RESPONSE = Message(
    "StreamsGroupDescribeResponse", api_key=89, versions="0-1", flexible="0+", fields="""
    throttle_time_ms                       int32
    groups                                 []DescribedGroup
        error_code                         int16
        error_message                      string                            nullable default=null
        group_id                           string
        group_state                        string
        group_epoch                        int32
        assignment_epoch                   int32
        topology                           Topology                          nullable default=null
            epoch                          int32
            subtopologies                  []Subtopology                     nullable default=null
                subtopology_id             string
                source_topics              []string
                repartition_sink_topics    []string
                state_changelog_topics     []TopicInfo
                    name                   string
                    partitions             int32
                    replication_factor     int16
                    topic_configs          []KeyValue
                        key                string
                        value              string
                repartition_source_topics  []TopicInfo
        members                            []Member
            member_id                      string
            member_epoch                   int32
            instance_id                    string                            nullable default=null
            rack_id                        string                            nullable default=null
            client_id                      string
            client_host                    string
            topology_epoch                 int32
            process_id                     string
            user_endpoint                  Endpoint                          nullable default=null
                host                       string
                port                       uint16
            client_tags                    []KeyValue
            task_offsets                   []TaskOffset
                subtopology_id             string
                partition                  int32
                offset                     int64
            task_end_offsets               []TaskOffset
            assignment                     Assignment
                active_tasks               []TaskIds
                    subtopology_id         string
                    partitions             []int32
                standby_tasks              []TaskIds
                warmup_tasks               []TaskIds
            target_assignment              Assignment
            is_classic                     bool
        authorized_operations              int32                             default=-2147483648
        topology_description               TopologyDescription               1+ nullable default=null
            subtopologies                  []TopologyDescriptionSubtopology
                subtopology_id             string
                nodes                      []TopologyDescriptionNode
                    name                   string
                    node_type              int8
                    source_topics          []string
                    sink_topic             string                            nullable default=null
                    stores                 []string
                    successors             []string
            global_stores                  []TopologyDescriptionGlobalStore
                source                     TopologyDescriptionNode
                processor                  TopologyDescriptionNode
        topology_description_status        int8                              1+
        assignor_name                      string                            1+ nullable default=null ignorable
""")

STREAMS_GROUP_TOPOLOGY_DESCRIPTION_UPDATE_REQUEST = Message(
    "StreamsGroupTopologyDescriptionUpdateRequest", api_key=93, versions="0", flexible="0+", fields="""
    group_id                   string
    member_id                  string
    topology_epoch             int32
    topology_description       TopologyDescription
        subtopologies          []TopologyDescriptionSubtopology
            subtopology_id     string
            nodes              []TopologyDescriptionNode
                name           string
                node_type      int8
                source_topics  []string
                sink_topic     string                            nullable default=null
                stores         []string
                successors     []string
        global_stores          []TopologyDescriptionGlobalStore
            source             TopologyDescriptionNode
            processor          TopologyDescriptionNode
""")

STREAMS_GROUP_TOPOLOGY_DESCRIPTION_UPDATE_RESPONSE = Message(
    "StreamsGroupTopologyDescriptionUpdateResponse", api_key=93, versions="0", flexible="0+", fields="""
    throttle_time_ms  int32
    error_code        int16
    error_message     string  nullable default=null
""")
