//! One replica of one partition: its log, its high watermark, and who waits for either.
//!
//! ```text
//!   role      append            read              high watermark
//!   Leader    yes               up to it          min of the ISR's log end offsets
//!   Follower  no (replication)  NOT_LEADER        what the leader says, within the log
//!   Offline   KAFKA_STORAGE_ERROR                 -
//!   Gone      unknown partition                   -
//! ```
//!
//! INVARIANT: the high watermark never goes back while this replica leads.
//! INVARIANT: batches are validated before the lock is taken; under it there is one write and a few words of memory.
//! INVARIANT: a replica whose log failed to write answers KAFKA_STORAGE_ERROR until the process ends.

mod housekeeping;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard};

use bytes::{Bytes, BytesMut};
use log::{AppendInfo, Log, ProducerCheck, StorageFile};
use record::{BatchView, Validated, validate_produce};
use wire::ErrorCode;
use wire::fetch::{FetchPartition, FetchResult};
use wire::produce::CurrentLeader;

use crate::durability::{Demand, Durability, EVERY_MESSAGE};
use crate::lock::Lock;
use crate::purgatory::{URGENT, Watch, Watcher};
use crate::tail::{Tail, TailBudget};
use crate::topic::{PartitionKey, Topic, TopicKey};
use crate::verification::Verifications;

pub use housekeeping::Retained;

/// Who leads a partition, as the control plane decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    pub leader_id: i32,
    pub leader_epoch: i32,
    pub partition_epoch: i32,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Leader,
    Follower,
    Offline,
}

struct Inner {
    role: Role,
    leadership: Leadership,
    log: Option<Log>,
    high_watermark: i64,
    tail: Tail,
    readers: Vec<Watcher>,
    writers: Vec<(Wanted, Watcher)>,
    disk: Option<Arc<dyn Disk>>,
    durability: Durability,
    /// Bytes appended but not yet below the high watermark.
    unannounced_bytes: usize,
    verifications: Verifications,
}

/// A log that has just been opened.
pub struct Opened {
    pub log: Log,
    /// The checkpointed one.
    pub high_watermark: i64,
    /// What it lies on. None where nobody waits for a disk.
    pub disk: Option<Arc<dyn Disk>>,
}

/// A batch that is to be on the disk before anybody is told of it.
pub struct Uncommitted {
    pub partition: Arc<Partition>,
    pub batch: Bytes,
    pub end_offset: i64,
    /// What stands in the log before it was not handed over: the log is to be flushed first.
    pub follows_unsynced: bool,
}

/// What a partition asks of the disk under its log. All of it is called under the partition's lock.
pub trait Disk: Send + Sync {
    /// `Partition::committed` or `Partition::fail` follows; or the log has moved to another disk meanwhile, where this batch is
    /// safe (`Partition::arrive`).
    fn commit(&self, uncommitted: Uncommitted);

    /// The log is to be flushed before long.
    fn flush_soon(&self, partition: Arc<Partition>);

    /// A write to this directory failed: all that lies in it is to go offline.
    fn failed(&self, why: String);

    /// Why clients may write nothing here for now, if so.
    fn refusal(&self) -> Option<String>;
}

/// Small batches are copied out of the buffer that they came in, which so can be read into again before the disk has synced.
const COPIED_BELOW_BYTES: usize = 16 * 1024;

fn kept(batch: &Bytes) -> Bytes {
    if batch.len() < COPIED_BELOW_BYTES { Bytes::copy_from_slice(batch) } else { batch.clone() }
}

/// How far a log must have come before a producer is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// acks=all: on all replicas in sync.
    HighWatermark(i64),
    /// acks=1: on this replica's disk.
    Synced(i64),
}

pub struct Partition {
    pub topic: Arc<Topic>,
    pub index: i32,
    node_id: i32,
    budget: Arc<TailBudget>,
    gone: AtomicBool,
    inner: Lock<Inner>,
}

/// A successful append.
#[derive(Clone, Copy, Debug)]
pub struct Appended {
    pub first_offset: i64,
    pub last_offset: i64,
    pub log_append_time_ms: i64,
    pub log_start_offset: i64,
    pub high_watermark: i64,
    /// None where nobody waits for the disk.
    pub synced_offset: Option<i64>,
}

