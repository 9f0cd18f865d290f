//! One segment: batches back to back in a `.log`, with an index by offset and one by time.
//!
//! INVARIANT: `size` is where the next batch goes; what a file may hold beyond it (preallocation) is never read.
//! INVARIANT: an index only says where to start walking; what it says is compared with the batch that stands there.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use record::BatchView;
use record::batch::{HEADER_BYTES, MAGIC};

use crate::handles::Handle;
use crate::index::{Hint, IndexFile, OffsetIndex, TimeIndex};
use crate::names::file_name;
use crate::storage::{Storage, StorageFile};
use crate::{Error, Result};

/// Headers are read this much at a time when a segment is walked.
const WALK_BYTES: usize = 8 * 1024;
/// Room is set aside from this size on, and so much at the most.
const RESERVES_FROM_BYTES: u64 = 1 << 20;
const RESERVED_BYTES_MAX: u64 = 16 << 20;

pub struct Segment {
    pub base_offset: i64,
    pub size: u64,
    pub offset_index: OffsetIndex,
    pub time_index: TimeIndex,
    /// When the first batch was written, by its own timestamp: what `segment.ms` counts from.
    pub rolling_from_ms: Option<i64>,
    pub created_ms: i64,
    /// Newest timestamp so far and the last offset of its batch; None in a sealed segment means that the index knows.
    newest: Option<(i64, i64)>,
    bytes_since_index: usize,
    /// Where the room ends that the file system has set aside.
    reserved: u64,
    has_file: bool,
    handle: Handle,
}

/// One segment's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFiles {
    pub base_offset: i64,
    pub size: u64,
    pub has_offset_index: bool,
    pub has_time_index: bool,
    pub has_txn_index: bool,
}

/// One segment as a plan sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFacts {
    pub base_offset: i64,
    /// Where the next segment starts, or the log ends.
    pub end_offset: i64,
    pub size: u64,
    /// None where only the segment's index knows.
    pub newest_ms: Option<i64>,
    pub created_ms: i64,
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

impl Found {
    pub fn end(&self) -> u64 {
        self.position + self.size_bytes as u64
    }
}

