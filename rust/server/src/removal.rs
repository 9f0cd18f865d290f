//! Deleted partitions on their way off the disk: after `file.delete.delay.ms`, in a thread of its own, for with thousands of
//! files that takes seconds, and no change of topics is to wait for it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::upcall::{Level, UpcallQueue};

pub struct Removals {
    delay: Duration,
    waiting: Vec<(Instant, PathBuf)>,
    under_way: Option<Removal>,
    upcalls: Arc<UpcallQueue>,
}

impl Removals {
    pub fn new(delay: Duration, upcalls: Arc<UpcallQueue>) -> Removals {
        Removals { delay, waiting: Vec::new(), under_way: None, upcalls }
    }

    /// A directory that is to go, with all that is in it.
    pub fn add(&mut self, path: PathBuf) {
        self.waiting.push((Instant::now() + self.delay, path));
    }

    /// Begins with what has waited long enough, unless some of it is still being removed.
    pub fn remove_due(&mut self, now: Instant) {
        if self.under_way.as_ref().is_some_and(|removal| !removal.thread.is_finished()) {
            return;
        }
        self.under_way = None;
        let due: Vec<PathBuf> = self.waiting.extract_if(.., |(when, _)| *when <= now).map(|(_, path)| path).collect();
        if due.is_empty() {
            return;
        }
        match Removal::start(due, self.upcalls.clone()) {
            Ok(removal) => self.under_way = Some(removal),
            Err(error) => {
                self.upcalls.notice(Level::Warning, format!("deleted logs stay until the next start: {error}"))
            }
        }
    }

    /// What is left is found by its name at the next start.
    pub fn stop(&mut self) {
        if let Some(removal) = self.under_way.take() {
            removal.stop.store(true, Ordering::Relaxed);
            // It has panicked or it has ended: either way nothing is removed any more.
            let _ = removal.thread.join();
        }
    }
}

struct Removal {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Removal {
    fn start(paths: Vec<PathBuf>, upcalls: Arc<UpcallQueue>) -> io::Result<Removal> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name("removal".to_owned()).spawn(move || {
            for path in paths {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                if let Err(error) = std::fs::remove_dir_all(&path) {
                    upcalls.notice(Level::Warning, format!("cannot remove {}: {error}", path.display()));
                }
            }
        })?;
        Ok(Removal { stop, thread })
    }
}
