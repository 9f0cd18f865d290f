//! The two sparse indexes of a segment: `.index` (offset to position) and `.timeindex` (timestamp to offset).
//!
//! ```text
//!   .index      8 bytes an entry:  relative offset of a batch's last record i32, position of its first byte i32
//!   .timeindex 12 bytes an entry:  timestamp i64, relative offset of the last record of the batch that has it i32
//! ```
//!
//! Entries of the active segment live in memory in the file's own form and reach the file in portions; a crash loses at most
//! those, and recovery makes them anew. A sealed segment's file is mapped when it is first asked.
//!
//! INVARIANT: keys rise strictly; what does not rise is not added.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use memmap2::Mmap;

use crate::storage::Storage;
use crate::{Error, Result};

/// Pending entries are written once they amount to this.
const PORTION_BYTES: usize = 4096;

enum Content {
    /// Whole content in memory, of which so many bytes are in the file.
    Memory { bytes: Vec<u8>, written_bytes: usize },
    /// In the file only, mapped on first use.
    Sealed(OnceLock<SealedBytes>),
}

enum SealedBytes {
    Mapped(Mmap),
    Read(Vec<u8>),
}

impl SealedBytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            SealedBytes::Mapped(map) => map,
            SealedBytes::Read(bytes) => bytes,
        }
    }
}

/// The part that both indexes share: entries of a fixed size in one file.
pub struct IndexFile {
    path: PathBuf,
    entry_bytes: usize,
    content: Content,
    /// The file is there and has what was written of the content, and no more.
    is_exact: bool,
}

impl IndexFile {
    pub fn empty(path: PathBuf, entry_bytes: usize) -> IndexFile {
        IndexFile {
            path,
            entry_bytes,
            content: Content::Memory { bytes: Vec::new(), written_bytes: 0 },
            is_exact: false,
        }
    }

    /// An existing file as that of an active segment: all of it in memory. Cut to whole entries.
    pub fn load(storage: &dyn Storage, path: PathBuf, entry_bytes: usize) -> Result<IndexFile> {
        let mut bytes = storage.read(&path).map_err(|e| Error::storage(&path, e))?;
        let in_file = bytes.len();
        bytes.truncate(in_file / entry_bytes * entry_bytes);
        let written_bytes = bytes.len();
        Ok(IndexFile {
            path,
            entry_bytes,
            content: Content::Memory { bytes, written_bytes },
            is_exact: in_file == written_bytes,
        })
    }

