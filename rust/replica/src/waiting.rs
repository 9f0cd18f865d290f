//! Who waits at a partition: readers for more to read, producers until its log has come as far as they want.
//!
//! INVARIANT: a producer is told once, and by its own condition only; what it is told too early it takes for the end of its time.

use std::sync::Arc;

use crate::purgatory::{URGENT, Watch, Watcher};

/// How far a log must have come before a producer is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// acks=all: on all replicas in sync.
    HighWatermark(i64),
    /// acks=1: on this replica's disk.
    Synced(i64),
}

/// How far a log has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub high_watermark: i64,
    pub synced_offset: i64,
}

impl Progress {
    pub fn has(self, wanted: Wanted) -> bool {
        match wanted {
            Wanted::HighWatermark(offset) => self.high_watermark >= offset,
            Wanted::Synced(offset) => self.synced_offset >= offset,
        }
    }
}

#[derive(Default)]
pub struct Waiting {
    readers: Vec<Watcher>,
    writers: Vec<(Wanted, Watcher)>,
    /// Bytes appended but not yet below the high watermark.
    unannounced_bytes: usize,
}

impl Waiting {
    pub fn add_reader(&mut self, reader: Watcher) {
        self.readers.push(reader);
    }

    pub fn remove_reader(&mut self, watch: &Arc<Watch>, slot: u32) {
        if let Some(at) = self.readers.iter().position(|reader| reader.is(watch, slot)) {
            self.readers.swap_remove(at);
        }
    }

    pub fn add_writer(&mut self, wanted: Wanted, writer: Watcher) {
        self.writers.push((wanted, writer));
    }

    pub fn appended(&mut self, bytes: usize) {
        self.unannounced_bytes += bytes;
    }

    /// The high watermark has passed all that was appended.
    pub fn tell_advanced(&mut self, progress: Progress) {
        let weight = std::mem::take(&mut self.unannounced_bytes);
        for reader in &self.readers {
            reader.watch.news(reader.slot, weight);
        }
        self.tell_writers(progress);
    }

    pub fn tell_writers(&mut self, progress: Progress) {
        self.writers.retain(|(wanted, writer)| {
            let has = progress.has(*wanted);
            if has {
                writer.watch.news(writer.slot, 1);
            }
            !has
        });
    }

    /// Leadership, the log's start or the partition itself changed: readers look again, and so do writers unless this
    /// replica still leads: what they wait for may come yet.
    pub fn tell_everyone(&mut self, progress: Progress, leads: bool) {
        for reader in &self.readers {
            reader.watch.news(reader.slot, URGENT);
        }
        if leads {
            return self.tell_writers(progress);
        }
        for (_, writer) in self.writers.drain(..) {
            writer.watch.news(writer.slot, URGENT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::purgatory::Woken;

    fn waiter(woken: &Arc<Woken>, ticket: u64, weight: usize) -> Watcher {
        let watch = Watch::new();
        assert!(watch.park(ticket, woken.clone(), weight));
        Watcher { watch, slot: 0 }
    }

    #[test]
    fn each_producer_is_told_of_what_it_waits_for_and_all_when_leadership_is_lost() {
        let woken = Arc::new(Woken::default());
        let mut waiting = Waiting::default();
        waiting.add_writer(Wanted::HighWatermark(5), waiter(&woken, 1, 1));
        waiting.add_writer(Wanted::Synced(5), waiter(&woken, 2, 1));
        waiting.add_writer(Wanted::HighWatermark(9), waiter(&woken, 3, 1));
        waiting.tell_everyone(Progress { high_watermark: 4, synced_offset: 5 }, true);
        assert_eq!(*woken.0.lock(), [2]);
        waiting.tell_writers(Progress { high_watermark: 5, synced_offset: 5 });
        assert_eq!(*woken.0.lock(), [2, 1]);
        waiting.tell_everyone(Progress { high_watermark: 5, synced_offset: 5 }, false);
        assert_eq!(*woken.0.lock(), [2, 1, 3]);
    }

    #[test]
    fn a_reader_is_told_how_much_has_come_since_it_was_told_last() {
        let woken = Arc::new(Woken::default());
        let mut waiting = Waiting::default();
        let progress = Progress { high_watermark: 1, synced_offset: 0 };
        let reader = waiter(&woken, 1, 100);
        waiting.add_reader(reader.clone());
        waiting.appended(60);
        waiting.tell_advanced(progress);
        waiting.tell_advanced(progress);
        assert!(woken.0.lock().is_empty());
        waiting.appended(40);
        waiting.tell_advanced(progress);
        assert_eq!(*woken.0.lock(), [1]);
        let again = waiter(&woken, 2, 1);
        waiting.add_reader(again.clone());
        waiting.remove_reader(&again.watch, 0);
        waiting.tell_everyone(progress, true);
        assert_eq!(*woken.0.lock(), [1]);
    }
}
