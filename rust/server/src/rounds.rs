//! What the housekeeper goes by on its rounds, and what has its turn even while something else takes long: retention, expiry of
//! producers, removal of files that were deleted long enough ago.
//!
//! INVARIANT: a partition's lock is held for renames and a few words of memory, never while batches are read or written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{Doomed, FileStorage};
use parking_lot::{Condvar, Mutex};
use replica::partition::Partition;
use replica::view::{Published, View};

use crate::config::Housekeeping;
use crate::shared::wall_clock_ms;
use crate::upcall::{Level, UpcallQueue};

/// Shared with whoever changes settings or ends the thread.
pub struct Desk {
    settings: Mutex<(Housekeeping, bool)>,
    changed: Condvar,
}

impl Desk {
    pub fn new(settings: Housekeeping) -> Arc<Desk> {
        Arc::new(Desk { settings: Mutex::new((settings, false)), changed: Condvar::new() })
    }

    pub fn set(&self, settings: Housekeeping) {
        self.settings.lock().0 = settings;
        self.changed.notify_all();
    }

    pub fn stop(&self) {
        self.settings.lock().1 = true;
        self.changed.notify_all();
    }

    fn settings(&self) -> Housekeeping {
        self.settings.lock().0.clone()
    }

    /// Waits until then, or until settings change; false when it is time to end.
    fn wait_until(&self, when: Instant) -> bool {
        let mut settings = self.settings.lock();
        if !settings.1 && when > Instant::now() {
            self.changed.wait_until(&mut settings, when);
        }
        !settings.1
    }
}

/// Something done every so often.
#[derive(Default)]
pub struct Chore {
    last: Option<Instant>,
}

impl Chore {
    pub fn due(&self, first: Instant, period: Duration) -> Instant {
        self.last.map_or(first, |last| last + period)
    }

    pub fn begins(&mut self, first: Instant, period: Duration) -> bool {
        let now = Instant::now();
        let is_due = self.due(first, period) <= now;
        if is_due {
            self.last = Some(now);
        }
        is_due
    }
}

/// What the housekeeper owns.
pub struct Rounds {
    desk: Arc<Desk>,
    published: Arc<Published>,
    upcalls: Arc<UpcallQueue>,
    /// Brings to the disk where each log starts.
    checkpoint: Box<dyn Fn() + Send>,
    started: Instant,
    retention: Chore,
    expiration: Chore,
    /// Not sorted: topics differ in how long their files stay.
    doomed: Vec<(Instant, Doomed)>,
}

impl Rounds {
    pub fn new(
        desk: Arc<Desk>,
        published: Arc<Published>,
        upcalls: Arc<UpcallQueue>,
        checkpoint: Box<dyn Fn() + Send>,
    ) -> Rounds {
        Rounds {
            desk,
            published,
            upcalls,
            checkpoint,
            started: Instant::now(),
            retention: Chore::default(),
            expiration: Chore::default(),
            doomed: Vec::new(),
        }
    }

    /// What to go by now, and when each chore has its first turn; but for `producers_first`.
    pub fn settings(&self) -> (Housekeeping, Instant) {
        let settings = self.desk.settings();
        let first = self.started + settings.initial_delay;
        (settings, first)
    }

    /// KAFKA: 4.4 looks for producers to expire after one period, whatever the initial delay of the other chores.
    fn producers_first(&self, settings: &Housekeeping) -> Instant {
        self.started + settings.producer_expiration_period
    }

    /// When there is something short to do.
    pub fn due(&self, settings: &Housekeeping, first: Instant) -> Instant {
        let retention = self.retention.due(first, settings.retention_period);
        let expiration = self.expiration.due(self.producers_first(settings), settings.producer_expiration_period);
        let removal = self.doomed.iter().map(|(when, _)| *when).min();
        removal.into_iter().fold(retention.min(expiration), Instant::min)
    }

    /// Waits until then, or until settings change; false when it is time to end.
    pub fn wait_until(&self, when: Instant) -> bool {
        self.desk.wait_until(when)
    }

    /// What has its turn even while something else takes long.
    pub fn short_chores(&mut self) {
        let (settings, first) = self.settings();
        let view = self.view();
        if self.retention.begins(first, settings.retention_period) {
            self.retain(view.partitions());
        }
        if self.expiration.begins(self.producers_first(&settings), settings.producer_expiration_period) {
            let now_ms = wall_clock_ms();
            view.partitions().for_each(|partition| partition.expire_producers(now_ms));
        }
        self.remove_doomed(Instant::now());
    }

    /// Called now and then by what takes long, which may go on at `when`. False when it is time to end.
    pub fn meanwhile(&mut self, when: Instant) -> bool {
        self.short_chores();
        loop {
            if !self.desk.wait_until(when) {
                return false;
            }
            if when <= Instant::now() {
                return true;
            }
        }
    }

    pub fn view(&self) -> Arc<View> {
        self.published.load_full()
    }

    pub fn tell(&self, level: Level, text: String) {
        self.upcalls.notice(level, text);
    }

