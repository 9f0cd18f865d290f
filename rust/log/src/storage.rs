//! The file system as the log sees it: a handful of operations, so that the same log runs over real files and over memory
//! that can lose and tear what was not synced.

use std::fs::{self, File};
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::{Error, Result};

pub trait StorageFile: Send + Sync {
    /// Reads at most `buffer.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes all of it or fails.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;
    /// As `write_at`, of parts that follow each other. Nothing is left of `parts`.
    fn write_parts_at(&self, parts: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        let parts: Vec<&[u8]> = parts.iter().map(|part| &**part).collect();
        self.write_at(&parts.concat(), position)
    }
    fn len(&self) -> io::Result<u64>;
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Data and size are on the disk when this returns. A failure is final: never call it again.
    fn sync_data(&self) -> io::Result<()>;
    /// Room for so many bytes from `position` on, without making the file longer. A wish: a write finds out what it got.
    fn reserve(&self, _position: u64, _bytes: u64) {}
    /// Begins to bring what was written to the disk, without waiting for it. A wish: only `sync_data` says what came of it.
    fn write_behind(&self) {}
    /// Whether these bytes are in memory, as far as that can be told without waiting for the disk.
    fn is_at_hand(&self, _position: u64, _bytes: usize) -> bool {
        true
    }
    /// Waits until the disk has brought these bytes, and has it begin with as many behind them. A wish: whoever reads them finds
    /// out what came of it.
    fn bring(&self, _position: u64, _bytes: usize) {}
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
    /// A file that is there and keeps its length, written in whole blocks from memory that begins at one (`Blocks`): past
    /// the page cache, where there is a way.
    fn open_direct(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        self.open(path, false)
    }
    /// What a write to such a file begins and ends at.
    fn block_bytes(&self) -> usize {
        512
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Writes a small file so that it is there whole or not at all. With `sync`, it survives a power failure.
    fn write_atomically(&self, path: &Path, bytes: &[u8], sync: bool) -> io::Result<()>;
    /// One more name for a file that is never written again. Not every file system has such, nor any number of them.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// File names.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    fn size(&self, path: &Path) -> io::Result<u64>;
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// With all files in it; none is needed any more.
    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.list(dir)?.iter().try_for_each(|name| self.remove(&dir.join(name)))
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    fn exists(&self, path: &Path) -> bool;
}

/// With less than this left on a disk, nothing of it is set aside for later.
#[cfg(target_os = "linux")]
const RESERVES_ABOVE_BYTES: u64 = 1 << 30;

/// The kernel takes no more at a call.
#[cfg(target_os = "linux")]
const IO_SLICES_MAX: usize = 1024;
const BLOCK_BYTES: usize = 4096;
/// The kernel reads no more ahead at a call.
#[cfg(target_os = "linux")]
const AHEAD_BYTES: usize = 128 << 10;

/// Memory that begins at a block's start, as writes past the page cache want it.
#[derive(Default)]
pub struct Blocks(Vec<u8>);

impl Blocks {
    /// So many bytes, with whatever was in them before.
    pub fn first(&mut self, count: usize) -> &mut [u8] {
        if self.0.len() < count + BLOCK_BYTES {
            self.0.resize((count + BLOCK_BYTES).next_power_of_two(), 0);
        }
        let start = self.0.as_ptr().align_offset(BLOCK_BYTES);
        &mut self.0[start..start + count]
    }
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

    #[cfg(target_os = "linux")]
    fn write_parts_at(&self, mut parts: &mut [IoSlice<'_>], mut position: u64) -> io::Result<()> {
        while !parts.is_empty() {
            let count = parts.len().min(IO_SLICES_MAX) as libc::c_int;
            // SAFETY: an IoSlice is laid out as an iovec is, all of them outlive the call, and the descriptor is open.
            let wrote =
                unsafe { libc::pwritev(self.0.as_raw_fd(), parts.as_ptr().cast(), count, position as libc::off_t) };
            match usize::try_from(wrote) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(wrote) => {
                    position += wrote as u64;
                    IoSlice::advance_slices(&mut parts, wrote);
                }
                Err(_) => match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::Interrupted => {}
                    error => return Err(error),
                },
            }
        }
        Ok(())
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

