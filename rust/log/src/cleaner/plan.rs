//! Which part of a log to clean, and whether it pays. Pure: made of facts.
//!
//! ```text
//!   0            first dirty offset                    end                      active segment
//!   |-- clean ---|-- dirty: its keys go to the map ----|-- not yet ------------|------------
//! ```
//!
//! `end` is where the segment begins that holds the first offset of any of these: the last stable offset, the high
//! watermark, what is not on the disk yet or belongs to a transaction whose marker is not, the active segment, a record
//! younger than `min.compaction.lag.ms`.

use crate::config::CompactionRules;
use crate::segment::SegmentFacts;

/// What to clean, if it is to be cleaned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CleaningPlan {
    pub first_dirty_offset: i64,
    pub end_offset: i64,
    /// Share of the log that is dirty.
    pub dirty_ratio: f64,
    /// The ratio is reached, or a record has waited for longer than it may.
    pub is_due: bool,
}

/// Where the first dirty offset is looked for, and what lies behind it.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub start_offset: i64,
    /// Of the last cleaning.
    pub checkpoint: Option<i64>,
    /// Nothing at or behind it is touched.
    pub upper_offset: i64,
}

/// `first_ms` is asked for dirty segments only if there is a largest lag: the timestamp of the first batch.
pub fn plan_cleaning(
    segments: &[SegmentFacts],
    bounds: Bounds,
    rules: &CompactionRules,
    now_ms: i64,
    newest_ms: impl Fn(&SegmentFacts) -> i64,
    first_ms: impl Fn(&SegmentFacts) -> Option<i64>,
) -> Option<CleaningPlan> {
    let (active, sealed) = segments.split_last()?;
    // A checkpoint outside of the log is one of another log, or from before its start was moved.
    let within = bounds.start_offset..=active.end_offset;
    let first_dirty_offset = bounds.checkpoint.filter(|at| within.contains(at)).unwrap_or(bounds.start_offset);
    let is_dirty = |segment: &&SegmentFacts| segment.end_offset > first_dirty_offset;
    let upper = bounds.upper_offset.min(active.base_offset);
    let young = (rules.lag_ms_min > 0)
        .then(|| sealed.iter().filter(is_dirty).find(|each| newest_ms(each) > now_ms.saturating_sub(rules.lag_ms_min)))
        .flatten();
    let cleanable = |segment: &&SegmentFacts| {
        segment.end_offset <= upper && young.is_none_or(|young| segment.base_offset < young.base_offset)
    };
    let end_offset = sealed.iter().take_while(cleanable).last()?.end_offset;
    let bytes = |from: i64, to: i64| -> u64 {
        let within = sealed.iter().filter(|each| each.end_offset > from && each.base_offset < to);
        within.map(|each| each.size).sum()
    };
    let (clean_bytes, dirty_bytes) = (bytes(i64::MIN, first_dirty_offset), bytes(first_dirty_offset, end_offset));
    if dirty_bytes == 0 || first_dirty_offset >= end_offset {
        return None;
    }
    let dirty_ratio = dirty_bytes as f64 / (clean_bytes + dirty_bytes) as f64;
    let waits_too_long = || {
        let oldest = sealed.iter().filter(is_dirty).filter_map(&first_ms).filter(|ms| *ms > 0).min();
        oldest.is_some_and(|oldest| oldest < now_ms.saturating_sub(rules.lag_ms_max))
    };
    let is_due = dirty_ratio > rules.dirty_ratio_min || (rules.lag_ms_max < i64::MAX && waits_too_long());
    Some(CleaningPlan { first_dirty_offset, end_offset, dirty_ratio, is_due })
}

/// A segment as grouping sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSizes {
    pub facts: SegmentFacts,
    pub offset_index_bytes: u64,
    pub time_index_bytes: u64,
}

