//! Threads, sockets and timers of the data plane: the only crate that reads a clock or a network.
//!
//! ```text
//!   reactor     one event loop: requests in, answers out        connection  one client
//!   intake      bytes on their way in                           inbox       how a loop is reached
//!   shared      what all loops share                        kept, topic_parts  answers that the control plane has given down
//!   upcall      what goes up to the control plane, bounded      jobs        what it gives down, done on other threads
//!   asked       what the jobs are, and what came of them
//!   publisher   the view changes hands; logs open and close     removal     of those that were deleted
//!   queries     look-ups that may touch the disk
//!   recovering  what a start after an unclean stop tells        strays      logs that belong to no partition here
//!   decided     what coordinators write and read back
//!   dir         a log directory                                 disk        the disk under it
//!   moves       of replicas, from one to another                mover       the thread that does them
//!   housekeeper keeps the logs in order: rounds, cleaning, scrubbing
//!   throttle    what goes slowly on purpose
//!   data_plane  all of it, started and stopped                  sys         what is not the same on every system
//! ```

pub mod asked;
mod bringing;
mod cleaning;
pub mod config;
pub mod connection;
pub mod data_plane;
pub mod decided;
pub mod dir;
pub mod disk;
pub mod housekeeper;
pub mod inbox;
mod intake;
pub mod jobs;
pub mod kept;
mod mover;
mod moves;
mod parked;
pub mod publisher;
pub mod queries;
pub mod reactor;
mod recovering;
mod removal;
mod rounds;
mod scrubbing;
pub mod shared;
mod strays;
pub mod sys;
mod sys_options;
mod throttle;
pub mod topic_parts;
pub mod upcall;

pub use config::{ListenerConfig, ServerConfig};
pub use data_plane::DataPlane;