impl Appended {
    /// What a producer is to wait for before it is told.
    pub fn wanted(&self, acks: i16) -> Option<Wanted> {
        match acks {
            -1 if self.last_offset >= self.high_watermark => Some(Wanted::HighWatermark(self.last_offset + 1)),
            1 if self.synced_offset.is_some_and(|synced| self.last_offset >= synced) => {
                Some(Wanted::Synced(self.last_offset + 1))
            }
            _ => None,
        }
    }
}

/// A batch of the control plane's own: records of a coordinator, or the marker of a transaction.
pub struct Decided {
    pub batch: BytesMut,
    /// Refused in any other leader epoch, and at any other end of the log.
    pub at: Option<(i32, i64)>,
    pub transaction_version: i8,
}

/// Why a batch was refused.
#[derive(Debug)]
pub struct ProduceFailure {
    pub error: ErrorCode,
    pub message: Option<String>,
    pub record_errors: Vec<(i32, String)>,
    pub current_leader: Option<CurrentLeader>,
    pub log_start_offset: i64,
}

impl ProduceFailure {
    fn new(error: ErrorCode, message: impl Into<Option<String>>) -> Self {
        ProduceFailure {
            error,
            message: message.into(),
            record_errors: Vec::new(),
            current_leader: None,
            log_start_offset: -1,
        }
    }
}

/// Payload of a read: from memory, or a region of a file.
pub enum Records {
    None,
    Memory { batches: Vec<Bytes>, bytes: usize },
    File { file: Arc<dyn StorageFile>, position: u64, bytes: usize },
}

impl Records {
    #[allow(clippy::len_without_is_empty, reason = "a length in bytes, not a container")]
    pub fn len(&self) -> usize {
        match self {
            Records::None => 0,
            Records::Memory { bytes, .. } | Records::File { bytes, .. } => *bytes,
        }
    }
}

/// One partition's part of a Fetch pass.
pub struct ReadRequest<'a> {
    pub request: &'a FetchPartition,
    pub replica_id: i32,
    pub isolation_level: i8,
    /// What is left of the whole request's limit.
    pub bytes_left: usize,
    /// Nothing has been read yet: give one batch however large.
    pub min_one: bool,
}

pub struct ReadResult {
    pub error: ErrorCode,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
    pub aborted_transactions: Option<Vec<(i64, i64)>>,
    pub diverging: Option<(i32, i64)>,
    pub current_leader: Option<CurrentLeader>,
    pub records: Records,
    /// There is more to read than the limits let through.
    pub held_back: bool,
}

impl ReadResult {
    pub fn failed(error: ErrorCode) -> ReadResult {
        ReadResult {
            error,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            aborted_transactions: Some(Vec::new()),
            diverging: None,
            current_leader: None,
            records: Records::None,
            held_back: false,
        }
    }

    pub fn told<'a>(&self, topic: &'a TopicKey, index: i32) -> FetchResult<'a> {
        FetchResult {
            topic: topic.name(),
            partition: index,
            error: self.error,
            high_watermark: self.high_watermark,
            last_stable_offset: self.last_stable_offset,
            log_start_offset: self.log_start_offset,
            aborted_transactions: self.aborted_transactions.clone(),
            preferred_read_replica: -1,
            diverging: self.diverging,
            current_leader: self.current_leader,
            records_bytes: self.records.len(),
        }
    }
}

const READ_COMMITTED: i8 = 1;

impl Partition {
    pub fn new(topic: Arc<Topic>, index: i32, node_id: i32, budget: Arc<TailBudget>) -> Partition {
        let inner = Inner {
            role: Role::Offline,
            leadership: Leadership { leader_id: -1, leader_epoch: -1, ..Leadership::default() },
            log: None,
            high_watermark: 0,
            tail: Tail::default(),
            readers: Vec::new(),
            writers: Vec::new(),
            disk: None,
            durability: Durability::at(0),
            unannounced_bytes: 0,
            verifications: Verifications::default(),
        };
        Partition { topic, index, node_id, budget, gone: AtomicBool::new(false), inner: Lock::new(inner) }
    }

    pub fn key(&self) -> PartitionKey {
        (self.topic.id, self.index)
    }

    /// Also what its log's directory is called.
    pub fn name(&self) -> String {
        log::partition_dir_name(&self.topic.name, self.index)
    }

