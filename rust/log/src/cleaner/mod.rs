//! Compaction: of each key the newest record stays. A plan, then two passes over the log, then a swap.
//!
//! ```text
//!   plan          which part is dirty, and whether cleaning it pays        filter        what becomes of one batch
//!   offset_map    the newest offset of each key of the dirty part          transactions  whose data are aborted
//!   reader        sealed segments, batch by batch                          swap          new segments for old ones
//! ```
//!
//! INVARIANT: nothing at or above the last stable offset or the high watermark is touched, nor the active segment, nor
//! what is decided by a record or a marker that is not on the disk.
//! INVARIANT: both passes read files that do not change, without the log's lock; it is taken to plan and to swap.
//! INVARIANT: a record is dropped only for a newer one of its key that is on the disk, for an aborted transaction, for an
//! expired tombstone, or for having no key.

mod cleanable;
mod filter;
mod offset_map;
mod plan;
mod reader;
mod swap;
mod transactions;

use record::Skim;

pub(crate) use reader::BatchReader;

pub use cleanable::{Cleanable, LastRecords};
pub use plan::CleaningPlan;
pub use swap::Cleaned;

use crate::names::file_name;
use crate::segment::SegmentFacts;
use crate::txn_index::{self, AbortedTransaction};
use crate::{Error, Result};
use filter::{Fate, Filter, Rules};
use offset_map::{Newest, OffsetMap};
use plan::{SegmentSizes, group_segments};
use transactions::PassedTransactions;

/// Why a cleaning did not come to its end. The log is as it was, or as the swaps so far left it.
#[derive(Debug)]
pub enum Interruption {
    /// The caller wanted it so.
    Stopped,
    /// The log was changed under it: segments were deleted, or cut off. Or what it noted is not settled yet.
    Overtaken,
    Failed(Error),
}

impl From<Error> for Interruption {
    fn from(error: Error) -> Self {
        Interruption::Failed(error)
    }
}

/// What a cleaning did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CleaningReport {
    /// Everything before it is clean: the checkpoint.
    pub end_offset: i64,
    pub bytes_read: u64,
    pub bytes_kept: u64,
    pub records_read: u64,
    pub records_kept: u64,
}

/// What the caller of a cleaning answers for.
pub trait Course {
    /// So many bytes were read or written; false stops the cleaning.
    fn spent(&mut self, bytes: usize) -> bool;
    /// New segments are complete: they are to take the place of the old ones. False if those are not there any more.
    fn swap(&mut self, cleaned: Cleaned) -> Result<bool>;
}

/// `log.cleaner.*`, and what the hash of keys starts from.
#[derive(Clone, Copy, Debug)]
pub struct CleanerSettings {
    pub dedupe_bytes: usize,
    pub load_factor: f64,
    pub io_buffer_bytes: usize,
    pub hash_key: (u64, u64),
}

/// What a bit for each offset of the dirty part may take, in I/O buffers.
const NEWEST_PIECES: usize = 16;

/// Buffers that one cleaning after the other uses.
pub struct Cleaner {
    map: OffsetMap,
    input: Vec<u8>,
    inflated: Vec<u8>,
    filter: Filter,
    piece_bytes: usize,
}

type Outcome<T> = std::result::Result<T, Interruption>;

impl Cleaner {
    pub fn new(settings: &CleanerSettings) -> Cleaner {
        Cleaner {
            map: OffsetMap::new(settings.dedupe_bytes, settings.load_factor, settings.hash_key),
            input: Vec::new(),
            inflated: Vec::new(),
            filter: Filter::default(),
            piece_bytes: settings.io_buffer_bytes.max(1 << 20),
        }
    }

