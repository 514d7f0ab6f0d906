//! The queues that live on one worker.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use slotmap::{Key, KeyData, SlotMap, new_key_type};

use super::command::{Command, Consumer, Effects, Note, TransactionId};
use super::interest::Interest;
use super::options::QueueOptions;
use super::queue::{Queue, QueueStats};
use crate::destination::Destination;
use crate::hash::Keyed;
use crate::message::{Message, Outcome, Refusal, SessionId, SubscriberId, Tag, WorkerId};

new_key_type! {
    /// Names a queue of this worker; never used again for another one.
    struct QueueKey;
}

#[derive(Debug)]
pub(super) struct Queues {
    home: WorkerId,
    interest: Arc<Interest>,
    queues: SlotMap<QueueKey, Queue>,
    names: HashMap<Destination, QueueKey, Keyed>,
    /// Which queues have messages whose delay ends, and when the first of them does.
    wakes: BTreeSet<(Instant, QueueKey)>,
    /// What transactions have reserved and claimed here. Their coordinators bound how many there are.
    prepared: HashMap<TransactionId, Prepared, Keyed>,
}

/// One transaction's part here.
#[derive(Debug, Default)]
struct Prepared {
    messages: Vec<(QueueKey, Arc<Message>)>,
    claims: Vec<(QueueKey, u64, Outcome)>,
}

