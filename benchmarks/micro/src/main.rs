//! What one step of the hot path costs alone: parse, validate, append, look up, encode, check a CRC.
//!
//! Each step is repeated for a while in rounds, and the quickest round is told, for everything that disturbs a step makes it
//! slower. Run: `cargo run --release -p pykafkacore-micro [milliseconds a round]`. Prints a line of JSON for each step.

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use log::{FileStorage, Log, LogConfig, OpenOptions};
use record::{AppendRules, BatchBuilder, BatchFacts, BatchView, NewRecord, validate_produce};
use wire::error_code::ErrorCode;
use wire::fetch::{FetchResponse, FetchResult};
use wire::header::{self, Api, ApiTable, RequestHeader};
use wire::primitives::Writer;
use wire::produce::{ProduceRequest, ProduceResult, TopicName, encode_response};

const ROUNDS: usize = 7;
/// The log of a step is begun anew when it holds so much, so that it is the page cache that is written to.
const LOG_BYTES_MAX: u64 = 256 << 20;

struct Bench {
    round_ms: u128,
}

impl Bench {
    /// `bytes`: what one step handles, for steps whose cost grows with it; else 0.
    fn step(&self, name: &str, bytes: usize, mut step: impl FnMut()) {
        let mut best_ns = f64::INFINITY;
        for _ in 0..ROUNDS {
            let (start, mut count) = (Instant::now(), 0u32);
            while start.elapsed().as_millis() < self.round_ms {
                for _ in 0..16 {
                    step();
                }
                count += 16;
            }
            best_ns = best_ns.min(start.elapsed().as_nanos() as f64 / f64::from(count));
        }
        let rate = if bytes == 0 { String::new() } else { format!(",\"gb_s\":{:.3}", bytes as f64 / best_ns) };
        println!("{{\"step\":\"{name}\",\"ns\":{best_ns:.1}{rate}}}");
    }
}

fn batch(batch_bytes: usize, record_bytes: usize, now_ms: i64) -> Vec<u8> {
    let value = vec![b'v'; record_bytes];
    let mut builder = BatchBuilder::new(BatchFacts::default());
    while builder.count() == 0 || builder.size_bytes() + record_bytes + 16 <= batch_bytes {
        builder.push(NewRecord { timestamp: now_ms, key: None, value: Some(&value), headers: &[] });
    }
    builder.build().expect("an uncompressed batch is always built")
}

/// A Produce 9 request, without its size.
fn produce_frame(batch: &[u8]) -> Vec<u8> {
    let mut w = Writer::default();
    w.int16(header::PRODUCE);
    w.int16(9);
    w.int32(1);
    w.nullable_string(Some(b"micro"), false);
    w.no_tags(true);
    w.nullable_string(None, true);
    w.int16(1);
    w.int32(1000);
    w.array_count(1, true);
    w.string(b"bench", true);
    w.array_count(1, true);
    w.int32(0);
    w.bytes_length(batch.len(), true);
    w.bytes.extend_from_slice(batch);
    w.no_tags(true);
    w.no_tags(true);
    w.no_tags(true);
    w.bytes
}

fn rules() -> AppendRules {
    AppendRules { timestamp_after_max_ms: i64::MAX, message_bytes_max: 1 << 21, ..AppendRules::default() }
}

fn open_log(dir: PathBuf, now_ms: i64) -> Log {
    let config = LogConfig { segment_ms: i64::MAX, ..LogConfig::default() };
    let options = OpenOptions {
        storage: Arc::new(FileStorage),
        dir,
        topic_id: [7; 16],
        sibling: None,
        config,
        clean_shutdown: true,
        recovery_point: 0,
        log_start_offset: None,
        now_ms,
    };
    Log::open(options).expect("an empty directory opens as a log").0
}