    /// The partition left the view: it was deleted, or is no longer hosted here.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    pub fn is_hosted_by(&self, leadership: &Leadership) -> bool {
        leadership.replicas.contains(&self.node_id)
    }

    /// Whether its log is one of this directory's.
    pub fn lies_in(&self, dir: &std::path::Path) -> bool {
        self.inner.lock().log.as_ref().is_some_and(|log| log.dir().parent() == Some(dir))
    }

    pub fn has_log(&self) -> bool {
        self.inner.lock().log.is_some()
    }

    /// Takes over what the control plane decided, with the log if it has just been opened.
    pub fn apply_leadership(self: &Arc<Self>, leadership: Leadership, opened: Option<Opened>) -> log::Result<()> {
        let mut inner = self.inner.lock();
        if let Some(Opened { log, high_watermark, disk }) = opened {
            inner.high_watermark = high_watermark.clamp(log.log_start_offset(), log.log_end_offset());
            inner.durability = Durability::at(log.recovery_point());
            inner.disk = disk;
            if log.needs_flush() && self.topic.settings.load().flush_messages == EVERY_MESSAGE {
                inner.ask_flush(self);
            }
            inner.log = Some(log);
        }
        let leads = leadership.leader_id == self.node_id;
        let new_epoch = leadership.leader_epoch > inner.leadership.leader_epoch;
        inner.role = match (&inner.log, leads) {
            (None, _) => Role::Offline,
            (Some(log), _) if log.is_poisoned() => Role::Offline,
            (Some(_), true) => Role::Leader,
            (Some(_), false) => Role::Follower,
        };
        if inner.role == Role::Leader && new_epoch {
            let leader_epoch = leadership.leader_epoch;
            if let Some(log) = &mut inner.log {
                log.assign_leader_epoch(leader_epoch)?;
            }
        }
        inner.leadership = leadership;
        self.advance_high_watermark(&mut inner);
        inner.tell_everyone();
        Ok(())
    }

    /// The partition leaves the view. Its log, if any, is handed back to be deleted or closed.
    pub fn retire(&self) -> Option<Log> {
        self.gone.store(true, Ordering::Release);
        let mut inner = self.inner.lock();
        inner.role = Role::Offline;
        inner.tail.clear(&self.budget);
        inner.tell_everyone();
        inner.log.take()
    }

    /// Runs `work` on the log, for what is rare (offsets by time, deletion of records, checkpoints).
    pub fn with_log<T>(&self, work: impl FnOnce(&mut Log, &LogContext) -> T) -> Option<T> {
        let mut inner = self.inner.lock();
        let context = LogContext {
            high_watermark: inner.high_watermark,
            leader_epoch: inner.leadership.leader_epoch,
            leads: inner.role == Role::Leader,
        };
        inner.log.as_mut().map(|log| work(log, &context))
    }

    /// As `with_log`, for what may move the start of the log: readers are told.
    pub fn change_log<T>(&self, work: impl FnOnce(&mut Log, &LogContext) -> T) -> Option<T> {
        let result = self.with_log(work);
        let mut inner = self.inner.lock();
        if let Some(log) = &inner.log {
            inner.high_watermark = inner.high_watermark.max(log.log_start_offset());
        }
        inner.tell_everyone();
        result
    }

    pub fn high_watermark(&self) -> i64 {
        self.inner.lock().high_watermark
    }

    pub fn leadership(&self) -> Leadership {
        self.inner.lock().leadership.clone()
    }

    /// Appends one batch as leader. Validation (CRC-32C, header rules) happens before the lock is taken.
    pub fn append(
        self: &Arc<Self>,
        mut batch: BytesMut,
        acks: i16,
        api_version: i16,
        now_ms: i64,
    ) -> Result<Appended, ProduceFailure> {
        let settings = self.topic.settings.load();
        let validated =
            validate_produce(&mut batch, &settings.append, api_version, now_ms).map_err(|error| ProduceFailure {
                record_errors: error.record_errors().to_vec(),
                log_start_offset: self.log_start_offset_told(error.error_code()),
                ..ProduceFailure::new(ErrorCode(error.error_code()), error.to_string())
            })?;
        let log_append_time_ms = validated.log_append_time_ms;
        if let Validated { rewritten: Some(bytes), .. } = validated {
            batch = BytesMut::from(&bytes[..]);
        }
        let mut inner = self.inner.lock();
        self.check_leader(&inner)
            .map_err(|(error, current_leader)| ProduceFailure { current_leader, ..ProduceFailure::new(error, None) })?;
        if acks == -1 {
            self.check_in_sync(&inner, settings.min_insync_replicas)?;
        }
        let inner = &mut *inner;
        if let Some(why) = inner.disk.as_ref().and_then(|disk| disk.refusal()) {
            return Err(ProduceFailure::new(ErrorCode::KAFKA_STORAGE_ERROR, why));
        }
        let Some(log) = &inner.log else {
            return Err(ProduceFailure::new(ErrorCode::KAFKA_STORAGE_ERROR, None));
        };
        let view =
            BatchView::parse(&batch).map_err(|e| ProduceFailure::new(ErrorCode::CORRUPT_MESSAGE, e.to_string()))?;
        if view.is_transactional() {
            check_transaction(log, &inner.verifications, &view, api_version)?;
        }
        match log.check_producer(&view) {
            Ok(ProducerCheck::Fresh) => {}
            Ok(ProducerCheck::Duplicate { first_offset, last_offset, timestamp }) => {
                return Ok(Appended {
                    first_offset,
                    last_offset,
                    log_append_time_ms: timestamp,
                    log_start_offset: log.log_start_offset(),
                    high_watermark: inner.high_watermark,
                    synced_offset: (settings.flush_messages == EVERY_MESSAGE).then_some(inner.durability.synced_offset),
                });
            }
            Err(error) => {
                let log_start_offset = log.log_start_offset();
                let failure = ProduceFailure::new(ErrorCode(error.error_code()), error.to_string());
                return Err(ProduceFailure { log_start_offset, ..failure });
            }
        }
        let transactional = view.is_transactional().then(|| view.producer_id());
        let appended = self.write(inner, batch, now_ms)?;
        if let Some(producer_id) = transactional {
            inner.verifications.forget(producer_id);
        }
        Ok(Appended { log_append_time_ms, ..appended })
    }

    /// The number of the guard, if the coordinator of this batch's transaction is to be asked before it may be appended.
    pub fn must_verify(&self, batch: &BatchView<'_>) -> Option<u64> {
        let (id, epoch) = (batch.producer_id(), batch.producer_epoch());
        let mut inner = self.inner.lock();
        let log = inner.log.as_ref().filter(|_| batch.is_transactional() && inner.role == Role::Leader)?;
        if log.has_open_transaction(id, epoch) || inner.verifications.confirmed(id, epoch).is_some() {
            return None;
        }
        // A batch that stands in the log already opens nothing.
        if matches!(log.check_producer(batch), Ok(ProducerCheck::Duplicate { .. })) {
            return None;
        }
        Some(inner.verifications.begin(id, epoch, batch.base_sequence()))
    }

    /// The coordinator said that the partition is part of the transaction.
    pub fn confirm(&self, producer_id: i64, number: u64) {
        self.inner.lock().verifications.confirm(producer_id, number);
    }

    /// Appends what the control plane decided, as leader and with acks=all. Its batch is sound; what is checked is that
    /// this is still the log on which it was decided.
    pub fn append_decided(self: &Arc<Self>, decided: Decided, now_ms: i64) -> Result<Appended, ProduceFailure> {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        self.check_leader(inner).map_err(|(error, _)| ProduceFailure::new(error, None))?;
        self.check_in_sync(inner, self.topic.settings.load().min_insync_replicas)?;
        let Some(log) = &inner.log else {
            return Err(ProduceFailure::new(ErrorCode::KAFKA_STORAGE_ERROR, None));
        };
        let stands = (inner.leadership.leader_epoch, log.log_end_offset());
        if let Some(at) = decided.at.filter(|at| *at != stands) {
            let message = format!(
                "decided for (leader epoch, offset) {at:?}, but {}-{} stands at {stands:?}",
                self.topic.name, self.index
            );
            return Err(ProduceFailure::new(ErrorCode::NOT_LEADER_OR_FOLLOWER, message));
        }
        let view = BatchView::parse(&decided.batch)
            .map_err(|e| ProduceFailure::new(ErrorCode::CORRUPT_MESSAGE, e.to_string()))?;
        log.check_decided(&view, decided.transaction_version)
            .map_err(|error| ProduceFailure::new(ErrorCode(error.error_code()), error.to_string()))?;
        if view.is_control() {
            inner.verifications.forget(view.producer_id());
        }
        self.write(inner, decided.batch, now_ms)
    }

    fn check_in_sync(&self, inner: &Inner, min_insync_replicas: usize) -> Result<(), ProduceFailure> {
        let in_sync = inner.leadership.isr.len();
        if in_sync >= min_insync_replicas.min(inner.leadership.replicas.len()) {
            return Ok(());
        }
        let message = format!(
            "{}-{} has {in_sync} replicas in sync, below min.insync.replicas={min_insync_replicas}; bring a replica back or \
             lower it",
            self.topic.name, self.index
        );
        Err(ProduceFailure::new(ErrorCode::NOT_ENOUGH_REPLICAS, message))
    }

    fn write(
        self: &Arc<Self>,
        inner: &mut Inner,
        mut batch: BytesMut,
        now_ms: i64,
    ) -> Result<Appended, ProduceFailure> {
        let Some(log) = &mut inner.log else {
            return Err(ProduceFailure::new(ErrorCode::KAFKA_STORAGE_ERROR, None));
        };
        let info = log.append_as_leader(&mut batch, inner.leadership.leader_epoch, now_ms).map_err(|error| {
            // Where there is no room now, there may be some later: the log is as it was.
            if !error.is_no_space() {
                inner.role = Role::Offline;
                if let Some(disk) = &inner.disk {
                    disk.failed(error.to_string());
                }
            }
            ProduceFailure::new(ErrorCode::KAFKA_STORAGE_ERROR, error.to_string())
        })?;
        let log_start_offset = log.log_start_offset();
        let batch = batch.freeze();
        let messages = self.topic.settings.load().flush_messages;
        inner.ask_disk(self, &batch, &info, messages);
        if info.rolled {
            inner.ask_flush(self);
        }
        inner.unannounced_bytes += batch.len();
        inner.tail.push(info.first_offset, info.last_offset, batch, &self.budget);
        self.advance_high_watermark(inner);
        Ok(Appended {
            first_offset: info.first_offset,
            last_offset: info.last_offset,
            log_append_time_ms: -1,
            log_start_offset,
            high_watermark: inner.high_watermark,
            synced_offset: (messages == EVERY_MESSAGE).then_some(inner.durability.synced_offset),
        })
    }

    /// All before `end_offset` is on the disk.
    pub fn committed(&self, end_offset: i64) {
        let mut inner = self.inner.lock();
        inner.durability.synced(end_offset);
        if !self.advance_high_watermark(&mut inner) {
            inner.tell_writers();
        }
    }

    /// Nothing can be written to the disk under this directory any more; of no matter to a log that lies in another one.
    pub fn fail(&self, dir: &std::path::Path, why: &str) {
        let mut inner = self.inner.lock();
        let Some(log) = inner.log.as_mut().filter(|log| log.dir().parent() == Some(dir)) else { return };
        log.poison(why);
        inner.role = Role::Offline;
        inner.tell_everyone();
    }

    /// Asks for a flush, if there is anything to flush.
    pub fn flush_soon(self: &Arc<Self>) {
        let mut inner = self.inner.lock();
        if inner.log.as_ref().is_some_and(Log::needs_flush) {
            inner.ask_flush(self);
        }
    }

    /// Brings the log to the disk. It is locked only to plan that and to note it.
    pub fn flush(&self) -> log::Result<()> {
        let planned = self.with_log(|log, _| log.needs_flush().then(|| log.plan_flush()).transpose());
        let Some(flush) = planned.transpose()?.flatten() else { return Ok(()) };
        let outcome = flush.run();
        match self.with_log(|log, _| log.flushed(&flush, outcome)) {
            Some(Ok(())) => self.committed(flush.end_offset()),
            Some(Err(error)) => return Err(error),
            // Deleted meanwhile.
            None => {}
        }
        Ok(())
    }

    /// KAFKA: told along with a refusal of the records themselves.
    fn log_start_offset_told(&self, error_code: i16) -> i64 {
        let told = [ErrorCode::INVALID_RECORD, ErrorCode::INVALID_TIMESTAMP].contains(&ErrorCode(error_code));
        let start = || self.inner.lock().log.as_ref().map(Log::log_start_offset);
        told.then(start).flatten().unwrap_or(-1)
    }

    fn check_leader(&self, inner: &Inner) -> Result<(), (ErrorCode, Option<CurrentLeader>)> {
        match inner.role {
            Role::Leader => Ok(()),
            Role::Offline if self.is_gone() => Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None)),
            Role::Offline if self.is_hosted_by(&inner.leadership) => Err((ErrorCode::KAFKA_STORAGE_ERROR, None)),
            _ => {
                let Leadership { leader_id, leader_epoch, .. } = inner.leadership;
                Err((ErrorCode::NOT_LEADER_OR_FOLLOWER, Some(CurrentLeader { leader_id, leader_epoch })))
            }
        }
    }

    /// With followers, this is the minimum over the ISR; a follower's offset is learnt from its Fetch. Whoever waits is told,
    /// if it passed anything.
    fn advance_high_watermark(&self, inner: &mut Inner) -> bool {
        if inner.role != Role::Leader || inner.leadership.isr.iter().any(|id| *id != self.node_id) {
            return false;
        }
        let Some(log) = &inner.log else { return false };
        let must_sync = self.topic.settings.load().flush_messages == EVERY_MESSAGE && inner.disk.is_some();
        let synced_max = if must_sync { inner.durability.synced_offset } else { i64::MAX };
        let end = log.log_end_offset().min(synced_max);
        if end <= inner.high_watermark {
            return false;
        }
        inner.high_watermark = end;
        if let Some(log) = &mut inner.log {
            log.high_watermark_passed(end);
        }
        let weight = std::mem::take(&mut inner.unannounced_bytes);
        for reader in &inner.readers {
            reader.watch.news(reader.slot, weight);
        }
        inner.tell_writers();
        true
    }

    /// Reads for a Fetch, from memory if the hot tail has it, else as a region of a file.
    pub fn read(&self, read: &ReadRequest<'_>) -> ReadResult {
        let inner = self.inner.lock();
        match self.try_read(&inner, read) {
            Ok(result) => result,
            // KAFKA: an error of the log has no list of aborted transactions, one that is found before has an empty one.
            Err((error, current_leader)) => {
                let aborted_transactions = (error == ErrorCode::INVALID_REQUEST).then(Vec::new);
                ReadResult { current_leader, aborted_transactions, ..ReadResult::failed(error) }
            }
        }
    }

    fn try_read(
        &self,
        inner: &MutexGuard<'_, Inner>,
        read: &ReadRequest<'_>,
    ) -> Result<ReadResult, (ErrorCode, Option<CurrentLeader>)> {
        let request = read.request;
        let leader_epoch = inner.leadership.leader_epoch;
        let leader = Some(CurrentLeader { leader_id: inner.leadership.leader_id, leader_epoch });
        self.check_leader(inner)?;
        if request.current_leader_epoch >= 0 && request.current_leader_epoch < leader_epoch {
            return Err((ErrorCode::FENCED_LEADER_EPOCH, leader));
        }
        if request.current_leader_epoch > leader_epoch {
            return Err((ErrorCode::UNKNOWN_LEADER_EPOCH, leader));
        }
        let from_replica = read.replica_id >= 0;
        if read.replica_id == self.node_id {
            return Err((ErrorCode::NOT_LEADER_OR_FOLLOWER, None));
        }
        if from_replica && !inner.leadership.replicas.contains(&read.replica_id) {
            let named = request.current_leader_epoch >= 0;
            let error = if named { ErrorCode::UNKNOWN_LEADER_EPOCH } else { ErrorCode::NOT_LEADER_OR_FOLLOWER };
            return Err((error, None));
        }
        if request.partition_bytes_max < 0 || !(0..=READ_COMMITTED).contains(&read.isolation_level) {
            return Err((ErrorCode::INVALID_REQUEST, None));
        }
        let Some(log) = &inner.log else { return Err((ErrorCode::KAFKA_STORAGE_ERROR, None)) };
        let high_watermark = inner.high_watermark;
        let mut result = ReadResult {
            error: ErrorCode::NONE,
            high_watermark,
            last_stable_offset: log.last_stable_offset(high_watermark),
            log_start_offset: log.log_start_offset(),
            aborted_transactions: None,
            ..ReadResult::failed(ErrorCode::NONE)
        };
        if request.last_fetched_epoch >= 0 {
            let (epoch, end_offset) = log.end_offset_for_epoch(request.last_fetched_epoch);
            if epoch < 0 {
                return Err((ErrorCode::OFFSET_OUT_OF_RANGE, None));
            }
            if epoch < request.last_fetched_epoch || end_offset < request.fetch_offset {
                result.diverging = Some((epoch, end_offset));
                return Ok(result);
            }
        }
        if request.fetch_offset < log.log_start_offset() || request.fetch_offset > log.log_end_offset() {
            return Err((ErrorCode::OFFSET_OUT_OF_RANGE, None));
        }
        let committed_only = read.isolation_level == READ_COMMITTED;
        let upper_offset = match (from_replica, committed_only) {
            (true, _) => log.log_end_offset(),
            (false, true) => result.last_stable_offset,
            (false, false) => high_watermark,
        };
        if committed_only {
            result.aborted_transactions = Some(Vec::new());
        }
        if request.fetch_offset >= upper_offset {
            inner.tail.want();
        } else {
            self.read_records(inner, log, read, upper_offset, &mut result)?;
        }
        Ok(result)
    }

    fn read_records(
        &self,
        inner: &Inner,
        log: &Log,
        read: &ReadRequest<'_>,
        upper_offset: i64,
        result: &mut ReadResult,
    ) -> Result<(), (ErrorCode, Option<CurrentLeader>)> {
        let offset = read.request.fetch_offset;
        let bytes_max = read.bytes_left.min(read.request.partition_bytes_max as usize);
        result.records = match inner.tail.read(offset, upper_offset, bytes_max, read.min_one) {
            Some((_, 0)) => Records::None,
            Some((batches, bytes)) => Records::Memory { batches, bytes },
            None => {
                let slice = log.read(offset, bytes_max, read.min_one, upper_offset).map_err(|error| match error {
                    log::ReadError::OffsetOutOfRange { .. } => (ErrorCode::OFFSET_OUT_OF_RANGE, None),
                    _ => (ErrorCode::KAFKA_STORAGE_ERROR, None),
                })?;
                if slice.as_ref().is_some_and(|slice| slice.is_last) {
                    inner.tail.want();
                }
                match slice {
                    Some(slice) => Records::File { file: slice.file, position: slice.position, bytes: slice.len },
                    None => Records::None,
                }
            }
        };
        result.held_back = result.records.len() == 0;
        if read.isolation_level == READ_COMMITTED {
            let aborted = log.aborted_transactions(offset, upper_offset);
            result.aborted_transactions = Some(aborted.map_err(|_| (ErrorCode::KAFKA_STORAGE_ERROR, None))?);
        }
        Ok(())
    }

    pub fn watch(&self, watcher: Watcher) {
        self.inner.lock().readers.push(watcher);
    }

    /// Watches on behalf of a reader that saw the high watermark at `seen`: if it has moved since, that is news now.
    pub fn watch_since(&self, watcher: Watcher, seen: i64, add: bool) {
        let mut inner = self.inner.lock();
        if inner.high_watermark != seen {
            watcher.watch.news(watcher.slot, URGENT);
        }
        if add {
            inner.readers.push(watcher);
        }
    }

    pub fn unwatch(&self, watch: &Arc<Watch>, slot: u32) {
        let mut inner = self.inner.lock();
        if let Some(at) = inner.readers.iter().position(|reader| reader.is(watch, slot)) {
            inner.readers.swap_remove(at);
        }
    }

    pub fn watch_for(&self, wanted: Wanted, watcher: Watcher) {
        let mut inner = self.inner.lock();
        if inner.has(wanted) || inner.role != Role::Leader {
            watcher.watch.news(watcher.slot, 1);
        } else {
            inner.writers.push((wanted, watcher));
        }
    }

    /// What a Produce is told after its wait.
    pub fn outcome_of(&self, wanted: Wanted) -> ErrorCode {
        let inner = self.inner.lock();
        if let Err((error, _)) = self.check_leader(&inner) {
            return error;
        }
        let in_sync = inner.leadership.isr.len();
        let in_sync_min = self.topic.settings.load().min_insync_replicas.min(inner.leadership.replicas.len());
        match wanted {
            _ if !inner.has(wanted) => ErrorCode::REQUEST_TIMED_OUT,
            Wanted::HighWatermark(_) if in_sync < in_sync_min => ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
            _ => ErrorCode::NONE,
        }
    }
}

