//! The messages of one queue that wait for a consumer, in their order.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::num::NonZeroU64;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use super::command::Consumer;
use super::consumers::ConsumerKey;
use super::entry::{Cargo, Entry, Place};
use super::groups::Groups;
use crate::hash::Keyed;
use crate::message::{Message, SessionId};

/// Messages by their place, which they keep when they return.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// The sequence of the next message to come.
    next: u64,
    /// Of rank 0, without end or group, and never passed over: what a plain queue has. In order.
    fresh: VecDeque<Fresh>,
    /// Others that may be handed out.
    ready: BTreeMap<Place, Entry>,
    parked: Parked,
    groups: Groups,
    /// Those that must wait until then.
    delayed: BTreeMap<(Instant, u64), Entry>,
    /// Where those are that can be handed out and will expire, by when.
    expiring: BTreeMap<(Instant, u64), (Place, SessionId)>,
}

/// Little, since there may be millions.
#[derive(Debug)]
struct Fresh {
    sequence: u64,
    stored: Option<NonZeroU64>,
    cargo: Cargo,
    handed_out: u32,
    refused: u32,
}

/// Messages that a consumer passed over because its own session had sent them, so that it need not look at them again.
#[derive(Debug, Default)]
struct Parked {
    by_origin: HashMap<SessionId, BTreeMap<Place, Entry>, Keyed>,
    /// The first message of each origin.
    heads: BTreeMap<Place, SessionId>,
}

/// A message that somebody looks at where it is.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) place: Place,
    pub(super) stored: Option<NonZeroU64>,
    /// None: it is only in the store.
    pub(super) message: Option<Arc<Message>>,
    pub(super) handed_out: u32,
}

/// What a message has been through, for the store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Past {
    pub(super) stored: Option<NonZeroU64>,
    pub(super) handed_out: u32,
    pub(super) refused: u32,
}

impl Past {
    pub(super) fn of(entry: &Entry) -> Past {
        Past { stored: entry.stored, handed_out: entry.handed_out, refused: entry.refused }
    }
}

impl From<Fresh> for Entry {
    fn from(fresh: Fresh) -> Entry {
        let Fresh { stored, cargo, handed_out, refused, .. } = fresh;
        Entry { cargo, stored, expires: None, group: None, handed_out, refused, returned: 0, rank: 0 }
    }
}

impl Backlog {
    /// A sequence for a new message, behind all others of its rank.
    pub(super) fn next_sequence(&mut self) -> u64 {
        let sequence = self.next;
        self.next += 1;
        sequence
    }

    /// Adds a new message behind all others of its rank.
    pub(super) fn push(&mut self, entry: Entry) {
        let sequence = self.next_sequence();
        if entry.rank == 0 && entry.expires.is_none() && entry.group.is_none() {
            let Entry { cargo, stored, handed_out, refused, .. } = entry;
            self.fresh.push_back(Fresh { sequence, stored, cargo, handed_out, refused });
        } else {
            self.put_back(sequence, entry);
        }
    }

    /// Adds a new message behind all others, of which nothing is asked, to a queue without priorities.
    #[inline]
    pub(super) fn push_plain(&mut self, entry: Entry) {
        let sequence = self.next_sequence();
        let Entry { cargo, stored, handed_out, refused, .. } = entry;
        self.fresh.push_back(Fresh { sequence, stored, cargo, handed_out, refused });
    }

    /// Puts a message that was handed out back into its place.
    pub(super) fn put_back(&mut self, sequence: u64, entry: Entry) {
        let place = entry.at(sequence);
        if let Some(expires) = entry.expires {
            self.expiring.insert((expires, sequence), (place, entry.cargo.origin()));
        }
        self.ready.insert(place, entry);
    }

    /// Puts a message into its place, but only at `due`, or when it expires.
    pub(super) fn delay(&mut self, now: Instant, due: Instant, sequence: u64, entry: Entry) {
        let due = entry.expires.filter(|expires| *expires > now).map_or(due, |expires| due.min(expires));
        self.delayed.insert((due, sequence), entry);
    }

