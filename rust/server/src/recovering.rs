//! Recovery after an unclean stop, as it is told: a line of JSON for each log in `recovery-report.jsonl` of its directory, and
//! now and then how far it is.
//!
//! The file is of the last start that was not clean. Nothing here is needed to go on: what cannot be written is told once.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use log::journal::Replayed;
use log::{LogDir, RecoveryReport};

pub const REPORT: &str = "recovery-report.jsonl";
/// What takes less than this is not told in between.
const PERIOD: Duration = Duration::from_secs(5);

/// How far the logs are that are to be recovered, in logs and in the bytes that they hold behind their recovery points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Amount {
    logs: u64,
    bytes: u64,
}

pub struct Recovering {
    left: HashMap<PathBuf, u64>,
    total: Amount,
    done: Amount,
    started: Option<Instant>,
    last_told: Option<Instant>,
    reports: HashMap<PathBuf, Option<File>>,
}

/// The bytes of a log's segments that a recovery from `recovery_point` on looks at.
fn bytes_behind(dir: &Path, recovery_point: i64) -> u64 {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let segment = |file: std::fs::DirEntry| {
        let base = file.file_name().to_str()?.strip_suffix(".log")?.parse::<i64>().ok()?;
        Some((base, file.metadata().ok()?.len()))
    };
    let mut segments: Vec<(i64, u64)> = files.filter_map(segment).collect();
    segments.sort_unstable();
    let first = segments.partition_point(|(base, _)| *base <= recovery_point).saturating_sub(1);
    segments[first..].iter().map(|(_, size)| size).sum()
}

impl Recovering {
    pub fn new<'a>(dirs: impl Iterator<Item = &'a LogDir>) -> Recovering {
        let mut left = HashMap::new();
        for dir in dirs.filter(|dir| !dir.was_clean()) {
            for name in dir.existing().filter(|name| *name != log::log_dirs::METADATA_PARTITION) {
                let Some((topic, partition)) = log::names::parse_partition_dir_name(name) else { continue };
                let path = dir.path().join(name);
                let bytes = bytes_behind(&path, dir.recovery_point(topic, partition));
                left.insert(path, bytes);
            }
        }
        let total = Amount { logs: left.len() as u64, bytes: left.values().sum() };
        let done = Amount::default();
        Recovering { left, total, done, started: None, last_told: None, reports: HashMap::new() }
    }

    /// A log is about to be opened.
    pub fn begins(&mut self, now: Instant) {
        self.started.get_or_insert(now);
    }

    /// A log was opened. Gives a line on how far it all is, where that is due; and what could not be written.
    pub fn opened(
        &mut self,
        report: &RecoveryReport,
        replayed: Option<&Replayed>,
        (now, now_ms): (Instant, i64),
    ) -> (Option<String>, Option<String>) {
        let failed = report.json(replayed, now_ms).and_then(|line| self.write(&report.dir, &line).err());
        let Some(bytes) = self.left.remove(&report.dir) else { return (None, failed) };
        self.done.logs += 1;
        self.done.bytes += bytes;
        let Some(started) = self.started else { return (None, failed) };
        if now.duration_since(self.last_told.unwrap_or(started)) < PERIOD && self.done != self.total {
            return (None, failed);
        }
        let was_long = self.last_told.is_some() || now.duration_since(started) >= PERIOD;
        self.last_told = Some(now);
        (was_long.then(|| progress(self.done, self.total, now.duration_since(started))), failed)
    }

    fn write(&mut self, log: &Path, line: &str) -> Result<(), String> {
        let Some(dir) = log.parent() else { return Ok(()) };
        let path = dir.join(REPORT);
        let told = |error: std::io::Error| format!("{} cannot be written: {error}", path.display());
        if !self.reports.contains_key(dir) {
            let created = File::create(&path).map_err(told);
            let (file, outcome) = match created {
                Ok(file) => (Some(file), Ok(())),
                Err(why) => (None, Err(why)),
            };
            self.reports.insert(dir.to_owned(), file);
            outcome?;
        }
        let Some(report) = self.reports.get_mut(dir) else { return Ok(()) };
        let Some(file) = report else { return Ok(()) };
        let outcome = writeln!(file, "{line}").map_err(told);
        if outcome.is_err() {
            *report = None;
        }
        outcome
    }
}

/// The rate so far, and what it means for what is left.
fn progress(done: Amount, total: Amount, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let rate = done.bytes as f64 / seconds;
    let told = format!(
        "recovery: {} of {} logs, {} of {} MB, {:.0} MB/s",
        done.logs,
        total.logs,
        done.bytes / 1_000_000,
        total.bytes / 1_000_000,
        rate / 1e6
    );
    if done == total {
        return format!("{told}; done in {seconds:.0} s");
    }
    // By bytes where there are any; many small logs cost what their number does.
    let part = |done: u64, total: u64| if total == 0 { 1.0 } else { done as f64 / total as f64 };
    let part = part(done.bytes, total.bytes).min(part(done.logs, total.logs));
    format!("{told}; about {:.0} s left", seconds / part.max(1e-6) - seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(dir: &Path, name: &str) -> RecoveryReport {
        RecoveryReport { dir: dir.join(name), ..RecoveryReport::default() }
    }

    #[test]
    fn a_long_recovery_tells_its_rate_and_what_is_left() {
        let dir = Path::new("/d");
        let left: HashMap<PathBuf, u64> = (0..4).map(|at| (dir.join(format!("t-{at}")), 50_000_000)).collect();
        let total = Amount { logs: 4, bytes: 200_000_000 };
        let (done, reports) = (Amount::default(), HashMap::new());
        let mut all = Recovering { left, total, done, started: None, last_told: None, reports };
        let start = Instant::now();
        all.begins(start);
        let mut at = |name: &str, s: u64| all.opened(&report(dir, name), None, (start + Duration::from_secs(s), 0)).0;
        assert_eq!(at("t-0", 1), None, "too soon");
        assert_eq!(at("new-0", 9), None, "it was not there before");
        let told = at("t-1", 10).unwrap();
        assert_eq!(told, "recovery: 2 of 4 logs, 100 of 200 MB, 10 MB/s; about 10 s left");
        assert_eq!(at("t-2", 11), None);
        assert_eq!(at("t-3", 12).unwrap(), "recovery: 4 of 4 logs, 200 of 200 MB, 17 MB/s; done in 12 s");
    }

    #[test]
    fn only_what_lies_behind_the_recovery_point_counts() {
        let dir = std::env::temp_dir().join(format!("pykafkacore-behind-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        for (base, size) in [(0, 100), (10, 20), (20, 3)] {
            std::fs::write(dir.join(format!("{base:020}.log")), vec![0; size]).unwrap();
        }
        std::fs::write(dir.join(format!("{:020}.index", 0)), [0; 7]).unwrap();
        assert_eq!([0, 9, 10, 15, 20, 99].map(|point| bytes_behind(&dir, point)), [123, 123, 23, 23, 3, 3]);
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(bytes_behind(&dir, 0), 0);
    }
}
