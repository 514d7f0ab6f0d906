//! A random, small configuration of a broker: limits that a short run can reach.

use std::sync::Arc;
use std::time::Duration;

use gumboot::broker::{self, DurableOptions, QueuePolicy, TopicPolicy};
use gumboot::destination::{Pattern, Style};
use gumboot::message::WhenSlow;
use gumboot::worker::Options;
use gumboot::{session, stomp};

use crate::applications;
use crate::lasting::LASTING;
use crate::policy::{Policy, QUEUES, TEMPORARY};
use crate::random::Random;

/// Where the clients of a run send to beside queues. What is under `/topic/old` drops the oldest messages for slow
/// clients, what is under `/topic/new` keeps the latest; of the others nobody may lose any.
pub(crate) const TOPICS: [&str; 6] =
    ["/topic/a", "/topic/bb", "/topic/c/d", "/topic/c/e/f", "/topic/old/x", "/topic/new/x"];
/// What they subscribe to beside those.
pub(crate) const PATTERNS: [&str; 6] =
    ["/topic/*", "/topic/**", "/topic/c/**", "/topic/?", "/topic/{kind}/x", "/topic/**/e/*"];

/// Of a client who asks for the oldest to be dropped or the latest to be kept, no more than the order is certain.
pub(crate) fn may_lose(destination: &str) -> bool {
    destination.starts_with("/topic/old/") || destination.starts_with("/topic/new/")
}

/// What holds for durable subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastingRules {
    /// Of each worker.
    pub(crate) max_subscriptions: usize,
    /// Of each subscription.
    pub(crate) max_messages: usize,
    pub(crate) drops_oldest: bool,
    /// What finds one full would go to the dead letters, if it were in a queue: it is dropped.
    diverts: bool,
    pub(crate) idle_expiry: Option<Duration>,
}

impl LastingRules {
    fn random(random: &mut Random) -> LastingRules {
        LastingRules {
            max_subscriptions: random.pick(&[1, 10, 10, 10]),
            max_messages: random.pick(&[3, 8, 1000, 1000]),
            drops_oldest: random.percent(60),
            diverts: random.percent(50),
            idle_expiry: random.pick(&[None, None, Some(Duration::from_secs(2)), Some(Duration::from_secs(9))]),
        }
    }

    /// The most that one keeps: what waits for the disk is sure of its place, and by then what was to be dropped for it may be
    /// with a session.
    pub(crate) fn most(self, has_disk: bool) -> usize {
        if self.drops_oldest && has_disk { self.max_messages * 2 } else { self.max_messages }
    }

    fn options(self) -> DurableOptions {
        DurableOptions {
            max_subscriptions: self.max_subscriptions,
            max_messages: self.max_messages,
            overflow: match (self.drops_oldest, self.diverts) {
                (true, _) => broker::Overflow::DropOldest,
                (_, true) => broker::Overflow::DeadLetter,
                (_, false) => broker::Overflow::Reject,
            },
            idle_expiry: self.idle_expiry,
            ..DurableOptions::default()
        }
    }
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
    pub(crate) pending_receipts: usize,
    pub(crate) max_subscriptions: usize,
    pub(crate) continues: bool,
    /// Whether what is stored waits for the disk; and whether that is quick.
    pub(crate) has_disk: bool,
    pub(crate) is_quick: bool,
    /// The queue that most is about.
    pub(crate) favourite: &'static str,
    pub(crate) lasting: LastingRules,
    /// What holds for temporary queues.
    usual: Policy,
    /// What holds for each of the others.
    policies: Vec<Policy>,
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
            pending_receipts: random.between(1, 12),
            max_subscriptions: 4,
            continues: random.percent(30),
            has_disk: random.percent(60),
            is_quick: random.percent(50),
            favourite: random.pick(&QUEUES[..3]),
            lasting: LastingRules::random(random),
            usual: Policy::usual(random),
            policies: QUEUES.iter().map(|_| Policy::random(random)).collect(),
        }
    }

    /// What holds for a queue.
    pub(crate) fn policy(&self, place: &str) -> &Policy {
        let at = QUEUES.iter().position(|queue| *queue == place);
        at.and_then(|at| self.policies.get(at)).unwrap_or(&self.usual)
    }

    /// The same, to be changed.
    pub(crate) fn policies(&mut self) -> impl Iterator<Item = &mut Policy> {
        self.policies.iter_mut()
    }

    /// Lets queues without policies, and durable subscriptions, hand a message out so much more often.
    pub(crate) fn hand_out_again(&mut self, times: u32) {
        self.usual.max_deliveries += times;
    }

    /// What a SUBSCRIBE to `destination` that asks for `wish` gets.
    pub(crate) fn credit(&self, destination: &str, wish: Option<u32>) -> usize {
        let wish = match wish {
            None => self.policy(destination).prefetch.unwrap_or(self.prefetch),
            Some(0) => u32::MAX,
            Some(wish) => wish,
        };
        wish.min(self.max_prefetch).max(1) as usize
    }

    /// The longest that anything waits.
    pub(crate) fn longest_wait(&self) -> Duration {
        let waits =
            self.policies.iter().chain([&self.usual]).map(|each| each.redelivery_delay_max().max(each.max_delay));
        waits.max().unwrap_or_default()
    }

    pub(crate) fn options(&self) -> Options {
        let prefetches = QUEUES
            .iter()
            .zip(&self.policies)
            .filter_map(|(queue, policy)| Some((Pattern::parse(*queue, Style::Ant, '/').ok()?, policy.prefetch?)));
        let session = session::Options {
            prefetch: self.prefetch,
            max_prefetch: self.max_prefetch,
            // Some are made by `reply-to`.
            max_subscriptions: self.max_subscriptions + TEMPORARY.len() + LASTING.len(),
            queue_prefetches: prefetches.collect(),
            max_pending_receipts: self.pending_receipts,
            max_transactions: 2,
            trust_login: true,
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
        broker.queues = self.usual.options("");
        broker.durable = self.lasting.options();
        let own = QUEUES.iter().zip(&self.policies).filter_map(|(queue, policy)| {
            let pattern = Pattern::parse(*queue, Style::Ant, '/').ok()?;
            Some(QueuePolicy { pattern, options: policy.options(queue) })
        });
        broker.queue_policies = own.collect();
        Options {
            broker: Arc::new(broker),
            session: Arc::new(session),
            tcp_session: Arc::new(tcp_session),
            app: Arc::new(applications::options()),
            limits: stomp::Limits { body_bytes: self.max_body, ..stomp::Limits::default() },
            outbox_bytes: self.outbox_bytes,
            turn_bytes: 8 * 1024,
            ..Options::default()
        }
    }
}
