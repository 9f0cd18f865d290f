//! One event-loop thread: it owns connections, reads their requests, answers Produce and Fetch from the view, hands the
//! rest up, and sends the answers. It never waits for the control plane and never takes the GIL.
//!
//! ```text
//!   socket readable  -> frames -> Produce / Fetch answered here, everything else an upcall
//!   inbox            -> an answer from the control plane; a parked request may go on; a new connection
//!   timer            -> a parked request has waited long enough; idle connections are closed
//! ```
//!
//! INVARIANT: a connection belongs to one loop for life. Loops talk to each other through inboxes only.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use parking_lot::Mutex;
use replica::fetch::{Begun, FetchCall, Fetching};
use replica::fetch_session::FetchSessions;
use replica::produce::{ProduceCaller, Unverified, produce, unverified};
use replica::purgatory::Wake;
use replica::view::{PartitionKey, Published};
use slab::Slab;
use wire::ErrorCode;
use wire::fetch::FetchRequest;
use wire::header::{ApiTable, FETCH, PRODUCE, RequestHeader, frame_response};
use wire::produce::ProduceRequest;

use crate::config::ServerConfig;
use crate::connection::{Chunk, Closed, Connection, Pending, Verifying};
use crate::kept::Kept;
use crate::upcall::{Level, Request, Ticket, UpcallQueue, Verify};

const WAKER: Token = Token(usize::MAX);
const LISTENERS: usize = usize::MAX / 2;
/// Requests answered for one connection before the others get their turn.
const REQUESTS_A_TURN: usize = 64;
const IDLE_SWEEP_MS: u64 = 1000;
const VERIFY_ATTEMPTS_MAX: u32 = 5;

pub enum Message {
    Accepted {
        stream: TcpStream,
        peer: SocketAddr,
        listener: usize,
    },
    Respond {
        ticket: Ticket,
        body: Bytes,
        close: bool,
    },
    /// The coordinator's word on each partition of a request that waited for it.
    Verified {
        ticket: Ticket,
        errors: Vec<i16>,
    },
    Woken(Ticket),
    /// There is room in the queue of upcalls, or under the limit of queued bytes, again.
    RoomAgain,
    Stop,
}

/// How everybody else reaches a loop.
pub struct Inbox {
    index: usize,
    messages: Mutex<Vec<Message>>,
    waker: Waker,
}

thread_local! {
    static CURRENT: Cell<usize> = const { Cell::new(usize::MAX) };
}

impl Inbox {
    pub fn send(&self, message: Message) {
        self.send_all([message]);
    }

    pub fn send_all(&self, sent: impl IntoIterator<Item = Message>) {
        let mut messages = self.messages.lock();
        let was_empty = messages.is_empty();
        messages.extend(sent);
        let first = was_empty && !messages.is_empty();
        drop(messages);
        // A loop looks into its own inbox before it sleeps.
        if first && CURRENT.get() != self.index {
            let _ = self.waker.wake();
        }
    }
}

impl Wake for Inbox {
    fn wake(&self, ticket: u64) {
        self.send(Message::Woken(ticket));
    }
}

/// What all loops share.
pub struct Shared {
    pub config: ServerConfig,
    pub apis: ApiTable,
    pub published: Arc<Published>,
    pub sessions: FetchSessions,
    pub upcalls: Arc<UpcallQueue>,
    pub kept: Kept,
    pub inboxes: Vec<Arc<Inbox>>,
    pub connections: Connections,
    pub queued_bytes: AtomicUsize,
    pub stopping: AtomicBool,
    started: Instant,
}

/// Who is connected, and how many may be. The limits can change while the broker runs.
pub struct Connections {
    by_ip: Mutex<HashMap<IpAddr, usize>>,
    pub count: AtomicUsize,
    count_max: AtomicUsize,
    per_ip_max: AtomicUsize,
}

