//! When the active segment is full: by its size, its age, its indexes, or the offsets that they can name.

use record::BatchView;

use crate::config::LogConfig;
use crate::index::{IndexFile, OffsetIndex, TimeIndex};
use crate::segment::Segment;
use crate::storage::Storage;

/// Whether a batch starts a new segment, if those `before` it are to be in the active one. An empty one takes any.
pub fn must_roll(
    active: &Segment,
    storage: &dyn Storage,
    config: &LogConfig,
    (before, batch): (&[BatchView<'_>], &BatchView<'_>),
    now_ms: i64,
) -> bool {
    let size = active.size + before.iter().map(|each| each.size_bytes() as u64).sum::<u64>();
    if size == 0 {
        return false;
    }
    let index_full = |file: &IndexFile, entry_bytes: usize| {
        file.entry_count(storage) + before.len() + 1 >= config.index_bytes_max / entry_bytes
    };
    let rolling_from_ms = active.rolling_from_ms.or_else(|| before.first().map(BatchView::max_timestamp));
    // KAFKA: time runs by the timestamps of first and incoming batch where they are known, else by the clock.
    let waited_ms = match (rolling_from_ms, batch.max_timestamp()) {
        (Some(from), newest) if from >= 0 && newest >= 0 => newest - from,
        _ => now_ms - active.created_ms,
    };
    size + batch.size_bytes() as u64 > config.segment_bytes
        || waited_ms > segment_ms(config) - jitter_ms(active, config)
        || batch.last_offset() - active.base_offset > i64::from(i32::MAX)
        || index_full(&active.offset_index.file, OffsetIndex::ENTRY_BYTES)
        || index_full(&active.time_index.file, TimeIndex::ENTRY_BYTES)
}

/// What waits in the active segment is not compacted, so that none of it may wait for longer than that allows.
fn segment_ms(config: &LogConfig) -> i64 {
    match config.compaction.lag_ms_max {
        lag_ms_max if config.compacted && lag_ms_max > 0 => config.segment_ms.min(lag_ms_max),
        _ => config.segment_ms,
    }
}

/// What a segment is rolled earlier by: the same whenever it is asked, and another for each segment of each log, so that not
/// all of them roll at once.
fn jitter_ms(active: &Segment, config: &LogConfig) -> i64 {
    let below = u64::try_from(config.segment_jitter_ms.min(config.segment_ms)).ok().filter(|ms| *ms > 0);
    let (Some(below), Some(dir)) = (below, active.path().parent()) else { return 0 };
    let name = dir.as_os_str().as_encoded_bytes();
    let mixed = name.iter().fold(active.base_offset as u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
    });
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16) as i64 % below as i64
}
