//! The queues that live on one worker.

mod bound;
mod stored;

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;

use slotmap::{Key, KeyData, SlotMap, new_key_type};

use super::admission::Source;
use super::command::{Change, Command, Consumer, Effects, Note, TransactionId, UNAWAITED};
use super::interest::Interest;
use super::letter::letter;
use super::options::Options;
use super::policy::Policies;
use super::queue::{Life, Pushed, Queue, QueueStats};
use super::shard::answer;
use super::storage::{Awaited, Storage};
use crate::clock::Clock;
use crate::destination::{Destination, Kind, Spaces};
use crate::hash::Keyed;
use crate::message::{Message, Outcome, Refusal, SessionId, SubscriberId, Tag, Ticket, Verdict, WorkerId};

use bound::Notices;
pub(super) use bound::{Copied, Copying};

new_key_type! {
    /// Names a queue of this worker; never used again for another one.
    pub(super) struct QueueKey;
}

#[derive(Debug)]
pub(super) struct Queues {
    home: WorkerId,
    clock: Clock,
    interest: Arc<Interest>,
    destinations: Spaces,
    policies: Policies,
    max_queues: usize,
    queues: SlotMap<QueueKey, Queue>,
    names: HashMap<Destination, QueueKey, Keyed>,
    /// Which queues have messages whose delay ends, and when the first of them does.
    wakes: BTreeSet<(Instant, QueueKey)>,
    /// What transactions have reserved and claimed here. Their coordinators bound how many there are.
    prepared: HashMap<TransactionId, Prepared, Keyed>,
    storage: Storage,
    /// How many durable subscriptions live here, and how many may.
    bound: usize,
    max_bound: usize,
    notices: Notices,
}

/// One transaction's part here.
#[derive(Debug, Default)]
struct Prepared {
    messages: Vec<(QueueKey, Arc<Message>, Option<NonZeroU64>)>,
    claims: Vec<(QueueKey, u64, Outcome)>,
}

impl Queues {
    pub(super) fn new(home: WorkerId, clock: Clock, interest: Arc<Interest>, options: &Options) -> Queues {
        Queues {
            home,
            clock,
            interest,
            destinations: options.destinations.clone(),
            policies: Policies::new(options),
            max_queues: options.queues.max_queues,
            queues: SlotMap::with_key(),
            names: HashMap::default(),
            wakes: BTreeSet::new(),
            prepared: HashMap::default(),
            storage: Storage::default(),
            bound: 0,
            max_bound: options.durable.max_subscriptions,
            notices: Notices::default(),
        }
    }

    pub(super) fn storage(&mut self) -> &mut Storage {
        &mut self.storage
    }

    pub(super) fn len(&self) -> usize {
        self.queues.len()
    }

    pub(super) fn stats_of(&self, key: QueueKey) -> Option<QueueStats> {
        self.queues.get(key).map(Queue::stats)
    }

    pub(super) fn stats(&self) -> impl Iterator<Item = QueueStats> {
        self.queues.values().map(Queue::stats)
    }

    /// Takes a message in. None: it must be stored first, or the dead letters on another worker are asked to take it, and the
    /// ticket is answered later.
    pub(super) fn enqueue<E: Effects>(
        &mut self,
        now: Instant,
        message: Arc<Message>,
        ticket: Option<Ticket>,
        effects: &mut E,
    ) -> Option<Verdict> {
        let key = match self.take_up(&message.content.destination) {
            Ok(Some(key)) => key,
            Ok(None) => return Some(nobody(&message, effects)),
            Err(refusal) => return Some(Err(refusal)),
        };
        match self.push(now, key, message, Source::Sender(ticket), effects) {
            Ok(Pushed::Added(_)) => Some(Ok(1)),
            Ok(Pushed::Waiting) => None,
            Ok(Pushed::Overflowed(message)) => self.divert(now, &message, ticket, effects),
            Err(refusal) => Some(Err(refusal)),
        }
    }

