//! One run: producers and readers on one event loop, a warm-up, a window that is measured, a drain; then a line of JSON.
//!
//! ```text
//!   warming --(warm-up over)--> open --(time over, or enough bytes)--> draining --(all answered, all read)--> done
//! ```
//! Processor time is read when the window opens and when it closes. With acks 0 it closes when the last request has been
//! taken in, for nothing says so earlier.

use std::os::fd::AsRawFd;
use std::time::{SystemTime, UNIX_EPOCH};

use record::Codec;

use crate::batches::{Content, Template};
use crate::connection::{Connection, ask};
use crate::frames::{self, FetchLimits};
use crate::histogram::Histogram;
use crate::options::{Options, Row};
use crate::producers::{self, Producers, Turn};
use crate::readers::{self, READINGS, Reader, Reading, Stamps};
use crate::sys::{self, Poll, now_ns};
use crate::usage;

pub const OPTIONS: &[Row] = &[
    ("port", "9092", "the broker's port, on loopback"),
    ("topic", "bench", "an existing topic"),
    ("partitions", "6", "how many partitions it has"),
    ("producers", "0", "connections that write"),
    ("in-flight", "5", "requests under way on each of them"),
    ("acks", "1", "0, 1 or -1"),
    ("batch-bytes", "65536", "size of a batch before compression"),
    ("record-bytes", "1024", "size of a value"),
    ("codec", "none", "none, gzip, snappy, lz4 or zstd"),
    ("noise-percent", "50", "part of a value that no codec can take away"),
    ("batches-per-request", "1", "partitions that one request writes to"),
    ("spread", "turns", "partitions in turns, or keyed: at random, as hashes of keys would have it"),
    ("rate", "0", "requests a second of all producers together; 0 is as fast as answers come"),
    ("replay", "", "a file that holds one request with its size: sent instead of batches; its answers are counted"),
    ("answer", "", "a file that gets the first answer to it"),
    ("stamp", "no", "yes: values say when they were meant to be sent"),
    ("linger-us", "0", "a stamped batch gathered its records over this time"),
    ("readers", "0", "connections that read"),
    ("read", "walk", "discard, walk, stamps or check"),
    ("from", "end", "start: over and over; once: to the end; end: what is new"),
    ("share", "each", "each reader reads all partitions, or they split them, or each has one"),
    ("fetch-bytes", "52428800", "the most that an answer may hold"),
    ("fetch-partition-bytes", "1048576", "the most of one partition"),
    ("fetch-bytes-min", "1", "an answer waits for so much"),
    ("fetch-wait-ms", "500", "but no longer than this"),
    ("stamps-per-batch", "1000000", "stamps that are read of each batch"),
    ("warmup", "0.5", "seconds before the window"),
    ("seconds", "2", "length of the window"),
    ("limit-bytes", "0", "the window ends early after so many bytes of batches; 0 has no limit"),
    ("watch", "0", "the broker's process id, for its processor time and memory"),
    ("seed", "1", "of noise and keys"),
    (
        "first",
        "no",
        "yes: goes before all that is not told the same, as if from a machine of its own, where that is allowed",
    ),
];

const DRAIN_NS_MAX: u64 = 60_000_000_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Warming,
    Open,
    Draining,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    requests: u64,
    read_bytes: u64,
    read_records: u64,
    read_answers: u64,
}

struct Run {
    producers: Producers,
    readers: Vec<Reader>,
    reader_shape: readers::Shape,
    poll: Poll,
    phase: Phase,
    counts: Counts,
    window: (u64, u64),
    window_counts: Counts,
    latency: Histogram,
    stamps: Stamps,
    usage: (usage::Reading, usage::Reading),
    options: Limits,
}

struct Limits {
    seconds_ns: u64,
    bytes: u64,
    watch: u32,
    acks: i16,
    stamped: bool,
    once: bool,
    reader_copies: u64,
    stamps_per_batch: usize,
}

fn template(options: &Options) -> Result<Template, String> {
    let codecs = Codec::ALL.map(Codec::name);
    let codec = Codec::ALL[options.choice("codec", &codecs)?];
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|e| e.to_string())?.as_millis() as i64;
    let content = Content {
        record_bytes: options.get("record-bytes")?,
        noise_percent: options.get("noise-percent")?,
        now_ms,
        seed: options.get("seed")?,
    };
    Template::new(options.get("batch-bytes")?, codec, content)
}

