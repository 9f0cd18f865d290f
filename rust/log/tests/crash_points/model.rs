//! What a log was given, and what it may hold of that: the judgement of the histories.
//!
//! Everything given is kept here. A log is right if it holds a prefix of it, in order, at least as long as what was
//! flushed; and if what is missing from that was compacted away for a reason that counts.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use log::producer_state::ProducerState;
use log::{Log, StorageFile};
use record::control::ControlType;
use record::{BatchView, Batches, Records};

pub type Verdict = Result<(), String>;

/// Offset, timestamp, key, value.
type Row = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>);

#[derive(Clone)]
pub struct Given {
    pub bytes: Vec<u8>,
    pub rows: Vec<Row>,
    pub base_offset: i64,
    pub last_offset: i64,
    pub producer_id: i64,
    pub is_transactional: bool,
    /// Of a marker: whether it commits.
    pub commits: Option<bool>,
}

fn view(bytes: &[u8]) -> BatchView<'_> {
    BatchView::parse(bytes).expect("whole batches only")
}

fn rows_of(batch: &BatchView<'_>) -> Result<Vec<Row>, String> {
    let codec = batch.codec().ok_or("no codec")?;
    let payload = codec.decompress(batch.payload(), 1 << 20).map_err(|error| error.to_string())?;
    let payload = if batch.record_count() == 0 { &[][..] } else { &payload };
    let row = |record: record::Result<record::RecordRef<'_>>| {
        let record = record.map_err(|error| error.to_string())?;
        let offset = batch.base_offset() + i64::from(record.offset_delta);
        let timestamp = batch.base_timestamp() + record.timestamp_delta;
        Ok((offset, timestamp, record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec)))
    };
    Records::new(payload, batch.record_count()).map(row).collect()
}

impl Given {
    pub fn new(bytes: &[u8]) -> Given {
        let batch = view(bytes);
        let rows = rows_of(&batch).expect("what is given is sound");
        let control = rows.first().filter(|_| batch.is_control()).and_then(|row| row.2.as_deref());
        Given {
            commits: control.map(|key| ControlType::from_key(key) == Ok(ControlType::Commit)),
            rows,
            base_offset: batch.base_offset(),
            last_offset: batch.last_offset(),
            producer_id: batch.producer_id(),
            is_transactional: batch.is_transactional(),
            bytes: bytes.to_vec(),
        }
    }
}

#[derive(Clone, Default)]
pub struct Model {
    pub given: Vec<Given>,
    /// The log holds at least what is before it.
    pub flushed: i64,
    pub high_watermark: i64,
    /// Readers see nothing before it.
    pub start: i64,
    /// No cleaning has gone, or been asked to go, beyond it.
    pub cleaned: i64,
    /// From when on a tombstone, or a marker without data, may be gone; by the end of the cleaning that met it first.
    pub horizons: Vec<(i64, i64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Plain,
    Committed,
    Aborted,
    Open,
}

impl Model {
    pub fn end(&self) -> i64 {
        self.given.last().map_or(0, |given| given.last_offset + 1)
    }

    pub fn cut_to(&mut self, end: i64) {
        self.given.retain(|given| given.last_offset < end);
        self.flushed = self.flushed.min(end);
        self.high_watermark = self.high_watermark.min(end);
        self.start = self.start.min(end);
    }

    pub fn is_open(&self, producer_id: i64) -> bool {
        let of = self.given.iter().rev().find(|given| given.producer_id == producer_id && given.is_transactional);
        of.is_some_and(|given| given.commits.is_none())
    }

    pub fn next_sequence(&self, producer_id: i64) -> i32 {
        let data = self.given.iter().rev().find(|given| given.producer_id == producer_id && given.commits.is_none());
        data.map_or(0, |given| view(&given.bytes).last_sequence() + 1)
    }

