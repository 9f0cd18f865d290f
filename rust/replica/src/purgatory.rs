//! Requests that wait: a long-polling Fetch until enough bytes came, a Produce with acks=all until the high watermark
//! passed. One generic shape for both.
//!
//! A `Watch` belongs to one waiting request or to one fetch session. Partitions hold it with a slot number and report
//! news to it: which slot, and how much it weighs. The watch keeps the slots that have news, each once, so that
//! answering costs O(changed partitions); and once the news outweigh what the parked request wants, it wakes that
//! request's event loop, once.
//!
//! INVARIANT: lock order is partition, then watch. A watch never calls into a partition.
//! INVARIANT: news that arrives between `take_dirty` and `park` is not lost: `park` refuses when it is already enough.

use std::sync::Arc;

use crate::lock::Lock;

/// How an event loop is told that a parked request may go on. `ticket` is what the loop gave when it parked.
pub trait Wake: Send + Sync {
    fn wake(&self, ticket: u64);
}

/// More weight than any request waits for: an error, a change of leader, a deleted topic.
pub const URGENT: usize = usize::MAX;

/// The slot of a request that looks at everything anyway: its news are counted, and not kept.
pub const UNMARKED: u32 = u32::MAX;

struct Parked {
    ticket: u64,
    wake: Arc<dyn Wake>,
    wanted: usize,
}

#[derive(Default)]
struct State {
    dirty: Vec<u32>,
    is_dirty: Vec<bool>,
    weight: usize,
    parked: Option<Parked>,
}

#[derive(Default)]
pub struct Watch {
    state: Lock<State>,
}

impl Watch {
    pub fn new() -> Arc<Watch> {
        Arc::new(Watch::default())
    }

    /// A partition has news for `slot`. Called under that partition's lock.
    pub fn news(&self, slot: u32, weight: usize) {
        let mut state = self.state.lock();
        state.mark(slot);
        state.weight = state.weight.saturating_add(weight);
        let gathered = state.weight;
        if let Some(parked) = state.parked.take_if(|p| p.wanted <= gathered) {
            drop(state);
            parked.wake.wake(parked.ticket);
        }
    }

    /// Marks a slot without weight: the request itself changed it.
    pub fn mark(&self, slot: u32) {
        self.state.lock().mark(slot);
    }

    /// The slots with news, oldest first. Their marks and the weight gathered so far are cleared.
    pub fn take_dirty(&self) -> Vec<u32> {
        let mut state = self.state.lock();
        state.weight = 0;
        let dirty = std::mem::take(&mut state.dirty);
        for slot in &dirty {
            state.is_dirty[*slot as usize] = false;
        }
        dirty
    }

    /// Puts slots back that still have something to tell, behind what came meanwhile, without weight.
    pub fn put_back(&self, slots: impl IntoIterator<Item = u32>) {
        let mut state = self.state.lock();
        for slot in slots {
            state.mark(slot);
        }
    }

    /// Parks the request until news of `wanted` weight has come since the last `take_dirty`. False if it has already.
    #[must_use]
    pub fn park(&self, ticket: u64, wake: Arc<dyn Wake>, wanted: usize) -> bool {
        let mut state = self.state.lock();
        if state.weight >= wanted {
            return false;
        }
        state.parked = Some(Parked { ticket, wake, wanted });
        true
    }

    /// The request is answered (or gone): nobody is to be woken any more.
    pub fn unpark(&self) {
        self.state.lock().parked = None;
    }
}

impl State {
    fn mark(&mut self, slot: u32) {
        if slot == UNMARKED {
            return;
        }
        let index = slot as usize;
        if self.is_dirty.len() <= index {
            self.is_dirty.resize(index + 1, false);
        }
        if !self.is_dirty[index] {
            self.is_dirty[index] = true;
            self.dirty.push(slot);
        }
    }
}

/// A partition's place for a watch that is to hear of it.
#[derive(Clone)]
pub struct Watcher {
    pub watch: Arc<Watch>,
    pub slot: u32,
}

impl Watcher {
    pub fn is(&self, watch: &Arc<Watch>, slot: u32) -> bool {
        self.slot == slot && Arc::ptr_eq(&self.watch, watch)
    }
}

/// Notes who was woken.
#[cfg(test)]
#[derive(Default)]
pub struct Woken(pub Lock<Vec<u64>>);

#[cfg(test)]
impl Wake for Woken {
    fn wake(&self, ticket: u64) {
        self.0.lock().push(ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parked_request_is_woken_once_when_the_news_outweigh_what_it_wants() {
        let woken = Arc::new(Woken::default());
        let watch = Watch::new();
        assert!(watch.park(7, woken.clone(), 100));
        watch.news(0, 60);
        assert!(woken.0.lock().is_empty());
        watch.news(1, 60);
        watch.news(1, 60);
        assert_eq!(*woken.0.lock(), [7]);
        assert_eq!(watch.take_dirty(), [0, 1]);
    }

    #[test]
    fn news_before_parking_is_not_lost() {
        let watch = Watch::new();
        watch.news(3, URGENT);
        assert!(!watch.park(1, Arc::new(Woken::default()), 1));
    }

    #[test]
    fn news_of_no_slot_wake_and_leave_no_mark() {
        let woken = Arc::new(Woken::default());
        let watch = Watch::new();
        assert!(watch.park(7, woken.clone(), 2));
        watch.news(UNMARKED, 1);
        assert!(woken.0.lock().is_empty());
        watch.news(UNMARKED, 1);
        assert_eq!(*woken.0.lock(), [7]);
        assert!(watch.take_dirty().is_empty());
    }

    #[test]
    fn a_slot_stands_in_the_dirty_list_once() {
        let watch = Watch::new();
        watch.news(2, 1);
        watch.news(2, 1);
        watch.mark(0);
        assert_eq!(watch.take_dirty(), [2, 0]);
        watch.put_back([0]);
        assert_eq!(watch.take_dirty(), [0]);
    }
}
