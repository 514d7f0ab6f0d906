//! A check of everything that is stored, and what there is of it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytestring::ByteString;

use super::error::{Damage, StoreError};
use super::record::{MessageRecord, Record};
use super::{Moved, Store};

/// Damage that is told one by one; of what is beyond there is only the count.
const LISTED_DAMAGE: usize = 20;

/// What a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// All that could be read.
    pub found: Moved,
    /// How many of the messages are none, but say what a durable subscription is on.
    pub bindings: u64,
    /// The queues that have messages, by name. As many as the store has.
    pub queues: BTreeMap<ByteString, Holding>,
    /// The first things that could not be read.
    pub damage: Vec<Damage>,
    /// How many things could not be read.
    pub damaged: u64,
}

/// What a store holds of one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Messages.
    pub messages: u64,
    /// Bytes that they take, roughly.
    pub bytes: u64,
    /// When the oldest one came, in milliseconds since 1970.
    pub oldest: u64,
}

/// Reads everything that is stored, and so checks it. `progress` is told after each record that can be read.
///
/// It is an error when the store does not let itself be read on; what was found until then is lost with it.
pub fn verify(store: &dyn Store, mut progress: impl FnMut(Moved)) -> Result<Survey, StoreError> {
    let mut survey = Survey::default();
    store.check(&mut |record| {
        match record {
            Ok(record) => {
                survey.count(&record);
                progress(survey.found);
            }
            Err(damage) => {
                survey.damaged += 1;
                if survey.damage.len() < LISTED_DAMAGE {
                    survey.damage.push(damage);
                }
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok(survey)
}

impl Survey {
    fn count(&mut self, record: &Record) {
        let bytes = match record {
            Record::Message(message) => {
                self.count_message(message);
                message.footprint()
            }
            Record::State(_) | Record::Mark(_) => size_of::<Record>(),
        };
        self.found.count(record, bytes);
    }

    fn count_message(&mut self, message: &MessageRecord) {
        if message.is_binding {
            self.bindings += 1;
        }
        let none = Holding { messages: 0, bytes: 0, oldest: u64::MAX };
        let holding = self.queues.entry(message.queue.clone()).or_insert(none);
        holding.messages += u64::from(!message.is_binding);
        holding.bytes += message.footprint() as u64;
        if !message.is_binding {
            holding.oldest = holding.oldest.min(message.enqueued_at);
        }
    }
}
