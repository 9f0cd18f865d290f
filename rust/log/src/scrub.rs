//! Reading sealed segments for no other reason than to see that they are still what was written: a slice at a time, so that
//! whoever does it may go slowly, and do other things in between.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Result;
use crate::cleaner::BatchReader;
use crate::log::Log;
use crate::names::file_name;
use crate::segment::SegmentFacts;
use crate::storage::Storage;

/// How far one segment has been looked at.
pub struct SegmentCheck {
    storage: Arc<dyn Storage>,
    path: PathBuf,
    facts: SegmentFacts,
    at: u64,
    next_offset: i64,
}

impl SegmentCheck {
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn facts(&self) -> &SegmentFacts {
        &self.facts
    }

    /// Reads on, about so many bytes: how many it were, and none at the end. Err(Corrupt) names what is not as it was written.
    pub fn step(&mut self, buffer: &mut Vec<u8>, bytes: usize) -> Result<usize> {
        let from = self.at;
        let mut reader = BatchReader::open(&*self.storage, &self.path, &self.facts, buffer, bytes)?;
        reader.resume(self.at, self.next_offset);
        while reader.position() - from < bytes as u64 && reader.next()?.is_some() {}
        (self.at, self.next_offset) = (reader.position(), reader.next_offset());
        Ok((self.at - from) as usize)
    }
}

impl Log {
    /// Sealed segments that are on the disk.
    pub fn segment_checks(&self) -> Vec<SegmentCheck> {
        let facts = self.segment_facts();
        let sealed = facts.iter().filter(|facts| facts.end_offset <= self.recovery_point && facts.size > 0);
        let sealed = sealed.take_while(|facts| facts.base_offset < self.segments[self.segments.len() - 1].base_offset);
        let check = |facts: &SegmentFacts| SegmentCheck {
            storage: self.storage.clone(),
            path: self.dir.join(file_name(facts.base_offset, ".log")),
            facts: *facts,
            at: 0,
            next_offset: facts.base_offset,
        };
        sealed.map(check).collect()
    }

    /// Whether a segment is still the one that was looked at.
    pub fn still_has(&self, facts: &SegmentFacts) -> bool {
        let at = self.segments.binary_search_by_key(&facts.base_offset, |segment| segment.base_offset);
        at.is_ok_and(|at| self.segments[at].size == facts.size)
    }
}
