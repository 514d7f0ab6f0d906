//! A random policy for each queue of a run, and what the broker is told of it.

use std::time::Duration;

use gumboot::broker::{self, QueueOptions, WhenExpired};
use gumboot::destination::Destination;

use crate::random::Random;

/// Where the clients of a run send to: each queue has a policy of its own.
pub(crate) const QUEUES: [&str; 5] = ["/queue/one", "/queue/two", "/queue/three", DEAD_LETTERS, GRAVE];
/// What they cannot keep goes here,
pub(crate) const DEAD_LETTERS: &str = "/queue/dead";
/// and from here to the last one, which has no dead letters.
pub(crate) const GRAVE: &str = "/queue/grave";
/// Every session has its own of these.
pub(crate) const TEMPORARY: [&str; 2] = ["/temp-queue/a", "/temp-queue/b"];
/// The groups that messages may be in.
pub(crate) const GROUPS: [&str; 3] = ["red", "green", "blue"];

/// A message keeps no more memory than this beside its body.
pub(crate) const OVERHEAD: usize = 1500;

/// Most of them so small that messages are read back all the time.
const MEMORIES: [usize; 5] = [0, 0, 1500, 5000, 16 << 20];

/// What becomes of a message that finds its queue full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overflow {
    Reject,
    DropOldest,
    DeadLetter,
}

/// What holds for a queue.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) max_messages: usize,
    pub(crate) max_bytes: usize,
    pub(crate) overflow: Overflow,
    pub(crate) max_deliveries: u32,
    pub(crate) redelivery_delay: Duration,
    pub(crate) max_delay: Duration,
    pub(crate) ttl: Option<Duration>,
    pub(crate) drops_expired: bool,
    pub(crate) idle_expiry: Option<Duration>,
    pub(crate) is_durable: bool,
    pub(crate) has_priorities: bool,
    pub(crate) is_exclusive: bool,
    pub(crate) has_one_active: bool,
    pub(crate) max_groups: usize,
    pub(crate) prefetch: Option<u32>,
    /// How many bytes of its stored messages are in memory too.
    pub(crate) memory: usize,
}

/// The queue that gets what this one cannot keep.
pub(crate) fn letters_of(place: &str) -> Option<&'static str> {
    match place {
        GRAVE => None,
        DEAD_LETTERS => Some(GRAVE),
        _ => Some(DEAD_LETTERS),
    }
}

pub(crate) fn is_queue(destination: &str) -> bool {
    destination.starts_with("/queue/") || is_temporary(destination)
}

pub(crate) fn is_temporary(destination: &str) -> bool {
    destination.starts_with("/temp-queue/")
}

impl Policy {
    /// What holds for queues of which no policy says anything.
    pub(crate) fn usual(random: &mut Random) -> Policy {
        Policy {
            max_messages: random.pick(&[6, 20, 1000, 1000]),
            max_bytes: 256 << 20,
            overflow: Overflow::Reject,
            max_deliveries: random.pick(&[1, 1, 2, 2, 3, 4]),
            redelivery_delay: Duration::from_millis(random.pick(&[0, 50, 1000, 3000])),
            max_delay: Duration::from_secs(20),
            ttl: None,
            drops_expired: false,
            idle_expiry: None,
            is_durable: false,
            has_priorities: false,
            is_exclusive: false,
            has_one_active: false,
            max_groups: 1000,
            prefetch: None,
            memory: random.pick(&MEMORIES),
        }
    }

    pub(crate) fn random(random: &mut Random) -> Policy {
        let usual = Policy::usual(random);
        if random.percent(25) {
            return usual;
        }
        let seconds = |seconds: u64| Some(Duration::from_secs(seconds));
        Policy {
            max_messages: random.pick(&[3, 6, 20, 1000, 1000]),
            max_bytes: random.pick(&[6 * 1024, 20 * 1024, 256 << 20, 256 << 20, 256 << 20]),
            overflow: random.pick(&[Overflow::Reject, Overflow::DropOldest, Overflow::DeadLetter]),
            max_delay: Duration::from_secs(random.pick(&[3, 20])),
            ttl: random.pick(&[None, None, None, Some(Duration::from_millis(300)), seconds(2), seconds(9)]),
            drops_expired: random.percent(40),
            idle_expiry: random.pick(&[None, None, seconds(1), seconds(5)]),
            is_durable: random.percent(35),
            has_priorities: random.percent(40),
            is_exclusive: random.percent(12),
            has_one_active: random.percent(15),
            max_groups: random.pick(&[2, 1000, 1000]),
            prefetch: random.pick(&[None, None, Some(1), Some(2), Some(6)]),
            ..usual
        }
    }

    /// The longest wait after a NACK that says none.
    pub(crate) fn redelivery_delay_max(&self) -> Duration {
        self.redelivery_delay * 4
    }

    /// How long a message waits after so many refusals.
    pub(crate) fn wait(&self, refusals: u32) -> Duration {
        (self.redelivery_delay * 2u32.pow(refusals.saturating_sub(1).min(8))).min(self.redelivery_delay_max())
    }

    /// Where a message stands beside its place: lower comes first.
    pub(crate) fn rank(&self, priority: Option<u8>) -> u8 {
        if self.has_priorities { 9 - priority.unwrap_or(4) } else { 0 }
    }

    /// The same for the broker.
    pub(crate) fn options(&self, queue: &str) -> QueueOptions {
        QueueOptions {
            max_messages: self.max_messages,
            max_bytes: self.max_bytes,
            overflow: match self.overflow {
                Overflow::Reject => broker::Overflow::Reject,
                Overflow::DropOldest => broker::Overflow::DropOldest,
                Overflow::DeadLetter => broker::Overflow::DeadLetter,
            },
            max_deliveries: self.max_deliveries,
            redelivery_delay: self.redelivery_delay,
            redelivery_delay_max: self.redelivery_delay_max(),
            dead_letter: letters_of(queue).map(Destination::new),
            max_delay: self.max_delay,
            ttl: self.ttl,
            expired: if self.drops_expired { WhenExpired::Drop } else { WhenExpired::DeadLetter },
            idle_expiry: self.idle_expiry,
            durable: self.is_durable,
            priority: self.has_priorities,
            exclusive: self.is_exclusive,
            single_active_consumer: self.has_one_active,
            max_groups: self.max_groups,
            memory: self.memory,
            ..QueueOptions::default()
        }
    }
}
