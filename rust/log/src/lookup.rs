//! Offsets by time: the first record not older than a timestamp, and the newest record.

use record::{BatchView, Records, TimestampType};

use crate::log::Log;
use crate::segment::{Found, Segment};
use crate::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    pub offset: i64,
    pub timestamp: i64,
    pub leader_epoch: i32,
}

/// Inflated only to find one record; what a client may have sent fits well within.
const INFLATED_BYTES_MAX: usize = 256 << 20;

impl Log {
    /// The first record, at or behind the start of the log, whose timestamp is at least `timestamp`.
    pub fn offset_for_timestamp(&self, timestamp: i64) -> Result<Option<TimestampOffset>> {
        let storage = &*self.storage;
        for segment in &self.segments {
            if segment.newest.is_none_or(|(newest, _)| newest < timestamp) {
                continue;
            }
            let from = segment.time_index.offset_before(storage, timestamp).max(self.start_offset);
            let mut batches = Vec::new();
            segment.walk(storage, segment.offset_index.position_before(storage, from), |found| {
                let hit = found.max_timestamp >= timestamp && found.last_offset >= self.start_offset;
                if hit {
                    batches.push(found);
                }
                !hit
            })?;
            if let Some(found) = batches.first() {
                return self.record_in(segment, found, |t| t >= timestamp);
            }
        }
        Ok(None)
    }

    /// The first record that has the newest timestamp of the log.
    pub fn max_timestamp_offset(&self) -> Result<Option<TimestampOffset>> {
        let with_time = self.segments.iter().filter_map(|segment| Some((segment.newest?.0, segment)));
        // The first of several segments that share the newest timestamp.
        let newest = with_time.fold(None, |best: Option<(i64, &Segment)>, (timestamp, segment)| match best {
            Some((known, _)) if known >= timestamp => best,
            _ => Some((timestamp, segment)),
        });
        let Some((timestamp, segment)) = newest.filter(|(timestamp, _)| *timestamp >= 0) else { return Ok(None) };
        let offset = segment.newest.map_or(segment.base_offset, |(_, offset)| offset);
        match segment.find(&*self.storage, offset)? {
            Some(found) => self.record_in(segment, &found, |t| t >= timestamp),
            None => Ok(None),
        }
    }

    fn record_in(
        &self,
        segment: &Segment,
        found: &Found,
        wanted: impl Fn(i64) -> bool,
    ) -> Result<Option<TimestampOffset>> {
        let bytes = segment.read_batch(&*self.storage, found)?;
        let corrupt = |error: record::Error| Error::corrupt(segment.path(), error.to_string());
        let view = BatchView::parse(&bytes).map_err(corrupt)?;
        let told = |offset, timestamp| TimestampOffset { offset, timestamp, leader_epoch: view.leader_epoch() };
        if view.timestamp_type() == TimestampType::LogAppendTime {
            return Ok(Some(told(view.base_offset().max(self.start_offset), view.max_timestamp())));
        }
        let codec = view.codec().ok_or_else(|| Error::corrupt(segment.path(), "unknown codec"))?;
        let payload = codec.decompress(view.payload(), INFLATED_BYTES_MAX).map_err(corrupt)?;
        for record in Records::new(&payload, view.record_count()) {
            let record = record.map_err(corrupt)?;
            let timestamp = view.base_timestamp() + record.timestamp_delta;
            let offset = view.base_offset() + i64::from(record.offset_delta);
            if wanted(timestamp) && offset >= self.start_offset {
                return Ok(Some(told(offset, timestamp)));
            }
        }
        Ok(None)
    }
}
