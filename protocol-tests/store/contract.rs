//! What every engine promises: one list of clauses, run for each.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use gumboot::store::{
    Batch, Durability, Engine, MarkRecord, Memory, OpenError, Record, Sequences, Store, StoreOp, Usage, open,
};

use crate::support::{Chance, Scratch, append, commit, everything, message, options, sequences, state};

/// A store that a clause may close and open again.
struct Subject {
    engine: Engine,
    directory: Scratch,
    store: Arc<dyn Store>,
}

impl Subject {
    fn new(engine: Engine) -> Subject {
        let directory = Scratch::new(engine.name());
        let store = open(&options(engine, &directory.path)).expect("a new store");
        Subject { engine, directory, store }
    }

    /// Closes the store and opens it again, where that keeps anything.
    fn reopen(&mut self) {
        if self.engine != Engine::Memory {
            self.store = Arc::new(Memory::default());
            // An engine may give its lock up in a thread of its own, a moment after it was dropped.
            let mut patience = 200;
            self.store = loop {
                match open(&options(self.engine, &self.directory.path)) {
                    Err(OpenError::Locked { .. }) if patience > 0 => {
                        patience -= 1;
                        std::thread::sleep(std::time::Duration::from_millis(20));
                    }
                    opened => break opened.expect("the store again"),
                }
            };
        }
    }

    fn commit(&self, operations: impl IntoIterator<Item = StoreOp>) {
        commit(&*self.store, operations);
    }

    fn sequences(&self) -> Vec<u64> {
        sequences(&*self.store)
    }

    /// Checks all that is stored, before and after it is opened again.
    fn holds(&mut self, expected: &[Record]) {
        for _ in 0..2 {
            assert!(everything(&*self.store) == expected, "{:?} does not hold what it should", self.engine);
            self.reopen();
        }
    }
}

