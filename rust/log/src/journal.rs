//! The journal of a log directory: batches of all partitions that are acknowledged once they are on the disk, synced
//! together. Their logs have them too, in the page cache; the journal is read only if a power failure took them from there.
//!
//! ```text
//!   commit   everything that waits is one round: one write, one sync
//!   switch   a file is full: the other takes over, once every log with batches in it is flushed
//!   replay   after an unclean stop: what the logs lost is appended to them again, in order
//!
//!   file     rounds, each from a block's start; written with zeros before its first use, so that a sync moves data only, and
//!            then written past the page cache, which is the quicker way to the disk
//!   round    crc32c, bytes, magic, entry count, generation, number, oldest number needed | entries | zeros up to a block
//!   entry    topic id, partition, bytes | batch
//! ```
//!
//! INVARIANT: a round is written only when the one before it is on the disk. So what is torn is behind the newest whole one,
//! and was never acknowledged; what is missing between that and the oldest that it needs has rotted.
//! INVARIANT: the first batch of a log in the journal continues what is on the disk of that log.
//! INVARIANT: after a failed write or sync nothing is committed any more.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use record::{BatchView, crc32c};

use crate::log::Log;
use crate::storage::{Blocks, Storage, StorageFile, remove_if_there};
use crate::{Error, Result};

const MAGIC: u32 = 0x504b_4a31;
/// Blocks are made of these, whatever their size: a round is looked for at each.
const SECTOR_BYTES: usize = 512;
const ROUND_HEADER_BYTES: usize = 40;
const ENTRY_HEADER_BYTES: usize = 24;
const PREFIX: &str = ".journal-";
/// Zeros are written this much at a time.
const FILL_BYTES: usize = 1 << 20;

pub type Place = ([u8; 16], i32);

#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub place: Place,
    pub batch: &'a [u8],
}

struct File {
    path: PathBuf,
    file: Arc<dyn StorageFile>,
}

pub struct Journal {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    files: [File; 2],
    active: usize,
    position: u64,
    file_bytes: u64,
    block_bytes: usize,
    generation: u64,
    next_number: u64,
    /// First numbers of the file in use, and of the oldest rounds whose logs may not be flushed; the latter as the newest
    /// round tells it.
    first_number: u64,
    oldest_needed: u64,
    oldest_told: u64,
    buffer: Blocks,
    failed: bool,
}

/// The bytes that a batch takes in a round.
pub fn entry_bytes(batch_bytes: usize) -> usize {
    ENTRY_HEADER_BYTES + batch_bytes
}

impl Journal {
    /// Makes the two files, each of `file_bytes`. `generation` is higher than that of any journal before.
    pub fn create(storage: Arc<dyn Storage>, dir: &Path, file_bytes: u64, generation: u64) -> Result<Journal> {
        let block_bytes = storage.block_bytes();
        let file_bytes = file_bytes.next_multiple_of(block_bytes as u64);
        let path_of = |number: usize| dir.join(format!("{PREFIX}{generation:020}-{number}"));
        let make = |number: usize| {
            let path = path_of(number);
            let fill = || {
                let file = storage.open(&path, true)?;
                let zeros = vec![0; FILL_BYTES.min(file_bytes as usize)];
                let mut at = 0;
                while at < file_bytes {
                    let count = zeros.len().min((file_bytes - at) as usize);
                    file.write_at(&zeros[..count], at)?;
                    at += count as u64;
                }
                file.sync_data()?;
                storage.open_direct(&path)
            };
            fill().map(|file| File { path: path.clone(), file }).map_err(|e| Error::storage(&path, e))
        };
        let made = make(0).and_then(|first| Ok([first, make(1)?]));
        let files = made.inspect_err(|_| {
            for number in 0..2 {
                let _ = storage.remove(&path_of(number));
            }
        })?;
        storage.sync_dir(dir).map_err(|e| Error::storage(dir, e))?;
        Ok(Journal {
            dir: dir.to_owned(),
            storage,
            files,
            active: 0,
            position: 0,
            file_bytes,
            block_bytes,
            generation,
            next_number: 0,
            first_number: 0,
            oldest_needed: 0,
            oldest_told: 0,
            buffer: Blocks::default(),
            failed: false,
        })
    }

    /// Whether a round of entries of so many bytes fits. A block is kept for `switch`.
    pub fn has_room(&self, entries_bytes: usize) -> bool {
        let round_bytes = (ROUND_HEADER_BYTES + entries_bytes).next_multiple_of(self.block_bytes);
        self.position + (round_bytes + self.block_bytes) as u64 <= self.file_bytes
    }

    /// Every log that has batches in the other file is flushed by now.
    pub fn other_is_flushed(&mut self) {
        self.oldest_needed = self.first_number;
    }

