//! Stray logs: directories of partitions that are no more, or that this broker is to have no replica of.
//!
//! Kafka's rule and Kafka's name for them (KIP-858). They are found once, at the start, when the view is as new as this broker's
//! registration; they are renamed, and neither read nor removed.

use std::path::Path;

use log::checkpoints::read_partition_metadata;
use log::names::parse_partition_dir_name;
use log::{FileStorage, LogDir};
use replica::view::View;
use wire::Uuid;

/// KAFKA: a log is a stray where the partition that its topic id names is not, or has no replica here; and where it has no
/// topic id, for then nothing was ever appended. One that merely could not be opened is none, nor one whose id cannot be read:
/// it stays where it is, offline, with the reason.
pub fn strays(dir: &LogDir, view: &View, node_id: i32) -> Vec<String> {
    let is_hosted = |name: &str, id: Uuid| {
        let index = parse_partition_dir_name(name).map(|(_, index)| index);
        let partition = index.and_then(|index| view.partition(id, index));
        partition.is_some_and(|partition| partition.leadership().hosts(node_id))
    };
    let is_stray = |name: &&str| match read_partition_metadata(&FileStorage, &dir.path().join(name)) {
        Ok(Some(id)) => !is_hosted(name, id),
        Ok(None) => true,
        Err(_) => false,
    };
    dir.unclaimed().filter(is_stray).map(str::to_owned).collect()
}

pub fn told_of_stray(from: &Path, to: &Path) -> String {
    format!(
        "{} is of no partition that the cluster has on this broker: it is {} now, and neither read nor removed. Move it out of \
         log.dirs if its records are still wanted, or remove it",
        from.display(),
        to.display()
    )
}
