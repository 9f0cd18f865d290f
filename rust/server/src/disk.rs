//! The disk under one log directory: group commit of everything that must be on it before it is acknowledged, and flushes
//! in the background.
//!
//! ```text
//!   committer   all batches that wait: one round of the journal, one sync; then their partitions are told.
//!               A log's first batch, and what is large, is not journaled: the log itself is flushed
//!   flusher     sealed segments; the logs of a full journal file, so that the file may be used again. It has them written behind
//!               in small steps before, so that no round stands in line behind megabytes of another file
//! ```
//!
//! INVARIANT: the first write or sync that fails fences the directory for the life of the process: nothing of it is tried
//! again, nothing is acknowledged, and its partitions answer KAFKA_STORAGE_ERROR.
//! INVARIANT: a partition that has moved to another directory is none of this one's, even while batches of it wait here: all of
//! it was synced there before it moved.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use log::journal::{Entry, Journal, Place, entry_bytes};
use log::{FileStorage, Storage};
use parking_lot::{Condvar, Mutex};
use replica::partition::{Disk, Partition, Uncommitted};
use replica::view::Published;

use crate::inbox::together;
use crate::shared::wall_clock_ms;
use crate::upcall::{Level, UpcallQueue};

/// Each of the journal's two files.
const JOURNAL_BYTES: u64 = 32 << 20;
/// What is more than this part of a file, of one partition in one round, is written once rather than twice.
const JOURNALED_PART: u64 = 32;
/// Of a log so much is journaled before it is written behind.
const BEHIND_BYTES: usize = 32 << 10;
/// A round that the disk has is answered before the event loops gather more.
const COMMITTERS_BURST: Duration = Duration::from_micros(100);

