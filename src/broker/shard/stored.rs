//! What the store says: its answers, and what it has kept.

use std::time::Instant;

use super::Shard;
use crate::broker::command::{Command, Effects};
use crate::broker::storage::Awaited;
use crate::message::Refusal;

impl Shard {
    /// The store has answered.
    pub(super) fn stored<E: Effects>(
        &mut self,
        now: Instant,
        ticket: u64,
        result: Result<(), Refusal>,
        effects: &mut E,
    ) {
        match self.queues.storage().take(ticket) {
            None => {}
            Some(Awaited::Admission { queue, place, mark }) => {
                self.queues.stored(now, queue, (place, mark), result, effects);
            }
            Some(Awaited::Mark { queue, up_to }) => self.queues.marked(now, queue, (up_to, result.is_ok()), effects),
            Some(Awaited::Settled(settlement)) => self.queues.settlement_done(Some(settlement), result, effects),
            Some(Awaited::Binding(queue)) => self.binding_stored(now, queue, result, effects),
            Some(Awaited::Commit(transaction)) => {
                if let Some(mut pending) = self.commits.take(transaction) {
                    pending.refusal = result.err();
                    self.conclude(now, transaction, pending, effects);
                }
            }
        }
    }

    /// Brings something back that the store has kept. Other commands are none of it.
    pub(super) fn bring_back<E: Effects>(&mut self, now: Instant, command: Command, effects: &mut E) {
        match command {
            Command::RestoreMark { queue, up_to } => self.queues.restore_mark(queue, up_to),
            Command::Restore { queue, message, sequence, history } => {
                self.queues.restore(now, &queue, (message, history), sequence, effects);
            }
            Command::Rebind { queue, topic, sequence } => self.rebind(&queue, topic, sequence, effects),
            Command::Restored => self.queues.restored(now, effects),
            _ => {}
        }
    }
}
