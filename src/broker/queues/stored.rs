//! Messages that the store keeps too: how they enter, and how they come back.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;

use super::{Copied, QueueKey, Queues};
use crate::broker::admission::Source;
use crate::broker::command::{Change, Command, Effects, Note, UNAWAITED};
use crate::broker::queue::{Pushed, Queue};
use crate::broker::shard::answer;
use crate::broker::storage::Awaited;
use crate::destination::Destination;
use crate::message::{Message, Refusal, Tag};

impl Queues {
    /// Has a message stored that is to be, and lets it wait for that, or for those before it.
    pub(super) fn line_up<E: Effects>(
        &mut self,
        now: Instant,
        key: QueueKey,
        (message, stored): (Arc<Message>, Option<NonZeroU64>),
        source: Source,
        effects: &mut E,
    ) -> Result<Pushed, Refusal> {
        let Some(queue) = self.queues.get_mut(key) else {
            return Ok(Pushed::Added(0));
        };
        let taken_at = self.clock.epoch_ms(now);
        let change = stored.map(|stored| append(stored, queue, &message, taken_at));
        match queue.line_up(now, &self.clock, message, stored, source) {
            Ok(Ok(place)) => {
                if let Some(change) = change {
                    let awaited = Awaited::Admission { queue: key, place };
                    self.storage.submit(vec![change], awaited, effects);
                }
                Ok(Pushed::Waiting)
            }
            Ok(Err(message)) => {
                self.tend(now, key, effects);
                Ok(Pushed::Overflowed(message))
            }
            Err(refusal) => {
                self.tend(now, key, effects);
                Err(refusal)
            }
        }
    }

    /// What must be stored of a transaction's message; answers with its number in the store.
    pub(super) fn append(
        &mut self,
        now: Instant,
        key: QueueKey,
        message: &Arc<Message>,
        changes: &mut Vec<Change>,
    ) -> Option<NonZeroU64> {
        let queue = self.queues.get(key).filter(|queue| queue.must_store(message))?;
        let stored = self.storage.next_sequence()?;
        let taken_at = self.clock.epoch_ms(now);
        changes.push(append(stored, queue, message, taken_at));
        Some(stored)
    }

    /// The store has answered about the message at this place of a queue.
    pub(in crate::broker) fn stored<E: Effects>(
        &mut self,
        now: Instant,
        key: QueueKey,
        place: u64,
        result: Result<(), Refusal>,
        effects: &mut E,
    ) {
        let Some(queue) = self.queues.get_mut(key) else {
            return;
        };
        let mut told = Vec::new();
        match result {
            Ok(()) => queue.stored(place),
            Err(refusal) => {
                told.extend(queue.not_stored(place).map(|(message, source)| (message, source, Err(refusal))));
            }
        }
        let mut count = 0;
        while let Some((message, source, dropped)) = queue.take_in(now, &self.clock) {
            count += dropped;
            told.push((message, source, Ok(())));
        }
        if count > 0 {
            effects.note(Note::Dropped { queue: queue.name().clone(), reason: "overflow", count });
        }
        self.tend(now, key, effects);
        for (message, source, result) in told {
            match source {
                Source::Sender(ticket) => answer(message.origin, ticket, result.map(|()| 1), effects),
                Source::Publisher(ticket) => {
                    self.notices.copied.push(Copied { origin: message.origin, ticket, reached: result.map(|()| 1) });
                }
                Source::Letter(from) => self.answer_letter(now, from, result, effects),
                Source::Nobody => {}
            }
        }
    }

    /// Tells the queue that gave a message up what became of it here.
    pub(in crate::broker) fn answer_letter<E: Effects>(
        &mut self,
        now: Instant,
        from: Tag,
        result: Result<(), Refusal>,
        effects: &mut E,
    ) {
        let accepted = result.is_ok();
        if let Err(refusal) = result {
            effects.note(Note::LimitReached(refusal));
        }
        if from.home == self.home {
            self.dead_lettered(now, from, accepted, effects);
        } else {
            effects.post(from.home, Command::DeadLettered { from, accepted });
        }
    }

    /// Puts a message back that the store has kept. No limit counts: it was taken, and is not given up now.
    pub(in crate::broker) fn restore<E: Effects>(
        &mut self,
        now: Instant,
        name: &Destination,
        (message, redeliveries): (Arc<Message>, u32),
        sequence: u64,
        effects: &mut E,
    ) {
        let known = self.names.get(name).copied();
        if known.is_none() && name.is_reserved() {
            // Its durable subscription ended while this was on its way into the store.
            return effects.store(UNAWAITED, vec![Change::Delete { sequence }]);
        }
        let key = known.unwrap_or_else(|| self.make(name));
        if let Some(queue) = self.queues.get_mut(key) {
            queue.restore(now, &self.clock, message, NonZeroU64::new(sequence), redeliveries);
        }
        self.tend(now, key, effects);
    }
}

fn append(stored: NonZeroU64, queue: &Queue, message: &Arc<Message>, taken_at: u64) -> Change {
    Change::Append {
        sequence: stored.get(),
        queue: queue.name().clone(),
        message: Arc::clone(message),
        taken_at,
        expires_at: queue.expires_at(taken_at, message),
    }
}
