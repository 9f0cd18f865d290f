//! Skimming the records of an inflated payload: where each one lies, its key, and whether it has a value. What compaction
//! asks of a record, without looking at values and headers. Strict about lengths, as `Records` is.

use crate::varint::{read_varint, read_varlong, varlong_bytes, write_varlong};
use crate::{Error, Result};

/// One record's place in its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skimmed<'a> {
    pub start: usize,
    pub end: usize,
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub has_value: bool,
    /// Where the attributes stand, and what follows the timestamp's delta.
    attributes_at: usize,
    rest_at: usize,
}

impl Skimmed<'_> {
    /// Writes the record with another delta of its timestamp; all else stays as it is.
    pub fn write_with_timestamp_delta(&self, payload: &[u8], timestamp_delta: i64, out: &mut Vec<u8>) {
        let rest = &payload[self.rest_at..self.end];
        write_varlong(out, (1 + varlong_bytes(timestamp_delta) + rest.len()) as i64);
        out.push(payload[self.attributes_at]);
        write_varlong(out, timestamp_delta);
        out.extend_from_slice(rest);
    }
}

pub struct Skim<'a> {
    payload: &'a [u8],
    at: usize,
    left: i32,
}

impl<'a> Skim<'a> {
    pub fn new(payload: &'a [u8], count: i32) -> Self {
        Skim { payload, at: 0, left: count }
    }

    fn read(&mut self) -> Result<Skimmed<'a>> {
        let start = self.at;
        let mut at = start;
        let len = read_varint(self.payload, &mut at)?;
        let end = usize::try_from(len).ok().and_then(|len| at.checked_add(len));
        let end = end.filter(|end| *end <= self.payload.len()).ok_or(Error::Truncated { what: "record", at: start })?;
        let body = &self.payload[..end];
        let attributes_at = at;
        at += 1;
        let timestamp_delta = read_varlong(body, &mut at)?;
        let rest_at = at;
        let offset_delta = read_varint(body, &mut at)?;
        let key_len = read_varint(body, &mut at)?;
        let key = match usize::try_from(key_len) {
            Ok(len) => {
                let key = at.checked_add(len).and_then(|key_end| body.get(at..key_end));
                at += len;
                Some(key.ok_or(Error::Truncated { what: "key of a record", at: start })?)
            }
            Err(_) => None,
        };
        let value_len = read_varint(body, &mut at)?;
        if usize::try_from(value_len).is_ok_and(|len| len > end - at) {
            return Err(Error::Truncated { what: "value of a record", at: start });
        }
        self.at = end;
        let has_value = value_len >= 0;
        Ok(Skimmed { start, end, timestamp_delta, offset_delta, key, has_value, attributes_at, rest_at })
    }
}

impl<'a> Iterator for Skim<'a> {
    type Item = Result<Skimmed<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            if self.at == self.payload.len() {
                return None;
            }
            let at = std::mem::replace(&mut self.at, self.payload.len());
            return Some(Err(Error::Invalid { what: "bytes left over behind the last record", at }));
        }
        self.left -= 1;
        let record = self.read();
        if record.is_err() {
            (self.left, self.at) = (0, self.payload.len());
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchView;
    use crate::builder::{BatchBuilder, BatchFacts, NewRecord};
    use crate::records::Records;

    fn built() -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchFacts::default());
        let headers: [(&[u8], Option<&[u8]>); 1] = [(b"h", Some(b"1"))];
        builder.push(NewRecord { timestamp: 5, key: Some(b"a"), value: Some(b"v"), headers: &headers });
        builder.push(NewRecord { timestamp: 900, key: Some(b""), value: None, headers: &[] });
        builder.push(NewRecord { timestamp: 7, key: None, value: Some(b""), headers: &headers });
        builder.build().unwrap()
    }

    #[test]
    fn what_is_skimmed_is_what_is_read() {
        let bytes = built();
        let batch = BatchView::parse(&bytes).unwrap();
        let skimmed: Vec<_> = Skim::new(batch.payload(), 3).collect::<Result<_>>().unwrap();
        let read: Vec<_> = Records::new(batch.payload(), 3).collect::<Result<_>>().unwrap();
        assert_eq!(skimmed.len(), 3);
        for (skimmed, read) in skimmed.iter().zip(&read) {
            assert_eq!((skimmed.key, skimmed.has_value), (read.key, read.value.is_some()));
            let deltas = (skimmed.timestamp_delta, skimmed.offset_delta);
            assert_eq!(deltas, (read.timestamp_delta, read.offset_delta));
        }
    }

    #[test]
    fn another_timestamp_changes_nothing_else() {
        let bytes = built();
        let payload = BatchView::parse(&bytes).unwrap().payload();
        let mut out = Vec::new();
        for skimmed in Skim::new(payload, 3) {
            skimmed.unwrap().write_with_timestamp_delta(payload, -100_000, &mut out);
        }
        let before: Vec<_> = Records::new(payload, 3).collect::<Result<_>>().unwrap();
        let after: Vec<_> = Records::new(&out, 3).collect::<Result<_>>().unwrap();
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(after.timestamp_delta, -100_000);
            assert_eq!((after.key, after.value, after.offset_delta), (before.key, before.value, before.offset_delta));
            assert_eq!(after.headers().collect::<Vec<_>>(), before.headers().collect::<Vec<_>>());
        }
    }

    #[test]
    fn lengths_that_do_not_fit_and_surplus_bytes_are_refused() {
        let bytes = built();
        let payload = BatchView::parse(&bytes).unwrap().payload();
        for cut in 0..payload.len() {
            assert!(Skim::new(&payload[..cut], 3).any(|each| each.is_err()), "cut at {cut}");
        }
        assert!(Skim::new(payload, 2).any(|each| each.is_err()));
    }
}
