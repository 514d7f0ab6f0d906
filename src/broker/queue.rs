//! One queue: each message goes to one consumer, in order, until it is settled (Q1).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backlog::{Backlog, Entry};
use super::command::{Consumer, Effects};
use super::consumers::{ConsumerKey, Consumers};
use super::options::QueueOptions;
use crate::destination::Destination;
use crate::hash::Keyed;
use crate::headers::Headers;
use crate::message::{Content, Delivery, Message, Outcome, Refusal, SessionId, SubscriberId, Tag, WhenSlow};

/// The waits of a message are kept between these, so that none of them is a loop without rest or passes the end of
/// time.
const MIN_WAIT: Duration = Duration::from_millis(1);
const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

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
    backlog: Backlog,
    consumers: Consumers,
    unsettled: HashMap<u64, Unsettled, Keyed>,
    /// Until the dead-letter queue has them.
    dying: BTreeMap<u64, (Entry, &'static str)>,
    kept: Load,
    reserved: Load,
    /// When this queue is to be woken, as its home has noted.
    pub(super) wake: Option<Instant>,
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
    pub(super) fn new(name: Destination) -> Queue {
        Queue {
            name,
            backlog: Backlog::default(),
            consumers: Consumers::default(),
            unsettled: HashMap::default(),
            dying: BTreeMap::new(),
            kept: Load::default(),
            reserved: Load::default(),
            wake: None,
        }
    }

    pub(super) fn name(&self) -> &Destination {
        &self.name
    }

    /// Whether nobody would notice if it were gone.
    pub(super) fn is_useless(&self) -> bool {
        self.consumers.is_empty() && self.kept.messages == 0 && self.reserved.messages == 0
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.backlog.next_due()
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

    /// Adds a message at the end.
    pub(super) fn push(&mut self, message: Arc<Message>, options: &QueueOptions) -> Result<(), Refusal> {
        self.admit(&message, options)?;
        self.kept.add(&message);
        self.backlog.push(message);
        Ok(())
    }

    /// Keeps space for a message that [`Queue::push_reserved`] will bring, or [`Queue::unreserve`] will not.
    pub(super) fn reserve(&mut self, message: &Message, options: &QueueOptions) -> Result<(), Refusal> {
        self.admit(message, options)?;
        self.reserved.add(message);
        Ok(())
    }

    pub(super) fn unreserve(&mut self, message: &Message) {
        self.reserved.subtract(message);
    }

    pub(super) fn push_reserved(&mut self, message: Arc<Message>) {
        self.reserved.subtract(&message);
        self.kept.add(&message);
        self.backlog.push(message);
    }

    pub(super) fn consume(&mut self, consumer: Consumer, options: &QueueOptions) -> Result<(), Refusal> {
        self.cancel(consumer.id);
        if self.consumers.len() >= options.max_consumers {
            return Err(Refusal::Limit {
                code: "too-many-consumers",
                what: "the consumers of this queue",
                limit: options.max_consumers as u64,
                key: "queues.max_consumers",
            });
        }
        self.consumers.add(consumer);
        Ok(())
    }

    /// Takes a consumer away; what it had to settle goes back to its place (Q4), but for what a transaction will
    /// settle.
    pub(super) fn cancel(&mut self, consumer: SubscriberId) {
        for sequence in self.consumers.remove(consumer).into_iter().flatten() {
            if self.unsettled.get(&sequence).is_some_and(|unsettled| !unsettled.is_claimed) {
                self.put_back(sequence);
            }
        }
    }

    /// Settles what `session` holds. Answers true where the message is now dying: [`Queue::letter`] tells what to
    /// bring to the dead letters, and then it must be [`Queue::bury`] or [`Queue::revive`].
    pub(super) fn settle(
        &mut self,
        now: Instant,
        session: SessionId,
        sequence: u64,
        outcome: Outcome,
        options: &QueueOptions,
    ) -> bool {
        let held = self.unsettled.get(&sequence);
        let is_theirs = held.is_some_and(|unsettled| unsettled.session == session && !unsettled.is_claimed);
        is_theirs && self.conclude(now, sequence, outcome, options)
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
    pub(super) fn letter(&self, sequence: u64, to: &Destination) -> Option<Message> {
        let (entry, reason) = self.dying.get(&sequence)?;
        let message = &entry.message;
        let count = entry.handed_out.to_string();
        let added = [
            ("original-destination", message.content.destination.as_str()),
            ("dead-letter-reason", *reason),
            ("delivery-count", count.as_str()),
        ];
        let names = added.map(|(name, _)| name);
        let others = message.content.headers.iter().filter(|(name, _)| !names.contains(name));
        let headers = Headers::from_iter(added.into_iter().chain(others));
        let content = Content { destination: to.clone(), headers, mandatory: false, ..message.content.clone() };
        Some(Message { id: message.id, origin: message.origin, content })
    }

    /// Why a message is dying.
    pub(super) fn reason(&self, sequence: u64) -> Option<&'static str> {
        self.dying.get(&sequence).map(|(_, reason)| *reason)
    }

    /// Forgets a dying message.
    pub(super) fn bury(&mut self, sequence: u64) {
        if let Some((entry, _)) = self.dying.remove(&sequence) {
            self.kept.subtract(&entry.message);
        }
    }

    /// Keeps a dying message after all, and hands it out again after the longest delay.
    pub(super) fn revive(&mut self, now: Instant, sequence: u64, options: &QueueOptions) {
        if let Some((entry, _)) = self.dying.remove(&sequence) {
            self.backlog.delay(after(now, options.redelivery_delay_max), sequence, entry);
        }
    }

    /// Puts messages into their place whose delay is over.
    pub(super) fn wake(&mut self, now: Instant) {
        self.backlog.wake(now);
    }

    /// Hands out what there is to those who have credit, in turn. `tag` names a message of this queue.
    pub(super) fn hand_out<E: Effects>(&mut self, tag: impl Fn(u64) -> Tag, effects: &mut E) {
        let mut passed = 0;
        while !self.backlog.is_idle() && passed < self.consumers.turns() {
            let Some((key, consumer)) = self.consumers.next() else {
                return;
            };
            let Some((sequence, mut entry)) = self.backlog.take(&consumer) else {
                self.consumers.passed(key);
                passed += 1;
                continue;
            };
            passed = 0;
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
    }

    /// Settles what was claimed, or is known to be held; answers as [`Queue::settle`] does.
    pub(super) fn conclude(&mut self, now: Instant, sequence: u64, outcome: Outcome, options: &QueueOptions) -> bool {
        let Some(Unsettled { mut entry, consumer, .. }) = self.unsettled.remove(&sequence) else {
            return false;
        };
        if self.unsettled.is_empty() && self.unsettled.capacity() > 1024 {
            self.unsettled = HashMap::default();
        }
        self.consumers.release(consumer, sequence);
        match outcome {
            Outcome::Consumed => self.kept.subtract(&entry.message),
            Outcome::Returned => {
                entry.returned = entry.returned.saturating_add(1);
                // Once at once; but a consumer who stays and cannot be reached must not make a loop without rest.
                match entry.returned.checked_sub(2) {
                    None => self.backlog.put_back(sequence, entry),
                    Some(doublings) => self.backlog.delay(after(now, wait(doublings, options)), sequence, entry),
                }
            }
            Outcome::Rejected => {
                entry.refused = entry.refused.saturating_add(1);
                if entry.refused >= options.max_deliveries && options.dead_letter.is_some() {
                    self.dying.insert(sequence, (entry, "max-deliveries"));
                    return true;
                }
                let due = after(now, wait(entry.refused - 1, options));
                self.backlog.delay(due, sequence, entry);
            }
            Outcome::Discarded => {
                self.dying.insert(sequence, (entry, "discarded"));
                return true;
            }
        }
        false
    }

    fn put_back(&mut self, sequence: u64) {
        if let Some(unsettled) = self.unsettled.remove(&sequence) {
            self.backlog.put_back(sequence, unsettled.entry);
        }
    }

    fn admit(&self, message: &Message, options: &QueueOptions) -> Result<(), Refusal> {
        let full = |what, limit, key| Err(Refusal::Limit { code: "queue-full", what, limit, key });
        if self.kept.messages + self.reserved.messages >= options.max_messages {
            return full("the messages of this queue", options.max_messages as u64, "queues.max_messages");
        }
        let bytes = self.kept.bytes.saturating_add(self.reserved.bytes).saturating_add(message.content.footprint());
        if bytes > options.max_bytes {
            return full("the bytes of this queue", options.max_bytes as u64, "queues.max_bytes");
        }
        Ok(())
    }
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
