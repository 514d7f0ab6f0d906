//! The consumers of one queue, and whose turn it is.

use std::collections::{BTreeSet, HashMap, VecDeque};

use slotmap::{SlotMap, new_key_type};

use super::command::Consumer;
use crate::hash::Keyed;
use crate::message::SubscriberId;

new_key_type! {
    /// Names a consumer of one queue; never used again for another one.
    pub(super) struct ConsumerKey;
}

#[derive(Debug, Default)]
pub(super) struct Consumers {
    members: SlotMap<ConsumerKey, Member>,
    by_id: HashMap<SubscriberId, ConsumerKey, Keyed>,
    /// Those with credit, each once, the next one first; and some that are gone.
    turns: VecDeque<ConsumerKey>,
    /// Where only one at a time is served: all of them in the order they came. The first is served.
    line: Option<VecDeque<ConsumerKey>>,
}

#[derive(Debug)]
struct Member {
    consumer: Consumer,
    /// What it has to settle, by sequence.
    held: BTreeSet<u64>,
    has_turn: bool,
}

impl Consumers {
    /// No consumers yet. With `single` the first is served, and the others stand by until it is gone.
    pub(super) fn new(single: bool) -> Consumers {
        Consumers { line: single.then(VecDeque::new), ..Consumers::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Consumer> {
        self.members.values().map(|member| &member.consumer)
    }

    pub(super) fn add(&mut self, consumer: Consumer) {
        let member = Member { consumer, held: BTreeSet::new(), has_turn: false };
        let key = self.members.insert(member);
        self.by_id.insert(consumer.id, key);
        if let Some(line) = &mut self.line {
            line.push_back(key);
        }
        self.give_turn(key);
    }

    /// Takes a consumer away, and answers what it had to settle.
    pub(super) fn remove(&mut self, consumer: SubscriberId) -> Option<(ConsumerKey, BTreeSet<u64>)> {
        let key = self.by_id.remove(&consumer)?;
        let member = self.members.remove(key)?;
        if self.turns.len() > 2 * self.members.len() + 16 {
            self.turns.retain(|key| self.members.contains_key(*key));
        }
        let next = self.line.as_mut().and_then(|line| {
            line.retain(|each| *each != key);
            line.front().copied()
        });
        if let Some(next) = next {
            self.give_turn(next);
        }
        Some((key, member.held))
    }

    pub(super) fn contains(&self, key: ConsumerKey) -> bool {
        self.members.contains_key(key)
    }

    /// At most so many consumers have credit.
    pub(super) fn turns(&self) -> usize {
        self.turns.len()
    }

    /// Whose turn it is. Must be followed by [`Consumers::took`] or [`Consumers::passed`].
    pub(super) fn next(&mut self) -> Option<(ConsumerKey, Consumer)> {
        loop {
            let key = self.turns.pop_front()?;
            if let Some(member) = self.members.get_mut(key) {
                member.has_turn = false;
                // Out of turn it may have got what waited for it alone, and has no credit left.
                if member.held.len() < member.consumer.credit as usize {
                    return Some((key, member.consumer));
                }
            }
        }
    }

    /// The consumer whose turn it was got this message.
    pub(super) fn took(&mut self, key: ConsumerKey, sequence: u64) {
        if let Some(member) = self.members.get_mut(key) {
            member.held.insert(sequence);
        }
        self.give_turn(key);
    }

    /// There was nothing for the consumer whose turn it was.
    pub(super) fn passed(&mut self, key: ConsumerKey) {
        self.give_turn(key);
    }

    /// A consumer has settled this message.
    pub(super) fn release(&mut self, key: ConsumerKey, sequence: u64) {
        if let Some(member) = self.members.get_mut(key) {
            member.held.remove(&sequence);
        }
        self.give_turn(key);
    }

    /// A consumer that can have another message.
    pub(super) fn with_credit(&self, key: ConsumerKey) -> Option<Consumer> {
        let member = self.members.get(key)?;
        (member.held.len() < member.consumer.credit as usize).then_some(member.consumer)
    }

    fn give_turn(&mut self, key: ConsumerKey) {
        if self.line.as_ref().is_some_and(|line| line.front() != Some(&key)) {
            return;
        }
        if let Some(member) = self.members.get_mut(key)
            && !member.has_turn
            && member.held.len() < member.consumer.credit as usize
        {
            member.has_turn = true;
            self.turns.push_back(key);
        }
    }
}
