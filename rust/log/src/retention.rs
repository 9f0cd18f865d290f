//! What may go: a plan, made without touching anything. Retention by time and size will stand here too.

use crate::log::Log;

/// How many segments lie wholly before `offset`. The active one never counts.
pub fn segments_below(log: &Log, offset: i64) -> usize {
    log.segments.windows(2).take_while(|pair| pair[1].base_offset <= offset).count()
}
