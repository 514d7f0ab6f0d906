//! Encodings that many subscribers share.
//!
//! The MESSAGE frames of one message differ between subscribers only in the subscription id, the version's escapes and
//! the framing. Whoever agrees in these three has the same *label*: a message is encoded once for each label, however
//! many subscribers carry it.

use std::collections::HashMap;

use bytes::Bytes;
use bytestring::ByteString;

use super::encoder::{Encoder, Envelope, Framing, Shape};
use crate::hash::Keyed;
use crate::message::{Message, MessageId};
use crate::stomp::Version;

/// What subscribers must agree in to share an encoding.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LabelKey {
    pub(super) subscription: ByteString,
    pub(super) version: Version,
    pub(super) framing: Framing,
}

#[derive(Debug)]
struct Label {
    key: LabelKey,
    /// Subscriptions that carry it.
    holders: usize,
    /// The message encoded last, and where it lies.
    last: Option<(MessageId, Shape)>,
    /// What was encoded during this turn.
    open: Vec<u8>,
    /// The same when the turn is over.
    sealed: Bytes,
    /// Whether something was encoded during this turn.
    touched: bool,
}

/// All labels of a worker.
#[derive(Debug, Default)]
pub(super) struct Labels {
    slots: Vec<Option<Label>>,
    free: Vec<u32>,
    by_key: HashMap<LabelKey, u32, Keyed>,
    touched: Vec<u32>,
    /// Bytes encoded during this turn, of all labels.
    fresh: usize,
}

impl Labels {
    /// The number of the label, for one more subscription that carries it.
    pub(super) fn acquire(&mut self, key: LabelKey) -> u32 {
        if let Some(number) = self.by_key.get(&key) {
            if let Some(label) = self.slots.get_mut(*number as usize).and_then(Option::as_mut) {
                label.holders += 1;
            }
            return *number;
        }
        let label =
            Label { key: key.clone(), holders: 1, last: None, open: Vec::new(), sealed: Bytes::new(), touched: false };
        let number = match self.free.pop() {
            Some(number) => number,
            None => {
                self.slots.push(None);
                (self.slots.len() - 1) as u32
            }
        };
        if let Some(slot) = self.slots.get_mut(number as usize) {
            *slot = Some(label);
        }
        self.by_key.insert(key, number);
        number
    }

    /// One subscription less carries the label.
    pub(super) fn release(&mut self, key: &LabelKey) {
        let Some(number) = self.by_key.get(key).copied() else { return };
        let Some(label) = self.slots.get_mut(number as usize).and_then(Option::as_mut) else { return };
        label.holders -= 1;
        // A label with bytes of this turn goes when they are sealed: outboxes still point into it.
        if label.holders == 0 && !label.touched {
            self.remove(number);
        }
    }

    /// Where this turn's encoding of `message` for the label lies; encodes it if nobody asked before.
    #[inline]
    pub(super) fn encoding(&mut self, number: u32, message: &Message, encoder: &mut Encoder) -> Option<&Shape> {
        let last = |label: &Label| matches!(&label.last, Some((id, _)) if *id == message.id);
        if !self.slots.get(number as usize)?.as_ref().is_some_and(last) {
            self.encode(number, message, encoder);
        }
        let label = self.slots.get(number as usize)?.as_ref()?;
        label.last.as_ref().map(|(_, shape)| shape)
    }

    #[inline(never)]
    fn encode(&mut self, number: u32, message: &Message, encoder: &mut Encoder) {
        let Some(label) = self.slots.get_mut(number as usize).and_then(Option::as_mut) else { return };
        if !label.touched {
            label.touched = true;
            self.touched.push(number);
        }
        let envelope = Envelope { subscription: &label.key.subscription, ack: None, redeliveries: 0 };
        let shape = encoder.message(&mut label.open, label.key.framing, label.key.version, envelope, message);
        self.fresh += shape.len();
        label.last = Some((message.id, shape));
    }

    /// Bytes encoded since the last [`Labels::seal`].
    pub(super) fn fresh(&self) -> usize {
        self.fresh
    }

    /// Ends the turn: what was encoded is final. [`Labels::sealed`] answers with it until [`Labels::forget`].
    pub(super) fn seal(&mut self) {
        self.fresh = 0;
        for number in &self.touched {
            if let Some(label) = self.slots.get_mut(*number as usize).and_then(Option::as_mut) {
                label.sealed = Bytes::from(std::mem::take(&mut label.open));
                label.last = None;
            }
        }
    }

    /// The bytes of the label that the last [`Labels::seal`] made final.
    pub(super) fn sealed(&self, number: u32) -> Bytes {
        let label = self.slots.get(number as usize).and_then(Option::as_ref);
        label.map(|label| label.sealed.clone()).unwrap_or_default()
    }

    /// Lets go of what was sealed: the outboxes hold it now.
    pub(super) fn forget(&mut self) {
        for number in std::mem::take(&mut self.touched) {
            let Some(label) = self.slots.get_mut(number as usize).and_then(Option::as_mut) else { continue };
            label.sealed = Bytes::new();
            label.touched = false;
            if label.holders == 0 {
                self.remove(number);
            }
        }
    }

    fn remove(&mut self, number: u32) {
        if let Some(label) = self.slots.get_mut(number as usize).and_then(Option::take) {
            self.by_key.remove(&label.key);
            self.free.push(number);
        }
    }
}
