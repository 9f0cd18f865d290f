//! Hostile bytes for parsers: a seeded mutational fuzzer on stable Rust, shared by the `fuzz.rs` of several crates.
//!
//! Each input is made from the seed and its own number alone, so any one of them can be had again at once. A parser must
//! not panic, and must not have more memory in use at any moment than its `Budget` gives it for the bytes it received.
//!
//! ```text
//!   cargo test --release -- --ignored fuzz        the long runs: FUZZ_INPUTS inputs each, ten million unless told
//!   FUZZ_SEED=<n> FUZZ_AT=<n> cargo test --release -- --ignored <parser>::fuzz      one input again
//!   FUZZ_INTO=<folder> ...                      keeps the inputs in <folder>/<parser>, each behind its length (u32)
//! ```
//!
//! Not here: coverage guidance. Mutations know the shapes that matter instead: big-endian numbers, varints, cuts, splices.
#![allow(dead_code, reason = "each fuzz.rs uses a part of it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

pub const SHORT: u64 = 20_000;
const LONG: u64 = 10_000_000;
const INPUT_BYTES_MAX: usize = 1 << 16;

thread_local! {
    static LIVE_BYTES: Cell<isize> = const { Cell::new(0) };
    static PEAK_BYTES: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, counting what each thread has in use. Memory that C code takes (zstd) is not seen.
pub struct Counting;

fn count(change: isize) {
    // A thread that ends has no counters any more.
    let _ = LIVE_BYTES.try_with(|live| {
        live.set(live.get() + change);
        let _ = PEAK_BYTES.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: everything is handed on to the system's allocator as it came; counting touches only two plain cells.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both may be there for a moment.
        count(size as isize);
        // SAFETY: as above.
        let moved = unsafe { System.realloc(pointer, layout, size) };
        count(-(layout.size() as isize));
        moved
    }
}

/// Numbers from a seed (splitmix).
pub struct Chance(u64);

impl Chance {
    pub fn of(seed: u64, at: u64) -> Chance {
        Chance(seed.wrapping_mul(0xd6e8_feb8_6659_fd93) ^ at.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound.max(1) as u128) >> 64) as usize
    }

    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

const BYTES: [u8; 8] = [0, 1, 2, 0x3f, 0x7f, 0x80, 0xfe, 0xff];
const NUMBERS: [i64; 16] =
    [0, 1, -1, 2, -2, 48, 49, 61, 127, 128, 0x7fff, i32::MAX as i64, i32::MIN as i64, i64::MAX, i64::MIN, 1 << 24];

fn mutate(input: &mut Vec<u8>, corpus: &[Vec<u8>], chance: &mut Chance) {
    let len = input.len();
    if len == 0 {
        input.extend((0..chance.below(16)).map(|_| chance.next() as u8));
        return;
    }
    let at = chance.below(len);
    match chance.below(12) {
        0 | 1 => input[at] ^= 1 << chance.below(8),
        2 => input[at] = chance.pick(&BYTES),
        3 => input[at] = chance.next() as u8,
        // A number of 2, 4 or 8 bytes: one of the edges, or near a length that stands to reason.
        4..=6 => {
            let number = match chance.below(3) {
                0 => (len as i64 - at as i64).wrapping_add(chance.below(9) as i64 - 4),
                1 => chance.pick(&NUMBERS).wrapping_add(chance.below(3) as i64 - 1),
                _ => chance.pick(&NUMBERS),
            };
            let bytes = number.to_be_bytes();
            let width = chance.pick(&[2, 4, 8]).min(len - at);
            input[at..at + width].copy_from_slice(&bytes[8 - width..]);
        }
        // A varint in place of a byte.
        7 => {
            let mut number = chance.pick(&NUMBERS) as u64 ^ chance.below(3) as u64;
            let mut varint = Vec::with_capacity(11);
            while number >= 0x80 {
                varint.push(number as u8 | 0x80);
                number >>= 7;
            }
            varint.push(number as u8);
            input.splice(at..=at, varint);
        }
        8 => input.truncate(at),
        9 => {
            let end = at + chance.below(len - at) + 1;
            input.drain(at..end);
        }
        10 => {
            let end = (at + 1 + chance.below(64)).min(len);
            let copied = input[at..end].to_vec();
            let to = chance.below(len);
            input.splice(to..to, copied);
        }
        // The beginning of this, the end of another.
        _ => {
            let other = &corpus[chance.below(corpus.len())];
            let from = chance.below(other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
    }
    input.truncate(INPUT_BYTES_MAX);
}

/// How much memory a parser may use for an input: a multiple of its length, plus a constant.
#[derive(Clone, Copy)]
pub struct Budget {
    pub per_byte: usize,
    pub bytes: usize,
}

/// Says on a panic which input it was.
struct Replay<'a> {
    parser: &'a str,
    seed: u64,
    at: u64,
}

impl Drop for Replay<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: replay with FUZZ_SEED={} FUZZ_AT={}", self.parser, self.seed, self.at);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.replace('_', "").parse().ok()
}

/// Gives `parse` inputs made from `corpus`, with chances of its own to mend what would be refused at once.
pub fn run(
    parser: &str,
    inputs: u64,
    corpus: &[Vec<u8>],
    budget: Budget,
    mut parse: impl FnMut(&mut Vec<u8>, &mut Chance),
) {
    let seed = number("FUZZ_SEED").unwrap_or(1);
    let range = number("FUZZ_AT").map_or(0..inputs, |at| at..at + 1);
    let mut replay = Replay { parser, seed, at: 0 };
    let mut input = Vec::with_capacity(2 * INPUT_BYTES_MAX);
    let mut keep = std::env::var_os("FUZZ_INTO")
        .map(|folder| BufWriter::new(File::create(Path::new(&folder).join(parser)).expect("FUZZ_INTO names a folder")));
    let began = Instant::now();
    let mut most_bytes = 0;
    for at in range {
        replay.at = at;
        let mut chance = Chance::of(seed, at);
        input.clear();
        input.extend_from_slice(&corpus[chance.below(corpus.len())]);
        let mutations_max = if chance.one_in(8) { 16 } else { 3 };
        for _ in 0..1 + chance.below(mutations_max) {
            mutate(&mut input, corpus, &mut chance);
        }
        if let Some(file) = &mut keep {
            file.write_all(&(input.len() as u32).to_be_bytes()).and_then(|()| file.write_all(&input)).unwrap();
        }
        let received = input.len();
        let before = LIVE_BYTES.get();
        PEAK_BYTES.set(before);
        parse(&mut input, &mut chance);
        let used = (PEAK_BYTES.get() - before).max(0) as usize;
        most_bytes = most_bytes.max(used);
        let allowed = budget.per_byte * received + budget.bytes;
        assert!(used <= allowed, "{received} bytes made it use {used} bytes of memory, above {allowed}");
    }
    if inputs > SHORT {
        let seconds = began.elapsed().as_secs_f64();
        eprintln!("{parser}: {inputs} inputs in {seconds:.1} s from seed {seed}; at most {most_bytes} bytes in use");
    }
}

pub fn long() -> u64 {
    number("FUZZ_INPUTS").unwrap_or(LONG)
}

/// A short run that is always made, and a long one that is asked for, of a function that takes the number of inputs.
#[macro_export]
macro_rules! fuzz_targets {
    ($($parser:ident),+ $(,)?) => {
        $(mod $parser {
            #[test]
            fn withstands_hostile_bytes() {
                super::$parser($crate::fuzzing::SHORT);
            }

            #[test]
            #[ignore = "a long run; FUZZ_INPUTS says how long"]
            fn fuzz() {
                super::$parser($crate::fuzzing::long());
            }
        })+
    };
}
