//! Hostile bytes for everything that reads a record batch.

mod fuzzing;

use std::io::Write;

use fuzzing::{Budget, Counting, run};
use record::batch::{HEADER_BYTES, set_crc};
use record::control::{ControlType, marker, marker_coordinator_epoch};
use record::{
    AppendRules, BatchBuilder, BatchFacts, BatchView, Batches, Codec, NewRecord, Records, TimestampType,
    validate_produce,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fuzz_targets!(
    batch_view,
    batches,
    records,
    control,
    decompress_none_and_gzip,
    decompress_snappy,
    decompress_lz4,
    decompress_zstd,
    produced_batch,
);

const NOTHING: Budget = Budget { per_byte: 0, bytes: 512 };
const INFLATED_BYTES_MAX: usize = 1 << 16;

fn batch(codec: Codec, count: usize, facts: BatchFacts) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchFacts { codec, ..facts });
    let headers: [(&[u8], Option<&[u8]>); 2] = [(b"header", Some(b"value")), (b"null", None)];
    for i in 0..count {
        builder.push(NewRecord {
            timestamp: 1_700_000_000_000 + i as i64,
            key: (i % 3 > 0).then_some(b"key"),
            value: (i % 4 > 0).then_some(b"a value, a value"),
            headers: if i % 2 == 0 { &headers } else { &[] },
        });
    }
    builder.build().unwrap()
}

fn marker_batch() -> Vec<u8> {
    let (key, value) = marker(true, 3);
    let facts = BatchFacts { is_control: true, is_transactional: true, producer_id: 7, ..BatchFacts::default() };
    let mut builder = BatchBuilder::new(facts);
    builder.push(NewRecord { key: Some(&key), value: Some(&value), ..NewRecord::default() });
    builder.build().unwrap()
}

fn corpus() -> Vec<Vec<u8>> {
    let mut corpus: Vec<_> = Codec::ALL.iter().map(|codec| batch(*codec, 5, BatchFacts::default())).collect();
    let idempotent = BatchFacts { producer_id: 9, producer_epoch: 1, base_sequence: 5, ..BatchFacts::default() };
    corpus.push(batch(Codec::None, 1, idempotent));
    corpus.push(marker_batch());
    corpus.push([batch(Codec::None, 2, BatchFacts::default()), marker_batch()].concat());
    corpus
}

/// Frames whose blocks may be as large as the format allows, with and without what else a header may promise.
fn large_lz4_frames() -> Vec<Vec<u8>> {
    use lz4_flex::frame::{BlockSize, FrameEncoder, FrameInfo};
    let plain = FrameInfo::new().block_size(BlockSize::Max4MB);
    let checked = plain.clone().block_checksums(true).content_checksum(true).content_size(Some(6));
    let frame = |info: FrameInfo| {
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(b"blocks").unwrap();
        encoder.finish().unwrap()
    };
    vec![frame(plain), frame(checked)]
}

fn payloads(codec: Codec) -> Vec<Vec<u8>> {
    let texts = [&b""[..], b"a", b"the quick brown fox, the quick brown fox", &[0; 3000]];
    let mut payloads: Vec<_> = texts.iter().map(|text| codec.compress(None, text).unwrap()).collect();
    payloads.push(payloads.concat());
    payloads
}

fn batch_view(inputs: u64) {
    run("batch_view", inputs, &corpus(), NOTHING, |input, _| {
        if let Ok(batch) = BatchView::parse(input) {
            assert_eq!(batch.size_bytes(), batch.bytes().len());
            assert_eq!(Some(batch.size_bytes()), BatchView::promised_bytes(input));
            let _ = (batch.last_offset(), batch.next_offset(), batch.last_sequence(), batch.codec());
            let _ = (batch.crc_is_valid(), batch.timestamp_type(), batch.payload().len());
        }
        if let Some(header) = input.first_chunk::<HEADER_BYTES>() {
            let _ = BatchView::header_only(header).last_offset();
        }
    });
}

fn batches(inputs: u64) {
    run("batches", inputs, &corpus(), NOTHING, |input, _| {
        let mut batches = Batches::new(input);
        let mut read = 0;
        while let Some(batch) = batches.next() {
            match batch {
                Ok(batch) => read += batch.bytes().len(),
                Err(_) => assert!(batches.next().is_none(), "an error is the last item"),
            }
        }
        assert!(read <= input.len());
    });
}

