//! Opening a log whose process was killed while the machine went on: quicker than after a power failure, and to the same end.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::*;
use log::memory::MemoryStorage;
use log::storage::Storage;
use log::{Log, OpenOptions, RecoveryReport, Stop};
use record::BatchFacts;

fn open_after(stop: Stop, storage: &MemoryStorage) -> (Log, RecoveryReport) {
    let options = OpenOptions {
        storage: Arc::new(storage.clone()),
        dir: PathBuf::from(DIR),
        topic_id: TOPIC_ID,
        sibling: None,
        config: config(2000),
        clean_shutdown: false,
        recovery_point: 0,
        log_start_offset: None,
        now_ms: 1,
    };
    Log::open_after(stop, options).unwrap()
}

/// Several segments and epochs, producers, and a transaction that was aborted.
fn filled() -> MemoryStorage {
    let storage = MemoryStorage::default();
    let (mut log, _) = open_after(Stop::Unknown, &storage);
    for number in 0..60 {
        let facts = BatchFacts { producer_id: 7, producer_epoch: 0, base_sequence: number, ..BatchFacts::default() };
        log.append_as_leader(&mut batch(i64::from(number), 1, facts), number / 20, 1).unwrap();
    }
    append_as(&mut log, transactional(9, 0, 0), 3);
    append_as(&mut log, marker(9, 0, false), 3);
    append_as(&mut log, transactional(9, 1, 0), 3);
    assert!(storage.list(Path::new(DIR)).unwrap().len() > 6, "it has segments");
    // As the system has it after a kill: what the process wrote, synced or not.
    storage.crash(|_, unsynced| unsynced)
}

fn append_as(log: &mut Log, mut batch: Vec<u8>, epoch: i32) {
    log.append_as_leader(&mut batch, epoch, 1).unwrap();
}

/// All that a log knows, and its files once it is closed.
fn told(log: &mut Log, storage: &MemoryStorage) -> BTreeMap<String, Vec<u8>> {
    let mut producers: Vec<_> = log.active_producers().iter().map(|producer| format!("{producer:?}")).collect();
    producers.sort();
    let times: Vec<_> = (0..60).map(|timestamp| log.offset_for_timestamp(timestamp).unwrap()).collect();
    let stable = log.last_stable_offset(log.log_end_offset());
    let known = (log.log_end_offset(), log.epochs(), log.recovery_point(), stable, producers, times);
    let mut told = BTreeMap::from([("known".to_owned(), format!("{known:?}").into_bytes())]);
    log.close_clean(1).unwrap();
    for name in storage.list(Path::new(DIR)).unwrap() {
        // Producers stand in a snapshot in any order.
        let is_snapshot = name.ends_with(".snapshot");
        let bytes = storage.read(&Path::new(DIR).join(&name)).unwrap();
        told.insert(name, if is_snapshot { bytes.len().to_string().into_bytes() } else { bytes });
    }
    told
}

fn assert_same(storage: &MemoryStorage, why: &str) -> RecoveryReport {
    let (full, quick) = (storage.crash(|_, unsynced| unsynced), storage.crash(|_, unsynced| unsynced));
    let (mut first, _) = open_after(Stop::Unknown, &full);
    let (mut second, report) = open_after(Stop::Killed, &quick);
    let (expected, found) = (told(&mut first, &full), told(&mut second, &quick));
    assert!(expected.keys().eq(found.keys()), "{why}");
    for (name, bytes) in expected {
        assert!(found[&name] == bytes, "{why}: {name} differs");
    }
    report
}

#[test]
fn a_killed_log_is_taken_up_by_its_headers_and_is_what_a_full_scan_finds() {
    let report = assert_same(&filled(), "whole");
    assert_eq!((report.scanned_bytes, report.truncated), (0, None));
}

#[test]
fn a_write_that_the_kill_cut_short_is_cut_off_wherever_it_ended() {
    let whole = filled();
    let files = whole.list(Path::new(DIR)).unwrap();
    let last = files.iter().filter(|name| name.ends_with(".log")).max().unwrap();
    let path = Path::new(DIR).join(last);
    let size = whole.read(&path).unwrap().len() as u64;
    for cut in 1..size.min(400) {
        let torn = whole.crash(|_, unsynced| unsynced);
        torn.open(&path, false).unwrap().truncate(size - cut).unwrap();
        assert_same(&torn, &format!("{cut} bytes are missing"));
    }
}

#[test]
fn a_last_batch_that_does_not_match_its_crc_is_cut_off() {
    let storage = filled();
    let files = storage.list(Path::new(DIR)).unwrap();
    let last = Path::new(DIR).join(files.iter().filter(|name| name.ends_with(".log")).max().unwrap());
    storage.flip(&last, storage.size(&last).unwrap() as usize - 10).unwrap();
    let report = assert_same(&storage, "rot at the end");
    assert_eq!(report.truncated.map(|truncated| truncated.at_offset), Some(62));
}

#[test]
fn headers_that_lead_nowhere_have_the_segment_read_in_full() {
    let storage = filled();
    // The length of the second batch of the first segment.
    let path = path(0, ".log");
    let first_bytes = batch(0, 1, BatchFacts { producer_id: 7, ..BatchFacts::default() }).len();
    storage.flip(&path, first_bytes + 9).unwrap();
    let report = assert_same(&storage, "a wrong length");
    assert_eq!(report.truncated.map(|truncated| truncated.at_offset), Some(1));
}
