//! Which files of a partition's directory make its log: what an interrupted change left behind is finished or undone
//! before anything is opened.
//!
//! ```text
//!   .deleted .cleaned   half gone or half made: removed
//!   .swap               whole, and about to stand for the segments that it covers: those are removed, it is renamed.
//!                       Unless a .cleaned with the same or a smaller offset shows that it was not whole yet: removed
//!   .index .timeindex .txnindex without a .log: removed
//! ```
//!
//! INVARIANT: a power failure in the middle of this leaves what can be told apart again: what a name stands for is gone from the
//! disk before that name is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::index::Hint;
use crate::names::{file_name, parse_file_name};
use crate::segment::{Segment, SegmentFiles};
use crate::storage::{Storage, remove_if_there};
use crate::{Error, Result, leader_epochs};

const SWAP: &str = ".swap";

/// What lies in a partition's directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Rising.
    pub segments: Vec<SegmentFiles>,
    pub has_epochs: bool,
    /// Of which offsets there are snapshots, rising.
    pub snapshots: Vec<i64>,
}

struct Directory<'a> {
    storage: &'a dyn Storage,
    path: &'a Path,
    names: BTreeSet<String>,
    changed: bool,
}

/// Finishes or undoes what was interrupted, and tells what there is.
pub fn arrange(storage: &dyn Storage, path: &Path) -> Result<Layout> {
    let names = storage.list(path).map_err(|e| Error::storage(path, e))?.into_iter().collect();
    let mut dir = Directory { storage, path, names, changed: false };
    dir.drop_unfinished()?;
    dir.finish_swaps()?;
    dir.drop_orphans()?;
    dir.sync()?;
    Ok(Layout {
        segments: dir.of(".log").map(|base_offset| dir.segment(base_offset)).collect::<Result<_>>()?,
        has_epochs: dir.names.contains(leader_epochs::FILE_NAME),
        snapshots: dir.of(".snapshot").collect(),
    })
}

