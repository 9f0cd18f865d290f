//! Cutting a log at either end, and finding offsets by time.

mod common;

use common::*;
use log::memory::MemoryStorage;
use record::{AppendRules, BatchFacts, Codec, validate_produce};

#[test]
fn a_log_cut_back_into_a_sealed_segment_still_takes_appends() {
    let storage = MemoryStorage::default();
    let (mut log, _) = try_open(&storage, Opening { config: config(1000), ..Opening::default() }).unwrap();
    fill(&mut log, 30, 10);
    log.truncate_to(4).unwrap();
    log.set_config(config(1 << 20));
    fill(&mut log, 30, 10);
    assert_eq!(log.log_end_offset(), 34);
    assert_eq!(read_from(&log, 0, 500).len(), 34);
}

#[test]
fn a_cut_below_the_start_takes_the_start_along() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage);
    fill(&mut log, 10, 10);
    log.delete_records_before(6).unwrap();
    log.truncate_to(3).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (3, 3));
}

#[test]
fn what_was_cut_is_not_there_again_after_a_power_loss() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage);
    fill(&mut log, 10, 10);
    log.flush().unwrap();
    log.truncate_to(4).unwrap();
    for seed in 0..30 {
        let opening = Opening { recovery_point: 10, ..Opening::default() };
        let (log, _) = try_open(&storage.power_loss(seed), opening).unwrap();
        assert_eq!(log.log_end_offset(), 4, "seed {seed}");
    }
}

#[test]
fn a_batch_that_overstates_its_largest_timestamp_hides_nothing_behind_it() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage);
    let mut overstated = plain(100);
    record::batch::set_max_timestamp(&mut overstated, 900);
    append(&mut log, overstated);
    append(&mut log, plain(901));
    assert_eq!(log.offset_for_timestamp(800).unwrap().map(|found| found.offset), Some(1));
    log.roll(1).unwrap();
    append(&mut log, plain(700));
    assert_eq!(log.offset_for_timestamp(900).unwrap().map(|found| found.offset), Some(1));
}

#[test]
fn records_that_cannot_be_inflated_are_found_as_a_batch() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage);
    append(&mut log, plain(10));
    let mut bytes = batch(100, 3, BatchFacts { codec: Codec::Zstd, ..BatchFacts::default() });
    bytes[record::HEADER_BYTES..].fill(0x55);
    record::batch::set_crc(&mut bytes);
    let rules = AppendRules {
        timestamp_after_max_ms: i64::MAX,
        message_bytes_max: 1 << 20,
        inflated_bytes_max: 1 << 20,
        ..AppendRules::default()
    };
    validate_produce(&mut bytes, &rules, 11, 1000).expect("a batch is opaque when it is produced");
    append(&mut log, bytes);
    let found = log.offset_for_timestamp(50).unwrap().unwrap();
    assert_eq!((found.offset, found.timestamp), (1, 102));
    assert_eq!(log.max_timestamp_offset().unwrap().map(|found| found.offset), Some(1));
}

#[test]
fn a_record_in_a_compressed_batch_is_found_by_its_own_time() {
    for codec in Codec::ALL {
        let storage = MemoryStorage::default();
        let mut log = open(&storage);
        append(&mut log, batch(100, 10, BatchFacts { codec, ..BatchFacts::default() }));
        let found = log.offset_for_timestamp(104).unwrap().unwrap();
        assert_eq!((found.offset, found.timestamp, found.leader_epoch), (4, 104, 0), "{codec:?}");
    }
}
