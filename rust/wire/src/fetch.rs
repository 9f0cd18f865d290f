//! Fetch, versions 4 to 18: borrowed decode; an answer whose record payloads are holes, filled at send time from memory
//! or straight from a file.

use crate::TopicRef;
use crate::error_code::ErrorCode;
use crate::header::{begin_response, finish_response};
use crate::primitives::{Range32, Reader, Result, Writer};
use crate::produce::{CurrentLeader, NodeEndpoint, TopicName, write_current_leader, write_node_endpoints};

pub const VERSION_MIN: i16 = 4;
pub const VERSION_MAX: i16 = 18;
const FLEXIBLE_FROM: i16 = 12;
const TOPIC_IDS_FROM: i16 = 13;

pub fn uses_topic_ids(api_version: i16) -> bool {
    api_version >= TOPIC_IDS_FROM
}

#[derive(Clone, Copy, Debug)]
pub struct FetchPartition {
    pub topic: TopicRef,
    pub partition: i32,
    pub current_leader_epoch: i32,
    pub fetch_offset: i64,
    pub last_fetched_epoch: i32,
    pub log_start_offset: i64,
    pub partition_bytes_max: i32,
}

#[derive(Debug)]
pub struct FetchRequest {
    pub replica_id: i32,
    pub replica_epoch: i64,
    pub max_wait_ms: i32,
    pub min_bytes: i32,
    pub max_bytes: i32,
    pub isolation_level: i8,
    pub session_id: i32,
    pub session_epoch: i32,
    pub partitions: Vec<FetchPartition>,
    pub forgotten: Vec<(TopicRef, i32)>,
    pub rack_id: Range32,
}

fn read_topic(reader: &mut Reader<'_>, api_version: i16) -> Result<TopicRef> {
    if uses_topic_ids(api_version) {
        reader.uuid().map(TopicRef::Id)
    } else {
        reader.string(api_version >= FLEXIBLE_FROM).map(TopicRef::Name)
    }
}

impl FetchRequest {
    pub fn decode(frame: &[u8], body: usize, api_version: i16) -> Result<FetchRequest> {
        let flexible = api_version >= FLEXIBLE_FROM;
        let mut reader = Reader::new(frame, body);
        let mut replica_id = if api_version <= 14 { reader.int32()? } else { -1 };
        let mut replica_epoch = -1;
        let max_wait_ms = reader.int32()?;
        let min_bytes = reader.int32()?;
        let max_bytes = reader.int32()?;
        let isolation_level = reader.int8()?;
        let (session_id, session_epoch) = if api_version >= 7 { (reader.int32()?, reader.int32()?) } else { (0, -1) };
        let topic_count = reader.array_count(flexible, if flexible { 3 } else { 6 })?;
        let mut partitions = Vec::new();
        for _ in 0..topic_count {
            let topic = read_topic(&mut reader, api_version)?;
            let count = reader.array_count(flexible, 16)?;
            for _ in 0..count {
                partitions.push(read_partition(&mut reader, topic, api_version, flexible)?);
            }
            reader.skip_tags(flexible)?;
        }
        let mut forgotten = Vec::new();
        if api_version >= 7 {
            for _ in 0..reader.array_count(flexible, if flexible { 3 } else { 6 })? {
                let topic = read_topic(&mut reader, api_version)?;
                for _ in 0..reader.array_count(flexible, 4)? {
                    forgotten.push((topic, reader.int32()?));
                }
                reader.skip_tags(flexible)?;
            }
        }
        let rack_id = if api_version >= 11 { reader.string(flexible)? } else { Range32::default() };
        if flexible {
            reader.tags(|tag, payload| {
                match tag {
                    0 => drop(payload.nullable_string(true)?), // KAFKA: 4.4 ignores a foreign cluster id here.
                    1 if api_version >= 15 => {
                        replica_id = payload.int32()?;
                        replica_epoch = payload.int64()?;
                        payload.skip_tags(true)?;
                    }
                    _ => {}
                }
                Ok(())
            })?;
        }
        Ok(FetchRequest {
            replica_id,
            replica_epoch,
            max_wait_ms,
            min_bytes,
            max_bytes,
            isolation_level,
            session_id,
            session_epoch,
            partitions,
            forgotten,
            rack_id,
        })
    }
}

