//! Leadership as state machines: what a broker does with the partitions it hosts. No sockets, no threads, and no clock
//! of its own: `now_ms` is always an argument.
//!
//! ```text
//!   topic     its name and settings
//!   view      what the control plane decided, as the data plane reads it
//!   partition one replica: append, read, high watermark, who watches it, what it asks of the disk under its log
//!   durability  how far the log is on that disk
//!   produce   a whole Produce request: fan out, collect, answer or wait
//!   fetch     a whole Fetch request: the same, with fetch_session remembering what a reader asked for
//!   purgatory the one shape in which requests wait
//!   lock      what guards a partition, and all else that event loops share
//!   tail      the newest batches of a partition, in memory
//! ```

pub mod durability;
pub mod fetch;
pub mod fetch_session;
pub mod lock;
pub mod partition;
pub mod produce;
pub mod purgatory;
pub mod tail;
pub mod topic;
pub mod verification;
pub mod view;
