//! What can be set about routing and queues.

use std::time::Duration;

use crate::destination::{Destination, Pattern, Spaces};
use crate::message::WhenSlow;

/// The broker core's options. All workers use the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Which prefix makes a destination a topic or a queue: `[[destinations]]`.
    pub destinations: Spaces,
    /// `[topics]`.
    pub topics: TopicOptions,
    /// `[queues]`: what holds for a queue that no policy takes.
    pub queues: QueueOptions,
    /// `[[queues.policy]]` entries: the first whose pattern takes a queue decides, once, when the queue comes to be.
    pub queue_policies: Vec<QueuePolicy>,
    /// `[durable_subscriptions]`.
    pub durable: DurableOptions,
    /// How many topic subscriptions a worker keeps: `limits.subscriptions`, 1,000,000.
    pub max_subscriptions: usize,
    /// For how many destinations a worker remembers who is to get their messages: `limits.routes`, 16,384. More
    /// destinations than that work too, only slower.
    pub max_routes: usize,
    /// How many transactions of a worker may wait for queues of other workers: `limits.commits`, 16,384.
    pub max_commits: usize,
}

/// What can be set about topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicOptions {
    /// What to do about a slow subscriber where no policy says otherwise: `topics.when_slow`, `disconnect`.
    pub when_slow: WhenSlow,
    /// `[[topics.policy]]` entries: the first whose pattern takes a destination decides.
    pub policies: Vec<TopicPolicy>,
}

/// A policy for some topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPolicy {
    /// Which topics: `pattern`.
    pub pattern: Pattern,
    /// What to do about a slow subscriber: `when_slow`.
    pub when_slow: WhenSlow,
}

/// What can be set about durable subscriptions to topics. Beyond this, each is as a queue of [`Options::queues`], but what has
/// expired is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurableOptions {
    /// How many a worker keeps: `durable_subscriptions.max_subscriptions`, 10,000.
    pub max_subscriptions: usize,
    /// How many messages one keeps: `durable_subscriptions.max_messages`, 100,000.
    pub max_messages: usize,
    /// How many bytes of messages one keeps: `durable_subscriptions.max_bytes`, 64 MiB.
    pub max_bytes: usize,
    /// What becomes of a message that finds it full: `durable_subscriptions.overflow`, the oldest is dropped. With
    /// [`Overflow::Reject`] the new one is dropped; its sender is not told. Nothing is diverted to the dead letters.
    pub overflow: Overflow,
    /// How long one stays that no session has: `durable_subscriptions.idle_expiry`, 30 days; none is for ever.
    pub idle_expiry: Option<Duration>,
}

/// A policy for some queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuePolicy {
    /// Which queues: `pattern`.
    pub pattern: Pattern,
    /// What holds for them, complete. Its `max_queues` is not looked at.
    pub options: QueueOptions,
}

/// What becomes of a message that finds its queue full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// Its sender is told, and it is not taken.
    #[default]
    Reject,
    /// It is taken, and the oldest of those that wait is dropped for it.
    DropOldest,
    /// It goes to the dead letters instead. In a transaction it is refused.
    DeadLetter,
}

/// What becomes of a message that nobody took in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenExpired {
    /// It moves to the dead letters, where there are some.
    #[default]
    DeadLetter,
    /// It is dropped.
    Drop,
}

