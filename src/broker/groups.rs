//! Groups of messages, each of which goes to one consumer while that is there.

use std::collections::{BTreeMap, HashMap};

use super::command::Consumer;
use super::consumers::ConsumerKey;
use super::entry::{Entry, GroupKey, Place};
use crate::hash::Keyed;
use crate::message::SessionId;

/// Which consumer has which group, and the messages that wait for their consumer alone.
#[derive(Debug, Default)]
pub(super) struct Groups {
    owners: HashMap<GroupKey, Owner, Keyed>,
    /// By consumer; none is empty.
    lanes: HashMap<ConsumerKey, BTreeMap<Place, Entry>, Keyed>,
    /// Consumers whose lane may have something for them now; some of them more than once.
    due: Vec<ConsumerKey>,
    /// At how many groups to look for some that can be forgotten.
    sweep_at: usize,
}

#[derive(Debug)]
struct Owner {
    consumer: ConsumerKey,
    /// What a `no-local` consumer does not take.
    shuns: Option<SessionId>,
    /// How many messages of the group wait in the lane or are not settled: as long as there are some, the group cannot
    /// change its consumer.
    held: usize,
}

impl Groups {
    /// Whether `consumer` may have the message. If not, it now waits for the one who has its group.
    pub(super) fn admit(
        &mut self,
        (key, consumer): (ConsumerKey, &Consumer),
        place: Place,
        entry: Entry,
        limit: usize,
    ) -> Option<Entry> {
        let Some(group) = entry.group else {
            return Some(entry);
        };
        let Some(owner) = self.owners.get_mut(&group) else {
            self.make_room(limit);
            let shuns = consumer.no_local.then_some(consumer.id.session);
            self.owners.insert(group, Owner { consumer: key, shuns, held: 1 });
            return Some(entry);
        };
        // What the group's own consumer does not take is anybody's.
        if owner.shuns == Some(entry.cargo.origin()) {
            return Some(entry);
        }
        owner.held += 1;
        if owner.consumer == key {
            return Some(entry);
        }
        self.lanes.entry(owner.consumer).or_default().insert(place, entry);
        self.due.push(owner.consumer);
        None
    }

    /// Whether there is any group.
    #[inline]
    pub(super) fn is_used(&self) -> bool {
        !self.owners.is_empty()
    }

    /// A message is not with its consumer any more, however that came.
    pub(super) fn release(&mut self, group: Option<GroupKey>) {
        if let Some(owner) = group.and_then(|group| self.owners.get_mut(&group)) {
            owner.held = owner.held.saturating_sub(1);
        }
    }

    /// This consumer may have got credit.
    pub(super) fn wake(&mut self, consumer: ConsumerKey) {
        if self.lanes.contains_key(&consumer) {
            self.due.push(consumer);
        }
    }

    /// A consumer whose lane is to be looked at.
    pub(super) fn next_due(&mut self) -> Option<ConsumerKey> {
        self.due.pop()
    }

    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// The first message that waits for this consumer alone.
    pub(super) fn take(&mut self, consumer: ConsumerKey) -> Option<(Place, Entry)> {
        let lane = self.lanes.get_mut(&consumer)?;
        let first = lane.pop_first();
        if lane.is_empty() {
            self.lanes.remove(&consumer);
        }
        first
    }

    /// The consumer is gone: its groups are free, and what waited for it comes back.
    pub(super) fn leave(&mut self, consumer: ConsumerKey) -> BTreeMap<Place, Entry> {
        if !self.owners.is_empty() {
            self.owners.retain(|_, owner| owner.consumer != consumer);
        }
        self.lanes.remove(&consumer).unwrap_or_default()
    }

    /// Takes the message at this place out, whoever it waits for.
    pub(super) fn remove(&mut self, place: Place) -> Option<Entry> {
        let (consumer, entry) =
            self.lanes.iter_mut().find_map(|(key, lane)| lane.remove(&place).map(|entry| (*key, entry)))?;
        if self.lanes.get(&consumer).is_some_and(BTreeMap::is_empty) {
            self.lanes.remove(&consumer);
        }
        self.release(entry.group);
        Some(entry)
    }

    /// All messages that wait for one consumer alone.
    pub(super) fn lanes(&self) -> impl Iterator<Item = &BTreeMap<Place, Entry>> {
        self.lanes.values()
    }

    /// The same, to be changed in place.
    pub(super) fn lanes_mut(&mut self) -> impl Iterator<Item = &mut BTreeMap<Place, Entry>> {
        self.lanes.values_mut()
    }

    /// Forgets groups without messages once there are too many. There are never more groups than that and the queue's
    /// messages together.
    fn make_room(&mut self, limit: usize) {
        if self.owners.len() >= limit.max(self.sweep_at) {
            self.owners.retain(|_, owner| owner.held > 0);
            // So that a search that finds little is not repeated at once.
            self.sweep_at = 2 * self.owners.len();
        }
    }
}
