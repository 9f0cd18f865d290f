//! The five codecs, framed as Kafka frames them, inflated within bounds.
//!
//! INVARIANT: `decompress` never gives nor allocates more than `bytes_max` (plus one block), whatever a stream promises.
//!
//! KAFKA: snappy is the xerial stream (lengths big-endian); several clients send one raw block instead, and it is read.
//! KAFKA: lz4 frames must have independent blocks; one frame is read, and what stands behind it is passed over.
//! KAFKA: gzip members may follow one another; what stands behind the last and is none is passed over.
//! KAFKA: zstd and snappy may not have surplus bytes behind them.

use std::cell::RefCell;
use std::io::{self, Read, Write};

use crate::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_BYTES: usize = 16;
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;

impl Codec {
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    pub fn from_id(id: i16) -> Option<Codec> {
        Codec::ALL.get(usize::try_from(id).ok()?).copied()
    }

    pub fn id(self) -> i16 {
        self as i16
    }

    pub fn name(self) -> &'static str {
        ["none", "gzip", "snappy", "lz4", "zstd"][self as usize]
    }

    fn error(self, why: impl ToString) -> Error {
        Error::Codec { codec: self, why: why.to_string() }
    }

    pub fn decompress(self, data: &[u8], bytes_max: usize) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.decompress_into(data, bytes_max, &mut out)?;
        Ok(out)
    }

    /// As `decompress`, in the place of what `out` held.
    pub fn decompress_into(self, data: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        match self {
            Codec::None if data.len() > bytes_max => Err(Error::TooLarge { bytes_max }),
            Codec::None => {
                out.extend_from_slice(data);
                Ok(())
            }
            Codec::Gzip => self.decompress_gzip(data, out, bytes_max),
            Codec::Snappy => self.decompress_snappy(data, out, bytes_max),
            Codec::Lz4 => {
                // Byte 4 is the frame descriptor's flags: bit 5 says that blocks do not refer to one another.
                if data.len() > 4 && data[4] & 0x20 == 0 {
                    return Err(self.error("blocks that depend on one another are not supported"));
                }
                let frame = lz4_frame_bytes(data).map_or(data, |len| &data[..len]);
                self.read_into(lz4_flex::frame::FrameDecoder::new(frame), out, bytes_max)
            }
            Codec::Zstd => self.decompress_zstd(data, out, bytes_max),
        }
    }

    fn read_into(self, reader: impl Read, out: &mut Vec<u8>, bytes_max: usize) -> Result<()> {
        let left = (bytes_max - out.len()) as u64;
        reader.take(left.saturating_add(1)).read_to_end(out).map_err(|e| self.error(e))?;
        if out.len() > bytes_max { Err(Error::TooLarge { bytes_max }) } else { Ok(()) }
    }

    fn decompress_gzip(self, data: &[u8], out: &mut Vec<u8>, bytes_max: usize) -> Result<()> {
        let mut rest = data;
        loop {
            let mut member = flate2::bufread::GzDecoder::new(rest);
            if member.header().is_none() && rest.len() < data.len() {
                return Ok(());
            }
            self.read_into(&mut member, out, bytes_max)?;
            rest = member.into_inner();
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// In one go where `out` has room already, as it has when it held a batch of that kind before; else piece by piece.
    fn decompress_zstd(self, data: &[u8], out: &mut Vec<u8>, bytes_max: usize) -> Result<()> {
        let room = out.capacity().min(bytes_max);
        if room > 0 {
            out.resize(room, 0);
            let whole =
                DECOMPRESSOR.with_borrow_mut(|decompressor| decompressor.decompress_to_buffer(data, &mut out[..]));
            out.truncate(*whole.as_ref().unwrap_or(&0));
            if whole.is_ok() {
                return Ok(());
            }
        }
        let decoder = zstd::stream::read::Decoder::with_buffer(data).map_err(|e| self.error(e))?;
        self.read_into(decoder, out, bytes_max)
    }

    fn decompress_snappy(self, data: &[u8], out: &mut Vec<u8>, bytes_max: usize) -> Result<()> {
        if !data.starts_with(&XERIAL_MAGIC) {
            return self.snappy_block(data, out, bytes_max);
        }
        let mut rest = data.get(XERIAL_HEADER_BYTES..).ok_or_else(|| self.error("stream header cut short"))?;
        while !rest.is_empty() {
            let (length, tail) = rest.split_first_chunk::<4>().ok_or_else(|| self.error("block length cut short"))?;
            let length = u32::from_be_bytes(*length) as usize;
            let block = tail.get(..length).ok_or_else(|| self.error("block cut short"))?;
            self.snappy_block(block, out, bytes_max)?;
            rest = &tail[length..];
        }
        Ok(())
    }

    fn snappy_block(self, block: &[u8], out: &mut Vec<u8>, bytes_max: usize) -> Result<()> {
        let promised = snap::raw::decompress_len(block).map_err(|e| self.error(e))?;
        if promised > bytes_max - out.len() {
            return Err(Error::TooLarge { bytes_max });
        }
        // Snappy copies at most 64 bytes for every 3 of input: a promise beyond that is a lie, refused before memory.
        if promised > block.len().saturating_mul(64 / 2) {
            return Err(self.error("promised length beyond what the block can hold"));
        }
        let start = out.len();
        out.resize(start + promised, 0);
        let written = snap::raw::Decoder::new().decompress(block, &mut out[start..]).map_err(|e| self.error(e))?;
        out.truncate(start + written);
        Ok(())
    }

    /// `level` None is Kafka's default of the codec.
    pub fn compress(self, level: Option<i32>, data: &[u8]) -> Result<Vec<u8>> {
        let failed = |e: io::Error| self.error(e);
        match self {
            Codec::None => Ok(data.to_vec()),
            Codec::Gzip => {
                let level =
                    level.and_then(|l| u32::try_from(l).ok()).map_or_else(Default::default, flate2::Compression::new);
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(data).map_err(failed)?;
                encoder.finish().map_err(failed)
            }
            Codec::Snappy => {
                let mut out = Vec::with_capacity(XERIAL_HEADER_BYTES + data.len() / 2);
                out.extend_from_slice(&XERIAL_MAGIC);
                out.extend_from_slice(&1u32.to_be_bytes());
                out.extend_from_slice(&1u32.to_be_bytes());
                for block in data.chunks(XERIAL_BLOCK_BYTES) {
                    let compressed = snap::raw::Encoder::new().compress_vec(block).map_err(|e| self.error(e))?;
                    out.extend_from_slice(&(compressed.len() as u32).to_be_bytes());
                    out.extend_from_slice(&compressed);
                }
                Ok(out)
            }
            Codec::Lz4 => {
                let info = lz4_flex::frame::FrameInfo::new()
                    .block_mode(lz4_flex::frame::BlockMode::Independent)
                    .block_size(lz4_flex::frame::BlockSize::Max64KB);
                let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
                encoder.write_all(data).map_err(failed)?;
                encoder.finish().map_err(|e| self.error(e))
            }
            Codec::Zstd => with_compressor(level.unwrap_or(3), |compressor| compressor.compress(data)).map_err(failed),
        }
    }
}

thread_local! {
    /// Making these costs more than a batch does.
    static DECOMPRESSOR: RefCell<zstd::bulk::Decompressor<'static>> = RefCell::default();
    static COMPRESSOR: RefCell<Option<(i32, zstd::bulk::Compressor<'static>)>> = const { RefCell::new(None) };
}

fn with_compressor<T>(
    level: i32,
    work: impl FnOnce(&mut zstd::bulk::Compressor<'static>) -> io::Result<T>,
) -> io::Result<T> {
    COMPRESSOR.with_borrow_mut(|kept| match kept {
        Some((made_for, compressor)) if *made_for == level => work(compressor),
        _ => work(&mut kept.insert((level, zstd::bulk::Compressor::new(level)?)).1),
    })
}

/// How long the lz4 frame at the start of `data` is, by the lengths of its blocks. None if its end is not there.
fn lz4_frame_bytes(data: &[u8]) -> Option<usize> {
    const MAGIC_BYTES: usize = 4;
    let flags = *data.get(MAGIC_BYTES)?;
    let (block_checksum, content_size, content_checksum, dictionary) =
        (flags & 0x10 != 0, flags & 0x08 != 0, flags & 0x04 != 0, flags & 0x01 != 0);
    // Flags, block descriptor, what the flags promise, and the header's own checksum.
    let mut at = MAGIC_BYTES + 2 + 8 * usize::from(content_size) + 4 * usize::from(dictionary) + 1;
    loop {
        let block = u32::from_le_bytes(*data.get(at..)?.first_chunk()?);
        at += 4;
        if block == 0 {
            return Some(at + 4 * usize::from(content_checksum)).filter(|end| *end <= data.len());
        }
        // The highest bit says that the block is stored as it is.
        at = at.checked_add((block & 0x7fff_ffff) as usize)?.checked_add(4 * usize::from(block_checksum))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_is_refused_at_the_limit() {
        let bomb = vec![0; 10 << 20];
        for codec in Codec::ALL {
            let packed = codec.compress(None, &bomb).unwrap();
            assert_eq!(codec.decompress(&packed, 1 << 20), Err(Error::TooLarge { bytes_max: 1 << 20 }), "{codec:?}");
            assert_eq!(codec.decompress(&packed, 10 << 20).unwrap().len(), 10 << 20, "{codec:?}");
        }
    }

    #[test]
    fn every_member_of_a_gzip_payload_is_read_and_what_is_none_is_passed_over() {
        let gzip = |text: &[u8]| Codec::Gzip.compress(None, text).unwrap();
        let two = [gzip(b"one"), gzip(b"two")].concat();
        assert_eq!(Codec::Gzip.decompress(&two, 6).unwrap(), b"onetwo");
        assert_eq!(Codec::Gzip.decompress(&two, 5), Err(Error::TooLarge { bytes_max: 5 }));
        let surplus = [&two[..], b"surplus"].concat();
        assert_eq!(Codec::Gzip.decompress(&surplus, 100).unwrap(), b"onetwo");
        assert!(Codec::Gzip.decompress(&two[..two.len() - 1], 100).is_err(), "the second member is cut");
        assert!(Codec::Gzip.decompress(b"surplus", 100).is_err());
        assert!(Codec::Gzip.decompress(b"", 100).is_err());
    }

    #[test]
    fn surplus_bytes_are_passed_over_behind_lz4_and_refused_behind_snappy_and_zstd() {
        let with_surplus = |codec: Codec| [codec.compress(None, b"payload").unwrap(), b"surplus".to_vec()].concat();
        assert_eq!(Codec::Lz4.decompress(&with_surplus(Codec::Lz4), 100).unwrap(), b"payload");
        for codec in [Codec::Snappy, Codec::Zstd] {
            assert!(codec.decompress(&with_surplus(codec), 100).is_err(), "{codec:?}");
        }
    }

    #[test]
    fn a_level_shows_in_the_size() {
        let text: Vec<u8> =
            (0..20_000_u32).flat_map(|i| (i.wrapping_mul(2_654_435_761) >> 20).to_string().into_bytes()).collect();
        for (codec, low, high) in [(Codec::Gzip, 1, 9), (Codec::Zstd, 1, 19)] {
            let size = |level| codec.compress(Some(level), &text).unwrap().len();
            assert!(size(high) < size(low), "{codec:?}");
            assert_eq!(codec.decompress(&codec.compress(Some(high), &text).unwrap(), 1 << 20).unwrap(), text);
        }
    }

    #[test]
    fn a_buffer_that_has_room_gives_the_same() {
        let data = [7; 5000];
        for codec in Codec::ALL {
            let packed = codec.compress(None, &data).unwrap();
            for capacity in [0, 100, 5000, 9000] {
                let mut out = Vec::with_capacity(capacity);
                codec.decompress_into(&packed, 5000, &mut out).unwrap();
                assert_eq!(out, data, "{codec:?} {capacity}");
                assert!(codec.decompress_into(&packed, 4999, &mut out).is_err(), "{codec:?} {capacity}");
            }
        }
    }

    #[test]
    fn a_raw_snappy_block_is_read_as_well_as_a_stream() {
        let raw = snap::raw::Encoder::new().compress_vec(b"hello hello hello").unwrap();
        assert_eq!(Codec::Snappy.decompress(&raw, 100).unwrap(), b"hello hello hello");
    }

    #[test]
    fn a_snappy_promise_that_cannot_be_kept_costs_no_memory() {
        assert!(Codec::Snappy.decompress(&[0xff, 0xff, 0xff, 0xff, 0x07, 0], 1 << 30).is_err());
    }

    #[test]
    fn lz4_blocks_that_depend_on_one_another_are_refused() {
        let info = lz4_flex::frame::FrameInfo::new().block_mode(lz4_flex::frame::BlockMode::Linked);
        let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(&[1; 1000]).unwrap();
        assert!(Codec::Lz4.decompress(&encoder.finish().unwrap(), 10_000).is_err());
    }
}
