//! CRC-32C (Castagnoli), by the fastest instructions that the processor at hand offers.

use crc_fast::CrcAlgorithm::{Crc32Iscsi, Crc32IsoHdlc};

pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(Crc32Iscsi, bytes) as u32
}

/// The CRC-32 of messages before format v2, to tell them from rot.
pub fn crc32(bytes: &[u8]) -> u32 {
    crc_fast::checksum(Crc32IsoHdlc, bytes) as u32
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_check_values_of_the_standards_hold() {
        assert_eq!(super::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(super::crc32(b"123456789"), 0xcbf4_3926);
    }
}