    /// What became of each batch's transaction, as far as `end` shows.
    fn fates(&self, end: i64) -> Vec<Fate> {
        let mut ended: HashMap<i64, Fate> = HashMap::new();
        let mut fates = vec![Fate::Plain; self.given.len()];
        for (at, given) in self.given.iter().enumerate().rev().filter(|(_, given)| given.last_offset < end) {
            match given.commits {
                Some(commits) => {
                    ended.insert(given.producer_id, if commits { Fate::Committed } else { Fate::Aborted });
                }
                None if given.is_transactional => {
                    fates[at] = ended.get(&given.producer_id).copied().unwrap_or(Fate::Open);
                }
                None => {}
            }
        }
        fates
    }

    /// For whoever replays a history: what was given, and what is there.
    pub fn told(&self, log: &Log) -> String {
        let fates = self.fates(log.log_end_offset());
        let brief = |bytes: &[u8]| {
            let batch = view(bytes);
            let rows = rows_of(&batch).unwrap_or_default();
            let row = |row: &Row| format!("{}:{:?}{}", row.0, row.2, if row.3.is_none() { "-" } else { "" });
            let rows: Vec<String> = rows.iter().map(row).collect();
            let (at, last, id) = (batch.base_offset(), batch.last_offset(), batch.producer_id());
            format!("{at}-{last} of {id} horizon {} {}", batch.has_delete_horizon(), rows.join(" "))
        };
        let mut text = format!(
            "\nstart {} end {} flushed {} high watermark {} cleaned {} horizons {:?}\n",
            self.start,
            log.log_end_offset(),
            self.flushed,
            self.high_watermark,
            self.cleaned,
            self.horizons
        );
        let found = read_all(log, log.log_start_offset()).unwrap_or_default();
        for (given, fate) in self.given.iter().zip(fates) {
            let there = found.iter().find(|bytes| view(bytes).base_offset() == given.base_offset);
            let there = there.map_or("gone".to_owned(), |bytes| brief(bytes));
            text += &format!("{fate:?} {:?} {}\n      {there}\n", given.commits, brief(&given.bytes));
        }
        text
    }

    /// Judges a log as it stands at `now_ms`.
    pub fn judge(&self, log: &Log, now_ms: i64) -> Verdict {
        let (start, end) = (log.log_start_offset(), log.log_end_offset());
        if end < self.flushed || end > self.end() {
            return Err(format!("it ends at {end}, outside of {}..={}", self.flushed, self.end()));
        }
        if end > 0 && self.given.binary_search_by_key(&(end - 1), |given| given.last_offset).is_err() {
            return Err(format!("it ends at {end}, where no batch ends"));
        }
        if start > self.start {
            return Err(format!("it starts at {start}, and nothing before {} may be gone", self.start));
        }
        let found = read_all(log, start)?;
        let fates = self.fates(end);
        let present = self.judge_found(log, &found, end)?;
        // What was deleted may be back in part: its names were not synced.
        self.judge_missing(&found, &present, &fates, start.max(self.start)..end, now_ms)?;
        self.judge_committed(log, &found, &fates, start..end)?;
        self.judge_producers(log, start, end)
    }

    /// Every batch is one that was given, and nothing of what it holds has changed. Gives the offsets of all records.
    fn judge_found(&self, log: &Log, found: &[Vec<u8>], end: i64) -> Result<BTreeSet<i64>, String> {
        let mut present = BTreeSet::new();
        let mut next = 0;
        for bytes in found {
            let batch = view(bytes);
            let at = batch.base_offset();
            if !batch.crc_is_valid() {
                return Err(format!("the batch at {at} does not match its CRC"));
            }
            if at < next || batch.last_offset() >= end {
                return Err(format!("the batch at {at} is out of order"));
            }
            next = batch.next_offset();
            let Ok(index) = self.given.binary_search_by_key(&at, |given| given.base_offset) else {
                return Err(format!("nobody gave a batch at {at}"));
            };
            let given = &self.given[index];
            let facts = |batch: &BatchView<'_>| {
                let kind = (batch.is_transactional(), batch.is_control(), batch.leader_epoch());
                (batch.last_offset(), batch.producer_id(), batch.producer_epoch(), batch.base_sequence(), kind)
            };
            let original = view(&given.bytes);
            if facts(&batch) != facts(&original) {
                return Err(format!("the batch at {at} is another: {:?} for {:?}", facts(&batch), facts(&original)));
            }
            if at >= self.cleaned && *bytes != given.bytes {
                return Err(format!("the batch at {at} has changed, and no cleaning went as far"));
            }
            for row in rows_of(&batch).map_err(|why| format!("the batch at {at}: {why}"))? {
                if !given.rows.contains(&row) {
                    return Err(format!("nobody gave {row:?}"));
                }
                present.insert(row.0);
            }
            if log.epoch_of_offset(at) != Some(batch.leader_epoch()) {
                return Err(format!("the epoch of {at} is {:?}", log.epoch_of_offset(at)));
            }
        }
        Ok(present)
    }