fn producers(options: &Options, template: Template) -> Result<Producers, String> {
    let shape = producers::Shape {
        topic: options.text("topic").to_owned(),
        partitions: options.get::<i32>("partitions")?.max(1),
        batches_per_request: options.get("batches-per-request")?,
        keyed: options.choice("spread", &["turns", "keyed"])? == 1,
        acks: options.get("acks")?,
        in_flight: options.get("in-flight")?,
        rate: options.get("rate")?,
        stamped: options.choice("stamp", &["no", "yes"])? == 1,
        linger_ns: options.get::<u64>("linger-us")? * 1000,
        seed: options.get("seed")?,
    };
    if shape.batches_per_request > shape.partitions as usize {
        return Err("--batches-per-request is above --partitions, and a request names a partition once".to_owned());
    }
    let replayed = match options.text("replay") {
        "" => None,
        path => Some(std::fs::read(path).map_err(|e| format!("--replay {path}: {e}"))?),
    };
    Producers::new(shape, template, replayed, options.get("port")?, options.get("producers")?)
}

fn open_readers(options: &Options, reading: Reading) -> Result<Vec<Reader>, String> {
    let (port, count, partitions) =
        (options.get("port")?, options.get::<i32>("readers")?, options.get::<i32>("partitions")?);
    if count == 0 {
        return Ok(Vec::new());
    }
    let offsets_at = |timestamp| {
        let answer = ask(port, &frames::list_offsets(options.text("topic"), partitions, timestamp))?;
        frames::read_offsets(&answer, partitions)
    };
    let (starts, ends) = (offsets_at(-2)?, offsets_at(-1)?);
    let tailing = options.choice("from", &["start", "once", "end"])? == 2;
    let share = options.choice("share", &["each", "split", "one"])?;
    if reading == Reading::Discard && share != 2 {
        return Err("--read discard needs --share one: it looks at the head of an answer only".to_owned());
    }
    let mine = |reader: i32| -> Vec<i32> {
        match share {
            0 => (0..partitions).collect(),
            1 => (reader..partitions).step_by(count as usize).collect(),
            _ => vec![reader % partitions],
        }
    };
    let first = if tailing { &ends } else { &starts };
    (0..count).map(|reader| Reader::new(port, mine(reader), first.clone(), starts.clone())).collect()
}

fn seconds_ns(options: &Options, name: &str) -> Result<u64, String> {
    Ok((options.get::<f64>(name)? * 1e9) as u64)
}

pub fn run(arguments: &[String]) -> Result<String, String> {
    let options = Options::parse(OPTIONS, arguments)?;
    let reading = Reading::of(options.choice("read", &READINGS)?);
    let from = options.choice("from", &["start", "once", "end"])?;
    if options.choice("first", &["no", "yes"])? == 1 {
        sys::go_first();
    }
    let producers = producers(&options, template(&options)?)?;
    let readers = open_readers(&options, reading)?;
    let reader_shape = readers::Shape {
        topic: options.text("topic").to_owned(),
        reading,
        limits: FetchLimits {
            wait_ms: options.get("fetch-wait-ms")?,
            bytes_min: options.get("fetch-bytes-min")?,
            bytes_max: options.get("fetch-bytes")?,
            partition_bytes_max: options.get("fetch-partition-bytes")?,
        },
        wraps: from == 0,
        stamps_per_batch: options.get("stamps-per-batch")?,
    };
    let limits = Limits {
        seconds_ns: seconds_ns(&options, "seconds")?,
        bytes: options.get("limit-bytes")?,
        watch: options.get("watch")?,
        acks: options.get("acks")?,
        stamped: options.text("stamp") == "yes" && reading == Reading::Stamps,
        once: from == 1,
        reader_copies: if options.text("share") == "each" { readers.len() as u64 } else { 1 },
        stamps_per_batch: reader_shape.stamps_per_batch,
    };
    let mut run = Run {
        producers,
        readers,
        reader_shape,
        poll: Poll::new().map_err(|e| e.to_string())?,
        phase: Phase::Warming,
        counts: Counts::default(),
        window: (u64::MAX, u64::MAX),
        window_counts: Counts::default(),
        latency: Histogram::default(),
        stamps: Stamps { window: (u64::MAX, u64::MAX), histogram: Histogram::default() },
        usage: Default::default(),
        options: limits,
    };
    run.go(seconds_ns(&options, "warmup")?)?;
    let answer_path = options.text("answer");
    if !answer_path.is_empty() {
        let written = std::fs::write(answer_path, &run.producers.first_answer);
        written.map_err(|e| format!("--answer {answer_path}: {e}"))?;
    }
    Ok(run.json())
}

