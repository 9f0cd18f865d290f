//! What the control plane writes into partitions and reads back: the logs of its coordinators, markers of transactions.
//!
//! Appending is done by the caller's thread: it is one write to the page cache. Whether all replicas have it by then is
//! part of the answer; if not, a completion says when to look again.

use std::sync::Arc;

use bytes::BytesMut;
use replica::append::{Appended, Decided, ProduceFailure};
use replica::partition::Partition;
use replica::purgatory::{Wake, Watch, Watcher};
use replica::view::Published;
use replica::waiting::Wanted;
use wire::ErrorCode;

use crate::asked::{JobResult, PartitionRef};
use crate::queries::find;
use crate::upcall::{Ticket, UpcallQueue};

/// Completes a ticket of the control plane's.
pub struct Completer(pub Arc<UpcallQueue>);

impl Wake for Completer {
    fn wake(&self, ticket: u64) {
        self.0.push_completed(ticket, JobResult::Done);
    }
}

/// Where a partition's log stands.
#[derive(Clone, Copy, Debug)]
pub struct LogState {
    pub leader_epoch: i32,
    pub log_start_offset: i64,
    pub high_watermark: i64,
    pub log_end_offset: i64,
}

pub fn append(
    published: &Published,
    reference: PartitionRef,
    batch: BytesMut,
    at: Option<(i32, i64)>,
    transaction_version: i8,
    now_ms: i64,
) -> Result<Appended, (ErrorCode, Option<String>)> {
    let partition = find(published, reference).map_err(|error| (error, None))?;
    let decided = Decided { batch, at, transaction_version };
    partition.append_decided(decided, now_ms).map_err(|ProduceFailure { error, message, .. }| (error, message))
}

/// Completes `ticket` once the high watermark has passed `wanted_offset`, or never will in this leader epoch.
pub fn watch(
    published: &Published,
    completer: Arc<Completer>,
    ticket: Ticket,
    reference: PartitionRef,
    wanted_offset: i64,
) {
    let Ok(partition) = find(published, reference) else { return completer.wake(ticket) };
    let watch = Watch::new();
    partition.watch_for(Wanted::HighWatermark(wanted_offset), Watcher { watch: watch.clone(), slot: 0 });
    if !watch.park(ticket, completer.clone(), 1) {
        completer.wake(ticket);
    }
}

/// Fails where this broker does not lead the partition.
pub fn state(published: &Published, reference: PartitionRef) -> Result<LogState, ErrorCode> {
    let partition: Arc<Partition> = find(published, reference)?;
    let state = partition.with_log(|log, context| {
        context.leads.then(|| LogState {
            leader_epoch: context.leader_epoch,
            log_start_offset: log.log_start_offset(),
            high_watermark: context.high_watermark,
            log_end_offset: log.log_end_offset(),
        })
    });
    state.ok_or(ErrorCode::KAFKA_STORAGE_ERROR)?.ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)
}

/// Whole batches from `offset` on, some of them.
pub fn read(published: &Published, reference: PartitionRef, offset: i64, bytes_max: usize) -> JobResult {
    let partition = match find(published, reference) {
        Ok(partition) => partition,
        Err(error) => return JobResult::Failed(format!("cannot be read: {error:?}")),
    };
    let slice = partition.with_log(|log, _| log.read(offset, bytes_max, true, log.log_end_offset()));
    let read = match slice {
        None => Err("its log is not here".to_owned()),
        Some(Err(error)) => Err(format!("{error:?}")),
        Some(Ok(None)) => Ok(Vec::new()),
        Some(Ok(Some(slice))) => {
            let mut bytes = vec![0; slice.region.bytes];
            match slice.region.file.read_at(&mut bytes, slice.region.position) {
                Ok(count) if count == bytes.len() => Ok(bytes),
                Ok(count) => Err(format!("{count} bytes instead of {} at {}", bytes.len(), slice.region.position)),
                Err(error) => Err(error.to_string()),
            }
        }
    };
    match read {
        Ok(bytes) => JobResult::Batches(bytes),
        Err(why) => JobResult::Failed(format!("{} cannot be read: {why}", partition.name())),
    }
}
