//! Produce requests of one connection that wait for their disk or their replicas, and the answers that wait behind them.
//!
//! ```text
//!   produce --must wait--> Waiting --settled--> Answered --first in line--> queued
//!   produce --done, but others wait before it--> Answered
//! ```
//!
//! INVARIANT: answers leave in the order of their requests.
//! INVARIANT: only Produce overtakes a produce that waits: any other request may see what it did, so it is looked at after all
//! of them are answered. KAFKA: 4.4 lets nothing overtake, so five requests in flight wait for five syncs.
//! INVARIANT: what waits is bounded in number and in bytes, whatever the client sends.

use std::collections::VecDeque;

use bytes::Bytes;
use replica::produce::Produced;
use wire::Malformed;

use crate::upcall::Ticket;

const COUNT_MAX: usize = 64;
/// Of requests, whose batches are held until they are committed.
const BYTES_MAX: usize = 1 << 20;

enum State {
    Waiting(Box<Produced>),
    Answered(Bytes),
}

struct Entry {
    ticket: Ticket,
    request_bytes: usize,
    state: State,
}

#[derive(Default)]
pub struct ParkedProduces {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl ParkedProduces {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// For one more, behind so many that are about to come.
    pub fn has_room(&self, coming: usize) -> bool {
        self.entries.len() + coming < COUNT_MAX && self.bytes < BYTES_MAX
    }

    pub fn waits(&self, ticket: Ticket) -> bool {
        self.entries.iter().any(|each| each.ticket == ticket && matches!(each.state, State::Waiting(_)))
    }

    pub fn park(&mut self, ticket: Ticket, produced: Box<Produced>) {
        let request_bytes = produced.request_bytes;
        self.bytes += request_bytes;
        self.entries.push_back(Entry { ticket, request_bytes, state: State::Waiting(produced) });
    }

    /// An answer that is there already: given back if nothing waits before it.
    pub fn answer(&mut self, ticket: Ticket, answer: Bytes) -> Option<Bytes> {
        if self.entries.is_empty() {
            return Some(answer);
        }
        self.bytes += answer.len();
        self.entries.push_back(Entry { ticket, request_bytes: answer.len(), state: State::Answered(answer) });
        None
    }

    /// The request is done, or its time is over. False if none waits with this ticket.
    pub fn settle(&mut self, ticket: Ticket) -> Result<bool, Malformed> {
        let Some(entry) = self.entries.iter_mut().find(|each| each.ticket == ticket) else { return Ok(false) };
        let State::Waiting(produced) = &mut entry.state else { return Ok(false) };
        produced.settle();
        entry.state = State::Answered(produced.encode()?.into());
        Ok(true)
    }

    /// The next answer, if nothing waits before it.
    pub fn next(&mut self) -> Option<Bytes> {
        if !matches!(self.entries.front()?.state, State::Answered(_)) {
            return None;
        }
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.request_bytes;
        match entry.state {
            State::Answered(answer) => Some(answer),
            State::Waiting(_) => None,
        }
    }

    /// Nobody is there to be told.
    pub fn abandon(&mut self) {
        for entry in self.entries.drain(..) {
            if let State::Waiting(mut produced) = entry.state {
                produced.settle();
            }
        }
        self.bytes = 0;
    }
}
