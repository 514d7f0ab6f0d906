//! One queue: each message goes to one consumer, in order, until it is settled (Q1).

mod bound;
mod end;
mod stored;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) use self::bound::Bound;
use super::admission::Admission;
use super::backlog::{Backlog, Entry, Place};
use super::command::{Change, Consumer, Effects};
use super::consumers::{ConsumerKey, Consumers};
use super::letter::letter;
use super::options::{Overflow, QueueOptions, WhenExpired};
use super::policy::Rules;
use crate::clock::Clock;
use crate::destination::Destination;
use crate::hash::Keyed;
use crate::message::{Delivery, Message, Outcome, Refusal, SessionId, SubscriberId, Tag, WhenSlow};

/// The waits of a message are kept between these, so that none of them is a loop without rest or passes the end of
/// time.
const MIN_WAIT: Duration = Duration::from_millis(1);
const MAX_WAIT: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The priority that is delivered first, and that of messages that say none.
const HIGHEST_PRIORITY: u8 = 9;
const USUAL_PRIORITY: u8 = 4;

/// What an operator may want to know about a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStats {
    /// Its name.
    pub name: Destination,
    /// Messages that wait for a consumer.
    pub ready: usize,
    /// Messages that were handed out and are not settled.
    pub unsettled: usize,
    /// Messages that wait for their redelivery delay to end.
    pub delayed: usize,
    /// All messages, those on their way to the dead letters included.
    pub messages: usize,
    /// The bytes of all messages.
    pub bytes: usize,
    /// How many consumers it has.
    pub consumers: usize,
}

#[derive(Debug)]
pub(super) struct Queue {
    name: Destination,
    rules: Arc<Rules>,
    backlog: Backlog,
    consumers: Consumers,
    unsettled: HashMap<u64, Unsettled, Keyed>,
    /// Until the dead-letter queue has them.
    dying: BTreeMap<u64, (Entry, &'static str)>,
    kept: Load,
    reserved: Load,
    /// Messages on their way into the store, and what came behind them.
    admission: Admission,
    /// What is to be changed in the store for what has happened here.
    changes: Vec<Change>,
    /// Since when nobody would notice if it were gone, where it stays for a while.
    idle_since: Option<Instant>,
    life: Life,
    /// When this queue is to be woken, as its home has noted.
    pub(super) wake: Option<Instant>,
}

/// How long a queue lives.
#[derive(Debug)]
pub(super) enum Life {
    /// As long as it has messages or consumers, and a while longer.
    Usual,
    /// As long as it has consumers, whatever it holds: from the beginning, or since it has one who said so.
    Temporary,
    /// As long as a durable subscription that keeps its messages here.
    Bound(Box<Bound>),
}

/// What became of a message that was to be added.
#[derive(Debug)]
pub(super) enum Pushed {
    /// It is there, and so many others were dropped for it.
    Added(usize),
    /// The queue is full, and the dead letters are to get it.
    Overflowed(Arc<Message>),
    /// It waits for the store; its source is told later.
    Waiting,
}

#[derive(Debug)]
struct Unsettled {
    entry: Entry,
    session: SessionId,
    consumer: ConsumerKey,
    /// A transaction that is being committed will settle it.
    is_claimed: bool,
}

/// So many messages of so many bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    messages: usize,
    bytes: usize,
}

impl Queue {
    pub(super) fn new(name: Destination, rules: Arc<Rules>, life: Life) -> Queue {
        Queue {
            name,
            backlog: Backlog::default(),
            consumers: Consumers::new(rules.options.single_active_consumer),
            rules,
            unsettled: HashMap::default(),
            dying: BTreeMap::new(),
            kept: Load::default(),
            reserved: Load::default(),
            admission: Admission::default(),
            changes: Vec::new(),
            idle_since: None,
            life,
            wake: None,
        }
    }

    pub(super) fn name(&self) -> &Destination {
        &self.name
    }

    pub(super) fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    pub(super) fn stats(&self) -> QueueStats {
        QueueStats {
            name: self.name.clone(),
            ready: self.backlog.ready(),
            unsettled: self.unsettled.len(),
            delayed: self.backlog.delayed(),
            messages: self.kept.messages,
            bytes: self.kept.bytes,
            consumers: self.consumers.len(),
        }
    }