    /// Takes a message in that is here because another queue could not keep it. It does not travel any further. None: it must
    /// be stored first, and its source is told later.
    pub(super) fn enqueue_letter<E: Effects>(
        &mut self,
        now: Instant,
        letter: Arc<Message>,
        source: Source,
        effects: &mut E,
    ) -> Option<Result<(), Refusal>> {
        let key = match self.open(&letter.content.destination) {
            Ok(key) => key,
            Err(refusal) => return Some(Err(refusal)),
        };
        match self.push(now, key, letter, source, effects) {
            Ok(Pushed::Added(_)) => Some(Ok(())),
            Ok(Pushed::Waiting) => None,
            Ok(Pushed::Overflowed(letter)) => {
                Some(Err(self.policies.rules_for(&letter.content.destination).too_many_messages()))
            }
            Err(refusal) => Some(Err(refusal)),
        }
    }

    #[inline]
    fn push<E: Effects>(
        &mut self,
        now: Instant,
        key: QueueKey,
        message: Arc<Message>,
        source: Source,
        effects: &mut E,
    ) -> Result<Pushed, Refusal> {
        let Some(queue) = self.queues.get_mut(key) else {
            return Ok(Pushed::Added(0));
        };
        let stored = if queue.must_store(&message) { self.storage.next_sequence() } else { None };
        if stored.is_some() || queue.admits_in_order() {
            return self.line_up(now, key, (message, stored), source, effects);
        }
        let pushed = queue.push(now, &self.clock, message);
        if let Ok(Pushed::Added(dropped @ 1..)) = &pushed {
            effects.note(Note::Dropped { queue: queue.name().clone(), reason: "overflow", count: *dropped });
        }
        self.tend(now, key, effects);
        pushed
    }

    /// Sends a message to the dead letters that its full queue does not take.
    fn divert<E: Effects>(
        &mut self,
        now: Instant,
        message: &Message,
        ticket: Option<Ticket>,
        effects: &mut E,
    ) -> Option<Verdict> {
        let queue = &message.content.destination;
        let rules = self.policies.rules_for(queue);
        let Some(target) = rules.options.dead_letter.as_ref().filter(|target| *target != queue) else {
            return Some(Err(rules.too_many_messages()));
        };
        let is_stored = rules.options.durable || message.content.is_persistent();
        let letter = Arc::new(letter(message, target, ("queue-full", 0), is_stored, self.clock.epoch_ms(now)));
        let home = self.interest.home_of(target);
        effects.note(Note::DeadLettered { queue: queue.clone(), reason: "queue-full" });
        if home == self.home {
            return self.enqueue_letter(now, letter, Source::Sender(ticket), effects).map(|result| result.map(|()| 1));
        }
        effects.post(home, Command::Divert { message: letter, ticket });
        None
    }

    /// Adds a consumer. It gets nothing before [`Queues::hand_out`].
    pub(super) fn consume(&mut self, consumer: Consumer, queue: &Destination) -> Result<(), Refusal> {
        let key = self.open(queue)?;
        self.with(key, |queue| queue.consume(consumer))
    }

    /// Gives consumers with credit what waits in a queue; a queue with neither is forgotten.
    pub(super) fn hand_out<E: Effects>(&mut self, now: Instant, queue: &Destination, effects: &mut E) {
        if let Some(key) = self.names.get(queue).copied() {
            self.tend(now, key, effects);
        }
    }

    /// Shows a reader some of what waits in a queue. Answers whether there may be more.
    pub(super) fn browse<E: Effects>(
        &mut self,
        now: Instant,
        reader: &Consumer,
        queue: &Destination,
        after: Option<u64>,
        effects: &mut E,
    ) -> bool {
        let Some(key) = self.names.get(queue).copied() else {
            return false;
        };
        // Takes out what has expired.
        self.tend(now, key, effects);
        let (home, number) = (self.home, key.data().as_ffi());
        let tag = |sequence| Tag { home, queue: number, sequence };
        let shown = self.queues.get(key).map_or(0, |queue| queue.show(reader, after, tag, effects));
        shown >= reader.credit as usize
    }

    pub(super) fn cancel<E: Effects>(
        &mut self,
        now: Instant,
        consumer: SubscriberId,
        queue: &Destination,
        effects: &mut E,
    ) {
        if let Some(key) = self.names.get(queue).copied() {
            if let Some(queue) = self.queues.get_mut(key) {
                queue.cancel(consumer);
                if let Some(ticket) = queue.stop_waiting(consumer) {
                    answer(consumer.session, ticket, Ok(0), effects);
                }
            }
            self.tend(now, key, effects);
        }
    }