    /// Every record that is not there has a reason not to be.
    fn judge_missing(
        &self,
        found: &[Vec<u8>],
        present: &BTreeSet<i64>,
        fates: &[Fate],
        range: std::ops::Range<i64>,
        now_ms: i64,
    ) -> Verdict {
        let mut newest: BTreeMap<&[u8], i64> = BTreeMap::new();
        for (given, fate) in self.given.iter().zip(fates) {
            if matches!(fate, Fate::Plain | Fate::Committed) && given.commits.is_none() {
                for (offset, _, key, _) in given.rows.iter().filter(|row| row.0 < self.cleaned.min(range.end)) {
                    newest.extend(key.as_deref().map(|key| (key, *offset)));
                }
            }
        }
        // A horizon is set by the first cleaning that meets a tombstone; those of later cleanings are later.
        let expired = |offset: i64| self.horizons.iter().any(|(end, horizon)| offset < *end && *horizon <= now_ms);
        for (given, fate) in self.given.iter().zip(fates) {
            for (offset, _, key, value) in given.rows.iter().filter(|row| range.contains(&row.0)) {
                if present.contains(offset) {
                    continue;
                }
                let reason = *offset < self.cleaned
                    && match (given.commits, key) {
                        (Some(_), _) => expired(*offset) && !self.has_data_of(given, found),
                        (None, None) => true,
                        (None, Some(_)) if *fate == Fate::Aborted => true,
                        (None, Some(_)) if *fate == Fate::Open => false,
                        (None, Some(key)) => {
                            newest.get(&key[..]).is_some_and(|newest| offset < newest)
                                || (value.is_none() && expired(*offset))
                        }
                    };
                if !reason {
                    return Err(format!("record {offset} is missing, of {} cleaned", self.cleaned));
                }
            }
        }
        Ok(())
    }

    /// Whether any batch of the transaction that this marker ends is there.
    fn has_data_of(&self, marker: &Given, found: &[Vec<u8>]) -> bool {
        let of_producer = |given: &&Given| given.producer_id == marker.producer_id && given.is_transactional;
        let before = self.given.iter().filter(of_producer).filter(|given| given.last_offset < marker.base_offset);
        let data: Vec<i64> =
            before.rev().take_while(|given| given.commits.is_none()).map(|given| given.base_offset).collect();
        found.iter().any(|bytes| data.contains(&view(bytes).base_offset()))
    }

    /// What a reader of committed records sees is what was committed, and it waits for what is open.
    fn judge_committed(&self, log: &Log, found: &[Vec<u8>], fates: &[Fate], range: std::ops::Range<i64>) -> Verdict {
        let aborted = log.aborted_transactions(range.start, range.end).map_err(|error| error.to_string())?;
        let (mut told, mut ongoing) = (aborted.iter().peekable(), Vec::new());
        for bytes in found {
            let batch = view(bytes);
            while let Some((id, _)) = told.next_if(|(_, first)| *first <= batch.last_offset()) {
                ongoing.push(*id);
            }
            let at = batch.base_offset();
            let index = self.given.binary_search_by_key(&at, |given| given.base_offset).unwrap_or(0);
            if self.given[index].commits == Some(false) {
                ongoing.retain(|id| *id != batch.producer_id());
            }
            // A transaction whose marker lies before the start ended for nobody who reads from there.
            let passed = batch.is_transactional() && !batch.is_control() && ongoing.contains(&batch.producer_id());
            if batch.record_count() > 0 && fates[index] != Fate::Open && passed != (fates[index] == Fate::Aborted) {
                return Err(format!("of the batch at {at}, a reader of committed records would see {}", !passed));
            }
        }
        let first_open = |from: i64| {
            let open =
                self.given.iter().zip(fates).filter(|(given, fate)| **fate == Fate::Open && given.last_offset >= from);
            let first = open.map(|(given, _)| given.base_offset).min();
            first.filter(|first| *first < range.end).map_or(range.end, |first| first.max(range.start))
        };
        let told = log.last_stable_offset(range.end);
        // Of a transaction whose data are all gone, a log that lost its snapshots may not know any more.
        if ![first_open(0), first_open(range.start)].contains(&told) {
            return Err(format!("the last stable offset is told as {told}, not {}", first_open(0)));
        }
        Ok(())
    }

