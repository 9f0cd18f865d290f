//! The one writer of the view: takes over what the control plane decided, opens and deletes logs accordingly, and keeps
//! the checkpoints.
//!
//! INVARIANT: a partition is seen by readers only once its log stands.
//! INVARIANT: work is proportional to what changed: one entry for an ISR change, whatever the number of partitions.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{FileStorage, Log, OpenOptions};
use replica::leadership::Leadership;
use replica::partition::{Opened, Partition};
use replica::tail::TailBudget;
use replica::topic::{PartitionKey, Topic, TopicSettings};
use replica::view::{Published, View};
use wire::produce::NodeEndpoint;
use wire::{ErrorCode, Uuid};

use crate::asked::{JobResult, PartitionRef};
use crate::dir::Dir;
use crate::moves::{Moves, unique_suffix};
use crate::recovering::Recovering;
use crate::removal::Removals;
use crate::shared::wall_clock_ms;
use crate::strays::{strays, told_of_stray};
use crate::upcall::{Level, UpcallQueue};

pub struct TopicChange {
    pub id: Uuid,
    pub name: String,
    pub settings: TopicSettings,
}

pub struct PartitionChange {
    pub topic_id: Uuid,
    pub index: i32,
    /// Where its log is said to be.
    pub directory_id: Uuid,
    pub leadership: Leadership,
}

/// What changes from one view to the next.
#[derive(Default)]
pub struct ViewDelta {
    pub metadata_offset: i64,
    pub topics: Vec<TopicChange>,
    pub partitions: Vec<PartitionChange>,
    pub removed_topics: Vec<Uuid>,
    pub brokers: Option<Vec<NodeEndpoint>>,
}

pub struct Publisher {
    node_id: i32,
    published: Arc<Published>,
    upcalls: Arc<UpcallQueue>,
    budget: Arc<TailBudget>,
    dirs: Vec<Dir>,
    /// Which partitions of a topic are hosted, so that a topic's removal costs its own partitions only.
    hosted: HashMap<Uuid, BTreeSet<i32>>,
    /// Topics with a flush.ms of their own.
    flushed_by_time: HashSet<Uuid>,
    removals: Removals,
    placed: Vec<(Uuid, i32, usize)>,
    moves: Arc<Moves>,
    recovering: Recovering,
    /// Moves that the last stop interrupted: where the partition of this directory name goes.
    interrupted: HashMap<String, usize>,
    last_checkpoint: Instant,
}

const CHECKPOINT_PERIOD: Duration = Duration::from_secs(5);

impl Publisher {
    pub fn new(
        node_id: i32,
        published: Arc<Published>,
        upcalls: Arc<UpcallQueue>,
        budget: Arc<TailBudget>,
        (dirs, interrupted): (Vec<Dir>, HashMap<String, usize>),
        moves: Arc<Moves>,
        file_delete_delay: Duration,
    ) -> Publisher {
        let mut removals = Removals::new(file_delete_delay, upcalls.clone());
        dirs.iter().flat_map(|dir| dir.log_dir.doomed()).for_each(|path| removals.add(path));
        let recovering = Recovering::new(dirs.iter().map(|dir| &dir.log_dir));
        Publisher {
            dirs,
            node_id,
            published,
            upcalls,
            budget,
            hosted: HashMap::new(),
            flushed_by_time: HashSet::new(),
            removals,
            placed: Vec::new(),
            moves,
            recovering,
            interrupted,
            last_checkpoint: Instant::now(),
        }
    }

