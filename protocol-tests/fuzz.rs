//! The fuzz targets without a fuzzer: each replays its seed corpus, then a fixed number of mutations of it, the same
//! ones in every run. `fuzz/` runs the same targets for as long as one likes, with coverage.
//!
//! A new target is a module with `pub fn target(data: &[u8])` under `fuzz/src`, a few lines under `fuzz/fuzz_targets`, a
//! directory of seeds under `fuzz/corpus`, and one test here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

#[path = "../fuzz/src/lib.rs"]
pub mod targets;

/// No mutation grows beyond it: most faults need few bytes, and long inputs cost the time of many short ones.
const LONGEST: usize = 4096;

#[test]
fn config() {
    // Each loads a whole configuration, and most of them twice.
    run("config", 2_000, targets::config::target);
}

#[test]
fn deflate() {
    run("deflate", 20_000, targets::deflate::target);
}

#[test]
fn sockjs_messages() {
    run("sockjs_messages", 20_000, targets::sockjs_messages::target);
}

#[test]
fn stomp_decoder() {
    run("stomp_decoder", 20_000, targets::stomp_decoder::target);
}

#[test]
fn websocket_draft76() {
    run("websocket_draft76", 20_000, targets::websocket_draft76::target);
}

#[test]
fn websocket_packets() {
    run("websocket_packets", 20_000, targets::websocket_packets::target);
}

/// Over the corpus, and so many mutations of it.
fn run(name: &str, mutations: u64, target: fn(&[u8])) {
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "no seeds for {name}");
    for seed in &corpus {
        attempt(name, None, seed, target);
    }
    for number in 0..mutations {
        attempt(name, Some(number), &mutate(&corpus, number), target);
    }
}

/// The seed files in the order of their names, so that every run is the same.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    match seeds(&directory) {
        Ok(seeds) => seeds,
        Err(error) => panic!("{}: {error}", directory.display()),
    }
}

fn seeds(directory: &Path) -> std::io::Result<Vec<Vec<u8>>> {
    let entries = std::fs::read_dir(directory)?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    paths.iter().map(std::fs::read).collect()
}

fn attempt(name: &str, mutation: Option<u64>, input: &[u8], target: fn(&[u8])) {
    if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
        let origin = mutation.map_or("a seed".to_owned(), |number| format!("mutation {number}"));
        panic!("{name} failed on {origin}: b\"{}\"", input.escape_ascii());
    }
}

/// A seed with one to eight changes, all of them chosen by `number`.
fn mutate(corpus: &[Vec<u8>], number: u64) -> Vec<u8> {
    let mut random = Random(number);
    let mut data = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(8) {
        change(&mut data, corpus, &mut random);
    }
    data.truncate(LONGEST);
    data
}

fn change(data: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    let at = random.below(data.len() + 1);
    let end = (at + 1 + random.below(16)).min(data.len());
    match random.below(8) {
        0 => data.truncate(at),
        1 => data.insert(at, random.next() as u8),
        2 => data.insert(at, b"\0\n\r:\\0-\xff"[random.below(8)]),
        3 => drop(data.drain(at..end)),
        4 => {
            let piece = data[at..end].to_vec();
            data.extend_from_slice(&piece);
        }
        5 => {
            let other = &corpus[random.below(corpus.len())];
            let from = random.below(other.len() + 1);
            data.truncate(at);
            data.extend_from_slice(&other[from..]);
        }
        6 if at < data.len() => data[at] ^= 1 << random.below(8),
        _ if at < data.len() => data[at] = random.next() as u8,
        _ => {}
    }
}

/// SplitMix64: a few lines, and good for every seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}