/// Produce versions from which a transactional batch adds its partition to the transaction itself, and from which a client
/// knows that it may abort and go on (KIP-890).
const ADDS_PARTITIONS_FROM: i16 = 12;
const ABORTABLE_FROM: i16 = 11;

/// Whether a transactional batch may be appended: to an open transaction, or as the first of one that was confirmed.
fn check_transaction(
    log: &Log,
    verifications: &Verifications,
    batch: &BatchView<'_>,
    api_version: i16,
) -> Result<(), ProduceFailure> {
    let (id, epoch, first) = (batch.producer_id(), batch.producer_epoch(), batch.base_sequence());
    let is_duplicate = matches!(log.check_producer(batch), Ok(ProducerCheck::Duplicate { .. }));
    if log.has_open_transaction(id, epoch) || is_duplicate {
        return Ok(());
    }
    let Some(lowest_sequence) = verifications.confirmed(id, epoch) else {
        let error =
            if api_version >= ABORTABLE_FROM { ErrorCode::TRANSACTION_ABORTABLE } else { ErrorCode::INVALID_TXN_STATE };
        let message =
            format!("the transaction of producer_id {id} has no part in this partition; abort it and begin anew");
        return Err(ProduceFailure::new(error, message));
    };
    let lowest_sequence = if api_version >= ADDS_PARTITIONS_FROM { 0 } else { lowest_sequence };
    if first > lowest_sequence && !log.knows_producer(id) {
        let message = format!(
            "base_sequence {first} of producer_id {id} cannot open a transaction: {lowest_sequence} comes first"
        );
        return Err(ProduceFailure::new(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, message));
    }
    Ok(())
}