impl Directory<'_> {
    fn remove(&mut self, name: &str) -> Result<()> {
        if self.names.remove(name) {
            remove_if_there(self.storage, &self.path.join(name))?;
            self.changed = true;
        }
        Ok(())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn size(&self, name: &str) -> Result<u64> {
        let path = self.file(name);
        self.storage.size(&path).map_err(|e| Error::storage(&path, e))
    }

    fn segment(&self, base_offset: i64) -> Result<SegmentFiles> {
        let there = |suffix| self.names.contains(&file_name(base_offset, suffix));
        Ok(SegmentFiles {
            base_offset,
            size: self.size(&file_name(base_offset, ".log"))?,
            has_offset_index: there(".index"),
            has_time_index: there(".timeindex"),
            has_txn_index: there(".txnindex"),
        })
    }

    /// What was changed so far is on the disk.
    fn sync(&self) -> Result<()> {
        if !self.changed {
            return Ok(());
        }
        self.storage.sync_dir(self.path).map_err(|e| Error::storage(self.path, e))
    }

    /// Base offsets of the files that have this very suffix.
    fn of(&self, suffix: &str) -> impl Iterator<Item = i64> {
        let parsed = self.names.iter().filter_map(|name| parse_file_name(name));
        parsed.filter(move |(_, found)| *found == suffix).map(|(base_offset, _)| base_offset)
    }

    /// Names that end with `ending`, with their base offset.
    fn ending(&self, ending: &str) -> Vec<(i64, String)> {
        let base = |name: &String| Some((parse_file_name(name)?.0, name.clone()));
        self.names.iter().filter(|name| name.ends_with(ending)).filter_map(base).collect()
    }

    fn drop_unfinished(&mut self) -> Result<()> {
        let cleaned = self.ending(".cleaned");
        if let Some(smallest) = cleaned.iter().map(|(base_offset, _)| *base_offset).min() {
            // Written before any `.cleaned` of theirs was complete: a split that had not come to its end.
            for (_, name) in self.ending(SWAP).iter().filter(|(base_offset, _)| *base_offset >= smallest) {
                self.remove(name)?;
            }
            // Without the `.cleaned` beside it, half a split looks whole.
            self.sync()?;
        }
        for (_, name) in cleaned.iter().chain(&self.ending(".deleted")) {
            self.remove(name)?;
        }
        Ok(())
    }

    fn finish_swaps(&mut self) -> Result<()> {
        for (base_offset, name) in self.ending(".log.swap") {
            let size = self.size(&name)?;
            let mut segment = Segment::blank(self.file(&name), base_offset, 0);
            segment.size = size;
            let mut end_offset = base_offset.saturating_add(1);
            let walked = segment.walk(self.storage, Hint::START, |found, _| {
                end_offset = end_offset.max(found.last_offset.saturating_add(1));
                true
            });
            let whole = match walked {
                Ok(end) => end == size,
                Err(Error::Corrupt { .. }) => false,
                Err(error) => return Err(error),
            };
            if !whole {
                // The disk lost a part of it. What it should have stood for is the better copy, if that is still there.
                if self.names.contains(&file_name(base_offset, ".log")) {
                    for suffix in Segment::file_suffixes() {
                        self.remove(&(file_name(base_offset, suffix) + SWAP))?;
                    }
                }
                continue;
            }
            for (covered, name) in self.ending(".log") {
                if (base_offset..end_offset).contains(&covered) {
                    self.remove(&name)?;
                    for suffix in &Segment::file_suffixes()[1..] {
                        self.remove(&file_name(covered, suffix))?;
                    }
                }
            }
        }
        // Under its own name a segment replaces nothing: what it covers would overlap it, and take all that follows along.
        self.sync()?;
        // Also what is left of a group whose `.log` was renamed before.
        for (_, name) in self.ending(SWAP) {
            let target = name[..name.len() - SWAP.len()].to_owned();
            let (from, to) = (self.file(&name), self.file(&target));
            self.storage.rename(&from, &to).map_err(|e| Error::storage(&from, e))?;
            self.names.remove(&name);
            self.names.insert(target);
            self.changed = true;
        }
        Ok(())
    }

    fn drop_orphans(&mut self) -> Result<()> {
        for suffix in &Segment::file_suffixes()[1..] {
            for (base_offset, name) in self.ending(suffix) {
                if !self.names.contains(&file_name(base_offset, ".log")) {
                    self.remove(&name)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use record::{BatchBuilder, BatchFacts, NewRecord};

    use super::*;
    use crate::memory::MemoryStorage;

    const DIR: &str = "/d/t-0";

    fn put(storage: &MemoryStorage, base_offset: i64, suffix: &str, bytes: &[u8]) {
        storage.write_atomically(&Path::new(DIR).join(file_name(base_offset, suffix)), bytes, true).unwrap();
    }

    fn batch(base_offset: i64) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchFacts { base_offset, ..BatchFacts::default() });
        for _ in 0..10 {
            builder.push(NewRecord::default());
        }
        builder.build().unwrap()
    }

    fn segments(storage: &MemoryStorage) -> Vec<SegmentFiles> {
        arrange(storage, Path::new(DIR)).unwrap().segments
    }

    fn names(storage: &MemoryStorage) -> Vec<String> {
        let mut names: Vec<_> = storage.list(Path::new(DIR)).unwrap();
        names.sort();
        names
    }

    #[test]
    fn half_made_and_half_gone_files_are_removed() {
        let storage = MemoryStorage::default();
        for (base_offset, suffix) in [(0, ".log"), (0, ".log.cleaned"), (5, ".log.deleted"), (9, ".index")] {
            put(&storage, base_offset, suffix, b"");
        }
        assert_eq!(segments(&storage).len(), 1);
        assert_eq!(names(&storage), [file_name(0, ".log")]);
    }

    #[test]
    fn a_whole_swap_takes_the_place_of_the_segments_that_it_covers() {
        let storage = MemoryStorage::default();
        for base_offset in [0, 10, 20] {
            put(&storage, base_offset, ".log", &batch(base_offset));
            put(&storage, base_offset, ".index", b"");
        }
        put(&storage, 0, ".log.swap", &[batch(0), batch(10)].concat());
        put(&storage, 0, ".index.swap", b"12345678");
        let found = segments(&storage);
        assert_eq!(found.iter().map(|files| files.base_offset).collect::<Vec<_>>(), [0, 20]);
        assert_eq!(found[0].size as usize, 2 * batch(0).len());
        let left =
            [(0, ".index"), (0, ".log"), (20, ".index"), (20, ".log")].map(|(base, suffix)| file_name(base, suffix));
        assert_eq!(names(&storage), left);
    }

    #[test]
    fn a_swap_that_lost_a_part_does_not_replace_anything() {
        let storage = MemoryStorage::default();
        put(&storage, 0, ".log", &batch(0));
        put(&storage, 0, ".log.swap", &batch(0)[..70]);
        let found = segments(&storage);
        assert_eq!(found[0].size as usize, batch(0).len());
        assert_eq!(names(&storage), [file_name(0, ".log")]);
    }

    #[test]
    fn a_swap_beside_the_half_made_rest_of_its_split_is_undone() {
        let storage = MemoryStorage::default();
        put(&storage, 0, ".log", &[batch(0), batch(10)].concat());
        put(&storage, 0, ".log.cleaned", &batch(0));
        put(&storage, 10, ".log.swap", &batch(10));
        assert_eq!(segments(&storage).len(), 1);
        assert_eq!(names(&storage), [file_name(0, ".log")]);
    }

    /// What arranging leaves where the power fails before any of its changes, and everything is arranged again.
    fn after_power_failures(prepare: impl Fn(&MemoryStorage), expected: &[(i64, usize)]) {
        for changes in 0..24 {
            for seed in 0..40 {
                let storage = MemoryStorage::default();
                prepare(&storage);
                storage.sync_everything();
                storage.fail_after(changes);
                let _ = arrange(&storage, Path::new(DIR));
                let found = segments(&storage.power_loss(seed));
                let found: Vec<_> = found.iter().map(|files| (files.base_offset, files.size as usize)).collect();
                assert_eq!(found, expected, "the power failed before change {changes}, seed {seed}");
            }
        }
    }

    #[test]
    fn a_power_failure_while_a_swap_is_finished_leaves_nothing_that_overlaps_it() {
        let bytes = batch(0).len();
        let prepare = |storage: &MemoryStorage| {
            for base_offset in [0, 10, 20] {
                put(storage, base_offset, ".log", &batch(base_offset));
                put(storage, base_offset, ".index", b"");
            }
            for suffix in [".log.swap", ".index.swap", ".timeindex.swap"] {
                put(storage, 0, suffix, &[batch(0), batch(10)].concat());
            }
        };
        after_power_failures(prepare, &[(0, 2 * bytes), (20, bytes)]);
    }

    #[test]
    fn a_power_failure_while_half_a_split_is_undone_does_not_make_it_look_whole() {
        let bytes = batch(0).len();
        let prepare = |storage: &MemoryStorage| {
            put(storage, 0, ".log", &[batch(0), batch(10)].concat());
            put(storage, 0, ".log.cleaned", &batch(0));
            put(storage, 10, ".log.swap", &batch(10));
        };
        after_power_failures(prepare, &[(0, 2 * bytes)]);
    }
}
