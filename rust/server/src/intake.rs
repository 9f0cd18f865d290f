//! Bytes on their way in: a connection's receive buffer, and the buffers that the connections of a loop take turns with.
//!
//! A buffer that is used again and again stays in the processor's cache, so a connection has one only while it is read. In
//! between it keeps what is left of a request that has not come whole, and gives the buffer back.
//!
//! INVARIANT: room is made for bytes that came and a bounded number more, never for what a size only promises.

use std::io::{self, Read};

use bytes::{Buf, BytesMut};
use wire::frame::{Frame, FrameError, SIZE_BYTES, next_frame};

/// Room made ahead of the bytes that have come, at most.
const AHEAD_BYTES_MAX: usize = 256 * 1024;
/// What one read asks for where requests are small: as many whole ones as fit.
const READ_BYTES: usize = 128 * 1024;
/// Part of a request below this is copied out of the buffer, which then is free for others.
pub const COPIED_BELOW_BYTES: usize = 16 * 1024;
const SPARE_COUNT: usize = 2;
const SPARE_BYTES_MAX: usize = 512 * 1024;

/// Buffers that nobody reads into just now.
#[derive(Default)]
pub struct Spare(Vec<BytesMut>);

impl Spare {
    fn take(&mut self) -> BytesMut {
        self.0.pop().unwrap_or_default()
    }

    fn put(&mut self, mut buffer: BytesMut) {
        buffer.clear();
        if self.0.len() < SPARE_COUNT && buffer.try_reclaim(READ_BYTES) && buffer.capacity() <= SPARE_BYTES_MAX {
            self.0.push(buffer);
        }
    }
}

/// What of a connection's bytes has not been taken as a request yet.
#[derive(Default)]
pub struct Intake {
    received: BytesMut,
    /// `received` is a buffer for reading, and not just as large as what is in it.
    is_roomy: bool,
    /// Size of the request before, with its prefix: the next one is likely the same.
    usual_bytes: usize,
}

/// What one read brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    Closed,
    Nothing,
    Bytes { may_have_more: bool },
}

impl Intake {
    pub fn len(&self) -> usize {
        self.received.len()
    }

    /// Which API the next request is of, once that much of it has come.
    pub fn next_api_key(&self) -> Option<i16> {
        let key = self.received.get(SIZE_BYTES..SIZE_BYTES + 2)?;
        Some(i16::from_be_bytes([key[0], key[1]]))
    }

    /// The next whole request, without its size.
    pub fn take_frame(&mut self, request_bytes_max: usize) -> Result<Option<BytesMut>, FrameError> {
        match next_frame(&self.received, request_bytes_max)? {
            Frame::Whole { len } => {
                self.received.advance(SIZE_BYTES);
                self.usual_bytes = len + SIZE_BYTES;
                Ok(Some(self.received.split_to(len)))
            }
            Frame::Missing { .. } => Ok(None),
        }
    }

