//! Random histories of a log against a model of it, with kills and power failures in the middle of anything.
//!
//! The model is the list of batches. After a failure the log must hold a prefix of them that has at least what was flushed;
//! everything it answers (offsets, reads, look-ups by time, aborted transactions, producers) must fit that prefix.
//!
//! Replay one history:  SEED=<n> cargo test --release -p pykafkacore-log --test histories
//! More of them:        HISTORIES=<count> ...

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};

use common::*;
use log::memory::{Chance, MemoryStorage};
use log::{Log, ReadError};
use record::{BatchFacts, BatchView, Codec};

const STEPS: usize = 120;
const HISTORIES: u64 = 600;
const SEGMENT_BYTES: u64 = 1500;

/// What the log should hold. One producer (9) is transactional.
#[derive(Default)]
struct Model {
    batches: Vec<Vec<u8>>,
    /// Where the log goes on when it has no batch.
    empty_end: i64,
    start: i64,
    flushed: i64,
}

fn view(bytes: &[u8]) -> BatchView<'_> {
    BatchView::parse(bytes).expect("the model holds whole batches")
}

fn is_abort(marker: &BatchView<'_>) -> bool {
    let record = record::Records::new(marker.payload(), 1).next().unwrap().unwrap();
    record.key.unwrap()[3] == 0
}

impl Model {
    fn end(&self) -> i64 {
        self.batches.last().map_or(self.empty_end, |bytes| view(bytes).next_offset())
    }

    fn cut_to(&mut self, end: i64) {
        self.batches.retain(|bytes| view(bytes).last_offset() < end);
        if self.batches.is_empty() {
            self.empty_end = self.empty_end.min(end);
        }
        let end = self.end();
        self.start = self.start.min(end);
        self.flushed = self.flushed.min(end);
    }

    /// First record at or behind the start whose timestamp is at least `timestamp`.
    fn at_time(&self, timestamp: i64) -> Option<(i64, i64)> {
        let records = self.batches.iter().flat_map(|bytes| {
            let batch = view(bytes);
            let (offset, first) = (batch.base_offset(), batch.base_timestamp());
            let rising = i64::from(!batch.is_control());
            (0..i64::from(batch.record_count())).map(move |i| (offset + i, first + i * rising))
        });
        records.filter(|(offset, _)| *offset >= self.start).find(|(_, found)| *found >= timestamp)
    }

    fn epochs(&self) -> Vec<(i32, i64)> {
        let mut epochs: Vec<(i32, i64)> = Vec::new();
        for bytes in &self.batches {
            let batch = view(bytes);
            if batch.last_offset() >= self.start && epochs.last().is_none_or(|last| last.0 < batch.leader_epoch()) {
                epochs.push((batch.leader_epoch(), batch.base_offset().max(self.start)));
            }
        }
        epochs
    }

    /// First offset of the open transaction, and (producer id, first offset) of the aborted ones, of those that have data
    /// at or behind `from`.
    fn transactions(&self, from: i64) -> (Option<i64>, Vec<(i64, i64)>) {
        let (mut open, mut aborted) = (None, Vec::new());
        for bytes in self.batches.iter().filter(|bytes| view(bytes).last_offset() >= from) {
            let batch = view(bytes);
            if batch.is_control() {
                let ended = open.take();
                // Whoever reads from the start on never meets the markers before it.
                if let Some(first) = ended.filter(|_| is_abort(&batch) && batch.base_offset() >= self.start) {
                    aborted.push((batch.producer_id(), first));
                }
            } else if batch.is_transactional() && open.is_none() {
                open = Some(batch.base_offset());
            }
        }
        (open, aborted)
    }

    /// What a read_committed consumer of everything passes over, given the aborted transactions it was told.
    fn passed_over(&self, aborted: &[(i64, i64)]) -> Vec<i64> {
        let (mut told, mut ongoing, mut passed) = (aborted.iter().peekable(), Vec::new(), Vec::new());
        for bytes in self.batches.iter().filter(|bytes| view(bytes).last_offset() >= self.start) {
            let batch = view(bytes);
            while let Some((id, _)) = told.next_if(|(_, first)| *first <= batch.last_offset()) {
                ongoing.push(*id);
            }
            if batch.is_control() && is_abort(&batch) {
                ongoing.retain(|id| *id != batch.producer_id());
            } else if batch.is_transactional() && !batch.is_control() && ongoing.contains(&batch.producer_id()) {
                passed.push(batch.base_offset());
            }
        }
        passed
    }

