//! The queues of durable subscriptions that live on one worker: how they come to be, get their messages, and end.

use std::sync::Arc;
use std::time::Instant;

use super::{QueueKey, Queues, ask_store};
use crate::broker::admission::Source;
use crate::broker::command::{Change, Consumer, Effects, Note, UNAWAITED};
use crate::broker::queue::{Bound, Dissolved, Life, Pushed, Queue};
use crate::broker::shard::answer;
use crate::broker::storage::Awaited;
use crate::destination::{Destination, Pattern};
use crate::message::{Message, Refusal, SessionId, Ticket, Verdict};

/// So many durable subscriptions that have ended may be waiting for the dead letters. Beyond that they count as if they were
/// still there.
const MAX_ENDING: usize = 1024;

/// What queues have to tell their shard, after every command.
#[derive(Debug, Default)]
pub(in crate::broker) struct Notices {
    /// Durable subscriptions that nobody has had for too long.
    pub(in crate::broker) abandoned: Vec<QueueKey>,
    /// What became of copies that waited for the store.
    pub(in crate::broker) copied: Vec<Copied>,
}

/// A durable subscription has its copy of a topic's message, or not.
#[derive(Debug)]
pub(in crate::broker) struct Copied {
    /// Who sent the message.
    pub(in crate::broker) origin: SessionId,
    /// Set where it waits for a RECEIPT.
    pub(in crate::broker) ticket: Option<Ticket>,
    /// One, or why not.
    pub(in crate::broker) reached: Verdict,
}

impl Queues {
    /// What there is to tell, once.
    pub(in crate::broker) fn take_notices(&mut self) -> Notices {
        std::mem::take(&mut self.notices)
    }

    /// Whether there is something to tell.
    #[inline]
    pub(in crate::broker) fn has_notices(&self) -> bool {
        !self.notices.copied.is_empty() || !self.notices.abandoned.is_empty()
    }

    /// The queue of a durable subscription.
    pub(in crate::broker) fn find_bound(&mut self, name: &Destination) -> Option<(QueueKey, &mut Queue)> {
        let key = *self.names.get(name)?;
        let queue = self.queues.get_mut(key)?;
        queue.bound().is_some().then_some((key, queue))
    }

    /// Makes the queue of a new durable subscription, and has it stored where there is a store. No message comes before that is
    /// submitted.
    pub(in crate::broker) fn bind<E: Effects>(
        &mut self,
        now: Instant,
        name: &Destination,
        topic: &Pattern,
        effects: &mut E,
    ) -> Result<QueueKey, Refusal> {
        if self.bound + self.ending.saturating_sub(MAX_ENDING) >= self.max_bound {
            return Err(Refusal::Limit {
                code: "too-many-durable-subscriptions",
                what: "the durable subscriptions of this worker",
                limit: self.max_bound as u64,
                key: "durable_subscriptions.max_subscriptions",
            });
        }
        let stored = self.storage.next_sequence();
        let topic_text = topic.as_str().to_owned().into();
        let bound = Bound { topic: Some(topic.clone()), stored, is_storing: stored.is_some(), waiting: Vec::new() };
        let key = self.make_bound(name, bound);
        if let Some(stored) = stored {
            let made_at = self.clock.epoch_ms(now);
            let change = Change::Bind { sequence: stored.get(), queue: name.detached(), topic: topic_text, made_at };
            self.storage.submit(vec![change], Awaited::Binding(key), effects);
        }
        Ok(key)
    }

    /// Brings the queue of a durable subscription back, as the store has kept it.
    pub(in crate::broker) fn rebind(&mut self, name: &Destination, topic: Option<Pattern>, sequence: u64) -> QueueKey {
        let stored = std::num::NonZeroU64::new(sequence);
        self.make_bound(name, Bound { topic, stored, is_storing: false, waiting: Vec::new() })
    }

    /// Lets a session have a durable subscription, once that is stored.
    pub(in crate::broker) fn join<E: Effects>(
        &mut self,
        now: Instant,
        key: QueueKey,
        consumer: Consumer,
        ticket: Option<Ticket>,
        effects: &mut E,
    ) {
        let Some(queue) = self.queues.get_mut(key) else {
            return;
        };
        if let Some(bound) = queue.bound().filter(|bound| bound.is_storing) {
            return bound.waiting.push((consumer, ticket));
        }
        let verdict = queue.consume(consumer).map(|()| 0);
        // Told before its first message comes, as with queues.
        answer(consumer.id.session, ticket, verdict, effects);
        self.tend(now, key, effects);
    }

