//! Which workers have subscriptions: the tables that all shards share.
//!
//! A table is written when a worker's first subscription to a pattern comes or its last one goes, and read when a shard
//! meets a destination it holds no valid route for. In between, shards only compare generations and read counts, so
//! that a publish in the steady state takes no lock.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use parking_lot::RwLock;
use smallvec::SmallVec;

use super::matcher::Matcher;
use crate::destination::{Destination, Pattern};
use crate::hash::Keyed;
use crate::message::WorkerId;

/// Literal patterns lie in this many parts, so that a new one makes the routes to few other destinations invalid.
const STRIPES: usize = 256;

/// Shared by the shards of one broker, one per worker.
#[derive(Debug)]
pub struct Interest {
    workers: u16,
    topics: Arc<Table>,
    users: Arc<Table>,
    sessions: Arc<Table>,
    /// Decides where a queue lives.
    homes: Keyed,
}

/// Which workers have subscriptions to what, of one kind: kinds of different names never meet.
#[derive(Debug)]
pub(super) struct Table {
    workers: u16,
    literals: Box<[Part<Literals>]>,
    patterns: Part<Matcher<Arc<Counts>>>,
}

/// A part of the table with the count of its changes.
#[derive(Debug)]
struct Part<T> {
    generation: AtomicU64,
    table: RwLock<T>,
}

/// The patterns without wildcards.
#[derive(Debug, Default)]
struct Literals {
    counts: HashMap<Destination, Arc<Counts>, Keyed>,
}

/// How many subscriptions each worker has to one pattern.
#[derive(Debug)]
pub(super) struct Counts(Box<[AtomicU32]>);

/// The state of the table that a route was built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    stripe: usize,
    literals: u64,
    patterns: u64,
}

impl Interest {
    /// For a broker of this many workers; none is taken for one.
    pub fn new(workers: u16) -> Interest {
        Interest::with_homes(workers, Keyed::default())
    }

    /// As [`Interest::new`], but with queues in places that only the seed decides. For tests that must be repeatable: a
    /// peer who knows the seed could choose queues that all live on one worker.
    pub fn seeded(workers: u16, seed: u64) -> Interest {
        Interest::with_homes(workers, Keyed::repeatable(seed))
    }

    fn with_homes(workers: u16, homes: Keyed) -> Interest {
        let workers = workers.max(1);
        let table = || Arc::new(Table::new(workers));
        Interest { workers, topics: table(), users: table(), sessions: table(), homes }
    }

    /// How many workers the broker has.
    pub fn workers(&self) -> u16 {
        self.workers
    }

    /// The worker whose shard keeps the queue of this name.
    pub fn home_of(&self, queue: &Destination) -> WorkerId {
        // The middle bits, which do not choose the place in the home's own table.
        let hash = self.homes.hash_one(queue) >> 32;
        // A remainder of a `u16` fits one.
        WorkerId((hash % u64::from(self.workers)) as u16)
    }

    /// The subscriptions to topics.
    pub(super) fn topics(&self) -> &Arc<Table> {
        &self.topics
    }

    /// The streams of sessions by the names of their users.
    pub(super) fn users(&self) -> &Arc<Table> {
        &self.users
    }

    /// The streams of sessions by their own names.
    pub(super) fn sessions(&self) -> &Arc<Table> {
        &self.sessions
    }
}

impl Table {
    fn new(workers: u16) -> Table {
        Table {
            workers,
            literals: (0..STRIPES).map(|_| Part::new(Literals::default())).collect(),
            patterns: Part::new(Matcher::new()),
        }
    }

    /// How many workers the broker has.
    pub(super) fn workers(&self) -> u16 {
        self.workers
    }

    /// Registers a worker's first subscription to `pattern`; further ones are counted by [`Counts::add`] alone.
    /// Publishers on all workers see it from now on.
    pub(super) fn join(&self, pattern: &Pattern, worker: WorkerId) -> Arc<Counts> {
        let new = || Arc::new(Counts((0..self.workers).map(|_| AtomicU32::new(0)).collect()));
        let join = |counts: &Arc<Counts>| {
            counts.add(worker);
            Arc::clone(counts)
        };
        match pattern.literal() {
            Some(literal) => self.part(literal).change(|table| {
                // The pattern's text is its own, not a piece of a frame.
                join(table.counts.entry(literal.clone()).or_insert_with(new))
            }),
            None => self.patterns.change(|table| match table.find(pattern) {
                Some(counts) => join(counts),
                None => {
                    let counts = new();
                    table.insert(pattern, Arc::clone(&counts));
                    join(&counts)
                }
            }),
        }
    }

    /// Takes a worker's last subscription to `pattern` away.
    pub(super) fn leave(&self, pattern: &Pattern, worker: WorkerId) {
        match pattern.literal() {
            Some(literal) => self.part(literal).change(|table| {
                if table.counts.get(literal).is_some_and(|counts| counts.remove(worker) && counts.is_zero()) {
                    table.counts.remove(literal);
                }
            }),
            None => self.patterns.change(|table| {
                if table.find(pattern).is_some_and(|counts| counts.remove(worker) && counts.is_zero()) {
                    table.remove(pattern);
                }
            }),
        }
    }

    /// The state that decides who gets messages for `destination`.
    pub(super) fn stamp(&self, destination: &Destination) -> Stamp {
        self.stamp_of(stripe_of(destination))
    }

