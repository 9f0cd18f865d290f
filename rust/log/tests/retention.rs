//! Retention of whole logs over memory: what stays right around the segments that go, and when segments roll.

mod common;

use common::*;
use log::memory::MemoryStorage;
use log::{CompactionRules, LogConfig, ReadError, RetentionRules, Storage};

fn deleting(retention_ms: i64) -> LogConfig {
    let retention = RetentionRules { deletes: true, retention_ms, ..RetentionRules::default() };
    LogConfig { retention, ..config(400) }
}

fn opening(config: LogConfig) -> Opening {
    Opening { config, ..Opening::default() }
}

fn names(storage: &MemoryStorage, ending: &str) -> Vec<String> {
    let names = storage.list(DIR.as_ref()).unwrap().into_iter();
    names.filter(|name| name.ends_with(ending)).collect()
}

#[test]
fn a_reader_of_a_segment_that_goes_is_not_disturbed_and_its_files_go_later() {
    let storage = MemoryStorage::default();
    let (mut log, _) = try_open(&storage, opening(deleting(100))).unwrap();
    fill(&mut log, 10, 1000);
    let slice = log.read(0, 300, true, 10).unwrap().unwrap();
    let plan = log.plan_retention(10, 1105);
    assert_eq!((plan.count, plan.rolls), (1, false), "1000 to 1002 are older than 100");
    let doomed = log.carry_out(plan, 1105).unwrap();
    let mut bytes = vec![0; slice.region.bytes];
    assert_eq!(slice.region.file.read_at(&mut bytes, slice.region.position).unwrap(), slice.region.bytes);
    assert_eq!(log.log_start_offset(), 3);
    assert!(matches!(log.read(2, 300, true, 10), Err(ReadError::OffsetOutOfRange { start: 3, .. })));
    assert_eq!(log.epochs(), [(0, 3)], "the epoch starts where the log does");
    assert_eq!(names(&storage, ".deleted").len(), 3);
    doomed.remove(&storage).unwrap();
    assert!(names(&storage, ".deleted").is_empty());
    doomed.remove(&storage).unwrap();
}

#[test]
fn nothing_above_the_high_watermark_goes_and_all_of_the_rest_may() {
    let storage = MemoryStorage::default();
    let (mut log, _) = try_open(&storage, opening(deleting(0))).unwrap();
    fill(&mut log, 10, 1000);
    assert_eq!(log.plan_retention(5, 1 << 40).count, 1);
    let plan = log.plan_retention(10, 1 << 40);
    assert!(plan.rolls);
    log.carry_out(plan, 1 << 40).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset(), log.size_bytes()), (10, 10, 0));
    fill(&mut log, 1, 1000);
    drop(log);
    let (log, _) = try_open(&storage, opening(deleting(0))).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (10, 11));
}

#[test]
fn a_segment_whose_index_is_not_in_memory_is_asked_for_its_newest_record() {
    let storage = MemoryStorage::default();
    let (mut log, _) = try_open(&storage, opening(deleting(100))).unwrap();
    fill(&mut log, 10, 1000);
    log.close_clean(1).unwrap();
    drop(log);
    let (log, _) = try_open(&storage, Opening { clean: true, ..opening(deleting(100)) }).unwrap();
    assert_eq!(log.plan_retention(10, 1102).count, 0);
    assert_eq!(log.plan_retention(10, 1103).count, 1);
}

/// How many records of rising time fit a segment, for each segment.
fn rolled_after(config: LogConfig) -> Vec<i64> {
    let storage = MemoryStorage::default();
    let (mut log, _) = try_open(&storage, opening(config)).unwrap();
    fill(&mut log, 400, 1000);
    let facts = log.segment_facts();
    facts[..facts.len() - 1].iter().map(|facts| facts.end_offset - facts.base_offset).collect()
}

#[test]
fn segments_roll_by_time_earlier_by_a_jitter_that_differs_and_within_the_largest_lag() {
    let timed = LogConfig { segment_ms: 49, ..config(1 << 20) };
    assert!(rolled_after(timed.clone()).iter().all(|count| *count == 50));
    let jittered = rolled_after(LogConfig { segment_jitter_ms: 40, ..timed.clone() });
    assert!(jittered.iter().all(|count| (11..=50).contains(count)), "{jittered:?}");
    assert!(jittered.iter().any(|count| *count != jittered[0]), "{jittered:?}");
    let compaction = CompactionRules { lag_ms_max: 19, ..CompactionRules::default() };
    assert!(rolled_after(LogConfig { compacted: true, compaction, ..timed }).iter().all(|count| *count == 20));
}

#[test]
fn a_power_failure_amid_a_deletion_brings_nothing_back_once_the_start_is_noted() {
    let rules = RetentionRules { deletes: true, retention_ms: -1, retention_bytes: 400, ..RetentionRules::default() };
    let config = LogConfig { retention: rules, ..common::config(300) };
    for changes in 0..40 {
        for seed in 0..20 {
            let storage = MemoryStorage::default();
            let mut log = try_open(&storage, Opening { config: config.clone(), ..Opening::default() }).unwrap().0;
            fill(&mut log, 20, 1000);
            log.flush().unwrap();
            let plan = log.plan_retention(20, 5000);
            assert!(plan.count > 3);
            log.pass_over(plan);
            let start = log.log_start_offset();
            storage.fail_after(changes);
            let _ = log.carry_out(plan, 5000);
            let crashed = storage.power_loss(seed);
            let opening =
                Opening { recovery_point: 20, start: Some(start), config: config.clone(), ..Opening::default() };
            let found = try_open(&crashed, opening).unwrap().0;
            assert_eq!((found.log_start_offset(), found.log_end_offset()), (start, 20), "{changes} {seed}");
            assert_eq!(read_from(&found, start, 1000).len() as i64, 20 - start);
            assert_eq!(found.first_segment_base(), start, "nothing of what was deleted stays");
        }
    }
}