    pub fn publish(&mut self, delta: ViewDelta) -> JobResult {
        let mut view = View::clone(&self.published.load());
        let mut failed = Vec::new();
        let mut changed = self.apply_topics(&mut view, delta.topics);
        let mut opened = Vec::new();
        for change in delta.partitions {
            let key = (change.topic_id, change.index);
            match self.apply_partition(&mut view, change) {
                Ok(new) => {
                    changed |= new;
                    opened.extend((!self.interrupted.is_empty()).then_some(key));
                }
                Err(reason) => failed.push((key.0, key.1, reason)),
            }
        }
        for id in delta.removed_topics {
            self.remove_topic(&mut view, id);
            changed = true;
        }
        if let Some(brokers) = delta.brokers {
            view.brokers = Arc::new(brokers);
            changed = true;
        }
        if changed {
            self.published.publish(view, delta.metadata_offset);
        } else {
            self.published.advance(delta.metadata_offset);
        }
        opened.into_iter().for_each(|key| self.take_up_move(key));
        let placed = std::mem::take(&mut self.placed);
        JobResult::Published { metadata_offset: delta.metadata_offset, failed, placed }
    }

    fn apply_topics(&mut self, view: &mut View, topics: Vec<TopicChange>) -> bool {
        let mut changed = false;
        for change in topics {
            if change.settings.flush_ms < i64::MAX {
                self.flushed_by_time.insert(change.id);
            } else {
                self.flushed_by_time.remove(&change.id);
            }
            match view.topic_by_id(&change.id) {
                Some(topic) => {
                    for index in self.hosted.get(&change.id).into_iter().flatten() {
                        if let Some(partition) = view.partition(change.id, *index) {
                            partition.with_log(|log, _| log.set_config(change.settings.log.clone()));
                        }
                    }
                    topic.settings.store(Arc::new(change.settings));
                }
                None => {
                    view.insert_topic(Arc::new(Topic::new(change.id, &change.name, change.settings)));
                    changed = true;
                }
            }
        }
        changed
    }

    /// True if the partition is new to the view.
    fn apply_partition(&mut self, view: &mut View, change: PartitionChange) -> Result<bool, String> {
        let PartitionChange { topic_id, index, directory_id, leadership } = change;
        let existing = view.partition(topic_id, index).cloned();
        let is_new = existing.is_none();
        let partition = match existing {
            Some(partition) => partition,
            None => {
                let topic = view.topic_by_id(&topic_id).ok_or("its topic is not in the view")?;
                Arc::new(Partition::new(topic.clone(), index, self.node_id, self.budget.clone()))
            }
        };
        let mut outcome = Ok(is_new);
        let mut opened = None;
        if leadership.hosts(self.node_id) && !partition.has_log() {
            match self.open_log(&partition, directory_id) {
                Ok(log) => {
                    opened = Some(log);
                    self.hosted.entry(topic_id).or_default().insert(index);
                }
                Err(error) => {
                    let text = format!("cannot open {}-{index}: {error}", partition.topic.name);
                    self.upcalls.notice(Level::Error, text.clone());
                    outcome = Err(text);
                }
            }
        }
        if let Err(error) = partition.apply_leadership(leadership, opened) {
            outcome = Err(error.to_string());
        }
        if is_new {
            view.insert_partition(partition);
        }
        outcome
    }

    /// The directory of a partition: where its log is, or where it is said to be, or for a new one, that with the fewest.
    fn directory_of(&self, name: &str, directory_id: Uuid) -> log::Result<usize> {
        let has_it = |dir: &Dir| dir.log_dir.has_partition(name);
        // Where a directory that was away is back with what has moved from it meanwhile, there are two.
        let named = self.dirs.iter().position(|dir| has_it(dir) && dir.config.id == directory_id);
        if let Some(at) = named.or_else(|| self.dirs.iter().position(has_it)) {
            return Ok(at);
        }
        if !is_reserved(directory_id) {
            let known = self.dirs.iter().position(|dir| dir.config.id == directory_id);
            let why = "its log directory could not be opened at the start; repair it, and start the broker again";
            return known.ok_or_else(|| log::Error::Poisoned { why: why.to_owned() });
        }
        let open = self.dirs.iter().enumerate().filter(|(_, dir)| dir.takes_new());
        let fewest = open.min_by_key(|(_, dir)| dir.log_count);
        let why = "no log directory takes new partitions: each failed, or is in cordoned.log.dirs";
        fewest.map(|(at, _)| at).ok_or_else(|| log::Error::Poisoned { why: why.to_owned() })
    }

