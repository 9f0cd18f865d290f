//! Compaction of whole logs over memory: what stays, when the rest goes, and what a cleaning leaves alone.

mod common;

use common::*;
use log::CompactionRules;
use log::cleaner::Interruption;
use log::memory::MemoryStorage;
use log::{Error, Log, LogConfig, ProducerCheck, Storage};
use record::{BatchBuilder, BatchFacts, BatchView, Codec, NewRecord, Records};

const RETENTION_MS: i64 = 1000;

fn compacted(segment_bytes: u64) -> Opening {
    let compaction = CompactionRules { delete_retention_ms: RETENTION_MS, ..CompactionRules::default() };
    let config = LogConfig { compacted: true, compaction, ..config(segment_bytes) };
    Opening { config, ..Opening::default() }
}

fn opened(storage: &MemoryStorage) -> Log {
    try_open(storage, compacted(1 << 20)).unwrap().0
}

/// Records as (key, value); an empty value is a tombstone.
fn keyed(facts: BatchFacts, records: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(facts);
    let headers: [(&[u8], Option<&[u8]>); 1] = [(b"h", Some(b"1"))];
    for (at, (key, value)) in records.iter().enumerate() {
        let value = (!value.is_empty()).then_some(value.as_bytes());
        builder.push(NewRecord { timestamp: 100 + at as i64, key: Some(key.as_bytes()), value, headers: &headers });
    }
    builder.build().unwrap()
}

fn put(log: &mut Log, records: &[(&str, &str)]) {
    append(log, keyed(BatchFacts::default(), records));
}

fn facts(producer_id: i64, base_sequence: i32, is_transactional: bool) -> BatchFacts {
    BatchFacts { producer_id, producer_epoch: 0, base_sequence, is_transactional, ..BatchFacts::default() }
}

/// Everything so far is sealed, and on the disk.
fn seal(log: &mut Log) {
    log.roll(1).unwrap();
    log.flush().unwrap();
}

fn inflated(batch: &BatchView<'_>) -> Vec<u8> {
    batch.codec().unwrap().decompress(batch.payload(), 1 << 20).unwrap()
}

/// (offset, timestamp, key, value) of every record, without those of control batches.
fn records(log: &Log) -> Vec<(i64, i64, String, String)> {
    let mut found = Vec::new();
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
    for bytes in read_from(log, log.log_start_offset(), 1 << 20) {
        let batch = BatchView::parse(&bytes).unwrap();
        assert!(batch.crc_is_valid());
        let payload = inflated(&batch);
        for record in Records::new(&payload, if batch.is_control() { 0 } else { batch.record_count() }) {
            let Ok(record) = record else { break };
            assert_eq!(record.headers().collect::<Vec<_>>(), [(&b"h"[..], Some(&b"1"[..]))]);
            let offset = batch.base_offset() + i64::from(record.offset_delta);
            found.push((offset, batch.base_timestamp() + record.timestamp_delta, text(record.key), text(record.value)));
        }
    }
    found
}

fn brief(log: &Log) -> Vec<String> {
    records(log).iter().map(|(offset, _, key, value)| format!("{offset}:{key}={value}")).collect()
}

/// Base offset, record count and kind of each batch.
fn batches(log: &Log) -> Vec<(i64, i32, &'static str)> {
    let kind = |bytes: &Vec<u8>| {
        let batch = BatchView::parse(bytes).unwrap();
        (batch.base_offset(), batch.record_count(), if batch.is_control() { "marker" } else { "data" })
    };
    read_from(log, log.log_start_offset(), 1 << 20).iter().map(kind).collect()
}

#[test]
fn the_newest_record_of_each_key_stays_at_its_offset_with_its_time() {
    for codec in Codec::ALL {
        let mut log = opened(&MemoryStorage::default());
        let facts = || BatchFacts { codec, ..BatchFacts::default() };
        append(&mut log, keyed(facts(), &[("a", "1"), ("b", "1"), ("c", "1")]));
        append(&mut log, keyed(facts(), &[("a", "2"), ("a", "3")]));
        seal(&mut log);
        append(&mut log, keyed(facts(), &[("b", "2"), ("d", "1")]));
        seal(&mut log);
        append(&mut log, keyed(facts(), &[("c", "9")]));
        let report = clean(&mut log, None, 500).unwrap().unwrap();
        assert_eq!((report.end_offset, report.records_read, report.records_kept), (7, 7, 4), "{codec:?}");
        assert_eq!(brief(&log), ["2:c=1", "4:a=3", "5:b=2", "6:d=1", "7:c=9"], "the active segment counts for nothing");
        assert_eq!(records(&log)[0].1, 102);
        assert_eq!((log.segment_count(), log.log_end_offset()), (2, 8));
        assert_eq!(clean(&mut log, Some(7), 500).unwrap(), None, "nothing is dirty");
    }
}

