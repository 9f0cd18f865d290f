//! The data plane as a whole: started with a config, given views and jobs, drained of upcalls, stopped.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use log::LogDir;
use mio::net::TcpListener;
use parking_lot::Mutex;
use replica::tail::TailBudget;
use replica::view::Published;

use crate::asked::{JobResult, PartitionRef, Query};
use crate::config::{Housekeeping, LogDirConfig, ServerConfig};
use crate::decided::{self, Completer};
use crate::dir::Dir;
use crate::disk::DirDisk;
use crate::housekeeper::Housekeeper;
use crate::inbox::{Message, reactor_of, together};
use crate::jobs::JobThread;
use crate::mover::Mover;
use crate::moves::Moves;
use crate::publisher::{Publisher, ViewDelta};
use crate::queries;
use crate::reactor::{Prepared, Reactor, prepare};
use crate::shared::Shared;
use crate::upcall::{Ticket, Upcall, UpcallQueue};

pub struct DataPlane {
    shared: Arc<Shared>,
    publisher: Arc<Mutex<Publisher>>,
    publisher_thread: Mutex<JobThread>,
    worker_thread: Mutex<JobThread>,
    housekeeper: Mutex<Housekeeper>,
    moves: Arc<Moves>,
    mover: Mutex<Mover>,
    disks: Vec<Arc<DirDisk>>,
    prepared: Mutex<Vec<Prepared>>,
    reactors: Mutex<Vec<JoinHandle<()>>>,
    stopped: Mutex<bool>,
}

const TIDY_PERIOD: Duration = Duration::from_secs(1);
const IDLE_PERIOD: Duration = Duration::from_secs(3600);

impl DataPlane {
    /// Locks the log directories and makes the threads' insides; nothing is served yet.
    pub fn new(
        config: ServerConfig,
        mut dirs: Vec<LogDir>,
        file_delete_delay: Duration,
        housekeeping: Housekeeping,
    ) -> io::Result<DataPlane> {
        let interrupted = log::log_dirs::settle_moves(&mut dirs, !config.is_dir_away).map_err(io::Error::other)?;
        let published = Arc::new(Published::default());
        let upcalls = Arc::new(UpcallQueue::new(config.queued_requests_max)?);
        let budget = Arc::new(TailBudget::new(config.tail_bytes_max, config.tail_partition_bytes_max));
        let prepared = (0..config.reactor_count.clamp(1, 128)).map(prepare).collect::<io::Result<Vec<_>>>()?;
        let inboxes = prepared.iter().map(|p| p.inbox.clone()).collect();
        let start = |(dir, of): (LogDir, &LogDirConfig)| {
            Dir::start(dir, of.clone(), config.reserve_bytes, &published, &upcalls)
        };
        let dirs = dirs.into_iter().zip(&config.log_dirs).map(start).collect::<io::Result<Vec<_>>>()?;
        let disks = dirs.iter().map(Dir::disk).collect();
        let moves = Moves::new(config.move_bytes_per_s, upcalls.clone());
        let paths = config.log_dirs.iter().map(|dir| dir.path.clone()).collect();
        let publisher = Publisher::new(
            config.node_id,
            published.clone(),
            upcalls.clone(),
            budget,
            (dirs, interrupted),
            moves.clone(),
            file_delete_delay,
        );
        let publisher = Arc::new(Mutex::new(publisher));
        let tidied = publisher.clone();
        let publisher_thread =
            JobThread::start("publisher", upcalls.clone(), TIDY_PERIOD, move || tidied.lock().tidy())?;
        let mover = Mover::start(moves.clone(), publisher.clone())?;
        let worker_thread = JobThread::start("worker", upcalls.clone(), IDLE_PERIOD, || {})?;
        let noted = publisher.clone();
        let housekeeper = Housekeeper::start(housekeeping, paths, published.clone(), upcalls.clone(), move || {
            noted.lock().checkpoint()
        })?;
        Ok(DataPlane {
            shared: Arc::new(Shared::new(config, published, upcalls, inboxes)),
            publisher,
            publisher_thread: Mutex::new(publisher_thread),
            worker_thread: Mutex::new(worker_thread),
            housekeeper: Mutex::new(housekeeper),
            moves,
            mover: Mutex::new(mover),
            disks,
            prepared: Mutex::new(prepared),
            reactors: Mutex::default(),
            stopped: Mutex::new(false),
        })
    }

    /// Opens the listeners and starts the event loops. Gives the addresses bound, in order of the listeners.
    pub fn listen(&self) -> io::Result<Vec<SocketAddr>> {
        let mut listeners = Vec::new();
        for listener in &self.shared.config.listeners {
            let told = |error: io::Error| {
                io::Error::new(
                    error.kind(),
                    format!("listener {} {}:{}: {error}", listener.name, listener.host, listener.port),
                )
            };
            listeners.push(bind(&listener.host, listener.port).map_err(told)?);
        }
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
        let mut listeners = Some(listeners);
        let mut reactors = self.reactors.lock();
        for (index, prepared) in self.prepared.lock().drain(..).enumerate() {
            let own = listeners.take().unwrap_or_default();
            let reactor = Reactor::new(index, prepared, self.shared.clone(), own)?;
            let thread = std::thread::Builder::new().name(format!("reactor-{index}")).spawn(move || reactor.run())?;
            reactors.push(thread);
        }
        Ok(addresses)
    }