    fn open_log(&mut self, partition: &Partition, directory_id: Uuid) -> log::Result<Opened> {
        let topic = &partition.topic;
        let name = partition.name();
        let at = self.directory_of(&name, directory_id)?;
        let Dir { log_dir, config, log_count, disk, replay, last_made } = &mut self.dirs[at];
        if let Some(why) = disk.fenced() {
            return Err(log::Error::Poisoned { why: why.to_owned() });
        }
        self.recovering.begins(Instant::now());
        let now_ms = wall_clock_ms();
        let sibling = last_made.as_ref().filter(|(id, _)| *id == topic.id);
        let (mut log, report) = Log::open_after(
            log_dir.stop(),
            OpenOptions {
                storage: Arc::new(FileStorage),
                dir: log_dir.path().join(&name),
                topic_id: topic.id,
                sibling: sibling.map(|(_, path)| path.clone()),
                config: topic.settings.load().log.clone(),
                clean_shutdown: log_dir.was_clean(),
                recovery_point: log_dir.recovery_point(&topic.name, partition.index),
                log_start_offset: log_dir.log_start_offset(&topic.name, partition.index),
                now_ms,
            },
        )?;
        if let Some(text) = report.told() {
            let level = match &report.truncated {
                Some(truncated) if truncated.is_rot => Level::Error,
                Some(_) => Level::Warning,
                None => Level::Info,
            };
            self.upcalls.notice(level, text);
        }
        let replayed = replay.apply(partition.key(), &mut log, now_ms)?;
        if let Some(replayed) = &replayed {
            let level = if replayed.lost_from.is_some() { Level::Error } else { Level::Info };
            self.upcalls.notice(level, format!("{name}: {replayed}"));
            replay.finish(&FileStorage)?;
        }
        let (progress, failed) = self.recovering.opened(&report, replayed.as_ref(), (Instant::now(), now_ms));
        let told = progress.map(|text| (Level::Info, text)).into_iter().chain(failed.map(|why| (Level::Warning, why)));
        told.for_each(|(level, text)| self.upcalls.notice(level, text));
        log_dir.proved(&name);
        if report.created {
            *log_count += 1;
            *last_made = Some((topic.id, log.dir().to_owned()));
        }
        if config.id != directory_id {
            self.placed.push((topic.id, partition.index, at));
        }
        let high_watermark = log_dir.high_watermark(&topic.name, partition.index).unwrap_or(log.log_start_offset());
        Ok(Opened { log, high_watermark, disk: Some(disk.clone()) })
    }

    fn remove_topic(&mut self, view: &mut View, id: Uuid) {
        for index in self.hosted.remove(&id).unwrap_or_default() {
            let Some(partition) = view.remove_partition((id, index)) else { continue };
            self.moves.cancel(&partition);
            let Some(mut log) = partition.retire() else { continue };
            if let Some(dir) = self.dirs.iter_mut().find(|dir| log.dir().parent() == Some(dir.log_dir.path())) {
                dir.log_count = dir.log_count.saturating_sub(1);
            }
            match log.rename_for_delete(&unique_suffix()) {
                Ok(path) => self.removals.add(path),
                Err(error) => self.upcalls.notice(Level::Error, format!("cannot delete a partition: {error}")),
            }
        }
        self.flushed_by_time.remove(&id);
        view.remove_topic(id);
    }

