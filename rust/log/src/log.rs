//! The log of one partition: its segments in order, what is appended and read, leader epochs and producers.
//!
//! INVARIANT: offsets are assigned under one owner (`&mut self`) and rise; batches are contiguous at append.
//! INVARIANT: after a failed write the log is poisoned: reads go on, every later append is refused.
//! INVARIANT: what stands before the recovery point is on the disk, with all that is needed to open the log again.
//!
//! Making a partition costs no sync: its directory and identity reach the disk with the first flush; so does its first file,
//! which is made with its first batch.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use record::BatchView;

use crate::config::LogConfig;
use crate::flush::{Flush, Unsynced};
use crate::leader_epochs::LeaderEpochs;
use crate::names::{doomed_dir_name, file_name};
use crate::producer_state::{ActiveProducer, ProducerCheck, ProducerError};
use crate::producers::{Producers, Stored};
use crate::segment::Segment;
use crate::slice::{ReadError, ReadSlice, Region, cold, slice};
use crate::storage::{Storage, remove_if_there};
use crate::{Error, Result, txn_index};

pub struct Log {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) dir: PathBuf,
    pub(crate) config: LogConfig,
    /// Never empty; the last one is active.
    pub(crate) segments: Vec<Segment>,
    pub(crate) start_offset: i64,
    pub(crate) end_offset: i64,
    pub(crate) recovery_point: i64,
    pub(crate) epochs: LeaderEpochs,
    pub(crate) producers: Producers,
    /// What stands beside the records and is not synced.
    pub(crate) unsynced: Unsynced,
    /// Anything was done since it was opened as a clean stop had left it.
    pub(crate) is_changed: bool,
    /// How often the log was cut.
    pub(crate) cuts: u64,
    /// The highest recovery point before any cut: a checkpoint of it may still be on the disk.
    pub(crate) recovery_point_seen: i64,
    /// Before it, every transaction has ended, and its marker is on the disk.
    pub(crate) stable_on_disk: i64,
    pub(crate) poisoned: Option<String>,
    /// While it moves to another directory.
    pub(crate) are_segments_held: bool,
}

impl Log {
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn log_start_offset(&self) -> i64 {
        self.start_offset
    }

    pub fn log_end_offset(&self) -> i64 {
        self.end_offset
    }

    /// Everything before this offset is known to be on the disk.
    pub fn recovery_point(&self) -> i64 {
        self.recovery_point
    }

    pub fn first_segment_base(&self) -> i64 {
        self.segments[0].base_offset
    }

    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// How many segments lie wholly before `offset`. The active one never counts.
    pub(crate) fn segments_below(&self, offset: i64) -> usize {
        self.segments.windows(2).take_while(|pair| pair[1].base_offset <= offset).count()
    }

    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    pub fn set_config(&mut self, config: LogConfig) {
        self.config = config;
    }

    pub fn epochs(&self) -> &[(i32, i64)] {
        self.epochs.entries()
    }

    pub fn epoch_of_offset(&self, offset: i64) -> Option<i32> {
        self.epochs.epoch_of(offset)
    }

    pub fn end_offset_for_epoch(&self, leader_epoch: i32) -> (i32, i64) {
        self.epochs.end_offset_for(leader_epoch, self.end_offset)
    }

    pub fn active_producers(&self) -> Vec<ActiveProducer> {
        self.producers.state.active()
    }

    pub fn expire_producers(&mut self, now_ms: i64) {
        let expiration_ms = self.config.producer_id_expiration_ms;
        self.producers.state.expire(now_ms, expiration_ms);
    }

    /// A transaction may have begun before the records that were deleted: what is left of it starts at the log's start.
    pub fn last_stable_offset(&self, high_watermark: i64) -> i64 {
        self.producers.state.last_stable_offset(high_watermark).max(self.start_offset.min(high_watermark))
    }

    pub fn high_watermark_passed(&mut self, high_watermark: i64) {
        self.producers.state.high_watermark_passed(high_watermark);
    }

    pub(crate) fn active(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("a log has at least one segment")
    }

