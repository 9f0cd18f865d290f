//! Work that the control plane gives down and that may take a while: it returns at once with a ticket, and what came of
//! it goes up with the same ticket.
//!
//! Two threads do it, each in order: the publisher (changes of the view, opening and deleting logs, checkpoints), and the
//! worker (look-ups by time, deletions of records, descriptions, syncs of the metadata log).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::asked::JobResult;
use crate::upcall::{Ticket, UpcallQueue};

type Work = Box<dyn FnOnce() -> JobResult + Send>;

struct Job {
    ticket: Ticket,
    work: Work,
}

/// A thread that does jobs in order.
pub struct JobThread {
    sender: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl JobThread {
    /// `idle` runs between jobs, every `idle_period`.
    pub fn start(
        name: &str,
        upcalls: Arc<UpcallQueue>,
        idle_period: Duration,
        mut idle: impl FnMut() + Send + 'static,
    ) -> std::io::Result<JobThread> {
        let (sender, receiver): (Sender<Job>, Receiver<Job>) = channel();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let mut next_idle = Instant::now() + idle_period;
            loop {
                match receiver.recv_timeout(next_idle.saturating_duration_since(Instant::now())) {
                    Ok(job) => upcalls.push_completed(job.ticket, (job.work)()),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                // However many jobs there are, the regular work gets its turn.
                if Instant::now() >= next_idle {
                    idle();
                    next_idle = Instant::now() + idle_period;
                }
            }
        })?;
        Ok(JobThread { sender: Some(sender), thread: Some(thread) })
    }

    pub fn submit(&self, ticket: Ticket, work: impl FnOnce() -> JobResult + Send + 'static) {
        if let Some(sender) = &self.sender {
            // A thread that is gone has panicked; the process is ending.
            let _ = sender.send(Job { ticket, work: Box::new(work) });
        }
    }

    /// Finishes what was submitted, then ends.
    pub fn stop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
