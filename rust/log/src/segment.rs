//! One segment: batches back to back in a `.log`, with an index by offset and one by time.
//!
//! INVARIANT: `size` is where the next batch goes; what a file may hold beyond it (preallocation) is never read.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use record::batch::HEADER_BYTES;
use record::BatchView;

use crate::index::{IndexFile, OffsetIndex, TimeIndex};
use crate::storage::{Storage, StorageFile};
use crate::{Error, Result};

/// Headers are read this much at a time when a segment is walked.
const WALK_BYTES: usize = 8 * 1024;

pub fn file_name(base_offset: i64, suffix: &str) -> String {
    format!("{base_offset:020}{suffix}")
}

pub struct Segment {
    pub base_offset: i64,
    pub size: u64,
    pub offset_index: OffsetIndex,
    pub time_index: TimeIndex,
    /// Newest timestamp so far and the last offset of its batch.
    pub newest: Option<(i64, i64)>,
    /// When the first batch was written, by its own timestamp: what `segment.ms` counts from.
    pub rolling_from_ms: Option<i64>,
    pub created_ms: i64,
    bytes_since_index: usize,
    path: PathBuf,
    file: OnceLock<Arc<dyn StorageFile>>,
}

/// Where a batch stands in its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub position: u64,
    pub size_bytes: usize,
    pub base_offset: i64,
    pub last_offset: i64,
    pub max_timestamp: i64,
}

impl Segment {
    pub fn create(dir: &Path, base_offset: i64, now_ms: i64) -> Segment {
        let index = |suffix, bytes| IndexFile::empty(dir.join(file_name(base_offset, suffix)), bytes);
        Segment {
            base_offset,
            size: 0,
            offset_index: OffsetIndex::new(index(".index", OffsetIndex::ENTRY_BYTES), base_offset),
            time_index: TimeIndex::new(index(".timeindex", TimeIndex::ENTRY_BYTES), base_offset),
            newest: None,
            rolling_from_ms: None,
            created_ms: now_ms,
            bytes_since_index: 0,
            path: dir.join(file_name(base_offset, ".log")),
            file: OnceLock::new(),
        }
    }

    /// An existing segment whose indexes are trusted. `active`: it will be appended to.
    pub fn open(storage: &dyn Storage, dir: &Path, base_offset: i64, size: u64, active: bool, now_ms: i64) -> Result<Segment> {
        let mut segment = Segment::create(dir, base_offset, now_ms);
        segment.size = size;
        let index = |path: PathBuf, bytes| match (active, storage.exists(&path)) {
            (_, false) => Ok(IndexFile::empty(path, bytes)),
            (true, true) => IndexFile::load(storage, path, bytes),
            (false, true) => Ok(IndexFile::sealed(path, bytes)),
        };
        segment.offset_index.file = index(segment.offset_index.file.path().to_owned(), OffsetIndex::ENTRY_BYTES)?;
        segment.time_index.file = index(segment.time_index.file.path().to_owned(), TimeIndex::ENTRY_BYTES)?;
        if size > 0 {
            segment.newest = segment.time_index.last(storage);
        }
        Ok(segment)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn file(&self, storage: &dyn Storage) -> Result<&Arc<dyn StorageFile>> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let file = storage.open(&self.path, true).map_err(|e| Error::storage(&self.path, e))?;
        Ok(self.file.get_or_init(|| file))
    }

    pub fn file_suffixes() -> [&'static str; 4] {
        [".log", ".index", ".timeindex", ".txnindex"]
    }

    pub fn append(&mut self, storage: &dyn Storage, batch: &BatchView<'_>, index_interval_bytes: usize) -> Result<u64> {
        let position = self.size;
        self.file(storage)?.write_at(batch.bytes(), position).map_err(|e| Error::storage(&self.path, e))?;
        self.note(storage, batch, position, index_interval_bytes)?;
        Ok(position)
    }

    /// Takes a batch that stands at `position` into the indexes.
    pub fn note(
        &mut self,
        storage: &dyn Storage,
        batch: &BatchView<'_>,
        position: u64,
        index_interval_bytes: usize,
    ) -> Result<()> {
        let (timestamp, last_offset) = (batch.max_timestamp(), batch.last_offset());
        if self.newest.is_none_or(|(newest, _)| timestamp > newest) {
            self.newest = Some((timestamp, last_offset));
        }
        if self.rolling_from_ms.is_none() {
            self.rolling_from_ms = Some(timestamp);
        }
        if self.bytes_since_index > index_interval_bytes {
            self.offset_index.push(storage, last_offset, position)?;
            self.push_newest(storage)?;
            self.bytes_since_index = 0;
        }
        self.bytes_since_index += batch.size_bytes();
        self.size = position + batch.size_bytes() as u64;
        Ok(())
    }

