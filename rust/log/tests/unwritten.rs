//! A log that nobody has written to: a directory and whose it is. The first segment's file comes with the first batch.

mod common;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::*;
use log::checkpoints::read_partition_metadata;
use log::memory::MemoryStorage;
use log::storage::{FileStorage, Storage, StorageFile};
use log::{Log, Stop};

fn names(storage: &MemoryStorage) -> Vec<String> {
    let mut names = storage.list(Path::new(DIR)).unwrap();
    names.sort();
    names
}

fn is_empty(log: &Log) -> bool {
    (log.log_start_offset(), log.log_end_offset(), log.size_bytes(), log.segment_count()) == (0, 0, 0, 1)
}

#[test]
fn it_has_no_segment_file_whatever_is_asked_of_it() {
    let storage = MemoryStorage::default();
    for stop in [Some(Stop::Unknown), Some(Stop::Killed), None, Some(Stop::Killed)] {
        let mut log = open_as(&storage, stop);
        assert!(is_empty(&log));
        log.assign_leader_epoch(3).unwrap();
        assert_eq!(log.end_offset_for_epoch(3), (3, 0));
        assert!(log.read(0, 1000, true, 0).unwrap().is_none());
        assert_eq!(log.offset_for_timestamp(0).unwrap(), None);
        assert_eq!(log.max_timestamp_offset().unwrap(), None);
        assert_eq!(log.aborted_transactions(0, 0).unwrap(), []);
        assert_eq!(log.plan_retention(0, i64::MAX).count, 0);
        assert_eq!(log.segment_checks().len(), 0);
        log.delete_records_before(5).unwrap();
        log.truncate_to(0).unwrap();
        log.truncate_fully_and_start_at(0).unwrap();
        log.roll(1).unwrap();
        let flush = log.plan_flush().unwrap();
        log.flushed(&flush, flush.run()).unwrap();
        log.close_clean(1).unwrap();
        assert!(is_empty(&log));
        let others = names(&storage).into_iter().filter(|name| name != "leader-epoch-checkpoint");
        assert_eq!(others.collect::<Vec<_>>(), ["partition.metadata"], "after {stop:?}");
    }
}

/// `stop`: how the last one ended, None if it was closed.
fn open_as(storage: &MemoryStorage, stop: Option<Stop>) -> Log {
    let opening = Opening { clean: stop.is_none(), ..Opening::default() };
    Log::open_after(stop.unwrap_or(Stop::Unknown), options(storage, opening)).unwrap().0
}

#[test]
fn its_first_batch_makes_the_file_and_is_on_the_disk_with_it_after_a_flush() {
    for stop in [Some(Stop::Unknown), Some(Stop::Killed), None] {
        let storage = MemoryStorage::default();
        // All that a first flush would sync besides is on the disk, so that nothing but the new file asks for it.
        open(&storage).close_clean(1).unwrap();
        storage.sync_everything();
        let mut log = open_as(&storage, stop);
        for timestamp in [10, 11] {
            // Of no epoch: the file of a new one would bring all names to the disk.
            log.append_as_leader(&mut plain(timestamp), -1, 1).unwrap();
        }
        assert!(names(&storage).contains(&"00000000000000000000.log".to_owned()));
        log.flush().unwrap();
        for seed in 0..40 {
            let found = open(&storage.power_loss(seed));
            assert_eq!(found.log_end_offset(), 2, "after {stop:?}, seed {seed}");
        }
    }
}

#[test]
fn it_may_be_crashed_anywhere_in_its_making_and_up_to_its_first_flush() {
    let live = |storage: &MemoryStorage| -> log::Result<()> {
        let (mut log, _) = try_open(storage, Opening::default())?;
        log.append_as_leader(&mut plain(10), 0, 1)?;
        log.flush()
    };
    for changes in 0..24 {
        for seed in 0..60 {
            let storage = MemoryStorage::default();
            storage.fail_after(changes);
            let was_flushed = live(&storage).is_ok();
            let kill = storage.crash(|_, unsynced| unsynced);
            for (storage, stop) in [(kill, Stop::Killed), (storage.power_loss(seed), Stop::Unknown)] {
                let mut log = open_as(&storage, Some(stop));
                let end = log.log_end_offset();
                assert!(end <= 1 && (end == 1 || !was_flushed), "{stop:?} before change {changes}, seed {seed}: {end}");
                fill(&mut log, 3, 20);
                log.flush().unwrap();
                assert_eq!(open(&storage.power_loss(seed)).log_end_offset(), end + 3);
            }
        }
    }
}

#[test]
fn a_start_anew_behind_its_end_has_a_file_at_once() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage);
    log.truncate_fully_and_start_at(7).unwrap();
    assert!(names(&storage).contains(&"00000000000000000007.log".to_owned()), "nothing else knows that it starts at 7");
    assert_eq!(open(&storage.power_loss(1)).log_end_offset(), 7);
}

