//! Answers that stay true for a while: the control plane gives them down once, and the same question is answered from here
//! until it takes them back.
//!
//! A question is an API, its version, the listener that it came to, and the body, byte for byte. Each answer belongs to a
//! scope: what it stands on (the metadata image, one member of a group). Taking a scope back costs nothing for the rest.
//!
//! INVARIANT: an answer is given only while nobody has taken back its scope.
//! INVARIANT: what is kept is bounded in bytes. For room the answers of `CHEAP` go, and no other: who gave down one of the
//! others may stand on being told when it was last asked for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use replica::lock::SharedLock;

/// What a kept answer stands on.
pub type Scope = u64;

/// The scope whose answers may be dropped at any time.
pub const CHEAP: Scope = 0;

const KEPT_BYTES_MAX: usize = 32 << 20;
const ENTRY_BYTES: usize = 128;
const API_KEYS: usize = 128;

/// What is asked, in one piece.
pub struct Question(Vec<u8>);

impl Question {
    pub fn new(api_key: i16, api_version: i16, listener: usize, body: &[u8]) -> Question {
        let mut bytes = Vec::with_capacity(6 + body.len());
        bytes.extend_from_slice(&api_key.to_be_bytes());
        bytes.extend_from_slice(&api_version.to_be_bytes());
        bytes.extend_from_slice(&(listener as u16).to_be_bytes());
        bytes.extend_from_slice(body);
        Question(bytes)
    }
}

struct Answer {
    scope: Scope,
    body: Bytes,
    /// When it was last asked for, on the caller's clock.
    asked_ms: AtomicU64,
}

#[derive(Default)]
struct Held {
    answers: HashMap<Box<[u8]>, Answer>,
    scopes: HashMap<Scope, Vec<Box<[u8]>>>,
    bytes: usize,
}

pub struct Kept {
    held: SharedLock<Held>,
    /// APIs of which anything was ever kept: of the others no body is looked at.
    known: [AtomicBool; API_KEYS],
}

impl Default for Kept {
    fn default() -> Self {
        Kept { held: SharedLock::default(), known: [const { AtomicBool::new(false) }; API_KEYS] }
    }
}

impl Held {
    /// All that stands on this goes; when one of it was last asked for.
    fn forget(&mut self, scope: Scope) -> Option<u64> {
        let keys = self.scopes.remove(&scope)?;
        let mut asked_ms = None;
        for key in keys {
            if let Some(answer) = self.answers.remove(&key) {
                self.bytes -= ENTRY_BYTES + 2 * key.len() + answer.body.len();
                asked_ms = asked_ms.max(Some(answer.asked_ms.into_inner()));
            }
        }
        asked_ms
    }
}

impl Kept {
    fn is_known(&self, api_key: i16) -> Option<&AtomicBool> {
        self.known.get(usize::try_from(api_key).ok()?)
    }

    pub fn keep(&self, scope: Scope, question: &Question, body: Bytes, now_ms: u64) {
        let Question(key) = question;
        let Some(known) = self.is_known(i16::from_be_bytes([key[0], key[1]])) else { return };
        let bytes = ENTRY_BYTES + 2 * key.len() + body.len();
        if bytes > KEPT_BYTES_MAX / 8 {
            return;
        }
        let mut held = self.held.write();
        if held.bytes + bytes > KEPT_BYTES_MAX {
            held.forget(CHEAP);
        }
        if held.bytes + bytes > KEPT_BYTES_MAX {
            return;
        }
        let key: Box<[u8]> = key.as_slice().into();
        let answer = Answer { scope, body, asked_ms: AtomicU64::new(now_ms) };
        let before = held.answers.insert(key.clone(), answer);
        if let Some(before) = &before {
            held.bytes -= ENTRY_BYTES + 2 * key.len() + before.body.len();
            if let Some(keys) = held.scopes.get_mut(&before.scope) {
                keys.retain(|each| *each != key);
                if keys.is_empty() {
                    held.scopes.remove(&before.scope);
                }
            }
        }
        held.scopes.entry(scope).or_default().push(key);
        held.bytes += bytes;
        known.store(true, Ordering::Release);
    }

