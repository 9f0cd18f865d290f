//! What becomes of one batch: it goes, stays as it is, is emptied, or is written anew without some of its records.
//!
//! Offsets, timestamps, keys, values, headers, codec, producer and sequence never change. A batch of which every record
//! stays is passed on as it came, unless its tombstones (or the marker of a transaction that is gone) wait for a horizon:
//! then the time at which they may go is written into its header (KIP-534), and the timestamps' deltas are made anew.
//!
//! KAFKA: the last batch with data of each producer that is still known stays, if need be without records: its sequence is
//! what duplicates are told by. So does the last batch of a cleaning, so that the end of the log is not forgotten.
//! KAFKA: records without a key go.

use std::collections::HashMap;

use record::batch::{HEADER_BYTES, LOG_OVERHEAD_BYTES, NO_TIMESTAMP, set_crc};
use record::{BatchView, Codec, Skim, TimestampType};

use super::offset_map::{Newest, OffsetMap};
use super::transactions::PassedTransactions;
use crate::producer_state::LastRecord;

/// Inflated in one piece; what a client may have sent fits well within.
pub const INFLATED_BYTES_MAX: usize = 256 << 20;

const DELETE_HORIZON_BIT: u16 = 1 << 6;

/// What stays the same for all batches of a cleaning.
pub struct Rules<'a> {
    pub map: &'a OffsetMap,
    /// The same of the dirty part, without keys.
    pub newest: Option<&'a Newest>,
    /// The map knows all keys up to here; newer records stay.
    pub map_end_offset: i64,
    /// Where the cleaning ends: the batch that ends there stays.
    pub end_offset: i64,
    pub now_ms: i64,
    pub delete_retention_ms: i64,
    pub last_records: &'a HashMap<i64, LastRecord>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Gone,
    AsItIs,
    /// The batch stands in the filter's output.
    Rewritten,
}

#[derive(Default)]
pub struct Filter {
    pub out: Vec<u8>,
    inflated: Vec<u8>,
    kept: Vec<u8>,
    pub records_read: u64,
    pub records_kept: u64,
}

/// What was found out about a batch's records.
struct Survivors {
    count: i32,
    all: bool,
    tombstones: bool,
    max_timestamp: i64,
}

impl Filter {
    pub fn judge(
        &mut self,
        batch: &BatchView<'_>,
        rules: &Rules<'_>,
        transactions: &mut PassedTransactions,
    ) -> record::Result<Fate> {
        self.records_read += batch.record_count().max(0) as u64;
        let may_go = transactions.pass(batch)?;
        let horizon_passed = batch.has_delete_horizon() && batch.base_timestamp() <= rules.now_ms;
        let records_go = may_go && (!batch.is_control() || horizon_passed);
        let frame_stays = is_last_of_producer(batch, rules) || batch.next_offset() == rules.end_offset;
        if records_go || batch.record_count() <= 0 {
            return Ok(self.without_records(batch, frame_stays));
        }
        let horizon_ms = rules.now_ms.saturating_add(rules.delete_retention_ms);
        let unset = |waits: bool| (waits && !batch.has_delete_horizon()).then_some(horizon_ms);
        if batch.is_control() {
            self.records_kept += batch.record_count() as u64;
            return match unset(may_go) {
                None => Ok(Fate::AsItIs),
                Some(horizon_ms) => self.rewrite_whole(batch, horizon_ms),
            };
        }
        if batch.base_offset() >= rules.map_end_offset {
            self.records_kept += batch.record_count() as u64;
            return Ok(Fate::AsItIs);
        }
        let newest = rules.newest.filter(|newest| newest.covers(batch.base_offset(), batch.last_offset()));
        if newest.is_some_and(|newest| !newest.any(batch.base_offset(), batch.last_offset())) {
            return Ok(self.without_records(batch, frame_stays));
        }
        let codec = codec_of(batch)?;
        let mut inflated = std::mem::take(&mut self.inflated);
        let payload = inflate(codec, batch, &mut inflated)?;
        let survivors = self.select(batch, payload, rules, newest)?;
        self.records_kept += survivors.count as u64;
        let fate = if survivors.count == 0 {
            self.without_records(batch, frame_stays)
        } else {
            match unset(survivors.tombstones) {
                None if survivors.all => Fate::AsItIs,
                None => {
                    self.write(batch, codec, &survivors, None)?;
                    Fate::Rewritten
                }
                Some(horizon_ms) => {
                    self.rebase(batch, survivors.count, horizon_ms)?;
                    self.write(batch, codec, &survivors, Some(horizon_ms))?;
                    Fate::Rewritten
                }
            }
        };
        self.inflated = inflated;
        Ok(fate)
    }

    /// Collects the records that stay, as they are, in `kept`.
    fn select(
        &mut self,
        batch: &BatchView<'_>,
        payload: &[u8],
        rules: &Rules<'_>,
        newest: Option<&Newest>,
    ) -> record::Result<Survivors> {
        let base_offset = batch.base_offset();
        let tombstones_stay = !batch.has_delete_horizon() || rules.now_ms < batch.base_timestamp();
        let mut survivors = Survivors { count: 0, all: true, tombstones: false, max_timestamp: NO_TIMESTAMP };
        self.kept.clear();
        // Neighbours that stay are copied in one go.
        let mut run = 0..0;
        for record in Skim::new(payload, batch.record_count()) {
            let record = record?;
            let offset = base_offset.wrapping_add(i64::from(record.offset_delta));
            let is_newest = || match (newest, record.key) {
                (Some(newest), _) => newest.has(offset),
                (None, Some(key)) => rules.map.get(key).is_none_or(|newest| offset >= newest),
                (None, None) => false,
            };
            let stays = offset >= rules.map_end_offset || (is_newest() && (record.has_value || tombstones_stay));
            if !stays {
                survivors.all = false;
                continue;
            }
            survivors.count += 1;
            survivors.tombstones |= !record.has_value;
            let timestamp = batch.base_timestamp().wrapping_add(record.timestamp_delta);
            survivors.max_timestamp = survivors.max_timestamp.max(timestamp);
            if run.end != record.start {
                self.kept.extend_from_slice(&payload[run]);
                run = record.start..record.start;
            }
            run.end = record.end;
        }
        if !survivors.all || survivors.tombstones {
            self.kept.extend_from_slice(&payload[run]);
        }
        Ok(survivors)
    }

