//! What may go, and how it goes: a plan made of facts, then renames; the files are removed later, by whoever holds the
//! `Doomed`.
//!
//! ```text
//!   cleanup.policy     goes when the segment lies wholly below the high watermark, is the oldest, and
//!   any                ends at or before the log's start
//!   has `delete`       or the log without it still has retention.bytes
//!   has `delete`       or its newest timestamp is older than retention.ms
//! ```
//!
//! INVARIANT: only whole segments go, from the oldest on, and never a record at or above the high watermark.
//! INVARIANT: a log always has an active segment: when all of it goes, it rolls first.
//! A power failure may bring `.deleted` files back under their old names. They lie before the start of the log, which is on the
//! disk before the first is renamed (`pass_over`); or, where no checkpoint of it could be written, they are the newest of those
//! deleted (the oldest are renamed first, and file systems keep that order), and are deleted again.

use std::path::PathBuf;

use crate::config::RetentionRules;
use crate::log::Log;
use crate::names::file_name;
use crate::segment::{Segment, SegmentFacts};
use crate::storage::{Storage, remove_if_there};
use crate::{Error, Result};

pub const DELETED: &str = ".deleted";

/// How many segments go, and whether the active one is among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub count: usize,
    pub rolls: bool,
}

/// `newest_ms` is asked for the oldest segments until one stays: the newest timestamp in a segment, in ms.
pub fn plan_retention(
    segments: &[SegmentFacts],
    (start_offset, high_watermark): (i64, i64),
    rules: &RetentionRules,
    now_ms: i64,
    mut newest_ms: impl FnMut(&SegmentFacts) -> i64,
) -> Plan {
    let size: u64 = segments.iter().map(|segment| segment.size).sum();
    let bytes_max = u64::try_from(rules.retention_bytes).ok().filter(|_| rules.deletes);
    let mut surplus = bytes_max.map_or(0, |bytes_max| size.saturating_sub(bytes_max));
    let mut count = 0;
    for (at, segment) in segments.iter().enumerate() {
        let is_active = at + 1 == segments.len();
        if segment.end_offset > high_watermark || (is_active && segment.size == 0) {
            break;
        }
        let passed = !is_active && segment.end_offset <= start_offset;
        let oversize = surplus > 0 && surplus >= segment.size;
        let mut expired = || {
            rules.deletes && rules.retention_ms >= 0 && now_ms.saturating_sub(newest_ms(segment)) > rules.retention_ms
        };
        if !(passed || oversize || expired()) {
            break;
        }
        surplus = surplus.saturating_sub(segment.size);
        count += 1;
    }
    Plan { count, rolls: count == segments.len() }
}

/// Files that nobody opens any more, under their last names. They go when their time has come, or with the next start.
#[derive(Debug, Default)]
pub struct Doomed {
    pub files: Vec<PathBuf>,
}

impl Doomed {
    pub fn remove(&self, storage: &dyn Storage) -> Result<()> {
        self.files.iter().try_for_each(|path| remove_if_there(storage, path))
    }
}

impl Log {
    pub fn retention_rules(&self) -> &RetentionRules {
        &self.config.retention
    }

    pub fn segment_facts(&self) -> Vec<SegmentFacts> {
        let ends = self.segments[1..].iter().map(|segment| segment.base_offset).chain([self.end_offset]);
        let facts = |(segment, end_offset): (&Segment, i64)| SegmentFacts {
            base_offset: segment.base_offset,
            end_offset,
            size: segment.size,
            newest_ms: segment.newest_known().map(|(timestamp, _)| timestamp),
            created_ms: segment.created_ms,
        };
        self.segments.iter().zip(ends).map(facts).collect()
    }

    /// What retention lets go now; most often nothing.
    pub fn plan_retention(&self, high_watermark: i64, now_ms: i64) -> Plan {
        if self.are_segments_held {
            return Plan::default();
        }
        let storage = &*self.storage;
        let newest_ms = |facts: &SegmentFacts| {
            let at = self.segments.partition_point(|segment| segment.base_offset < facts.base_offset);
            let newest = self.segments[at].newest_unmapped(storage);
            // KAFKA: without any timestamp, the file's own time counts; here that is when the segment was begun or opened.
            newest.map_or(facts.created_ms, |(timestamp, _)| timestamp)
        };
        let offsets = (self.start_offset, high_watermark);
        plan_retention(&self.segment_facts(), offsets, &self.config.retention, now_ms, newest_ms)
    }

    /// Readers see nothing any more of what a plan lets go. Where the log starts now is to be on the disk before the plan is
    /// carried out: a power failure in the middle then brings nothing back, and leaves no hole.
    pub fn pass_over(&mut self, plan: Plan) {
        let Some(last) = plan.count.checked_sub(1) else { return };
        let end_offset = self.segments.get(last + 1).map_or(self.end_offset, |next| next.base_offset);
        if end_offset > self.start_offset {
            self.start_offset = end_offset;
            self.epochs.truncate_start(end_offset);
            self.unsynced.epochs();
        }
    }

    /// Carries a plan out: the oldest segments leave the log, and their files are renamed. Nothing is removed here, so
    /// that a reader that opens one of them late, or sends from it still, is not disturbed.
    pub fn carry_out(&mut self, plan: Plan, now_ms: i64) -> Result<Doomed> {
        if plan.rolls {
            self.roll(now_ms)?;
        }
        self.doom_segments(plan.count)
    }

