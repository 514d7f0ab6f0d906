//! Input that is not whole yet: how much of it is kept for all connections, and who has to go when that is too much.
//!
//! What one connection leaves unfinished is limited by the size of frames and packets; this limits the sum. A read that leaves
//! nothing over costs a comparison. One that does leave something changes two shared numbers.
//!
//! At the limit the connection ends that weighs most: bytes times how long. A client that stops in the middle of a frame so goes
//! before one that is still sending a larger one, and both before one that is in the middle of a small one. Which client made the
//! sum too large says nothing: it is the limit's first innocent one as often as not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::hub::Hub;
use super::peers::{Connection, ConnectionKey, Intake, Phase};
use super::post::Post;
use crate::message::WorkerId;

/// How many bytes of unfinished input all workers of a broker keep. They share one.
#[derive(Debug)]
pub struct Unfinished {
    limit: usize,
    total: AtomicUsize,
    /// The part of it that is in bodies of requests.
    bodies: AtomicUsize,
    /// The part of it that each worker's connections have. The worker alone changes it.
    workers: Box<[AtomicUsize]>,
}

impl Unfinished {
    /// Nothing yet, of at most `limit` bytes.
    pub fn new(limit: usize, workers: usize) -> Arc<Unfinished> {
        let workers = (0..workers).map(|_| AtomicUsize::new(0)).collect();
        Arc::new(Unfinished { limit, total: AtomicUsize::new(0), bodies: AtomicUsize::new(0), workers })
    }

    /// How many bytes are kept now, of connections and of bodies.
    pub fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// The most that all bodies of requests may be. A body is gone after a while, whatever its client does, and is nobody's
    /// whom one could close instead: so whoever comes too late is refused, and connections have the other half for themselves.
    pub fn body_limit(&self) -> usize {
        self.limit / 2
    }

    fn is_over(&self) -> bool {
        self.total() > self.limit
    }

