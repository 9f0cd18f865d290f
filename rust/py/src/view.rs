//! Views on their way down: the frozen dataclasses of `cluster.plane.port`, read by attribute.

use pyo3::prelude::*;
use record::{AppendRules, TimestampType};
use replica::leadership::Leadership;
use replica::topic::{TopicSettings, target_codec};
use server::publisher::{PartitionChange, TopicChange, ViewDelta};
use wire::produce::NodeEndpoint;

use crate::errors::told;

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct SettingsIn {
    cleanup_policy: Vec<String>,
    compression_type: String,
    compression_level: Option<i32>,
    delete_retention_ms: i64,
    flush_messages: u64,
    flush_ms: i64,
    file_delete_delay_ms: i64,
    index_interval_bytes: usize,
    max_compaction_lag_ms: i64,
    max_message_bytes: usize,
    message_timestamp_after_max_ms: i64,
    message_timestamp_before_max_ms: i64,
    message_timestamp_type: String,
    min_cleanable_dirty_ratio: f64,
    min_compaction_lag_ms: i64,
    min_insync_replicas: usize,
    producer_id_expiration_ms: i64,
    retention_bytes: i64,
    retention_ms: i64,
    segment_bytes: u64,
    segment_index_bytes: usize,
    segment_jitter_ms: i64,
    segment_ms: i64,
}

#[derive(FromPyObject)]
struct TopicIn {
    topic_id: [u8; 16],
    name: String,
    settings: SettingsIn,
}

#[derive(FromPyObject)]
struct PartitionIn {
    topic_id: [u8; 16],
    partition: i32,
    leader_id: i32,
    leader_epoch: i32,
    partition_epoch: i32,
    replicas: Vec<i32>,
    isr: Vec<i32>,
    directory_id: [u8; 16],
}

#[derive(FromPyObject)]
struct BrokerIn {
    node_id: i32,
    host: String,
    port: i32,
    rack: Option<String>,
}

#[derive(FromPyObject)]
pub struct DeltaIn {
    metadata_offset: i64,
    topics: Vec<TopicIn>,
    partitions: Vec<PartitionIn>,
    removed_topics: Vec<[u8; 16]>,
    brokers: Option<Vec<BrokerIn>>,
}

/// Batches are inflated only where a rule needs it, and then to this at most: what a maximal request could hold.
const INFLATED_BYTES_MAX: usize = 256 << 20;

fn settings(given: SettingsIn) -> PyResult<TopicSettings> {
    let target = target_codec(&given.compression_type)
        .ok_or_else(|| told(format!("compression.type={} is not known", given.compression_type)))?;
    let timestamp_type = match given.message_timestamp_type.as_str() {
        "LogAppendTime" => TimestampType::LogAppendTime,
        _ => TimestampType::CreateTime,
    };
    let has_policy = |name: &str| given.cleanup_policy.iter().any(|policy| policy == name);
    let compacted = has_policy("compact");
    Ok(TopicSettings {
        append: AppendRules {
            compacted,
            target_codec: target,
            compression_level: given.compression_level,
            timestamp_type,
            timestamp_before_max_ms: given.message_timestamp_before_max_ms,
            timestamp_after_max_ms: given.message_timestamp_after_max_ms,
            message_bytes_max: given.max_message_bytes,
            segment_bytes: given.segment_bytes as usize,
            inflated_bytes_max: INFLATED_BYTES_MAX,
        },
        min_insync_replicas: given.min_insync_replicas,
        flush_messages: given.flush_messages,
        flush_ms: given.flush_ms,
        log: log::LogConfig {
            segment_bytes: given.segment_bytes,
            segment_ms: given.segment_ms,
            segment_jitter_ms: given.segment_jitter_ms,
            index_interval_bytes: given.index_interval_bytes,
            index_bytes_max: given.segment_index_bytes,
            producer_id_expiration_ms: given.producer_id_expiration_ms,
            compacted,
            compaction: log::CompactionRules {
                dirty_ratio_min: given.min_cleanable_dirty_ratio,
                lag_ms_min: given.min_compaction_lag_ms,
                lag_ms_max: given.max_compaction_lag_ms,
                delete_retention_ms: given.delete_retention_ms,
            },
            retention: log::RetentionRules {
                deletes: has_policy("delete"),
                retention_ms: given.retention_ms,
                retention_bytes: given.retention_bytes,
                file_delete_delay_ms: given.file_delete_delay_ms,
            },
        },
    })
}

impl DeltaIn {
    pub fn into_delta(self) -> PyResult<ViewDelta> {
        let topic =
            |t: TopicIn| settings(t.settings).map(|settings| TopicChange { id: t.topic_id, name: t.name, settings });
        let partition = |p: PartitionIn| PartitionChange {
            topic_id: p.topic_id,
            index: p.partition,
            directory_id: p.directory_id,
            leadership: Leadership {
                leader_id: p.leader_id,
                leader_epoch: p.leader_epoch,
                partition_epoch: p.partition_epoch,
                replicas: p.replicas,
                isr: p.isr,
            },
        };
        let broker = |b: BrokerIn| NodeEndpoint { node_id: b.node_id, host: b.host, port: b.port, rack: b.rack };
        Ok(ViewDelta {
            metadata_offset: self.metadata_offset,
            topics: self.topics.into_iter().map(topic).collect::<PyResult<_>>()?,
            partitions: self.partitions.into_iter().map(partition).collect(),
            removed_topics: self.removed_topics,
            brokers: self.brokers.map(|brokers| brokers.into_iter().map(broker).collect()),
        })
    }
}
