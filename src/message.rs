//! What crosses layers: messages, the names of sessions and workers, deliveries and refusals.

mod terms;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use smallvec::SmallVec;

use crate::destination::{Destination, Pattern};
use crate::digits::Digits;
use crate::headers::Headers;

pub use terms::{BadMillis, Moment, Terms, millis};

/// One of the broker's workers: an index below the number of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u16);

impl WorkerId {
    /// The position of this worker in a table of all workers.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The header that says where a message for workers was sent: its queue has another name.
pub const APP_DESTINATION: &str = "app-destination";

/// What the broker says behind the last message of a queue that somebody looks at: no message of a client may say so.
pub const END_OF_BROWSING: (&str, &str) = ("browser", "end");

/// Names a session in the whole broker: the worker it lives on, and its generational key there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId {
    /// The worker that owns the session.
    pub worker: WorkerId,
    /// The key within that worker; never used again for another session.
    pub key: u64,
}

impl SessionId {
    /// What clients are told the session is called, and what names its temporary queues. `boot` differs between starts of
    /// the broker.
    pub fn name(self, boot: u32) -> String {
        MessageId { boot, worker: self.worker, sequence: self.key }.to_string()
    }

    /// Reads what [`SessionId::name`] gives, and nothing else.
    pub fn parse_name(name: &str) -> Option<(u32, SessionId)> {
        let MessageId { boot, worker, sequence } = MessageId::parse(name)?;
        Some((boot, SessionId { worker, key: sequence }))
    }

    /// The sender of what a worker sends by itself, such as the answer of an application. No session is called so: nobody
    /// hears its verdicts, and nothing counts as its own.
    pub fn of_broker(worker: WorkerId) -> SessionId {
        SessionId { worker, key: u64::MAX }
    }
}

/// Names a subscription within its session; never used again in that session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionKey(pub u32);

/// Names one subscription in the whole broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriberId {
    /// The session that subscribed.
    pub session: SessionId,
    /// Its subscription.
    pub subscription: SubscriptionKey,
}

/// Unique among all messages in the broker's life: the start of the process, the worker, and a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId {
    /// Differs between starts of the broker.
    pub boot: u32,
    /// The worker that accepted the message.
    pub worker: WorkerId,
    /// Counts up on that worker.
    pub sequence: u64,
}

impl MessageId {
    /// Reads what [`MessageId`] displays, and nothing else.
    pub fn parse(text: &str) -> Option<MessageId> {
        let (boot, rest) = text.split_once('-')?;
        let (worker, sequence) = rest.split_once('-')?;
        let id = MessageId {
            boot: u32::from_str_radix(boot, 16).ok()?,
            worker: WorkerId(u16::from_str_radix(worker, 16).ok()?),
            sequence: u64::from_str_radix(sequence, 16).ok()?,
        };
        // Signs, upper case and further zeros would be other spellings of the same name.
        (id.text().as_str() == text).then_some(id)
    }

