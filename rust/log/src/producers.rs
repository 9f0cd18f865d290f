//! The producers of one log, and the `.snapshot` files beside its segments that they are known by after a stop.
//!
//! INVARIANT: what is in memory is what the newest sound snapshot and the batches behind it give.

use std::path::Path;

use record::BatchView;

use crate::flush::Unsynced;
use crate::index::Hint;
use crate::names::{file_name, parse_file_name};
use crate::producer_state::ProducerState;
use crate::segment::{Found, Segment};
use crate::storage::{Storage, remove_if_there};
use crate::txn_index::{self, AbortedTransaction};
use crate::{Error, Result};

#[derive(Default)]
pub struct Producers {
    pub state: ProducerState,
    /// Of transactions that ended before it, only the snapshot knew that they were not open any more.
    pub known_from: i64,
    pub newest_snapshot: Option<i64>,
    /// The newest snapshot is of the end of the log.
    is_saved: bool,
}

/// A log as far as it tells of its producers.
pub struct Stored<'a> {
    pub storage: &'a dyn Storage,
    pub dir: &'a Path,
    pub segments: &'a [Segment],
    pub end_offset: i64,
}

impl Stored<'_> {
    /// Of which offsets there are snapshots, rising.
    pub fn snapshot_offsets(&self) -> Result<Vec<i64>> {
        let names = self.storage.list(self.dir).map_err(|e| Error::storage(self.dir, e))?;
        let offset = |name: &String| match parse_file_name(name)? {
            (offset, ".snapshot") => Some(offset),
            _ => None,
        };
        let mut offsets: Vec<i64> = names.iter().filter_map(offset).collect();
        offsets.sort_unstable();
        Ok(offsets)
    }

    fn remove_snapshot(&self, offset: i64) -> Result<()> {
        remove_if_there(self.storage, &self.dir.join(file_name(offset, ".snapshot")))
    }
}

impl Producers {
    /// Made anew from the newest sound one of `snapshots` (rising) up to `offset_max`, and the batches behind it. Aborted
    /// transactions whose entry is missing get one.
    pub fn of(log: &Stored<'_>, unsynced: &mut Unsynced, snapshots: &[i64], offset_max: i64) -> Result<Producers> {
        let mut producers = Producers::default();
        let from = producers.load(log, unsynced, snapshots, offset_max)?;
        producers.is_saved = from == log.end_offset;
        producers.known_from = from;
        producers.replay(log, unsynced, from)?;
        Ok(producers)
    }

    /// Takes an appended batch in; gives the transaction that it aborts, if it does.
    pub fn appended(&mut self, batch: &BatchView<'_>) -> Option<AbortedTransaction> {
        self.is_saved = false;
        self.state.apply(batch)
    }

    /// What the files of the same log do not tell.
    pub fn take_over(&mut self, before: &mut Producers) {
        self.state = std::mem::take(&mut before.state);
        self.known_from = before.known_from;
    }

    /// The log starts anew, without any.
    pub fn clear(&mut self) {
        *self = Producers { known_from: self.known_from, ..Producers::default() };
    }

    /// Writes a snapshot as of the end of the log, and drops the one before if no segment starts there.
    pub fn save(&mut self, log: &Stored<'_>) -> Result<()> {
        if self.is_saved {
            return Ok(());
        }
        let path = log.dir.join(file_name(log.end_offset, ".snapshot"));
        let bytes = self.state.encode_snapshot();
        log.storage.write_atomically(&path, &bytes, false).map_err(|e| Error::storage(&path, e))?;
        self.is_saved = true;
        let superseded = self.newest_snapshot.replace(log.end_offset).filter(|offset| *offset != log.end_offset);
        match superseded {
            Some(offset) if log.segments.binary_search_by_key(&offset, |each| each.base_offset).is_err() => {
                log.remove_snapshot(offset)
            }
            _ => Ok(()),
        }
    }

    /// From the newest sound snapshot up to `offset_max`: as of which offset.
    fn load(&mut self, log: &Stored<'_>, unsynced: &mut Unsynced, snapshots: &[i64], offset_max: i64) -> Result<i64> {
        let start = log.segments[0].base_offset;
        for &offset in snapshots.iter().rev() {
            if offset > log.end_offset || offset < start {
                // Of a future that was cut off: gone for good, since the log may come to end there again. Or of a past that
                // was deleted, with markers that end what it says is open.
                log.remove_snapshot(offset)?;
                unsynced.sync_dir(log.storage, log.dir)?;
                continue;
            }
            self.newest_snapshot = self.newest_snapshot.max(Some(offset));
            if offset > offset_max {
                continue;
            }
            let path = log.dir.join(file_name(offset, ".snapshot"));
            let bytes = log.storage.read(&path).map_err(|e| Error::storage(&path, e))?;
            if let Some(state) = ProducerState::decode_snapshot(&bytes) {
                self.state = state;
                return Ok(offset);
            }
            log.remove_snapshot(offset)?;
        }
        Ok(start)
    }

    /// Applies the batches from an offset on.
    fn replay(&mut self, log: &Stored<'_>, unsynced: &mut Unsynced, mut from: i64) -> Result<()> {
        for segment in log.segments {
            if from >= log.end_offset {
                break;
            }
            let first = match segment.find(log.storage, from) {
                Ok(Some(first)) => first,
                Ok(None) | Err(Error::Corrupt { .. }) => continue,
                Err(error) => return Err(error),
            };
            let path = log.dir.join(file_name(segment.base_offset, ".txnindex"));
            let known = txn_index::read(log.storage, &path)?.last().map_or(-1, |aborted| aborted.last_offset);
            let mut outcome = Ok(());
            let hint = Hint { position: first.position, last_offset: Some(first.last_offset) };
            let walked = segment.walk(log.storage, hint, |found, header| {
                from = found.last_offset.saturating_add(1);
                match self.replay_one(log.storage, segment, found, header) {
                    Ok(Some(aborted)) if aborted.last_offset > known => {
                        unsynced.file(segment.base_offset, ".txnindex");
                        outcome = txn_index::append(log.storage, &path, &aborted);
                    }
                    Ok(_) => {}
                    Err(error) => outcome = Err(error),
                }
                outcome.is_ok()
            });
            outcome?;
            match walked {
                // Rot in a segment that was not scanned: what stands before and behind it counts.
                Ok(_) | Err(Error::Corrupt { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Applies one batch of the log: a header is enough for data, a marker is read whole.
    fn replay_one(
        &mut self,
        storage: &dyn Storage,
        segment: &Segment,
        found: &Found,
        header: &BatchView<'_>,
    ) -> Result<Option<AbortedTransaction>> {
        if !header.has_producer() {
            return Ok(None);
        }
        if !header.is_control() {
            return Ok(self.state.apply(header));
        }
        let bytes = segment.read_batch(storage, found)?;
        let view = BatchView::parse(&bytes).map_err(|e| Error::corrupt(segment.path(), e.to_string()))?;
        Ok(self.state.apply(&view))
    }
}
