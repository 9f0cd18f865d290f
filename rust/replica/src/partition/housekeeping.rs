//! What the housekeeper does to a replica's log: each is short, under the partition's lock, and reads or writes no batch.

use std::sync::Arc;

use log::cleaner::{Cleanable, Cleaned, LastRecords};
use log::moving::{Destination, Moving};
use log::{Doomed, Log};

use super::{Disk, Partition};
use crate::durability::Durability;

/// What a pass of retention did to one log.
#[derive(Debug, Default)]
pub struct Retained {
    pub segment_count: usize,
    pub log_start_offset: i64,
    pub doomed: Doomed,
}

impl Partition {
    /// What retention lets go is over for readers. False if there is nothing, or no log.
    pub fn pass_over(&self, now_ms: i64) -> bool {
        let plan = self.with_log(|log, context| log.plan_retention(context.high_watermark, now_ms));
        let is_due = plan.is_some_and(|plan| plan.count > 0);
        if is_due {
            self.change_log(|log, context| log.pass_over(log.plan_retention(context.high_watermark, now_ms)));
        }
        is_due
    }

    /// Lets go what retention allows. None if there is nothing, or no log.
    pub fn retain(self: &Arc<Self>, now_ms: i64) -> log::Result<Option<Retained>> {
        let plan = self.with_log(|log, context| log.plan_retention(context.high_watermark, now_ms));
        if plan.is_none_or(|plan| plan.count == 0) {
            return Ok(None);
        }
        // Made anew, since the lock was let go: readers are told only where something changes.
        let carried_out = self.change_log(|log, context| {
            let plan = log.plan_retention(context.high_watermark, now_ms);
            let doomed = log.carry_out(plan, now_ms)?;
            Ok(Retained { segment_count: plan.count, log_start_offset: log.log_start_offset(), doomed })
        });
        if plan.is_some_and(|plan| plan.rolls) {
            self.flush_soon();
        }
        carried_out.transpose()
    }

    /// If what failed has closed the log for writing, its directory has failed.
    pub fn failed(&self, error: &log::Error) {
        let inner = self.inner.lock();
        if inner.log.as_ref().is_some_and(Log::is_poisoned)
            && let Some(disk) = &inner.disk
        {
            disk.failed(error.to_string());
        }
    }

    pub fn expire_producers(&self, now_ms: i64) {
        self.with_log(|log: &mut Log, _| log.expire_producers(now_ms));
    }

    /// What a cleaning from `checkpoint` on would go by. None if the log is not compacted, or not there.
    pub fn cleanable(&self, checkpoint: Option<i64>) -> Option<Cleanable> {
        self.with_log(|log, context| log.cleanable(context.high_watermark, checkpoint)).flatten()
    }

    /// Whether a flush would let more be cleaned.
    pub fn flush_lets_clean(&self) -> bool {
        self.with_log(|log, context| log.flush_lets_clean(context.high_watermark)).unwrap_or(false)
    }

    /// Makes ready for a cleaning: what is noted is on the disk when this returns.
    pub fn flush_for_cleaning(&self) -> log::Result<LastRecords> {
        let last_records = self.with_log(|log, _| log.last_records()).unwrap_or_default();
        self.flush()?;
        Ok(last_records)
    }

    /// From now on no segment goes, nor is one compacted, until it is let go.
    pub fn hold_segments(&self, are_held: bool) {
        self.with_log(|log, _| log.hold_segments(are_held));
    }

    /// The log's last bytes are copied to another directory, of `disk`, and from now on it is there. Whoever appends waits.
    /// False if the log is gone.
    pub fn arrive(&self, moving: &mut Moving, to: &Destination, disk: Arc<dyn Disk>) -> log::Result<bool> {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let Some(log) = &mut inner.log else { return Ok(false) };
        match moving.arrive(log, to) {
            Ok(moved) => *log = moved,
            Err(error) => {
                if log.is_poisoned() {
                    inner.standing.go_offline();
                    inner.tell_everyone();
                }
                return Err(error);
            }
        }
        // All of it was synced on the way.
        inner.durability = Durability::at(log.log_end_offset());
        inner.disk = Some(disk);
        self.advance_high_watermark(inner);
        inner.tell_writers();
        Ok(true)
    }

    /// A cleaned segment takes the place of those that it covers. None if the log has changed meanwhile.
    pub fn swap_in(&self, cleaned: &Cleaned) -> log::Result<Option<Doomed>> {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let Some(log) = &mut inner.log else { return Ok(None) };
        let doomed = log.swap_in(cleaned)?;
        // The file has no list of aborted transactions any more that would fit what is kept in memory.
        inner.tail.forget_before(cleaned.end_offset(), &self.budget);
        Ok(doomed)
    }
}