pub struct DirDisk {
    path: PathBuf,
    published: Arc<Published>,
    upcalls: Arc<UpcallQueue>,
    fenced: OnceLock<String>,
    reserve_bytes: AtomicU64,
    is_short: AtomicBool,
    waiting: Mutex<Waiting>,
    news: Condvar,
    jobs: Mutex<Option<Sender<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Waiting {
    batches: Vec<Uncommitted>,
    stopping: bool,
}

/// What is done in the background.
pub enum Job {
    /// Logs to flush, and who is told when all of them are.
    Flush(Vec<Arc<Partition>>, Option<Sender<()>>),
    WriteBehind(Arc<Partition>),
    Fence(String),
}

impl DirDisk {
    /// With less than `reserve_bytes` left, clients may write nothing here.
    pub fn start(
        path: &Path,
        reserve_bytes: u64,
        published: Arc<Published>,
        upcalls: Arc<UpcallQueue>,
    ) -> io::Result<Arc<DirDisk>> {
        let (sender, receiver) = channel();
        let disk = Arc::new(DirDisk {
            path: path.to_owned(),
            published,
            upcalls,
            fenced: OnceLock::new(),
            reserve_bytes: AtomicU64::new(reserve_bytes),
            is_short: AtomicBool::new(false),
            waiting: Mutex::default(),
            news: Condvar::new(),
            jobs: Mutex::new(Some(sender)),
            threads: Mutex::default(),
        });
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let (committer, flusher) = (disk.clone(), disk.clone());
        let threads = [
            thread("committer").spawn(move || committer.run_committer())?,
            thread("flusher").spawn(move || flusher.run_flusher(&receiver))?,
        ];
        disk.threads.lock().extend(threads);
        disk.look_at_room();
        Ok(disk)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Why nothing is written here any more.
    pub fn fenced(&self) -> Option<&str> {
        self.fenced.get().map(String::as_str)
    }

    /// The first failure decides; all partitions here are offline from now on.
    pub fn fence(&self, why: &str) {
        if self.fenced.set(why.to_owned()).is_err() {
            return;
        }
        let text = format!("log directory {} failed and is not used any more: {why}", self.path.display());
        self.upcalls.notice(Level::Error, text);
        for partition in self.published.load().partitions() {
            partition.fail(&self.path, why);
        }
    }

    fn run_flusher(&self, jobs: &Receiver<Job>) {
        for job in jobs {
            match job {
                Job::Fence(why) => self.fence(&why),
                Job::WriteBehind(partition) => {
                    if self.fenced().is_none() {
                        partition.write_behind();
                    }
                }
                Job::Flush(partitions, done) => {
                    let mut flushed = true;
                    for partition in partitions {
                        flushed &= self.flush(&partition);
                    }
                    if let Some(done) = done.filter(|_| flushed) {
                        let _ = done.send(());
                    }
                }
            }
        }
    }

    /// Where there was no room for what goes with the records, it is tried again with the next flush.
    fn flush(&self, partition: &Partition) -> bool {
        if self.fenced().is_some() {
            return false;
        }
        if !partition.lies_in(&self.path) {
            return true;
        }
        let Err(error) = partition.flush() else { return true };
        if error.is_no_space() {
            self.upcalls.notice(Level::Warning, format!("a log cannot be flushed for now: {error}"));
        } else {
            self.fence(&error.to_string());
        }
        false
    }

    fn give_flusher(&self, job: Job) {
        if let Some(jobs) = &*self.jobs.lock() {
            let _ = jobs.send(job);
        }
    }

    /// `log.reserve.bytes` from now on.
    pub fn set_reserve(&self, reserve_bytes: u64) {
        if self.reserve_bytes.swap(reserve_bytes, Ordering::Relaxed) != reserve_bytes {
            self.look_at_room();
        }
    }

    /// Measures the room that is left.
    pub fn look_at_room(&self) {
        let usable = crate::sys::disk_space(&self.path).map_or(u64::MAX, |(_, usable)| usable as u64);
        let reserve = self.reserve_bytes.load(Ordering::Relaxed);
        let is_short = usable < reserve;
        let was_short = self.is_short.swap(is_short, Ordering::Relaxed);
        let path = self.path.display();
        if is_short && !was_short {
            let text = format!(
                "{path}: {usable} bytes are left, fewer than log.reserve.bytes={reserve}: clients may write no more \
                 until there is room, or the reserve is lowered"
            );
            self.upcalls.notice(Level::Error, text);
        } else if was_short && !is_short {
            self.upcalls.notice(Level::Info, format!("{path}: {usable} bytes are left, clients may write again"));
        }
    }

    /// Commits what waits, and ends the threads. The logs are flushed by whoever closes them.
    pub fn stop(&self) {
        self.waiting.lock().stopping = true;
        self.news.notify_one();
        let committer_first = std::mem::take(&mut *self.threads.lock());
        for (at, thread) in committer_first.into_iter().enumerate() {
            if at > 0 {
                *self.jobs.lock() = None;
            }
            let _ = thread.join();
        }
    }

    fn run_committer(&self) {
        crate::sys::work_in_bursts(COMMITTERS_BURST);
        let generation = wall_clock_ms() as u64;
        let give = |job| self.give_flusher(job);
        let mut commits = Commits::new(&self.path, Arc::new(FileStorage), JOURNAL_BYTES, generation, give);
        let mut batches = Vec::new();
        loop {
            batches.clear();
            {
                let mut waiting = self.waiting.lock();
                while waiting.batches.is_empty() && !waiting.stopping {
                    self.news.wait(&mut waiting);
                }
                std::mem::swap(&mut waiting.batches, &mut batches);
            }
            if batches.is_empty() {
                break;
            }
            let outcome = match self.fenced() {
                Some(why) => Err(why.to_owned()),
                None => commits.round(&batches).map_err(|error| error.to_string()),
            };
            if let Err(why) = outcome {
                self.fence(&why);
                batches.iter().for_each(|each| each.partition.fail(&self.path, &why));
            }
        }
        if self.fenced().is_none()
            && let Err(error) = commits.finish()
        {
            self.fence(&error.to_string());
        }
    }
}

impl Disk for DirDisk {
    fn commit(&self, uncommitted: Uncommitted) {
        let mut waiting = self.waiting.lock();
        waiting.batches.push(uncommitted);
        if waiting.batches.len() == 1 {
            self.news.notify_one();
        }
    }

    fn flush_soon(&self, partition: Arc<Partition>) {
        self.give_flusher(Job::Flush(vec![partition], None));
    }

    fn failed(&self, why: String) {
        self.give_flusher(Job::Fence(why));
    }

    fn refusal(&self) -> Option<String> {
        let short = || {
            let (path, reserve) = (self.path.display(), self.reserve_bytes.load(Ordering::Relaxed));
            format!("{path} has less than log.reserve.bytes={reserve} left; make room, or lower it")
        };
        self.fenced().map(str::to_owned).or_else(|| self.is_short.load(Ordering::Relaxed).then(short))
    }
}

fn bytes_of(uncommitted: &Uncommitted) -> usize {
    uncommitted.batches.iter().map(Bytes::len).sum()
}

/// What a partition has in a round.
#[derive(Default)]
struct Share {
    bytes: usize,
    end_offset: i64,
}

/// A partition with batches in the journal.
struct Journaled {
    partition: Arc<Partition>,
    /// How much of it since it was written behind.
    bytes: usize,
}

/// What the committer knows: the journal, and which logs have batches in each of its files.
pub struct Commits<F> {
    dir: PathBuf,
    storage: Arc<dyn Storage>,
    file_bytes: u64,
    generation: u64,
    give: F,
    journal: Option<Journal>,
    has_no_room: bool,
    journaled: HashMap<Place, Journaled>,
    /// Tells when the logs of the other file are flushed.
    other: Option<Receiver<()>>,
}

impl<F: Fn(Job)> Commits<F> {
    /// `give` has jobs done in the background.
    pub fn new(dir: &Path, storage: Arc<dyn Storage>, file_bytes: u64, generation: u64, give: F) -> Self {
        Commits {
            dir: dir.to_owned(),
            storage,
            file_bytes,
            generation,
            give,
            journal: None,
            has_no_room: false,
            journaled: HashMap::new(),
            other: None,
        }
    }