    /// When the next delay is over, or, `with_ends`, the next message expires.
    pub(super) fn next_due(&self, with_ends: bool) -> Option<Instant> {
        let delayed = self.delayed.first_key_value().map(|((due, _), _)| *due);
        match self.next_end().filter(|_| with_ends) {
            None => delayed,
            Some(end) => Some(delayed.map_or(end, |delayed| delayed.min(end))),
        }
    }

    /// When the next message expires.
    #[inline]
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.expiring.first_key_value().map(|((end, _), _)| *end)
    }

    /// Puts the messages into their place whose delay is over. One that was never handed out comes behind all others.
    pub(super) fn wake(&mut self, now: Instant) {
        while let Some(first) = self.delayed.first_entry().filter(|first| first.key().0 <= now) {
            let ((_, sequence), entry) = first.remove_entry();
            let sequence = if entry.handed_out == 0 { self.next_sequence() } else { sequence };
            self.put_back(sequence, entry);
        }
    }

    /// Takes a message out that has expired.
    pub(super) fn take_expired(&mut self, now: Instant) -> Option<(u64, Entry)> {
        while let Some(first) = self.expiring.first_entry().filter(|first| first.key().0 <= now) {
            let ((_, sequence), (place, origin)) = first.remove_entry();
            let ready = self.ready.remove(&place);
            let found = ready.or_else(|| self.parked.remove(origin, place)).or_else(|| self.groups.remove(place));
            if let Some(entry) = found {
                return Some((sequence, entry));
            }
            debug_assert!(false, "what expires is here");
        }
        None
    }

    /// Whether nothing could be handed out to anybody.
    pub(super) fn is_idle(&self) -> bool {
        self.fresh.is_empty() && self.ready.is_empty() && self.parked.heads.is_empty()
    }

    /// How many messages could be handed out.
    pub(super) fn ready(&self) -> usize {
        let parked: usize = self.parked.by_origin.values().map(BTreeMap::len).sum();
        let lanes: usize = self.groups.lanes().map(BTreeMap::len).sum();
        self.fresh.len() + self.ready.len() + parked + lanes
    }

    /// How many messages wait for their delay to end.
    pub(super) fn delayed(&self) -> usize {
        self.delayed.len()
    }

    /// Which consumer has which group.
    pub(super) fn groups(&mut self) -> &mut Groups {
        &mut self.groups
    }

    /// Takes the first message that `consumer` may get (M5), of those that wait for nobody else.
    #[inline]
    pub(super) fn take(&mut self, key: ConsumerKey, consumer: &Consumer, max_groups: usize) -> Option<(u64, Entry)> {
        if self.is_plain() && !consumer.no_local {
            return self.take_fresh().map(|fresh| (fresh.sequence, Entry::from(fresh)));
        }
        self.take_for(key, consumer, max_groups)
    }

    fn take_for(&mut self, key: ConsumerKey, consumer: &Consumer, max_groups: usize) -> Option<(u64, Entry)> {
        let shunned = consumer.no_local.then_some(consumer.id.session);
        loop {
            let parked = self.parked.first(shunned);
            let next = self.next_place();
            let (place, entry) = match parked {
                Some(parked) if next.is_none_or(|next| parked < next) => (parked, self.parked.take(parked)?),
                _ => self.take_next()?,
            };
            if shunned == Some(entry.cargo.origin()) {
                self.parked.insert(place, entry);
            } else if let Some(entry) = self.groups.admit((key, consumer), place, entry, max_groups) {
                self.forget_end(place, &entry);
                return Some((place.sequence, entry));
            }
        }
    }

    /// Takes the first message that waits for this consumer alone.
    pub(super) fn take_own(&mut self, consumer: ConsumerKey) -> Option<(u64, Entry)> {
        let (place, entry) = self.groups.take(consumer)?;
        self.forget_end(place, &entry);
        Some((place.sequence, entry))
    }

    /// Takes the message out that has waited longest among those of the last rank.
    pub(super) fn take_oldest(&mut self) -> Option<Entry> {
        let parked = self.parked.by_origin.values().filter_map(oldest);
        let lanes = self.groups.lanes().filter_map(oldest);
        let places = self.first_fresh().into_iter().chain(oldest(&self.ready)).chain(parked).chain(lanes);
        let place = places.min_by_key(|place| place.age())?;
        self.take_at(place)
    }

    /// Takes the message at this place out, if it is there.
    pub(super) fn take_at(&mut self, place: Place) -> Option<Entry> {
        let fresh = self.fresh_at(place).and_then(|at| self.fresh.remove(at)).map(Entry::from);
        let found = fresh.or_else(|| self.ready.remove(&place)).or_else(|| self.parked.remove_anywhere(place));
        let entry = found.or_else(|| self.groups.remove(place))?;
        self.forget_end(place, &entry);
        Some(entry)
    }

    /// Takes any message out that is not with a consumer, until there is none.
    pub(super) fn take_any(&mut self) -> Option<Entry> {
        self.take_oldest().or_else(|| Some(self.delayed.pop_first()?.1))
    }

    /// Takes those out that were refused so often.
    pub(super) fn take_refused(&mut self, often: u32) -> Vec<(u64, Entry)> {
        let fresh = self.fresh.iter().filter(|fresh| fresh.refused >= often);
        let fresh = fresh.map(|fresh| Place { rank: 0, sequence: fresh.sequence });
        let ready = self.ready.iter().filter(|(_, entry)| entry.refused >= often).map(|(place, _)| *place);
        let places: Vec<Place> = fresh.chain(ready).collect();
        let placed: Vec<_> =
            places.into_iter().filter_map(|place| Some((place.sequence, self.take_at(place)?))).collect();
        let delayed = self.delayed.iter().filter(|(_, entry)| entry.refused >= often).map(|(key, _)| *key);
        let delayed: Vec<_> = delayed.collect();
        let delayed = delayed.into_iter().filter_map(|key| Some((key.1, self.delayed.remove(&key)?)));
        placed.into_iter().chain(delayed).collect()
    }

    /// The message of the entry at this place, if it is there.
    pub(super) fn cargo_at(&mut self, place: Place) -> Option<&mut Cargo> {
        if let Some(at) = self.fresh_at(place) {
            return self.fresh.get_mut(at).map(|fresh| &mut fresh.cargo);
        }
        let maps = [&mut self.ready].into_iter().chain(self.parked.by_origin.values_mut());
        let entry = maps.chain(self.groups.lanes_mut()).find_map(|entries| entries.get_mut(&place))?;
        Some(&mut entry.cargo)
    }

    /// Whether less than `low` of the messages that come next are in memory, while more could be.
    pub(super) fn runs_low(&self, low: usize) -> bool {
        let fresh = self.fresh.get(low).or(self.fresh.back());
        let ready = self.ready.first_key_value();
        fresh.is_some_and(|fresh| fresh.cargo.is_away()) || ready.is_some_and(|(_, entry)| entry.cargo.is_away())
    }

    /// Those of the next `most` messages that are only in the store.
    pub(super) fn away_ahead(&self, most: usize) -> impl Iterator<Item = (Place, NonZeroU64, &Cargo)> {
        let fresh =
            self.fresh.iter().map(|fresh| (Place { rank: 0, sequence: fresh.sequence }, fresh.stored, &fresh.cargo));
        let ready = self.ready.iter().map(|(place, entry)| (*place, entry.stored, &entry.cargo));
        let next = ready.take(most).chain(fresh.take(most)).filter(|(_, _, cargo)| cargo.is_away());
        next.filter_map(|(place, stored, cargo)| Some((place, stored?, cargo)))
    }

    /// All that waits, in no order, each with the end of its delay.
    pub(super) fn all(&self) -> impl Iterator<Item = (Past, Option<Instant>)> {
        let fresh = self
            .fresh
            .iter()
            .map(|fresh| (Past { stored: fresh.stored, handed_out: fresh.handed_out, refused: fresh.refused }, None));
        let maps = [&self.ready].into_iter().chain(self.parked.by_origin.values()).chain(self.groups.lanes());
        let placed = maps.flat_map(BTreeMap::values).map(|entry| (Past::of(entry), None));
        fresh.chain(placed).chain(self.delayed.iter().map(|((due, _), entry)| (Past::of(entry), Some(*due))))
    }

    /// A consumer is gone: what waited for it alone is anybody's.
    pub(super) fn leave(&mut self, consumer: ConsumerKey) {
        self.ready.append(&mut self.groups.leave(consumer));
    }

    /// The first `most` messages behind `after` that could be handed out, with their places. They stay where they are.
    pub(super) fn look(&self, after: Option<Place>, most: usize) -> Vec<Seen> {
        let from = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let start = match after {
            None => 0,
            Some(Place { rank: 0, sequence }) => self.fresh.partition_point(|fresh| fresh.sequence <= sequence),
            Some(_) => self.fresh.len(),
        };
        let fresh = self.fresh.range(start..).take(most);
        let mut found: Vec<Seen> = fresh
            .map(|fresh| Seen {
                place: Place { rank: 0, sequence: fresh.sequence },
                stored: fresh.stored,
                message: fresh.cargo.message().map(Arc::clone),
                handed_out: fresh.handed_out,
            })
            .collect();
        let maps = [&self.ready].into_iter().chain(self.parked.by_origin.values()).chain(self.groups.lanes());
        for map in maps {
            found.extend(map.range(from).take(most).map(|(place, entry)| Seen {
                place: *place,
                stored: entry.stored,
                message: entry.cargo.message().map(Arc::clone),
                handed_out: entry.handed_out,
            }));
        }
        found.sort_by_key(|seen| seen.place);
        found.truncate(most);
        found
    }

    fn fresh_at(&self, place: Place) -> Option<usize> {
        let at = self.fresh.binary_search_by_key(&place.sequence, |fresh| fresh.sequence);
        at.ok().filter(|_| place.rank == 0)
    }

    fn next_place(&self) -> Option<Place> {
        let ready = self.ready.first_key_value().map(|(place, _)| *place);
        ready.into_iter().chain(self.first_fresh()).min()
    }

    fn first_fresh(&self) -> Option<Place> {
        self.fresh.front().map(|first| Place { rank: 0, sequence: first.sequence })
    }

    fn take_next(&mut self) -> Option<(Place, Entry)> {
        let fresh = self.first_fresh();
        let ready = self.ready.first_entry();
        if let Some(ready) = ready.filter(|ready| fresh.is_none_or(|fresh| *ready.key() < fresh)) {
            return Some(ready.remove_entry());
        }
        let entry = Entry::from(self.take_fresh()?);
        Some((fresh?, entry))
    }

    #[inline]
    fn take_fresh(&mut self) -> Option<Fresh> {
        let first = self.fresh.pop_front();
        if self.fresh.is_empty() && self.fresh.capacity() > 1024 {
            self.fresh = VecDeque::new();
        }
        first
    }

    /// Whether all that could be handed out is fresh, as it usually is: then nobody needs to compare places.
    fn is_plain(&self) -> bool {
        self.ready.is_empty() && self.parked.heads.is_empty()
    }

    /// A message leaves, so its end is no business of ours any more.
    fn forget_end(&mut self, place: Place, entry: &Entry) {
        if let Some(expires) = entry.expires {
            self.expiring.remove(&(expires, place.sequence));
        }
    }
}

