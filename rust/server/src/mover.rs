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

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use log::moving::{Destination, Piece};
use parking_lot::Mutex;
use replica::partition::Disk;

use crate::moves::{Moves, Work, unique_suffix};
use crate::publisher::Publisher;
use crate::shared::wall_clock_ms;
use crate::throttle::Throttle;
use crate::upcall::Level;

const PIECE_BYTES: usize = 256 << 10;
/// The rest that is copied while the partition is locked.
const REST_BYTES: u64 = 256 << 10;

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
        let turns = Turns { moves: moves.clone(), publisher, at_work: VecDeque::new(), throttle: Throttle::default() };
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
    throttle: Throttle,
}

impl Turns {
    fn run(mut self) {
        crate::sys::yield_to_others();
        while self.moves.wait_for_work(&mut self.at_work) {
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

    /// Waits until so many bytes more may be copied; false when it is time to end.
    fn pay(&mut self, bytes: usize) -> bool {
        let (mut unpaid, throttle) = (bytes, &mut self.throttle);
        self.moves.wait_until(|rate| throttle.at(rate as f64).spend(std::mem::take(&mut unpaid)))
    }

    fn turn(&self, work: &mut Work) -> log::Result<Turn> {
        let bytes_per_s = self.moves.bytes_per_s();
        // A piece is a fraction of a second's worth, or a slow move would be a jerky one.
        let piece_bytes = PIECE_BYTES.min(usize::try_from(bytes_per_s / 4).unwrap_or(PIECE_BYTES).max(1));
        if let Some(why) = work.target.refusal() {
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
        let doomed = work.source.path().join(log::names::doomed_dir_name(&dir_name, &unique_suffix()));
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
            self.moves.tell(Level::Info, format!("{} has moved to {}", partition.name(), work.target.path().display()));
        }
        Ok(())
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
        self.moves.tell(
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
            self.moves.tell(Level::Warning, format!("cannot remove what was copied of {name}: {error}"));
        }
    }
}

/// Whether the file is one that a move writes: of the copy, or of the names in either directory.
fn is_written_in(path: &Path, dir: &Path, copy: &Path) -> bool {
    path.starts_with(dir) && (path.starts_with(copy) || path.parent() == Some(dir) || path == dir)
}
