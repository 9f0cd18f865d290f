//! What all event loops share: the view, the sessions, the queue of upcalls, who is connected, and how much is queued.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use replica::fetch_session::FetchSessions;
use replica::lock::Lock;
use replica::view::Published;
use wire::header::{ApiTable, METADATA};

use crate::bringing::Bringers;
use crate::config::ServerConfig;
use crate::inbox::{Inbox, Message};
use crate::kept::Kept;
use crate::topic_parts::TopicParts;
use crate::upcall::UpcallQueue;

/// What all loops share.
pub struct Shared {
    pub config: ServerConfig,
    pub apis: ApiTable,
    pub published: Arc<Published>,
    pub sessions: FetchSessions,
    pub upcalls: Arc<UpcallQueue>,
    pub kept: Kept,
    pub topic_parts: TopicParts,
    pub bringers: Arc<Bringers>,
    pub inboxes: Vec<Arc<Inbox>>,
    pub connections: Connections,
    pub queued_bytes: AtomicUsize,
    pub stopping: AtomicBool,
    started: Instant,
}

/// Who is connected, and how many may be. The limits can change while the broker runs.
pub struct Connections {
    by_ip: Lock<HashMap<IpAddr, usize>>,
    pub count: AtomicUsize,
    count_max: AtomicUsize,
    per_ip_max: AtomicUsize,
}

impl Connections {
    fn new(count_max: usize, per_ip_max: usize) -> Self {
        Connections {
            by_ip: Lock::default(),
            count: AtomicUsize::new(0),
            count_max: AtomicUsize::new(count_max),
            per_ip_max: AtomicUsize::new(per_ip_max),
        }
    }

    /// `max.connections` and `max.connections.per.ip`. Those who are connected stay.
    pub fn set_limits(&self, count_max: usize, per_ip_max: usize) {
        self.count_max.store(count_max, Ordering::Relaxed);
        self.per_ip_max.store(per_ip_max, Ordering::Relaxed);
    }

    pub fn admit(&self, ip: IpAddr) -> Result<(), String> {
        let (count_max, per_ip_max) = (self.count_max.load(Ordering::Relaxed), self.per_ip_max.load(Ordering::Relaxed));
        if self.count.load(Ordering::Relaxed) >= count_max {
            return Err(format!("max.connections={count_max} reached"));
        }
        let mut by_ip = self.by_ip.lock();
        let of_ip = by_ip.entry(ip).or_default();
        if *of_ip >= per_ip_max {
            return Err(format!("max.connections.per.ip={per_ip_max} reached"));
        }
        *of_ip += 1;
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    pub fn leave(&self, ip: IpAddr) {
        let mut by_ip = self.by_ip.lock();
        if let Some(of_ip) = by_ip.get_mut(&ip) {
            *of_ip -= 1;
            if *of_ip == 0 {
                by_ip.remove(&ip);
            }
        }
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    pub fn new(
        config: ServerConfig,
        published: Arc<Published>,
        upcalls: Arc<UpcallQueue>,
        inboxes: Vec<Arc<Inbox>>,
    ) -> Shared {
        let connections = Connections::new(config.connections_max, config.connections_per_ip_max);
        Shared {
            apis: ApiTable::new(config.apis.iter().copied()),
            sessions: FetchSessions::new(config.fetch_session_slots, config.seed),
            config,
            published,
            upcalls,
            kept: Kept::default(),
            topic_parts: TopicParts::default(),
            bringers: Arc::default(),
            inboxes,
            connections,
            queued_bytes: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            started: Instant::now(),
        }
    }

    /// Milliseconds since the start.
    pub fn clock_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// What the control plane has given down to answer this with.
    pub fn known_answer(&self, api_key: i16, api_version: i16, listener: usize, body: &[u8]) -> Option<Bytes> {
        let kept = self.kept.find(api_key, api_version, listener, body, self.clock_ms());
        let told = || self.topic_parts.answer((api_version, listener), body);
        kept.or_else(|| (api_key == METADATA).then(told).flatten())
    }

    pub fn room_again(&self) {
        self.inboxes.iter().for_each(|inbox| inbox.send(Message::RoomAgain));
    }

    pub fn over_queued_bytes(&self) -> bool {
        let queued = self.queued_bytes.load(Ordering::Relaxed);
        self.config.queued_request_bytes_max.is_some_and(|max| queued > max)
    }
}

pub fn wall_clock_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as i64)
}