/// What goes with the log when rare work is done on it.
#[derive(Clone, Copy, Debug)]
pub struct LogContext {
    pub high_watermark: i64,
    pub leader_epoch: i32,
    pub leads: bool,
}

impl Inner {
    /// A batch was appended.
    fn ask_disk(&mut self, partition: &Arc<Partition>, batch: &Bytes, info: &AppendInfo, messages: u64) {
        let Some(disk) = &self.disk else { return };
        let end_offset = info.last_offset + 1;
        match self.durability.appended(info.first_offset, end_offset, messages) {
            Demand::Nothing => {}
            Demand::Flush => self.ask_flush(partition),
            Demand::Commit { follows_unsynced } => {
                let (partition, batch) = (partition.clone(), kept(batch));
                disk.commit(Uncommitted { partition, batch, end_offset, follows_unsynced });
            }
        }
    }

    fn ask_flush(&mut self, partition: &Arc<Partition>) {
        self.durability.flush_asked();
        if let Some(disk) = &self.disk {
            disk.flush_soon(partition.clone());
        }
    }

    fn has(&self, wanted: Wanted) -> bool {
        match wanted {
            Wanted::HighWatermark(offset) => self.high_watermark >= offset,
            Wanted::Synced(offset) => self.durability.synced_offset >= offset,
        }
    }

    fn tell_writers(&mut self) {
        let mut writers = std::mem::take(&mut self.writers);
        writers.retain(|(wanted, writer)| {
            let has = self.has(*wanted);
            if has {
                writer.watch.news(writer.slot, 1);
            }
            !has
        });
        self.writers = writers;
    }

    /// Leadership, the log's start or the partition itself changed: readers look again, and so do writers unless this
    /// replica still leads: what they wait for may come yet.
    fn tell_everyone(&mut self) {
        for reader in &self.readers {
            reader.watch.news(reader.slot, URGENT);
        }
        if self.role == Role::Leader {
            // Whoever is told too early takes it for the end of its time.
            self.tell_writers();
            return;
        }
        for (_, writer) in self.writers.drain(..) {
            writer.watch.news(writer.slot, URGENT);
        }
    }
}