    /// Adds a message at the end, or where its priority and its delay put it.
    pub(super) fn push(&mut self, now: Instant, clock: &Clock, message: Arc<Message>) -> Result<Pushed, Refusal> {
        self.check_delay(now, clock, &message)?;
        let mut dropped = 0;
        while let Err(refusal) = self.admit(&message) {
            match self.rules.options.overflow {
                Overflow::Reject => return Err(refusal),
                Overflow::DeadLetter => return Ok(Pushed::Overflowed(message)),
                Overflow::DropOldest => self.drop_oldest().map_err(|()| refusal)?,
            }
            dropped += 1;
        }
        self.add(now, clock, Entry::new(message));
        Ok(Pushed::Added(dropped))
    }

    /// Keeps space for a message that [`Queue::push_reserved`] will bring, or [`Queue::unreserve`] will not.
    pub(super) fn reserve(&mut self, now: Instant, clock: &Clock, message: &Message) -> Result<(), Refusal> {
        self.check_delay(now, clock, message)?;
        match self.rules.options.overflow {
            // What is dropped for it is not dropped before it is certain that it comes; but there must be something.
            Overflow::DropOldest => self.admit_beside(self.fixed(), message)?,
            Overflow::Reject | Overflow::DeadLetter => self.admit(message)?,
        }
        self.reserved.add(message);
        Ok(())
    }

    pub(super) fn unreserve(&mut self, message: &Message) {
        self.reserved.subtract(message);
    }

    /// Adds a message, and answers how many others were dropped for it.
    pub(super) fn push_reserved(
        &mut self,
        now: Instant,
        clock: &Clock,
        message: Arc<Message>,
        stored: Option<NonZeroU64>,
    ) -> usize {
        self.reserved.subtract(&message);
        let mut dropped = 0;
        while self.rules.options.overflow == Overflow::DropOldest
            && self.admit(&message).is_err()
            && self.drop_oldest().is_ok()
        {
            dropped += 1;
        }
        self.add(now, clock, Entry { stored, ..Entry::new(message) });
        dropped
    }

    pub(super) fn consume(&mut self, consumer: Consumer) -> Result<(), Refusal> {
        self.cancel(consumer.id);
        if self.rules.options.exclusive && !self.consumers.is_empty() {
            return Err(Refusal::Exclusive(self.name.text().clone()));
        }
        if self.consumers.len() >= self.rules.options.max_consumers {
            return Err(self.rules.too_many_consumers());
        }
        if matches!(self.life, Life::Usual) && (consumer.ends_queue || self.rules.options.auto_delete) {
            self.life = Life::Temporary;
        }
        self.consumers.add(consumer);
        Ok(())
    }

    /// Takes a consumer away; what it had to settle goes back to its place (Q4), but for what a transaction will
    /// settle.
    pub(super) fn cancel(&mut self, consumer: SubscriberId) {
        let Some((key, held)) = self.consumers.remove(consumer) else {
            return;
        };
        self.backlog.leave(key);
        for sequence in held {
            if self.unsettled.get(&sequence).is_some_and(|unsettled| !unsettled.is_claimed) {
                self.put_back(sequence);
            }
        }
    }

    /// Settles what `session` holds. Answers true where the message is now dying: [`Queue::letter`] tells what to
    /// bring to the dead letters, and then it must be [`Queue::bury`] or [`Queue::revive`].
    pub(super) fn settle(&mut self, now: Instant, session: SessionId, sequence: u64, outcome: Outcome) -> bool {
        let held = self.unsettled.get(&sequence);
        let is_theirs = held.is_some_and(|unsettled| unsettled.session == session && !unsettled.is_claimed);
        is_theirs && self.conclude(now, sequence, outcome)
    }

    /// Keeps what `session` holds for a transaction, if it still holds it.
    pub(super) fn claim(&mut self, session: SessionId, sequence: u64) -> bool {
        match self.unsettled.get_mut(&sequence) {
            Some(unsettled) if unsettled.session == session && !unsettled.is_claimed => {
                unsettled.is_claimed = true;
                true
            }
            _ => false,
        }
    }

