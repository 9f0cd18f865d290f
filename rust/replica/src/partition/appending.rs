//! Appends of a partition's leader: what clients offer, and what the control plane decided.
//!
//! INVARIANT: batches are validated before the lock is taken; under it there is one write for all that come together, and a few
//! words of memory.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use log::{Few, Log, ProducerCheck, follows};
use record::{BatchView, validate_produce};
use wire::ErrorCode;

use super::{Inner, Partition};
use crate::append::{Appended, Decided, Offered, ProduceFailure, Told};
use crate::topic::TopicSettings;

/// One that may be appended, as far as it tells itself.
struct Valid {
    offered: Offered,
    log_append_time_ms: i64,
}

fn no_log() -> ProduceFailure {
    ProduceFailure::new(ErrorCode::KAFKA_STORAGE_ERROR, None)
}

/// What comes together, on its way into the log.
struct Appending<'a> {
    partition: &'a Arc<Partition>,
    inner: &'a mut Inner,
    settings: &'a TopicSettings,
    now_ms: i64,
    /// Judged, and to be written at once: each follows the one before it.
    run: Few<Valid>,
    told: Few<Told>,
}

impl Partition {
    /// Appends batches in this order, as leader, and tells of each. Those that follow each other are written together.
    pub fn append(self: &Arc<Self>, offered: Few<Offered>, now_ms: i64) -> Few<Told> {
        let settings = self.topic.settings.load();
        let valid: Few<_> = offered.into_iter().map(|each| self.validate(each, &settings, now_ms)).collect();
        let (run, told) = (Few::new(), Few::new());
        let inner = &mut *self.inner.lock();
        let mut appending = Appending { partition: self, inner, settings: &settings, now_ms, run, told };
        valid.into_iter().for_each(|each| appending.take(each));
        appending.write_run();
        appending.told
    }

    fn validate(&self, mut offered: Offered, settings: &TopicSettings, now_ms: i64) -> Result<Valid, ProduceFailure> {
        let validated =
            validate_produce(&mut offered.batch, &settings.append, offered.api_version, now_ms).map_err(|error| {
                ProduceFailure {
                    record_errors: error.record_errors().to_vec(),
                    log_start_offset: self.log_start_offset_told(error.error_code()),
                    ..ProduceFailure::new(ErrorCode(error.error_code()), error.to_string())
                }
            })?;
        if let Some(bytes) = validated.rewritten {
            offered.batch = BytesMut::from(&bytes[..]);
        }
        Ok(Valid { offered, log_append_time_ms: validated.log_append_time_ms })
    }

    /// KAFKA: told along with a refusal of the records themselves.
    fn log_start_offset_told(&self, error_code: i16) -> i64 {
        let told = [ErrorCode::INVALID_RECORD, ErrorCode::INVALID_TIMESTAMP].contains(&ErrorCode(error_code));
        let start = || self.inner.lock().log.as_ref().map(Log::log_start_offset);
        told.then(start).flatten().unwrap_or(-1)
    }

    /// Appends what the control plane decided, as leader and with acks=all. Its batch is sound; what is checked is that
    /// this is still the log on which it was decided.
    pub fn append_decided(self: &Arc<Self>, decided: Decided, now_ms: i64) -> Result<Appended, ProduceFailure> {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        inner.standing.check_leader().map_err(|(error, _)| ProduceFailure::new(error, None))?;
        self.check_in_sync(inner, self.topic.settings.load().min_insync_replicas)?;
        let log = inner.log.as_ref().ok_or_else(no_log)?;
        let stands = (inner.standing.leadership.leader_epoch, log.log_end_offset());
        if let Some(at) = decided.at.filter(|at| *at != stands) {
            let message =
                format!("decided for (leader epoch, offset) {at:?}, but {} stands at {stands:?}", self.name());
            return Err(ProduceFailure::new(ErrorCode::NOT_LEADER_OR_FOLLOWER, message));
        }
        let view = BatchView::parse(&decided.batch)
            .map_err(|e| ProduceFailure::new(ErrorCode::CORRUPT_MESSAGE, e.to_string()))?;
        log.check_decided(&view, decided.transaction_version)
            .map_err(|error| ProduceFailure::new(ErrorCode(error.error_code()), error.to_string()))?;
        if view.is_control() {
            inner.verifications.forget(view.producer_id());
        }
        self.write(inner, Few::from([decided.batch]), now_ms).pop().unwrap_or_else(|| Err(no_log()))
    }

    fn check_in_sync(&self, inner: &Inner, min_insync_replicas: usize) -> Result<(), ProduceFailure> {
        if inner.standing.has_in_sync(min_insync_replicas) {
            return Ok(());
        }
        let message = format!(
            "{} has {} replicas in sync, below min.insync.replicas={min_insync_replicas}; bring a replica back or lower it",
            self.name(),
            inner.standing.leadership.isr.len()
        );
        Err(ProduceFailure::new(ErrorCode::NOT_ENOUGH_REPLICAS, message))
    }

