//! One queue: each message goes to one consumer, in order, until it is settled (Q1).

mod bound;
mod browse;
mod end;
mod hand_out;
mod paging;
mod settle;
mod stored;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) use self::bound::{Bound, Dissolved};
use self::browse::Page;
use self::hand_out::Unsettled;
use self::paging::Asked;
use self::settle::Dying;
use self::stored::Mark;
use super::admission::Admission;
use super::backlog::Backlog;
use super::command::{Change, Consumer};
use super::consumers::Consumers;
use super::entry::{Cargo, Entry, GroupKey};
use super::options::{Overflow, QueueOptions, WhenExpired};
use super::policy::Rules;
use crate::clock::Clock;
use crate::destination::Destination;
use crate::hash::Keyed;
use crate::message::{Message, Refusal, SubscriberId};

pub(super) use browse::Shown;

/// The waits of a message are kept between these, so that none of them is a loop without rest or passes the end of
/// time.
const MIN_WAIT: Duration = Duration::from_millis(1);
const MAX_WAIT: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The priority that is delivered first, and that of messages that say none.
const HIGHEST_PRIORITY: u8 = 9;
const USUAL_PRIORITY: u8 = 4;

/// Messages that may be on their way to the dead letters at a time because they expired; the others wait.
const MAX_DYING: usize = 256;

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
    /// Messages that are only in the store, until their turn comes.
    pub away: usize,
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
    /// What was given to consumers and waits for the store before it may go, in order.
    outgoing: VecDeque<u64>,
    /// Until the dead-letter queue has them.
    dying: BTreeMap<u64, Dying>,
    kept: Load,
    reserved: Load,
    /// How many were dropped to be within the limits again, and are not told yet.
    trimmed: usize,
    /// Bytes of stored messages that are in memory too.
    resident: usize,
    /// How many messages are only in the store.
    away: usize,
    /// What is being read from the store.
    asked: Vec<Asked>,
    /// What readers are to be shown when it was read.
    pages: Vec<Page>,
    mark: Mark,
    /// Messages that came back after a restart, and whose delay was over before it, by when that was. Empty once all are back.
    early: BTreeMap<(u64, u64), (Entry, Option<Instant>)>,
    /// Messages on their way into the store, and what came behind them.
    admission: Admission,
    /// What is to be changed in the store for what has happened here.
    changes: Vec<Change>,
    /// Since when nobody would notice if it were gone, where it stays for a while.
    idle_since: Option<Instant>,
    life: Life,
    /// Whether there is a store.
    has_store: bool,
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
    /// Until then, whatever it holds, unless somebody subscribes before: it is for a client that may be gone for good.
    Expecting(Instant),
    /// As long as a durable subscription that keeps its messages here.
    Bound(Box<Bound>),
    /// Its durable subscription is no more: until the dead letters have answered about what is dying.
    Ending,
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

/// So many messages of so many bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    messages: usize,
    bytes: usize,
    /// The bytes of those that are not in a store.
    volatile: usize,
}

impl Queue {
    pub(super) fn new(name: Destination, rules: Arc<Rules>, life: Life, has_store: bool) -> Queue {
        Queue {
            name,
            backlog: Backlog::default(),
            consumers: Consumers::new(rules.options.single_active_consumer),
            rules,
            unsettled: HashMap::default(),
            outgoing: VecDeque::new(),
            dying: BTreeMap::new(),
            kept: Load::default(),
            reserved: Load::default(),
            trimmed: 0,
            resident: 0,
            away: 0,
            asked: Vec::new(),
            pages: Vec::new(),
            mark: Mark::default(),
            early: BTreeMap::new(),
            admission: Admission::default(),
            changes: Vec::new(),
            idle_since: None,
            life,
            has_store,
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
            away: self.away,
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
            Overflow::DropOldest => {
                // What was handed out and so not dropped may have come back.
                while let Some(refusal) = self.beyond() {
                    self.drop_oldest().map_err(|()| refusal)?;
                    self.trimmed += 1;
                }
                self.admit_beside(self.fixed(), message)?;
            }
            Overflow::Reject | Overflow::DeadLetter => self.admit(message)?,
        }
        self.reserved.add(message.content.footprint(), self.must_store(message));
        Ok(())
    }

    pub(super) fn unreserve(&mut self, message: &Message) {
        self.reserved.subtract(message.content.footprint(), self.must_store(message));
    }

    /// Adds a message for which there is space, and answers how many others were dropped for it and since the last one.
    pub(super) fn push_reserved(&mut self, now: Instant, clock: &Clock, entry: Entry) -> usize {
        let mut dropped = std::mem::take(&mut self.trimmed);
        if let Some(message) = entry.cargo.message() {
            let message = Arc::clone(message);
            self.unreserve(&message);
            while self.rules.options.overflow == Overflow::DropOldest
                && self.admit(&message).is_err()
                && self.drop_oldest().is_ok()
            {
                dropped += 1;
            }
        }
        self.add(now, clock, entry);
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
        self.outlive_consumer(consumer.ends_queue);
        self.consumers.add(consumer);
        Ok(())
    }

