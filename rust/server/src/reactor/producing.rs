//! Produce requests of a loop. Small ones of all connections that have their turn, and larger ones that want no answer, are
//! gathered and appended together: what goes to one partition then takes its lock, and writes to its file, once.
//!
//! INVARIANT: the requests of a connection are appended in their order, and none of its others is looked at before.
//! INVARIANT: what is gathered is appended before the loop sleeps, and before its connection is closed.

use bytes::{Bytes, BytesMut};
use log::Few;
use replica::produce::{ProduceCall, ProduceCaller, Produced, Unverified, is_admin, produce, unverified};
use replica::topic::PartitionKey;
use wire::ErrorCode;
use wire::header::RequestHeader;
use wire::produce::ProduceRequest;

use super::Reactor;
use super::requests::kept;
use crate::connection::{Closed, Pending, Verifying};
use crate::inbox::{key_of, together};
use crate::shared::wall_clock_ms;
use crate::upcall::{Ticket, Verify};

const VERIFY_ATTEMPTS_MAX: u32 = 5;
/// A request below this size waits for the others of its turn, and is copied out of the buffer that it came in, which so can be
/// read into again while it is in the processor's cache.
const SMALL_BELOW_BYTES: usize = 4 * 1024;
/// One below this size waits, too, where its sender does not wait for it. From here on an append costs more than it could share.
const UNANSWERED_BELOW_BYTES: usize = 24 * 1024;
const GATHERED_BYTES_MAX: usize = 128 * 1024;

/// Produce requests to be appended together, and whose they are.
#[derive(Default)]
pub(super) struct Gathered {
    keys: Vec<usize>,
    calls: Vec<ProduceCall>,
    bytes: usize,
    /// Connections that have answers to send.
    answered: Vec<usize>,
}

fn call_of(
    header: RequestHeader,
    request: ProduceRequest,
    frame: BytesMut,
    refused: Vec<(PartitionKey, ErrorCode)>,
) -> ProduceCall {
    let caller = ProduceCaller {
        is_transactional: request.transactional_id.is_some(),
        is_admin: header.client_id.is_some_and(|range| is_admin(range.of(&frame))),
        api_version: header.api_version,
        correlation_id: header.correlation_id,
        refused,
    };
    ProduceCall { caller, request, frame }
}

impl Reactor {
    pub(super) fn handle_produce(&mut self, key: usize, header: RequestHeader, frame: BytesMut) -> Result<(), Closed> {
        let RequestHeader { api_key, api_version, .. } = header;
        if api_version < wire::produce::VERSION_MIN {
            return Err(Closed::Because(format!("unsupported version {api_version} of api key {api_key}")));
        }
        let request = ProduceRequest::decode(&frame, header.body, api_version)?;
        if let Some(transactional_id) = request.transactional_id {
            if self.connections[key].gathered_count > 0 {
                self.produce_gathered();
            }
            let unverified = unverified(&self.shared.published.load(), &request, &frame);
            if !unverified.is_empty() {
                let transactional_id = Bytes::copy_from_slice(transactional_id.of(&frame));
                let verifying = Verifying { header, frame: kept(frame), unverified, refused: Vec::new(), attempts: 0 };
                self.verify(key, verifying, transactional_id);
                return Ok(());
            }
        }
        let is_small = frame.len() < SMALL_BELOW_BYTES;
        let may_wait = is_small || (request.acks == 0 && frame.len() < UNANSWERED_BELOW_BYTES);
        let frame = if is_small { BytesMut::from(&frame[..]) } else { frame };
        self.gathered.bytes += frame.len();
        self.gathered.keys.push(key);
        self.gathered.calls.push(call_of(header, request, frame, Vec::new()));
        self.connections[key].gathered_count += 1;
        if !may_wait || self.gathered.bytes >= GATHERED_BYTES_MAX {
            self.produce_gathered();
        }
        Ok(())
    }

    /// Appends what was gathered; `answer_gathered` sends the answers.
    pub(super) fn produce_gathered(&mut self) {
        let mut keys = std::mem::take(&mut self.gathered.keys);
        let mut calls = std::mem::take(&mut self.gathered.calls);
        self.gathered.bytes = 0;
        let told = self.produce(&keys, &mut calls);
        self.gathered.calls = calls;
        for (key, told) in keys.drain(..).zip(told) {
            match told {
                Ok(()) => self.gathered.answered.push(key),
                Err(why) => self.close(key, why),
            }
        }
        self.gathered.keys = keys;
    }

    /// Every connection has had its turn.
    pub(super) fn answer_gathered(&mut self) {
        self.produce_gathered();
        let mut answered = std::mem::take(&mut self.gathered.answered);
        answered.dedup();
        for key in answered.drain(..) {
            if let Err(why) = self.flush(key) {
                self.close(key, why);
            }
        }
        self.gathered.answered = answered;
    }

    /// Appends what these connections sent, one behind the other; tells which of them are to be closed.
    fn produce(&mut self, keys: &[usize], calls: &mut Vec<ProduceCall>) -> Few<Result<(), Closed>> {
        keys.iter().for_each(|key| self.connections[*key].gathered_count = 0);
        // A reader on another loop that is woken under the partition's lock would only meet that lock.
        let produced = together(|| produce(&self.shared.published.load(), calls, wall_clock_ms()));
        keys.iter().zip(produced).map(|(key, produced)| self.answer_or_park_produce(*key, produced)).collect()
    }

    fn answer_or_park_produce(&mut self, key: usize, mut produced: Produced) -> Result<(), Closed> {
        if produced.acks == 0 {
            // There is no answer to carry an error; closing makes the client look for the leader anew.
            return if produced.has_error() {
                Err(Closed::Because("a produce request with acks=0 failed".to_owned()))
            } else {
                Ok(())
            };
        }
        let ticket = self.new_ticket(key);
        if produced.must_wait() && produced.park(ticket, self.wake.clone()) {
            self.set_timer(self.shared.clock_ms() + produced.timeout_ms, ticket);
            self.connections[key].parked.park(ticket, Box::new(produced));
            return Ok(());
        }
        produced.settle();
        let bytes = produced.encode()?;
        self.connections[key].answer_produce(ticket, bytes.into());
        Ok(())
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

    pub(super) fn verified(&mut self, ticket: Ticket, errors: &[i16]) {
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
            _ => {
                let call = call_of(header, request, verifying.frame, verifying.refused);
                self.produce(&[key], &mut vec![call]).into_iter().collect()
            }
        }
    }
}