    /// The number in the store of what is claimed. With `forget` the store is told by others that it is settled.
    pub(super) fn claimed(&mut self, sequence: u64, forget: bool) -> Option<NonZeroU64> {
        let entry = &mut self.unsettled.get_mut(&sequence)?.entry;
        if forget { entry.stored.take() } else { entry.stored }
    }

    /// Leaves what was claimed as it was, or puts it back if its consumer is gone meanwhile.
    pub(super) fn unclaim(&mut self, sequence: u64) {
        let Some(unsettled) = self.unsettled.get_mut(&sequence) else {
            return;
        };
        unsettled.is_claimed = false;
        if !self.consumers.contains(unsettled.consumer) {
            self.put_back(sequence);
        }
    }

    /// What the dead-letter queue `to` is to get for a dying message.
    pub(super) fn letter(&self, sequence: u64, to: &Destination, epoch_ms: u64) -> Option<Message> {
        let (entry, reason) = self.dying.get(&sequence)?;
        Some(letter(&entry.message, to, (reason, entry.handed_out), entry.stored.is_some(), epoch_ms))
    }

    /// Why a message is dying.
    pub(super) fn reason(&self, sequence: u64) -> Option<&'static str> {
        self.dying.get(&sequence).map(|(_, reason)| *reason)
    }

    /// Forgets a dying message.
    pub(super) fn bury(&mut self, sequence: u64) {
        if let Some((entry, _)) = self.dying.remove(&sequence) {
            self.forget(&entry);
        }
    }

    /// Keeps a dying message after all, and tries again after the longest delay.
    pub(super) fn revive(&mut self, now: Instant, sequence: u64) {
        if let Some((entry, _)) = self.dying.remove(&sequence) {
            self.backlog.delay(now, after(now, self.rules.options.redelivery_delay_max), sequence, entry);
        }
    }

    /// Puts messages into their place whose delay is over.
    pub(super) fn wake(&mut self, now: Instant) {
        self.backlog.wake(now);
    }

    /// Whether [`Queue::expire`] has something to do.
    #[inline]
    pub(super) fn has_expired(&self, now: Instant) -> bool {
        self.backlog.next_end().is_some_and(|end| end <= now)
    }

    /// Takes a message out whose time is over. It is now dying, as after [`Queue::settle`]; or none, if it was dropped.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Option<u64>> {
        let (sequence, entry) = self.backlog.take_expired(now)?;
        if self.rules.options.expired == WhenExpired::Drop || !self.has_dead_letters() {
            self.forget(&entry);
            return Some(None);
        }
        self.dying.insert(sequence, (entry, "expired"));
        Some(Some(sequence))
    }

    /// Hands out what there is to those who have credit, in turn. `tag` names a message of this queue. What has expired
    /// must have been taken out.
    pub(super) fn hand_out<E: Effects>(&mut self, tag: impl Fn(u64) -> Tag, effects: &mut E) {
        loop {
            if self.backlog.groups().has_due() {
                self.hand_out_lanes(&tag, effects);
            }
            self.hand_out_in_turn(&tag, effects);
            if !self.backlog.groups().has_due() {
                return;
            }
        }
    }

    /// Hands out what waits for one consumer alone.
    #[cold]
    fn hand_out_lanes<E: Effects>(&mut self, tag: &impl Fn(u64) -> Tag, effects: &mut E) {
        while let Some(key) = self.backlog.groups().next_due() {
            while let Some(consumer) = self.consumers.with_credit(key)
                && let Some((sequence, entry)) = self.backlog.take_own(key)
            {
                self.give((key, &consumer), sequence, entry, tag, effects);
            }
        }
    }

    #[inline]
    fn hand_out_in_turn<E: Effects>(&mut self, tag: &impl Fn(u64) -> Tag, effects: &mut E) {
        let max_groups = self.rules.options.max_groups;
        let mut passed = 0;
        while !self.backlog.is_idle() && passed < self.consumers.turns() {
            let Some((key, consumer)) = self.consumers.next() else {
                return;
            };
            let Some((sequence, entry)) = self.backlog.take(key, &consumer, max_groups) else {
                self.consumers.passed(key);
                passed += 1;
                continue;
            };
            passed = 0;
            self.give((key, &consumer), sequence, entry, tag, effects);
        }
    }

    /// Shows a reader at most `credit` messages that wait behind `after`, and answers how many there were.
    pub(super) fn show<E: Effects>(
        &self,
        reader: &Consumer,
        after: Option<u64>,
        tag: impl Fn(u64) -> Tag,
        effects: &mut E,
    ) -> usize {
        let found = self.backlog.look(after.map(Place::at_cursor), reader.credit as usize);
        let count = found.len();
        for (place, message, redeliveries) in found {
            let tag = Some(tag(place.cursor()));
            effects.deliver(reader.id, Delivery { message, when_slow: WhenSlow::default(), tag, redeliveries });
        }
        count
    }

    #[inline]
    fn give<E: Effects>(
        &mut self,
        (key, consumer): (ConsumerKey, &Consumer),
        sequence: u64,
        mut entry: Entry,
        tag: &impl Fn(u64) -> Tag,
        effects: &mut E,
    ) {
        let delivery = Delivery {
            message: Arc::clone(&entry.message),
            when_slow: WhenSlow::default(),
            tag: Some(tag(sequence)),
            redeliveries: entry.handed_out,
        };
        entry.handed_out = entry.handed_out.saturating_add(1);
        self.consumers.took(key, sequence);
        let unsettled = Unsettled { entry, session: consumer.id.session, consumer: key, is_claimed: false };
        self.unsettled.insert(sequence, unsettled);
        effects.deliver(consumer.id, delivery);
    }

    /// Settles what was claimed, or is known to be held; answers as [`Queue::settle`] does.
    pub(super) fn conclude(&mut self, now: Instant, sequence: u64, outcome: Outcome) -> bool {
        let Some(Unsettled { mut entry, consumer, .. }) = self.unsettled.remove(&sequence) else {
            return false;
        };
        if self.unsettled.is_empty() && self.unsettled.capacity() > 1024 {
            self.unsettled = HashMap::default();
        }
        self.consumers.release(consumer, sequence);
        let groups = self.backlog.groups();
        if groups.is_used() {
            groups.release(&entry.message);
            groups.wake(consumer);
        }
        match outcome {
            Outcome::Consumed => self.forget(&entry),
            Outcome::Returned => {
                entry.returned = entry.returned.saturating_add(1);
                // Once at once; but a consumer who stays and cannot be reached must not make a loop without rest.
                match entry.returned.checked_sub(2) {
                    None => self.backlog.put_back(sequence, entry),
                    Some(doublings) => {
                        let due = after(now, wait(doublings, &self.rules.options));
                        self.backlog.delay(now, due, sequence, entry);
                    }
                }
            }
            Outcome::Rejected => return self.refuse(now, sequence, entry, None),
            Outcome::Deferred(delay) => return self.refuse(now, sequence, entry, Some(delay)),
            Outcome::Discarded => {
                self.dying.insert(sequence, (entry, "discarded"));
                return true;
            }
        }
        false
    }

    /// A consumer does not want the message: it comes again, or is now dying.
    fn refuse(&mut self, now: Instant, sequence: u64, mut entry: Entry, delay: Option<Duration>) -> bool {
        let options = &self.rules.options;
        entry.refused = entry.refused.saturating_add(1);
        if entry.refused >= options.max_deliveries && options.dead_letter.is_some() {
            self.dying.insert(sequence, (entry, "max-deliveries"));
            return true;
        }
        if let Some(stored) = entry.stored {
            self.changes.push(Change::State { sequence: stored.get(), redeliveries: entry.refused });
        }
        let delay = match delay {
            Some(delay) => delay.min(options.max_delay),
            None => wait(entry.refused - 1, options),
        };
        self.backlog.delay(now, after(now, delay), sequence, entry);
        false
    }

    fn put_back(&mut self, sequence: u64) {
        if let Some(unsettled) = self.unsettled.remove(&sequence) {
            self.backlog.groups().release(&unsettled.entry.message);
            self.backlog.put_back(sequence, unsettled.entry);
        }
    }

    /// Adds a message for which there is space.
    #[inline]
    fn add(&mut self, now: Instant, clock: &Clock, mut entry: Entry) {
        let message = &entry.message;
        self.kept.add(message);
        let options = &self.rules.options;
        if message.content.terms.is_none() && options.ttl.is_none() && !options.priority {
            return self.backlog.push_plain(entry.stored, entry.message);
        }
        let (mut expires, mut priority) = (options.ttl.and_then(|ttl| now.checked_add(ttl)), None);
        if let Some(terms) = &message.content.terms {
            priority = terms.priority;
            if let Some(own) = terms.expires {
                expires = clock.instant(own.epoch_ms(clock.epoch_ms(now)));
            }
        }
        let due = due(now, clock, message).filter(|due| *due > now);
        (entry.expires, entry.rank) = (expires, rank(priority, options));
        match due {
            Some(due) => {
                let sequence = self.backlog.next_sequence();
                self.backlog.delay(now, due, sequence, entry);
            }
            None => self.backlog.push(entry),
        }
    }

    /// A message leaves this queue for good.
    fn forget(&mut self, entry: &Entry) {
        self.kept.subtract(&entry.message);
        if let Some(stored) = entry.stored {
            self.changes.push(Change::Delete { sequence: stored.get() });
        }
    }

    fn drop_oldest(&mut self) -> Result<(), ()> {
        let dropped = self.backlog.take_oldest().ok_or(())?;
        self.forget(&dropped);
        Ok(())
    }

    fn admit(&self, message: &Message) -> Result<(), Refusal> {
        self.admit_beside(self.kept, message)
    }

    fn admit_beside(&self, kept: Load, message: &Message) -> Result<(), Refusal> {
        let options = &self.rules.options;
        if kept.messages + self.reserved.messages >= options.max_messages {
            return Err(self.rules.too_many_messages());
        }
        let bytes = kept.bytes.saturating_add(self.reserved.bytes).saturating_add(message.content.footprint());
        if bytes > options.max_bytes {
            return Err(self.rules.too_many_bytes());
        }
        Ok(())
    }

    fn check_delay(&self, now: Instant, clock: &Clock, message: &Message) -> Result<(), Refusal> {
        let is_too_long = |due: Instant| due.saturating_duration_since(now) > self.rules.options.max_delay;
        if message.content.terms.as_ref().is_some_and(|terms| terms.due.is_some())
            && due(now, clock, message).is_none_or(is_too_long)
        {
            return Err(self.rules.too_long_a_delay());
        }
        Ok(())
    }

    fn has_dead_letters(&self) -> bool {
        self.rules.options.dead_letter.as_ref().is_some_and(|letters| *letters != self.name)
    }
}

/// When a message is to be handed out at the earliest; also none if that is too far away to ever come.
fn due(now: Instant, clock: &Clock, message: &Message) -> Option<Instant> {
    let due = message.content.terms.as_ref()?.due?;
    clock.instant(due.epoch_ms(clock.epoch_ms(now)))
}

/// The rank of a priority: what comes first has the lowest.
fn rank(priority: Option<u8>, options: &QueueOptions) -> u8 {
    if options.priority { HIGHEST_PRIORITY - priority.unwrap_or(USUAL_PRIORITY).min(HIGHEST_PRIORITY) } else { 0 }
}

impl Load {
    fn add(&mut self, message: &Message) {
        self.messages += 1;
        self.bytes += message.content.footprint();
    }

    fn subtract(&mut self, message: &Message) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(message.content.footprint());
    }
}

/// The delay after so many doublings of the first one.
fn wait(doublings: u32, options: &QueueOptions) -> Duration {
    let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
    options.redelivery_delay.saturating_mul(factor).min(options.redelivery_delay_max)
}

fn after(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait.clamp(MIN_WAIT, MAX_WAIT)).unwrap_or(now)
}
