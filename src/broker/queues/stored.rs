//! Messages that the store keeps too: how they enter, and how they come back.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;

use slotmap::KeyData;

use super::letters::note_diverted;
use super::{Copied, QueueKey, Queues};
use crate::broker::admission::Source;
use crate::broker::command::{Change, Command, Effects, History, Note, UNAWAITED};
use crate::broker::queue::{Pushed, Queue};
use crate::broker::shard::answer;
use crate::broker::storage::Awaited;
use crate::destination::Destination;
use crate::message::{Message, Refusal, SubscriberId, Tag};

impl Queues {
    /// Has a message stored that is to be, and lets it wait for that, or for those before it.
    pub(super) fn line_up<E: Effects>(
        &mut self,
        now: Instant,
        key: QueueKey,
        (message, stored): (Arc<Message>, Option<NonZeroU64>),
        (source, replaces): (Source, Option<NonZeroU64>),
        effects: &mut E,
    ) -> Result<Pushed, Refusal> {
        let Some(queue) = self.queues.get_mut(key) else {
            return Ok(Pushed::Added(0));
        };
        let taken_at = self.clock.epoch_ms(now);
        let change = stored.map(|stored| append(stored, queue, &message, taken_at));
        let name = queue.name().clone();
        match queue.line_up(now, &self.clock, message, stored, source) {
            Ok(Ok(place)) => {
                if let (Some(change), Some(stored)) = (change, stored) {
                    let mut changes = vec![change];
                    changes.extend(replaces.map(|replaced| Change::Delete { sequence: replaced.get() }));
                    let mark = queue.mark_with(stored);
                    changes.extend(mark.map(|up_to| Change::Mark { queue: name, up_to }));
                    let awaited = Awaited::Admission { queue: key, place, mark };
                    self.storage.submit(changes, awaited, effects);
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
    pub(super) fn append<E: Effects>(
        &mut self,
        now: Instant,
        key: QueueKey,
        message: &Arc<Message>,
        changes: &mut Vec<Change>,
        effects: &mut E,
    ) -> Option<NonZeroU64> {
        let queue = self.queues.get_mut(key).filter(|queue| queue.must_store(message))?;
        let stored = self.storage.next_sequence()?;
        let taken_at = self.clock.epoch_ms(now);
        changes.push(append(stored, queue, message, taken_at));
        // Apart, since it may be stored whatever becomes of the transaction.
        if let Some(up_to) = queue.mark_with(stored) {
            let change = Change::Mark { queue: queue.name().clone(), up_to };
            self.storage.submit(vec![change], Awaited::Mark { queue: key, up_to }, effects);
        }
        Some(stored)
    }

    /// The store has answered about the message at this place of a queue.
    pub(in crate::broker) fn stored<E: Effects>(
        &mut self,
        now: Instant,
        key: QueueKey,
        (place, mark): (u64, Option<u64>),
        result: Result<(), Refusal>,
        effects: &mut E,
    ) {
        let Some(queue) = self.queues.get_mut(key) else {
            return;
        };
        let mut told = Vec::new();
        if let Some(up_to) = mark {
            queue.marked_with(up_to, result.is_ok());
        }
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
                Source::Diverted(ticket) => {
                    if result.is_ok() {
                        note_diverted(&message, effects);
                    }
                    answer(message.origin, ticket, result.map(|()| 1), effects);
                }
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

    /// The store knows how far a queue may be handed out, or does not take it.
    pub(in crate::broker) fn marked<E: Effects>(
        &mut self,
        now: Instant,
        key: QueueKey,
        (up_to, is_safe): (u64, bool),
        effects: &mut E,
    ) {
        if let Some(queue) = self.queues.get_mut(key) {
            queue.marked(up_to, is_safe);
        }
        self.tend(now, key, effects);
    }

    /// What was asked for is read. Answers with those who have now seen the end of what they looked at, and the queue.
    pub(in crate::broker) fn fetched<E: Effects>(
        &mut self,
        now: Instant,
        number: u64,
        found: Vec<Option<Arc<Message>>>,
        effects: &mut E,
    ) -> Option<(Destination, Vec<SubscriberId>)> {
        let key = QueueKey::from(KeyData::from_ffi(number));
        let queue = self.queues.get_mut(key)?;
        let brought = queue.bring(now, found);
        let home = self.home;
        let done = queue.show_pages(|sequence| Tag { home, queue: number, sequence }, effects);
        let name = queue.name().clone();
        if brought.unreadable > 0 {
            effects.note(Note::Unreadable { queue: name.clone(), count: brought.unreadable });
        }
        for sequence in brought.dying {
            self.send_letter(now, key, sequence, effects);
        }
        for sequence in brought.unreadable_dying {
            self.letter_answered(now, Tag { home, queue: number, sequence }, false, effects);
        }
        self.tend(now, key, effects);
        Some((name, done))
    }

    /// Puts a message back that the store has kept. No limit counts: it was taken, and is not given up now. It is not handed out
    /// before [`Queues::restored`].
    pub(in crate::broker) fn restore<E: Effects>(
        &mut self,
        now: Instant,
        name: &Destination,
        (message, history): (Arc<Message>, History),
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
            queue.restore(now, &self.clock, message, sequence, history);
        }
    }

    /// Takes over how far a queue may have been handed out before.
    pub(in crate::broker) fn restore_mark(&mut self, name: Destination, up_to: u64) {
        self.marks.insert(name, up_to);
    }

    /// Everything is back.
    pub(in crate::broker) fn restored<E: Effects>(&mut self, now: Instant, effects: &mut E) {
        // Of queues that are no more.
        for queue in std::mem::take(&mut self.marks).into_keys() {
            effects.store(UNAWAITED, vec![Change::Mark { queue, up_to: 0 }]);
        }
        let keys: Vec<QueueKey> = self.queues.keys().collect();
        for key in keys {
            if let Some(queue) = self.queues.get_mut(key) {
                queue.line_in_early(now, u64::MAX);
            }
            let refused = self.queues.get_mut(key).map(Queue::take_refused).unwrap_or_default();
            for sequence in refused {
                self.send_letter(now, key, sequence, effects);
            }
            self.tend(now, key, effects);
        }
    }

    /// Has everything stored that only this process knows: it ends.
    pub(in crate::broker) fn close<E: Effects>(&mut self, effects: &mut E) {
        for queue in self.queues.values() {
            let words = queue.last_words(&self.clock);
            if !words.is_empty() {
                effects.store(UNAWAITED, words);
            }
        }
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
