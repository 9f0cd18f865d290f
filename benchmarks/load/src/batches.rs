//! The batch that a run replays, and stamping it: the first eight bytes of a value are the nanoseconds at which the record
//! was meant to be sent.
//!
//! The bytes are text that repeats and noise from a seed; half of each is hard work for a codec, and some two thirds of it stay.

use record::{BatchBuilder, BatchFacts, BatchView, Codec, NewRecord, Records, batch};

pub const STAMP_BYTES: usize = 8;

pub struct Template {
    pub bytes: Vec<u8>,
    pub record_count: usize,
    /// Bytes of records before compression, as a user counts them (without framing).
    pub payload_bytes: usize,
    /// Where the stamps belong; empty in a compressed batch.
    stamps_at: Vec<usize>,
}

/// What records are like.
#[derive(Clone, Copy)]
pub struct Content {
    pub record_bytes: usize,
    pub noise_percent: usize,
    pub now_ms: i64,
    pub seed: u64,
}

/// xorshift64*: noise that is the same in every run.
pub struct Noise(pub u64);

impl Noise {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

/// `noise_percent` of every 64 bytes are noise.
fn value_of(noise: &mut Noise, bytes: usize, noise_percent: usize) -> Vec<u8> {
    const WORDS: &[u8] = b"the quick brown fox jumps over the lazy dog while orders, payments and clicks flow on; ";
    let mut value: Vec<u8> = WORDS.iter().copied().cycle().take(bytes).collect();
    for chunk in value.chunks_mut(64) {
        let text_bytes = chunk.len() - chunk.len() * noise_percent.min(100) / 100;
        chunk[text_bytes..].iter_mut().for_each(|byte| *byte = noise.next() as u8);
    }
    value
}

impl Template {
    /// As many records as fit into `batch_bytes`, and at least one.
    pub fn new(batch_bytes: usize, codec: Codec, content: Content) -> Result<Template, String> {
        let Content { record_bytes, noise_percent, now_ms, seed } = content;
        let mut noise = Noise(seed | 1);
        let mut builder = BatchBuilder::new(BatchFacts { codec, ..BatchFacts::default() });
        let mut size_bytes = 0;
        while builder.count() == 0 || builder.size_bytes() + (builder.size_bytes() - size_bytes) <= batch_bytes {
            size_bytes = builder.size_bytes();
            let value = value_of(&mut noise, record_bytes, noise_percent);
            builder.push(NewRecord { timestamp: now_ms, key: None, value: Some(&value), headers: &[] });
        }
        let record_count = builder.count() as usize;
        let bytes = builder.build().map_err(|e| e.to_string())?;
        let mut stamps_at = Vec::new();
        if codec == Codec::None && record_bytes >= STAMP_BYTES {
            let view = BatchView::parse(&bytes).map_err(|e| e.to_string())?;
            for record in Records::new(view.payload(), view.record_count()) {
                let value = record.map_err(|e| e.to_string())?.value.unwrap_or_default();
                stamps_at.push(value.as_ptr() as usize - bytes.as_ptr() as usize);
            }
        }
        Ok(Template { bytes, record_count, payload_bytes: record_count * record_bytes, stamps_at })
    }

    pub fn can_be_stamped(&self) -> bool {
        !self.stamps_at.is_empty()
    }

    /// Stamps a copy of this batch at `at`: its last record is sent at `intended_ns`, the others evenly before it.
    pub fn stamp(&self, copy: &mut [u8], intended_ns: u64, linger_ns: u64) {
        let count = self.stamps_at.len() as u64;
        for (number, at) in self.stamps_at.iter().enumerate() {
            let stamp = intended_ns - linger_ns * (count - 1 - number as u64) / count;
            copy[*at..*at + STAMP_BYTES].copy_from_slice(&stamp.to_be_bytes());
        }
        batch::set_crc(copy);
    }
}

/// The stamp of a value, if it holds one.
pub fn stamp_of(value: Option<&[u8]>) -> Option<u64> {
    value?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(record_bytes: usize, noise_percent: usize) -> Content {
        Content { record_bytes, noise_percent, now_ms: 1, seed: 7 }
    }

    #[test]
    fn noise_is_what_a_codec_cannot_take_away() {
        let size = |percent| Template::new(65_536, Codec::Zstd, content(1000, percent)).unwrap().bytes.len();
        assert!(size(0) < 3_000 && size(25) < size(50) && size(100) > 60_000);
    }

    #[test]
    fn a_template_fills_its_batch_and_no_more() {
        let template = Template::new(16 * 1024, Codec::None, content(100, 50)).unwrap();
        assert!(
            template.bytes.len() <= 16 * 1024 && template.bytes.len() > 16 * 1024 - 150,
            "{}",
            template.bytes.len()
        );
        assert_eq!(Template::new(10, Codec::None, content(100, 50)).unwrap().record_count, 1);
    }

    #[test]
    fn a_stamped_copy_is_a_valid_batch_whose_records_tell_when_they_were_meant() {
        let template = Template::new(4096, Codec::None, content(1000, 50)).unwrap();
        let mut copy = template.bytes.clone();
        template.stamp(&mut copy, 1_000_000, 400);
        let view = BatchView::parse(&copy).unwrap();
        assert!(view.crc_is_valid());
        let stamps: Vec<_> =
            Records::new(view.payload(), view.record_count()).map(|r| stamp_of(r.unwrap().value).unwrap()).collect();
        assert_eq!(stamps.len(), template.record_count);
        assert_eq!(*stamps.last().unwrap(), 1_000_000);
        assert!(stamps[0] >= 1_000_000 - 400 && stamps.is_sorted());
    }
}
