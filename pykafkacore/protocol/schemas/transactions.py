"""Schemas of idempotence and transactions."""

from __future__ import annotations

from pykafkacore.protocol.schema import Message

INIT_PRODUCER_ID_REQUEST = Message("InitProducerIdRequest", api_key=22, versions="0-6", flexible="2+", fields="""
    transactional_id        string  nullable
    transaction_timeout_ms  int32
    producer_id             int64   3+ default=-1
    producer_epoch          int16   3+ default=-1
    enable_2pc              bool    6+
    keep_prepared_txn       bool    6+
""")

INIT_PRODUCER_ID_RESPONSE = Message("InitProducerIdResponse", api_key=22, versions="0-6", flexible="2+", fields="""
    throttle_time_ms            int32  ignorable
    error_code                  int16
    producer_id                 int64  default=-1
    producer_epoch              int16
    ongoing_txn_producer_id     int64  6+ default=-1
    ongoing_txn_producer_epoch  int16  6+ default=-1
""")

ALLOCATE_PRODUCER_IDS_REQUEST = Message(
    "AllocateProducerIdsRequest", api_key=67, versions="0", flexible="0+", fields="""
    broker_id     int32
    broker_epoch  int64  default=-1
""")

ALLOCATE_PRODUCER_IDS_RESPONSE = Message(
    "AllocateProducerIdsResponse", api_key=67, versions="0", flexible="0+", fields="""
    throttle_time_ms   int32
    error_code         int16
    producer_id_start  int64
    producer_id_len    int32
""")

ADD_PARTITIONS_TO_TXN_REQUEST = Message(
    "AddPartitionsToTxnRequest", api_key=24, versions="0-5", flexible="3+", fields="""
    transactions                   []AddPartitionsToTxnTransaction  4+
        transactional_id           string
        producer_id                int64
        producer_epoch             int16
        verify_only                bool
        topics                     []AddPartitionsToTxnTopic
            name                   string
            partitions             []int32
    v3_and_below_transactional_id  string                           0-3
    v3_and_below_producer_id       int64                            0-3
    v3_and_below_producer_epoch    int16                            0-3
    v3_and_below_topics            []AddPartitionsToTxnTopic        0-3
""")

ADD_PARTITIONS_TO_TXN_RESPONSE = Message(
    "AddPartitionsToTxnResponse", api_key=24, versions="0-5", flexible="3+", fields="""
    throttle_time_ms                  int32
    error_code                        int16                                4+ ignorable
    results_by_transaction            []AddPartitionsToTxnResult           4+
        transactional_id              string
        topic_results                 []AddPartitionsToTxnTopicResult
            name                      string
            results_by_partition      []AddPartitionsToTxnPartitionResult
                partition_index       int32
                partition_error_code  int16
    results_by_topic_v3_and_below     []AddPartitionsToTxnTopicResult      0-3
""")

ADD_OFFSETS_TO_TXN_REQUEST = Message("AddOffsetsToTxnRequest", api_key=25, versions="0-4", flexible="3+", fields="""
    transactional_id  string
    producer_id       int64
    producer_epoch    int16
    group_id          string
""")

ADD_OFFSETS_TO_TXN_RESPONSE = Message("AddOffsetsToTxnResponse", api_key=25, versions="0-4", flexible="3+", fields="""
    throttle_time_ms  int32
    error_code        int16
""")

END_TXN_REQUEST = Message("EndTxnRequest", api_key=26, versions="0-5", flexible="3+", fields="""
    transactional_id  string
    producer_id       int64
    producer_epoch    int16
    committed         bool
""")

END_TXN_RESPONSE = Message("EndTxnResponse", api_key=26, versions="0-5", flexible="3+", fields="""
    throttle_time_ms  int32
    error_code        int16
    producer_id       int64  5+ default=-1 ignorable
    producer_epoch    int16  5+ default=-1 ignorable
""")

