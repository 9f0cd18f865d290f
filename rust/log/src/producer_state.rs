//! What a partition knows of its idempotent and transactional producers (KIP-98): the last five batches of each, to tell
//! a retry from a gap; open transactions, to tell what readers may see. Kept in memory, saved in `.snapshot` files.
//!
//! ```text
//!   .snapshot  version i16 = 1 | crc u32 of what follows it | count i32, then an entry each:
//!              producer_id i64 | epoch i16 | last_sequence i32 | last_offset i64 | offset_delta i32 | timestamp i64
//!              | coordinator_epoch i32 | current_transaction_first_offset i64
//! ```
//!
//! INVARIANT: the state is a function of the log: replaying the batches behind a snapshot gives what was in memory.

use std::collections::{BTreeMap, HashMap, VecDeque};

use record::batch::sequence_after;
use record::control::{ControlType, marker_coordinator_epoch};
use record::{BatchView, Records};

use crate::txn_index::AbortedTransaction;

pub const SNAPSHOT_VERSION: i16 = 1;
const SNAPSHOT_HEADER_BYTES: usize = 10;
const SNAPSHOT_ENTRY_BYTES: usize = 46;
/// KAFKA: a client may have five requests in flight, so five batches are remembered.
const BATCHES_KEPT: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KnownBatch {
    last_sequence: i32,
    last_offset: i64,
    offset_delta: i32,
    timestamp: i64,
}

impl KnownBatch {
    fn first_sequence(&self) -> i32 {
        let first = i64::from(self.last_sequence) - i64::from(self.offset_delta);
        if self.last_sequence < 0 || first >= 0 { first as i32 } else { (first + (1 << 31)) as i32 }
    }

    fn first_offset(&self) -> i64 {
        self.last_offset.wrapping_sub(i64::from(self.offset_delta))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Producer {
    epoch: i16,
    batches: VecDeque<KnownBatch>,
    timestamp: i64,
    coordinator_epoch: i32,
    transaction_first_offset: Option<i64>,
}

/// One line of DescribeProducers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub last_sequence: i32,
    pub last_timestamp: i64,
    pub coordinator_epoch: i32,
    pub transaction_first_offset: i64,
}

/// Where a producer's newest data ends, None if it has only ended transactions; and its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastRecord {
    pub data_offset: Option<i64>,
    pub producer_epoch: i16,
}

/// What a batch from a producer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProducerCheck {
    Fresh,
    /// It stands in the log already, there.
    Duplicate {
        first_offset: i64,
        last_offset: i64,
        timestamp: i64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProducerError {
    OutOfOrderSequence(String),
    InvalidEpoch(String),
    InvalidTransactionState(String),
    CoordinatorFenced(String),
}

impl ProducerError {
    pub fn error_code(&self) -> i16 {
        match self {
            ProducerError::OutOfOrderSequence(_) => 45,
            ProducerError::InvalidEpoch(_) => 47,
            ProducerError::InvalidTransactionState(_) => 48,
            ProducerError::CoordinatorFenced(_) => 52,
        }
    }
}

impl std::fmt::Display for ProducerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ProducerError::OutOfOrderSequence(text)
            | ProducerError::InvalidEpoch(text)
            | ProducerError::InvalidTransactionState(text)
            | ProducerError::CoordinatorFenced(text) => f.write_str(text),
        }
    }
}

/// Whether a client's batch is fresh, whatever else is known, if the one before it is.
pub fn follows(batch: &BatchView<'_>, before: &BatchView<'_>) -> bool {
    let plain = |each: &BatchView<'_>| !each.is_transactional() && !each.is_control();
    let is_next = |batch: &BatchView<'_>| {
        batch.producer_id() == before.producer_id()
            && batch.producer_epoch() == before.producer_epoch()
            && batch.base_sequence() >= 0
            && batch.base_sequence() == sequence_after(before.last_sequence(), 1)
    };
    plain(batch) && plain(before) && (!batch.has_producer() || is_next(batch))
}

