"""Schemas of the records of the metadata log.

The frame around them (version, api key, record version) belongs to whoever reads the log; log_records.py finds a
schema by its api key. KAFKA: a change of partition uses leader -2 and recovery state -1 for "no change".
"""

from __future__ import annotations

from pykafkacore.protocol.schema import Message

REGISTER_BROKER_RECORD = Message("RegisterBrokerRecord", api_key=0, versions="0-4", flexible="0+", fields="""
    broker_id                  int32
    is_migrating_zk_broker     bool              2+
    incarnation_id             uuid
    broker_epoch               int64
    end_points                 []BrokerEndpoint
        name                   string
        host                   string
        port                   uint16
        security_protocol      int16
    features                   []BrokerFeature
        name                   string
        min_supported_version  int16
        max_supported_version  int16
    rack                       string            nullable
    fenced                     bool              default=true
    in_controlled_shutdown     bool              1+
    log_dirs                   []uuid            3+ tag=0
    cordoned_log_dirs          []uuid            4+ nullable tag=1 default=null
""")

UNREGISTER_BROKER_RECORD = Message("UnregisterBrokerRecord", api_key=1, versions="0", flexible="0+", fields="""
    broker_id     int32
    broker_epoch  int64
""")

TOPIC_RECORD = Message("TopicRecord", api_key=2, versions="0", flexible="0+", fields="""
    name      string
    topic_id  uuid
""")

PARTITION_RECORD = Message("PartitionRecord", api_key=3, versions="0-2", flexible="0+", fields="""
    partition_id              int32    default=-1
    topic_id                  uuid
    replicas                  []int32
    isr                       []int32
    removing_replicas         []int32
    adding_replicas           []int32
    leader                    int32    default=-1
    leader_recovery_state     int8     tag=0
    leader_epoch              int32    default=-1
    partition_epoch           int32    default=-1
    directories               []uuid   1+
    eligible_leader_replicas  []int32  2+ nullable tag=1 default=null
    last_known_elr            []int32  2+ nullable tag=2 default=null
""")

CONFIG_RECORD = Message("ConfigRecord", api_key=4, versions="0", flexible="0+", fields="""
    resource_type  int8
    resource_name  string
    name           string
    value          string  nullable
""")

PARTITION_CHANGE_RECORD = Message("PartitionChangeRecord", api_key=5, versions="0-2", flexible="0+", fields="""
    partition_id              int32    default=-1
    topic_id                  uuid
    isr                       []int32  nullable tag=0 default=null
    leader                    int32    tag=1 default=-2
    replicas                  []int32  nullable tag=2 default=null
    removing_replicas         []int32  nullable tag=3 default=null
    adding_replicas           []int32  nullable tag=4 default=null
    leader_recovery_state     int8     tag=5 default=-1
    directories               []uuid   1+ nullable tag=8 default=null
    eligible_leader_replicas  []int32  2+ nullable tag=6 default=null
    last_known_elr            []int32  2+ nullable tag=7 default=null
""")

FENCE_BROKER_RECORD = Message("FenceBrokerRecord", api_key=7, versions="0", flexible="0+", fields="""
    id     int32
    epoch  int64
""")

UNFENCE_BROKER_RECORD = Message("UnfenceBrokerRecord", api_key=8, versions="0", flexible="0+", fields="""
    id     int32
    epoch  int64
""")

REMOVE_TOPIC_RECORD = Message("RemoveTopicRecord", api_key=9, versions="0", flexible="0+", fields="""
    topic_id  uuid
""")

DELEGATION_TOKEN_RECORD = Message("DelegationTokenRecord", api_key=10, versions="0", flexible="0+", fields="""
    owner                 string
    requester             string
    renewers              []string
    issue_timestamp       int64
    max_timestamp         int64
    expiration_timestamp  int64
    token_id              string
""")

