//! How a hook does.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::breaker::{Breaker, State};
use crate::app::{Answer, Failure};

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The application did its part.
    Done,
    /// It refused.
    Refused,
    /// It failed, or answered what nobody understands.
    Failed,
    /// It was not reached, or could not.
    Unavailable,
    /// It took too long.
    Late,
    /// It was not called, because the breaker was open.
    NotCalled,
}

impl End {
    const ALL: [End; 6] = [End::Done, End::Refused, End::Failed, End::Unavailable, End::Late, End::NotCalled];

    /// As a metric spells it.
    pub fn name(self) -> &'static str {
        match self {
            End::Done => "done",
            End::Refused => "refused",
            End::Failed => "failed",
            End::Unavailable => "unavailable",
            End::Late => "late",
            End::NotCalled => "not-called",
        }
    }

    pub(super) fn of(answer: &Answer) -> End {
        match answer {
            Ok(_) => End::Done,
            Err(Failure::Application(_)) => End::Refused,
            Err(Failure::Broken) => End::Failed,
            Err(Failure::Unavailable) => End::Unavailable,
            Err(Failure::Late(_)) => End::Late,
        }
    }
}

/// The counts of one hook, and its breaker. Changed from wherever its calls run.
#[derive(Debug)]
pub(super) struct Health {
    pub(super) breaker: Mutex<Breaker>,
    ends: [AtomicU64; End::ALL.len()],
    retries: AtomicU64,
}

impl Health {
    pub(super) fn new(breaker: Breaker) -> Health {
        Health { breaker: Mutex::new(breaker), ends: Default::default(), retries: AtomicU64::new(0) }
    }

    pub(super) fn ended(&self, end: End) {
        if let Some(count) = self.ends.get(end as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }
}

/// Tells how one hook does, for as long as anybody asks.
#[derive(Clone)]
pub struct Monitor {
    pub(super) name: String,
    pub(super) health: Arc<Health>,
}

impl Monitor {
    /// The hook's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many calls ended in each way, those included that were not made.
    pub fn ends(&self) -> impl Iterator<Item = (End, u64)> + '_ {
        End::ALL.into_iter().zip(self.health.ends.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// How many tries were made after the first of a call.
    pub fn retries(&self) -> u64 {
        self.health.retries.load(Ordering::Relaxed)
    }

    /// What its breaker does with calls.
    pub fn breaker(&self, now: Instant) -> State {
        self.health.breaker.lock().state(now)
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Monitor").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::hook::breaker;

    #[test]
    fn counts_each_end_by_itself() {
        let health = Arc::new(Health::new(Breaker::new(breaker::Options::default())));
        let monitor = Monitor { name: "a".to_owned(), health: Arc::clone(&health) };
        for (times, end) in End::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| health.ended(end));
        }
        health.retried();
        let counts: Vec<(&str, u64)> = monitor.ends().map(|(end, count)| (end.name(), count)).collect();
        let names = ["done", "refused", "failed", "unavailable", "late", "not-called"];
        assert_eq!(counts, names.into_iter().zip(0..).collect::<Vec<_>>());
        assert_eq!((monitor.retries(), monitor.breaker(Instant::now())), (1, State::Closed));
    }
}
