//! Offsets by time: the first record not older than a timestamp, and the newest record.

use record::{BatchView, Codec, Records, TimestampType};

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
            if segment.size == 0 || segment.newest(storage).is_some_and(|(newest, _)| newest < timestamp) {
                continue;
            }
            let from = segment.time_index.offset_before(storage, timestamp).max(self.start_offset);
            let mut outcome = Ok(None);
            segment.walk(storage, segment.offset_index.hint_for(storage, from), |found, _| {
                if found.max_timestamp >= timestamp && found.last_offset >= self.start_offset {
                    // A producer may overstate the largest timestamp of a batch: then the search goes on behind it.
                    outcome = self.record_in(segment, found, timestamp);
                }
                matches!(outcome, Ok(None))
            })?;
            if let Some(found) = outcome? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The first record that has the newest timestamp of the log.
    pub fn max_timestamp_offset(&self) -> Result<Option<TimestampOffset>> {
        let storage = &*self.storage;
        let with_time = self.segments.iter().filter_map(|segment| Some((segment.newest(storage)?, segment)));
        // The first of several segments that share the newest timestamp.
        let newest = with_time.fold(None, |best: Option<((i64, i64), &Segment)>, (newest, segment)| match best {
            Some((known, _)) if known.0 >= newest.0 => best,
            _ => Some((newest, segment)),
        });
        let Some(((timestamp, offset), segment)) = newest.filter(|((timestamp, _), _)| *timestamp >= 0) else {
            return Ok(None);
        };
        match segment.find(storage, offset)? {
            Some(found) => Ok(self.record_in(segment, &found, timestamp)?.or(Some(TimestampOffset {
                offset: found.last_offset,
                timestamp,
                leader_epoch: self.epochs.epoch_of(found.last_offset).unwrap_or(-1),
            }))),
            None => Ok(None),
        }
    }

    /// The first record of a batch whose timestamp is at least `timestamp`. Where the records cannot be read (a batch is
    /// opaque when it is produced, so anything may stand in it), the batch as a whole is the answer.
    fn record_in(&self, segment: &Segment, found: &Found, timestamp: i64) -> Result<Option<TimestampOffset>> {
        let bytes = segment.read_batch(&*self.storage, found)?;
        let view = BatchView::parse(&bytes).map_err(|error| Error::corrupt(segment.path(), error.to_string()))?;
        let told = |offset: i64, timestamp| TimestampOffset {
            offset: offset.max(self.start_offset),
            timestamp,
            leader_epoch: view.leader_epoch(),
        };
        let whole = told(view.base_offset(), view.max_timestamp());
        if view.timestamp_type() == TimestampType::LogAppendTime {
            return Ok(Some(whole));
        }
        let inflated;
        let payload = match view.codec() {
            Some(Codec::None) => view.payload(),
            Some(codec) => match codec.decompress(view.payload(), INFLATED_BYTES_MAX) {
                Ok(bytes) => {
                    inflated = bytes;
                    &inflated
                }
                Err(_) => return Ok(Some(whole)),
            },
            None => return Ok(Some(whole)),
        };
        for record in Records::new(payload, view.record_count()) {
            let Ok(record) = record else { return Ok(Some(whole)) };
            let found_timestamp = view.base_timestamp().wrapping_add(record.timestamp_delta);
            let offset = view.base_offset().wrapping_add(i64::from(record.offset_delta));
            if found_timestamp >= timestamp && (self.start_offset..=view.last_offset()).contains(&offset) {
                return Ok(Some(told(offset, found_timestamp)));
            }
        }
        Ok(None)
    }
}
