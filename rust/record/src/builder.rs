//! Making a batch: for the metadata log, coordinators, recompression and tests.

use crate::Result;
use crate::batch::{HEADER_BYTES, LOG_OVERHEAD_BYTES, MAGIC, NO_TIMESTAMP, TimestampType, set_crc};
use crate::compression::Codec;
use crate::varint::{varlong_bytes, write_varlong};

#[derive(Clone, Copy, Debug, Default)]
pub struct NewRecord<'a> {
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [(&'a [u8], Option<&'a [u8]>)],
}

/// What the header of a new batch says, apart from its records.
#[derive(Clone, Debug)]
pub struct BatchFacts {
    pub base_offset: i64,
    pub leader_epoch: i32,
    pub codec: Codec,
    pub level: Option<i32>,
    pub timestamp_type: TimestampType,
    pub is_transactional: bool,
    pub is_control: bool,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
}

impl Default for BatchFacts {
    fn default() -> Self {
        BatchFacts {
            base_offset: 0,
            leader_epoch: -1,
            codec: Codec::None,
            level: None,
            timestamp_type: TimestampType::CreateTime,
            is_transactional: false,
            is_control: false,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
        }
    }
}

/// Builds one batch with consecutive offsets.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    facts: BatchFacts,
    payload: Vec<u8>,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

fn write_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    write_varlong(out, bytes.map_or(-1, |b| b.len() as i64));
    out.extend_from_slice(bytes.unwrap_or_default());
}

fn nullable_bytes(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |b| varlong_bytes(b.len() as i64) + b.len())
}

impl BatchBuilder {
    pub fn new(facts: BatchFacts) -> Self {
        BatchBuilder { facts, payload: Vec::new(), count: 0, base_timestamp: NO_TIMESTAMP, max_timestamp: NO_TIMESTAMP }
    }

    pub fn count(&self) -> i32 {
        self.count
    }

    /// The size so far, before compression.
    pub fn size_bytes(&self) -> usize {
        HEADER_BYTES + self.payload.len()
    }

    pub fn push(&mut self, record: NewRecord<'_>) {
        if self.count == 0 {
            self.base_timestamp = record.timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        let timestamp_delta = record.timestamp.wrapping_sub(self.base_timestamp);
        let offset_delta = i64::from(self.count);
        let headers = record.headers.iter().map(|(k, v)| nullable_bytes(Some(k)) + nullable_bytes(*v)).sum::<usize>();
        let body = 1
            + varlong_bytes(timestamp_delta)
            + varlong_bytes(offset_delta)
            + nullable_bytes(record.key)
            + nullable_bytes(record.value)
            + varlong_bytes(record.headers.len() as i64)
            + headers;
        let out = &mut self.payload;
        write_varlong(out, body as i64);
        out.push(0);
        write_varlong(out, timestamp_delta);
        write_varlong(out, offset_delta);
        write_nullable(out, record.key);
        write_nullable(out, record.value);
        write_varlong(out, record.headers.len() as i64);
        for (key, value) in record.headers {
            write_nullable(out, Some(key));
            write_nullable(out, *value);
        }
        self.count += 1;
    }

    pub fn build(self) -> Result<Vec<u8>> {
        let facts = self.facts;
        let compressed;
        let payload = if facts.codec == Codec::None {
            &self.payload
        } else {
            compressed = facts.codec.compress(facts.level, &self.payload)?;
            &compressed
        };
        let mut out = Vec::with_capacity(HEADER_BYTES + payload.len());
        let mut attributes = facts.codec.id();
        attributes |= i16::from(facts.timestamp_type == TimestampType::LogAppendTime) << 3;
        attributes |= i16::from(facts.is_transactional) << 4;
        attributes |= i16::from(facts.is_control) << 5;
        out.extend_from_slice(&facts.base_offset.to_be_bytes());
        out.extend_from_slice(&((HEADER_BYTES - LOG_OVERHEAD_BYTES + payload.len()) as i32).to_be_bytes());
        out.extend_from_slice(&facts.leader_epoch.to_be_bytes());
        out.push(MAGIC as u8);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&attributes.to_be_bytes());
        out.extend_from_slice(&(self.count - 1).max(0).to_be_bytes());
        out.extend_from_slice(&self.base_timestamp.to_be_bytes());
        out.extend_from_slice(&self.max_timestamp.to_be_bytes());
        out.extend_from_slice(&facts.producer_id.to_be_bytes());
        out.extend_from_slice(&facts.producer_epoch.to_be_bytes());
        out.extend_from_slice(&facts.base_sequence.to_be_bytes());
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(payload);
        set_crc(&mut out);
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchView;
    use crate::records::Records;

    #[test]
    fn what_is_built_reads_back_with_every_codec() {
        for codec in Codec::ALL {
            let mut builder =
                BatchBuilder::new(BatchFacts { codec, base_offset: 7, producer_id: 9, ..BatchFacts::default() });
            let headers: [(&[u8], Option<&[u8]>); 2] = [(b"h", Some(b"1")), (b"n", None)];
            for i in 0..300 {
                builder.push(NewRecord { timestamp: 1000 + i, key: Some(b"key"), value: None, headers: &headers });
            }
            let bytes = builder.build().unwrap();
            let batch = BatchView::parse(&bytes).unwrap();
            assert!(batch.crc_is_valid());
            assert_eq!((batch.last_offset(), batch.max_timestamp(), batch.codec()), (306, 1299, Some(codec)));
            let payload = codec.decompress(batch.payload(), 1 << 20).unwrap();
            let records: Vec<_> = Records::new(&payload, batch.record_count()).collect::<Result<_>>().unwrap();
            assert_eq!(records.len(), 300);
            assert_eq!(records[5].offset_delta, 5);
            assert_eq!(records[5].headers().collect::<Vec<_>>(), headers);
        }
    }
}