    /// All of these are on the disk, and their partitions told, when this returns.
    pub fn round(&mut self, batches: &[Uncommitted]) -> log::Result<()> {
        let mut shares: HashMap<*const Partition, Share> = HashMap::new();
        for each in batches {
            let share = shares.entry(Arc::as_ptr(&each.partition)).or_default();
            share.bytes = if each.follows_unsynced { usize::MAX } else { share.bytes.saturating_add(bytes_of(each)) };
            share.end_offset = each.end_offset;
        }
        let journaled_bytes_max = if self.has_journal()? { (self.file_bytes / JOURNALED_PART) as usize } else { 0 };
        let is_journaled = |each: &&Uncommitted| shares[&Arc::as_ptr(&each.partition)].bytes <= journaled_bytes_max;
        let journaled: Vec<&Uncommitted> = batches.iter().filter(is_journaled).collect();
        self.journal(&journaled)?;
        // A partition is told once, with the last of its batches.
        together(|| {
            for each in journaled {
                if shares[&Arc::as_ptr(&each.partition)].end_offset == each.end_offset {
                    each.partition.committed(each.end_offset);
                }
            }
        });
        // What has moved to another directory was synced on its way, and a failure there is none of this one.
        for each in batches.iter().filter(|each| !is_journaled(each) && each.partition.lies_in(&self.dir)) {
            // The first of a partition's does it for all.
            each.partition.flush()?;
        }
        Ok(())
    }

    /// Without room for one, every log is flushed itself.
    fn has_journal(&mut self) -> log::Result<bool> {
        if self.journal.is_none() && !self.has_no_room {
            match Journal::create(self.storage.clone(), &self.dir, self.file_bytes, self.generation) {
                Ok(journal) => self.journal = Some(journal),
                Err(error) if error.is_no_space() => self.has_no_room = true,
                Err(error) => return Err(error),
            }
        }
        Ok(self.journal.is_some())
    }

    fn journal(&mut self, batches: &[&Uncommitted]) -> log::Result<()> {
        let mut left = batches;
        while !left.is_empty() {
            let Some(journal) = &mut self.journal else { break };
            if self.other.as_ref().is_some_and(|other| other.try_recv().is_ok()) {
                self.other = None;
                journal.other_is_flushed();
            }
            let mut bytes = 0;
            let fits = |each: &&&Uncommitted| {
                bytes += each.batches.iter().map(|batch| entry_bytes(batch.len())).sum::<usize>();
                journal.has_room(bytes)
            };
            let count = left.iter().take_while(fits).count();
            if count == 0 {
                self.switch()?;
                continue;
            }
            let (now, later) = left.split_at(count);
            journal.commit(now.iter().flat_map(|each| {
                let place = each.partition.key();
                each.batches.iter().map(move |batch| Entry { place, batch })
            }))?;
            for each in now {
                let known = self.journaled.entry(each.partition.key());
                let known = known.or_insert_with(|| Journaled { partition: each.partition.clone(), bytes: 0 });
                known.bytes += bytes_of(each);
                if known.bytes >= BEHIND_BYTES {
                    known.bytes = 0;
                    (self.give)(Job::WriteBehind(each.partition.clone()));
                }
            }
            left = later;
        }
        Ok(())
    }

    /// The file is full. Its logs are flushed while the other one, whose logs are flushed by now, takes over.
    fn switch(&mut self) -> log::Result<()> {
        self.await_other()?;
        if let Some(journal) = &mut self.journal {
            journal.switch()?;
        }
        let (done, flushed) = channel();
        let partitions = self.journaled.drain().map(|(_, journaled)| journaled.partition).collect();
        (self.give)(Job::Flush(partitions, Some(done)));
        self.other = Some(flushed);
        Ok(())
    }

    fn await_other(&mut self) -> log::Result<()> {
        let flushed = self.other.take().map_or(Ok(()), |other| other.recv());
        flushed.map_err(|_| log::Error::Poisoned { why: "logs of the journal could not be flushed".to_owned() })
    }

    /// A clean stop: the logs are flushed, and the journal goes.
    pub fn finish(&mut self) -> log::Result<()> {
        self.await_other()?;
        for (_, Journaled { partition, .. }) in self.journaled.drain() {
            if partition.lies_in(&self.dir) {
                partition.flush()?;
            }
        }
        self.journal.take().map_or(Ok(()), Journal::remove)
    }
}
