//! Producers and transactions in a whole log: what survives a restart, and what readers are told.

mod common;

use common::*;
use log::memory::MemoryStorage;
use log::storage::Storage;
use record::BatchView;

fn aborted_once(storage: &MemoryStorage) -> log::Log {
    let mut log = open(storage);
    append(&mut log, transactional(9, 0, 0));
    append(&mut log, marker(9, 0, false));
    log
}

#[test]
fn an_aborted_transaction_survives_an_unclean_start_behind_a_snapshot() {
    let storage = MemoryStorage::default();
    let mut log = aborted_once(&storage);
    log.close_clean(1).unwrap();
    assert_eq!(log.aborted_transactions(0, 2).unwrap(), [(9, 0)]);
    assert_eq!(open(&storage).aborted_transactions(0, 2).unwrap(), [(9, 0)]);
}

#[test]
fn an_aborted_transaction_survives_a_kill_after_a_roll_with_an_older_recovery_point() {
    let storage = MemoryStorage::default();
    let mut log = aborted_once(&storage);
    log.roll(1).unwrap();
    fill(&mut log, 2, 10);
    drop(log);
    assert_eq!(open(&storage).aborted_transactions(0, 4).unwrap(), [(9, 0)]);
}

#[test]
fn an_aborted_transaction_of_a_sealed_segment_survives_a_power_loss() {
    let storage = MemoryStorage::default();
    let mut log = aborted_once(&storage);
    log.roll(1).unwrap();
    fill(&mut log, 2, 10);
    log.flush().unwrap();
    for seed in 0..20 {
        let opening = Opening { recovery_point: 4, ..Opening::default() };
        let (log, _) = try_open(&storage.power_loss(seed), opening).unwrap();
        assert_eq!(log.aborted_transactions(0, 4).unwrap(), [(9, 0)], "seed {seed}");
    }
}

#[test]
fn a_damaged_txnindex_of_a_sealed_segment_is_made_anew_after_an_unclean_stop() {
    let storage = MemoryStorage::default();
    let mut log = aborted_once(&storage);
    log.roll(1).unwrap();
    fill(&mut log, 2, 10);
    log.flush().unwrap();
    storage.write_atomically(&path(0, ".txnindex"), &[1; 33], true).unwrap();
    assert!(log.aborted_transactions(0, 4).is_err(), "a reader is not told that nothing was aborted");
    let (log, report) = try_open(&storage, Opening { recovery_point: 4, ..Opening::default() }).unwrap();
    assert_eq!(report.remade, ["txnindex"]);
    assert_eq!(log.aborted_transactions(0, 4).unwrap(), [(9, 0)]);
}

#[test]
fn cutting_the_marker_off_opens_the_transaction_again() {
    let storage = MemoryStorage::default();
    let mut log = aborted_once(&storage);
    log.truncate_to(1).unwrap();
    assert_eq!(log.aborted_transactions(0, 1).unwrap(), []);
    assert_eq!(log.last_stable_offset(1), 0);
    append(&mut log, marker(9, 0, false));
    assert_eq!(log.aborted_transactions(0, 2).unwrap(), [(9, 0)]);
}

#[test]
fn after_a_marker_of_a_new_epoch_sequences_start_at_zero() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage);
    append(&mut log, transactional(9, 0, 0));
    append(&mut log, marker(9, 1, true));
    let check = |log: &log::Log, sequence| {
        let bytes = transactional(9, 1, sequence);
        log.check_producer(&BatchView::parse(&bytes).unwrap()).map_err(|error| error.error_code())
    };
    for log in [&log, &open(&storage)] {
        assert_eq!(check(log, 7), Err(45));
        assert!(check(log, 0).is_ok());
    }
}

#[test]
fn the_last_stable_offset_is_never_before_the_start_of_the_log() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage);
    append(&mut log, transactional(9, 0, 0));
    fill(&mut log, 5, 10);
    assert_eq!(log.last_stable_offset(6), 0);
    log.delete_records_before(4).unwrap();
    assert_eq!(log.last_stable_offset(6), 4);
}