/// Type and coordinator epoch of a transaction marker; None for any other batch.
fn marker_of(batch: &BatchView<'_>) -> Option<(ControlType, i32)> {
    let record = batch.is_control().then(|| Records::new(batch.payload(), batch.record_count()).next())??.ok()?;
    let control = ControlType::from_key(record.key?).ok()?;
    let is_marker = matches!(control, ControlType::Abort | ControlType::Commit);
    is_marker.then_some((control, marker_coordinator_epoch(record.value?).ok()?))
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerState {
    producers: HashMap<i64, Producer>,
    /// First offset of each open transaction, and whose it is.
    open: BTreeMap<i64, i64>,
    /// First offset and marker offset of transactions that ended, until the marker is below the high watermark.
    ended: BTreeMap<i64, i64>,
}

impl ProducerState {
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    pub fn has_open_transaction(&self, producer_id: i64, producer_epoch: i16) -> bool {
        let producer = self.producers.get(&producer_id);
        producer.is_some_and(|p| p.epoch == producer_epoch && p.transaction_first_offset.is_some())
    }

    pub fn knows(&self, producer_id: i64) -> bool {
        self.producers.contains_key(&producer_id)
    }

    /// Judges a client's batch before it is appended.
    pub fn check(&self, batch: &BatchView<'_>) -> Result<ProducerCheck, ProducerError> {
        let Some(producer) = self.producers.get(&batch.producer_id()).filter(|_| batch.has_producer()) else {
            return Ok(ProducerCheck::Fresh);
        };
        let (id, epoch, first) = (batch.producer_id(), batch.producer_epoch(), batch.base_sequence());
        let duplicate = producer.batches.iter().find(|known| {
            epoch == producer.epoch && known.first_sequence() == first && known.last_sequence == batch.last_sequence()
        });
        if let Some(known) = duplicate {
            return Ok(ProducerCheck::Duplicate {
                first_offset: known.first_offset(),
                last_offset: known.last_offset,
                timestamp: known.timestamp,
            });
        }
        if epoch < producer.epoch {
            return Err(ProducerError::InvalidEpoch(format!(
                "producer_epoch {epoch} of producer_id {id} is fenced: {} has written here since; use a new producer",
                producer.epoch
            )));
        }
        // A producer of which only markers or an ended epoch are known starts at 0, as a new epoch does.
        let expected = match producer.batches.back() {
            Some(last) if epoch == producer.epoch => sequence_after(last.last_sequence, 1),
            _ => 0,
        };
        if first != expected {
            return Err(ProducerError::OutOfOrderSequence(format!(
                "base_sequence {first} of producer_id {id} is out of order: {expected} comes next; send the batches between \
                 them first"
            )));
        }
        if producer.transaction_first_offset.is_some() && !batch.is_transactional() {
            return Err(ProducerError::InvalidTransactionState(format!(
                "producer_id {id} has a transaction open, and this batch is not transactional; end the transaction first"
            )));
        }
        Ok(ProducerCheck::Fresh)
    }

    /// Judges what a coordinator writes in a producer's name: offsets of its transaction, or the marker that ends it.
    /// Only epochs count. With transaction version 2 each transaction has an epoch of its own (KIP-890), so a marker's is
    /// newer than that of the records, unless it is a repeated one that ends nothing.
    pub fn check_decided(&self, batch: &BatchView<'_>, transaction_version: i8) -> Result<(), ProducerError> {
        let Some(producer) = self.producers.get(&batch.producer_id()) else { return Ok(()) };
        let (id, epoch) = (batch.producer_id(), batch.producer_epoch());
        let is_open = producer.transaction_first_offset.is_some();
        if epoch < producer.epoch
            || (batch.is_control() && transaction_version >= 2 && epoch == producer.epoch && is_open)
        {
            return Err(ProducerError::InvalidEpoch(format!(
                "producer_epoch {epoch} of producer_id {id} is fenced: the partition knows {}",
                producer.epoch
            )));
        }
        let coordinator_epoch = marker_of(batch).map_or(i32::MAX, |(_, coordinator_epoch)| coordinator_epoch);
        if coordinator_epoch < producer.coordinator_epoch {
            return Err(ProducerError::CoordinatorFenced(format!(
                "coordinator_epoch {coordinator_epoch} of the marker for producer_id {id} is fenced: {} has written here",
                producer.coordinator_epoch
            )));
        }
        Ok(())
    }

    /// Notes a batch that was appended. Gives the transaction that it aborted, if it is an abort marker.
    pub fn apply(&mut self, batch: &BatchView<'_>) -> Option<AbortedTransaction> {
        if !batch.has_producer() {
            return None;
        }
        if batch.is_control() { self.apply_marker(batch) } else { self.apply_data(batch) }
    }

    fn producer(&mut self, batch: &BatchView<'_>) -> &mut Producer {
        let fresh = Producer {
            epoch: batch.producer_epoch(),
            batches: VecDeque::new(),
            timestamp: batch.max_timestamp(),
            coordinator_epoch: -1,
            transaction_first_offset: None,
        };
        self.producers.entry(batch.producer_id()).or_insert(fresh)
    }

    fn apply_data(&mut self, batch: &BatchView<'_>) -> Option<AbortedTransaction> {
        let known = KnownBatch {
            last_sequence: batch.last_sequence(),
            last_offset: batch.last_offset(),
            offset_delta: batch.last_offset_delta(),
            timestamp: batch.max_timestamp(),
        };
        let producer = self.producer(batch);
        if producer.epoch != batch.producer_epoch() {
            producer.epoch = batch.producer_epoch();
            producer.batches.clear();
        }
        if producer.batches.len() == BATCHES_KEPT {
            producer.batches.pop_front();
        }
        producer.batches.push_back(known);
        producer.timestamp = batch.max_timestamp();
        if batch.is_transactional() && producer.transaction_first_offset.is_none() {
            producer.transaction_first_offset = Some(batch.base_offset());
            self.open.insert(batch.base_offset(), batch.producer_id());
        }
        None
    }

    fn apply_marker(&mut self, batch: &BatchView<'_>) -> Option<AbortedTransaction> {
        let (control, coordinator_epoch) = marker_of(batch)?;
        let (producer_id, marker_offset) = (batch.producer_id(), batch.base_offset());
        let producer = self.producer(batch);
        if producer.epoch != batch.producer_epoch() {
            producer.epoch = batch.producer_epoch();
            producer.batches.clear();
        }
        producer.coordinator_epoch = coordinator_epoch;
        producer.timestamp = batch.max_timestamp();
        let first_offset = producer.transaction_first_offset.take()?;
        self.open.remove(&first_offset);
        self.ended.insert(first_offset, marker_offset);
        (control == ControlType::Abort).then(|| AbortedTransaction {
            producer_id,
            first_offset,
            last_offset: marker_offset,
            last_stable_offset: self.open.keys().next().copied().unwrap_or(marker_offset.saturating_add(1)),
        })
    }

    /// Below this, every transaction has ended and its marker is replicated.
    pub fn last_stable_offset(&self, high_watermark: i64) -> i64 {
        let open = self.open.keys().next().copied();
        let ended = self.ended.iter().find(|(_, marker)| **marker >= high_watermark).map(|(first, _)| *first);
        open.into_iter().chain(ended).min().map_or(high_watermark, |first| first.min(high_watermark))
    }

    /// Forgets ended transactions whose marker everybody can see.
    pub fn high_watermark_passed(&mut self, high_watermark: i64) {
        if !self.ended.is_empty() {
            self.ended.retain(|_, marker| *marker >= high_watermark);
        }
    }

    /// Forgets producers that have not written for `expiration_ms` and have no transaction open.
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.producers
            .retain(|_, p| p.transaction_first_offset.is_some() || now_ms.saturating_sub(p.timestamp) < expiration_ms);
    }

    pub fn last_records(&self) -> HashMap<i64, LastRecord> {
        let last = |(id, producer): (&i64, &Producer)| {
            let data_offset = producer.batches.back().map(|batch| batch.last_offset);
            (*id, LastRecord { data_offset, producer_epoch: producer.epoch })
        };
        self.producers.iter().map(last).collect()
    }

    pub fn active(&self) -> Vec<ActiveProducer> {
        let line = |(id, producer): (&i64, &Producer)| ActiveProducer {
            producer_id: *id,
            producer_epoch: producer.epoch,
            last_sequence: producer.batches.back().map_or(-1, |batch| batch.last_sequence),
            last_timestamp: producer.timestamp,
            coordinator_epoch: producer.coordinator_epoch,
            transaction_first_offset: producer.transaction_first_offset.unwrap_or(-1),
        };
        let mut lines: Vec<_> = self.producers.iter().map(line).collect();
        lines.sort_by_key(|line| line.producer_id);
        lines
    }

    pub fn encode_snapshot(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SNAPSHOT_HEADER_BYTES + self.producers.len() * SNAPSHOT_ENTRY_BYTES);
        out.extend_from_slice(&SNAPSHOT_VERSION.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(self.producers.len() as i32).to_be_bytes());
        let none = KnownBatch { last_sequence: -1, last_offset: -1, offset_delta: 0, timestamp: -1 };
        for (id, producer) in &self.producers {
            let last = producer.batches.back().unwrap_or(&none);
            out.extend_from_slice(&id.to_be_bytes());
            out.extend_from_slice(&producer.epoch.to_be_bytes());
            out.extend_from_slice(&last.last_sequence.to_be_bytes());
            out.extend_from_slice(&last.last_offset.to_be_bytes());
            out.extend_from_slice(&last.offset_delta.to_be_bytes());
            out.extend_from_slice(&producer.timestamp.to_be_bytes());
            out.extend_from_slice(&producer.coordinator_epoch.to_be_bytes());
            out.extend_from_slice(&producer.transaction_first_offset.unwrap_or(-1).to_be_bytes());
        }
        let crc = record::crc32c::crc32c(&out[6..]);
        out[2..6].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// None if the bytes are not a whole, sound snapshot.
    pub fn decode_snapshot(bytes: &[u8]) -> Option<ProducerState> {
        let crc = u32::from_be_bytes(*bytes.get(2..6)?.first_chunk()?);
        let version = i16::from_be_bytes(*bytes.first_chunk()?);
        let count = i32::from_be_bytes(*bytes.get(6..10)?.first_chunk()?);
        let entries = bytes.get(SNAPSHOT_HEADER_BYTES..)?;
        let expected = usize::try_from(count).ok()?.checked_mul(SNAPSHOT_ENTRY_BYTES)?;
        if version != SNAPSHOT_VERSION || entries.len() != expected || record::crc32c::crc32c(&bytes[6..]) != crc {
            return None;
        }
        let mut state = ProducerState::default();
        for entry in entries.chunks_exact(SNAPSHOT_ENTRY_BYTES) {
            let int16 = |at: usize| entry[at..].first_chunk().map_or(0, |b| i16::from_be_bytes(*b));
            let int32 = |at: usize| entry[at..].first_chunk().map_or(0, |b| i32::from_be_bytes(*b));
            let int64 = |at: usize| entry[at..].first_chunk().map_or(0, |b| i64::from_be_bytes(*b));
            let (id, first) = (int64(0), int64(38));
            let last = KnownBatch {
                last_sequence: int32(10),
                last_offset: int64(14),
                offset_delta: int32(22),
                timestamp: int64(26),
            };
            let batches = if last.last_offset >= 0 { VecDeque::from([last]) } else { VecDeque::new() };
            let producer = Producer {
                epoch: int16(8),
                batches,
                timestamp: last.timestamp,
                coordinator_epoch: int32(34),
                transaction_first_offset: (first >= 0).then_some(first),
            };
            if first >= 0 {
                state.open.insert(first, id);
            }
            state.producers.insert(id, producer);
        }
        Some(state)
    }
}

