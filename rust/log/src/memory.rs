//! Files in memory that forget, as a disk does, what was not synced. For tests of everything that stores.
//!
//! Not here: directories as such (a directory is there when a file in it is), permissions, full disks.
//!
//! What survives a power failure, at the choice of a seed:
//! - of a file, what was synced, and any part of what was written behind it, whole, torn or as zeros
//! - a cut that was not synced may come undone
//! - a directory's new name, until the directory that it lies in is synced; of several, the first ones
//! - of a directory, each entry as it is or as it was when the directory was last synced; a rename is done or undone as a
//!   whole, so that no file loses both of its names

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;

use crate::storage::{Storage, StorageFile};

#[derive(Clone, Default)]
pub struct MemoryStorage {
    entries: Arc<Mutex<Entries>>,
    power: Arc<Power>,
}

#[derive(Default)]
struct Entries {
    now: BTreeMap<PathBuf, Arc<MemoryFile>>,
    /// As of the last sync of each directory.
    synced: BTreeMap<PathBuf, Arc<MemoryFile>>,
    /// Directories that have a new name (from, to), in order, since that was last synced.
    renamed: Vec<(PathBuf, PathBuf)>,
}

/// Under their new names.
fn renamed<T>(files: &mut BTreeMap<PathBuf, T>, from: &Path, to: &Path) -> bool {
    let moved: Vec<PathBuf> = files.keys().filter(|path| path.starts_with(from)).cloned().collect();
    for path in &moved {
        if let (Some(file), Ok(rest)) = (files.remove(path), path.strip_prefix(from)) {
            let target = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
            files.insert(target, file);
        }
    }
    !moved.is_empty()
}

/// How many more changes are let through; everything after them fails.
struct Power {
    changes_left: AtomicI64,
}

impl Default for Power {
    fn default() -> Self {
        Power { changes_left: AtomicI64::new(i64::MAX) }
    }
}

impl Power {
    fn spend(&self) -> io::Result<()> {
        if self.changes_left.load(Ordering::Relaxed) <= 0 {
            return Err(io::Error::other("injected power failure"));
        }
        self.changes_left.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }
}

pub struct MemoryFile {
    content: Mutex<Content>,
    power: Arc<Power>,
}

#[derive(Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    synced_bytes: usize,
    /// Synced once, then cut off or overwritten without a sync: what may be there again after a power failure.
    ghost: Vec<u8>,
    fail_writes: bool,
    /// Memory has lost it from here on, as it were, until somebody brings it.
    cold_from: Option<u64>,
}

impl Content {
    fn check(&self) -> io::Result<()> {
        if self.fail_writes { Err(io::Error::other("injected failure of this file")) } else { Ok(()) }
    }

    /// What is synced from `at` on is about to change.
    fn unsync_from(&mut self, at: usize) {
        if at < self.synced_bytes {
            let mut ghost = self.bytes[at..self.synced_bytes].to_vec();
            ghost.append(&mut self.ghost);
            self.ghost = ghost;
            self.synced_bytes = at;
        }
    }
}

impl MemoryFile {
    fn new(power: &Arc<Power>, bytes: Vec<u8>, synced_bytes: usize) -> Arc<MemoryFile> {
        let content = Content { bytes, synced_bytes, ..Content::default() };
        Arc::new(MemoryFile { content: Mutex::new(content), power: power.clone() })
    }
}

