//! What tests of partitions share.

use std::sync::Arc;

use bytes::BytesMut;
use log::LogConfig;
use record::AppendRules;
use replica::append::{Offered, Told};
use replica::partition::Partition;
use replica::topic::TopicSettings;

/// One batch of a client.
pub fn offer(partition: &Arc<Partition>, batch: BytesMut, acks: i16, api_version: i16, now_ms: i64) -> Told {
    partition.append(vec![Offered { batch, acks, api_version }].into(), now_ms).pop().unwrap()
}

/// Settings under which nothing is refused, with small segments.
pub fn settings(compacted: bool, min_insync_replicas: usize) -> TopicSettings {
    TopicSettings {
        append: AppendRules {
            compacted,
            timestamp_after_max_ms: i64::MAX,
            message_bytes_max: 1 << 20,
            segment_bytes: 1 << 20,
            inflated_bytes_max: 1 << 20,
            ..AppendRules::default()
        },
        min_insync_replicas,
        flush_messages: u64::MAX,
        flush_ms: i64::MAX,
        log: LogConfig {
            segment_bytes: 4096,
            segment_ms: i64::MAX,
            index_interval_bytes: 512,
            index_bytes_max: 1 << 20,
            producer_id_expiration_ms: i64::MAX,
            compacted,
            ..LogConfig::default()
        },
    }
}