#[test]
fn a_record_without_a_key_goes() {
    let mut log = opened(&MemoryStorage::default());
    fill(&mut log, 2, 10);
    put(&mut log, &[("a", "1")]);
    seal(&mut log);
    clean(&mut log, None, 500).unwrap();
    assert_eq!(brief(&log), ["2:a=1"]);
}

#[test]
fn a_tombstone_goes_when_its_horizon_has_passed_and_keeps_its_time_until_then() {
    let mut log = opened(&MemoryStorage::default());
    put(&mut log, &[("a", "1"), ("b", "1")]);
    put(&mut log, &[("a", ""), ("x", "1")]);
    seal(&mut log);
    clean(&mut log, None, 500).unwrap();
    assert_eq!(brief(&log), ["1:b=1", "2:a=", "3:x=1"]);
    assert_eq!(records(&log)[1].1, 100);
    let bytes = &read_from(&log, 2, 1 << 20)[0];
    let batch = BatchView::parse(bytes).unwrap();
    assert_eq!((batch.has_delete_horizon(), batch.base_timestamp(), batch.max_timestamp()), (true, 1500, 101));
    for (now_ms, left) in
        [(1499, vec!["1:b=1", "2:a=", "3:x=1", "4:y=1"]), (1500, vec!["1:b=1", "3:x=1", "4:y=1", "5:z=1"])]
    {
        put(&mut log, if now_ms == 1499 { &[("y", "1")] } else { &[("z", "1")] });
        seal(&mut log);
        let newest = log.log_end_offset() - 1;
        clean(&mut log, Some(newest), now_ms).unwrap();
        assert_eq!(brief(&log), left);
    }
}

#[test]
fn aborted_data_goes_at_once_and_its_marker_when_nothing_of_it_is_left() {
    let storage = MemoryStorage::default();
    let mut log = opened(&storage);
    append(&mut log, keyed(facts(9, 0, true), &[("a", "aborted")]));
    put(&mut log, &[("a", "1")]);
    append(&mut log, marker(9, 0, false));
    append(&mut log, keyed(facts(9, 1, true), &[("b", "committed")]));
    append(&mut log, marker(9, 0, true));
    seal(&mut log);
    let rounds = [
        (500, vec![(1, 1, "data"), (2, 1, "marker"), (3, 1, "data"), (4, 1, "marker")]),
        // Nothing of the aborted one was met: its marker has a horizon from now on.
        (600, vec![(1, 1, "data"), (2, 1, "marker"), (3, 1, "data"), (4, 1, "marker")]),
        (1700, vec![(1, 1, "data"), (3, 1, "data"), (4, 1, "marker")]),
    ];
    for (round, (now_ms, expected)) in rounds.into_iter().enumerate() {
        let end = log.log_end_offset();
        let checkpoint = if round == 0 { None } else { Some(end) };
        put(&mut log, &[(&format!("z{round}"), "1")]);
        seal(&mut log);
        clean(&mut log, checkpoint, now_ms).unwrap().unwrap();
        assert_eq!(batches(&log)[..expected.len()], expected, "round {round}");
        let told = log.aborted_transactions(0, log.log_end_offset()).unwrap();
        assert_eq!(told, if round == 0 { vec![(9, 0)] } else { vec![] }, "round {round}");
    }
    assert_eq!(brief(&log)[..2], ["1:a=1", "3:b=committed"]);
}

#[test]
fn nothing_of_an_open_transaction_nor_behind_its_beginning_is_touched() {
    let mut log = opened(&MemoryStorage::default());
    put(&mut log, &[("a", "1")]);
    put(&mut log, &[("a", "2")]);
    seal(&mut log);
    append(&mut log, keyed(facts(9, 0, true), &[("a", "3")]));
    put(&mut log, &[("a", "4")]);
    seal(&mut log);
    assert_eq!(clean(&mut log, None, 500).unwrap().unwrap().end_offset, 2);
    assert_eq!(brief(&log), ["1:a=2", "2:a=3", "3:a=4"]);
}

#[test]
fn what_is_not_on_the_disk_or_not_replicated_is_not_touched() {
    let mut log = opened(&MemoryStorage::default());
    put(&mut log, &[("a", "1")]);
    put(&mut log, &[("a", "2")]);
    seal(&mut log);
    let end = log.log_end_offset();
    assert!(log.cleanable(end - 1, None).unwrap().plan(500).is_none());
    assert!(log.cleanable(end, None).unwrap().plan(500).is_some());
}

#[test]
fn the_last_sequence_of_a_producer_is_still_known_when_its_records_are_gone() {
    let storage = MemoryStorage::default();
    let mut log = opened(&storage);
    let sent = keyed(facts(9, 0, false), &[("a", "1"), ("b", "1")]);
    append(&mut log, sent.clone());
    put(&mut log, &[("a", "2"), ("b", "2")]);
    seal(&mut log);
    clean(&mut log, None, 500).unwrap();
    assert_eq!(batches(&log), [(0, 0, "data"), (2, 2, "data")]);
    drop(log);
    for name in storage.list(DIR.as_ref()).unwrap() {
        if name.ends_with(".snapshot") {
            storage.remove(&std::path::Path::new(DIR).join(name)).unwrap();
        }
    }
    let log = opened(&storage);
    let check = log.check_producer(&BatchView::parse(&sent).unwrap()).unwrap();
    assert_eq!(check, ProducerCheck::Duplicate { first_offset: 0, last_offset: 1, timestamp: 101 });
}

