//! What the control plane asks for that may take a while, and what came of it: values that go down with a ticket and come
//! up with the same one.

use std::sync::Arc;

use wire::{ErrorCode, Uuid};

pub type PartitionRef = (Uuid, i32);

/// A question for the worker thread.
pub enum Query {
    ListOffsets(Vec<OffsetWanted>),
    EpochEnds(Vec<EpochEndWanted>),
    DeleteRecords(Vec<(PartitionRef, i64)>),
    DescribeProducers(Vec<PartitionRef>),
    DescribeLogDirs,
}

/// What came of a job.
#[derive(Debug)]
pub enum JobResult {
    /// The view was published; partitions that could not be opened are named with the reason.
    /// `placed`: new logs whose directory (an index) is not the one that the control plane knows.
    Published {
        metadata_offset: i64,
        failed: Vec<(Uuid, i32, String)>,
        placed: Vec<(Uuid, i32, usize)>,
    },
    Offsets(Vec<OffsetFound>),
    EpochEnds(Vec<EpochEnd>),
    RecordsDeleted(Vec<RecordsDeleted>),
    Producers(Vec<ProducersFound>),
    LogDirs(Vec<LogDirFound>),
    /// An error for each.
    Moves(Vec<ErrorCode>),
    Batches(Vec<u8>),
    Done,
    Failed(String),
}

/// One question of ListOffsets. `timestamp` is a time in ms, or one of Kafka's special values.
#[derive(Clone, Copy, Debug)]
pub struct OffsetWanted {
    pub partition: PartitionRef,
    pub timestamp: i64,
    pub committed_only: bool,
    pub from_replica: bool,
    pub current_leader_epoch: i32,
}

#[derive(Clone, Copy, Debug)]
pub struct OffsetFound {
    pub error: ErrorCode,
    pub timestamp: i64,
    pub offset: i64,
    pub leader_epoch: i32,
}

#[derive(Clone, Copy, Debug)]
pub struct EpochEndWanted {
    pub partition: PartitionRef,
    pub current_leader_epoch: i32,
    pub leader_epoch: i32,
}

#[derive(Clone, Copy, Debug)]
pub struct EpochEnd {
    pub error: ErrorCode,
    pub leader_epoch: i32,
    pub end_offset: i64,
}

#[derive(Clone, Copy, Debug)]
pub struct RecordsDeleted {
    pub error: ErrorCode,
    pub low_watermark: i64,
}

#[derive(Debug)]
pub struct ProducersFound {
    pub error: ErrorCode,
    pub producers: Vec<log::ActiveProducer>,
}

#[derive(Debug)]
pub struct LogDirFound {
    pub path: String,
    pub error: ErrorCode,
    pub total_bytes: i64,
    pub usable_bytes: i64,
    pub partitions: Vec<ReplicaFound>,
}

#[derive(Debug)]
pub struct ReplicaFound {
    pub topic: Arc<str>,
    pub partition: i32,
    pub size_bytes: i64,
    pub offset_lag: i64,
    /// On its way here.
    pub is_future: bool,
}
