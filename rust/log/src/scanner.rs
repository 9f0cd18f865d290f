//! A segment's file read batch by batch, of which nothing is believed: where a recovery looks.

use std::path::Path;
use std::sync::Arc;

use record::{BatchView, batch::HEADER_BYTES};

use crate::storage::StorageFile;
use crate::{Error, Result};

const SCAN_BYTES: usize = 1 << 20;

/// Reads a segment's batches one after the other, in large pieces' worth of memory at most.
pub struct Scanner<'a> {
    path: &'a Path,
    file: Arc<dyn StorageFile>,
    size: u64,
    at: u64,
}

impl<'a> Scanner<'a> {
    pub fn new(path: &'a Path, file: Arc<dyn StorageFile>, size: u64) -> Scanner<'a> {
        Scanner { path, file, size, at: 0 }
    }

    pub fn position(&self) -> u64 {
        self.at
    }

    /// Whether the batch at this position is whole and matches its CRC.
    pub fn has_sound_batch_at(&mut self, position: u64) -> Result<bool> {
        self.at = position;
        let batch = self.next()?;
        Ok(batch.is_some_and(|batch| {
            batch.is_ok_and(|bytes| BatchView::parse(&bytes).is_ok_and(|view| view.crc_is_valid()))
        }))
    }

    /// Whether what stands here is a whole batch of offsets behind `offset`.
    pub fn has_sound_batch_behind(&mut self, offset: i64) -> Result<bool> {
        let here = self.at;
        let found = self.next()?.and_then(std::result::Result::ok);
        self.at = here;
        let is_sound = |view: BatchView<'_>| view.crc_is_valid() && view.base_offset() > offset;
        Ok(found.is_some_and(|bytes| BatchView::parse(&bytes).is_ok_and(is_sound)))
    }

    /// None at a clean end; Some(Err) where what follows is no batch.
    pub fn next(&mut self) -> Result<Option<std::result::Result<Vec<u8>, String>>> {
        let left = self.size - self.at;
        if left == 0 {
            return Ok(None);
        }
        let mut header = [0; HEADER_BYTES];
        let read = self.file.read_at(&mut header, self.at).map_err(|e| Error::storage(self.path, e))?;
        let size = BatchView::promised_bytes(&header).filter(|_| read == HEADER_BYTES && header[16] == 2);
        let Some(size) = size.filter(|size| *size as u64 <= left) else {
            return Ok(Some(Err(format!("no whole batch at position {}", self.at))));
        };
        let mut batch = Vec::new();
        while batch.len() < size {
            let from = batch.len();
            batch.resize(size.min(from + SCAN_BYTES), 0);
            let position = self.at + from as u64;
            let read = self.file.read_at(&mut batch[from..], position).map_err(|e| Error::storage(self.path, e))?;
            if read == 0 {
                return Ok(Some(Err(format!("batch at position {} is cut short", self.at))));
            }
            batch.truncate(from + read);
        }
        self.at += size as u64;
        Ok(Some(Ok(batch)))
    }

    /// Refuses the log if what stands here is a whole message of format v0 or v1.
    pub fn refuse_old_format(&self) -> Result<()> {
        const CRC_AT: usize = 12;
        const MAGIC_AT: usize = 16;
        let mut header = [0; MAGIC_AT + 1];
        let read = self.file.read_at(&mut header, self.at).map_err(|e| Error::storage(self.path, e))?;
        let magic = header[MAGIC_AT];
        let size = header[8..].first_chunk().map_or(0, |size| i32::from_be_bytes(*size)) as i64 + CRC_AT as i64;
        let left = self.size.saturating_sub(self.at);
        if read < header.len() || magic > 1 || size <= header.len() as i64 || size as u64 > left {
            return Ok(());
        }
        let mut message = vec![0; size as usize];
        let read = self.file.read_at(&mut message, self.at).map_err(|e| Error::storage(self.path, e))?;
        let crc = header[CRC_AT..].first_chunk().map_or(0, |crc| u32::from_be_bytes(*crc));
        if read < message.len() || record::crc32c::crc32(&message[MAGIC_AT..]) != crc {
            return Ok(());
        }
        Err(Error::corrupt(
            self.path,
            format!(
                "holds messages of format v{magic}, written before Kafka 0.11; only v2 is read here. Nothing was changed: \
                 copy the topic with Apache Kafka (a consumer and a producer rewrite it in v2), or move this directory out of \
                 log.dirs"
            ),
        ))
    }
}
