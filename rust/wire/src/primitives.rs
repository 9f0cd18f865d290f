//! Reading and writing the protocol's primitive types. The reader hands out ranges of the frame, never copies.

use std::fmt;

pub type Uuid = [u8; 16];

/// The frame does not hold what its own fields promise: the connection is closed, as Apache Kafka does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    pub what: &'static str,
    pub at: usize,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed request: {} at byte {}", self.what, self.at)
    }
}

impl std::error::Error for Malformed {}

pub type Result<T> = std::result::Result<T, Malformed>;

/// A half-open range of a frame. Frames are shorter than 2 GiB, so 32 bits do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range32 {
    pub start: u32,
    pub end: u32,
}

impl Range32 {
    pub fn of(self, frame: &[u8]) -> &[u8] {
        &frame[self.start as usize..self.end as usize]
    }

    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// A cursor over one request.
pub struct Reader<'a> {
    frame: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(frame: &'a [u8], at: usize) -> Self {
        Reader { frame, at: at.min(frame.len()) }
    }

    pub fn position(&self) -> usize {
        self.at
    }

    pub fn remaining(&self) -> usize {
        self.frame.len() - self.at
    }

    fn fail<T>(&self, what: &'static str) -> Result<T> {
        Err(Malformed { what, at: self.at })
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        match self.frame[self.at..].first_chunk::<N>() {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => self.fail(what),
        }
    }

    pub fn int8(&mut self) -> Result<i8> {
        self.array::<1>("int8").map(|b| b[0] as i8)
    }

    pub fn int16(&mut self) -> Result<i16> {
        self.array("int16").map(i16::from_be_bytes)
    }

    pub fn int32(&mut self) -> Result<i32> {
        self.array("int32").map(i32::from_be_bytes)
    }

    pub fn int64(&mut self) -> Result<i64> {
        self.array("int64").map(i64::from_be_bytes)
    }

    pub fn uuid(&mut self) -> Result<Uuid> {
        self.array("uuid")
    }

    /// Unsigned LEB128 of at most 32 bits. An over-long encoding that still fits is accepted, as in Kafka.
    pub fn uvarint(&mut self) -> Result<u32> {
        let mut value: u32 = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.array::<1>("varint")?[0];
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        self.fail("varint longer than five bytes")
    }

    pub fn range(&mut self, len: usize) -> Result<Range32> {
        if len > self.remaining() {
            return self.fail("length beyond the end of the request");
        }
        let start = self.at as u32;
        self.at += len;
        Ok(Range32 { start, end: self.at as u32 })
    }

    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<Range32>> {
        let len = if flexible { i64::from(self.uvarint()?) - 1 } else { i64::from(self.int16()?) };
        if len < 0 { Ok(None) } else { self.range(len as usize).map(Some) }
    }

    pub fn string(&mut self, flexible: bool) -> Result<Range32> {
        match self.nullable_string(flexible)? {
            Some(range) => Ok(range),
            None => self.fail("null string where it is not nullable"),
        }
    }

    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<Range32>> {
        let len = if flexible { i64::from(self.uvarint()?) - 1 } else { i64::from(self.int32()?) };
        if len < 0 { Ok(None) } else { self.range(len as usize).map(Some) }
    }

    /// The count of an array whose elements take at least `element_bytes_min` bytes each.
    pub fn array_count(&mut self, flexible: bool, element_bytes_min: usize) -> Result<usize> {
        let count = if flexible { i64::from(self.uvarint()?) - 1 } else { i64::from(self.int32()?) };
        if count < 0 {
            return self.fail("null array where it is not nullable");
        }
        if count as usize > self.remaining() / element_bytes_min.max(1) {
            return self.fail("array count beyond the end of the request");
        }
        Ok(count as usize)
    }

    /// Reads a tag section; `known` gets each tag with a reader confined to its payload.
    pub fn tags(&mut self, mut known: impl FnMut(u32, &mut Reader<'a>) -> Result<()>) -> Result<()> {
        let count = self.uvarint()?;
        if count as usize > self.remaining() / 2 {
            return self.fail("tag count beyond the end of the request");
        }
        for _ in 0..count {
            let tag = self.uvarint()?;
            let size = self.uvarint()? as usize;
            let payload = self.range(size)?;
            let mut inner = Reader { frame: &self.frame[..payload.end as usize], at: payload.start as usize };
            known(tag, &mut inner)?;
        }
        Ok(())
    }

    pub fn skip_tags(&mut self, flexible: bool) -> Result<()> {
        if flexible { self.tags(|_, _| Ok(())) } else { Ok(()) }
    }
}

/// Appends primitives to a growing buffer.
#[derive(Default)]
pub struct Writer {
    pub bytes: Vec<u8>,
}

impl Writer {
    pub fn with_capacity(capacity: usize) -> Self {
        Writer { bytes: Vec::with_capacity(capacity) }
    }

    pub fn int8(&mut self, value: i8) {
        self.bytes.push(value as u8);
    }

    pub fn int16(&mut self, value: i16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub fn int32(&mut self, value: i32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub fn int64(&mut self, value: i64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub fn uuid(&mut self, value: &Uuid) {
        self.bytes.extend_from_slice(value);
    }

    pub fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    pub fn nullable_string(&mut self, value: Option<&[u8]>, flexible: bool) {
        match (value, flexible) {
            (None, true) => self.uvarint(0),
            (None, false) => self.int16(-1),
            (Some(text), true) => {
                self.uvarint(text.len() as u32 + 1);
                self.bytes.extend_from_slice(text);
            }
            (Some(text), false) => {
                self.int16(text.len() as i16);
                self.bytes.extend_from_slice(text);
            }
        }
    }

    pub fn string(&mut self, value: &[u8], flexible: bool) {
        self.nullable_string(Some(value), flexible);
    }

    pub fn array_count(&mut self, count: usize, flexible: bool) {
        if flexible { self.uvarint(count as u32 + 1) } else { self.int32(count as i32) }
    }

    /// The length in front of `len` bytes that are sent from elsewhere.
    pub fn bytes_length(&mut self, len: usize, flexible: bool) {
        if flexible { self.uvarint(len as u32 + 1) } else { self.int32(len as i32) }
    }

    pub fn no_tags(&mut self, flexible: bool) {
        if flexible {
            self.bytes.push(0);
        }
    }

    /// Writes one tagged field whose payload `fill` produces.
    pub fn tag(&mut self, tag: u32, fill: impl FnOnce(&mut Writer)) {
        self.uvarint(tag);
        let mut payload = Writer::default();
        fill(&mut payload);
        self.uvarint(payload.bytes.len() as u32);
        self.bytes.extend_from_slice(&payload.bytes);
    }
}
