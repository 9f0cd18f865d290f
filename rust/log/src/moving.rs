//! A log on its way to another log directory: copied file by file while it goes on being written, then swapped.
//!
//! ```text
//!   begin    <target>/<topic>-<partition>.<unique>-future, with the identity of the topic
//!   next     what is to be copied, told under the log's lock        carry   copies it, without
//!   arrive   under the lock: the rest is copied, all of it is on the disk, and looks as the log does; then, in this order
//!              .whole in the future directory     from here on it stands for the log, if that is not there
//!              the log's directory to -delete     from here on it does
//!              the future one to its real name
//! ```
//!
//! INVARIANT: until the last step but one, the log where it is is the truth; what lies in the future directory may be thrown
//! away at any time. Each of the last three steps is on the disk before the next is taken.
//! INVARIANT: while a log moves, no segment of it is deleted or compacted; one that was cut is copied anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::checkpoints::{sync_partition_metadata, write_partition_metadata};
use crate::log::Log;
use crate::names::file_name;
use crate::recovery::OpenOptions;
use crate::segment::Segment;
use crate::storage::{Storage, StorageFile, remove_if_there};
use crate::{Error, Result, leader_epochs};

/// In a future directory: all of the log is here.
pub const WHOLE: &str = ".whole";

pub struct Moving {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    topic_id: [u8; 16],
    cuts: u64,
    /// The segment that is being copied, and how much of it is.
    base_offset: i64,
    position: u64,
    copied_bytes: u64,
}

/// What is to be copied next.
pub enum Piece {
    /// Bytes of a segment.
    Part { file: Arc<dyn StorageFile>, len: usize },
    /// The segment is sealed, and all of its bytes are copied: what goes with it is next.
    Sealed { source: PathBuf, next_base: i64 },
    /// There is no more.
    End,
    /// The log was cut: what was copied is void.
    Void,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub copied_bytes: u64,
    /// How far behind the end of the log the copy is, at most.
    pub offset_lag: i64,
}

/// Where a log goes, and what becomes of the directory that it leaves.
pub struct Destination {
    pub dir: PathBuf,
    pub doomed: PathBuf,
    pub now_ms: i64,
}