    /// The first `count` segments leave the log, which then starts behind them. The active one always stays.
    fn doom_segments(&mut self, count: usize) -> Result<Doomed> {
        let count = count.min(self.segments.len() - 1);
        if count == 0 {
            return Ok(Doomed::default());
        }
        self.guarded(|log| {
            // First the names of the segments that stay: without any, the log would start at 0 after a power failure.
            if log.unsynced.dir {
                log.sync_dir()?;
            }
            let gone: Vec<Segment> = log.segments.drain(..count).collect();
            log.start_offset = log.start_offset.max(log.segments[0].base_offset);
            log.epochs.truncate_start(log.start_offset);
            log.unsynced.epochs();
            let mut doomed = Doomed::default();
            for segment in gone {
                log.doom_files(segment.base_offset, true, &mut doomed)?;
            }
            Ok(doomed)
        })
    }

    /// Renames a segment's files, the `.log` first: what else there is means nothing without it.
    pub(crate) fn doom_files(&mut self, base_offset: i64, with_snapshot: bool, doomed: &mut Doomed) -> Result<()> {
        let suffixes = Segment::file_suffixes().into_iter().chain(with_snapshot.then_some(".snapshot"));
        for suffix in suffixes {
            let path = self.dir.join(file_name(base_offset, suffix));
            let target = self.dir.join(file_name(base_offset, suffix) + DELETED);
            match self.storage.rename(&path, &target) {
                Ok(()) => doomed.files.push(target),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::storage(&path, error)),
            }
        }
        self.unsynced.files.retain(|(base, _)| *base != base_offset);
        self.unsynced.dir();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Segments of 100 bytes and 10 records; the newest record of the first is of time 1000, of the second 2000, ...
    fn segments(count: i64) -> Vec<SegmentFacts> {
        let facts = |i: i64| SegmentFacts {
            base_offset: 10 * i,
            end_offset: 10 * (i + 1),
            size: 100,
            newest_ms: Some(1000 * (i + 1)),
            created_ms: 0,
        };
        (0..count).map(facts).collect()
    }

    fn plan(segments: &[SegmentFacts], offsets: (i64, i64), rules: RetentionRules, now_ms: i64) -> Plan {
        plan_retention(segments, offsets, &rules, now_ms, |segment| segment.newest_ms.unwrap())
    }

    fn deletes(retention_ms: i64, retention_bytes: i64) -> RetentionRules {
        RetentionRules { deletes: true, retention_ms, retention_bytes, file_delete_delay_ms: 0 }
    }

    fn goes(count: usize) -> Plan {
        Plan { count, rolls: false }
    }

    #[test]
    fn a_segment_goes_when_its_newest_record_is_older_than_the_limit() {
        let segments = segments(4);
        assert_eq!(plan(&segments, (0, 40), deletes(500, -1), 2500), goes(1), "2000 is not older than 500");
        assert_eq!(plan(&segments, (0, 40), deletes(500, -1), 2501), goes(2));
        assert_eq!(plan(&segments, (0, 40), deletes(-1, -1), i64::MAX), goes(0), "no limit");
    }

    #[test]
    fn a_newer_segment_keeps_all_that_follows() {
        let mut segments = segments(4);
        segments[1].newest_ms = Some(9000);
        assert_eq!(plan(&segments, (0, 40), deletes(500, -1), 5000), goes(1));
    }

    #[test]
    fn the_oldest_go_while_what_is_left_has_the_size_wanted() {
        let segments = segments(4);
        assert_eq!(plan(&segments, (0, 40), deletes(-1, 250), 0), goes(1), "200 would be too little");
        assert_eq!(plan(&segments, (0, 40), deletes(-1, 200), 0), goes(2));
        assert_eq!(plan(&segments, (0, 40), deletes(-1, 400), 0), goes(0));
        assert_eq!(plan(&segments, (0, 40), deletes(-1, 0), 0), Plan { count: 4, rolls: true });
    }

    #[test]
    fn nothing_at_or_above_the_high_watermark_goes() {
        let segments = segments(4);
        assert_eq!(plan(&segments, (0, 29), deletes(0, 0), i64::MAX), goes(2));
        assert_eq!(plan(&segments, (0, 0), deletes(0, 0), i64::MAX), goes(0));
    }

    #[test]
    fn the_active_segment_rolls_when_all_of_it_is_expired_unless_it_is_empty() {
        let mut segments = segments(2);
        assert_eq!(plan(&segments, (0, 20), deletes(5, -1), 9000), Plan { count: 2, rolls: true });
        segments[1] = SegmentFacts { size: 0, end_offset: 10, newest_ms: Some(0), ..segments[1] };
        assert_eq!(plan(&segments, (0, 10), deletes(5, -1), 9000), goes(1));
    }

    #[test]
    fn what_lies_before_the_start_goes_whatever_the_policy() {
        let segments = segments(3);
        assert_eq!(plan(&segments, (20, 30), RetentionRules::default(), i64::MAX), goes(2));
        assert_eq!(plan(&segments, (19, 30), RetentionRules::default(), i64::MAX), goes(1));
        assert_eq!(plan(&segments, (30, 30), RetentionRules::default(), i64::MAX), goes(2), "the active one stays");
    }
}
