//! Messages that come back from their consumers, and those that are given up.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use super::hand_out::Unsettled;
use super::{Queue, after};
use crate::broker::command::Change;
use crate::broker::entry::Entry;
use crate::broker::letter::letter;
use crate::broker::options::QueueOptions;
use crate::clock::Clock;
use crate::destination::Destination;
use crate::message::{Message, Outcome, SessionId};

/// A message on its way to the dead letters.
#[derive(Debug)]
pub(super) struct Dying {
    pub(super) entry: Entry,
    reason: &'static str,
    /// The settlement that is done when this is decided.
    awaited: Option<u64>,
}

impl Dying {
    pub(super) fn new(entry: Entry, reason: &'static str) -> Dying {
        Dying { entry, reason, awaited: None }
    }
}

impl Queue {
    /// Settles what `session` holds. Answers true where the message is now dying: [`Queue::letter`] tells what to
    /// bring to the dead letters, and then it must be [`Queue::bury`] or [`Queue::revive`].
    pub(in crate::broker) fn settle(
        &mut self,
        now: Instant,
        clock: &Clock,
        session: SessionId,
        sequence: u64,
        outcome: Outcome,
    ) -> bool {
        let held = self.unsettled.get(&sequence);
        let is_theirs = held.is_some_and(|unsettled| unsettled.to.session == session && !unsettled.is_claimed);
        is_theirs && self.conclude(now, clock, sequence, outcome)
    }

    /// What `session` holds stays its own when its consumer ends, if it still holds it.
    pub(in crate::broker) fn keep(&mut self, session: SessionId, sequence: u64) {
        if let Some(unsettled) = self.unsettled.get_mut(&sequence).filter(|held| held.to.session == session) {
            unsettled.is_kept = true;
        }
    }

    /// Keeps what `session` holds for a transaction, if it still holds it. Answers what the store is to know of it when the
    /// transaction applies.
    pub(in crate::broker) fn claim(
        &mut self,
        session: SessionId,
        sequence: u64,
        outcome: Outcome,
    ) -> Option<Option<Change>> {
        let unsettled = self.unsettled.get_mut(&sequence)?;
        if unsettled.to.session != session || unsettled.is_claimed {
            return None;
        }
        unsettled.is_claimed = true;
        let entry = &unsettled.entry;
        let Some(stored) = entry.stored.map(NonZeroU64::get) else {
            return Some(None);
        };
        let refused = match outcome {
            Outcome::Consumed => return Some(Some(Change::Delete { sequence: stored })),
            Outcome::Returned => return Some(None),
            Outcome::Rejected | Outcome::Deferred(_) => entry.refused.saturating_add(1),
            // After a crash it finds its way to the dead letters as one that was refused too often.
            Outcome::Discarded => self.rules.options.max_deliveries.max(1),
        };
        Some(Some(Change::State { sequence: stored, redeliveries: entry.handed_out, refused, not_before: 0 }))
    }

    /// Leaves what was claimed as it was, or puts it back if its consumer is gone meanwhile.
    pub(in crate::broker) fn unclaim(&mut self, sequence: u64) {
        let Some(unsettled) = self.unsettled.get_mut(&sequence) else {
            return;
        };
        unsettled.is_claimed = false;
        if !self.consumers.contains(unsettled.consumer) {
            self.take_back(sequence);
        }
    }

    /// What the dead-letter queue `to` is to get for a dying message, once it is in memory.
    pub(in crate::broker) fn letter(&self, sequence: u64, to: &Destination, epoch_ms: u64) -> Option<Message> {
        let Dying { entry, reason, .. } = self.dying.get(&sequence)?;
        Some(letter(entry.cargo.message()?, to, (reason, entry.handed_out), entry.stored.is_some(), epoch_ms))
    }

    /// The number in the store of a dying message.
    pub(in crate::broker) fn stored_dying(&self, sequence: u64) -> Option<NonZeroU64> {
        self.dying.get(&sequence)?.entry.stored
    }

    /// Whether a dying message must be read from the store first.
    pub(in crate::broker) fn is_away(&self, sequence: u64) -> bool {
        self.dying.get(&sequence).is_some_and(|dying| dying.entry.cargo.is_away())
    }

    /// Whether any message is dying.
    pub(in crate::broker) fn has_dying(&self) -> bool {
        !self.dying.is_empty()
    }