    /// One read from `stream`.
    pub fn read(&mut self, stream: &mut impl Read, spare: &mut Spare, request_bytes_max: usize) -> io::Result<Arrival> {
        let wanted = self.wanted_bytes(request_bytes_max);
        if !self.is_roomy {
            let part = std::mem::replace(&mut self.received, spare.take());
            self.received.reserve(part.len() + wanted.max(READ_BYTES));
            self.received.extend_from_slice(&part);
            self.is_roomy = true;
        }
        self.received.reserve(wanted);
        let room = &mut self.received.spare_capacity_mut()[..wanted];
        // SAFETY: `read` only writes to the buffer, and `set_len` counts just the bytes that it says it wrote.
        let room = unsafe { &mut *(std::ptr::from_mut(room) as *mut [u8]) };
        match stream.read(room) {
            Ok(0) => Ok(Arrival::Closed),
            Ok(count) => {
                // SAFETY: `read` initialised `count` bytes behind the current length.
                unsafe { self.received.set_len(self.received.len() + count) };
                // A short read means the socket is drained; the next readiness event says when it is not.
                Ok(Arrival::Bytes { may_have_more: count == wanted })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Arrival::Nothing),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Arrival::Bytes { may_have_more: true }),
            Err(error) => Err(error),
        }
    }

    /// What is missing of the request under way and as many whole ones like the one before as fit, so that none is cut
    /// in two and has to be moved.
    fn wanted_bytes(&self, request_bytes_max: usize) -> usize {
        let missing = match next_frame(&self.received, request_bytes_max) {
            Ok(Frame::Missing { bytes }) if self.received.len() >= SIZE_BYTES => bytes,
            _ => 0,
        };
        let usual = if self.usual_bytes == 0 { READ_BYTES } else { self.usual_bytes };
        let left = READ_BYTES.saturating_sub(missing);
        let whole = missing + left / usual * usual;
        let at_least = if whole == 0 { usual } else { whole };
        at_least.min(self.received.len().max(AHEAD_BYTES_MAX))
    }

    /// The connection's turn is over: the buffer goes to whoever reads next, unless much of a request is in it.
    pub fn rest(&mut self, spare: &mut Spare) {
        if self.is_roomy && self.received.len() < COPIED_BELOW_BYTES {
            let part = BytesMut::from(&self.received[..]);
            spare.put(std::mem::replace(&mut self.received, part));
            self.is_roomy = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const MAX: usize = 1 << 20;

    /// A socket that gives what is in it in one piece, and says how much it was asked for.
    #[derive(Default)]
    struct Socket {
        bytes: VecDeque<u8>,
        asked: usize,
    }

    impl Socket {
        fn with(sizes: &[usize]) -> Socket {
            let mut socket = Socket::default();
            for (number, size) in sizes.iter().enumerate() {
                socket.bytes.extend((*size as u32).to_be_bytes());
                socket.bytes.extend(std::iter::repeat_n(number as u8, *size));
            }
            socket
        }
    }

    impl Read for Socket {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.asked = buffer.len();
            if self.bytes.is_empty() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.bytes.read(buffer)
        }
    }

    /// Reads all there is; the first byte and the size of each request.
    fn requests(intake: &mut Intake, socket: &mut Socket, spare: &mut Spare) -> Vec<(u8, usize)> {
        let mut found = Vec::new();
        while intake.read(socket, spare, MAX).unwrap() != Arrival::Nothing {
            while let Some(frame) = intake.take_frame(MAX).unwrap() {
                found.push((frame[0], frame.len()));
            }
        }
        intake.rest(spare);
        found
    }

    #[test]
    fn requests_come_out_as_they_went_in_whatever_their_sizes() {
        let sizes = [1, 300_000, 70_000, 70_000, 5, 131_068, 131_069, 600_000, 12];
        let (mut intake, mut spare) = (Intake::default(), Spare::default());
        let mut found = Vec::new();
        for part in [&sizes[..4], &sizes[4..]] {
            // Two connections take turns with the same buffers.
            assert_eq!(requests(&mut Intake::default(), &mut Socket::with(&[40_000]), &mut spare), [(0, 40_000)]);
            found.extend(requests(&mut intake, &mut Socket::with(part), &mut spare).iter().map(|(_, size)| *size));
        }
        assert_eq!(found, sizes);
    }

    #[test]
    fn a_part_of_a_request_survives_the_turns_of_others() {
        let (mut intake, mut spare) = (Intake::default(), Spare::default());
        let mut whole: Vec<u8> = Socket::with(&[100]).bytes.into();
        let rest = whole.split_off(30);
        let mut socket = Socket { bytes: whole.into(), asked: 0 };
        assert!(requests(&mut intake, &mut socket, &mut spare).is_empty());
        assert!(intake.received.capacity() < 100, "it holds what came, not a buffer");
        requests(&mut Intake::default(), &mut Socket::with(&[7; 50]), &mut spare);
        socket.bytes.extend(rest);
        assert_eq!(requests(&mut intake, &mut socket, &mut spare), [(0, 100)]);
    }

    #[test]
    fn one_read_asks_for_whole_requests_like_the_one_before() {
        let (mut intake, mut spare) = (Intake::default(), Spare::default());
        let mut socket = Socket::with(&[50_000]);
        requests(&mut intake, &mut socket, &mut spare);
        assert_eq!(socket.asked, 2 * 50_004);
        socket.bytes = Socket::with(&[200_000]).bytes;
        requests(&mut intake, &mut socket, &mut spare);
        assert_eq!(socket.asked, 200_004);
    }

    #[test]
    fn a_size_that_is_promised_only_makes_no_room() {
        let (mut intake, mut spare) = (Intake::default(), Spare::default());
        let mut socket = Socket { bytes: (MAX as u32 - 4).to_be_bytes().into(), asked: 0 };
        requests(&mut intake, &mut socket, &mut spare);
        assert!(socket.asked <= AHEAD_BYTES_MAX);
        assert!(intake.received.capacity() < COPIED_BELOW_BYTES);
    }

    #[test]
    fn the_same_memory_is_read_into_again() {
        let (mut intake, mut spare) = (Intake::default(), Spare::default());
        let address = |intake: &mut Intake, spare: &mut Spare| {
            intake.read(&mut Socket::with(&[60_000]), spare, MAX).unwrap();
            let frame = intake.take_frame(MAX).unwrap().unwrap();
            let address = frame.as_ptr() as usize;
            drop(frame);
            intake.rest(spare);
            address
        };
        let first = address(&mut intake, &mut spare);
        assert!((0..10).all(|_| address(&mut intake, &mut spare) == first));
    }
}