impl Moving {
    /// Makes the future directory. Its name is on the disk when this returns: the move is begun again after any stop.
    pub fn begin(log: &Log, dir: PathBuf, topic_id: [u8; 16]) -> Result<Moving> {
        let storage = log.storage.clone();
        storage.create_dir(&dir).map_err(|e| Error::storage(&dir, e))?;
        write_partition_metadata(&*storage, &dir, &topic_id)?;
        sync_partition_metadata(&*storage, &dir)?;
        sync_dir(&*storage, &dir)?;
        sync_parent(&*storage, &dir)?;
        let base_offset = log.first_segment_base();
        Ok(Moving { storage, dir, topic_id, cuts: log.cuts, base_offset, position: 0, copied_bytes: 0 })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Throws away what was copied.
    pub fn abandon(&self) -> Result<()> {
        self.storage.remove_dir(&self.dir).map_err(|e| Error::storage(&self.dir, e))
    }

    fn place(&self, log: &Log) -> Option<usize> {
        let at = log.segments.binary_search_by_key(&self.base_offset, |segment| segment.base_offset).ok()?;
        (log.cuts == self.cuts && self.position <= log.segments[at].size).then_some(at)
    }

    pub fn next(&self, log: &Log, bytes_max: usize) -> Result<Piece> {
        let Some(at) = self.place(log) else { return Ok(Piece::Void) };
        let segment = &log.segments[at];
        let left = segment.size - self.position;
        if left > 0 {
            let file = segment.file(&*self.storage)?;
            return Ok(Piece::Part { file, len: bytes_max.min(usize::try_from(left).unwrap_or(bytes_max)) });
        }
        Ok(match log.segments.get(at + 1) {
            Some(next) => Piece::Sealed { source: log.dir.clone(), next_base: next.base_offset },
            None => Piece::End,
        })
    }

    /// As of now, where the copy's end is known to the index' precision.
    pub fn progress(&self, log: &Log) -> Progress {
        let end_offset = self.place(log).map_or(log.start_offset, |at| {
            let segment = &log.segments[at];
            match self.position {
                position if position == segment.size => {
                    log.segments.get(at + 1).map_or(log.end_offset, |s| s.base_offset)
                }
                position => {
                    let hint = segment.offset_index.hint_at(&*self.storage, position);
                    hint.last_offset.unwrap_or(segment.base_offset)
                }
            }
        });
        Progress { copied_bytes: self.copied_bytes, offset_lag: (log.end_offset - end_offset).max(0) }
    }

    /// Copies a piece; gives the bytes read. A sealed segment is on the disk, with all that goes with it, when this returns.
    pub fn carry(&mut self, piece: &Piece) -> Result<usize> {
        match piece {
            Piece::Part { file, len } => self.carry_part(&**file, *len),
            Piece::Sealed { source, next_base } => {
                self.sync_log()?;
                let base_offset = self.base_offset;
                let companions = Segment::file_suffixes().into_iter().skip(1).map(|suffix| (base_offset, suffix));
                let mut bytes = 0;
                for (base_offset, suffix) in companions.chain([(*next_base, ".snapshot")]) {
                    bytes += self.copy_file(source, &file_name(base_offset, suffix))?;
                }
                (self.base_offset, self.position) = (*next_base, 0);
                Ok(bytes)
            }
            Piece::End | Piece::Void => Ok(0),
        }
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join(file_name(self.base_offset, ".log"))
    }

    fn carry_part(&mut self, file: &dyn StorageFile, len: usize) -> Result<usize> {
        let path = self.log_path();
        let mut bytes = vec![0; len];
        let read = file.read_at(&mut bytes, self.position).map_err(|e| Error::storage(&path, e))?;
        let target = self.storage.open(&path, true).map_err(|e| Error::storage(&path, e))?;
        target.write_at(&bytes[..read], self.position).map_err(|e| Error::storage(&path, e))?;
        self.position += read as u64;
        self.copied_bytes += read as u64;
        if read < len {
            return Err(Error::corrupt(&path, format!("what it is copied from is cut short at {}", self.position)));
        }
        Ok(read)
    }

    /// Also makes the file of a segment without a byte.
    fn sync_log(&self) -> Result<()> {
        let path = self.log_path();
        let sync = || self.storage.open(&path, true)?.sync_data();
        sync().map_err(|e| Error::storage(&path, e))
    }

    fn copy_file(&self, source: &Path, name: &str) -> Result<usize> {
        let (from, to) = (source.join(name), self.dir.join(name));
        let bytes = match self.storage.read(&from) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(Error::storage(&from, error)),
        };
        let write = || {
            let file = self.storage.open(&to, true)?;
            file.truncate(0)?;
            file.write_at(&bytes, 0)?;
            file.sync_data()
        };
        write().map_err(|e| Error::storage(&to, e))?;
        Ok(bytes.len())
    }

    /// The last bytes of a log that nobody appends to meanwhile: gives the log where it is from now on. Where this fails
    /// before the first of the renames, the log goes on where it was; behind that, it is closed for writing.
    pub fn arrive(&mut self, log: &mut Log, to: &Destination) -> Result<Log> {
        loop {
            match self.next(log, CHUNK_BYTES)? {
                Piece::Void => return Err(Error::corrupt(&self.dir, "the log was cut meanwhile")),
                Piece::End => break,
                piece => self.carry(&piece)?,
            };
        }
        self.carry_the_rest(log)?;
        self.check(log, to.now_ms)?;
        let mark = self.dir.join(WHOLE);
        self.storage.write_atomically(&mark, b"", true).map_err(|e| Error::storage(&mark, e))?;
        let renamed = self.swap(log, to);
        renamed.inspect_err(|error| log.poison(&format!("half moved to {}: {error}", to.dir.display())))
    }

    fn carry_the_rest(&mut self, log: &mut Log) -> Result<()> {
        log.write_for_move()?;
        self.sync_log()?;
        for suffix in &Segment::file_suffixes()[1..] {
            self.copy_file(&log.dir, &file_name(self.base_offset, suffix))?;
        }
        self.copy_file(&log.dir, &file_name(log.end_offset, ".snapshot"))?;
        if !log.epochs.entries().is_empty() {
            let (path, text) = (self.dir.join(leader_epochs::FILE_NAME), log.epochs.text());
            self.storage.write_atomically(&path, text.as_bytes(), true).map_err(|e| Error::storage(&path, e))?;
        }
        sync_dir(&*self.storage, &self.dir)
    }

