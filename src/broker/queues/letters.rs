//! Messages that move to the dead letters, and settlements that wait for them.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;

use slotmap::Key;

use super::{QueueKey, Queues, key_of};
use crate::broker::admission::Source;
use crate::broker::command::{Change, Command, Effects, Note};
use crate::broker::letter::{ORIGINAL_DESTINATION, letter};
use crate::broker::policy::Rules;
use crate::broker::queue::Pushed;
use crate::broker::shard::answer;
use crate::broker::storage::Awaited;
use crate::destination::Destination;
use crate::hash::Keyed;
use crate::message::{Message, Refusal, SessionId, Tag, Ticket, Verdict};

/// Settlements that somebody waits for and that are not done: bounded by what each session may have unanswered.
#[derive(Debug, Default)]
pub(super) struct Settlements {
    last: u64,
    waiting: HashMap<u64, Settlement, Keyed>,
}

#[derive(Debug)]
struct Settlement {
    session: SessionId,
    ticket: Ticket,
    /// How many letters must be answered, and whether the store must.
    waits: usize,
    refusal: Option<Refusal>,
}

impl Queues {
    /// Takes a message in that is here because another queue could not keep it. It does not travel any further. None: it must
    /// be stored first, and its source is told later. With the number in the store of what it replaces, that is forgotten in the
    /// same moment.
    pub(in crate::broker) fn enqueue_letter<E: Effects>(
        &mut self,
        now: Instant,
        letter: Arc<Message>,
        source: (Source, Option<NonZeroU64>),
        effects: &mut E,
    ) -> Option<Result<(), Refusal>> {
        let key = match self.open(&letter.content.destination) {
            Ok(key) => key,
            Err(refusal) => return Some(Err(refusal)),
        };
        let diverted = matches!(source.0, Source::Diverted(_)).then(|| Arc::clone(&letter));
        match self.push(now, key, letter, source, effects) {
            Ok(Pushed::Added(_)) => {
                if let Some(letter) = diverted {
                    note_diverted(&letter, effects);
                }
                Some(Ok(()))
            }
            Ok(Pushed::Waiting) => None,
            Ok(Pushed::Overflowed(letter)) => {
                Some(Err(self.policies.rules_for(&letter.content.destination).too_many_messages()))
            }
            Err(refusal) => Some(Err(refusal)),
        }
    }

    /// Sends a message to the dead letters that its full queue does not take.
    pub(super) fn divert<E: Effects>(
        &mut self,
        now: Instant,
        message: &Message,
        ticket: Option<Ticket>,
        effects: &mut E,
    ) -> Option<Verdict> {
        let queue = &message.content.destination;
        let rules = self.policies.rules_for(queue);
        let is_fit = |target: &&Destination| *target != queue && !message.content.is_question();
        let Some(target) = rules.options.dead_letter.as_ref().filter(is_fit) else {
            return Some(Err(rules.too_many_messages()));
        };
        let is_stored = self.must_store(message, &rules);
        let letter = Arc::new(letter(message, target, ("queue-full", 0), is_stored, self.clock.epoch_ms(now)));
        let home = self.interest.home_of(target);
        if home == self.home {
            return self
                .enqueue_letter(now, letter, (Source::Diverted(ticket), None), effects)
                .map(|result| result.map(|()| 1));
        }
        effects.post(home, Command::Divert { message: letter, ticket });
        None
    }

