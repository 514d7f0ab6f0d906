//! What a worker counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

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

/// One number that anybody may change.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// A part of it was `before` and is `after`.
    pub fn change(&self, before: usize, after: usize) {
        // Wrapping, as the addition is: what is less is more by nearly all that a number can hold.
        self.0.fetch_add((after as u64).wrapping_sub(before as u64), Ordering::Relaxed);
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
    /// Bytes kept now of input that is not whole.
    pub unfinished: Gauge,
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
    /// Messages sent to users who were not there, or had not subscribed.
    pub user_absent: Counter,
    /// Messages moved to the dead letters.
    pub dead_lettered: Counter,
    /// Messages given up for want of a dead-letter queue.
    pub lost: Counter,
    /// Messages that routes sent on.
    pub routed: Counter,
    /// Calls of the application's handlers, and questions to its workers.
    pub calls: Counter,
    /// Of these, those that failed.
    pub call_failures: Counter,
    /// Answers that workers sent to questions which they were not given.
    pub false_answers: Counter,
    /// Sessions ended, by reason. Locked once for each that ends, never for a message.
    closed: Mutex<BTreeMap<&'static str, u64>>,
    /// Limits reached, by code.
    limits: Mutex<BTreeMap<&'static str, u64>>,
}

impl Counters {
    /// A session ended for this reason.
    pub fn closed(&self, reason: &'static str) {
        *self.closed.lock().entry(reason).or_default() += 1;
    }

    /// The limit with this code was reached.
    pub fn limit_reached(&self, code: &'static str) {
        *self.limits.lock().entry(code).or_default() += 1;
    }

    /// How many sessions ended, by reason.
    pub fn closes(&self) -> BTreeMap<&'static str, u64> {
        self.closed.lock().clone()
    }

    /// How often each limit was reached, by code.
    pub fn limits(&self) -> BTreeMap<&'static str, u64> {
        self.limits.lock().clone()
    }

    /// Every single count with its name, as a metric would spell it.
    pub fn all(&self) -> [(&'static str, u64); 18] {
        [
            ("connections", self.connections.read()),
            ("unfinished_bytes", self.unfinished.read()),
            ("connections_opened_total", self.opened.read()),
            ("received_bytes_total", self.bytes_in.read()),
            ("sent_bytes_total", self.bytes_out.read()),
            ("frames_received_total", self.frames_in.read()),
            ("deliveries_total", self.deliveries.read()),
            ("sessions_refused_total", self.refused.read()),
            ("slow_consumers_total", self.slow_consumers.read()),
            ("messages_dropped_total", self.dropped.read()),
            ("messages_unrouted_total", self.unrouted.read()),
            ("messages_user_absent_total", self.user_absent.read()),
            ("messages_dead_lettered_total", self.dead_lettered.read()),
            ("application_routed_total", self.routed.read()),
            ("application_calls_total", self.calls.read()),
            ("application_failures_total", self.call_failures.read()),
            ("application_false_answers_total", self.false_answers.read()),
            ("messages_lost_total", self.lost.read()),
        ]
    }
}
