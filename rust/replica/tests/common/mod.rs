//! What tests of partitions share.

use log::LogConfig;
use record::AppendRules;
use replica::topic::TopicSettings;

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
