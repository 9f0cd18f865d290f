//! Rounds of compaction: which log is cleaned next, what its checkpoint says, and what is done about one that cannot be.
//!
//! A log that cannot be cleaned, because something in it is not what it should be, is set aside with the reason until the
//! broker starts anew. A full disk, and a log that changed meanwhile, are tried again in the next round.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use log::checkpoints::{self, CLEANER_OFFSETS};
use log::cleaner::{Cleaned, Cleaner, CleanerSettings, CleaningPlan, CleaningReport, Course, Interruption};
use log::{FileStorage, Storage};
use replica::partition::Partition;
use replica::topic::PartitionKey;
use wire::Uuid;

use crate::config::Compaction;
use crate::rounds::Rounds;
use crate::shared::wall_clock_ms;
use crate::throttle::Throttle;
use crate::upcall::Level;

/// Where each log of one directory is clean up to. An entry read from the file is anybody's of that name.
struct Checkpoint {
    dir: PathBuf,
    offsets: HashMap<(String, i32), (Option<Uuid>, i64)>,
}

impl Checkpoint {
    fn load(dir: &Path) -> log::Result<Checkpoint> {
        let offsets = checkpoints::read_offsets(&FileStorage, &dir.join(CLEANER_OFFSETS))?;
        let offsets = offsets.into_iter().map(|(place, offset)| (place, (None, offset))).collect();
        Ok(Checkpoint { dir: dir.to_owned(), offsets })
    }

    fn of(&self, partition: &Partition) -> Option<i64> {
        let (id, offset) = self.offsets.get(&(partition.topic.name.to_string(), partition.index))?;
        // A topic that was deleted and made again has none.
        id.is_none_or(|id| id == partition.topic.id).then_some(*offset)
    }

    fn set(&mut self, partition: &Partition, offset: i64) -> log::Result<()> {
        let place = (partition.topic.name.to_string(), partition.index);
        self.offsets.insert(place, (Some(partition.topic.id), offset));
        let dir = &self.dir;
        self.offsets.retain(|(topic, index), _| FileStorage.exists(&dir.join(log::partition_dir_name(topic, *index))));
        let lines = self.offsets.iter().map(|((topic, index), (_, offset))| (topic.clone(), *index, *offset));
        checkpoints::write_offsets(&FileStorage, &self.dir.join(CLEANER_OFFSETS), &lines.collect::<Vec<_>>())
    }
}

pub struct Cleaning {
    checkpoints: Vec<Checkpoint>,
    set_aside: HashMap<PartitionKey, String>,
    cleaner: Option<(Compaction, Cleaner)>,
    hash_key: (u64, u64),
}

/// A log that wants to be cleaned.
struct Candidate {
    partition: Arc<Partition>,
    dirty_ratio: f64,
}

