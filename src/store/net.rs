//! What is left of a batch: one outcome for each message, so that what comes and goes within a batch never touches the disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::record::{MessageRecord, StateRecord};
use super::{Batch, StoreOp};

/// What a batch means for one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Net<'a> {
    /// Whether what was there before is to go, with its state.
    pub(super) forget: bool,
    /// What is there after.
    pub(super) message: Option<&'a Arc<MessageRecord>>,
    /// Its new state, for the message here or else for the one that was there before.
    pub(super) state: Option<&'a StateRecord>,
}

/// The outcomes in the order of the sequences.
pub(super) fn net(batch: &Batch) -> BTreeMap<u64, Net<'_>> {
    let mut outcomes: BTreeMap<u64, Net<'_>> = BTreeMap::new();
    for operation in &batch.operations {
        let outcome = outcomes.entry(operation.sequence()).or_default();
        match operation {
            StoreOp::Append(message) => *outcome = Net { forget: true, message: Some(message), state: None },
            StoreOp::State(_) if outcome.forget && outcome.message.is_none() => {}
            StoreOp::State(state) => outcome.state = Some(state),
            StoreOp::Delete(_) => *outcome = Net { forget: true, message: None, state: None },
        }
    }
    outcomes
}
