//! Hostile bytes for the slice of the protocol that the data plane reads itself.

#[path = "../../record/tests/fuzzing/mod.rs"]
mod fuzzing;

use fuzzing::{Budget, Chance, Counting, run};
use wire::fetch::FetchRequest;
use wire::frame::{Frame, SIZE_BYTES, next_frame};
use wire::header::{API_VERSIONS, Api, ApiTable, FETCH, METADATA, PRODUCE, RequestHeader};
use wire::produce::ProduceRequest;
use wire::{TopicRef, Writer, fetch, metadata, produce};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fuzz_targets!(request_header, frame, produce_request, fetch_request, metadata_names);

const NOTHING: Budget = Budget { per_byte: 0, bytes: 512 };
/// A partition takes 4 bytes on the wire at least, and a few dozen in memory, while its list doubles.
const LISTS: Budget = Budget { per_byte: 24, bytes: 1024 };

fn table() -> ApiTable {
    let row =
        |api_key, version_min, version_max, flexible_from| Api { api_key, version_min, version_max, flexible_from };
    ApiTable::new([row(PRODUCE, 3, 13, 9), row(FETCH, 4, 18, 12), row(METADATA, 0, 13, 9), row(API_VERSIONS, 0, 5, 3)])
}

fn header(api_key: i16, api_version: i16, flexible: bool) -> Writer {
    let mut w = Writer::default();
    w.int16(api_key);
    w.int16(api_version);
    w.int32(77);
    w.string(b"client", false);
    w.no_tags(flexible);
    w
}

fn topic(w: &mut Writer, by_id: bool, flexible: bool) {
    if by_id { w.uuid(&[3; 16]) } else { w.string(b"topic", flexible) }
}

fn produce_body(w: &mut Writer, api_version: i16, counts: [usize; 2]) {
    let flexible = api_version >= 9;
    w.nullable_string((api_version % 2 == 0).then_some(b"transactional-id"), flexible);
    w.int16(-1);
    w.int32(30_000);
    w.array_count(counts[0], flexible);
    for _ in 0..counts[0] {
        topic(w, api_version >= 13, flexible);
        w.array_count(counts[1], flexible);
        for partition in 0..counts[1] {
            w.int32(partition as i32);
            w.bytes_length(9, flexible);
            w.bytes.extend_from_slice(b"a batch..");
            w.no_tags(flexible);
        }
        w.no_tags(flexible);
    }
    w.no_tags(flexible);
}

fn fetch_body(w: &mut Writer, api_version: i16, counts: [usize; 2]) {
    let flexible = api_version >= 12;
    if api_version <= 14 {
        w.int32(-1);
    }
    w.int32(500);
    w.int32(1);
    w.int32(1 << 20);
    w.int8(1);
    if api_version >= 7 {
        w.int32(5);
        w.int32(6);
    }
    w.array_count(counts[0], flexible);
    for _ in 0..counts[0] {
        topic(w, api_version >= 13, flexible);
        w.array_count(counts[1], flexible);
        for partition in 0..counts[1] {
            w.int32(partition as i32);
            if api_version >= 9 {
                w.int32(4);
            }
            w.int64(100);
            if api_version >= 12 {
                w.int32(3);
            }
            if api_version >= 5 {
                w.int64(0);
            }
            w.int32(1 << 20);
            if api_version >= 17 {
                w.uvarint(1);
                w.tag(0, |w| w.uuid(&[8; 16]));
            } else {
                w.no_tags(flexible);
            }
        }
        w.no_tags(flexible);
    }
    if api_version >= 7 {
        w.array_count(1, flexible);
        topic(w, api_version >= 13, flexible);
        w.array_count(2, flexible);
        w.int32(0);
        w.int32(1);
        w.no_tags(flexible);
    }
    if api_version >= 11 {
        w.string(b"rack", flexible);
    }
    if api_version >= 15 {
        w.uvarint(1);
        w.tag(1, |w| {
            w.int32(2);
            w.int64(9);
            w.no_tags(true);
        });
    } else {
        w.no_tags(flexible);
    }
}

fn metadata_body(w: &mut Writer, api_version: i16, [topics, _]: [usize; 2]) {
    let flexible = metadata::is_flexible(api_version);
    w.array_count(topics, flexible);
    for _ in 0..topics {
        if api_version >= 10 {
            w.uuid(&[0; 16]);
        }
        w.string(b"topic", flexible);
        w.no_tags(flexible);
    }
    let flags = [4..=13, 8..=10, 8..=13].into_iter().filter(|versions| versions.contains(&api_version));
    flags.for_each(|_| w.int8(0));
    w.no_tags(flexible);
}

