//! The requests that the load sends, and just enough of the answers: Produce 9, Fetch 12, ListOffsets 1, ApiVersions 0.
//!
//! These are the newest versions that name topics by name. Any error code in an answer ends the run, with its name.

use wire::primitives::{Reader, Writer};
use wire::{ErrorCode, header};

const PRODUCE_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 12;
const LIST_OFFSETS: (i16, i16) = (2, 1);
const CLIENT_ID: &[u8] = b"load";

fn begin(api_key: i16, api_version: i16, flexible: bool) -> Writer {
    let mut w = Writer::with_capacity(256);
    w.int32(0);
    w.int16(api_key);
    w.int16(api_version);
    w.int32(0); // The correlation id: answers come in order, so it is always the same.
    w.nullable_string(Some(CLIENT_ID), false);
    w.no_tags(flexible);
    w
}

fn finish(mut writer: Writer) -> Vec<u8> {
    let size = (writer.bytes.len() - 4) as i32;
    writer.bytes[..4].copy_from_slice(&size.to_be_bytes());
    writer.bytes
}

pub fn produce<'a>(topic: &str, acks: i16, parts: impl ExactSizeIterator<Item = (i32, &'a [u8])>) -> Vec<u8> {
    let mut w = begin(header::PRODUCE, PRODUCE_VERSION, true);
    w.nullable_string(None, true);
    w.int16(acks);
    w.int32(30_000);
    w.array_count(1, true);
    w.string(topic.as_bytes(), true);
    w.array_count(parts.len(), true);
    for (partition, batch) in parts {
        w.int32(partition);
        w.bytes_length(batch.len(), true);
        w.bytes.extend_from_slice(batch);
        w.no_tags(true);
    }
    w.no_tags(true);
    w.no_tags(true);
    finish(w)
}

/// What a reader asks for, apart from the partitions.
#[derive(Clone, Copy)]
pub struct FetchLimits {
    pub wait_ms: i32,
    pub bytes_min: i32,
    pub bytes_max: i32,
    pub partition_bytes_max: i32,
}

pub fn fetch(topic: &str, session: (i32, i32), limits: FetchLimits, parts: &[(i32, i64)]) -> Vec<u8> {
    let mut w = begin(header::FETCH, FETCH_VERSION, true);
    w.int32(-1);
    w.int32(limits.wait_ms);
    w.int32(limits.bytes_min);
    w.int32(limits.bytes_max);
    w.int8(0);
    w.int32(session.0);
    w.int32(session.1);
    w.array_count(usize::from(!parts.is_empty()), true);
    if !parts.is_empty() {
        w.string(topic.as_bytes(), true);
        w.array_count(parts.len(), true);
        for (partition, offset) in parts {
            w.int32(*partition);
            w.int32(-1);
            w.int64(*offset);
            w.int32(-1);
            w.int64(-1);
            w.int32(limits.partition_bytes_max);
            w.no_tags(true);
        }
        w.no_tags(true);
    }
    w.array_count(0, true);
    w.string(b"", true);
    w.no_tags(true);
    finish(w)
}

pub fn list_offsets(topic: &str, partitions: i32, timestamp: i64) -> Vec<u8> {
    let mut w = begin(LIST_OFFSETS.0, LIST_OFFSETS.1, false);
    w.int32(-1);
    w.array_count(1, false);
    w.string(topic.as_bytes(), false);
    w.array_count(partitions as usize, false);
    for partition in 0..partitions {
        w.int32(partition);
        w.int64(timestamp);
    }
    finish(w)
}

pub fn api_versions() -> Vec<u8> {
    finish(begin(header::API_VERSIONS, 0, false))
}

fn check(what: &str, code: i16) -> Result<(), String> {
    if code == 0 {
        return Ok(());
    }
    let name = ErrorCode::ALL.iter().find(|row| row.1 == code).map_or("an error that it does not know", |row| row.0);
    Err(format!("{what} was answered with {name} ({code})"))
}

fn malformed(error: wire::Malformed) -> String {
    format!("an answer cannot be read: {error}")
}

/// Every partition's error code of a Produce answer (without its size).
pub fn check_produce(frame: &[u8]) -> Result<(), String> {
    let codes = produce_codes(frame).map_err(malformed)?;
    codes.into_iter().try_for_each(|(partition, code)| check(&format!("Produce to partition {partition}"), code))
}

fn produce_codes(frame: &[u8]) -> wire::primitives::Result<Vec<(i32, i16)>> {
    let mut r = Reader::new(frame, 4);
    let mut bad = Vec::new();
    r.skip_tags(true)?;
    for _ in 0..r.array_count(true, 3)? {
        r.string(true)?;
        for _ in 0..r.array_count(true, 30)? {
            let (partition, code) = (r.int32()?, r.int16()?);
            for _ in 0..3 {
                r.int64()?;
            }
            for _ in 0..r.array_count(true, 6)? {
                r.int32()?;
                r.nullable_string(true)?;
                r.skip_tags(true)?;
            }
            r.nullable_string(true)?;
            r.skip_tags(true)?;
            if code != 0 {
                bad.push((partition, code));
            }
        }
        r.skip_tags(true)?;
    }
    Ok(bad)
}

/// One partition of a Fetch answer.
pub struct Fetched<'a> {
    pub partition: i32,
    pub high_watermark: i64,
    pub records: &'a [u8],
}

/// What stands before a partition's records.
struct PartitionHead {
    partition: i32,
    code: i16,
    high_watermark: i64,
    records_bytes: usize,
}

