//! A whole Fetch request over many partitions: read each, then answer, or wait for the append that makes it worth while.
//!
//! Three kinds of request meet here: without a session (all its partitions are read and told), opening one (the same,
//! and remembered), and going on with one (only slots with news are looked at, and only changes are told).
//!
//! Limits (KIP-74): the first partition with data gives at least one whole batch, however large; after that nothing
//! goes beyond `max_bytes` of the request, of the broker, and of each partition.

use std::sync::Arc;

use log::Region;
use wire::fetch::{Encoded, FetchRequest, FetchResponse, FetchResult, uses_topic_ids};
use wire::produce::NodeEndpoint;
use wire::{ErrorCode, TopicRef};

use crate::fetch_session::{FetchSessions, FetchSet, FetchSlot, Session, resolve, topic_key};
use crate::purgatory::Wake;
use crate::read::{ReadRequest, ReadResult, Records};
use crate::topic::TopicKey;
use crate::view::{Published, View};

/// What the answer is made of: the encoded response and the payloads that go into its holes, in order.
pub struct Answer {
    pub encoded: Encoded,
    pub payloads: Vec<Records>,
}

/// A Fetch in progress.
pub struct Fetching {
    kind: Kind,
    api_version: i16,
    correlation_id: i32,
    replica_id: i32,
    min_bytes: usize,
    max_bytes: usize,
    isolation_level: i8,
    pub max_wait_ms: i32,
    bringing: Bringing,
}

/// What this request wants of the disk.
enum Bringing {
    Nothing,
    /// Nobody brings it yet.
    Wanted(Region),
    Ordered,
    /// It was brought. What memory has lost again meanwhile is waited for, so that the request is answered some time.
    Done,
}

enum Kind {
    /// Every partition is read and told. `watched` once it has begun to wait.
    Full { set: FetchSet, session: SessionWish, watched: bool },
    /// Only news is read and told.
    Incremental { session: Arc<Session> },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SessionWish {
    None,
    Open,
}

/// One pass over the partitions.
struct Pass {
    reads: Vec<(u32, ReadResult)>,
    bytes: usize,
    /// An error or a divergence is told at once; so is a request about nothing.
    urgent: bool,
    /// The first that is to be brought from the disk.
    cold: Option<Region>,
}

pub enum Begun {
    Fetching(Fetching),
    /// A session error: told at the top level, without partitions.
    Refused(Answer),
}

impl Fetching {
    /// Starts a request, finding or preparing its session. `names` is the frame that the request points into.
    pub fn begin(
        request: &FetchRequest,
        names: &[u8],
        view: &View,
        sessions: &FetchSessions,
        call: FetchCall,
    ) -> wire::primitives::Result<Begun> {
        let by_ids = uses_topic_ids(call.api_version);
        let kind = match (request.session_id, request.session_epoch) {
            (id, -1 | 0) => {
                if id != 0 {
                    sessions.close(id);
                }
                let session = if request.session_epoch == 0 { SessionWish::Open } else { SessionWish::None };
                Kind::Full { set: full_set(request, names, view), session, watched: false }
            }
            (id, epoch) => match sessions.resume(id, epoch, by_ids, call.now_ms) {
                Ok(session) => {
                    session.state.lock().update(&request.partitions, &request.forgotten, names, view);
                    Kind::Incremental { session }
                }
                Err(error) => return refuse(error, call).map(Begun::Refused),
            },
        };
        Ok(Begun::Fetching(Fetching {
            kind,
            api_version: call.api_version,
            correlation_id: call.correlation_id,
            replica_id: request.replica_id,
            min_bytes: request.min_bytes.max(0) as usize,
            max_bytes: (request.max_bytes.max(0) as usize).min(call.broker_bytes_max),
            isolation_level: request.isolation_level,
            max_wait_ms: request.max_wait_ms,
            bringing: Bringing::Nothing,
        }))
    }

    /// What is to be brought from the disk for it, once for each request. If it is not answered yet, `brought` follows.
    pub fn take_cold(&mut self) -> Option<Region> {
        match std::mem::replace(&mut self.bringing, Bringing::Ordered) {
            Bringing::Wanted(cold) => Some(cold),
            other => {
                self.bringing = other;
                None
            }
        }
    }

    /// What it wanted of the disk is in memory, and it may go on.
    pub fn brought(&mut self) {
        self.bringing = Bringing::Done;
    }

