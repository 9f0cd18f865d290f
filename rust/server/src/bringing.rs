//! Bytes that are to be read or sent and that only the disk has: threads bring them into memory, so that no event loop waits
//! for a disk while its other connections wait for it.
//!
//! KAFKA: a network thread of 4.4 reads from the disk as it sends, and holds up all of its connections (KAFKA-7504).
//!
//! INVARIANT: what waits here is bounded: a request names one region at most, and of those to be sent a connection waits for one
//! at a time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use log::Region;
use parking_lot::{Condvar, Mutex};

use crate::inbox::{Inbox, Message};
use crate::upcall::Ticket;

/// Made as they are needed. A disk is given no more to do at a time.
const THREADS_MAX: usize = 8;

struct Order {
    region: Region,
    inbox: Arc<Inbox>,
    ticket: Ticket,
}

#[derive(Default)]
struct Orders {
    waiting: VecDeque<Order>,
    idle_count: usize,
    threads: Vec<JoinHandle<()>>,
    stopping: bool,
}

#[derive(Default)]
pub struct Bringers {
    orders: Mutex<Orders>,
    news: Condvar,
}

impl Bringers {
    /// `Message::Brought` follows; at once where nobody can be found to bring it, so that whoever sends it waits for the disk.
    pub fn bring(self: &Arc<Self>, region: Region, inbox: Arc<Inbox>, ticket: Ticket) {
        let mut orders = self.orders.lock();
        if orders.idle_count <= orders.waiting.len() && orders.threads.len() < THREADS_MAX {
            let own = self.clone();
            let thread = std::thread::Builder::new().name("bringer".to_owned()).spawn(move || own.run());
            orders.threads.extend(thread);
        }
        if orders.threads.is_empty() || orders.stopping {
            drop(orders);
            inbox.send(Message::Brought(ticket));
            return;
        }
        orders.waiting.push_back(Order { region, inbox, ticket });
        drop(orders);
        self.news.notify_one();
    }

    fn run(&self) {
        let mut orders = self.orders.lock();
        while !orders.stopping {
            let Some(Order { region, inbox, ticket }) = orders.waiting.pop_front() else {
                orders.idle_count += 1;
                self.news.wait(&mut orders);
                orders.idle_count -= 1;
                continue;
            };
            drop(orders);
            region.bring();
            inbox.send(Message::Brought(ticket));
            orders = self.orders.lock();
        }
    }

    /// Nobody waits any more.
    pub fn stop(&self) {
        let threads = {
            let mut orders = self.orders.lock();
            orders.stopping = true;
            std::mem::take(&mut orders.threads)
        };
        self.news.notify_all();
        for thread in threads {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Barrier;
    use std::time::Duration;

    use log::StorageFile;
    use mio::{Events, Poll, Token};

    use super::*;

    /// A disk that takes until somebody else has come to the same point.
    struct Slow(Barrier);

    impl StorageFile for Slow {
        fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
            Ok(0)
        }

        fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
            Ok(())
        }

        fn len(&self) -> io::Result<u64> {
            Ok(0)
        }

        fn truncate(&self, _: u64) -> io::Result<()> {
            Ok(())
        }

        fn sync_data(&self) -> io::Result<()> {
            Ok(())
        }

        fn bring(&self, _: u64, _: usize) {
            self.0.wait();
        }
    }

    fn brought(poll: &mut Poll, inbox: &Inbox, count: usize) -> Vec<Ticket> {
        let mut found = Vec::new();
        while found.len() < count {
            if inbox.may_sleep() {
                poll.poll(&mut Events::with_capacity(1), Some(Duration::from_secs(60))).unwrap();
                inbox.awake();
            }
            found.extend(inbox.take().into_iter().filter_map(|message| match message {
                Message::Brought(ticket) => Some(ticket),
                _ => None,
            }));
        }
        found.sort();
        found
    }

    #[test]
    fn one_slow_disk_does_not_keep_the_others_waiting() {
        let mut poll = Poll::new().unwrap();
        let inbox = Arc::new(Inbox::new(0, &poll, Token(7)).unwrap());
        let bringers = Arc::new(Bringers::default());
        let order = |file: &Arc<Slow>, ticket| {
            bringers.bring(Region { file: file.clone(), position: 0, bytes: 1 }, inbox.clone(), ticket);
        };
        let (stuck, quick) = (Arc::new(Slow(Barrier::new(2))), Arc::new(Slow(Barrier::new(1))));
        order(&stuck, 1);
        (2..30).for_each(|ticket| order(&quick, ticket));
        assert_eq!(brought(&mut poll, &inbox, 28), (2..30).collect::<Vec<_>>());
        stuck.0.wait();
        assert_eq!(brought(&mut poll, &inbox, 1), [1]);
        bringers.stop();
        order(&quick, 31);
        assert_eq!(brought(&mut poll, &inbox, 1), [31], "nobody brings it, and nobody waits");
    }
}
