//! Metadata of topics by their names, put together from parts: what is told of each topic, and what stands around all of them.
//! The control plane makes each part once, and takes back those that a change has made untrue.
//!
//! INVARIANT: an answer is made of parts that stand; where one is missing, the control plane answers.
//! INVARIANT: what is kept is bounded in bytes, and so is an answer, since an event loop puts it together: a larger one the control
//! plane makes once, and it is kept as a whole.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use replica::lock::SharedLock;
use wire::Writer;
use wire::metadata::{is_flexible, topic_names};

const PARTS_BYTES_MAX: usize = 16 << 20;
const ENTRY_BYTES: usize = 64;
const ANSWER_TOPICS_MAX: usize = 256;
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// An API version, and the listener that was asked.
pub type Kind = (i16, usize);

/// All that is told in answers of one kind.
struct Parts {
    before: Box<[u8]>,
    behind: Box<[u8]>,
    topics: HashMap<Box<[u8]>, Box<[u8]>>,
}

#[derive(Default)]
struct Held {
    kinds: HashMap<Kind, Parts>,
    bytes: usize,
}

#[derive(Default)]
pub struct TopicParts(SharedLock<Held>);

fn bytes_of(name: &[u8], part: &[u8]) -> usize {
    ENTRY_BYTES + name.len() + part.len()
}

impl TopicParts {
    /// Begins a kind, anew if it is known, whose topics are then told no more: what stands before and behind them and their count.
    pub fn begin(&self, kind: Kind, before: &[u8], behind: &[u8]) {
        let parts = Parts { before: before.into(), behind: behind.into(), topics: HashMap::new() };
        let held = &mut *self.0.write();
        if let Some(old) = held.kinds.insert(kind, parts) {
            held.bytes -= old.topics.iter().map(|(name, part)| bytes_of(name, part)).sum::<usize>();
        }
    }

    /// What is told of topics, by their names. False if there was no room, or no such kind.
    pub fn keep<'a>(&self, kind: Kind, topics: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> bool {
        let held = &mut *self.0.write();
        let Some(parts) = held.kinds.get_mut(&kind) else { return false };
        for (name, part) in topics {
            if held.bytes + bytes_of(name, part) > PARTS_BYTES_MAX {
                return false;
            }
            held.bytes += bytes_of(name, part);
            if let Some(before) = parts.topics.insert(name.into(), part.into()) {
                held.bytes -= bytes_of(name, &before);
            }
        }
        true
    }

    /// What was told of these topics stands no more.
    pub fn forget(&self, names: impl Iterator<Item: AsRef<[u8]>>) {
        let held = &mut *self.0.write();
        for name in names {
            for parts in held.kinds.values_mut() {
                if let Some(part) = parts.topics.remove(name.as_ref()) {
                    held.bytes -= bytes_of(name.as_ref(), &part);
                }
            }
        }
    }

    /// The answer to a question of this kind, if all of its parts are here.
    pub fn answer(&self, kind: Kind, question: &[u8]) -> Option<Bytes> {
        let held = self.0.read();
        let parts = held.kinds.get(&kind)?;
        let names = topic_names(question, kind.0).filter(|names| names.len() <= ANSWER_TOPICS_MAX)?;
        let (mut seen, mut found) = (HashSet::with_capacity(names.len()), Vec::with_capacity(names.len()));
        for name in names.iter().map(|name| name.of(question)) {
            found.push(parts.topics.get(name).filter(|_| seen.insert(name))?);
        }
        let around_bytes = parts.before.len() + size_of::<u64>() + parts.behind.len();
        let bytes = around_bytes + found.iter().map(|part| part.len()).sum::<usize>();
        if bytes > ANSWER_BYTES_MAX {
            return None;
        }
        let mut writer = Writer::with_capacity(bytes);
        writer.bytes.extend_from_slice(&parts.before);
        writer.array_count(found.len(), is_flexible(kind.0));
        found.iter().for_each(|part| writer.bytes.extend_from_slice(part));
        writer.bytes.extend_from_slice(&parts.behind);
        Some(writer.bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = (9, 0);

    fn question(names: &[&[u8]]) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.array_count(names.len(), true);
        for name in names {
            writer.string(name, true);
            writer.no_tags(true);
        }
        [&writer.bytes[..], &[1, 0, 0, 0]].concat()
    }

    fn parts() -> TopicParts {
        let parts = TopicParts::default();
        parts.begin(KIND, b"before", b"behind");
        assert!(parts.keep(KIND, [(&b"a"[..], &b"AA"[..]), (b"b", b"BB")].into_iter()));
        parts
    }

    #[test]
    fn an_answer_is_put_together_in_the_order_of_the_question() {
        let parts = parts();
        assert_eq!(parts.answer(KIND, &question(&[b"b", b"a"])).as_deref(), Some(&b"before\x03BBAAbehind"[..]));
        assert_eq!(parts.answer(KIND, &question(&[b"b"])).as_deref(), Some(&b"before\x02BBbehind"[..]));
        assert_eq!(parts.answer(KIND, &question(&[b"b", b"c"])), None, "one is not known");
        assert_eq!(parts.answer(KIND, &question(&[b"b", b"b"])), None, "told once, which is left to the control plane");
        assert_eq!(parts.answer((8, 0), &question(&[b"b"])), None, "another version");
        assert_eq!(parts.answer((9, 1), &question(&[b"b"])), None, "another listener");
    }

    #[test]
    fn what_is_taken_back_is_told_no_more() {
        let parts = parts();
        parts.forget([b"b", b"c"].into_iter());
        assert_eq!(parts.answer(KIND, &question(&[b"b"])), None);
        assert!(parts.answer(KIND, &question(&[b"a"])).is_some());
        assert!(parts.keep(KIND, [(&b"b"[..], &b"anew"[..])].into_iter()));
        assert_eq!(parts.answer(KIND, &question(&[b"b"])).as_deref(), Some(&b"before\x02anewbehind"[..]));
        parts.begin(KIND, b"anew", b"behind");
        assert_eq!(parts.answer(KIND, &question(&[b"a"])), None);
        assert_eq!(parts.0.read().bytes, 0);
        assert!(!parts.keep((8, 0), [(&b"a"[..], &b"AA"[..])].into_iter()), "it was not begun");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let parts = parts();
        let large = vec![0; PARTS_BYTES_MAX / 2];
        assert!(parts.keep(KIND, [(&b"a"[..], &large[..])].into_iter()));
        assert!(!parts.keep(KIND, [(&b"b"[..], &large[..])].into_iter()));
        assert!(parts.answer(KIND, &question(&[b"b"])).is_some(), "what was there stays");
        parts.forget([b"a", b"b"].into_iter());
        assert_eq!(parts.0.read().bytes, 0);
    }

    #[test]
    fn a_large_answer_is_left_to_the_control_plane() {
        let parts = parts();
        let half = vec![0; ANSWER_BYTES_MAX / 2];
        assert!(parts.keep(KIND, [(&b"a"[..], &half[..]), (b"b", &half)].into_iter()));
        assert!(parts.answer(KIND, &question(&[b"a"])).is_some());
        assert_eq!(parts.answer(KIND, &question(&[b"a", b"b"])), None);
        let names: Vec<String> = (0..=ANSWER_TOPICS_MAX).map(|number| number.to_string()).collect();
        let names: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
        assert!(parts.keep(KIND, names.iter().map(|name| (*name, &b"part"[..]))));
        assert!(parts.answer(KIND, &question(&names[1..])).is_some());
        assert_eq!(parts.answer(KIND, &question(&names)), None);
    }
}