    /// The other file, whose logs are flushed, takes over. Nothing of it is overwritten before the disk knows that it is not
    /// needed any more.
    pub fn switch(&mut self) -> Result<()> {
        self.other_is_flushed();
        if self.oldest_told < self.oldest_needed {
            self.commit([])?;
        }
        self.active = 1 - self.active;
        self.position = 0;
        self.first_number = self.next_number;
        Ok(())
    }

    /// Writes one round; it is on the disk when this returns. There is room for it.
    pub fn commit<'a, E>(&mut self, entries: E) -> Result<()>
    where
        E: IntoIterator<Item = Entry<'a>>,
        E::IntoIter: Clone,
    {
        let File { path, file } = &self.files[self.active];
        if self.failed {
            return Err(Error::Poisoned { why: format!("{} failed before", path.display()) });
        }
        let entries = entries.into_iter();
        let used = ROUND_HEADER_BYTES + entries.clone().map(|entry| entry_bytes(entry.batch.len())).sum::<usize>();
        let round = self.buffer.first(used.next_multiple_of(self.block_bytes));
        let (mut at, mut count): (usize, u32) = (ROUND_HEADER_BYTES, 0);
        let mut put = |bytes: &[u8]| {
            round[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        for entry in entries {
            put(&entry.place.0);
            put(&entry.place.1.to_be_bytes());
            put(&(entry.batch.len() as u32).to_be_bytes());
            put(entry.batch);
            count += 1;
        }
        round[4..8].copy_from_slice(&(used as u32).to_be_bytes());
        round[8..12].copy_from_slice(&MAGIC.to_be_bytes());
        round[12..16].copy_from_slice(&count.to_be_bytes());
        round[16..24].copy_from_slice(&self.generation.to_be_bytes());
        round[24..32].copy_from_slice(&self.next_number.to_be_bytes());
        round[32..40].copy_from_slice(&self.oldest_needed.to_be_bytes());
        let crc = crc32c::crc32c(&round[4..used]);
        round[..4].copy_from_slice(&crc.to_be_bytes());
        round[used..].fill(0);
        assert!(self.position + round.len() as u64 <= self.file_bytes, "a round needs room");
        if let Err(error) = file.write_at(round, self.position).and_then(|()| file.sync_data()) {
            self.failed = true;
            return Err(Error::storage(path, error));
        }
        self.position += round.len() as u64;
        self.next_number += 1;
        self.oldest_told = self.oldest_needed;
        Ok(())
    }

    /// After a clean stop there is no journal: every log is on the disk.
    pub fn remove(self) -> Result<()> {
        for File { path, .. } in &self.files {
            remove_if_there(&*self.storage, path)?;
        }
        self.storage.sync_dir(&self.dir).map_err(|e| Error::storage(&self.dir, e))
    }
}

/// What the journals of a directory held at its start, by partition.
#[derive(Default)]
pub struct Replay {
    batches: HashMap<Place, Vec<Vec<u8>>>,
    files: Vec<PathBuf>,
    /// How many rounds were acknowledged and can be read no more.
    pub rotten_rounds: usize,
}

/// What came of a partition's replay.
#[derive(Debug, PartialEq, Eq)]
pub struct Replayed {
    pub batch_count: usize,
    /// The log ends here, but the journal goes on behind a hole. Only rot makes one.
    pub lost_from: Option<i64>,
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} batches given back by the journal", self.batch_count)?;
        match self.lost_from {
            Some(offset) => write!(f, "; what it had from offset {offset} on stands behind a hole and is lost"),
            None => Ok(()),
        }
    }
}

