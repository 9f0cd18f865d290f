//! Random histories of group commit over several partitions, with kills and power failures in the middle of anything.
//!
//! What a producer was told is there afterwards, in order and without a hole; what it was not told may be there or not.
//!
//! Replay one history:  SEED=<n> cargo test --release -p pykafkacore-server --test durable
//! More of them:        HISTORIES=<count> ...

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::BytesMut;
use log::journal::Replay;
use log::memory::{Chance, MemoryStorage};
use log::{Few, FileStorage, Log, LogConfig, OpenOptions, Stop, Storage};
use parking_lot::Mutex;
use record::{AppendRules, BatchBuilder, BatchFacts, NewRecord};
use replica::append::{Offered, Told};
use replica::leadership::Leadership;
use replica::partition::{Disk, Opened, Partition, Uncommitted};
use replica::tail::TailBudget;
use replica::topic::{Topic, TopicSettings};
use replica::waiting::Wanted;
use server::disk::{Commits, DirDisk, Job};
use server::upcall::UpcallQueue;
use wire::ErrorCode;

const TOPIC_ID: [u8; 16] = [7; 16];
const DIR: &str = "/d";
const PARTITIONS: i32 = 3;
const STEPS: usize = 300;
const HISTORIES: u64 = 200;
/// Small enough for a file to be full every few rounds.
const FILE_BYTES: u64 = 8 * 1024;

/// Collects what partitions hand over.
#[derive(Default)]
struct Collector {
    uncommitted: Mutex<Vec<Uncommitted>>,
    to_flush: Mutex<Vec<Arc<Partition>>>,
}

impl Disk for Collector {
    fn commit(&self, uncommitted: Uncommitted) {
        self.uncommitted.lock().push(uncommitted);
    }

    fn flush_soon(&self, partition: Arc<Partition>) {
        self.to_flush.lock().push(partition);
    }

    fn failed(&self, _: String) {}

    fn refusal(&self) -> Option<String> {
        None
    }
}

fn settings(flush_messages: u64) -> TopicSettings {
    TopicSettings {
        append: AppendRules {
            timestamp_after_max_ms: i64::MAX,
            message_bytes_max: 1 << 20,
            segment_bytes: 1 << 20,
            inflated_bytes_max: 1 << 20,
            ..AppendRules::default()
        },
        min_insync_replicas: 1,
        flush_messages,
        flush_ms: i64::MAX,
        log: LogConfig {
            segment_bytes: 3000,
            segment_ms: i64::MAX,
            index_interval_bytes: 100,
            index_bytes_max: 1 << 20,
            producer_id_expiration_ms: i64::MAX,
            compacted: false,
            ..LogConfig::default()
        },
    }
}

/// What one partition was told to hold: each batch by its one value, and up to where its producer was answered.
#[derive(Clone, Default)]
struct Model {
    values: Vec<u64>,
    acknowledged: i64,
}

type Give = fn(Job);

struct Run {
    chance: Chance,
    storage: MemoryStorage,
    topic: Arc<Topic>,
    collector: Arc<Collector>,
    partitions: Vec<Arc<Partition>>,
    commits: Commits<Give>,
    models: Vec<Model>,
    recovery_points: Vec<i64>,
    generation: u64,
    next_value: u64,
}

fn commits(storage: &MemoryStorage, generation: u64) -> Commits<Give> {
    let give: Give = |job| match job {
        Job::Flush(partitions, Some(done)) if partitions.iter().all(|partition| partition.flush().is_ok()) => {
            done.send(()).unwrap();
        }
        Job::WriteBehind(partition) => partition.write_behind(),
        Job::Flush(..) | Job::Fence(_) => {}
    };
    Commits::new(Path::new(DIR), Arc::new(storage.clone()), FILE_BYTES, generation, give)
}

impl Run {
    fn new(seed: u64) -> Run {
        let storage = MemoryStorage::default();
        let mut run = Run {
            chance: Chance::of(seed),
            topic: Arc::new(Topic::new(TOPIC_ID, "t", settings(1))),
            collector: Arc::default(),
            partitions: Vec::new(),
            commits: commits(&storage, 1),
            storage,
            models: vec![Model::default(); PARTITIONS as usize],
            recovery_points: vec![0; PARTITIONS as usize],
            generation: 1,
            next_value: 0,
        };
        run.open(Stop::Unknown).unwrap();
        run
    }

