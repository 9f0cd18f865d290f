//! Leadership as state machines: what a broker does with the partitions it hosts. No sockets, no threads, and no clock
//! of its own: `now_ms` is always an argument.
//!
//! ```text
//!   topic       its name and settings                              view        what the control plane decided, as it is read
//!   partition   one replica: its log and high watermark            leadership  what this replica is, and may be asked for
//!   append      what an append is told                             read        what a read is told, and how that is found
//!   waiting     who waits at a partition                           durability  how far its log is on the disk
//!   tail        its newest batches, in memory                      verification  transactions that open on it
//!   produce     a whole Produce request: fan out, collect, answer or wait
//!   fetch       a whole Fetch request: the same, with fetch_session remembering what a reader asked for
//!   purgatory   the one shape in which requests wait
//!   lock        what guards a partition, and all else that event loops share
//! ```

pub mod append;
pub mod durability;
pub mod fetch;
pub mod fetch_session;
pub mod leadership;
pub mod lock;
pub mod partition;
pub mod produce;
pub mod purgatory;
pub mod read;
pub mod tail;
pub mod topic;
pub mod verification;
pub mod view;
pub mod waiting;
