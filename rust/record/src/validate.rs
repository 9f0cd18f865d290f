//! What a batch from a client must satisfy before it is appended.
//!
//! The batch is opaque: its header and CRC-32C are checked, and it is appended as it came. It is inflated only where a rule
//! needs to see records:
//!   - the topic is compacted: every record needs a key
//!   - `compression.type` names another codec than the batch's: it is compressed anew
//!   - `message.timestamp.before.max.ms` is set: the oldest record counts, and the header knows only the newest
//!
//! KAFKA: 4.4 decodes every record of every batch. What that finds beyond the header (a false count, a false max
//! timestamp, gaps in compressed offsets, surplus bytes) is passed on here; the docs list it as a deliberate difference.

use crate::batch::{BatchView, MAGIC, NO_TIMESTAMP, TimestampType, set_append_time, set_timestamp_type};
use crate::builder::{BatchBuilder, BatchFacts, NewRecord};
use crate::compression::Codec;
use crate::records::Records;

/// The settings of a topic that decide over an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendRules {
    /// `cleanup.policy` has `compact`.
    pub compacted: bool,
    /// `compression.type`; None is `producer`.
    pub target_codec: Option<Codec>,
    pub compression_level: Option<i32>,
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`; `i64::MAX` is no bound.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`; `i64::MAX` is no bound.
    pub timestamp_after_max_ms: i64,
    /// `max.message.bytes`
    pub message_bytes_max: usize,
    /// `segment.bytes`
    pub segment_bytes: usize,
    /// What a batch may inflate to where it must be inflated.
    pub inflated_bytes_max: usize,
}

impl Default for AppendRules {
    /// Apache Kafka's defaults of a topic.
    fn default() -> Self {
        AppendRules {
            compacted: false,
            target_codec: None,
            compression_level: None,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            message_bytes_max: 1_048_588,
            segment_bytes: 1 << 30,
            inflated_bytes_max: 64 << 20,
        }
    }
}

/// A batch that may be appended.
#[derive(Debug)]
pub struct Validated {
    /// The batch in another codec, to be appended instead.
    pub rewritten: Option<Vec<u8>>,
    /// -1 unless the topic keeps the time of append.
    pub log_append_time_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProduceError {
    CorruptMessage(String),
    InvalidRecord(String, Vec<(i32, String)>),
    MessageTooLarge(String),
    RecordListTooLarge(String),
    InvalidTimestamp(String, Vec<(i32, String)>),
    UnsupportedCompressionType(String),
}

impl ProduceError {
    pub fn error_code(&self) -> i16 {
        match self {
            ProduceError::CorruptMessage(_) => 2,
            ProduceError::MessageTooLarge(_) => 10,
            ProduceError::RecordListTooLarge(_) => 18,
            ProduceError::InvalidTimestamp(..) => 32,
            ProduceError::UnsupportedCompressionType(_) => 76,
            ProduceError::InvalidRecord(..) => 87,
        }
    }

    /// Index within the batch and reason, where single records are at fault.
    pub fn record_errors(&self) -> &[(i32, String)] {
        match self {
            ProduceError::InvalidRecord(_, records) | ProduceError::InvalidTimestamp(_, records) => records,
            _ => &[],
        }
    }
}

impl std::fmt::Display for ProduceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ProduceError::CorruptMessage(text)
            | ProduceError::InvalidRecord(text, _)
            | ProduceError::MessageTooLarge(text)
            | ProduceError::RecordListTooLarge(text)
            | ProduceError::InvalidTimestamp(text, _)
            | ProduceError::UnsupportedCompressionType(text) => f.write_str(text),
        }
    }
}

fn invalid(text: impl Into<String>) -> ProduceError {
    ProduceError::InvalidRecord(text.into(), Vec::new())
}

/// The first Produce version whose clients know zstd.
const ZSTD_FROM_VERSION: i16 = 7;

