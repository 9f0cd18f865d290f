//! Open files of segments. A broker has tens of thousands of segments and may hold far fewer files open.
//!
//! A segment that has unsynced writes keeps its file open, so that no write error is lost between a close and the sync;
//! those are the active ones. Of all others only so many stay open, the least recently used go first. A reader that still
//! sends from a file has its own reference: closing here does not pull it away.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::storage::{Storage, StorageFile};
use crate::{Error, Result};

const IDLE_FILES_MAX: usize = 512;
/// How many candidates one opening looks at; the surplus of one moment is worked off by the next ones.
const CANDIDATES_MAX: usize = 8;

/// Files that may be closed, oldest first. One list for the process, as its limit of descriptors is one.
static IDLE: Mutex<VecDeque<Weak<Slot>>> = Mutex::new(VecDeque::new());

struct Slot {
    file: Mutex<Option<Arc<dyn StorageFile>>>,
    pinned: AtomicBool,
    used: AtomicBool,
}

pub struct Handle {
    path: PathBuf,
    slot: Arc<Slot>,
}

impl Handle {
    pub fn new(path: PathBuf) -> Handle {
        let slot = Slot { file: Mutex::new(None), pinned: AtomicBool::new(false), used: AtomicBool::new(false) };
        Handle { path, slot: Arc::new(slot) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file, opened if it is not.
    pub fn get(&self, storage: &dyn Storage) -> Result<Arc<dyn StorageFile>> {
        let mut file = self.slot.file.lock();
        if let Some(file) = &*file {
            self.slot.used.store(true, Ordering::Relaxed);
            return Ok(file.clone());
        }
        let opened = storage.open(&self.path, false).map_err(|e| Error::storage(&self.path, e))?;
        *file = Some(opened.clone());
        drop(file);
        if !self.slot.pinned.load(Ordering::Relaxed) {
            make_idle(&self.slot);
        }
        Ok(opened)
    }

    /// Makes the file, which is not there yet, and opens it.
    pub fn make(&self, storage: &dyn Storage) -> Result<()> {
        let made = storage.open(&self.path, true).map_err(|e| Error::storage(&self.path, e))?;
        *self.slot.file.lock() = Some(made);
        Ok(())
    }

    /// There are writes that are not synced: the file stays open.
    pub fn pin(&self) {
        if !self.slot.pinned.load(Ordering::Relaxed) {
            self.slot.pinned.store(true, Ordering::Relaxed);
        }
    }

    /// Everything is synced, and the segment is not written any more.
    pub fn unpin(&self) {
        if self.slot.pinned.swap(false, Ordering::Relaxed) {
            make_idle(&self.slot);
        }
    }
}

fn make_idle(slot: &Arc<Slot>) {
    let mut idle = IDLE.lock();
    idle.push_back(Arc::downgrade(slot));
    for _ in 0..CANDIDATES_MAX {
        if idle.len() <= IDLE_FILES_MAX {
            return;
        }
        let Some(oldest) = idle.pop_front() else { return };
        let Some(candidate) = oldest.upgrade() else { continue };
        if candidate.pinned.load(Ordering::Relaxed) {
            // It comes back when it is unpinned.
        } else if candidate.used.swap(false, Ordering::Relaxed) {
            idle.push_back(oldest);
        } else if let Some(mut file) = candidate.file.try_lock() {
            *file = None;
        } else {
            idle.push_back(oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStorage;

    #[test]
    fn only_so_many_idle_files_stay_open_and_a_closed_one_is_opened_again() {
        let storage = MemoryStorage::default();
        let handles: Vec<Handle> = (0..2 * IDLE_FILES_MAX)
            .map(|i| {
                let path = PathBuf::from(format!("/idle/{i}"));
                storage.open(&path, true).unwrap();
                Handle::new(path)
            })
            .collect();
        for handle in &handles {
            handle.get(&storage).unwrap();
        }
        let open = handles.iter().filter(|handle| handle.slot.file.lock().is_some()).count();
        assert!(open <= IDLE_FILES_MAX, "{open} are open");
        assert!(handles[0].get(&storage).is_ok());
    }

    #[test]
    fn a_file_with_unsynced_writes_is_not_closed() {
        let storage = MemoryStorage::default();
        let open = |name: String| {
            let path = PathBuf::from(name);
            storage.open(&path, true).unwrap();
            let handle = Handle::new(path);
            handle.get(&storage).unwrap();
            handle
        };
        let written = open("/pinned/0".to_owned());
        written.pin();
        let others: Vec<Handle> = (1..3 * IDLE_FILES_MAX).map(|i| open(format!("/pinned/{i}"))).collect();
        assert!(written.slot.file.lock().is_some());
        drop(others);
    }
}
