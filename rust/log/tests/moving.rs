//! A log moves to another directory while it is written, and may be crashed before any change of the storage.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{TOPIC_ID, cleaner, config, marker, plain, read_from, transactional};
use log::cleaner::{Cleaned, Course, Interruption};
use log::memory::MemoryStorage;
use log::moving::{Destination, Moving, Piece, Progress, Settled, settle};
use log::{Log, LogConfig, OpenOptions, Storage};
use record::{BatchBuilder, BatchFacts, NewRecord};

const SOURCE: &str = "/a/t-0";
const FUTURE: &str = "/b/t-0.00112233445566778899aabbccddeeff-future";
const TARGET: &str = "/b/t-0";
const DOOMED: &str = "/a/t-0.ffeeddccbbaa99887766554433221100-delete";

fn small() -> LogConfig {
    config(700)
}

fn open(storage: &MemoryStorage, dir: &str, recovery_point: i64) -> Log {
    let options = OpenOptions {
        storage: Arc::new(storage.clone()),
        dir: PathBuf::from(dir),
        topic_id: TOPIC_ID,
        sibling: None,
        config: small(),
        clean_shutdown: false,
        recovery_point,
        log_start_offset: None,
        now_ms: 1,
    };
    Log::open(options).unwrap().0
}

fn destination() -> Destination {
    Destination { dir: TARGET.into(), doomed: DOOMED.into(), now_ms: 2 }
}

fn append(log: &mut Log, leader_epoch: i32, mut batch: Vec<u8>) -> log::Result<()> {
    log.append_as_leader(&mut batch, leader_epoch, 1).map(|_| ())
}

/// A segment's worth and more, in a leader epoch of its own.
fn fill(log: &mut Log, from: i64) -> log::Result<()> {
    (0..7).try_for_each(|at| append(log, from as i32 / 10, plain(from * 100 + at)))
}

fn copy_all(moving: &mut Moving, log: &Log, piece_bytes: usize) -> log::Result<()> {
    loop {
        match moving.next(log, piece_bytes)? {
            Piece::End => return Ok(()),
            Piece::Void => panic!("nothing was cut"),
            piece => moving.carry(&piece)?,
        };
    }
}

/// Batches; epochs; producers.
type Contents = (Vec<Vec<u8>>, Vec<(i32, i64)>, Vec<(i64, i16, i32)>);

fn contents(log: &Log) -> Contents {
    let mut producers: Vec<_> =
        log.active_producers().iter().map(|p| (p.producer_id, p.producer_epoch, p.last_sequence)).collect();
    producers.sort_unstable();
    (read_from(log, log.log_start_offset(), 300), log.epochs().to_vec(), producers)
}

#[test]
fn a_log_that_is_written_meanwhile_arrives_whole() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage, SOURCE, 0);
    append(&mut log, 0, transactional(7, 0, 0)).unwrap();
    for at in 0..40 {
        append(&mut log, at / 15, plain(i64::from(at))).unwrap();
    }
    append(&mut log, 3, marker(7, 0, false)).unwrap();
    append(&mut log, 3, transactional(8, 0, 0)).unwrap();
    let mut moving = Moving::begin(&log, FUTURE.into(), TOPIC_ID).unwrap();
    for at in 0..200 {
        let piece = moving.next(&log, 333).unwrap();
        moving.carry(&piece).unwrap();
        if at % 3 == 0 {
            append(&mut log, 4, plain(1000 + at)).unwrap();
        }
    }
    copy_all(&mut moving, &log, 333).unwrap();
    assert_eq!(moving.progress(&log), Progress { copied_bytes: log.size_bytes(), offset_lag: 0 });
    append(&mut log, 4, plain(5000)).unwrap();
    let (before, end, segment_count) = (contents(&log), log.log_end_offset(), log.segment_count());
    assert!(segment_count > 3);
    let mut moved = moving.arrive(&mut log, &destination()).unwrap();
    assert!(log.is_poisoned(), "nobody writes to where it was");
    assert_eq!((moved.dir(), moved.log_end_offset(), moved.segment_count()), (Path::new(TARGET), end, segment_count));
    assert_eq!(contents(&moved), before);
    assert_eq!(moved.recovery_point(), end, "all of it is on the disk");
    assert_eq!(moved.last_stable_offset(end), 42, "a transaction is open");
    assert_eq!(moved.aborted_transactions(0, end).unwrap(), [(7, 0)]);
    append(&mut moved, 5, plain(9000)).unwrap();
    let after = contents(&moved);
    drop(moved);
    let power_lost = storage.power_loss(3);
    let left = |path: &str| !power_lost.list(Path::new(path)).unwrap().is_empty();
    assert_eq!((left(SOURCE), left(FUTURE), left(TARGET), left(DOOMED)), (false, false, true, true));
    let found = read_from(&open(&power_lost, TARGET, end), 0, 300);
    assert_eq!(found[..before.0.len()], before.0);
    assert_eq!(contents(&open(&storage, TARGET, end)), after);
}

