//! What a pass over a log knows of transactions: whose data are aborted, and which markers end nothing that is still there.
//!
//! ```text
//!   data of an aborted transaction   may go
//!   abort marker                     may go once no batch of its transaction was passed; till then it is indexed
//!   commit marker                    may go once no batch of its transaction was passed
//! ```
//! An empty batch that is kept for its sequence counts as passed.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use record::BatchView;
use record::control::ControlType;
use record::{Records, Result};

use crate::txn_index::AbortedTransaction;

struct Ongoing {
    transaction: AbortedTransaction,
    was_passed: bool,
}

#[derive(Default)]
pub struct PassedTransactions {
    /// By first offset.
    aborted: BinaryHeap<Reverse<(i64, i64, i64, i64)>>,
    ongoing_aborted: HashMap<i64, Ongoing>,
    ongoing_committed: HashSet<i64>,
    /// Aborted transactions of which something stays: the index of the cleaned segment.
    pub kept: Vec<AbortedTransaction>,
}

impl PassedTransactions {
    pub fn new(aborted: &[AbortedTransaction]) -> PassedTransactions {
        let entry =
            |a: &AbortedTransaction| Reverse((a.first_offset, a.producer_id, a.last_offset, a.last_stable_offset));
        PassedTransactions { aborted: aborted.iter().map(entry).collect(), ..PassedTransactions::default() }
    }

    fn begin_up_to(&mut self, offset: i64) {
        while let Some(Reverse((first_offset, producer_id, last_offset, last_stable_offset))) =
            self.aborted.peek().copied().filter(|Reverse(entry)| entry.0 <= offset)
        {
            self.aborted.pop();
            let transaction = AbortedTransaction { producer_id, first_offset, last_offset, last_stable_offset };
            self.ongoing_aborted.entry(producer_id).or_insert(Ongoing { transaction, was_passed: false });
        }
    }

    /// Passes a batch, in order; true if it may go.
    pub fn pass(&mut self, batch: &BatchView<'_>) -> Result<bool> {
        if !batch.is_control() && !batch.is_transactional() {
            return Ok(false);
        }
        self.begin_up_to(batch.last_offset());
        if batch.is_control() { self.pass_marker(batch) } else { Ok(self.pass_data(batch)) }
    }

    fn pass_data(&mut self, batch: &BatchView<'_>) -> bool {
        match self.ongoing_aborted.get_mut(&batch.producer_id()) {
            Some(ongoing) => {
                ongoing.was_passed = true;
                true
            }
            None => {
                self.ongoing_committed.insert(batch.producer_id());
                false
            }
        }
    }

    fn pass_marker(&mut self, batch: &BatchView<'_>) -> Result<bool> {
        // One that was emptied before stands for nothing any more.
        let Some(record) = Records::new(batch.payload(), batch.record_count()).next() else { return Ok(true) };
        let producer_id = batch.producer_id();
        Ok(match ControlType::from_key(record?.key.unwrap_or_default())? {
            ControlType::Abort => match self.ongoing_aborted.remove(&producer_id) {
                Some(ongoing) if ongoing.was_passed => {
                    self.kept.push(ongoing.transaction);
                    false
                }
                _ => true,
            },
            ControlType::Commit => !self.ongoing_committed.remove(&producer_id),
            _ => false,
        })
    }
}
