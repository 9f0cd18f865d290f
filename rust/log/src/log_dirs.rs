//! A log directory: its lock, its checkpoints, the names of what lies in it.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use crate::checkpoints::{self, Offsets};
use crate::log::Log;
use crate::moving::{self, Settled};
use crate::names::{is_doomed, parse_future_dir_name, parse_partition_dir_name, stray_dir_name};
use crate::recovery_report::Stop;
use crate::storage::{FileStorage, Storage};
use crate::{Error, Result};

/// One of `log.dirs`, locked for this process.
pub struct LogDir {
    path: PathBuf,
    clean: bool,
    broker_epoch: Option<i64>,
    recovery_points: Offsets,
    log_start_offsets: Offsets,
    high_watermarks: Offsets,
    existing: HashSet<String>,
    /// Of these: what was not opened since.
    unclaimed: HashSet<String>,
    /// Directories of logs that were to move here, and of those that were to be removed.
    futures: Vec<String>,
    doomed: Vec<String>,
    /// The run of the machine and the mount in which this directory's files are written, as far as the system tells.
    life: Option<String>,
    /// All that the files hold was found whole, or was written, within this very life.
    outlived: bool,
    /// Partitions of which that is not known yet.
    unproven: HashSet<String>,
    _lock: File,
}

/// Names the life that this directory's files were last known to be whole in.
const LIFE: &str = ".last-life";
/// Read by the metadata log itself, and always in full.
pub const METADATA_PARTITION: &str = "__cluster_metadata-0";

/// What tells that the system has lost nothing of what was written: it has not been started anew, nor has the directory
/// been mounted anew. None where it cannot be told.
#[cfg(target_os = "linux")]
fn life_of(path: &Path) -> Option<String> {
    use std::os::unix::ffi::OsStrExt;
    /// Never given twice within a run of the system (Linux 6.8).
    const STATX_MNT_ID_UNIQUE: u32 = 0x4000;
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: a zeroed statx is a valid value of that plain struct.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the path is a C string and `found` lives for the call.
    let told = unsafe { libc::statx(libc::AT_FDCWD, path.as_ptr(), 0, STATX_MNT_ID_UNIQUE, &mut found) };
    let is_known = told == 0 && found.stx_mask & STATX_MNT_ID_UNIQUE != 0;
    is_known.then(|| format!("{} {}", boot.trim(), found.stx_mnt_id))
}

#[cfg(not(target_os = "linux"))]
fn life_of(_: &Path) -> Option<String> {
    None
}

/// Offsets of a directory's partitions, on their way to the checkpoints.
#[derive(Default)]
pub struct DirOffsets {
    recovery_points: Vec<(String, i32, i64)>,
    log_start_offsets: Vec<(String, i32, i64)>,
    high_watermarks: Vec<(String, i32, i64)>,
}

impl DirOffsets {
    pub fn add(&mut self, topic: &str, partition: i32, log: &Log, high_watermark: i64) {
        let entry = |offset| (topic.to_owned(), partition, offset);
        self.recovery_points.push(entry(log.recovery_point()));
        if log.log_start_offset() > log.first_segment_base() {
            self.log_start_offsets.push(entry(log.log_start_offset()));
        }
        self.high_watermarks.push(entry(high_watermark));
    }
}

fn lock(path: &Path) -> Result<File> {
    let file = File::options().write(true).create(true).truncate(false).open(path);
    let file = file.map_err(|e| Error::storage(path, e))?;
    // SAFETY: a zeroed flock is a valid value of that plain struct; only its type is set, the rest means the whole file.
    let mut wanted: libc::flock = unsafe { std::mem::zeroed() };
    wanted.l_type = libc::F_WRLCK as libc::c_short;
    // SAFETY: the descriptor is open and `wanted` lives for the call.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &wanted) } < 0 {
        let why = std::io::Error::new(
            std::io::ErrorKind::WouldBlock,
            "another broker has this log directory open; stop it, or give this one a log.dirs of its own",
        );
        return Err(Error::storage(path, why));
    }
    Ok(file)
}