#[test]
fn a_log_that_is_cut_meanwhile_is_copied_anew() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage, SOURCE, 0);
    fill(&mut log, 0).unwrap();
    fill(&mut log, 10).unwrap();
    let mut moving = Moving::begin(&log, FUTURE.into(), TOPIC_ID).unwrap();
    copy_all(&mut moving, &log, 100).unwrap();
    log.truncate_to(5).unwrap();
    assert!(matches!(moving.next(&log, 100), Ok(Piece::Void)));
    moving.abandon().unwrap();
    assert!(storage.list(Path::new(FUTURE)).unwrap().is_empty());
    fill(&mut log, 20).unwrap();
    let before = contents(&log);
    let mut anew = Moving::begin(&log, FUTURE.into(), TOPIC_ID).unwrap();
    copy_all(&mut anew, &log, 100).unwrap();
    assert_eq!(contents(&anew.arrive(&mut log, &destination()).unwrap()), before);
}

#[test]
fn while_it_moves_no_segment_is_deleted_and_afterwards_it_is() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage, SOURCE, 0);
    (0..5).for_each(|at| fill(&mut log, at * 10).unwrap());
    log.hold_segments(true);
    let mut moving = Moving::begin(&log, FUTURE.into(), TOPIC_ID).unwrap();
    let (count, end) = (log.segment_count(), log.log_end_offset());
    log.delete_records_before(end - 3).unwrap();
    assert_eq!((log.segment_count(), log.log_start_offset()), (count, end - 3));
    copy_all(&mut moving, &log, 1000).unwrap();
    let moved = moving.arrive(&mut log, &destination()).unwrap();
    assert_eq!((moved.log_start_offset(), moved.segment_count()), (end - 3, count));
    assert!(moved.plan_retention(end, 1).count > 0);
}

#[test]
fn an_empty_log_moves_with_its_start() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage, SOURCE, 0);
    log.truncate_fully_and_start_at(77).unwrap();
    let mut moving = Moving::begin(&log, FUTURE.into(), TOPIC_ID).unwrap();
    let mut moved = moving.arrive(&mut log, &destination()).unwrap();
    assert_eq!((moved.log_start_offset(), moved.log_end_offset()), (77, 77));
    append(&mut moved, 0, plain(1)).unwrap();
    assert_eq!(open(&storage, TARGET, 77).log_end_offset(), 78);
}

#[test]
fn a_log_that_nobody_has_written_to_moves_and_is_written_on_the_way_or_there() {
    for written_on_the_way in [false, true] {
        let storage = MemoryStorage::default();
        let mut log = open(&storage, SOURCE, 0);
        let mut moving = Moving::begin(&log, FUTURE.into(), TOPIC_ID).unwrap();
        assert!(matches!(moving.next(&log, 100).unwrap(), Piece::End));
        if written_on_the_way {
            append(&mut log, 0, plain(1)).unwrap();
        }
        let mut moved = moving.arrive(&mut log, &destination()).unwrap();
        assert_eq!(moved.log_end_offset(), i64::from(written_on_the_way));
        append(&mut moved, 0, plain(2)).unwrap();
        moved.flush().unwrap();
        let end = 1 + i64::from(written_on_the_way);
        assert_eq!(open(&storage.power_loss(5), TARGET, 0).log_end_offset(), end);
    }
}

#[test]
fn a_copy_that_is_not_what_the_log_is_does_not_take_its_place() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage, SOURCE, 0);
    (0..3).for_each(|at| fill(&mut log, at * 10).unwrap());
    let mut moving = Moving::begin(&log, FUTURE.into(), TOPIC_ID).unwrap();
    copy_all(&mut moving, &log, 1000).unwrap();
    storage.remove(&Path::new(FUTURE).join(format!("{:020}.log", 0))).unwrap();
    assert!(moving.arrive(&mut log, &destination()).is_err());
    assert!(!log.is_poisoned(), "it goes on where it was");
    fill(&mut log, 40).unwrap();
}

/// What a broker does when it starts: which directory has the log, and what becomes of a copy.
fn start(storage: &MemoryStorage) -> &'static str {
    let stands = |dir: &str| storage.exists(Path::new(dir));
    assert!(!(stands(SOURCE) && stands(TARGET)), "it is never in two places");
    if stands(FUTURE) {
        settle(storage, Path::new(FUTURE), Path::new(TARGET), stands(SOURCE) || stands(TARGET)).unwrap();
    }
    if stands(TARGET) { TARGET } else { SOURCE }
}

