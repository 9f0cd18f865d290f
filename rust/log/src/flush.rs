//! Bringing a log to the disk, in three steps, so that the slow one needs no lock. The first and the last are the log's:
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

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::leader_epochs::EpochsState;
use crate::storage::{Storage, StorageFile};
use crate::{Error, Result, checkpoints};

/// What a flush brings to the disk besides the records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsynced {
    /// Base offset and suffix of indexes of sealed segments, indexes of aborted transactions, snapshots.
    pub files: BTreeSet<(i64, &'static str)>,
    /// Epochs that their file does not have yet.
    pub epochs: bool,
    /// Files came or went.
    pub dir: bool,
    /// partition.metadata, and the directory's own entry.
    pub identity: bool,
    /// Rises with every change of the above.
    pub version: u64,
}

impl Unsynced {
    pub fn file(&mut self, base_offset: i64, suffix: &'static str) {
        self.files.insert((base_offset, suffix));
        self.version += 1;
    }

    pub fn epochs(&mut self) {
        self.epochs = true;
        self.version += 1;
    }

    pub fn dir(&mut self) {
        self.dir = true;
        self.version += 1;
    }

    /// Files that came or went are there, or gone, for good.
    pub fn sync_dir(&mut self, storage: &dyn Storage, dir: &Path) -> Result<()> {
        storage.sync_dir(dir).map_err(|e| Error::storage(dir, e))?;
        self.dir = false;
        Ok(())
    }
}

pub struct Flush {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) dir: PathBuf,
    pub(crate) records: Vec<(PathBuf, Arc<dyn StorageFile>)>,
    /// Indexes and snapshots. Those that are gone by the time of the run are needed no more.
    pub(crate) others: Vec<PathBuf>,
    pub(crate) epochs: Option<EpochsState>,
    pub(crate) unsynced: Unsynced,
    pub(crate) active_base: i64,
    pub(crate) end_offset: i64,
    pub(crate) stable_offset: i64,
    pub(crate) cuts: u64,
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