    /// Appends batches that were judged, and tells of each. Under the lock.
    fn write(self: &Arc<Self>, inner: &mut Inner, mut batches: Few<BytesMut>, now_ms: i64) -> Few<Told> {
        let Some(log) = &mut inner.log else { return batches.iter().map(|_| Err(no_log())).collect() };
        let mut infos = Few::new();
        let leader_epoch = inner.standing.leadership.leader_epoch;
        let outcome = log.append_run_as_leader(&mut batches, leader_epoch, now_ms, |info| infos.push(info));
        let log_start_offset = log.log_start_offset();
        let messages = self.topic.settings.load().flush_messages;
        let refused_count = batches.len() - infos.len();
        if let [first, .., last] | [first @ last] = &infos[..] {
            let written: Few<Bytes> = batches.into_iter().take(infos.len()).map(BytesMut::freeze).collect();
            inner.ask_disk(self, &written, first.first_offset..last.last_offset + 1, messages);
            if infos.iter().any(|info| info.rolled) {
                inner.ask_flush(self);
            }
            inner.waiting.appended(written.iter().map(Bytes::len).sum());
            for (info, batch) in infos.iter().zip(written) {
                inner.tail.push(info.first_offset, info.last_offset, batch, &self.budget);
            }
            self.advance_high_watermark(inner);
        }
        let appended = |info: &log::AppendInfo| {
            Ok(Appended {
                first_offset: info.first_offset,
                last_offset: info.last_offset,
                log_append_time_ms: -1,
                log_start_offset,
                high_watermark: inner.high_watermark,
                synced_offset: inner.durability.synced_told(messages),
            })
        };
        let mut told: Few<Told> = infos.iter().map(appended).collect();
        if let Err(error) = outcome {
            // Where there is no room now, there may be some later: the log is as it was.
            if !error.is_no_space() {
                inner.standing.go_offline();
                if let Some(disk) = &inner.disk {
                    disk.failed(error.to_string());
                }
            }
            let refused = || Err(ProduceFailure::new(ErrorCode::KAFKA_STORAGE_ERROR, error.to_string()));
            told.extend(std::iter::repeat_with(refused).take(refused_count));
        }
        told
    }
}

impl Appending<'_> {
    fn take(&mut self, valid: Result<Valid, ProduceFailure>) {
        let judged = valid.and_then(|valid| {
            let joins = self.joins(&valid);
            if !joins {
                self.write_run();
            }
            let known = if joins { None } else { self.judge(&valid)? };
            Ok((valid, known))
        });
        match judged {
            Ok((valid, None)) => self.run.push(valid),
            Ok((_, Some(known))) => self.told.push(Ok(known)),
            Err(failure) => {
                self.write_run();
                self.told.push(Err(failure));
            }
        }
    }

    /// Whether nothing speaks against it if nothing did against the one before it.
    fn joins(&self, valid: &Valid) -> bool {
        let Some(before) = self.run.last() else { return false };
        let views = (BatchView::parse(&valid.offered.batch), BatchView::parse(&before.offered.batch));
        valid.offered.acks == before.offered.acks && matches!(&views, (Ok(batch), Ok(before)) if follows(batch, before))
    }

    /// Tells where it stands, if it is in the log already.
    fn judge(&mut self, valid: &Valid) -> Result<Option<Appended>, ProduceFailure> {
        let Appending { partition, inner, settings, .. } = self;
        inner.standing.check_leader().map_err(ProduceFailure::refused)?;
        if valid.offered.acks == -1 {
            partition.check_in_sync(inner, settings.min_insync_replicas)?;
        }
        if let Some(why) = inner.disk.as_ref().and_then(|disk| disk.refusal()) {
            return Err(ProduceFailure::new(ErrorCode::KAFKA_STORAGE_ERROR, why));
        }
        let log = inner.log.as_ref().ok_or_else(no_log)?;
        let batch = BatchView::parse(&valid.offered.batch)
            .map_err(|e| ProduceFailure::new(ErrorCode::CORRUPT_MESSAGE, e.to_string()))?;
        if batch.is_transactional() {
            inner.verifications.check(log, &batch, valid.offered.api_version)?;
        }
        match log.check_producer(&batch) {
            Ok(ProducerCheck::Fresh) => Ok(None),
            Ok(ProducerCheck::Duplicate { first_offset, last_offset, timestamp }) => Ok(Some(Appended {
                first_offset,
                last_offset,
                log_append_time_ms: timestamp,
                log_start_offset: log.log_start_offset(),
                high_watermark: inner.high_watermark,
                synced_offset: inner.durability.synced_told(settings.flush_messages),
            })),
            Err(error) => {
                let log_start_offset = log.log_start_offset();
                let failure = ProduceFailure::new(ErrorCode(error.error_code()), error.to_string());
                Err(ProduceFailure { log_start_offset, ..failure })
            }
        }
    }

    fn write_run(&mut self) {
        if self.run.is_empty() {
            return;
        }
        let run = std::mem::take(&mut self.run);
        let times = run.iter().map(|each| each.log_append_time_ms).collect::<Few<_>>();
        let opens = |each: &Valid| {
            let batch = BatchView::parse(&each.offered.batch).ok()?;
            batch.is_transactional().then(|| batch.producer_id())
        };
        // One that is transactional follows no other, and none follows it.
        let transactional = run.first().and_then(opens);
        let batches = run.into_iter().map(|each| each.offered.batch).collect();
        let told = self.partition.write(self.inner, batches, self.now_ms);
        if let (Some(producer_id), [Ok(_)]) = (transactional, &told[..]) {
            self.inner.verifications.forget(producer_id);
        }
        let told = told.into_iter().zip(times);
        self.told.extend(told.map(|(told, time)| told.map(|each| Appended { log_append_time_ms: time, ..each })));
    }
}