    /// Answers if there is enough to tell (or `last_chance`); otherwise parks under `ticket` and gives None. Records that only the
    /// disk has are there to be told: however short the wait is to be, it does not end before they were brought, unless
    /// there are others.
    pub fn answer_or_park(
        &mut self,
        published: &Published,
        sessions: &FetchSessions,
        now_ms: i64,
        ticket: u64,
        wake: &Arc<dyn Wake>,
        last_chance: bool,
    ) -> wire::primitives::Result<Option<Answer>> {
        loop {
            let view = published.load();
            let mut pass = self.pass(&view);
            let cold = pass.cold.take();
            let is_over = last_chance || self.max_wait_ms <= 0;
            let least = match &cold {
                Some(_) => 1,
                None if is_over => 0,
                None => self.min_bytes,
            };
            let enough = pass.urgent || pass.bytes >= least;
            if let Some(cold) = cold
                && matches!(self.bringing, Bringing::Nothing)
            {
                self.bringing = Bringing::Wanted(cold);
            }
            if enough {
                return self.tell(&view, sessions, pass, now_ms).map(Some);
            }
            let wanted = (self.min_bytes - pass.bytes).max(1);
            if self.park(pass, ticket, wake, wanted) {
                return Ok(None);
            }
        }
    }

    fn read_request<'s>(&self, slot: &'s FetchSlot, bytes_left: usize, min_one: bool) -> ReadRequest<'s> {
        ReadRequest {
            request: &slot.request,
            replica_id: self.replica_id,
            isolation_level: self.isolation_level,
            bytes_left,
            min_one,
            may_wait: matches!(self.bringing, Bringing::Done),
        }
    }

    fn read_slot(&self, slot: &mut FetchSlot, view: &View, bytes_left: usize, min_one: bool) -> ReadResult {
        if slot.partition.as_ref().is_none_or(|p| p.is_gone())
            && let Some(partition) = resolve(&slot.topic, slot.request.partition, view)
        {
            slot.partition = Some(partition);
        }
        match &slot.partition {
            Some(partition) if !partition.is_gone() => partition.read(&self.read_request(slot, bytes_left, min_one)),
            _ => ReadResult::failed(unknown_partition(slot, view, self.is_incremental())),
        }
    }

    fn is_incremental(&self) -> bool {
        matches!(self.kind, Kind::Incremental { .. })
    }

    fn pass(&mut self, view: &View) -> Pass {
        let mut pass = Pass { reads: Vec::new(), bytes: 0, urgent: false, cold: None };
        // The kind is taken out for the time of the pass, so that the slots can change while `self` is read.
        let mut kind = std::mem::replace(
            &mut self.kind,
            Kind::Full { set: FetchSet::default(), session: SessionWish::None, watched: false },
        );
        match &mut kind {
            Kind::Full { set, .. } => {
                pass.urgent = set.slots.is_empty();
                set.watch.take_dirty();
                for slot in set.iter() {
                    self.visit(set, slot, view, &mut pass);
                }
            }
            Kind::Incremental { session } => {
                let mut state = session.state.lock();
                for slot in state.set.watch.take_dirty() {
                    self.visit(&mut state.set, slot, view, &mut pass);
                }
                pass.urgent |= state.set.slots.is_empty();
            }
        }
        self.kind = kind;
        pass
    }

    fn visit(&self, set: &mut FetchSet, slot: u32, view: &View, pass: &mut Pass) {
        let watcher = set.watcher(slot);
        let Some(entry) = set.slots.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        let had = entry.partition.clone();
        let mut read = self.read_slot(entry, view, self.max_bytes.saturating_sub(pass.bytes), pass.bytes == 0);
        pass.cold = pass.cold.take().or(read.cold.take());
        if self.is_incremental()
            && let Some(partition) = &entry.partition
            && had.is_none_or(|before| !Arc::ptr_eq(&before, partition))
        {
            partition.watch(watcher);
        }
        pass.bytes += read.records.len();
        pass.urgent |= !read.error.is_none() || read.diverging.is_some();
        pass.reads.push((slot, read));
    }

    /// Begins to wait. False if there is news already.
    fn park(&mut self, pass: Pass, ticket: u64, wake: &Arc<dyn Wake>, wanted: usize) -> bool {
        match &mut self.kind {
            Kind::Full { set, watched, .. } => {
                for (slot, read) in &pass.reads {
                    let Some(partition) = set.slots[*slot as usize].as_ref().and_then(|s| s.partition.as_ref()) else {
                        continue;
                    };
                    partition.watch_since(set.watcher(*slot), read.high_watermark, !*watched);
                }
                *watched = true;
                set.watch.park(ticket, wake.clone(), wanted)
            }
            Kind::Incremental { session } => {
                let state = session.state.lock();
                // What was read but not told is still to be told when the wait ends.
                let untold = |(slot, read): &(u32, ReadResult)| {
                    let entry = state.set.slots[*slot as usize].as_ref();
                    entry.is_some_and(|entry| is_news(entry, read) || read.held_back).then_some(*slot)
                };
                state.set.watch.put_back(pass.reads.iter().filter_map(untold));
                state.set.watch.park(ticket, wake.clone(), wanted)
            }
        }
    }

    /// Ends the wait without an answer: the connection is gone.
    pub fn abandon(&mut self) {
        match &mut self.kind {
            Kind::Full { set, watched, .. } => {
                set.watch.unpark();
                if *watched {
                    set.unwatch_all();
                }
            }
            Kind::Incremental { session } => session.state.lock().set.watch.unpark(),
        }
    }

    fn tell(
        &mut self,
        view: &View,
        sessions: &FetchSessions,
        mut pass: Pass,
        now_ms: i64,
    ) -> wire::primitives::Result<Answer> {
        self.abandon();
        let mut endpoints = Vec::new();
        for (_, read) in &pass.reads {
            note_endpoint(&mut endpoints, read, view);
        }
        match &mut self.kind {
            Kind::Full { set, session, .. } => {
                let mut set = std::mem::take(set);
                let mut session_id = 0;
                let encoded = if *session == SessionWish::Open {
                    for (slot, read) in &pass.reads {
                        remember(&mut set, *slot, read);
                    }
                    let topics = topic_keys(&set, &pass.reads);
                    set.watch.take_dirty();
                    set.watch.put_back(pass.reads.iter().filter(|(_, r)| stays_dirty(r)).map(|(slot, _)| *slot));
                    let watched_hw = watched_since(&set, &pass.reads);
                    if let Some(opened) = sessions.open(set, uses_topic_ids(self.api_version), now_ms) {
                        session_id = opened.id;
                        catch_up(&opened, watched_hw);
                    }
                    encode(&topics, &pass.reads, session_id, &endpoints, self.api_version, self.correlation_id)?
                } else {
                    let topics = topic_keys(&set, &pass.reads);
                    encode(&topics, &pass.reads, 0, &endpoints, self.api_version, self.correlation_id)?
                };
                Ok(Answer { encoded, payloads: payloads(pass.reads) })
            }
            Kind::Incremental { session } => {
                let mut state = session.state.lock();
                let dirty: Vec<u32> =
                    pass.reads.iter().filter(|(_, r)| stays_dirty(r)).map(|(slot, _)| *slot).collect();
                pass.reads.retain(|(slot, read)| {
                    state.set.slots[*slot as usize].as_ref().is_some_and(|entry| is_news(entry, read))
                });
                for (slot, read) in &pass.reads {
                    remember(&mut state.set, *slot, read);
                }
                state.set.watch.put_back(dirty);
                let topics = topic_keys(&state.set, &pass.reads);
                drop(state);
                // One topic's partitions are told together, whatever order their news came in.
                let mut order: Vec<usize> = (0..topics.len()).collect();
                let mut first_seen = std::collections::HashMap::new();
                for (position, (topic, _)) in topics.iter().enumerate() {
                    first_seen.entry(topic.clone()).or_insert(position);
                }
                order.sort_by_key(|i| first_seen[&topics[*i].0]);
                let topics: Vec<(TopicKey, i32)> = order.iter().map(|i| topics[*i].clone()).collect();
                let mut slots: Vec<Option<(u32, ReadResult)>> = pass.reads.into_iter().map(Some).collect();
                let reads: Vec<_> = order.iter().filter_map(|i| slots[*i].take()).collect();
                let encoded = encode(&topics, &reads, session.id, &endpoints, self.api_version, self.correlation_id)?;
                Ok(Answer { encoded, payloads: payloads(reads) })
            }
        }
    }
}

