//! Moves of replicas from one log directory to another (KIP-113): one thread copies all that move, a piece of each in turn.
//!
//! ```text
//!   begin   the future directory is made; the rest goes on in the background, also after a restart
//!   turns   a piece, within replica.alter.log.dirs.io.max.bytes.per.second of all moves together
//!   arrive  little is left: under the partition's lock it is copied and the directories are swapped; the publisher is told
//! ```
//!
//! INVARIANT: a move that fails leaves the replica where it is. What could not be written fences the directory that it was to
//! go to; for lack of room there, the move is given up and that is told.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use log::moving::{Destination, Moving, Piece, Progress};
use parking_lot::{Condvar, Mutex};
use replica::disk::Disk;
use replica::partition::Partition;
use replica::view::PartitionKey;

use crate::disk::DirDisk;
use crate::publisher::{Publisher, unique_suffix};
use crate::shared::wall_clock_ms;
use crate::throttle::Throttle;
use crate::upcall::{Level, UpcallQueue};

const PIECE_BYTES: usize = 256 << 10;
/// The rest that is copied while the partition is locked.
const REST_BYTES: u64 = 256 << 10;

/// One move, as others see it.
#[derive(Clone)]
struct Bound {
    target: usize,
    /// Another one for each move: what the thread holds of a move that was replaced or ended is void.
    number: u64,
    progress: Progress,
}

/// What the thread works on.
struct Work {
    partition: Arc<Partition>,
    source: Arc<DirDisk>,
    target: Arc<DirDisk>,
    number: u64,
    moving: Moving,
}

#[derive(Default)]
struct State {
    bound: HashMap<PartitionKey, Bound>,
    fresh: VecDeque<Work>,
    last_number: u64,
    bytes_per_s: u64,
    stopping: bool,
}

/// All moves of this broker; shared by those who begin them and the thread that does them.
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

    /// The directory, as an index, that a replica is on its way to, and how far it is.
    pub fn of(&self, key: PartitionKey) -> Option<(usize, Progress)> {
        self.state.lock().bound.get(&key).map(|bound| (bound.target, bound.progress))
    }

    /// Ends a move where it stands; what was copied is removed by the thread.
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
        let future = target.path().join(log::log_dirs::future_dir_name(&dir, &unique_suffix()));
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
    fn note(&self, work: &Work, progress: Progress) -> bool {
        let mut state = self.state.lock();
        let bound = state.bound.get_mut(&work.partition.key()).filter(|bound| bound.number == work.number);
        bound.map(|bound| bound.progress = progress).is_some()
    }

    /// False if it was ended by somebody else.
    fn end(&self, work: &Work) -> bool {
        let mut state = self.state.lock();
        let key = work.partition.key();
        let is_mine = state.bound.get(&key).is_some_and(|bound| bound.number == work.number);
        if is_mine {
            state.bound.remove(&key);
        }
        is_mine
    }

    fn stop(&self) {
        self.state.lock().stopping = true;
        self.changed.notify_all();
    }
}

/// What became of a turn.
enum Turn {
    Goes(usize),
    Again,
    Done,
}

pub struct Mover {
    moves: Arc<Moves>,
    thread: Option<JoinHandle<()>>,
}

impl Mover {
    pub fn start(moves: Arc<Moves>, publisher: Arc<Mutex<Publisher>>) -> std::io::Result<Mover> {
        let turns = Turns { moves: moves.clone(), publisher, at_work: VecDeque::new(), throttle: None };
        let thread = std::thread::Builder::new().name("mover".to_owned()).spawn(move || turns.run())?;
        Ok(Mover { moves, thread: Some(thread) })
    }