impl Segment {
    /// A segment of which nothing is known but its name.
    pub fn blank(path: PathBuf, base_offset: i64, now_ms: i64) -> Segment {
        // A segment in the making has an ending behind all of its names.
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once(".log"));
        let ending = name.map_or("", |(_, ending)| ending);
        let index =
            |suffix: &str, bytes| IndexFile::empty(path.with_file_name(file_name(base_offset, suffix) + ending), bytes);
        Segment {
            base_offset,
            size: 0,
            offset_index: OffsetIndex::new(index(".index", OffsetIndex::ENTRY_BYTES), base_offset),
            time_index: TimeIndex::new(index(".timeindex", TimeIndex::ENTRY_BYTES), base_offset),
            newest: None,
            rolling_from_ms: None,
            created_ms: now_ms,
            bytes_since_index: 0,
            reserved: 0,
            has_file: true,
            handle: Handle::new(path),
        }
    }

    /// The only segment of a log that nobody has written to. A log without any file starts and ends at 0, so that this one
    /// needs none before its first batch.
    pub fn unwritten(dir: &Path, now_ms: i64) -> Segment {
        Segment { has_file: false, ..Segment::blank(dir.join(file_name(0, ".log")), 0, now_ms) }
    }

    /// A new segment. Its file is made at once: its name is all that knows where an empty log goes on.
    pub fn create(storage: &dyn Storage, dir: &Path, base_offset: i64, now_ms: i64) -> Result<Segment> {
        let path = dir.join(file_name(base_offset, ".log"));
        storage.open(&path, true).map_err(|e| Error::storage(&path, e))?;
        Ok(Segment::blank(path, base_offset, now_ms))
    }

    /// An existing segment. `active`: it will be appended to. A missing index is an empty one; see `has_both_indexes`.
    pub fn open(storage: &dyn Storage, dir: &Path, files: &SegmentFiles, active: bool, now_ms: i64) -> Result<Segment> {
        let base_offset = files.base_offset;
        let mut segment = Segment::blank(dir.join(file_name(base_offset, ".log")), base_offset, now_ms);
        segment.size = files.size;
        let index = |path: PathBuf, bytes, there| match (active, there) {
            (_, false) => Ok(IndexFile::empty(path, bytes)),
            (true, true) => IndexFile::load(storage, path, bytes),
            (false, true) => Ok(IndexFile::sealed(path, bytes)),
        };
        let path = segment.offset_index.file.path().to_owned();
        segment.offset_index.file = index(path, OffsetIndex::ENTRY_BYTES, files.has_offset_index)?;
        let path = segment.time_index.file.path().to_owned();
        segment.time_index.file = index(path, TimeIndex::ENTRY_BYTES, files.has_time_index)?;
        Ok(segment)
    }

    pub fn path(&self) -> &Path {
        self.handle.path()
    }

    pub fn file(&self, storage: &dyn Storage) -> Result<Arc<dyn StorageFile>> {
        self.handle.get(storage)
    }

    /// False before the first batch of an `unwritten` one; then there is no index either.
    pub fn has_file(&self) -> bool {
        self.has_file
    }

    pub fn file_suffixes() -> [&'static str; 4] {
        [".log", ".index", ".timeindex", ".txnindex"]
    }

    /// Newest timestamp and the last offset of its batch, as far as it is known.
    pub fn newest(&self, storage: &dyn Storage) -> Option<(i64, i64)> {
        self.newest.or_else(|| self.time_index.last(storage)).filter(|_| self.size > 0)
    }

    /// As far as it is in memory.
    pub fn newest_known(&self) -> Option<(i64, i64)> {
        self.newest.filter(|_| self.size > 0)
    }

    /// As `newest`, without mapping the index of a segment that nobody may ever read again. None if no record has a time.
    pub fn newest_unmapped(&self, storage: &dyn Storage) -> Option<(i64, i64)> {
        let newest = self.newest.or_else(|| self.time_index.last_unmapped(storage)).filter(|_| self.size > 0);
        newest.filter(|(timestamp, _)| *timestamp >= 0)
    }

    /// Batches one behind the other, by one write: all of them are in the segment, or none.
    pub fn append(&mut self, storage: &dyn Storage, run: &[BatchView<'_>], index_interval_bytes: usize) -> Result<()> {
        let position = self.size;
        self.handle.pin();
        if !self.has_file {
            self.handle.make(storage)?;
            self.has_file = true;
        }
        let file = self.file(storage)?;
        self.reserve(&*file, position + run.iter().map(|batch| batch.size_bytes() as u64).sum::<u64>());
        let failed = |error| Error::storage(self.path(), error);
        let written = match run {
            [batch] => file.write_at(batch.bytes(), position),
            _ => {
                let mut parts: Vec<_> = run.iter().map(|batch| IoSlice::new(batch.bytes())).collect();
                file.write_parts_at(&mut parts, position)
            }
        };
        if let Err(error) = written.map_err(failed) {
            if error.is_no_space() {
                file.truncate(position).map_err(failed)?;
            }
            return Err(error);
        }
        run.iter().try_for_each(|batch| self.note(storage, batch, self.size, index_interval_bytes))
    }

    /// Finding a place on the disk for each page as it is written costs a quarter of an append. So a segment that grows has
    /// room set aside, never more than a part of what is in it, and gives back what is left when it is sealed or closed.
    fn reserve(&mut self, file: &dyn StorageFile, end: u64) {
        if end > self.reserved && end >= RESERVES_FROM_BYTES {
            let ahead = (end / 4).min(RESERVED_BYTES_MAX);
            file.reserve(end, ahead);
            self.reserved = end + ahead;
        }
    }

    fn give_back_reserved(&mut self, storage: &dyn Storage) {
        if std::mem::take(&mut self.reserved) > self.size
            && let Ok(file) = self.file(storage)
        {
            let _ = file.truncate(self.size);
        }
    }

    /// Takes a batch that stands at `position` into the indexes. A header is enough of it.
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

    /// The active segment's indexes are complete and trimmed, with a last entry for the newest timestamp.
    pub fn write_indexes(&mut self, storage: &dyn Storage) -> Result<()> {
        if !self.has_file {
            return Ok(());
        }
        self.give_back_reserved(storage);
        self.push_newest(storage)?;
        self.offset_index.file.write_out(storage)?;
        self.time_index.file.write_out(storage)
    }

    /// The segment is complete, and so are its indexes. Syncing all of it is the log's part.
    pub fn seal(&mut self, storage: &dyn Storage) -> Result<()> {
        self.give_back_reserved(storage);
        self.push_newest(storage)?;
        self.offset_index.file.seal(storage)?;
        self.time_index.file.seal(storage)
    }

    /// The segment is appended to again, since what followed it is gone.
    pub fn unseal(&mut self, storage: &dyn Storage) {
        self.newest = self.newest(storage);
        self.offset_index.file.unseal(storage);
        self.time_index.file.unseal(storage);
    }

    /// Synced and complete: its file need not stay open.
    pub fn release_file(&self) {
        self.handle.unpin();
    }

    /// Whether the indexes of a sealed segment look whole. Only a power failure leaves them otherwise.
    pub fn indexes_look_whole(&self, storage: &dyn Storage) -> bool {
        let timed = self.size == 0 || self.time_index.last(storage).is_some_and(|(timestamp, _)| timestamp >= 0);
        timed && self.offset_index.ends_well(storage) && self.time_index.ends_well(storage)
    }

    /// Makes both indexes from the batches. The segment stays sealed if it was.
    pub fn rebuild_indexes(&mut self, storage: &dyn Storage, index_interval_bytes: usize, seal: bool) -> Result<()> {
        let mut fresh = Segment::blank(self.path().to_owned(), self.base_offset, self.created_ms);
        fresh.offset_index.file.truncate_file(storage)?;
        fresh.time_index.file.truncate_file(storage)?;
        let mut outcome = Ok(());
        let walked = self.walk(storage, Hint::START, |found, header| {
            outcome = fresh.note(storage, header, found.position, index_interval_bytes);
            outcome.is_ok()
        });
        outcome?;
        match walked {
            // Rot in the middle is told to whoever reads it; what stands before it is found.
            Ok(_) | Err(Error::Corrupt { .. }) => {}
            Err(error) => return Err(error),
        }
        if seal {
            fresh.seal(storage)?;
        }
        *self = Segment { size: self.size, ..fresh };
        Ok(())
    }

    /// Walks batch headers from `hint` until `visit` says stop or no whole batch is left; gives where it ended. A hint
    /// that does not fit the batch at its position is not taken.
    pub fn walk(
        &self,
        storage: &dyn Storage,
        hint: Hint,
        mut visit: impl FnMut(&Found, &BatchView<'_>) -> bool,
    ) -> Result<u64> {
        if self.size < HEADER_BYTES as u64 {
            return Ok(0);
        }
        let file = self.file(storage)?;
        let mut buffer = [0; WALK_BYTES];
        let mut unproven = hint.last_offset;
        let (mut at, mut window, mut filled) = (hint.position, 0, 0);
        loop {
            let in_reach = at.checked_add(HEADER_BYTES as u64).is_some_and(|end| end <= self.size);
            if in_reach && (at < window || at + HEADER_BYTES as u64 > window + filled as u64) {
                window = at;
                filled = file.read_at(&mut buffer, at).map_err(|e| Error::storage(self.path(), e))?;
            }
            let header =
                if in_reach { buffer[(at - window) as usize..filled].first_chunk::<HEADER_BYTES>() } else { None };
            let batch = header.map(BatchView::header_only).filter(|batch| batch.magic() == MAGIC);
            let size_bytes = header.and_then(|header| BatchView::promised_bytes(header));
            if let Some(last_offset) = unproven.take()
                && batch.is_none_or(|batch| size_bytes.is_none() || batch.last_offset() != last_offset)
            {
                at = 0;
                continue;
            }
            if !in_reach {
                return Ok(at);
            }
            let (Some(batch), Some(size_bytes)) = (batch, size_bytes) else {
                return Err(Error::corrupt(self.path(), format!("no batch of format v2 at position {at}")));
            };
            let found = Found {
                position: at,
                size_bytes,
                base_offset: batch.base_offset(),
                last_offset: batch.last_offset(),
                max_timestamp: batch.max_timestamp(),
            };
            if found.end() > self.size || !visit(&found, &batch) {
                return Ok(at);
            }
            at = found.end();
        }
    }

    /// The batch that holds `offset`, or the first one behind it.
    pub fn find(&self, storage: &dyn Storage, offset: i64) -> Result<Option<Found>> {
        let mut result = None;
        self.walk(storage, self.offset_index.hint_for(storage, offset), |found, _| {
            let hit = found.last_offset >= offset;
            if hit {
                result = Some(*found);
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
        let hint = self.offset_index.hint_at(storage, limit);
        let hint = if hint.position > from { hint } else { Hint { position: from, last_offset: None } };
        let mut boundary = from;
        self.walk(storage, hint, |found, _| {
            if found.position <= limit {
                boundary = boundary.max(found.position);
            }
            if found.end() <= limit {
                boundary = boundary.max(found.end());
            }
            found.end() < limit
        })?;
        Ok(boundary)
    }

    /// One whole batch's bytes.
    pub fn read_batch(&self, storage: &dyn Storage, found: &Found) -> Result<Vec<u8>> {
        let mut bytes = vec![0; found.size_bytes];
        let read =
            self.file(storage)?.read_at(&mut bytes, found.position).map_err(|e| Error::storage(self.path(), e))?;
        if read < bytes.len() {
            return Err(Error::corrupt(self.path(), format!("batch at {} is cut short", found.position)));
        }
        Ok(bytes)
    }

    /// Takes up a segment whose indexes are trusted where they were left: the offset behind its last batch. None if its end
    /// is not where a batch ends, so that it must be scanned.
    pub fn resume(&mut self, storage: &dyn Storage) -> Result<Option<i64>> {
        let (mut next, mut newest) = (self.base_offset, self.time_index.last(storage));
        let (mut started_at, mut sound) = (None, true);
        let walked = self.walk(storage, self.offset_index.last(storage), |found, _| {
            started_at.get_or_insert(found.position);
            sound = found.base_offset >= self.base_offset && found.last_offset >= next.max(found.base_offset);
            next = found.last_offset.saturating_add(1);
            if newest.is_none_or(|(timestamp, _)| found.max_timestamp > timestamp) {
                newest = Some((found.max_timestamp, found.last_offset));
            }
            sound
        });
        if !sound || !walked.is_ok_and(|end| end == self.size) {
            return Ok(None);
        }
        self.newest = newest;
        self.bytes_since_index = (self.size - started_at.unwrap_or(self.size)) as usize;
        self.rolling_from_ms = self.first_timestamp(storage)?;
        Ok(Some(next))
    }

    fn first_timestamp(&self, storage: &dyn Storage) -> Result<Option<i64>> {
        let mut first = None;
        self.walk(storage, Hint::START, |found, _| {
            first = Some(found.max_timestamp);
            false
        })?;
        Ok(first)
    }

    /// Cuts the segment at `position`, which is where a batch for `offset` would start. The cut is on the disk when this
    /// returns: what is appended now must not meet what was cut after a power failure.
    pub fn truncate(&mut self, storage: &dyn Storage, position: u64, offset: i64) -> Result<()> {
        self.unseal(storage);
        let file = self.file(storage)?;
        self.handle.pin();
        file.truncate(position).and_then(|()| file.sync_data()).map_err(|e| Error::storage(self.path(), e))?;
        self.offset_index.truncate_to_position(storage, position)?;
        self.time_index.truncate_to_offset(storage, offset)?;
        self.size = position;
        let mut newest = self.time_index.last(storage);
        let mut from = None;
        self.walk(storage, self.offset_index.last(storage), |found, _| {
            from.get_or_insert(found.position);
            if newest.is_none_or(|(timestamp, _)| found.max_timestamp > timestamp) {
                newest = Some((found.max_timestamp, found.last_offset));
            }
            true
        })?;
        self.newest = newest;
        self.bytes_since_index = (position - from.unwrap_or(position)) as usize;
        if position == 0 {
            self.rolling_from_ms = None;
        }
        Ok(())
    }
}
