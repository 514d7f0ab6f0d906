//! The queues that live on one worker.

mod bound;
mod letters;
mod stored;
mod transactions;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;

use slotmap::{Key, KeyData, SlotMap, new_key_type};

use self::letters::Settlements;
use self::transactions::Prepared;
use super::admission::Source;
use super::command::{Change, Consumer, Effects, Note, TransactionId, UNAWAITED};
use super::interest::Interest;
use super::options::Options;
use super::policy::{Policies, Rules};
use super::queue::{Life, Pushed, Queue, QueueStats, Shown};
use super::shard::answer;
use super::storage::{Awaited, Storage};
use crate::clock::Clock;
use crate::destination::{Destination, Kind, Spaces};
use crate::hash::Keyed;
use crate::message::{
    Message, Outcome, Refusal, SessionId, SubscriberId, SubscriptionKey, Tag, Ticket, Verdict, WorkerId,
};

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
    settlements: Settlements,
    /// How far queues may have been handed out that are not back yet. Empty once all are.
    marks: BTreeMap<Destination, u64>,
    /// How many durable subscriptions live here, and how many may.
    bound: usize,
    max_bound: usize,
    /// How many have ended, and still have messages that are on their way to the dead letters.
    ending: usize,
    notices: Notices,
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
            settlements: Settlements::default(),
            marks: BTreeMap::new(),
            bound: 0,
            max_bound: options.durable.max_subscriptions,
            ending: 0,
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
        // Another one may have the name of one that has ended.
        self.queues.values().filter(|queue| !queue.is_ending()).map(Queue::stats)
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
        match self.push(now, key, message, (Source::Sender(ticket), None), effects) {
            Ok(Pushed::Added(_)) => Some(Ok(1)),
            Ok(Pushed::Waiting) => None,
            Ok(Pushed::Overflowed(message)) => self.divert(now, &message, ticket, effects),
            Err(refusal) => Some(Err(refusal)),
        }
    }

    #[inline]
    fn push<E: Effects>(
        &mut self,
        now: Instant,
        key: QueueKey,
        message: Arc<Message>,
        (source, replaces): (Source, Option<NonZeroU64>),
        effects: &mut E,
    ) -> Result<Pushed, Refusal> {
        let Some(queue) = self.queues.get_mut(key) else {
            return Ok(Pushed::Added(0));
        };
        let stored = if queue.must_store(&message) { self.storage.next_sequence() } else { None };
        if stored.is_some() || queue.admits_in_order() {
            return self.line_up(now, key, (message, stored), (source, replaces), effects);
        }
        let pushed = queue.push(now, &self.clock, message);
        if let Ok(Pushed::Added(dropped @ 1..)) = &pushed {
            effects.note(Note::Dropped { queue: queue.name().clone(), reason: "overflow", count: *dropped });
        }
        self.tend(now, key, effects);
        pushed
    }

    /// Adds a consumer, in the place of another of its session if it `replaces` one. It gets nothing before
    /// [`Queues::hand_out`].
    pub(super) fn consume(
        &mut self,
        consumer: Consumer,
        replaces: Option<SubscriptionKey>,
        queue: &Destination,
    ) -> Result<(), Refusal> {
        let key = self.open(queue)?;
        let replaced = replaces.map(|subscription| SubscriberId { subscription, ..consumer.id });
        self.with(key, |queue| {
            replaced.into_iter().for_each(|replaced| queue.cancel(replaced));
            queue.consume(consumer)
        })
    }

    /// Gives consumers with credit what waits in a queue; a queue with neither is forgotten.
    pub(super) fn hand_out<E: Effects>(&mut self, now: Instant, queue: &Destination, effects: &mut E) {
        if let Some(key) = self.names.get(queue).copied() {
            self.tend(now, key, effects);
        }
    }

    /// Whether another reader can be shown something of a queue.
    pub(super) fn check_readers(&self, queue: &Destination) -> Result<(), Refusal> {
        let queue = self.names.get(queue).and_then(|key| self.queues.get(*key));
        queue.map_or(Ok(()), Queue::check_readers)
    }

    /// Shows a reader some of what waits in a queue.
    pub(super) fn browse<E: Effects>(
        &mut self,
        now: Instant,
        reader: &Consumer,
        queue: &Destination,
        after: Option<u64>,
        effects: &mut E,
    ) -> Shown {
        let Some(key) = self.names.get(queue).copied() else {
            return Shown::All;
        };
        // Takes out what has expired.
        self.tend(now, key, effects);
        let (home, number) = (self.home, key.data().as_ffi());
        let tag = |sequence| Tag { home, queue: number, sequence };
        let shown = self.queues.get_mut(key).map_or(Shown::All, |queue| queue.show(reader, after, tag, effects));
        if shown == Shown::Later {
            self.tend(now, key, effects);
        }
        shown
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

    /// What `session` holds of these stays its own when the subscription ends, until it is settled.
    pub(super) fn keep(&mut self, session: SessionId, tags: &[Tag]) {
        for tag in tags {
            if let Some(queue) = self.queues.get_mut(key_of(tag)) {
                queue.keep(session, tag.sequence);
            }
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
            if queue.is_some_and(|queue| queue.settle(now, &self.clock, session, tag.sequence, outcome)) {
                self.send_letter(now, key, tag.sequence, effects);
            }
            if let Some(queue) = self.queues.get_mut(key) {
                changes.append(queue.changes());
            }
            if let Some(earlier) = touched.replace(key).filter(|earlier| *earlier != key) {
                self.tend(now, earlier, effects);
            }
        }
        let Some(key) = touched else {
            return true;
        };
        let is_done = match ticket {
            Some(ticket) => self.await_settlement((session, ticket), tags, changes, effects),
            None => {
                if !changes.is_empty() {
                    effects.store(UNAWAITED, changes);
                }
                true
            }
        };
        self.tend(now, key, effects);
        is_done
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
        let life = if self.is_temporary(name) { Life::Temporary } else { Life::Usual };
        self.make_as(name, self.policies.rules_for(name), life)
    }

    fn make_as(&mut self, name: &Destination, rules: Arc<Rules>, life: Life) -> QueueKey {
        let name = name.detached();
        let mut queue = Queue::new(name.clone(), rules, life, self.storage.is_used());
        if let Some(up_to) = self.marks.remove(&name) {
            queue.restore_mark(up_to);
        }
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
        if queue.needs_store() {
            ask_store(key, queue, &mut self.storage, effects);
        }
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
            match queue.is_ending() {
                true => self.ending = self.ending.saturating_sub(1),
                false => drop(self.names.remove(queue.name())),
            }
            queue.give_up();
            if queue.has_mark() {
                let mark = Change::Mark { queue: queue.name().clone(), up_to: 0 };
                queue.changes().push(mark);
            }
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

/// Asks the store for what a queue waits for.
#[cold]
fn ask_store<E: Effects>(key: QueueKey, queue: &mut Queue, storage: &mut Storage, effects: &mut E) {
    if let Some(up_to) = queue.next_mark() {
        let change = Change::Mark { queue: queue.name().clone(), up_to };
        storage.submit(vec![change], Awaited::Mark { queue: key, up_to }, effects);
    }
    let lookup = queue.next_lookup();
    if !lookup.is_empty() {
        effects.fetch(key.data().as_ffi(), lookup);
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
