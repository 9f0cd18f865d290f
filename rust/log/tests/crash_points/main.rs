//! Histories of a compacted log, crashed before every single change of its storage.
//!
//! A history appends (keys, tombstones, transactions, idempotent producers, all codecs), rolls, flushes, truncates, cleans,
//! and deletes. Before each change that any of this makes to the storage, an image is taken of what a kill or a power
//! failure would leave. Each image is opened, some are crashed once more while they recover, and what comes of it must fit
//! the model (`model.rs`). Mistakes that are planted (`faults.rs`) must all be found.
//!
//! Replay one history:  SEED=<n> cargo test --release -p pykafkacore-log --test crash_points
//! More of them:        make crash HISTORIES=100000

#[path = "../common/mod.rs"]
mod common;
mod faults;
mod model;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{DIR, TOPIC_ID, cleaner, marker};
use faults::{FAULTS, Fault, Image, Witnessed};
use log::cleaner::{Cleaned, Course, Interruption, LastRecords};
use log::memory::{Chance, MemoryStorage};
use log::retention::Plan;
use log::{CompactionRules, Log, LogConfig, OpenOptions, RetentionRules, Stop, Storage};
use model::{Given, Model, Verdict};
use record::{BatchBuilder, BatchFacts, Codec, NewRecord};

const STEPS: usize = 60;
const HISTORIES: u64 = 200;
/// How far a long run is, is told whenever so many more are done.
const TOLD_EACH: u64 = 1000;
/// A planted mistake must show within so many.
const FAULTY_HISTORIES: u64 = 1000;
const DELETE_RETENTION_MS: i64 = 200;
const TRANSACTIONAL: [i64; 2] = [9, 10];
const IDEMPOTENT: i64 = 11;

/// What the checkpoint files say: never ahead of the log.
#[derive(Clone, Copy, Default)]
struct Checkpoints {
    recovery_point: i64,
    start: i64,
    cleaned: Option<i64>,
}

struct Run {
    storage: Witnessed,
    log: Log,
    model: Model,
    chance: Chance,
    checkpoints: Checkpoints,
    fault: Option<Fault>,
    leader_epoch: i32,
    now_ms: i64,
    images: u64,
}

struct SwapHere<'a>(&'a mut Log);

impl Course for SwapHere<'_> {
    fn spent(&mut self, _bytes: usize) -> bool {
        true
    }

    fn swap(&mut self, cleaned: Cleaned) -> log::Result<bool> {
        Ok(self.0.swap_in(&cleaned)?.is_some())
    }
}

fn config(retention_bytes: i64) -> LogConfig {
    LogConfig {
        compacted: true,
        compaction: CompactionRules { delete_retention_ms: DELETE_RETENTION_MS, ..CompactionRules::default() },
        retention: RetentionRules { deletes: true, retention_ms: -1, retention_bytes, file_delete_delay_ms: 0 },
        ..common::config(1200)
    }
}

/// `stop`: how the last one ended, None if it was closed.
fn open(storage: Witnessed, stop: Option<Stop>, checkpoints: Checkpoints) -> Result<Log, String> {
    let options = OpenOptions {
        storage: Arc::new(storage),
        dir: PathBuf::from(DIR),
        topic_id: TOPIC_ID,
        sibling: None,
        config: config(4000),
        clean_shutdown: stop.is_none(),
        recovery_point: checkpoints.recovery_point,
        log_start_offset: Some(checkpoints.start),
        now_ms: 1,
    };
    Log::open_after(stop.unwrap_or(Stop::Unknown), options)
        .map(|(log, _)| log)
        .map_err(|error| format!("it cannot be opened: {error}"))
}

impl Run {
    fn new(seed: u64, fault: Option<Fault>) -> Result<Run, String> {
        let storage = Witnessed::new(MemoryStorage::default(), fault);
        let log = open(storage.clone(), Some(Stop::Unknown), Checkpoints::default())?;
        Ok(Run {
            storage,
            log,
            model: Model::default(),
            chance: Chance::of(seed),
            checkpoints: Checkpoints::default(),
            fault,
            leader_epoch: 0,
            now_ms: 1000,
            images: 0,
        })
    }

