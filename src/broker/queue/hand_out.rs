//! Messages on their way to consumers.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Queue;
use crate::broker::command::{Consumer, Effects};
use crate::broker::consumers::ConsumerKey;
use crate::broker::entry::Entry;
use crate::message::{Delivery, SubscriberId, Tag, WhenSlow};

/// A message that a consumer has, or is to have.
#[derive(Debug)]
pub(super) struct Unsettled {
    pub(super) entry: Entry,
    pub(super) to: SubscriberId,
    pub(super) consumer: ConsumerKey,
    /// Whether it is on its way. Until then it takes credit, but nobody has seen it.
    pub(super) is_sent: bool,
    /// A transaction that is being committed will settle it.
    pub(super) is_claimed: bool,
    /// It still reaches its client when its consumer ends.
    pub(super) is_kept: bool,
}

impl Queue {
    /// Hands out what there is to those who have credit, in turn. `tag` names a message of this queue. What has expired
    /// must have been taken out.
    pub(in crate::broker) fn hand_out<E: Effects>(&mut self, tag: impl Fn(u64) -> Tag, effects: &mut E) {
        if !self.outgoing.is_empty() {
            self.send_outgoing(&tag, effects);
        }
        loop {
            if self.backlog.groups().has_due() {
                self.hand_out_lanes(&tag, effects);
            }
            self.hand_out_in_turn(&tag, effects);
            if !self.backlog.groups().has_due() {
                return;
            }
        }
    }

    /// Whether something must come from the store before more can be handed out, or should.
    #[inline]
    pub(in crate::broker) fn needs_store(&self) -> bool {
        self.away > 0 || !self.outgoing.is_empty()
    }

    /// Puts a message back into its place, and with it all that was given to consumers and is not on its way: it is given out
    /// anew. Nobody has seen that yet, and it must not pass what comes back before it (G4).
    pub(super) fn put_back(&mut self, sequence: u64, entry: Entry) {
        self.backlog.put_back(sequence, entry);
        for sequence in std::mem::take(&mut self.outgoing) {
            if self.unsettled.get(&sequence).is_none_or(|unsettled| unsettled.is_sent) {
                continue;
            }
            if let Some(Unsettled { entry, consumer, .. }) = self.unsettled.remove(&sequence) {
                self.consumers.release(consumer, sequence);
                let groups = self.backlog.groups();
                groups.release(entry.group);
                // There is credit again for what waits for this consumer alone.
                groups.wake(consumer);
                self.backlog.put_back(sequence, entry);
            }
        }
    }

    /// Hands out what waits for one consumer alone.
    #[cold]
    fn hand_out_lanes<E: Effects>(&mut self, tag: &impl Fn(u64) -> Tag, effects: &mut E) {
        while let Some(key) = self.backlog.groups().next_due() {
            while let Some(consumer) = self.consumers.with_credit(key)
                && let Some((sequence, entry)) = self.backlog.take_own(key)
            {
                self.give((key, &consumer), sequence, entry, tag, effects);
            }
        }
    }

    #[inline]
    fn hand_out_in_turn<E: Effects>(&mut self, tag: &impl Fn(u64) -> Tag, effects: &mut E) {
        let max_groups = self.rules.options.max_groups;
        let mut passed = 0;
        while !self.backlog.is_idle() && passed < self.consumers.turns() {
            let Some((key, consumer)) = self.consumers.next() else {
                return;
            };
            let Some((sequence, entry)) = self.backlog.take(key, &consumer, max_groups) else {
                self.consumers.passed(key);
                passed += 1;
                continue;
            };
            passed = 0;
            self.give((key, &consumer), sequence, entry, tag, effects);
        }
    }

    /// Gives a message to a consumer. It goes at once, unless it must be read first, or others before it.
    #[inline]
    fn give<E: Effects>(
        &mut self,
        (key, consumer): (ConsumerKey, &Consumer),
        sequence: u64,
        mut entry: Entry,
        tag: &impl Fn(u64) -> Tag,
        effects: &mut E,
    ) {
        self.consumers.took(key, sequence);
        let is_sent = self.outgoing.is_empty()
            && self.mark.allows(&entry)
            && send(&mut entry, consumer.id, tag(sequence), effects);
        if !is_sent {
            self.outgoing.push_back(sequence);
        } else if entry.stored.is_some() {
            self.page_out_if_full(&mut entry);
        }
        let unsettled = Unsettled { entry, to: consumer.id, consumer: key, is_sent, is_claimed: false, is_kept: false };
        self.unsettled.insert(sequence, unsettled);
    }

    /// Sends what waited for the store, up to the first that still does: later ones must not pass it.
    #[cold]
    fn send_outgoing<E: Effects>(&mut self, tag: &impl Fn(u64) -> Tag, effects: &mut E) {
        while let Some(sequence) = self.outgoing.front().copied() {
            // Those that are not there, or are sent, went back to their place meanwhile.
            if let Some(mut unsettled) = self.unsettled.remove(&sequence) {
                let mut may_pass = unsettled.is_sent;
                if !may_pass && self.mark.allows(&unsettled.entry) {
                    unsettled.is_sent = send(&mut unsettled.entry, unsettled.to, tag(sequence), effects);
                    may_pass = unsettled.is_sent;
                    if may_pass {
                        self.page_out_if_full(&mut unsettled.entry);
                    }
                }
                self.unsettled.insert(sequence, unsettled);
                if !may_pass {
                    return;
                }
            }
            self.outgoing.pop_front();
        }
        if self.outgoing.capacity() > 1024 {
            self.outgoing = VecDeque::new();
        }
    }
}

/// Sends a message; false when it must be read first.
#[inline]
fn send<E: Effects>(entry: &mut Entry, to: SubscriberId, tag: Tag, effects: &mut E) -> bool {
    let Some(message) = entry.cargo.message() else {
        return false;
    };
    let (message, redeliveries) = (Arc::clone(message), entry.handed_out);
    effects.deliver(to, Delivery { message, when_slow: WhenSlow::default(), tag: Some(tag), redeliveries });
    entry.handed_out = entry.handed_out.saturating_add(1);
    true
}