/// The first of the last rank.
fn oldest(entries: &BTreeMap<Place, Entry>) -> Option<Place> {
    let (last, _) = entries.last_key_value()?;
    let first_of_rank = Place { rank: last.rank, sequence: 0 };
    entries.range(first_of_rank..).next().map(|(place, _)| *place)
}

impl Parked {
    /// The first message that is not of the origin `shunned`.
    fn first(&self, shunned: Option<SessionId>) -> Option<Place> {
        self.heads.iter().find(|(_, origin)| Some(**origin) != shunned).map(|(place, _)| *place)
    }

    fn insert(&mut self, place: Place, entry: Entry) {
        let origin = entry.cargo.origin();
        let entries = self.by_origin.entry(origin).or_default();
        if let Some((head, _)) = entries.first_key_value() {
            self.heads.remove(head);
        }
        entries.insert(place, entry);
        if let Some((head, _)) = entries.first_key_value() {
            self.heads.insert(*head, origin);
        }
    }

    /// Takes the message `head`, the first of its origin.
    fn take(&mut self, head: Place) -> Option<Entry> {
        let origin = *self.heads.get(&head)?;
        self.remove(origin, head)
    }

    /// Takes the message at this place, whoever sent it.
    fn remove_anywhere(&mut self, place: Place) -> Option<Entry> {
        let (origin, _) = self.by_origin.iter().find(|(_, entries)| entries.contains_key(&place))?;
        self.remove(*origin, place)
    }

