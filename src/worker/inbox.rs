//! The way from worker to worker: bounded inboxes of batches, one batch a turn.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{OwnedPermit, Receiver, Sender, channel};

use super::hub::Hub;
use super::post::Post;
use crate::message::WorkerId;

/// Everything that one worker had for another at the end of a turn.
pub(crate) type Batch = Vec<Post>;

/// The inboxes of all workers: their sending ends, which every worker gets, and their receiving ends, one each.
pub(crate) fn inboxes(workers: usize, batches: usize) -> (Vec<Sender<Batch>>, Vec<Receiver<Batch>>) {
    (0..workers).map(|_| channel(batches.max(1))).unzip()
}

/// How many posts one worker has made for the others, and with how many of theirs it is through. It alone changes them.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    made: AtomicU64,
    taken: AtomicU64,
}

impl Traffic {
    /// Whether nothing is on its way between these workers, which are all. While nothing new comes to them from outside, that
    /// stays so: what a post leads to is made before the post counts as taken.
    pub(crate) fn is_over(all: &[Arc<Traffic>]) -> bool {
        let sum = |number: fn(&Traffic) -> &AtomicU64| -> u64 {
            all.iter().map(|traffic| number(traffic).load(Ordering::Acquire)).sum()
        };
        // In this order: what was taken by then had been made before, so if as many are made later, none was under way then.
        let taken = sum(|traffic| &traffic.taken);
        taken == sum(|traffic| &traffic.made)
    }

    /// So many posts are on their way from now on.
    pub(crate) fn note_made(&self, posts: usize) {
        Traffic::add(&self.made, posts);
    }

    /// So many posts of others have been taken up, and what they led to is on its way.
    pub(crate) fn note_taken(&self, posts: usize) {
        Traffic::add(&self.taken, posts);
    }

    /// Adds without a read-modify-write, since there is one writer.
    fn add(number: &AtomicU64, count: usize) {
        number.store(number.load(Ordering::Relaxed).wrapping_add(count as u64), Ordering::Release);
    }
}

/// One worker's way to the others.
///
/// A full inbox never makes a worker wait, or two could wait for each other: what does not fit stays here, and the
/// worker reads nothing from its own connections until it fits. So what can gather here is what one turn makes.
#[derive(Debug)]
pub(crate) struct Outward {
    own: WorkerId,
    to: Vec<Sender<Batch>>,
    left: Vec<Batch>,
    /// For each worker, whether somebody waits for room in its inbox.
    awaited: Vec<bool>,
    traffic: Arc<Traffic>,
    /// Posts of others that have been taken up, while what they led to is not sent yet.
    taken: usize,
}

/// Room in a worker's inbox; none when that worker is gone.
pub(crate) struct Relieved {
    worker: WorkerId,
    permit: Option<OwnedPermit<Batch>>,
}

impl Outward {
    pub(crate) fn new(own: WorkerId, to: Vec<Sender<Batch>>, traffic: Arc<Traffic>) -> Outward {
        let left = to.iter().map(|_| Vec::new()).collect();
        let awaited = vec![false; to.len()];
        Outward { own, to, left, awaited, traffic, taken: 0 }
    }

    /// So many posts of others have been taken up; what they led to is to be sent next.
    pub(crate) fn took(&mut self, posts: usize) {
        self.taken += posts;
    }

    /// Sends what the hub has for the other workers.
    pub(crate) fn send(&mut self, hub: &mut Hub) {
        if hub.has_posts() {
            self.send_posts(hub);
        }
        if self.taken > 0 {
            self.traffic.note_taken(std::mem::take(&mut self.taken));
        }
    }

    fn send_posts(&mut self, hub: &mut Hub) {
        for (index, (sender, left)) in self.to.iter().zip(&mut self.left).enumerate() {
            let worker = WorkerId(index as u16);
            let mut batch = hub.take_posts(worker);
            debug_assert!(batch.is_empty() || worker != self.own, "a worker posts to itself");
            if batch.is_empty() {
                continue;
            }
            self.traffic.note_made(batch.len());
            if !left.is_empty() {
                left.append(&mut batch);
                continue;
            }
            if let Err(TrySendError::Full(batch)) = sender.try_send(batch) {
                *left = batch;
            }
        }
    }

    /// Whether some inbox was full, so that nothing more should be taken on.
    pub(crate) fn is_congested(&self) -> bool {
        self.left.iter().any(|left| !left.is_empty())
    }