    fn judge_producers(&self, log: &Log, start: i64, end: i64) -> Verdict {
        let mut state = ProducerState::default();
        let mut last_data: HashMap<i64, i64> = HashMap::new();
        for given in self.given.iter().filter(|given| given.last_offset < end) {
            state.apply(&view(&given.bytes));
            if given.commits.is_none() && given.producer_id >= 0 {
                last_data.insert(given.producer_id, given.last_offset);
            }
        }
        let brief = |log: Vec<log::ActiveProducer>| -> BTreeMap<i64, (i16, i32)> {
            log.iter().map(|each| (each.producer_id, (each.producer_epoch, each.last_sequence))).collect()
        };
        let (told, expected) = (brief(log.active_producers()), brief(state.active()));
        for (id, expected) in &expected {
            let is_here = last_data.get(id).is_some_and(|last| *last >= start);
            match told.get(id) {
                Some(told) if told == expected => {}
                // Its data lie before the start, and the snapshot that knew it is lost.
                Some((_, -1)) | None if !is_here => {}
                told => return Err(format!("producer {id} is known as {told:?}, not {expected:?}")),
            }
        }
        match told.keys().find(|id| !expected.contains_key(id)) {
            Some(id) => Err(format!("producer {id} has written nothing")),
            None => Ok(()),
        }
    }

    /// Right after a cleaning up to `end` nothing is left that should be gone.
    pub fn judge_cleaned(&self, log: &Log, end: i64) -> Verdict {
        let fates = self.fates(log.log_end_offset());
        let mut seen: HashMap<Vec<u8>, i64> = HashMap::new();
        for bytes in read_all(log, log.log_start_offset())? {
            let batch = view(&bytes);
            let at = batch.base_offset();
            let index = self.given.binary_search_by_key(&at, |given| given.base_offset).unwrap_or(0);
            if batch.is_control() || batch.last_offset() >= end {
                continue;
            }
            if fates[index] == Fate::Aborted && batch.record_count() > 0 {
                return Err(format!("aborted data at {at} has survived a cleaning"));
            }
            for (offset, _, key, _) in rows_of(&batch)? {
                let key = key.ok_or_else(|| format!("record {offset} without a key has survived a cleaning"))?;
                if let Some(older) = seen.insert(key, offset) {
                    return Err(format!("records {older} and {offset} have survived a cleaning with one key"));
                }
            }
        }
        Ok(())
    }
}

fn read_all(log: &Log, from: i64) -> Result<Vec<Vec<u8>>, String> {
    let (mut at, mut found) = (from, Vec::new());
    while at < log.log_end_offset() {
        let slice = log.read(at, 1 << 20, true, log.log_end_offset()).map_err(|error| format!("read: {error:?}"))?;
        let Some(slice) = slice else { break };
        let mut bytes = vec![0; slice.region.bytes];
        let file: &dyn StorageFile = &*slice.region.file;
        file.read_at(&mut bytes, slice.region.position).map_err(|error| error.to_string())?;
        for batch in Batches::new(&bytes) {
            let batch = batch.map_err(|error| error.to_string())?;
            at = batch.next_offset();
            found.push(batch.bytes().to_vec());
        }
    }
    Ok(found)
}
