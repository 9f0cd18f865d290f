//! What a loop does with a request: Fetch is answered from the view, or waits; Produce is gathered first; the rest goes up, unless
//! the control plane has given down what there is to answer.

use bytes::{Bytes, BytesMut};
use replica::fetch::{Begun, FetchCall, Fetching};
use wire::fetch::FetchRequest;
use wire::header::{FETCH, PRODUCE, RequestHeader, frame_response};

use super::Reactor;
use crate::connection::{Chunk, Closed, Pending};
use crate::inbox::key_of;
use crate::intake::COPIED_BELOW_BYTES;
use crate::shared::wall_clock_ms;
use crate::upcall::{Request, Ticket};

/// A request that waits for the control plane, without the rest of the buffer that it came in.
pub(super) fn kept(frame: BytesMut) -> BytesMut {
    if frame.len() < COPIED_BELOW_BYTES { BytesMut::from(&frame[..]) } else { frame }
}

impl Reactor {
    pub(super) fn handle(&mut self, key: usize, frame: BytesMut) -> Result<(), Closed> {
        let header = RequestHeader::decode(&frame, &self.shared.apis).map_err(|e| Closed::Because(e.to_string()))?;
        let serves_records = self.shared.config.listeners[self.connections[key].listener].serves_records;
        match header.api_key {
            PRODUCE if serves_records => self.handle_produce(key, header, frame),
            FETCH if serves_records => self.handle_fetch(key, header, frame),
            _ => {
                let connection = &mut self.connections[key];
                let RequestHeader { api_key, api_version, correlation_id, flexible, .. } = header;
                match self.shared.known_answer(api_key, api_version, connection.listener, &frame[header.body..]) {
                    Some(body) => {
                        let bytes = frame_response(api_key, flexible, correlation_id, &body)?;
                        connection.queue(Chunk::Memory(bytes.into()));
                    }
                    None => self.hand_up(key, header, kept(frame).freeze()),
                }
                Ok(())
            }
        }
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
        if let Some(cold) = fetching.take_cold() {
            self.shared.bringers.bring(cold, self.inbox.clone(), ticket);
        }
        let Some(answer) = answer else {
            if self.connections[key].ticket != ticket {
                self.connections[key].ticket = ticket;
                self.set_timer(self.shared.clock_ms() + fetching.max_wait_ms.max(0) as u64, ticket);
            }
            self.connections[key].pending = Pending::Fetch(fetching);
            return Ok(());
        };
        self.connections[key].queue_answer(answer);
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

    pub(super) fn push_again(&mut self, key: usize) {
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

    pub(super) fn respond(&mut self, ticket: Ticket, body: Bytes, close: bool) {
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

    /// What a request or an answer waited for has come from the disk. What was ordered for a request that is answered by now
    /// stands ready for the next.
    pub(super) fn brought(&mut self, ticket: Ticket) {
        let key = key_of(ticket);
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.brought(ticket) {
            self.drive(key);
        } else if connection.ticket == ticket
            && let Pending::Fetch(fetching) = &mut connection.pending
        {
            fetching.brought();
            self.go_on(ticket, false);
        }
    }

    /// A parked request may go on, or (`timed_out`) must.
    pub(super) fn go_on(&mut self, ticket: Ticket, timed_out: bool) {
        let key = key_of(ticket);
        let Some(connection) = self.connections.get_mut(key) else { return };
        match connection.settle_produce(ticket) {
            // Produces are settled by the dozen, when a disk has synced: those of one connection share its turn, and a write.
            Ok(true) => {
                if !std::mem::replace(&mut connection.is_due, true) {
                    self.work.push_back(key);
                }
                return;
            }
            Ok(false) if connection.ticket != ticket => return,
            Ok(false) => {}
            Err(why) => return self.close(key, why),
        }
        let result = match std::mem::replace(&mut connection.pending, Pending::None) {
            Pending::Fetch(fetching) => self.answer_or_park(key, ticket, fetching, timed_out),
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
}
