//! One client connection: bytes in, requests out; answers in, bytes out. It decides nothing about a request.
//!
//! ```text
//!   reading   bytes -> whole frames, room grown only as bytes come
//!   pending   at most one request at a time is under way; the next is not looked at before its answer is queued
//!             (Kafka's rule: it keeps the order of answers and of effects). Produces that wait only for their disk or
//!             their replicas are `parked`: those behind them go on
//!   sending   queued pieces -> one gathered write, or a send straight from a file
//! ```
//!
//! INVARIANT: answers leave in the order of their requests.
//! INVARIANT: a reader that does not take its answers is not read from (back-pressure), so what it holds is bounded.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use log::Region;
use mio::net::TcpStream;
use replica::fetch::{Answer, Fetching};
use replica::produce::Unverified;
use replica::read::Records;
use replica::topic::PartitionKey;
use wire::ErrorCode;
use wire::frame::FrameError;
use wire::header::{PRODUCE, RequestHeader};

use crate::intake::{Arrival, Intake, Spare};
use crate::parked::ParkedProduces;
use crate::sys;
use crate::upcall::{Request, Ticket};

/// Unsent answers beyond this stop the connection from being read.
const UNSENT_BYTES_MAX: usize = 512 * 1024;
/// What one write takes of a file that cannot be sent from directly.
const COPY_BYTES: usize = 256 * 1024;
const IO_SLICES_MAX: usize = 64;
/// What is looked for in memory, or brought from the disk, at a time, of what is to be sent.
const WINDOW_BYTES: usize = 1 << 20;

pub enum Chunk {
    Memory(Bytes),
    /// `at_hand`: so many bytes of it are in memory, as far as anybody knows.
    File {
        region: Region,
        at_hand: usize,
    },
}

fn window(region: &Region) -> Region {
    Region { bytes: region.bytes.min(WINDOW_BYTES), ..region.clone() }
}

/// Where its answers stand.
#[derive(Debug, PartialEq, Eq)]
enum Sending {
    /// They leave as the socket takes them.
    Free,
    /// The next one is to be brought from the disk first, and nobody does yet.
    Cold,
    /// Somebody does, and will say so with this ticket.
    Awaits(Ticket),
}

impl Chunk {
    fn len(&self) -> usize {
        match self {
            Chunk::Memory(bytes) => bytes.len(),
            Chunk::File { region, .. } => region.bytes,
        }
    }
}

impl From<Region> for Chunk {
    fn from(region: Region) -> Self {
        Chunk::File { region, at_hand: 0 }
    }
}

/// The request that is under way.
pub enum Pending {
    None,
    Upcall {
        api_key: i16,
        flexible: bool,
        correlation_id: i32,
    },
    /// The queue of upcalls is full; to be pushed again.
    Stalled {
        request: Request,
        flexible: bool,
    },
    Fetch(Box<Fetching>),
    Verify(Box<Verifying>),
}

/// A produce request, whole, that waits for the coordinator of its transaction.
pub struct Verifying {
    pub header: RequestHeader,
    pub frame: BytesMut,
    pub unverified: Vec<Unverified>,
    /// What the coordinator refused so far.
    pub refused: Vec<(PartitionKey, ErrorCode)>,
    pub attempts: u32,
}

pub struct Connection {
    pub stream: TcpStream,
    pub peer_host: Arc<str>,
    pub listener: usize,
    pub pending: Pending,
    /// Produce requests that are about to be appended.
    pub gathered_count: usize,
    pub parked: ParkedProduces,
    pub ticket: Ticket,
    pub readable: bool,
    pub writable: bool,
    pub last_active_ms: u64,
    /// It has a turn to come, for answers that are there.
    pub is_due: bool,
    /// Close once everything queued has been sent.
    pub closing: bool,
    /// The bytes this connection is charged with against `queued.max.request.bytes`.
    pub charged_bytes: usize,
    intake: Intake,
    unsent: VecDeque<Chunk>,
    unsent_bytes: usize,
    sending: Sending,
}

/// Why a connection ends.
#[derive(Debug)]
pub enum Closed {
    /// The peer hung up, or the network failed: nothing to tell.
    ByPeer,
    /// It misbehaved, and the log says how.
    Because(String),
}

impl From<io::Error> for Closed {
    fn from(_: io::Error) -> Self {
        Closed::ByPeer
    }
}

impl From<FrameError> for Closed {
    fn from(error: FrameError) -> Self {
        Closed::Because(error.to_string())
    }
}

impl From<wire::Malformed> for Closed {
    fn from(error: wire::Malformed) -> Self {
        Closed::Because(error.to_string())
    }
}

impl Connection {
    pub fn new(stream: TcpStream, peer_host: Arc<str>, listener: usize, now_ms: u64) -> Connection {
        Connection {
            stream,
            peer_host,
            listener,
            pending: Pending::None,
            gathered_count: 0,
            parked: ParkedProduces::default(),
            ticket: 0,
            readable: true,
            writable: true,
            last_active_ms: now_ms,
            is_due: false,
            closing: false,
            charged_bytes: 0,
            intake: Intake::default(),
            unsent: VecDeque::new(),
            unsent_bytes: 0,
            sending: Sending::Free,
        }
    }