    pub fn sealed(path: PathBuf, entry_bytes: usize) -> IndexFile {
        IndexFile { path, entry_bytes, content: Content::Sealed(OnceLock::new()), is_exact: false }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn bytes(&self, storage: &dyn Storage) -> &[u8] {
        match &self.content {
            Content::Memory { bytes, .. } => bytes,
            Content::Sealed(cell) => cell.get_or_init(|| map_or_read(storage, &self.path)).as_slice(),
        }
    }

    pub fn entry_count(&self, storage: &dyn Storage) -> usize {
        self.bytes(storage).len() / self.entry_bytes
    }

    fn entry<'a>(&'a self, storage: &dyn Storage, at: usize) -> Option<&'a [u8]> {
        self.bytes(storage).get(at * self.entry_bytes..(at + 1) * self.entry_bytes)
    }

    /// The last entry for which `below` holds; it must hold for a prefix of the entries.
    fn last_where<'a>(&'a self, storage: &dyn Storage, below: impl Fn(&[u8]) -> bool) -> Option<(usize, &'a [u8])> {
        let bytes = self.bytes(storage);
        let (mut low, mut high) = (0, bytes.len() / self.entry_bytes);
        while low < high {
            let middle = (low + high) / 2;
            let at = middle * self.entry_bytes;
            if below(&bytes[at..at + self.entry_bytes]) { low = middle + 1 } else { high = middle }
        }
        let at = low.checked_sub(1)?;
        Some((at, &bytes[at * self.entry_bytes..(at + 1) * self.entry_bytes]))
    }

    fn push(&mut self, storage: &dyn Storage, entry: &[u8]) -> Result<()> {
        let Content::Memory { bytes, written_bytes } = &mut self.content else {
            return Err(Error::corrupt(&self.path, "an entry for a sealed index"));
        };
        bytes.extend_from_slice(entry);
        if bytes.len() - *written_bytes < PORTION_BYTES {
            return Ok(());
        }
        // Without room it stays in memory, and goes with the next portion.
        self.write_pending(storage).or_else(|error| if error.is_no_space() { Ok(()) } else { Err(error) })
    }

    /// Brings the file up to what is in memory.
    pub fn write_pending(&mut self, storage: &dyn Storage) -> Result<()> {
        if let Content::Memory { bytes, written_bytes } = &mut self.content
            && *written_bytes < bytes.len()
        {
            let write = || {
                let file = storage.open(&self.path, true)?;
                file.write_at(&bytes[*written_bytes..], *written_bytes as u64)?;
                file.truncate(bytes.len() as u64)
            };
            write().map_err(|e| Error::storage(&self.path, e))?;
            *written_bytes = bytes.len();
        }
        Ok(())
    }

    /// Keeps the first `count` entries, in memory and in the file.
    pub fn truncate(&mut self, storage: &dyn Storage, count: usize) -> Result<()> {
        self.unseal(storage);
        let Content::Memory { bytes, written_bytes } = &mut self.content else { return Ok(()) };
        let len = count * self.entry_bytes;
        bytes.truncate(len);
        if len < *written_bytes {
            let cut = || storage.open(&self.path, true)?.truncate(len as u64);
            cut().map_err(|e| Error::storage(&self.path, e))?;
            *written_bytes = len;
        }
        Ok(())
    }

    /// Empties the file of an index that is made anew; there need not be one.
    pub fn truncate_file(&mut self, storage: &dyn Storage) -> Result<()> {
        let cut = || storage.open(&self.path, true)?.truncate(0);
        cut().map_err(|e| Error::storage(&self.path, e))
    }

    /// The segment is complete, and so is the file. It is made even if it is empty, as Kafka expects one.
    pub fn seal(&mut self, storage: &dyn Storage) -> Result<()> {
        self.write_pending(storage)?;
        storage.open(&self.path, true).map_err(|e| Error::storage(&self.path, e))?;
        self.content = Content::Sealed(OnceLock::new());
        Ok(())
    }

    pub fn is_sealed(&self) -> bool {
        matches!(self.content, Content::Sealed(_))
    }

    /// The segment is appended to again: all of the index is in memory.
    pub fn unseal(&mut self, storage: &dyn Storage) {
        if self.is_sealed() {
            let mut bytes = self.bytes(storage).to_vec();
            bytes.truncate(bytes.len() / self.entry_bytes * self.entry_bytes);
            self.content = Content::Memory { written_bytes: bytes.len(), bytes };
        }
    }

    /// As `seal`, but the segment stays active, and nothing is synced.
    pub fn write_out(&mut self, storage: &dyn Storage) -> Result<()> {
        self.write_pending(storage)?;
        if let Content::Memory { bytes, .. } = &self.content
            && !self.is_exact
        {
            let trim = || storage.open(&self.path, true)?.truncate(bytes.len() as u64);
            trim().map_err(|e| Error::storage(&self.path, e))?;
            self.is_exact = true;
        }
        Ok(())
    }

    /// Whole entries whose keys (the first `key_bytes` of each, a signed number) rise at the end. Enough to tell a file that
    /// lost its end in a power failure, which is left short or filled with zeros; not a proof that all of it is sound.
    fn ends_well(&self, storage: &dyn Storage, key_bytes: usize) -> bool {
        let bytes = self.bytes(storage);
        let key = |entry: &[u8]| match key_bytes {
            8 => int64_at(entry, 0),
            _ => i64::from(int32_at(entry, 0)),
        };
        let mut last_two = bytes.rchunks_exact(self.entry_bytes).take(2).map(key);
        let rises = match (last_two.next(), last_two.next()) {
            (Some(last), Some(before)) => before < last,
            (Some(last), None) => last >= 0,
            (None, _) => true,
        };
        rises && bytes.len().is_multiple_of(self.entry_bytes)
    }
}