/// Names of the directories in `path`. A file may be called as if it were one: a journal's name ends with its number.
fn directories(path: &Path) -> std::io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() || (kind.is_symlink() && entry.path().is_dir()) {
            found.extend(entry.file_name().into_string());
        }
    }
    Ok(found)
}

/// One call for a whole file system, instead of one for each of a directory's many files.
fn sync_file_system(path: &Path) -> std::io::Result<()> {
    let dir = File::open(path)?;
    #[cfg(target_os = "linux")]
    // SAFETY: the descriptor is open for the call.
    if unsafe { libc::syncfs(dir.as_raw_fd()) } < 0 {
        return Err(std::io::Error::last_os_error());
    }
    #[cfg(not(target_os = "linux"))]
    // SAFETY: takes nothing and changes nothing of this process.
    unsafe {
        libc::sync()
    };
    drop(dir);
    Ok(())
}

impl LogDir {
    /// Locks the directory, reads its checkpoints, and takes the mark of a clean stop away.
    pub fn open(path: &Path) -> Result<LogDir> {
        let storage = &FileStorage;
        let _lock = lock(&path.join(".lock"))?;
        let (clean, broker_epoch) = checkpoints::take_clean_shutdown(storage, path)?;
        let offsets = |name| checkpoints::read_offsets(storage, &path.join(name));
        let names = directories(path).map_err(|e| Error::storage(path, e))?;
        let (mut existing, mut futures, mut doomed) = (HashSet::new(), Vec::new(), Vec::new());
        for name in names {
            match name {
                name if parse_partition_dir_name(&name).is_some() => drop(existing.insert(name)),
                name if parse_future_dir_name(&name).is_some() => futures.push(name),
                name if is_doomed(&name) => doomed.push(name),
                _ => {}
            }
        }
        let life = life_of(path);
        let last = storage.read(&path.join(LIFE)).ok();
        let outlived = life.is_some() && last.as_deref() == life.as_deref().map(str::as_bytes);
        let unproven = if clean || outlived { HashSet::new() } else { existing.clone() };
        let mut opened = LogDir {
            clean,
            broker_epoch,
            recovery_points: offsets(checkpoints::RECOVERY_POINTS)?,
            log_start_offsets: offsets(checkpoints::LOG_START_OFFSETS)?,
            high_watermarks: offsets(checkpoints::HIGH_WATERMARKS)?,
            unclaimed: existing.clone(),
            existing,
            futures,
            doomed,
            life,
            outlived,
            unproven,
            path: path.to_owned(),
            _lock,
        };
        opened.proved(METADATA_PARTITION);
        Ok(opened)
    }

    /// How the last process to use it ended, if it did not end cleanly.
    pub fn stop(&self) -> Stop {
        if self.outlived { Stop::Killed } else { Stop::Unknown }
    }