    /// Moves that have not arrived are begun again by the next start.
    pub fn stop(&mut self) {
        self.moves.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Turns {
    moves: Arc<Moves>,
    publisher: Arc<Mutex<Publisher>>,
    at_work: VecDeque<Work>,
    throttle: Option<(u64, Throttle)>,
}

impl Turns {
    fn run(mut self) {
        crate::sys::yield_to_others();
        while self.wait() {
            let Some(mut work) = self.at_work.pop_front() else { continue };
            match self.turn(&mut work) {
                Ok(Turn::Goes(bytes)) => {
                    self.at_work.push_back(work);
                    if !self.pay(bytes) {
                        return;
                    }
                }
                Ok(Turn::Again) => self.begin_again(&work),
                Ok(Turn::Done) => {}
                Err(error) => self.give_up(&work, &error),
            }
        }
    }

    /// Waits for something to do; false when it is time to end.
    fn wait(&mut self) -> bool {
        let mut state = self.moves.state.lock();
        while self.at_work.is_empty() && state.fresh.is_empty() && !state.stopping {
            self.moves.changed.wait(&mut state);
        }
        self.at_work.append(&mut state.fresh);
        !state.stopping
    }

    /// Waits until so many bytes more may be copied; false when it is time to end.
    fn pay(&mut self, bytes: usize) -> bool {
        let mut unpaid = bytes;
        let mut state = self.moves.state.lock();
        loop {
            let rate = state.bytes_per_s;
            if self.throttle.as_ref().is_none_or(|(made_for, _)| *made_for != rate) {
                self.throttle = Some((rate, Throttle::new(rate as f64)));
            }
            let Some((_, throttle)) = &mut self.throttle else { return true };
            let due = throttle.spend(std::mem::take(&mut unpaid));
            if state.stopping || due <= Instant::now() {
                return !state.stopping;
            }
            self.moves.changed.wait_until(&mut state, due.min(Instant::now() + Duration::from_secs(1)));
        }
    }

    fn turn(&self, work: &mut Work) -> log::Result<Turn> {
        let bytes_per_s = self.moves.state.lock().bytes_per_s;
        // A piece is a fraction of a second's worth, or a slow move would be a jerky one.
        let piece_bytes = PIECE_BYTES.min(usize::try_from(bytes_per_s / 4).unwrap_or(PIECE_BYTES).max(1));
        if let Some(why) = work.target.fenced().map(str::to_owned).or_else(|| work.target.refusal()) {
            return Err(log::Error::Poisoned { why });
        }
        let moving = &work.moving;
        let told = work.partition.with_log(|log, _| {
            let left = log.size_bytes().saturating_sub(moving.progress(log).copied_bytes);
            Ok((moving.next(log, piece_bytes)?, moving.progress(log), left))
        });
        // Deleted meanwhile.
        let Some(told) = told else { return self.abandon(work) };
        let (piece, progress, left) = told?;
        if !self.moves.note(work, progress) {
            return self.abandon(work);
        }
        let arrives = left <= REST_BYTES.min(piece_bytes as u64) && !matches!(piece, Piece::Sealed { .. });
        match piece {
            Piece::Void => Ok(Turn::Again),
            Piece::Part { .. } | Piece::End if arrives => self.arrive(work).map(|()| Turn::Done),
            piece => work.moving.carry(&piece).map(Turn::Goes),
        }
    }

    fn abandon(&self, work: &Work) -> log::Result<Turn> {
        self.moves.end(work);
        work.moving.abandon()?;
        Ok(Turn::Done)
    }

    fn arrive(&self, work: &mut Work) -> log::Result<()> {
        let partition = &work.partition.clone();
        let dir_name = partition.name();
        let doomed = work.source.path().join(log::log_dirs::doomed_dir_name(&dir_name, &unique_suffix()));
        let to = Destination { dir: work.target.path().join(dir_name), doomed, now_ms: wall_clock_ms() };
        // The checkpoints of where it goes know it before it is there.
        let mut publisher = self.publisher.lock();
        publisher.write_checkpoints_for_move(partition, work.target.path());
        // Whoever ends or replaces a move holds the publisher, too.
        if self.moves.of(partition.key()).is_none() || !self.moves.end(work) {
            drop(publisher);
            return work.moving.abandon();
        }
        if partition.arrive(&mut work.moving, &to, work.target.clone())? {
            publisher.moved(partition, work.source.path(), work.target.path(), to.doomed);
            self.tell(Level::Info, format!("{} has moved to {}", partition.name(), work.target.path().display()));
        }
        Ok(())
    }

    fn tell(&self, level: Level, text: String) {
        self.moves.upcalls.notice(level, text);
    }

    fn begin_again(&self, work: &Work) {
        let _publisher = self.publisher.lock();
        let Some((at, _)) = self.moves.of(work.partition.key()).filter(|_| self.moves.end(work)) else { return };
        let begun = work.moving.abandon();
        let begun = begun.and_then(|()| self.moves.begin(&work.partition, &work.source, (at, &work.target)));
        if let Err(error) = begun {
            self.give_up(work, &error);
        }
    }

    fn give_up(&self, work: &Work, error: &log::Error) {
        self.moves.end(work);
        work.partition.hold_segments(false);
        let is_offline = work.partition.with_log(|log, _| log.is_poisoned()).unwrap_or(false);
        let (target, name) = (work.target.path(), work.partition.name());
        self.tell(
            Level::Error,
            format!("{name} stays where it is, and does not move to {}: {error}", target.display()),
        );
        if let log::Error::Storage { path, .. } = error
            && !error.is_no_space()
        {
            let disks = [&work.target, &work.source];
            if let Some(disk) = disks.into_iter().find(|disk| is_written_in(path, disk.path(), work.moving.dir())) {
                disk.fence(&error.to_string());
            }
        }
        // Half of a swap, or a failed directory: the next start sees to it.
        if work.target.fenced().is_none()
            && !is_offline
            && let Err(error) = work.moving.abandon()
        {
            self.tell(Level::Warning, format!("cannot remove what was copied of {name}: {error}"));
        }
    }
}

/// Whether the file is one that a move writes: of the copy, or of the names in either directory.
fn is_written_in(path: &Path, dir: &Path, copy: &Path) -> bool {
    path.starts_with(dir) && (path.starts_with(copy) || path.parent() == Some(dir) || path == dir)
}
