use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::MutexGuard;

use super::super::Usage;
use super::super::error::Damage;
use super::super::journal::{Files, Form};
use super::super::net::Outcomes;
use super::super::record::Record;
use super::*;

/// Bytes of the journal in these tests.
const FORM: Form = Form { bytes: 64 << 10, is_synced: true };

/// The disk of an engine that fails when it is told to. What it remembers is safe.
#[derive(Debug, Default)]
struct Disk {
    messages: BTreeMap<u64, MessageRecord>,
    last: u64,
    faults: Faults,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Faults {
    #[default]
    None,
    /// Nothing is taken.
    Full,
    /// One batch is taken, and said not to be.
    OnceAfter,
    /// One batch is not taken.
    OnceBefore,
}

#[derive(Debug)]
struct Fickle(Arc<Mutex<Disk>>);

impl Engine for Fickle {
    type Place = Arc<Mutex<Disk>>;

    fn create(_: &Path, _: &Arc<Mutex<Disk>>) -> Result<(), StoreError> {
        Ok(())
    }

    fn open(_: &Path, disk: &Arc<Mutex<Disk>>) -> Result<Fickle, StoreError> {
        Ok(Fickle(Arc::clone(disk)))
    }

    fn last_batch(&self) -> u64 {
        self.0.lock().last
    }

    fn apply(&self, outcomes: &Outcomes<'_>, number: u64, _: Durability) -> Result<(), StoreError> {
        let disk = &mut *self.0.lock();
        let broken = || StoreError::Io(io::ErrorKind::TimedOut.into());
        match disk.faults {
            Faults::Full => return Err(StoreError::DiskFull),
            Faults::OnceBefore => {
                disk.faults = Faults::None;
                return Err(broken());
            }
            Faults::OnceAfter | Faults::None => {}
        }
        for (sequence, outcome) in &outcomes.messages {
            if outcome.forget {
                disk.messages.remove(sequence);
            }
            if let Some(message) = outcome.message {
                disk.messages.insert(*sequence, MessageRecord::clone(message));
            }
        }
        disk.last = number;
        if disk.faults == Faults::OnceAfter {
            disk.faults = Faults::None;
            return Err(broken());
        }
        Ok(())
    }

    fn check(&self, _: &mut dyn FnMut(Result<Record, Damage>) -> ControlFlow<()>) -> Result<(), StoreError> {
        Ok(())
    }

    fn read(&self, sequence: u64) -> Result<Option<MessageRecord>, StoreError> {
        Ok(self.0.lock().messages.get(&sequence).cloned())
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

struct Bench {
    directory: PathBuf,
    disk: Arc<Mutex<Disk>>,
    store: Journaled<Fickle>,
}

impl Bench {
    fn new() -> Bench {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("gumboot-journaled-{}-{count}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        Journal::create(&directory, FORM.bytes).unwrap();
        let disk = Arc::default();
        let (journal, _) = Journal::open(Files::read(&directory).unwrap(), FORM, 0).unwrap();
        let core = Arc::new(Core::new(PathBuf::new(), Arc::clone(&disk), Fickle(Arc::clone(&disk))));
        Bench { directory, disk, store: Journaled::new(core, journal, 0) }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock()
    }

    fn append(&self, sequence: u64, length: usize) -> Result<(), StoreError> {
        self.commit(StoreOp::Append(Arc::new(MessageRecord::sample(sequence, length))))
    }

    fn commit(&self, operation: StoreOp) -> Result<(), StoreError> {
        self.store.commit(&Batch { operations: vec![operation] }, Durability::Now).map(drop)
    }

    /// What would be there if the process ended now: what the engine has, and what the journal adds.
    #[track_caller]
    fn left(&self) -> Vec<u64> {
        // The engine is not to change meanwhile.
        join(&mut self.store.writing.lock().checkpoint);
        let disk = self.disk();
        let (_, recovered) = Journal::open(Files::read(&self.directory).unwrap(), FORM, disk.last).unwrap();
        let mut messages = disk.messages.clone();
        for operation in recovered.batches.iter().flat_map(|(_, batch)| &batch.operations) {
            match operation {
                StoreOp::Append(message) => drop(messages.insert(message.sequence, MessageRecord::clone(message))),
                StoreOp::Delete(sequence) => drop(messages.remove(sequence)),
                StoreOp::State(_) | StoreOp::Mark(_) => {}
            }
        }
        messages.into_keys().collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn what_comes_and_goes_never_reaches_the_engine() {
    let bench = Bench::new();
    for sequence in 1..=200 {
        bench.append(sequence, 1_000).unwrap();
        bench.commit(StoreOp::Delete(sequence)).unwrap();
        assert!(bench.disk().messages.is_empty());
    }
    assert!(bench.disk().last > 0, "the journal was full several times");
    bench.append(201, 10).unwrap();
    assert_eq!(bench.store.find(201).flatten(), Some(MessageRecord::sample(201, 10)));
    assert_eq!(bench.left(), [201]);
    bench.store.flush().unwrap();
    assert_eq!(bench.disk().messages.len(), 1);
    assert_eq!(bench.store.find(201), None, "the engine knows it now");
}

/// The journal takes what comes until it is full, and then settles for a while; nothing that was confirmed is lost.
#[test]
fn an_engine_without_space_is_waited_for() {
    let bench = Bench::new();
    bench.disk().faults = Faults::Full;
    let stored: Vec<u64> = (1..).take_while(|sequence| bench.append(*sequence, 1_000).is_ok()).collect();
    assert!((40..64).contains(&stored.len()), "{}", stored.len());
    assert!(matches!(bench.append(1_000, 1_000), Err(StoreError::DiskFull)));
    let (settled, kept) = stored.split_at(20);
    settled.iter().for_each(|sequence| bench.commit(StoreOp::Delete(*sequence)).unwrap());
    assert_eq!(bench.left(), kept);
    bench.disk().faults = Faults::None;
    bench.append(1_001, 1_000).unwrap();
    assert_eq!(bench.left(), kept.iter().copied().chain([1_001]).collect::<Vec<_>>());
}

/// A batch that is too large for the journal goes to the engine, which fails. What comes after it is in the journal alone.
#[test]
fn a_failure_beside_the_journal_leaves_no_hole_in_it() {
    for (faults, is_there) in [(Faults::OnceBefore, false), (Faults::OnceAfter, true)] {
        let bench = Bench::new();
        bench.append(1, 10).unwrap();
        bench.store.flush().unwrap();
        bench.disk().faults = faults;
        let error = bench.append(2, 100_000).unwrap_err();
        assert_eq!(error.is_in_doubt(), is_there, "{error}");
        bench.append(3, 10).unwrap();
        bench.append(4, 10).unwrap();
        let expected: &[u64] = if is_there { &[1, 2, 3, 4] } else { &[1, 3, 4] };
        assert_eq!(bench.left(), expected);
    }
}

#[test]
fn a_failure_behind_the_journal_loses_nothing() {
    for faults in [Faults::OnceBefore, Faults::OnceAfter] {
        let bench = Bench::new();
        for sequence in 1..=200 {
            if sequence % 50 == 0 {
                bench.disk().faults = faults;
            }
            bench.append(sequence, 1_000).unwrap();
            assert_eq!(bench.left(), (1..=sequence).collect::<Vec<_>>());
        }
    }
}
