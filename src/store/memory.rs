//! The engine that forgets: messages in a map.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytestring::ByteString;
use parking_lot::RwLock;

use super::net::net;
use super::record::{MarkRecord, MessageRecord, Record, StateRecord};
use super::{Batch, Durability, Store, StoreError, Usage};

/// A store in memory: nothing survives the process, everything else is as with a disk.
#[derive(Debug, Default)]
pub struct Memory {
    content: RwLock<Content>,
}

#[derive(Debug, Default)]
struct Content {
    messages: BTreeMap<u64, Entry>,
    marks: BTreeMap<ByteString, u64>,
}

#[derive(Debug)]
struct Entry {
    message: Arc<MessageRecord>,
    state: Option<StateRecord>,
}

impl Store for Memory {
    fn commit(&self, batch: &Batch, _: Durability) -> Result<(), StoreError> {
        let Content { messages, marks } = &mut *self.content.write();
        let outcomes = net(batch);
        for mark in outcomes.marks.into_values() {
            match mark.up_to {
                0 => marks.remove(&mark.queue),
                up_to => marks.insert(mark.queue.clone(), up_to),
            };
        }
        for (sequence, outcome) in outcomes.messages {
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
        let content = self.content.read();
        for (queue, up_to) in &content.marks {
            if visit(Record::Mark(MarkRecord { queue: queue.clone(), up_to: *up_to })).is_break() {
                return Ok(());
            }
        }
        for entry in content.messages.values() {
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
        Ok(self.content.read().messages.get(&sequence).map(|entry| MessageRecord::clone(&entry.message)))
    }

    fn usage(&self) -> Usage {
        let messages = &self.content.read().messages;
        Usage {
            messages: messages.len() as u64,
            bytes: messages.values().map(|entry| entry.message.footprint() as u64).sum(),
            highest_sequence: messages.last_key_value().map_or(0, |(sequence, _)| *sequence),
        }
    }
}