    fn rewrite_whole(&mut self, batch: &BatchView<'_>, horizon_ms: i64) -> record::Result<Fate> {
        let codec = codec_of(batch)?;
        let mut inflated = std::mem::take(&mut self.inflated);
        let payload = inflate(codec, batch, &mut inflated)?;
        self.kept.clear();
        self.kept.extend_from_slice(payload);
        self.inflated = inflated;
        let count = batch.record_count();
        self.rebase(batch, count, horizon_ms)?;
        let survivors = Survivors { count, all: true, tombstones: false, max_timestamp: batch.max_timestamp() };
        self.write(batch, codec, &survivors, Some(horizon_ms))?;
        Ok(Fate::Rewritten)
    }

    /// Timestamps of `kept` from now on count from the horizon, which takes the place of the batch's base.
    fn rebase(&mut self, batch: &BatchView<'_>, count: i32, horizon_ms: i64) -> record::Result<()> {
        let mut rebased = Vec::with_capacity(self.kept.len() + 8 * count as usize);
        for record in Skim::new(&self.kept, count) {
            let record = record?;
            let timestamp = match batch.timestamp_type() {
                TimestampType::LogAppendTime => batch.max_timestamp(),
                TimestampType::CreateTime => batch.base_timestamp().wrapping_add(record.timestamp_delta),
            };
            record.write_with_timestamp_delta(&self.kept, timestamp.wrapping_sub(horizon_ms), &mut rebased);
        }
        self.kept = rebased;
        Ok(())
    }

    /// The batch's header over `kept`.
    fn write(
        &mut self,
        batch: &BatchView<'_>,
        codec: Codec,
        survivors: &Survivors,
        horizon_ms: Option<i64>,
    ) -> record::Result<()> {
        self.out.clear();
        self.out.extend_from_slice(&batch.bytes()[..HEADER_BYTES]);
        if codec == Codec::None {
            self.out.extend_from_slice(&self.kept);
        } else {
            self.out.extend_from_slice(&codec.compress(None, &self.kept)?);
        }
        let max_timestamp = match batch.timestamp_type() {
            TimestampType::LogAppendTime => batch.max_timestamp(),
            TimestampType::CreateTime => survivors.max_timestamp,
        };
        let mut attributes = batch.attributes() as u16;
        if let Some(horizon_ms) = horizon_ms {
            attributes |= DELETE_HORIZON_BIT;
            self.put(27, &horizon_ms.to_be_bytes());
        }
        self.put(21, &attributes.to_be_bytes());
        self.put(35, &max_timestamp.to_be_bytes());
        self.put(57, &survivors.count.to_be_bytes());
        self.finish();
        Ok(())
    }

    /// The header alone: offsets, producer and sequences of a batch that had records.
    fn without_records(&mut self, batch: &BatchView<'_>, frame_stays: bool) -> Fate {
        if !frame_stays {
            return Fate::Gone;
        }
        if batch.record_count() <= 0 {
            return Fate::AsItIs;
        }
        self.out.clear();
        self.out.extend_from_slice(&batch.bytes()[..HEADER_BYTES]);
        // Nothing is compressed, and no horizon counts.
        let attributes = batch.attributes() as u16 & !(DELETE_HORIZON_BIT | 0x7);
        self.put(21, &attributes.to_be_bytes());
        self.put(27, &NO_TIMESTAMP.to_be_bytes());
        self.put(57, &0_i32.to_be_bytes());
        self.finish();
        Fate::Rewritten
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.out[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn finish(&mut self) {
        let length = (self.out.len() - LOG_OVERHEAD_BYTES) as i32;
        self.put(8, &length.to_be_bytes());
        set_crc(&mut self.out);
    }
}

/// KAFKA: of a producer without data, the marker that carries its newest epoch counts.
fn is_last_of_producer(batch: &BatchView<'_>, rules: &Rules<'_>) -> bool {
    if !batch.has_producer() {
        return false;
    }
    rules.last_records.get(&batch.producer_id()).is_some_and(|last| match last.data_offset {
        Some(offset) => batch.last_offset() == offset,
        None => batch.is_control() && batch.producer_epoch() == last.producer_epoch,
    })
}

pub fn codec_of(batch: &BatchView<'_>) -> record::Result<Codec> {
    batch.codec().ok_or(record::Error::Invalid { what: "unknown codec of a batch", at: 21 })
}

/// The batch's records, inflated into `buffer` unless they are as they are.
pub fn inflate<'a>(codec: Codec, batch: &BatchView<'a>, buffer: &'a mut Vec<u8>) -> record::Result<&'a [u8]> {
    if codec == Codec::None {
        return Ok(batch.payload());
    }
    codec.decompress_into(batch.payload(), INFLATED_BYTES_MAX, buffer)?;
    Ok(buffer)
}
