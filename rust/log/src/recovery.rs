//! Opening a log: after a clean stop its files are trusted; otherwise it is scanned from the recovery point on.
//!
//! ```text
//!   clean     sizes and indexes as they are; the end is found from the last index entry; producers from the snapshot
//!   unclean   from the segment with the recovery point: every batch read and checked, indexes made anew; at the first
//!             bad batch the log is cut, and later segments go. Producers and aborted transactions are made anew from there
//!   killed    the same, but of all batches but the last only the header is read: the system still has all that the process
//!             wrote. A segment whose headers do not lead to its very end is read and checked as above
//! ```
//!
//! INVARIANT: what a flush said is on the disk is found again, whatever became of files that can be made anew: an empty
//! or missing partition.metadata, leader-epoch-checkpoint, index or snapshot is rewritten, never a reason to refuse.
//! INVARIANT: a log in the formats before v2 is refused as it is; nothing of it is cut.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use record::BatchView;

use crate::checkpoints::{
    PARTITION_METADATA, make_partition_metadata, read_partition_metadata, uuid_text, write_partition_metadata,
};
use crate::config::LogConfig;
use crate::flush::Unsynced;
use crate::index::Hint;
use crate::layout::{self, Layout};
use crate::leader_epochs::{self, LeaderEpochs};
use crate::log::Log;
use crate::names::file_name;
use crate::producers::Producers;
use crate::recovery_report::{Recovered, RecoveryReport, Stop, Truncated};
use crate::scanner::Scanner;
use crate::segment::{Segment, SegmentFiles};
use crate::storage::{Storage, remove_if_there};
use crate::{Error, Result, txn_index};

pub struct OpenOptions {
    pub storage: Arc<dyn Storage>,
    pub dir: PathBuf,
    pub topic_id: [u8; 16],
    /// The directory of another partition of this topic, in the same log directory, if one is known.
    pub sibling: Option<PathBuf>,
    pub config: LogConfig,
    pub clean_shutdown: bool,
    pub recovery_point: i64,
    /// The checkpointed start, if it was moved beyond the first segment's.
    pub log_start_offset: Option<i64>,
    pub now_ms: i64,
}

/// What recovery has to go by where the log was not closed cleanly.
struct Scan {
    /// Offset of the first segment that was read anew: producers and aborted transactions are made anew from there.
    from: i64,
    end_offset: i64,
}

/// Where a segment has no batch that could be kept.
struct Unsound {
    why: String,
    is_rot: bool,
}

impl Log {
    pub fn open(options: OpenOptions) -> Result<(Log, RecoveryReport)> {
        Log::open_after(Stop::Unknown, options)
    }

    pub fn open_after(stop: Stop, options: OpenOptions) -> Result<(Log, RecoveryReport)> {
        let OpenOptions { storage, dir, topic_id, sibling, config, clean_shutdown, .. } = options;
        let OpenOptions { recovery_point, log_start_offset, now_ms, .. } = options;
        let created = !storage.exists(&dir);
        let mut report = RecoveryReport { dir: dir.clone(), created, ..RecoveryReport::default() };
        let (identity_written, layout) = if created {
            storage.create_dir(&dir).map_err(|e| Error::storage(&dir, e))?;
            make_partition_metadata(&*storage, &dir, &topic_id, sibling.as_deref())?;
            (true, Layout::default())
        } else {
            // Nothing is changed in the directory of another topic.
            let identity_written = check_identity(&*storage, &dir, &topic_id, &mut report)?;
            (identity_written, layout::arrange(&*storage, &dir)?)
        };
        let files = &layout.segments;
        let (segments, complete) = open_segments(&*storage, &dir, files, now_ms)?;
        let (epochs, epochs_lost) = load_epochs(&*storage, &dir, layout.has_epochs)?;
        let mut log = Log {
            storage,
            dir,
            config,
            segments,
            start_offset: 0,
            end_offset: 0,
            recovery_point,
            epochs,
            producers: Producers::default(),
            // A process that was killed may have synced nothing.
            unsynced: Unsynced {
                dir: !clean_shutdown,
                identity: !clean_shutdown || identity_written,
                ..Unsynced::default()
            },
            is_changed: !clean_shutdown || identity_written,
            cuts: 0,
            recovery_point_seen: recovery_point,
            stable_on_disk: 0,
            poisoned: None,
            are_segments_held: false,
        };
        log.refuse_old_formats()?;
        if epochs_lost || (log.epochs.entries().is_empty() && files.iter().any(|files| files.size > 0)) {
            log.remake_epochs()?;
            // A log that was never flushed has no such file; that is no damage.
            if epochs_lost {
                report.remade.push("leader-epoch-checkpoint");
            }
        }
        let mut scan = None;
        let loaded_epochs = log.epochs.entries().to_vec();
        let resumed = if clean_shutdown || created { log.resume()? } else { None };
        match resumed {
            Some(end_offset) => {
                log.end_offset = end_offset;
                log.recovery_point = end_offset;
            }
            None => {
                let found = log.recover(stop, log_start_offset.unwrap_or(0), &mut report)?;
                log.end_offset = found.end_offset;
                // The checkpoint may be of before a cut, and so too high: only sealed segments were surely synced.
                log.recovery_point = log.recovery_point.min(found.from);
                // Epochs that begin behind the end were of batches that are gone.
                log.epochs.truncate_end(found.end_offset);
                scan = Some(found);
            }
        }
        log.remake_sealed_indexes(&complete, scan.as_ref(), &mut report)?;
        log.start_offset = log.segments[0].base_offset.max(log_start_offset.unwrap_or(0)).min(log.end_offset);
        log.epochs.truncate_end(log.end_offset.saturating_add(1));
        log.epochs.truncate_start(log.start_offset);
        log.unsynced.epochs |= log.epochs.entries() != loaded_epochs;
        let scan_was_made = scan.is_some();
        match scan {
            Some(scan) => {
                let from = log.drop_bad_txn_indexes(files, scan.from, &mut report)?;
                let snapshots = log.stored().snapshot_offsets()?;
                log.rebuild_producers(&snapshots, from)?;
            }
            // KAFKA: a cleanly stopped log without any snapshot had no producers.
            None if layout.snapshots.is_empty() => {}
            None => log.rebuild_producers(&layout.snapshots, log.end_offset)?,
        }
        log.is_changed |= scan_was_made || !report.remade.is_empty() || log.unsynced.epochs;
        if scan_was_made {
            report.recovered = Some(Recovered {
                stop,
                recovery_point,
                log_start_offset: log.start_offset,
                log_end_offset: log.end_offset,
                kept_bytes: log.size_bytes(),
            });
        }
        if log.recovery_point == log.end_offset {
            log.stable_on_disk = log.producers.state.last_stable_offset(log.end_offset);
        }
        Ok((log, report))
    }

