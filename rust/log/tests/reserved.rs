//! Room that is set aside for a log in the file system: nobody reading the log or its files sees it, and what is left of it
//! goes back.

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use common::*;
use log::storage::FileStorage;
use log::{Log, OpenOptions};
use record::BatchFacts;

struct Dir(PathBuf);

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn files_are_as_long_as_their_batches_and_keep_no_room_when_they_are_sealed_or_closed() {
    let dir = Dir(std::env::temp_dir().join(format!("reserved-{}", std::process::id())));
    let options = OpenOptions {
        storage: Arc::new(FileStorage),
        dir: dir.0.clone(),
        topic_id: TOPIC_ID,
        sibling: None,
        config: config(3 << 20),
        clean_shutdown: true,
        recovery_point: 0,
        log_start_offset: None,
        now_ms: 1,
    };
    let (mut log, _) = Log::open(options).unwrap();
    let one = batch(1, 1000, BatchFacts::default());
    let mut appended_bytes = 0;
    while appended_bytes < 5 << 20 {
        log.append_as_leader(&mut one.clone(), 0, 1).unwrap();
        appended_bytes += one.len() as u64;
    }
    let files = || {
        let logs = fs::read_dir(&dir.0).unwrap().map(|entry| entry.unwrap());
        let logs = logs.filter(|entry| entry.file_name().to_string_lossy().ends_with(".log"));
        logs.map(|entry| entry.metadata().unwrap()).collect::<Vec<_>>()
    };
    let bytes = |files: &[fs::Metadata]| files.iter().map(fs::Metadata::len).sum::<u64>();
    let found = files();
    assert_eq!(found.len(), 2);
    assert_eq!(bytes(&found), appended_bytes);
    assert_eq!(log.size_bytes(), appended_bytes);
    log.close_clean(1).unwrap();
    let found = files();
    assert_eq!(bytes(&found), appended_bytes);
    let idle_bytes = found.iter().map(|file| (file.blocks() * 512).saturating_sub(file.len())).max();
    assert!(idle_bytes < Some(128 << 10), "{idle_bytes:?} bytes are kept for nothing");
}