fn requests(bench: &Bench) {
    let apis = ApiTable::new([Api { api_key: header::PRODUCE, version_min: 3, version_max: 13, flexible_from: 9 }]);
    let frame = produce_frame(&batch(180, 100, 0));
    let parse = || {
        let head = RequestHeader::decode(black_box(&frame), &apis).expect("it was written so");
        ProduceRequest::decode(&frame, head.body, 9).expect("it was written so")
    };
    bench.step("parse a Produce request of one partition", 0, || drop(black_box(parse())));
    let request = parse();
    let results = [ProduceResult::failed(&request.partitions[0], ErrorCode::NONE, None)];
    bench.step("encode its answer", 0, || {
        black_box(encode_response(black_box(&results), &[], &frame, 9, 1).expect("it fits"));
    });
    let result = |partition| FetchResult {
        topic: TopicName::Name(b"bench"),
        partition,
        error: ErrorCode::NONE,
        high_watermark: 9,
        last_stable_offset: 9,
        log_start_offset: 0,
        aborted_transactions: None,
        preferred_read_replica: -1,
        diverging: None,
        current_leader: None,
        records_bytes: 1 << 20,
    };
    for count in [1, 100] {
        let results: Vec<_> = (0..count).map(result).collect();
        bench.step(&format!("encode a Fetch answer of {count} partitions"), 0, || {
            let response = FetchResponse { error: ErrorCode::NONE, session_id: 0, results: &results, endpoints: &[] };
            black_box(response.encode(12, 1).expect("it fits"));
        });
    }
}

fn batches(bench: &Bench, now_ms: i64) {
    for (name, bytes, record_bytes) in [("180 B", 180, 100), ("16 KiB", 16 << 10, 100), ("64 KiB", 64 << 10, 1024)] {
        let mut batch = batch(bytes, record_bytes, now_ms);
        let size = batch.len();
        bench.step(&format!("CRC-32C of a batch of {name}"), size, || {
            black_box(BatchView::parse(black_box(&batch)).expect("it was built so").crc_is_valid());
        });
        let rules = rules();
        bench.step(&format!("validate a batch of {name}"), size, || {
            black_box(validate_produce(black_box(&mut batch), &rules, 9, now_ms).expect("it was built so"));
        });
    }
}

fn logs(bench: &Bench, now_ms: i64) {
    let root = std::env::temp_dir().join(format!("micro-{}", std::process::id()));
    let mut log = open_log(root.join("bench-0"), now_ms);
    for (name, bytes, record_bytes) in [("180 B", 180, 100), ("64 KiB", 64 << 10, 1024)] {
        let mut batch = batch(bytes, record_bytes, now_ms);
        let size = batch.len();
        bench.step(&format!("append a batch of {name} to a file"), size, || {
            if log.size_bytes() > LOG_BYTES_MAX {
                let end = log.log_end_offset();
                log.truncate_fully_and_start_at(end).expect("the directory is writable");
            }
            log.append_as_leader(&mut batch, 0, now_ms).expect("the directory is writable");
        });
    }
    let end = log.log_end_offset();
    let (start, mut at) = (log.log_start_offset(), 0x9E37_79B9_7F4A_7C15u64);
    bench.step("look up an offset and its region of 1 MiB", 0, || {
        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let offset = start + (at % (end - start).max(1) as u64) as i64;
        assert!(black_box(log.read(offset, 1 << 20, true, end)).is_ok_and(|found| found.is_some()));
    });
    drop(log);
    // What is left is in the system's own temporary directory; a failure to remove it changes no figure.
    let _ = std::fs::remove_dir_all(root);
}

fn main() {
    let round_ms = std::env::args().nth(1).map_or(Ok(50), |text| text.parse());
    let Ok(round_ms) = round_ms else {
        eprintln!("usage: pykafkacore-micro [milliseconds a round]");
        std::process::exit(2);
    };
    let now_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
    let bench = Bench { round_ms };
    requests(&bench);
    batches(&bench, now_ms);
    logs(&bench, now_ms);
}