    #[cfg(target_os = "linux")]
    fn reserve(&self, position: u64, bytes: u64) {
        let (Ok(position), Ok(bytes)) = (position.try_into(), bytes.try_into()) else { return };
        // SAFETY: a zeroed statvfs is a valid value of that plain struct.
        let mut space: libc::statvfs = unsafe { std::mem::zeroed() };
        // SAFETY: the descriptor is open, and `space` is a valid place for the call to fill.
        let known = unsafe { libc::fstatvfs(self.0.as_raw_fd(), &mut space) } == 0;
        if !known || space.f_bavail.saturating_mul(space.f_frsize) < RESERVES_ABOVE_BYTES {
            return;
        }
        // SAFETY: fallocate takes no pointers, and the descriptor is open for the call.
        unsafe { libc::fallocate(self.0.as_raw_fd(), libc::FALLOC_FL_KEEP_SIZE, position, bytes) };
    }

    /// Asks for no word of how it went, so that a failure is left for `sync_data` to tell.
    #[cfg(target_os = "linux")]
    fn write_behind(&self) {
        // SAFETY: sync_file_range takes no pointers, and the descriptor is open for the call.
        unsafe { libc::sync_file_range(self.0.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
    }

    /// The first and the last byte are asked for: the kernel brings what lies between them in order, and drops it so.
    #[cfg(target_os = "linux")]
    fn is_at_hand(&self, position: u64, bytes: usize) -> bool {
        let is_there = |at: u64| {
            let mut byte = 0u8;
            let slice = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
            // SAFETY: one slice of one byte, which outlives the call; the descriptor is open.
            let read = unsafe { libc::preadv2(self.0.as_raw_fd(), &slice, 1, at as libc::off_t, libc::RWF_NOWAIT) };
            read >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::WouldBlock
        };
        bytes == 0 || (is_there(position + bytes as u64 - 1) && is_there(position))
    }

    #[cfg(target_os = "linux")]
    fn bring(&self, position: u64, bytes: usize) {
        let (begin, end) = (position, position + bytes as u64);
        for at in (begin..end + bytes as u64).step_by(AHEAD_BYTES) {
            // SAFETY: readahead takes no pointers, and the descriptor is open for the call.
            unsafe { libc::readahead(self.0.as_raw_fd(), at as libc::off64_t, AHEAD_BYTES) };
        }
        for at in (begin..end).step_by(AHEAD_BYTES).chain(end.checked_sub(1)) {
            let _ = self.0.read_at(&mut [0], at);
        }
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

    /// Not every file system has a way past the page cache, and not every disk has blocks as small as ours: one is read to
    /// find out.
    #[cfg(target_os = "linux")]
    fn open_direct(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        use std::os::unix::fs::OpenOptionsExt;
        let direct = File::options().read(true).write(true).custom_flags(libc::O_DIRECT).open(path);
        match direct.and_then(|file| file.read_at(Blocks::default().first(BLOCK_BYTES), 0).map(|_| file)) {
            Ok(file) => Ok(Arc::new(RealFile(file))),
            Err(_) => self.open(path, false),
        }
    }

    fn block_bytes(&self) -> usize {
        BLOCK_BYTES
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

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir)? {
            found.extend(entry?.file_name().into_string());
        }
        Ok(found)
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        fs::metadata(path).map(|found| found.len())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }
}

/// What is not there is removed already.
pub fn remove_if_there(storage: &dyn Storage, path: &Path) -> Result<()> {
    match storage.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::storage(path, error)),
        _ => Ok(()),
    }
}
