//! One replica of one partition: its log, its high watermark, and what both mean for whoever appends, reads or waits.
//!
//! INVARIANT: the high watermark never goes back while this replica leads.
//! INVARIANT: batches are validated before the lock is taken; under it there is one write and a few words of memory.
//! INVARIANT: a replica whose log failed to write answers KAFKA_STORAGE_ERROR until the process ends.

mod appending;
mod housekeeping;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use log::{Few, Log};
use record::BatchView;
use wire::ErrorCode;

use crate::durability::{Demand, Durability, EVERY_MESSAGE};
use crate::leadership::{Leadership, Refused, Role, Standing};
use crate::lock::Lock;
use crate::purgatory::{URGENT, Watch, Watcher};
use crate::read::{ReadRequest, ReadResult, Readable};
use crate::tail::{Tail, TailBudget};
use crate::topic::{PartitionKey, Topic};
use crate::verification::Verifications;
use crate::waiting::{Progress, Waiting, Wanted};

struct Inner {
    standing: Standing,
    log: Option<Log>,
    high_watermark: i64,
    tail: Tail,
    waiting: Waiting,
    disk: Option<Arc<dyn Disk>>,
    durability: Durability,
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

/// Batches that are to be on the disk before anybody is told of them.
pub struct Uncommitted {
    pub partition: Arc<Partition>,
    pub batches: Few<Bytes>,
    pub end_offset: i64,
    /// What stands in the log before them was not handed over: the log is to be flushed first.
    pub follows_unsynced: bool,
}

/// What a partition asks of the disk under its log. All of it is called under the partition's lock.
pub trait Disk: Send + Sync {
    /// `Partition::committed` or `Partition::fail` follows; or the log has moved to another disk meanwhile, where all of it is
    /// safe (`Partition::arrive`).
    fn commit(&self, uncommitted: Uncommitted);

    /// The log is to be flushed before long.
    fn flush_soon(&self, partition: Arc<Partition>);

    /// A write to this directory failed: all that lies in it is to go offline.
    fn failed(&self, why: String);

    /// Why clients may write nothing here, for now or for good, if so.
    fn refusal(&self) -> Option<String>;
}

/// Small batches are copied out of the buffer that they came in, which so can be read into again before the disk has synced.
const COPIED_BELOW_BYTES: usize = 16 * 1024;

fn kept(batch: &Bytes) -> Bytes {
    if batch.len() < COPIED_BELOW_BYTES { Bytes::copy_from_slice(batch) } else { batch.clone() }
}

/// What goes with the log when rare work is done on it.
#[derive(Clone, Copy, Debug)]
pub struct LogContext {
    pub high_watermark: i64,
    pub leader_epoch: i32,
    pub leads: bool,
}

pub struct Partition {
    pub topic: Arc<Topic>,
    pub index: i32,
    budget: Arc<TailBudget>,
    /// As the role says, without the lock.
    gone: AtomicBool,
    inner: Lock<Inner>,
}

impl Partition {
    pub fn new(topic: Arc<Topic>, index: i32, node_id: i32, budget: Arc<TailBudget>) -> Partition {
        let inner = Inner {
            standing: Standing::new(node_id),
            log: None,
            high_watermark: 0,
            tail: Tail::default(),
            waiting: Waiting::default(),
            disk: None,
            durability: Durability::at(0),
            verifications: Verifications::default(),
        };
        Partition { topic, index, budget, gone: AtomicBool::new(false), inner: Lock::new(inner) }
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
        let has_log = inner.log.as_ref().is_some_and(|log| !log.is_poisoned());
        if inner.standing.take_role(&leadership, has_log)
            && let Some(log) = &mut inner.log
        {
            log.assign_leader_epoch(leadership.leader_epoch)?;
        }
        inner.standing.leadership = leadership;
        self.advance_high_watermark(&mut inner);
        inner.tell_everyone();
        Ok(())
    }

    /// The partition leaves the view. Its log, if any, is handed back to be deleted or closed.
    pub fn retire(&self) -> Option<Log> {
        self.gone.store(true, Ordering::Release);
        let mut inner = self.inner.lock();
        inner.standing.role = Role::Gone;
        inner.tail.clear(&self.budget);
        inner.tell_everyone();
        inner.log.take()
    }

