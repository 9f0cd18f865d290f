//! Look-ups on behalf of the control plane that may touch the disk: offsets by time, ends of leader epochs, deletion of
//! records, producers, sizes of log directories. Each answers for many partitions at once.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use log::Log;
use replica::partition::{LogContext, Partition};
use replica::view::Published;
use wire::ErrorCode;

use crate::asked::{
    EpochEnd, EpochEndWanted, LogDirFound, OffsetFound, OffsetWanted, PartitionRef, ProducersFound, RecordsDeleted,
    ReplicaFound,
};
use crate::disk::DirDisk;
use crate::moves::Moves;
use crate::sys;

/// Special timestamps of ListOffsets.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
/// Nothing is in remote storage, so nothing is tiered and nothing is pending.
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

pub fn find(published: &Published, (topic_id, index): PartitionRef) -> Result<Arc<Partition>, ErrorCode> {
    published.load().partition(topic_id, index).cloned().ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
}

/// Checks what a caller believes about the leader epoch.
fn check_epoch(partition: &Partition, current_leader_epoch: i32) -> Result<(), ErrorCode> {
    let leader_epoch = partition.leadership().leader_epoch;
    match current_leader_epoch {
        asked if asked < 0 || asked == leader_epoch => Ok(()),
        asked if asked < leader_epoch => Err(ErrorCode::FENCED_LEADER_EPOCH),
        _ => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
    }
}

fn on_leader<T>(
    partition: &Partition,
    work: impl FnOnce(&mut Log, &LogContext) -> Result<T, ErrorCode>,
) -> Result<T, ErrorCode> {
    partition
        .with_log(
            |log, context| if context.leads { work(log, context) } else { Err(ErrorCode::NOT_LEADER_OR_FOLLOWER) },
        )
        .unwrap_or(Err(ErrorCode::NOT_LEADER_OR_FOLLOWER))
}

pub fn list_offsets(published: &Published, wanted: &[OffsetWanted]) -> Vec<OffsetFound> {
    let none = OffsetFound { error: ErrorCode::NONE, timestamp: -1, offset: -1, leader_epoch: -1 };
    let one = |wanted: &OffsetWanted| {
        let partition = find(published, wanted.partition)?;
        check_epoch(&partition, wanted.current_leader_epoch)?;
        on_leader(&partition, |log, context| {
            let at =
                |offset: i64| OffsetFound { offset, leader_epoch: log.epoch_of_offset(offset).unwrap_or(-1), ..none };
            let latest = match (wanted.from_replica, wanted.committed_only) {
                (true, _) => log.log_end_offset(),
                (false, true) => log.last_stable_offset(context.high_watermark),
                (false, false) => context.high_watermark,
            };
            let found = match wanted.timestamp {
                LATEST => OffsetFound { leader_epoch: context.leader_epoch, ..at(latest) },
                EARLIEST | EARLIEST_LOCAL | EARLIEST_PENDING_UPLOAD => at(log.log_start_offset()),
                LATEST_TIERED => none,
                MAX_TIMESTAMP => return max_timestamp(log, none),
                timestamp => return first_at_or_after(log, timestamp, latest, none),
            };
            Ok(found)
        })
    };
    wanted.iter().map(|w| one(w).unwrap_or_else(|error| OffsetFound { error, ..none })).collect()
}

fn max_timestamp(log: &mut Log, none: OffsetFound) -> Result<OffsetFound, ErrorCode> {
    let found = log.max_timestamp_offset().map_err(|_| ErrorCode::KAFKA_STORAGE_ERROR)?;
    Ok(found.map_or(none, |f| OffsetFound {
        offset: f.offset,
        timestamp: f.timestamp,
        leader_epoch: f.leader_epoch,
        ..none
    }))
}

fn first_at_or_after(log: &mut Log, timestamp: i64, below: i64, none: OffsetFound) -> Result<OffsetFound, ErrorCode> {
    let found = log.offset_for_timestamp(timestamp).map_err(|_| ErrorCode::KAFKA_STORAGE_ERROR)?;
    let visible = found.filter(|f| f.offset < below);
    Ok(visible.map_or(none, |f| OffsetFound {
        offset: f.offset,
        timestamp: f.timestamp,
        leader_epoch: f.leader_epoch,
        ..none
    }))
}