#[test]
fn the_end_of_the_log_is_known_when_the_last_records_are_gone() {
    let storage = MemoryStorage::default();
    let mut log = opened(&storage);
    fill(&mut log, 3, 10);
    seal(&mut log);
    clean(&mut log, None, 500).unwrap();
    assert_eq!(batches(&log), [(2, 0, "data")]);
    drop(log);
    let (log, report) = try_open(&storage, Opening { recovery_point: 3, ..compacted(1 << 20) }).unwrap();
    assert_eq!((log.log_end_offset(), report.truncated), (3, None));
}

#[test]
fn a_map_without_room_for_all_keys_cleans_in_several_rounds() {
    let mut log = opened(&MemoryStorage::default());
    for round in 0..2 {
        for key in 0..60 {
            put(&mut log, &[(&format!("k{key}"), &format!("{round}"))]);
        }
    }
    seal(&mut log);
    let last_records = log.last_records();
    let (mut checkpoint, mut rounds) = (None, 0);
    while let Some(job) = log.cleanable(log.log_end_offset(), checkpoint)
        && let Some(plan) = job.plan(500)
    {
        let report = cleaner(24 * 50).clean(&job, &plan, &last_records, 500, &mut Swapping(&mut log)).unwrap();
        assert!(Some(report.end_offset) > checkpoint);
        (checkpoint, rounds) = (Some(report.end_offset), rounds + 1);
    }
    assert_eq!(rounds, 3);
    assert!(brief(&log).iter().all(|record| record.ends_with("=1")), "{:?}", brief(&log));
    assert_eq!(brief(&log).len(), 60);
}

#[test]
fn small_segments_become_large_ones_and_a_clean_one_stays_the_file_that_it_is() {
    let storage = MemoryStorage::default();
    let mut log = opened(&storage);
    for i in 0..6 {
        put(&mut log, &[(&format!("k{i}"), "1"), ("same", &format!("{i}"))]);
        seal(&mut log);
    }
    clean(&mut log, None, 500).unwrap();
    assert_eq!(log.segment_count(), 2);
    assert_eq!(brief(&log).len(), 7);
    let names: Vec<String> = storage.list(DIR.as_ref()).unwrap();
    assert_eq!(names.iter().filter(|name| name.ends_with(".log.deleted")).count(), 6);
    assert!(!names.iter().any(|name| name.ends_with(".cleaned") || name.ends_with(".swap")), "{names:?}");
    let report = {
        put(&mut log, &[("new", "1")]);
        seal(&mut log);
        log.set_config(LogConfig { segment_bytes: 1, ..compacted(1).config });
        clean(&mut log, Some(12), 500).unwrap().unwrap()
    };
    assert_eq!(report.bytes_read, report.bytes_kept);
    let again: Vec<String> = storage.list(DIR.as_ref()).unwrap();
    assert_eq!(again.iter().filter(|name| name.ends_with(".log.deleted")).count(), 6, "nothing was swapped");
}

#[test]
fn rot_stops_a_cleaning_and_nothing_is_changed() {
    let storage = MemoryStorage::default();
    let mut log = opened(&storage);
    put(&mut log, &[("a", "1")]);
    put(&mut log, &[("a", "2")]);
    seal(&mut log);
    // In the length, the offset, the CRC and the records of the second batch.
    for at in [75, 83, 92, 140] {
        storage.flip(&path(0, ".log"), at).unwrap();
        let error = clean(&mut log, None, 500).unwrap_err();
        assert!(matches!(&error, Interruption::Failed(Error::Corrupt { .. })), "{at}: {error:?}");
        storage.flip(&path(0, ".log"), at).unwrap();
    }
    assert_eq!(log.size_bytes() as usize, storage.read(&path(0, ".log")).unwrap().len());
    assert!(!storage.exists(&path(0, ".log.cleaned")));
    put(&mut log, &[("b", "1")]);
}

#[test]
fn a_log_that_was_changed_meanwhile_is_left_alone() {
    let mut log = opened(&MemoryStorage::default());
    for i in 0..3 {
        put(&mut log, &[("a", &format!("{i}"))]);
        put(&mut log, &[("a", &format!("{i}"))]);
        seal(&mut log);
    }
    let job = log.cleanable(6, None).unwrap();
    let plan = job.plan(500).unwrap();
    let last_records = log.last_records();
    log.delete_records_before(2).unwrap();
    let outcome = cleaner(1 << 20).clean(&job, &plan, &last_records, 500, &mut Swapping(&mut log));
    assert!(outcome.is_err(), "its first segment is gone");
    assert_eq!(brief(&log), ["2:a=1", "3:a=1", "4:a=2", "5:a=2"]);
}