    fn next_sequence(&self) -> i32 {
        let data = self.batches.iter().rev().map(|bytes| view(bytes)).find(|b| b.is_transactional() && !b.is_control());
        data.map_or(0, |batch| batch.last_sequence() + 1)
    }
}

struct Run {
    storage: MemoryStorage,
    log: Log,
    model: Model,
    chance: Chance,
    leader_epoch: i32,
    recovery_point: i64,
}

fn opening(clean: bool, recovery_point: i64, start: i64) -> Opening {
    Opening { clean, recovery_point, start: Some(start), config: config(SEGMENT_BYTES), now_ms: 1 }
}

type Outcome = Result<(), String>;

impl Run {
    fn new(seed: u64) -> Run {
        let storage = MemoryStorage::default();
        let (log, _) = try_open(&storage, opening(false, 0, 0)).unwrap();
        let chance = Chance::of(seed);
        Run { storage, log, model: Model::default(), chance, leader_epoch: 0, recovery_point: 0 }
    }

    fn new_batch(&mut self, step: usize) -> Vec<u8> {
        let timestamp = (step * 10 + self.chance.below(50)) as i64;
        let count = 1 + self.chance.below(4) as i32;
        let codec = Codec::ALL[if self.chance.one_in(4) { self.chance.below(5) } else { 0 }];
        if self.chance.one_in(3) {
            let base_sequence = self.model.next_sequence();
            let facts = BatchFacts {
                producer_id: 9,
                producer_epoch: 0,
                base_sequence,
                is_transactional: true,
                codec,
                ..BatchFacts::default()
            };
            return batch(timestamp, count, facts);
        }
        if self.model.transactions(0).0.is_some() && self.chance.one_in(3) {
            return marker(9, 0, self.chance.one_in(2));
        }
        batch(timestamp, count, BatchFacts { codec, ..BatchFacts::default() })
    }

    /// One change of the log, tried and if it succeeded noted. Err is a failed write. `anew`: starting anew at another
    /// offset is among them; interrupted, it leaves whatever there was, and its callers (a follower, a snapshot) repeat it.
    fn change(&mut self, step: usize, anew: bool) -> log::Result<()> {
        match self.chance.below(16) {
            0..=9 => {
                let mut bytes = self.new_batch(step);
                if self.chance.one_in(15) {
                    self.leader_epoch += 1;
                    self.log.assign_leader_epoch(self.leader_epoch)?;
                }
                let appended = self.log.append_as_leader(&mut bytes, self.leader_epoch, 1);
                // A batch whose write failed may be there after the restart.
                self.model.batches.push(bytes);
                appended.map(|_| ())
            }
            10 => self.log.roll(1),
            11 => {
                self.log.flush()?;
                self.model.flushed = self.model.end();
                Ok(())
            }
            12 if !self.model.batches.is_empty() => {
                let at = self.chance.below(self.model.batches.len());
                let end = view(&self.model.batches[at]).base_offset();
                let outcome = self.log.truncate_to(end);
                match outcome {
                    Ok(()) => self.model.cut_to(end),
                    Err(_) => self.model.flushed = self.model.flushed.min(end),
                }
                outcome
            }
            13 => {
                let length = (self.model.end() - self.model.start + 1) as usize;
                let offset = self.model.start + self.chance.below(length) as i64;
                // Interrupted, it may have come to anything in between.
                self.model.start = self.model.start.max(offset);
                self.log.delete_records_before(offset)
            }
            14 if anew && self.chance.one_in(6) => {
                let offset = self.model.end() + self.chance.below(20) as i64;
                let outcome = self.log.truncate_fully_and_start_at(offset);
                if outcome.is_ok() {
                    self.model = Model { batches: Vec::new(), empty_end: offset, start: offset, flushed: offset };
                    self.recovery_point = 0;
                }
                outcome
            }
            _ => {
                // The checkpoint file lags behind the log.
                self.recovery_point = self.log.recovery_point();
                Ok(())
            }
        }
    }

    fn reopen(&mut self, clean: bool) -> Outcome {
        let opening = opening(clean, self.recovery_point, self.model.start);
        self.log = try_open(&self.storage, opening).map_err(|error| format!("reopen (clean {clean}): {error}"))?.0;
        if clean {
            self.recovery_point = self.log.recovery_point();
        }
        Ok(())
    }

