//! The engine that forgets: messages in a map.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::RwLock;

use super::net::net;
use super::record::{MessageRecord, Record, StateRecord};
use super::{Batch, Durability, Store, StoreError, Usage};

/// A store in memory: nothing survives the process, everything else is as with a disk.
#[derive(Debug, Default)]
pub struct Memory {
    messages: RwLock<BTreeMap<u64, Entry>>,
}

#[derive(Debug)]
struct Entry {
    message: Arc<MessageRecord>,
    state: Option<StateRecord>,
}

impl Store for Memory {
    fn commit(&self, batch: &Batch, _: Durability) -> Result<(), StoreError> {
        let mut messages = self.messages.write();
        for (sequence, outcome) in net(batch) {
            if outcome.forget {
                messages.remove(&sequence);
            }
            if let Some(message) = outcome.message {
                messages.insert(sequence, Entry { message: Arc::clone(message), state: None });
            }
            if let (Some(state), Some(entry)) = (outcome.state, messages.get_mut(&sequence)) {
                entry.state = Some(*state);
            }
        }
        Ok(())
    }

    fn scan(&self, visit: &mut dyn FnMut(Record) -> ControlFlow<()>) -> Result<(), StoreError> {
        for entry in self.messages.read().values() {
            let state = entry.state.map(Record::State);
            for record in std::iter::once(Record::Message(MessageRecord::clone(&entry.message))).chain(state) {
                if visit(record).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn read(&self, sequence: u64) -> Result<Option<MessageRecord>, StoreError> {
        Ok(self.messages.read().get(&sequence).map(|entry| MessageRecord::clone(&entry.message)))
    }

    fn usage(&self) -> Usage {
        let messages = self.messages.read();
        Usage {
            messages: messages.len() as u64,
            bytes: messages.values().map(|entry| entry.message.footprint() as u64).sum(),
            highest_sequence: messages.last_key_value().map_or(0, |(sequence, _)| *sequence),
        }
    }
}
