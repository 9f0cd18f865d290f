//! Bringing a log to the disk, in three steps, so that the slow one needs no lock:
//!
//! ```text
//!   plan_flush  what is to be synced as of now; costs nothing to speak of
//!   run         syncs it; meanwhile the log is appended to and read
//!   flushed     the recovery point moves
//! ```
//!
//! INVARIANT: the recovery point moves only over what one run synced, and never if the log was cut meanwhile.
//! INVARIANT: two runs at a time are as good as one: what the first has not brought home, the second syncs too.
//! INVARIANT: a run that failed poisons the log; what it should have synced is never tried again.

use std::path::PathBuf;
use std::sync::Arc;

use crate::leader_epochs::EpochsState;
use crate::log::{Log, Unsynced};
use crate::names::file_name;
use crate::storage::{Storage, StorageFile};
use crate::{Error, Result, checkpoints};

pub struct Flush {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    records: Vec<(PathBuf, Arc<dyn StorageFile>)>,
    /// Indexes and snapshots. Those that are gone by the time of the run are needed no more.
    others: Vec<PathBuf>,
    epochs: Option<EpochsState>,
    unsynced: Unsynced,
    active_base: i64,
    end_offset: i64,
    stable_offset: i64,
    cuts: u64,
}

impl Flush {
    /// What lies before it is on the disk after a run.
    pub fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// Begins, without waiting, what `run` is going to wait for.
    pub fn begin(&self) {
        self.records.iter().for_each(|(_, file)| file.write_behind());
    }

    pub fn run(&self) -> Result<()> {
        let storage = &*self.storage;
        for (path, file) in &self.records {
            file.sync_data().map_err(|e| Error::storage(path, e))?;
        }
        for path in &self.others {
            match storage.open(path, false).and_then(|file| file.sync_data()) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(Error::storage(path, error)),
                _ => {}
            }
        }
        if let Some(epochs) = &self.epochs {
            epochs.write(storage, true)?;
        }
        let sync_dir = |dir| storage.sync_dir(dir).map_err(|e| Error::storage(dir, e));
        let Unsynced { identity, dir, .. } = self.unsynced;
        if identity {
            checkpoints::sync_partition_metadata(storage, &self.dir)?;
        }
        if dir || identity || !self.others.is_empty() {
            sync_dir(&self.dir)?;
        }
        match self.dir.parent() {
            Some(parent) if identity => sync_dir(parent),
            _ => Ok(()),
        }
    }
}

impl Log {
    /// Whether anything was appended that is not known to be on the disk.
    pub fn needs_flush(&self) -> bool {
        self.recovery_point < self.end_offset
    }

    /// Everything appended so far is on the disk when this returns.
    pub fn flush(&mut self) -> Result<()> {
        if self.needs_flush() { self.guarded(Log::sync) } else { Ok(()) }
    }

    pub(crate) fn sync(&mut self) -> Result<()> {
        let flush = self.plan()?;
        flush.run()?;
        self.note_flushed(&flush);
        Ok(())
    }

    /// The first step. Fails if the log is closed for writing.
    pub fn plan_flush(&mut self) -> Result<Flush> {
        self.guarded(Log::plan)
    }

    /// The last step, with what came of the run.
    pub fn flushed(&mut self, flush: &Flush, outcome: Result<()>) -> Result<()> {
        if flush.dir != self.dir {
            // It was of the log before it moved to this directory, where all of that is on the disk.
            return Ok(());
        }
        self.guarded(|log| {
            outcome?;
            log.note_flushed(flush);
            Ok(())
        })
    }

    /// What opening can make anew (the active segment's indexes) is left to the system.
    fn plan(&mut self) -> Result<Flush> {
        let storage = self.storage.clone();
        let first = self.segment_of(self.recovery_point).unwrap_or(0);
        let records = self.segments[first..].iter().map(|each| Ok((each.path().to_owned(), each.file(&*storage)?)));
        let other = |(base_offset, suffix): &(i64, &str)| self.dir.join(file_name(*base_offset, suffix));
        let flush = Flush {
            records: records.collect::<Result<_>>()?,
            others: self.unsynced.files.iter().map(other).collect(),
            epochs: self.unsynced.epochs.then(|| self.epochs.state()),
            unsynced: self.unsynced.clone(),
            active_base: self.segments[self.segments.len() - 1].base_offset,
            end_offset: self.end_offset,
            stable_offset: self.producers.last_stable_offset(self.end_offset),
            cuts: self.cuts,
            dir: self.dir.clone(),
            storage,
        };
        Ok(flush)
    }

    fn note_flushed(&mut self, flush: &Flush) {
        let end_offset = flush.end_offset;
        // A segment that was sealed at the very end of the run has indexes that it did not sync.
        let sealed_there = end_offset != flush.active_base
            && self.segments.binary_search_by_key(&end_offset, |segment| segment.base_offset).is_ok();
        if flush.cuts != self.cuts || sealed_there {
            return;
        }
        // Of what changed meanwhile nobody knows: it is synced once more with the next flush.
        if flush.unsynced == self.unsynced {
            self.unsynced = Unsynced { version: self.unsynced.version, ..Unsynced::default() };
        }
        self.recovery_point = self.recovery_point.max(end_offset);
        self.stable_on_disk = self.stable_on_disk.max(flush.stable_offset);
        let Some((_, sealed)) = self.segments.split_last() else { return };
        for segment in sealed.iter().rev().take(flush.records.len()) {
            segment.release_file();
        }
    }
}
