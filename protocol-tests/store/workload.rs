//! Batches that follow from a seed, so that whoever knows how many were confirmed knows what must be stored.

use std::collections::BTreeMap;

use gumboot::store::{Batch, Record, StateRecord, Store, StoreOp};

use crate::support::{Chance, append, everything, message, state};

/// What a store holds: for each sequence the length of its body, and its state.
pub(crate) type Content = BTreeMap<u64, (usize, Option<StateRecord>)>;

/// Batches without end. The same seed and the same content at the start make the same ones.
pub(crate) struct Workload {
    chance: Chance,
    next: u64,
    /// After the last batch that was made.
    pub(crate) content: Content,
}

impl Workload {
    pub(crate) fn new(seed: u64, content: Content) -> Workload {
        let next = content.last_key_value().map_or(1, |(sequence, _)| sequence + 1);
        Workload { chance: Chance(seed), next, content }
    }

    pub(crate) fn batch(&mut self) -> Batch {
        let mut batch = Batch::default();
        for _ in 0..self.chance.below(24) {
            let length = match self.chance.below(40) {
                0 => 30_000 + self.chance.below(60_000),
                1..4 => 6_000 + self.chance.below(8_000),
                _ => self.chance.below(400),
            } as usize;
            batch.operations.push(append(self.next, length));
            self.content.insert(self.next, (length, None));
            self.next += 1;
        }
        // Deletes follow appends, so that a backlog neither grows without end nor stays empty.
        let deletes = self.chance.below(24).min(self.content.len() as u64 / 4);
        for _ in 0..deletes {
            let oldest = self.chance.below(4) > 0;
            let at = if oldest { 0 } else { self.chance.below(self.content.len() as u64) };
            let Some(sequence) = self.content.keys().nth(at as usize).copied() else { continue };
            self.content.remove(&sequence);
            batch.operations.push(StoreOp::Delete(sequence));
        }
        if let Some(sequence) = self.content.keys().nth(self.chance.below(50) as usize).copied() {
            let state = state(sequence, self.chance.below(100) as u32);
            self.content.entry(sequence).and_modify(|(_, kept)| *kept = Some(state));
            batch.operations.push(StoreOp::State(state));
        }
        batch
    }
}

/// All that a store holds, each message compared with what its sequence and length make of it.
#[track_caller]
pub(crate) fn content(store: &dyn Store) -> Content {
    let mut content = Content::new();
    for record in everything(store) {
        match record {
            Record::Message(found) => {
                let length = found.body.len();
                assert!(found == message(found.sequence, length), "message {} is another one", found.sequence);
                content.insert(found.sequence, (length, None));
            }
            Record::State(state) => {
                content.entry(state.sequence).and_modify(|(_, kept)| *kept = Some(state));
            }
            Record::Mark(_) => panic!("nobody stored a mark"),
        }
    }
    content
}

/// Checks that what is left is what `confirmed` batches made, or one more: the one that was under way. Answers with it.
#[track_caller]
pub(crate) fn check(store: &dyn Store, seed: u64, before: Content, confirmed: u64) -> Content {
    let left = content(store);
    let mut workload = Workload::new(seed, before);
    for _ in 0..confirmed {
        workload.batch();
    }
    if left != workload.content {
        let expected = workload.content.clone();
        workload.batch();
        let differs = |sequence: &&u64| left.get(sequence) != expected.get(sequence);
        let wrong: Vec<&u64> = left.keys().chain(expected.keys()).filter(differs).take(10).collect();
        assert!(
            left == workload.content,
            "seed {seed}: after {confirmed} confirmed batches {} messages are left instead of {}; among those that differ: \
             {wrong:?}",
            left.len(),
            expected.len()
        );
    }
    left
}
