//! The messages of one queue that wait for a consumer, in their order.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::command::Consumer;
use crate::hash::Keyed;
use crate::message::{Message, SessionId};

/// A message of a queue, and what it has been through.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) message: Arc<Message>,
    /// How often it was handed out.
    pub(super) handed_out: u32,
    /// How often a consumer refused it.
    pub(super) refused: u32,
    /// How often it came back from a consumer who stayed.
    pub(super) returned: u32,
}

/// Messages by their sequence: the order in which they came, which they keep when they return.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// The sequence of the next message to come.
    next: u64,
    /// Never handed out and never passed over: without gaps, up to `next`.
    fresh: VecDeque<Arc<Message>>,
    /// Came back, and may be handed out again.
    returned: BTreeMap<u64, Entry>,
    parked: Parked,
    /// Came back, and must wait until then.
    delayed: BTreeMap<(Instant, u64), Entry>,
}

/// Messages that a consumer passed over because its own session had sent them, so that it need not look at them again.
#[derive(Debug, Default)]
struct Parked {
    by_origin: HashMap<SessionId, BTreeMap<u64, Entry>, Keyed>,
    /// The first message of each origin.
    heads: BTreeMap<u64, SessionId>,
}

impl Backlog {
    /// Adds a new message behind all others.
    pub(super) fn push(&mut self, message: Arc<Message>) {
        self.next += 1;
        self.fresh.push_back(message);
    }

    /// Puts a message that was handed out back into its place.
    pub(super) fn put_back(&mut self, sequence: u64, entry: Entry) {
        self.returned.insert(sequence, entry);
    }

    /// Puts a message back into its place, but only at `due`.
    pub(super) fn delay(&mut self, due: Instant, sequence: u64, entry: Entry) {
        self.delayed.insert((due, sequence), entry);
    }

    /// When the next delay is over.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.delayed.first_key_value().map(|((due, _), _)| *due)
    }

    /// Puts the messages into their place whose delay is over.
    pub(super) fn wake(&mut self, now: Instant) {
        while let Some(first) = self.delayed.first_entry().filter(|first| first.key().0 <= now) {
            let ((_, sequence), entry) = first.remove_entry();
            self.returned.insert(sequence, entry);
        }
    }

    /// Whether nothing could be handed out to anybody.
    pub(super) fn is_idle(&self) -> bool {
        self.fresh.is_empty() && self.returned.is_empty() && self.parked.heads.is_empty()
    }

    /// How many messages could be handed out.
    pub(super) fn ready(&self) -> usize {
        let parked: usize = self.parked.by_origin.values().map(BTreeMap::len).sum();
        self.fresh.len() + self.returned.len() + parked
    }

    /// How many messages wait for their delay to end.
    pub(super) fn delayed(&self) -> usize {
        self.delayed.len()
    }

    /// Takes the first message that `consumer` may get (M5).
    pub(super) fn take(&mut self, consumer: &Consumer) -> Option<(u64, Entry)> {
        let shunned = consumer.no_local.then_some(consumer.id.session);
        loop {
            let parked = self.parked.first(shunned);
            let next = self.next_sequence();
            if let Some(parked) = parked
                && next.is_none_or(|next| parked < next)
            {
                return self.parked.take(parked).map(|entry| (parked, entry));
            }
            let (sequence, entry) = self.take_next()?;
            if shunned != Some(entry.message.origin) {
                return Some((sequence, entry));
            }
            self.parked.insert(sequence, entry);
        }
    }

    fn next_sequence(&self) -> Option<u64> {
        let returned = self.returned.first_key_value().map(|(sequence, _)| *sequence);
        let fresh = self.first_fresh();
        returned.into_iter().chain(fresh).min()
    }

    fn first_fresh(&self) -> Option<u64> {
        (!self.fresh.is_empty()).then(|| self.next - self.fresh.len() as u64)
    }

    fn take_next(&mut self) -> Option<(u64, Entry)> {
        let fresh = self.first_fresh();
        let returned = self.returned.first_entry();
        if let Some(returned) = returned.filter(|returned| fresh.is_none_or(|fresh| *returned.key() < fresh)) {
            return Some(returned.remove_entry());
        }
        let message = self.fresh.pop_front()?;
        if self.fresh.is_empty() && self.fresh.capacity() > 1024 {
            self.fresh = VecDeque::new();
        }
        Some((fresh?, Entry { message, handed_out: 0, refused: 0, returned: 0 }))
    }
}

