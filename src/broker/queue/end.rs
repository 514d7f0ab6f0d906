//! When a queue is over, and what then becomes of what it holds.

use std::time::{Duration, Instant};

use super::{Life, MAX_DYING, Queue};
use crate::broker::entry::Entry;

/// How long a queue waits for the client that it is for. Its SUBSCRIBE and the first message come over different connections,
/// so the message may be first, but not by much.
const EXPECTING: Duration = Duration::from_secs(60);

impl Queue {
    /// Says how long it lives from a message on that is about to be added.
    #[inline]
    pub(super) fn note_arrival(&mut self, now: Instant, entry: &Entry) {
        let terms = entry.cargo.message().and_then(|message| message.content.terms.as_ref());
        let is_relayed = terms.is_some_and(|terms| terms.is_relayed);
        match self.life {
            Life::Usual if is_relayed && self.kept.messages == 0 && self.consumers.is_empty() => {
                self.life = now.checked_add(EXPECTING).map_or(Life::Usual, Life::Expecting);
            }
            // It is not for that client alone.
            Life::Expecting(_) if !is_relayed => self.life = Life::Usual,
            _ => {}
        }
    }

    /// Says how long it lives from a consumer on that is about to come.
    pub(super) fn outlive_consumer(&mut self, ends_queue: bool) {
        if matches!(self.life, Life::Usual | Life::Expecting(_)) {
            let is_temporary = ends_queue || self.rules.options.auto_delete;
            self.life = if is_temporary { Life::Temporary } else { Life::Usual };
        }
    }

    /// Whether it is to be forgotten: nobody would notice, and has not for long enough; or it was its consumers' alone, and
    /// they are gone.
    pub(in crate::broker) fn is_over(&mut self, now: Instant) -> bool {
        match &self.life {
            Life::Usual => {}
            Life::Expecting(until) if *until > now && self.kept.messages > 0 => return false,
            Life::Temporary | Life::Expecting(_) => {
                // Whoever waits for an answer about a message of it still gets one. What only has to be written to its last
                // client would have nowhere to go back to.
                let is_awaited = |queue: &Queue| {
                    let is_held = queue.unsettled.values().any(|unsettled| !unsettled.is_kept);
                    is_held || queue.reserved.messages > 0 || !queue.dying.is_empty()
                };
                return self.consumers.is_empty() && !is_awaited(self);
            }
            Life::Bound(_) => return self.is_abandoned(now),
            Life::Ending => return self.dying.is_empty(),
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
        if let Life::Expecting(until) = self.life {
            return due.into_iter().chain([until]).min();
        }
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
