//! The queue behind a durable subscription: it lives while the subscription does, whoever is there.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;

use super::{Life, Queue};
use crate::broker::admission::Admitted;
use crate::broker::command::Consumer;
use crate::destination::Pattern;
use crate::message::{Message, SubscriberId, Ticket};

/// What a queue knows of its durable subscription.
#[derive(Debug)]
pub(in crate::broker) struct Bound {
    /// What it takes; none when that is under no topic's prefix any more.
    pub(in crate::broker) topic: Option<Pattern>,
    /// Its number in the store, where it is kept there too.
    pub(in crate::broker) stored: Option<NonZeroU64>,
    /// Whether the store has not answered yet, so that nobody can have it.
    pub(in crate::broker) is_storing: bool,
    /// Who waits for that, in order. Sessions that are there, so bounded by their limits.
    pub(in crate::broker) waiting: Vec<(Consumer, Option<Ticket>)>,
}

/// What a durable subscription leaves when it ends.
#[derive(Debug)]
pub(in crate::broker) struct Dissolved {
    /// The numbers in the store of all it gives up, itself included.
    pub(in crate::broker) numbers: Vec<NonZeroU64>,
    /// What waits for the store.
    pub(in crate::broker) admitted: Vec<Admitted>,
}

impl Queue {
    /// Its durable subscription, where it is that of one.
    pub(in crate::broker) fn bound(&mut self) -> Option<&mut Bound> {
        match &mut self.life {
            Life::Bound(bound) => Some(bound),
            Life::Usual | Life::Temporary | Life::Expecting(_) | Life::Ending => None,
        }
    }

    /// Whether some session has it, or is about to.
    pub(in crate::broker) fn is_in_use(&self) -> bool {
        let is_awaited = matches!(&self.life, Life::Bound(bound) if !bound.waiting.is_empty());
        is_awaited || !self.consumers.is_empty()
    }

    /// Forgets one who waits for the store; answers with what it waits with.
    pub(in crate::broker) fn stop_waiting(&mut self, consumer: SubscriberId) -> Option<Option<Ticket>> {
        let waiting = &mut self.bound()?.waiting;
        let at = waiting.iter().position(|(each, _)| each.id == consumer)?;
        Some(waiting.remove(at).1)
    }

    /// Whether the session that has it does not want a message of its own (M5).
    pub(in crate::broker) fn declines(&self, message: &Message) -> bool {
        let is_own = |consumer: &Consumer| consumer.id.session == message.origin;
        self.consumers.iter().any(|each| is_own(each) && (each.no_local || message.content.exclude_origin))
    }

    /// Ends it. What is dying by then is no longer its own, and somebody may wait for it: that stays until the dead letters have
    /// answered.
    pub(in crate::broker) fn dissolve(&mut self) -> Dissolved {
        let admitted: Vec<Admitted> = self.admission.drain().collect();
        let held = self.unsettled.values().filter_map(|unsettled| unsettled.entry.stored);
        let of_admitted = admitted.iter().filter_map(|admitted| admitted.stored);
        let waiting = self.backlog.all().filter_map(|(past, _)| past.stored);
        let mut numbers: Vec<NonZeroU64> = waiting.chain(held).chain(of_admitted).collect();
        numbers.extend(self.bound().and_then(|bound| bound.stored));
        let mut rest = Queue::new(self.name.clone(), Arc::clone(&self.rules), Life::Ending, self.has_store);
        (rest.asked, rest.changes) = (std::mem::take(&mut self.asked), std::mem::take(&mut self.changes));
        for (sequence, mut dying) in std::mem::take(&mut self.dying) {
            rest.take_up(&mut dying.entry);
            rest.dying.insert(sequence, dying);
        }
        *self = rest;
        Dissolved { numbers, admitted }
    }

    /// Whether its durable subscription has ended, and only what was dying then is still here.
    pub(in crate::broker) fn is_ending(&self) -> bool {
        matches!(self.life, Life::Ending)
    }

    pub(super) fn is_abandoned(&mut self, now: Instant) -> bool {
        let is_storing = self.bound().is_some_and(|bound| bound.is_storing);
        let Some(stay) = self.rules.options.idle_expiry.filter(|_| !is_storing && !self.is_in_use()) else {
            self.idle_since = None;
            return false;
        };
        now.saturating_duration_since(*self.idle_since.get_or_insert(now)) >= stay
    }
}
