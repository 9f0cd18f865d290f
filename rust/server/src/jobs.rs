//! Work that the control plane gives down and that may take a while: it returns at once with a ticket, and what came of
//! it goes up with the same ticket.
//!
//! Two threads do it, each in order: the publisher (changes of the view, opening and deleting logs, checkpoints), and the
//! worker (look-ups by time, deletions of records, descriptions, syncs of the metadata log).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wire::{ErrorCode, Uuid};

use crate::upcall::{Ticket, UpcallQueue};

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

pub type PartitionRef = (Uuid, i32);

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

type Work = Box<dyn FnOnce() -> JobResult + Send>;

struct Job {
    ticket: Ticket,
    work: Work,
}

/// A thread that does jobs in order.
pub struct JobThread {
    sender: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl JobThread {
    /// `idle` runs between jobs, every `idle_period`.
    pub fn start(
        name: &str,
        upcalls: Arc<UpcallQueue>,
        idle_period: Duration,
        mut idle: impl FnMut() + Send + 'static,
    ) -> std::io::Result<JobThread> {
        let (sender, receiver): (Sender<Job>, Receiver<Job>) = channel();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let mut next_idle = Instant::now() + idle_period;
            loop {
                match receiver.recv_timeout(next_idle.saturating_duration_since(Instant::now())) {
                    Ok(job) => upcalls.push_completed(job.ticket, (job.work)()),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                // However many jobs there are, the regular work gets its turn.
                if Instant::now() >= next_idle {
                    idle();
                    next_idle = Instant::now() + idle_period;
                }
            }
        })?;
        Ok(JobThread { sender: Some(sender), thread: Some(thread) })
    }

    pub fn submit(&self, ticket: Ticket, work: impl FnOnce() -> JobResult + Send + 'static) {
        if let Some(sender) = &self.sender {
            // A thread that is gone has panicked; the process is ending.
            let _ = sender.send(Job { ticket, work: Box::new(work) });
        }
    }

    /// Finishes what was submitted, then ends.
    pub fn stop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