    fn batch(&mut self) -> Vec<u8> {
        let chance = &mut self.chance;
        let transactional = TRANSACTIONAL[chance.below(2)];
        if self.model.is_open(transactional) && chance.one_in(3) {
            return marker(transactional, 0, chance.one_in(2));
        }
        let (producer_id, is_transactional) = match chance.below(6) {
            0 | 1 => (transactional, true),
            2 => (IDEMPOTENT, false),
            _ => (-1, false),
        };
        let base_sequence = if producer_id < 0 { -1 } else { self.model.next_sequence(producer_id) };
        let codec = if chance.one_in(3) { Codec::ALL[chance.below(5)] } else { Codec::None };
        let producer_epoch = if producer_id < 0 { -1 } else { 0 };
        let facts =
            BatchFacts { producer_id, producer_epoch, base_sequence, is_transactional, codec, ..BatchFacts::default() };
        let mut builder = BatchBuilder::new(facts);
        for _ in 0..1 + chance.below(4) {
            let key = [b'k', chance.below(6) as u8];
            let value = [chance.below(256) as u8; 40];
            let key = (!chance.one_in(20)).then_some(&key[..]);
            let value = (!chance.one_in(4)).then_some(&value[..]);
            builder.push(NewRecord { timestamp: self.now_ms + chance.below(30) as i64, key, value, headers: &[] });
        }
        builder.build().expect("it can be built")
    }

    fn append(&mut self) -> log::Result<()> {
        if self.chance.one_in(15) {
            self.leader_epoch += 1;
            self.log.assign_leader_epoch(self.leader_epoch)?;
        }
        let count = if self.chance.one_in(4) { 1 + self.chance.below(4) } else { 1 };
        let mut run = Vec::new();
        for _ in 0..count {
            let mut bytes = self.batch();
            record::batch::set_base_offset(&mut bytes, self.model.end());
            record::batch::set_leader_epoch(&mut bytes, self.leader_epoch);
            // From here on a crash may find it.
            self.model.given.push(Given::new(&bytes));
            run.push(bytes);
        }
        self.log.append_run_as_leader(&mut run, self.leader_epoch, 1, |_| ())
    }

    fn flush(&mut self) -> log::Result<()> {
        self.log.flush()?;
        self.model.flushed = self.model.end();
        Ok(())
    }

    fn truncate(&mut self) -> log::Result<()> {
        let behind = self.model.given.iter().filter(|given| given.base_offset >= self.model.high_watermark);
        let ends: Vec<i64> = behind.map(|given| given.base_offset).collect();
        if ends.is_empty() {
            return Ok(());
        }
        let end = ends[self.chance.below(ends.len())].max(self.log.log_start_offset());
        // Interrupted, it may have come to anything in between.
        self.model.flushed = self.model.flushed.min(end);
        self.checkpoints.recovery_point = self.checkpoints.recovery_point.min(self.model.flushed);
        self.log.truncate_to(end)?;
        self.model.cut_to(end);
        Ok(())
    }

    fn retain(&mut self) -> log::Result<()> {
        self.log.set_config(config(500 + self.chance.below(6000) as i64));
        let mut plan = self.log.plan_retention(self.model.high_watermark, self.now_ms);
        let facts = self.log.segment_facts();
        if let Some(last) = plan.count.checked_sub(1) {
            self.model.start = self.model.start.max(facts[last].end_offset);
        }
        if self.fault == Some(Fault::OneTooMany) {
            plan = Plan { count: plan.count + 1, ..plan };
        }
        let doomed = self.log.carry_out(plan, self.now_ms)?;
        if self.chance.one_in(2) {
            doomed.remove(&self.storage)?;
        }
        Ok(())
    }

