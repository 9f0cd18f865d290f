//! Control batches: what stands in the key of their record, and the value of a transaction marker.

use crate::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlType {
    Abort,
    Commit,
    LeaderChange,
    SnapshotHeader,
    SnapshotFooter,
    KRaftVersion,
    KRaftVoters,
    /// A newer type: skipped.
    Unknown(i16),
}

impl ControlType {
    pub fn from_key(key: &[u8]) -> Result<ControlType> {
        let type_id = key.get(2..4).ok_or(Error::Truncated { what: "control record key", at: key.len() })?;
        Ok(match i16::from_be_bytes([type_id[0], type_id[1]]) {
            0 => ControlType::Abort,
            1 => ControlType::Commit,
            2 => ControlType::LeaderChange,
            3 => ControlType::SnapshotHeader,
            4 => ControlType::SnapshotFooter,
            5 => ControlType::KRaftVersion,
            6 => ControlType::KRaftVoters,
            other => ControlType::Unknown(other),
        })
    }
}

/// The coordinator epoch in a commit or abort marker's value.
pub fn marker_coordinator_epoch(value: &[u8]) -> Result<i32> {
    let bytes = value.get(2..6).and_then(|b| b.first_chunk());
    bytes.map(|b| i32::from_be_bytes(*b)).ok_or(Error::Truncated { what: "transaction marker", at: value.len() })
}

/// Key and value of a transaction marker.
pub fn marker(commit: bool, coordinator_epoch: i32) -> ([u8; 4], [u8; 6]) {
    let mut value = [0; 6];
    value[2..].copy_from_slice(&coordinator_epoch.to_be_bytes());
    ([0, 0, 0, u8::from(commit)], value)
}