/// Checks one produced batch and makes it ready: patched in place, or rewritten.
pub fn validate_produce(
    batch: &mut [u8],
    rules: &AppendRules,
    api_version: i16,
    now_ms: i64,
) -> Result<Validated, ProduceError> {
    let view = check_header(batch, rules, api_version)?;
    let codec = view.codec().ok_or_else(|| invalid(format!("codec {} is not known", view.attributes() & 7)))?;
    check_timestamps(&view, rules, now_ms)?;
    let other_codec = rules.target_codec.filter(|target| *target != codec);
    let needs_records = rules.compacted
        || other_codec.is_some()
        || (rules.timestamp_type == TimestampType::CreateTime && rules.timestamp_before_max_ms != i64::MAX);
    let mut rewritten = None;
    if needs_records {
        let payload =
            codec.decompress(view.payload(), rules.inflated_bytes_max).map_err(|error| invalid(error.to_string()))?;
        check_records(&view, &payload, rules, now_ms)?;
        if let Some(target) = other_codec {
            rewritten = Some(recompress(&view, &payload, target, rules)?);
        }
    }
    let was_append_time = view.timestamp_type() == TimestampType::LogAppendTime;
    let bytes = rewritten.as_deref_mut().unwrap_or(batch);
    let mut log_append_time_ms = NO_TIMESTAMP;
    if rules.timestamp_type == TimestampType::LogAppendTime {
        set_append_time(bytes, now_ms);
        log_append_time_ms = now_ms;
    } else if was_append_time {
        // KAFKA: 4.4 accepts the bit from a client and clears it.
        set_timestamp_type(bytes, TimestampType::CreateTime);
    }
    Ok(Validated { rewritten, log_append_time_ms })
}

fn check_header<'a>(batch: &'a [u8], rules: &AppendRules, api_version: i16) -> Result<BatchView<'a>, ProduceError> {
    if batch.len() > 16 && batch[16] as i8 != MAGIC {
        let magic = batch[16] as i8;
        return Err(match magic {
            0 | 1 => invalid(format!(
                "magic {magic} is a message format older than v2, which produce requests do not take; use a client of Kafka \
                 0.11 or newer"
            )),
            _ => ProduceError::CorruptMessage(format!(
                "magic {magic} is no known format; this broker takes record batches of magic 2"
            )),
        });
    }
    let view = BatchView::parse(batch).map_err(|error| match batch.len() {
        0 => invalid("a produce request carries exactly one record batch, and this one carries none"),
        _ => ProduceError::CorruptMessage(error.to_string()),
    })?;
    if view.bytes().len() != batch.len() {
        // KAFKA: 4.4 accepts surplus bytes that are too few for a batch header; here nothing but the batch is stored.
        return Err(invalid("a produce request carries exactly one record batch for each partition"));
    }
    if batch.len() > rules.message_bytes_max {
        return Err(ProduceError::MessageTooLarge(format!(
            "the batch takes {} bytes, above max.message.bytes={}; send smaller batches or raise it for the topic",
            batch.len(),
            rules.message_bytes_max
        )));
    }
    if batch.len() > rules.segment_bytes {
        return Err(ProduceError::RecordListTooLarge(format!(
            "the batch takes {} bytes, above segment.bytes={}; send smaller batches or raise it for the topic",
            batch.len(),
            rules.segment_bytes
        )));
    }
    if !view.crc_is_valid() {
        return Err(ProduceError::CorruptMessage(format!(
            "the batch says its CRC-32C is {:#010x}, but its bytes give {:#010x}: it was damaged on the way; send it again",
            view.crc(),
            view.compute_crc()
        )));
    }
    if view.base_offset() != 0 {
        return Err(invalid(format!("base offset {} in a produced batch: clients send 0", view.base_offset())));
    }
    let count = view.record_count();
    if count <= 0 || i64::from(count) != i64::from(view.last_offset_delta()) + 1 {
        return Err(invalid(format!(
            "record count {count} does not fit last offset delta {}: it must be that plus 1, and at least 1",
            view.last_offset_delta()
        )));
    }
    if view.payload().is_empty() {
        return Err(invalid(format!("the header promises {count} records, and no byte follows it")));
    }
    if view.is_control() {
        return Err(invalid(
            "the control bit is set: only brokers write control batches; clear bit 5 of the attributes",
        ));
    }
    if view.producer_id() >= 0 && view.base_sequence() < 0 {
        return Err(invalid(format!(
            "base sequence {} of producer id {}: a batch with a producer id needs a sequence of 0 or more",
            view.base_sequence(),
            view.producer_id()
        )));
    }
    if view.codec() == Some(Codec::Zstd) && api_version < ZSTD_FROM_VERSION {
        return Err(ProduceError::UnsupportedCompressionType(format!(
            "zstd in a produce request of version {api_version}: it is taken from version {ZSTD_FROM_VERSION} on; use a newer \
             client or another compression.type"
        )));
    }
    Ok(view)
}