impl Parked {
    /// The first message that is not of the origin `shunned`.
    fn first(&self, shunned: Option<SessionId>) -> Option<u64> {
        self.heads.iter().find(|(_, origin)| Some(**origin) != shunned).map(|(sequence, _)| *sequence)
    }

    fn insert(&mut self, sequence: u64, entry: Entry) {
        let origin = entry.message.origin;
        let entries = self.by_origin.entry(origin).or_default();
        if let Some((head, _)) = entries.first_key_value() {
            self.heads.remove(head);
        }
        entries.insert(sequence, entry);
        if let Some((head, _)) = entries.first_key_value() {
            self.heads.insert(*head, origin);
        }
    }

    /// Takes the message `head`, the first of its origin.
    fn take(&mut self, head: u64) -> Option<Entry> {
        let origin = self.heads.remove(&head)?;
        let entries = self.by_origin.get_mut(&origin)?;
        let entry = entries.remove(&head)?;
        match entries.first_key_value() {
            Some((next, _)) => {
                self.heads.insert(*next, origin);
            }
            None => {
                self.by_origin.remove(&origin);
            }
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
        };
        let id = MessageId { boot: 0, worker: WorkerId(0), sequence: 0 };
        Arc::new(Message { id, origin: session(origin), content })
    }

    fn consumer(key: u64, no_local: bool) -> Consumer {
        let id = SubscriberId { session: session(key), subscription: SubscriptionKey(0) };
        Consumer { id, credit: 1, no_local }
    }

    #[test]
    fn q1_returned_passed_over_and_fresh_messages_come_in_one_order() {
        let (shy, open) = (consumer(1, true), consumer(1, false));
        for returned in [0, 1, 2] {
            let mut backlog = Backlog::default();
            // Sequences 0 to 4; the shy consumer passes 1 and 3 over.
            for origin in [2, 1, 2, 1, 2] {
                backlog.push(message(origin));
            }
            let taken: Vec<_> = std::iter::from_fn(|| backlog.take(&shy)).collect();
            assert_eq!(taken.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), [0, 2, 4]);
            backlog.push(message(2));
            let expected: Vec<u64> =
                [0, 1, 2, 3, 4, 5].into_iter().filter(|n| n % 2 == 1 || *n >= 2 * returned).collect();
            for (sequence, entry) in taken.into_iter().skip(returned as usize) {
                backlog.put_back(sequence, entry);
            }
            assert_eq!(backlog.ready(), expected.len());
            let order: Vec<u64> = std::iter::from_fn(|| backlog.take(&open)).map(|(sequence, _)| sequence).collect();
            assert_eq!(order, expected);
            assert!(backlog.is_idle());
        }
    }

    #[test]
    fn q3_a_delayed_message_wakes_when_it_is_due() {
        let start = Instant::now();
        let soon = start + std::time::Duration::from_secs(1);
        let mut backlog = Backlog::default();
        backlog.push(message(1));
        let open = consumer(2, false);
        let (sequence, entry) = backlog.take(&open).unwrap_or_else(|| unreachable!("it was pushed"));
        backlog.delay(soon, sequence, entry);
        backlog.wake(start);
        assert_eq!((backlog.next_due(), backlog.is_idle(), backlog.delayed()), (Some(soon), true, 1));
        backlog.wake(soon);
        assert_eq!((backlog.next_due(), backlog.is_idle(), backlog.delayed()), (None, false, 0));
    }
}