    /// Takes back all that stands on this. When one of it was last asked for, if any was there.
    pub fn forget(&self, scope: Scope) -> Option<u64> {
        self.held.write().forget(scope)
    }

    /// When one of what stands on this was last asked for, if any of it is there.
    pub fn heard(&self, scope: Scope) -> Option<u64> {
        let held = self.held.read();
        let asked = |key| held.answers.get(key).map(|answer: &Answer| answer.asked_ms.load(Ordering::Relaxed));
        held.scopes.get(&scope)?.iter().filter_map(asked).max()
    }

    pub fn find(&self, api_key: i16, api_version: i16, listener: usize, body: &[u8], now_ms: u64) -> Option<Bytes> {
        if !self.is_known(api_key)?.load(Ordering::Acquire) {
            return None;
        }
        let Question(key) = Question::new(api_key, api_version, listener, body);
        let held = self.held.read();
        let answer = held.answers.get(key.as_slice())?;
        answer.asked_ms.store(now_ms, Ordering::Relaxed);
        Some(answer.body.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: i16 = 3;

    fn find(kept: &Kept, body: &[u8], now_ms: u64) -> Option<Bytes> {
        kept.find(METADATA, 9, 0, body, now_ms)
    }

    #[test]
    fn the_same_question_is_answered_until_its_scope_is_taken_back() {
        let kept = Kept::default();
        kept.keep(1, &Question::new(METADATA, 9, 0, b"a"), Bytes::from_static(b"A"), 10);
        kept.keep(2, &Question::new(METADATA, 9, 0, b"b"), Bytes::from_static(b"B"), 10);
        assert_eq!(find(&kept, b"a", 20).as_deref(), Some(&b"A"[..]));
        assert_eq!(kept.find(METADATA, 8, 0, b"a", 20), None, "another version");
        assert_eq!(kept.find(METADATA, 9, 1, b"a", 20), None, "another listener");
        assert_eq!(kept.forget(1), Some(20));
        assert_eq!(find(&kept, b"a", 30), None);
        assert_eq!(find(&kept, b"b", 30).as_deref(), Some(&b"B"[..]));
        assert_eq!(kept.forget(1), None);
    }

    #[test]
    fn a_newer_answer_takes_the_place_of_the_one_before_and_its_scope() {
        let kept = Kept::default();
        let question = Question::new(METADATA, 9, 0, b"a");
        kept.keep(1, &question, Bytes::from_static(b"A"), 10);
        kept.keep(2, &question, Bytes::from_static(b"AA"), 10);
        assert_eq!(kept.forget(1), None);
        assert_eq!(find(&kept, b"a", 20).as_deref(), Some(&b"AA"[..]));
        kept.forget(2);
        assert_eq!(kept.held.read().bytes, 0);
    }

    #[test]
    fn what_is_kept_is_bounded_and_only_what_is_cheap_gives_way() {
        let kept = Kept::default();
        let body = Bytes::from(vec![0; KEPT_BYTES_MAX / 10]);
        kept.keep(7, &Question::new(METADATA, 9, 0, b"dear"), body.clone(), 5);
        for number in 0..100u32 {
            kept.keep(CHEAP, &Question::new(METADATA, 9, 0, &number.to_be_bytes()), body.clone(), 0);
            assert!(kept.held.read().bytes <= KEPT_BYTES_MAX);
        }
        assert!(find(&kept, &99u32.to_be_bytes(), 0).is_some());
        assert_eq!(kept.heard(7), Some(5));
        for number in 0..100u32 {
            kept.keep(8, &Question::new(METADATA, 9, 0, &number.to_be_bytes()), body.clone(), 0);
            assert!(kept.held.read().bytes <= KEPT_BYTES_MAX);
        }
        assert!(find(&kept, b"dear", 6).is_some());
        assert_eq!((kept.heard(7), kept.heard(9)), (Some(6), None));
        assert!(find(&kept, &99u32.to_be_bytes(), 0).is_none(), "there was no room");
    }
}