fn check_timestamps(view: &BatchView<'_>, rules: &AppendRules, now_ms: i64) -> Result<(), ProduceError> {
    if rules.timestamp_type == TimestampType::LogAppendTime || rules.timestamp_after_max_ms == i64::MAX {
        return Ok(());
    }
    let newest = view.max_timestamp();
    if newest != NO_TIMESTAMP && newest > now_ms.saturating_add(rules.timestamp_after_max_ms) {
        return Err(ProduceError::InvalidTimestamp(
            format!(
                "timestamp {newest} is further ahead of the broker's clock than message.timestamp.after.max.ms={} allows",
                rules.timestamp_after_max_ms
            ),
            Vec::new(),
        ));
    }
    Ok(())
}

fn check_records(view: &BatchView<'_>, payload: &[u8], rules: &AppendRules, now_ms: i64) -> Result<(), ProduceError> {
    let oldest = now_ms.saturating_sub(rules.timestamp_before_max_ms);
    let bounded = rules.timestamp_type == TimestampType::CreateTime && rules.timestamp_before_max_ms != i64::MAX;
    let (mut no_key, mut too_old) = (Vec::new(), Vec::new());
    for (index, record) in (0..).zip(Records::new(payload, view.record_count())) {
        let record = record.map_err(|error| invalid(error.to_string()))?;
        if rules.compacted && record.key.is_none() {
            no_key.push((index, "the record has no key, and the topic is compacted".to_owned()));
        }
        let timestamp = view.base_timestamp().wrapping_add(record.timestamp_delta);
        if bounded && timestamp != NO_TIMESTAMP && timestamp < oldest {
            too_old.push((index, format!("timestamp {timestamp} is before {oldest}")));
        }
    }
    if !no_key.is_empty() {
        let text =
            format!("cleanup.policy has compact, and {} records have no key; give each record one", no_key.len());
        return Err(ProduceError::InvalidRecord(text, no_key));
    }
    if !too_old.is_empty() {
        let text = format!(
            "{} records are older than message.timestamp.before.max.ms={} allows",
            too_old.len(),
            rules.timestamp_before_max_ms
        );
        return Err(ProduceError::InvalidTimestamp(text, too_old));
    }
    Ok(())
}