    /// Opens all partitions as after such an unclean stop.
    fn open(&mut self, stop: Stop) -> Result<(), String> {
        self.collector = Arc::default();
        self.partitions.clear();
        let mut replay = Replay::read(&self.storage, Path::new(DIR)).map_err(|e| e.to_string())?;
        if replay.rotten_rounds > 0 {
            return Err(format!("{} rounds are called rotten", replay.rotten_rounds));
        }
        for index in 0..PARTITIONS {
            let options = OpenOptions {
                storage: Arc::new(self.storage.clone()),
                dir: PathBuf::from(DIR).join(format!("t-{index}")),
                topic_id: TOPIC_ID,
                sibling: None,
                config: self.topic.settings.load().log.clone(),
                clean_shutdown: false,
                recovery_point: self.recovery_points[index as usize],
                log_start_offset: None,
                now_ms: 1,
            };
            let (mut log, _) = Log::open_after(stop, options).map_err(|e| e.to_string())?;
            let replayed = replay.apply((TOPIC_ID, index), &mut log, 1).map_err(|e| e.to_string())?;
            if replayed.is_some_and(|replayed| replayed.lost_from.is_some()) {
                return Err(format!("the replay of {index} has a hole"));
            }
            self.partitions.push(led(&self.topic, index, log, self.collector.clone())?);
        }
        replay.finish(&self.storage).map_err(|e| e.to_string())
    }

    fn append(&mut self) {
        let at = self.chance.below(self.partitions.len());
        let count = if self.chance.one_in(3) { 1 + self.chance.below(4) } else { 1 };
        let mut values = Vec::new();
        for _ in 0..count {
            let bytes = if self.chance.below(12) == 0 { 900 } else { 8 + self.chance.below(100) };
            self.next_value += 1;
            let mut value = vec![0; bytes];
            value[..8].copy_from_slice(&self.next_value.to_be_bytes());
            values.push(value);
            // One whose write failed may be there afterwards.
            self.models[at].values.push(self.next_value);
        }
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        for appended in append(&self.partitions[at], &values).into_iter().flatten() {
            assert!(appended.synced_offset.is_none_or(|synced| synced <= appended.last_offset), "told before the disk");
        }
    }

    /// Everybody whose wait is over is told.
    fn acknowledge(&mut self) {
        let is_durable = self.topic.settings.load().flush_messages == 1;
        for (partition, model) in self.partitions.iter().zip(&mut self.models) {
            let told = |offset: &i64| partition.outcome_of(Wanted::Synced(*offset)) == ErrorCode::NONE;
            let end = model.values.len() as i64;
            if let Some(offset) = (model.acknowledged + 1..=end).rev().find(told).filter(|_| is_durable) {
                model.acknowledged = offset;
            }
        }
    }

    fn round(&mut self) {
        let batches = std::mem::take(&mut *self.collector.uncommitted.lock());
        let _ = self.commits.round(&batches);
    }

    fn crash(&mut self) -> Result<(), String> {
        self.acknowledge();
        let seed = self.chance.below(1 << 30) as u64;
        let stop = if self.chance.one_in(3) { Stop::Killed } else { Stop::Unknown };
        self.storage = match stop {
            Stop::Killed => self.storage.crash(|_, all| all),
            _ => self.storage.power_loss(seed),
        };
        self.open(stop)?;
        self.generation += 1;
        self.commits = commits(&self.storage, self.generation);
        for (index, (partition, model)) in self.partitions.iter().zip(&mut self.models).enumerate() {
            let values = partition.with_log(|log, _| values(log)).unwrap();
            if values.len() < model.acknowledged as usize || !model.values.starts_with(&values) {
                return Err(format!(
                    "partition {index}: acknowledged {} of {:?}, but found {values:?}",
                    model.acknowledged, model.values
                ));
            }
            model.values = values;
            // What is there now may go with the next power failure, unless it was acknowledged.
            self.recovery_points[index] = self.recovery_points[index].min(model.values.len() as i64);
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), String> {
        match self.chance.below(60) {
            0..=30 => self.append(),
            31..=54 => {
                self.round();
                self.acknowledge();
            }
            55 => {
                let partitions = std::mem::take(&mut *self.collector.to_flush.lock());
                partitions.iter().for_each(|partition| partition.flush().unwrap());
            }
            56 => {
                for (partition, point) in self.partitions.iter().zip(&mut self.recovery_points) {
                    *point = partition.with_log(|log, _| log.recovery_point()).unwrap();
                }
            }
            57 => {
                let messages = if self.chance.below(3) == 0 { u64::MAX } else { 1 };
                // Whoever waits when the promise is given up is not told; the test asks again when it is back.
                self.topic.settings.store(Arc::new(settings(messages)));
            }
            58 => {
                self.storage.fail_after(self.chance.below(6) as u64);
                self.append();
                self.round();
                self.crash()?;
            }
            _ => self.crash()?,
        }
        Ok(())
    }
}

fn append(partition: &Arc<Partition>, values: &[&[u8]]) -> Few<Told> {
    let offered = |value: &&[u8]| Offered { batch: batch_of(value), acks: 1, api_version: 9 };
    partition.append(values.iter().map(offered).collect(), 1)
}

fn batch_of(value: &[u8]) -> BytesMut {
    let mut builder = BatchBuilder::new(BatchFacts::default());
    builder.push(NewRecord { timestamp: 1, value: Some(value), ..NewRecord::default() });
    BytesMut::from(&builder.build().unwrap()[..])
}

/// A partition that is led here, over a log on `disk`.
fn led(topic: &Arc<Topic>, index: i32, log: Log, disk: Arc<dyn Disk>) -> Result<Arc<Partition>, String> {
    let partition = Arc::new(Partition::new(topic.clone(), index, 1, Arc::new(TailBudget::new(0, 0))));
    let leadership = Leadership { leader_id: 1, leader_epoch: 1, partition_epoch: 0, replicas: vec![1], isr: vec![1] };
    partition
        .apply_leadership(leadership, Some(Opened { log, high_watermark: 0, disk: Some(disk) }))
        .map_err(|e| e.to_string())?;
    Ok(partition)
}

fn values(log: &mut Log) -> Vec<u64> {
    let (mut at, mut found) = (0, Vec::new());
    while at < log.log_end_offset() {
        let slice = log.read(at, 1 << 20, true, log.log_end_offset()).unwrap().expect("there is more");
        let mut bytes = vec![0; slice.region.bytes];
        slice.region.file.read_at(&mut bytes, slice.region.position).unwrap();
        for batch in record::Batches::new(&bytes) {
            let batch = batch.unwrap();
            assert_eq!(batch.base_offset(), at, "offsets are dense");
            at = batch.next_offset();
            let record = record::Records::new(batch.payload(), 1).next().unwrap().unwrap();
            found.push(u64::from_be_bytes(*record.value.unwrap().first_chunk().unwrap()));
        }
    }
    found
}

#[test]
fn what_was_acknowledged_survives_kills_and_power_failures() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number("HISTORIES").unwrap_or(HISTORIES),
    };
    let mut acknowledged = 0;
    for seed in seeds {
        let mut run = Run::new(seed);
        for step in 0..STEPS {
            if let Err(why) = run.step() {
                panic!("SEED={seed}: step {step}: {why}");
            }
        }
        acknowledged += run.models.iter().map(|model| model.acknowledged).sum::<i64>();
    }
    assert!(acknowledged > 0, "nothing was ever acknowledged");
}