    fn clean(&mut self) -> Result<(), String> {
        let last_records = match self.fault {
            Some(Fault::LastRecordsForgotten) => LastRecords::default(),
            _ => self.log.last_records(),
        };
        self.flush().map_err(|error| error.to_string())?;
        let Some(mut job) = self.log.cleanable(self.model.high_watermark, self.checkpoints.cleaned) else {
            return Ok(());
        };
        let Some(plan) = job.plan(self.now_ms) else { return Ok(()) };
        if self.fault == Some(Fault::HorizonIgnored) {
            job.config.compaction.delete_retention_ms = 0;
        }
        self.model.cleaned = self.model.cleaned.max(plan.end_offset);
        self.model.horizons.push((plan.end_offset, self.now_ms + DELETE_RETENTION_MS));
        let mut cleaner = cleaner(if self.chance.one_in(6) { 24 * 6 } else { 1 << 14 });
        let cleaned = cleaner.clean(&job, &plan, &last_records, self.now_ms, &mut SwapHere(&mut self.log));
        match cleaned {
            Ok(report) => {
                self.checkpoints.cleaned = Some(report.end_offset);
                self.model.judge_cleaned(&self.log, report.end_offset)
            }
            Err(Interruption::Failed(error)) => Err(error.to_string()),
            // The last records of producers are not below the high watermark.
            Err(Interruption::Overtaken) => Ok(()),
            Err(other) => Err(format!("{other:?}")),
        }
    }

    fn change(&mut self) -> Result<(), String> {
        let outcome = match self.chance.below(24) {
            0..=12 => self.append(),
            13 | 14 => self.log.roll(1),
            15 | 16 => self.flush(),
            17 => self.truncate(),
            18 => self.retain(),
            19..=21 => return self.clean(),
            22 => {
                let room = (self.model.end() - self.model.high_watermark + 1) as usize;
                self.model.high_watermark += self.chance.below(2 * room).min(room - 1) as i64;
                self.log.high_watermark_passed(self.model.high_watermark);
                Ok(())
            }
            _ => {
                let ahead = self.fault == Some(Fault::RecoveryPointAhead);
                let recovery_point = if ahead { self.log.log_end_offset() } else { self.log.recovery_point() };
                let start = self.log.log_start_offset();
                self.checkpoints = Checkpoints { recovery_point, start, ..self.checkpoints };
                Ok(())
            }
        };
        outcome.map_err(|error| error.to_string())
    }

    /// Opens what a crash has left, perhaps crashing once more on the way. Gives the log if it is as it should be.
    fn recovered(&mut self, image: Image, before: &Checkpoints) -> Result<(Witnessed, Log), String> {
        self.images += 1;
        let mut image = image;
        if self.chance.one_in(4) {
            let again = Witnessed::new(image.memory.clone(), self.fault);
            again.keep_images(self.chance.below(1 << 20) as u64);
            open(again.clone(), Some(image.stop), *before)?;
            let images = again.take_images();
            if !images.is_empty() {
                let next = images[self.chance.below(images.len())].clone();
                // What a power failure has left is not sound for a recovery having begun.
                let stop = if image.stop == Stop::Unknown { Stop::Unknown } else { next.stop };
                image = Image { stop, ..next };
            }
        }
        let names = |storage: &MemoryStorage| {
            let mut names = storage.list(DIR.as_ref()).unwrap_or_default();
            names.sort();
            let size = |name: &String| storage.size(&PathBuf::from(DIR).join(name)).unwrap_or(0);
            let told = names.iter().map(|name| format!("{}:{}", name.trim_start_matches('0'), size(name)));
            told.collect::<Vec<_>>().join(" ")
        };
        // A replayed history tells more.
        let told = std::env::var("SEED").map_or(String::new(), |_| {
            format!("\n  found {}\n  left from {}", names(&image.memory), names(self.storage.memory()))
        });
        let storage = Witnessed::new(image.memory, self.fault);
        let log = open(storage.clone(), Some(image.stop), *before)?;
        self.model.judge(&log, self.now_ms).map_err(|why| {
            let shown = if told.is_empty() { String::new() } else { self.model.told(&log) };
            format!("after a crash {why}{told}{shown}")
        })?;
        Ok((storage, log))
    }