pub fn epoch_ends(published: &Published, wanted: &[EpochEndWanted]) -> Vec<EpochEnd> {
    let one = |wanted: &EpochEndWanted| {
        let partition = find(published, wanted.partition)?;
        check_epoch(&partition, wanted.current_leader_epoch)?;
        on_leader(&partition, |log, context| {
            // The newest epoch ends where the log does; KAFKA: an undefined one is answered with -1, -1.
            if wanted.leader_epoch == context.leader_epoch {
                let end = EpochEnd {
                    error: ErrorCode::NONE,
                    leader_epoch: wanted.leader_epoch,
                    end_offset: log.log_end_offset(),
                };
                return Ok(end);
            }
            let (leader_epoch, end_offset) = log.end_offset_for_epoch(wanted.leader_epoch);
            Ok(EpochEnd { error: ErrorCode::NONE, leader_epoch, end_offset })
        })
    };
    let failed = |error| EpochEnd { error, leader_epoch: -1, end_offset: -1 };
    wanted.iter().map(|w| one(w).unwrap_or_else(failed)).collect()
}

/// Moves the log's start up to `offset` (-1: to the high watermark).
pub fn delete_records(published: &Published, wanted: &[(PartitionRef, i64)]) -> Vec<RecordsDeleted> {
    let one = |(reference, offset): &(PartitionRef, i64)| {
        let partition = find(published, *reference)?;
        let outcome = partition.change_log(|log, context| {
            if !context.leads {
                return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
            }
            let target = if *offset == -1 { context.high_watermark } else { *offset };
            if target < 0 || target > context.high_watermark {
                return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
            }
            log.delete_records_before(target).map_err(|_| ErrorCode::KAFKA_STORAGE_ERROR)?;
            Ok(log.log_start_offset())
        });
        outcome.unwrap_or(Err(ErrorCode::NOT_LEADER_OR_FOLLOWER))
    };
    let told = |result| match result {
        Ok(low_watermark) => RecordsDeleted { error: ErrorCode::NONE, low_watermark },
        Err(error) => RecordsDeleted { error, low_watermark: -1 },
    };
    wanted.iter().map(|w| told(one(w))).collect()
}

pub fn describe_producers(published: &Published, wanted: &[PartitionRef]) -> Vec<ProducersFound> {
    let one = |reference: &PartitionRef| {
        let partition = find(published, *reference)?;
        on_leader(&partition, |log, _| Ok(log.active_producers()))
    };
    let told = |result| match result {
        Ok(producers) => ProducersFound { error: ErrorCode::NONE, producers },
        Err(error) => ProducersFound { error, producers: Vec::new() },
    };
    wanted.iter().map(|w| told(one(w))).collect()
}

pub fn describe_log_dirs(published: &Published, disks: &[Arc<DirDisk>], moves: &Moves) -> Vec<LogDirFound> {
    let mut by_dir: HashMap<PathBuf, Vec<ReplicaFound>> = HashMap::new();
    for partition in published.load().partitions() {
        let found = partition.with_log(|log, _| (log.dir().parent().map(PathBuf::from), log.size_bytes()));
        if let Some((Some(dir), bytes)) = found {
            let (topic, partition, size_bytes) = (partition.topic.name.clone(), partition.index, bytes as i64);
            let found = ReplicaFound { topic, partition, size_bytes, offset_lag: 0, is_future: false };
            by_dir.entry(dir).or_default().push(found);
        }
        if let Some((at, progress)) = moves.of(partition.key()) {
            by_dir.entry(disks[at].path().to_owned()).or_default().push(ReplicaFound {
                topic: partition.topic.name.clone(),
                partition: partition.index,
                size_bytes: progress.copied_bytes as i64,
                offset_lag: progress.offset_lag,
                is_future: true,
            });
        }
    }
    let told = |disk: &Arc<DirDisk>| {
        let path = disk.path();
        if disk.fenced().is_some() {
            return LogDirFound {
                path: path.display().to_string(),
                error: ErrorCode::KAFKA_STORAGE_ERROR,
                total_bytes: -1,
                usable_bytes: -1,
                partitions: Vec::new(),
            };
        }
        let (total_bytes, usable_bytes) = sys::disk_space(path).unwrap_or((-1, -1));
        LogDirFound {
            path: path.display().to_string(),
            error: ErrorCode::NONE,
            total_bytes,
            usable_bytes,
            partitions: by_dir.remove(path).unwrap_or_default(),
        }
    };
    disks.iter().map(told).collect()
}
