//! Finding one request in the bytes received so far. Pure: it never reads, and never asks for more room than the bytes
//! that have come justify.

/// What a connection's unread bytes amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A whole request of `len` bytes stands after the four bytes of its size.
    Whole { len: usize },
    /// So many bytes are still to come before the request is whole (or before its size is known).
    Missing { bytes: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The declared size is above `socket.request.max.bytes`.
    TooLarge { size: i32, max: usize },
    /// A zero or negative size. KAFKA: 4.4 closes the connection on a zero-length frame too.
    NotPositive { size: i32 },
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FrameError::TooLarge { size, max } => {
                write!(f, "request size {size} is above socket.request.max.bytes={max}")
            }
            FrameError::NotPositive { size } => write!(f, "request size {size} is not positive"),
        }
    }
}

pub const SIZE_BYTES: usize = 4;

pub fn next_frame(received: &[u8], request_bytes_max: usize) -> Result<Frame, FrameError> {
    let Some(prefix) = received.first_chunk::<SIZE_BYTES>() else {
        return Ok(Frame::Missing { bytes: SIZE_BYTES - received.len() });
    };
    let size = i32::from_be_bytes(*prefix);
    if size <= 0 {
        return Err(FrameError::NotPositive { size });
    }
    let len = size as usize;
    if len > request_bytes_max {
        return Err(FrameError::TooLarge { size, max: request_bytes_max });
    }
    let at_hand = received.len() - SIZE_BYTES;
    Ok(if at_hand >= len { Frame::Whole { len } } else { Frame::Missing { bytes: len - at_hand } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_that_is_not_positive_or_too_large_is_refused() {
        assert_eq!(next_frame(&[0, 0, 0, 0], 10), Err(FrameError::NotPositive { size: 0 }));
        assert_eq!(next_frame(&[255, 255, 255, 255], 10), Err(FrameError::NotPositive { size: -1 }));
        assert_eq!(next_frame(&[0, 0, 0, 11], 10), Err(FrameError::TooLarge { size: 11, max: 10 }));
    }

    #[test]
    fn a_partial_frame_tells_what_is_missing() {
        assert_eq!(next_frame(&[0, 0], 10), Ok(Frame::Missing { bytes: 2 }));
        assert_eq!(next_frame(&[0, 0, 0, 5, 1, 2], 10), Ok(Frame::Missing { bytes: 3 }));
        assert_eq!(next_frame(&[0, 0, 0, 2, 1, 2, 9], 10), Ok(Frame::Whole { len: 2 }));
    }
}
