//! When a queue is over, and what then becomes of what it holds.

use std::time::Instant;

use super::{Life, MAX_DYING, Queue};

impl Queue {
    /// Whether it is to be forgotten: nobody would notice, and has not for long enough; or it was its consumers' alone, and
    /// they are gone.
    pub(in crate::broker) fn is_over(&mut self, now: Instant) -> bool {
        match &self.life {
            Life::Usual => {}
            Life::Temporary => {
                // Whoever waits for an answer about a message of it still gets one. What only has to be written to its last
                // client would have nowhere to go back to.
                let is_awaited = |queue: &Queue| {
                    let is_held = queue.unsettled.values().any(|unsettled| !unsettled.is_kept);
                    is_held || queue.reserved.messages > 0 || !queue.dying.is_empty()
                };
                return self.consumers.is_empty() && !is_awaited(self);
            }
            Life::Bound(_) => return self.is_abandoned(now),
        }
        if !self.consumers.is_empty() || self.kept.messages > 0 || self.reserved.messages > 0 {
            self.idle_since = None;
            return false;
        }
        match self.rules.options.idle_expiry {
            None => true,
            Some(stay) => now.saturating_duration_since(*self.idle_since.get_or_insert(now)) >= stay,
        }
    }

    /// When it is to be looked at again.
    pub(in crate::broker) fn next_due(&self) -> Option<Instant> {
        let due = self.backlog.next_due(self.dying.len() < MAX_DYING);
        let Some(since) = self.idle_since else {
            return due;
        };
        let stay = self.rules.options.idle_expiry.unwrap_or_default();
        due.into_iter().chain(since.checked_add(stay)).min()
    }

    /// Gives up what it holds, since it is over. The store may have some of it, from before it had consumers.
    pub(in crate::broker) fn give_up(&mut self) {
        while let Some(entry) = self.backlog.take_any() {
            self.forget(&entry);
        }
        for unsettled in std::mem::take(&mut self.unsettled).into_values() {
            self.forget(&unsettled.entry);
        }
    }
}