/// What a Fetch needs to know of its call besides the request.
#[derive(Clone, Copy)]
pub struct FetchCall {
    pub api_version: i16,
    pub correlation_id: i32,
    pub now_ms: i64,
    /// `fetch.max.bytes` of the broker.
    pub broker_bytes_max: usize,
}

fn refuse(error: ErrorCode, call: FetchCall) -> wire::primitives::Result<Answer> {
    let response = FetchResponse { error, session_id: 0, results: &[], endpoints: &[] };
    Ok(Answer { encoded: response.encode(call.api_version, call.correlation_id)?, payloads: Vec::new() })
}

fn full_set(request: &FetchRequest, names: &[u8], view: &View) -> FetchSet {
    let mut set = FetchSet::default();
    let mut last: Option<(TopicRef, TopicKey)> = None;
    for partition in &request.partitions {
        let key = match &last {
            Some((topic, key)) if *topic == partition.topic => key.clone(),
            _ => topic_key(partition.topic, names, view),
        };
        last = Some((partition.topic, key.clone()));
        set.push(key, *partition, view);
    }
    set
}

/// KAFKA: 4.4 answers UNKNOWN_TOPIC_ID outside of a session only; a session whose topic went away hears
/// UNKNOWN_TOPIC_OR_PARTITION, and INCONSISTENT_TOPIC_ID once the name is taken by a new topic.
fn unknown_partition(slot: &FetchSlot, view: &View, in_session: bool) -> ErrorCode {
    match &slot.topic {
        TopicKey::Name(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        TopicKey::Id(id) if view.topic_by_id(id).is_some() => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        TopicKey::Id(_) => match &slot.partition {
            Some(gone) if in_session => match view.topic_by_name(gone.topic.name.as_bytes()) {
                Some(_) => ErrorCode::INCONSISTENT_TOPIC_ID,
                None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            },
            _ => ErrorCode::UNKNOWN_TOPIC_ID,
        },
    }
}

fn is_news(slot: &FetchSlot, read: &ReadResult) -> bool {
    read.records.len() > 0
        || !read.error.is_none()
        || read.diverging.is_some()
        || read.high_watermark != slot.told_high_watermark
        || read.log_start_offset != slot.told_log_start_offset
}

/// A slot that gave data may have more, and an error is told again until it is gone.
fn stays_dirty(read: &ReadResult) -> bool {
    read.records.len() > 0 || read.held_back || !read.error.is_none()
}

fn remember(set: &mut FetchSet, slot: u32, read: &ReadResult) {
    if let Some(entry) = &mut set.slots[slot as usize] {
        entry.told_high_watermark = if read.error.is_none() { read.high_watermark } else { -1 };
        entry.told_log_start_offset = if read.error.is_none() { read.log_start_offset } else { -1 };
    }
}

fn watched_since(set: &FetchSet, reads: &[(u32, ReadResult)]) -> Vec<(u32, i64)> {
    let known = |slot: u32| set.slots[slot as usize].as_ref().is_some_and(|s| s.partition.is_some());
    reads.iter().filter(|(slot, _)| known(*slot)).map(|(slot, read)| (*slot, read.high_watermark)).collect()
}

/// What was appended between the read and the start of watching is marked, so that it is not slept through.
fn catch_up(session: &Session, seen: Vec<(u32, i64)>) {
    let state = session.state.lock();
    for (slot, high_watermark) in seen {
        let entry = state.set.slots[slot as usize].as_ref();
        if let Some(partition) = entry.and_then(|entry| entry.partition.as_ref())
            && partition.high_watermark() != high_watermark
        {
            state.set.watch.mark(slot);
        }
    }
}

/// The topic and partition index of each read.
fn topic_keys(set: &FetchSet, reads: &[(u32, ReadResult)]) -> Vec<(TopicKey, i32)> {
    let key = |entry: &FetchSlot| (entry.topic.clone(), entry.request.partition);
    reads.iter().filter_map(|(slot, _)| set.slots[*slot as usize].as_ref().map(key)).collect()
}

fn note_endpoint(endpoints: &mut Vec<NodeEndpoint>, read: &ReadResult, view: &View) {
    if let Some(leader) = read.current_leader
        && let Some(endpoint) = view.endpoint(leader.leader_id)
        && !endpoints.contains(endpoint)
    {
        endpoints.push(endpoint.clone());
    }
}

fn encode(
    topics: &[(TopicKey, i32)],
    reads: &[(u32, ReadResult)],
    session_id: i32,
    endpoints: &[NodeEndpoint],
    api_version: i16,
    correlation_id: i32,
) -> wire::primitives::Result<Encoded> {
    let results: Vec<FetchResult<'_>> =
        topics.iter().zip(reads).map(|((topic, index), (_, read))| read.told(topic, *index)).collect();
    FetchResponse { error: ErrorCode::NONE, session_id, results: &results, endpoints }
        .encode(api_version, correlation_id)
}

fn payloads(reads: Vec<(u32, ReadResult)>) -> Vec<Records> {
    reads.into_iter().map(|(_, read)| read.records).filter(|records| records.len() > 0).collect()
}
