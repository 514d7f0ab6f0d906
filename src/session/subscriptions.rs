//! The subscriptions of a session, by key and by id, and which of them have messages to release.

use std::collections::{HashMap, VecDeque};

use bytestring::ByteString;

use super::fault::Slow;
use super::subscription::{Offered, Subscription};
use super::{Action, Browse, Options, Outgoing, Target};
use crate::destination::Destination;
use crate::hash::Keyed;
use crate::message::{Delivery, SubscriptionKey, Ticket};

/// Up to here a search through all is quicker than a map, and smaller.
const FEW: usize = 8;

/// All live subscriptions of a session.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// By key: a new key is greater than all before it.
    list: Vec<Subscription>,
    /// Where there are more than a few: the key of each id.
    #[expect(clippy::box_collection, reason = "a map is large, and most sessions have none")]
    ids: Option<Box<HashMap<ByteString, SubscriptionKey, Keyed>>>,
    keys: u32,
    /// Subscriptions with messages that only wait for room, each once; they take turns.
    ready: VecDeque<SubscriptionKey>,
    /// What all of them hold back of topics; see `Options::max_held_bytes`.
    held_bytes: usize,
    /// What one that browses wants to see next.
    next_page: Option<Box<Browse>>,
}

impl Subscriptions {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// A key that no subscription of this session had before; none after four thousand million of them.
    pub(super) fn next_key(&mut self) -> Option<SubscriptionKey> {
        let key = SubscriptionKey(self.keys);
        self.keys = self.keys.checked_add(1)?;
        Some(key)
    }

    /// Adds a subscription whose key is from [`Subscriptions::next_key`] and whose id is free.
    pub(super) fn add(&mut self, subscription: Subscription) {
        if let Some(ids) = &mut self.ids {
            ids.insert(subscription.id.clone(), subscription.key);
        } else if self.list.len() == FEW {
            let all = self.list.iter().chain([&subscription]);
            self.ids = Some(Box::new(all.map(|each| (each.id.clone(), each.key)).collect()));
        }
        if self.list.is_empty() {
            // Most sessions have one.
            self.list.reserve_exact(1);
        }
        self.list.push(subscription);
    }

    /// The key of the subscription with this id.
    pub(super) fn key_of(&self, id: &str) -> Option<SubscriptionKey> {
        match &self.ids {
            Some(ids) => ids.get(id).copied(),
            None => self.list.iter().find(|each| &*each.id == id).map(|each| each.key),
        }
    }

    /// The subscription with this key.
    pub(super) fn find(&mut self, key: SubscriptionKey) -> Option<&mut Subscription> {
        let place = self.place_of(key)?;
        self.list.get_mut(place)
    }

    /// Whether one of them takes messages of this queue. One that browses only looks.
    pub(super) fn takes_from(&self, queue: &Destination) -> bool {
        let is_on = |target: &Target| matches!(target, Target::Queue(target) if target == queue);
        self.list.iter().any(|each| each.settles() && is_on(&each.target))
    }

    /// The one on this queue that was made for a `reply-to`.
    pub(super) fn made_for(&self, queue: &Target) -> Option<SubscriptionKey> {
        self.list.iter().find(|each| each.is_made && each.target == *queue).map(|each| each.key)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.list.iter()
    }

    /// Takes a subscription out.
    pub(super) fn remove(&mut self, key: SubscriptionKey) -> Option<Subscription> {
        let place = self.place_of(key)?;
        let removed = self.list.remove(place);
        self.held_bytes = self.held_bytes.saturating_sub(removed.held_bytes());
        self.ready.retain(|ready| *ready != key);
        if let Some(ids) = &mut self.ids {
            ids.remove(&removed.id);
        }
        if self.list.len() <= FEW / 2 {
            self.ids = None;
        }
        Some(removed)
    }

    /// Takes all of them out, and tells the broker. Those on queues have the tickets that `ticket` gives.
    pub(super) fn unsubscribe_all(
        &mut self,
        by_client: bool,
        actions: &mut VecDeque<Action>,
        mut ticket: impl FnMut() -> Option<Ticket>,
    ) {
        let all = std::mem::take(self);
        actions.extend(all.list.into_iter().map(|each| {
            let ticket = if each.settles() { ticket() } else { None };
            each.unsubscribe(by_client, ticket)
        }));
    }

    /// A delivery for one of them.
    pub(super) fn offer(
        &mut self,
        key: SubscriptionKey,
        delivery: Delivery,
        room: bool,
        options: &Options,
    ) -> Result<Offered, Slow> {
        let place = self.place_of(key);
        let Some(subscription) = place.and_then(|place| self.list.get_mut(place)) else {
            return Ok(Offered::Gone);
        };
        let offered = subscription.offer(delivery, room, options, &mut self.held_bytes)?;
        self.next_page = subscription.next_page();
        self.wake(key);
        Ok(offered)
    }

    /// Sees to it that [`Subscriptions::release`] considers a subscription that may have something to release now.
    pub(super) fn wake(&mut self, key: SubscriptionKey) {
        let is_releasable = self.find(key).is_some_and(|each| each.is_releasable());
        if is_releasable && !self.ready.contains(&key) {
            self.ready.push_back(key);
        }
    }

    /// What is to be asked for after the delivery that was made last.
    pub(super) fn next_page(&mut self) -> Option<Action> {
        self.next_page.take().map(|page| Action::Browse(*page))
    }

    /// Whether [`Subscriptions::release`] may have a message.
    pub(super) fn has_held(&self) -> bool {
        !self.ready.is_empty()
    }

    /// One message that was held back. Subscriptions take turns.
    pub(super) fn release(&mut self) -> Option<Outgoing> {
        while let Some(key) = self.ready.pop_front() {
            let place = self.place_of(key);
            let subscription = place.and_then(|place| self.list.get_mut(place));
            let outgoing = subscription.and_then(|each| {
                let outgoing = each.release(&mut self.held_bytes);
                self.next_page = each.next_page();
                outgoing
            });
            self.wake(key);
            if self.ready.is_empty() {
                self.ready = VecDeque::new();
            }
            if outgoing.is_some() {
                return outgoing;
            }
        }
        None
    }

    /// What all of them hold back of topics, as it is counted.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    fn place_of(&self, key: SubscriptionKey) -> Option<usize> {
        self.list.binary_search_by_key(&key, |each| each.key).ok()
    }
}
