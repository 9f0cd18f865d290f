//! One thread that keeps the logs in order: retention, delayed removal of files, expiry of producers.
//!
//! INVARIANT: a partition's lock is held for renames and a few words of memory, never while batches are read or written.
//! What goes wrong with one partition is told, and the next one has its turn.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use log::{Doomed, FileStorage};
use parking_lot::{Condvar, Mutex};
use replica::partition::Partition;
use replica::view::Published;

use crate::reactor::wall_clock_ms;
use crate::upcall::{Level, UpcallQueue};

/// The broker's settings of all this. Changes hold from the next pass on.
#[derive(Clone, Debug)]
pub struct Housekeeping {
    /// `log.initial.task.delay.ms`
    pub initial_delay: Duration,
    /// `log.retention.check.interval.ms`
    pub retention_period: Duration,
    /// `producer.id.expiration.check.interval.ms`
    pub producer_expiration_period: Duration,
}

/// Shared with whoever changes settings or ends the thread.
struct Desk {
    settings: Mutex<(Housekeeping, bool)>,
    changed: Condvar,
}

impl Desk {
    fn settings(&self) -> Housekeeping {
        self.settings.lock().0.clone()
    }

    /// Waits until then, or until settings change; false when it is time to end.
    fn wait_until(&self, when: Instant) -> bool {
        let mut settings = self.settings.lock();
        if !settings.1 {
            self.changed.wait_until(&mut settings, when);
        }
        !settings.1
    }
}

pub struct Housekeeper {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

impl Housekeeper {
    pub fn start(
        settings: Housekeeping,
        published: Arc<Published>,
        upcalls: Arc<UpcallQueue>,
    ) -> std::io::Result<Housekeeper> {
        let desk = Arc::new(Desk { settings: Mutex::new((settings, false)), changed: Condvar::new() });
        let mut rounds = Rounds::new(desk.clone(), published, upcalls);
        let thread = std::thread::Builder::new().name("housekeeper".to_owned()).spawn(move || rounds.run())?;
        Ok(Housekeeper { desk, thread: Some(thread) })
    }

    pub fn set(&self, settings: Housekeeping) {
        self.desk.settings.lock().0 = settings;
        self.desk.changed.notify_all();
    }

    pub fn stop(&mut self) {
        self.desk.settings.lock().1 = true;
        self.desk.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Something done every so often.
struct Chore {
    last: Option<Instant>,
}

impl Chore {
    fn due(&self, started: Instant, first_delay: Duration, period: Duration) -> Instant {
        self.last.map_or(started + first_delay, |last| last + period)
    }
}

/// What the thread itself owns.
struct Rounds {
    desk: Arc<Desk>,
    published: Arc<Published>,
    upcalls: Arc<UpcallQueue>,
    started: Instant,
    retention: Chore,
    expiration: Chore,
    /// Not sorted: topics differ in how long their files stay.
    doomed: VecDeque<(Instant, Doomed)>,
}

impl Rounds {
    fn new(desk: Arc<Desk>, published: Arc<Published>, upcalls: Arc<UpcallQueue>) -> Rounds {
        let (retention, expiration) = (Chore { last: None }, Chore { last: None });
        Rounds { desk, published, upcalls, started: Instant::now(), retention, expiration, doomed: VecDeque::new() }
    }

    fn run(&mut self) {
        loop {
            let settings = self.desk.settings();
            let now = Instant::now();
            let retention_due = self.retention.due(self.started, settings.initial_delay, settings.retention_period);
            let expiration_due =
                self.expiration.due(self.started, settings.initial_delay, settings.producer_expiration_period);
            if retention_due <= now {
                self.retention.last = Some(now);
                self.for_each_partition(Rounds::retain);
                continue;
            }
            if expiration_due <= now {
                self.expiration.last = Some(now);
                self.for_each_partition(|_, partition| partition.expire_producers(wall_clock_ms()));
                continue;
            }
            self.remove_doomed(now);
            let removal_due = self.doomed.iter().map(|(when, _)| *when).min();
            let next = [Some(retention_due), Some(expiration_due), removal_due].into_iter().flatten().min();
            if !self.desk.wait_until(next.unwrap_or(retention_due)) {
                return;
            }
        }
    }

    fn for_each_partition(&mut self, mut work: impl FnMut(&mut Rounds, &Arc<Partition>)) {
        let view = self.published.load_full();
        for partition in view.partitions() {
            work(self, partition);
        }
    }

    fn retain(&mut self, partition: &Arc<Partition>) {
        let name = || format!("{}-{}", partition.topic.name, partition.index);
        match partition.retain(wall_clock_ms()) {
            Ok(None) => {}
            Ok(Some(retained)) => {
                let (count, start) = (retained.segment_count, retained.log_start_offset);
                self.upcalls.notice(Level::Info, format!("{}: {count} segments deleted, it starts at {start}", name()));
                self.doom(partition, retained.doomed);
            }
            Err(error) => self.upcalls.notice(Level::Error, format!("{}: cannot delete segments: {error}", name())),
        }
    }

    fn doom(&mut self, partition: &Partition, doomed: Doomed) {
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