    pub fn received_bytes(&self) -> usize {
        self.intake.len()
    }

    /// Whether its produce requests are to be appended before the next one is looked at.
    pub fn must_produce(&self) -> bool {
        self.gathered_count > 0 && self.intake.next_api_key().is_some_and(|key| key != PRODUCE)
    }

    pub fn is_backlogged(&self) -> bool {
        self.unsent_bytes >= UNSENT_BYTES_MAX
    }

    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Whether the next request may be looked at.
    pub fn may_start(&self) -> bool {
        let may_overtake = self.parked.is_empty()
            || (self.parked.has_room(self.gathered_count)
                && self.intake.next_api_key().is_none_or(|key| key == PRODUCE));
        matches!(self.pending, Pending::None) && may_overtake && !self.is_backlogged() && !self.closing
    }

    /// Nothing is under way.
    pub fn is_idle(&self) -> bool {
        matches!(self.pending, Pending::None) && self.parked.is_empty()
    }

    /// Whether a request with this ticket is still to be told that its time is over.
    pub fn waits(&self, ticket: Ticket) -> bool {
        (self.ticket == ticket && !matches!(self.pending, Pending::None)) || self.parked.waits(ticket)
    }

    /// Queues a produce answer, behind those that wait.
    pub fn answer_produce(&mut self, ticket: Ticket, answer: Bytes) {
        if let Some(answer) = self.parked.answer(ticket, answer) {
            self.queue(Chunk::Memory(answer));
        }
    }

    /// A parked produce is done, or its time is over. False if none waits with this ticket.
    pub fn settle_produce(&mut self, ticket: Ticket) -> Result<bool, Closed> {
        let is_settled = self.parked.settle(ticket)?;
        while let Some(answer) = self.parked.next() {
            self.queue(Chunk::Memory(answer));
        }
        Ok(is_settled)
    }

    /// The next whole request among the bytes received, without its size.
    pub fn take_frame(&mut self, request_bytes_max: usize) -> Result<Option<BytesMut>, Closed> {
        Ok(self.intake.take_frame(request_bytes_max)?)
    }

    /// One read. False when there is nothing to read just now.
    pub fn read_some(&mut self, spare: &mut Spare, request_bytes_max: usize) -> Result<bool, Closed> {
        match self.intake.read(&mut self.stream, spare, request_bytes_max)? {
            Arrival::Closed => Err(Closed::ByPeer),
            Arrival::Nothing => {
                self.readable = false;
                Ok(false)
            }
            Arrival::Bytes { may_have_more } => {
                self.readable = may_have_more;
                Ok(true)
            }
        }
    }

    /// Its turn is over.
    pub fn rest(&mut self, spare: &mut Spare) {
        self.intake.rest(spare);
    }

    pub fn queue(&mut self, chunk: Chunk) {
        let len = chunk.len();
        if len > 0 {
            self.unsent_bytes += len;
            self.unsent.push_back(chunk);
        }
    }

    /// Queues a fetch answer: its encoded pieces with the payloads in between.
    pub fn queue_answer(&mut self, answer: Answer) {
        let mut encoded = Bytes::from(answer.encoded.bytes);
        let mut cut = 0;
        for (hole, records) in answer.encoded.holes.iter().zip(answer.payloads) {
            self.queue(Chunk::Memory(encoded.split_to(hole - cut)));
            cut = *hole;
            match records {
                Records::None => {}
                Records::Memory { batches, .. } => {
                    batches.into_iter().for_each(|batch| self.queue(Chunk::Memory(batch)))
                }
                Records::File(region) => self.queue(region.into()),
            }
        }
        self.queue(Chunk::Memory(encoded));
    }

