//! A storage that keeps an image of itself before every change, and that may have a fault: the mistakes that the histories
//! must be able to see.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use log::memory::MemoryStorage;
use log::{Stop, Storage, StorageFile};
use parking_lot::Mutex;

/// A mistake that is made all through a history, in the storage or in how the log is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A cleaned segment is not synced before it stands for others.
    CleanedNotSynced,
    /// Names are not synced.
    NamesNotSynced,
    /// A flush does not reach the records.
    RecordsNotSynced,
    /// What a recovery cuts off stays.
    CutNotDone,
    /// One byte of a cleaned segment is another.
    CleanedRots,
    /// A start does not see what was about to be swapped in.
    SwapNotSeen,
    /// Aborted transactions are not found.
    AbortedForgotten,
    /// A snapshot of the producers is of an earlier time.
    SnapshotStale,
    /// Retention takes one segment too many.
    OneTooMany,
    /// The recovery point is ahead of what was synced.
    RecoveryPointAhead,
    /// A cleaning does not know which records are the last of their producers.
    LastRecordsForgotten,
    /// Tombstones go before their time.
    HorizonIgnored,
}

pub const FAULTS: [Fault; 12] = [
    Fault::CleanedNotSynced,
    Fault::NamesNotSynced,
    Fault::RecordsNotSynced,
    Fault::CutNotDone,
    Fault::CleanedRots,
    Fault::SwapNotSeen,
    Fault::AbortedForgotten,
    Fault::SnapshotStale,
    Fault::OneTooMany,
    Fault::RecoveryPointAhead,
    Fault::LastRecordsForgotten,
    Fault::HorizonIgnored,
];

/// What is left at some moment, and of what.
#[derive(Clone)]
pub struct Image {
    pub memory: MemoryStorage,
    pub stop: Stop,
}

struct Shared {
    memory: MemoryStorage,
    fault: Option<Fault>,
    images: Mutex<Option<Vec<Image>>>,
    seed: AtomicU64,
    first_snapshot: Mutex<Option<Vec<u8>>>,
}

/// Shares its files with whoever has a clone.
#[derive(Clone)]
pub struct Witnessed(Arc<Shared>);

struct WitnessedFile {
    shared: Arc<Shared>,
    path: PathBuf,
    file: Arc<dyn StorageFile>,
}

fn ends(path: &Path, ending: &str) -> bool {
    path.to_str().is_some_and(|text| text.ends_with(ending))
}

impl Shared {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// What a power failure at this moment would leave, and what a kill would.
    fn about_to_change(&self) {
        if let Some(images) = &mut *self.images.lock() {
            let seed = self.seed.fetch_add(1, Ordering::Relaxed);
            images.push(match seed.is_multiple_of(3) {
                true => Image { memory: self.memory.crash(|_, all| all), stop: Stop::Killed },
                false => Image { memory: self.memory.power_loss(seed), stop: Stop::Unknown },
            });
        }
    }
}

impl Witnessed {
    pub fn new(memory: MemoryStorage, fault: Option<Fault>) -> Witnessed {
        Witnessed(Arc::new(Shared {
            memory,
            fault,
            images: Mutex::default(),
            seed: AtomicU64::new(0),
            first_snapshot: Mutex::default(),
        }))
    }

    pub fn memory(&self) -> &MemoryStorage {
        &self.0.memory
    }

    /// From now on an image is kept before every change.
    pub fn keep_images(&self, seed: u64) {
        self.0.seed.store(seed, Ordering::Relaxed);
        *self.0.images.lock() = Some(Vec::new());
    }

    /// The images so far; no more are kept.
    pub fn take_images(&self) -> Vec<Image> {
        self.0.images.lock().take().unwrap_or_default()
    }
}

impl StorageFile for WitnessedFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.shared.about_to_change();
        if self.shared.has(Fault::CleanedRots) && ends(&self.path, ".log.cleaned") && bytes.len() > 80 {
            let mut rotten = bytes.to_vec();
            rotten[75] ^= 1;
            return self.file.write_at(&rotten, position);
        }
        self.file.write_at(bytes, position)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.shared.about_to_change();
        if self.shared.has(Fault::CutNotDone) && ends(&self.path, ".log") {
            return Ok(());
        }
        self.file.truncate(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.shared.about_to_change();
        let skipped = (self.shared.has(Fault::CleanedNotSynced) && ends(&self.path, ".log.cleaned"))
            || (self.shared.has(Fault::RecordsNotSynced) && ends(&self.path, ".log"));
        if skipped { Ok(()) } else { self.file.sync_data() }
    }
}

impl Storage for Witnessed {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn StorageFile>> {
        let memory = &self.0.memory;
        if create && !memory.exists(path) {
            self.0.about_to_change();
        }
        let file = memory.open(path, create)?;
        Ok(Arc::new(WitnessedFile { shared: self.0.clone(), path: path.to_owned(), file }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if self.0.has(Fault::AbortedForgotten) && ends(path, ".txnindex") {
            return Ok(Vec::new());
        }
        self.0.memory.read(path)
    }

    fn write_atomically(&self, path: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
        self.0.about_to_change();
        if self.0.has(Fault::SnapshotStale) && ends(path, ".snapshot") {
            let mut first = self.0.first_snapshot.lock();
            let stale = first.get_or_insert_with(|| bytes.to_vec());
            return self.0.memory.write_atomically(path, stale, sync);
        }
        self.0.memory.write_atomically(path, bytes, sync)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.about_to_change();
        self.0.memory.remove(path)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.about_to_change();
        self.0.memory.link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.about_to_change();
        self.0.memory.rename(from, to)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = self.0.memory.list(dir)?;
        names.retain(|name| !(self.0.has(Fault::SwapNotSeen) && name.ends_with(".swap")));
        Ok(names)
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        self.0.memory.size(path)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.memory.create_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.about_to_change();
        if self.0.has(Fault::NamesNotSynced) { Ok(()) } else { self.0.memory.sync_dir(dir) }
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.memory.exists(path)
    }
}