USER_SCRAM_CREDENTIAL_RECORD = Message("UserScramCredentialRecord", api_key=11, versions="0", flexible="0+", fields="""
    name        string
    mechanism   int8
    salt        bytes
    stored_key  bytes
    server_key  bytes
    iterations  int32
""")

FEATURE_LEVEL_RECORD = Message("FeatureLevelRecord", api_key=12, versions="0", flexible="0+", fields="""
    name           string
    feature_level  int16
""")

CLIENT_QUOTA_RECORD = Message("ClientQuotaRecord", api_key=14, versions="0", flexible="0+", fields="""
    entity           []EntityData
        entity_type  string
        entity_name  string        nullable
    key              string
    value            float64
    remove           bool
""")

PRODUCER_IDS_RECORD = Message("ProducerIdsRecord", api_key=15, versions="0", flexible="0+", fields="""
    broker_id         int32
    broker_epoch      int64  default=-1
    next_producer_id  int64
""")

BROKER_REGISTRATION_CHANGE_RECORD = Message(
    "BrokerRegistrationChangeRecord", api_key=17, versions="0-3", flexible="0+", fields="""
    broker_id               int32
    broker_epoch            int64
    fenced                  int8    tag=0
    in_controlled_shutdown  int8    1+ tag=1
    log_dirs                []uuid  2+ tag=2
    cordoned_log_dirs       []uuid  3+ nullable tag=3 default=null
""")

ACCESS_CONTROL_ENTRY_RECORD = Message("AccessControlEntryRecord", api_key=18, versions="0", flexible="0+", fields="""
    id               uuid
    resource_type    int8
    resource_name    string
    pattern_type     int8
    principal        string
    host             string
    operation        int8
    permission_type  int8
""")

REMOVE_ACCESS_CONTROL_ENTRY_RECORD = Message(
    "RemoveAccessControlEntryRecord", api_key=19, versions="0", flexible="0+", fields="""
    id  uuid
""")

NO_OP_RECORD = Message("NoOpRecord", api_key=20, versions="0", flexible="0+", fields="")

ZK_MIGRATION_STATE_RECORD = Message("ZkMigrationStateRecord", api_key=21, versions="0", flexible="0+", fields="""
    zk_migration_state  int8
""")

REMOVE_USER_SCRAM_CREDENTIAL_RECORD = Message(
    "RemoveUserScramCredentialRecord", api_key=22, versions="0", flexible="0+", fields="""
    name       string
    mechanism  int8
""")

BEGIN_TRANSACTION_RECORD = Message("BeginTransactionRecord", api_key=23, versions="0", flexible="0+", fields="""
    name  string  nullable tag=0 default=null
""")

END_TRANSACTION_RECORD = Message("EndTransactionRecord", api_key=24, versions="0", flexible="0+", fields="")

ABORT_TRANSACTION_RECORD = Message("AbortTransactionRecord", api_key=25, versions="0", flexible="0+", fields="""
    reason  string  nullable tag=0 default=null
""")

REMOVE_DELEGATION_TOKEN_RECORD = Message(
    "RemoveDelegationTokenRecord", api_key=26, versions="0", flexible="0+", fields="""
    token_id  string
""")

REGISTER_CONTROLLER_RECORD = Message("RegisterControllerRecord", api_key=27, versions="0", flexible="0+", fields="""
    controller_id              int32
    incarnation_id             uuid
    zk_migration_ready         bool
    end_points                 []ControllerEndpoint
        name                   string
        host                   string
        port                   uint16
        security_protocol      int16
    features                   []ControllerFeature
        name                   string
        min_supported_version  int16
        max_supported_version  int16
""")

CLEAR_ELR_RECORD = Message("ClearElrRecord", api_key=28, versions="0", flexible="0+", fields="""
    topic_name  string
""")

UNREGISTER_CONTROLLER_RECORD = Message("UnregisterControllerRecord", api_key=29, versions="0", flexible="0+", fields="""
    controller_id  int32
""")
