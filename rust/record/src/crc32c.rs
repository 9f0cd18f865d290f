//! CRC-32C (Castagnoli), by the fastest instructions that the processor at hand offers.

use crc_fast::CrcAlgorithm::Crc32Iscsi;

pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(Crc32Iscsi, bytes) as u32
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_check_value_of_the_standard_holds() {
        assert_eq!(super::crc32c(b"123456789"), 0xe306_9283);
    }
}
