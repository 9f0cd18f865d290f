//! One non-blocking connection: frames that wait to be sent, and bytes that have come.
//!
//! INVARIANT: a frame is handed to the kernel from where it was built; replaying a shared one copies nothing here.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::rc::Rc;

use crate::sys;

const PIECES_MAX: usize = 64;
const INBOX_BYTES: usize = 64 * 1024;
const FRAME_BYTES_MAX: usize = 1 << 30;

/// A whole request, with its size in front.
pub enum Frame {
    Shared(Rc<[u8]>),
    Owned(Vec<u8>),
}

impl Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Frame::Shared(bytes) => bytes,
            Frame::Owned(bytes) => bytes,
        }
    }
}

pub struct Connection {
    pub socket: TcpStream,
    outbox: VecDeque<Frame>,
    /// How much of the first frame of the outbox has been sent.
    sent_bytes: usize,
    inbox: Vec<u8>,
    /// What of the inbox is unread: from `start` to `end`.
    start: usize,
    end: usize,
    pub wants_writable: bool,
}

fn would_block(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

pub fn connect(port: u16) -> Result<TcpStream, String> {
    let socket = TcpStream::connect(("127.0.0.1", port)).map_err(|e| format!("cannot connect to port {port}: {e}"))?;
    socket.set_nodelay(true).map_err(|e| e.to_string())?;
    Ok(socket)
}

impl Connection {
    pub fn open(port: u16) -> Result<Connection, String> {
        Connection::of(connect(port)?)
    }

    /// The other end: what a listener gave.
    pub fn accepted(socket: TcpStream) -> Result<Connection, String> {
        socket.set_nodelay(true).map_err(|e| e.to_string())?;
        Connection::of(socket)
    }

    fn of(socket: TcpStream) -> Result<Connection, String> {
        socket.set_nonblocking(true).map_err(|e| e.to_string())?;
        Ok(Connection {
            socket,
            outbox: VecDeque::new(),
            sent_bytes: 0,
            inbox: Vec::new(),
            start: 0,
            end: 0,
            wants_writable: false,
        })
    }

    pub fn push(&mut self, frame: Frame) {
        self.outbox.push_back(frame);
    }

    pub fn unsent_count(&self) -> usize {
        self.outbox.len()
    }

    /// Sends what the socket takes; gives how many frames have been sent to their end.
    pub fn flush(&mut self) -> Result<usize, String> {
        let mut finished = 0;
        while !self.outbox.is_empty() {
            let mut skip = self.sent_bytes;
            let mut pieces = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; PIECES_MAX];
            let count = self.outbox.len().min(PIECES_MAX);
            for (piece, frame) in pieces.iter_mut().zip(&self.outbox) {
                let left = &frame[skip..];
                *piece = libc::iovec { iov_base: left.as_ptr().cast_mut().cast(), iov_len: left.len() };
                skip = 0;
            }
            match sys::send_pieces(self.socket.as_raw_fd(), &pieces[..count]) {
                Ok(sent) => finished += self.sent(sent),
                Err(error) if would_block(&error) => break,
                Err(error) => return Err(format!("sending failed: {error}")),
            }
        }
        Ok(finished)
    }

    fn sent(&mut self, bytes: usize) -> usize {
        self.sent_bytes += bytes;
        let mut finished = 0;
        while let Some(first) = self.outbox.front() {
            if self.sent_bytes < first.len() {
                break;
            }
            self.sent_bytes -= first.len();
            self.outbox.pop_front();
            finished += 1;
        }
        finished
    }

    /// Takes in what has come, with room for the whole frame that is under way. Gives the number of bytes.
    pub fn receive(&mut self) -> Result<usize, String> {
        let wanted = self.frame_bytes()?.map_or(INBOX_BYTES, |bytes| bytes.max(INBOX_BYTES));
        self.receive_into(wanted, usize::MAX)
    }

    /// Takes in what has come until `bytes` are unread, and not a byte more.
    pub fn receive_up_to(&mut self, bytes: usize) -> Result<usize, String> {
        let left = bytes.saturating_sub(self.end - self.start);
        if left == 0 { Ok(0) } else { self.receive_into(bytes.max(INBOX_BYTES), left) }
    }

    fn receive_into(&mut self, wanted: usize, bytes_max: usize) -> Result<usize, String> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.inbox.len() - self.start < wanted || self.end == self.inbox.len() {
            self.inbox.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.inbox.len() < wanted {
                self.inbox.resize(wanted, 0);
            }
        }
        let room_end = self.inbox.len().min(self.end.saturating_add(bytes_max));
        let room = &mut self.inbox[self.end..room_end];
        match sys::receive(self.socket.as_raw_fd(), room) {
            Ok(0) => Err("the other side closed the connection".to_owned()),
            Ok(bytes) => {
                self.end += bytes;
                Ok(bytes)
            }
            Err(error) if would_block(&error) => Ok(0),
            Err(error) => Err(format!("receiving failed: {error}")),
        }
    }

    /// Drops up to `bytes` that are not in the inbox yet; gives how many there were.
    pub fn discard(&mut self, bytes: usize) -> Result<usize, String> {
        match sys::discard(self.socket.as_raw_fd(), bytes) {
            Ok(0) => Err("the other side closed the connection".to_owned()),
            Ok(bytes) => Ok(bytes),
            Err(error) if would_block(&error) => Ok(0),
            Err(error) => Err(format!("receiving failed: {error}")),
        }
    }

    pub fn unread(&self) -> &[u8] {
        &self.inbox[self.start..self.end]
    }

    pub fn consume(&mut self, bytes: usize) {
        self.start += bytes;
    }

    /// The size of the frame that is under way, with its own four bytes.
    pub fn frame_bytes(&self) -> Result<Option<usize>, String> {
        let Some(size) = self.unread().first_chunk().map(|size| i32::from_be_bytes(*size)) else { return Ok(None) };
        let size = usize::try_from(size).ok().filter(|size| *size <= FRAME_BYTES_MAX);
        size.map(|size| Some(size + 4)).ok_or_else(|| "an answer's size makes no sense".to_owned())
    }

    /// The next whole answer, without its size, if it has come: where it lies, for `unread` and `consume`.
    pub fn whole_frame(&self) -> Result<Option<&[u8]>, String> {
        Ok(self.frame_bytes()?.and_then(|bytes| self.unread().get(4..bytes)))
    }

    /// The same, to be written into.
    pub fn whole_frame_mut(&mut self) -> Result<Option<&mut [u8]>, String> {
        Ok(self.frame_bytes()?.and_then(|bytes| self.inbox[self.start..self.end].get_mut(4..bytes)))
    }
}

/// Asks one request on a connection of its own and waits for the answer. For what is not measured.
pub fn ask(port: u16, frame: &[u8]) -> Result<Vec<u8>, String> {
    use std::io::{Read, Write};
    let mut socket = connect(port)?;
    let mut exchange = || {
        socket.write_all(frame)?;
        let mut size = [0; 4];
        socket.read_exact(&mut size)?;
        let mut answer = vec![0; (i32::from_be_bytes(size).max(0) as usize).min(FRAME_BYTES_MAX)];
        socket.read_exact(&mut answer)?;
        Ok(answer)
    };
    exchange().map_err(|error: io::Error| format!("asking failed: {error}"))
}
