//! New segments for old ones: written as `.cleaned`, complete as `.swap`, then under their own names. `layout` finishes or
//! undoes whatever of this a crash leaves behind.
//!
//! ```text
//!   .cleaned  written and synced, its directory too      the old segments stand for the log
//!   .swap     all renamed, the directory synced          from here on the new one does, whatever happens
//!   .deleted  the old ones are renamed, and that synced  before the .swap is: it must never be gone while they are back
//!   .log      the .swap is renamed
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use record::BatchView;

use super::cleanable::{Cleanable, LastRecords};
use super::plan::{Bounds, SegmentSizes};
use crate::log::Log;
use crate::names::file_name;
use crate::retention::Doomed;
use crate::segment::{Segment, SegmentFacts, SegmentFiles};
use crate::storage::{StorageFile, remove_if_there};
use crate::txn_index::{self, AbortedTransaction};
use crate::{Error, Result};

pub const CLEANED: &str = ".cleaned";
pub const SWAP: &str = ".swap";
const OUTPUT_BYTES: usize = 1 << 20;

/// A segment in the making.
pub struct Output<'a> {
    job: &'a Cleanable,
    covers: Vec<SegmentFacts>,
    segment: Segment,
    file: Arc<dyn StorageFile>,
    buffer: Vec<u8>,
    written: u64,
    changed: bool,
}

fn name(dir: &Path, base_offset: i64, suffix: &str, ending: &str) -> PathBuf {
    dir.join(file_name(base_offset, suffix) + ending)
}

