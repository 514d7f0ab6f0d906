//! The way from worker to worker: bounded inboxes of batches, one batch a turn.

use std::future::Future;

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
}

/// Room in a worker's inbox; none when that worker is gone.
pub(crate) struct Relieved {
    worker: WorkerId,
    permit: Option<OwnedPermit<Batch>>,
}

impl Outward {
    pub(crate) fn new(own: WorkerId, to: Vec<Sender<Batch>>) -> Outward {
        let left = to.iter().map(|_| Vec::new()).collect();
        let awaited = vec![false; to.len()];
        Outward { own, to, left, awaited }
    }

    /// Sends what the hub has for the other workers.
    pub(crate) fn send(&mut self, hub: &mut Hub) {
        if !hub.has_posts() {
            return;
        }
        for (index, (sender, left)) in self.to.iter().zip(&mut self.left).enumerate() {
            let worker = WorkerId(index as u16);
            let mut batch = hub.take_posts(worker);
            debug_assert!(batch.is_empty() || worker != self.own, "a worker posts to itself");
            if batch.is_empty() {
                continue;
            }
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
