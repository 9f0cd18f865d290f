//! Opening a log after it was killed, after the power went, and after files of it were lost.

mod common;

use std::path::Path;

use common::*;
use log::memory::MemoryStorage;
use log::storage::Storage;
use record::BatchFacts;

fn without_unsynced(storage: &MemoryStorage) -> MemoryStorage {
    storage.crash(|_, _| 0)
}

#[test]
fn what_was_flushed_is_found_after_a_power_loss() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage);
    log.assign_leader_epoch(0).unwrap();
    fill(&mut log, 3, 10);
    log.flush().unwrap();
    fill(&mut log, 2, 20);
    for seed in 0..50 {
        let log = open(&storage.power_loss(seed));
        assert!((3..=5).contains(&log.log_end_offset()), "seed {seed}: ends at {}", log.log_end_offset());
        assert_eq!(log.epochs(), [(0, 0)], "seed {seed}");
    }
}

#[test]
fn making_a_log_syncs_nothing_and_its_empty_files_do_not_stop_the_next_start() {
    let storage = MemoryStorage::default();
    fill(&mut open(&storage), 1, 10);
    let after = storage.crash(|path, unsynced| if path.ends_with("partition.metadata") { 0 } else { unsynced });
    assert_eq!(after.read(&Path::new(DIR).join("partition.metadata")).unwrap(), b"");
    let (log, report) = try_open(&after, Opening::default()).unwrap();
    assert_eq!((log.log_end_offset(), report.remade), (1, vec!["partition.metadata"]));
    let text = after.read(&Path::new(DIR).join("partition.metadata")).unwrap();
    assert!(text.starts_with(b"version: 0\ntopic_id: "));
}

#[test]
fn the_directory_of_another_topic_is_refused_by_both_ids() {
    let storage = MemoryStorage::default();
    drop(open(&storage));
    let other = b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ";
    storage.write_atomically(&Path::new(DIR).join("partition.metadata"), other, true).unwrap();
    let error = try_open(&storage, Opening::default()).err().unwrap().to_string();
    assert!(error.contains("AAAAAAAAAAAAAAAAAAAAAQ") && error.contains("BwcHBwcHBwcHBwcHBwcHBw"), "{error}");
}

#[test]
fn a_lost_epoch_file_is_made_anew_from_the_batches() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage);
    for epoch in [0, 0, 3, 3, 5] {
        log.append_as_leader(&mut plain(1), epoch, 1).unwrap();
    }
    log.roll(1).unwrap();
    log.append_as_leader(&mut plain(1), 6, 1).unwrap();
    log.close_clean(1).unwrap();
    for damaged in [&b""[..], b"0\n1\n", b"0\n2\n5 3\n3 9\n", b"\xff"] {
        for clean in [true, false] {
            storage.write_atomically(&Path::new(DIR).join("leader-epoch-checkpoint"), damaged, true).unwrap();
            let opening = Opening { clean, recovery_point: 6, ..Opening::default() };
            let (log, report) = try_open(&storage, opening).unwrap();
            assert_eq!(log.epochs(), [(0, 0), (3, 2), (5, 4), (6, 5)]);
            assert!(report.remade.contains(&"leader-epoch-checkpoint"));
        }
    }
}

#[test]
fn a_log_cut_in_an_older_segment_still_takes_appends() {
    let storage = MemoryStorage::default();
    let small = Opening { config: config(1000), ..Opening::default() };
    let (mut log, _) = try_open(&storage, small).unwrap();
    fill(&mut log, 30, 10);
    assert!(log.segment_count() > 2);
    storage.flip(&path(0, ".log"), 300).unwrap();
    let (mut log, report) = try_open(&storage, Opening::default()).unwrap();
    let cut = report.truncated.expect("the flipped byte is found");
    assert_eq!((cut.at_offset, log.log_end_offset(), log.segment_count()), (2, 2, 1));
    fill(&mut log, 30, 10);
    assert_eq!(log.log_end_offset(), 32);
    assert_eq!(read_from(&log, 0, 500).len(), 32);
}

#[test]
fn a_segment_that_overlaps_the_one_before_it_is_dropped_with_all_behind_it() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage);
    fill(&mut log, 10, 10);
    let copied = storage.read(&path(0, ".log")).unwrap();
    storage.write_atomically(&path(5, ".log"), &copied, true).unwrap();
    let (log, report) = try_open(&storage, Opening::default()).unwrap();
    assert_eq!((log.log_end_offset(), log.segment_count()), (10, 1));
    assert_eq!(report.truncated.unwrap().lost_bytes as usize, copied.len());
}

#[test]
fn a_new_start_survives_a_power_loss_before_anything_is_appended() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage);
    fill(&mut log, 3, 10);
    log.truncate_fully_and_start_at(500).unwrap();
    for seed in 0..20 {
        let log = open(&storage.power_loss(seed));
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (500, 500), "seed {seed}");
    }
}

