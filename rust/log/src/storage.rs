//! The file system as the log sees it: a handful of operations, so that the same log runs over real files and over memory
//! that can lose and tear what was not synced.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

pub trait StorageFile: Send + Sync {
    /// Reads at most `buffer.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes all of it or fails.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Data and size are on the disk when this returns. A failure is final: never call it again.
    fn sync_data(&self) -> io::Result<()>;
    /// For sending straight from the file, where there is one.
    fn raw_fd(&self) -> Option<RawFd> {
        None
    }

    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }
}

pub trait Storage: Send + Sync {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn StorageFile>>;
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Writes a small file so that it is there whole or not at all. With `sync`, it survives a power failure.
    fn write_atomically(&self, path: &Path, bytes: &[u8], sync: bool) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// File names and sizes.
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>>;
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    fn exists(&self, path: &Path) -> bool;
}

/// Real files.
pub struct FileStorage;

struct RealFile(File);

impl StorageFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.0.read_at(&mut buffer[done..], position + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, position)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.metadata().map(|m| m.len())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn raw_fd(&self) -> Option<RawFd> {
        Some(self.0.as_raw_fd())
    }
}

impl Storage for FileStorage {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn StorageFile>> {
        let file = File::options().read(true).write(true).create(create).truncate(false).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn write_atomically(&self, path: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".tmp");
        let temporary = path.with_file_name(name);
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        if sync {
            file.sync_all()?;
        }
        drop(file);
        fs::rename(&temporary, path)?;
        match path.parent() {
            Some(dir) if sync => self.sync_dir(dir),
            _ => Ok(()),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                found.push((name, entry.metadata()?.len()));
            }
        }
        Ok(found)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }
}

/// Files in memory. `crash` keeps what was synced, and of the rest as much as the caller says.
#[derive(Clone, Default)]
pub struct MemoryStorage {
    files: Arc<Mutex<BTreeMap<PathBuf, Arc<MemoryFile>>>>,
}

#[derive(Default)]
pub struct MemoryFile {
    content: Mutex<MemoryContent>,
}

#[derive(Default)]
struct MemoryContent {
    bytes: Vec<u8>,
    synced_bytes: usize,
    fail_writes: bool,
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
        let mut content = self.content.lock();
        if content.fail_writes {
            return Err(io::Error::other("injected write failure"));
        }
        let end = position as usize + bytes.len();
        if content.bytes.len() < end {
            content.bytes.resize(end, 0);
        }
        content.bytes[position as usize..end].copy_from_slice(bytes);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.content.lock().bytes.len() as u64)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut content = self.content.lock();
        content.bytes.resize(len as usize, 0);
        content.synced_bytes = content.synced_bytes.min(len as usize);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut content = self.content.lock();
        if content.fail_writes {
            return Err(io::Error::other("injected sync failure"));
        }
        content.synced_bytes = content.bytes.len();
        Ok(())
    }
}

impl MemoryStorage {
    fn not_found(path: &Path) -> io::Error {
        io::Error::new(io::ErrorKind::NotFound, format!("{} does not exist", path.display()))
    }

    fn file(&self, path: &Path) -> io::Result<Arc<MemoryFile>> {
        self.files.lock().get(path).cloned().ok_or_else(|| Self::not_found(path))
    }

    /// A power failure: each file keeps its synced bytes and `keep(path, unsynced_bytes)` of what follows them.
    pub fn crash(&self, mut keep: impl FnMut(&Path, usize) -> usize) -> MemoryStorage {
        let after = MemoryStorage::default();
        for (path, file) in self.files.lock().iter() {
            let content = file.content.lock();
            let unsynced = content.bytes.len() - content.synced_bytes;
            let len = content.synced_bytes + keep(path, unsynced).min(unsynced);
            let kept = MemoryContent { bytes: content.bytes[..len].to_vec(), synced_bytes: len, fail_writes: false };
            after.files.lock().insert(path.clone(), Arc::new(MemoryFile { content: Mutex::new(kept) }));
        }
        after
    }

    /// From now on every write and sync of this file fails.
    pub fn fail_writes(&self, path: &Path) -> io::Result<()> {
        self.file(path)?.content.lock().fail_writes = true;
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
        if !create {
            return self.file(path).map(|file| file as Arc<dyn StorageFile>);
        }
        Ok(self.files.lock().entry(path.to_owned()).or_default().clone())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        Ok(self.file(path)?.content.lock().bytes.clone())
    }

    fn write_atomically(&self, path: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
        let synced_bytes = if sync { bytes.len() } else { 0 };
        let content = MemoryContent { bytes: bytes.to_vec(), synced_bytes, fail_writes: false };
        self.files.lock().insert(path.to_owned(), Arc::new(MemoryFile { content: Mutex::new(content) }));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.lock().remove(path).map(drop).ok_or_else(|| Self::not_found(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.files.lock();
        let moved: Vec<PathBuf> = files.keys().filter(|path| path.starts_with(from)).cloned().collect();
        for path in moved {
            if let (Some(file), Ok(rest)) = (files.remove(&path), path.strip_prefix(from)) {
                let target = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
                files.insert(target, file);
            }
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>> {
        let files = self.files.lock();
        let here = files.iter().filter(|(path, _)| path.parent() == Some(dir));
        let named = here.filter_map(|(path, file)| {
            let name = path.file_name()?.to_str()?.to_owned();
            Some((name, file.content.lock().bytes.len() as u64))
        });
        Ok(named.collect())
    }

    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn exists(&self, path: &Path) -> bool {
        self.files.lock().keys().any(|file| file.starts_with(path))
    }
}
