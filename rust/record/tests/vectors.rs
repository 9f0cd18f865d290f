//! Golden batches in `tests/vectors`, which the Python tests read as well: a change of the bytes that we read or write shows
//! here, whichever side made it.
//!
//! `batches.tsv` has a line for each `batches/<name>.bin`. A record in its last column is
//! `offset,timestamp,key,value,header=value&...`, null is `-`, records are parted by `|`.
//! To add one: a case in `cases`, then `cargo test -p pykafkacore-record --test vectors -- --ignored`, and check its CRC
//! and sizes by other means (`tests/core/test_vectors.py` does both).

use std::fmt::Write;
use std::path::PathBuf;

use record::control::marker;
use record::{BatchBuilder, BatchFacts, BatchView, Codec, NewRecord, Records, TimestampType};

const COLUMNS: &str = "name\tsize_bytes\tbase_offset\tlast_offset\tleader_epoch\tcrc\tattributes\tbase_timestamp\tmax_timestamp\
                       \tproducer_id\tproducer_epoch\tbase_sequence\trecord_count\trecords";

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors")
}

type Header = (&'static [u8], Option<&'static [u8]>);
type Record = (i64, Option<&'static [u8]>, Option<&'static [u8]>, &'static [Header]);

fn built(facts: BatchFacts, records: &[Record]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(facts);
    for (timestamp, key, value, headers) in records {
        builder.push(NewRecord { timestamp: *timestamp, key: *key, value: *value, headers });
    }
    builder.build().unwrap()
}

fn built_marker(commit: bool) -> Vec<u8> {
    let (key, value) = marker(commit, 12);
    let mut builder = BatchBuilder::new(BatchFacts {
        base_offset: 104,
        leader_epoch: 3,
        is_transactional: true,
        is_control: true,
        producer_id: 4001,
        producer_epoch: 2,
        ..BatchFacts::default()
    });
    builder.push(NewRecord { timestamp: 1_700_000_000_500, key: Some(&key), value: Some(&value), headers: &[] });
    builder.build().unwrap()
}

/// Every batch, and whether its bytes are ours alone to decide (a compressor may come to other bytes in its next version).
fn cases() -> Vec<(&'static str, Vec<u8>, bool)> {
    const MANY: &[Record] = &[
        (1_700_000_000_000, Some(b"key"), Some(b"value value value value"), &[]),
        (1_700_000_000_007, None, Some(b""), &[(b"trace", Some(b"1")), (b"empty", None)]),
        (1_699_999_999_999, Some(b""), None, &[]),
    ];
    let plain = || BatchFacts { leader_epoch: 5, base_offset: 42, ..BatchFacts::default() };
    let idempotent = BatchFacts { producer_id: 4000, producer_epoch: 1, base_sequence: i32::MAX - 1, ..plain() };
    let transactional = BatchFacts {
        is_transactional: true,
        producer_id: 4001,
        producer_epoch: 2,
        base_sequence: 0,
        ..BatchFacts::default()
    };
    let append_time = BatchFacts { timestamp_type: TimestampType::LogAppendTime, ..plain() };
    let mut cases = vec![
        ("one_record", built(BatchFacts::default(), &[(1000, Some(b"k"), Some(b"v"), &[])]), true),
        ("several_records", built(plain(), MANY), true),
        ("idempotent_at_the_wrap", built(idempotent, MANY), true),
        ("transactional", built(transactional, MANY), true),
        ("log_append_time", built(append_time, MANY), true),
        ("commit_marker", built_marker(true), true),
        ("abort_marker", built_marker(false), true),
    ];
    for codec in &Codec::ALL[1..] {
        cases.push((codec.name(), built(BatchFacts { codec: *codec, ..plain() }, MANY), false));
    }
    cases
}

fn text(bytes: Option<&[u8]>) -> String {
    bytes.map_or("-".to_owned(), |bytes| bytes.escape_ascii().to_string())
}

/// A batch as its line says it.
fn line(name: &str, bytes: &[u8]) -> String {
    let batch = BatchView::parse(bytes).unwrap();
    let payload = batch.codec().unwrap().decompress(batch.payload(), 1 << 20).unwrap();
    let append_time = (batch.timestamp_type() == TimestampType::LogAppendTime).then(|| batch.max_timestamp());
    let records = Records::new(&payload, batch.record_count()).map(|record| {
        let record = record.unwrap();
        let headers: Vec<_> = record.headers().map(|(k, v)| format!("{}={}", text(Some(k)), text(v))).collect();
        let offset = batch.base_offset() + i64::from(record.offset_delta);
        let timestamp = append_time.unwrap_or(batch.base_timestamp() + record.timestamp_delta);
        format!("{offset},{timestamp},{},{},{}", text(record.key), text(record.value), headers.join("&"))
    });
    let records = records.collect::<Vec<_>>().join("|");
    let mut line = format!("{name}\t{}\t{}\t{}", bytes.len(), batch.base_offset(), batch.last_offset());
    write!(line, "\t{}\t{:08x}\t{}", batch.leader_epoch(), batch.crc(), batch.attributes()).unwrap();
    write!(line, "\t{}\t{}", batch.base_timestamp(), batch.max_timestamp()).unwrap();
    write!(line, "\t{}\t{}\t{}", batch.producer_id(), batch.producer_epoch(), batch.base_sequence()).unwrap();
    write!(line, "\t{}\t{records}", batch.record_count()).unwrap();
    line
}

fn golden() -> Vec<(String, Vec<u8>)> {
    let table = std::fs::read_to_string(folder().join("batches.tsv")).unwrap();
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some(COLUMNS));
    let of = |line: &str| {
        let name = line.split('\t').next().unwrap();
        let bytes = std::fs::read(folder().join("batches").join(format!("{name}.bin"))).unwrap();
        (line.to_owned(), bytes)
    };
    lines.map(of).collect()
}

