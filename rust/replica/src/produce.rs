//! A whole Produce request over many partitions: append to each, then answer, or wait for the high watermark.
//!
//! The frame is taken apart so that each batch owns its bytes: it is patched in place, written, and may stay in
//! the partition's hot tail without having been copied.

use std::sync::Arc;

use bytes::BytesMut;
use log::Few;
use record::BatchView;
use wire::produce::{CurrentLeader, NodeEndpoint, ProducePartition, ProduceRequest, ProduceResult, encode_response};
use wire::{ErrorCode, Range32, TopicRef};

use crate::append::{Offered, Told};
use crate::partition::Partition;
use crate::purgatory::{UNMARKED, Wake, Watch, Watcher};
use crate::topic::{PartitionKey, Topic};
use crate::view::View;
use crate::waiting::Wanted;

/// One produce request's answer in the making.
pub struct Produced {
    pub results: Vec<ProduceResult>,
    pub api_version: i16,
    pub correlation_id: i32,
    pub acks: i16,
    pub timeout_ms: u64,
    /// Of the whole request.
    pub request_bytes: usize,
    endpoints: Vec<NodeEndpoint>,
    names: Vec<u8>,
    waits: Vec<Wait>,
    watch: Option<Arc<Watch>>,
}

struct Wait {
    partition: Arc<Partition>,
    result: usize,
    wanted: Wanted,
}

/// A batch whose transaction's coordinator is to be asked before it may be appended.
pub struct Unverified {
    pub partition: Arc<Partition>,
    pub producer_id: i64,
    pub producer_epoch: i16,
    number: u64,
}

impl Unverified {
    /// The coordinator said that the partition is part of the transaction.
    pub fn confirm(&self) {
        self.partition.confirm(self.producer_id, self.number);
    }
}

/// The batches of a transactional request that open their transaction on their partitions.
pub fn unverified(view: &View, request: &ProduceRequest, frame: &[u8]) -> Vec<Unverified> {
    let one = |wanted: &ProducePartition| {
        let batch = BatchView::parse(wanted.records?.of(frame)).ok()?;
        let topic = find_topic(view, wanted.topic, frame)?;
        let partition = view.partition(topic.id, wanted.index)?;
        let number = partition.must_verify(&batch)?;
        let (producer_id, producer_epoch) = (batch.producer_id(), batch.producer_epoch());
        Some(Unverified { partition: partition.clone(), producer_id, producer_epoch, number })
    };
    request.partitions.iter().filter_map(one).collect()
}

fn find_topic<'a>(view: &'a View, topic: TopicRef, bytes: &[u8]) -> Option<&'a Arc<Topic>> {
    match topic {
        TopicRef::Name(name) => view.topic_by_name(name.of(bytes)),
        TopicRef::Id(id) => view.topic_by_id(&id),
    }
}

/// Who asks, as far as Produce cares.
pub struct ProduceCaller {
    pub is_transactional: bool,
    pub is_admin: bool,
    /// What the transaction's coordinator refused.
    pub refused: Vec<(PartitionKey, ErrorCode)>,
    pub api_version: i16,
    pub correlation_id: i32,
}

/// KAFKA: 4.4 lets this one client id write to internal topics.
pub fn is_admin(client_id: &[u8]) -> bool {
    client_id == b"__admin_client"
}

/// A produce request: `frame` is the whole of it, that `request` was decoded from.
pub struct ProduceCall {
    pub caller: ProduceCaller,
    pub request: ProduceRequest,
    pub frame: BytesMut,
}

/// A batch on its way to its partition, and whose answer tells of it.
struct Offer {
    partition: Arc<Partition>,
    offered: Offered,
    call: usize,
    result: usize,
}

/// Appends every partition's batch of these requests, and leaves none of them: to each partition in their order, and what
/// follows each other there together. Tells what came of each.
pub fn produce(view: &View, calls: &mut Vec<ProduceCall>, now_ms: i64) -> Few<Produced> {
    let mut offers = Few::new();
    let taken = calls.drain(..).enumerate().map(|(number, call)| take_apart(view, call, number, &mut offers));
    let mut produced: Few<Produced> = taken.collect();
    offers.sort_by_key(|offer| Arc::as_ptr(&offer.partition));
    let mut offers = offers.into_iter().peekable();
    while let Some(Offer { partition, offered, call, result }) = offers.next() {
        let mut places = Few::from([(call, result)]);
        let mut batches = Few::from([offered]);
        while let Some(other) = offers.next_if(|other| Arc::ptr_eq(&other.partition, &partition)) {
            places.push((other.call, other.result));
            batches.push(other.offered);
        }
        let told = partition.append(batches, now_ms);
        for (told, (call, result)) in told.into_iter().zip(places) {
            produced[call].note(view, &partition, result, told);
        }
    }
    produced
}