    /// Takes a consumer away; what it had to settle goes back to its place (Q4), but for what a transaction will
    /// settle, and what still reaches its client.
    pub(super) fn cancel(&mut self, consumer: SubscriberId) {
        let Some((key, held)) = self.consumers.remove(consumer) else {
            return;
        };
        self.backlog.leave(key);
        for sequence in held {
            if self.unsettled.get(&sequence).is_some_and(|unsettled| !unsettled.is_claimed && !unsettled.is_kept) {
                self.take_back(sequence);
            }
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

    /// Takes a message out whose time is over. It is now dying, as after [`Queue::settle`]; or none, if it was dropped. Only so
    /// many die at a time: the next ones when those are buried.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Option<u64>> {
        if self.dying.len() >= MAX_DYING {
            return None;
        }
        let (sequence, entry) = self.backlog.take_expired(now)?;
        if self.rules.options.expired == WhenExpired::Drop || !self.has_dead_letters() {
            self.forget(&entry);
            return Some(None);
        }
        self.dying.insert(sequence, Dying::new(entry, "expired"));
        Some(Some(sequence))
    }

    /// Adds a message for which there is space.
    #[inline]
    fn add(&mut self, now: Instant, clock: &Clock, mut entry: Entry) {
        self.note_arrival(now, &entry);
        self.take_up(&mut entry);
        let options = &self.rules.options;
        if let Cargo::Here(message) = &entry.cargo
            && message.content.terms.is_none()
            && options.ttl.is_none()
            && !options.priority
            && entry.stored.is_none()
        {
            return self.backlog.push_plain(entry);
        }
        let due = self.arrange(now, clock, &mut entry);
        self.page_out_if_crowded(&mut entry);
        self.line_in(now, due, entry);
    }

    /// Reads what a new message asks for into its entry; answers when it is to be delivered, if that is not now.
    fn arrange(&self, now: Instant, clock: &Clock, entry: &mut Entry) -> Option<Instant> {
        let options = &self.rules.options;
        let message = entry.cargo.message()?;
        let (mut expires, mut priority) = (options.ttl.and_then(|ttl| now.checked_add(ttl)), None);
        if let Some(terms) = &message.content.terms {
            priority = terms.priority;
            if let Some(own) = terms.expires {
                expires = clock.instant(own.epoch_ms(clock.epoch_ms(now)));
            }
        }
        let due = due(now, clock, message).filter(|due| *due > now);
        let group = GroupKey::of(message);
        (entry.expires, entry.rank, entry.group) = (expires, rank(priority, options), group);
        due
    }

    /// Puts a new message behind all others of its rank, at once or when its delay is over.
    fn line_in(&mut self, now: Instant, due: Option<Instant>, entry: Entry) {
        match due {
            Some(due) => {
                let sequence = self.backlog.next_sequence();
                self.backlog.delay(now, due, sequence, entry);
            }
            None => self.backlog.push(entry),
        }
    }

    /// A message is here for good.
    #[inline]
    fn take_up(&mut self, entry: &mut Entry) {
        let bytes = entry.cargo.footprint();
        self.kept.add(bytes, entry.stored.is_some());
        match entry.stored {
            None => {}
            Some(_) if entry.cargo.is_away() => self.away += 1,
            Some(_) => self.resident += bytes,
        }
    }

    /// A message leaves this queue for good.
    fn forget(&mut self, entry: &Entry) {
        let bytes = entry.cargo.footprint();
        self.kept.subtract(bytes, entry.stored.is_some());
        let Some(stored) = entry.stored else {
            return;
        };
        match entry.cargo.is_away() {
            true => self.away = self.away.saturating_sub(1),
            false => self.resident = self.resident.saturating_sub(bytes),
        }
        self.changes.push(Change::Delete { sequence: stored.get() });
    }

    fn drop_oldest(&mut self) -> Result<(), ()> {
        let dropped = self.backlog.take_oldest().ok_or(())?;
        self.forget(&dropped);
        Ok(())
    }

    /// The limit that is passed already, if one is.
    fn beyond(&self) -> Option<Refusal> {
        let (kept, options) = (self.kept, &self.rules.options);
        if kept.messages > options.max_messages {
            Some(self.rules.too_many_messages())
        } else if kept.bytes > options.max_bytes {
            Some(self.rules.too_many_bytes())
        } else {
            (kept.volatile > options.max_memory).then(|| self.rules.too_much_memory())
        }
    }

    fn admit(&self, message: &Message) -> Result<(), Refusal> {
        self.admit_beside(self.kept, message)
    }

    fn admit_beside(&self, kept: Load, message: &Message) -> Result<(), Refusal> {
        let options = &self.rules.options;
        if kept.messages + self.reserved.messages >= options.max_messages {
            return Err(self.rules.too_many_messages());
        }
        let footprint = message.content.footprint();
        let with = |kept: usize, reserved: usize| kept.saturating_add(reserved).saturating_add(footprint);
        if with(kept.bytes, self.reserved.bytes) > options.max_bytes {
            return Err(self.rules.too_many_bytes());
        }
        if with(kept.volatile, self.reserved.volatile) > options.max_memory && !self.must_store(message) {
            return Err(self.rules.too_much_memory());
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
    fn add(&mut self, bytes: usize, is_stored: bool) {
        self.messages += 1;
        self.bytes += bytes;
        self.volatile += if is_stored { 0 } else { bytes };
    }

    fn subtract(&mut self, bytes: usize, is_stored: bool) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.volatile = self.volatile.saturating_sub(if is_stored { 0 } else { bytes });
    }
}

fn after(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait.clamp(MIN_WAIT, MAX_WAIT)).unwrap_or(now)
}
