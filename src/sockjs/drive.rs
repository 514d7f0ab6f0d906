//! The task of a conduit that requests come to: it joins the state to its application, its requests and the clock.

use std::future::pending;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::conduit::Conduit;
use super::framing::{self, STILL_OPEN, Wrapping};
use super::host::Share;
use super::link::Link;
use super::registry::{Arrival, Listing, Post};

/// How long a client may take nothing at all of what is there for it. Between two pieces of a large message over a bad
/// network it may be long.
pub(super) const STALL: Duration = Duration::from_secs(60);

/// How long a receiver has to show that it is gone when the next one comes: of a client that breaks a request off and sends
/// the next one at once, we may hear in either order.
const OVERLAP: Duration = Duration::from_millis(50);

/// A conduit at run time.
#[derive(Debug)]
pub(super) struct Drive {
    conduit: Conduit,
    link: Link,
    listing: Listing,
    receiver: Option<Receiver>,
    /// The request whose messages are being taken by the application, and what counts them.
    posted: Option<(oneshot::Sender<()>, Share)>,
    /// Since when the receiver takes nothing although there is something.
    blocked: Option<Instant>,
}

#[derive(Debug)]
struct Receiver {
    wrapping: Wrapping,
    frames: mpsc::Sender<Bytes>,
}

impl Drive {
    pub(super) fn new(conduit: Conduit, link: Link, listing: Listing) -> Drive {
        Drive { conduit, link, listing, receiver: None, posted: None, blocked: None }
    }

    /// Serves the conduit until it is over.
    pub(super) async fn run(mut self) {
        loop {
            let now = Instant::now();
            // The client's life is shown by its requests, so the application's own question is answered here.
            if let Some(ping) = self.link.deliver(now, &mut self.conduit) {
                self.link.write_pong(&ping);
            }
            self.transmit(now);
            self.confirm();
            if self.conduit.is_over(now) {
                return;
            }
            if self.link.is_held_back() && self.conduit.wants_messages() {
                continue;
            }
            let due = match self.blocked {
                Some(since) => Some(since + STALL),
                None => self.conduit.poll_timeout(),
            };
            tokio::select! {
                Some(arrival) = self.listing.arrivals.recv() => self.attach(arrival).await,
                Some(post) = self.listing.posts.recv(), if self.link.is_idle() => self.take(post),
                () = self.link.step(self.conduit.wants_messages()) => {}
                () = changed(self.receiver.as_ref(), self.blocked.is_some()) => {}
                () = at(due) => {}
            }
        }
    }

    async fn attach(&mut self, arrival: Arrival) {
        let Arrival { takes, wrapping, frames } = arrival;
        if let Some(receiver) = &self.receiver
            && timeout(OVERLAP, receiver.frames.closed()).await.is_ok()
        {
            self.conduit.interrupt(Instant::now());
            self.receiver = None;
        }
        if self.conduit.attach(Instant::now(), takes).is_ok() {
            self.receiver = Some(Receiver { wrapping, frames });
            return;
        }
        let refusal = wrapping.wrap(framing::close(STILL_OPEN.0, STILL_OPEN.1));
        // There is room, as the arrival promises; and one that is gone misses nothing.
        let _ = frames.try_send(refusal.into());
    }

    fn take(&mut self, post: Post) {
        if self.conduit.is_closed() {
            return;
        }
        self.link.write(&post.bytes);
        self.posted = Some((post.taken, post.share));
    }

    /// Tells the request that sent last, once that is known.
    fn confirm(&mut self) {
        if self.conduit.is_closed() {
            self.link.end();
            self.posted = None;
        }
        if self.link.is_idle()
            && let Some((taken, _)) = self.posted.take()
        {
            // Its connection may be gone; the messages are not.
            let _ = taken.send(());
        }
    }

    /// Sends what there is, as far as the receiver takes it.
    fn transmit(&mut self, now: Instant) {
        while let Some(receiver) = &self.receiver {
            let is_stalled = self.blocked.is_some_and(|since| now.saturating_duration_since(since) >= STALL);
            if receiver.frames.is_closed() || (is_stalled && receiver.frames.capacity() == 0) {
                self.conduit.interrupt(now);
                self.receiver = None;
                break;
            }
            if !self.conduit.has_frame(now) {
                break;
            }
            let Ok(room) = receiver.frames.try_reserve() else {
                self.blocked.get_or_insert(now);
                return;
            };
            self.blocked = None;
            match self.conduit.poll_frame(now, |frame| receiver.wrapping.wrap(frame)) {
                Some(frame) => room.send(frame.into()),
                None => drop(room),
            }
            if self.conduit.is_receiver_done() {
                self.receiver = None;
                self.conduit.detach(now);
            }
        }
        self.blocked = None;
    }
}

/// Waits until the receiver is gone, or, where it is `blocked`, until it takes more.
async fn changed(receiver: Option<&Receiver>, blocked: bool) {
    match receiver {
        Some(receiver) if blocked => drop(receiver.frames.reserve().await),
        Some(receiver) => receiver.frames.closed().await,
        None => pending().await,
    }
}

/// Waits for a point in time, or for ever.
pub(super) async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => pending().await,
    }
}
