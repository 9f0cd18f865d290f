//! The writing half of a run: prebuilt batches, replayed or stamped, as fast as answers come or at a rate.
//!
//! INVARIANT: at a rate, latency counts from the moment at which a request was meant to be sent, also when it could not be.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::batches::{Noise, Template};
use crate::connection::{Connection, Frame};
use crate::frames;

/// Frames are built once and shared up to this many bytes; beyond it they are built one by one.
const SHARED_BYTES_MAX: usize = 256 << 20;

pub struct Shape {
    pub topic: String,
    pub partitions: i32,
    pub batches_per_request: usize,
    /// Partitions in turn, or as the hashes of keys would choose them.
    pub keyed: bool,
    pub acks: i16,
    pub in_flight: usize,
    /// Requests a second of all connections together; 0 sends whenever there is room.
    pub rate: f64,
    pub stamped: bool,
    pub linger_ns: u64,
    pub seed: u64,
}

struct Lane {
    connection: Connection,
    /// When the requests that wait for their answers were meant to be sent.
    awaited: VecDeque<u64>,
    /// Requests that are due and wait for room.
    due: VecDeque<u64>,
    /// With acks 0: a last request with acks 1 is out, whose answer says that all before it have been taken in.
    closing: bool,
}

/// What happened in one turn of a lane.
#[derive(Default)]
pub struct Turn {
    /// Requests that were answered (with acks 0: handed to the kernel).
    pub finished_count: usize,
    /// When each answered request was meant to be sent.
    pub intended_ns: Vec<u64>,
}

pub struct Producers {
    shape: Shape,
    template: Template,
    shared: Vec<Rc<[u8]>>,
    lanes: Vec<Lane>,
    noise: Noise,
    next_partition: i32,
    issued_count: u64,
    next_lane: usize,
    start_ns: u64,
    stopping: bool,
    /// What is sent is no Produce request but one of the caller's; the caller looks at `first_answer`.
    replays: bool,
    pub first_answer: Vec<u8>,
}

impl Producers {
    pub fn new(
        shape: Shape,
        template: Template,
        replayed: Option<Vec<u8>>,
        port: u16,
        count: usize,
    ) -> Result<Producers, String> {
        if shape.stamped && !template.can_be_stamped() {
            return Err("--stamp needs uncompressed records of at least 8 bytes".to_owned());
        }
        let mut lanes = Vec::new();
        for _ in 0..count {
            let connection = Connection::open(port)?;
            lanes.push(Lane { connection, awaited: VecDeque::new(), due: VecDeque::new(), closing: false });
        }
        let alone = shape.batches_per_request == 1 && !shape.stamped;
        let replays = replayed.is_some();
        let shared = if let Some(frame) = replayed {
            vec![frame.into(); shape.partitions as usize]
        } else if alone && template.bytes.len() * shape.partitions as usize <= SHARED_BYTES_MAX {
            let frame =
                |p| frames::produce(&shape.topic, shape.acks, [(p, template.bytes.as_slice())].into_iter()).into();
            (0..shape.partitions).map(frame).collect()
        } else {
            Vec::new()
        };
        let noise = Noise(shape.seed | 1);
        Ok(Producers {
            shape,
            template,
            shared,
            lanes,
            noise,
            next_partition: 0,
            issued_count: 0,
            next_lane: 0,
            start_ns: 0,
            stopping: false,
            replays,
            first_answer: Vec::new(),
        })
    }

    pub fn connection(&self, lane: usize) -> &Connection {
        &self.lanes[lane].connection
    }

    pub fn connection_mut(&mut self, lane: usize) -> &mut Connection {
        &mut self.lanes[lane].connection
    }

    pub fn count(&self) -> usize {
        self.lanes.len()
    }

    pub fn template(&self) -> &Template {
        &self.template
    }

    pub fn records_per_request(&self) -> usize {
        self.template.record_count * self.shape.batches_per_request
    }

    pub fn start(&mut self, now_ns: u64) {
        self.start_ns = now_ns;
    }

    fn partition(&mut self) -> i32 {
        if self.shape.keyed {
            return self.noise.below(self.shape.partitions as u64) as i32;
        }
        let partition = self.next_partition;
        self.next_partition = (partition + 1) % self.shape.partitions;
        partition
    }