fn sibling_of(storage: &MemoryStorage, of: &str) -> log::OpenOptions {
    log::OpenOptions { dir: of.into(), sibling: Some(DIR.into()), ..options(storage, Opening::default()) }
}

#[test]
fn whose_it_is_survives_a_crash_though_it_was_told_by_its_sibling() {
    let identity = |storage: &MemoryStorage| read_partition_metadata(storage, Path::new("/d/t-1"));
    for sync_first in [false, true] {
        for seed in 0..40 {
            let storage = MemoryStorage::default();
            let mut first = open(&storage);
            if sync_first {
                fill(&mut first, 1, 10);
                first.flush().unwrap();
            }
            let mut log = Log::open(sibling_of(&storage, "/d/t-1")).unwrap().0;
            assert_eq!(identity(&storage).unwrap(), Some(TOPIC_ID));
            fill(&mut log, 2, 10);
            log.flush().unwrap();
            let after = storage.power_loss(seed);
            assert_eq!(identity(&after).unwrap(), Some(TOPIC_ID), "seed {seed}");
            assert_eq!(Log::open(sibling_of(&after, "/d/t-1")).unwrap().0.log_end_offset(), 2);
        }
    }
}

#[test]
fn a_sibling_that_has_gone_is_not_needed() {
    let storage = MemoryStorage::default();
    drop(Log::open(sibling_of(&storage, "/d/t-1")).unwrap());
    assert_eq!(read_partition_metadata(&storage, Path::new("/d/t-1")).unwrap(), Some(TOPIC_ID));
}

#[test]
fn siblings_share_a_file_and_the_one_whose_text_is_made_anew_gets_its_own() {
    use std::os::unix::fs::MetadataExt;
    let dir = std::env::temp_dir().join(format!("pykafkacore-siblings-{}", std::process::id()));
    let path = |name: &str| dir.join(name).join("partition.metadata");
    let open = |name: &str, sibling: Option<&str>| {
        let unplaced = options(&MemoryStorage::default(), Opening::default());
        let sibling = sibling.map(|sibling| dir.join(sibling));
        let storage = Arc::new(FileStorage);
        Log::open(log::OpenOptions { storage, dir: dir.join(name), sibling, ..unplaced }).unwrap()
    };
    drop(open("t-0", None));
    drop(open("t-1", Some("t-0")));
    let inode = |name: &str| std::fs::metadata(path(name)).unwrap().ino();
    assert_eq!(inode("t-0"), inode("t-1"));
    assert_eq!(std::fs::read_dir(dir.join("t-1")).unwrap().count(), 1);
    std::fs::write(path("t-0"), "").unwrap();
    assert_eq!(open("t-1", Some("t-0")).1.remade, ["partition.metadata"]);
    assert_ne!(inode("t-0"), inode("t-1"));
    assert_eq!(std::fs::read(path("t-0")).unwrap(), b"", "what is made anew is not written in place");
    assert_eq!(open("t-0", None).1.remade, ["partition.metadata"]);
    std::fs::remove_dir_all(&dir).unwrap();
}

/// Memory in which no file can be made while it is full.
#[derive(Clone, Default)]
struct Full {
    memory: MemoryStorage,
    is_full: Arc<AtomicBool>,
}

impl Storage for Full {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn StorageFile>> {
        if create && self.is_full.load(Ordering::Relaxed) && !self.memory.exists(path) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.memory.open(path, create)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.memory.read(path)
    }

    fn write_atomically(&self, path: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
        self.memory.write_atomically(path, bytes, sync)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.memory.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.memory.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.memory.rename(from, to)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.memory.list(dir)
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        self.memory.size(path)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.memory.create_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.memory.sync_dir(dir)
    }

    fn exists(&self, path: &Path) -> bool {
        self.memory.exists(path)
    }
}

#[test]
fn a_first_batch_for_whose_file_there_is_no_room_is_refused_and_the_log_goes_on() {
    let storage = Full::default();
    let of_memory = options(&storage.memory, Opening::default());
    let mut log = Log::open(log::OpenOptions { storage: Arc::new(storage.clone()), ..of_memory }).unwrap().0;
    storage.is_full.store(true, Ordering::Relaxed);
    for _ in 0..2 {
        let refused = log.append_as_leader(&mut plain(10), 0, 1).unwrap_err();
        assert!(refused.is_no_space(), "{refused}");
    }
    assert!(is_empty(&log) && !log.is_poisoned());
    storage.is_full.store(false, Ordering::Relaxed);
    fill(&mut log, 2, 10);
    log.flush().unwrap();
    assert_eq!(open(&storage.memory.power_loss(3)).log_end_offset(), 2);
}