    /// Runs `work` on the log, for what is rare (offsets by time, deletion of records, checkpoints).
    pub fn with_log<T>(&self, work: impl FnOnce(&mut Log, &LogContext) -> T) -> Option<T> {
        let mut inner = self.inner.lock();
        let context = LogContext {
            high_watermark: inner.high_watermark,
            leader_epoch: inner.standing.leadership.leader_epoch,
            leads: inner.standing.leads(),
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
        self.inner.lock().standing.leadership.clone()
    }

    /// The number of the guard, if the coordinator of this batch's transaction is to be asked before it may be appended.
    pub fn must_verify(&self, batch: &BatchView<'_>) -> Option<u64> {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let log = inner.log.as_ref().filter(|_| batch.is_transactional() && inner.standing.leads())?;
        inner.verifications.must_ask(log, batch)
    }

    /// The coordinator said that the partition is part of the transaction.
    pub fn confirm(&self, producer_id: i64, number: u64) {
        self.inner.lock().verifications.confirm(producer_id, number);
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
        inner.standing.go_offline();
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
        let Some(flush) = self.plan_flush()? else { return Ok(()) };
        let outcome = flush.run();
        match self.with_log(|log, _| log.flushed(&flush, outcome)) {
            Some(Ok(())) => self.committed(flush.end_offset()),
            Some(Err(error)) => return Err(error),
            // Deleted meanwhile.
            None => {}
        }
        Ok(())
    }

    /// Begins to bring the log to the disk, for a flush that is to come and will then have less to wait for.
    pub fn write_behind(&self) {
        if let Ok(Some(flush)) = self.plan_flush() {
            flush.begin();
        }
    }

    fn plan_flush(&self) -> log::Result<Option<log::Flush>> {
        let planned = self.with_log(|log, _| log.needs_flush().then(|| log.plan_flush()).transpose());
        Ok(planned.transpose()?.flatten())
    }

    /// With followers, this is the minimum over the ISR; a follower's offset is learnt from its Fetch. Whoever waits is told,
    /// if it passed anything.
    fn advance_high_watermark(&self, inner: &mut Inner) -> bool {
        if !inner.standing.leads() || !inner.standing.is_alone_in_sync() {
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
        let progress = inner.progress();
        inner.waiting.tell_advanced(progress);
        true
    }

    /// Reads for a Fetch.
    pub fn read(&self, read: &ReadRequest<'_>) -> ReadResult {
        let inner = self.inner.lock();
        inner.readable().and_then(|readable| readable.read(read)).unwrap_or_else(ReadResult::refused)
    }

    pub fn watch(&self, watcher: Watcher) {
        self.inner.lock().waiting.add_reader(watcher);
    }

    /// Watches on behalf of a reader that saw the high watermark at `seen`: if it has moved since, that is news now.
    pub fn watch_since(&self, watcher: Watcher, seen: i64, add: bool) {
        let mut inner = self.inner.lock();
        if inner.high_watermark != seen {
            watcher.watch.news(watcher.slot, URGENT);
        }
        if add {
            inner.waiting.add_reader(watcher);
        }
    }

    pub fn unwatch(&self, watch: &Arc<Watch>, slot: u32) {
        self.inner.lock().waiting.remove_reader(watch, slot);
    }

    pub fn watch_for(&self, wanted: Wanted, watcher: Watcher) {
        let mut inner = self.inner.lock();
        if inner.progress().has(wanted) || !inner.standing.leads() {
            watcher.watch.news(watcher.slot, 1);
        } else {
            inner.waiting.add_writer(wanted, watcher);
        }
    }

    /// What a Produce is told after its wait.
    pub fn outcome_of(&self, wanted: Wanted) -> ErrorCode {
        let inner = self.inner.lock();
        if let Err((error, _)) = inner.standing.check_leader() {
            return error;
        }
        let min_insync_replicas = self.topic.settings.load().min_insync_replicas;
        match wanted {
            _ if !inner.progress().has(wanted) => ErrorCode::REQUEST_TIMED_OUT,
            Wanted::HighWatermark(_) if !inner.standing.has_in_sync(min_insync_replicas) => {
                ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND
            }
            _ => ErrorCode::NONE,
        }
    }
}

impl Inner {
    /// Batches of these offsets were appended.
    fn ask_disk(&mut self, partition: &Arc<Partition>, batches: &[Bytes], offsets: Range<i64>, messages: u64) {
        let Some(disk) = &self.disk else { return };
        match self.durability.appended(offsets.start, offsets.end, messages) {
            Demand::Nothing => {}
            Demand::Flush => self.ask_flush(partition),
            Demand::Commit { follows_unsynced } => {
                let (partition, batches) = (partition.clone(), batches.iter().map(kept).collect());
                disk.commit(Uncommitted { partition, batches, end_offset: offsets.end, follows_unsynced });
            }
        }
    }

    fn ask_flush(&mut self, partition: &Arc<Partition>) {
        self.durability.flush_asked();
        if let Some(disk) = &self.disk {
            disk.flush_soon(partition.clone());
        }
    }

    fn readable(&self) -> Result<Readable<'_>, Refused> {
        let Inner { standing, tail, high_watermark, .. } = self;
        standing.check_leader()?;
        let log = self.log.as_ref().ok_or((ErrorCode::KAFKA_STORAGE_ERROR, None))?;
        Ok(Readable { standing, log, tail, high_watermark: *high_watermark })
    }

    fn progress(&self) -> Progress {
        Progress { high_watermark: self.high_watermark, synced_offset: self.durability.synced_offset }
    }

    fn tell_writers(&mut self) {
        self.waiting.tell_writers(self.progress());
    }

    fn tell_everyone(&mut self) {
        self.waiting.tell_everyone(self.progress(), self.standing.leads());
    }
}