#[test]
fn a_rolled_segment_without_records_keeps_its_offset_over_a_restart() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage);
    fill(&mut log, 3, 10);
    log.roll(1).unwrap();
    log.delete_records_before(3).unwrap();
    assert_eq!(log.segment_count(), 1);
    log.close_clean(1).unwrap();
    let log = open_clean(&storage);
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (3, 3));
}

#[test]
fn rolling_an_empty_segment_does_nothing() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage);
    log.roll(1).unwrap();
    assert_eq!(log.segment_count(), 1);
    fill(&mut log, 3, 10);
    log.roll(1).unwrap();
    log.roll(1).unwrap();
    assert_eq!(log.segment_count(), 2);
    log.close_clean(1).unwrap();
    assert_eq!(open_clean(&storage).log_end_offset(), 3);
}

#[test]
fn messages_of_the_formats_before_v2_are_refused_and_left_as_they_are() {
    // Format v0: offset, size, CRC-32 of what follows it, magic, attributes, key (null), value.
    let mut message = vec![0; 17];
    message.extend_from_slice(&[0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 3, b'a', b'b', b'c']);
    let size = (message.len() - 12) as i32;
    message[8..12].copy_from_slice(&size.to_be_bytes());
    let crc = record::crc32c::crc32(&message[16..]);
    message[12..16].copy_from_slice(&crc.to_be_bytes());
    for clean in [true, false] {
        let storage = MemoryStorage::default();
        let content = message.repeat(10);
        storage.write_atomically(&path(0, ".log"), &content, true).unwrap();
        let error = try_open(&storage, Opening { clean, ..Opening::default() }).err().unwrap().to_string();
        assert!(error.contains("format v0") && error.contains("Apache Kafka"), "{error}");
        assert_eq!(storage.read(&path(0, ".log")).unwrap(), content);
    }
}

#[test]
fn an_end_that_does_not_fit_is_scanned_even_after_a_clean_stop() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage);
    fill(&mut log, 20, 10);
    log.close_clean(1).unwrap();
    let whole = storage.read(&path(0, ".log")).unwrap();
    storage.write_atomically(&path(0, ".log"), &[&whole[..], &[1; 80]].concat(), true).unwrap();
    let (log, report) = try_open(&storage, Opening { clean: true, ..Opening::default() }).unwrap();
    assert_eq!((log.log_end_offset(), report.truncated.unwrap().lost_bytes), (20, 80));
}

#[test]
fn an_index_that_points_nowhere_misleads_neither_the_start_nor_a_reader() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage);
    fill(&mut log, 40, 10);
    log.close_clean(1).unwrap();
    let sound = storage.read(&path(0, ".index")).unwrap();
    for garbage in [0x00, 0x01, 0x7f, 0xff] {
        storage.write_atomically(&path(0, ".index"), &vec![garbage; sound.len()], true).unwrap();
        let log = open_clean(&storage);
        assert_eq!(log.log_end_offset(), 40, "filled with {garbage:#x}");
        assert_eq!(read_from(&log, 7, 700).len(), 33, "filled with {garbage:#x}");
    }
}

#[test]
fn a_lost_index_of_a_sealed_segment_is_made_anew() {
    for suffix in [".index", ".timeindex"] {
        for clean in [true, false] {
            let storage = MemoryStorage::default();
            let mut log = open(&storage);
            fill(&mut log, 20, 100);
            log.roll(1).unwrap();
            fill(&mut log, 1, 500);
            log.close_clean(1).unwrap();
            let sound = storage.read(&path(0, suffix)).unwrap();
            storage.remove(&path(0, suffix)).unwrap();
            let (log, report) =
                try_open(&storage, Opening { clean, recovery_point: 20, ..Opening::default() }).unwrap();
            assert_eq!(report.remade, ["index"]);
            assert_eq!(storage.read(&path(0, suffix)).unwrap(), sound);
            assert_eq!(log.offset_for_timestamp(105).unwrap().map(|found| found.offset), Some(5));
        }
    }
}

#[test]
fn an_index_that_lost_its_end_with_the_power_is_made_anew() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage);
    fill(&mut log, 20, 100);
    log.roll(1).unwrap();
    fill(&mut log, 1, 500);
    log.flush().unwrap();
    let sound = storage.read(&path(0, ".timeindex")).unwrap();
    let zeroed = [&sound[..24], &vec![0; sound.len() - 24]].concat();
    for damaged in [&b""[..], &sound[..5], &zeroed] {
        storage.write_atomically(&path(0, ".timeindex"), damaged, true).unwrap();
        let (log, report) = try_open(&storage, Opening { recovery_point: 20, ..Opening::default() }).unwrap();
        assert_eq!(report.remade, ["index"]);
        assert_eq!(log.offset_for_timestamp(115).unwrap().map(|found| found.offset), Some(15));
    }
}