/// What cannot be appended is answered at once.
fn take_apart(view: &View, call: ProduceCall, number: usize, offers: &mut Few<Offer>) -> Produced {
    let ProduceCall { caller, request, frame } = call;
    let request_bytes = frame.len();
    let (names, partitions) = keep_names(&frame, &request.partitions);
    let batches = split_batches(frame, &partitions);
    let one = |(index, (wanted, batch)): (usize, (&ProducePartition, Option<BytesMut>))| {
        let offer = find_partition(view, &names, wanted, batch, request.acks, &caller);
        match offer {
            Ok((partition, batch)) => {
                let offered = Offered { batch, acks: request.acks, api_version: caller.api_version };
                offers.push(Offer { partition, offered, call: number, result: index });
                ProduceResult::failed(wanted, ErrorCode::NONE, None)
            }
            Err((error, message)) => ProduceResult::failed(wanted, error, message),
        }
    };
    let results = partitions.iter().zip(batches).enumerate().map(one).collect();
    Produced {
        results,
        api_version: caller.api_version,
        correlation_id: caller.correlation_id,
        acks: request.acks,
        timeout_ms: request.timeout_ms.max(0) as u64,
        request_bytes,
        endpoints: Vec::new(),
        names,
        waits: Vec::new(),
        watch: None,
    }
}

type Refusal = (ErrorCode, Option<String>);

fn find_partition(
    view: &View,
    names: &[u8],
    wanted: &ProducePartition,
    batch: Option<BytesMut>,
    acks: i16,
    caller: &ProduceCaller,
) -> Result<(Arc<Partition>, BytesMut), Refusal> {
    if !(-1..=1).contains(&acks) {
        let message = format!("acks is {acks}, but must be -1 (all), 0 or 1");
        return Err((ErrorCode::INVALID_REQUIRED_ACKS, Some(message)));
    }
    let Some(topic) = find_topic(view, wanted.topic, names) else {
        let is_named = matches!(wanted.topic, TopicRef::Name(_));
        let unknown = if is_named { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION } else { ErrorCode::UNKNOWN_TOPIC_ID };
        return Err((unknown, None));
    };
    if topic.is_internal && !caller.is_admin {
        let message = format!("Cannot append to internal topic {}", topic.name);
        return Err((ErrorCode::INVALID_TOPIC_EXCEPTION, Some(message)));
    }
    let Some(partition) = view.partition(topic.id, wanted.index) else {
        return Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None));
    };
    // KAFKA: 4.4 never answers a Produce with null records; a deliberate difference.
    let Some(batch) = batch else {
        let message = "records are null; a produce request carries exactly one record batch".to_owned();
        return Err((ErrorCode::INVALID_RECORD, Some(message)));
    };
    if let Some((_, error)) = caller.refused.iter().find(|(key, _)| *key == partition.key()) {
        return Err((*error, Some("the transaction's coordinator refused the partition".to_owned())));
    }
    if !caller.is_transactional && BatchView::parse(&batch).is_ok_and(|batch| batch.is_transactional()) {
        let message = "the batch is transactional, but the request has no transactional_id".to_owned();
        return Err((ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, Some(message)));
    }
    Ok((partition.clone(), batch))
}

/// Copies the topic names out of the frame, which is about to be taken apart, and points the partitions at the copy.
fn keep_names(frame: &[u8], partitions: &[ProducePartition]) -> (Vec<u8>, Vec<ProducePartition>) {
    let mut names = Vec::new();
    let mut last: Option<(Range32, Range32)> = None;
    let partitions = partitions
        .iter()
        .map(|partition| match partition.topic {
            TopicRef::Id(_) => *partition,
            TopicRef::Name(range) => {
                let kept = match last {
                    Some((seen, kept)) if seen == range => kept,
                    _ => {
                        let start = names.len() as u32;
                        names.extend_from_slice(range.of(frame));
                        Range32 { start, end: names.len() as u32 }
                    }
                };
                last = Some((range, kept));
                ProducePartition { topic: TopicRef::Name(kept), ..*partition }
            }
        })
        .collect();
    (names, partitions)
}