    /// The store has answered about a durable subscription.
    pub(in crate::broker) fn bound_stored<E: Effects>(
        &mut self,
        now: Instant,
        key: QueueKey,
        result: Result<(), Refusal>,
        effects: &mut E,
    ) {
        let Some(bound) = self.queues.get_mut(key).and_then(Queue::bound) else {
            return;
        };
        bound.is_storing = false;
        let waiting = std::mem::take(&mut bound.waiting);
        for (consumer, ticket) in waiting {
            match &result {
                Ok(()) => self.join(now, key, consumer, ticket, effects),
                Err(refusal) => answer(consumer.id.session, ticket, Err(refusal.clone()), effects),
            }
        }
        self.tend(now, key, effects);
    }

    /// Gives a durable subscription its copy of a topic's message. Its sender is not told of its limits: who is not there costs
    /// nobody but himself. None: it does not get it.
    pub(in crate::broker) fn copy<E: Effects>(
        &mut self,
        now: Instant,
        key: QueueKey,
        message: &Arc<Message>,
        ticket: Option<Ticket>,
        effects: &mut E,
    ) -> Option<Copying> {
        let queue = self.queues.get(key).filter(|queue| !queue.declines(message))?;
        let name = queue.name().clone();
        match self.push(now, key, Arc::clone(message), (Source::Publisher(ticket), None), effects) {
            Ok(Pushed::Added(_)) => Some(Copying::Done),
            Ok(Pushed::Waiting) => Some(Copying::Waiting),
            Ok(Pushed::Overflowed(_)) | Err(_) => {
                effects.note(Note::Dropped { queue: name, reason: "overflow", count: 1 });
                None
            }
        }
    }

    /// Ends a durable subscription with all it keeps, but for what is on its way to the dead letters; who has it gets nothing
    /// more. Answers what it took, and whether `told` has to be answered now; otherwise that comes when the store has forgotten
    /// it.
    pub(in crate::broker) fn unbind<E: Effects>(
        &mut self,
        key: QueueKey,
        told: Option<(SessionId, Ticket)>,
        effects: &mut E,
    ) -> (Option<Pattern>, bool) {
        let Some(queue) = self.queues.get_mut(key) else {
            return (None, true);
        };
        let Some(bound) = queue.bound() else {
            return (None, true);
        };
        let topic = bound.topic.take();
        self.names.remove(queue.name());
        if let Some(wake) = queue.wake {
            self.wakes.remove(&(wake, key));
        }
        self.bound = self.bound.saturating_sub(1);
        let mark = queue.has_mark().then(|| Change::Mark { queue: queue.name().clone(), up_to: 0 });
        let Dissolved { numbers, admitted } = queue.dissolve();
        if queue.has_dying() {
            self.ending += 1;
            if queue.needs_store() {
                ask_store(key, queue, &mut self.storage, effects);
            }
        } else {
            self.queues.remove(key);
        }
        for admitted in admitted {
            if let Source::Publisher(ticket) = admitted.source {
                // Nobody is there any more to be reached.
                self.notices.copied.push(Copied { origin: admitted.message.origin, ticket, reached: Ok(0) });
            }
        }
        let mut changes: Vec<Change> =
            numbers.into_iter().map(|stored| Change::Delete { sequence: stored.get() }).collect();
        changes.extend(mark);
        let is_done = match told {
            _ if changes.is_empty() => true,
            Some(told) => self.await_settlement(told, &[], changes, effects),
            None => {
                effects.store(UNAWAITED, changes);
                false
            }
        };
        (topic, is_done)
    }

    fn make_bound(&mut self, name: &Destination, bound: Bound) -> QueueKey {
        self.bound += 1;
        self.make_as(name, self.policies.rules_for_durable(), Life::Bound(Box::new(bound)))
    }
}

/// How far a copy has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker) enum Copying {
    /// It is there.
    Done,
    /// It must be stored first; its source is told then.
    Waiting,
}
