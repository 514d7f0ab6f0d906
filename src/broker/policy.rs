//! Which rules hold for which queue.

use std::sync::Arc;

use super::options::{DurableOptions, Options, Overflow, QueueOptions, WhenExpired};
use crate::destination::{Destination, Pattern};
use crate::message::Refusal;

/// The rules of all queues, each set shared by the queues that it holds for.
#[derive(Debug)]
pub(super) struct Policies {
    others: Arc<Rules>,
    list: Vec<(Pattern, Arc<Rules>)>,
    durable: Arc<Rules>,
}

/// What holds for a queue.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) options: QueueOptions,
    keys: Keys,
}

/// Where the limits are set that a client may reach.
#[derive(Debug)]
struct Keys {
    max_messages: &'static str,
    max_bytes: &'static str,
    max_memory: &'static str,
    max_consumers: &'static str,
    max_delay: &'static str,
}

impl Policies {
    pub(super) fn new(options: &Options) -> Policies {
        let rules = |of: &QueueOptions| Arc::new(Rules::new(of.clone(), &options.queues));
        let list = options.queue_policies.iter().map(|policy| (policy.pattern.clone(), rules(&policy.options)));
        Policies { list: list.collect(), durable: rules(&durable(options)), others: rules(&options.queues) }
    }

    /// The rules for the queues of durable subscriptions.
    pub(super) fn rules_for_durable(&self) -> Arc<Rules> {
        Arc::clone(&self.durable)
    }

    /// The rules for the queue of this name. Asked once for each queue.
    pub(super) fn rules_for(&self, queue: &Destination) -> Arc<Rules> {
        let found = self.list.iter().find(|(pattern, _)| pattern.matches(queue));
        Arc::clone(found.map_or(&self.others, |(_, rules)| rules))
    }
}

impl Rules {
    fn new(options: QueueOptions, others: &QueueOptions) -> Rules {
        let key = |is_own, own, usual| if is_own { own } else { usual };
        let keys = Keys {
            max_messages: key(
                options.max_messages != others.max_messages,
                "queues.policy.max_messages",
                "queues.max_messages",
            ),
            max_bytes: key(options.max_bytes != others.max_bytes, "queues.policy.max_bytes", "queues.max_bytes"),
            max_memory: key(options.max_memory != others.max_memory, "queues.policy.max_memory", "queues.max_memory"),
            max_consumers: key(
                options.max_consumers != others.max_consumers,
                "queues.policy.max_consumers",
                "queues.max_consumers",
            ),
            max_delay: key(options.max_delay != others.max_delay, "queues.policy.max_delay", "queues.max_delay"),
        };
        Rules { options, keys }
    }

    pub(super) fn too_many_messages(&self) -> Refusal {
        full("the messages of this queue", self.options.max_messages, self.keys.max_messages)
    }

    pub(super) fn too_many_bytes(&self) -> Refusal {
        full("the bytes of this queue", self.options.max_bytes, self.keys.max_bytes)
    }

    pub(super) fn too_much_memory(&self) -> Refusal {
        full("the bytes of this queue that are in memory", self.options.max_memory, self.keys.max_memory)
    }

    pub(super) fn too_many_consumers(&self) -> Refusal {
        let limit = self.options.max_consumers as u64;
        let (code, what) = ("too-many-consumers", "the consumers of this queue");
        Refusal::Limit { code, what, limit, key: self.keys.max_consumers }
    }

    pub(super) fn too_long_a_delay(&self) -> Refusal {
        let limit = u64::try_from(self.options.max_delay.as_millis()).unwrap_or(u64::MAX);
        let (code, what) = ("delay-too-long", "the delay of this message in milliseconds");
        Refusal::Limit { code, what, limit, key: self.keys.max_delay }
    }
}

/// What holds for the queue of a durable subscription.
fn durable(options: &Options) -> QueueOptions {
    let DurableOptions { max_subscriptions: _, max_messages, max_bytes, overflow, idle_expiry } =
        options.durable.clone();
    // Nothing goes to the dead letters only because nobody is there: they are for what a consumer had.
    let overflow = if overflow == Overflow::DeadLetter { Overflow::Reject } else { overflow };
    let expired = WhenExpired::Drop;
    // One session at a time is the subscription's own affair.
    let exclusive = false;
    QueueOptions { max_messages, max_bytes, overflow, idle_expiry, expired, exclusive, ..options.queues.clone() }
}

fn full(what: &'static str, limit: usize, key: &'static str) -> Refusal {
    Refusal::Limit { code: "queue-full", what, limit: limit as u64, key }
}
