//! What opening a log came to: as a line for people, and as one of JSON for programs.
//!
//! ```text
//!   {"time_ms":1700000000000,"directory":"/d/orders-3","stop":"unknown","recovery_point":120,"log_start_offset":0,
//!    "log_end_offset":180,"kept_bytes":52000,"scanned_bytes":8000,"skimmed_bytes":0,
//!    "truncated":{"at_offset":180,"lost_bytes":70,"is_rot":false,"why":"no whole batch at position 8000"},
//!    "rebuilt":["index"],"journal":{"batches":2,"lost_from":null}}
//! ```

use std::fmt::Write;
use std::path::PathBuf;

use crate::journal::Replayed;

/// What an unclean stop may have done to what was written and not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Anything: the machine may have lost power.
    Unknown,
    /// Only the process ended: each write is there, but for the end of the last one.
    Killed,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    pub dir: PathBuf,
    pub created: bool,
    /// None where a clean stop was trusted.
    pub recovered: Option<Recovered>,
    /// Bytes of which every batch was read and checked, and of which only the headers were.
    pub scanned_bytes: u64,
    pub skimmed_bytes: u64,
    pub truncated: Option<Truncated>,
    /// What was lost or damaged, and has been made anew from the batches.
    pub remade: Vec<&'static str>,
}

/// Facts of a recovery, as it began and ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    pub stop: Stop,
    pub recovery_point: i64,
    pub log_start_offset: i64,
    pub log_end_offset: i64,
    pub kept_bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truncated {
    pub at_offset: i64,
    pub lost_bytes: u64,
    /// A sound batch stands behind the one that is not: no torn write, but a disk that lost what it had.
    pub is_rot: bool,
    pub why: String,
}

impl RecoveryReport {
    /// A line for the log, if there is anything to say.
    pub fn told(&self) -> Option<String> {
        let mut told = Vec::new();
        if let Some(Truncated { at_offset, lost_bytes, is_rot, why }) = &self.truncated {
            let rot = if *is_rot { "rot, with sound batches behind it: " } else { "" };
            told.push(format!("cut at offset {at_offset} ({lost_bytes} bytes dropped): {rot}{why}"));
        } else if self.scanned_bytes > 0 {
            told.push(format!("recovered, {} bytes scanned", self.scanned_bytes));
        }
        if !self.remade.is_empty() {
            told.push(format!("made anew: {}", self.remade.join(", ")));
        }
        (!told.is_empty()).then(|| format!("{}: {}", self.dir.display(), told.join("; ")))
    }

    /// A line of JSON, if the log was recovered. What the journal gave back stands behind `log_end_offset`.
    pub fn json(&self, replayed: Option<&Replayed>, time_ms: i64) -> Option<String> {
        let Recovered { stop, recovery_point, log_start_offset, log_end_offset, kept_bytes } = self.recovered?;
        let stop = match stop {
            Stop::Killed => "killed",
            Stop::Unknown => "unknown",
        };
        let truncated = self.truncated.as_ref().map(|Truncated { at_offset, lost_bytes, is_rot, why }| {
            let why = quoted(why);
            format!(r#"{{"at_offset":{at_offset},"lost_bytes":{lost_bytes},"is_rot":{is_rot},"why":{why}}}"#)
        });
        let journal = replayed.map(|Replayed { batch_count, lost_from }| {
            let lost_from = or_null(lost_from.map(|offset| offset.to_string()));
            format!(r#"{{"batches":{batch_count},"lost_from":{lost_from}}}"#)
        });
        let rebuilt: Vec<String> = self.remade.iter().map(|what| quoted(what)).collect();
        Some(format!(
            concat!(
                r#"{{"time_ms":{},"directory":{},"stop":"{}","recovery_point":{},"log_start_offset":{},"#,
                r#""log_end_offset":{},"kept_bytes":{},"scanned_bytes":{},"skimmed_bytes":{},"truncated":{},"#,
                r#""rebuilt":[{}],"journal":{}}}"#
            ),
            time_ms,
            quoted(&self.dir.display().to_string()),
            stop,
            recovery_point,
            log_start_offset,
            log_end_offset,
            kept_bytes,
            self.scanned_bytes,
            self.skimmed_bytes,
            or_null(truncated),
            rebuilt.join(","),
            or_null(journal),
        ))
    }
}

fn or_null(text: Option<String>) -> String {
    text.unwrap_or_else(|| "null".to_owned())
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c < ' ' => drop(write!(quoted, "\\u{:04x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_was_trusted_has_no_line() {
        assert_eq!(RecoveryReport::default().json(None, 1), None);
    }

    #[test]
    fn what_would_end_a_text_of_json_is_escaped() {
        assert_eq!(quoted("a\"b\\c\n\u{e4}"), "\"a\\\"b\\\\c\\u000a\u{e4}\"");
    }
}