fn records(inputs: u64) {
    let corpus: Vec<_> = [1, 3, 5, 20].iter().map(|count| batch(Codec::None, *count, BatchFacts::default())).collect();
    run("records", inputs, &corpus, NOTHING, |input, chance| {
        let count = if chance.one_in(4) { chance.next() as i32 } else { chance.below(21) as i32 };
        let payload = input.get(HEADER_BYTES..).unwrap_or(input);
        let mut seen = 0;
        for record in Records::new(payload, count) {
            let Ok(record) = record else { break };
            seen += 1;
            assert_eq!(record.headers().count(), record.header_count, "headers were checked when the record was");
            let _ = (record.key.map(<[u8]>::len), record.value.map(<[u8]>::len));
        }
        assert!(seen <= payload.len(), "a record takes a byte at least");
    });
}

fn control(inputs: u64) {
    let (key, value) = marker(false, 3);
    run("control", inputs, &[key.to_vec(), value.to_vec()], NOTHING, |input, _| {
        assert_eq!(ControlType::from_key(input).is_ok(), input.len() >= 4);
        assert_eq!(marker_coordinator_epoch(input).is_ok(), input.len() >= 6);
    });
}

fn decompress(name: &str, codecs: &[Codec], inputs: u64, working_bytes: usize) {
    let mut corpus: Vec<_> = codecs.iter().flat_map(|codec| payloads(*codec)).collect();
    if codecs.contains(&Codec::Lz4) {
        corpus.extend(large_lz4_frames());
    }
    // What grows by doubling is there twice and a half when it moves.
    let budget = Budget { per_byte: 1, bytes: 3 * INFLATED_BYTES_MAX + working_bytes };
    run(name, inputs, &corpus, budget, |input, chance| {
        let codec = chance.pick(codecs);
        if let Ok(inflated) = codec.decompress(input, INFLATED_BYTES_MAX) {
            assert!(inflated.len() <= INFLATED_BYTES_MAX);
        }
    });
}

fn decompress_none_and_gzip(inputs: u64) {
    decompress("decompress_none_and_gzip", &[Codec::None, Codec::Gzip], inputs, 64 << 10);
}

fn decompress_snappy(inputs: u64) {
    decompress("decompress_snappy", &[Codec::Snappy], inputs, 4 << 10);
}

/// The frame's own block size, up to 4 MiB, is what the decoder works in: compressed and inflated.
fn decompress_lz4(inputs: u64) {
    decompress("decompress_lz4", &[Codec::Lz4], inputs, 9 << 20);
}

fn decompress_zstd(inputs: u64) {
    decompress("decompress_zstd", &[Codec::Zstd], inputs, 256 << 10);
}

fn produced_batch(inputs: u64) {
    let opaque =
        AppendRules { message_bytes_max: 1 << 20, inflated_bytes_max: INFLATED_BYTES_MAX, ..AppendRules::default() };
    let rules = [
        AppendRules { timestamp_type: TimestampType::LogAppendTime, ..opaque.clone() },
        AppendRules { compacted: true, ..opaque.clone() },
        AppendRules { timestamp_before_max_ms: 1000, ..opaque.clone() },
        AppendRules { target_codec: Some(Codec::Snappy), compacted: true, ..opaque.clone() },
        AppendRules { target_codec: Some(Codec::None), ..opaque.clone() },
        opaque,
    ];
    // An empty record takes seven bytes inflated; each may be refused with a reason of its own.
    let budget = Budget { per_byte: 16, bytes: 9 << 20 };
    run("produced_batch", inputs, &corpus(), budget, |input, chance| {
        if input.len() >= HEADER_BYTES && !chance.one_in(4) {
            let length = (input.len() - 12) as i32;
            input[8..12].copy_from_slice(&length.to_be_bytes());
            input[..8].fill(0);
            input[16] = 2;
            set_crc(input);
        }
        let rules = &rules[chance.below(rules.len())];
        if let Ok(validated) = validate_produce(input, rules, chance.pick(&[3, 7, 13]), 1_700_000_000_000) {
            let bytes = validated.rewritten.as_deref().unwrap_or(input);
            let batch = BatchView::parse(bytes).expect("what passes is a batch");
            assert!(batch.crc_is_valid() && batch.bytes().len() == bytes.len());
            assert_eq!(i64::from(batch.record_count()), i64::from(batch.last_offset_delta()) + 1);
        }
    });
}
