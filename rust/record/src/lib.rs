//! The bytes of a record batch (format v2): reading, patching in place, building, compressing, validating. Pure.
//!
//! Not here: files, offsets of a log, leadership. Sources: the Kafka protocol guide; KIP-98, KIP-101, KIP-110.

pub mod batch;
pub mod builder;
pub mod compression;
pub mod control;
pub mod crc32c;
pub mod records;
pub mod skim;
pub mod validate;
pub mod varint;

pub use batch::{BatchView, Batches, HEADER_BYTES, TimestampType};
pub use builder::{BatchBuilder, BatchFacts, NewRecord};
pub use compression::Codec;
pub use records::{RecordRef, Records};
pub use skim::{Skim, Skimmed};
pub use validate::{AppendRules, ProduceError, Validated, validate_produce};

use std::fmt;

/// Bytes that are not what they should be, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    Truncated {
        what: &'static str,
        at: usize,
    },
    Invalid {
        what: &'static str,
        at: usize,
    },
    /// A payload would inflate beyond what the caller allows.
    TooLarge {
        bytes_max: usize,
    },
    Codec {
        codec: Codec,
        why: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Truncated { what, at } => write!(f, "{what} is cut short at byte {at}"),
            Error::Invalid { what, at } => write!(f, "{what} at byte {at}"),
            Error::TooLarge { bytes_max } => write!(f, "the records inflate beyond {bytes_max} bytes"),
            Error::Codec { codec, why } => write!(f, "cannot decompress {}: {why}", codec.name()),
        }
    }
}

impl std::error::Error for Error {}

pub type Result<T> = std::result::Result<T, Error>;
