//! What an append is told: where its batch stands now, or why it was refused.

use bytes::BytesMut;
use wire::ErrorCode;
use wire::produce::CurrentLeader;

use crate::leadership::Refused;
use crate::waiting::Wanted;

/// A batch that a client sent, with what its request said.
pub struct Offered {
    pub batch: BytesMut,
    pub acks: i16,
    pub api_version: i16,
}

pub type Told = Result<Appended, ProduceFailure>;

/// A successful append.
#[derive(Clone, Copy, Debug)]
pub struct Appended {
    pub first_offset: i64,
    pub last_offset: i64,
    pub log_append_time_ms: i64,
    pub log_start_offset: i64,
    pub high_watermark: i64,
    /// None where nobody waits for the disk.
    pub synced_offset: Option<i64>,
}

impl Appended {
    /// What a producer is to wait for before it is told.
    pub fn wanted(&self, acks: i16) -> Option<Wanted> {
        match acks {
            -1 if self.last_offset >= self.high_watermark => Some(Wanted::HighWatermark(self.last_offset + 1)),
            1 if self.synced_offset.is_some_and(|synced| self.last_offset >= synced) => {
                Some(Wanted::Synced(self.last_offset + 1))
            }
            _ => None,
        }
    }
}

/// A batch of the control plane's own: records of a coordinator, or the marker of a transaction.
pub struct Decided {
    pub batch: BytesMut,
    /// Refused in any other leader epoch, and at any other end of the log.
    pub at: Option<(i32, i64)>,
    pub transaction_version: i8,
}

/// Why a batch was refused.
#[derive(Debug)]
pub struct ProduceFailure {
    pub error: ErrorCode,
    pub message: Option<String>,
    pub record_errors: Vec<(i32, String)>,
    pub current_leader: Option<CurrentLeader>,
    pub log_start_offset: i64,
}

impl ProduceFailure {
    pub fn new(error: ErrorCode, message: impl Into<Option<String>>) -> Self {
        ProduceFailure {
            error,
            message: message.into(),
            record_errors: Vec::new(),
            current_leader: None,
            log_start_offset: -1,
        }
    }

    pub fn refused((error, current_leader): Refused) -> Self {
        ProduceFailure { current_leader, ..ProduceFailure::new(error, None) }
    }
}