    /// Runs a write; if it fails, nothing is ever written again. One that found no room has undone itself.
    pub(crate) fn guarded<T>(&mut self, write: impl FnOnce(&mut Log) -> Result<T>) -> Result<T> {
        if let Some(why) = &self.poisoned {
            return Err(Error::Poisoned { why: why.clone() });
        }
        self.is_changed = true;
        write(self).inspect_err(|error| {
            if matches!(error, Error::Storage { .. }) && !error.is_no_space() {
                self.poisoned = Some(error.to_string());
            }
        })
    }

    /// From outside: nothing is ever written again.
    pub fn poison(&mut self, why: &str) {
        self.poisoned.get_or_insert_with(|| why.to_owned());
    }

    pub fn is_poisoned(&self) -> bool {
        self.poisoned.is_some()
    }

    /// This replica leads from the end of the log on, in `leader_epoch`.
    pub fn assign_leader_epoch(&mut self, leader_epoch: i32) -> Result<()> {
        let end = self.end_offset;
        self.guarded(|log| {
            log.note_epoch(leader_epoch, end);
            Ok(())
        })
    }

    /// Not written here: batches carry their epoch, so recovery finds what the file does not know yet.
    pub(crate) fn note_epoch(&mut self, leader_epoch: i32, offset: i64) {
        if self.epochs.assign(leader_epoch, offset) {
            self.unsynced.epochs();
        }
    }

    /// Judges a client's batch by what is known of its producer.
    pub fn check_producer(&self, batch: &BatchView<'_>) -> std::result::Result<ProducerCheck, ProducerError> {
        if batch.has_producer() { self.producers.state.check(batch) } else { Ok(ProducerCheck::Fresh) }
    }

    pub fn knows_producer(&self, producer_id: i64) -> bool {
        self.producers.state.knows(producer_id)
    }

    /// Whether a producer has a transaction open here, in this epoch.
    pub fn has_open_transaction(&self, producer_id: i64, producer_epoch: i16) -> bool {
        self.producers.state.has_open_transaction(producer_id, producer_epoch)
    }

    /// Judges a batch of the control plane's own by what is known of the producer in whose name it was written.
    pub fn check_decided(
        &self,
        batch: &BatchView<'_>,
        transaction_version: i8,
    ) -> std::result::Result<(), ProducerError> {
        if batch.has_producer() { self.producers.state.check_decided(batch, transaction_version) } else { Ok(()) }
    }

    /// Starts a new segment at the end of the log, unless the active one is empty. Nothing is synced, so that whoever
    /// appends does not wait: a flush is due. Only where a checkpoint may say that all of it is on the disk (its records are,
    /// or it is one of before a cut), recovery would not look at what is sealed here: there it is synced at once; and so it is
    /// in a compacted log, where recovery could not tell a loss from what was compacted away.
    pub fn roll(&mut self, now_ms: i64) -> Result<()> {
        if self.segments.last().is_some_and(|active| active.size == 0) {
            return Ok(());
        }
        self.guarded(|log| {
            let storage = log.storage.clone();
            log.try_roll(now_ms).inspect_err(|_| log.active().unseal(&*storage))
        })
    }

    fn try_roll(&mut self, now_ms: i64) -> Result<()> {
        let storage = self.storage.clone();
        self.write_snapshot()?;
        self.unsynced.file(self.end_offset, ".snapshot");
        let active = self.active();
        let base_offset = active.base_offset;
        active.seal(&*storage)?;
        self.note_sealed(base_offset);
        if self.config.compacted || self.end_offset <= self.recovery_point.max(self.recovery_point_seen) {
            self.sync()?;
        }
        // Without the name of this segment the next one would be taken for the start of the log.
        if self.unsynced.dir {
            self.sync_dir()?;
        }
        let segment = Segment::create(&*storage, &self.dir, self.end_offset, now_ms)?;
        self.segments.push(segment);
        self.unsynced.dir();
        Ok(())
    }

    pub(crate) fn note_sealed(&mut self, base_offset: i64) {
        self.unsynced.file(base_offset, ".index");
        self.unsynced.file(base_offset, ".timeindex");
    }

    pub(crate) fn sync_dir(&mut self) -> Result<()> {
        self.unsynced.sync_dir(&*self.storage, &self.dir)
    }

