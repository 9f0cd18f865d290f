//! A read of a log, as a region of one segment's file: found by the indexes and a few headers, and not read.

use std::sync::Arc;

use crate::segment::Segment;
use crate::storage::{Storage, StorageFile};
use crate::{Error, Result};

/// Part of a file.
#[derive(Clone)]
pub struct Region {
    pub file: Arc<dyn StorageFile>,
    pub position: u64,
    pub bytes: usize,
}

impl Region {
    /// Whether it is in memory, as far as that can be told without waiting for the disk.
    pub fn is_at_hand(&self) -> bool {
        self.file.is_at_hand(self.position, self.bytes)
    }

    /// Waits until the disk has brought it.
    pub fn bring(&self) {
        self.file.bring(self.position, self.bytes);
    }
}

/// Whole batches in one segment's file.
pub struct ReadSlice {
    pub region: Region,
    /// The log ends where it ends.
    pub is_last: bool,
}

#[derive(Debug)]
pub enum ReadError {
    OffsetOutOfRange { start: i64, end: i64 },
    Storage(Error),
}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        ReadError::Storage(error)
    }
}

/// The index names a batch before the one that is wanted, which only its header tells the size of: usually less than this.
const AROUND_BYTES: usize = 1 << 20;
/// Looked for in memory, and brought from the disk, at a time.
const COLD_BYTES_MAX: usize = 8 << 20;

/// What a read of so many bytes from `offset` on would wait for, as far as the index tells without reading.
pub fn cold(segments: &[Segment], storage: &dyn Storage, offset: i64, bytes_max: usize) -> Result<Option<Region>> {
    let Some(from) = segments.partition_point(|each| each.base_offset <= offset).checked_sub(1) else {
        return Ok(None);
    };
    let segment = &segments[from];
    let position = segment.offset_index.hint_for(storage, offset).position;
    let wanted = bytes_max.saturating_add(AROUND_BYTES).min(COLD_BYTES_MAX) as u64;
    let bytes = segment.size.saturating_sub(position).min(wanted) as usize;
    if bytes == 0 {
        return Ok(None);
    }
    let region = Region { file: segment.file(storage)?, position, bytes };
    Ok((!region.is_at_hand()).then_some(region))
}

/// Whole batches from the one that holds `offset`, ending before `bound` if there is one, within so many bytes; or the first,
/// however large, if it is to be given at any rate. None where nothing may be given.
pub fn slice(
    segments: &[Segment],
    storage: &dyn Storage,
    offset: i64,
    (bytes_max, min_one): (usize, bool),
    bound: Option<i64>,
) -> Result<Option<ReadSlice>> {
    let Some(from) = segments.partition_point(|each| each.base_offset <= offset).checked_sub(1) else {
        return Ok(None);
    };
    // After compaction a segment may end before the offset looked for: the next one has it.
    let mut at = from;
    let (segment, first) = loop {
        let Some(segment) = segments.get(at) else { return Ok(None) };
        match segment.find(storage, offset)? {
            Some(first) => break (segment, first),
            None => at += 1,
        }
    };
    if bound.is_some_and(|bound| first.last_offset >= bound) {
        return Ok(None);
    }
    let first_end = first.position + first.size_bytes as u64;
    let mut end = segment.boundary_before(storage, first.position, first.position + bytes_max as u64)?;
    if let Some(bound) = bound
        && let Some(bound) = segment.find(storage, bound)?
    {
        end = end.min(bound.position);
    }
    if end < first_end {
        if !min_one {
            return Ok(None);
        }
        end = first_end;
    }
    let bytes = (end - first.position) as usize;
    let region = Region { file: segment.file(storage)?, position: first.position, bytes };
    let is_last = end == segment.size && at + 1 == segments.len();
    Ok(Some(ReadSlice { region, is_last }))
}
