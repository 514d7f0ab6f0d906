//! The topic subscriptions of one worker's sessions, and the ways from destinations to them.
//!
//! What a message goes by is an argument beside it: for a topic it is the destination that the message shows.

use std::collections::HashMap;
use std::sync::Arc;

use slotmap::{SlotMap, new_key_type};
use smallvec::SmallVec;

use super::command::{Command, Effects, Subscriber};
use super::interest::{Counts, Stamp, Table};
use super::matcher::Matcher;
use super::options::{Options, TopicOptions};
use super::queues::QueueKey;
use crate::destination::{Destination, Pattern};
use crate::hash::Keyed;
use crate::message::{Message, Refusal, SubscriberId, WhenSlow, WorkerId};

new_key_type! {
    /// Names the subscribers of one pattern.
    struct ListKey;
}

/// Destinations longer than this are looked up anew each time, so that the memory of remembered routes stays small.
const MAX_REMEMBERED: usize = 512;

#[derive(Debug)]
pub(super) struct Topics {
    worker: WorkerId,
    interest: Arc<Table>,
    index: Matcher<ListKey>,
    lists: SlotMap<ListKey, List>,
    /// Where each subscription is, so that taking one away costs the same however many there are.
    positions: HashMap<SubscriberId, Position, Keyed>,
    routes: Routes,
}

/// All of this worker's subscribers of one pattern, densely, for the fan-out to run over.
#[derive(Debug)]
struct List {
    pattern: Pattern,
    subscribers: Vec<Subscriber>,
    /// The queues of durable subscriptions.
    bound: Vec<QueueKey>,
    counts: Arc<Counts>,
}

#[derive(Clone, Copy, Debug)]
struct Position {
    list: ListKey,
    index: usize,
}

/// Who gets the messages for one destination, and what if they are slow.
#[derive(Debug)]
struct Route {
    destination: Destination,
    stamp: Stamp,
    lists: SmallVec<[ListKey; 2]>,
    counts: SmallVec<[Arc<Counts>; 2]>,
    when_slow: WhenSlow,
    /// Since the last time that a place was looked for.
    used: bool,
}

/// The remembered routes: at most `limit`, one of those not lately used making place for a new one.
#[derive(Debug)]
struct Routes {
    names: HashMap<Destination, usize, Keyed>,
    routes: Vec<Route>,
    hand: usize,
    limit: usize,
    /// The route of a destination that is not remembered.
    other: Option<Route>,
}

impl Topics {
    pub(super) fn new(worker: WorkerId, interest: Arc<Table>, options: &Options) -> Topics {
        Topics {
            worker,
            interest,
            index: Matcher::new(),
            lists: SlotMap::with_key(),
            positions: HashMap::default(),
            routes: Routes {
                names: HashMap::default(),
                routes: Vec::new(),
                hand: 0,
                limit: options.max_routes,
                other: None,
            },
        }
    }

    pub(super) fn subscriptions(&self) -> usize {
        self.positions.len()
    }

    pub(super) fn patterns(&self) -> usize {
        self.index.len()
    }

    pub(super) fn remembered_routes(&self) -> usize {
        self.routes.routes.len()
    }

    /// Registers a subscription; publishers on all workers see it from now on (G3).
    pub(super) fn subscribe(
        &mut self,
        subscriber: Subscriber,
        pattern: &Pattern,
        options: &Options,
    ) -> Result<(), Refusal> {
        self.unsubscribe(subscriber.id);
        if self.positions.len() >= options.max_subscriptions {
            return Err(Refusal::Limit {
                code: "too-many-subscriptions",
                what: "the subscriptions of this worker",
                limit: options.max_subscriptions as u64,
                key: "limits.subscriptions",
            });
        }
        let key = self.counted_list(pattern);
        if let Some(List { subscribers, .. }) = self.lists.get_mut(key) {
            self.positions.insert(subscriber.id, Position { list: key, index: subscribers.len() });
            subscribers.push(subscriber);
        }
        Ok(())
    }

    /// Registers a durable subscription, whose queue lives here.
    pub(super) fn bind(&mut self, queue: QueueKey, pattern: &Pattern) {
        let key = self.counted_list(pattern);
        if let Some(list) = self.lists.get_mut(key) {
            list.bound.push(queue);
        }
    }

    /// Takes a durable subscription away.
    pub(super) fn unbind(&mut self, queue: QueueKey, pattern: &Pattern) {
        let Some(key) = self.index.find(pattern).copied() else {
            return;
        };
        let Some(list) = self.lists.get_mut(key) else {
            return;
        };
        if let Some(at) = list.bound.iter().position(|each| *each == queue) {
            list.bound.remove(at);
            self.uncount(key);
        }
    }

