//! What goes up to the control plane: a bounded queue and a descriptor to wait on, drained in batches.
//!
//! INVARIANT: the data plane never waits for the control plane. A full queue stops the connection that wanted to push (its
//! bytes stay unread); it is looked at again once a batch has been drained.
//! INVARIANT: nobody is woken under the queue's lock: whoever wakes may have to give its processor to the one that is woken,
//! and an event loop that then waits for the lock waits for a slice of the control plane's.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use replica::lock::Lock;
use wire::Uuid;

use crate::asked::JobResult;
use crate::sys::Notifier;

/// Names one parked request: event loop, connection and a number that is never used again.
pub type Ticket = u64;

/// A request that the data plane does not answer itself.
#[derive(Debug)]
pub struct Request {
    pub ticket: Ticket,
    pub api_key: i16,
    pub api_version: i16,
    pub correlation_id: i32,
    pub client_id: Option<Bytes>,
    pub listener: usize,
    pub peer_host: Arc<str>,
    pub body: Bytes,
}

/// A produce request that opens a transaction on some partitions. Answered with an error code for each.
#[derive(Debug)]
pub struct Verify {
    pub ticket: Ticket,
    pub api_version: i16,
    pub transactional_id: Bytes,
    /// producer id, producer epoch, topic, partition
    pub partitions: Vec<(i64, i16, Arc<str>, i32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Debug,
    Info,
    Warning,
    Error,
}

#[derive(Debug)]
pub enum Upcall {
    Request(Request),
    /// Batches wait for the coordinator of their transaction: are their partitions part of it?
    Verify(Verify),
    /// A job given down earlier is done.
    Completed {
        ticket: Ticket,
        result: JobResult,
    },
    /// A replica has moved to another log directory (an index).
    Placed {
        topic_id: Uuid,
        partition: i32,
        dir: usize,
    },
    /// Something for the log.
    Notice {
        level: Level,
        text: String,
    },
}

pub struct UpcallQueue {
    queue: Lock<VecDeque<Upcall>>,
    requests_max: usize,
    notifier: Notifier,
    /// Somebody found the queue full since the last drain.
    stalled: AtomicBool,
}

/// Notices beyond so many unread ones are dropped: a log line is worth less than memory.
const NOTICES_MAX: usize = 10_000;

impl UpcallQueue {
    pub fn new(requests_max: usize) -> io::Result<UpcallQueue> {
        Ok(UpcallQueue {
            queue: Lock::default(),
            requests_max,
            notifier: Notifier::new()?,
            stalled: AtomicBool::new(false),
        })
    }

    pub fn fd(&self) -> RawFd {
        self.notifier.fd()
    }

    fn push_within(&self, upcall: Upcall, queued_max: usize) -> Result<(), Upcall> {
        let mut queue = self.queue.lock();
        if queue.len() >= queued_max {
            return Err(upcall);
        }
        queue.push_back(upcall);
        let is_first = queue.len() == 1;
        drop(queue);
        if is_first {
            self.notifier.notify();
        }
        Ok(())
    }

    /// Gives the request back if the queue is full; the connection is to wait for `drained`.
    pub fn push_request(&self, request: Request) -> Result<(), Request> {
        self.push_within(Upcall::Request(request), self.requests_max).map_err(|upcall| {
            self.stalled.store(true, Ordering::Release);
            match upcall {
                Upcall::Request(request) => request,
                _ => unreachable!("what was pushed comes back"),
            }
        })
    }

    /// Bounded by the connections: each has one request under way.
    pub fn push_verify(&self, verify: Verify) {
        let _ = self.push_within(Upcall::Verify(verify), usize::MAX);
    }

    /// Completions are bounded by the jobs that the control plane itself gave down.
    pub fn push_completed(&self, ticket: Ticket, result: JobResult) {
        let _ = self.push_within(Upcall::Completed { ticket, result }, usize::MAX);
    }

    /// Bounded by the moves that the control plane itself asked for.
    pub fn placed(&self, topic_id: Uuid, partition: i32, dir: usize) {
        let _ = self.push_within(Upcall::Placed { topic_id, partition, dir }, usize::MAX);
    }

    pub fn notice(&self, level: Level, text: impl Into<String>) {
        let _ = self.push_within(Upcall::Notice { level, text: text.into() }, NOTICES_MAX);
    }

    /// Up to `batch_max` upcalls, and whether somebody stalled on a full queue meanwhile. The descriptor is readable while
    /// there are more; what is pushed from here on is told anew, so that once in a while it is for nothing.
    pub fn drain(&self, batch_max: usize) -> (Vec<Upcall>, bool) {
        self.notifier.clear();
        let mut queue = self.queue.lock();
        let count = queue.len().min(batch_max);
        let batch = queue.drain(..count).collect();
        let is_left = !queue.is_empty();
        drop(queue);
        if is_left {
            self.notifier.notify();
        }
        (batch, self.stalled.swap(false, Ordering::AcqRel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(ticket: Ticket) -> Request {
        Request {
            ticket,
            api_key: 3,
            api_version: 0,
            correlation_id: 0,
            client_id: None,
            listener: 0,
            peer_host: "127.0.0.1".into(),
            body: Bytes::new(),
        }
    }

    #[test]
    fn a_full_queue_gives_the_request_back_and_remembers_that_somebody_waits() {
        let queue = UpcallQueue::new(1).unwrap();
        assert!(queue.push_request(request(1)).is_ok());
        assert_eq!(queue.push_request(request(2)).unwrap_err().ticket, 2);
        let (batch, stalled) = queue.drain(512);
        assert_eq!(batch.len(), 1);
        assert!(stalled);
        assert!(!queue.drain(512).1);
    }
}