    fn frame(&mut self, intended_ns: u64) -> Frame {
        if !self.shared.is_empty() {
            let partition = self.partition();
            return Frame::Shared(self.shared[partition as usize].clone());
        }
        let mut chosen: Vec<i32> = Vec::with_capacity(self.shape.batches_per_request);
        while chosen.len() < self.shape.batches_per_request {
            let partition = self.partition();
            // A request names a partition once; a second record for it would go into the same batch.
            if !chosen.contains(&partition) {
                chosen.push(partition);
            }
        }
        let mut batch = self.template.bytes.clone();
        if self.shape.stamped {
            self.template.stamp(&mut batch, intended_ns, self.shape.linger_ns);
        }
        let parts = chosen.iter().map(|partition| (*partition, batch.as_slice()));
        Frame::Owned(frames::produce(&self.shape.topic, self.shape.acks, parts))
    }

    /// Hands requests that are due to the lanes in turn. Gives when the next one will be, if a rate was given.
    pub fn schedule(&mut self, now_ns: u64) -> Option<u64> {
        if self.shape.rate <= 0.0 || self.stopping {
            return None;
        }
        let period_ns = 1e9 / self.shape.rate;
        loop {
            let intended_ns = self.start_ns + (self.issued_count as f64 * period_ns) as u64;
            if intended_ns > now_ns {
                return Some(intended_ns);
            }
            self.lanes[self.next_lane].due.push_back(intended_ns);
            self.next_lane = (self.next_lane + 1) % self.lanes.len();
            self.issued_count += 1;
        }
    }

    /// Nothing but room in the socket says when the next request is sent.
    pub fn sends_unasked(&self) -> bool {
        self.shape.acks == 0 && self.shape.rate <= 0.0 && !self.stopping
    }

    /// The lanes that have something due. Only of use at a rate.
    pub fn due_lanes(&self) -> Vec<usize> {
        (0..self.lanes.len()).filter(|lane| !self.lanes[*lane].due.is_empty()).collect()
    }

    pub fn fill_and_flush(&mut self, lane: usize, now_ns: u64, turn: &mut Turn) -> Result<(), String> {
        let open_loop = self.shape.rate > 0.0;
        let unanswered = self.shape.acks == 0;
        for _ in 0..16 {
            loop {
                let place = &mut self.lanes[lane];
                let under_way = if unanswered { place.connection.unsent_count() } else { place.awaited.len() };
                if under_way >= self.shape.in_flight || place.closing {
                    break;
                }
                let intended_ns = match place.due.pop_front() {
                    Some(intended_ns) => intended_ns,
                    None if open_loop || self.stopping => break,
                    None => now_ns,
                };
                let frame = self.frame(intended_ns);
                let place = &mut self.lanes[lane];
                place.connection.push(frame);
                if !unanswered {
                    place.awaited.push_back(intended_ns);
                }
            }
            let place = &mut self.lanes[lane];
            let finished_count = place.connection.flush()?;
            if !unanswered || place.closing {
                break;
            }
            turn.finished_count += finished_count;
            if finished_count == 0 || self.stopping {
                break;
            }
        }
        Ok(())
    }

    /// Reads the answers that have come.
    pub fn receive(&mut self, lane: usize, turn: &mut Turn) -> Result<(), String> {
        let place = &mut self.lanes[lane];
        place.connection.receive()?;
        while let Some(answer) = place.connection.whole_frame()? {
            let bytes = answer.len() + 4;
            if !self.replays {
                frames::check_produce(answer)?;
            } else if self.first_answer.is_empty() {
                self.first_answer = answer.to_vec();
            }
            place.connection.consume(bytes);
            let intended_ns = place.awaited.pop_front().ok_or("an answer came that nobody asked for")?;
            if self.shape.acks != 0 {
                turn.finished_count += 1;
                turn.intended_ns.push(intended_ns);
            }
        }
        Ok(())
    }

    /// No new requests from here on. With acks 0, a request is added whose answer says that all are done.
    pub fn stop(&mut self, now_ns: u64) {
        self.stopping = true;
        if self.shape.acks != 0 {
            return;
        }
        for place in &mut self.lanes {
            let parts = [(0, self.template.bytes.as_slice())].into_iter();
            place.connection.push(Frame::Owned(frames::produce(&self.shape.topic, 1, parts)));
            place.awaited.push_back(now_ns);
            place.closing = true;
        }
    }

    pub fn is_drained(&self) -> bool {
        self.lanes.iter().all(|lane| lane.awaited.is_empty() && lane.due.is_empty())
    }

    pub fn unfinished_count(&self) -> usize {
        self.lanes.iter().map(|lane| lane.awaited.len() + lane.due.len()).sum()
    }
}
