//! The settings of a topic that its logs act on, resolved from topic, broker and default.

#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    pub segment_bytes: u64,
    pub segment_ms: i64,
    /// Up to so much of `segment_ms` is taken off, another part for each segment.
    pub segment_jitter_ms: i64,
    pub index_interval_bytes: usize,
    pub index_bytes_max: usize,
    pub producer_id_expiration_ms: i64,
    /// `cleanup.policy` has `compact`; so a hole between segments is no sign of loss.
    pub compacted: bool,
    pub retention: RetentionRules,
    pub compaction: CompactionRules,
}

impl Default for LogConfig {
    /// Apache Kafka's defaults of a topic, but nothing is ever deleted.
    fn default() -> Self {
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: 604_800_000,
            segment_jitter_ms: 0,
            index_interval_bytes: 4096,
            index_bytes_max: 10 << 20,
            producer_id_expiration_ms: i64::MAX,
            compacted: false,
            retention: RetentionRules::default(),
            compaction: CompactionRules::default(),
        }
    }
}

/// `cleanup.policy` as far as it deletes, `retention.ms`, `retention.bytes` (below 0: without limit), and
/// `file.delete.delay.ms`.
#[derive(Clone, Debug, PartialEq)]
pub struct RetentionRules {
    pub deletes: bool,
    pub retention_ms: i64,
    pub retention_bytes: i64,
    pub file_delete_delay_ms: i64,
}

impl Default for RetentionRules {
    fn default() -> Self {
        RetentionRules { deletes: false, retention_ms: -1, retention_bytes: -1, file_delete_delay_ms: 0 }
    }
}

/// The settings of a compacted topic.
#[derive(Clone, Debug, PartialEq)]
pub struct CompactionRules {
    /// `min.cleanable.dirty.ratio`
    pub dirty_ratio_min: f64,
    /// `min.compaction.lag.ms`
    pub lag_ms_min: i64,
    /// `max.compaction.lag.ms`
    pub lag_ms_max: i64,
    /// `delete.retention.ms`
    pub delete_retention_ms: i64,
}

impl Default for CompactionRules {
    fn default() -> Self {
        let day_ms = 86_400_000;
        CompactionRules { dirty_ratio_min: 0.5, lag_ms_min: 0, lag_ms_max: i64::MAX, delete_retention_ms: day_ms }
    }
}