    /// Whether nothing has changed that decides about the destination which `stamp` was made for.
    #[inline]
    pub(super) fn is_current(&self, stamp: Stamp) -> bool {
        self.stamp_of(stamp.stripe) == stamp
    }

    /// The counts of all patterns that take `destination`.
    pub(super) fn find(&self, destination: &Destination) -> SmallVec<[Arc<Counts>; 2]> {
        let mut found = SmallVec::new();
        found.extend(self.part(destination).table.read().counts.get(destination).cloned());
        self.patterns.table.read().find_all(destination, |counts| found.push(Arc::clone(counts)));
        found
    }

    #[inline]
    fn stamp_of(&self, stripe: usize) -> Stamp {
        let literals = self.literals.get(stripe).unwrap_or_else(|| self.first_part());
        Stamp {
            stripe,
            literals: literals.generation.load(Ordering::Acquire),
            patterns: self.patterns.generation.load(Ordering::Acquire),
        }
    }

    fn part(&self, literal: &Destination) -> &Part<Literals> {
        self.literals.get(stripe_of(literal)).unwrap_or_else(|| self.first_part())
    }

    fn first_part(&self) -> &Part<Literals> {
        // Invariant: `new` makes `STRIPES` parts, and that is not zero.
        &self.literals[0]
    }
}

impl<T> Part<T> {
    fn new(table: T) -> Part<T> {
        Part { generation: AtomicU64::new(0), table: RwLock::new(table) }
    }

    /// Changes the table, and then its generation: who sees the new generation also sees the change.
    fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut table = self.table.write();
        let result = change(&mut table);
        self.generation.fetch_add(1, Ordering::Release);
        result
    }
}

impl Counts {
    /// One subscription more of `worker`.
    pub(super) fn add(&self, worker: WorkerId) {
        if let Some(count) = self.0.get(worker.index()) {
            count.fetch_add(1, Ordering::Release);
        }
    }

    /// One subscription less of `worker`; false where it had none.
    pub(super) fn remove(&self, worker: WorkerId) -> bool {
        let count = self.0.get(worker.index());
        count.is_some_and(|count| {
            count.fetch_update(Ordering::Release, Ordering::Relaxed, |count| count.checked_sub(1)).is_ok()
        })
    }

    /// How many subscriptions `worker` has.
    #[inline]
    pub(super) fn of(&self, worker: WorkerId) -> u32 {
        self.0.get(worker.index()).map_or(0, |count| count.load(Ordering::Acquire))
    }

    fn is_zero(&self) -> bool {
        self.0.iter().all(|count| count.load(Ordering::Acquire) == 0)
    }
}

fn stripe_of(literal: &Destination) -> usize {
    // The lowest and highest bits choose the place in a table, so others choose the part.
    (Keyed::default().hash_one(literal) >> 40) as usize % STRIPES
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;
    use crate::destination::Style;

    const ONE: WorkerId = WorkerId(0);
    const TWO: WorkerId = WorkerId(1);

    fn pattern(text: &'static str) -> Pattern {
        Pattern::parse(text, Style::Ant, '/').expect("a pattern")
    }

    fn counted(interest: &Table, destination: &'static str) -> (u32, u32) {
        let found = interest.find(&Destination::new(destination));
        let sum = |worker| found.iter().map(|counts| counts.of(worker)).sum();
        (sum(ONE), sum(TWO))
    }

    #[test]
    fn counts_what_each_worker_has() {
        let interest = Table::new(2);
        interest.join(&pattern("/topic/a"), ONE).add(ONE);
        interest.join(&pattern("/topic/*"), TWO);
        interest.join(&pattern("/topic/a"), TWO);
        assert_eq!(counted(&interest, "/topic/a"), (2, 2));
        assert_eq!(counted(&interest, "/topic/b"), (0, 1));
        interest.leave(&pattern("/topic/a"), TWO);
        interest.leave(&pattern("/topic/*"), TWO);
        assert_eq!(counted(&interest, "/topic/a"), (2, 0));
        assert_eq!(interest.patterns.table.read().len(), 0);
    }

    #[test]
    fn a_change_ends_exactly_the_stamps_that_it_may_concern() {
        let interest = Table::new(2);
        let a = Destination::new("/topic/a");
        let mut others = (0..100u32).map(|n| Destination::new(format!("/topic/{n}")));
        let other = others.find(|other| stripe_of(other) != stripe_of(&a)).expect("not all in one stripe");
        let (stamp, other) = (interest.stamp(&a), interest.stamp(&other));
        let counts = interest.join(&pattern("/topic/a"), ONE);
        assert!(!interest.is_current(stamp));
        assert!(interest.is_current(other));
        let stamp = interest.stamp(&a);
        counts.add(ONE);
        assert!(interest.is_current(stamp), "a second subscription changes no route");
        interest.join(&pattern("/**"), TWO);
        assert!(!interest.is_current(stamp));
        assert!(!interest.is_current(other));
    }

    #[test]
    fn leaving_twice_takes_nothing_from_others() {
        let interest = Table::new(2);
        interest.join(&pattern("/topic/a"), ONE);
        interest.leave(&pattern("/topic/a"), TWO);
        assert_eq!(counted(&interest, "/topic/a"), (1, 0));
        interest.leave(&pattern("/topic/a"), ONE);
        interest.leave(&pattern("/topic/a"), ONE);
        assert_eq!(counted(&interest, "/topic/a"), (0, 0));
    }
}
