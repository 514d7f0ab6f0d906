//! Batches that are safe in the journal, and not yet in the engine: what is left of them for each message.
//!
//! A message that comes and goes before the engine hears of it leaves nothing, and costs the engine nothing.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::sync::Arc;

use bytestring::ByteString;

use super::net::{Net, Outcomes};
use super::record::{MarkRecord, MessageRecord, StateRecord};
use super::{Batch, StoreOp};

/// Messages that are applied to the engine at a time, at most: it need not take all of it in one piece, since the journal is
/// there until the last piece is safe.
const SLICE: usize = 4096;

/// Bytes of them, likewise.
const SLICE_BYTES: usize = 4 << 20;

/// What a run of batches leaves.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    messages: BTreeMap<u64, Outcome>,
    /// The last mark of each queue.
    marks: BTreeMap<ByteString, MarkRecord>,
    /// The number of the last batch; zero when there is none.
    last: u64,
    /// What came before these batches has no higher sequence.
    floor: u64,
    /// Nor has anything in these batches.
    highest: u64,
}

#[derive(Clone, Debug, Default)]
struct Outcome {
    /// Whether what was there before is to go.
    forget: bool,
    message: Option<Arc<MessageRecord>>,
    state: Option<StateRecord>,
}

impl Pending {
    /// Nothing yet. What came before has no higher sequence than `floor`.
    pub(super) fn above(floor: u64) -> Pending {
        Pending { floor, highest: floor, ..Pending::default() }
    }

    /// Nothing, to follow this.
    pub(super) fn successor(&self) -> Pending {
        Pending::above(self.highest)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.last == 0
    }

    /// The number of the last batch.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Adds the batch that comes next.
    pub(super) fn add(&mut self, batch: &Batch, number: u64) {
        self.last = number;
        for operation in &batch.operations {
            let sequence = match operation {
                StoreOp::Mark(mark) => {
                    self.marks.insert(mark.queue.clone(), mark.clone());
                    continue;
                }
                StoreOp::Append(message) => message.sequence,
                StoreOp::State(state) => state.sequence,
                StoreOp::Delete(sequence) => *sequence,
            };
            self.highest = self.highest.max(sequence);
            match operation {
                StoreOp::Append(message) => {
                    let outcome = Outcome { forget: true, message: Some(Arc::clone(message)), state: None };
                    self.messages.insert(sequence, outcome);
                }
                // Nothing before these batches had this sequence, so nothing is to be forgotten.
                StoreOp::Delete(_) if sequence > self.floor => drop(self.messages.remove(&sequence)),
                StoreOp::Delete(_) => {
                    self.messages.insert(sequence, Outcome { forget: true, message: None, state: None });
                }
                StoreOp::State(state) => match self.messages.entry(sequence) {
                    btree_map::Entry::Occupied(known) if known.get().forget && known.get().message.is_none() => {}
                    other => other.or_default().state = Some(*state),
                },
                StoreOp::Mark(_) => {}
            }
        }
    }

    /// Adds what follows this.
    pub(super) fn join(&mut self, later: &Pending) {
        if !later.is_empty() {
            self.last = later.last;
        }
        self.highest = self.highest.max(later.highest);
        self.marks.extend(later.marks.iter().map(|(queue, mark)| (queue.clone(), mark.clone())));
        for (sequence, outcome) in &later.messages {
            match self.messages.entry(*sequence) {
                btree_map::Entry::Occupied(mut known) if !outcome.forget => {
                    let known = known.get_mut();
                    if !known.forget || known.message.is_some() {
                        known.state = outcome.state;
                    }
                }
                btree_map::Entry::Occupied(mut known) => *known.get_mut() = outcome.clone(),
                btree_map::Entry::Vacant(vacant) => {
                    vacant.insert(outcome.clone());
                }
            }
        }
    }

    /// The message with this sequence, where these batches say something about it.
    pub(super) fn find(&self, sequence: u64) -> Option<Option<&Arc<MessageRecord>>> {
        let outcome = self.messages.get(&sequence).filter(|outcome| outcome.forget)?;
        Some(outcome.message.as_ref())
    }

    /// The outcomes in pieces, in order; one at least.
    pub(super) fn slices(&self) -> Vec<Outcomes<'_>> {
        let mut slices = Vec::new();
        let mut slice = Outcomes { marks: self.marks.iter().collect(), ..Outcomes::default() };
        let mut bytes = 0;
        for (sequence, outcome) in &self.messages {
            let more = outcome.message.as_ref().map_or(0, |message| message.footprint());
            if slice.messages.len() >= SLICE || (bytes + more > SLICE_BYTES && !slice.messages.is_empty()) {
                slices.push(std::mem::take(&mut slice));
                bytes = 0;
            }
            bytes += more;
            let Outcome { forget, message, state } = outcome;
            let net = Net { forget: *forget, message: message.as_ref(), state: state.as_ref() };
            slice.messages.insert(*sequence, net);
        }
        slices.push(slice);
        slices
    }
}