    /// What a connection of `worker` keeps has changed.
    fn change(&self, worker: WorkerId, before: usize, after: usize) {
        // Wrapping: what is less is more by nearly all that a number can hold.
        let more = after.wrapping_sub(before);
        self.total.fetch_add(more, Ordering::Relaxed);
        if let Some(own) = self.workers.get(worker.index()) {
            own.store(own.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
        }
    }

    /// The worker whose connections keep the most.
    fn heaviest(&self) -> Option<WorkerId> {
        let loads = self.workers.iter().map(|worker| worker.load(Ordering::Relaxed));
        let (index, _) = loads.enumerate().max_by_key(|(_, load)| *load)?;
        Some(WorkerId(index as u16))
    }

    fn admit_body(&self, bytes: usize) -> bool {
        let before = self.bodies.fetch_add(bytes, Ordering::Relaxed);
        self.total.fetch_add(bytes, Ordering::Relaxed);
        let is_admitted = before.saturating_add(bytes) <= self.body_limit();
        if !is_admitted {
            self.release_body(bytes);
        }
        is_admitted
    }

    fn release_body(&self, bytes: usize) {
        self.bodies.fetch_sub(bytes, Ordering::Relaxed);
        self.total.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Intake {
    fn held_bytes(&self) -> usize {
        self.decoder.held_bytes() + self.packets.as_ref().map_or(0, |packets| packets.held_bytes())
    }

    /// Keeps nothing any more, of what has come or of what comes.
    fn forget(&mut self) {
        self.decoder.forget();
        if let Some(packets) = &mut self.packets {
            packets.discard_packets();
        }
    }
}

impl Connection {
    /// How much is kept of its input, apart from what is just being fed.
    fn unfinished_bytes(&self) -> usize {
        let held = self.intake.as_ref().map_or(0, Intake::held_bytes);
        held + self.unread.capacity() + self.outside
    }

    /// How much the broker is burdened by what this client left unfinished.
    fn weight(&self, now: Instant) -> u128 {
        let age = now.saturating_duration_since(self.kept_since).as_millis();
        (self.kept as u128).saturating_mul(age + 1)
    }
}

impl Hub {
    /// From now on what this hub keeps counts together with what others do. To be called before the first connection.
    pub fn share_unfinished(&mut self, unfinished: Arc<Unfinished>) {
        self.unfinished = unfinished;
    }

    /// So many bytes of a connection's unfinished input are kept elsewhere, before they reach this hub.
    pub fn note_outside(&mut self, now: Instant, key: ConnectionKey, bytes: usize) {
        self.peers.now = now;
        if let Some(connection) = self.peers.connections.get_mut(key)
            && connection.phase == Phase::Open
        {
            connection.outside = bytes;
            self.count_kept(key);
        }
    }

    /// Whether so many more bytes of a request's body may be kept, until [`Hub::body_release`] is told.
    pub fn admit_body(&mut self, now: Instant, bytes: usize) -> bool {
        self.peers.now = now;
        if !self.unfinished.admit_body(bytes) {
            return false;
        }
        self.peers.counters.unfinished.change(0, bytes);
        self.relieve();
        true
    }

    /// What is to be told, on whatever thread, when bytes that were admitted are kept no longer.
    pub fn body_release(&self) -> impl Fn(usize) + Send + Sync + use<> {
        let (unfinished, counters) = (Arc::clone(&self.unfinished), Arc::clone(&self.peers.counters));
        move |bytes| {
            unfinished.release_body(bytes);
            counters.unfinished.change(bytes, 0);
        }
    }

    /// How many bytes bodies of requests may have in all.
    pub fn body_limit(&self) -> usize {
        self.unfinished.body_limit()
    }

    /// Ends the feeding of an intake, which began when `frames` had been received.
    pub(super) fn put_back(&mut self, key: ConnectionKey, mut intake: Intake, frames: u64) {
        let Some(connection) = self.peers.connections.get_mut(key) else { return };
        if connection.phase != Phase::Open {
            intake.forget();
        }
        connection.intake = Some(intake);
        if connection.kept == 0 && connection.unfinished_bytes() == 0 {
            return;
        }
        if self.peers.counters.frames_in.read() != frames {
            // Whatever is left over now belongs to another frame than before.
            connection.kept_since = self.peers.now;
        }
        self.count_kept(key);
    }

    /// What came of a connection that is being closed, and was not taken up, is of no use any more.
    pub(super) fn forget_input(&mut self, key: ConnectionKey) {
        let Some(connection) = self.peers.connections.get_mut(key) else { return };
        connection.unread = Vec::new();
        connection.outside = 0;
        if let Some(intake) = &mut connection.intake {
            intake.forget();
        }
        self.count_kept(key);
    }

    /// Notes how much is kept of a connection's input, and makes room if that is too much. While its intake is being fed there
    /// is nothing to count.
    fn count_kept(&mut self, key: ConnectionKey) {
        let Some(connection) = self.peers.connections.get_mut(key) else { return };
        if connection.intake.is_none() {
            return;
        }
        let kept = connection.unfinished_bytes();
        let before = std::mem::replace(&mut connection.kept, kept);
        if kept == before {
            return;
        }
        if before == 0 {
            connection.kept_since = self.peers.now;
        }
        self.note_kept(before, kept);
        if kept > before {
            self.relieve();
        }
    }

    /// What one connection keeps has changed.
    pub(super) fn note_kept(&self, before: usize, after: usize) {
        if before != after {
            self.unfinished.change(self.peers.worker, before, after);
            self.peers.counters.unfinished.change(before, after);
        }
    }

    /// Makes room where too much is kept: on this worker or, where more is, on another.
    fn relieve(&mut self) {
        while self.unfinished.is_over() {
            match self.unfinished.heaviest() {
                Some(heaviest) if heaviest != self.peers.worker => {
                    return self.peers.posts.push(heaviest, Post::Relieve);
                }
                _ if self.close_worst() => {}
                _ => return,
            }
        }
    }

    /// Makes room because another worker asks for it, which asks again if that was not enough.
    pub(super) fn relieve_for_others(&mut self) {
        if self.unfinished.is_over() {
            self.close_worst();
        }
    }

    /// Ends the connection that weighs most; false if there is none.
    fn close_worst(&mut self) -> bool {
        let now = self.peers.now;
        let open = self.peers.connections.iter_mut().filter(|(_, each)| each.phase == Phase::Open && each.kept > 0);
        let Some((key, worst)) = open.max_by_key(|(_, each)| each.weight(now)) else { return false };
        let age = now.saturating_duration_since(worst.kept_since);
        worst.session.handle_unfinished(now, self.unfinished.limit, worst.kept, age);
        self.peers.stirred.push(key);
        self.settle_sessions();
        // A session that had nothing more to say would leave its connection as it is.
        if self.phase(key) == Some(Phase::Open) {
            self.lose(key);
            self.remove(key);
        }
        true
    }
}

#[cfg(test)]
mod tests;