/// What can be set about queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueOptions {
    /// How many queues a worker keeps: `queues.max_queues`, 100,000. An empty queue without consumers is none.
    pub max_queues: usize,
    /// How many messages a queue keeps, those handed out but unsettled included: `queues.max_messages`, 1,000,000.
    pub max_messages: usize,
    /// Whether all messages outlive the process, as if each said `persistent:true`: `queues.durable`, no.
    pub durable: bool,
    /// How many bytes of messages a queue keeps, wherever they are: `queues.max_bytes`, 4 GiB.
    pub max_bytes: usize,
    /// How many bytes of messages a queue keeps that are not stored, and so in memory: `queues.max_memory`, 256 MiB.
    pub max_memory: usize,
    /// How many bytes of its stored messages a queue keeps in memory too: `store.memory`, 16 MiB.
    pub memory: usize,
    /// How many consumers a queue has: `queues.max_consumers`, 10,000.
    pub max_consumers: usize,
    /// How long a message waits after it was refused for the first time; twice as long each further time:
    /// `queues.redelivery_delay`, one second. The wait is that message's own: later ones are handed out meanwhile.
    pub redelivery_delay: Duration,
    /// The longest such wait: `queues.redelivery_delay_max`, one minute.
    pub redelivery_delay_max: Duration,
    /// How often a message may be refused before it moves to the dead letters: `queues.max_deliveries`, 5.
    pub max_deliveries: u32,
    /// The queue that gets messages which were refused too often or discarded: `queues.dead_letter`,
    /// `/queue/dead-letter`. Without one, a refused message is tried again for ever, and a discarded one is lost.
    pub dead_letter: Option<Destination>,
    /// What becomes of a message that finds the queue full: `queues.overflow`, `reject`.
    pub overflow: Overflow,
    /// How long a message may wait that does not say so itself: `queues.ttl`, for ever.
    pub ttl: Option<Duration>,
    /// What becomes of a message that waited too long: `queues.expired`, `dead-letter`.
    pub expired: WhenExpired,
    /// The longest delay that a SEND or a NACK can ask for: `queues.max_delay`, 30 days.
    pub max_delay: Duration,
    /// How long a queue without messages and consumers stays: `queues.idle_expiry`; by default it is gone at once.
    pub idle_expiry: Option<Duration>,
    /// Whether the `priority` of messages counts: `queues.priority`, no.
    pub priority: bool,
    /// Whether a queue has one consumer at most: `queues.exclusive`, no.
    pub exclusive: bool,
    /// Whether a queue is gone, with what is in it, when its last consumer leaves: `queues.auto_delete`, no.
    pub auto_delete: bool,
    /// Whether the first consumer gets everything, and the others stand by: `queues.single_active_consumer`, no.
    pub single_active_consumer: bool,
    /// For how many groups of messages a queue remembers their consumer: `queues.max_groups`, 10,000. Beyond that,
    /// groups of which no message is there are forgotten, and may find another consumer.
    pub max_groups: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            destinations: Spaces::default(),
            topics: TopicOptions::default(),
            queues: QueueOptions::default(),
            queue_policies: Vec::new(),
            durable: DurableOptions::default(),
            max_subscriptions: 1_000_000,
            max_routes: 16_384,
            max_commits: 16_384,
        }
    }
}

impl Default for DurableOptions {
    fn default() -> DurableOptions {
        DurableOptions {
            max_subscriptions: 10_000,
            max_messages: 100_000,
            max_bytes: 64 << 20,
            overflow: Overflow::DropOldest,
            idle_expiry: Some(Duration::from_secs(30 * 24 * 60 * 60)),
        }
    }
}

impl Default for QueueOptions {
    fn default() -> QueueOptions {
        QueueOptions {
            max_queues: 100_000,
            max_messages: 1_000_000,
            durable: false,
            max_bytes: 4 << 30,
            max_memory: 256 << 20,
            memory: 16 << 20,
            max_consumers: 10_000,
            redelivery_delay: Duration::from_secs(1),
            redelivery_delay_max: Duration::from_secs(60),
            max_deliveries: 5,
            dead_letter: Some(Destination::new("/queue/dead-letter")),
            overflow: Overflow::default(),
            ttl: None,
            expired: WhenExpired::default(),
            max_delay: Duration::from_secs(30 * 24 * 60 * 60),
            idle_expiry: None,
            priority: false,
            exclusive: false,
            auto_delete: false,
            single_active_consumer: false,
            max_groups: 10_000,
        }
    }
}
