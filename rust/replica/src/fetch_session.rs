//! Fetch sessions (KIP-227): what a reader asked for before, so that it need not ask again, and so that an answer costs
//! O(changed partitions).
//!
//! A `FetchSet` is the list of partitions one Fetch is about: kept here for a session, or made for one request.
//!
//! INVARIANT: at most `slots_max` sessions; a session younger than `EVICTION_AGE_MS` is never pushed out.
//! INVARIANT: every slot of a session's set watches its partition for as long as the session lives.

use std::collections::HashMap;
use std::sync::Arc;

use wire::fetch::FetchPartition;
use wire::{ErrorCode, TopicRef};

use crate::lock::Lock;
use crate::partition::Partition;
use crate::purgatory::{Watch, Watcher};
use crate::topic::TopicKey;
use crate::view::View;

pub const EVICTION_AGE_MS: i64 = 120_000;

/// One partition of a Fetch, with what its reader was told last.
pub struct FetchSlot {
    pub topic: TopicKey,
    pub request: FetchPartition,
    pub partition: Option<Arc<Partition>>,
    pub told_high_watermark: i64,
    pub told_log_start_offset: i64,
}

/// The partitions that one Fetch is about.
pub struct FetchSet {
    pub slots: Vec<Option<FetchSlot>>,
    pub watch: Arc<Watch>,
}

impl Default for FetchSet {
    fn default() -> Self {
        FetchSet { slots: Vec::new(), watch: Watch::new() }
    }
}

impl FetchSet {
    pub fn push(&mut self, topic: TopicKey, request: FetchPartition, view: &View) -> u32 {
        let slot = self.slots.len() as u32;
        let partition = resolve(&topic, request.partition, view);
        self.slots.push(Some(FetchSlot {
            topic,
            request,
            partition,
            told_high_watermark: -1,
            told_log_start_offset: -1,
        }));
        slot
    }

    pub fn watcher(&self, slot: u32) -> Watcher {
        Watcher { watch: self.watch.clone(), slot }
    }