    /// Settles what `session` holds; tags that name nothing it holds are ignored. False: it must be stored first, and the ticket
    /// is answered then.
    pub(super) fn settle<E: Effects>(
        &mut self,
        now: Instant,
        session: SessionId,
        tags: &[Tag],
        outcome: Outcome,
        ticket: Option<Ticket>,
        effects: &mut E,
    ) -> bool {
        let (mut touched, mut changes) = (None, Vec::new());
        for tag in tags {
            let key = key_of(tag);
            let queue = self.queues.get_mut(key);
            if queue.is_some_and(|queue| queue.settle(now, session, tag.sequence, outcome)) {
                self.send_letter(now, key, tag.sequence, effects);
            }
            if let Some(queue) = self.queues.get_mut(key) {
                changes.append(queue.changes());
            }
            if let Some(earlier) = touched.replace(key).filter(|earlier| *earlier != key) {
                self.tend(now, earlier, effects);
            }
        }
        if let Some(key) = touched {
            self.tend(now, key, effects);
        }
        match ticket {
            _ if changes.is_empty() => true,
            None => {
                effects.store(UNAWAITED, changes);
                true
            }
            Some(ticket) => {
                self.storage.submit(changes, Awaited::Settled { session, ticket }, effects);
                false
            }
        }
    }

