//! One thread that keeps the logs in order: retention, compaction, scrubbing, delayed removal of files, expiry of producers.
//!
//! What goes wrong with one partition is told, and the next one has its turn. What takes long lets the rest have its turn
//! in between, and ends soon after it is told to.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use replica::view::Published;

use crate::cleaning::Cleaning;
use crate::config::Housekeeping;
use crate::rounds::{Chore, Desk, Rounds};
use crate::scrubbing::Scrubbing;
use crate::upcall::UpcallQueue;

pub struct Housekeeper {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

impl Housekeeper {
    pub fn start(
        settings: Housekeeping,
        dirs: Vec<PathBuf>,
        published: Arc<Published>,
        upcalls: Arc<UpcallQueue>,
        checkpoint: impl Fn() + Send + 'static,
    ) -> std::io::Result<Housekeeper> {
        let desk = Desk::new(settings);
        let rounds = Rounds::new(desk.clone(), published, upcalls, Box::new(checkpoint));
        let thread = std::thread::Builder::new().name("housekeeper".to_owned()).spawn(move || run(rounds, &dirs))?;
        Ok(Housekeeper { desk, thread: Some(thread) })
    }

    pub fn set(&self, settings: Housekeeping) {
        self.desk.set(settings);
    }

    pub fn stop(&mut self) {
        self.desk.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What is short goes first, and has its turn again in the midst of what takes long.
fn run(mut rounds: Rounds, dirs: &[PathBuf]) {
    crate::sys::yield_to_others();
    let mut cleaning = Cleaning::new(dirs, &rounds);
    let mut scrubbing = Scrubbing::default();
    let mut compaction = Chore::default();
    loop {
        rounds.short_chores();
        let (settings, first) = rounds.settings();
        if let Some(rules) = &settings.compaction
            && compaction.begins(first, settings.compaction_period)
            && !cleaning.round(rules, &mut rounds)
        {
            return;
        }
        let scrubs = settings.scrub_bytes_per_s > 0;
        if scrubs {
            scrubbing.slice(first, settings.scrub_bytes_per_s, &rounds);
        }
        let due = [
            Some(rounds.due(&settings, first)),
            settings.compaction.map(|_| compaction.due(first, settings.compaction_period)),
            scrubs.then(|| scrubbing.due(first)),
        ];
        if !rounds.wait_until(due.into_iter().flatten().min().unwrap_or(first)) {
            return;
        }
    }
}