impl Connections {
    fn new(count_max: usize, per_ip_max: usize) -> Self {
        Connections {
            by_ip: Mutex::default(),
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

    fn admit(&self, ip: IpAddr) -> Result<(), String> {
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

    fn leave(&self, ip: IpAddr) {
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

    pub fn room_again(&self) {
        self.inboxes.iter().for_each(|inbox| inbox.send(Message::RoomAgain));
    }

    fn over_queued_bytes(&self) -> bool {
        let queued = self.queued_bytes.load(Ordering::Relaxed);
        self.config.queued_request_bytes_max.is_some_and(|max| queued > max)
    }
}

pub fn wall_clock_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as i64)
}

/// A ticket names the loop, the connection, and a request of it that never comes again.
fn ticket_of(reactor: usize, key: usize, number: u32) -> Ticket {
    (reactor as u64) << 56 | (key as u64 & 0xff_ffff) << 32 | u64::from(number)
}

pub fn reactor_of(ticket: Ticket) -> usize {
    (ticket >> 56) as usize
}

fn key_of(ticket: Ticket) -> usize {
    (ticket >> 32) as usize & 0xff_ffff
}

pub struct Reactor {
    index: usize,
    poll: Poll,
    inbox: Arc<Inbox>,
    wake: Arc<dyn Wake>,
    shared: Arc<Shared>,
    listeners: Vec<TcpListener>,
    connections: Slab<Connection>,
    addresses: HashMap<usize, IpAddr>,
    work: VecDeque<usize>,
    timers: BinaryHeap<Reverse<(u64, Ticket)>>,
    next_number: u32,
    next_sweep_ms: u64,
    /// Connections that wait for room: in the queue of upcalls, or under the limit of queued bytes.
    waiting_for_room: Vec<usize>,
    next_reactor: usize,
}

/// A loop that has its poll and inbox but does not run yet.
pub struct Prepared {
    poll: Poll,
    pub inbox: Arc<Inbox>,
}

pub fn prepare(index: usize) -> io::Result<Prepared> {
    let poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), WAKER)?;
    Ok(Prepared { poll, inbox: Arc::new(Inbox { index, messages: Mutex::default(), waker }) })
}

impl Reactor {
    /// The first loop gets the listeners, and deals the connections out.
    pub fn new(
        index: usize,
        prepared: Prepared,
        shared: Arc<Shared>,
        mut listeners: Vec<TcpListener>,
    ) -> io::Result<Reactor> {
        for (number, listener) in listeners.iter_mut().enumerate() {
            prepared.poll.registry().register(listener, Token(LISTENERS + number), Interest::READABLE)?;
        }
        Ok(Reactor {
            index,
            poll: prepared.poll,
            wake: prepared.inbox.clone(),
            inbox: prepared.inbox,
            shared,
            listeners,
            connections: Slab::new(),
            addresses: HashMap::new(),
            work: VecDeque::new(),
            timers: BinaryHeap::new(),
            next_number: 0,
            next_sweep_ms: IDLE_SWEEP_MS,
            waiting_for_room: Vec::new(),
            next_reactor: 0,
        })
    }