fn read_partition(
    reader: &mut Reader<'_>,
    topic: TopicRef,
    api_version: i16,
    flexible: bool,
) -> Result<FetchPartition> {
    let partition = reader.int32()?;
    let current_leader_epoch = if api_version >= 9 { reader.int32()? } else { -1 };
    let fetch_offset = reader.int64()?;
    let last_fetched_epoch = if api_version >= 12 { reader.int32()? } else { -1 };
    let log_start_offset = if api_version >= 5 { reader.int64()? } else { -1 };
    let partition_bytes_max = reader.int32()?;
    if flexible {
        reader.tags(|tag, payload| {
            match tag {
                0 if api_version >= 17 => drop(payload.uuid()?),
                1 if api_version >= 18 => drop(payload.int64()?),
                _ => {}
            }
            Ok(())
        })?;
    }
    Ok(FetchPartition {
        topic,
        partition,
        current_leader_epoch,
        fetch_offset,
        last_fetched_epoch,
        log_start_offset,
        partition_bytes_max,
    })
}

/// The answer for one partition; `records_bytes` of payload follow it from elsewhere.
#[derive(Clone, Debug)]
pub struct FetchResult<'a> {
    pub topic: TopicName<'a>,
    pub partition: i32,
    pub error: ErrorCode,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
    /// (producer id, first offset), for read_committed only.
    pub aborted_transactions: Option<Vec<(i64, i64)>>,
    pub preferred_read_replica: i32,
    /// (leader epoch, end offset): the log parted from the reader's there.
    pub diverging: Option<(i32, i64)>,
    pub current_leader: Option<CurrentLeader>,
    pub records_bytes: usize,
}

/// An encoded response: `bytes` with payload `i` to be put in at `holes[i]`, in order of the results that have any.
#[derive(Debug, Default)]
pub struct Encoded {
    pub bytes: Vec<u8>,
    pub holes: Vec<usize>,
}

pub struct FetchResponse<'a> {
    pub error: ErrorCode,
    pub session_id: i32,
    pub results: &'a [FetchResult<'a>],
    pub endpoints: &'a [NodeEndpoint],
}

fn same_topic(a: TopicName<'_>, b: TopicName<'_>) -> bool {
    match (a, b) {
        (TopicName::Id(a), TopicName::Id(b)) => a == b,
        (TopicName::Name(a), TopicName::Name(b)) => a == b,
        _ => false,
    }
}

impl FetchResponse<'_> {
    pub fn encode(&self, api_version: i16, correlation_id: i32) -> Result<Encoded> {
        let flexible = api_version >= FLEXIBLE_FROM;
        let mut writer = Writer::with_capacity(64 + self.results.len() * 80);
        let mut holes = Vec::new();
        let mut elsewhere_bytes = 0;
        begin_response(&mut writer, correlation_id, flexible);
        writer.int32(0); // throttle_time_ms
        if api_version >= 7 {
            writer.int16(self.error.0);
            writer.int32(self.session_id);
        }
        let runs = || self.results.chunk_by(|a, b| same_topic(a.topic, b.topic));
        writer.array_count(runs().count(), flexible);
        for run in runs() {
            run[0].topic.write(&mut writer, flexible);
            writer.array_count(run.len(), flexible);
            for result in run {
                write_result(&mut writer, result, api_version, flexible);
                if result.records_bytes > 0 {
                    holes.push(writer.bytes.len());
                    elsewhere_bytes += result.records_bytes;
                }
                write_result_tags(&mut writer, result, flexible);
            }
            writer.no_tags(flexible);
        }
        if flexible {
            if api_version >= 16 && !self.endpoints.is_empty() {
                writer.uvarint(1);
                writer.tag(0, |w| write_node_endpoints(w, self.endpoints));
            } else {
                writer.no_tags(true);
            }
        }
        finish_response(&mut writer, elsewhere_bytes)?;
        Ok(Encoded { bytes: writer.bytes, holes })
    }
}