    /// Whether there is an inbox that nobody waits for yet.
    pub(crate) fn needs_relief(&self) -> bool {
        self.next_unawaited().is_some()
    }

    /// Waits for room in one such inbox; the result is for [`Outward::relieved`].
    pub(crate) fn relief(&mut self) -> impl Future<Output = Relieved> + use<> {
        let index = self.next_unawaited().unwrap_or_default();
        if let Some(awaited) = self.awaited.get_mut(index) {
            *awaited = true;
        }
        let sender = self.to.get(index).cloned();
        let worker = WorkerId(index as u16);
        async move {
            let permit = match sender {
                Some(sender) => sender.reserve_owned().await.ok(),
                None => None,
            };
            Relieved { worker, permit }
        }
    }

    /// Uses the room.
    pub(crate) fn relieved(&mut self, relieved: Relieved) {
        let index = relieved.worker.index();
        if let Some(awaited) = self.awaited.get_mut(index) {
            *awaited = false;
        }
        if let Some(left) = self.left.get_mut(index) {
            let batch = std::mem::take(left);
            if let Some(permit) = relieved.permit {
                permit.send(batch);
            }
        }
    }

    fn next_unawaited(&self) -> Option<usize> {
        self.left.iter().zip(&self.awaited).position(|(left, awaited)| !left.is_empty() && !awaited)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::broker::Interest;
    use crate::clock::Clock;
    use crate::destination::Destination;
    use crate::worker::{Counters, Framing, Options, Peer};

    /// A worker without its thread.
    struct Played {
        hub: Hub,
        outward: Outward,
        inbox: Receiver<Batch>,
    }

    impl Played {
        fn take_up(&mut self, now: Instant) -> usize {
            let mut count = 0;
            while let Ok(batch) = self.inbox.try_recv() {
                count += batch.len();
                self.hub.receive_posts(now, batch);
            }
            self.outward.took(count);
            count
        }
    }

    #[test]
    fn traffic_is_over_when_all_is_taken_up_and_what_it_led_to() {
        let now = Instant::now();
        let interest = Arc::new(Interest::new(2));
        let (to, inboxes) = inboxes(2, 1);
        let traffic: Vec<Arc<Traffic>> = (0..2).map(|_| Arc::default()).collect();
        let mut workers = inboxes.into_iter().enumerate().map(|(index, inbox)| {
            let (id, counters) = (WorkerId(index as u16), Arc::new(Counters::default()));
            let options = Arc::new(Options::default());
            let hub = Hub::new(Clock::new(now, 0), id, 1, options, Arc::clone(&interest), counters);
            Played { hub, outward: Outward::new(id, to.clone(), Arc::clone(&traffic[index])), inbox }
        });
        let (mut near, mut far) = (workers.next().unwrap(), workers.next().unwrap());
        let name = (0..).map(|n| format!("/queue/{n}"));
        let queue = name.map(Destination::new).find(|name| interest.home_of(name) == WorkerId(1)).unwrap();
        let key = near.hub.open(now, Peer { transport: "tcp", address: None }, Framing::Stream);
        near.hub.receive(now, key, &mut b"CONNECT\naccept-version:1.2\n\n\0".to_vec());
        near.outward.send(&mut near.hub);
        assert!(Traffic::is_over(&traffic), "nothing was sent");
        // Two turns, of which the inbox takes one.
        for _ in 0..2 {
            let mut frames = format!("SEND\ndestination:{queue}\nreceipt:r\n\n\0").repeat(2).into_bytes();
            near.hub.receive(now, key, &mut frames);
            near.outward.send(&mut near.hub);
        }
        assert!(near.outward.is_congested() && !Traffic::is_over(&traffic));
        assert_eq!(far.take_up(now), 2);
        far.outward.send(&mut far.hub);
        let mut relief = std::pin::pin!(near.outward.relief());
        let mut nobody = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(relieved) = relief.as_mut().poll(&mut nobody) else { panic!("there is room") };
        near.outward.relieved(relieved);
        assert_eq!(far.take_up(now), 2);
        assert_eq!(near.take_up(now), 2, "the answers of the first turn");
        near.outward.send(&mut near.hub);
        assert!(!Traffic::is_over(&traffic), "those of the second are not sent yet");
        far.outward.send(&mut far.hub);
        assert!(!Traffic::is_over(&traffic), "and then not taken up");
        assert_eq!(near.take_up(now), 2);
        assert!(!Traffic::is_over(&traffic), "what they lead to might be for others");
        near.outward.send(&mut near.hub);
        assert!(Traffic::is_over(&traffic));
    }
}