    /// The view has all that the metadata had when this broker joined: what lay here at the start and is of no partition in
    /// it that is hosted here is set aside, and never removed. A topic that was made again gets a log of its own.
    pub fn set_strays_aside(&mut self) -> JobResult {
        let mut view = View::clone(&self.published.load());
        let mut freed = HashSet::new();
        for Dir { log_dir, log_count, disk, .. } in self.dirs.iter_mut().filter(|dir| dir.disk.fenced().is_none()) {
            for name in strays(log_dir, &view, self.node_id) {
                match log_dir.set_aside(&name, &unique_suffix()) {
                    Ok(path) => {
                        *log_count = log_count.saturating_sub(1);
                        self.upcalls.notice(Level::Warning, told_of_stray(&log_dir.path().join(&name), &path));
                        freed.insert(name);
                    }
                    Err(error) => {
                        disk.fence(&error.to_string());
                        break;
                    }
                }
            }
        }
        let has_no_log = |partition: &&Arc<Partition>| {
            let name = log::partition_dir_name(&partition.topic.name, partition.index);
            freed.contains(&name) && !partition.has_log()
        };
        let again: Vec<_> = view.partitions().filter(has_no_log).cloned().collect();
        let mut failed = Vec::new();
        for partition in again {
            let ((topic_id, index), leadership) = (partition.key(), partition.leadership());
            let change = PartitionChange { topic_id, index, directory_id: Uuid::default(), leadership };
            if let Err(reason) = self.apply_partition(&mut view, change) {
                failed.push((topic_id, index, reason));
            }
        }
        let placed = std::mem::take(&mut self.placed);
        JobResult::Published { metadata_offset: self.published.metadata_offset(), failed, placed }
    }

    fn dir_at(&self, path: &Path) -> Option<usize> {
        self.dirs.iter().position(|dir| dir.log_dir.path() == path)
    }

    /// Where a partition's log lies.
    fn dir_of(&self, partition: &Partition) -> Option<usize> {
        let parent = partition.with_log(|log, _| log.dir().parent().map(Path::to_owned)).flatten()?;
        self.dir_at(&parent)
    }

    /// A move that the last stop interrupted is begun again.
    fn take_up_move(&mut self, key: PartitionKey) {
        let Some(partition) = self.published.load().partition(key.0, key.1).cloned() else { return };
        let name = partition.name();
        let Some(to) = self.interrupted.remove(&name) else { return };
        if let Err(why) = self.begin_move(&partition, to) {
            self.upcalls.notice(Level::Error, format!("{name} cannot go on moving: error {}", why.0));
        }
    }

    /// A replica is to lie in another of the log directories (KIP-113).
    pub fn alter_dir(&mut self, (topic_id, index): PartitionRef, path: &Path) -> ErrorCode {
        let Some(to) = self.dir_at(path) else { return ErrorCode::LOG_DIR_NOT_FOUND };
        if self.dirs[to].disk.fenced().is_some() {
            return ErrorCode::KAFKA_STORAGE_ERROR;
        }
        let found = self.published.load().partition(topic_id, index).cloned();
        let Some(partition) = found else { return ErrorCode::REPLICA_NOT_AVAILABLE };
        self.begin_move(&partition, to).err().unwrap_or(ErrorCode::NONE)
    }

    fn begin_move(&mut self, partition: &Arc<Partition>, to: usize) -> Result<(), ErrorCode> {
        let hosted = partition.leadership().hosts(self.node_id);
        let missing = if hosted { ErrorCode::KAFKA_STORAGE_ERROR } else { ErrorCode::REPLICA_NOT_AVAILABLE };
        let from = self.dir_of(partition).ok_or(missing)?;
        if partition.with_log(|log, _| log.is_poisoned()).unwrap_or(true) {
            return Err(ErrorCode::KAFKA_STORAGE_ERROR);
        }
        if self.moves.of(partition.key()).is_some_and(|(bound_to, _)| bound_to == to) {
            return Ok(());
        }
        self.moves.cancel(partition);
        if from == to {
            return Ok(());
        }
        let (source, target) = (self.dirs[from].disk.clone(), self.dirs[to].disk.clone());
        self.moves.begin(partition, &source, (to, &target)).map_err(|error| {
            let text = format!("{} cannot move: {error}", partition.name());
            self.upcalls.notice(Level::Error, text);
            if matches!(error, log::Error::Storage { .. }) && !error.is_no_space() {
                target.fence(&error.to_string());
            }
            ErrorCode::KAFKA_STORAGE_ERROR
        })
    }

    /// The checkpoints of where a partition goes name it before it is there.
    pub fn write_checkpoints_for_move(&self, partition: &Partition, to: &Path) {
        self.write_checkpoints(Some((partition, to)));
    }

