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
    /// `[queues]`.
    pub queues: QueueOptions,
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

/// What can be set about queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueOptions {
    /// How many queues a worker keeps: `queues.max_queues`, 100,000. An empty queue without consumers is none.
    pub max_queues: usize,
    /// How many messages a queue keeps, those handed out but unsettled included: `queues.max_messages`, 1,000,000.
    pub max_messages: usize,
    /// How many bytes of messages a queue keeps: `queues.max_bytes`, 256 MiB.
    pub max_bytes: usize,
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
}

impl Default for Options {
    fn default() -> Options {
        Options {
            destinations: Spaces::default(),
            topics: TopicOptions::default(),
            queues: QueueOptions::default(),
            max_subscriptions: 1_000_000,
            max_routes: 16_384,
            max_commits: 16_384,
        }
    }
}

impl Default for QueueOptions {
    fn default() -> QueueOptions {
        QueueOptions {
            max_queues: 100_000,
            max_messages: 1_000_000,
            max_bytes: 256 << 20,
            max_consumers: 10_000,
            redelivery_delay: Duration::from_secs(1),
            redelivery_delay_max: Duration::from_secs(60),
            max_deliveries: 5,
            dead_letter: Some(Destination::new("/queue/dead-letter")),
        }
    }
}