    /// Takes a message of this origin.
    fn remove(&mut self, origin: SessionId, place: Place) -> Option<Entry> {
        let entries = self.by_origin.get_mut(&origin)?;
        let entry = entries.remove(&place)?;
        if self.heads.remove(&place).is_some()
            && let Some((next, _)) = entries.first_key_value()
        {
            self.heads.insert(*next, origin);
        }
        if entries.is_empty() {
            self.by_origin.remove(&origin);
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::destination::Destination;
    use crate::headers::Headers;
    use crate::message::{Content, MessageId, SubscriberId, SubscriptionKey, WorkerId};

    fn session(key: u64) -> SessionId {
        SessionId { worker: WorkerId(0), key }
    }

    fn message(origin: u64) -> Arc<Message> {
        let content = Content {
            destination: Destination::new("/queue/a"),
            headers: Headers::default(),
            body: Bytes::new(),
            is_text: true,
            exclude_origin: false,
            mandatory: false,
            terms: None,
        };
        let id = MessageId { boot: 0, worker: WorkerId(0), sequence: 0 };
        Arc::new(Message { id, origin: session(origin), content })
    }

    fn consumer(key: u64, no_local: bool) -> Consumer {
        let id = SubscriberId { session: session(key), subscription: SubscriptionKey(0) };
        Consumer { id, credit: 1, no_local, ends_queue: false }
    }

    #[test]
    fn q1_returned_passed_over_and_fresh_messages_come_in_one_order() {
        let key = ConsumerKey::default();
        let (shy, open) = (consumer(1, true), consumer(1, false));
        for returned in [0, 1, 2] {
            let mut backlog = Backlog::default();
            // Sequences 0 to 4; the shy consumer passes 1 and 3 over.
            for origin in [2, 1, 2, 1, 2] {
                backlog.push(Entry::new(message(origin)));
            }
            let taken: Vec<_> = std::iter::from_fn(|| backlog.take(key, &shy, 9)).collect();
            assert_eq!(taken.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), [0, 2, 4]);
            backlog.push(Entry::new(message(2)));
            let expected: Vec<u64> =
                [0, 1, 2, 3, 4, 5].into_iter().filter(|n| n % 2 == 1 || *n >= 2 * returned).collect();
            for (sequence, entry) in taken.into_iter().skip(returned as usize) {
                backlog.put_back(sequence, entry);
            }
            assert_eq!(backlog.ready(), expected.len());
            let order: Vec<u64> =
                std::iter::from_fn(|| backlog.take(key, &open, 9)).map(|(sequence, _)| sequence).collect();
            assert_eq!(order, expected);
            assert!(backlog.is_idle());
        }
    }

    #[test]
    fn q3_a_delayed_message_wakes_when_it_is_due() {
        let start = Instant::now();
        let soon = start + std::time::Duration::from_secs(1);
        let mut backlog = Backlog::default();
        backlog.push(Entry::new(message(1)));
        let (key, open) = (ConsumerKey::default(), consumer(2, false));
        let (sequence, entry) = backlog.take(key, &open, 9).unwrap_or_else(|| unreachable!("it was pushed"));
        backlog.delay(start, soon, sequence, entry);
        backlog.wake(start);
        assert_eq!((backlog.next_due(true), backlog.is_idle(), backlog.delayed()), (Some(soon), true, 1));
        backlog.wake(soon);
        assert_eq!((backlog.next_due(true), backlog.is_idle(), backlog.delayed()), (None, false, 0));
    }
}