    /// Sends what the socket takes, and what need not be brought from the disk first: no event loop waits for one.
    pub fn flush(&mut self) -> Result<(), Closed> {
        while self.writable && self.sending == Sending::Free {
            let sent = match self.unsent.front_mut() {
                None => return Ok(()),
                Some(Chunk::File { region, at_hand }) => {
                    if *at_hand == 0 {
                        let window = window(region);
                        if !window.is_at_hand() {
                            self.sending = Sending::Cold;
                            return Ok(());
                        }
                        *at_hand = window.bytes;
                    }
                    send_region(&self.stream, region, *at_hand)
                }
                Some(Chunk::Memory(_)) => self.send_memory(),
            };
            match sent {
                Ok(0) => return Err(Closed::ByPeer),
                Ok(count) => self.sent(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// What is to be brought from the disk before anything is sent, if nobody does yet.
    pub fn cold(&self) -> Option<Region> {
        match self.unsent.front() {
            Some(Chunk::File { region, .. }) if self.sending == Sending::Cold => Some(window(region)),
            _ => None,
        }
    }

    /// Somebody brings it, and says so with this ticket.
    pub fn await_cold(&mut self, ticket: Ticket) {
        self.sending = Sending::Awaits(ticket);
    }

    /// It was brought; it is sent even if memory has lost it again. False if that is not what this connection waits for.
    pub fn brought(&mut self, ticket: Ticket) -> bool {
        if self.sending != Sending::Awaits(ticket) {
            return false;
        }
        self.sending = Sending::Free;
        if let Some(Chunk::File { region, at_hand }) = self.unsent.front_mut() {
            *at_hand = window(region).bytes;
        }
        true
    }

    fn send_memory(&mut self) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); IO_SLICES_MAX];
        let mut count = 0;
        for chunk in self.unsent.iter().take(IO_SLICES_MAX) {
            let Chunk::Memory(bytes) = chunk else { break };
            slices[count] = IoSlice::new(bytes);
            count += 1;
        }
        self.stream.write_vectored(&slices[..count])
    }

    fn sent(&mut self, mut count: usize) {
        self.unsent_bytes -= count;
        while count > 0 {
            let Some(chunk) = self.unsent.front_mut() else { return };
            let take = count.min(chunk.len());
            match chunk {
                Chunk::Memory(bytes) => bytes.advance(take),
                Chunk::File { region, at_hand } => {
                    region.position += take as u64;
                    region.bytes -= take;
                    *at_hand -= take;
                }
            }
            if chunk.len() == 0 {
                self.unsent.pop_front();
            }
            count -= take;
        }
    }
}

fn send_region(stream: &TcpStream, region: &Region, bytes_max: usize) -> io::Result<usize> {
    let bytes = region.bytes.min(bytes_max);
    if let Some(fd) = region.file.raw_fd() {
        return sys::send_file(stream.as_raw_fd(), fd, region.position, bytes);
    }
    let mut buffer = vec![0; bytes.min(COPY_BYTES)];
    let read = region.file.read_at(&mut buffer, region.position)?;
    (&*stream).write(&buffer[..read])
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::path::Path;

    use log::memory::MemoryStorage;
    use log::{Storage, StorageFile};

    use super::*;

    /// As many letters, of which memory lacks those from a place on.
    fn letters(count: usize, cold_from: usize) -> Arc<dyn StorageFile> {
        let (storage, path) = (MemoryStorage::default(), Path::new("/letters"));
        let file = storage.open(path, true).unwrap();
        file.write_at(&(b'a'..=b'z').cycle().take(count).collect::<Vec<_>>(), 0).unwrap();
        storage.cool(path, cold_from as u64).unwrap();
        file
    }

    fn part(file: Arc<dyn StorageFile>, position: u64, bytes: usize) -> Chunk {
        Region { file, position, bytes }.into()
    }

    fn connected() -> (Connection, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let stream = listener.accept().unwrap().0;
        stream.set_nonblocking(true).unwrap();
        (Connection::new(TcpStream::from_std(stream), "peer".into(), 0, 0), peer)
    }

    fn received(peer: &mut std::net::TcpStream, count: usize) -> String {
        let mut bytes = vec![0; count];
        peer.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_only_the_disk_has_is_sent_once_somebody_brought_it() {
        let (mut connection, mut peer) = connected();
        connection.queue(Chunk::Memory(Bytes::from_static(b"head:")));
        connection.queue(part(letters(26, 0), 2, 5));
        connection.queue(Chunk::Memory(Bytes::from_static(b":tail")));
        assert!(connection.cold().is_none());
        connection.flush().unwrap();
        assert_eq!(received(&mut peer, 5), "head:");
        let cold = connection.cold().unwrap();
        assert_eq!((cold.position, cold.bytes), (2, 5));
        connection.await_cold(7);
        connection.flush().unwrap();
        assert!(connection.cold().is_none(), "somebody brings it already");
        assert!(!connection.brought(6), "of a connection before this one");
        assert!(connection.has_unsent());
        assert!(connection.brought(7));
        connection.flush().unwrap();
        assert_eq!(received(&mut peer, 10), "cdefg:tail");
        assert!(!connection.has_unsent());
    }

    #[test]
    fn what_is_in_memory_is_sent_at_once() {
        let (mut connection, mut peer) = connected();
        connection.queue(part(letters(26, 3), 0, 3));
        connection.flush().unwrap();
        assert_eq!(received(&mut peer, 3), "abc");
        assert!(connection.cold().is_none());
    }

    #[test]
    fn a_large_region_is_looked_for_piece_by_piece() {
        let (mut connection, mut peer) = connected();
        connection.queue(part(letters(WINDOW_BYTES + 3, WINDOW_BYTES), 0, WINDOW_BYTES + 3));
        let reader = std::thread::spawn(move || received(&mut peer, WINDOW_BYTES + 3));
        let cold = loop {
            connection.writable = true;
            connection.flush().unwrap();
            if let Some(cold) = connection.cold() {
                break cold;
            }
        };
        assert_eq!((cold.position, cold.bytes), (WINDOW_BYTES as u64, 3));
        cold.bring();
        connection.await_cold(9);
        assert!(connection.brought(9));
        connection.writable = true;
        connection.flush().unwrap();
        assert!(reader.join().unwrap().starts_with("abc"));
    }
}