fn recompress(
    view: &BatchView<'_>,
    payload: &[u8],
    target: Codec,
    rules: &AppendRules,
) -> Result<Vec<u8>, ProduceError> {
    let mut builder = BatchBuilder::new(BatchFacts {
        codec: target,
        level: rules.compression_level,
        is_transactional: view.is_transactional(),
        producer_id: view.producer_id(),
        producer_epoch: view.producer_epoch(),
        base_sequence: view.base_sequence(),
        ..BatchFacts::default()
    });
    for record in Records::new(payload, view.record_count()) {
        let record = record.map_err(|error| invalid(error.to_string()))?;
        let headers: Vec<_> = record.headers().collect();
        builder.push(NewRecord {
            timestamp: view.base_timestamp().wrapping_add(record.timestamp_delta),
            key: record.key,
            value: record.value,
            headers: &headers,
        });
    }
    let bytes = builder.build().map_err(|error| invalid(error.to_string()))?;
    if bytes.len() > rules.message_bytes_max {
        return Err(ProduceError::MessageTooLarge(format!(
            "the batch takes {} bytes once compressed with {}, above max.message.bytes={}",
            bytes.len(),
            target.name(),
            rules.message_bytes_max
        )));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::HEADER_BYTES;

    fn batch(codec: Codec, key: Option<&[u8]>) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchFacts { codec, ..BatchFacts::default() });
        for i in 0..10 {
            builder.push(NewRecord { timestamp: 5000 + i, key, value: Some(b"value"), headers: &[] });
        }
        builder.build().unwrap()
    }

    fn code(bytes: &mut [u8], rules: &AppendRules) -> i16 {
        validate_produce(bytes, rules, 11, 10_000).map_or_else(|error| error.error_code(), |_| 0)
    }

    #[test]
    fn a_good_batch_passes_untouched() {
        let mut bytes = batch(Codec::Lz4, None);
        let before = bytes.clone();
        assert!(validate_produce(&mut bytes, &AppendRules::default(), 11, 10_000).unwrap().rewritten.is_none());
        assert_eq!(bytes, before);
    }

    #[test]
    fn each_header_rule_has_its_error() {
        let good = batch(Codec::None, None);
        let with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            code(&mut bytes, &AppendRules::default())
        };
        assert_eq!(with(17, good[17] ^ 1), 2, "crc");
        assert_eq!(with(7, 1), 87, "base offset");
        assert_eq!(with(16, 1), 87, "magic 1");
        assert_eq!(with(16, 3), 2, "magic 3");
        assert_eq!(code(&mut good[..60].to_vec(), &AppendRules::default()), 2, "cut");
        assert_eq!(code(&mut [], &AppendRules::default()), 87, "no batch");
        let mut bare = good[..HEADER_BYTES].to_vec();
        bare[8..12].copy_from_slice(&49i32.to_be_bytes());
        crate::batch::set_crc(&mut bare);
        assert_eq!(code(&mut bare, &AppendRules::default()), 87, "no payload");
        assert_eq!(code(&mut [&good[..], &good[..]].concat(), &AppendRules::default()), 87, "two batches");
        assert_eq!(code(&mut good.clone(), &AppendRules { message_bytes_max: 100, ..AppendRules::default() }), 10);
        assert_eq!(code(&mut good.clone(), &AppendRules { segment_bytes: 100, ..AppendRules::default() }), 18);
        assert_eq!(
            code(&mut good.clone(), &AppendRules { timestamp_after_max_ms: -6000, ..AppendRules::default() }),
            32
        );
    }

    #[test]
    fn a_compacted_topic_names_the_records_without_a_key() {
        let compacted = AppendRules { compacted: true, ..AppendRules::default() };
        for codec in Codec::ALL {
            assert_eq!(code(&mut batch(codec, Some(b"k")), &compacted), 0);
            let error = validate_produce(&mut batch(codec, None), &compacted, 11, 0).unwrap_err();
            assert_eq!((error.error_code(), error.record_errors().len()), (87, 10));
        }
    }

    #[test]
    fn another_codec_rewrites_the_batch_and_keeps_its_records() {
        let zstd = AppendRules { target_codec: Some(Codec::Zstd), ..AppendRules::default() };
        let mut bytes = batch(Codec::Gzip, Some(b"k"));
        let rewritten = validate_produce(&mut bytes, &zstd, 11, 10_000).unwrap().rewritten.unwrap();
        let view = BatchView::parse(&rewritten).unwrap();
        assert!(view.crc_is_valid());
        assert_eq!((view.codec(), view.record_count(), view.max_timestamp()), (Some(Codec::Zstd), 10, 5009));
        assert!(validate_produce(&mut batch(Codec::Zstd, None), &zstd, 11, 10_000).unwrap().rewritten.is_none());
    }

    #[test]
    fn append_time_is_set_in_place_and_the_crc_follows() {
        let append_time = AppendRules { timestamp_type: TimestampType::LogAppendTime, ..AppendRules::default() };
        let mut bytes = batch(Codec::None, None);
        assert_eq!(validate_produce(&mut bytes, &append_time, 11, 777).unwrap().log_append_time_ms, 777);
        let view = BatchView::parse(&bytes).unwrap();
        assert_eq!((view.max_timestamp(), view.base_timestamp()), (777, 5000));
        assert!(view.crc_is_valid());
    }

    #[test]
    fn a_lower_time_bound_looks_at_every_record() {
        let bounded = AppendRules { timestamp_before_max_ms: 4995, ..AppendRules::default() };
        let error = validate_produce(&mut batch(Codec::Snappy, None), &bounded, 11, 10_000).unwrap_err();
        assert_eq!((error.error_code(), error.record_errors().len()), (32, 5));
    }

    #[test]
    fn mutated_batches_never_panic() {
        let good = batch(Codec::Snappy, Some(b"k"));
        let strict = AppendRules { compacted: true, target_codec: Some(Codec::Lz4), ..AppendRules::default() };
        let mut state = 1u64;
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..3 {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let at = (state >> 33) as usize % bytes.len();
                bytes[at] = state as u8;
            }
            if bytes.len() >= 61 {
                crate::batch::set_crc(&mut bytes);
            }
            let _ = validate_produce(&mut bytes, &strict, 11, 10_000);
        }
    }
}