impl<'a> Output<'a> {
    pub fn create(job: &'a Cleanable, group: &[SegmentSizes]) -> Result<Output<'a>> {
        let covers: Vec<_> = group.iter().map(|each| each.facts).collect();
        let base_offset = covers[0].base_offset;
        let path = name(&job.dir, base_offset, ".log", CLEANED);
        let file = job.storage.open(&path, true).map_err(|e| Error::storage(&path, e))?;
        let segment = Segment::blank(path, base_offset, covers[covers.len() - 1].created_ms);
        Ok(Output { job, covers, segment, file, buffer: Vec::new(), written: 0, changed: false })
    }

    pub fn size(&self) -> u64 {
        self.segment.size
    }

    pub fn is_unchanged(&self) -> bool {
        !self.changed
    }

    /// A batch goes.
    pub fn skip(&mut self) -> usize {
        self.changed = true;
        0
    }

    pub fn push(&mut self, batch: &[u8], changed: bool) -> Result<usize> {
        let view = BatchView::parse(batch).map_err(|e| Error::corrupt(self.segment.path(), e.to_string()))?;
        let position = self.segment.size;
        self.segment.note(&*self.job.storage, &view, position, self.job.config.index_interval_bytes)?;
        self.changed |= changed;
        self.buffer.extend_from_slice(batch);
        if self.buffer.len() >= OUTPUT_BYTES {
            self.write_out()?;
        }
        Ok(batch.len())
    }

    fn write_out(&mut self) -> Result<()> {
        let written = self.file.write_at(&self.buffer, self.written);
        written.map_err(|e| Error::storage(self.segment.path(), e))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// All of it is on the disk, under names that a start removes.
    pub fn finish(mut self, aborted: &[AbortedTransaction]) -> Result<Cleaned> {
        self.write_out()?;
        let storage = &*self.job.storage;
        let (dir, base_offset) = (&self.job.dir, self.segment.base_offset);
        self.file.sync_data().map_err(|e| Error::storage(self.segment.path(), e))?;
        self.segment.seal(storage)?;
        if !aborted.is_empty() {
            txn_index::write(storage, &name(dir, base_offset, ".txnindex", CLEANED), aborted)?;
        }
        for suffix in [".index", ".timeindex"] {
            let path = name(dir, base_offset, suffix, CLEANED);
            let sync = || storage.open(&path, false)?.sync_data();
            sync().map_err(|e| Error::storage(&path, e))?;
        }
        storage.sync_dir(dir).map_err(|e| Error::storage(dir, e))?;
        let has_txn_index = !aborted.is_empty();
        Ok(Cleaned {
            dir: dir.clone(),
            covers: self.covers,
            size: self.segment.size,
            has_txn_index,
            created_ms: self.segment.created_ms,
        })
    }

    pub fn remove(self) -> Result<()> {
        let base_offset = self.segment.base_offset;
        Segment::file_suffixes().iter().try_for_each(|suffix| {
            remove_if_there(&*self.job.storage, &name(&self.job.dir, base_offset, suffix, CLEANED))
        })
    }
}

/// A whole segment, and the ones that it stands for.
#[derive(Debug)]
pub struct Cleaned {
    dir: PathBuf,
    covers: Vec<SegmentFacts>,
    size: u64,
    has_txn_index: bool,
    created_ms: i64,
}

impl Cleaned {
    pub fn end_offset(&self) -> i64 {
        self.covers[self.covers.len() - 1].end_offset
    }
}

impl Log {
    /// Where the segments that `cleaned` covers stand, if they are still what they were, and sealed.
    fn place_of(&self, cleaned: &Cleaned) -> Option<std::ops::Range<usize>> {
        // A log that has moved has left behind what was compacted of it.
        if self.are_segments_held || cleaned.dir != self.dir {
            return None;
        }
        let first = cleaned.covers[0].base_offset;
        let at = self.segments.binary_search_by_key(&first, |segment| segment.base_offset).ok()?;
        let place = at..at + cleaned.covers.len();
        let there = self.segments.get(place.clone())?;
        let same = there.iter().zip(&cleaned.covers).all(|(a, b)| a.base_offset == b.base_offset && a.size == b.size);
        let next = self.segments.get(place.end)?;
        (same && next.base_offset == cleaned.end_offset()).then_some(place)
    }

    /// Puts a cleaned segment in the place of those that it covers; their files are renamed, to be removed later. None if
    /// they are not there any more.
    pub fn swap_in(&mut self, cleaned: &Cleaned) -> Result<Option<Doomed>> {
        let Some(place) = self.place_of(cleaned) else { return Ok(None) };
        let swapped = self.guarded(|log| {
            let storage = log.storage.clone();
            let base_offset = cleaned.covers[0].base_offset;
            let suffixes = || Segment::file_suffixes().into_iter().rev();
            let mine = || suffixes().filter(|suffix| *suffix != ".txnindex" || cleaned.has_txn_index);
            let rename = |suffix: &str, from: &str, to: &str| {
                let path = name(&log.dir, base_offset, suffix, from);
                let target = name(&log.dir, base_offset, suffix, to);
                storage.rename(&path, &target).map_err(|e| Error::storage(&path, e))
            };
            mine().try_for_each(|suffix| rename(suffix, CLEANED, SWAP))?;
            storage.sync_dir(&log.dir).map_err(|e| Error::storage(&log.dir, e))?;
            let mut doomed = Doomed::default();
            for covered in &cleaned.covers {
                let base = covered.base_offset;
                // Where no segment starts any more, a snapshot of the producers is needed only if it is the newest.
                let with_snapshot = base != base_offset && log.producers.newest_snapshot != Some(base);
                log.doom_files(base, with_snapshot, &mut doomed)?;
            }
            log.sync_dir()?;
            let rename = |suffix: &str, from: &str| {
                let path = name(&log.dir, base_offset, suffix, from);
                let target = name(&log.dir, base_offset, suffix, "");
                storage.rename(&path, &target).map_err(|e| Error::storage(&path, e))
            };
            mine().try_for_each(|suffix| rename(suffix, SWAP))?;
            log.unsynced.dir();
            let files = SegmentFiles {
                base_offset,
                size: cleaned.size,
                has_offset_index: true,
                has_time_index: true,
                has_txn_index: cleaned.has_txn_index,
            };
            let segment = Segment::open(&*storage, &log.dir, &files, false, cleaned.created_ms)?;
            log.segments.splice(place, [segment]);
            Ok(Some(doomed))
        });
        // Half of a swap cannot be undone here: the next start does it, and until then nothing is written.
        swapped.inspect_err(|error| self.poison(&error.to_string()))
    }

    /// What a cleaning of this log would need to know. None if it is not compacted, or not written any more.
    pub fn cleanable(&self, high_watermark: i64, checkpoint: Option<i64>) -> Option<Cleanable> {
        // What a snapshot tells as ended may have been ended by a marker at or above the high watermark.
        let is_known = high_watermark >= self.producers.known_from;
        if self.are_segments_held
            || !self.config.compacted
            || self.is_poisoned()
            || self.segments.len() == 1
            || !is_known
        {
            return None;
        }
        let upper_offset = self.last_stable_offset(high_watermark).min(high_watermark).min(self.stable_on_disk);
        Some(Cleanable {
            storage: self.storage.clone(),
            dir: self.dir.clone(),
            config: self.config.clone(),
            segments: self.segment_facts(),
            bounds: Bounds { start_offset: self.start_offset, checkpoint, upper_offset },
            settled_offset: high_watermark.min(self.recovery_point),
        })
    }

    /// Whether more could be cleaned if it were on the disk.
    pub fn flush_lets_clean(&self, high_watermark: i64) -> bool {
        let active_base = self.segments[self.segments.len() - 1].base_offset;
        self.needs_flush() && self.stable_on_disk < active_base.min(self.last_stable_offset(high_watermark))
    }

    /// The last record of each producer that is known.
    pub fn last_records(&self) -> LastRecords {
        LastRecords { by_producer: self.producers.state.last_records(), end_offset: self.end_offset }
    }
}
