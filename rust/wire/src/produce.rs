//! Produce, versions 3 to 13: borrowed decode, encode of the answer.
//!
//! KAFKA: 4.4 advertises version 0 as the oldest (clients probe for it, KAFKA-18659) and still refuses 0 to 2.

use crate::TopicRef;
use crate::error_code::ErrorCode;
use crate::header::{begin_response, finish_response};
use crate::primitives::{Range32, Reader, Result, Uuid, Writer};

pub const VERSION_MIN: i16 = 3;
pub const VERSION_MAX: i16 = 13;
const FLEXIBLE_FROM: i16 = 9;
const TOPIC_IDS_FROM: i16 = 13;

#[derive(Clone, Copy, Debug)]
pub struct ProducePartition {
    pub topic: TopicRef,
    pub index: i32,
    pub records: Option<Range32>,
}

/// A Produce request; partitions stand in request order, those of one topic next to each other.
#[derive(Debug)]
pub struct ProduceRequest {
    pub transactional_id: Option<Range32>,
    pub acks: i16,
    pub timeout_ms: i32,
    pub topic_count: usize,
    pub partitions: Vec<ProducePartition>,
}

impl ProduceRequest {
    pub fn decode(frame: &[u8], body: usize, api_version: i16) -> Result<ProduceRequest> {
        let flexible = api_version >= FLEXIBLE_FROM;
        let mut reader = Reader::new(frame, body);
        let transactional_id = reader.nullable_string(flexible)?;
        let acks = reader.int16()?;
        let timeout_ms = reader.int32()?;
        let topic_count = reader.array_count(flexible, if flexible { 3 } else { 6 })?;
        let mut partitions = Vec::new();
        for _ in 0..topic_count {
            let topic = if api_version >= TOPIC_IDS_FROM {
                TopicRef::Id(reader.uuid()?)
            } else {
                TopicRef::Name(reader.string(flexible)?)
            };
            let count = reader.array_count(flexible, if flexible { 6 } else { 8 })?;
            for _ in 0..count {
                let index = reader.int32()?;
                let records = reader.nullable_bytes(flexible)?;
                reader.skip_tags(flexible)?;
                partitions.push(ProducePartition { topic, index, records });
            }
            reader.skip_tags(flexible)?;
        }
        reader.skip_tags(flexible)?;
        Ok(ProduceRequest { transactional_id, acks, timeout_ms, topic_count, partitions })
    }
}

/// Where a partition is led, told along with NOT_LEADER_OR_FOLLOWER (KIP-951).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrentLeader {
    pub leader_id: i32,
    pub leader_epoch: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEndpoint {
    pub node_id: i32,
    pub host: String,
    pub port: i32,
    pub rack: Option<String>,
}

pub(crate) fn write_current_leader(writer: &mut Writer, leader: CurrentLeader) {
    writer.int32(leader.leader_id);
    writer.int32(leader.leader_epoch);
    writer.no_tags(true);
}

pub(crate) fn write_node_endpoints(writer: &mut Writer, endpoints: &[NodeEndpoint]) {
    writer.array_count(endpoints.len(), true);
    for endpoint in endpoints {
        writer.int32(endpoint.node_id);
        writer.string(endpoint.host.as_bytes(), true);
        writer.int32(endpoint.port);
        writer.nullable_string(endpoint.rack.as_deref().map(str::as_bytes), true);
        writer.no_tags(true);
    }
}

/// The bare name or id that an answer repeats from its request.
#[derive(Clone, Copy, Debug)]
pub enum TopicName<'a> {
    Name(&'a [u8]),
    Id(Uuid),
}

impl<'a> TopicName<'a> {
    pub fn of(topic: TopicRef, frame: &'a [u8]) -> Self {
        match topic {
            TopicRef::Name(range) => TopicName::Name(range.of(frame)),
            TopicRef::Id(id) => TopicName::Id(id),
        }
    }

    pub(crate) fn write(self, writer: &mut Writer, flexible: bool) {
        match self {
            TopicName::Name(name) => writer.string(name, flexible),
            TopicName::Id(id) => writer.uuid(&id),
        }
    }
}

/// The answer for one partition.
#[derive(Clone, Debug)]
pub struct ProduceResult {
    pub topic: TopicRef,
    pub index: i32,
    pub error: ErrorCode,
    pub base_offset: i64,
    pub log_append_time_ms: i64,
    pub log_start_offset: i64,
    pub record_errors: Vec<(i32, String)>,
    pub error_message: Option<String>,
    pub current_leader: Option<CurrentLeader>,
}

impl ProduceResult {
    pub fn failed(partition: &ProducePartition, error: ErrorCode, message: Option<String>) -> Self {
        ProduceResult {
            topic: partition.topic,
            index: partition.index,
            error,
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: -1,
            record_errors: Vec::new(),
            error_message: message,
            current_leader: None,
        }
    }
}

