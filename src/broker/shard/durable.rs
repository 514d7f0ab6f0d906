//! Durable subscriptions to topics: each is a queue at its home, and a subscription of that home to the topics (U9).

use std::sync::Arc;
use std::time::Instant;

use bytestring::ByteString;

use super::{Shard, answer};
use crate::broker::command::{Command, Consumer, Effects, Note};
use crate::broker::queues::{Copied, Copying, QueueKey};
use crate::destination::{Destination, Kind};
use crate::message::{Binding, Message, Refusal, SessionId, Ticket};

/// How many durable subscriptions of this worker get a message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Copies {
    /// Those that have it.
    pub(super) done: u32,
    /// Those that wait for the store, and tell then.
    pub(super) waiting: u32,
}

impl Shard {
    /// A session has a durable subscription from now on, which is made if need be.
    pub(super) fn attach<E: Effects>(
        &mut self,
        now: Instant,
        consumer: Consumer,
        binding: Box<Binding>,
        ticket: Option<Ticket>,
        effects: &mut E,
    ) {
        if let Some(home) = self.elsewhere(&binding.queue) {
            return effects.post(home, Command::Attach { consumer, binding, ticket });
        }
        match self.bound_queue(now, &binding, effects) {
            Ok(key) => self.queues.join(now, key, consumer, ticket, effects),
            Err(refusal) => answer(consumer.id.session, ticket, Err(refusal), effects),
        }
    }

    /// Ends a durable subscription, if no session has it.
    pub(super) fn forget<E: Effects>(
        &mut self,
        session: SessionId,
        queue: Destination,
        ticket: Option<Ticket>,
        effects: &mut E,
    ) {
        if let Some(home) = self.elsewhere(&queue) {
            return effects.post(home, Command::Forget { session, queue, ticket });
        }
        let verdict = match self.queues.find_bound(&queue) {
            None => Ok(0),
            Some((_, found)) if found.is_in_use() => Err(Refusal::InUse(queue.text().clone())),
            Some((key, _)) => {
                if !self.unbind(key, ticket.map(|ticket| (session, ticket)), effects) {
                    return;
                }
                Ok(0)
            }
        };
        answer(session, ticket, verdict, effects);
    }

    /// Brings a durable subscription back that the store has kept.
    pub(super) fn rebind<E: Effects>(
        &mut self,
        queue: &Destination,
        topic: ByteString,
        sequence: u64,
        effects: &mut E,
    ) {
        let space = self.options.destinations.resolve(&topic).filter(|space| space.kind == Kind::Topic);
        let pattern = space.and_then(|space| space.pattern(topic).ok());
        if pattern.is_none() {
            effects.note(Note::Unbound(queue.clone()));
        }
        let key = self.queues.rebind(queue, pattern.clone(), sequence);
        if let Some(pattern) = pattern {
            self.topics.bind(key, &pattern);
        }
    }

    /// The store has answered about a new durable subscription.
    pub(super) fn binding_stored<E: Effects>(
        &mut self,
        now: Instant,
        key: QueueKey,
        result: Result<(), Refusal>,
        effects: &mut E,
    ) {
        let is_refused = result.is_err();
        self.queues.bound_stored(now, key, result, effects);
        if is_refused {
            self.unbind(key, None, effects);
        }
    }

    /// Gives a message to the durable subscriptions of this worker that take it.
    #[inline]
    pub(super) fn copy<E: Effects>(
        &mut self,
        now: Instant,
        bound: &[QueueKey],
        message: &Arc<Message>,
        ticket: Option<Ticket>,
        effects: &mut E,
    ) -> Copies {
        let mut copies = Copies::default();
        for key in bound {
            match self.queues.copy(now, *key, message, ticket, effects) {
                Some(Copying::Done) => copies.done += 1,
                Some(Copying::Waiting) => copies.waiting += 1,
                None => {}
            }
        }
        copies
    }

    /// Does what follows from what happened to queues.
    #[cold]
    pub(super) fn follow_up<E: Effects>(&mut self, effects: &mut E) {
        while self.queues.has_notices() {
            let notices = self.queues.take_notices();
            for key in notices.abandoned {
                let Some(stats) = self.queues.stats_of(key) else { continue };
                effects.note(Note::Abandoned { queue: stats.name, count: stats.messages });
                self.unbind(key, None, effects);
            }
            for Copied { origin, ticket, reached } in notices.copied {
                match ticket {
                    None => answer(origin, None, reached, effects),
                    Some(ticket) if origin.worker == self.id => {
                        if let Some(verdict) = self.relays.arrived(origin, ticket, reached, 0) {
                            answer(origin, Some(ticket), verdict, effects);
                        }
                    }
                    Some(ticket) => {
                        let relayed = Command::Relayed { session: origin, ticket, reached, more: 0 };
                        effects.post(origin.worker, relayed);
                    }
                }
            }
        }
    }

    /// The queue of a durable subscription as it is asked for: the one that is there, or a new one. One that takes something
    /// else has another's place.
    fn bound_queue<E: Effects>(
        &mut self,
        now: Instant,
        binding: &Binding,
        effects: &mut E,
    ) -> Result<QueueKey, Refusal> {
        if let Some((key, queue)) = self.queues.find_bound(&binding.queue) {
            let is_in_use = queue.is_in_use();
            let is_same = queue.bound().is_some_and(|bound| bound.topic.as_ref() == Some(&binding.topic));
            if is_in_use && (binding.exclusive || !is_same) {
                return Err(Refusal::InUse(binding.queue.text().clone()));
            }
            if is_same {
                return Ok(key);
            }
            self.unbind(key, None, effects);
        }
        let key = self.queues.bind(now, &binding.queue, &binding.topic, effects)?;
        self.topics.bind(key, &binding.topic);
        Ok(key)
    }

    /// Ends a durable subscription. Answers whether `told` is to be answered now.
    fn unbind<E: Effects>(&mut self, key: QueueKey, told: Option<(SessionId, Ticket)>, effects: &mut E) -> bool {
        let (topic, now) = self.queues.unbind(key, told, effects);
        if let Some(topic) = topic {
            self.topics.unbind(key, &topic);
        }
        now
    }
}