    fn push_newest(&mut self, storage: &dyn Storage) -> Result<()> {
        match self.newest {
            Some((timestamp, offset)) => self.time_index.push_if_newer(storage, timestamp, offset),
            None => Ok(()),
        }
    }

    /// The indexes are complete, with a last entry for the newest timestamp.
    pub fn complete_indexes(&mut self, storage: &dyn Storage, seal: bool) -> Result<()> {
        self.push_newest(storage)?;
        if seal {
            self.offset_index.file.seal(storage)?;
            self.time_index.file.seal(storage)
        } else {
            self.offset_index.file.write_out(storage)?;
            self.time_index.file.write_out(storage)
        }
    }

    pub fn sync(&self, storage: &dyn Storage) -> Result<()> {
        self.file(storage)?.sync_data().map_err(|e| Error::storage(&self.path, e))
    }

    /// Walks batch headers from `from`, which must be a batch's start, until `visit` says stop.
    pub fn walk(&self, storage: &dyn Storage, from: u64, mut visit: impl FnMut(Found) -> bool) -> Result<()> {
        let file = self.file(storage)?;
        let mut buffer = [0; WALK_BYTES];
        let (mut at, mut window, mut filled) = (from, from, 0);
        while at + HEADER_BYTES as u64 <= self.size {
            if at < window || at + HEADER_BYTES as u64 > window + filled as u64 {
                window = at;
                filled = file.read_at(&mut buffer, at).map_err(|e| Error::storage(&self.path, e))?;
            }
            let start = (at - window) as usize;
            let header = buffer[start..filled].first_chunk::<HEADER_BYTES>();
            let size = header.and_then(|h| BatchView::promised_bytes(h));
            let (Some(header), Some(size_bytes)) = (header, size) else {
                return Err(Error::corrupt(&self.path, format!("no batch at position {at}")));
            };
            let batch = BatchView::header_only(header);
            let found = Found {
                position: at,
                size_bytes,
                base_offset: batch.base_offset(),
                last_offset: batch.last_offset(),
                max_timestamp: batch.max_timestamp(),
            };
            if at + size_bytes as u64 > self.size || !visit(found) {
                return Ok(());
            }
            at += size_bytes as u64;
        }
        Ok(())
    }

    /// The batch that holds `offset`, or the first one behind it.
    pub fn find(&self, storage: &dyn Storage, offset: i64) -> Result<Option<Found>> {
        let mut result = None;
        self.walk(storage, self.offset_index.position_before(storage, offset), |found| {
            let hit = found.last_offset >= offset;
            if hit {
                result = Some(found);
            }
            !hit
        })?;
        Ok(result)
    }

    /// The end of the last whole batch that ends at or before `limit`, walking from a batch's start at `from`.
    pub fn boundary_before(&self, storage: &dyn Storage, from: u64, limit: u64) -> Result<u64> {
        if limit >= self.size {
            return Ok(self.size);
        }
        let start = self.offset_index.boundary_before(storage, limit).max(from);
        let mut boundary = start;
        self.walk(storage, start, |found| {
            let end = found.position + found.size_bytes as u64;
            if end <= limit {
                boundary = end;
            }
            end < limit
        })?;
        Ok(boundary)
    }

    /// One whole batch's bytes.
    pub fn read_batch(&self, storage: &dyn Storage, found: &Found) -> Result<Vec<u8>> {
        let mut bytes = vec![0; found.size_bytes];
        let read = self.file(storage)?.read_at(&mut bytes, found.position).map_err(|e| Error::storage(&self.path, e))?;
        if read < bytes.len() {
            return Err(Error::corrupt(&self.path, format!("batch at {} is cut short", found.position)));
        }
        Ok(bytes)
    }

    /// The offset behind the last batch, found from the end of the index.
    pub fn next_offset(&self, storage: &dyn Storage) -> Result<i64> {
        let mut next = self.base_offset;
        self.walk(storage, self.offset_index.last_position(storage), |found| {
            next = found.last_offset + 1;
            true
        })?;
        Ok(next)
    }

    /// Cuts the segment at `position`, which is where a batch for `offset` would start.
    pub fn truncate(&mut self, storage: &dyn Storage, position: u64, offset: i64) -> Result<()> {
        self.file(storage)?.truncate(position).map_err(|e| Error::storage(&self.path, e))?;
        self.offset_index.truncate_to_position(storage, position)?;
        self.time_index.truncate_to_offset(storage, offset)?;
        self.size = position;
        self.newest = self.time_index.last(storage);
        let from = self.offset_index.last_position(storage);
        let mut newest = self.newest;
        self.walk(storage, from, |found| {
            if newest.is_none_or(|(timestamp, _)| found.max_timestamp > timestamp) {
                newest = Some((found.max_timestamp, found.last_offset));
            }
            true
        })?;
        self.newest = newest;
        self.bytes_since_index = (position - from) as usize;
        if position == 0 {
            self.rolling_from_ms = None;
        }
        Ok(())
    }
}
