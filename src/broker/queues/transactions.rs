//! The parts of transactions at this home (Q7).

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;

use super::{QueueKey, Queues, key_of, nobody};
use crate::broker::command::{Change, Effects, Note, TransactionId};
use crate::broker::entry::Entry;
use crate::message::{Message, Outcome, Refusal, Tags};

/// One transaction's part here.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    messages: Vec<(QueueKey, Arc<Message>, Option<NonZeroU64>)>,
    claims: Vec<(QueueKey, u64, Outcome)>,
}

impl Queues {
    /// Reserves space for a transaction's messages and claims what it settles, and answers what must be stored before it
    /// applies; or does nothing at all.
    pub(in crate::broker) fn prepare<E: Effects>(
        &mut self,
        now: Instant,
        transaction: TransactionId,
        messages: Vec<Arc<Message>>,
        settles: Vec<(Tags, Outcome)>,
        effects: &mut E,
    ) -> Result<Vec<Change>, Refusal> {
        let (mut prepared, mut changes) = (Prepared::default(), Vec::new());
        for message in messages {
            let reserved = self.take_up(&message.content.destination).and_then(|key| {
                let Some(key) = key else {
                    return nobody(&message, effects).map(|_| None);
                };
                let clock = self.clock;
                let reserved = self.with(key, |queue| queue.reserve(now, &clock, &message));
                reserved.inspect_err(|_| self.tend(now, key, effects)).map(|()| Some(key))
            });
            match reserved {
                Ok(Some(key)) => {
                    let stored = self.append(now, key, &message, &mut changes, effects);
                    prepared.messages.push((key, message, stored));
                }
                Ok(None) => {}
                Err(refusal) => {
                    self.undo(now, prepared, effects);
                    return Err(refusal);
                }
            }
        }
        for (tags, outcome) in settles {
            for tag in tags {
                let key = key_of(&tag);
                let Some(queue) = self.queues.get_mut(key) else { continue };
                if let Some(change) = queue.claim(transaction.session, tag.sequence, outcome) {
                    prepared.claims.push((key, tag.sequence, outcome));
                    changes.extend(change);
                }
            }
        }
        self.prepared.insert(transaction, prepared);
        Ok(changes)
    }

    /// Applies what was prepared, or undoes it.
    pub(in crate::broker) fn finish<E: Effects>(
        &mut self,
        now: Instant,
        transaction: TransactionId,
        apply: bool,
        effects: &mut E,
    ) {
        let Some(prepared) = self.prepared.remove(&transaction) else {
            return;
        };
        if !apply {
            self.undo(now, prepared, effects);
            return;
        }
        let mut touched = BTreeSet::new();
        for (key, sequence, outcome) in prepared.claims {
            touched.insert(key);
            let Some(queue) = self.queues.get_mut(key) else { continue };
            let told = queue.changes().len();
            let is_dying = queue.conclude(now, &self.clock, sequence, outcome);
            if outcome == Outcome::Consumed {
                // The store knows it from the transaction.
                queue.changes().truncate(told);
            }
            if is_dying {
                self.send_letter(now, key, sequence, effects);
            }
        }
        for (key, message, stored) in prepared.messages {
            touched.insert(key);
            let Some(queue) = self.queues.get_mut(key) else { continue };
            if queue.admits_in_order() {
                queue.line_up_reserved(message, stored);
                continue;
            }
            let count = queue.push_reserved(now, &self.clock, Entry { stored, ..Entry::new(message) });
            if count > 0 {
                effects.note(Note::Dropped { queue: queue.name().clone(), reason: "overflow", count });
            }
        }
        for key in touched {
            self.tend(now, key, effects);
        }
    }

    fn undo<E: Effects>(&mut self, now: Instant, prepared: Prepared, effects: &mut E) {
        for (key, message, _) in prepared.messages {
            if let Some(queue) = self.queues.get_mut(key) {
                queue.unreserve(&message);
            }
            self.tend(now, key, effects);
        }
        for (key, sequence, _) in prepared.claims {
            if let Some(queue) = self.queues.get_mut(key) {
                queue.unclaim(sequence);
            }
            self.tend(now, key, effects);
        }
    }
}
