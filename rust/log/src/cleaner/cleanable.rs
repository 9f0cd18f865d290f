//! What a log is cleaned by: noted while it was locked, good for as long as its segments are what they were.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::plan::{Bounds, CleaningPlan, SegmentSizes, plan_cleaning};
use crate::config::LogConfig;
use crate::index::{Hint, TimeIndex};
use crate::names::file_name;
use crate::producer_state::LastRecord;
use crate::segment::{Segment, SegmentFacts};
use crate::storage::Storage;
use crate::{Error, Result};

/// What a log is cleaned by, noted while it was locked.
pub struct Cleanable {
    pub storage: Arc<dyn Storage>,
    pub dir: PathBuf,
    pub config: LogConfig,
    /// Of all segments; the last is the active one.
    pub segments: Vec<SegmentFacts>,
    pub bounds: Bounds,
    /// What is before it is on the disk, and on all replicas in sync: it stays.
    pub settled_offset: i64,
}

/// The last record of each producer, as of an end of the log. They are noted, then the log is flushed, then it is cleaned:
/// a batch may go for not being its producer's last only if no later one can be lost.
#[derive(Clone, Debug, Default)]
pub struct LastRecords {
    pub by_producer: HashMap<i64, LastRecord>,
    pub end_offset: i64,
}

impl Cleanable {
    pub fn plan(&self, now_ms: i64) -> Option<CleaningPlan> {
        // Only where a setting asks for them are timestamps read.
        let newest_ms = |segment: &SegmentFacts| {
            let known = segment.newest_ms.or_else(|| {
                let index = TimeIndex::sealed_in(&self.dir, segment.base_offset);
                index.last_unmapped(&*self.storage).map(|(timestamp, _)| timestamp)
            });
            known.filter(|timestamp| *timestamp >= 0).unwrap_or(segment.created_ms)
        };
        let first_ms = |segment: &SegmentFacts| {
            let mut at = Segment::blank(self.dir.join(file_name(segment.base_offset, ".log")), segment.base_offset, 0);
            at.size = segment.size;
            let mut first = None;
            let walked = at.walk(&*self.storage, Hint::START, |found, _| {
                first = Some(found.max_timestamp);
                false
            });
            walked.ok().and(first)
        };
        plan_cleaning(&self.segments, self.bounds, &self.config.compaction, now_ms, newest_ms, first_ms)
    }

    pub fn sizes_of(&self, facts: &SegmentFacts) -> Result<SegmentSizes> {
        let bytes = |suffix: &str| {
            let path = self.dir.join(file_name(facts.base_offset, suffix));
            match self.storage.open(&path, false).and_then(|file| file.len()) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::storage(&path, error)),
                found => Ok(found.unwrap_or(0)),
            }
        };
        let (offset_index_bytes, time_index_bytes) = (bytes(".index")?, bytes(".timeindex")?);
        Ok(SegmentSizes { facts: *facts, offset_index_bytes, time_index_bytes })
    }
}
