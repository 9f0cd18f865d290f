//! Kafka's small text files: offset checkpoints, `partition.metadata`, `meta.properties`, the mark of a clean stop.
//!
//! ```text
//!   checkpoint           "0\n" count "\n" then a line an entry
//!   partition.metadata   "version: 0\ntopic_id: <22 characters>", no newline at the end
//!   .kafka_cleanshutdown {"version":0,"brokerEpoch":N}
//! ```

use std::collections::HashMap;
use std::path::Path;

use crate::storage::Storage;
use crate::{Error, Result};

pub const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
pub const LOG_START_OFFSETS: &str = "log-start-offset-checkpoint";
pub const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
pub const CLEANER_OFFSETS: &str = "cleaner-offset-checkpoint";
pub const PARTITION_METADATA: &str = "partition.metadata";
pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

pub fn text(lines: impl ExactSizeIterator<Item = String>) -> String {
    let mut text = format!("0\n{}\n", lines.len());
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// Reads a checkpoint's lines; `parse` gets the fields of one, split at spaces.
pub fn read_lines<T>(storage: &dyn Storage, path: &Path, parse: impl Fn(&[&str]) -> Option<T>) -> Result<Vec<T>> {
    let bytes = storage.read(path).map_err(|e| Error::storage(path, e))?;
    let text = String::from_utf8(bytes).map_err(|_| Error::corrupt(path, "not a text file"))?;
    let mut lines = text.lines();
    match lines.next() {
        Some("0") => {}
        other => return Err(Error::corrupt(path, format!("version {other:?}, expected 0"))),
    }
    let count = lines.next().and_then(|line| line.parse::<usize>().ok());
    let count = count.ok_or_else(|| Error::corrupt(path, "the second line is not a count"))?;
    let mut entries = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let fields: Vec<&str> = line.split(' ').collect();
        entries.push(parse(&fields).ok_or_else(|| Error::corrupt(path, format!("malformed line {line:?}")))?);
    }
    if entries.len() != count {
        return Err(Error::corrupt(path, format!("{} entries, but {count} were promised", entries.len())));
    }
    Ok(entries)
}

pub type Offsets = HashMap<(String, i32), i64>;

/// A checkpoint of offsets by partition; empty if the file does not exist.
/// KAFKA: its broker makes all of its checkpoints when it starts, and leaves them without a byte until it has something to say.
pub fn read_offsets(storage: &dyn Storage, path: &Path) -> Result<Offsets> {
    if !storage.exists(path) || storage.read(path).map_err(|e| Error::storage(path, e))?.is_empty() {
        return Ok(Offsets::new());
    }
    let entries = read_lines(storage, path, |fields| {
        let [topic, partition, offset] = fields else { return None };
        Some(((topic.to_string(), partition.parse().ok()?), offset.parse().ok()?))
    })?;
    Ok(entries.into_iter().collect())
}

pub fn write_offsets(storage: &dyn Storage, path: &Path, offsets: &[(String, i32, i64)]) -> Result<()> {
    let lines = offsets.iter().map(|(topic, partition, offset)| format!("{topic} {partition} {offset}"));
    storage.write_atomically(path, text(lines).as_bytes(), true).map_err(|e| Error::storage(path, e))
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A Kafka uuid's text: 22 characters of base64url.
pub fn uuid_text(id: &[u8; 16]) -> String {
    let bits = u128::from_be_bytes(*id);
    // 128 bits are 21 groups of six and one of two, filled up with zeros on the right.
    let groups = (0..22).map(|i| if i < 21 { (bits >> (122 - 6 * i)) & 63 } else { (bits << 4) & 63 });
    groups.map(|group| BASE64[group as usize] as char).collect()
}

pub fn uuid_from_text(text: &str) -> Option<[u8; 16]> {
    if text.len() != 22 {
        return None;
    }
    let mut bits: u128 = 0;
    for (i, byte) in text.bytes().enumerate() {
        let group = BASE64.iter().position(|b| *b == byte)? as u128;
        bits = if i < 21 { bits << 6 | group } else { bits << 2 | group >> 4 };
    }
    Some(bits.to_be_bytes())
}

pub fn write_partition_metadata(storage: &dyn Storage, dir: &Path, topic_id: &[u8; 16]) -> Result<()> {
    let path = dir.join(PARTITION_METADATA);
    let text = format!("version: 0\ntopic_id: {}", uuid_text(topic_id));
    storage.write_atomically(&path, text.as_bytes(), false).map_err(|e| Error::storage(&path, e))
}

/// The identity of a new directory. That of a `sibling`, another partition of the topic in the same log directory, is the same
/// text, and neither this broker nor Apache Kafka ever writes it in place: another name for it takes no inode and no block.
pub fn make_partition_metadata(
    storage: &dyn Storage,
    dir: &Path,
    topic_id: &[u8; 16],
    sibling: Option<&Path>,
) -> Result<()> {
    let link = |sibling: &Path| storage.link(&sibling.join(PARTITION_METADATA), &dir.join(PARTITION_METADATA));
    match sibling.map(link) {
        Some(Ok(())) => Ok(()),
        // It has gone meanwhile, or there can be no more such names: then the file is one of its own.
        _ => write_partition_metadata(storage, dir, topic_id),
    }
}

/// Makes what `write_partition_metadata` wrote survive a power failure.
pub fn sync_partition_metadata(storage: &dyn Storage, dir: &Path) -> Result<()> {
    let path = dir.join(PARTITION_METADATA);
    let sync = || storage.open(&path, false)?.sync_data();
    sync().map_err(|e| Error::storage(&path, e))
}

/// The topic id a partition's directory belongs to; None where the file is missing.
pub fn read_partition_metadata(storage: &dyn Storage, dir: &Path) -> Result<Option<[u8; 16]>> {
    let path = dir.join(PARTITION_METADATA);
    let bytes = match storage.read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::storage(&path, error)),
    };
    let text = String::from_utf8_lossy(&bytes);
    let id = text.lines().find_map(|line| uuid_from_text(line.strip_prefix("topic_id: ")?));
    id.map(Some).ok_or_else(|| Error::corrupt(&path, "no topic_id of 22 characters"))
}