    fn open(&self, log: &Log, dir: &Path, now_ms: i64) -> Result<Log> {
        let (opened, _) = Log::open(OpenOptions {
            storage: self.storage.clone(),
            dir: dir.to_owned(),
            topic_id: self.topic_id,
            sibling: None,
            config: log.config.clone(),
            clean_shutdown: true,
            recovery_point: log.end_offset,
            log_start_offset: Some(log.start_offset),
            now_ms,
        })?;
        Ok(opened)
    }

    /// What was copied opens as the log that it is of.
    fn check(&self, log: &Log, now_ms: i64) -> Result<()> {
        let copy = self.open(log, &self.dir, now_ms)?;
        let shape = |log: &Log| -> Vec<(i64, u64)> { log.segments.iter().map(|s| (s.base_offset, s.size)).collect() };
        let ends = |log: &Log| (log.start_offset, log.end_offset);
        if shape(&copy) == shape(log) && ends(&copy) == ends(log) && copy.epochs() == log.epochs() {
            return Ok(());
        }
        Err(Error::corrupt(&self.dir, format!("the copy has offsets {:?}, the log {:?}", ends(&copy), ends(log))))
    }

    fn swap(&self, log: &mut Log, to: &Destination) -> Result<Log> {
        let storage = &*self.storage;
        let rename = |from: &Path, to: &Path| {
            storage.rename(from, to).map_err(|e| Error::storage(from, e))?;
            sync_parent(storage, to)
        };
        rename(&log.dir, &to.doomed)?;
        rename(&self.dir, &to.dir)?;
        remove_if_there(storage, &to.dir.join(WHOLE))?;
        let mut moved = self.open(log, &to.dir, to.now_ms)?;
        moved.take_over(log);
        Ok(moved)
    }
}

const CHUNK_BYTES: usize = 1 << 20;

fn sync_dir(storage: &dyn Storage, dir: &Path) -> Result<()> {
    storage.sync_dir(dir).map_err(|e| Error::storage(dir, e))
}

fn sync_parent(storage: &dyn Storage, dir: &Path) -> Result<()> {
    dir.parent().map_or(Ok(()), |parent| sync_dir(storage, parent))
}

/// What became of a future directory that a start found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The log is where it was. What was copied is thrown away, and the move is to be begun again.
    Again,
    /// The log is here now, under its real name.
    Here,
    /// The log lies in a directory that is not to be had: nothing was touched.
    Elsewhere,
}

/// Ends what a stop interrupted. `stands`: whether the log is there, in any directory, under its real name `dir`.
pub fn settle(storage: &dyn Storage, future: &Path, dir: &Path, stands: bool) -> Result<Settled> {
    if stands {
        storage.remove_dir(future).map_err(|e| Error::storage(future, e))?;
        return Ok(Settled::Again);
    }
    if !storage.exists(&future.join(WHOLE)) {
        return Ok(Settled::Elsewhere);
    }
    storage.rename(future, dir).map_err(|e| Error::storage(future, e))?;
    sync_parent(storage, dir)?;
    remove_if_there(storage, &dir.join(WHOLE))?;
    Ok(Settled::Here)
}

impl Log {
    /// From now on no segment goes, nor is one compacted, until it is let go.
    pub fn hold_segments(&mut self, are_held: bool) {
        self.are_segments_held = are_held;
    }

    /// The active segment's indexes and the producers as of the end of the log are in their files.
    fn write_for_move(&mut self) -> Result<()> {
        self.guarded(|log| {
            let storage = log.storage.clone();
            log.active().write_indexes(&*storage)?;
            if log.end_offset > 0 { log.write_snapshot() } else { Ok(()) }
        })
    }

    /// What files do not tell, of the same log where it was before.
    fn take_over(&mut self, before: &mut Log) {
        self.producers.take_over(&mut before.producers);
        self.stable_on_disk = self.producers.state.last_stable_offset(self.end_offset);
        self.cuts = before.cuts + 1;
        self.recovery_point_seen = before.recovery_point_seen.max(self.recovery_point);
        for (segment, of_before) in self.segments.iter_mut().zip(&before.segments) {
            segment.created_ms = of_before.created_ms;
        }
        before.poison("it has moved");
    }
}
