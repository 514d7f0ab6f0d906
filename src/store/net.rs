//! What is left of a batch: one outcome for each message, so that what comes and goes within a batch never touches the disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytestring::ByteString;

use super::record::{MarkRecord, MessageRecord, StateRecord};
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

/// What a batch means for the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcomes<'a> {
    /// For each message, by sequence.
    pub(super) messages: BTreeMap<u64, Net<'a>>,
    /// The last mark of each queue.
    pub(super) marks: BTreeMap<&'a ByteString, &'a MarkRecord>,
}

/// The outcomes of a batch.
pub(super) fn net(batch: &Batch) -> Outcomes<'_> {
    let mut outcomes = Outcomes::default();
    for operation in &batch.operations {
        if let StoreOp::Mark(mark) = operation {
            outcomes.marks.insert(&mark.queue, mark);
        }
        let Some(sequence) = operation.sequence() else { continue };
        let outcome = outcomes.messages.entry(sequence).or_default();
        match operation {
            StoreOp::Append(message) => *outcome = Net { forget: true, message: Some(message), state: None },
            StoreOp::State(_) if outcome.forget && outcome.message.is_none() => {}
            StoreOp::State(state) => outcome.state = Some(state),
            StoreOp::Delete(_) => *outcome = Net { forget: true, message: None, state: None },
            StoreOp::Mark(_) => {}
        }
    }
    outcomes
}
