//! How far a partition's log is on the disk, as far as anybody waits for that. Pure: what is to be asked of the disk is told to
//! the partition.
//!
//! ```text
//!   flush.messages=1   each batch is handed to the disk; `synced` follows once it is there, and only then the high watermark
//!                      passes it
//!   flush.messages=n   after n records a flush is asked for; nobody waits for it
//! ```

/// The value of flush.messages with which nobody is told of a record before it is on the disk.
pub const EVERY_MESSAGE: u64 = 1;

pub struct Durability {
    /// All before it is on the disk.
    pub synced_offset: i64,
    /// All before it was handed over, or stands before `synced_offset`.
    handed_offset: i64,
    unflushed_records: u64,
}

/// What an append asks of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    Nothing,
    /// The log is to be flushed before long.
    Flush,
    /// The batch is to be committed. `follows_unsynced`: what stands in the log before it was not handed over.
    Commit {
        follows_unsynced: bool,
    },
}

impl Durability {
    /// Of a log that is on the disk up to there.
    pub fn at(synced_offset: i64) -> Durability {
        Durability { synced_offset, handed_offset: synced_offset, unflushed_records: 0 }
    }

    /// A batch was appended from `from` to before `end_offset`. `messages`: flush.messages.
    pub fn appended(&mut self, from: i64, end_offset: i64, messages: u64) -> Demand {
        if messages == EVERY_MESSAGE {
            let follows_unsynced = self.handed_offset < from;
            self.handed_offset = end_offset;
            return Demand::Commit { follows_unsynced };
        }
        self.unflushed_records += (end_offset - from) as u64;
        if self.unflushed_records >= messages { Demand::Flush } else { Demand::Nothing }
    }

    /// A flush was asked for, whatever the reason.
    pub fn flush_asked(&mut self) {
        self.unflushed_records = 0;
    }

    /// What a producer is told of it: None where nobody waits for the disk.
    pub fn synced_told(&self, messages: u64) -> Option<i64> {
        (messages == EVERY_MESSAGE).then_some(self.synced_offset)
    }

    pub fn synced(&mut self, end_offset: i64) {
        self.synced_offset = self.synced_offset.max(end_offset);
        self.handed_offset = self.handed_offset.max(end_offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_committed_and_what_was_not_handed_over_is_known() {
        let mut durability = Durability::at(5);
        assert_eq!(durability.appended(5, 8, EVERY_MESSAGE), Demand::Commit { follows_unsynced: false });
        assert_eq!(durability.appended(8, 9, 100), Demand::Nothing, "flush.messages was changed meanwhile, and back");
        assert_eq!(durability.appended(9, 10, EVERY_MESSAGE), Demand::Commit { follows_unsynced: true });
        durability.synced(20);
        assert_eq!(durability.appended(20, 21, EVERY_MESSAGE), Demand::Commit { follows_unsynced: false });
        assert_eq!(durability.synced_offset, 20);
    }

    #[test]
    fn a_flush_is_asked_for_after_so_many_records_since_the_last_one() {
        let mut durability = Durability::at(0);
        assert_eq!(durability.appended(0, 6, 10), Demand::Nothing);
        assert_eq!(durability.appended(6, 10, 10), Demand::Flush);
        durability.flush_asked();
        assert_eq!(durability.appended(10, 19, 10), Demand::Nothing);
    }
}