    /// Reserves space for a transaction's messages and claims what it settles, and answers what must be stored before it
    /// applies; or does nothing at all.
    pub(super) fn prepare<E: Effects>(
        &mut self,
        now: Instant,
        transaction: TransactionId,
        messages: Vec<Arc<Message>>,
        settles: Vec<(Vec<Tag>, Outcome)>,
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
                    let stored = self.append(now, key, &message, &mut changes);
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
                if queue.claim(transaction.session, tag.sequence) {
                    prepared.claims.push((key, tag.sequence, outcome));
                    let stored = queue.claimed(tag.sequence, false).filter(|_| outcome == Outcome::Consumed);
                    changes.extend(stored.map(|stored| Change::Delete { sequence: stored.get() }));
                }
            }
        }
        self.prepared.insert(transaction, prepared);
        Ok(changes)
    }

    /// Applies what was prepared, or undoes it.
    pub(super) fn finish<E: Effects>(
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
            if outcome == Outcome::Consumed {
                queue.claimed(sequence, true);
            }
            if queue.conclude(now, sequence, outcome) {
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
            let count = queue.push_reserved(now, &self.clock, message, stored);
            if count > 0 {
                effects.note(Note::Dropped { queue: queue.name().clone(), reason: "overflow", count });
            }
        }
        for key in touched {
            self.tend(now, key, effects);
        }
    }

    /// The answer of the dead-letter queue about a message of a queue here.
    pub(super) fn dead_lettered<E: Effects>(&mut self, now: Instant, from: Tag, accepted: bool, effects: &mut E) {
        self.letter_answered(now, from, accepted, effects);
        self.tend(now, key_of(&from), effects);
    }

    fn letter_answered<E: Effects>(&mut self, now: Instant, from: Tag, accepted: bool, effects: &mut E) {
        let Some(queue) = self.queues.get_mut(key_of(&from)) else {
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
            queue.revive(now, from.sequence);
            effects.note(Note::DeadLetterRefused { queue: name, reason });
        }
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
            self.tend(now, key, effects);
        }
    }

    /// Brings a dying message to the dead-letter queue, wherever that lives. To be followed by [`Queues::tend`].
    fn send_letter<E: Effects>(&mut self, now: Instant, key: QueueKey, sequence: u64, effects: &mut E) {
        let Some(queue) = self.queues.get_mut(key) else {
            return;
        };
        let from = Tag { home: self.home, queue: key.data().as_ffi(), sequence };
        let rules = Arc::clone(queue.rules());
        let Some(target) = &rules.options.dead_letter else {
            if let Some(reason) = queue.reason(sequence) {
                effects.note(Note::Lost { queue: queue.name().clone(), reason });
            }
            queue.bury(sequence);
            return;
        };
        let letter = queue.letter(sequence, target, self.clock.epoch_ms(now)).filter(|_| queue.name() != target);
        let Some(letter) = letter.map(Arc::new) else {
            self.letter_answered(now, from, false, effects);
            return;
        };
        let home = self.interest.home_of(target);
        if home == self.home {
            if let Some(result) = self.enqueue_letter(now, letter, Source::Letter(from), effects) {
                let accepted = result.is_ok();
                if let Err(refusal) = result {
                    effects.note(Note::LimitReached(refusal));
                }
                self.letter_answered(now, from, accepted, effects);
            }
        } else {
            effects.post(home, Command::DeadLetter { message: letter, from });
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

    /// The queue for a message, made if need be; none for a temporary queue that is not there, since only a consumer
    /// brings one to life.
    #[inline]
    fn take_up(&mut self, name: &Destination) -> Result<Option<QueueKey>, Refusal> {
        if let Some(key) = self.names.get(name) {
            return Ok(Some(*key));
        }
        if self.is_temporary(name) { Ok(None) } else { self.open(name).map(Some) }
    }

    fn is_temporary(&self, name: &Destination) -> bool {
        self.destinations.resolve(name.as_str()).is_some_and(|space| space.kind == Kind::TemporaryQueue)
    }

    /// The queue of this name, made if need be.
    fn open(&mut self, name: &Destination) -> Result<QueueKey, Refusal> {
        if let Some(key) = self.names.get(name) {
            return Ok(*key);
        }
        if self.queues.len() >= self.max_queues {
            return Err(Refusal::Limit {
                code: "too-many-queues",
                what: "the queues of this worker",
                limit: self.max_queues as u64,
                key: "queues.max_queues",
            });
        }
        Ok(self.make(name))
    }

    fn make(&mut self, name: &Destination) -> QueueKey {
        let name = name.detached();
        let life = if self.is_temporary(&name) { Life::Temporary } else { Life::Usual };
        let queue = Queue::new(name.clone(), self.policies.rules_for(&name), life);
        let key = self.queues.insert(queue);
        self.names.insert(name, key);
        key
    }

    fn with(&mut self, key: QueueKey, act: impl FnOnce(&mut Queue) -> Result<(), Refusal>) -> Result<(), Refusal> {
        self.queues.get_mut(key).map_or(Ok(()), act)
    }

    /// What every change of a queue ends with: take out what has expired, hand out what can be, note when to come back,
    /// forget it if it is useless.
    fn tend<E: Effects>(&mut self, now: Instant, key: QueueKey, effects: &mut E) {
        if self.queues.get(key).is_some_and(|queue| queue.has_expired(now)) {
            self.expire(now, key, effects);
        }
        let Some(queue) = self.queues.get_mut(key) else {
            return;
        };
        if !queue.changes().is_empty() {
            effects.store(UNAWAITED, std::mem::take(queue.changes()));
        }
        let (home, number) = (self.home, key.data().as_ffi());
        queue.hand_out(|sequence| Tag { home, queue: number, sequence }, effects);
        let is_over = queue.is_over(now);
        let due = queue.next_due().filter(|_| !is_over);
        if due != queue.wake {
            if let Some(wake) = std::mem::replace(&mut queue.wake, due) {
                self.wakes.remove(&(wake, key));
            }
            self.wakes.extend(due.map(|due| (due, key)));
        }
        if is_over && queue.bound().is_some() {
            self.notices.abandoned.push(key);
        } else if is_over && let Some(mut queue) = self.queues.remove(key) {
            self.names.remove(queue.name());
            queue.give_up();
            if !queue.changes().is_empty() {
                effects.store(UNAWAITED, std::mem::take(queue.changes()));
            }
        }
    }

    /// Takes out what has expired. To be followed by what [`Queues::tend`] does then.
    #[cold]
    fn expire<E: Effects>(&mut self, now: Instant, key: QueueKey, effects: &mut E) {
        while let Some(queue) = self.queues.get_mut(key)
            && let Some(expired) = queue.expire(now)
        {
            match expired {
                Some(sequence) => self.send_letter(now, key, sequence, effects),
                None => effects.note(Note::Dropped { queue: queue.name().clone(), reason: "expired", count: 1 }),
            }
        }
    }
}

/// What becomes of a message for a temporary queue that is not there: what becomes of one for a topic without subscribers.
fn nobody<E: Effects>(message: &Message, effects: &mut E) -> Verdict {
    let destination = &message.content.destination;
    effects.note(Note::Unrouted(destination.clone()));
    if message.content.mandatory { Err(Refusal::Unroutable(destination.text().clone())) } else { Ok(0) }
}

fn key_of(tag: &Tag) -> QueueKey {
    KeyData::from_ffi(tag.queue).into()
}
