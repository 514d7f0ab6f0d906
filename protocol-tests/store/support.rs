//! Messages, directories and chance for the tests of the store.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gumboot::headers::Headers;
use gumboot::message::{MessageId, WorkerId};
use gumboot::store::{Batch, Durability, Engine, MessageRecord, Options, Record, StateRecord, Store, StoreOp, Sync};

/// How long a test waits for what must come, before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A directory of a test's own, gone with it.
pub(crate) struct Scratch {
    pub(crate) path: PathBuf,
}

impl Scratch {
    pub(crate) fn new(name: &str) -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("gumboot-store-{name}-{}-{count}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory for the test");
        Scratch { path }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What a failed test leaves is worth a look.
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Numbers from a seed (SplitMix64).
#[derive(Clone)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// How often to repeat what is left to chance.
pub(crate) fn rounds(usual: u64) -> u64 {
    std::env::var("STORE_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

pub(crate) fn options(engine: Engine, path: &Path) -> Options {
    // Small, so that the tests get to its end.
    Options { engine, path: path.to_owned(), sync: Sync::Always, journal_bytes: 128 << 10 }
}

/// A message whose content follows from its sequence and the length of its body.
pub(crate) fn message(sequence: u64, length: usize) -> MessageRecord {
    let mut chance = Chance(sequence);
    let body: Vec<u8> = (0..length).map(|_| chance.next() as u8).collect();
    MessageRecord {
        sequence,
        queue: format!("queue-{}", sequence % 7).into(),
        topic: sequence.is_multiple_of(6).then(|| "/topic/a".into()),
        is_binding: sequence.is_multiple_of(11),
        id: MessageId { boot: 1, worker: WorkerId(2), sequence },
        headers: Headers::from_iter([("content-type", "text/plain"), ("place", &sequence.to_string())]),
        body: Bytes::from(body),
        is_text: sequence.is_multiple_of(2),
        enqueued_at: 1_700_000_000_000 + sequence,
        expires_at: sequence.is_multiple_of(3).then_some(sequence),
        deliver_at: sequence.is_multiple_of(5).then_some(sequence),
        priority: (sequence % 10) as u8,
        group: sequence.is_multiple_of(4).then(|| "group".into()),
    }
}

pub(crate) fn append(sequence: u64, length: usize) -> StoreOp {
    StoreOp::Append(Arc::new(message(sequence, length)))
}

pub(crate) fn state(sequence: u64, redeliveries: u32) -> StateRecord {
    StateRecord { sequence, redeliveries, refused: redeliveries / 2, not_before: u64::from(redeliveries) * 1000 }
}

pub(crate) fn commit(store: &dyn Store, operations: impl IntoIterator<Item = StoreOp>) {
    let batch = Batch { operations: operations.into_iter().collect() };
    store.commit(&batch, Durability::Now).expect("a commit");
}

/// All that a store holds.
pub(crate) fn everything(store: &dyn Store) -> Vec<Record> {
    let mut records = Vec::new();
    let visited = store.scan(&mut |record| {
        records.push(record);
        ControlFlow::Continue(())
    });
    visited.expect("a scan");
    records
}

/// The sequences of all messages, in the order of the scan.
pub(crate) fn sequences(store: &dyn Store) -> Vec<u64> {
    let of_message = |record: &Record| matches!(record, Record::Message(_)).then(|| record.sequence()).flatten();
    everything(store).iter().filter_map(of_message).collect()
}

/// Copies what is in one directory into another, which exists.
pub(crate) fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("its kind").is_dir() {
            fs::create_dir(&target).expect("a new directory");
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

/// All files below a directory, with their bytes.
pub(crate) fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            let below = files(&entry.path()).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes));
            found.extend(below);
        } else {
            found.insert(name, fs::read(entry.path()).expect("its bytes"));
        }
    }
    found
}
