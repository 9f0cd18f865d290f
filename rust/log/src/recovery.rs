//! Opening a log: after a clean stop its files are trusted; otherwise it is scanned from the recovery point on.
//!
//! ```text
//!   clean     sizes and indexes as they are; the end is found from the last index entry; producers from the snapshot
//!   unclean   from the segment with the recovery point: every batch read and checked, indexes made anew; at the first
//!             bad batch the log is cut, and later segments go
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use record::{BatchView, batch::HEADER_BYTES};

use crate::checkpoints::{read_partition_metadata, write_partition_metadata};
use crate::leader_epochs::{self, LeaderEpochs};
use crate::log::{Log, LogConfig, remove_if_there};
use crate::producer_state::ProducerState;
use crate::segment::{Segment, file_name};
use crate::storage::Storage;
use crate::txn_index;
use crate::{Error, Result};

pub struct OpenOptions {
    pub storage: Arc<dyn Storage>,
    pub dir: PathBuf,
    pub topic_id: [u8; 16],
    pub config: LogConfig,
    pub clean_shutdown: bool,
    pub recovery_point: i64,
    /// The checkpointed start, if it was moved beyond the first segment's.
    pub log_start_offset: Option<i64>,
    pub now_ms: i64,
}

/// What opening a log came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    pub dir: PathBuf,
    pub created: bool,
    pub scanned_bytes: u64,
    pub truncated: Option<Truncated>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truncated {
    pub at_offset: i64,
    pub lost_bytes: u64,
    pub why: String,
}

impl RecoveryReport {
    /// A line for the log, if there is anything to say.
    pub fn told(&self) -> Option<String> {
        let dir = self.dir.display();
        match &self.truncated {
            Some(cut) => Some(format!(
                "{dir}: cut at offset {} ({} bytes dropped): {}", cut.at_offset, cut.lost_bytes, cut.why
            )),
            None if self.scanned_bytes > 0 => Some(format!("{dir}: recovered, {} bytes scanned", self.scanned_bytes)),
            None => None,
        }
    }
}

const SCAN_BYTES: usize = 1 << 20;

impl Log {
    pub fn open(options: OpenOptions) -> Result<(Log, RecoveryReport)> {
        let OpenOptions { storage, dir, topic_id, config, clean_shutdown, recovery_point, log_start_offset, now_ms } =
            options;
        let mut report = RecoveryReport { dir: dir.clone(), ..RecoveryReport::default() };
        if !storage.exists(&dir) {
            report.created = true;
            storage.create_dir(&dir).map_err(|e| Error::storage(&dir, e))?;
        }
        match read_partition_metadata(&*storage, &dir)? {
            None => write_partition_metadata(&*storage, &dir, &topic_id)?,
            Some(found) if found == topic_id => {}
            Some(_) => return Err(Error::corrupt(&dir, "partition.metadata names another topic id")),
        }
        let epochs = LeaderEpochs::load(&*storage, dir.join(leader_epochs::FILE_NAME))?;
        let segments = open_segments(&*storage, &dir, now_ms)?;
        let mut log = Log {
            storage,
            dir,
            config,
            segments,
            start_offset: 0,
            end_offset: 0,
            recovery_point,
            epochs,
            producers: ProducerState::default(),
            snapshot_at_end: false,
            epochs_changed: false,
            poisoned: None,
        };
        if clean_shutdown || report.created {
            let last = log.segments.last().expect("open_segments gives at least one");
            log.end_offset = last.next_offset(&*log.storage)?;
            log.recovery_point = log.end_offset;
        } else {
            log.recover(&mut report)?;
        }
        log.start_offset = log.segments[0].base_offset.max(log_start_offset.unwrap_or(0)).min(log.end_offset);
        log.epochs.truncate_end(log.end_offset + 1);
        log.load_producers(clean_shutdown)?;
        Ok((log, report))
    }