fn write_result(writer: &mut Writer, result: &FetchResult<'_>, api_version: i16, flexible: bool) {
    writer.int32(result.partition);
    writer.int16(result.error.0);
    writer.int64(result.high_watermark);
    writer.int64(result.last_stable_offset);
    if api_version >= 5 {
        writer.int64(result.log_start_offset);
    }
    match &result.aborted_transactions {
        None if flexible => writer.uvarint(0),
        None => writer.int32(-1),
        Some(list) => {
            writer.array_count(list.len(), flexible);
            for (producer_id, first_offset) in list {
                writer.int64(*producer_id);
                writer.int64(*first_offset);
                writer.no_tags(flexible);
            }
        }
    }
    if api_version >= 11 {
        writer.int32(result.preferred_read_replica);
    }
    writer.bytes_length(result.records_bytes, flexible);
}

fn write_result_tags(writer: &mut Writer, result: &FetchResult<'_>, flexible: bool) {
    if !flexible {
        return;
    }
    writer.uvarint(u32::from(result.diverging.is_some()) + u32::from(result.current_leader.is_some()));
    if let Some((leader_epoch, end_offset)) = result.diverging {
        writer.tag(0, |w| {
            w.int32(leader_epoch);
            w.int64(end_offset);
            w.no_tags(true);
        });
    }
    if let Some(leader) = result.current_leader {
        writer.tag(1, |w| write_current_leader(w, leader));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(api_version: i16) -> Vec<u8> {
        let flexible = api_version >= FLEXIBLE_FROM;
        let mut w = Writer::default();
        if api_version <= 14 {
            w.int32(-1);
        }
        w.int32(500);
        w.int32(1);
        w.int32(1 << 20);
        w.int8(0);
        w.int32(0);
        w.int32(-1);
        w.array_count(1, flexible);
        if uses_topic_ids(api_version) {
            w.uuid(&[3; 16])
        } else {
            w.string(b"t", flexible)
        }
        w.array_count(1, flexible);
        w.int32(2);
        w.int32(-1);
        w.int64(77);
        if api_version >= 12 {
            w.int32(-1);
        }
        w.int64(-1);
        w.int32(4096);
        w.no_tags(flexible);
        w.no_tags(flexible);
        w.array_count(0, flexible);
        w.string(b"", flexible);
        w.no_tags(flexible);
        w.bytes
    }

    #[test]
    fn requests_of_each_flavour_are_read() {
        for api_version in [11, 12, 13, 15, 18] {
            let frame = request(api_version);
            let request = FetchRequest::decode(&frame, 0, api_version).unwrap();
            assert_eq!(request.partitions.len(), 1, "version {api_version}");
            assert_eq!(request.partitions[0].fetch_offset, 77);
            assert_eq!(request.session_epoch, -1);
        }
    }

    #[test]
    fn every_cut_of_a_request_is_malformed_and_never_a_panic() {
        for api_version in [11, 12, 18] {
            let frame = request(api_version);
            for end in 0..frame.len() {
                assert!(FetchRequest::decode(&frame[..end], 0, api_version).is_err(), "cut at {end}");
            }
        }
    }

    #[test]
    fn holes_stand_where_the_records_belong() {
        let result = FetchResult {
            topic: TopicName::Name(b"t"),
            partition: 0,
            error: ErrorCode::NONE,
            high_watermark: 10,
            last_stable_offset: 10,
            log_start_offset: 0,
            aborted_transactions: None,
            preferred_read_replica: -1,
            diverging: None,
            current_leader: None,
            records_bytes: 100,
        };
        let response =
            FetchResponse { error: ErrorCode::NONE, session_id: 0, results: &[result.clone(), result], endpoints: &[] };
        let encoded = response.encode(12, 1).unwrap();
        assert_eq!(encoded.holes.len(), 2);
        assert_eq!(i32::from_be_bytes(encoded.bytes[..4].try_into().unwrap()) as usize, encoded.bytes.len() - 4 + 200);
        assert_eq!(encoded.bytes[encoded.holes[0] - 1], 101, "compact length of the payload");
    }
}
