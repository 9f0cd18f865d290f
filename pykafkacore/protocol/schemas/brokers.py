"""Schemas between brokers and controllers: registration, heartbeats, in-sync replicas, log directories, forwarding."""

from __future__ import annotations

from pykafkacore.protocol.schema import Message

BROKER_REGISTRATION_REQUEST = Message("BrokerRegistrationRequest", api_key=62, versions="0-4", flexible="0+", fields="""
    broker_id                  int32
    cluster_id                 string
    incarnation_id             uuid
    listeners                  []Listener
        name                   string
        host                   string
        port                   uint16
        security_protocol      int16
    features                   []Feature
        name                   string
        min_supported_version  int16
        max_supported_version  int16
    rack                       string      nullable
    is_migrating_zk_broker     bool        1+
    log_dirs                   []uuid      2+ ignorable
    previous_broker_epoch      int64       3+ default=-1 ignorable
""")

BROKER_REGISTRATION_RESPONSE = Message(
    "BrokerRegistrationResponse", api_key=62, versions="0-4", flexible="0+", fields="""
    throttle_time_ms  int32
    error_code        int16
    broker_epoch      int64  default=-1
""")

BROKER_HEARTBEAT_REQUEST = Message("BrokerHeartbeatRequest", api_key=63, versions="0-2", flexible="0+", fields="""
    broker_id                int32
    broker_epoch             int64   default=-1
    current_metadata_offset  int64
    want_fence               bool
    want_shut_down           bool
    offline_log_dirs         []uuid  1+ tag=0
    cordoned_log_dirs        []uuid  2+ nullable tag=1 default=null
""")

BROKER_HEARTBEAT_RESPONSE = Message("BrokerHeartbeatResponse", api_key=63, versions="0-2", flexible="0+", fields="""
    throttle_time_ms  int32
    error_code        int16
    is_caught_up      bool
    is_fenced         bool   default=true
    should_shut_down  bool
""")

UNREGISTER_BROKER_REQUEST = Message("UnregisterBrokerRequest", api_key=64, versions="0", flexible="0+", fields="""
    broker_id  int32
""")

UNREGISTER_BROKER_RESPONSE = Message("UnregisterBrokerResponse", api_key=64, versions="0", flexible="0+", fields="""
    throttle_time_ms  int32
    error_code        int16
    error_message     string  nullable
""")

CONTROLLER_REGISTRATION_REQUEST = Message(
    "ControllerRegistrationRequest", api_key=70, versions="0", flexible="0+", fields="""
    controller_id              int32
    incarnation_id             uuid
    zk_migration_ready         bool
    listeners                  []Listener
        name                   string
        host                   string
        port                   uint16
        security_protocol      int16
    features                   []Feature
        name                   string
        min_supported_version  int16
        max_supported_version  int16
""")

CONTROLLER_REGISTRATION_RESPONSE = Message(
    "ControllerRegistrationResponse", api_key=70, versions="0", flexible="0+", fields="""
    throttle_time_ms  int32
    error_code        int16
    error_message     string  nullable
""")

UNREGISTER_CONTROLLER_REQUEST = Message(
    "UnregisterControllerRequest", api_key=94, versions="0", flexible="0+", fields="""
    controller_id  int32
""")

UNREGISTER_CONTROLLER_RESPONSE = Message(
    "UnregisterControllerResponse", api_key=94, versions="0", flexible="0+", fields="""
    throttle_time_ms  int32
    error_code        int16
    error_message     string  nullable
""")

ALTER_PARTITION_REQUEST = Message("AlterPartitionRequest", api_key=56, versions="2-3", flexible="0+", fields="""
    broker_id                      int32
    broker_epoch                   int64            default=-1
    topics                         []TopicData
        topic_id                   uuid             ignorable
        partitions                 []PartitionData
            partition_index        int32
            leader_epoch           int32
            new_isr                []int32          0-2
            new_isr_with_epochs    []BrokerState    3+
                broker_id          int32
                broker_epoch       int64            default=-1
            leader_recovery_state  int8
            partition_epoch        int32
""")

ALTER_PARTITION_RESPONSE = Message("AlterPartitionResponse", api_key=56, versions="2-3", flexible="0+", fields="""
    throttle_time_ms               int32
    error_code                     int16
    topics                         []TopicData
        topic_id                   uuid             ignorable
        partitions                 []PartitionData
            partition_index        int32
            error_code             int16
            leader_id              int32
            leader_epoch           int32
            isr                    []int32
            leader_recovery_state  int8             ignorable
            partition_epoch        int32
""")

ASSIGN_REPLICAS_TO_DIRS_REQUEST = Message(
    "AssignReplicasToDirsRequest", api_key=73, versions="0", flexible="0+", fields="""
    broker_id                    int32
    broker_epoch                 int64            default=-1
    directories                  []DirectoryData
        id                       uuid
        topics                   []TopicData
            topic_id             uuid
            partitions           []PartitionData
                partition_index  int32
""")

ASSIGN_REPLICAS_TO_DIRS_RESPONSE = Message(
    "AssignReplicasToDirsResponse", api_key=73, versions="0", flexible="0+", fields="""
    throttle_time_ms             int32
    error_code                   int16
    directories                  []DirectoryData
        id                       uuid
        topics                   []TopicData
            topic_id             uuid
            partitions           []PartitionData
                partition_index  int32
                error_code       int16
""")

ALTER_REPLICA_LOG_DIRS_REQUEST = Message(
    "AlterReplicaLogDirsRequest", api_key=34, versions="1-2", flexible="2+", fields="""
    dirs                []AlterReplicaLogDir
        path            string
        topics          []AlterReplicaLogDirTopic
            name        string
            partitions  []int32
""")

ALTER_REPLICA_LOG_DIRS_RESPONSE = Message(
    "AlterReplicaLogDirsResponse", api_key=34, versions="1-2", flexible="2+", fields="""
    throttle_time_ms         int32
    results                  []AlterReplicaLogDirTopicResult
        topic_name           string
        partitions           []AlterReplicaLogDirPartitionResult
            partition_index  int32
            error_code       int16
""")

DESCRIBE_LOG_DIRS_REQUEST = Message("DescribeLogDirsRequest", api_key=35, versions="1-5", flexible="2+", fields="""
    topics          []DescribableLogDirTopic  nullable
        topic       string
        partitions  []int32
""")

DESCRIBE_LOG_DIRS_RESPONSE = Message("DescribeLogDirsResponse", api_key=35, versions="1-5", flexible="2+", fields="""
    throttle_time_ms             int32
    error_code                   int16                       3+ ignorable
    results                      []DescribeLogDirsResult
        error_code               int16
        log_dir                  string
        topics                   []DescribeLogDirsTopic
            name                 string
            partitions           []DescribeLogDirsPartition
                partition_index  int32
                partition_size   int64
                offset_lag       int64
                is_future_key    bool
        total_bytes              int64                       4+ default=-1 ignorable
        usable_bytes             int64                       4+ default=-1 ignorable
        is_cordoned              bool                        5+ ignorable
""")

ENVELOPE_REQUEST = Message("EnvelopeRequest", api_key=58, versions="0", flexible="0+", fields="""
    request_data         bytes
    request_principal    bytes  nullable
    client_host_address  bytes
""")

ENVELOPE_RESPONSE = Message("EnvelopeResponse", api_key=58, versions="0", flexible="0+", fields="""
    response_data  bytes  nullable default=null
    error_code     int16
""")