    /// Scans from the segment that holds the recovery point, and cuts at the first bad batch.
    fn recover(&mut self, report: &mut RecoveryReport) -> Result<()> {
        let storage = self.storage.clone();
        let point = self.recovery_point;
        let first = self.segments.partition_point(|segment| segment.base_offset <= point).saturating_sub(1);
        let mut expected = self.segments[first].base_offset;
        for at in first..self.segments.len() {
            remove_if_there(&*storage, &self.dir.join(file_name(self.segments[at].base_offset, ".txnindex")))?;
            let base_offset = self.segments[at].base_offset;
            let outcome = if base_offset < expected {
                Err(format!("segment {base_offset} overlaps the one before it"))
            } else {
                self.scan_segment(at, report)?
            };
            let why = match outcome {
                Ok(next) => {
                    expected = next;
                    continue;
                }
                Err(why) => why,
            };
            // The bad segment was cut where it went bad; those behind it cannot be connected any more.
            let mut lost_bytes = report.truncated.as_ref().map_or(0, |cut| cut.lost_bytes);
            for segment in self.segments.drain(at + 1..) {
                lost_bytes += segment.size;
                for suffix in Segment::file_suffixes() {
                    remove_if_there(&*storage, &self.dir.join(file_name(segment.base_offset, suffix)))?;
                }
            }
            expected = self.segments[at].next_offset(&*storage)?;
            report.truncated = Some(Truncated { at_offset: expected, lost_bytes, why });
            break;
        }
        self.end_offset = expected;
        self.recovery_point = self.recovery_point.min(expected);
        // Epochs that begin behind the end were of batches that are gone.
        self.epochs.truncate_end(expected);
        Ok(())
    }

    /// Reads a whole segment anew. Ok is the offset behind it; Err says why it was cut (already done).
    fn scan_segment(&mut self, at: usize, report: &mut RecoveryReport) -> Result<std::result::Result<i64, String>> {
        let storage = self.storage.clone();
        let base_offset = self.segments[at].base_offset;
        let size = self.segments[at].size;
        let interval = self.config.index_interval_bytes;
        let mut fresh = Segment::create(&self.dir, base_offset, self.segments[at].created_ms);
        fresh.offset_index.file.truncate(&*storage, 0)?;
        fresh.time_index.file.truncate(&*storage, 0)?;
        let file = fresh.file(&*storage)?.clone();
        let mut reader = Scanner { file: &*file, size, at: 0 };
        let mut next = base_offset;
        let outcome = loop {
            let position = reader.at;
            let batch = match reader.next(fresh.path())? {
                None => break Ok(next),
                Some(Err(why)) => break Err(why),
                Some(Ok(batch)) => batch,
            };
            let view = BatchView::parse(&batch).map_err(|e| Error::corrupt(fresh.path(), e.to_string()))?;
            if !view.crc_is_valid() || view.base_offset() < next || view.last_offset_delta() < 0 {
                break Err(format!("batch at position {position} does not match its CRC or the offsets before it"));
            }
            next = view.next_offset();
            fresh.note(&*storage, &view, position, interval)?;
            let epoch = view.leader_epoch();
            self.epochs.assign(epoch, view.base_offset());
        };
        report.scanned_bytes += fresh.size;
        if outcome.is_err() {
            let lost_bytes = size - fresh.size;
            file.truncate(fresh.size).map_err(|e| Error::storage(fresh.path(), e))?;
            report.truncated = Some(Truncated { at_offset: next, lost_bytes, why: String::new() });
        }
        fresh.complete_indexes(&*storage, at + 1 < self.segments.len())?;
        self.segments[at] = fresh;
        Ok(outcome)
    }

    /// Producers from the newest sound snapshot, and the batches behind it.
    fn load_producers(&mut self, clean_shutdown: bool) -> Result<()> {
        let mut offsets = self.snapshot_offsets()?;
        offsets.retain(|offset| *offset <= self.end_offset);
        // KAFKA: a cleanly stopped log without any snapshot had no producers.
        if offsets.is_empty() && clean_shutdown {
            return Ok(());
        }
        self.rebuild_producers()
    }

    fn snapshot_offsets(&self) -> Result<Vec<i64>> {
        let names = self.storage.list(&self.dir).map_err(|e| Error::storage(&self.dir, e))?;
        let offset = |name: &str| name.strip_suffix(".snapshot")?.parse::<i64>().ok();
        let mut offsets: Vec<i64> = names.iter().filter_map(|(name, _)| offset(name)).collect();
        offsets.sort_unstable();
        Ok(offsets)
    }

