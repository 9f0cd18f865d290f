//! Which leader epoch starts at which offset: `leader-epoch-checkpoint` and the questions it answers (KIP-101, KIP-279).
//!
//! INVARIANT: epochs and start offsets rise strictly.
//! INVARIANT: the file never goes back to an older state, though flushes write theirs without the log's lock, several at once.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::checkpoints;
use crate::storage::Storage;
use crate::{Error, Result};

pub const FILE_NAME: &str = "leader-epoch-checkpoint";
/// What an unknown epoch is answered with.
pub const UNDEFINED: (i32, i64) = (-1, -1);

#[derive(Debug)]
pub struct LeaderEpochs {
    path: PathBuf,
    entries: Vec<(i32, i64)>,
    states_taken: u64,
    /// The newest state that was written.
    written: Arc<Mutex<u64>>,
}

/// What is to stand in the file, as of one moment.
#[derive(Debug)]
pub struct EpochsState {
    path: PathBuf,
    text: String,
    number: u64,
    written: Arc<Mutex<u64>>,
}

impl EpochsState {
    /// One state is written at a time, and none over a newer one.
    pub fn write(&self, storage: &dyn Storage, sync: bool) -> Result<()> {
        let mut written = self.written.lock();
        let outcome = if *written <= self.number {
            storage.write_atomically(&self.path, self.text.as_bytes(), sync)
        } else if sync {
            storage.open(&self.path, false).and_then(|file| file.sync_data())
        } else {
            Ok(())
        };
        *written = self.number.max(*written);
        outcome.map_err(|error| Error::storage(&self.path, error))
    }
}

impl LeaderEpochs {
    pub fn empty(path: PathBuf) -> LeaderEpochs {
        LeaderEpochs { path, entries: Vec::new(), states_taken: 0, written: Arc::default() }
    }