fn partition_head(r: &mut Reader<'_>) -> wire::primitives::Result<PartitionHead> {
    let (partition, code, high_watermark) = (r.int32()?, r.int16()?, r.int64()?);
    r.int64()?;
    r.int64()?;
    for _ in 1..r.uvarint()? {
        r.int64()?;
        r.int64()?;
        r.skip_tags(true)?;
    }
    r.int32()?;
    let records_bytes = r.uvarint()?.saturating_sub(1) as usize;
    Ok(PartitionHead { partition, code, high_watermark, records_bytes })
}

/// Correlation id, tags, throttle time, error code, session id.
fn fetch_head(r: &mut Reader<'_>) -> wire::primitives::Result<(i16, i32)> {
    r.int32()?;
    r.skip_tags(true)?;
    r.int32()?;
    Ok((r.int16()?, r.int32()?))
}

/// Hands every partition of a Fetch answer to `each`; gives the session's id.
pub fn read_fetch<'a>(frame: &'a [u8], mut each: impl FnMut(Fetched<'a>) -> Result<(), String>) -> Result<i32, String> {
    let mut r = Reader::new(frame, 0);
    let (code, session_id) = fetch_head(&mut r).map_err(malformed)?;
    check("Fetch", code)?;
    for _ in 0..r.array_count(true, 3).map_err(malformed)? {
        r.string(true).map_err(malformed)?;
        for _ in 0..r.array_count(true, 30).map_err(malformed)? {
            let head = partition_head(&mut r).map_err(malformed)?;
            check(&format!("Fetch of partition {}", head.partition), head.code)?;
            let records = r.range(head.records_bytes).map_err(malformed)?.of(frame);
            r.skip_tags(true).map_err(malformed)?;
            each(Fetched { partition: head.partition, high_watermark: head.high_watermark, records })?;
        }
        r.skip_tags(true).map_err(malformed)?;
    }
    Ok(session_id)
}

/// How many bytes of an answer always hold all that stands before the records of a one-partition Fetch.
pub const FETCH_HEAD_BYTES: usize = 384;

/// (high watermark, bytes of records) of a one-partition answer, of which only the beginning is at hand.
pub fn read_fetch_head(beginning: &[u8]) -> Result<(i64, usize), String> {
    let mut r = Reader::new(beginning, 0);
    let (code, _) = fetch_head(&mut r).map_err(malformed)?;
    check("Fetch", code)?;
    let mut read = || {
        if r.array_count(true, 1)? == 0 {
            return Ok(None);
        }
        r.string(true)?;
        r.array_count(true, 1)?;
        partition_head(&mut r).map(Some)
    };
    let Some(head) = read().map_err(malformed)? else {
        return Err("a Fetch answer names no partition".to_owned());
    };
    check(&format!("Fetch of partition {}", head.partition), head.code)?;
    Ok((head.high_watermark, head.records_bytes))
}

/// The offsets of a ListOffsets answer, by partition.
pub fn read_offsets(frame: &[u8], partitions: i32) -> Result<Vec<i64>, String> {
    let mut r = Reader::new(frame, 4);
    let mut offsets = vec![0; partitions as usize];
    let mut read = || {
        let mut bad = 0;
        for _ in 0..r.array_count(false, 6)? {
            r.string(false)?;
            for _ in 0..r.array_count(false, 22)? {
                let (partition, code) = (r.int32()?, r.int16()?);
                r.int64()?;
                let offset = r.int64()?;
                bad = if code == 0 { bad } else { code };
                if let Some(place) = offsets.get_mut(partition as usize) {
                    *place = offset;
                }
            }
        }
        Ok(bad)
    };
    let code = read().map_err(malformed)?;
    check("ListOffsets", code)?;
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::produce::{ProducePartition, ProduceRequest, ProduceResult, encode_response};

    #[test]
    fn a_produce_request_reads_back_and_an_error_in_its_answer_is_named() {
        let frame = produce("t", -1, [(3, b"abc".as_slice()), (5, b"de")].into_iter());
        assert_eq!(frame.len() - 4, i32::from_be_bytes(*frame.first_chunk().unwrap()) as usize);
        let api = header::Api { api_key: 0, version_min: 9, version_max: 9, flexible_from: 9 };
        let head = header::RequestHeader::decode(&frame[4..], &header::ApiTable::new([api])).unwrap();
        let request = ProduceRequest::decode(&frame[4..], head.body, 9).unwrap();
        assert_eq!(request.partitions.iter().map(|p| p.index).collect::<Vec<_>>(), [3, 5]);
        let answer = |error| {
            let results = request.partitions.iter().map(|p: &ProducePartition| ProduceResult::failed(p, error, None));
            encode_response(&results.collect::<Vec<_>>(), &[], &frame[4..], 9, 0).unwrap()
        };
        assert_eq!(check_produce(&answer(ErrorCode::NONE)[4..]), Ok(()));
        let why = check_produce(&answer(ErrorCode::CORRUPT_MESSAGE)[4..]).unwrap_err();
        assert_eq!(why, "Produce to partition 3 was answered with CORRUPT_MESSAGE (2)");
    }

    #[test]
    fn a_fetch_request_reads_back() {
        let limits = FetchLimits { wait_ms: 500, bytes_min: 1, bytes_max: 1 << 20, partition_bytes_max: 4096 };
        let frame = fetch("t", (7, 2), limits, &[(1, 42), (2, 43)]);
        let api = header::Api { api_key: 1, version_min: 12, version_max: 12, flexible_from: 12 };
        let head = header::RequestHeader::decode(&frame[4..], &header::ApiTable::new([api])).unwrap();
        let request = wire::fetch::FetchRequest::decode(&frame[4..], head.body, 12).unwrap();
        assert_eq!((request.session_id, request.session_epoch, request.max_bytes), (7, 2, 1 << 20));
        assert_eq!(request.partitions.iter().map(|p| p.fetch_offset).collect::<Vec<_>>(), [42, 43]);
    }
}