fn map_or_read(storage: &dyn Storage, path: &Path) -> SealedBytes {
    // An index that cannot be read is as good as an empty one: the scan starts at the segment's first byte.
    if let Ok(file) = File::open(path) {
        // SAFETY: a sealed index is never written or cut again while its segment is open; only unlinked, which keeps the
        // mapping valid.
        if let Ok(map) = unsafe { Mmap::map(&file) } {
            return SealedBytes::Mapped(map);
        }
    }
    SealedBytes::Read(storage.read(path).unwrap_or_default())
}

fn int32_at(entry: &[u8], at: usize) -> i32 {
    entry[at..].first_chunk().map_or(0, |bytes| i32::from_be_bytes(*bytes))
}

fn int64_at(entry: &[u8], at: usize) -> i64 {
    entry[at..].first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes))
}

/// A batch's start as an index knows it. An index file may be rotten, so whoever walks from there first compares the batch's
/// last offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint {
    pub position: u64,
    pub last_offset: Option<i64>,
}

impl Hint {
    /// The segment's first byte, of which nothing need be known.
    pub const START: Hint = Hint { position: 0, last_offset: None };
}

pub struct OffsetIndex {
    pub file: IndexFile,
    base_offset: i64,
}

impl OffsetIndex {
    pub const ENTRY_BYTES: usize = 8;

    pub fn new(file: IndexFile, base_offset: i64) -> OffsetIndex {
        OffsetIndex { file, base_offset }
    }

    /// What does not fit an entry (a file beyond 2 GiB, made elsewhere) is left out: the index is sparse anyway.
    pub fn push(&mut self, storage: &dyn Storage, last_offset: i64, position: u64) -> Result<()> {
        let relative = last_offset.wrapping_sub(self.base_offset);
        let (Ok(relative @ 0..), Ok(position)) = (i32::try_from(relative), i32::try_from(position)) else {
            return Ok(());
        };
        let mut entry = [0; Self::ENTRY_BYTES];
        entry[..4].copy_from_slice(&relative.to_be_bytes());
        entry[4..].copy_from_slice(&position.to_be_bytes());
        self.file.push(storage, &entry)
    }

    fn hint(&self, entry: &[u8]) -> Hint {
        let last_offset = self.base_offset.wrapping_add(i64::from(int32_at(entry, 0)));
        Hint { position: u64::from(int32_at(entry, 4) as u32), last_offset: Some(last_offset) }
    }

    /// Where to start looking for `offset`.
    pub fn hint_for(&self, storage: &dyn Storage, offset: i64) -> Hint {
        let relative = offset.saturating_sub(self.base_offset);
        // An entry's batch ends with its offset, so an equal one may still hold what is looked for, or more.
        let found = self.file.last_where(storage, |entry| i64::from(int32_at(entry, 0)) <= relative);
        found.map_or(Hint::START, |(_, entry)| self.hint(entry))
    }

    /// The last batch start at or below `position` that the index knows.
    pub fn hint_at(&self, storage: &dyn Storage, position: u64) -> Hint {
        let found = self.file.last_where(storage, |entry| u64::from(int32_at(entry, 4) as u32) <= position);
        found.map_or(Hint::START, |(_, entry)| self.hint(entry))
    }

    pub fn last(&self, storage: &dyn Storage) -> Hint {
        let count = self.file.entry_count(storage);
        count.checked_sub(1).and_then(|at| self.file.entry(storage, at)).map_or(Hint::START, |entry| self.hint(entry))
    }

    pub fn ends_well(&self, storage: &dyn Storage) -> bool {
        self.file.ends_well(storage, 4)
    }