/// Reads the mark of a clean stop and takes it away: (was there one, the broker epoch it names).
pub fn take_clean_shutdown(storage: &dyn Storage, dir: &Path) -> Result<(bool, Option<i64>)> {
    let path = dir.join(CLEAN_SHUTDOWN);
    if !storage.exists(&path) {
        return Ok((false, None));
    }
    let bytes = storage.read(&path).map_err(|e| Error::storage(&path, e))?;
    storage.remove(&path).map_err(|e| Error::storage(&path, e))?;
    // After a power failure the mark must not be there again: this process will not have closed anything.
    storage.sync_dir(dir).map_err(|e| Error::storage(dir, e))?;
    let text = String::from_utf8_lossy(&bytes);
    let epoch = text.split_once("\"brokerEpoch\":").and_then(|(_, rest)| {
        let digits: String = rest.trim_start().chars().take_while(|c| c.is_ascii_digit() || *c == '-').collect();
        digits.parse().ok()
    });
    Ok((true, epoch))
}

pub fn write_clean_shutdown(storage: &dyn Storage, dir: &Path, broker_epoch: i64) -> Result<()> {
    let path = dir.join(CLEAN_SHUTDOWN);
    let text = format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}");
    storage.write_atomically(&path, text.as_bytes(), true).map_err(|e| Error::storage(&path, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStorage;

    #[test]
    fn the_metadata_topics_id_has_its_well_known_text() {
        let mut id = [0; 16];
        id[15] = 1;
        assert_eq!(uuid_text(&id), "AAAAAAAAAAAAAAAAAAAAAQ");
        let id: [u8; 16] = std::array::from_fn(|i| (i * 17 + 3) as u8);
        assert_eq!(uuid_from_text(&uuid_text(&id)), Some(id));
        assert_eq!(uuid_from_text("short"), None);
    }

    #[test]
    fn offsets_are_read_as_written_and_a_wrong_count_is_refused() {
        let storage = MemoryStorage::default();
        let path = Path::new("/d/c");
        write_offsets(&storage, path, &[("a".into(), 0, 5), ("b-c".into(), 3, 9)]).unwrap();
        assert_eq!(storage.read(path).unwrap(), b"0\n2\na 0 5\nb-c 3 9\n");
        assert_eq!(read_offsets(&storage, path).unwrap()[&("b-c".to_owned(), 3)], 9);
        storage.write_atomically(path, b"0\n3\na 0 5\n", true).unwrap();
        assert!(read_offsets(&storage, path).is_err());
    }

    #[test]
    fn a_checkpoint_that_a_killed_apache_left_empty_names_no_offset() {
        let storage = MemoryStorage::default();
        storage.write_atomically(Path::new("/d/c"), b"", true).unwrap();
        assert_eq!(read_offsets(&storage, Path::new("/d/c")).unwrap(), Offsets::new());
    }

    #[test]
    fn the_mark_of_a_clean_stop_is_read_once() {
        let (storage, dir) = (MemoryStorage::default(), Path::new("/d"));
        write_clean_shutdown(&storage, dir, 42).unwrap();
        assert_eq!(take_clean_shutdown(&storage, dir).unwrap(), (true, Some(42)));
        assert_eq!(take_clean_shutdown(&storage, dir).unwrap(), (false, None));
    }
}