    /// What it displays.
    pub(crate) fn text(self) -> Digits<30> {
        let (worker, boot) = (u64::from(self.worker.0), u64::from(self.boot));
        let text = Digits::new().hexadecimal(self.sequence, 1).letter('-').hexadecimal(worker, 1);
        text.letter('-').hexadecimal(boot, 8)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

/// What a SEND asks the broker to route: the part of a message that its sender decides.
#[derive(Clone, Debug)]
pub struct Content {
    /// Where to, as the sender wrote it.
    pub destination: Destination,
    /// The headers that receivers get to see: first of each name, in order, without those that are private (M1) and
    /// without `destination`, `content-length`, `message-id`, `subscription`, `ack`, `redelivered` and
    /// `redelivery-count`, which the broker writes itself.
    pub headers: Headers,
    /// The body, shared by all copies.
    pub body: Bytes,
    /// Whether the body may travel in a WebSocket text packet (H6): it is UTF-8, and its content-type does not say binary.
    pub is_text: bool,
    /// `exclude-self:true`: not to be delivered to the sender's own subscriptions (M5).
    pub exclude_origin: bool,
    /// `mandatory:true`: reaching nobody is a refusal (M6).
    pub mandatory: bool,
    /// What is asked of a queue. Of topics only durable subscriptions look at it.
    pub terms: Option<Box<Terms>>,
}

impl Content {
    /// Whether its sender asked for it to outlive the broker's process: `persistent:true`.
    pub fn is_persistent(&self) -> bool {
        self.terms.as_ref().is_some_and(|terms| terms.persistent)
    }

    /// Whether it is a question, of which nothing is to stay.
    pub fn is_question(&self) -> bool {
        self.terms.as_ref().is_some_and(|terms| terms.is_question)
    }

    /// Bytes this content keeps in memory, for limits and metrics.
    pub fn footprint(&self) -> usize {
        size_of::<Message>() + self.headers.footprint() + self.body.len()
    }
}

/// A message on its way to receivers. Shared, never changed.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its name, `message-id` on the wire.
    pub id: MessageId,
    /// The session that sent it.
    pub origin: SessionId,
    /// What was sent.
    pub content: Content,
}

/// Hands out the numbers that stored messages are known by, to all workers at once. They are the order within each queue.
#[derive(Clone, Debug)]
pub struct Sequences {
    next: Arc<AtomicU64>,
}

impl Sequences {
    /// Sequences above the highest one in use, zero where there is none.
    pub fn above(highest: u64) -> Sequences {
        Sequences { next: Arc::new(AtomicU64::new(highest.saturating_add(1))) }
    }

    /// Leaves all numbers out up to this one.
    pub fn leave_out(&self, highest: u64) {
        self.next.fetch_max(highest.saturating_add(1), Ordering::Relaxed);
    }

    /// The next one: higher than all before. Never zero.
    pub fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

/// Names one delivery of a queue message at the queue's home, so that its settlement finds it without a look-up by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag {
    /// The worker whose shard keeps the queue.
    pub home: WorkerId,
    /// The queue, by the home's own number.
    pub queue: u64,
    /// The message within the queue: its place in the order.
    pub sequence: u64,
}

/// Deliveries that are settled together: mostly it is one.
pub type Tags = SmallVec<[Tag; 1]>;

/// One message for one subscription.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The message.
    pub message: Arc<Message>,
    /// What to do when the receiver cannot keep up. Only topics have a choice; a queue's credit simply stops.
    pub when_slow: WhenSlow,
    /// Set for messages of queues, which must be settled; topics have nothing to settle at the broker.
    pub tag: Option<Tag>,
    /// How often this message was handed out before.
    pub redeliveries: u32,
}

/// A topic's policy for a subscriber whose outbox is full or who ran out of credit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WhenSlow {
    /// End the session: ERROR `slow-consumer` where possible, close 4500.
    #[default]
    Disconnect,
    /// Hold the newest messages up to the limit and drop the oldest of them.
    DropOldest,
    /// Hold only the last message of each destination.
    KeepLatest,
}

/// What became of a delivery that a session settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Consumed: the queue forgets the message.
    Consumed,
    /// Refused (NACK): comes again after the redelivery delay, or goes to the dead letters after too many.
    Rejected,
    /// Refused (NACK with `delay`): as `Rejected`, but with this delay.
    Deferred(Duration),
    /// Refused with `requeue:false`: to the dead letters at once.
    Discarded,
    /// Never reached the client, or its session ended: back to its place, marked redelivered.
    Returned,
}

/// A durable subscription to topics, as a session asks for it (U9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The queue that keeps its messages, which also is what it is known by.
    pub queue: Destination,
    /// What it takes.
    pub topic: Pattern,
    /// Whether one session at a time can have it.
    pub exclusive: bool,
}

/// Names a request of a session whose answer comes later; counts up within the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

impl Ticket {
    /// Marks the tickets whose answers are for the worker itself, not for the session.
    const INTERNAL: u64 = 1 << 63;

    /// A ticket of the worker's own. Those of sessions count up from zero and never come so far.
    pub(crate) fn internal(number: u64) -> Ticket {
        Ticket(Ticket::INTERNAL | number)
    }

    /// The number of a ticket of the worker's own.
    pub(crate) fn as_internal(self) -> Option<u64> {
        (self.0 & Ticket::INTERNAL != 0).then_some(self.0 & !Ticket::INTERNAL)
    }
}