    /// Drops entries of batches that start at or behind `position`.
    pub fn truncate_to_position(&mut self, storage: &dyn Storage, position: u64) -> Result<()> {
        let kept = self.file.last_where(storage, |entry| u64::from(int32_at(entry, 4) as u32) < position);
        let kept = kept.map_or(0, |(at, _)| at + 1);
        self.file.truncate(storage, kept)
    }
}

pub struct TimeIndex {
    pub file: IndexFile,
    base_offset: i64,
}

impl TimeIndex {
    pub const ENTRY_BYTES: usize = 12;

    pub fn new(file: IndexFile, base_offset: i64) -> TimeIndex {
        TimeIndex { file, base_offset }
    }

    /// The index of a sealed segment, wherever that is open.
    pub fn sealed_in(dir: &Path, base_offset: i64) -> TimeIndex {
        let path = dir.join(crate::names::file_name(base_offset, ".timeindex"));
        TimeIndex::new(IndexFile::sealed(path, Self::ENTRY_BYTES), base_offset)
    }

    /// Timestamp and offset of the last entry.
    pub fn last(&self, storage: &dyn Storage) -> Option<(i64, i64)> {
        let at = self.file.entry_count(storage).checked_sub(1)?;
        let entry = self.file.entry(storage, at)?;
        Some((int64_at(entry, 0), self.base_offset.wrapping_add(i64::from(int32_at(entry, 8)))))
    }

    /// As `last`; an index that is not mapped yet is only read at its end.
    pub fn last_unmapped(&self, storage: &dyn Storage) -> Option<(i64, i64)> {
        let Content::Sealed(cell) = &self.file.content else { return self.last(storage) };
        if cell.get().is_some() {
            return self.last(storage);
        }
        let file = storage.open(&self.file.path, false).ok()?;
        let at = (file.len().ok()? / Self::ENTRY_BYTES as u64).checked_sub(1)? * Self::ENTRY_BYTES as u64;
        let mut entry = [0; Self::ENTRY_BYTES];
        let read = file.read_at(&mut entry, at).ok()?;
        (read == entry.len())
            .then(|| (int64_at(&entry, 0), self.base_offset.wrapping_add(i64::from(int32_at(&entry, 8)))))
    }

    /// Adds an entry if the timestamp has grown.
    pub fn push_if_newer(&mut self, storage: &dyn Storage, timestamp: i64, offset: i64) -> Result<()> {
        if timestamp < 0 || self.last(storage).is_some_and(|(last, at)| timestamp <= last || offset <= at) {
            return Ok(());
        }
        let Ok(relative) = i32::try_from(offset.wrapping_sub(self.base_offset)) else { return Ok(()) };
        let mut entry = [0; Self::ENTRY_BYTES];
        entry[..8].copy_from_slice(&timestamp.to_be_bytes());
        entry[8..].copy_from_slice(&relative.to_be_bytes());
        self.file.push(storage, &entry)
    }

    /// An offset at or before the first record with a timestamp of at least `timestamp`.
    pub fn offset_before(&self, storage: &dyn Storage, timestamp: i64) -> i64 {
        let found = self.file.last_where(storage, |entry| int64_at(entry, 0) < timestamp);
        found.map_or(self.base_offset, |(_, entry)| self.base_offset.wrapping_add(i64::from(int32_at(entry, 8))))
    }

    pub fn ends_well(&self, storage: &dyn Storage) -> bool {
        self.file.ends_well(storage, 8)
    }

    /// Drops entries for offsets at or behind `offset`.
    pub fn truncate_to_offset(&mut self, storage: &dyn Storage, offset: i64) -> Result<()> {
        let base = self.base_offset;
        let kept = self.file.last_where(storage, |entry| base.wrapping_add(i64::from(int32_at(entry, 8))) < offset);
        let kept = kept.map_or(0, |(at, _)| at + 1);
        self.file.truncate(storage, kept)
    }
}
