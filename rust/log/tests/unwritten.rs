//! A log that nobody has written to: a directory and whose it is. The first segment's file comes with the first batch.

mod common;

use std::path::Path;

use common::*;
use log::memory::MemoryStorage;
use log::storage::Storage;
use log::{Log, Stop};

fn names(storage: &MemoryStorage) -> Vec<String> {
    let mut names: Vec<String> = storage.list(Path::new(DIR)).unwrap().into_iter().map(|(name, _)| name).collect();
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
