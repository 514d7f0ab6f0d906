//! A random, small configuration of a broker: limits that a short run can reach.

use std::sync::Arc;
use std::time::Duration;

use gumboot::broker::{self, TopicPolicy};
use gumboot::destination::{Destination, Pattern, Style};
use gumboot::message::WhenSlow;
use gumboot::worker::Options;
use gumboot::{session, stomp};

use crate::random::Random;

/// Where the clients of a run send to. What is under `/topic/old` drops the oldest messages for slow clients, what is
/// under `/topic/new` keeps the latest; of the others nobody may lose any.
pub(crate) const TOPICS: [&str; 6] =
    ["/topic/a", "/topic/bb", "/topic/c/d", "/topic/c/e/f", "/topic/old/x", "/topic/new/x"];
pub(crate) const QUEUES: [&str; 4] = ["/queue/one", "/queue/two", "/queue/three", DEAD_LETTERS];
pub(crate) const DEAD_LETTERS: &str = "/queue/dead";
/// What they subscribe to beside those.
pub(crate) const PATTERNS: [&str; 6] =
    ["/topic/*", "/topic/**", "/topic/c/**", "/topic/?", "/topic/{kind}/x", "/topic/**/e/*"];

/// Of a client who asks for the oldest to be dropped or the latest to be kept, no more than the order is certain.
pub(crate) fn may_lose(destination: &str) -> bool {
    destination.starts_with("/topic/old/") || destination.starts_with("/topic/new/")
}

/// The configuration of one run.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) workers: usize,
    /// Whether a turn takes the input of several steps; else each piece of input is a turn of its own.
    pub(crate) is_lazy: bool,
    pub(crate) write_size: usize,
    pub(crate) outbox_bytes: usize,
    pub(crate) max_body: usize,
    pub(crate) prefetch: u32,
    pub(crate) max_prefetch: u32,
    pub(crate) held_messages: usize,
    pub(crate) max_messages: usize,
    pub(crate) max_deliveries: u32,
    pub(crate) redelivery_delay: Duration,
    pub(crate) pending_receipts: usize,
    pub(crate) max_subscriptions: usize,
    pub(crate) continues: bool,
}

impl Setup {
    pub(crate) fn new(random: &mut Random) -> Setup {
        let is_lazy = random.percent(25);
        Setup {
            workers: random.between(1, 4),
            is_lazy,
            write_size: random.pick(&[1, 7, 100, usize::MAX, usize::MAX]),
            // A turn's input must fit even if one client takes it by all of its subscriptions.
            outbox_bytes: if is_lazy { 128 * 1024 } else { random.between(24, 40) * 1024 },
            max_body: random.pick(&[1024, 1500, 2048]),
            prefetch: random.between(1, 5) as u32,
            max_prefetch: random.between(3, 8) as u32,
            held_messages: random.between(2, 12),
            max_messages: random.pick(&[6, 20, 1000, 1000]),
            max_deliveries: random.between(1, 4) as u32,
            redelivery_delay: Duration::from_millis(random.pick(&[0, 50, 1000, 3000])),
            pending_receipts: random.between(1, 12),
            max_subscriptions: 4,
            continues: random.percent(30),
        }
    }

    /// What a SUBSCRIBE that asks for `wish` gets.
    pub(crate) fn credit(&self, wish: Option<u32>) -> usize {
        let wish = match wish {
            None => self.prefetch,
            Some(0) => u32::MAX,
            Some(wish) => wish,
        };
        wish.min(self.max_prefetch).max(1) as usize
    }

    pub(crate) fn options(&self) -> Options {
        let session = session::Options {
            prefetch: self.prefetch,
            max_prefetch: self.max_prefetch,
            max_subscriptions: self.max_subscriptions,
            max_pending_receipts: self.pending_receipts,
            max_transactions: 2,
            max_transaction_bytes: 16 * 1024,
            max_held_messages: self.held_messages,
            max_outbox_bytes: self.outbox_bytes,
            ..session::Options::default()
        };
        let tcp_session = session::Options { continue_on_error: self.continues, ..session.clone() };
        let policies = [("/topic/old/**", WhenSlow::DropOldest), ("/topic/new/**", WhenSlow::KeepLatest)];
        let policies = policies.into_iter().filter_map(|(pattern, when_slow)| {
            Some(TopicPolicy { pattern: Pattern::parse(pattern, Style::Ant, '/').ok()?, when_slow })
        });
        let mut broker = broker::Options { max_routes: 4, ..broker::Options::default() };
        broker.topics.policies = policies.collect();
        broker.queues.max_messages = self.max_messages;
        broker.queues.max_deliveries = self.max_deliveries;
        broker.queues.redelivery_delay = self.redelivery_delay;
        broker.queues.redelivery_delay_max = self.redelivery_delay * 4;
        broker.queues.dead_letter = Some(Destination::new(DEAD_LETTERS));
        Options {
            broker: Arc::new(broker),
            session: Arc::new(session),
            tcp_session: Arc::new(tcp_session),
            limits: stomp::Limits { body_bytes: self.max_body, ..stomp::Limits::default() },
            outbox_bytes: self.outbox_bytes,
            turn_bytes: 8 * 1024,
            ..Options::default()
        }
    }
}