impl Queues {
    pub(super) fn new(home: WorkerId, interest: Arc<Interest>) -> Queues {
        Queues {
            home,
            interest,
            queues: SlotMap::with_key(),
            names: HashMap::default(),
            wakes: BTreeSet::new(),
            prepared: HashMap::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.queues.len()
    }

    pub(super) fn stats(&self) -> impl Iterator<Item = QueueStats> {
        self.queues.values().map(Queue::stats)
    }

    pub(super) fn enqueue<E: Effects>(
        &mut self,
        message: Arc<Message>,
        options: &QueueOptions,
        effects: &mut E,
    ) -> Result<(), Refusal> {
        let key = self.open(&message.content.destination, options)?;
        let result = self.with(key, |queue| queue.push(message, options));
        self.tend(key, effects);
        result
    }

    /// Adds a consumer. It gets nothing before [`Queues::hand_out`].
    pub(super) fn consume(
        &mut self,
        consumer: Consumer,
        queue: &Destination,
        options: &QueueOptions,
    ) -> Result<(), Refusal> {
        let key = self.open(queue, options)?;
        self.with(key, |queue| queue.consume(consumer, options))
    }

    /// Gives consumers with credit what waits in a queue; a queue with neither is forgotten.
    pub(super) fn hand_out<E: Effects>(&mut self, queue: &Destination, effects: &mut E) {
        if let Some(key) = self.names.get(queue).copied() {
            self.tend(key, effects);
        }
    }

    pub(super) fn cancel<E: Effects>(&mut self, consumer: SubscriberId, queue: &Destination, effects: &mut E) {
        if let Some(key) = self.names.get(queue).copied() {
            if let Some(queue) = self.queues.get_mut(key) {
                queue.cancel(consumer);
            }
            self.tend(key, effects);
        }
    }

    /// Settles what `session` holds; tags that name nothing it holds are ignored.
    pub(super) fn settle<E: Effects>(
        &mut self,
        now: Instant,
        session: SessionId,
        tags: &[Tag],
        outcome: Outcome,
        options: &QueueOptions,
        effects: &mut E,
    ) {
        let mut touched = None;
        for tag in tags {
            let key = key_of(tag);
            let queue = self.queues.get_mut(key);
            if queue.is_some_and(|queue| queue.settle(now, session, tag.sequence, outcome, options)) {
                self.send_letter(now, key, tag.sequence, options, effects);
            }
            if let Some(earlier) = touched.replace(key).filter(|earlier| *earlier != key) {
                self.tend(earlier, effects);
            }
        }
        if let Some(key) = touched {
            self.tend(key, effects);
        }
    }

    /// Reserves space for a transaction's messages and claims what it settles; or does nothing at all.
    pub(super) fn prepare<E: Effects>(
        &mut self,
        transaction: TransactionId,
        messages: Vec<Arc<Message>>,
        settles: Vec<(Vec<Tag>, Outcome)>,
        options: &QueueOptions,
        effects: &mut E,
    ) -> Result<(), Refusal> {
        let mut prepared = Prepared::default();
        for message in messages {
            let reserved = self.open(&message.content.destination, options).and_then(|key| {
                let reserved = self.with(key, |queue| queue.reserve(&message, options));
                reserved.inspect_err(|_| self.tend(key, effects)).map(|()| key)
            });
            match reserved {
                Ok(key) => prepared.messages.push((key, message)),
                Err(refusal) => {
                    self.undo(prepared, effects);
                    return Err(refusal);
                }
            }
        }
        for (tags, outcome) in settles {
            for tag in tags {
                let key = key_of(&tag);
                let queue = self.queues.get_mut(key);
                if queue.is_some_and(|queue| queue.claim(transaction.session, tag.sequence)) {
                    prepared.claims.push((key, tag.sequence, outcome));
                }
            }
        }
        self.prepared.insert(transaction, prepared);
        Ok(())
    }

    /// Applies what was prepared, or undoes it.
    pub(super) fn finish<E: Effects>(
        &mut self,
        now: Instant,
        transaction: TransactionId,
        apply: bool,
        options: &QueueOptions,
        effects: &mut E,
    ) {
        let Some(prepared) = self.prepared.remove(&transaction) else {
            return;
        };
        if !apply {
            self.undo(prepared, effects);
            return;
        }
        let mut touched = BTreeSet::new();
        for (key, sequence, outcome) in prepared.claims {
            touched.insert(key);
            let queue = self.queues.get_mut(key);
            if queue.is_some_and(|queue| queue.conclude(now, sequence, outcome, options)) {
                self.send_letter(now, key, sequence, options, effects);
            }
        }
        for (key, message) in prepared.messages {
            touched.insert(key);
            if let Some(queue) = self.queues.get_mut(key) {
                queue.push_reserved(message);
            }
        }
        for key in touched {
            self.tend(key, effects);
        }
    }

    /// The answer of the dead-letter queue about a message of a queue here.
    pub(super) fn dead_lettered<E: Effects>(
        &mut self,
        now: Instant,
        from: Tag,
        accepted: bool,
        options: &QueueOptions,
        effects: &mut E,
    ) {
        let key = key_of(&from);
        let Some(queue) = self.queues.get_mut(key) else {
            return;
        };
        let Some(reason) = queue.reason(from.sequence) else {
            return;
        };
        let name = queue.name().clone();
        if accepted {
            queue.bury(from.sequence);
            effects.note(Note::DeadLettered { queue: name, reason });
        } else {
            queue.revive(now, from.sequence, options);
            effects.note(Note::DeadLetterRefused { queue: name, reason });
        }
        self.tend(key, effects);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.wakes.first().map(|(due, _)| *due)
    }

    pub(super) fn handle_timeout<E: Effects>(&mut self, now: Instant, effects: &mut E) {
        while let Some((_, key)) = self.wakes.first().copied().filter(|(due, _)| *due <= now) {
            self.wakes.pop_first();
            if let Some(queue) = self.queues.get_mut(key) {
                queue.wake = None;
                queue.wake(now);
            }
            self.tend(key, effects);
        }
    }

    /// Brings a dying message to the dead-letter queue, wherever that lives.
    fn send_letter<E: Effects>(
        &mut self,
        now: Instant,
        key: QueueKey,
        sequence: u64,
        options: &QueueOptions,
        effects: &mut E,
    ) {
        let Some(queue) = self.queues.get_mut(key) else {
            return;
        };
        let from = Tag { home: self.home, queue: key.data().as_ffi(), sequence };
        let Some(target) = &options.dead_letter else {
            if let Some(reason) = queue.reason(sequence) {
                effects.note(Note::Lost { queue: queue.name().clone(), reason });
            }
            queue.bury(sequence);
            return;
        };
        let letter = queue.letter(sequence, target).filter(|_| queue.name() != target);
        let Some(letter) = letter.map(Arc::new) else {
            self.dead_lettered(now, from, false, options, effects);
            return;
        };
        let home = self.interest.home_of(target);
        if home == self.home {
            let result = self.enqueue(letter, options, effects);
            let accepted = result.is_ok();
            if let Err(refusal) = result {
                effects.note(Note::LimitReached(refusal));
            }
            self.dead_lettered(now, from, accepted, options, effects);
        } else {
            effects.post(home, Command::DeadLetter { message: letter, from });
        }
    }

    fn undo<E: Effects>(&mut self, prepared: Prepared, effects: &mut E) {
        for (key, message) in prepared.messages {
            if let Some(queue) = self.queues.get_mut(key) {
                queue.unreserve(&message);
            }
            self.tend(key, effects);
        }
        for (key, sequence, _) in prepared.claims {
            if let Some(queue) = self.queues.get_mut(key) {
                queue.unclaim(sequence);
            }
            self.tend(key, effects);
        }
    }

    /// The queue of this name, made if need be.
    fn open(&mut self, name: &Destination, options: &QueueOptions) -> Result<QueueKey, Refusal> {
        if let Some(key) = self.names.get(name) {
            return Ok(*key);
        }
        if self.queues.len() >= options.max_queues {
            return Err(Refusal::Limit {
                code: "too-many-queues",
                what: "the queues of this worker",
                limit: options.max_queues as u64,
                key: "queues.max_queues",
            });
        }
        let name = name.detached();
        let key = self.queues.insert(Queue::new(name.clone()));
        self.names.insert(name, key);
        Ok(key)
    }

    fn with(&mut self, key: QueueKey, act: impl FnOnce(&mut Queue) -> Result<(), Refusal>) -> Result<(), Refusal> {
        self.queues.get_mut(key).map_or(Ok(()), act)
    }

    /// What every change of a queue ends with: hand out what can be, note when to come back, forget it if it is
    /// useless.
    fn tend<E: Effects>(&mut self, key: QueueKey, effects: &mut E) {
        let Some(queue) = self.queues.get_mut(key) else {
            return;
        };
        let (home, number) = (self.home, key.data().as_ffi());
        queue.hand_out(|sequence| Tag { home, queue: number, sequence }, effects);
        let due = queue.next_due();
        if due != queue.wake {
            if let Some(wake) = std::mem::replace(&mut queue.wake, due) {
                self.wakes.remove(&(wake, key));
            }
            self.wakes.extend(due.map(|due| (due, key)));
        }
        if queue.is_useless()
            && let Some(queue) = self.queues.remove(key)
        {
            self.names.remove(queue.name());
        }
    }
}

fn key_of(tag: &Tag) -> QueueKey {
    KeyData::from_ffi(tag.queue).into()
}
