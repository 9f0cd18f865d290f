//! Before the first batch of a transaction is appended to a partition, the transaction's coordinator must have said that
//! the partition is part of it (KIP-890). Else a late batch would open a transaction that nobody will ever end.
//!
//! ```text
//!   begin (a guard, before the coordinator is asked) --confirm--> confirmed --first append--> the log knows it is open
//!     any marker of the producer between them: the guard is gone, and so is what the coordinator said
//! ```
//!
//! INVARIANT: a confirmation counts only for the guard that stood when the coordinator was asked.

use std::collections::HashMap;

use log::{Log, ProducerCheck};
use record::BatchView;
use wire::ErrorCode;

use crate::append::ProduceFailure;

/// Produce versions from which a transactional batch adds its partition to the transaction itself, and from which a client
/// knows that it may abort and go on (KIP-890).
const ADDS_PARTITIONS_FROM: i16 = 12;
const ABORTABLE_FROM: i16 = 11;

/// Producers that asked and never wrote are forgotten beyond so many.
const GUARDS_MAX: usize = 10_000;

struct Guard {
    producer_epoch: i16,
    number: u64,
    confirmed: bool,
    /// The lowest sequence that waited here: a batch behind it must not go first.
    lowest_sequence: i32,
}

#[derive(Default)]
pub struct Verifications {
    guards: HashMap<i64, Guard>,
    next_number: u64,
}

impl Verifications {
    /// Gives the number of the guard. Batches that come while one of the same epoch stands share it.
    fn begin(&mut self, producer_id: i64, producer_epoch: i16, first_sequence: i32) -> u64 {
        if let Some(guard) = self.guards.get_mut(&producer_id)
            && guard.producer_epoch == producer_epoch
        {
            guard.lowest_sequence = guard.lowest_sequence.min(first_sequence);
            return guard.number;
        }
        if self.guards.len() >= GUARDS_MAX {
            self.guards.clear();
        }
        self.next_number += 1;
        let number = self.next_number;
        let guard = Guard { producer_epoch, number, confirmed: false, lowest_sequence: first_sequence };
        self.guards.insert(producer_id, guard);
        number
    }

    pub fn confirm(&mut self, producer_id: i64, number: u64) {
        if let Some(guard) = self.guards.get_mut(&producer_id).filter(|guard| guard.number == number) {
            guard.confirmed = true;
        }
    }

    /// The lowest sequence that may open the transaction, if the coordinator has confirmed it.
    fn confirmed(&self, producer_id: i64, producer_epoch: i16) -> Option<i32> {
        let guard = self.guards.get(&producer_id)?;
        (guard.confirmed && guard.producer_epoch == producer_epoch).then_some(guard.lowest_sequence)
    }

    /// The transaction is open, or has ended.
    pub fn forget(&mut self, producer_id: i64) {
        self.guards.remove(&producer_id);
    }

    /// The number of the guard, if the coordinator of this batch's transaction is to be asked before it may be appended.
    pub fn must_ask(&mut self, log: &Log, batch: &BatchView<'_>) -> Option<u64> {
        let (id, epoch) = (batch.producer_id(), batch.producer_epoch());
        if log.has_open_transaction(id, epoch) || self.confirmed(id, epoch).is_some() || is_duplicate(log, batch) {
            return None;
        }
        Some(self.begin(id, epoch, batch.base_sequence()))
    }

    /// Whether a transactional batch may be appended: to an open transaction, or as the first of one that was confirmed.
    pub fn check(&self, log: &Log, batch: &BatchView<'_>, api_version: i16) -> Result<(), ProduceFailure> {
        let (id, epoch, first) = (batch.producer_id(), batch.producer_epoch(), batch.base_sequence());
        if log.has_open_transaction(id, epoch) || is_duplicate(log, batch) {
            return Ok(());
        }
        let Some(lowest_sequence) = self.confirmed(id, epoch) else {
            let error = if api_version >= ABORTABLE_FROM {
                ErrorCode::TRANSACTION_ABORTABLE
            } else {
                ErrorCode::INVALID_TXN_STATE
            };
            let message =
                format!("the transaction of producer_id {id} has no part in this partition; abort it and begin anew");
            return Err(ProduceFailure::new(error, message));
        };
        let lowest_sequence = if api_version >= ADDS_PARTITIONS_FROM { 0 } else { lowest_sequence };
        if first > lowest_sequence && !log.knows_producer(id) {
            let message = format!(
                "base_sequence {first} of producer_id {id} cannot open a transaction: {lowest_sequence} comes first"
            );
            return Err(ProduceFailure::new(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, message));
        }
        Ok(())
    }
}

/// A batch that stands in the log already opens nothing.
fn is_duplicate(log: &Log, batch: &BatchView<'_>) -> bool {
    matches!(log.check_producer(batch), Ok(ProducerCheck::Duplicate { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confirmation_counts_for_its_own_guard_and_epoch_only() {
        let mut verifications = Verifications::default();
        let number = verifications.begin(9, 3, 0);
        assert_eq!(verifications.confirmed(9, 3), None);
        verifications.confirm(9, number);
        assert_eq!(verifications.confirmed(9, 3), Some(0));
        assert_eq!(verifications.confirmed(9, 4), None);
    }

    #[test]
    fn a_marker_between_asking_and_the_answer_undoes_it() {
        let mut verifications = Verifications::default();
        let number = verifications.begin(9, 3, 0);
        verifications.forget(9);
        verifications.confirm(9, number);
        assert_eq!(verifications.confirmed(9, 3), None);
        let other = verifications.begin(9, 3, 0);
        verifications.confirm(9, number);
        assert_eq!(verifications.confirmed(9, 3), None, "the old answer is not the new guard's");
        verifications.confirm(9, other);
        assert!(verifications.confirmed(9, 3).is_some());
    }

    #[test]
    fn batches_that_wait_together_share_a_guard_and_the_lowest_goes_first() {
        let mut verifications = Verifications::default();
        let number = verifications.begin(9, 3, 5);
        assert_eq!(verifications.begin(9, 3, 0), number);
        verifications.confirm(9, number);
        assert_eq!(verifications.confirmed(9, 3), Some(0));
    }
}
