//! One client connection: bytes in, requests out; answers in, bytes out. It decides nothing about a request.
//!
//! ```text
//!   reading   bytes -> whole frames, room grown only as bytes come
//!   pending   at most one request at a time is under way; the next is not looked at before its answer is queued
//!             (Kafka's rule: it keeps the order of answers and of effects)
//!   sending   queued pieces -> one gathered write, or a send straight from a file
//! ```
//!
//! INVARIANT: answers leave in the order of their requests.
//! INVARIANT: a reader that does not take its answers is not read from (back-pressure), so what it holds is bounded.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use log::StorageFile;
use mio::net::TcpStream;
use replica::fetch::{Answer, Fetching};
use replica::partition::Records;
use replica::produce::{Produced, Unverified};
use replica::view::PartitionKey;
use wire::ErrorCode;
use wire::frame::{Frame, FrameError, SIZE_BYTES, next_frame};
use wire::header::RequestHeader;

use crate::sys;
use crate::upcall::{Request, Ticket};

/// Unsent answers beyond this stop the connection from being read.
const UNSENT_BYTES_MAX: usize = 512 * 1024;
/// Room made ahead of the bytes that are known to come, at the least and at the most.
const READ_BYTES_MIN: usize = 16 * 1024;
const READ_BYTES_MAX: usize = 256 * 1024;
const IO_SLICES_MAX: usize = 64;

pub enum Chunk {
    Memory(Bytes),
    File { file: Arc<dyn StorageFile>, position: u64, bytes: usize },
}

impl Chunk {
    fn len(&self) -> usize {
        match self {
            Chunk::Memory(bytes) => bytes.len(),
            Chunk::File { bytes, .. } => *bytes,
        }
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
    Produce(Box<Produced>),
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
    pub ticket: Ticket,
    pub readable: bool,
    pub writable: bool,
    pub last_active_ms: u64,
    /// Close once everything queued has been sent.
    pub closing: bool,
    /// The bytes this connection is charged with against `queued.max.request.bytes`.
    pub charged_bytes: usize,
    received: BytesMut,
    read_bytes: usize,
    unsent: VecDeque<Chunk>,
    unsent_bytes: usize,
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
            ticket: 0,
            readable: true,
            writable: true,
            last_active_ms: now_ms,
            closing: false,
            charged_bytes: 0,
            received: BytesMut::new(),
            read_bytes: READ_BYTES_MIN,
            unsent: VecDeque::new(),
            unsent_bytes: 0,
        }
    }

    pub fn received_bytes(&self) -> usize {
        self.received.len()
    }

    pub fn is_backlogged(&self) -> bool {
        self.unsent_bytes >= UNSENT_BYTES_MAX
    }

    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// The next whole request among the bytes received, without its size.
    pub fn take_frame(&mut self, request_bytes_max: usize) -> Result<Option<BytesMut>, Closed> {
        match next_frame(&self.received, request_bytes_max)? {
            Frame::Whole { len } => {
                self.received.advance(SIZE_BYTES);
                let frame = self.received.split_to(len);
                self.read_bytes = (len + SIZE_BYTES).next_power_of_two().clamp(READ_BYTES_MIN, READ_BYTES_MAX);
                if self.received.is_empty() {
                    self.received = BytesMut::new();
                }
                Ok(Some(frame))
            }
            Frame::Missing { .. } => Ok(None),
        }
    }

    /// One read. False when there is nothing to read just now.
    pub fn read_some(&mut self, request_bytes_max: usize) -> Result<bool, Closed> {
        let missing = match next_frame(&self.received, request_bytes_max)? {
            Frame::Missing { bytes } if self.received.len() >= SIZE_BYTES => bytes,
            _ => 0,
        };
        // Room for what is known to come, but never more ahead than what has come already (or the least).
        let ahead = missing.min(self.received.len().max(READ_BYTES_MAX)).max(self.read_bytes.min(READ_BYTES_MAX));
        let ahead = if missing > READ_BYTES_MAX { ahead.min(missing) } else { ahead };
        self.received.reserve(ahead);
        let spare = self.received.spare_capacity_mut();
        // SAFETY: `read` only writes to the buffer, and `set_len` counts just the bytes that it says it wrote.
        let spare = unsafe { &mut *(std::ptr::from_mut(spare) as *mut [u8]) };
        let wanted = spare.len().min(ahead);
        match self.stream.read(&mut spare[..wanted]) {
            Ok(0) => Err(Closed::ByPeer),
            Ok(count) => {
                // SAFETY: `read` initialised `count` bytes behind the current length.
                unsafe { self.received.set_len(self.received.len() + count) };
                // A short read means the socket is drained; the next readiness event says when it is not.
                self.readable = count == wanted;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                if self.received.is_empty() {
                    self.received = BytesMut::new();
                }
                Ok(false)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error.into()),
        }
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
                Records::File { file, position, bytes } => self.queue(Chunk::File { file, position, bytes }),
            }
        }
        self.queue(Chunk::Memory(encoded));
    }

    /// Sends what the socket takes.
    pub fn flush(&mut self) -> Result<(), Closed> {
        while self.writable && !self.unsent.is_empty() {
            let sent = match self.unsent.front() {
                Some(Chunk::File { file, position, bytes }) => self.send_file_region(file.clone(), *position, *bytes),
                _ => self.send_memory(),
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

    fn send_file_region(&mut self, file: Arc<dyn StorageFile>, position: u64, bytes: usize) -> io::Result<usize> {
        if let Some(fd) = file.raw_fd() {
            return sys::send_file(self.stream.as_raw_fd(), fd, position, bytes);
        }
        let mut buffer = vec![0; bytes.min(READ_BYTES_MAX)];
        let read = file.read_at(&mut buffer, position)?;
        self.stream.write(&buffer[..read])
    }

    fn sent(&mut self, mut count: usize) {
        self.unsent_bytes -= count;
        while count > 0 {
            let Some(chunk) = self.unsent.front_mut() else { return };
            let take = count.min(chunk.len());
            match chunk {
                Chunk::Memory(bytes) => bytes.advance(take),
                Chunk::File { position, bytes, .. } => {
                    *position += take as u64;
                    *bytes -= take;
                }
            }
            if chunk.len() == 0 {
                self.unsent.pop_front();
            }
            count -= take;
        }
    }
}
