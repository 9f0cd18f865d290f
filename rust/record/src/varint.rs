//! Zigzag varints, as they stand inside records.

use crate::{Error, Result};

pub fn read_varlong(bytes: &[u8], at: &mut usize) -> Result<i64> {
    let mut value: u64 = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at).ok_or(Error::Truncated { what: "varint", at: *at })?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    Err(Error::Invalid { what: "varint longer than ten bytes", at: *at })
}

pub fn read_varint(bytes: &[u8], at: &mut usize) -> Result<i32> {
    let start = *at;
    i32::try_from(read_varlong(bytes, at)?).map_err(|_| Error::Invalid { what: "varint beyond 32 bits", at: start })
}

pub fn write_varlong(out: &mut Vec<u8>, value: i64) {
    let mut value = ((value << 1) ^ (value >> 63)) as u64;
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub fn varlong_bytes(value: i64) -> usize {
    let value = ((value << 1) ^ (value >> 63)) as u64;
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_measured_rightly() {
        for value in [0, 1, -1, 63, 64, -64, -65, i64::from(i32::MAX), i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            write_varlong(&mut out, value);
            assert_eq!(out.len(), varlong_bytes(value), "{value}");
            let mut at = 0;
            assert_eq!(read_varlong(&out, &mut at), Ok(value));
            assert_eq!(at, out.len());
        }
    }

    #[test]
    fn an_endless_varint_is_refused() {
        assert!(read_varlong(&[0xff; 11], &mut 0).is_err());
        assert!(read_varint(&[0xff, 0xff], &mut 0).is_err());
    }
}