/// A SUBSCRIBE to an application destination: it wants to be answered once, and nothing is registered (A2).
#[derive(Clone, Debug)]
pub struct Ask {
    /// The key that its subscription would have.
    pub subscription: SubscriptionKey,
    /// Its id on the wire: the `subscription` header of the answer.
    pub id: ByteString,
    /// What it asks.
    pub destination: Destination,
    /// Its headers, without those that are for the broker.
    pub headers: Headers,
    /// Answered when it is, after the MESSAGE if there is one.
    pub ticket: Ticket,
}

/// One effect of a committed transaction, or of a frame outside one.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Route this content.
    Send(Content),
    /// Settle these deliveries.
    Settle(Tags, Outcome),
}

/// Why the broker's core did not do what a session asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `mandatory:true`, and nobody subscribed (M6).
    #[error("no subscription or queue takes messages for {0}")]
    Unroutable(ByteString),
    /// No configured prefix takes the destination (U8).
    #[error("no destination prefix is configured for {0}")]
    UnknownDestination(ByteString),
    /// A temporary queue of another session.
    #[error("{0} is a temporary queue of another session")]
    NotOwner(ByteString),
    /// It is under the prefix of user destinations, but names none.
    #[error("{0} names no user destination")]
    NoStream(ByteString),
    /// Another subscription has the queue for itself.
    #[error("another subscription has {0} for itself")]
    Exclusive(ByteString),
    /// Another session has this durable subscription.
    #[error("another session has the durable subscription {0}")]
    InUse(ByteString),
    /// Nobody handles the application destination (A3).
    #[error("nobody handles {0}")]
    NoHandler(ByteString),
    /// The broker keeps it to itself, or to sessions with a right to it.
    #[error("{0} is not for clients")]
    Protected(ByteString),
    /// What handles an application destination did not do it (A3).
    #[error("{}: {}", .0.destination, .0.detail)]
    Unhandled(Box<Unhandled>),
    /// The store did not take a message or a settlement that must outlive the process (Q6).
    #[error("it could not be stored: {why}")]
    NotStored {
        /// Stable code for the wire, such as `store-full`.
        code: &'static str,
        /// What the store says.
        why: ByteString,
    },
    /// A limit was reached: its config key and its value.
    #[error("{what} would pass the limit of {limit} ({key})")]
    Limit {
        /// Stable code for the wire, such as `queue-full`.
        code: &'static str,
        /// What would be too many or too much, in words.
        what: &'static str,
        /// The value of the limit.
        limit: u64,
        /// The config key that sets it.
        key: &'static str,
    },
}

impl Refusal {
    /// The stable `code` header of the ERROR that tells the peer.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Unroutable(_) => "unroutable",
            Refusal::UnknownDestination(_) => "unknown-destination",
            Refusal::NotOwner(_) => "not-owner",
            Refusal::NoStream(_) => "bad-user-destination",
            Refusal::Exclusive(_) => "exclusive",
            Refusal::InUse(_) => "subscription-in-use",
            Refusal::NoHandler(_) => "no-handler",
            Refusal::Protected(_) => "not-allowed",
            Refusal::Unhandled(unhandled) => unhandled.code,
            Refusal::NotStored { code, .. } | Refusal::Limit { code, .. } => code,
        }
    }
}

/// Why what handles an application destination did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unhandled {
    /// The stable `code` header.
    pub code: &'static str,
    /// The application destination.
    pub destination: ByteString,
    /// What is wrong, for people.
    pub detail: ByteString,
}

/// The answer to a ticket: how many subscriptions or queues were reached, or why it was refused.
pub type Verdict = Result<u32, Refusal>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_ids_read_back_in_one_spelling() {
        let id = MessageId { boot: 0xbeef, worker: WorkerId(10), sequence: u64::MAX };
        assert_eq!(MessageId::parse(&id.to_string()), Some(id));
        for other in ["", "1-2-3", "0000beef-A-1", "0000beef-+1-1", "0000beef-01-1", "0000beef-1-1 "] {
            assert_eq!(MessageId::parse(other), None, "{other}");
        }
    }
}
