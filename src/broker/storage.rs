//! What a shard waits for the store to say.

use std::collections::HashMap;
use std::num::NonZeroU64;

use super::command::{Change, Effects, TransactionId, UNAWAITED};
use super::queues::QueueKey;
use crate::hash::Keyed;
use crate::message::Sequences;

/// A shard's way to the store. Without one, nothing is stored.
///
/// What waits is bounded by the limits of the queues, of transactions, and of what each session may have unanswered.
#[derive(Debug, Default)]
pub(super) struct Storage {
    sequences: Option<Sequences>,
    last_ticket: u64,
    awaited: HashMap<u64, Awaited, Keyed>,
}

/// What happens when the store has answered.
#[derive(Debug)]
pub(super) enum Awaited {
    /// A message enters its queue.
    Admission {
        /// The queue.
        queue: QueueKey,
        /// Its place in the line.
        place: u64,
        /// The mark that is stored with it.
        mark: Option<u64>,
    },
    /// A queue may be handed out further.
    Mark {
        /// The queue.
        queue: QueueKey,
        /// How far.
        up_to: u64,
    },
    /// A part of a settlement is done.
    Settled(u64),
    /// A durable subscription begins.
    Binding(QueueKey),
    /// A transaction applies.
    Commit(TransactionId),
}

impl Storage {
    /// From now on there is a store.
    pub(super) fn use_sequences(&mut self, sequences: Sequences) {
        self.sequences = Some(sequences);
    }

    /// Whether there is a store.
    pub(super) fn is_used(&self) -> bool {
        self.sequences.is_some()
    }

    /// The number of a new message in the store, if there is one.
    pub(super) fn next_sequence(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.sequences.as_ref()?.next())
    }

    /// Asks for changes, and waits for the answer.
    pub(super) fn submit<E: Effects>(&mut self, changes: Vec<Change>, awaited: Awaited, effects: &mut E) {
        self.last_ticket += 1;
        debug_assert!(self.last_ticket != UNAWAITED, "tickets begin above it");
        self.awaited.insert(self.last_ticket, awaited);
        effects.store(self.last_ticket, changes);
    }

    /// What waited for this answer.
    pub(super) fn take(&mut self, ticket: u64) -> Option<Awaited> {
        self.awaited.remove(&ticket)
    }
}
