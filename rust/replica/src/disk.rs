//! What a partition asks of the disk that its log lies on: batches on it before they are acknowledged, flushes before long.
//!
//! ```text
//!   flush.messages=1   each batch is handed to the disk; `Partition::committed` follows once it is there, and only then the
//!                      high watermark passes it
//!   flush.messages=n   after n records, and whenever a segment is sealed, a flush is asked for; nobody waits for it
//! ```

use std::sync::Arc;

use bytes::Bytes;

use crate::partition::Partition;

/// A batch that is to be on the disk before anybody is told of it.
pub struct Uncommitted {
    pub partition: Arc<Partition>,
    pub batch: Bytes,
    pub end_offset: i64,
    /// What stands in the log before it was not handed over: the log is to be flushed first.
    pub follows_unsynced: bool,
}

pub trait Disk: Send + Sync {
    /// Called under the partition's lock. `Partition::committed` or `Partition::fail` follows; or the log has moved to another
    /// disk meanwhile, where this batch is safe (`Partition::arrive`).
    fn commit(&self, uncommitted: Uncommitted);

    /// The log is to be flushed before long. Called under the partition's lock.
    fn flush_soon(&self, partition: Arc<Partition>);

    /// A write to this directory failed: all that lies in it is to go offline. Called under the partition's lock.
    fn failed(&self, why: String);

    /// Why clients may write nothing here for now, if so.
    fn refusal(&self) -> Option<String>;
}

/// How far a partition's log is on the disk, as far as anybody waits for that.
pub struct Durability {
    pub disk: Option<Arc<dyn Disk>>,
    /// All before it is on the disk.
    pub synced_offset: i64,
    /// All before it was handed over, or stands before `synced_offset`.
    handed_offset: i64,
    unflushed_records: u64,
}

/// Small batches are copied out of the buffer that they came in, which so can be read into again before the disk has synced.
const COPIED_BELOW_BYTES: usize = 16 * 1024;

fn kept(batch: &Bytes) -> Bytes {
    if batch.len() < COPIED_BELOW_BYTES { Bytes::copy_from_slice(batch) } else { batch.clone() }
}

pub const EVERY_MESSAGE: u64 = 1;

impl Durability {
    pub fn none() -> Durability {
        Durability { disk: None, synced_offset: 0, handed_offset: 0, unflushed_records: 0 }
    }

    pub fn of(disk: Arc<dyn Disk>, synced_offset: i64) -> Durability {
        Durability { disk: Some(disk), synced_offset, handed_offset: synced_offset, unflushed_records: 0 }
    }

    /// A batch was appended from `from` to before `end_offset`.
    pub fn appended(&mut self, partition: &Arc<Partition>, batch: &Bytes, from: i64, end_offset: i64, messages: u64) {
        let Some(disk) = &self.disk else { return };
        if messages == EVERY_MESSAGE {
            let follows_unsynced = self.handed_offset < from;
            self.handed_offset = end_offset;
            disk.commit(Uncommitted { partition: partition.clone(), batch: kept(batch), end_offset, follows_unsynced });
            return;
        }
        self.unflushed_records += (end_offset - from) as u64;
        if self.unflushed_records >= messages {
            self.flush_soon(partition);
        }
    }

    pub fn flush_soon(&mut self, partition: &Arc<Partition>) {
        self.unflushed_records = 0;
        if let Some(disk) = &self.disk {
            disk.flush_soon(partition.clone());
        }
    }

    pub fn synced(&mut self, end_offset: i64) {
        self.synced_offset = self.synced_offset.max(end_offset);
        self.handed_offset = self.handed_offset.max(end_offset);
    }
}
