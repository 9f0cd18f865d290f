//! Appends to a log: batches as they are, those that come together by one write for each segment.
//!
//! INVARIANT: nothing is noted of a batch, in memory or beside the records, before it is written.

use record::BatchView;
use record::batch::{set_base_offset, set_leader_epoch};

use crate::names::file_name;
use crate::rolling::must_roll;
use crate::{Error, Few, Log, Result, txn_index};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendInfo {
    pub first_offset: i64,
    pub last_offset: i64,
    pub rolled: bool,
}

impl Log {
    /// Appends a validated batch: its offset and epoch are set in place, and it is written as it is.
    pub fn append_as_leader(&mut self, batch: &mut [u8], leader_epoch: i32, now_ms: i64) -> Result<AppendInfo> {
        set_base_offset(batch, self.end_offset);
        set_leader_epoch(batch, leader_epoch);
        self.append_raw(batch, now_ms)
    }

    /// Appends validated batches one behind the other, with as few writes as there are segments. `each` is told of those that
    /// were appended, in their order; after a failure the others were not.
    pub fn append_run_as_leader<B: AsMut<[u8]> + AsRef<[u8]>>(
        &mut self,
        batches: &mut [B],
        leader_epoch: i32,
        now_ms: i64,
        each: impl FnMut(AppendInfo),
    ) -> Result<()> {
        let mut views = Few::new();
        let mut next = self.end_offset;
        for batch in batches {
            set_base_offset(batch.as_mut(), next);
            set_leader_epoch(batch.as_mut(), leader_epoch);
            let view = self.parse((*batch).as_ref())?;
            next = view.next_offset();
            views.push(view);
        }
        self.append_run(&views, now_ms, each)
    }

    /// Appends one batch whose offset and epoch are set already: a follower's, or the metadata log's. The caller has
    /// checked its CRC. Exactly one: what stands behind the first batch of `batch` is not written.
    pub fn append_raw(&mut self, batch: &[u8], now_ms: i64) -> Result<AppendInfo> {
        let mut appended = None;
        self.append_run(&[self.parse(batch)?], now_ms, |info| appended = Some(info))?;
        appended.ok_or_else(|| Error::corrupt(&self.dir, "nothing was appended"))
    }

    fn parse<'a>(&self, batch: &'a [u8]) -> Result<BatchView<'a>> {
        BatchView::parse(batch).map_err(|e| Error::corrupt(&self.dir, e.to_string()))
    }

    fn append_run(&mut self, run: &[BatchView<'_>], now_ms: i64, mut each: impl FnMut(AppendInfo)) -> Result<()> {
        let mut next = self.end_offset;
        for view in run {
            if view.base_offset() != next {
                return Err(Error::Discontinuous { expected: next, found: view.base_offset() });
            }
            if view.last_offset() < view.base_offset() || view.last_offset() == i64::MAX {
                return Err(Error::Discontinuous { expected: view.base_offset(), found: view.last_offset() });
            }
            next = view.next_offset();
        }
        self.guarded(|log| {
            let mut left = run;
            while let [first, ..] = left {
                let rolls = |log: &Log, count: usize| {
                    let Log { segments, storage, config, .. } = log;
                    let at = (&left[..count], &left[count]);
                    segments.last().is_some_and(|active| must_roll(active, &**storage, config, at, now_ms))
                };
                let rolled = rolls(log, 0);
                if rolled {
                    log.roll(now_ms)?;
                }
                let count = (1..left.len()).find(|count| rolls(log, *count)).unwrap_or(left.len());
                let (together, later) = left.split_at(count);
                log.write_together(together)?;
                for view in together {
                    let rolled = rolled && view.base_offset() == first.base_offset();
                    each(AppendInfo { first_offset: view.base_offset(), last_offset: view.last_offset(), rolled });
                }
                left = later;
            }
            Ok(())
        })
    }

    /// Batches that follow each other at the end of the log, and of the active segment.
    fn write_together(&mut self, run: &[BatchView<'_>]) -> Result<()> {
        if !self.active().has_file() {
            self.unsynced.dir();
        }
        let storage = self.storage.clone();
        let interval = self.config.index_interval_bytes;
        self.active().append(&*storage, run, interval)?;
        for view in run {
            self.note_epoch(view.leader_epoch(), view.base_offset());
            self.end_offset = view.next_offset();
            if let Some(aborted) = self.producers.appended(view) {
                let base_offset = self.active().base_offset;
                let path = self.dir.join(file_name(base_offset, ".txnindex"));
                // The marker stands in the log already: without room for this, nothing more is written.
                txn_index::append(&*storage, &path, &aborted)
                    .map_err(|error| Error::storage(&path, std::io::Error::other(error.to_string())))?;
                self.unsynced.file(base_offset, ".txnindex");
            }
        }
        Ok(())
    }
}