    /// Why a message is dying.
    pub(in crate::broker) fn reason(&self, sequence: u64) -> Option<&'static str> {
        self.dying.get(&sequence).map(|dying| dying.reason)
    }

    /// Whether a dying message is a question, which the dead letters do not get.
    pub(in crate::broker) fn is_dying_question(&self, sequence: u64) -> bool {
        let message = self.dying.get(&sequence).and_then(|dying| dying.entry.cargo.message());
        message.is_some_and(|message| message.content.is_question())
    }

    /// Whether a message is dying; the settlement then waits for what becomes of it.
    pub(in crate::broker) fn await_dying(&mut self, sequence: u64, settlement: u64) -> bool {
        self.dying.get_mut(&sequence).is_some_and(|dying| dying.awaited.replace(settlement).is_none())
    }

    /// Forgets a dying message; answers with the settlement that waits for it.
    pub(in crate::broker) fn bury(&mut self, sequence: u64) -> Option<u64> {
        let dying = self.dying.remove(&sequence)?;
        self.forget(&dying.entry);
        dying.awaited
    }

    /// Keeps a dying message after all, and tries again after the longest delay; answers as [`Queue::bury`] does. There is
    /// nowhere to keep it where a durable subscription has ended.
    pub(in crate::broker) fn revive(&mut self, now: Instant, sequence: u64) -> Option<u64> {
        if self.is_ending() {
            return self.bury(sequence);
        }
        let Dying { mut entry, awaited, .. } = self.dying.remove(&sequence)?;
        // It was read for the dead letters.
        self.page_out_if_full(&mut entry);
        self.backlog.delay(now, after(now, self.rules.options.redelivery_delay_max), sequence, entry);
        awaited
    }

    /// Settles what was claimed, or is known to be held; answers as [`Queue::settle`] does.
    pub(in crate::broker) fn conclude(&mut self, now: Instant, clock: &Clock, sequence: u64, outcome: Outcome) -> bool {
        let Some(Unsettled { mut entry, consumer, is_kept, .. }) = self.unsettled.remove(&sequence) else {
            return false;
        };
        if self.unsettled.is_empty() && self.unsettled.capacity() > 1024 {
            self.unsettled = HashMap::default();
        }
        self.consumers.release(consumer, sequence);
        let groups = self.backlog.groups();
        if groups.is_used() {
            groups.release(entry.group);
            groups.wake(consumer);
        }
        match outcome {
            Outcome::Consumed => self.forget(&entry),
            // Its consumer is gone.
            Outcome::Returned if is_kept => self.put_back(sequence, entry),
            Outcome::Returned => {
                entry.returned = entry.returned.saturating_add(1);
                // Once at once; but a consumer who stays and cannot be reached must not make a loop without rest.
                match entry.returned.checked_sub(2) {
                    None => self.put_back(sequence, entry),
                    Some(doublings) => {
                        let due = after(now, wait(doublings, &self.rules.options));
                        self.backlog.delay(now, due, sequence, entry);
                    }
                }
            }
            Outcome::Rejected => return self.refuse(now, clock, sequence, entry, None),
            Outcome::Deferred(delay) => return self.refuse(now, clock, sequence, entry, Some(delay)),
            Outcome::Discarded => {
                self.dying.insert(sequence, Dying::new(entry, "discarded"));
                return true;
            }
        }
        false
    }

    /// A consumer does not want the message: it comes again, or is now dying.
    fn refuse(
        &mut self,
        now: Instant,
        clock: &Clock,
        sequence: u64,
        mut entry: Entry,
        delay: Option<Duration>,
    ) -> bool {
        let options = &self.rules.options;
        entry.refused = entry.refused.saturating_add(1);
        if entry.refused >= options.max_deliveries && options.dead_letter.is_some() {
            self.dying.insert(sequence, Dying::new(entry, "max-deliveries"));
            return true;
        }
        let delay = match delay {
            Some(delay) => delay.min(options.max_delay),
            None => wait(entry.refused - 1, options),
        };
        let due = after(now, delay);
        if let Some(stored) = entry.stored {
            let (redeliveries, refused) = (entry.handed_out, entry.refused);
            let not_before = clock.epoch_ms(due);
            self.changes.push(Change::State { sequence: stored.get(), redeliveries, refused, not_before });
        }
        self.backlog.delay(now, due, sequence, entry);
        false
    }

    /// Its consumer is gone.
    pub(super) fn take_back(&mut self, sequence: u64) {
        if let Some(unsettled) = self.unsettled.remove(&sequence) {
            self.backlog.groups().release(unsettled.entry.group);
            self.put_back(sequence, unsettled.entry);
        }
    }
}

/// The delay after so many doublings of the first one.
fn wait(doublings: u32, options: &QueueOptions) -> Duration {
    let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
    options.redelivery_delay.saturating_mul(factor).min(options.redelivery_delay_max)
}
