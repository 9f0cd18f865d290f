//! A sealed segment's batches in order, read in large pieces. Each is checked before anybody sees it: a batch that does not
//! match its CRC is never passed on under a new one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use record::BatchView;
use record::batch::{HEADER_BYTES, MAGIC};

use crate::segment::SegmentFacts;
use crate::storage::{Storage, StorageFile};
use crate::{Error, Result};

pub struct BatchReader<'a> {
    path: PathBuf,
    file: Arc<dyn StorageFile>,
    size: u64,
    buffer: &'a mut Vec<u8>,
    piece_bytes: usize,
    /// Where the buffer's first byte stands, and how far it is filled.
    window: u64,
    filled: usize,
    at: u64,
    next_offset: i64,
    end_offset: i64,
}

impl<'a> BatchReader<'a> {
    pub fn open(
        storage: &dyn Storage,
        path: &Path,
        facts: &SegmentFacts,
        buffer: &'a mut Vec<u8>,
        piece_bytes: usize,
    ) -> Result<BatchReader<'a>> {
        let file = storage.open(path, false).map_err(|e| Error::storage(path, e))?;
        let piece_bytes = piece_bytes.max(4096);
        Ok(BatchReader {
            path: path.to_owned(),
            file,
            size: facts.size,
            buffer,
            piece_bytes,
            window: 0,
            filled: 0,
            at: 0,
            next_offset: facts.base_offset,
            end_offset: facts.end_offset,
        })
    }

    fn corrupt(&self, why: &str, position: u64) -> Error {
        Error::corrupt(&self.path, format!("{why}, at position {position}"))
    }

    /// Goes on where another reader has come to.
    pub fn resume(&mut self, position: u64, next_offset: i64) {
        (self.at, self.next_offset) = (position, next_offset);
    }

    /// Where the next batch starts.
    pub fn position(&self) -> u64 {
        self.at
    }

    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// Makes `bytes` from the current position available, if the file has them.
    fn fill(&mut self, bytes: usize) -> Result<bool> {
        let have = (self.window + self.filled as u64).saturating_sub(self.at) as usize;
        if self.at >= self.window && have >= bytes {
            return Ok(true);
        }
        if self.at + bytes as u64 > self.size {
            return Ok(false);
        }
        let wanted = bytes.max(self.piece_bytes).min((self.size - self.at) as usize);
        // What is left of the last piece moves to the front; only the rest is read.
        let kept = if self.at >= self.window { have } else { 0 };
        let from = (self.at - self.window) as usize;
        if kept > 0 {
            self.buffer.copy_within(from..from + kept, 0);
        }
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        self.window = self.at;
        let target = &mut self.buffer[kept..wanted];
        let read = self.file.read_at(target, self.at + kept as u64).map_err(|e| Error::storage(&self.path, e))?;
        self.filled = kept + read;
        Ok(self.filled >= bytes)
    }

    /// The next batch. Err(Corrupt) for anything but whole, sound batches with rising offsets up to the segment's end.
    pub fn next(&mut self) -> Result<Option<BatchView<'_>>> {
        if self.at >= self.size {
            return Ok(None);
        }
        if !self.fill(HEADER_BYTES)? {
            return Err(self.corrupt("the segment ends in the middle of a batch", self.at));
        }
        let from = (self.at - self.window) as usize;
        let Some(size) = BatchView::promised_bytes(&self.buffer[from..from + HEADER_BYTES]) else {
            return Err(self.corrupt("a batch has no possible length", self.at));
        };
        if !self.fill(size)? {
            return Err(self.corrupt("the segment ends in the middle of a batch", self.at));
        }
        let from = (self.at - self.window) as usize;
        self.at += size as u64;
        let why = {
            let view = BatchView::parse(&self.buffer[from..from + size])
                .map_err(|error| Error::corrupt(&self.path, error.to_string()))?;
            let (first, last) = (view.base_offset(), view.last_offset());
            let continues = first >= self.next_offset && last >= first && last < self.end_offset;
            match (view.magic() == MAGIC, view.crc_is_valid(), continues) {
                (false, ..) => Some("a batch is not of format v2"),
                (_, false, _) => Some("a batch does not match its CRC"),
                (.., false) => Some("the offsets of a batch do not fit those around it"),
                _ => None,
            }
        };
        if let Some(why) = why {
            return Err(self.corrupt(why, self.at - size as u64));
        }
        let view = BatchView::parse(&self.buffer[from..from + size])
            .map_err(|error| Error::corrupt(&self.path, error.to_string()))?;
        self.next_offset = view.next_offset();
        Ok(Some(view))
    }
}