    /// Cleans one log, for which the plan was made after `last_records` had been noted and the log flushed.
    pub fn clean(
        &mut self,
        job: &Cleanable,
        plan: &CleaningPlan,
        last_records: &LastRecords,
        now_ms: i64,
        course: &mut dyn Course,
    ) -> Outcome<CleaningReport> {
        if job.settled_offset < last_records.end_offset {
            return Err(Interruption::Overtaken);
        }
        remove_unfinished(job)?;
        let (first_base, end) = (job.segments[0].base_offset, plan.end_offset);
        let aborted = collect_aborted(job, first_base, end)?;
        let map_end_offset = self.fill_map(job, plan, &aborted, course)?;
        let mut report = CleaningReport { end_offset: map_end_offset, ..CleaningReport::default() };
        let count = job.segments.partition_point(|each| each.base_offset < map_end_offset);
        let sized: Vec<_> = job.segments[..count].iter().map(|facts| job.sizes_of(facts)).collect::<Result<_>>()?;
        let groups = group_segments(&sized, job.config.segment_bytes, job.config.index_bytes_max as u64);
        let mut transactions = PassedTransactions::new(&aborted);
        let map = std::mem::replace(&mut self.map, OffsetMap::new(0, 0.5, (0, 0)));
        let newest = Newest::of(&map, plan.first_dirty_offset..map_end_offset, self.piece_bytes * NEWEST_PIECES);
        let rules = Rules {
            map: &map,
            newest: newest.as_ref(),
            map_end_offset,
            end_offset: end,
            now_ms,
            delete_retention_ms: job.config.compaction.delete_retention_ms,
            last_records: &last_records.by_producer,
        };
        let outcome = groups
            .into_iter()
            .try_for_each(|group| self.clean_group(job, group, &rules, &mut transactions, &mut report, course));
        self.map = map;
        self.map.clear();
        self.shrink();
        outcome.map(|()| report)
    }

    /// Large buffers do not stay for the sake of one large batch.
    fn shrink(&mut self) {
        let piece_bytes = self.piece_bytes;
        for buffer in [&mut self.input, &mut self.inflated] {
            if buffer.capacity() > 4 * piece_bytes {
                *buffer = Vec::new();
            }
        }
        self.filter = Filter::default();
    }

    /// The first pass: the newest offset of each key, from the first dirty offset on, as far as the map has room. Gives
    /// the offset behind what it knows.
    fn fill_map(
        &mut self,
        job: &Cleanable,
        plan: &CleaningPlan,
        aborted: &[AbortedTransaction],
        course: &mut dyn Course,
    ) -> Outcome<i64> {
        let Cleaner { map, input, inflated, piece_bytes, .. } = self;
        map.clear();
        let from = plan.first_dirty_offset;
        // Those that ended before would be taken for the next ones of their producers.
        let ongoing: Vec<_> = aborted.iter().filter(|aborted| aborted.last_offset >= from).copied().collect();
        let mut transactions = PassedTransactions::new(&ongoing);
        let dirty = |each: &&SegmentFacts| each.end_offset > from && each.end_offset <= plan.end_offset;
        for facts in job.segments.iter().filter(dirty) {
            let path = job.dir.join(file_name(facts.base_offset, ".log"));
            let mut reader = BatchReader::open(&*job.storage, &path, facts, input, *piece_bytes)?;
            loop {
                let corrupt = |why: record::Error| Error::corrupt(&path, why.to_string());
                let Some(batch) = reader.next()? else { break };
                let size = batch.size_bytes();
                let passed = batch.last_offset() >= from;
                let is_aborted = passed && transactions.pass(&batch).map_err(corrupt)?;
                if passed && !batch.is_control() && !is_aborted && batch.record_count() > 0 {
                    let codec = filter::codec_of(&batch).map_err(corrupt)?;
                    let payload = filter::inflate(codec, &batch, inflated).map_err(corrupt)?;
                    for record in Skim::new(payload, batch.record_count()) {
                        let record = record.map_err(corrupt)?;
                        let offset = batch.base_offset().wrapping_add(i64::from(record.offset_delta));
                        if let Some(key) = record.key.filter(|_| offset >= from)
                            && !map.put(key, offset)
                        {
                            // Full: what comes from here on has its turn with the next cleaning.
                            return Ok(offset);
                        }
                    }
                }
                if !course.spent(size) {
                    return Err(Interruption::Stopped);
                }
            }
        }
        Ok(plan.end_offset)
    }