    pub fn upcalls(&self) -> &UpcallQueue {
        &self.shared.upcalls
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Which of the log directories failed, as indexes.
    pub fn failed_dirs(&self) -> Vec<usize> {
        (0..self.disks.len()).filter(|at| self.disks[*at].fenced().is_some()).collect()
    }

    /// `log.reserve.bytes` from now on.
    pub fn set_reserve(&self, reserve_bytes: u64) {
        self.disks.iter().for_each(|disk| disk.set_reserve(reserve_bytes));
    }

    pub fn set_housekeeping(&self, settings: Housekeeping) {
        self.housekeeper.lock().set(settings);
    }

    pub fn drain(&self, batch_max: usize) -> Vec<Upcall> {
        let (batch, stalled) = self.shared.upcalls.drain(batch_max);
        if stalled {
            self.shared.room_again();
        }
        batch
    }

    /// Answers requests that went up. With `close`, the connection ends after that (an empty body: at once). Each event
    /// loop is woken once.
    pub fn respond(&self, answers: impl IntoIterator<Item = (Ticket, Bytes, bool)>) {
        let messages =
            answers.into_iter().map(|(ticket, body, close)| (ticket, Message::Respond { ticket, body, close }));
        self.send_to_loops(messages);
    }

    /// The coordinator's word on each partition that each `Upcall::Verify` named. Each event loop is woken once.
    pub fn verified(&self, verdicts: impl IntoIterator<Item = (Ticket, Vec<i16>)>) {
        self.send_to_loops(verdicts.into_iter().map(|(ticket, errors)| (ticket, Message::Verified { ticket, errors })));
    }

    fn send_to_loops(&self, messages: impl Iterator<Item = (Ticket, Message)>) {
        let inboxes = &self.shared.inboxes;
        together(|| {
            for (ticket, message) in messages {
                if let Some(inbox) = inboxes.get(reactor_of(ticket)) {
                    inbox.send(message);
                }
            }
        });
    }

    pub fn publish(&self, ticket: Ticket, delta: ViewDelta) {
        let publisher = self.publisher.clone();
        self.publisher_thread.lock().submit(ticket, move || publisher.lock().publish(delta));
    }

    /// The view is as new as this broker's registration: logs that are of none of its partitions are set aside.
    pub fn set_strays_aside(&self, ticket: Ticket) {
        let publisher = self.publisher.clone();
        self.publisher_thread.lock().submit(ticket, move || publisher.lock().set_strays_aside());
    }

    /// Each replica is to lie in the log directory with this path.
    pub fn alter_dirs(&self, ticket: Ticket, wanted: Vec<(PartitionRef, PathBuf)>) {
        let publisher = self.publisher.clone();
        self.publisher_thread.lock().submit(ticket, move || {
            let mut publisher = publisher.lock();
            JobResult::Moves(wanted.iter().map(|(partition, path)| publisher.alter_dir(*partition, path)).collect())
        });
    }

    /// `replica.alter.log.dirs.io.max.bytes.per.second` from now on.
    pub fn set_move_throttle(&self, bytes_per_s: u64) {
        self.moves.set_throttle(bytes_per_s);
    }

    /// Hands any other work to the worker thread.
    pub fn submit(&self, ticket: Ticket, work: impl FnOnce() -> JobResult + Send + 'static) {
        self.worker_thread.lock().submit(ticket, work);
    }

    pub fn query(&self, ticket: Ticket, query: Query) {
        let (shared, disks, moves) = (self.shared.clone(), self.disks.clone(), self.moves.clone());
        self.submit(ticket, move || {
            let published = &shared.published;
            match query {
                Query::ListOffsets(wanted) => JobResult::Offsets(queries::list_offsets(published, &wanted)),
                Query::EpochEnds(wanted) => JobResult::EpochEnds(queries::epoch_ends(published, &wanted)),
                Query::DeleteRecords(wanted) => JobResult::RecordsDeleted(queries::delete_records(published, &wanted)),
                Query::DescribeProducers(wanted) => {
                    JobResult::Producers(queries::describe_producers(published, &wanted))
                }
                Query::DescribeLogDirs => JobResult::LogDirs(queries::describe_log_dirs(published, &disks, &moves)),
            }
        });
    }

    /// Completes `ticket` when the high watermark passed `wanted_offset`, or the partition is led no more.
    pub fn watch(&self, ticket: Ticket, partition: PartitionRef, wanted_offset: i64) {
        let completer = Arc::new(Completer(self.shared.upcalls.clone()));
        decided::watch(&self.shared.published, completer, ticket, partition, wanted_offset);
    }

    /// Whole batches of a partition, read by the worker thread.
    pub fn read(&self, ticket: Ticket, partition: PartitionRef, offset: i64, bytes_max: usize) {
        let shared = self.shared.clone();
        self.submit(ticket, move || decided::read(&shared.published, partition, offset, bytes_max));
    }

    /// Stops serving, closes every log cleanly, and marks the directories so. Safe to call twice.
    pub fn stop(&self, broker_epoch: i64) {
        let mut stopped = self.stopped.lock();
        if std::mem::replace(&mut *stopped, true) {
            return;
        }
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.inboxes.iter().for_each(|inbox| inbox.send(Message::Stop));
        for thread in self.reactors.lock().drain(..) {
            let _ = thread.join();
        }
        self.shared.bringers.stop();
        self.mover.lock().stop();
        self.housekeeper.lock().stop();
        self.publisher_thread.lock().stop();
        self.worker_thread.lock().stop();
        self.publisher.lock().close(broker_epoch);
    }
}

fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
    let host = if host.is_empty() { "0.0.0.0" } else { host };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpListener::bind(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}