    pub fn run(mut self) {
        CURRENT.set(self.index);
        let mut events = Events::with_capacity(1024);
        loop {
            let timeout = if self.work.is_empty() { self.until_next_timer() } else { Some(Duration::ZERO) };
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                self.shared.upcalls.notice(Level::Error, format!("event loop {}: {error}", self.index));
            }
            for event in &events {
                match event.token() {
                    WAKER => {}
                    Token(token) if token >= LISTENERS => self.accept(token - LISTENERS),
                    Token(key) => {
                        if let Some(connection) = self.connections.get_mut(key) {
                            connection.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
                            connection.writable |= event.is_writable();
                            self.work.push_back(key);
                        }
                    }
                }
            }
            for _ in 0..self.work.len() {
                if let Some(key) = self.work.pop_front() {
                    self.drive(key);
                }
            }
            self.expire();
            if !self.read_inbox() {
                return;
            }
        }
    }

    fn until_next_timer(&self) -> Option<Duration> {
        let now = self.shared.clock_ms();
        let next = self.timers.peek().map_or(u64::MAX, |Reverse((deadline, _))| *deadline);
        let next = if self.shared.config.idle_ms_max.is_some() { next.min(self.next_sweep_ms) } else { next };
        (next < u64::MAX).then(|| Duration::from_millis(next.saturating_sub(now)))
    }

    /// Handles everything in the inbox, and what that leads to, before the loop sleeps. False to stop.
    fn read_inbox(&mut self) -> bool {
        loop {
            let messages = std::mem::take(&mut *self.inbox.messages.lock());
            if messages.is_empty() {
                return true;
            }
            for message in messages {
                match message {
                    Message::Accepted { stream, peer, listener } => self.adopt(stream, peer, listener),
                    Message::Respond { ticket, body, close } => self.respond(ticket, body, close),
                    Message::Verified { ticket, errors } => self.verified(ticket, &errors),
                    Message::Woken(ticket) => self.go_on(ticket, false),
                    Message::RoomAgain => self.work.extend(self.waiting_for_room.drain(..)),
                    Message::Stop => {
                        let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
                        keys.into_iter().for_each(|key| self.close(key, Closed::ByPeer));
                        return false;
                    }
                }
            }
        }
    }

    fn accept(&mut self, listener: usize) {
        loop {
            match self.listeners[listener].accept() {
                Ok((stream, peer)) => {
                    if let Err(reason) = self.shared.connections.admit(peer.ip()) {
                        self.shared.upcalls.notice(Level::Warning, format!("connection from {peer} refused: {reason}"));
                        continue;
                    }
                    let target = self.next_reactor;
                    self.next_reactor = (target + 1) % self.shared.inboxes.len();
                    self.shared.inboxes[target].send(Message::Accepted { stream, peer, listener });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // Out of descriptors, or the peer was quicker to leave: the next event tries again.
                    self.shared.upcalls.notice(Level::Warning, format!("accept failed: {error}"));
                    return;
                }
            }
        }
    }

    fn adopt(&mut self, mut stream: TcpStream, peer: SocketAddr, listener: usize) {
        let _ = stream.set_nodelay(true);
        crate::sys_options::set_buffers(&stream, &self.shared.config);
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if key > 0xff_ffff || self.poll.registry().register(&mut stream, Token(key), interest).is_err() {
            self.shared.connections.leave(peer.ip());
            return;
        }
        entry.insert(Connection::new(stream, peer.ip().to_string().into(), listener, self.shared.clock_ms()));
        self.addresses.insert(key, peer.ip());
        self.work.push_back(key);
    }

    fn close(&mut self, key: usize, why: Closed) {
        let Some(mut connection) = self.connections.try_remove(key) else { return };
        if let Closed::Because(reason) = why {
            let text = format!("closing connection from {}: {reason}", connection.peer_host);
            self.shared.upcalls.notice(Level::Info, text);
        }
        match &mut connection.pending {
            Pending::Fetch(fetching) => fetching.abandon(),
            Pending::Produce(produced) => produced.settle(),
            _ => {}
        }
        self.uncharge(connection.charged_bytes);
        let _ = self.poll.registry().deregister(&mut connection.stream);
        if let Some(ip) = self.addresses.remove(&key) {
            self.shared.connections.leave(ip);
        }
    }

    fn uncharge(&self, bytes: usize) {
        if bytes > 0 {
            let was_over = self.shared.over_queued_bytes();
            self.shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            if was_over && !self.shared.over_queued_bytes() {
                self.shared.room_again();
            }
        }
    }

    /// Charges the connection with what it holds now.
    fn recharge(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let held = connection.received_bytes()
            + match &connection.pending {
                Pending::Stalled { request, .. } => request.body.len(),
                Pending::Verify(verifying) => verifying.frame.len(),
                _ => 0,
            };
        let before = std::mem::replace(&mut connection.charged_bytes, held);
        if held > before {
            self.shared.queued_bytes.fetch_add(held - before, Ordering::Relaxed);
        } else {
            self.uncharge(before - held);
        }
    }

    /// Gives a connection its turn.
    fn drive(&mut self, key: usize) {
        let result = self.turn(key);
        self.recharge(key);
        match result {
            Ok(again) => {
                if again {
                    self.work.push_back(key);
                }
            }
            Err(why) => self.close(key, why),
        }
    }

    /// True if it has more to do at once.
    fn turn(&mut self, key: usize) -> Result<bool, Closed> {
        let request_bytes_max = self.shared.config.request_bytes_max;
        for _ in 0..REQUESTS_A_TURN {
            let Some(connection) = self.connections.get_mut(key) else { return Ok(false) };
            if let Pending::Stalled { .. } = connection.pending {
                self.push_again(key);
                return self.flush(key).map(|()| false);
            }
            let may_start =
                matches!(connection.pending, Pending::None) && !connection.is_backlogged() && !connection.closing;
            if !may_start {
                self.flush(key)?;
                return Ok(false);
            }
            if let Some(frame) = connection.take_frame(request_bytes_max)? {
                connection.last_active_ms = self.shared.clock_ms();
                self.handle(key, frame)?;
                continue;
            }
            self.flush(key)?;
            let Some(connection) = self.connections.get_mut(key) else { return Ok(false) };
            if !connection.readable || connection.is_backlogged() {
                return Ok(false);
            }
            if self.shared.over_queued_bytes() && !self.may_exceed(key) {
                self.waiting_for_room.push(key);
                return Ok(false);
            }
            let Some(connection) = self.connections.get_mut(key) else { return Ok(false) };
            if !connection.read_some(request_bytes_max)? {
                return Ok(false);
            }
        }
        self.flush(key)?;
        Ok(true)
    }

    /// Over the limit of queued bytes, one connection of each loop may finish the request it is in the middle of, so
    /// that half-read requests never lock each other out.
    fn may_exceed(&self, key: usize) -> bool {
        let partial = |(key, connection): (usize, &Connection)| (connection.received_bytes() > 0).then_some(key);
        self.connections.iter().find_map(partial).is_none_or(|first| first == key)
    }

    fn flush(&mut self, key: usize) -> Result<(), Closed> {
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        let was_backlogged = connection.is_backlogged();
        connection.flush()?;
        if connection.closing && !connection.has_unsent() {
            return Err(Closed::ByPeer);
        }
        if was_backlogged && !connection.is_backlogged() {
            self.work.push_back(key);
        }
        Ok(())
    }

    fn new_ticket(&mut self, key: usize) -> Ticket {
        self.next_number = self.next_number.wrapping_add(1);
        ticket_of(self.index, key, self.next_number)
    }

    fn handle(&mut self, key: usize, frame: BytesMut) -> Result<(), Closed> {
        let header = RequestHeader::decode(&frame, &self.shared.apis).map_err(|e| Closed::Because(e.to_string()))?;
        let serves_records = self.shared.config.listeners[self.connections[key].listener].serves_records;
        match header.api_key {
            PRODUCE if serves_records => self.handle_produce(key, header, frame),
            FETCH if serves_records => self.handle_fetch(key, header, frame),
            _ => {
                let connection = &mut self.connections[key];
                let (listener, now_ms) = (connection.listener, self.shared.clock_ms());
                let RequestHeader { api_key, api_version, correlation_id, flexible, .. } = header;
                match self.shared.kept.find(api_key, api_version, listener, &frame[header.body..], now_ms) {
                    Some(body) => {
                        let bytes = frame_response(api_key, flexible, correlation_id, &body)?;
                        connection.queue(Chunk::Memory(bytes.into()));
                    }
                    None => self.hand_up(key, header, frame.freeze()),
                }
                Ok(())
            }
        }
    }

    fn handle_produce(&mut self, key: usize, header: RequestHeader, frame: BytesMut) -> Result<(), Closed> {
        let RequestHeader { api_key, api_version, .. } = header;
        if api_version < wire::produce::VERSION_MIN {
            return Err(Closed::Because(format!("unsupported version {api_version} of api key {api_key}")));
        }
        let request = ProduceRequest::decode(&frame, header.body, api_version)?;
        if let Some(transactional_id) = request.transactional_id {
            let unverified = unverified(&self.shared.published.load(), &request, &frame);
            if !unverified.is_empty() {
                let transactional_id = Bytes::copy_from_slice(transactional_id.of(&frame));
                let verifying = Verifying { header, frame, unverified, refused: Vec::new(), attempts: 0 };
                self.verify(key, verifying, transactional_id);
                return Ok(());
            }
        }
        self.produce(key, header, frame, request, &[])
    }

    /// Asks the control plane; `verified` goes on.
    fn verify(&mut self, key: usize, verifying: Verifying, transactional_id: Bytes) {
        let ticket = self.new_ticket(key);
        let partition =
            |u: &Unverified| (u.producer_id, u.producer_epoch, u.partition.topic.name.clone(), u.partition.index);
        let verify = Verify {
            ticket,
            api_version: verifying.header.api_version,
            transactional_id,
            partitions: verifying.unverified.iter().map(partition).collect(),
        };
        let connection = &mut self.connections[key];
        connection.ticket = ticket;
        connection.pending = Pending::Verify(Box::new(verifying));
        self.shared.upcalls.push_verify(verify);
    }

    fn verified(&mut self, ticket: Ticket, errors: &[i16]) {
        let key = key_of(ticket);
        let Some(connection) = self.connections.get_mut(key).filter(|c| c.ticket == ticket) else { return };
        let mut verifying = match std::mem::replace(&mut connection.pending, Pending::None) {
            Pending::Verify(verifying) => *verifying,
            other => {
                connection.pending = other;
                return;
            }
        };
        for (unverified, error) in verifying.unverified.drain(..).zip(errors) {
            match ErrorCode(*error) {
                ErrorCode::NONE => unverified.confirm(),
                error => verifying.refused.push((unverified.partition.key(), error)),
            }
        }
        match self.produce_or_verify_again(key, verifying) {
            Ok(()) => self.drive(key),
            Err(why) => self.close(key, why),
        }
    }

    /// The marker of the transaction before may have come meanwhile, and made the coordinator's word void: it is asked anew.
    fn produce_or_verify_again(&mut self, key: usize, mut verifying: Verifying) -> Result<(), Closed> {
        let header = verifying.header;
        let request = ProduceRequest::decode(&verifying.frame, header.body, header.api_version)?;
        let mut left = unverified(&self.shared.published.load(), &request, &verifying.frame);
        left.retain(|each| verifying.refused.iter().all(|(refused, _)| *refused != each.partition.key()));
        verifying.attempts += 1;
        match request.transactional_id {
            Some(id) if !left.is_empty() && verifying.attempts < VERIFY_ATTEMPTS_MAX => {
                let transactional_id = Bytes::copy_from_slice(id.of(&verifying.frame));
                verifying.unverified = left;
                self.verify(key, verifying, transactional_id);
                Ok(())
            }
            _ => self.produce(key, header, verifying.frame, request, &verifying.refused),
        }
    }

    fn produce(
        &mut self,
        key: usize,
        header: RequestHeader,
        frame: BytesMut,
        request: ProduceRequest,
        refused: &[(PartitionKey, ErrorCode)],
    ) -> Result<(), Closed> {
        let RequestHeader { api_version, correlation_id, .. } = header;
        let acks = request.acks;
        let timeout_ms = request.timeout_ms.max(0) as u64;
        let client_id = header.client_id.map(|range| range.of(&frame).to_vec());
        let caller = ProduceCaller {
            is_transactional: request.transactional_id.is_some(),
            refused,
            client_id: client_id.as_deref(),
            api_version,
            correlation_id,
            now_ms: wall_clock_ms(),
        };
        let mut produced = produce(&self.shared.published.load(), request, frame, caller);
        if acks == 0 {
            // There is no answer to carry an error; closing makes the client look for the leader anew.
            return if produced.has_error() {
                Err(Closed::Because("a produce request with acks=0 failed".to_owned()))
            } else {
                Ok(())
            };
        }
        let ticket = self.new_ticket(key);
        if produced.must_wait() && produced.park(ticket, self.wake.clone()) {
            let connection = &mut self.connections[key];
            connection.ticket = ticket;
            connection.pending = Pending::Produce(Box::new(produced));
            self.timers.push(Reverse((self.shared.clock_ms() + timeout_ms, ticket)));
            return Ok(());
        }
        produced.settle();
        let bytes = produced.encode()?;
        self.connections[key].queue(Chunk::Memory(bytes.into()));
        Ok(())
    }

    fn handle_fetch(&mut self, key: usize, header: RequestHeader, frame: BytesMut) -> Result<(), Closed> {
        let RequestHeader { api_version, correlation_id, .. } = header;
        let request = FetchRequest::decode(&frame, header.body, api_version)?;
        let call = FetchCall {
            api_version,
            correlation_id,
            now_ms: wall_clock_ms(),
            broker_bytes_max: self.shared.config.fetch_bytes_max,
        };
        let shared = self.shared.clone();
        match Fetching::begin(&request, &frame, &shared.published.load(), &shared.sessions, call)? {
            Begun::Refused(answer) => {
                self.connections[key].queue_answer(answer);
                Ok(())
            }
            Begun::Fetching(fetching) => {
                let ticket = self.new_ticket(key);
                self.answer_or_park(key, ticket, Box::new(fetching), false)
            }
        }
    }

    fn answer_or_park(
        &mut self,
        key: usize,
        ticket: Ticket,
        mut fetching: Box<Fetching>,
        last_chance: bool,
    ) -> Result<(), Closed> {
        let shared = &self.shared;
        let answer = fetching.answer_or_park(
            &shared.published,
            &shared.sessions,
            wall_clock_ms(),
            ticket,
            &self.wake,
            last_chance,
        )?;
        let connection = &mut self.connections[key];
        match answer {
            Some(answer) => connection.queue_answer(answer),
            None => {
                if connection.ticket != ticket {
                    connection.ticket = ticket;
                    let deadline = shared.clock_ms() + fetching.max_wait_ms.max(0) as u64;
                    self.timers.push(Reverse((deadline, ticket)));
                }
                connection.pending = Pending::Fetch(fetching);
            }
        }
        Ok(())
    }

    fn hand_up(&mut self, key: usize, header: RequestHeader, frame: Bytes) {
        let ticket = self.new_ticket(key);
        let connection = &mut self.connections[key];
        connection.ticket = ticket;
        let request = Request {
            ticket,
            api_key: header.api_key,
            api_version: header.api_version,
            correlation_id: header.correlation_id,
            client_id: header.client_id.map(|range| frame.slice(range.start as usize..range.end as usize)),
            listener: connection.listener,
            peer_host: connection.peer_host.clone(),
            body: frame.slice(header.body..),
        };
        connection.pending = Pending::Stalled { request, flexible: header.flexible };
        self.push_again(key);
    }

    fn push_again(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        let Pending::Stalled { request, flexible } = std::mem::replace(&mut connection.pending, Pending::None) else {
            return;
        };
        let waiting = Pending::Upcall { api_key: request.api_key, flexible, correlation_id: request.correlation_id };
        connection.pending = match self.shared.upcalls.push_request(request) {
            Ok(()) => waiting,
            Err(request) => {
                self.waiting_for_room.push(key);
                Pending::Stalled { request, flexible }
            }
        };
    }

    fn respond(&mut self, ticket: Ticket, body: Bytes, close: bool) {
        let key = key_of(ticket);
        let Some(connection) = self.connections.get_mut(key).filter(|c| c.ticket == ticket) else { return };
        let Pending::Upcall { api_key, flexible, correlation_id } = connection.pending else { return };
        connection.pending = Pending::None;
        connection.closing = close;
        if !(close && body.is_empty()) {
            match frame_response(api_key, flexible, correlation_id, &body) {
                Ok(bytes) => connection.queue(Chunk::Memory(bytes.into())),
                Err(error) => return self.close(key, error.into()),
            }
        }
        self.drive(key);
    }

    /// A parked request may go on, or (`timed_out`) must.
    fn go_on(&mut self, ticket: Ticket, timed_out: bool) {
        let key = key_of(ticket);
        let Some(connection) = self.connections.get_mut(key).filter(|c| c.ticket == ticket) else { return };
        let result = match std::mem::replace(&mut connection.pending, Pending::None) {
            Pending::Fetch(fetching) => self.answer_or_park(key, ticket, fetching, timed_out),
            Pending::Produce(mut produced) => {
                produced.settle();
                produced.encode().map(|bytes| connection.queue(Chunk::Memory(bytes.into()))).map_err(Closed::from)
            }
            other => {
                connection.pending = other;
                return;
            }
        };
        match result {
            Ok(()) => self.drive(key),
            Err(why) => self.close(key, why),
        }
    }

    fn expire(&mut self) {
        let now = self.shared.clock_ms();
        while let Some(Reverse((deadline, ticket))) = self.timers.peek().copied() {
            if deadline > now {
                break;
            }
            self.timers.pop();
            self.go_on(ticket, true);
        }
        let Some(idle_ms_max) = self.shared.config.idle_ms_max else { return };
        if now < self.next_sweep_ms {
            return;
        }
        self.next_sweep_ms = now + IDLE_SWEEP_MS;
        let idle = |(key, c): (usize, &Connection)| {
            let waits = matches!(c.pending, Pending::None);
            (waits && now.saturating_sub(c.last_active_ms) > idle_ms_max).then_some(key)
        };
        let idle: Vec<usize> = self.connections.iter().filter_map(idle).collect();
        for key in idle {
            self.close(key, Closed::Because(format!("idle for more than connections.max.idle.ms={idle_ms_max}")));
        }
    }
}