/// Runs of neighbouring items that name the same topic, as (topic, items).
pub(crate) fn runs_by_topic<T>(items: &[T], topic: impl Fn(&T) -> TopicRef) -> impl Iterator<Item = &[T]> {
    items.chunk_by(move |a, b| topic(a) == topic(b))
}

/// Encodes a whole response frame. `names` is what the request's `TopicRef::Name` ranges point into.
pub fn encode_response(
    results: &[ProduceResult],
    endpoints: &[NodeEndpoint],
    names: &[u8],
    api_version: i16,
    correlation_id: i32,
) -> Result<Vec<u8>> {
    let flexible = api_version >= FLEXIBLE_FROM;
    let mut writer = Writer::with_capacity(64 + results.len() * 64);
    begin_response(&mut writer, correlation_id, flexible);
    writer.array_count(runs_by_topic(results, |r| r.topic).count(), flexible);
    for run in runs_by_topic(results, |r| r.topic) {
        TopicName::of(run[0].topic, names).write(&mut writer, flexible);
        writer.array_count(run.len(), flexible);
        for result in run {
            write_result(&mut writer, result, api_version, flexible);
        }
        writer.no_tags(flexible);
    }
    writer.int32(0); // throttle_time_ms
    if flexible {
        if api_version >= 10 && !endpoints.is_empty() {
            writer.uvarint(1);
            writer.tag(0, |w| write_node_endpoints(w, endpoints));
        } else {
            writer.no_tags(true);
        }
    }
    finish_response(&mut writer, 0)?;
    Ok(writer.bytes)
}

fn write_result(writer: &mut Writer, result: &ProduceResult, api_version: i16, flexible: bool) {
    writer.int32(result.index);
    writer.int16(result.error.0);
    writer.int64(result.base_offset);
    writer.int64(result.log_append_time_ms);
    if api_version >= 5 {
        writer.int64(result.log_start_offset);
    }
    if api_version >= 8 {
        writer.array_count(result.record_errors.len(), flexible);
        for (batch_index, message) in &result.record_errors {
            writer.int32(*batch_index);
            writer.nullable_string(Some(message.as_bytes()), flexible);
            writer.no_tags(flexible);
        }
        writer.nullable_string(result.error_message.as_deref().map(str::as_bytes), flexible);
    }
    if flexible {
        match result.current_leader {
            Some(leader) if api_version >= 10 => {
                writer.uvarint(1);
                writer.tag(0, |w| write_current_leader(w, leader));
            }
            _ => writer.no_tags(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request_v9() -> Vec<u8> {
        let mut w = Writer::default();
        w.nullable_string(None, true);
        w.int16(-1);
        w.int32(1500);
        w.array_count(1, true);
        w.string(b"flights", true);
        w.array_count(1, true);
        w.int32(3);
        w.bytes_length(4, true);
        w.bytes.extend_from_slice(b"data");
        w.no_tags(true);
        w.no_tags(true);
        w.no_tags(true);
        w.bytes
    }

    #[test]
    fn a_flexible_request_is_read_by_ranges() {
        let frame = request_v9();
        let request = ProduceRequest::decode(&frame, 0, 9).unwrap();
        assert_eq!((request.acks, request.timeout_ms, request.partitions.len()), (-1, 1500, 1));
        assert_eq!(request.partitions[0].records.unwrap().of(&frame), b"data");
        assert!(matches!(request.partitions[0].topic, TopicRef::Name(name) if name.of(&frame) == b"flights"));
    }

    #[test]
    fn every_cut_of_a_request_is_malformed_and_never_a_panic() {
        let frame = request_v9();
        for end in 0..frame.len() {
            assert!(ProduceRequest::decode(&frame[..end], 0, 9).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn a_huge_count_is_refused_before_anything_is_allocated() {
        let mut w = Writer::default();
        w.nullable_string(None, false);
        w.int16(1);
        w.int32(1);
        w.int32(i32::MAX);
        assert!(ProduceRequest::decode(&w.bytes, 0, 7).is_err());
    }

    #[test]
    fn the_answer_groups_neighbouring_partitions_of_one_topic() {
        let partition = |index| ProducePartition { topic: TopicRef::Id([7; 16]), index, records: None };
        let results: Vec<_> =
            [0, 1].map(|i| ProduceResult::failed(&partition(i), ErrorCode::UNKNOWN_TOPIC_ID, None)).to_vec();
        let bytes = encode_response(&results, &[], &[], 13, 5).unwrap();
        assert_eq!(&bytes[..9], [0, 0, 0, bytes.len() as u8 - 4, 0, 0, 0, 5, 0]);
        assert_eq!(bytes[9], 2, "one topic, compact");
        assert_eq!(&bytes[10..26], [7; 16]);
        assert_eq!(bytes[26], 3, "two partitions, compact");
    }
}