    /// The second pass, over segments that become one.
    fn clean_group(
        &mut self,
        job: &Cleanable,
        group: &[SegmentSizes],
        rules: &Rules<'_>,
        transactions: &mut PassedTransactions,
        report: &mut CleaningReport,
        course: &mut dyn Course,
    ) -> Outcome<()> {
        let mut output = swap::Output::create(job, group)?;
        let written = self.write_group(job, group, rules, transactions, &mut output, course);
        report.records_read += std::mem::take(&mut self.filter.records_read);
        report.records_kept += std::mem::take(&mut self.filter.records_kept);
        report.bytes_read += group.iter().map(|each| each.facts.size).sum::<u64>();
        let kept = std::mem::take(&mut transactions.kept);
        if let Err(interruption) = written {
            output.remove()?;
            return Err(interruption);
        }
        report.bytes_kept += output.size();
        if group.len() == 1 && output.is_unchanged() {
            // A clean segment without anything to drop stays the file that it is.
            return Ok(output.remove()?);
        }
        let cleaned = output.finish(&kept)?;
        match course.swap(cleaned)? {
            // The last renames are on the disk before anything else happens: a new `.cleaned` beside a `.swap` undoes it.
            true => Ok(job.storage.sync_dir(&job.dir).map_err(|e| Error::storage(&job.dir, e))?),
            false => {
                remove_unfinished(job)?;
                Err(Interruption::Overtaken)
            }
        }
    }

    fn write_group(
        &mut self,
        job: &Cleanable,
        group: &[SegmentSizes],
        rules: &Rules<'_>,
        transactions: &mut PassedTransactions,
        output: &mut swap::Output<'_>,
        course: &mut dyn Course,
    ) -> Outcome<()> {
        let Cleaner { input, filter, piece_bytes, .. } = self;
        for segment in group {
            let facts = &segment.facts;
            let path = job.dir.join(file_name(facts.base_offset, ".log"));
            let mut reader = BatchReader::open(&*job.storage, &path, facts, input, *piece_bytes)?;
            while let Some(batch) = reader.next()? {
                let judged = filter.judge(&batch, rules, transactions);
                let fate = judged.map_err(|why| Error::corrupt(&path, why.to_string()))?;
                let read = batch.size_bytes();
                let written = match fate {
                    Fate::Gone => output.skip(),
                    Fate::AsItIs => output.push(batch.bytes(), false)?,
                    Fate::Rewritten => output.push(&filter.out, true)?,
                };
                if !course.spent(read + written) {
                    return Err(Interruption::Stopped);
                }
            }
        }
        Ok(())
    }
}

/// Aborted transactions with anything in `from..upper_offset`: their markers may stand in any later segment.
fn collect_aborted(job: &Cleanable, from: i64, upper_offset: i64) -> Result<Vec<AbortedTransaction>> {
    let mut found = Vec::new();
    for segment in &job.segments {
        let path = job.dir.join(file_name(segment.base_offset, ".txnindex"));
        let aborted = txn_index::read_so_far(&*job.storage, &path)?;
        found.extend(aborted.iter().filter(|a| a.last_offset >= from && a.first_offset < upper_offset));
        if aborted.last().is_some_and(|a| a.last_stable_offset >= upper_offset) {
            break;
        }
    }
    Ok(found)
}

/// What an interrupted cleaning left. Files under their own names are never among them.
fn remove_unfinished(job: &Cleanable) -> Result<()> {
    let names = job.storage.list(&job.dir).map_err(|e| Error::storage(&job.dir, e))?;
    for name in names.iter().filter(|name| name.ends_with(swap::CLEANED)) {
        crate::storage::remove_if_there(&*job.storage, &job.dir.join(name))?;
    }
    Ok(())
}