impl Run {
    fn go(&mut self, warmup_ns: u64) -> Result<(), String> {
        let why = |e: std::io::Error| e.to_string();
        for lane in 0..self.producers.count() {
            self.poll.add(self.producers.connection(lane).socket.as_raw_fd(), lane).map_err(why)?;
        }
        for (number, reader) in self.readers.iter().enumerate() {
            self.poll.add(reader.connection.socket.as_raw_fd(), self.producers.count() + number).map_err(why)?;
        }
        let mut ready = Vec::new();
        for number in 0..self.readers.len() {
            self.readers[number].ask(&self.reader_shape);
            self.readers[number].connection.flush()?;
        }
        let start_ns = now_ns();
        let opens_ns = start_ns + warmup_ns;
        self.producers.start(start_ns);
        for lane in 0..self.producers.count() {
            self.produce(lane)?;
        }
        while !self.step(now_ns(), opens_ns)? {
            let now = now_ns();
            let next = self.producers.schedule(now);
            for lane in self.producers.due_lanes() {
                self.produce(lane)?;
            }
            let wakes = [next, Some(self.next_change(opens_ns))].into_iter().flatten().min();
            self.poll.wait(wakes.map(|at| at.saturating_sub(now_ns())), &mut ready).map_err(why)?;
            for event in &ready {
                match event.token.checked_sub(self.producers.count()) {
                    None => self.turn_producer(event.token, event.readable)?,
                    Some(reader) => self.turn_reader(reader, event.readable)?,
                }
            }
        }
        Ok(())
    }

    /// When the phase may change without anything having come.
    fn next_change(&self, opens_ns: u64) -> u64 {
        match self.phase {
            Phase::Warming => opens_ns,
            Phase::Open => self.window.1,
            Phase::Draining => now_ns() + 10_000_000,
        }
    }

    /// Moves from phase to phase; true when all is done.
    fn step(&mut self, now: u64, opens_ns: u64) -> Result<bool, String> {
        match self.phase {
            Phase::Warming if now >= opens_ns => {
                self.phase = Phase::Open;
                self.window = (now, now + self.options.seconds_ns);
                self.stamps.window = self.window;
                self.window_counts = self.counts;
                self.usage.0 = usage::read(self.options.watch);
            }
            Phase::Open => {
                let batch_bytes = self.producers.template().bytes.len() as u64;
                let bytes = self.requests_in_window() * self.batches_per_request() * batch_bytes;
                let enough = self.options.bytes > 0 && bytes.max(self.bytes_read()) >= self.options.bytes;
                let read = self.options.once && self.readers.iter().all(|reader| reader.at_end);
                if now >= self.window.1 || enough || read {
                    self.close(now);
                }
            }
            Phase::Draining => {
                let drained = self.producers.is_drained();
                if drained && self.options.acks == 0 && self.usage.1.own_user_s == 0.0 {
                    self.window.1 = now;
                    self.usage.1 = usage::read(self.options.watch);
                }
                if drained && self.all_stamps_came() {
                    return Ok(true);
                }
                if now > self.window.1 + DRAIN_NS_MAX {
                    let (due, got) = (self.stamps_due(), self.stamps.histogram.count());
                    let left = self.producers.unfinished_count();
                    return Err(format!(
                        "a minute after the end {left} requests are unanswered; {got} of {due} records came"
                    ));
                }
            }
            Phase::Warming => {}
        }
        Ok(false)
    }

    fn close(&mut self, now: u64) {
        self.phase = Phase::Draining;
        self.window.1 = now;
        self.stamps.window.1 = self.stamps.window.1.min(now);
        self.producers.stop(now);
        if self.options.acks != 0 || self.producers.count() == 0 {
            self.usage.1 = usage::read(self.options.watch);
            return;
        }
        for lane in 0..self.producers.count() {
            // What cannot be sent now is sent when the socket is ready for it; an error shows up there, too.
            let _ = self.produce(lane);
        }
    }

