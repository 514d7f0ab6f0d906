//! What workers tell each other.

use crate::app::{Answer, CallId};
use crate::broker::Command;
use crate::message::{Delivery, SessionId, SubscriberId, Ticket, Verdict, WorkerId};

/// For how many posts memory is allocated at most before there are any.
const FORESEEN: usize = 64;

/// One thing for another worker.
#[derive(Debug)]
pub enum Post {
    /// For its shard.
    Command(Command),
    /// A queue message for one of its consumers.
    Deliver(SubscriberId, Delivery),
    /// An answer for one of its sessions.
    Verdict(SessionId, Option<Ticket>, Verdict),
    /// What came of a request of one of its sessions to the application.
    Answer(CallId, Answer),
    /// Its clients have left more unfinished than those of any other worker, and all together too much.
    Relieve,
}

/// What one worker has for the others, in order, until the end of its turn.
#[derive(Debug)]
pub(super) struct Posts {
    to: Vec<Vec<Post>>,
    pending: usize,
}

impl Posts {
    pub(super) fn new(workers: usize) -> Posts {
        Posts { to: (0..workers).map(|_| Vec::new()).collect(), pending: 0 }
    }

    pub(super) fn push(&mut self, worker: WorkerId, post: Post) {
        debug_assert!(worker.index() < self.to.len(), "a post for a worker that does not exist");
        if let Some(posts) = self.to.get_mut(worker.index()) {
            posts.push(post);
            self.pending += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending == 0
    }

    /// How many workers there are.
    pub(super) fn workers(&self) -> usize {
        self.to.len()
    }

    /// Everything for `worker`.
    pub(super) fn take(&mut self, worker: WorkerId) -> Vec<Post> {
        let Some(to) = self.to.get_mut(worker.index()).filter(|to| !to.is_empty()) else { return Vec::new() };
        // The next turn is likely to be like this one.
        let posts = std::mem::replace(to, Vec::with_capacity(to.len().min(FORESEEN)));
        self.pending -= posts.len();
        posts
    }
}