/// Cuts each partition's payload out of the frame, without copying. Ranges rise, as the decoder read them.
fn split_batches(mut frame: BytesMut, partitions: &[ProducePartition]) -> Vec<Option<BytesMut>> {
    let mut cut_bytes = 0;
    partitions
        .iter()
        .map(|partition| {
            let range = partition.records?;
            let mut head = frame.split_to(range.end as usize - cut_bytes);
            let batch = head.split_off(range.start as usize - cut_bytes);
            cut_bytes = range.end as usize;
            Some(batch)
        })
        .collect()
}

impl Produced {
    /// Takes in what its partition said of a batch.
    fn note(&mut self, view: &View, partition: &Arc<Partition>, result: usize, told: Told) {
        let noted = &mut self.results[result];
        match told {
            Ok(appended) => {
                noted.base_offset = appended.first_offset;
                noted.log_append_time_ms = appended.log_append_time_ms;
                noted.log_start_offset = appended.log_start_offset;
                if let Some(wanted) = appended.wanted(self.acks) {
                    self.waits.push(Wait { partition: partition.clone(), result, wanted });
                }
            }
            Err(failure) => {
                noted.error = failure.error;
                noted.error_message = failure.message;
                noted.record_errors = failure.record_errors;
                noted.current_leader = failure.current_leader;
                noted.log_start_offset = failure.log_start_offset;
                if let Some(leader) = failure.current_leader
                    && let Some(endpoint) = view.endpoint(leader.leader_id)
                    && !self.endpoints.contains(endpoint)
                {
                    self.endpoints.push(endpoint.clone());
                }
            }
        }
    }

    pub fn has_error(&self) -> bool {
        self.results.iter().any(|result| !result.error.is_none())
    }

    pub fn must_wait(&self) -> bool {
        !self.waits.is_empty()
    }

    /// Parks the request until all its partitions' high watermarks passed. False if they have already.
    #[must_use]
    pub fn park(&mut self, ticket: u64, wake: Arc<dyn Wake>) -> bool {
        let watch = Watch::new();
        for wait in &self.waits {
            wait.partition.watch_for(wait.wanted, Watcher { watch: watch.clone(), slot: UNMARKED });
        }
        let parked = watch.park(ticket, wake, self.waits.len());
        self.watch = Some(watch);
        parked
    }

    /// After the wait: what is not replicated by now has timed out; what shrank below min.insync.replicas is told so.
    pub fn settle(&mut self) {
        if let Some(watch) = self.watch.take() {
            watch.unpark();
        }
        for wait in std::mem::take(&mut self.waits) {
            let error = wait.partition.outcome_of(wait.wanted);
            if !error.is_none() {
                let result = &mut self.results[wait.result];
                *result = ProduceResult {
                    topic: result.topic,
                    ..ProduceResult::failed(
                        &ProducePartition { topic: result.topic, index: result.index, records: None },
                        error,
                        None,
                    )
                };
            }
        }
    }

    pub fn encode(&self) -> wire::primitives::Result<Vec<u8>> {
        encode_response(&self.results, &self.endpoints, &self.names, self.api_version, self.correlation_id)
    }
}

/// The leader as far as this broker knows, told to a client that asked the wrong one.
pub fn told_leader(leader_id: i32, leader_epoch: i32) -> Option<CurrentLeader> {
    Some(CurrentLeader { leader_id, leader_epoch })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_cut_out_of_the_frame_in_place() {
        let frame = BytesMut::from(&b"..AAAA..BB."[..]);
        let at = |start, end| ProducePartition {
            topic: TopicRef::Id([0; 16]),
            index: 0,
            records: Some(Range32 { start, end }),
        };
        let null = ProducePartition { records: None, ..at(0, 0) };
        let batches = split_batches(frame, &[at(2, 6), null, at(8, 10)]);
        assert_eq!(batches[0].as_deref(), Some(&b"AAAA"[..]));
        assert!(batches[1].is_none());
        assert_eq!(batches[2].as_deref(), Some(&b"BB"[..]));
    }

    #[test]
    fn a_topic_named_once_is_kept_once() {
        let topic = TopicRef::Name(Range32 { start: 1, end: 4 });
        let partition = ProducePartition { topic, index: 0, records: None };
        let (names, partitions) = keep_names(b"xabcx", &[partition, partition]);
        assert_eq!(names, b"abc");
        assert_eq!(partitions[1].topic, TopicRef::Name(Range32 { start: 0, end: 3 }));
    }
}