    /// Brings a dying message to the dead-letter queue, wherever that lives. To be followed by [`Queues::tend`].
    pub(super) fn send_letter<E: Effects>(&mut self, now: Instant, key: QueueKey, sequence: u64, effects: &mut E) {
        let Some(queue) = self.queues.get_mut(key) else {
            return;
        };
        let from = Tag { home: self.home, queue: key.data().as_ffi(), sequence };
        if let Some(reason) = queue.reason(sequence).filter(|_| queue.is_dying_question(sequence)) {
            effects.note(Note::Dropped { queue: queue.name().clone(), reason, count: 1 });
            let awaited = queue.bury(sequence);
            return self.settlement_done(awaited, Ok(()), effects);
        }
        let rules = Arc::clone(queue.rules());
        let Some(target) = &rules.options.dead_letter else {
            if let Some(reason) = queue.reason(sequence) {
                effects.note(Note::Lost { queue: queue.name().clone(), reason });
            }
            let awaited = queue.bury(sequence);
            return self.settlement_done(awaited, Ok(()), effects);
        };
        if queue.is_away(sequence) {
            // It comes again when it was read.
            return;
        }
        let replaces = queue.stored_dying(sequence);
        let letter = queue.letter(sequence, target, self.clock.epoch_ms(now)).filter(|_| queue.name() != target);
        let Some(letter) = letter.map(Arc::new) else {
            self.letter_answered(now, from, false, effects);
            return;
        };
        let home = self.interest.home_of(target);
        if home == self.home {
            if let Some(result) = self.enqueue_letter(now, letter, (Source::Letter(from), replaces), effects) {
                let accepted = result.is_ok();
                if let Err(refusal) = result {
                    effects.note(Note::LimitReached(refusal));
                }
                self.letter_answered(now, from, accepted, effects);
            }
        } else {
            effects.post(home, Command::DeadLetter { message: letter, from, replaces });
        }
    }

    /// The answer of the dead-letter queue about a message of a queue here.
    pub(in crate::broker) fn dead_lettered<E: Effects>(
        &mut self,
        now: Instant,
        from: Tag,
        accepted: bool,
        effects: &mut E,
    ) {
        self.letter_answered(now, from, accepted, effects);
        self.tend(now, key_of(&from), effects);
    }

    pub(super) fn letter_answered<E: Effects>(&mut self, now: Instant, from: Tag, accepted: bool, effects: &mut E) {
        let Some(queue) = self.queues.get_mut(key_of(&from)) else {
            return;
        };
        let Some(reason) = queue.reason(from.sequence) else {
            return;
        };
        let name = queue.name().clone();
        let awaited = if accepted {
            effects.note(Note::DeadLettered { queue: name, reason });
            queue.bury(from.sequence)
        } else {
            effects.note(Note::DeadLetterRefused { queue: name, reason });
            queue.revive(now, from.sequence)
        };
        self.settlement_done(awaited, Ok(()), effects);
    }

    /// Waits for the store, if there are changes, and for those of the messages that are dying now. Answers whether there is
    /// nothing to wait for.
    pub(super) fn await_settlement<E: Effects>(
        &mut self,
        (session, ticket): (SessionId, Ticket),
        tags: &[Tag],
        changes: Vec<Change>,
        effects: &mut E,
    ) -> bool {
        self.settlements.last += 1;
        let id = self.settlements.last;
        let mut waits = usize::from(!changes.is_empty());
        for tag in tags {
            let queue = self.queues.get_mut(key_of(tag));
            waits += usize::from(queue.is_some_and(|queue| queue.await_dying(tag.sequence, id)));
        }
        if waits > 0 {
            self.settlements.waiting.insert(id, Settlement { session, ticket, waits, refusal: None });
        }
        if !changes.is_empty() {
            self.storage.submit(changes, Awaited::Settled(id), effects);
        }
        waits == 0
    }

    /// One thing that a settlement waits for is done.
    pub(in crate::broker) fn settlement_done<E: Effects>(
        &mut self,
        id: Option<u64>,
        result: Result<(), Refusal>,
        effects: &mut E,
    ) {
        let Some((id, settlement)) = id.and_then(|id| Some((id, self.settlements.waiting.get_mut(&id)?))) else {
            return;
        };
        settlement.waits = settlement.waits.saturating_sub(1);
        settlement.refusal = settlement.refusal.take().or(result.err());
        if settlement.waits == 0
            && let Some(Settlement { session, ticket, refusal, .. }) = self.settlements.waiting.remove(&id)
        {
            answer(session, Some(ticket), refusal.map_or(Ok(0), Err), effects);
        }
    }

    fn must_store(&self, message: &Message, rules: &Rules) -> bool {
        self.storage.is_used() && (rules.options.durable || message.content.is_persistent())
    }
}

/// Says that the dead letters have taken this, which a full queue did not.
pub(super) fn note_diverted<E: Effects>(letter: &Message, effects: &mut E) {
    if let Some(queue) = letter.content.headers.find_shared(ORIGINAL_DESTINATION).map(Destination::new) {
        effects.note(Note::DeadLettered { queue, reason: "queue-full" });
    }
}