    /// Takes a subscription away, if it is there.
    pub(super) fn unsubscribe(&mut self, subscriber: SubscriberId) {
        let Some(Position { list: key, index }) = self.positions.remove(&subscriber) else {
            return;
        };
        let Some(list) = self.lists.get_mut(key) else {
            return;
        };
        // The last one moves to the free place.
        if index < list.subscribers.len() {
            list.subscribers.swap_remove(index);
        }
        if let Some(moved) = list.subscribers.get(index)
            && let Some(position) = self.positions.get_mut(&moved.id)
        {
            position.index = index;
        }
        let (length, capacity) = (list.subscribers.len(), list.subscribers.capacity());
        if capacity > 64 && length < capacity / 4 {
            list.subscribers.shrink_to(length * 2);
        }
        self.uncount(key);
    }

    /// Gives `message`, which goes by `key`, to this worker's subscribers, and to the other workers that have some, as what
    /// `relay` makes of it; answers how many subscriptions that were (M6).
    pub(super) fn publish<E: Effects>(
        &mut self,
        key: &Destination,
        message: &Arc<Message>,
        options: &TopicOptions,
        effects: &mut E,
        relay: impl Fn(Arc<Message>) -> Command,
    ) -> Reached {
        let route = self.routes.find(key, &message.content.destination, &self.interest, &self.index, options);
        let mut reached = fan_out(route, &self.lists, message, effects);
        for (worker, count) in others(route, self.interest.workers(), self.worker) {
            reached.elsewhere = reached.elsewhere.saturating_add(count);
            reached.relays += 1;
            effects.post(worker, relay(Arc::clone(message)));
        }
        reached
    }

    /// Gives a message of another worker to this worker's subscribers.
    pub(super) fn relay<E: Effects>(
        &mut self,
        key: &Destination,
        message: &Arc<Message>,
        options: &TopicOptions,
        effects: &mut E,
    ) -> Reached {
        let route = self.routes.find(key, &message.content.destination, &self.interest, &self.index, options);
        fan_out(route, &self.lists, message, effects)
    }

    /// How many subscriptions [`Topics::publish`] would reach.
    pub(super) fn reach(&mut self, key: &Destination, message: &Message, options: &TopicOptions) -> u32 {
        let route = self.routes.find(key, &message.content.destination, &self.interest, &self.index, options);
        let lists = route.lists.iter().filter_map(|list| self.lists.get(*list));
        let local = lists.map(|list| {
            list.bound.len() + list.subscribers.iter().filter(|subscriber| wants(subscriber, message)).count()
        });
        let local: usize = local.sum();
        let remote: u32 = others(route, self.interest.workers(), self.worker).map(|(_, count)| count).sum();
        u32::try_from(local).unwrap_or(u32::MAX).saturating_add(remote)
    }

    /// The list of a pattern, made if need be, with one more of its members counted.
    fn counted_list(&mut self, pattern: &Pattern) -> ListKey {
        if let Some(key) = self.index.find(pattern).copied() {
            if let Some(list) = self.lists.get(key) {
                list.counts.add(self.worker);
            }
            return key;
        }
        // Joining counts the first one.
        let counts = self.interest.join(pattern, self.worker);
        let list = List { pattern: pattern.clone(), subscribers: Vec::new(), bound: Vec::new(), counts };
        let key = self.lists.insert(list);
        self.index.insert(pattern, key);
        key
    }

    /// A list has lost a member, perhaps its last.
    fn uncount(&mut self, key: ListKey) {
        let Some(list) = self.lists.get(key) else {
            return;
        };
        if list.subscribers.is_empty() && list.bound.is_empty() {
            self.interest.leave(&list.pattern, self.worker);
            self.index.remove(&list.pattern);
            self.lists.remove(key);
        } else {
            list.counts.remove(self.worker);
        }
    }
}

/// Whom a published message reached.
#[derive(Debug, Default)]
pub(super) struct Reached {
    /// Subscriptions of this worker, without the durable ones.
    pub(super) here: u32,
    /// The queues of the durable ones of this worker: they are still to get it.
    pub(super) bound: SmallVec<[QueueKey; 2]>,
    /// Subscriptions of other workers, as far as is known here.
    pub(super) elsewhere: u32,
    /// Workers that the message was sent to.
    pub(super) relays: u32,
}