    fn batches_per_request(&self) -> u64 {
        (self.producers.records_per_request() / self.producers.template().record_count) as u64
    }

    fn requests_in_window(&self) -> u64 {
        self.counts.requests - self.window_counts.requests
    }

    fn bytes_read(&self) -> u64 {
        self.counts.read_bytes - self.window_counts.read_bytes
    }

    /// Stamped records that the readers must have seen when all is done. Requests of the window are all answered then.
    fn stamps_due(&self) -> u64 {
        if !self.options.stamped {
            return 0;
        }
        let per_batch = self.producers.template().record_count.min(self.options.stamps_per_batch) as u64;
        // Requests at the window's edges have stamps on either side of it: they are left out of what is due.
        let whole = self.latency.count().saturating_sub(2 * self.producers.count() as u64 + 2);
        whole * self.batches_per_request() * per_batch * self.options.reader_copies
    }

    fn all_stamps_came(&self) -> bool {
        self.stamps.histogram.count() >= self.stamps_due()
    }

    fn produce(&mut self, lane: usize) -> Result<(), String> {
        let mut turn = Turn::default();
        self.producers.fill_and_flush(lane, now_ns(), &mut turn)?;
        self.note(&turn);
        let eager = self.producers.sends_unasked();
        watch_writable(&mut self.poll, self.producers.connection_mut(lane), lane, eager)
    }

    fn turn_producer(&mut self, lane: usize, readable: bool) -> Result<(), String> {
        if readable {
            let mut turn = Turn::default();
            self.producers.receive(lane, &mut turn)?;
            self.note(&turn);
        }
        self.produce(lane)
    }

    fn note(&mut self, turn: &Turn) {
        if self.phase != Phase::Draining || self.options.acks == 0 {
            self.counts.requests += turn.finished_count as u64;
        }
        if turn.intended_ns.is_empty() {
            return;
        }
        let now = now_ns();
        for intended in turn.intended_ns.iter().filter(|at| (self.stamps.window.0..self.stamps.window.1).contains(*at))
        {
            self.latency.record(now - intended);
        }
    }

    fn turn_reader(&mut self, number: usize, readable: bool) -> Result<(), String> {
        let reader = &mut self.readers[number];
        if readable {
            let got = reader.turn(&self.reader_shape, self.producers.template(), now_ns, &mut self.stamps)?;
            if self.phase != Phase::Draining {
                self.counts.read_bytes += got.bytes;
                self.counts.read_records += got.records;
                self.counts.read_answers += got.answers;
            }
        } else {
            reader.connection.flush()?;
        }
        watch_writable(&mut self.poll, &mut reader.connection, self.producers.count() + number, false)
    }

    fn json(&self) -> String {
        let template = self.producers.template();
        let requests = self.requests_in_window();
        let batches = requests * self.batches_per_request();
        format!(
            "{{\"seconds\":{:.6},\"requests\":{requests},\"records\":{},\"bytes\":{},\"payload_bytes\":{},\
             \"batch_bytes\":{},\"read_bytes\":{},\"read_records\":{},\"read_answers\":{},{},\
             \"latency\":{},\"end_to_end\":{}}}",
            (self.window.1 - self.window.0) as f64 / 1e9,
            batches * template.record_count as u64,
            batches * template.bytes.len() as u64,
            batches * template.payload_bytes as u64,
            template.bytes.len(),
            self.bytes_read(),
            self.counts.read_records - self.window_counts.read_records,
            self.counts.read_answers - self.window_counts.read_answers,
            usage::json_between(self.usage.0, self.usage.1),
            self.latency.json(),
            self.stamps.histogram.json(),
        )
    }
}

/// `eager`: no answer will say when to go on, only room in the socket.
fn watch_writable(poll: &mut Poll, connection: &mut Connection, token: usize, eager: bool) -> Result<(), String> {
    let wants = eager || connection.unsent_count() > 0;
    if wants != connection.wants_writable {
        connection.wants_writable = wants;
        poll.set_writable(connection.socket.as_raw_fd(), token, wants).map_err(|e| e.to_string())?;
    }
    Ok(())
}
