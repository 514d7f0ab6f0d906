//! One timer structure a worker: who wants to be looked at, and when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::peers::ConnectionKey;

/// Deadlines of connections, earliest first.
///
/// A connection has one entry at most that counts, the one equal to what it remembers as *armed*. Deadlines that move
/// later, as each sign of life makes them, cost nothing: the entry fires, finds nothing due, and is set anew.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, ConnectionKey)>>,
}

impl Timers {
    pub(super) fn set(&mut self, at: Instant, key: ConnectionKey) {
        self.heap.push(Reverse((at, key)));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the earliest entry if it is due.
    pub(super) fn due(&mut self, now: Instant) -> Option<(Instant, ConnectionKey)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}