type Clause = (&'static str, fn(&mut Subject));

const CLAUSES: &[Clause] = &[
    ("a new store is empty", is_empty_at_first),
    ("messages come in the order of their sequences", keeps_the_order),
    ("a batch is applied in its order", applies_in_order),
    ("the newest state holds, and goes with its message", keeps_states),
    ("marks stand apart from messages", keeps_marks),
    ("what is deleted is gone, and stays so", deletes),
    ("bodies may be large", keeps_large_bodies),
    ("a scan ends when it is told to", stops_scanning),
    ("the same batch again changes nothing", repeats),
    ("what is for later is there at once, and safe with the next", commits_for_later),
    ("usage counts messages", counts),
    ("space comes back", frees_space),
    ("many messages, few of them left", keeps_the_few),
    ("reading goes on while a batch is committed", reads_meanwhile),
    ("it does what a map does", agrees_with_a_map),
];

fn check(engine: Engine) {
    for (clause, run) in CLAUSES {
        println!("{engine}: {clause}");
        run(&mut Subject::new(engine));
    }
}

#[test]
fn memory_keeps_the_contract() {
    check(Engine::Memory);
}

#[test]
fn sled_keeps_the_contract() {
    check(Engine::Sled);
}

#[test]
fn redb_keeps_the_contract() {
    check(Engine::Redb);
}

fn is_empty_at_first(subject: &mut Subject) {
    subject.holds(&[]);
    subject.commit([]);
    subject.holds(&[]);
    let usage = subject.store.usage();
    assert_eq!((usage.messages, usage.highest_sequence), (0, 0));
    assert_eq!(subject.store.read(1).expect("a read"), None);
    subject.commit([StoreOp::Delete(1), StoreOp::State(state(2, 1))]);
    subject.holds(&[]);
}

fn keeps_the_order(subject: &mut Subject) {
    subject.commit([append(5, 10), append(300, 10)]);
    subject.commit([append(256, 10), append(1, 0)]);
    subject.commit([append(70_000, 5), append(2, 70_000), append(4, 10)]);
    let expected = [1, 2, 4, 5, 256, 300, 70_000];
    assert_eq!(subject.sequences(), expected);
    let lengths = BTreeMap::from([(1, 0), (2, 70_000), (70_000, 5)]);
    let record = |sequence| Record::Message(message(sequence, lengths.get(&sequence).copied().unwrap_or(10)));
    subject.holds(&expected.map(record));
    for sequence in expected {
        let read = subject.store.read(sequence).expect("a read").map(Record::Message);
        assert!(read == Some(record(sequence)), "{sequence}");
    }
}

fn applies_in_order(subject: &mut Subject) {
    subject.commit([append(1, 1), append(2, 2), append(3, 3), append(4, 4)]);
    subject.commit([
        append(9, 1),
        StoreOp::Delete(9),
        StoreOp::Delete(1),
        append(1, 11),
        StoreOp::State(state(2, 1)),
        append(2, 22),
        StoreOp::Delete(3),
        StoreOp::State(state(3, 1)),
        append(5, 5),
        StoreOp::State(state(5, 6)),
        StoreOp::State(state(4, 1)),
        StoreOp::State(state(4, 2)),
    ]);
    subject.holds(&[
        Record::Message(message(1, 11)),
        Record::Message(message(2, 22)),
        Record::Message(message(4, 4)),
        Record::State(state(4, 2)),
        Record::Message(message(5, 5)),
        Record::State(state(5, 6)),
    ]);
}

fn keeps_states(subject: &mut Subject) {
    subject.commit((1..=4).map(|sequence| append(sequence, 8)));
    subject.commit((1..=4).map(|sequence| StoreOp::State(state(sequence, 1))));
    subject.reopen();
    subject.commit([StoreOp::State(state(2, 7)), StoreOp::Delete(3), append(4, 9)]);
    let expected = [
        Record::Message(message(1, 8)),
        Record::State(state(1, 1)),
        Record::Message(message(2, 8)),
        Record::State(state(2, 7)),
        Record::Message(message(4, 9)),
    ];
    subject.holds(&expected);
    // A message that comes under a sequence once used does not find the state of the old one.
    subject.commit([append(3, 1)]);
    assert_eq!(everything(&*subject.store).len(), expected.len() + 1);
}

fn keeps_marks(subject: &mut Subject) {
    let mark = |queue: &str, up_to| StoreOp::Mark(MarkRecord { queue: queue.into(), up_to });
    let kept = |queue: &str, up_to| Record::Mark(MarkRecord { queue: queue.into(), up_to });
    // They come before all messages, are not counted among them, and the last one of a queue holds.
    subject.commit([append(1, 10), mark("b", 7), mark("a", 3), mark("", 1), mark("gone", 5)]);
    subject.commit([mark("b", 6), mark("a", 4), mark("a", 9), mark("gone", 0), mark("never", 0)]);
    let first = [kept("", 1), kept("a", 9), kept("b", 6)];
    subject.holds(&[&first[..], &[Record::Message(message(1, 10))]].concat());
    assert_eq!(subject.store.usage().messages, 1);
    subject.commit([StoreOp::Delete(1), mark("", 0), mark("a", 0), mark("b", 0)]);
    subject.holds(&[]);
}

fn deletes(subject: &mut Subject) {
    subject.commit((1..=20).map(|sequence| append(sequence, 100)));
    subject.commit((1..=20).step_by(2).map(StoreOp::Delete));
    assert_eq!(subject.store.read(1).expect("a read"), None);
    let even: Vec<Record> = (1..=10).map(|half| Record::Message(message(half * 2, 100))).collect();
    subject.holds(&even);
    subject.commit((1..=20).map(StoreOp::Delete));
    subject.holds(&[]);
}

fn keeps_large_bodies(subject: &mut Subject) {
    let lengths = [0, 1, 5_000, 22_000, 22_528, 23_000, 65_536, 400_000, 1 << 20];
    let numbered = || (1..).zip(lengths);
    subject.commit(numbered().map(|(sequence, length)| append(sequence, length)));
    let expected: Vec<Record> =
        numbered().map(|(sequence, length)| Record::Message(message(sequence, length))).collect();
    subject.holds(&expected);
    // Replaced by small ones, and the other way round.
    subject.commit(numbered().map(|(sequence, length)| append(sequence, (1 << 20) - length)));
    let other = |(sequence, length)| Record::Message(message(sequence, (1 << 20) - length));
    subject.holds(&numbered().map(other).collect::<Vec<Record>>());
    subject.commit(numbered().map(|(sequence, _)| StoreOp::Delete(sequence)));
    subject.holds(&[]);
    if subject.engine == Engine::Sled {
        // The engine never syncs what it puts there, so nothing may ever be.
        let blobs = std::fs::read_dir(subject.directory.path.join("data/blobs")).expect("the directory");
        assert_eq!(blobs.count(), 0);
    }
}

fn stops_scanning(subject: &mut Subject) {
    subject.commit([append(1, 1), StoreOp::State(state(1, 1)), append(2, 1)]);
    for limit in 1..=3 {
        let mut seen = 0;
        let visited = subject.store.scan(&mut |_| {
            seen += 1;
            if seen == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        visited.expect("a scan");
        assert_eq!(seen, limit);
    }
}

fn repeats(subject: &mut Subject) {
    let batch = || [append(1, 1), append(2, 2), StoreOp::State(state(1, 3)), StoreOp::Delete(7)];
    subject.commit([append(7, 7)]);
    subject.commit(batch());
    let expected = everything(&*subject.store);
    subject.commit(batch());
    subject.holds(&expected);
}

fn commits_for_later(subject: &mut Subject) {
    for sequence in 1..=50 {
        let batch = Batch { operations: vec![append(sequence, 300)] };
        subject.store.commit(&batch, Durability::Later).expect("a commit");
        assert_eq!(subject.sequences().len() as u64, sequence);
    }
    subject.commit([]);
    subject.holds(&(1..=50).map(|sequence| Record::Message(message(sequence, 300))).collect::<Vec<_>>());
}

fn counts(subject: &mut Subject) {
    subject.commit([append(3, 100), append(4, 40_000), append(9, 1)]);
    for _ in 0..2 {
        let Usage { messages, highest_sequence, bytes } = subject.store.usage();
        assert_eq!((messages, highest_sequence), (3, 9));
        assert!(bytes > 40_000, "{bytes}");
        subject.reopen();
    }
    assert_eq!(Sequences::above(subject.store.usage().highest_sequence).next(), 10);
    subject.commit([append(3, 200), StoreOp::Delete(4), StoreOp::Delete(5)]);
    assert_eq!(subject.store.usage().messages, 2);
}

/// Many times more passes through than ever lies there.
fn frees_space(subject: &mut Subject) {
    const LENGTH: usize = 4_000;
    for round in 0..60_u64 {
        let first = round * 100;
        subject.commit((first..first + 100).map(|sequence| append(sequence + 1, LENGTH)));
        subject.commit((first..first + 100).map(|sequence| StoreOp::Delete(sequence + 1)));
    }
    subject.holds(&[]);
    let passed = 60 * 100 * LENGTH as u64;
    let bytes = subject.store.usage().bytes;
    assert!(bytes < passed, "{bytes} bytes are taken by nothing, after {passed} that passed");
}

/// Every fiftieth of many small messages stays, which no space for the others may depend on.
fn keeps_the_few(subject: &mut Subject) {
    const COUNT: u64 = 10_000;
    let is_kept = |sequence: &u64| sequence.is_multiple_of(50);
    for first in (1..=COUNT).step_by(250) {
        subject.commit((first..first + 250).map(|sequence| append(sequence, 60)));
    }
    for first in (1..=COUNT).step_by(125) {
        subject.commit((first..first + 125).filter(|sequence| !is_kept(sequence)).map(StoreOp::Delete));
    }
    let kept: Vec<u64> = (1..=COUNT).filter(is_kept).collect();
    assert_eq!(subject.sequences(), kept);
    subject.holds(&kept.iter().map(|sequence| Record::Message(message(*sequence, 60))).collect::<Vec<_>>());
}

fn reads_meanwhile(subject: &mut Subject) {
    subject.commit((1..=400).map(|sequence| append(sequence, 64)));
    std::thread::scope(|scope| {
        let store = &subject.store;
        let reader = scope.spawn(move || {
            for sequence in (1..=400).rev() {
                let read = store.read(sequence).expect("a read");
                assert!(read.is_none_or(|read| read == message(sequence, 64)), "{sequence}");
                assert!(sequences(&**store).is_sorted());
            }
        });
        for sequence in (1..=400).filter(|sequence| sequence % 40 != 0) {
            commit(&**store, [StoreOp::Delete(sequence)]);
        }
        reader.join().expect("the reader");
    });
    assert_eq!(subject.sequences().len(), 10);
}

fn agrees_with_a_map(subject: &mut Subject) {
    for seed in 0..4 {
        let mut chance = Chance(seed);
        let model = Memory::default();
        subject.commit(subject.sequences().into_iter().map(StoreOp::Delete));
        for _ in 0..60 {
            let batch: Vec<StoreOp> = (0..chance.below(40)).map(|_| any_operation(&mut chance)).collect();
            commit(&model, batch.clone());
            subject.commit(batch);
            if chance.below(10) == 0 {
                subject.reopen();
            }
        }
        subject.holds(&everything(&model));
        assert_eq!(subject.store.usage().messages, model.usage().messages, "seed {seed}");
    }
}

fn any_operation(chance: &mut Chance) -> StoreOp {
    let sequence = 1 + chance.below(300);
    match chance.below(8) {
        0..4 => {
            let length = [0, 20, 200, 2_000, 20_000, 60_000][chance.below(6) as usize];
            append(sequence, length)
        }
        4 => StoreOp::State(state(sequence, chance.below(9) as u32)),
        _ => StoreOp::Delete(sequence),
    }
}
