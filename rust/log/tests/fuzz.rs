//! Hostile bytes for every file of a log directory that is read again at a start.

mod common;
#[path = "../../record/tests/fuzzing/mod.rs"]
mod fuzzing;

use std::path::Path;

use common::*;
use fuzzing::{Budget, Counting, run};
use log::checkpoints;
use log::leader_epochs::LeaderEpochs;
use log::memory::MemoryStorage;
use log::producer_state::ProducerState;
use log::storage::Storage;
use log::txn_index;
use record::{BatchFacts, BatchView, Codec};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fuzz_targets!(producer_snapshot, text_files, aborted_transactions, index_files, recovered_segment);

/// A log over memory keeps its files there, and reading them copies them.
const WHOLE_LOG: Budget = Budget { per_byte: 16, bytes: 256 << 10 };

/// A batch of each kind that recovery looks at.
fn filled_log(storage: &MemoryStorage, count: i64) -> log::Log {
    let mut log = open(storage);
    for i in 0..count {
        match i % 5 {
            0 => append(&mut log, transactional(9, 0, (i / 5) as i32)),
            1 => append(&mut log, batch(100 + i, 3, BatchFacts { codec: Codec::Lz4, ..BatchFacts::default() })),
            2 => append(&mut log, marker(9, 0, i % 2 == 0)),
            _ => append(&mut log, plain(100 + i)),
        }
    }
    log
}

fn producer_snapshot(inputs: u64) {
    let mut state = ProducerState::default();
    let mut corpus = vec![state.encode_snapshot()];
    for id in 0..4 {
        for bytes in [transactional(id, 1, 0), marker(id, 1, id % 2 == 0)] {
            state.apply(&BatchView::parse(&bytes).unwrap());
            corpus.push(state.encode_snapshot());
        }
    }
    let budget = Budget { per_byte: 24, bytes: 4096 };
    run("producer_snapshot", inputs, &corpus, budget, |input, chance| {
        if input.len() >= 10 && !chance.one_in(4) {
            let count = (input.len() - 10) / 46;
            input.truncate(10 + count * 46);
            input[6..10].copy_from_slice(&(count as i32).to_be_bytes());
            let crc = record::crc32c::crc32c(&input[6..]);
            input[2..6].copy_from_slice(&crc.to_be_bytes());
        }
        let Some(mut state) = ProducerState::decode_snapshot(input) else { return };
        let again = ProducerState::decode_snapshot(&state.encode_snapshot()).expect("what was read can be written");
        assert_eq!(again.active(), state.active());
        let _ = state.last_stable_offset(chance.next() as i64);
        let bytes = transactional(chance.below(4) as i64, chance.below(3) as i16, 1);
        let view = BatchView::parse(&bytes).unwrap();
        let _ = state.check(&view);
        state.apply(&view);
        state.expire(chance.next() as i64, chance.next() as i64);
    });
}

fn text_files(inputs: u64) {
    let corpus: Vec<Vec<u8>> = [
        &b"0\n2\ntopic 0 17\nother-topic 3 9223372036854775807\n"[..],
        b"0\n3\n0 0\n2 10\n7 4000000000\n",
        b"0\n0\n",
        b"version: 0\ntopic_id: BwcHBwcHBwcHBwcHBwcHBw",
        b"{\"version\":0,\"brokerEpoch\":42}",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    let budget = Budget { per_byte: 128, bytes: 8192 };
    let (storage, dir) = (MemoryStorage::default(), Path::new("/d"));
    let path = |name: &str| dir.join(name);
    run("text_files", inputs, &corpus, budget, |input, chance| {
        let name =
            [checkpoints::HIGH_WATERMARKS, "epochs", checkpoints::PARTITION_METADATA, checkpoints::CLEAN_SHUTDOWN];
        let name = chance.pick(&name);
        storage.write_atomically(&path(name), input, false).unwrap();
        match name {
            checkpoints::HIGH_WATERMARKS => {
                let _ = checkpoints::read_offsets(&storage, &path(name));
            }
            checkpoints::PARTITION_METADATA => {
                if let Ok(Some(id)) = checkpoints::read_partition_metadata(&storage, dir) {
                    // The last of the 22 characters has four bits to spare, so the text need not be the same.
                    assert_eq!(checkpoints::uuid_from_text(&checkpoints::uuid_text(&id)), Some(id));
                }
            }
            checkpoints::CLEAN_SHUTDOWN => assert!(checkpoints::take_clean_shutdown(&storage, dir).unwrap().0),
            _ => {
                let Ok(mut epochs) = LeaderEpochs::load(&storage, path(name)) else { return };
                let entries = epochs.entries().to_vec();
                assert!(entries.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1));
                let offset = chance.next() as i64;
                let _ = (epochs.epoch_of(offset), epochs.end_offset_for(chance.next() as i32, offset));
                epochs.observe(chance.below(9) as i32, offset);
                epochs.truncate_start(offset);
                epochs.truncate_end(offset);
            }
        }
    });
}

