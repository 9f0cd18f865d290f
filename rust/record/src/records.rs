//! Walking the records of an inflated payload, borrowed and strict: every length must fit, nothing may be left over.

use crate::varint::{read_varint, read_varlong};
use crate::{Error, Result};

/// One record. Offsets and timestamps are deltas to its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRef<'a> {
    pub attributes: i8,
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    headers: &'a [u8],
    pub header_count: usize,
}

impl<'a> RecordRef<'a> {
    /// Key and value of each header; they were checked when the record was read.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let headers = self.headers;
        let mut at = 0;
        (0..self.header_count).map_while(move |_| {
            let key = read_bytes(headers, &mut at).ok()??;
            let value = read_bytes(headers, &mut at).ok()?;
            Some((key, value))
        })
    }
}

fn read_bytes<'a>(bytes: &'a [u8], at: &mut usize) -> Result<Option<&'a [u8]>> {
    let start = *at;
    let len = read_varint(bytes, at)?;
    if len < 0 {
        return Ok(None);
    }
    let end = at.checked_add(len as usize).filter(|end| *end <= bytes.len());
    let end = end.ok_or(Error::Truncated { what: "key, value or header", at: start })?;
    let found = &bytes[*at..end];
    *at = end;
    Ok(Some(found))
}

/// Iterates over `count` records; the payload must end with the last one.
pub struct Records<'a> {
    payload: &'a [u8],
    at: usize,
    left: i32,
    failed: bool,
}

impl<'a> Records<'a> {
    pub fn new(payload: &'a [u8], count: i32) -> Self {
        Records { payload, at: 0, left: count, failed: false }
    }

    fn read(&mut self) -> Result<RecordRef<'a>> {
        let start = self.at;
        let len = read_varint(self.payload, &mut self.at)?;
        let body_start = self.at;
        let end = usize::try_from(len).ok().and_then(|len| body_start.checked_add(len));
        let end = end.filter(|end| *end <= self.payload.len()).ok_or(Error::Truncated { what: "record", at: start })?;
        let body = &self.payload[..end];
        let mut at = body_start;
        let attributes = *body.get(at).ok_or(Error::Truncated { what: "record attributes", at })? as i8;
        at += 1;
        let timestamp_delta = read_varlong(body, &mut at)?;
        let offset_delta = read_varint(body, &mut at)?;
        let key = read_bytes(body, &mut at)?;
        let value = read_bytes(body, &mut at)?;
        let header_count = read_varint(body, &mut at)?;
        let header_count = usize::try_from(header_count).ok().filter(|count| *count <= (end - at) / 2);
        let header_count = header_count.ok_or(Error::Invalid { what: "count of record headers", at })?;
        let headers = &body[at..];
        for _ in 0..header_count {
            read_bytes(body, &mut at)?.ok_or(Error::Invalid { what: "null header key", at })?;
            read_bytes(body, &mut at)?;
        }
        if at != end {
            return Err(Error::Invalid { what: "bytes left over behind a record's headers", at });
        }
        self.at = end;
        Ok(RecordRef { attributes, timestamp_delta, offset_delta, key, value, headers, header_count })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordRef<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        if self.left <= 0 {
            if self.at == self.payload.len() {
                return None;
            }
            self.failed = true;
            return Some(Err(Error::Invalid { what: "bytes left over behind the last record", at: self.at }));
        }
        self.left -= 1;
        let record = self.read();
        self.failed = record.is_err();
        Some(record)
    }
}