    /// Magic 0 and 1 are older than any log that this broker wrote; the oldest segment tells.
    fn refuse_old_formats(&self) -> Result<()> {
        let storage = &*self.storage;
        let Some(oldest) = self.segments.iter().find(|segment| segment.size > 0) else { return Ok(()) };
        let file = oldest.file(storage)?;
        Scanner::new(oldest.path(), file, oldest.size).refuse_old_format()
    }

    /// Epochs from the headers of all batches.
    fn remake_epochs(&mut self) -> Result<()> {
        let storage = self.storage.clone();
        let Log { segments, epochs, unsynced, .. } = self;
        for segment in segments {
            let walked = segment.walk(&*storage, Hint::START, |found, header| {
                unsynced.epochs |= epochs.observe(header.leader_epoch(), found.base_offset);
                true
            });
            match walked {
                Ok(_) => {}
                // What is behind it is judged by the scan, or by whoever reads it.
                Err(Error::Corrupt { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes the active segment up where a clean stop left it. None if it does not look so.
    fn resume(&mut self) -> Result<Option<i64>> {
        let storage = self.storage.clone();
        self.active().resume(&*storage)
    }

    /// Scans from the segment that holds the recovery point, and cuts at the first bad batch. First a deletion of what is
    /// before `start_offset` is completed: it may have left holes, and the beginnings of transactions that ended in them.
    fn recover(&mut self, stop: Stop, start_offset: i64, report: &mut RecoveryReport) -> Result<Scan> {
        let storage = self.storage.clone();
        let point = self.recovery_point;
        self.remove_segments(self.segments_below(start_offset))?;
        let first = self.segments.partition_point(|segment| segment.base_offset <= point).saturating_sub(1);
        let from = self.segments[first].base_offset;
        let mut end_offset = from;
        for at in first..self.segments.len() {
            let (base_offset, size) = (self.segments[at].base_offset, self.segments[at].size);
            let (mut lost_bytes, mut is_rot) = (0, false);
            let why = if base_offset < end_offset {
                lost_bytes += self.bytes_from(at);
                self.drop_segments_from(at)?;
                format!("the segment of offset {base_offset} overlaps the one before it")
            } else if base_offset > end_offset.max(point) && !self.config.compacted {
                // Sealed before it was synced: its end is lost, and what follows stands behind a hole.
                lost_bytes += self.bytes_from(at);
                self.drop_segments_from(at)?;
                format!("the records between offsets {end_offset} and {base_offset} are missing")
            } else {
                remove_if_there(&*storage, &self.dir.join(file_name(base_offset, ".txnindex")))?;
                let taken_up = match stop {
                    _ if !self.segments[at].has_file() => Some(base_offset),
                    Stop::Killed => self.take_up_segment(at)?,
                    _ => None,
                };
                let (next, outcome) = match taken_up {
                    Some(next) => {
                        report.skimmed_bytes += size;
                        (next, Ok(()))
                    }
                    None => self.scan_segment(at, report)?,
                };
                end_offset = next;
                let Err(Unsound { why, is_rot: goes_on }) = outcome else { continue };
                is_rot = goes_on;
                // What stands behind the cut cannot be connected any more. It goes first, so that a power failure in the
                // middle of this does not leave a hole.
                lost_bytes += self.bytes_from(at + 1);
                self.drop_segments_from(at + 1)?;
                lost_bytes += self.cut_scanned(size)?;
                why
            };
            report.truncated = Some(Truncated { at_offset: end_offset, lost_bytes, is_rot, why });
            break;
        }
        for at in first..self.segments.len() - 1 {
            self.segments[at].seal(&*storage)?;
            self.note_sealed(self.segments[at].base_offset);
        }
        Ok(Scan { from, end_offset })
    }

    fn bytes_from(&self, at: usize) -> u64 {
        self.segments[at..].iter().map(|segment| segment.size).sum()
    }

    /// Cuts the last segment's file, of `size`, behind the last batch that the scan took; gives the bytes lost.
    fn cut_scanned(&mut self, size: u64) -> Result<u64> {
        let storage = self.storage.clone();
        let segment = self.active();
        let file = segment.file(&*storage)?;
        // On the disk at once: what is appended here must not meet these bytes again after a power failure.
        file.truncate(segment.size).and_then(|()| file.sync_data()).map_err(|e| Error::storage(segment.path(), e))?;
        Ok(size - segment.size)
    }

    /// Indexes and epochs of a segment from its headers; gives the offset behind it. None if they do not lead to its end, or
    /// the last batch, where the process was at work, does not match its CRC.
    fn take_up_segment(&mut self, at: usize) -> Result<Option<i64>> {
        let storage = self.storage.clone();
        let Log { segments, epochs, unsynced, config, .. } = self;
        let old = &segments[at];
        let mut fresh = Segment::blank(old.path().to_owned(), old.base_offset, old.created_ms);
        fresh.offset_index.file.truncate_file(&*storage)?;
        fresh.time_index.file.truncate_file(&*storage)?;
        let (mut next, mut outcome, mut last_at) = (old.base_offset, Ok(()), None);
        let walked = old.walk(&*storage, Hint::START, |found, header| {
            let continues = found.base_offset >= next && found.last_offset >= found.base_offset;
            if !continues || found.last_offset == i64::MAX {
                return false;
            }
            next = found.last_offset + 1;
            last_at = Some(found.position);
            outcome = fresh.note(&*storage, header, found.position, config.index_interval_bytes);
            if epochs.observe(header.leader_epoch(), found.base_offset) {
                unsynced.epochs();
            }
            outcome.is_ok()
        });
        outcome?;
        let leads_to_end = match walked {
            Ok(end) => end == old.size,
            Err(Error::Corrupt { .. }) => false,
            Err(error) => return Err(error),
        };
        let is_sound = |at| Scanner::new(old.path(), old.file(&*storage)?, old.size).has_sound_batch_at(at);
        let is_whole = leads_to_end && last_at.map_or(Ok(true), is_sound)?;
        if is_whole {
            segments[at] = fresh;
        }
        Ok(is_whole.then_some(next))
    }

    /// Reads a whole segment anew: the offset behind it, and if it ends in something else than a batch, why.
    fn scan_segment(
        &mut self,
        at: usize,
        report: &mut RecoveryReport,
    ) -> Result<(i64, std::result::Result<(), Unsound>)> {
        let storage = self.storage.clone();
        let old = &self.segments[at];
        let (base_offset, size) = (old.base_offset, old.size);
        let interval = self.config.index_interval_bytes;
        let mut fresh = Segment::blank(old.path().to_owned(), base_offset, old.created_ms);
        fresh.offset_index.file.truncate_file(&*storage)?;
        fresh.time_index.file.truncate_file(&*storage)?;
        let file = fresh.file(&*storage)?;
        let mut reader = Scanner::new(old.path(), file, size);
        let mut next = base_offset;
        let outcome = loop {
            let position = reader.position();
            let batch = match reader.next()? {
                None => break Ok(()),
                Some(Err(why)) => break Err(Unsound { why, is_rot: false }),
                Some(Ok(batch)) => batch,
            };
            let view = BatchView::parse(&batch).map_err(|e| Error::corrupt(fresh.path(), e.to_string()))?;
            let continues = view.base_offset() >= next && view.last_offset() >= view.base_offset();
            if !view.crc_is_valid() || !continues || view.last_offset() == i64::MAX {
                let why = format!("batch at position {position} does not match its CRC or the offsets before it");
                break Err(Unsound { why, is_rot: reader.has_sound_batch_behind(next)? });
            }
            next = view.next_offset();
            fresh.note(&*storage, &view, position, interval)?;
            if self.epochs.observe(view.leader_epoch(), view.base_offset()) {
                self.unsynced.epochs();
            }
        };
        report.scanned_bytes += fresh.size;
        if outcome.is_err() {
            reader.refuse_old_format()?;
        }
        self.segments[at] = fresh;
        Ok((next, outcome))
    }

    /// Indexes of segments that were not scanned: those that are missing, or (after an unclean stop) do not look whole.
    fn remake_sealed_indexes(
        &mut self,
        complete: &[bool],
        scan: Option<&Scan>,
        report: &mut RecoveryReport,
    ) -> Result<()> {
        let storage = self.storage.clone();
        let interval = self.config.index_interval_bytes;
        let count = self.segments.len();
        for (at, segment) in self.segments.iter_mut().enumerate() {
            if scan.is_some_and(|scan| segment.base_offset >= scan.from) {
                break;
            }
            let active = at + 1 == count;
            let complete = complete.get(at).copied().unwrap_or(false);
            let lost = segment.size > 0 && !complete || scan.is_some() && !segment.indexes_look_whole(&*storage);
            if lost {
                segment.rebuild_indexes(&*storage, interval, !active)?;
                self.unsynced.file(segment.base_offset, ".index");
                self.unsynced.file(segment.base_offset, ".timeindex");
                report.remade.push("index");
            }
        }
        Ok(())
    }

    /// Removes what is no `.txnindex`; gives the offset from which aborted transactions must be looked for anew.
    fn drop_bad_txn_indexes(&self, files: &[SegmentFiles], scanned: i64, report: &mut RecoveryReport) -> Result<i64> {
        let mut from = scanned;
        for found in files.iter().filter(|found| found.has_txn_index && found.base_offset < scanned) {
            let path = self.dir.join(file_name(found.base_offset, ".txnindex"));
            if let Err(Error::Corrupt { .. }) = txn_index::read(&*self.storage, &path) {
                remove_if_there(&*self.storage, &path)?;
                report.remade.push("txnindex");
                from = from.min(found.base_offset);
            }
        }
        Ok(from)
    }
}

/// The directory is of this topic. True if partition.metadata was written, and is not on the disk yet.
fn check_identity(storage: &dyn Storage, dir: &Path, topic_id: &[u8; 16], report: &mut RecoveryReport) -> Result<bool> {
    let found = match read_partition_metadata(storage, dir) {
        Ok(found) => found,
        // Written at creation and synced by the first flush: a power failure in between leaves it empty.
        Err(Error::Corrupt { .. }) => {
            report.remade.push("partition.metadata");
            None
        }
        Err(error) => return Err(error),
    };
    match found {
        Some(found) if found == *topic_id => Ok(false),
        Some(found) => Err(Error::corrupt(
            &dir.join(PARTITION_METADATA),
            format!(
                "topic_id is {}, but the cluster has {} for this topic: the directory is of an earlier topic of that name. \
                 A start of the broker sets it aside; where it stays, move it out of log.dirs",
                uuid_text(&found),
                uuid_text(topic_id)
            ),
        )),
        None => write_partition_metadata(storage, dir, topic_id).map(|()| true),
    }
}

/// The epochs as their file has them, and whether it could not be read.
fn load_epochs(storage: &dyn Storage, dir: &Path, is_there: bool) -> Result<(LeaderEpochs, bool)> {
    let path = dir.join(leader_epochs::FILE_NAME);
    if !is_there {
        return Ok((LeaderEpochs::empty(path), false));
    }
    match LeaderEpochs::load(storage, path.clone()) {
        Ok(epochs) => Ok((epochs, false)),
        Err(Error::Corrupt { .. }) => Ok((LeaderEpochs::empty(path), true)),
        Err(error) => Err(error),
    }
}

/// The segments, and of each whether it has both of its indexes.
fn open_segments(
    storage: &dyn Storage,
    dir: &Path,
    files: &[SegmentFiles],
    now_ms: i64,
) -> Result<(Vec<Segment>, Vec<bool>)> {
    let mut segments = Vec::with_capacity(files.len().max(1));
    for (at, found) in files.iter().enumerate() {
        segments.push(Segment::open(storage, dir, found, at + 1 == files.len(), now_ms)?);
    }
    if segments.is_empty() {
        segments.push(Segment::unwritten(dir, now_ms));
    }
    Ok((segments, files.iter().map(|found| found.has_offset_index && found.has_time_index).collect()))
}