    pub fn load(storage: &dyn Storage, path: PathBuf) -> Result<LeaderEpochs> {
        let entries = checkpoints::read_lines(storage, &path, |fields| {
            let [epoch, offset] = fields else { return None };
            Some((epoch.parse::<i32>().ok()?, offset.parse::<i64>().ok()?))
        })?;
        if !entries.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1) || entries.first().is_some_and(|first| first.0 < 0) {
            return Err(Error::corrupt(&path, "epochs and start offsets must rise from line to line"));
        }
        Ok(LeaderEpochs { entries, ..LeaderEpochs::empty(path) })
    }

    pub fn entries(&self) -> &[(i32, i64)] {
        &self.entries
    }

    pub fn latest(&self) -> Option<i32> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// Notes that `epoch` starts at `offset`. What claimed those offsets for a later start is dropped. True if new.
    pub fn assign(&mut self, epoch: i32, offset: i64) -> bool {
        if epoch < 0 || self.latest().is_some_and(|latest| latest >= epoch) {
            return false;
        }
        self.entries.retain(|(_, start)| *start < offset);
        self.entries.push((epoch, offset));
        true
    }

    /// Notes a batch that was found in the log at `offset`, when batches are read in order. They know better than a file
    /// that may be older: what says otherwise about this offset, or about later ones, is dropped. True if anything changed.
    pub fn observe(&mut self, epoch: i32, offset: i64) -> bool {
        if epoch < 0 || self.epoch_of(offset) == Some(epoch) {
            return false;
        }
        self.entries.retain(|(known, start)| *start < offset && *known < epoch);
        self.entries.push((epoch, offset));
        true
    }

    /// Keeps what starts before `end`.
    pub fn truncate_end(&mut self, end: i64) {
        self.entries.retain(|(_, start)| *start < end);
    }

    /// The log now starts at `start`: the epoch that covers it starts there.
    pub fn truncate_start(&mut self, start: i64) {
        let covering = self.entries.partition_point(|(_, first)| *first <= start);
        if covering > 0 {
            self.entries.drain(..covering - 1);
            self.entries[0].1 = start;
        }
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }

    pub fn epoch_of(&self, offset: i64) -> Option<i32> {
        let at = self.entries.partition_point(|(_, start)| *start <= offset);
        at.checked_sub(1).map(|at| self.entries[at].0)
    }

    /// The largest epoch up to `epoch` and where it ends; the newest ends at `log_end_offset`.
    pub fn end_offset_for(&self, epoch: i32, log_end_offset: i64) -> (i32, i64) {
        if epoch < 0 {
            return UNDEFINED;
        }
        if self.latest() == Some(epoch) {
            return (epoch, log_end_offset);
        }
        let higher = self.entries.partition_point(|(known, _)| *known <= epoch);
        match (self.entries.get(higher), higher.checked_sub(1)) {
            (None, _) => UNDEFINED,
            // KAFKA: below everything known, the asked epoch ends where the first known one starts.
            (Some((_, start)), None) => (epoch, *start),
            (Some((_, start)), Some(floor)) => (self.entries[floor].0, *start),
        }
    }

    /// What is to stand in the file.
    pub fn text(&self) -> String {
        checkpoints::text(self.entries.iter().map(|(epoch, offset)| format!("{epoch} {offset}")))
    }

    /// The same, to be written by and by.
    pub fn state(&mut self) -> EpochsState {
        self.states_taken += 1;
        EpochsState {
            path: self.path.clone(),
            text: self.text(),
            number: self.states_taken,
            written: self.written.clone(),
        }
    }

    pub fn write(&mut self, storage: &dyn Storage, sync: bool) -> Result<()> {
        self.state().write(storage, sync)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::memory::MemoryStorage;
    use crate::storage::FileStorage;

    fn epochs() -> LeaderEpochs {
        let mut epochs = LeaderEpochs::empty(PathBuf::new());
        for (epoch, offset) in [(2, 0), (4, 10), (7, 30)] {
            assert!(epochs.assign(epoch, offset));
        }
        epochs
    }

    #[test]
    fn an_epoch_ends_where_the_next_known_one_starts() {
        let epochs = epochs();
        assert_eq!(epochs.end_offset_for(7, 50), (7, 50));
        assert_eq!(epochs.end_offset_for(5, 50), (4, 30));
        assert_eq!(epochs.end_offset_for(2, 50), (2, 10));
        assert_eq!(epochs.end_offset_for(1, 50), (1, 0));
        assert_eq!(epochs.end_offset_for(8, 50), UNDEFINED);
        assert_eq!(epochs.end_offset_for(-1, 50), UNDEFINED);
    }

    #[test]
    fn an_older_or_equal_epoch_is_not_assigned() {
        let mut epochs = epochs();
        assert!(!epochs.assign(7, 60));
        assert!(!epochs.assign(3, 60));
        assert!(epochs.assign(8, 30), "an epoch without records is replaced");
        assert_eq!(epochs.entries(), [(2, 0), (4, 10), (8, 30)]);
    }

    #[test]
    fn batches_know_better_than_an_older_file() {
        let mut epochs = epochs();
        assert!(!epochs.observe(4, 20));
        assert!(epochs.observe(7, 25), "the file says that epoch 7 starts later");
        assert_eq!(epochs.entries(), [(2, 0), (4, 10), (7, 25)]);
        assert!(epochs.observe(5, 30), "the file says that a later epoch has this");
        assert_eq!(epochs.entries(), [(2, 0), (4, 10), (5, 30)]);
        assert!(!epochs.observe(-1, 40));
    }

    #[test]
    fn both_ends_can_be_cut() {
        let mut epochs = epochs();
        epochs.truncate_start(15);
        assert_eq!(epochs.entries(), [(4, 15), (7, 30)]);
        epochs.truncate_end(30);
        assert_eq!(epochs.entries(), [(4, 15)]);
        assert_eq!(epochs.epoch_of(20), Some(4));
        assert_eq!(epochs.epoch_of(3), None);
    }

    #[test]
    fn an_older_state_is_not_written_over_a_newer_one() {
        let storage = MemoryStorage::default();
        storage.create_dir(Path::new("/d")).unwrap();
        let path = PathBuf::from("/d/leader-epoch-checkpoint");
        let mut epochs = LeaderEpochs::empty(path.clone());
        epochs.assign(1, 0);
        let older = epochs.state();
        epochs.assign(2, 10);
        epochs.write(&storage, true).unwrap();
        older.write(&storage, true).unwrap();
        assert_eq!(LeaderEpochs::load(&storage, path).unwrap().entries(), [(1, 0), (2, 10)]);
    }

    #[test]
    fn two_flushes_of_one_log_do_not_disturb_each_other() {
        let dir = std::env::temp_dir().join(format!("pykafkacore-epochs-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let mut epochs = LeaderEpochs::empty(dir.join(FILE_NAME));
        for round in 0..200 {
            epochs.assign(round, i64::from(round));
            let states = [epochs.state(), epochs.state()];
            std::thread::scope(|scope| {
                for state in &states {
                    scope.spawn(move || state.write(&FileStorage, false).unwrap());
                }
            });
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
