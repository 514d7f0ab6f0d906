//! What a worker counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// One number that a worker alone changes and anybody may read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`. Only the owning worker may call it: there is one writer, so no read-modify-write is needed.
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// Takes `count` away; as [`Counter::add`].
    pub fn take(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).saturating_sub(count), Ordering::Relaxed);
    }

    /// The number now.
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts of one worker; the broker's are the sums.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections open now.
    pub connections: Counter,
    /// Connections opened so far.
    pub opened: Counter,
    /// Bytes read from clients.
    pub bytes_in: Counter,
    /// Bytes written to clients.
    pub bytes_out: Counter,
    /// STOMP frames received.
    pub frames_in: Counter,
    /// Messages delivered to subscriptions.
    pub deliveries: Counter,
    /// Sessions ended with an ERROR or for breaking a rule.
    pub refused: Counter,
    /// Sessions ended because they did not keep up.
    pub slow_consumers: Counter,
    /// Messages dropped for subscribers that did not keep up.
    pub dropped: Counter,
    /// Messages sent that reached nobody.
    pub unrouted: Counter,
    /// Messages moved to the dead letters.
    pub dead_lettered: Counter,
    /// Messages given up for want of a dead-letter queue.
    pub lost: Counter,
    /// Times any limit was reached.
    pub limits_reached: Counter,
}

impl Counters {
    /// Every count with its name, as a metric would spell it.
    pub fn all(&self) -> [(&'static str, u64); 13] {
        [
            ("connections", self.connections.read()),
            ("connections_opened_total", self.opened.read()),
            ("received_bytes_total", self.bytes_in.read()),
            ("sent_bytes_total", self.bytes_out.read()),
            ("frames_received_total", self.frames_in.read()),
            ("deliveries_total", self.deliveries.read()),
            ("sessions_refused_total", self.refused.read()),
            ("slow_consumers_total", self.slow_consumers.read()),
            ("messages_dropped_total", self.dropped.read()),
            ("messages_unrouted_total", self.unrouted.read()),
            ("messages_dead_lettered_total", self.dead_lettered.read()),
            ("messages_lost_total", self.lost.read()),
            ("limits_reached_total", self.limits_reached.read()),
        ]
    }
}
