//! Which replicas are on their way from one log directory to another (KIP-113), and how far each is: begun and ended by the
//! publisher, done by the mover.
//!
//! INVARIANT: a move that was ended or replaced is void: its number is bound no more, and whoever holds it abandons it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::moving::{Moving, Progress};
use parking_lot::{Condvar, Mutex};
use replica::partition::Partition;
use replica::topic::PartitionKey;

use crate::disk::DirDisk;
use crate::upcall::{Level, UpcallQueue};

/// One move, as others see it.
#[derive(Clone)]
struct Bound {
    target: usize,
    /// Another one for each move: what the mover holds of a move that was replaced or ended is void.
    number: u64,
    progress: Progress,
}

/// What the mover works on.
pub struct Work {
    pub partition: Arc<Partition>,
    pub source: Arc<DirDisk>,
    pub target: Arc<DirDisk>,
    number: u64,
    pub moving: Moving,
}

#[derive(Default)]
struct State {
    bound: HashMap<PartitionKey, Bound>,
    fresh: VecDeque<Work>,
    last_number: u64,
    bytes_per_s: u64,
    stopping: bool,
}

/// All moves of this broker; shared by those who begin them and the mover, which does them.
pub struct Moves {
    state: Mutex<State>,
    changed: Condvar,
    upcalls: Arc<UpcallQueue>,
}

impl Moves {
    pub fn new(bytes_per_s: u64, upcalls: Arc<UpcallQueue>) -> Arc<Moves> {
        let state = State { bytes_per_s, ..State::default() };
        Arc::new(Moves { state: Mutex::new(state), changed: Condvar::new(), upcalls })
    }

    /// `replica.alter.log.dirs.io.max.bytes.per.second` from now on.
    pub fn set_throttle(&self, bytes_per_s: u64) {
        self.state.lock().bytes_per_s = bytes_per_s;
        self.changed.notify_all();
    }

    pub fn bytes_per_s(&self) -> u64 {
        self.state.lock().bytes_per_s
    }

    /// The directory, as an index, that a replica is on its way to, and how far it is.
    pub fn of(&self, key: PartitionKey) -> Option<(usize, Progress)> {
        self.state.lock().bound.get(&key).map(|bound| (bound.target, bound.progress))
    }

    /// Ends a move where it stands; what was copied is removed by the mover.
    pub fn cancel(&self, partition: &Partition) {
        if self.state.lock().bound.remove(&partition.key()).is_some() {
            partition.hold_segments(false);
            self.changed.notify_all();
        }
    }

    /// The replica is to move to the directory with this index. The future directory is there when this returns.
    pub fn begin(
        &self,
        partition: &Arc<Partition>,
        source: &Arc<DirDisk>,
        (at, target): (usize, &Arc<DirDisk>),
    ) -> log::Result<()> {
        let dir = partition.name();
        let future = target.path().join(log::names::future_dir_name(&dir, &unique_suffix()));
        let begun = partition.with_log(|log, _| {
            let moving = Moving::begin(log, future, partition.topic.id)?;
            log.hold_segments(true);
            let progress = moving.progress(log);
            Ok((moving, progress))
        });
        let gone = || log::Error::Poisoned { why: "the replica has no log here".to_owned() };
        let (moving, progress) = begun.unwrap_or_else(|| Err(gone()))?;
        let mut state = self.state.lock();
        state.last_number += 1;
        let number = state.last_number;
        state.bound.insert(partition.key(), Bound { target: at, number, progress });
        let (source, target) = (source.clone(), target.clone());
        state.fresh.push_back(Work { partition: partition.clone(), source, target, number, moving });
        self.changed.notify_all();
        Ok(())
    }

    /// Notes how far a move is; false if it is none any more.
    pub fn note(&self, work: &Work, progress: Progress) -> bool {
        let mut state = self.state.lock();
        let bound = state.bound.get_mut(&work.partition.key()).filter(|bound| bound.number == work.number);
        bound.map(|bound| bound.progress = progress).is_some()
    }

    /// False if it was ended by somebody else.
    pub fn end(&self, work: &Work) -> bool {
        let mut state = self.state.lock();
        let key = work.partition.key();
        let is_mine = state.bound.get(&key).is_some_and(|bound| bound.number == work.number);
        if is_mine {
            state.bound.remove(&key);
        }
        is_mine
    }

    pub fn stop(&self) {
        self.state.lock().stopping = true;
        self.changed.notify_all();
    }

    /// Waits until there is something at work, and takes what has come to it. False when it is time to end.
    pub fn wait_for_work(&self, at_work: &mut VecDeque<Work>) -> bool {
        let mut state = self.state.lock();
        while at_work.is_empty() && state.fresh.is_empty() && !state.stopping {
            self.changed.wait(&mut state);
        }
        at_work.append(&mut state.fresh);
        !state.stopping
    }

    /// Waits until `due` has come at the throttle of now; it is asked again when that changes. False when it is time to end.
    pub fn wait_until(&self, mut due: impl FnMut(u64) -> Instant) -> bool {
        let mut state = self.state.lock();
        loop {
            let when = due(state.bytes_per_s);
            if state.stopping || when <= Instant::now() {
                return !state.stopping;
            }
            self.changed.wait_until(&mut state, when.min(Instant::now() + Duration::from_secs(1)));
        }
    }

    pub fn tell(&self, level: Level, text: String) {
        self.upcalls.notice(level, text);
    }
}

/// 32 hex digits that no other directory of this broker has: of a replica on its way in, or on its way out.
pub fn unique_suffix() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("{:016x}{:016x}", RandomState::new().hash_one(0), RandomState::new().hash_one(1))
}
