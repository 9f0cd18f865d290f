//! The reading half of a run: consumers without groups, at the end of the log or from its start over and over.
//!
//! One that reads several partitions uses a fetch session, as every real consumer does. One that catches up reads a single
//! partition, one request at a time, and may drop what comes without ever copying it out of the kernel.

use record::{BatchView, Batches, Records};

use crate::batches::{Template, stamp_of};
use crate::connection::{Connection, Frame};
use crate::frames::{self, FETCH_HEAD_BYTES, FetchLimits};
use crate::histogram::Histogram;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Records never leave the kernel; only the head of an answer is looked at.
    Discard,
    /// Records are copied out and their batches' headers walked.
    Walk,
    /// The stamps of records are read, too.
    Stamps,
    /// CRC and offsets of every batch are checked, too.
    Check,
}

pub const READINGS: [&str; 4] = ["discard", "walk", "stamps", "check"];

impl Reading {
    pub fn of(place: usize) -> Reading {
        [Reading::Discard, Reading::Walk, Reading::Stamps, Reading::Check][place]
    }
}

pub struct Shape {
    pub topic: String,
    pub reading: Reading,
    pub limits: FetchLimits,
    /// Start again at the first offset when the end is reached.
    pub wraps: bool,
    pub stamps_per_batch: usize,
}

pub struct Reader {
    pub connection: Connection,
    partitions: Vec<i32>,
    /// The next offset of each partition, by its number.
    offsets: Vec<i64>,
    starts: Vec<i64>,
    session: (i32, i32),
    /// What the session has to be told: partitions whose offsets have moved.
    changed: Vec<i32>,
    discard_left: usize,
    pub at_end: bool,
}

/// What one turn brought.
#[derive(Default)]
pub struct Got {
    pub bytes: u64,
    pub records: u64,
    pub answers: u64,
}

/// Stamps are counted if they were made within the window.
pub struct Stamps {
    pub window: (u64, u64),
    pub histogram: Histogram,
}

impl Reader {
    /// `offsets` are the first ones to read and `starts` the log's own, by partition.
    pub fn new(port: u16, partitions: Vec<i32>, offsets: Vec<i64>, starts: Vec<i64>) -> Result<Reader, String> {
        let changed = partitions.clone();
        let connection = Connection::open(port)?;
        Ok(Reader { connection, partitions, offsets, starts, session: (0, 0), changed, discard_left: 0, at_end: false })
    }

    fn alone(&self) -> bool {
        self.partitions.len() == 1
    }

    pub fn ask(&mut self, shape: &Shape) {
        let (session, named) = match (self.alone(), self.session) {
            (true, _) => ((0, -1), &self.partitions),
            (false, (0, _)) => ((0, 0), &self.partitions),
            (false, session) => (session, &self.changed),
        };
        let parts: Vec<_> = named.iter().map(|p| (*p, self.offsets[*p as usize])).collect();
        self.connection.push(Frame::Owned(frames::fetch(&shape.topic, session, shape.limits, &parts)));
        self.changed.clear();
    }

    /// Reads what has come; asks again as soon as an answer is whole.
    pub fn turn(
        &mut self,
        shape: &Shape,
        template: &Template,
        now: fn() -> u64,
        stamps: &mut Stamps,
    ) -> Result<Got, String> {
        let mut got = Got::default();
        if shape.reading == Reading::Discard {
            self.turn_discarding(shape, template, &mut got)?;
        } else {
            self.connection.receive()?;
            self.turn_copying(shape, now, stamps, &mut got)?;
        }
        self.connection.flush()?;
        Ok(got)
    }

