//! Committed transactions on their way through the shards that they touch (Q7).
//!
//! The shard of the committing session leads. Every home with a part first reserves space for the messages and claims
//! the deliveries to be settled; when all of them can, each applies its part, and the topic messages go out. If one
//! cannot, all undo theirs, and nothing has happened.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::command::{Change, Recipient, TransactionId};
use crate::hash::Keyed;
use crate::message::{Message, Outcome, Refusal, Tags, WorkerId};

/// A message for all who subscribed.
#[derive(Debug)]
pub(super) struct Broadcast {
    pub(super) message: Arc<Message>,
    /// Whose streams it is for; none for a topic.
    pub(super) recipient: Option<Box<Recipient>>,
}

/// What a transaction does, sorted by where.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Messages of topics and to users, in order.
    pub(super) broadcasts: Vec<Broadcast>,
    /// What each home has to do.
    pub(super) parts: BTreeMap<WorkerId, Part>,
    /// How many messages go to queues.
    pub(super) queued: u32,
}

/// What one home has to do.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) messages: Vec<Arc<Message>>,
    pub(super) settles: Vec<(Tags, Outcome)>,
}

impl Plan {
    pub(super) fn send_to_queue(&mut self, home: WorkerId, message: Arc<Message>) {
        self.parts.entry(home).or_default().messages.push(message);
        self.queued = self.queued.saturating_add(1);
    }

    pub(super) fn settle(&mut self, tags: Tags, outcome: Outcome) {
        if let Some(tag) = tags.first() {
            self.parts.entry(tag.home).or_default().settles.push((tags, outcome));
        }
    }
}

/// A transaction whose homes have not all answered.
#[derive(Debug)]
pub(super) struct Pending {
    /// Messages of topics and to users, to be sent once it applies.
    pub(super) broadcasts: Vec<Broadcast>,
    /// How many messages go to queues.
    pub(super) queued: u32,
    /// How many homes have not answered.
    pub(super) waiting: usize,
    /// What must be stored before it applies.
    pub(super) changes: Vec<Change>,
    /// The homes that have prepared their part.
    pub(super) ready: Vec<WorkerId>,
    /// Why it cannot apply.
    pub(super) refusal: Option<Refusal>,
}

/// The transactions that this shard leads and that wait for answers.
#[derive(Debug, Default)]
pub(super) struct Commits {
    pending: HashMap<TransactionId, Pending, Keyed>,
}

impl Commits {
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn insert(&mut self, transaction: TransactionId, pending: Pending) {
        self.pending.insert(transaction, pending);
    }

    /// Takes out a transaction that waited for the store.
    pub(super) fn take(&mut self, transaction: TransactionId) -> Option<Pending> {
        self.pending.remove(&transaction)
    }

    /// Takes a home's answer; gives the transaction back when it was the last one.
    pub(super) fn answer(
        &mut self,
        transaction: TransactionId,
        home: WorkerId,
        answer: Result<Vec<Change>, Refusal>,
    ) -> Option<Pending> {
        let pending = self.pending.get_mut(&transaction)?;
        pending.waiting = pending.waiting.saturating_sub(1);
        match answer {
            Ok(mut changes) => {
                pending.ready.push(home);
                pending.changes.append(&mut changes);
            }
            Err(refusal) => pending.refusal = pending.refusal.take().or(Some(refusal)),
        }
        if pending.waiting > 0 {
            return None;
        }
        self.pending.remove(&transaction)
    }
}
