//! The hot tail of a partition: its newest batches, kept in memory as they came off the socket, so that a reader at the
//! end of the log is served by one gathered send without touching the file.
//!
//! Not a cache of what was read: it is filled by appends only, only while somebody reads at the end of the log, and only
//! while there is room. What is not here is served from the file (and the page cache). With nobody there, holding batches
//! would only keep receive buffers from being used again while they are in the processor's cache.
//!
//! INVARIANT: the batches here are neighbours in the log and end at the log end offset.
//! INVARIANT: the bytes held by all tails together stay within `TailBudget::bytes_max`.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// What all tails of a broker may hold together, and any one of them.
pub struct TailBudget {
    held_bytes: AtomicUsize,
    bytes_max: usize,
    partition_bytes_max: usize,
}

impl TailBudget {
    pub fn new(bytes_max: usize, partition_bytes_max: usize) -> Self {
        TailBudget { held_bytes: AtomicUsize::new(0), bytes_max, partition_bytes_max }
    }

    pub fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }
}

struct Entry {
    base_offset: i64,
    last_offset: i64,
    batch: Bytes,
}

#[derive(Default)]
pub struct Tail {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Bytes that are held from now on if nobody reads at the end any more.
    wanted_bytes: Cell<usize>,
}

/// A region of more batches than this is sent from the file: one `sendfile` is then cheaper than gathering (a third of
/// the processor time for 1 MiB of 300-byte batches, and level for large ones; `python -m benchmarks.read_path`).
const GATHERED_MAX: usize = 64;

/// After so many bytes without a reader at the end nothing is held any more.
const WANTED_BYTES: usize = 16 << 20;

/// A batch below this size is copied, so that it does not keep a whole receive buffer alive.
const COPIED_BELOW_BYTES: usize = 64 * 1024;

impl Tail {
    /// Somebody reads at the end of the log.
    pub fn want(&self) {
        self.wanted_bytes.set(WANTED_BYTES);
    }

    pub fn push(&mut self, base_offset: i64, last_offset: i64, batch: Bytes, budget: &TailBudget) {
        let len = batch.len();
        let wanted_bytes = self.wanted_bytes.get();
        self.wanted_bytes.set(wanted_bytes.saturating_sub(len));
        if wanted_bytes == 0 || len > budget.partition_bytes_max {
            return self.clear(budget);
        }
        let batch = if len < COPIED_BELOW_BYTES { Bytes::copy_from_slice(&batch) } else { batch };
        self.entries.push_back(Entry { base_offset, last_offset, batch });
        self.bytes += len;
        let held = budget.held_bytes.fetch_add(len, Ordering::Relaxed) + len;
        let mut surplus =
            self.bytes.saturating_sub(budget.partition_bytes_max).max(held.saturating_sub(budget.bytes_max));
        while surplus > 0 {
            let Some(entry) = self.entries.pop_front() else { break };
            self.release(entry.batch.len(), budget);
            surplus = surplus.saturating_sub(entry.batch.len());
        }
    }

    fn release(&mut self, len: usize, budget: &TailBudget) {
        self.bytes -= len;
        budget.held_bytes.fetch_sub(len, Ordering::Relaxed);
    }

    /// After a truncation or a change of leader the tail starts anew.
    pub fn clear(&mut self, budget: &TailBudget) {
        let bytes = self.bytes;
        self.entries.clear();
        self.release(bytes, budget);
    }

    /// What ends before `offset` is read from the file from now on.
    pub fn forget_before(&mut self, offset: i64, budget: &TailBudget) {
        let count = self.entries.partition_point(|entry| entry.last_offset < offset);
        let bytes = self.entries.drain(..count).map(|entry| entry.batch.len()).sum();
        self.release(bytes, budget);
    }

