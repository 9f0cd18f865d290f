//! Rounds of scrubbing: every sealed segment of every log is read, slowly, and what is not as it was written is told once.
//!
//! Nothing is repaired here: what stands before and behind the rot goes on being served, and clients see the batch fail its
//! checksum.

use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::Log;
use log::scrub::SegmentCheck;
use replica::partition::Partition;

use crate::rounds::Rounds;
use crate::throttle::Throttle;
use crate::upcall::Level;

const SLICE_BYTES: usize = 256 << 10;
/// From the end of one round to the next; and if there was nothing to read.
const PAUSE: Duration = Duration::from_secs(24 * 3600);
const IDLE_PAUSE: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Scrubbing {
    partitions: VecDeque<Arc<Partition>>,
    segments: VecDeque<(Arc<Partition>, SegmentCheck)>,
    throttle: Throttle,
    buffer: Vec<u8>,
    due: Option<Instant>,
    told: HashSet<PathBuf>,
    /// Of this round.
    segment_count: u64,
}

impl Scrubbing {
    /// When there is something to read. `first`: of the first round.
    pub fn due(&self, first: Instant) -> Instant {
        self.due.unwrap_or(first)
    }

    /// Reads one slice, if it is time to.
    pub fn slice(&mut self, first: Instant, bytes_per_s: u64, rounds: &Rounds) {
        if self.due(first) > Instant::now() {
            return;
        }
        let Some((partition, mut check)) = self.next_segment(rounds) else {
            let pause = if std::mem::take(&mut self.segment_count) == 0 { IDLE_PAUSE } else { PAUSE };
            self.buffer = Vec::new();
            self.due = Some(Instant::now() + pause);
            return;
        };
        let bytes = match check.step(&mut self.buffer, SLICE_BYTES) {
            Ok(0) => 0,
            Ok(bytes) => {
                self.segments.push_front((partition, check));
                bytes
            }
            Err(error) => {
                self.tell(&partition, &check, &error, rounds);
                SLICE_BYTES
            }
        };
        self.due = Some(self.throttle.at(bytes_per_s as f64).spend(bytes));
    }

    fn next_segment(&mut self, rounds: &Rounds) -> Option<(Arc<Partition>, SegmentCheck)> {
        if self.segments.is_empty() && self.partitions.is_empty() {
            if self.segment_count > 0 {
                // The round has come to its end.
                return None;
            }
            self.partitions = rounds.view().partitions().cloned().collect();
        }
        while self.segments.is_empty() {
            let partition = self.partitions.pop_front()?;
            let checks = partition.with_log(|log, _| log.segment_checks()).unwrap_or_default();
            self.segment_count += checks.len() as u64;
            self.segments.extend(checks.into_iter().map(|check| (partition.clone(), check)));
        }
        self.segments.pop_front()
    }

    fn tell(&mut self, partition: &Partition, check: &SegmentCheck, error: &log::Error, rounds: &Rounds) {
        // Deleted, compacted, cut off, or moved to another directory while it was read.
        let still_has = |log: &Log| check.path().parent() == Some(log.dir()) && log.still_has(check.facts());
        let is_there = partition.with_log(|log, _| still_has(log)).unwrap_or(false);
        if is_there && self.told.insert(check.path().to_owned()) {
            let text = format!(
                "{}: a sealed segment is not what was written: {error}; copy the partition from another replica",
                partition.name()
            );
            rounds.tell(Level::Error, text);
        }
    }
}