    fn turn_discarding(&mut self, shape: &Shape, template: &Template, got: &mut Got) -> Result<(), String> {
        if self.discard_left == 0 {
            self.connection.receive_up_to(4 + FETCH_HEAD_BYTES)?;
            let Some(frame_bytes) = self.connection.frame_bytes()? else { return Ok(()) };
            let head_bytes = frame_bytes.min(4 + FETCH_HEAD_BYTES);
            let Some(head) = self.connection.unread().get(4..head_bytes) else { return Ok(()) };
            let (high_watermark, records_bytes) = frames::read_fetch_head(head)?;
            self.connection.consume(head_bytes);
            let batches = records_bytes / template.bytes.len();
            let partition = self.partitions[0];
            let moved = (batches * template.record_count) as i64;
            self.advance(shape, partition, moved, high_watermark);
            got.bytes += records_bytes as u64;
            got.records += moved as u64;
            self.discard_left = frame_bytes - head_bytes;
        }
        if self.discard_left > 0 {
            self.discard_left -= self.connection.discard(self.discard_left)?;
        }
        if self.discard_left == 0 {
            got.answers += 1;
            self.ask(shape);
        }
        Ok(())
    }

    fn turn_copying(
        &mut self,
        shape: &Shape,
        now: fn() -> u64,
        stamps: &mut Stamps,
        got: &mut Got,
    ) -> Result<(), String> {
        let Some(answer) = self.connection.whole_frame()? else { return Ok(()) };
        let frame_bytes = answer.len() + 4;
        let now_ns = now();
        let mut moves = Vec::new();
        let session_id = frames::read_fetch(answer, |fetched| {
            let offset = self.offsets[fetched.partition as usize];
            let next = walk(fetched.records, offset, shape, stamps, now_ns)?;
            got.bytes += fetched.records.len() as u64;
            got.records += (next - offset) as u64;
            moves.push((fetched.partition, next - offset, fetched.high_watermark));
            Ok(())
        })?;
        self.connection.consume(frame_bytes);
        for (partition, moved, high_watermark) in moves {
            self.advance(shape, partition, moved, high_watermark);
        }
        got.answers += 1;
        let epoch = if self.session.0 == session_id { self.session.1 % i32::MAX + 1 } else { 1 };
        self.session = (session_id, epoch);
        self.ask(shape);
        Ok(())
    }

    fn advance(&mut self, shape: &Shape, partition: i32, moved: i64, high_watermark: i64) {
        let offset = &mut self.offsets[partition as usize];
        *offset += moved;
        if *offset >= high_watermark && self.partitions.len() == 1 {
            self.at_end = true;
            if shape.wraps {
                *offset = self.starts[partition as usize];
            }
        }
        if moved > 0 {
            self.changed.push(partition);
        }
    }
}

/// Walks the batches of one partition; gives the offset behind the last whole one.
fn walk(bytes: &[u8], from: i64, shape: &Shape, stamps: &mut Stamps, now_ns: u64) -> Result<i64, String> {
    let mut next = from;
    for batch in Batches::new(bytes) {
        let batch = match batch {
            Ok(batch) => batch,
            Err(record::Error::Truncated { .. }) => break,
            Err(error) => return Err(format!("a fetched batch cannot be read: {error}")),
        };
        match shape.reading {
            Reading::Check => check(&batch, next)?,
            Reading::Stamps if batch.last_offset() >= from => read_stamps(&batch, from, shape, stamps, now_ns)?,
            _ => {}
        }
        next = next.max(batch.next_offset());
    }
    Ok(next)
}

fn check(batch: &BatchView<'_>, next: i64) -> Result<(), String> {
    if !batch.crc_is_valid() {
        return Err(format!("the batch at offset {} has a wrong CRC", batch.base_offset()));
    }
    if batch.base_offset() > next {
        return Err(format!("after offset {next} came {}: records are missing", batch.base_offset()));
    }
    Ok(())
}

fn read_stamps(
    batch: &BatchView<'_>,
    from: i64,
    shape: &Shape,
    stamps: &mut Stamps,
    now_ns: u64,
) -> Result<(), String> {
    for record in Records::new(batch.payload(), batch.record_count()).take(shape.stamps_per_batch) {
        let record = record.map_err(|e| e.to_string())?;
        if batch.base_offset() + i64::from(record.offset_delta) < from {
            continue;
        }
        if let Some(stamp) = stamp_of(record.value).filter(|stamp| (stamps.window.0..stamps.window.1).contains(stamp)) {
            stamps.histogram.record(now_ns.saturating_sub(stamp));
        }
    }
    Ok(())
}