impl Cleaning {
    pub fn new(dirs: &[PathBuf], rounds: &Rounds) -> Cleaning {
        let load = |dir: &PathBuf| match Checkpoint::load(dir) {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                // Nothing is lost by cleaning everything anew.
                rounds.tell(Level::Warning, format!("the cleaner starts anew: {error}"));
                Checkpoint { dir: dir.clone(), offsets: HashMap::new() }
            }
        };
        let random = RandomState::new();
        Cleaning {
            checkpoints: dirs.iter().map(load).collect(),
            set_aside: HashMap::new(),
            cleaner: None,
            hash_key: (random.hash_one(0), random.hash_one(1)),
        }
    }

    /// Cleans what is due, the dirtiest first. False if it was stopped.
    pub fn round(&mut self, settings: &Compaction, rounds: &mut Rounds) -> bool {
        let mut candidates = self.candidates(rounds);
        candidates.sort_by(|a, b| b.dirty_ratio.total_cmp(&a.dirty_ratio));
        for Candidate { partition, .. } in candidates {
            if !self.clean(&partition, settings, rounds) {
                return false;
            }
        }
        // The map is large while it is used; between rounds it is not held.
        self.cleaner = None;
        true
    }

    fn candidates(&mut self, rounds: &mut Rounds) -> Vec<Candidate> {
        let view = rounds.view();
        self.set_aside.retain(|(topic_id, index), _| view.partition(*topic_id, *index).is_some());
        let mut found = Vec::new();
        let is_both = |partition: &&Arc<Partition>| {
            let settings = partition.topic.settings.load();
            settings.log.compacted && settings.log.retention.deletes
        };
        rounds.retain(view.partitions().filter(is_both));
        for partition in view.partitions() {
            let settings = partition.topic.settings.load();
            if !settings.log.compacted || self.set_aside.contains_key(&partition.key()) {
                continue;
            }
            if partition.flush_lets_clean() {
                // Asked of the disk's own thread; the next round finds it done.
                partition.flush_soon();
            }
            if let Some((_, plan)) = self.plan(partition).filter(|(_, plan)| plan.is_due) {
                found.push(Candidate { partition: partition.clone(), dirty_ratio: plan.dirty_ratio });
            }
        }
        found
    }

    fn plan(&self, partition: &Partition) -> Option<(log::cleaner::Cleanable, CleaningPlan)> {
        let checkpoint = self.checkpoints.iter().find(|each| partition.lies_in(&each.dir));
        let job = partition.cleanable(checkpoint.and_then(|checkpoint| checkpoint.of(partition)))?;
        let plan = job.plan(wall_clock_ms())?;
        Some((job, plan))
    }

    /// False if the cleaning was stopped, to be taken up after a restart.
    fn clean(&mut self, partition: &Arc<Partition>, settings: &Compaction, rounds: &mut Rounds) -> bool {
        let last_records = match partition.flush_for_cleaning() {
            Ok(last_records) => last_records,
            Err(error) => {
                self.failed(partition, &error, rounds);
                return true;
            }
        };
        let Some((job, plan)) = self.plan(partition) else { return true };
        if self.cleaner.as_ref().is_none_or(|(made_for, _)| made_for != settings) {
            let Compaction { dedupe_bytes, load_factor, io_buffer_bytes, .. } = *settings;
            let hash_key = self.hash_key;
            let cleaner = Cleaner::new(&CleanerSettings { dedupe_bytes, load_factor, io_buffer_bytes, hash_key });
            self.cleaner = Some((*settings, cleaner));
        }
        let Some((_, cleaner)) = &mut self.cleaner else { return true };
        let throttle = Throttle::new(settings.bytes_per_s);
        let mut course = OneLog { partition, rounds, throttle, unpaid_bytes: 0 };
        let outcome = cleaner.clean(&job, &plan, &last_records, wall_clock_ms(), &mut course);
        match outcome {
            Ok(report) => self.note(partition, &report, rounds),
            Err(Interruption::Stopped) => return false,
            Err(Interruption::Overtaken) => {}
            Err(Interruption::Failed(error)) => self.failed(partition, &error, rounds),
        }
        true
    }

    fn note(&mut self, partition: &Partition, report: &CleaningReport, rounds: &Rounds) {
        let CleaningReport { end_offset, bytes_read, bytes_kept, records_read, records_kept } = report;
        let text = format!(
            "{}: compacted up to offset {end_offset}: {records_kept} of {records_read} records, {bytes_kept} of \
             {bytes_read} bytes stay",
            partition.name()
        );
        rounds.tell(Level::Info, text);
        if let Some(checkpoint) = self.checkpoints.iter_mut().find(|each| partition.lies_in(&each.dir))
            && let Err(error) = checkpoint.set(partition, *end_offset)
        {
            rounds.tell(Level::Error, format!("cannot note how far {} is compacted: {error}", partition.name()));
        }
    }

    fn failed(&mut self, partition: &Partition, error: &log::Error, rounds: &Rounds) {
        let name = partition.name();
        let is_full = matches!(error, log::Error::Storage { why, .. } if why.kind() == ErrorKind::StorageFull);
        // Files that go missing are those of a log that was deleted, or of segments that were.
        let is_gone = matches!(error, log::Error::Storage { why, .. } if why.kind() == ErrorKind::NotFound);
        if is_gone {
            return;
        }
        if is_full {
            rounds.tell(Level::Error, format!("{name} cannot be compacted now: {error}; make room on the disk"));
            return;
        }
        partition.failed(error);
        let text = format!("{name} is not compacted any more until the broker is started again: {error}");
        rounds.tell(Level::Error, text);
        self.set_aside.insert(partition.key(), error.to_string());
    }
}

/// After so many bytes it is looked whether something else is due.
const PAID_BYTES: usize = 1 << 20;

struct OneLog<'a> {
    partition: &'a Arc<Partition>,
    rounds: &'a mut Rounds,
    throttle: Throttle,
    unpaid_bytes: usize,
}

impl Course for OneLog<'_> {
    fn spent(&mut self, bytes: usize) -> bool {
        self.unpaid_bytes += bytes;
        if self.unpaid_bytes < PAID_BYTES {
            return true;
        }
        let due = self.throttle.spend(std::mem::take(&mut self.unpaid_bytes));
        self.rounds.meanwhile(due) && !self.partition.is_gone()
    }

    fn swap(&mut self, cleaned: Cleaned) -> log::Result<bool> {
        let doomed = self.partition.swap_in(&cleaned)?;
        Ok(doomed.map(|doomed| self.rounds.doom(self.partition, doomed)).is_some())
    }
}
