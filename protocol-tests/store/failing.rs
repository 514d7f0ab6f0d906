//! A store that fails on purpose: the twin of the engines, for the tests of whatever stands before a store.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use gumboot::store::{Batch, Durability, Memory, MessageRecord, Record, Store, StoreError, StoreOp, Usage};

/// How a commit goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// None: it succeeds.
    Fine,
    /// There is no space for anything.
    Full,
    /// There is no space for new messages, but deleting works.
    FullForNew,
    /// The disk fails, and nothing took effect.
    Broken,
    /// The disk fails after the batch took effect.
    BrokenAfter,
    /// The disk fails before the batch took effect, and nobody knows.
    BrokenBefore,
}

/// A store in memory whose commits fail as planned, and wait as long as a test wants.
#[derive(Debug, Default)]
pub(crate) struct Failing {
    kept: Memory,
    plan: Mutex<Plan>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Plan {
    /// For the next commits, one by one.
    faults: VecDeque<Fault>,
    /// After those.
    lasting: Option<Fault>,
    /// Commits wait until this is false.
    is_shut: bool,
    /// Commits that began to wait, or passed.
    begun: usize,
    /// All that was asked for, with its durability.
    asked: Vec<(Batch, Durability)>,
}

impl Failing {
    /// The next commits go like this; those after them are fine, or as [`Failing::lasts`] says.
    pub(crate) fn next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.plan().faults.extend(faults);
    }

    /// All later commits go like this.
    pub(crate) fn lasts(&self, fault: Fault) {
        self.plan().lasting = Some(fault);
    }

    /// Holds commits back until [`Failing::release`]: a disk that is slow.
    pub(crate) fn hold(&self) {
        self.plan().is_shut = true;
    }

    pub(crate) fn release(&self) {
        self.plan().is_shut = false;
        self.changed.notify_all();
    }

    /// Waits until so many commits have begun.
    pub(crate) fn wait_for_commits(&self, count: usize) {
        let waited = self.changed.wait_timeout_while(self.plan(), super::support::PATIENCE, |plan| plan.begun < count);
        let (plan, _) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(plan.begun >= count, "{} commits instead of {count}", plan.begun);
    }

    /// All that was asked for so far.
    pub(crate) fn asked(&self) -> Vec<(Batch, Durability)> {
        self.plan().asked.clone()
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Failing {
    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        let mut plan = self.plan();
        plan.begun += 1;
        plan.asked.push((batch.clone(), durability));
        self.changed.notify_all();
        let mut plan = self.changed.wait_while(plan, |plan| plan.is_shut).unwrap_or_else(PoisonError::into_inner);
        let fault = plan.faults.pop_front().or(plan.lasting).unwrap_or(Fault::Fine);
        let stores_new = batch.operations.iter().any(|operation| matches!(operation, StoreOp::Append(_)));
        let broken = || StoreError::Io(io::ErrorKind::TimedOut.into());
        match fault {
            Fault::Full => return Err(StoreError::DiskFull),
            Fault::FullForNew if stores_new => return Err(StoreError::DiskFull),
            Fault::Broken => return Err(broken()),
            Fault::BrokenBefore => return Err(StoreError::InDoubt(Box::new(broken()))),
            Fault::Fine | Fault::FullForNew | Fault::BrokenAfter => {}
        }
        self.kept.commit(batch, durability)?;
        if fault == Fault::BrokenAfter { Err(StoreError::InDoubt(Box::new(broken()))) } else { Ok(()) }
    }

    fn scan(&self, visit: &mut dyn FnMut(Record) -> ControlFlow<()>) -> Result<(), StoreError> {
        self.kept.scan(visit)
    }

    fn read(&self, sequence: u64) -> Result<Option<MessageRecord>, StoreError> {
        self.kept.read(sequence)
    }

    fn usage(&self) -> Usage {
        self.kept.usage()
    }
}