fn aborted_transactions(inputs: u64) {
    let storage = MemoryStorage::default();
    let _log = filled_log(&storage, 60);
    let whole = storage.read(&path(0, ".txnindex")).unwrap();
    let corpus = [whole[..34].to_vec(), whole, Vec::new()];
    let budget = Budget { per_byte: 4, bytes: 1024 };
    run("aborted_transactions", inputs, &corpus, budget, |input, _| {
        let parsed = txn_index::parse(input);
        assert!(parsed.is_none_or(|entries| entries.len() * txn_index::ENTRY_BYTES == input.len()));
    });
}

/// An index may say anything: offsets are found all the same.
fn index_files(inputs: u64) {
    let storage = MemoryStorage::default();
    let mut log = filled_log(&storage, 30);
    log.roll(1).unwrap();
    fill(&mut log, 10, 500);
    let end = log.log_end_offset();
    let expected = read_from(&log, 0, 1 << 20);
    log.close_clean(1).unwrap();
    let base = BatchView::parse(&expected[30]).unwrap().base_offset();
    drop(log);
    let files = [(0, ".index"), (0, ".timeindex"), (base, ".index"), (base, ".timeindex")];
    let corpus: Vec<_> = files.iter().map(|(base, suffix)| storage.read(&path(*base, suffix)).unwrap()).collect();
    run("index_files", inputs, &corpus, WHOLE_LOG, |input, chance| {
        let which = chance.below(files.len());
        let (base_offset, suffix) = files[which];
        storage.write_atomically(&path(base_offset, suffix), input, false).unwrap();
        let log = open_clean(&storage);
        assert_eq!(log.log_end_offset(), end);
        let from = chance.below(end as usize) as i64;
        let slice = log.read(from, 1 + chance.below(3000), true, end).unwrap().expect("there is more");
        let mut bytes = vec![0; slice.region.bytes];
        assert_eq!(slice.region.file.read_at(&mut bytes, slice.region.position).unwrap(), slice.region.bytes);
        let read: Vec<_> = record::Batches::new(&bytes).map(|batch| batch.unwrap().bytes().to_vec()).collect();
        let first = expected.iter().position(|bytes| BatchView::parse(bytes).unwrap().last_offset() >= from).unwrap();
        assert_eq!(read, expected[first..first + read.len()]);
        log.offset_for_timestamp(chance.below(600) as i64).unwrap();
        drop(log);
        storage.write_atomically(&path(base_offset, suffix), &corpus[which], false).unwrap();
    });
}

/// A segment may hold anything: what recovery keeps is sound, and appends go on behind it.
fn recovered_segment(inputs: u64) {
    let storage = MemoryStorage::default();
    drop(filled_log(&storage, 12));
    let segment = storage.read(&path(0, ".log")).unwrap();
    let corpus = [segment[..300].to_vec(), segment];
    run("recovered_segment", inputs, &corpus, WHOLE_LOG, |input, chance| {
        if chance.one_in(2) {
            mend(input);
        }
        let storage = MemoryStorage::default();
        storage.write_atomically(&path(0, ".log"), input, false).unwrap();
        let Ok((mut log, _)) = try_open(&storage, Opening::default()) else { return };
        let kept = read_from(&log, log.log_start_offset(), 1 << 20);
        let mut next = 0;
        for bytes in &kept {
            let batch = BatchView::parse(bytes).unwrap();
            assert!(batch.crc_is_valid() && batch.base_offset() >= next);
            next = batch.next_offset();
        }
        assert_eq!(log.log_end_offset(), next);
        let _ = log.aborted_transactions(0, next).unwrap();
        let _ = log.offset_for_timestamp(chance.next() as i64).unwrap();
        let mut bytes = plain(1);
        if log.append_as_leader(&mut bytes, i32::MAX, 1).is_ok() {
            assert_eq!(log.log_end_offset(), next + 1);
        }
    });
}

/// Makes the CRC of each batch right again, so that recovery looks at what is in it.
fn mend(input: &mut [u8]) {
    let mut at = 0;
    while let Ok(batch) = BatchView::parse(&input[at..]) {
        let end = at + batch.bytes().len();
        input[at + 16] = 2;
        record::batch::set_crc(&mut input[at..end]);
        at = end;
    }
}