    /// Whole batches from the one that holds `offset`, while they end below `upper_offset` and fit `bytes_max`; the
    /// first one even if it does not fit when `min_one` is set. None if `offset` is older than what is held, or if the
    /// region has so many batches that the file serves it better.
    pub fn read(&self, offset: i64, upper_offset: i64, bytes_max: usize, min_one: bool) -> Option<(Vec<Bytes>, usize)> {
        if self.entries.front()?.base_offset > offset {
            return None;
        }
        let from = self.entries.partition_point(|entry| entry.last_offset < offset);
        let mut batches = Vec::new();
        let mut bytes = 0;
        for entry in self.entries.range(from..) {
            let fits = bytes + entry.batch.len() <= bytes_max || (min_one && batches.is_empty());
            if entry.last_offset >= upper_offset || !fits {
                break;
            }
            if batches.len() == GATHERED_MAX {
                return None;
            }
            bytes += entry.batch.len();
            batches.push(entry.batch.clone());
        }
        self.want();
        Some((batches, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(bytes: usize) -> Bytes {
        Bytes::from(vec![1; bytes])
    }

    #[test]
    fn a_reader_gets_whole_batches_from_the_one_that_holds_its_offset() {
        let budget = TailBudget::new(1000, 1000);
        let mut tail = Tail::default();
        tail.want();
        tail.push(10, 14, batch(100), &budget);
        tail.push(15, 19, batch(100), &budget);
        tail.push(20, 24, batch(100), &budget);
        assert!(tail.read(9, 25, 1000, true).is_none(), "older than the tail");
        assert_eq!(tail.read(12, 25, 1000, true).unwrap().1, 300);
        assert_eq!(tail.read(15, 25, 150, true).unwrap().1, 100);
        assert_eq!(tail.read(15, 25, 50, true).unwrap().1, 100, "the first batch is always given");
        assert_eq!(tail.read(15, 25, 50, false).unwrap().1, 0);
        assert_eq!(tail.read(12, 20, 1000, true).unwrap().1, 200, "not beyond the upper offset");
        assert_eq!(tail.read(25, 25, 1000, true).unwrap().1, 0);
    }

    #[test]
    fn a_region_of_many_small_batches_is_left_to_the_file() {
        let budget = TailBudget::new(100_000, 100_000);
        let mut tail = Tail::default();
        tail.want();
        for i in 0..100 {
            tail.push(i, i, batch(100), &budget);
        }
        assert!(tail.read(0, 100, 100_000, true).is_none());
        assert_eq!(tail.read(0, 100, 1000, true).unwrap().1, 1000);
    }

    #[test]
    fn the_budget_holds_and_the_oldest_go_first() {
        let budget = TailBudget::new(250, 1000);
        let mut tail = Tail::default();
        tail.want();
        for i in 0..5 {
            tail.push(i, i, batch(100), &budget);
        }
        assert!(budget.held_bytes() <= 250);
        assert!(tail.read(2, 5, 1000, true).is_none());
        assert_eq!(tail.read(3, 5, 1000, true).unwrap().1, 200);
        tail.clear(&budget);
        assert_eq!(budget.held_bytes(), 0);
    }

    #[test]
    fn a_batch_above_the_limit_empties_the_tail_since_neighbours_must_be_neighbours() {
        let budget = TailBudget::new(1000, 150);
        let mut tail = Tail::default();
        tail.want();
        tail.push(0, 0, batch(100), &budget);
        tail.push(1, 1, batch(200), &budget);
        assert!(tail.read(0, 2, 1000, true).is_none());
        assert_eq!(budget.held_bytes(), 0);
    }

    #[test]
    fn nothing_is_held_unless_somebody_reads_at_the_end_and_not_for_ever_after() {
        let budget = TailBudget::new(10_000, 10_000);
        let mut tail = Tail::default();
        tail.push(0, 0, batch(100), &budget);
        assert_eq!(budget.held_bytes(), 0);
        tail.want();
        tail.push(1, 1, batch(100), &budget);
        assert_eq!(tail.read(1, 2, 1000, true).unwrap().1, 100);
        for i in 2..=2 + (WANTED_BYTES / 10_000) as i64 {
            tail.push(i, i, batch(10_000), &budget);
        }
        assert_eq!(budget.held_bytes(), 10_000, "the last one that is wanted");
        tail.push(5000, 5000, batch(100), &budget);
        assert_eq!(budget.held_bytes(), 0);
    }
}
