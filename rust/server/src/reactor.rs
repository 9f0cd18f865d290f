//! One event-loop thread: it owns connections, reads their requests, answers Produce and Fetch from the view, hands the
//! rest up, and sends the answers. It never waits for the control plane and never takes the GIL.
//!
//! ```text
//!   socket readable  -> frames -> Produce / Fetch answered here, everything else an upcall
//!   inbox            -> an answer from the control plane; a parked request may go on; what is to be sent was brought from the
//!                       disk; a new connection
//!   timer            -> a parked request has waited long enough; idle connections are closed
//! ```
//!
//! INVARIANT: a connection belongs to one loop for life. Loops talk to each other through inboxes only.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use replica::purgatory::Wake;
use slab::Slab;

use crate::connection::{Closed, Connection, Pending};
use crate::inbox::{Inbox, KEY_MAX, Message, key_of};
use crate::intake::Spare;
use crate::shared::Shared;
use crate::upcall::{Level, Ticket};

mod producing;
mod requests;

use producing::Gathered;

const WAKER: Token = Token(usize::MAX);
const LISTENERS: usize = usize::MAX / 2;
/// Requests answered for one connection before the others get their turn.
const REQUESTS_A_TURN: usize = 64;
/// A connection that is alone gets its answers after so much of requests that are smaller, so that it goes on while the rest of
/// what it sent is done.
const ANSWERED_AT_BYTES: usize = 32 * 1024;
const IDLE_SWEEP_MS: u64 = 1000;
const TIMERS_MIN: usize = 1024;
/// Shorter than what others have unless they say so, so that a request does not wait for the kernel's next tick; long enough
/// that the loop takes in what comes meanwhile.
const BURST: Duration = Duration::from_millis(1);

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
    timers_max: usize,
    next_number: u32,
    next_sweep_ms: u64,
    /// Connections that wait for room: in the queue of upcalls, or under the limit of queued bytes.
    waiting_for_room: Vec<usize>,
    next_reactor: usize,
    spare: Spare,
    gathered: Gathered,
}

/// A loop that has its poll and inbox but does not run yet.
pub struct Prepared {
    poll: Poll,
    pub inbox: Arc<Inbox>,
}

pub fn prepare(index: usize) -> io::Result<Prepared> {
    let poll = Poll::new()?;
    let inbox = Arc::new(Inbox::new(index, &poll, WAKER)?);
    Ok(Prepared { poll, inbox })
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
            timers_max: TIMERS_MIN,
            next_number: 0,
            next_sweep_ms: IDLE_SWEEP_MS,
            waiting_for_room: Vec::new(),
            next_reactor: 0,
            spare: Spare::default(),
            gathered: Gathered::default(),
        })
    }

    pub fn run(mut self) {
        crate::sys::work_in_bursts(BURST);
        let mut events = Events::with_capacity(1024);
        loop {
            let may_sleep = self.work.is_empty() && self.inbox.may_sleep();
            let timeout = if may_sleep { self.until_next_timer() } else { Some(Duration::ZERO) };
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                self.shared.upcalls.notice(Level::Error, format!("event loop {}: {error}", self.index));
            }
            if may_sleep {
                self.inbox.awake();
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
            self.answer_gathered();
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
            let messages = self.inbox.take();
            if messages.is_empty() {
                return true;
            }
            for message in messages {
                match message {
                    Message::Accepted { stream, peer, listener } => self.adopt(stream, peer, listener),
                    Message::Respond { ticket, body, close } => self.respond(ticket, body, close),
                    Message::Verified { ticket, errors } => self.verified(ticket, &errors),
                    Message::Woken(ticket) => self.go_on(ticket, false),
                    Message::Brought(ticket) => self.brought(ticket),
                    Message::RoomAgain => self.work.extend(self.waiting_for_room.drain(..)),
                    Message::Stop => {
                        let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
                        keys.into_iter().for_each(|key| self.close(key, Closed::ByPeer));
                        return false;
                    }
                }
            }
            self.answer_gathered();
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
        if key > KEY_MAX || self.poll.registry().register(&mut stream, Token(key), interest).is_err() {
            self.shared.connections.leave(peer.ip());
            return;
        }
        entry.insert(Connection::new(stream, peer.ip().to_string().into(), listener, self.shared.clock_ms()));
        self.addresses.insert(key, peer.ip());
        self.work.push_back(key);
    }

    fn close(&mut self, key: usize, why: Closed) {
        if self.connections.get(key).is_some_and(|connection| connection.gathered_count > 0) {
            self.produce_gathered();
        }
        let Some(mut connection) = self.connections.try_remove(key) else { return };
        if let Closed::Because(reason) = why {
            let text = format!("closing connection from {}: {reason}", connection.peer_host);
            self.shared.upcalls.notice(Level::Info, text);
        }
        if let Pending::Fetch(fetching) = &mut connection.pending {
            fetching.abandon();
        }
        connection.parked.abandon();
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
        if let Some(connection) = self.connections.get_mut(key) {
            connection.is_due = false;
            connection.rest(&mut self.spare);
        }
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
        let mut taken_bytes = 0;
        for _ in 0..REQUESTS_A_TURN {
            if self.connections.get(key).is_some_and(Connection::must_produce) {
                self.produce_gathered();
            }
            let Some(connection) = self.connections.get_mut(key) else { return Ok(false) };
            if let Pending::Stalled { .. } = connection.pending {
                self.push_again(key);
                return self.flush(key).map(|()| false);
            }
            if !connection.may_start() {
                self.flush(key)?;
                return Ok(false);
            }
            if let Some(frame) = connection.take_frame(request_bytes_max)? {
                connection.last_active_ms = self.shared.clock_ms();
                taken_bytes += if frame.len() < ANSWERED_AT_BYTES { frame.len() } else { 0 };
                self.handle(key, frame)?;
                if taken_bytes >= ANSWERED_AT_BYTES && self.work.is_empty() {
                    taken_bytes = 0;
                    self.flush(key)?;
                }
                continue;
            }
            if self.work.is_empty() {
                // Nobody else can add to what is gathered.
                self.produce_gathered();
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
            if !connection.read_some(&mut self.spare, request_bytes_max)? {
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
        if let Some(cold) = connection.cold() {
            let ticket = self.new_ticket(key);
            self.connections[key].await_cold(ticket);
            self.shared.bringers.bring(cold, self.inbox.clone(), ticket);
        }
        Ok(())
    }

    /// `go_on` is called with the ticket then, unless the request is answered before. Those of requests that were are dropped
    /// by and by: there are never many more of them than of the others.
    fn set_timer(&mut self, deadline_ms: u64, ticket: Ticket) {
        if self.timers.len() >= self.timers_max {
            let connections = &self.connections;
            self.timers.retain(|Reverse((_, each))| connections.get(key_of(*each)).is_some_and(|c| c.waits(*each)));
            self.timers_max = TIMERS_MIN.max(2 * self.timers.len());
        }
        self.timers.push(Reverse((deadline_ms, ticket)));
    }

    fn new_ticket(&mut self, key: usize) -> Ticket {
        self.next_number = self.next_number.wrapping_add(1);
        self.inbox.ticket(key, self.next_number)
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
            (c.is_idle() && now.saturating_sub(c.last_active_ms) > idle_ms_max).then_some(key)
        };
        let idle: Vec<usize> = self.connections.iter().filter_map(idle).collect();
        for key in idle {
            self.close(key, Closed::Because(format!("idle for more than connections.max.idle.ms={idle_ms_max}")));
        }
    }
}