    pub(crate) fn stored(&self) -> Stored<'_> {
        Stored { storage: &*self.storage, dir: &self.dir, segments: &self.segments, end_offset: self.end_offset }
    }

    /// The producers as of the end of the log are in a file.
    pub(crate) fn write_snapshot(&mut self) -> Result<()> {
        let Log { storage, dir, segments, end_offset, producers, .. } = self;
        producers.save(&Stored { storage: &**storage, dir, segments, end_offset: *end_offset })
    }

    /// The producers are made anew, by none of the `snapshots` that is behind `offset_max`.
    pub(crate) fn rebuild_producers(&mut self, snapshots: &[i64], offset_max: i64) -> Result<()> {
        let Log { storage, dir, segments, end_offset, producers, unsynced, .. } = self;
        let stored = Stored { storage: &**storage, dir, segments, end_offset: *end_offset };
        *producers = Producers::of(&stored, unsynced, snapshots, offset_max)?;
        Ok(())
    }

    /// Leaves the directory as Kafka expects it after a clean stop: indexes whole, a snapshot at the end. Nothing is synced:
    /// that is done once for all logs of a directory, before the mark of a clean stop is written (see `LogDir`).
    pub fn close_clean(&mut self, _now_ms: i64) -> Result<()> {
        if !self.is_changed {
            return Ok(());
        }
        self.guarded(|log| {
            let storage = log.storage.clone();
            log.active().write_indexes(&*storage)?;
            // KAFKA: an empty log has no snapshot; one that held anything needs it, or its producers count as unknown.
            if log.end_offset > 0 {
                log.write_snapshot()?;
            }
            // Of an empty log they say nothing.
            if log.unsynced.epochs && log.size_bytes() > 0 {
                log.epochs.write(&*storage, false)?;
            }
            log.recovery_point = log.end_offset;
            Ok(())
        })
    }

    /// Whether anything was appended that is not known to be on the disk.
    pub fn needs_flush(&self) -> bool {
        self.recovery_point < self.end_offset
    }

    /// Everything appended so far is on the disk when this returns.
    pub fn flush(&mut self) -> Result<()> {
        if self.needs_flush() { self.guarded(Log::sync) } else { Ok(()) }
    }

    pub(crate) fn sync(&mut self) -> Result<()> {
        let flush = self.plan()?;
        flush.run()?;
        self.note_flushed(&flush);
        Ok(())
    }

    /// The first step. Fails if the log is closed for writing.
    pub fn plan_flush(&mut self) -> Result<Flush> {
        self.guarded(Log::plan)
    }

    /// The last step, with what came of the run.
    pub fn flushed(&mut self, flush: &Flush, outcome: Result<()>) -> Result<()> {
        if flush.dir != self.dir {
            // It was of the log before it moved to this directory, where all of that is on the disk.
            return Ok(());
        }
        self.guarded(|log| {
            outcome?;
            log.note_flushed(flush);
            Ok(())
        })
    }

    /// What opening can make anew (the active segment's indexes) is left to the system.
    fn plan(&mut self) -> Result<Flush> {
        let storage = self.storage.clone();
        let first = self.segment_of(self.recovery_point).unwrap_or(0);
        let records = self.segments[first..].iter().filter(|each| each.has_file());
        let records = records.map(|each| Ok((each.path().to_owned(), each.file(&*storage)?)));
        let other = |(base_offset, suffix): &(i64, &str)| self.dir.join(file_name(*base_offset, suffix));
        let flush = Flush {
            records: records.collect::<Result<_>>()?,
            others: self.unsynced.files.iter().map(other).collect(),
            epochs: self.unsynced.epochs.then(|| self.epochs.state()),
            unsynced: self.unsynced.clone(),
            active_base: self.segments[self.segments.len() - 1].base_offset,
            end_offset: self.end_offset,
            stable_offset: self.producers.state.last_stable_offset(self.end_offset),
            cuts: self.cuts,
            dir: self.dir.clone(),
            storage,
        };
        Ok(flush)
    }

    fn note_flushed(&mut self, flush: &Flush) {
        let end_offset = flush.end_offset;
        // A segment that was sealed at the very end of the run has indexes that it did not sync.
        let sealed_there = end_offset != flush.active_base
            && self.segments.binary_search_by_key(&end_offset, |segment| segment.base_offset).is_ok();
        if flush.cuts != self.cuts || sealed_there {
            return;
        }
        // Of what changed meanwhile nobody knows: it is synced once more with the next flush.
        if flush.unsynced == self.unsynced {
            self.unsynced = Unsynced { version: self.unsynced.version, ..Unsynced::default() };
        }
        self.recovery_point = self.recovery_point.max(end_offset);
        self.stable_on_disk = self.stable_on_disk.max(flush.stable_offset);
        let Some((_, sealed)) = self.segments.split_last() else { return };
        for segment in sealed.iter().rev().take(flush.records.len()) {
            segment.release_file();
        }
    }

    pub(crate) fn segment_of(&self, offset: i64) -> Option<usize> {
        self.segments.partition_point(|segment| segment.base_offset <= offset).checked_sub(1)
    }

    /// Whole batches from the one that holds `offset`, ending before `upper_offset`. The first is given even if it is
    /// larger than `bytes_max`, if `min_one` is set. None where nothing may be given.
    pub fn read(
        &self,
        offset: i64,
        bytes_max: usize,
        min_one: bool,
        upper_offset: i64,
    ) -> std::result::Result<Option<ReadSlice>, ReadError> {
        let within = self.start_offset..=self.end_offset;
        if !within.contains(&offset) {
            return Err(ReadError::OffsetOutOfRange { start: self.start_offset, end: self.end_offset });
        }
        let bound = (upper_offset < self.end_offset).then_some(upper_offset);
        Ok(slice(&self.segments, &*self.storage, offset, (bytes_max, min_one), bound)?)
    }

    /// What `read` would wait for the disk for. None where it does not wait, and where it tells an error.
    pub fn cold(&self, offset: i64, bytes_max: usize) -> Option<Region> {
        cold(&self.segments, &*self.storage, offset, bytes_max).unwrap_or(None)
    }

    /// (producer id, first offset) of the transactions aborted among `from..upper_offset`, by first offset.
    pub fn aborted_transactions(&self, from: i64, upper_offset: i64) -> Result<Vec<(i64, i64)>> {
        let mut found = Vec::new();
        for segment in &self.segments[self.segment_of(from).unwrap_or(0)..] {
            let path = self.dir.join(file_name(segment.base_offset, ".txnindex"));
            let aborted = txn_index::read(&*self.storage, &path)?;
            let overlapping = aborted.iter().filter(|a| a.last_offset >= from && a.first_offset < upper_offset);
            found.extend(overlapping.map(|a| (a.producer_id, a.first_offset)));
            if aborted.last().is_some_and(|a| a.last_stable_offset >= upper_offset) {
                break;
            }
        }
        found.sort_by_key(|(_, first_offset)| *first_offset);
        Ok(found)
    }

    /// Readers see nothing before `offset` any more. Segments that lie wholly before it are removed.
    pub fn delete_records_before(&mut self, offset: i64) -> Result<()> {
        if offset <= self.start_offset {
            return Ok(());
        }
        self.start_offset = offset.min(self.end_offset);
        self.epochs.truncate_start(self.start_offset);
        if self.are_segments_held {
            // Retention removes them later.
            return Ok(());
        }
        let end = self.segments_below(self.start_offset);
        self.remove_segments(end)
    }

    /// Removes the first `count` segments with everything that goes with them. The active one always stays.
    pub(crate) fn remove_segments(&mut self, count: usize) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        self.guarded(|log| {
            // First the names of the segments that stay: without any, the log would start at 0 after a power failure.
            if log.unsynced.dir {
                log.sync_dir()?;
            }
            let gone: Vec<Segment> = log.segments.drain(..count).collect();
            log.remove_files_of(&gone)?;
            for segment in gone {
                remove_if_there(&*log.storage, &log.dir.join(file_name(segment.base_offset, ".snapshot")))?;
            }
            Ok(())
        })
    }

    /// Removes the last segments, from the end on and each for good: a power failure in the middle leaves no hole, and no
    /// segment without its indexes.
    pub(crate) fn drop_segments_from(&mut self, at: usize) -> Result<()> {
        while self.segments.len() > at
            && let Some(segment) = self.segments.pop()
        {
            self.remove_files_of(&[segment])?;
        }
        Ok(())
    }

    /// First the `.log`s; what else there is means nothing without them.
    fn remove_files_of(&mut self, segments: &[Segment]) -> Result<()> {
        for segment in segments {
            remove_if_there(&*self.storage, segment.path())?;
        }
        self.sync_dir()?;
        for segment in segments {
            for suffix in &Segment::file_suffixes()[1..] {
                remove_if_there(&*self.storage, &self.dir.join(file_name(segment.base_offset, suffix)))?;
            }
        }
        self.unsynced.dir();
        Ok(())
    }

    /// Cuts everything at and behind `offset`, which must be where a batch starts (or lies in the middle of one, which
    /// then goes too). Below the start of the log nothing is left of it. The cut is on the disk when this returns.
    pub fn truncate_to(&mut self, offset: i64) -> Result<()> {
        if offset >= self.end_offset {
            return Ok(());
        }
        if offset < self.start_offset {
            return self.truncate_fully_and_start_at(offset);
        }
        self.guarded(|log| {
            log.recovery_point_seen = log.recovery_point_seen.max(log.recovery_point);
            log.cuts += 1;
            let end = log.cut(offset)?;
            log.end_offset = end;
            log.start_offset = log.start_offset.min(end);
            log.recovery_point = log.recovery_point.min(end);
            log.stable_on_disk = log.stable_on_disk.min(end);
            log.epochs.truncate_end(end);
            log.epochs.write(&*log.storage, true)?;
            log.unsynced.epochs = false;
            let snapshots = log.stored().snapshot_offsets()?;
            log.rebuild_producers(&snapshots, end)
        })
    }

    /// Cuts the files at `offset`, which stands in or behind the first segment: where the log ends now.
    fn cut(&mut self, offset: i64) -> Result<i64> {
        let storage = self.storage.clone();
        let at = self.segment_of(offset).unwrap_or(0);
        self.drop_segments_from(at + 1)?;
        let segment = self.active();
        segment.unseal(&*storage);
        let end = match segment.find(&*storage, offset)? {
            Some(found) => {
                segment.truncate(&*storage, found.position, found.base_offset)?;
                // After compaction the batch found may start behind `offset`.
                offset.min(found.base_offset)
            }
            None => offset,
        };
        let base_offset = segment.base_offset;
        txn_index::truncate(&*storage, &self.dir.join(file_name(base_offset, ".txnindex")), end)?;
        Ok(end)
    }

    /// Drops all and starts anew at `offset`: a follower whose leader has moved on past its end, or a snapshot that stands
    /// for everything before it. The new start is on the disk when this returns.
    pub fn truncate_fully_and_start_at(&mut self, offset: i64) -> Result<()> {
        self.guarded(|log| {
            let storage = log.storage.clone();
            log.recovery_point_seen = log.recovery_point_seen.max(log.recovery_point);
            let created_ms = log.segments.last().map_or(0, |segment| segment.created_ms);
            if (log.segments[0].base_offset..log.end_offset).contains(&offset) {
                log.cut(offset)?;
            }
            let fresh = match log.segments.pop_if(|segment| segment.base_offset == offset) {
                Some(empty) => empty,
                // The new name is there before the old ones go: without any, the log would start at 0.
                None => Segment::create(&*storage, &log.dir, offset, created_ms)?,
            };
            for snapshot in log.stored().snapshot_offsets()? {
                remove_if_there(&*storage, &log.dir.join(file_name(snapshot, ".snapshot")))?;
            }
            log.sync_dir()?;
            log.drop_segments_from(0)?;
            log.segments.push(fresh);
            log.start_offset = offset;
            log.end_offset = offset;
            log.recovery_point = offset;
            log.stable_on_disk = offset;
            log.producers.clear();
            log.unsynced.files.clear();
            log.cuts += 1;
            log.epochs.clear();
            log.epochs.write(&*storage, true)?;
            log.unsynced.epochs = false;
            Ok(())
        })
    }

    /// Renames the directory so that it is removed later, and is not taken for a partition after a restart.
    pub fn rename_for_delete(&mut self, unique: &str) -> Result<PathBuf> {
        let name = self.dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let target = self.dir.with_file_name(doomed_dir_name(name, unique));
        self.storage.rename(&self.dir, &target).map_err(|e| Error::storage(&self.dir, e))?;
        self.poisoned = Some("the partition is deleted".to_owned());
        self.dir = target.clone();
        Ok(target)
    }
}
