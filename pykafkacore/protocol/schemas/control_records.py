"""Schemas of control records, of the quorum state, and of what the log keeps about itself."""

from __future__ import annotations

from pykafkacore.protocol.schema import Message

CONTROL_RECORD_TYPE_SCHEMA = Message("ControlRecordTypeSchema", versions="0", fields="""
    type  int16
""")

END_TXN_MARKER = Message("EndTxnMarker", versions="0", fields="""
    coordinator_epoch  int32
""")

LEADER_CHANGE_MESSAGE = Message("LeaderChangeMessage", versions="0-1", flexible="0+", fields="""
    version                 int16
    leader_id               int32
    voters                  []Voter
        voter_id            int32
        voter_directory_id  uuid     1+
    granting_voters         []Voter
""")

SNAPSHOT_HEADER_RECORD = Message("SnapshotHeaderRecord", versions="0", flexible="0+", fields="""
    version                       int16
    last_contained_log_timestamp  int64
""")

SNAPSHOT_FOOTER_RECORD = Message("SnapshotFooterRecord", versions="0", flexible="0+", fields="""
    version  int16
""")

KRAFT_VERSION_RECORD = Message("KRaftVersionRecord", versions="0", flexible="0+", fields="""
    version        int16
    kraft_version  int16
""")

VOTERS_RECORD = Message("VotersRecord", versions="0", flexible="0+", fields="""
    version                        int16
    voters                         []Voter
        voter_id                   int32
        voter_directory_id         uuid
        endpoints                  []Endpoint
            name                   string
            host                   string
            port                   uint16
        kraft_version_feature      KRaftVersionFeature
            min_supported_version  int16
            max_supported_version  int16
""")

QUORUM_STATE_DATA = Message("QuorumStateData", versions="0-1", flexible="0+", fields="""
    cluster_id          string   0
    leader_id           int32    default=-1
    leader_epoch        int32    default=-1
    voted_id            int32    default=-1
    voted_directory_id  uuid     1+
    applied_offset      int64    0
    current_voters      []Voter  0 nullable
        voter_id        int32
""")

ABORTED_TXN = Message("AbortedTxn", versions="0", fields="""
    producer_id         int64
    first_offset        int64
    last_offset         int64
    last_stable_offset  int64
""")

PRODUCER_SNAPSHOT = Message("ProducerSnapshot", versions="1", fields="""
    crc                           uint32
    producer_entries              []ProducerEntry
        producer_id               int64
        epoch                     int16
        last_sequence             int32
        last_offset               int64
        offset_delta              int32
        timestamp                 int64
        coordinator_epoch         int32
        current_txn_first_offset  int64
""")

REMOTE_LOG_SEGMENT_METADATA_RECORD = Message(
    "RemoteLogSegmentMetadataRecord", api_key=0, versions="0", flexible="0+", fields="""
    remote_log_segment_id     RemoteLogSegmentIdEntry
        topic_id_partition    TopicIdPartitionEntry
            name              string
            id                uuid
            partition         int32
        id                    uuid
    start_offset              int64
    end_offset                int64
    broker_id                 int32
    max_timestamp_ms          int64
    event_timestamp_ms        int64
    segment_leader_epochs     []SegmentLeaderEpochEntry
        leader_epoch          int32
        offset                int64
    segment_size_in_bytes     int32
    custom_metadata           bytes                      nullable default=null
    remote_log_segment_state  int8
    txn_index_empty           bool                       tag=0
""")

REMOTE_LOG_SEGMENT_METADATA_SNAPSHOT_RECORD = Message(
    "RemoteLogSegmentMetadataSnapshotRecord", api_key=3, versions="0", flexible="0+", fields="""
    segment_id                uuid
    start_offset              int64
    end_offset                int64
    broker_id                 int32
    max_timestamp_ms          int64
    event_timestamp_ms        int64
    segment_leader_epochs     []SegmentLeaderEpochEntry
        leader_epoch          int32
        offset                int64
    segment_size_in_bytes     int32
    custom_metadata           bytes                      nullable default=null
    remote_log_segment_state  int8
    txn_index_empty           bool                       tag=0
""")

REMOTE_LOG_SEGMENT_METADATA_UPDATE_RECORD = Message(
    "RemoteLogSegmentMetadataUpdateRecord", api_key=1, versions="0", flexible="0+", fields="""
    remote_log_segment_id     RemoteLogSegmentIdEntry
        topic_id_partition    TopicIdPartitionEntry
            name              string
            id                uuid
            partition         int32
        id                    uuid
    broker_id                 int32
    event_timestamp_ms        int64
    custom_metadata           bytes                    nullable default=null
    remote_log_segment_state  int8
""")

REMOTE_PARTITION_DELETE_METADATA_RECORD = Message(
    "RemotePartitionDeleteMetadataRecord", api_key=2, versions="0", flexible="0+", fields="""
    topic_id_partition             TopicIdPartitionEntry
        name                       string
        id                         uuid
        partition                  int32
    broker_id                      int32
    event_timestamp_ms             int64
    remote_partition_delete_state  int8
""")