impl Replay {
    /// Reads the journals that lie in `dir`, oldest first.
    pub fn read(storage: &dyn Storage, dir: &Path) -> Result<Replay> {
        let names = storage.list(dir).map_err(|e| Error::storage(dir, e))?;
        let mut names: Vec<String> = names.into_iter().filter(|n| n.starts_with(PREFIX)).collect();
        names.sort();
        let mut replay = Replay::default();
        let mut rounds = BTreeMap::new();
        for name in names {
            let path = dir.join(name);
            let bytes = storage.read(&path).map_err(|e| Error::storage(&path, e))?;
            find_rounds(&bytes, &mut rounds);
            replay.files.push(path);
        }
        // A journal that was replaced is still here because not all of it is where it belongs.
        let generations: BTreeSet<u64> = rounds.keys().map(|(generation, _)| *generation).collect();
        for generation in generations {
            let of_it = rounds.range((generation, 0)..=(generation, u64::MAX));
            let Some((&(_, newest), Round { oldest_needed, .. })) = of_it.last() else { continue };
            for number in *oldest_needed..=newest {
                let Some(round) = rounds.remove(&(generation, number)) else {
                    replay.rotten_rounds += 1;
                    continue;
                };
                for (place, batch) in round.entries {
                    replay.batches.entry(place).or_default().push(batch);
                }
            }
        }
        Ok(replay)
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// All other partitions are no more, or have moved to another directory, where all of them is on the disk.
    pub fn keep(&mut self, places: &HashSet<Place>) {
        self.batches.retain(|place, _| places.contains(place));
    }

    /// Appends to a log, just opened, what it lost; all of it is on the disk when this returns.
    pub fn apply(&mut self, place: Place, log: &mut Log, now_ms: i64) -> Result<Option<Replayed>> {
        let Some(batches) = self.batches.get(&place) else { return Ok(None) };
        let mut replayed = Replayed { batch_count: 0, lost_from: None };
        for bytes in batches {
            let batch = BatchView::parse(bytes).map_err(|e| Error::corrupt(log.dir(), e.to_string()))?;
            if batch.last_offset() < log.log_end_offset() {
                continue;
            }
            if batch.base_offset() != log.log_end_offset() {
                replayed.lost_from = Some(log.log_end_offset());
                break;
            }
            log.append_raw(bytes, now_ms)?;
            replayed.batch_count += 1;
        }
        log.flush()?;
        self.batches.remove(&place);
        Ok(Some(replayed))
    }

    /// Removes the files, if all that they held is where it belongs.
    pub fn finish(&mut self, storage: &dyn Storage) -> Result<()> {
        if self.batches.is_empty() {
            for path in std::mem::take(&mut self.files) {
                remove_if_there(storage, &path)?;
            }
        }
        Ok(())
    }
}

struct Round {
    oldest_needed: u64,
    entries: Vec<(Place, Vec<u8>)>,
    bytes: usize,
}

/// All whole rounds of a file. Among them may be some of an earlier time that it was used.
fn find_rounds(bytes: &[u8], rounds: &mut BTreeMap<(u64, u64), Round>) {
    let mut at = 0;
    while at < bytes.len() {
        match parse_round(&bytes[at..]) {
            Some((key, round)) => {
                at += round.bytes;
                rounds.insert(key, round);
            }
            None => at += SECTOR_BYTES,
        }
    }
}

fn parse_round(bytes: &[u8]) -> Option<((u64, u64), Round)> {
    let word = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
    let long = |at: usize| Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
    let used = word(4)? as usize;
    let is_whole = word(8)? == MAGIC && (ROUND_HEADER_BYTES..=bytes.len()).contains(&used);
    if !is_whole || crc32c::crc32c(&bytes[4..used]) != word(0)? {
        return None;
    }
    let mut entries = Vec::new();
    let mut rest = &bytes[ROUND_HEADER_BYTES..used];
    for _ in 0..word(12)? {
        let (id, after) = rest.split_first_chunk::<16>()?;
        let (partition, after) = after.split_first_chunk::<4>()?;
        let (size, after) = after.split_first_chunk::<4>()?;
        let (batch, after) = after.split_at_checked(u32::from_be_bytes(*size) as usize)?;
        entries.push(((*id, i32::from_be_bytes(*partition)), batch.to_vec()));
        rest = after;
    }
    let bytes = used.next_multiple_of(SECTOR_BYTES);
    Some(((long(16)?, long(24)?), Round { oldest_needed: long(32)?, entries, bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::FileStorage;

    #[test]
    fn rounds_go_past_the_page_cache_and_are_read_back_through_it() {
        let dir = std::env::temp_dir().join(format!("pykafkacore-journal-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let mut journal = Journal::create(Arc::new(FileStorage), &dir, 64 << 10, 1).unwrap();
        let place = ([7; 16], 3);
        let sizes = [1, 4000, 4096, 9000, 100];
        for (number, size) in sizes.iter().enumerate() {
            let (first, second) = (vec![number as u8; *size], vec![0xff; number]);
            assert!(journal.has_room(entry_bytes(first.len()) + entry_bytes(second.len())));
            journal.commit([&first, &second].map(|batch| Entry { place, batch })).unwrap();
        }
        journal.switch().unwrap();
        journal.commit([Entry { place, batch: b"in the other file" }]).unwrap();
        let replay = Replay::read(&FileStorage, &dir).unwrap();
        let found: Vec<usize> = replay.batches[&place].iter().map(Vec::len).collect();
        assert_eq!(found, [1, 0, 4000, 1, 4096, 2, 9000, 3, 100, 4, 17]);
        assert_eq!(replay.rotten_rounds, 0);
        journal.remove().unwrap();
        assert!(Replay::read(&FileStorage, &dir).unwrap().is_empty());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