#[test]
fn times_are_found_in_a_sealed_segment_after_a_power_loss() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage);
    fill(&mut log, 10, 100);
    log.roll(1).unwrap();
    fill(&mut log, 1, 500);
    log.flush().unwrap();
    let after = without_unsynced(&storage);
    let (log, report) = try_open(&after, Opening { recovery_point: 11, ..Opening::default() }).unwrap();
    assert_eq!(log.offset_for_timestamp(105).unwrap().map(|found| found.offset), Some(5));
    assert!(report.remade.is_empty(), "a roll syncs the indexes: {report:?}");
}

#[test]
fn segment_ms_counts_from_the_first_record_over_a_restart() {
    let storage = MemoryStorage::default();
    let hour = |clean| Opening {
        clean,
        config: log::LogConfig { segment_ms: 3_600_000, ..config(1 << 20) },
        ..Opening::default()
    };
    let (mut log, _) = try_open(&storage, hour(false)).unwrap();
    append(&mut log, plain(1_000_000));
    log.close_clean(1).unwrap();
    let (mut log, _) = try_open(&storage, hour(true)).unwrap();
    append(&mut log, plain(1_000_000 + 3_600_000));
    assert_eq!(log.segment_count(), 1);
    append(&mut log, plain(1_000_000 + 3_600_001));
    assert_eq!(log.segment_count(), 2);
}

#[test]
fn a_write_that_failed_is_the_last_one_tried() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage);
    fill(&mut log, 2, 10);
    storage.fail_writes(&path(0, ".log")).unwrap();
    assert!(log.flush().is_err());
    assert!(matches!(log.append_as_leader(&mut plain(1), 0, 1), Err(log::Error::Poisoned { .. })));
    assert_eq!(read_from(&log, 0, 1000).len(), 2, "reads go on");
}

#[test]
fn a_batch_whose_offsets_run_backwards_is_not_appended() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage);
    let mut bytes = batch(1, 1, BatchFacts::default());
    bytes[23..27].copy_from_slice(&(-5i32).to_be_bytes());
    assert!(matches!(log.append_raw(&bytes, 1), Err(log::Error::Discontinuous { .. })));
    fill(&mut log, 1, 1);
    assert_eq!(log.log_end_offset(), 1);
}

#[test]
fn only_snapshots_at_the_start_of_a_segment_and_the_newest_one_stay() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage);
    for _ in 0..3 {
        fill(&mut log, 2, 10);
        log.close_clean(1).unwrap();
        log = open_clean(&storage);
    }
    log.roll(1).unwrap();
    fill(&mut log, 1, 10);
    log.close_clean(1).unwrap();
    let mut snapshots: Vec<String> = storage.list(Path::new(DIR)).unwrap();
    snapshots.retain(|name| name.ends_with(".snapshot"));
    snapshots.sort();
    assert_eq!(snapshots, ["00000000000000000006.snapshot", "00000000000000000007.snapshot"]);
}

/// Ten batches in one segment of which nothing was synced, changed while the log was closed.
fn reopened(change: impl FnOnce(&MemoryStorage, usize)) -> log::RecoveryReport {
    let storage = MemoryStorage::default();
    let mut log = open(&storage);
    fill(&mut log, 10, 1000);
    let batch_bytes = log.size_bytes() as usize / 10;
    drop(log);
    change(&storage, batch_bytes);
    try_open(&storage, Opening::default()).unwrap().1
}

#[test]
fn rot_in_the_middle_is_told_from_a_torn_tail() {
    let flip = |at: usize| {
        let report =
            reopened(|storage, batch_bytes| storage.flip(&path(0, ".log"), (at + 1) * batch_bytes - 1).unwrap());
        let truncated = report.truncated.unwrap();
        (truncated.at_offset, truncated.is_rot)
    };
    assert_eq!(flip(4), (4, true), "sound batches stand behind it");
    assert_eq!(flip(9), (9, false));
}

#[test]
fn a_recovery_is_reported_as_a_line_of_json() {
    let report = reopened(|storage, batch_bytes| storage.flip(&path(0, ".log"), 10 * batch_bytes - 1).unwrap());
    let bytes = report.scanned_bytes;
    let replayed = log::journal::Replayed { batch_count: 3, lost_from: Some(12) };
    let why = format!("batch at position {bytes} does not match its CRC or the offsets before it");
    let truncated = format!(r#"{{"at_offset":9,"lost_bytes":{},"is_rot":false,"why":"{why}"}}"#, bytes / 9);
    let offsets = r#""recovery_point":0,"log_start_offset":0,"log_end_offset":9"#;
    let amounts = format!(r#""kept_bytes":{bytes},"scanned_bytes":{bytes},"skimmed_bytes":0"#);
    let expected = format!(
        r#"{{"time_ms":5,"directory":"{DIR}","stop":"unknown",{offsets},{amounts},"truncated":{truncated},{}}}"#,
        r#""rebuilt":[],"journal":{"batches":3,"lost_from":12}"#
    );
    assert_eq!(report.json(Some(&replayed), 5), Some(expected));
    assert_eq!(reopened(|_, _| ()).truncated, None);
}