#[test]
fn each_golden_batch_reads_as_its_line_says() {
    let golden = golden();
    assert_eq!(golden.len(), cases().len());
    for (expected, bytes) in golden {
        let name = expected.split('\t').next().unwrap();
        assert!(BatchView::parse(&bytes).unwrap().crc_is_valid(), "{name}");
        assert_eq!(line(name, &bytes), expected);
    }
}

#[test]
fn what_we_build_today_has_the_golden_bytes() {
    for ((name, bytes, is_ours), (expected, golden)) in cases().into_iter().zip(golden()) {
        assert!(expected.starts_with(name));
        if is_ours {
            assert_eq!(bytes, golden, "{name}");
        } else {
            let records = |bytes: &[u8]| line(name, bytes).rsplit('\t').next().map(str::to_owned);
            assert_eq!(records(&bytes), records(&golden), "{name}");
        }
    }
}

/// The smallest batch, put together by hand from the protocol's own description.
#[test]
fn one_record_has_the_bytes_that_the_format_prescribes() {
    #[rustfmt::skip]
    let by_hand = [
        0, 0, 0, 0, 0, 0, 0, 0,             // base offset 0
        0, 0, 0, 58,                        // length: 49 of the header that follow, 9 of the record
        0xff, 0xff, 0xff, 0xff,             // leader epoch -1
        2,                                  // magic
        0x71, 0x6a, 0x61, 0x89,             // CRC-32C of all that follows
        0, 0,                               // attributes: no codec, create time
        0, 0, 0, 0,                         // last offset delta
        0, 0, 0, 0, 0, 0, 0x03, 0xe8,       // base timestamp 1000
        0, 0, 0, 0, 0, 0, 0x03, 0xe8,       // max timestamp 1000
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // producer id -1
        0xff, 0xff,                         // producer epoch -1
        0xff, 0xff, 0xff, 0xff,             // base sequence -1
        0, 0, 0, 1,                         // one record
        16,                                 // of 8 bytes, zigzag
        0, 0, 0,                            // attributes, timestamp delta, offset delta
        2, b'k', 2, b'v',                   // one byte of key, one of value
        0,                                  // no headers
    ];
    assert_eq!(golden()[0].1, by_hand);
}

#[test]
#[ignore = "writes tests/vectors anew"]
fn write_the_golden_batches() {
    std::fs::create_dir_all(folder().join("batches")).unwrap();
    let mut table = format!("{COLUMNS}\n");
    for (name, bytes, _) in cases() {
        std::fs::write(folder().join("batches").join(format!("{name}.bin")), &bytes).unwrap();
        writeln!(table, "{}", line(name, &bytes)).unwrap();
    }
    std::fs::write(folder().join("batches.tsv"), table).unwrap();
}
