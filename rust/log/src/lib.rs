//! One partition's log on disk, in Apache Kafka's own file formats. No clock and no socket of its own.
//!
//! ```text
//!   log            segments in order, reads, leader epochs, producers              recovery  opening, clean or not
//!   segment        one .log with its two indexes                                    lookup    offsets by time
//!   index          .index and .timeindex     txn_index .txnindex                    retention what may go
//!   producer_state idempotence, .snapshot    leader_epochs leader-epoch-checkpoint
//!   checkpoints    small text files          log_dirs  a directory of partitions    storage   the file system
//!   flush          to the disk, in three steps                                      config    settings
//!   journal        of a directory: what is acknowledged once it is on the disk      names     of files and directories
//!   cleaner        compaction                scrub  sealed segments, looked at again
//!   moving         to another log directory
//!   recovery_report  what opening came to      rolling  when a segment is full      slice     what a read gives
//!   producers      of one log, with their snapshots                                 scanner   of batches, trusting none
//!   appending      batches that come together, by one write
//!   layout         which files make a log    handles   files kept open              memory    one that forgets
//! ```
//!
//! INVARIANT: a write or sync that failed is never tried again; the log refuses every later append. Only a write for which
//! there was no room is undone, and the log goes on.
//! INVARIANT: index files hold whole entries and nothing else (Kafka trusts their length after a clean stop).

mod appending;
pub mod checkpoints;
pub mod cleaner;
pub mod config;
pub mod flush;
mod handles;
pub mod index;
pub mod journal;
mod layout;
pub mod leader_epochs;
mod log;
pub mod log_dirs;
mod lookup;
pub mod memory;
pub mod moving;
pub mod names;
pub mod producer_state;
mod producers;
mod recovery;
mod recovery_report;
pub mod retention;
mod rolling;
mod scanner;
pub mod scrub;
mod segment;
mod slice;
pub mod storage;
pub mod txn_index;

/// What comes together, and most often alone: one is no allocation.
pub type Few<T> = smallvec::SmallVec<[T; 1]>;

pub use self::appending::AppendInfo;
pub use self::config::{CompactionRules, LogConfig, RetentionRules};
pub use self::flush::Flush;
pub use self::log::Log;
pub use self::lookup::TimestampOffset;
pub use self::recovery::OpenOptions;
pub use self::recovery_report::{Recovered, RecoveryReport, Stop, Truncated};
pub use self::retention::Doomed;
pub use log_dirs::{DirOffsets, LogDir};
pub use names::partition_dir_name;
pub use producer_state::{ActiveProducer, LastRecord, ProducerCheck, ProducerError, follows};
pub use slice::{ReadError, ReadSlice, Region};
pub use storage::{FileStorage, Storage, StorageFile};

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub enum Error {
    /// The file system refused, and where.
    Storage { path: PathBuf, why: Arc<std::io::Error> },
    /// A file does not hold what it should.
    Corrupt { path: PathBuf, why: String },
    /// Offsets or epochs that do not continue the log.
    Discontinuous { expected: i64, found: i64 },
    /// An earlier write failed, so nothing more is written.
    Poisoned { why: String },
}

impl Error {
    pub fn storage(path: &Path, why: std::io::Error) -> Error {
        Error::Storage { path: path.to_owned(), why: Arc::new(why) }
    }

    /// The disk, or a quota on it, is full: a write that was refused for that is undone, and may be tried again.
    pub fn is_no_space(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Error::Storage { why, .. } if matches!(why.kind(), StorageFull | QuotaExceeded))
    }

    pub fn corrupt(path: &Path, why: impl Into<String>) -> Error {
        Error::Corrupt { path: path.to_owned(), why: why.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Storage { path, why } => write!(f, "{}: {why}", path.display()),
            Error::Corrupt { path, why } => write!(f, "{}: {why}", path.display()),
            Error::Discontinuous { expected, found } => write!(f, "offset {found} where {expected} was due"),
            Error::Poisoned { why } => write!(f, "closed for writing after a failure: {why}"),
        }
    }
}

impl std::error::Error for Error {}

pub type Result<T> = std::result::Result<T, Error>;
