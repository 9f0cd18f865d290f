//! The newest offset of each key, in bounded memory: 24 bytes a key, whatever its length. A key is known by 16 bytes of a
//! keyed hash, so that nobody can make two keys that are taken for one.
//!
//! INVARIANT: never more than `bytes_max` once grown, and at most a quarter more while it grows.

use std::ops::Range;

use siphasher::sip128::SipHasher13;

/// Two halves of the hash, and the offset plus one: zeros are an empty slot.
type Slot = [u64; 3];

const SLOT_BYTES: usize = size_of::<Slot>();
const FIRST_SLOTS: usize = 1 << 12;
const GROWTH: usize = 4;
/// Share of slots in use at which the map grows, while it may.
const GROWS_AT: f64 = 0.6;

pub struct OffsetMap {
    slots: Vec<Slot>,
    used: usize,
    slots_max: usize,
    load_max: f64,
    hasher: SipHasher13,
    /// Entries that may be added before it must grow or is full.
    room: usize,
}

impl OffsetMap {
    /// `load_max`: the share of all slots that may be used (`log.cleaner.io.buffer.load.factor`).
    pub fn new(bytes_max: usize, load_max: f64, hash_key: (u64, u64)) -> OffsetMap {
        let slots_max = (bytes_max / SLOT_BYTES).max(2);
        let load_max = load_max.clamp(0.01, 0.95);
        let hasher = SipHasher13::new_with_keys(hash_key.0, hash_key.1);
        let mut map = OffsetMap { slots: Vec::new(), used: 0, slots_max, load_max, hasher, room: 0 };
        map.clear();
        map
    }

    /// Empty, and small again.
    pub fn clear(&mut self) {
        self.slots = vec![[0; 3]; FIRST_SLOTS.min(self.slots_max)];
        self.used = 0;
        self.room = self.room_of(self.slots.len());
    }

    fn room_of(&self, slots: usize) -> usize {
        // One slot always stays empty, or a search would have no end.
        let load = if slots < self.slots_max { GROWS_AT } else { self.load_max };
        ((slots as f64 * load) as usize).clamp(1, slots - 1)
    }

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        let hash = self.hasher.hash(key);
        // Zeros are an empty slot.
        (hash.h1 | 1, hash.h2)
    }

    /// The slot of a hash, or the empty one where it would go.
    fn find(&self, hash: (u64, u64)) -> usize {
        let mut at = ((u128::from(hash.1) * self.slots.len() as u128) >> 64) as usize;
        loop {
            let slot = &self.slots[at];
            if slot[0] == 0 || (slot[0] == hash.0 && slot[1] == hash.1) {
                return at;
            }
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
    }

    /// Notes that `key` stands at `offset`, which is newer than all before. False if there is no room for another key.
    pub fn put(&mut self, key: &[u8], offset: i64) -> bool {
        let hash = self.hash(key);
        let mut at = self.find(hash);
        if self.slots[at][0] == 0 {
            if self.used >= self.room {
                if self.slots.len() >= self.slots_max {
                    return false;
                }
                self.grow();
                at = self.find(hash);
            }
            self.used += 1;
        }
        self.slots[at] = [hash.0, hash.1, offset as u64 + 1];
        true
    }

    pub fn get(&self, key: &[u8]) -> Option<i64> {
        let slot = &self.slots[self.find(self.hash(key))];
        (slot[0] != 0).then(|| slot[2] as i64 - 1)
    }

    /// Offsets of all keys, in no order.
    pub fn offsets(&self) -> impl Iterator<Item = i64> {
        self.slots.iter().filter(|slot| slot[0] != 0).map(|slot| slot[2] as i64 - 1)
    }

    fn grow(&mut self) {
        let wanted = self.slots.len() * GROWTH;
        // The last step starts from a quarter of the largest size at most.
        let slots = if wanted * GROWTH > self.slots_max && wanted < self.slots_max {
            self.slots_max / GROWTH
        } else {
            wanted.min(self.slots_max)
        };
        let slots = if slots > self.slots.len() { slots } else { self.slots_max };
        let old = std::mem::replace(&mut self.slots, vec![[0; 3]; slots]);
        self.room = self.room_of(slots);
        for slot in old.into_iter().filter(|slot| slot[0] != 0) {
            let at = self.find((slot[0], slot[1]));
            self.slots[at] = slot;
        }
    }
}

/// Which offsets of a range are the newest of their keys: a bit each, so that their keys need not be looked up again.
pub struct Newest {
    range: Range<i64>,
    bits: Vec<u64>,
}

impl Newest {
    /// None where the range is too large for that.
    pub fn of(map: &OffsetMap, range: Range<i64>, bytes_max: usize) -> Option<Newest> {
        let words = usize::try_from((range.end - range.start).max(0)).ok()?.div_ceil(64);
        if words > bytes_max / 8 {
            return None;
        }
        let mut bits = vec![0; words];
        for offset in map.offsets().filter(|offset| range.contains(offset)) {
            let at = (offset - range.start) as usize;
            bits[at / 64] |= 1 << (at % 64);
        }
        Some(Newest { range, bits })
    }

    pub fn covers(&self, first: i64, last: i64) -> bool {
        self.range.contains(&first) && self.range.contains(&last)
    }

    /// Of an offset within the range.
    pub fn has(&self, offset: i64) -> bool {
        let at = (offset - self.range.start) as usize;
        self.bits.get(at / 64).is_some_and(|word| word & (1 << (at % 64)) != 0)
    }

    pub fn any(&self, first: i64, last: i64) -> bool {
        (first..=last).any(|offset| self.has(offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_offset_of_each_key_is_kept_through_growth() {
        let mut map = OffsetMap::new(100_000 * SLOT_BYTES, 0.9, (1, 2));
        for round in 0..3 {
            for key in 0..50_000_i64 {
                assert!(map.put(&key.to_be_bytes(), round * 50_000 + key));
            }
        }
        assert_eq!(map.used, 50_000);
        assert!((0..50_000_i64).all(|key| map.get(&key.to_be_bytes()) == Some(100_000 + key)));
        assert_eq!(map.get(b"another"), None);
        let newest = Newest::of(&map, 100_000..150_003, 1 << 20).unwrap();
        assert!((100_000..150_000).all(|offset| newest.has(offset)) && !newest.has(150_001));
        assert!(Newest::of(&map, 0..1 << 40, 1 << 20).is_none(), "too large a range");
    }

    #[test]
    fn it_is_full_at_its_load_and_still_takes_keys_that_it_has() {
        let mut map = OffsetMap::new(1000 * SLOT_BYTES, 0.5, (1, 2));
        let taken = (0..1000_i64).take_while(|key| map.put(&key.to_be_bytes(), *key)).count();
        assert_eq!(taken, 500);
        assert!(map.put(&7_i64.to_be_bytes(), 2000));
        assert_eq!(map.get(&7_i64.to_be_bytes()), Some(2000));
        map.clear();
        assert_eq!((map.used, map.get(&7_i64.to_be_bytes())), (0, None));
    }

    #[test]
    fn the_smallest_map_works() {
        let mut map = OffsetMap::new(0, 0.9, (1, 2));
        assert!(map.put(b"a", 0));
        assert!(!map.put(b"b", 1));
        assert_eq!((map.get(b"a"), map.get(b"b")), (Some(0), None));
    }
}
