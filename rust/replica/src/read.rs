//! A read of one partition on behalf of a Fetch: what is asked, what is told, and how the one follows from the other. From memory
//! if the hot tail has it, else as a region of a file; what only the disk has is named, so that no event loop waits for it.
//!
//! INVARIANT: nothing at or above the high watermark is told to a client, nor above the last stable offset to one that reads what
//! is committed. A replica reads to the end of the log.

use bytes::Bytes;
use log::{Log, Region};
use wire::ErrorCode;
use wire::fetch::{FetchPartition, FetchResult};
use wire::produce::CurrentLeader;

use crate::leadership::{Refused, Standing};
use crate::tail::Tail;
use crate::topic::TopicKey;

/// Payload of a read: from memory, or a region of a file.
pub enum Records {
    None,
    Memory { batches: Vec<Bytes>, bytes: usize },
    File(Region),
}

impl Records {
    #[allow(clippy::len_without_is_empty, reason = "a length in bytes, not a container")]
    pub fn len(&self) -> usize {
        match self {
            Records::None => 0,
            Records::Memory { bytes, .. } => *bytes,
            Records::File(region) => region.bytes,
        }
    }
}

/// One partition's part of a Fetch pass.
pub struct ReadRequest<'a> {
    pub request: &'a FetchPartition,
    pub replica_id: i32,
    pub isolation_level: i8,
    /// What is left of the whole request's limit.
    pub bytes_left: usize,
    /// Nothing has been read yet: give one batch however large.
    pub min_one: bool,
    /// For the disk, if need be.
    pub may_wait: bool,
}

pub struct ReadResult {
    pub error: ErrorCode,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
    pub aborted_transactions: Option<Vec<(i64, i64)>>,
    pub diverging: Option<(i32, i64)>,
    pub current_leader: Option<CurrentLeader>,
    pub records: Records,
    /// There is more to read than the limits let through, or than is in memory.
    pub held_back: bool,
    /// What is to be brought from the disk first.
    pub cold: Option<Region>,
}

impl ReadResult {
    pub fn failed(error: ErrorCode) -> ReadResult {
        ReadResult {
            error,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            aborted_transactions: Some(Vec::new()),
            diverging: None,
            current_leader: None,
            records: Records::None,
            held_back: false,
            cold: None,
        }
    }

    /// KAFKA: an error of the log has no list of aborted transactions, one that is found before has an empty one.
    pub fn refused((error, current_leader): Refused) -> ReadResult {
        let aborted_transactions = (error == ErrorCode::INVALID_REQUEST).then(Vec::new);
        ReadResult { current_leader, aborted_transactions, ..ReadResult::failed(error) }
    }

    pub fn told<'a>(&self, topic: &'a TopicKey, index: i32) -> FetchResult<'a> {
        FetchResult {
            topic: topic.name(),
            partition: index,
            error: self.error,
            high_watermark: self.high_watermark,
            last_stable_offset: self.last_stable_offset,
            log_start_offset: self.log_start_offset,
            aborted_transactions: self.aborted_transactions.clone(),
            preferred_read_replica: -1,
            diverging: self.diverging,
            current_leader: self.current_leader,
            records_bytes: self.records.len(),
        }
    }
}

const READ_COMMITTED: i8 = 1;

/// What a read sees of a replica that leads.
pub struct Readable<'a> {
    pub standing: &'a Standing,
    pub log: &'a Log,
    pub tail: &'a Tail,
    pub high_watermark: i64,
}

impl Readable<'_> {
    pub fn read(&self, read: &ReadRequest<'_>) -> Result<ReadResult, Refused> {
        let Readable { log, high_watermark, .. } = *self;
        let request = read.request;
        self.standing.check_reader(request.current_leader_epoch, read.replica_id)?;
        if request.partition_bytes_max < 0 || !(0..=READ_COMMITTED).contains(&read.isolation_level) {
            return Err((ErrorCode::INVALID_REQUEST, None));
        }
        let mut result = ReadResult {
            error: ErrorCode::NONE,
            high_watermark,
            last_stable_offset: log.last_stable_offset(high_watermark),
            log_start_offset: log.log_start_offset(),
            aborted_transactions: None,
            ..ReadResult::failed(ErrorCode::NONE)
        };
        if request.last_fetched_epoch >= 0 {
            result.diverging = self.divergence(request)?;
            if result.diverging.is_some() {
                return Ok(result);
            }
        }
        if request.fetch_offset < log.log_start_offset() || request.fetch_offset > log.log_end_offset() {
            return Err((ErrorCode::OFFSET_OUT_OF_RANGE, None));
        }
        let committed_only = read.isolation_level == READ_COMMITTED;
        let upper_offset = match (read.replica_id >= 0, committed_only) {
            (true, _) => log.log_end_offset(),
            (false, true) => result.last_stable_offset,
            (false, false) => high_watermark,
        };
        if committed_only {
            result.aborted_transactions = Some(Vec::new());
        }
        if request.fetch_offset >= upper_offset {
            self.tail.want();
            return Ok(result);
        }
        let bytes_max = read.bytes_left.min(request.partition_bytes_max as usize);
        let from_tail = self.tail.read(request.fetch_offset, upper_offset, bytes_max, read.min_one);
        if from_tail.is_none() && !read.may_wait {
            result.cold = log.cold(request.fetch_offset, bytes_max);
        }
        result.records = match from_tail {
            Some((_, 0)) => Records::None,
            Some((batches, bytes)) => Records::Memory { batches, bytes },
            None if result.cold.is_some() => Records::None,
            None => self.region(request.fetch_offset, upper_offset, bytes_max, read.min_one)?,
        };
        result.held_back = result.records.len() == 0;
        if committed_only && result.cold.is_none() {
            let aborted = log.aborted_transactions(request.fetch_offset, upper_offset);
            result.aborted_transactions = Some(aborted.map_err(|_| (ErrorCode::KAFKA_STORAGE_ERROR, None))?);
        }
        Ok(result)
    }

    /// Where the reader's log and this one part, if they do (KIP-595).
    fn divergence(&self, request: &FetchPartition) -> Result<Option<(i32, i64)>, Refused> {
        let (epoch, end_offset) = self.log.end_offset_for_epoch(request.last_fetched_epoch);
        if epoch < 0 {
            return Err((ErrorCode::OFFSET_OUT_OF_RANGE, None));
        }
        let diverges = epoch < request.last_fetched_epoch || end_offset < request.fetch_offset;
        Ok(diverges.then_some((epoch, end_offset)))
    }

    fn region(&self, offset: i64, upper_offset: i64, bytes_max: usize, min_one: bool) -> Result<Records, Refused> {
        let slice = self.log.read(offset, bytes_max, min_one, upper_offset).map_err(|error| match error {
            log::ReadError::OffsetOutOfRange { .. } => (ErrorCode::OFFSET_OUT_OF_RANGE, None),
            _ => (ErrorCode::KAFKA_STORAGE_ERROR, None),
        })?;
        let Some(slice) = slice else { return Ok(Records::None) };
        if slice.is_last {
            self.tail.want();
        }
        Ok(Records::File(slice.region))
    }
}