    /// Where each log starts, as of now.
    pub fn checkpoint(&self) {
        self.write_checkpoints(None);
    }

    /// A partition has moved; what it left is to be removed.
    pub fn moved(&mut self, partition: &Partition, from: &Path, to: &Path, doomed: PathBuf) {
        self.removals.add(doomed);
        if let Some(from) = self.dir_at(from) {
            self.dirs[from].log_count = self.dirs[from].log_count.saturating_sub(1);
        }
        if let Some(to) = self.dir_at(to) {
            self.dirs[to].log_count += 1;
            self.upcalls.placed(partition.topic.id, partition.index, to);
        }
        self.write_checkpoints(None);
    }

    /// flush.ms, to the second: no log that it is set for stays behind for longer.
    fn flush_by_time(&self) {
        let view = self.published.load();
        for id in &self.flushed_by_time {
            for index in self.hosted.get(id).into_iter().flatten() {
                if let Some(partition) = view.partition(*id, *index) {
                    partition.flush_soon();
                }
            }
        }
    }

    /// Runs between jobs: removes what has been deleted long enough, and writes the checkpoints.
    pub fn tidy(&mut self) {
        let now = Instant::now();
        self.removals.remove_due(now);
        self.flush_by_time();
        self.dirs.iter().for_each(|dir| dir.disk.look_at_room());
        if now.duration_since(self.last_checkpoint) >= CHECKPOINT_PERIOD {
            self.last_checkpoint = now;
            self.write_checkpoints(None);
        }
    }

    /// `arriving`: also in the directory that it is about to be in.
    fn write_checkpoints(&self, arriving: Option<(&Partition, &Path)>) {
        let view = self.published.load();
        for Dir { log_dir: dir, disk, .. } in &self.dirs {
            if disk.fenced().is_some() {
                continue;
            }
            let mut offsets = log::DirOffsets::default();
            for partition in view.partitions() {
                let topic = partition.topic.name.clone();
                partition.with_log(|log, context| {
                    let arrives = arriving.is_some_and(|(one, to)| one.key() == partition.key() && to == dir.path());
                    if arrives || log.dir().parent() == Some(dir.path()) {
                        offsets.add(&topic, partition.index, log, context.high_watermark);
                    }
                });
            }
            if let Err(error) = dir.write_checkpoints(&offsets) {
                self.upcalls
                    .notice(Level::Error, format!("cannot write checkpoints in {}: {error}", dir.path().display()));
            }
        }
    }

    /// Closes every log as after a clean stop, and says so in each directory where all of them could be.
    pub fn close(&mut self, broker_epoch: i64) {
        let now_ms = wall_clock_ms();
        self.removals.stop();
        for dir in &self.dirs {
            dir.disk.stop();
        }
        let view = self.published.load();
        for partition in view.partitions() {
            let closed = partition.with_log(|log, _| (log.dir().to_owned(), log.close_clean(now_ms)));
            if let Some((path, Err(error))) = closed
                && let Some(dir) = self.dirs.iter().find(|dir| path.parent() == Some(dir.log_dir.path()))
            {
                dir.disk.fence(&format!("unclean close of {}: {error}", path.display()));
            }
        }
        drop(view);
        // The checkpoints say that all of it is on the disk, so that comes first.
        for Dir { log_dir, disk, .. } in &self.dirs {
            if let Err(error) = log_dir.sync() {
                disk.fence(&error.to_string());
            }
        }
        self.write_checkpoints(None);
        for Dir { log_dir, disk, .. } in &self.dirs {
            if disk.fenced().is_none()
                && let Err(error) = log_dir.write_clean_shutdown(broker_epoch)
            {
                self.upcalls.notice(Level::Error, format!("{}: {error}", log_dir.path().display()));
            }
        }
        // The locks go with them: another broker may have the directories now.
        self.dirs.clear();
    }
}

/// KAFKA: ids below 100 are no directories, but say why none is named.
fn is_reserved(directory_id: Uuid) -> bool {
    u128::from_be_bytes(directory_id) < 100
}
