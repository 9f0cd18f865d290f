"""Schemas of what every connection needs first: versions, metadata, the cluster and its features."""

from __future__ import annotations

from pykafkacore.protocol.schema import Message

API_VERSIONS_REQUEST = Message("ApiVersionsRequest", api_key=18, versions="0-5", flexible="3+", fields="""
    client_software_name     string  3+ ignorable
    client_software_version  string  3+ ignorable
    cluster_id               string  5+ nullable default=null ignorable
    node_id                  int32   5+ default=-1 ignorable
""")

API_VERSIONS_RESPONSE = Message("ApiVersionsResponse", api_key=18, versions="0-5", flexible="3+", fields="""
    error_code                int16
    api_keys                  []ApiVersion
        api_key               int16
        min_version           int16
        max_version           int16
    throttle_time_ms          int32                  1+ ignorable
    supported_features        []SupportedFeatureKey  3+ tag=0 ignorable
        name                  string
        min_version           int16
        max_version           int16
    finalized_features_epoch  int64                  3+ tag=1 default=-1 ignorable
    finalized_features        []FinalizedFeatureKey  3+ tag=2 ignorable
        name                  string
        max_version_level     int16
        min_version_level     int16
    zk_migration_ready        bool                   3+ tag=3 ignorable
""")

METADATA_REQUEST = Message("MetadataRequest", api_key=3, versions="0-13", flexible="9+", fields="""
    topics                                 []MetadataRequestTopic  nullable=1+
        topic_id                           uuid                    10+ ignorable
        name                               string                  nullable=10+
    allow_auto_topic_creation              bool                    4+ default=true
    include_cluster_authorized_operations  bool                    8-10
    include_topic_authorized_operations    bool                    8+
""")

METADATA_RESPONSE = Message("MetadataResponse", api_key=3, versions="0-13", flexible="9+", fields="""
    throttle_time_ms                 int32                        3+ ignorable
    brokers                          []MetadataResponseBroker
        node_id                      int32
        host                         string
        port                         int32
        rack                         string                       1+ nullable default=null ignorable
    cluster_id                       string                       2+ nullable default=null ignorable
    controller_id                    int32                        1+ default=-1 ignorable
    topics                           []MetadataResponseTopic
        error_code                   int16
        name                         string                       nullable=12+
        topic_id                     uuid                         10+ ignorable
        is_internal                  bool                         1+ ignorable
        partitions                   []MetadataResponsePartition
            error_code               int16
            partition_index          int32
            leader_id                int32
            leader_epoch             int32                        7+ default=-1 ignorable
            replica_nodes            []int32
            isr_nodes                []int32
            offline_replicas         []int32                      5+ ignorable
        topic_authorized_operations  int32                        8+ default=-2147483648
    cluster_authorized_operations    int32                        8-10 default=-2147483648
    error_code                       int16                        13+ ignorable
""")

DESCRIBE_CLUSTER_REQUEST = Message("DescribeClusterRequest", api_key=60, versions="0-2", flexible="0+", fields="""
    include_cluster_authorized_operations  bool
    endpoint_type                          int8  1+ default=1
    include_fenced_brokers                 bool  2+
""")

DESCRIBE_CLUSTER_RESPONSE = Message("DescribeClusterResponse", api_key=60, versions="0-2", flexible="0+", fields="""
    throttle_time_ms               int32
    error_code                     int16
    error_message                  string                   nullable default=null
    endpoint_type                  int8                     1+ default=1
    cluster_id                     string
    controller_id                  int32                    default=-1
    brokers                        []DescribeClusterBroker
        broker_id                  int32
        host                       string
        port                       int32
        rack                       string                   nullable default=null
        is_fenced                  bool                     2+
    cluster_authorized_operations  int32                    default=-2147483648
""")

UPDATE_FEATURES_REQUEST = Message("UpdateFeaturesRequest", api_key=57, versions="0-2", flexible="0+", fields="""
    timeout_ms             int32               default=60000
    feature_updates        []FeatureUpdateKey
        feature            string
        max_version_level  int16
        allow_downgrade    bool                0
        upgrade_type       int8                1+ default=1
    validate_only          bool                1+
""")

UPDATE_FEATURES_RESPONSE = Message("UpdateFeaturesResponse", api_key=57, versions="0-2", flexible="0+", fields="""
    throttle_time_ms   int32
    error_code         int16
    error_message      string                    nullable
    results            []UpdatableFeatureResult  0-1 ignorable
        feature        string
        error_code     int16
        error_message  string                    nullable
""")