/// Neighbours that become one segment: together they fit a segment and its indexes, and an index can name every offset.
pub fn group_segments(segments: &[SegmentSizes], segment_bytes: u64, index_bytes_max: u64) -> Vec<&[SegmentSizes]> {
    let mut groups = Vec::new();
    let mut left = segments;
    while let [first, ..] = left {
        let (mut size, mut offset_index, mut time_index) = (0, 0, 0);
        let fits = |each: &&SegmentSizes| {
            size += each.facts.size;
            offset_index += each.offset_index_bytes;
            time_index += each.time_index_bytes;
            let reach = (each.facts.end_offset - 1).saturating_sub(first.facts.base_offset);
            size <= segment_bytes
                && offset_index <= index_bytes_max
                && time_index <= index_bytes_max
                && (each.facts.size == 0 || reach <= i64::from(i32::MAX))
        };
        let (group, rest) = left.split_at(left.iter().take_while(fits).count().max(1));
        groups.push(group);
        left = rest;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sealed segments of 10 offsets with these sizes, the first records of time 100, 200, ..., and an empty active one.
    fn segments(sizes: &[u64]) -> Vec<SegmentFacts> {
        let facts = |(i, size): (usize, &u64)| SegmentFacts {
            base_offset: 10 * i as i64,
            end_offset: 10 * (i as i64 + 1),
            size: *size,
            newest_ms: Some(100 * (i as i64 + 1)),
            created_ms: 0,
        };
        let mut all: Vec<_> = sizes.iter().chain(&[0]).enumerate().map(facts).collect();
        let last = all.last_mut().unwrap();
        last.end_offset = last.base_offset;
        all
    }

    fn plan(sizes: &[u64], checkpoint: i64, upper_offset: i64, rules: &CompactionRules) -> Option<CleaningPlan> {
        let bounds = Bounds { start_offset: 0, checkpoint: Some(checkpoint), upper_offset };
        let newest = |each: &SegmentFacts| each.newest_ms.unwrap();
        plan_cleaning(&segments(sizes), bounds, rules, 1000, newest, |each| each.newest_ms)
    }

    fn span(plan: Option<CleaningPlan>) -> Option<(i64, i64)> {
        plan.map(|plan| (plan.first_dirty_offset, plan.end_offset))
    }

    #[test]
    fn what_is_dirty_ends_with_the_segment_before_the_first_that_may_not_be_touched() {
        let rules = CompactionRules::default();
        assert_eq!(span(plan(&[100; 4], 0, 40, &rules)), Some((0, 40)));
        assert_eq!(span(plan(&[100; 4], 10, 39, &rules)), Some((10, 30)));
        assert_eq!(span(plan(&[100; 4], 20, 20, &rules)), None, "nothing new");
        assert_eq!(span(plan(&[100; 4], 0, 9, &rules)), None, "a transaction is open");
        assert_eq!(span(plan(&[], 0, 0, &rules)), None);
    }

    #[test]
    fn cleaning_is_due_when_more_than_the_ratio_is_dirty() {
        let rules = CompactionRules::default();
        let due = |checkpoint| plan(&[100; 4], checkpoint, 40, &rules).unwrap().is_due;
        assert!(due(10));
        assert!(!due(20), "half is not more than half");
        assert!((plan(&[100; 4], 10, 40, &rules).unwrap().dirty_ratio - 0.75).abs() < 1e-9);
    }

    #[test]
    fn a_record_that_waits_too_long_makes_it_due_and_one_too_young_ends_it() {
        let waiting = CompactionRules { lag_ms_max: 650, ..CompactionRules::default() };
        assert!(plan(&[100; 4], 20, 40, &waiting).unwrap().is_due, "300 is older than 350");
        assert!(!plan(&[100; 4], 30, 40, &waiting).unwrap().is_due);
        let young = CompactionRules { lag_ms_min: 800, ..CompactionRules::default() };
        assert_eq!(span(plan(&[100; 4], 0, 40, &young)), Some((0, 20)), "300 is younger than 200");
    }

    #[test]
    fn a_checkpoint_outside_of_the_log_is_not_taken() {
        let rules = CompactionRules::default();
        assert_eq!(span(plan(&[100; 2], 500, 20, &rules)), Some((0, 20)));
        let bounds = Bounds { start_offset: 15, checkpoint: Some(5), upper_offset: 20 };
        let found = plan_cleaning(&segments(&[100; 2]), bounds, &rules, 1000, |_| 0, |_| None);
        assert_eq!(span(found), Some((15, 20)));
    }

    #[test]
    fn neighbours_are_grouped_while_they_fit() {
        let sized = |sizes: &[u64]| -> Vec<SegmentSizes> {
            let all = segments(sizes);
            let sized =
                |facts: &SegmentFacts| SegmentSizes { facts: *facts, offset_index_bytes: 8, time_index_bytes: 12 };
            all[..sizes.len()].iter().map(sized).collect()
        };
        let counts = |segments: &[SegmentSizes], bytes, index_bytes| -> Vec<usize> {
            group_segments(segments, bytes, index_bytes).iter().map(|group| group.len()).collect()
        };
        let mut five = sized(&[40, 40, 40, 200, 10]);
        assert_eq!(counts(&five, 100, 1000), [2, 1, 1, 1]);
        assert_eq!(counts(&five, 1000, 24), [2, 2, 1]);
        assert_eq!(counts(&five, 1000, 1000), [5]);
        five[2].facts.end_offset = i64::from(i32::MAX) + 2;
        assert_eq!(counts(&five[..3], 1000, 1000), [2, 1], "offsets an index could not name");
    }
}