    fn step(&mut self) -> Verdict {
        self.now_ms += self.chance.below(40) as i64;
        let before = self.checkpoints;
        let model_before = self.model.clone();
        let seed = self.chance.below(1 << 30) as u64;
        self.storage.keep_images(seed);
        let changed = self.change();
        let mut images = self.storage.take_images();
        changed.map_err(|why| format!("a change failed: {why}"))?;
        self.model.judge(&self.log, self.now_ms)?;
        // What was flushed in this very step was not yet, when an image was taken; what was cut off may be there still.
        let after = self.model.clone();
        let flushed = model_before.flushed.min(after.flushed);
        let longer = if after.end() < model_before.end() { model_before } else { after.clone() };
        self.model = Model { flushed, ..longer };
        // Where the log starts is taken for known: deletions reach a disk in their order, oldest first, so that what is back
        // after a failure has no holes. Names are lost here in any order.
        let recovery_point = before.recovery_point.min(self.checkpoints.recovery_point);
        let before = Checkpoints { recovery_point, start: self.model.start, ..before };
        let continues_with = (self.chance.one_in(6) && !images.is_empty()).then(|| self.chance.below(images.len()));
        let mut adopted = None;
        for (at, image) in images.drain(..).enumerate() {
            let (storage, log) = self.recovered(image, &before)?;
            if continues_with == Some(at) {
                adopted = Some((storage, log));
            }
        }
        match adopted {
            Some((storage, log)) => self.adopt(storage, log, before),
            None => {
                self.model = after;
                if self.chance.one_in(12) { self.restart() } else { Ok(()) }
            }
        }
    }

    /// The history goes on with what a crash has left.
    fn adopt(&mut self, storage: Witnessed, log: Log, before: Checkpoints) -> Verdict {
        self.model.cut_to(log.log_end_offset());
        (self.storage, self.log) = (storage, log);
        // The checkpoint of the cleaner is that of before the step; the log may be cleaner than it says.
        self.checkpoints = before;
        Ok(())
    }

    fn restart(&mut self) -> Verdict {
        self.log.close_clean(1).map_err(|error| format!("close: {error}"))?;
        // What the mark of a clean stop does first.
        self.storage.memory().sync_everything();
        let start = self.log.log_start_offset();
        self.checkpoints = Checkpoints { recovery_point: self.log.recovery_point(), start, ..self.checkpoints };
        self.log = open(self.storage.clone(), None, self.checkpoints)?;
        self.model.flushed = self.model.end();
        self.model.judge(&self.log, self.now_ms).map_err(|why| format!("after a clean stop {why}"))
    }
}

/// How many crashes a history went through.
fn history(seed: u64, fault: Option<Fault>) -> Result<u64, String> {
    let mut run = Run::new(seed, fault)?;
    for step in 0..STEPS {
        let outcome = catch_unwind(AssertUnwindSafe(|| run.step()));
        let outcome = outcome.unwrap_or_else(|_| Err("panicked".to_owned()));
        outcome.map_err(|why| {
            format!("SEED={seed} cargo test --release -p pykafkacore-log --test crash_points  # step {step}: {why}")
        })?;
    }
    Ok(run.images)
}

#[test]
fn a_log_is_what_it_should_be_after_a_crash_at_any_point() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number("HISTORIES").unwrap_or(HISTORIES),
    };
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let (done, count) = (AtomicU64::new(0), seeds.end - seeds.start);
    let told = |seed| {
        let outcome = history(seed, None);
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of(TOLD_EACH) {
            eprintln!("{done} of {count} histories");
        }
        outcome
    };
    let outcomes: Vec<Result<u64, String>> = std::thread::scope(|scope| {
        let share = |part: u64| seeds.clone().filter(move |seed| seed % threads == part);
        let work = |part| scope.spawn(move || share(part).map(told).collect::<Vec<_>>());
        let workers: Vec<_> = (0..threads).map(work).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("histories do not panic")).collect()
    });
    let crashes: u64 = outcomes.iter().flatten().sum();
    let failures: Vec<&String> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    println!("{} histories, {crashes} crashes", outcomes.len());
    let shown = failures.iter().take(5).map(|line| line.as_str()).collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} of {} histories failed:\n{shown}", failures.len(), outcomes.len());
}

#[test]
fn every_planted_mistake_is_found() {
    let missed: Vec<Fault> = FAULTS
        .into_iter()
        .filter(|fault| (1..=FAULTY_HISTORIES).all(|seed| history(seed, Some(*fault)).is_ok()))
        .collect();
    assert_eq!(missed, [], "mistakes that no history has shown");
}