#[cfg(test)]
mod tests {
    use record::{BatchBuilder, BatchFacts, NewRecord};

    use super::*;

    fn batch(epoch: i16, sequence: i32, count: i32, offset: i64) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchFacts {
            base_offset: offset,
            producer_id: 9,
            producer_epoch: epoch,
            base_sequence: sequence,
            ..BatchFacts::default()
        });
        for _ in 0..count {
            builder.push(NewRecord { timestamp: 100, ..NewRecord::default() });
        }
        builder.build().unwrap()
    }

    fn check(state: &ProducerState, bytes: &[u8]) -> Result<ProducerCheck, i16> {
        state.check(&BatchView::parse(bytes).unwrap()).map_err(|error| error.error_code())
    }

    fn applied(batches: &[Vec<u8>]) -> ProducerState {
        let mut state = ProducerState::default();
        for bytes in batches {
            state.apply(&BatchView::parse(bytes).unwrap());
        }
        state
    }

    #[test]
    fn any_of_the_last_five_batches_is_told_as_a_duplicate_with_its_first_offset() {
        let batches: Vec<_> = (0..7).map(|i| batch(0, i * 10, 10, i64::from(i) * 10)).collect();
        let state = applied(&batches);
        assert_eq!(
            check(&state, &batch(0, 20, 10, 0)),
            Ok(ProducerCheck::Duplicate { first_offset: 20, last_offset: 29, timestamp: 100 })
        );
        assert_eq!(check(&state, &batch(0, 10, 10, 0)), Err(45), "older than five");
        assert_eq!(check(&state, &batch(0, 70, 1, 0)), Ok(ProducerCheck::Fresh));
        assert_eq!(check(&state, &batch(0, 71, 1, 0)), Err(45), "a gap");
    }

    #[test]
    fn epochs_only_rise_and_start_at_zero() {
        let state = applied(&[batch(3, 0, 5, 0)]);
        assert_eq!(check(&state, &batch(2, 5, 1, 0)), Err(47));
        assert_eq!(check(&state, &batch(4, 5, 1, 0)), Err(45));
        assert_eq!(check(&state, &batch(4, 0, 1, 0)), Ok(ProducerCheck::Fresh));
    }

    #[test]
    fn an_unknown_producer_may_start_anywhere() {
        assert_eq!(check(&ProducerState::default(), &batch(1, 500, 1, 0)), Ok(ProducerCheck::Fresh));
    }

    #[test]
    fn sequences_wrap_behind_the_largest() {
        let state = applied(&[batch(0, i32::MAX - 2, 5, 0)]);
        assert_eq!(check(&state, &batch(0, 2, 1, 0)), Ok(ProducerCheck::Fresh));
        assert!(matches!(check(&state, &batch(0, i32::MAX - 2, 5, 0)), Ok(ProducerCheck::Duplicate { .. })));
    }

    #[test]
    fn a_snapshot_keeps_the_last_batch_and_a_broken_one_is_dropped() {
        let state = applied(&[batch(1, 0, 5, 0), batch(1, 5, 5, 5)]);
        let bytes = state.encode_snapshot();
        assert_eq!(bytes.len(), 56);
        let read = ProducerState::decode_snapshot(&bytes).unwrap();
        assert_eq!(read.active(), state.active());
        assert_eq!(check(&read, &batch(1, 10, 1, 0)), Ok(ProducerCheck::Fresh));
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] ^= 1;
            assert!(ProducerState::decode_snapshot(&broken).is_none(), "byte {at}");
        }
    }

    #[test]
    fn an_open_transaction_holds_the_last_stable_offset_until_its_marker_is_replicated() {
        let transactional = |facts: BatchFacts, control: Option<bool>| {
            let mut builder =
                BatchBuilder::new(BatchFacts { is_transactional: true, producer_id: 9, producer_epoch: 0, ..facts });
            let (key, value) = record::control::marker(control.unwrap_or(false), 4);
            match control {
                Some(_) => builder.push(NewRecord { key: Some(&key), value: Some(&value), ..NewRecord::default() }),
                None => builder.push(NewRecord::default()),
            }
            builder.build().unwrap()
        };
        let data = transactional(BatchFacts { base_offset: 10, base_sequence: 0, ..BatchFacts::default() }, None);
        let mut state = applied(&[data]);
        assert_eq!(state.last_stable_offset(11), 10);
        let marker =
            transactional(BatchFacts { base_offset: 11, is_control: true, ..BatchFacts::default() }, Some(false));
        let aborted = state.apply(&BatchView::parse(&marker).unwrap()).unwrap();
        assert_eq!((aborted.first_offset, aborted.last_offset, aborted.last_stable_offset), (10, 11, 12));
        assert_eq!(state.last_stable_offset(11), 10, "the marker itself is not replicated yet");
        assert_eq!(state.last_stable_offset(12), 12);
    }
}