impl StorageFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let content = self.content.lock();
        let from = (position as usize).min(content.bytes.len());
        let count = buffer.len().min(content.bytes.len() - from);
        buffer[..count].copy_from_slice(&content.bytes[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.power.spend()?;
        let mut content = self.content.lock();
        content.check()?;
        let (start, end) = (position as usize, position as usize + bytes.len());
        content.unsync_from(start);
        if content.bytes.len() < end {
            content.bytes.resize(end, 0);
        }
        content.bytes[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.content.lock().bytes.len() as u64)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.power.spend()?;
        let mut content = self.content.lock();
        content.check()?;
        content.unsync_from(len as usize);
        content.bytes.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.power.spend()?;
        let mut content = self.content.lock();
        content.check()?;
        content.synced_bytes = content.bytes.len();
        content.ghost.clear();
        Ok(())
    }

    fn is_at_hand(&self, position: u64, bytes: usize) -> bool {
        self.content.lock().cold_from.is_none_or(|from| position + bytes as u64 <= from)
    }

    fn bring(&self, _position: u64, _bytes: usize) {
        self.content.lock().cold_from = None;
    }
}

/// Numbers from a seed (xorshift): enough to choose what a failure leaves behind, and for histories of logs.
pub struct Chance(u64);

impl Chance {
    pub fn of(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % bound.max(1) as u64) as usize
    }

    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

impl MemoryStorage {
    fn not_found(path: &Path) -> io::Error {
        io::Error::new(io::ErrorKind::NotFound, format!("{} does not exist", path.display()))
    }

    fn file(&self, path: &Path) -> io::Result<Arc<MemoryFile>> {
        self.entries.lock().now.get(path).cloned().ok_or_else(|| Self::not_found(path))
    }

    fn of(files: BTreeMap<PathBuf, Vec<u8>>) -> MemoryStorage {
        let storage = MemoryStorage::default();
        let file = |bytes: Vec<u8>| {
            let len = bytes.len();
            MemoryFile::new(&storage.power, bytes, len)
        };
        let files: BTreeMap<_, _> = files.into_iter().map(|(path, bytes)| (path, file(bytes))).collect();
        *storage.entries.lock() = Entries { synced: files.clone(), now: files, renamed: Vec::new() };
        storage
    }

    /// A failure after which every directory entry is there, and each file keeps its synced bytes and
    /// `keep(path, unsynced_bytes)` of what follows them.
    pub fn crash(&self, mut keep: impl FnMut(&Path, usize) -> usize) -> MemoryStorage {
        let mut files = BTreeMap::new();
        for (path, file) in &self.entries.lock().now {
            let content = file.content.lock();
            let unsynced = content.bytes.len() - content.synced_bytes;
            let len = content.synced_bytes + keep(path, unsynced).min(unsynced);
            files.insert(path.clone(), content.bytes[..len].to_vec());
        }
        MemoryStorage::of(files)
    }

    /// A power failure as described above; `seed` decides what was lucky.
    pub fn power_loss(&self, seed: u64) -> MemoryStorage {
        let mut chance = Chance::of(seed);
        let entries = self.entries.lock();
        let paths: BTreeSet<&PathBuf> = entries.now.keys().chain(entries.synced.keys()).collect();
        let mut files = BTreeMap::new();
        let names: BTreeMap<_, _> = entries.now.iter().map(|(path, file)| (Arc::as_ptr(file), path)).collect();
        // Where a file that was synced under this name has gone since.
        let moved = |path: &PathBuf| {
            names.get(&Arc::as_ptr(entries.synced.get(path)?)).copied().filter(|target| *target != path)
        };
        let is_now: BTreeMap<_, _> = paths.iter().map(|path| (*path, chance.below(2) == 0)).collect();
        for path in paths {
            let (now, synced) = (entries.now.get(path), entries.synced.get(path));
            let last_name = std::iter::successors(Some(path), |path| moved(path)).take(8).last().unwrap_or(path);
            let survivor = if is_now[last_name] { now } else { synced };
            let Some(file) = survivor else { continue };
            let content = file.content.lock();
            let mut bytes = content.bytes[..content.synced_bytes].to_vec();
            let unsynced = &content.bytes[content.synced_bytes..];
            let torn = chance.below(unsynced.len() + 1);
            match chance.below(6) {
                0 | 1 => {}
                2 => bytes.extend_from_slice(unsynced),
                3 => bytes.extend_from_slice(&unsynced[..torn]),
                4 => bytes.resize(bytes.len() + torn, 0),
                _ => bytes.extend_from_slice(&content.ghost),
            }
            files.insert(path.clone(), bytes);
        }
        let kept = if entries.renamed.is_empty() { 0 } else { chance.below(entries.renamed.len() + 1) };
        for (from, to) in entries.renamed[kept..].iter().rev() {
            renamed(&mut files, to, from);
        }
        MemoryStorage::of(files)
    }

