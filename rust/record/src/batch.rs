//! A record batch as it stands in a request, on disk and in an answer: fields by their position, patched in place.
//!
//! ```text
//!   0 base_offset i64 | 8 batch_length i32 | 12 leader_epoch i32 | 16 magic i8 | 17 crc u32 | 21 attributes i16
//!   23 last_offset_delta i32 | 27 base_timestamp i64 | 35 max_timestamp i64 | 43 producer_id i64
//!   51 producer_epoch i16 | 53 base_sequence i32 | 57 record_count i32 | 61 records
//! ```
//!
//! INVARIANT: the CRC covers byte 21 to the end, so base offset and leader epoch are set without touching it.

use crate::compression::Codec;
use crate::crc32c::crc32c;
use crate::{Error, Result};

pub const HEADER_BYTES: usize = 61;
/// What `batch_length` does not count: base offset and itself.
pub const LOG_OVERHEAD_BYTES: usize = 12;
pub const MAGIC: i8 = 2;
pub const NO_TIMESTAMP: i64 = -1;

const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;

const TIMESTAMP_TYPE_BIT: i16 = 1 << 3;
const TRANSACTIONAL_BIT: i16 = 1 << 4;
const CONTROL_BIT: i16 = 1 << 5;
const DELETE_HORIZON_BIT: i16 = 1 << 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}

/// One whole batch, borrowed. Made by `parse`, which checks lengths and nothing else.
#[derive(Clone, Copy)]
pub struct BatchView<'a> {
    bytes: &'a [u8],
}

macro_rules! field {
    ($name:ident, $type:ty, $at:literal) => {
        pub fn $name(&self) -> $type {
            <$type>::from_be_bytes(*self.bytes[$at..].first_chunk().expect("the header was checked by parse"))
        }
    };
}

impl<'a> BatchView<'a> {
    /// The first batch of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<BatchView<'a>> {
        if bytes.len() < HEADER_BYTES {
            return Err(Error::Truncated { what: "batch header", at: bytes.len() });
        }
        let length = i32::from_be_bytes(*bytes[8..].first_chunk().expect("the header is there"));
        let size = usize::try_from(length).ok().and_then(|n| n.checked_add(LOG_OVERHEAD_BYTES));
        match size {
            Some(size) if size >= HEADER_BYTES && size <= bytes.len() => Ok(BatchView { bytes: &bytes[..size] }),
            Some(size) if size >= HEADER_BYTES => Err(Error::Truncated { what: "batch", at: bytes.len() }),
            _ => Err(Error::Invalid { what: "batch length below its header", at: 8 }),
        }
    }

    /// The size that a header promises, if it can be one.
    pub fn promised_bytes(header: &[u8]) -> Option<usize> {
        let length = i32::from_be_bytes(*header.get(8..12)?.first_chunk()?);
        let size = usize::try_from(length).ok()?.checked_add(LOG_OVERHEAD_BYTES)?;
        (size >= HEADER_BYTES).then_some(size)
    }

    /// A header alone, for walking a log without its records. Only the getters of header fields may be used.
    pub fn header_only(header: &'a [u8; HEADER_BYTES]) -> BatchView<'a> {
        BatchView { bytes: header }
    }

    field!(base_offset, i64, 0);
    field!(batch_length, i32, 8);
    field!(leader_epoch, i32, 12);
    field!(magic, i8, 16);
    field!(crc, u32, 17);
    field!(attributes, i16, 21);
    field!(last_offset_delta, i32, 23);
    field!(base_timestamp, i64, 27);
    field!(max_timestamp, i64, 35);
    field!(producer_id, i64, 43);
    field!(producer_epoch, i16, 51);
    field!(base_sequence, i32, 53);
    field!(record_count, i32, 57);

    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub fn size_bytes(&self) -> usize {
        self.batch_length() as usize + LOG_OVERHEAD_BYTES
    }

    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[HEADER_BYTES..]
    }

    pub fn last_offset(&self) -> i64 {
        self.base_offset().wrapping_add(i64::from(self.last_offset_delta()))
    }

    pub fn next_offset(&self) -> i64 {
        self.last_offset().wrapping_add(1)
    }

    /// None for a codec number that Kafka does not know.
    pub fn codec(&self) -> Option<Codec> {
        Codec::from_id(self.attributes() & 0x7)
    }

    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes() & TIMESTAMP_TYPE_BIT == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes() & TRANSACTIONAL_BIT != 0
    }

    pub fn is_control(&self) -> bool {
        self.attributes() & CONTROL_BIT != 0
    }

    pub fn has_delete_horizon(&self) -> bool {
        self.attributes() & DELETE_HORIZON_BIT != 0
    }

    pub fn has_producer(&self) -> bool {
        self.producer_id() >= 0
    }

    /// The sequence of the last record; sequences wrap to 0 behind `i32::MAX`.
    /// -1 where the batch has no sequence: what a coordinator or nobody in particular wrote.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence() < 0 { -1 } else { sequence_after(self.base_sequence(), self.last_offset_delta()) }
    }

    pub fn compute_crc(&self) -> u32 {
        crc32c(&self.bytes[ATTRIBUTES_AT..])
    }

    pub fn crc_is_valid(&self) -> bool {
        self.crc() == self.compute_crc()
    }
}

/// The sequence `delta` records behind `sequence`.
pub fn sequence_after(sequence: i32, delta: i32) -> i32 {
    if sequence < 0 {
        return sequence;
    }
    ((i64::from(sequence) + i64::from(delta)) & i64::from(i32::MAX)) as i32
}

pub fn set_base_offset(batch: &mut [u8], base_offset: i64) {
    batch[..8].copy_from_slice(&base_offset.to_be_bytes());
}

pub fn set_leader_epoch(batch: &mut [u8], leader_epoch: i32) {
    batch[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
}

/// Sets the time of append: attribute bit and max timestamp; record deltas and base timestamp stay as they are.
pub fn set_append_time(batch: &mut [u8], append_time_ms: i64) {
    set_timestamp_type(batch, TimestampType::LogAppendTime);
    set_max_timestamp(batch, append_time_ms);
}

pub fn set_timestamp_type(batch: &mut [u8], timestamp_type: TimestampType) {
    let attributes = i16::from_be_bytes([batch[ATTRIBUTES_AT], batch[ATTRIBUTES_AT + 1]]);
    let attributes = match timestamp_type {
        TimestampType::CreateTime => attributes & !TIMESTAMP_TYPE_BIT,
        TimestampType::LogAppendTime => attributes | TIMESTAMP_TYPE_BIT,
    };
    batch[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&attributes.to_be_bytes());
    set_crc(batch);
}

pub fn set_max_timestamp(batch: &mut [u8], max_timestamp: i64) {
    batch[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&max_timestamp.to_be_bytes());
    set_crc(batch);
}

pub fn set_crc(batch: &mut [u8]) {
    let crc = crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
}

/// Batches that stand back to back. Ends behind the last whole one; a cut or senseless one is an error, once.
pub struct Batches<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Batches<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Batches { bytes, at: 0 }
    }

    /// Where the next batch starts.
    pub fn position(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<BatchView<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let batch = BatchView::parse(&self.bytes[self.at..]);
        self.at = match &batch {
            Ok(batch) => self.at + batch.bytes.len(),
            Err(_) => self.bytes.len(),
        };
        Some(batch)
    }
}