fn opened(storage: Arc<dyn Storage>, topic: &Arc<Topic>, dir: PathBuf, disk: Arc<dyn Disk>) -> Arc<Partition> {
    let config = topic.settings.load().log.clone();
    let (topic_id, recovery_point) = (topic.id, 0);
    let options = OpenOptions {
        storage,
        dir,
        topic_id,
        sibling: None,
        config,
        recovery_point,
        clean_shutdown: true,
        log_start_offset: None,
        now_ms: 1,
    };
    led(topic, 0, Log::open(options).unwrap().0, disk).unwrap()
}

fn uncommitted(partition: &Arc<Partition>, follows_unsynced: bool) -> Uncommitted {
    let (partition, batch) = (partition.clone(), batch_of(b"value").freeze());
    Uncommitted { partition, batches: vec![batch].into(), end_offset: 1, follows_unsynced }
}

#[test]
fn a_directory_that_fails_does_not_take_along_what_has_moved_from_it() {
    let home = std::env::temp_dir().join(format!("pykafkacore-moved-{}", std::process::id()));
    let (old, new) = (home.join("old"), home.join("new"));
    let topic = Arc::new(Topic::new(TOPIC_ID, "t", settings(1)));
    std::fs::create_dir_all(&old).unwrap();
    std::fs::create_dir_all(&new).unwrap();
    let disk = DirDisk::start(&old, 0, Arc::default(), Arc::new(UpcallQueue::new(10).unwrap())).unwrap();
    let staying = opened(Arc::new(FileStorage), &topic, old.join("t-0"), disk.clone());
    let moved = opened(Arc::new(FileStorage), &topic, new.join("t-0"), Arc::new(Collector::default()));
    // Where there is no directory there is no journal. Batches of both wait for it: of one from before it moved.
    std::fs::remove_dir_all(&old).unwrap();
    disk.commit(uncommitted(&staying, false));
    disk.commit(uncommitted(&moved, false));
    disk.stop();
    assert!(disk.fenced().is_some());
    assert_eq!(append(&staying, &[b"lost"])[0].as_ref().unwrap_err().error, ErrorCode::KAFKA_STORAGE_ERROR);
    append(&moved, &[b"kept"])[0].as_ref().unwrap();
    std::fs::remove_dir_all(&home).unwrap();
}

#[test]
fn a_directory_does_not_fail_with_what_has_moved_from_it() {
    let (old, new) = (MemoryStorage::default(), MemoryStorage::default());
    let topic = Arc::new(Topic::new(TOPIC_ID, "t", settings(1)));
    let collector = Arc::new(Collector::default());
    let moved = opened(Arc::new(new.clone()), &topic, PathBuf::from("/new/t-0"), collector);
    append(&moved, &[b"later"])[0].as_ref().unwrap();
    new.fail_after(0);
    commits(&old, 1).round(&[uncommitted(&moved, true)]).unwrap();
    assert!(moved.flush().is_err(), "its own disk has failed");
}