    /// Everything is on the disk, as after `syncfs`.
    pub fn sync_everything(&self) {
        let mut entries = self.entries.lock();
        for file in entries.now.values() {
            let mut content = file.content.lock();
            content.synced_bytes = content.bytes.len();
            content.ghost.clear();
        }
        entries.synced = entries.now.clone();
        entries.renamed.clear();
    }

    /// After this many more changes, each one fails: the moment in which the power goes.
    pub fn fail_after(&self, changes: u64) {
        self.power.changes_left.store(i64::try_from(changes).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// From now on every write and sync of this file fails.
    pub fn fail_writes(&self, path: &Path) -> io::Result<()> {
        self.file(path)?.content.lock().fail_writes = true;
        Ok(())
    }

    /// From a position on, this file is not at hand until it is brought.
    pub fn cool(&self, path: &Path, from: u64) -> io::Result<()> {
        self.file(path)?.content.lock().cold_from = Some(from);
        Ok(())
    }

    /// Changes one byte in place, as a bad disk does.
    pub fn flip(&self, path: &Path, at: usize) -> io::Result<()> {
        if let Some(byte) = self.file(path)?.content.lock().bytes.get_mut(at) {
            *byte ^= 0xff;
        }
        Ok(())
    }
}

impl Storage for MemoryStorage {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn StorageFile>> {
        if let Ok(file) = self.file(path) {
            return Ok(file);
        }
        if !create {
            return Err(Self::not_found(path));
        }
        self.power.spend()?;
        let file = MemoryFile::new(&self.power, Vec::new(), 0);
        self.entries.lock().now.insert(path.to_owned(), file.clone());
        Ok(file)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        Ok(self.file(path)?.content.lock().bytes.clone())
    }

    fn write_atomically(&self, path: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
        self.power.spend()?;
        let synced_bytes = if sync { bytes.len() } else { 0 };
        let file = MemoryFile::new(&self.power, bytes.to_vec(), synced_bytes);
        self.entries.lock().now.insert(path.to_owned(), file);
        match path.parent() {
            Some(dir) if sync => self.sync_dir(dir),
            _ => Ok(()),
        }
    }

    /// A copy, of which nothing is synced: a disk may know of one name and not of the other.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let bytes = self.read(from)?;
        self.write_atomically(to, &bytes, false)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.file(path)?;
        self.power.spend()?;
        self.entries.lock().now.remove(path);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.power.spend()?;
        let entries = &mut *self.entries.lock();
        let is_dir = !entries.now.contains_key(from);
        if !renamed(&mut entries.now, from, to) {
            return Err(Self::not_found(from));
        }
        if is_dir {
            renamed(&mut entries.synced, from, to);
            entries.renamed.push((from.to_owned(), to.to_owned()));
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let entries = self.entries.lock();
        let here = entries.now.keys().filter(|path| path.parent() == Some(dir));
        Ok(here.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        self.file(path)?.len()
    }

    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.power.spend()?;
        let Entries { now, synced, renamed } = &mut *self.entries.lock();
        renamed.retain(|(_, to)| to.parent() != Some(dir));
        synced.retain(|path, _| path.parent() != Some(dir));
        synced.extend(now.iter().filter(|(path, _)| path.parent() == Some(dir)).map(|(p, f)| (p.clone(), f.clone())));
        Ok(())
    }

    fn exists(&self, path: &Path) -> bool {
        let entries = self.entries.lock();
        entries.now.range(path.to_owned()..).next().is_some_and(|(file, _)| file.starts_with(path))
    }
}