    /// The log lost no more than it may: the model becomes what is left.
    fn accept_loss(&mut self) -> Outcome {
        let end = self.log.log_end_offset();
        if end < self.model.flushed || end > self.model.end() {
            let (flushed, most) = (self.model.flushed, self.model.end());
            return Err(format!("after the failure the log ends at {end}, outside of {flushed}..={most}"));
        }
        self.model.cut_to(end);
        if self.model.end() != end {
            return Err(format!("after the failure the log ends at {end}, where no batch ends"));
        }
        Ok(())
    }

    /// Deleted segments may be there again, and the end may have come to stand before the start.
    fn power_fails(&mut self) -> Outcome {
        let seed = self.chance.below(1 << 30) as u64;
        self.storage = self.storage.power_loss(seed);
        self.reopen(false)?;
        self.accept_loss()
    }

    fn step(&mut self, step: usize) -> Outcome {
        match self.chance.below(24) {
            // The process is killed.
            0 => {
                self.reopen(false)?;
            }
            1 => {
                self.log.close_clean(1).map_err(|error| format!("close: {error}"))?;
                // What the mark of a clean stop does first.
                self.storage.sync_everything();
                self.model.flushed = self.model.end();
                self.reopen(true)?;
            }
            2 => self.power_fails()?,
            3 => {
                // The power goes in the middle of a change.
                self.storage.fail_after(self.chance.below(12) as u64);
                let _ = self.change(step, false);
                self.power_fails()?;
            }
            _ => self.change(step, true).map_err(|error| format!("change: {error}"))?,
        }
        self.check()
    }

    fn check(&mut self) -> Outcome {
        let (log, model, chance) = (&self.log, &self.model, &mut self.chance);
        let same = |what: &str, log: String, model: String| {
            if log == model { Ok(()) } else { Err(format!("{what}: the log says {log}, the model {model}")) }
        };
        same("end", log.log_end_offset().to_string(), model.end().to_string())?;
        same("start", log.log_start_offset().to_string(), model.start.to_string())?;
        let from = model.start + chance.below((model.end() - model.start + 1) as usize) as i64;
        let expected: Vec<_> =
            model.batches.iter().filter(|bytes| view(bytes).last_offset() >= from).cloned().collect();
        if read_from(log, from, 1 + chance.below(900)) != expected {
            return Err(format!("content from {from} differs"));
        }
        let before = log.read(model.start - 1, 1, true, model.end());
        if !matches!(before, Err(ReadError::OffsetOutOfRange { .. })) {
            return Err("a read before the start is answered".to_owned());
        }
        let timestamp = chance.below(1500) as i64;
        let found = log.offset_for_timestamp(timestamp).map_err(|error| format!("time: {error}"))?;
        let found = found.map(|found| (found.offset, found.timestamp));
        same(&format!("time {timestamp}"), format!("{found:?}"), format!("{:?}", model.at_time(timestamp)))?;
        let aborted =
            log.aborted_transactions(model.start, model.end()).map_err(|error| format!("aborted: {error}"))?;
        let passed = model.passed_over(&aborted);
        same("passed over", format!("{passed:?}"), format!("{:?}", model.passed_over(&model.transactions(0).1)))?;
        // Of a transaction whose data are all gone, a log that lost its snapshots may not know any more.
        let stable = |from| model.transactions(from).0.unwrap_or(model.end()).max(model.start);
        let told = log.last_stable_offset(model.end());
        if ![stable(0), stable(model.start)].contains(&told) {
            return Err(format!("last stable offset: the log says {told}, the model {}", stable(0)));
        }
        let epochs: Vec<_> = log.epochs().iter().filter(|(_, start)| *start < model.end()).copied().collect();
        same("epochs", format!("{epochs:?}"), format!("{:?}", model.epochs()))
    }
}

fn history(seed: u64) -> Outcome {
    let mut run = Run::new(seed);
    for step in 0..STEPS {
        let outcome = catch_unwind(AssertUnwindSafe(|| run.step(step)));
        let outcome = outcome.unwrap_or_else(|_| Err("panicked".to_owned()));
        outcome.map_err(|why| format!("SEED={seed}: step {step}: {why}"))?;
    }
    Ok(())
}

#[test]
fn a_log_fits_its_model_through_kills_and_power_failures() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number("HISTORIES").unwrap_or(HISTORIES),
    };
    let count = seeds.end - seeds.start;
    let failures: Vec<String> = seeds.filter_map(|seed| history(seed).err()).collect();
    let shown = failures.iter().take(5).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} of {count} histories failed:\n{shown}", failures.len());
}
