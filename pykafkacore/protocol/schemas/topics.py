"""Schemas of topic administration: creation, deletion, partitions, elections, reassignment."""

from __future__ import annotations

from pykafkacore.protocol.schema import Message

CREATE_TOPICS_REQUEST = Message("CreateTopicsRequest", api_key=19, versions="2-7", flexible="5+", fields="""
    topics                   []CreatableTopic
        name                 string
        num_partitions       int32
        replication_factor   int16
        assignments          []CreatableReplicaAssignment
            partition_index  int32
            broker_ids       []int32
        configs              []CreatableTopicConfig
            name             string
            value            string                        nullable
    timeout_ms               int32                         default=60000
    validate_only            bool
""")

CREATE_TOPICS_RESPONSE = Message("CreateTopicsResponse", api_key=19, versions="2-7", flexible="5+", fields="""
    throttle_time_ms             int32                    ignorable
    topics                       []CreatableTopicResult
        name                     string
        topic_id                 uuid                     7+ ignorable
        error_code               int16
        error_message            string                   nullable ignorable
        topic_config_error_code  int16                    5+ tag=0 ignorable
        num_partitions           int32                    5+ default=-1 ignorable
        replication_factor       int16                    5+ default=-1 ignorable
        configs                  []CreatableTopicConfigs  5+ nullable ignorable
            name                 string
            value                string                   nullable
            read_only            bool
            config_source        int8                     default=-1 ignorable
            is_sensitive         bool
""")

DELETE_TOPICS_REQUEST = Message("DeleteTopicsRequest", api_key=20, versions="1-6", flexible="4+", fields="""
    topics        []DeleteTopicState  6+
        name      string              nullable default=null
        topic_id  uuid
    topic_names   []string            0-5 ignorable
    timeout_ms    int32
""")

DELETE_TOPICS_RESPONSE = Message("DeleteTopicsResponse", api_key=20, versions="1-6", flexible="4+", fields="""
    throttle_time_ms   int32                   ignorable
    responses          []DeletableTopicResult
        name           string                  nullable=6+
        topic_id       uuid                    6+ ignorable
        error_code     int16
        error_message  string                  5+ nullable default=null ignorable
""")

CREATE_PARTITIONS_REQUEST = Message("CreatePartitionsRequest", api_key=37, versions="0-3", flexible="2+", fields="""
    topics              []CreatePartitionsTopic
        name            string
        count           int32
        assignments     []CreatePartitionsAssignment  nullable
            broker_ids  []int32
    timeout_ms          int32
    validate_only       bool
""")

CREATE_PARTITIONS_RESPONSE = Message("CreatePartitionsResponse", api_key=37, versions="0-3", flexible="2+", fields="""
    throttle_time_ms   int32
    results            []CreatePartitionsTopicResult
        name           string
        error_code     int16
        error_message  string                         nullable default=null
""")

DELETE_RECORDS_REQUEST = Message("DeleteRecordsRequest", api_key=21, versions="0-2", flexible="2+", fields="""
    topics                   []DeleteRecordsTopic
        name                 string
        partitions           []DeleteRecordsPartition
            partition_index  int32
            offset           int64
    timeout_ms               int32
""")

DELETE_RECORDS_RESPONSE = Message("DeleteRecordsResponse", api_key=21, versions="0-2", flexible="2+", fields="""
    throttle_time_ms         int32
    topics                   []DeleteRecordsTopicResult
        name                 string
        partitions           []DeleteRecordsPartitionResult
            partition_index  int32
            low_watermark    int64
            error_code       int16
""")

DESCRIBE_TOPIC_PARTITIONS_REQUEST = Message(
    "DescribeTopicPartitionsRequest", api_key=75, versions="0", flexible="0+", fields="""
    topics                    []TopicRequest
        name                  string
    response_partition_limit  int32           default=2000
    cursor                    Cursor          nullable default=null
        topic_name            string
        partition_index       int32
""")

DESCRIBE_TOPIC_PARTITIONS_RESPONSE = Message(
    "DescribeTopicPartitionsResponse", api_key=75, versions="0", flexible="0+", fields="""
    throttle_time_ms                  int32                                       ignorable
    topics                            []DescribeTopicPartitionsResponseTopic
        error_code                    int16
        name                          string                                      nullable
        topic_id                      uuid                                        ignorable
        is_internal                   bool                                        ignorable
        partitions                    []DescribeTopicPartitionsResponsePartition
            error_code                int16
            partition_index           int32
            leader_id                 int32
            leader_epoch              int32                                       default=-1 ignorable
            replica_nodes             []int32
            isr_nodes                 []int32
            eligible_leader_replicas  []int32                                     nullable default=null
            last_known_elr            []int32                                     nullable default=null
            offline_replicas          []int32                                     ignorable
        topic_authorized_operations   int32                                       default=-2147483648
    next_cursor                       Cursor                                      nullable default=null
        topic_name                    string
        partition_index               int32
""")

ELECT_LEADERS_REQUEST = Message("ElectLeadersRequest", api_key=43, versions="0-2", flexible="2+", fields="""
    election_type     int8               1+
    topic_partitions  []TopicPartitions  nullable
        topic         string
        partitions    []int32
    timeout_ms        int32              default=60000
""")

ELECT_LEADERS_RESPONSE = Message("ElectLeadersResponse", api_key=43, versions="0-2", flexible="2+", fields="""
    throttle_time_ms          int32
    error_code                int16                    1+
    replica_election_results  []ReplicaElectionResult
        topic                 string
        partition_result      []PartitionResult
            partition_id      int32
            error_code        int16
            error_message     string                   nullable
""")

ALTER_PARTITION_REASSIGNMENTS_REQUEST = Message(
    "AlterPartitionReassignmentsRequest", api_key=45, versions="0-1", flexible="0+", fields="""
    timeout_ms                       int32                    default=60000
    allow_replication_factor_change  bool                     1+ default=true
    topics                           []ReassignableTopic
        name                         string
        partitions                   []ReassignablePartition
            partition_index          int32
            replicas                 []int32                  nullable default=null
""")

ALTER_PARTITION_REASSIGNMENTS_RESPONSE = Message(
    "AlterPartitionReassignmentsResponse", api_key=45, versions="0-1", flexible="0+", fields="""
    throttle_time_ms                 int32
    allow_replication_factor_change  bool                             1+ default=true ignorable
    error_code                       int16
    error_message                    string                           nullable
    responses                        []ReassignableTopicResponse
        name                         string
        partitions                   []ReassignablePartitionResponse
            partition_index          int32
            error_code               int16
            error_message            string                           nullable
""")

LIST_PARTITION_REASSIGNMENTS_REQUEST = Message(
    "ListPartitionReassignmentsRequest", api_key=46, versions="0", flexible="0+", fields="""
    timeout_ms             int32                               default=60000
    topics                 []ListPartitionReassignmentsTopics  nullable default=null
        name               string
        partition_indexes  []int32
""")

LIST_PARTITION_REASSIGNMENTS_RESPONSE = Message(
    "ListPartitionReassignmentsResponse", api_key=46, versions="0", flexible="0+", fields="""
    throttle_time_ms           int32
    error_code                 int16
    error_message              string                          nullable
    topics                     []OngoingTopicReassignment
        name                   string
        partitions             []OngoingPartitionReassignment
            partition_index    int32
            replicas           []int32
            adding_replicas    []int32
            removing_replicas  []int32
""")