    /// A partition's log was opened, and so found whole. Once all were, a process that is killed leaves no more to be proved.
    pub fn proved(&mut self, dir_name: &str) {
        self.unclaimed.remove(dir_name);
        self.unproven.remove(dir_name);
        if let Some(life) = self.life.take_if(|_| self.unproven.is_empty()) {
            // Without it the next start reads more; and what a power failure leaves of it names another life.
            let _ = std::fs::write(self.path.join(LIFE), life);
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last process to use it said that it closed everything.
    pub fn was_clean(&self) -> bool {
        self.clean
    }

    /// The broker epoch that the last clean stop names.
    pub fn broker_epoch(&self) -> Option<i64> {
        self.broker_epoch
    }

    pub fn has_partition(&self, dir_name: &str) -> bool {
        self.existing.contains(dir_name)
    }

    /// Names of the partition directories that were here at the start.
    pub fn existing(&self) -> impl Iterator<Item = &str> {
        self.existing.iter().map(String::as_str)
    }

    /// Those of them that nobody has opened since.
    pub fn unclaimed(&self) -> impl Iterator<Item = &str> {
        self.unclaimed.iter().map(String::as_str)
    }

    /// Renames a partition's directory that is of no partition any more; it stays, and nobody looks at it again.
    pub fn set_aside(&mut self, dir_name: &str, unique: &str) -> Result<PathBuf> {
        let (from, to) = (self.path.join(dir_name), self.path.join(stray_dir_name(dir_name, unique)));
        let renamed = FileStorage.rename(&from, &to).and_then(|()| FileStorage.sync_dir(&self.path));
        renamed.map_err(|e| Error::storage(&from, e))?;
        self.existing.remove(dir_name);
        self.proved(dir_name);
        Ok(to)
    }

    /// What the last process had no time to remove.
    pub fn doomed(&self) -> impl Iterator<Item = PathBuf> {
        self.doomed.iter().map(|name| self.path.join(name))
    }

    pub fn recovery_point(&self, topic: &str, partition: i32) -> i64 {
        self.recovery_points.get(&(topic.to_owned(), partition)).copied().unwrap_or(0)
    }

    pub fn log_start_offset(&self, topic: &str, partition: i32) -> Option<i64> {
        self.log_start_offsets.get(&(topic.to_owned(), partition)).copied()
    }

    pub fn high_watermark(&self, topic: &str, partition: i32) -> Option<i64> {
        self.high_watermarks.get(&(topic.to_owned(), partition)).copied()
    }

    pub fn write_checkpoints(&self, offsets: &DirOffsets) -> Result<()> {
        let write = |name, entries: &[_]| checkpoints::write_offsets(&FileStorage, &self.path.join(name), entries);
        write(checkpoints::RECOVERY_POINTS, &offsets.recovery_points)?;
        write(checkpoints::LOG_START_OFFSETS, &offsets.log_start_offsets)?;
        write(checkpoints::HIGH_WATERMARKS, &offsets.high_watermarks)?;
        let cleaner = self.path.join(checkpoints::CLEANER_OFFSETS);
        if !cleaner.exists() {
            checkpoints::write_offsets(&FileStorage, &cleaner, &[])?;
        }
        Ok(())
    }

    /// Brings all that is in the directory to the disk, in one go: what its logs wrote as they were closed, and never synced.
    pub fn sync(&self) -> Result<()> {
        sync_file_system(&self.path).map_err(|e| Error::storage(&self.path, e))
    }

    /// Says that every log here was closed, and is on the disk. The next start trusts it.
    pub fn write_clean_shutdown(&self, broker_epoch: i64) -> Result<()> {
        checkpoints::write_clean_shutdown(&FileStorage, &self.path, broker_epoch)
    }
}

/// Ends the moves that a stop interrupted; gives those that are to be begun again: the partition's directory name, and which
/// of `dirs` it is to move to. `are_all_here`: no other directory may hold the log that was to move; what was copied of one
/// that is in none of them was left by a topic that is no more, and is removed.
pub fn settle_moves(dirs: &mut [LogDir], are_all_here: bool) -> Result<HashMap<String, usize>> {
    let mut again = HashMap::new();
    for at in 0..dirs.len() {
        for future in std::mem::take(&mut dirs[at].futures) {
            let Some(name) = parse_future_dir_name(&future).map(str::to_owned) else { continue };
            let stands = dirs.iter().any(|dir| dir.has_partition(&name));
            let dir = &mut dirs[at];
            let path = dir.path.join(&future);
            match moving::settle(&FileStorage, &path, &dir.path.join(&name), stands)? {
                Settled::Again if !dir.has_partition(&name) => drop(again.insert(name, at)),
                Settled::Here => {
                    if !dir.clean && !dir.outlived {
                        dir.unproven.insert(name.clone());
                    }
                    dir.unclaimed.insert(name.clone());
                    dir.existing.insert(name);
                }
                Settled::Elsewhere if are_all_here => {
                    FileStorage.remove_dir(&path).map_err(|e| Error::storage(&path, e))?;
                }
                Settled::Again | Settled::Elsewhere => {}
            }
        }
    }
    Ok(again)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::future_dir_name;

    #[test]
    fn a_directory_outlives_a_kill_once_all_that_it_held_was_proved() {
        let dir = std::env::temp_dir().join(format!("pykafkacore-life-{}", std::process::id()));
        for name in ["a-0", "a-1", METADATA_PARTITION] {
            std::fs::create_dir_all(dir.join(name)).unwrap();
        }
        let Some(life) = life_of(&dir) else { return };
        let mut first = LogDir::open(&dir).unwrap();
        assert_eq!(first.stop(), Stop::Unknown);
        first.proved("a-0");
        drop(first);
        let mut second = LogDir::open(&dir).unwrap();
        assert_eq!(second.stop(), Stop::Unknown, "a-1 was not proved");
        ["a-0", "a-1"].iter().for_each(|name| second.proved(name));
        drop(second);
        assert_eq!(LogDir::open(&dir).unwrap().stop(), Stop::Killed);
        std::fs::write(dir.join(LIFE), life.replace(' ', "0 ")).unwrap();
        assert_eq!(LogDir::open(&dir).unwrap().stop(), Stop::Unknown, "another run of the machine");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn files_are_no_partitions_whatever_they_are_called() {
        let dir = std::env::temp_dir().join(format!("pykafkacore-files-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("a-0")).unwrap();
        std::fs::create_dir_all(dir.join(METADATA_PARTITION)).unwrap();
        std::fs::write(dir.join(".journal-00000001795298548619-1"), "").unwrap();
        let mut opened = LogDir::open(&dir).unwrap();
        assert_eq!(opened.unclaimed().collect::<Vec<_>>(), ["a-0"]);
        assert!(!opened.has_partition(".journal-00000001795298548619-1"));
        let unique = "00112233445566778899aabbccddeeff";
        assert_eq!(opened.set_aside("a-0", unique).unwrap(), dir.join(format!("a-0.{unique}-stray")));
        assert_eq!(opened.unclaimed().count(), 0);
        drop(opened);
        assert_eq!(LogDir::open(&dir).unwrap().unclaimed().count(), 0);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_copy_of_a_log_that_is_nowhere_is_removed_once_no_directory_is_away() {
        let dir = std::env::temp_dir().join(format!("pykafkacore-futures-{}", std::process::id()));
        let unique = "00112233445566778899aabbccddeeff";
        let (gone, moving) = (dir.join(future_dir_name("gone-0", unique)), dir.join(future_dir_name("here-0", unique)));
        for path in [&gone, &moving, &dir.join("here-0")] {
            std::fs::create_dir_all(path).unwrap();
        }
        std::fs::write(gone.join("00000000000000000000.log"), "copied").unwrap();
        let settle = |are_all_here| settle_moves(&mut [LogDir::open(&dir).unwrap()], are_all_here).unwrap();
        assert!(settle(false).is_empty(), "a move to where the log is has ended");
        assert!(gone.exists() && !moving.exists());
        assert!(settle(true).is_empty());
        assert!(!gone.exists() && dir.join("here-0").exists());
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_directory_is_locked_and_its_clean_mark_read_once() {
        let dir = std::env::temp_dir().join(format!("pykafkacore-log-dir-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        checkpoints::write_clean_shutdown(&FileStorage, &dir, 7).unwrap();
        let opened = LogDir::open(&dir).unwrap();
        assert_eq!((opened.was_clean(), opened.broker_epoch()), (true, Some(7)));
        drop(opened);
        assert!(!LogDir::open(&dir).unwrap().was_clean());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