    /// Lets go what retention allows of these. Where they start is on the disk before any file is renamed; where that cannot
    /// be written, they go all the same, since it may be for lack of the room that they take.
    pub fn retain<'a>(&mut self, partitions: impl Iterator<Item = &'a Arc<Partition>>) {
        let now_ms = wall_clock_ms();
        let due: Vec<_> = partitions.filter(|partition| partition.pass_over(now_ms)).collect();
        if !due.is_empty() {
            (self.checkpoint)();
        }
        due.into_iter().for_each(|partition| self.let_go(partition));
    }

    fn let_go(&mut self, partition: &Arc<Partition>) {
        match partition.retain(wall_clock_ms()) {
            Ok(None) => {}
            Ok(Some(retained)) => {
                let (count, start) = (retained.segment_count, retained.log_start_offset);
                self.tell(Level::Info, format!("{}: {count} segments deleted, it starts at {start}", partition.name()));
                self.doom(partition, retained.doomed);
            }
            // Its directory has failed, and that was told.
            Err(log::Error::Poisoned { .. }) => {}
            Err(error) => {
                partition.failed(&error);
                self.tell(Level::Error, format!("{}: cannot delete segments: {error}", partition.name()));
            }
        }
    }

    pub fn doom(&mut self, partition: &Partition, doomed: Doomed) {
        let delay_ms = partition.topic.settings.load().log.retention.file_delete_delay_ms;
        let delay = Duration::from_millis(u64::try_from(delay_ms).unwrap_or(0));
        let when = Instant::now().checked_add(delay);
        // A delay beyond all time leaves them to the next start.
        self.doomed.extend(when.map(|when| (when, doomed)));
    }

    fn remove_doomed(&mut self, now: Instant) {
        let upcalls = &self.upcalls;
        self.doomed.retain(|(when, doomed)| {
            if *when <= now
                && let Err(error) = doomed.remove(&FileStorage)
            {
                upcalls.notice(Level::Warning, format!("cannot remove a deleted segment: {error}"));
            }
            *when > now
        });
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use log::memory::MemoryStorage;
    use log::{Log, LogConfig, OpenOptions, RetentionRules, Storage};
    use record::{AppendRules, BatchBuilder, BatchFacts, NewRecord};
    use replica::leadership::Leadership;
    use replica::partition::Opened;
    use replica::tail::TailBudget;
    use replica::topic::{Topic, TopicSettings};

    use super::*;

    #[test]
    fn where_a_log_starts_is_noted_before_any_of_its_segments_goes() {
        let storage = Arc::new(MemoryStorage::default());
        let settings = settings();
        let options = OpenOptions {
            storage: storage.clone(),
            dir: "/d/t-0".into(),
            topic_id: [7; 16],
            sibling: None,
            config: settings.log.clone(),
            clean_shutdown: true,
            recovery_point: 0,
            log_start_offset: None,
            now_ms: 1,
        };
        let mut log = Log::open(options).unwrap().0;
        for timestamp in 1..=9 {
            let mut builder = BatchBuilder::new(BatchFacts::default());
            builder.push(NewRecord { timestamp, value: Some(&[0; 90]), ..NewRecord::default() });
            log.append_as_leader(&mut builder.build().unwrap(), 0, 1).unwrap();
        }
        let segment_count = log.segment_count();
        let budget = Arc::new(TailBudget::new(1 << 20, 1 << 20));
        let partition = Arc::new(Partition::new(Arc::new(Topic::new([7; 16], "t", settings)), 0, 1, budget));
        let leadership = Leadership { leader_id: 1, replicas: vec![1], isr: vec![1], ..Leadership::default() };
        partition.apply_leadership(leadership, Some(Opened { log, high_watermark: 9, disk: None })).unwrap();
        let noted = Arc::new(Mutex::new(Vec::new()));
        let (notes, subject) = (noted.clone(), partition.clone());
        let checkpoint = move || {
            let state = subject.with_log(|log, _| (log.log_start_offset(), log.segment_count())).unwrap();
            let renamed = storage.list(Path::new("/d/t-0")).unwrap().iter().any(|name| name.ends_with(".deleted"));
            notes.lock().push((state, renamed));
        };
        let desk = Desk::new(housekeeping());
        let upcalls = Arc::new(UpcallQueue::new(10).unwrap());
        let mut rounds = Rounds::new(desk, Arc::default(), upcalls, Box::new(checkpoint));
        rounds.retain([&partition].into_iter());
        assert_eq!(*noted.lock(), [((9, segment_count), false)]);
        assert_eq!(partition.with_log(|log, _| (log.first_segment_base(), log.segment_count())), Some((9, 1)));
        rounds.retain([&partition].into_iter());
        assert_eq!(noted.lock().len(), 1, "nothing was due");
    }

    #[test]
    fn producers_are_looked_at_after_a_period_and_not_as_soon_as_the_other_chores() {
        let (soon, hour) = (Duration::from_secs(30), Duration::from_secs(3600));
        let upcalls = Arc::new(UpcallQueue::new(10).unwrap());
        let rounds = Rounds::new(Desk::new(housekeeping()), Arc::default(), upcalls, Box::new(|| ()));
        let settings = Housekeeping { producer_expiration_period: hour, retention_period: 9 * hour, ..housekeeping() };
        assert_eq!(rounds.due(&settings, rounds.started + soon), rounds.started + soon, "retention");
        assert_eq!(rounds.due(&settings, rounds.started + 9 * hour), rounds.started + hour, "producers");
    }

    fn housekeeping() -> Housekeeping {
        let never = Duration::from_secs(3600);
        Housekeeping {
            initial_delay: never,
            retention_period: never,
            producer_expiration_period: never,
            compaction: None,
            compaction_period: never,
            scrub_bytes_per_s: 0,
        }
    }

    /// Everything is too old.
    fn settings() -> TopicSettings {
        TopicSettings {
            append: AppendRules {
                timestamp_after_max_ms: i64::MAX,
                message_bytes_max: 1 << 20,
                segment_bytes: 400,
                inflated_bytes_max: 1 << 20,
                ..AppendRules::default()
            },
            min_insync_replicas: 1,
            flush_messages: u64::MAX,
            flush_ms: i64::MAX,
            log: LogConfig {
                segment_bytes: 400,
                retention: RetentionRules { deletes: true, retention_ms: 1, ..RetentionRules::default() },
                ..LogConfig::default()
            },
        }
    }
}
