//! `.txnindex`: the aborted transactions of a segment, 34 bytes each, in order of their markers.
//!
//! ```text
//!   version i16 = 0 | producer_id i64 | first_offset i64 | last_offset i64 (the marker's) | last_stable_offset i64
//! ```

use std::path::Path;

use crate::storage::Storage;
use crate::{Error, Result};

pub const ENTRY_BYTES: usize = 34;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    pub producer_id: i64,
    pub first_offset: i64,
    pub last_offset: i64,
    pub last_stable_offset: i64,
}

impl AbortedTransaction {
    fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut out = [0; ENTRY_BYTES];
        let fields = [self.producer_id, self.first_offset, self.last_offset, self.last_stable_offset];
        for (field, place) in fields.iter().zip(out[2..].chunks_exact_mut(8)) {
            place.copy_from_slice(&field.to_be_bytes());
        }
        out
    }

    fn decode(entry: &[u8]) -> AbortedTransaction {
        let field = |at: usize| entry[at..].first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes));
        AbortedTransaction {
            producer_id: field(2),
            first_offset: field(10),
            last_offset: field(18),
            last_stable_offset: field(26),
        }
    }
}

/// All entries of a segment; none if it has no such file.
pub fn read(storage: &dyn Storage, path: &Path) -> Result<Vec<AbortedTransaction>> {
    let bytes = match storage.read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::storage(path, error)),
    };
    parse(&bytes).ok_or_else(|| {
        Error::corrupt(path, "not a whole number of version 0 entries; it is made anew if the broker starts unclean")
    })
}

/// As `read`, of a file that may be written at this moment: whole entries only.
pub fn read_so_far(storage: &dyn Storage, path: &Path) -> Result<Vec<AbortedTransaction>> {
    let bytes = match storage.read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::storage(path, error)),
    };
    let whole = bytes.len() / ENTRY_BYTES * ENTRY_BYTES;
    parse(&bytes[..whole]).ok_or_else(|| Error::corrupt(path, "an entry is not of version 0"))
}

/// A new file, synced.
pub fn write(storage: &dyn Storage, path: &Path, entries: &[AbortedTransaction]) -> Result<()> {
    let bytes: Vec<u8> = entries.iter().flat_map(AbortedTransaction::encode).collect();
    let write = || {
        let file = storage.open(path, true)?;
        file.truncate(0)?;
        file.write_at(&bytes, 0)?;
        file.sync_data()
    };
    write().map_err(|e| Error::storage(path, e))
}

/// The entries of a file, None if it is not one.
pub fn parse(bytes: &[u8]) -> Option<Vec<AbortedTransaction>> {
    let entries = bytes.chunks_exact(ENTRY_BYTES);
    if !entries.remainder().is_empty() {
        return None;
    }
    entries.map(|entry| (entry[..2] == [0, 0]).then(|| AbortedTransaction::decode(entry))).collect()
}

pub fn append(storage: &dyn Storage, path: &Path, aborted: &AbortedTransaction) -> Result<()> {
    let write = || {
        let file = storage.open(path, true)?;
        let end = file.len()? / ENTRY_BYTES as u64 * ENTRY_BYTES as u64;
        file.write_at(&aborted.encode(), end)
    };
    write().map_err(|e| Error::storage(path, e))
}

/// Drops the transactions whose marker stands at or behind `end`, for good: other batches will stand there.
pub fn truncate(storage: &dyn Storage, path: &Path, end: i64) -> Result<()> {
    let entries = read(storage, path)?;
    let kept = entries.iter().take_while(|aborted| aborted.last_offset < end).count();
    if kept == entries.len() {
        return Ok(());
    }
    let cut = || {
        let file = storage.open(path, false)?;
        file.truncate((kept * ENTRY_BYTES) as u64)?;
        file.sync_data()
    };
    cut().map_err(|e| Error::storage(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_written_and_a_torn_or_newer_file_is_not_one() {
        let aborted = AbortedTransaction { producer_id: 9, first_offset: 3, last_offset: 8, last_stable_offset: 5 };
        let bytes = aborted.encode();
        assert_eq!(parse(&bytes), Some(vec![aborted]));
        assert_eq!(parse(&bytes[..33]), None);
        let mut newer = bytes;
        newer[1] = 1;
        assert_eq!(parse(&newer), None);
    }
}