    pub fn unwatch_all(&self) {
        for (slot, entry) in self.slots.iter().enumerate() {
            if let Some(partition) = entry.as_ref().and_then(|e| e.partition.as_ref()) {
                partition.unwatch(&self.watch, slot as u32);
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = u32> + use<> {
        0..self.slots.len() as u32
    }
}

pub fn resolve(topic: &TopicKey, index: i32, view: &View) -> Option<Arc<Partition>> {
    let id = match topic {
        TopicKey::Id(id) => *id,
        TopicKey::Name(name) => view.topic_by_name(name.as_bytes())?.id,
    };
    view.partition(id, index).cloned()
}

/// The key under which a request names a topic; `names` is the frame its ranges point into.
pub fn topic_key(topic: TopicRef, names: &[u8], view: &View) -> TopicKey {
    match topic {
        TopicRef::Id(id) => TopicKey::Id(id),
        TopicRef::Name(range) => {
            let name = range.of(names);
            match view.topic_by_name(name) {
                Some(topic) => TopicKey::Name(topic.name.clone()),
                None => TopicKey::Name(String::from_utf8_lossy(name).into()),
            }
        }
    }
}

pub struct SessionState {
    pub epoch: i32,
    pub uses_topic_ids: bool,
    pub set: FetchSet,
    by_key: HashMap<(TopicKey, i32), u32>,
    free: Vec<u32>,
    last_used_ms: i64,
}

pub struct Session {
    pub id: i32,
    pub state: Lock<SessionState>,
}

impl SessionState {
    /// Takes over what an incremental request changes. The changed slots become dirty.
    pub fn update(&mut self, partitions: &[FetchPartition], forgotten: &[(TopicRef, i32)], names: &[u8], view: &View) {
        for request in partitions {
            let key = (topic_key(request.topic, names, view), request.partition);
            let slot = match self.by_key.get(&key) {
                Some(slot) => {
                    if let Some(entry) = &mut self.set.slots[*slot as usize] {
                        entry.request = *request;
                    }
                    *slot
                }
                None => self.add(key, *request, view),
            };
            self.set.watch.mark(slot);
        }
        for (topic, index) in forgotten {
            let Some(slot) = self.by_key.remove(&(topic_key(*topic, names, view), *index)) else { continue };
            if let Some(partition) = self.set.slots[slot as usize].take().and_then(|entry| entry.partition) {
                partition.unwatch(&self.set.watch, slot);
            }
            self.free.push(slot);
        }
    }

    fn add(&mut self, key: (TopicKey, i32), request: FetchPartition, view: &View) -> u32 {
        let slot = self.set.push(key.0.clone(), request, view);
        let slot = match self.free.pop() {
            Some(free) => {
                self.set.slots[free as usize] = self.set.slots.pop().flatten();
                free
            }
            None => slot,
        };
        if let Some(partition) = self.set.slots[slot as usize].as_ref().and_then(|entry| entry.partition.as_ref()) {
            partition.watch(self.set.watcher(slot));
        }
        self.by_key.insert(key, slot);
        slot
    }
}

/// All sessions of a broker.
pub struct FetchSessions {
    sessions: Lock<HashMap<i32, Arc<Session>>>,
    slots_max: usize,
    seed: Lock<u64>,
}

impl FetchSessions {
    /// `seed` makes session ids hard to guess; `slots_max` is `max.incremental.fetch.session.cache.slots`.
    pub fn new(slots_max: usize, seed: u64) -> Self {
        FetchSessions { sessions: Lock::default(), slots_max, seed: Lock::new(seed) }
    }

    pub fn count(&self) -> usize {
        self.sessions.lock().len()
    }

    /// Opens a session over an already filled set. None if there is no room: the reader goes on without one.
    pub fn open(&self, set: FetchSet, uses_topic_ids: bool, now_ms: i64) -> Option<Arc<Session>> {
        let mut sessions = self.sessions.lock();
        if sessions.len() >= self.slots_max {
            let oldest = sessions.values().map(|s| (s.state.lock().last_used_ms, s.id)).min()?;
            if now_ms - oldest.0 < EVICTION_AGE_MS {
                return None;
            }
            if let Some(session) = sessions.remove(&oldest.1) {
                session.state.lock().set.unwatch_all();
            }
        }
        let id = loop {
            let id = (split_mix(&mut self.seed.lock()) & 0x7fff_ffff) as i32;
            if id != 0 && !sessions.contains_key(&id) {
                break id;
            }
        };
        let mut by_key = HashMap::with_capacity(set.slots.len());
        for (slot, entry) in set.slots.iter().enumerate() {
            let Some(entry) = entry else { continue };
            by_key.insert((entry.topic.clone(), entry.request.partition), slot as u32);
            if let Some(partition) = &entry.partition {
                partition.watch(set.watcher(slot as u32));
            }
        }
        let state = SessionState { epoch: 1, uses_topic_ids, set, by_key, free: Vec::new(), last_used_ms: now_ms };
        let session = Arc::new(Session { id, state: Lock::new(state) });
        sessions.insert(id, session.clone());
        Some(session)
    }

    pub fn close(&self, id: i32) {
        if let Some(session) = self.sessions.lock().remove(&id) {
            session.state.lock().set.unwatch_all();
        }
    }

    /// The session that an incremental request goes on with; its epoch moves on.
    pub fn resume(&self, id: i32, epoch: i32, uses_topic_ids: bool, now_ms: i64) -> Result<Arc<Session>, ErrorCode> {
        let session = self.sessions.lock().get(&id).cloned().ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        let mut state = session.state.lock();
        if state.epoch != epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        if state.uses_topic_ids != uses_topic_ids {
            return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        state.epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        state.last_used_ms = now_ms;
        drop(state);
        Ok(session)
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
