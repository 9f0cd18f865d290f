//! One of the log directories, as the publisher has it.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use log::journal::Replay;
use log::{FileStorage, LogDir};
use replica::topic::PartitionKey;
use replica::view::Published;
use wire::Uuid;

use crate::config::LogDirConfig;
use crate::disk::DirDisk;
use crate::upcall::{Level, UpcallQueue};

/// One of `log.dirs`, the disk under it, and what its journal still has to give back.
pub struct Dir {
    pub(crate) log_dir: LogDir,
    pub(crate) config: LogDirConfig,
    /// Logs that are here, opened or not yet.
    pub(crate) log_count: usize,
    pub(crate) disk: Arc<DirDisk>,
    pub(crate) replay: Replay,
    /// The partition that was made here last: those of a topic come one after the other.
    pub(crate) last_made: Option<(Uuid, PathBuf)>,
}

impl Dir {
    pub fn start(
        log_dir: LogDir,
        config: LogDirConfig,
        reserve_bytes: u64,
        published: &Arc<Published>,
        upcalls: &Arc<UpcallQueue>,
    ) -> io::Result<Dir> {
        let path = log_dir.path();
        let mut replay = Replay::read(&FileStorage, path).map_err(io::Error::other)?;
        if !replay.is_empty() {
            let place = |name: &str| {
                let id = log::checkpoints::read_partition_metadata(&FileStorage, &path.join(name)).ok().flatten()?;
                Some((id, log::names::parse_partition_dir_name(name)?.1))
            };
            let places: HashSet<PartitionKey> = log_dir.existing().filter_map(place).collect();
            replay.keep(&places);
            replay.finish(&FileStorage).map_err(io::Error::other)?;
        }
        if replay.rotten_rounds > 0 {
            let text = format!("{}: {} rounds of the journal cannot be read", path.display(), replay.rotten_rounds);
            upcalls.notice(Level::Error, text);
        }
        let disk = DirDisk::start(path, reserve_bytes, published.clone(), upcalls.clone())?;
        let log_count = log_dir.existing().filter(|name| *name != log::log_dirs::METADATA_PARTITION).count();
        Ok(Dir { log_dir, config, log_count, disk, replay, last_made: None })
    }

    pub fn disk(&self) -> Arc<DirDisk> {
        self.disk.clone()
    }

    pub(crate) fn takes_new(&self) -> bool {
        self.config.takes_new && self.disk.fenced().is_none()
    }
}