impl Reached {
    pub(super) fn total(&self) -> u32 {
        self.here.saturating_add(self.elsewhere)
    }
}

/// The hot loop: no look-up and no allocation per subscriber. On its own, so that its registers are its own, too.
#[inline(never)]
fn fan_out<E: Effects>(
    route: &Route,
    lists: &SlotMap<ListKey, List>,
    message: &Arc<Message>,
    effects: &mut E,
) -> Reached {
    let (mut here, mut bound) = (0, SmallVec::new());
    for list in route.lists.iter().filter_map(|list| lists.get(*list)) {
        for subscriber in &list.subscribers {
            if wants(subscriber, message) {
                effects.deliver_topic(subscriber, message, route.when_slow);
                here += 1;
            }
        }
        if !list.bound.is_empty() {
            bound.extend_from_slice(&list.bound);
        }
    }
    Reached { here, bound, elsewhere: 0, relays: 0 }
}

/// Whether a subscriber is to get `message` at all (M5).
#[inline]
fn wants(subscriber: &Subscriber, message: &Message) -> bool {
    let is_own = subscriber.id.session == message.origin;
    !(is_own && (subscriber.no_local || message.content.exclude_origin))
}

/// The other workers that have subscriptions, and how many.
fn others(route: &Route, workers: u16, own: WorkerId) -> impl Iterator<Item = (WorkerId, u32)> {
    let count = |worker| (worker, route.counts.iter().map(|counts| counts.of(worker)).sum());
    let workers = if route.counts.is_empty() { 0 } else { workers };
    (0..workers).map(WorkerId).filter(move |worker| *worker != own).map(count).filter(|(_, count)| *count > 0)
}

impl Routes {
    /// The way of what goes by `destination` and is `shown` as sent there, built anew if the one remembered may be wrong.
    #[inline]
    fn find(
        &mut self,
        destination: &Destination,
        shown: &Destination,
        interest: &Table,
        index: &Matcher<ListKey>,
        options: &TopicOptions,
    ) -> &Route {
        let at = match self.names.get(destination) {
            Some(at) => *at,
            None => {
                let route = Route::build(destination.detached(), shown, interest, index, options);
                match self.place_for(destination) {
                    Some(at) => self.remember(at, route),
                    None => return self.other.insert(route),
                }
            }
        };
        // Invariant: `names` and `remember` give only places that `routes` has, and places are never taken away.
        let route = &mut self.routes[at];
        if !interest.is_current(route.stamp) {
            *route = Route::build(route.destination.clone(), shown, interest, index, options);
        }
        route.used = true;
        route
    }

    /// Where a new route is to go, if it is to be remembered: at the end, or where the hand of a clock finds a route
    /// that was not used since it last came by.
    fn place_for(&mut self, destination: &Destination) -> Option<usize> {
        if destination.as_str().len() > MAX_REMEMBERED || self.limit == 0 {
            return None;
        }
        if self.routes.len() < self.limit {
            return Some(self.routes.len());
        }
        loop {
            self.hand = (self.hand + 1) % self.routes.len().max(1);
            let route = self.routes.get_mut(self.hand)?;
            if !std::mem::take(&mut route.used) {
                return Some(self.hand);
            }
        }
    }

    fn remember(&mut self, at: usize, route: Route) -> usize {
        let name = route.destination.clone();
        let at = match self.routes.get_mut(at) {
            Some(place) => {
                let old = std::mem::replace(place, route);
                self.names.remove(&old.destination);
                at
            }
            None => {
                self.routes.push(route);
                self.routes.len() - 1
            }
        };
        self.names.insert(name, at);
        at
    }
}

impl Route {
    fn build(
        destination: Destination,
        shown: &Destination,
        interest: &Table,
        index: &Matcher<ListKey>,
        options: &TopicOptions,
    ) -> Route {
        // The stamp comes first: a change after it makes the route invalid, whether the rest has seen it or not.
        let stamp = interest.stamp(&destination);
        let counts = interest.find(&destination);
        let mut lists: SmallVec<[ListKey; 2]> = SmallVec::new();
        index.find_all(&destination, |list| lists.push(*list));
        // The index finds in no particular order. The oldest list first: the same input gives the same output.
        lists.sort_unstable();
        let policy = options.policies.iter().find(|policy| policy.pattern.matches(shown));
        let when_slow = policy.map_or(options.when_slow, |policy| policy.when_slow);
        Route { destination, stamp, lists, counts, when_slow, used: false }
    }
}