/// A move with appends and flushes in between; gives what was appended, and up to where a flush has said that it is safe.
fn history(storage: &MemoryStorage) -> (Vec<Vec<u8>>, i64) {
    let mut log = open(storage, SOURCE, 0);
    let (mut safe, mut given) = (0, Vec::new());
    let mut run = || -> log::Result<()> {
        let add = |log: &mut Log, given: &mut Vec<Vec<u8>>, at: i64| -> log::Result<()> {
            let mut batch = plain(at);
            record::batch::set_base_offset(&mut batch, log.log_end_offset());
            record::batch::set_leader_epoch(&mut batch, at as i32 / 20);
            given.push(batch.clone());
            log.append_raw(&batch, 1).map(|_| ())
        };
        (0..12).try_for_each(|at| add(&mut log, &mut given, at))?;
        log.flush()?;
        safe = log.log_end_offset();
        let mut moving = Moving::begin(&log, FUTURE.into(), TOPIC_ID)?;
        for at in 12..24 {
            let piece = moving.next(&log, 200)?;
            moving.carry(&piece)?;
            add(&mut log, &mut given, at)?;
        }
        copy_all(&mut moving, &log, 500)?;
        let end = log.log_end_offset();
        let mut moved = moving.arrive(&mut log, &destination())?;
        safe = end;
        (24..30).try_for_each(|at| add(&mut moved, &mut given, at))?;
        moved.flush()?;
        safe = moved.log_end_offset();
        Ok(())
    };
    let _ = run();
    (given, safe)
}

#[test]
fn a_crash_before_any_change_loses_nothing_that_was_safe_and_leaves_the_log_in_one_place() {
    let mut places = std::collections::BTreeMap::<&str, u32>::new();
    for changes in 0.. {
        let storage = MemoryStorage::default();
        storage.fail_after(changes);
        let (given, safe) = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| history(&storage))) {
            Ok(told) => told,
            // The log itself could not be made.
            Err(_) => continue,
        };
        let kill = || [storage.crash(|_, unsynced| unsynced)];
        for crashed in kill().into_iter().chain((0..40).map(|seed| storage.power_loss(seed))) {
            let place = start(&crashed);
            *places.entry(place).or_default() += 1;
            assert_eq!(start(&crashed), place, "a second start finds the same");
            let log = open(&crashed, place, 0);
            let found = read_from(&log, 0, 1000);
            assert!(found.len() as i64 >= safe, "{changes}: {} of {safe} are left in {place}", found.len());
            assert_eq!(found[..], given[..found.len()], "{changes}: {place}");
        }
        if given.len() == 30 && safe == 30 {
            break;
        }
    }
    assert!(places[SOURCE] > 1000 && places[TARGET] > 300, "{places:?}");
}

#[test]
fn a_copy_whose_log_lies_in_a_directory_that_is_away_is_left_alone() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage, SOURCE, 0);
    fill(&mut log, 0).unwrap();
    let mut moving = Moving::begin(&log, FUTURE.into(), TOPIC_ID).unwrap();
    copy_all(&mut moving, &log, 1000).unwrap();
    assert_eq!(settle(&storage, Path::new(FUTURE), Path::new(TARGET), false).unwrap(), Settled::Elsewhere);
    assert!(storage.exists(Path::new(FUTURE)));
}

/// While one segment is compacted, the whole log moves.
struct Overtaken<'a>(&'a mut Log);

impl Course for Overtaken<'_> {
    fn spent(&mut self, _bytes: usize) -> bool {
        true
    }

    fn swap(&mut self, cleaned: Cleaned) -> log::Result<bool> {
        let mut moving = Moving::begin(self.0, FUTURE.into(), TOPIC_ID)?;
        copy_all(&mut moving, self.0, 1000)?;
        *self.0 = moving.arrive(self.0, &destination())?;
        Ok(self.0.swap_in(&cleaned)?.is_some())
    }
}

#[test]
fn what_was_compacted_where_the_log_is_no_more_does_not_take_the_place_of_anything() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage, SOURCE, 0);
    log.set_config(LogConfig { compacted: true, ..small() });
    let keyed = |key: u8| {
        let mut builder = BatchBuilder::new(BatchFacts::default());
        builder.push(NewRecord { timestamp: 1, key: Some(&[key]), value: Some(&[0; 60]), ..NewRecord::default() });
        builder.build().unwrap()
    };
    (0..30).for_each(|at| append(&mut log, 0, keyed(at % 3)).unwrap());
    let last_records = log.last_records();
    log.flush().unwrap();
    log.hold_segments(true);
    assert!(log.cleanable(30, None).is_none(), "a log that moves is not compacted");
    log.hold_segments(false);
    let job = log.cleanable(30, None).unwrap();
    let plan = job.plan(1000).unwrap();
    let before = contents(&log);
    let outcome = cleaner(1 << 20).clean(&job, &plan, &last_records, 1000, &mut Overtaken(&mut log));
    assert!(matches!(outcome, Err(Interruption::Overtaken)));
    assert!(!log.is_poisoned());
    assert_eq!((log.dir(), contents(&log)), (Path::new(TARGET), before));
    append(&mut log, 0, keyed(9)).unwrap();
}