    pub(crate) fn rebuild_producers(&mut self) -> Result<()> {
        let storage = self.storage.clone();
        self.producers = ProducerState::default();
        let mut from = self.segments[0].base_offset;
        for offset in self.snapshot_offsets()?.into_iter().rev() {
            let path = self.dir.join(file_name(offset, ".snapshot"));
            let bytes = storage.read(&path).map_err(|e| Error::storage(&path, e))?;
            match ProducerState::decode_snapshot(&bytes).filter(|_| offset <= self.end_offset) {
                Some(state) => {
                    self.producers = state;
                    from = offset;
                    break;
                }
                // Unsound, or of a future that was cut off.
                None => remove_if_there(&*storage, &path)?,
            }
        }
        self.snapshot_at_end = from == self.end_offset;
        let (mut producers, segments) = (std::mem::take(&mut self.producers), &self.segments);
        for segment in segments {
            if from >= self.end_offset {
                break;
            }
            let Some(first) = segment.find(&*storage, from)? else { continue };
            let mut batches = Vec::new();
            segment.walk(&*storage, first.position, |found| {
                batches.push(found);
                true
            })?;
            let path = self.dir.join(file_name(segment.base_offset, ".txnindex"));
            let known = txn_index::read(&*storage, &path)?.last().map_or(-1, |aborted| aborted.last_offset);
            for found in batches {
                let bytes = segment.read_batch(&*storage, &found)?;
                let view = BatchView::parse(&bytes).map_err(|e| Error::corrupt(segment.path(), e.to_string()))?;
                if let Some(aborted) = producers.apply(&view)
                    && aborted.last_offset > known
                {
                    txn_index::append(&*storage, &path, &aborted)?;
                }
                from = from.max(view.next_offset());
            }
        }
        self.producers = producers;
        Ok(())
    }
}

fn open_segments(storage: &dyn Storage, dir: &Path, now_ms: i64) -> Result<Vec<Segment>> {
    let mut files = storage.list(dir).map_err(|e| Error::storage(dir, e))?;
    files.sort();
    for (name, _) in files.iter().filter(|(name, _)| name.ends_with(".deleted") || name.ends_with(".cleaned")) {
        remove_if_there(storage, &dir.join(name))?;
    }
    let base = |name: &str| name.strip_suffix(".log")?.parse::<i64>().ok();
    let logs: Vec<(i64, u64)> = files.iter().filter_map(|(name, size)| Some((base(name)?, *size))).collect();
    let mut segments = Vec::with_capacity(logs.len().max(1));
    for (i, (base_offset, size)) in logs.iter().enumerate() {
        segments.push(Segment::open(storage, dir, *base_offset, *size, i + 1 == logs.len(), now_ms)?);
    }
    if segments.is_empty() {
        segments.push(Segment::create(dir, 0, now_ms));
    }
    Ok(segments)
}

/// Reads a segment's batches one after the other, in large pieces' worth of memory at most.
struct Scanner<'a> {
    file: &'a dyn crate::storage::StorageFile,
    size: u64,
    at: u64,
}

impl Scanner<'_> {
    /// None at a clean end; Some(Err) where what follows is no batch.
    fn next(&mut self, path: &Path) -> Result<Option<std::result::Result<Vec<u8>, String>>> {
        let left = self.size - self.at;
        if left == 0 {
            return Ok(None);
        }
        let mut header = [0; HEADER_BYTES];
        let read = self.file.read_at(&mut header, self.at).map_err(|e| Error::storage(path, e))?;
        let size = BatchView::promised_bytes(&header).filter(|_| read == HEADER_BYTES && header[16] == 2);
        let Some(size) = size.filter(|size| *size as u64 <= left) else {
            return Ok(Some(Err(format!("no whole batch at position {}", self.at))));
        };
        let mut batch = Vec::new();
        while batch.len() < size {
            let from = batch.len();
            batch.resize(size.min(from + SCAN_BYTES), 0);
            let position = self.at + from as u64;
            let read = self.file.read_at(&mut batch[from..], position).map_err(|e| Error::storage(path, e))?;
            if read == 0 {
                return Ok(Some(Err(format!("batch at position {} is cut short", self.at))));
            }
            batch.truncate(from + read);
        }
        self.at += size as u64;
        Ok(Some(Ok(batch)))
    }
}
