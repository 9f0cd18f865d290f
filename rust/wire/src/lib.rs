//! The fast path's slice of the Kafka protocol: frames, request headers, Produce and Fetch, and who asks for which topics. Pure.
//!
//! Not here: sockets, logs, any other API (those bodies go up to the control plane as bytes).
//!
//! INVARIANT: nothing is allocated on the word of a declared count; every count is checked against the bytes at hand.
//! INVARIANT: decoding borrows. Names and record payloads are byte ranges of the frame, so that a batch can be patched
//! in place and handed on without a copy.
//!
//! Sources: the Kafka protocol guide; KIP-482 (flexible versions); KIP-227 (fetch sessions); KIP-516 (topic ids).

pub mod error_code;
pub mod fetch;
pub mod frame;
pub mod header;
pub mod metadata;
pub mod primitives;
pub mod produce;

pub use error_code::ErrorCode;
pub use primitives::{Malformed, Range32, Reader, Uuid, Writer};

/// How a request or response names a topic: by name up to Produce 12 and Fetch 12, by id from 13 on (KIP-516).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicRef {
    Name(Range32),
    Id(Uuid),
}
