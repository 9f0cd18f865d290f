//! What the data plane is told at start. Every value comes from the control plane's table of configs; no defaults here.

use std::path::PathBuf;
use std::time::Duration;

use wire::header::Api;

#[derive(Clone, Debug)]
pub struct ListenerConfig {
    pub name: String,
    pub host: String,
    pub port: u16,
    /// Produce and Fetch are answered here. A controller listener hands every request up.
    pub serves_records: bool,
}

/// One of the directories that this node uses.
#[derive(Clone, Debug)]
pub struct LogDirConfig {
    pub path: PathBuf,
    /// `directory.id` of its meta.properties.
    pub id: wire::Uuid,
    /// New partitions may be placed here: it is one of `log.dirs`, and not cordoned.
    pub takes_new: bool,
}

#[derive(Clone, Debug)]
pub struct ServerConfig {
    pub node_id: i32,
    pub listeners: Vec<ListenerConfig>,
    pub log_dirs: Vec<LogDirConfig>,
    /// Another one of `log.dirs` could not be used.
    pub is_dir_away: bool,
    pub apis: Vec<Api>,
    /// `num.network.threads`, bounded to the cores at hand.
    pub reactor_count: usize,
    /// `socket.request.max.bytes`
    pub request_bytes_max: usize,
    /// `socket.send.buffer.bytes` and `socket.receive.buffer.bytes`, where they are set; else the system tunes them.
    pub send_buffer_bytes: Option<usize>,
    pub receive_buffer_bytes: Option<usize>,
    /// `connections.max.idle.ms`; None never closes.
    pub idle_ms_max: Option<u64>,
    /// `max.connections`
    pub connections_max: usize,
    /// `max.connections.per.ip`
    pub connections_per_ip_max: usize,
    /// `queued.max.requests`: the upcalls that may wait for the control plane.
    pub queued_requests_max: usize,
    /// `queued.max.request.bytes`; None is unlimited.
    pub queued_request_bytes_max: Option<usize>,
    /// `fetch.max.bytes`
    pub fetch_bytes_max: usize,
    /// `max.incremental.fetch.session.cache.slots`
    pub fetch_session_slots: usize,
    /// What the hot tails of all partitions may hold together, and one of them alone.
    pub tail_bytes_max: usize,
    pub tail_partition_bytes_max: usize,
    /// `log.reserve.bytes`: with less than this left in a log directory, clients may write nothing there.
    pub reserve_bytes: u64,
    /// `replica.alter.log.dirs.io.max.bytes.per.second`
    pub move_bytes_per_s: u64,
    /// Seeds fetch session ids.
    pub seed: u64,
}

/// What the housekeeper goes by. Changes hold from its next pass on.
#[derive(Clone, Debug)]
pub struct Housekeeping {
    /// `log.initial.task.delay.ms`
    pub initial_delay: Duration,
    /// `log.retention.check.interval.ms`
    pub retention_period: Duration,
    /// `producer.id.expiration.check.interval.ms`
    pub producer_expiration_period: Duration,
    /// None where `log.cleaner.enable` is off.
    pub compaction: Option<Compaction>,
    /// `log.cleaner.backoff.ms`
    pub compaction_period: Duration,
    /// `log.scrub.bytes.per.second`; 0 is never.
    pub scrub_bytes_per_s: u64,
}

/// `log.cleaner.*`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compaction {
    pub dedupe_bytes: usize,
    pub load_factor: f64,
    pub io_buffer_bytes: usize,
    pub bytes_per_s: f64,
}
