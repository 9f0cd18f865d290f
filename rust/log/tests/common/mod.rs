//! What the tests of a whole log share: a log over memory, batches and markers in a line each.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use log::cleaner::{Cleaned, Cleaner, CleanerSettings, CleaningReport, Course, Interruption};
use log::memory::MemoryStorage;
use log::{Log, LogConfig, OpenOptions, RecoveryReport};
use record::{BatchBuilder, BatchFacts, NewRecord};

pub const DIR: &str = "/d/t-0";
pub const TOPIC_ID: [u8; 16] = [7; 16];

pub fn config(segment_bytes: u64) -> LogConfig {
    LogConfig {
        segment_bytes,
        segment_ms: i64::MAX,
        index_interval_bytes: 100,
        index_bytes_max: 1 << 20,
        producer_id_expiration_ms: 1 << 40,
        ..LogConfig::default()
    }
}

/// How a log is opened, apart from where.
#[derive(Clone)]
pub struct Opening {
    pub clean: bool,
    pub recovery_point: i64,
    pub start: Option<i64>,
    pub config: LogConfig,
    pub now_ms: i64,
}

impl Default for Opening {
    fn default() -> Self {
        Opening { clean: false, recovery_point: 0, start: None, config: config(1 << 20), now_ms: 1 }
    }
}

pub fn options(storage: &MemoryStorage, opening: Opening) -> OpenOptions {
    OpenOptions {
        storage: Arc::new(storage.clone()),
        dir: PathBuf::from(DIR),
        topic_id: TOPIC_ID,
        sibling: None,
        config: opening.config,
        clean_shutdown: opening.clean,
        recovery_point: opening.recovery_point,
        log_start_offset: opening.start,
        now_ms: opening.now_ms,
    }
}

pub fn try_open(storage: &MemoryStorage, opening: Opening) -> log::Result<(Log, RecoveryReport)> {
    Log::open(options(storage, opening))
}

/// A log that was not closed cleanly, or a new one.
pub fn open(storage: &MemoryStorage) -> Log {
    try_open(storage, Opening::default()).unwrap().0
}

pub fn open_clean(storage: &MemoryStorage) -> Log {
    try_open(storage, Opening { clean: true, ..Opening::default() }).unwrap().0
}

pub fn batch(timestamp: i64, count: i32, facts: BatchFacts) -> Vec<u8> {
    let mut builder = BatchBuilder::new(facts);
    for i in 0..count {
        let timestamp = timestamp + i64::from(i);
        builder.push(NewRecord { timestamp, value: Some(&[9; 50]), ..NewRecord::default() });
    }
    builder.build().unwrap()
}

/// One record without a producer.
pub fn plain(timestamp: i64) -> Vec<u8> {
    batch(timestamp, 1, BatchFacts::default())
}

/// One record of an open transaction.
pub fn transactional(producer_id: i64, producer_epoch: i16, base_sequence: i32) -> Vec<u8> {
    let facts =
        BatchFacts { producer_id, producer_epoch, base_sequence, is_transactional: true, ..BatchFacts::default() };
    batch(1, 1, facts)
}

pub fn marker(producer_id: i64, producer_epoch: i16, commit: bool) -> Vec<u8> {
    let (key, value) = record::control::marker(commit, 4);
    let mut builder = BatchBuilder::new(BatchFacts {
        producer_id,
        producer_epoch,
        is_transactional: true,
        is_control: true,
        ..BatchFacts::default()
    });
    builder.push(NewRecord { timestamp: 5, key: Some(&key), value: Some(&value), ..NewRecord::default() });
    builder.build().unwrap()
}

pub fn append(log: &mut Log, mut batch: Vec<u8>) {
    log.append_as_leader(&mut batch, 0, 1).unwrap();
}

/// `count` batches of one record, at rising timestamps from `timestamp` on.
pub fn fill(log: &mut Log, count: i64, timestamp: i64) {
    for i in 0..count {
        append(log, plain(timestamp + i));
    }
}

pub fn path(base_offset: i64, suffix: &str) -> PathBuf {
    Path::new(DIR).join(format!("{base_offset:020}{suffix}"))
}

/// Every batch from `offset` on, read in pieces of `bytes_max`.
pub fn read_from(log: &Log, offset: i64, bytes_max: usize) -> Vec<Vec<u8>> {
    let (mut at, mut batches) = (offset, Vec::new());
    while at < log.log_end_offset() {
        let slice = log.read(at, bytes_max, true, log.log_end_offset()).unwrap().expect("there is more");
        let mut bytes = vec![0; slice.region.bytes];
        assert_eq!(slice.region.file.read_at(&mut bytes, slice.region.position).unwrap(), slice.region.bytes);
        for batch in record::Batches::new(&bytes) {
            let batch = batch.expect("a slice has whole batches");
            at = batch.next_offset();
            batches.push(batch.bytes().to_vec());
        }
    }
    batches
}

/// A course that swaps in a log that nobody else has, and never stops.
pub struct Swapping<'a>(pub &'a mut Log);

impl Course for Swapping<'_> {
    fn spent(&mut self, _bytes: usize) -> bool {
        true
    }

    fn swap(&mut self, cleaned: Cleaned) -> log::Result<bool> {
        Ok(self.0.swap_in(&cleaned)?.is_some())
    }
}

pub fn cleaner(dedupe_bytes: usize) -> Cleaner {
    Cleaner::new(&CleanerSettings { dedupe_bytes, load_factor: 0.9, io_buffer_bytes: 0, hash_key: (1, 2) })
}

/// Cleans what is dirty behind `checkpoint`, whatever the ratio. None if nothing is.
pub fn clean(log: &mut Log, checkpoint: Option<i64>, now_ms: i64) -> Result<Option<CleaningReport>, Interruption> {
    let last_records = log.last_records();
    log.flush()?;
    let Some(job) = log.cleanable(log.log_end_offset(), checkpoint) else { return Ok(None) };
    let Some(plan) = job.plan(now_ms) else { return Ok(None) };
    cleaner(1 << 20).clean(&job, &plan, &last_records, now_ms, &mut Swapping(log)).map(Some)
}