fn bodies(versions: std::ops::RangeInclusive<i16>, body: fn(&mut Writer, i16, [usize; 2])) -> Vec<Vec<u8>> {
    let shapes = [[1, 1], [2, 3], [0, 0], [1, 8]];
    let all = versions.flat_map(|version| shapes.map(|shape| (version, shape)));
    let made = all.map(|(version, shape)| {
        // The first byte says which version the rest is of; the parser never sees it.
        let mut w = Writer { bytes: vec![version as u8] };
        body(&mut w, version, shape);
        w.bytes
    });
    made.collect()
}

#[test]
fn every_request_of_the_corpus_is_read_whole() {
    for body in bodies(produce::VERSION_MIN..=produce::VERSION_MAX, produce_body) {
        ProduceRequest::decode(&body, 1, i16::from(body[0])).unwrap();
    }
    for body in bodies(fetch::VERSION_MIN..=fetch::VERSION_MAX, fetch_body) {
        FetchRequest::decode(&body, 1, i16::from(body[0])).unwrap();
    }
    for body in bodies(0..=13, metadata_body) {
        let is_none = body[..].starts_with(&[body[0], 0, 0, 0, 0]) || body[..].starts_with(&[body[0], 1]);
        assert_eq!(metadata::topic_names(&body[1..], i16::from(body[0])).is_none(), is_none);
    }
}

fn request_header(inputs: u64) {
    let apis = table();
    let corpus: Vec<_> =
        [(PRODUCE, 9, true), (PRODUCE, 3, false), (FETCH, 18, true), (3, 8, false), (API_VERSIONS, 5, true)]
            .map(|(api_key, version, flexible)| header(api_key, version, flexible).bytes)
            .to_vec();
    run("request_header", inputs, &corpus, NOTHING, |input, _| {
        if let Ok(header) = RequestHeader::decode(input, &apis) {
            assert!(header.body <= input.len());
            let _ = header.client_id.map(|range| range.of(input).len());
        }
    });
}

fn frame(inputs: u64) {
    let corpus = [vec![0, 0, 0, 3, 1, 2, 3], vec![0, 0, 0, 9, 1, 2], vec![0, 0x10, 0, 0], vec![0, 0]];
    run("frame", inputs, &corpus, NOTHING, |input, chance| {
        let bytes_max = chance.below(1 << 27);
        match next_frame(input, bytes_max) {
            Ok(Frame::Whole { len }) => assert!(len > 0 && len <= bytes_max && SIZE_BYTES + len <= input.len()),
            Ok(Frame::Missing { bytes }) => assert!(bytes > 0 && bytes <= bytes_max.max(SIZE_BYTES)),
            Err(_) => {}
        }
    });
}

fn touch(topic: TopicRef, input: &[u8]) {
    if let TopicRef::Name(name) = topic {
        let _ = name.of(input).len();
    }
}

/// Mostly the one that the input says it is of.
fn version_of(input: &[u8], versions: std::ops::RangeInclusive<i16>, chance: &mut Chance) -> i16 {
    let told = input.first().map_or(0, |version| i16::from(*version));
    let other = versions.start() + chance.below(versions.clone().count()) as i16;
    if versions.contains(&told) && !chance.one_in(8) { told } else { other }
}

fn produce_request(inputs: u64) {
    let corpus = bodies(produce::VERSION_MIN..=produce::VERSION_MAX, produce_body);
    run("produce_request", inputs, &corpus, LISTS, |input, chance| {
        let api_version = version_of(input, produce::VERSION_MIN..=produce::VERSION_MAX, chance);
        if let Ok(request) = ProduceRequest::decode(input, 1, api_version) {
            for partition in &request.partitions {
                touch(partition.topic, input);
                let _ = partition.records.map(|range| range.of(input).len());
            }
        }
    });
}

fn metadata_names(inputs: u64) {
    let corpus = bodies(0..=13, metadata_body);
    run("metadata_names", inputs, &corpus, LISTS, |input, chance| {
        let api_version = version_of(input, 0..=13, chance);
        let body = input.get(1..).unwrap_or_default();
        for name in metadata::topic_names(body, api_version).into_iter().flatten() {
            let _ = name.of(body).len();
        }
    });
}

fn fetch_request(inputs: u64) {
    let corpus = bodies(fetch::VERSION_MIN..=fetch::VERSION_MAX, fetch_body);
    run("fetch_request", inputs, &corpus, LISTS, |input, chance| {
        let api_version = version_of(input, fetch::VERSION_MIN..=fetch::VERSION_MAX, chance);
        if let Ok(request) = FetchRequest::decode(input, 1, api_version) {
            request.partitions.iter().for_each(|partition| touch(partition.topic, input));
            request.forgotten.iter().for_each(|(topic, _)| touch(*topic, input));
            let _ = request.rack_id.of(input).len();
        }
    });
}