WRITE_TXN_MARKERS_REQUEST = Message("WriteTxnMarkersRequest", api_key=27, versions="1-2", flexible="1+", fields="""
    markers                    []WritableTxnMarker
        producer_id            int64
        producer_epoch         int16
        transaction_result     bool
        topics                 []WritableTxnMarkerTopic
            name               string
            partition_indexes  []int32
        coordinator_epoch      int32
        transaction_version    int8                      2+ ignorable
""")

WRITE_TXN_MARKERS_RESPONSE = Message("WriteTxnMarkersResponse", api_key=27, versions="1-2", flexible="1+", fields="""
    markers                      []WritableTxnMarkerResult
        producer_id              int64
        topics                   []WritableTxnMarkerTopicResult
            name                 string
            partitions           []WritableTxnMarkerPartitionResult
                partition_index  int32
                error_code       int16
""")

TXN_OFFSET_COMMIT_REQUEST = Message("TxnOffsetCommitRequest", api_key=28, versions="0-6", flexible="3+", fields="""
    transactional_id                string
    group_id                        string
    producer_id                     int64
    producer_epoch                  int16
    generation_id_or_member_epoch   int32                              3+ default=-1
    member_id                       string                             3+
    group_instance_id               string                             3+ nullable default=null
    topics                          []TxnOffsetCommitRequestTopic
        name                        string                             0-5 ignorable
        topic_id                    uuid                               6+ ignorable
        partitions                  []TxnOffsetCommitRequestPartition
            partition_index         int32
            committed_offset        int64
            committed_leader_epoch  int32                              2+ default=-1 ignorable
            committed_metadata      string                             nullable
""")

TXN_OFFSET_COMMIT_RESPONSE = Message("TxnOffsetCommitResponse", api_key=28, versions="0-6", flexible="3+", fields="""
    throttle_time_ms         int32
    topics                   []TxnOffsetCommitResponseTopic
        name                 string                              0-5 ignorable
        topic_id             uuid                                6+ ignorable
        partitions           []TxnOffsetCommitResponsePartition
            partition_index  int32
            error_code       int16
""")

DESCRIBE_PRODUCERS_REQUEST = Message("DescribeProducersRequest", api_key=61, versions="0", flexible="0+", fields="""
    topics                 []TopicRequest
        name               string
        partition_indexes  []int32
""")

DESCRIBE_PRODUCERS_RESPONSE = Message("DescribeProducersResponse", api_key=61, versions="0", flexible="0+", fields="""
    throttle_time_ms                      int32
    topics                                []TopicResponse
        name                              string
        partitions                        []PartitionResponse
            partition_index               int32
            error_code                    int16
            error_message                 string               nullable default=null
            active_producers              []ProducerState
                producer_id               int64
                producer_epoch            int32
                last_sequence             int32                default=-1
                last_timestamp            int64                default=-1
                coordinator_epoch         int32
                current_txn_start_offset  int64                default=-1
""")

DESCRIBE_TRANSACTIONS_REQUEST = Message(
    "DescribeTransactionsRequest", api_key=65, versions="0", flexible="0+", fields="""
    transactional_ids  []string
""")

DESCRIBE_TRANSACTIONS_RESPONSE = Message(
    "DescribeTransactionsResponse", api_key=65, versions="0", flexible="0+", fields="""
    throttle_time_ms               int32
    transaction_states             []TransactionState
        error_code                 int16
        transactional_id           string
        transaction_state          string
        transaction_timeout_ms     int32
        transaction_start_time_ms  int64
        producer_id                int64
        producer_epoch             int16
        topics                     []TopicData
            topic                  string
            partitions             []int32
""")

LIST_TRANSACTIONS_REQUEST = Message("ListTransactionsRequest", api_key=66, versions="0-2", flexible="0+", fields="""
    state_filters             []string
    producer_id_filters       []int64
    duration_filter           int64     1+ default=-1
    transactional_id_pattern  string    2+ nullable default=null
""")

LIST_TRANSACTIONS_RESPONSE = Message("ListTransactionsResponse", api_key=66, versions="0-2", flexible="0+", fields="""
    throttle_time_ms       int32
    error_code             int16
    unknown_state_filters  []string
    transaction_states     []TransactionState
        transactional_id   string
        producer_id        int64
        transaction_state  string
""")
