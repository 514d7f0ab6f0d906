//! The deliveries of one subscription that its client has yet to settle.

use std::collections::VecDeque;

use crate::message::{MessageId, Tag, Tags};

/// Unsettled deliveries in the order they were made. As many as the subscription's credit allows.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    unsettled: VecDeque<Entry>,
    /// The number of the latest delivery; the first is 1.
    last: u64,
    /// The latest messages that were settled, where clients name them by `message-id` (Q8).
    recent: VecDeque<MessageId>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    message: MessageId,
    tag: Option<Tag>,
    /// The open transaction in which it was settled.
    transaction: Option<u64>,
}

/// How a client names a delivery.
#[derive(Clone, Copy, Debug)]
pub(super) enum Name {
    /// The number within its subscription, from the `ack` header.
    Number(u64),
    /// The message.
    Message(MessageId),
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A delivery that is not settled, at this place.
    Unsettled(usize),
    /// A delivery that was settled, be it in an open transaction.
    Settled,
    /// No delivery that we know of.
    Unknown,
}

impl Ledger {
    /// Enters a delivery and gives its number.
    pub(super) fn enter(&mut self, message: MessageId, tag: Option<Tag>) -> u64 {
        self.last += 1;
        self.unsettled.push_back(Entry { number: self.last, message, tag, transaction: None });
        self.last
    }

    /// How many deliveries are unsettled; those in open transactions count.
    pub(super) fn len(&self) -> usize {
        self.unsettled.len()
    }

    /// Looks a name up.
    pub(super) fn find(&self, name: Name) -> Found {
        let (place, was_settled) = match name {
            Name::Number(number) => (self.place_of(number), (1..=self.last).contains(&number)),
            Name::Message(message) => (self.place_of_message(message), self.recent.contains(&message)),
        };
        match place.and_then(|place| Some((place, self.unsettled.get(place)?))) {
            Some((place, entry)) if entry.transaction.is_none() => Found::Unsettled(place),
            Some(_) => Found::Settled,
            None if was_settled => Found::Settled,
            None => Found::Unknown,
        }
    }

    /// Strikes out the delivery at `place`, and with `cumulative` all before it that are in no transaction. Remembers
    /// up to `memory` of them by their message. Gives their tags.
    pub(super) fn settle(&mut self, place: usize, cumulative: bool, memory: usize) -> Tags {
        let mut tags = Tags::new();
        if !cumulative {
            if let Some(entry) = self.unsettled.remove(place) {
                self.strike(&entry, memory, &mut tags);
            }
        } else {
            let end = self.unsettled.len().min(place.saturating_add(1));
            let first: Vec<Entry> = self.unsettled.drain(..end).collect();
            let (kept, struck): (Vec<_>, Vec<_>) = first.into_iter().partition(|entry| entry.transaction.is_some());
            for entry in &struck {
                self.strike(entry, memory, &mut tags);
            }
            for entry in kept.into_iter().rev() {
                self.unsettled.push_front(entry);
            }
        }
        self.tidy();
        tags
    }

    /// As [`Ledger::settle`], but only notes it for the transaction.
    pub(super) fn reserve(&mut self, place: usize, cumulative: bool, transaction: u64) -> Tags {
        let start = if cumulative { 0 } else { place };
        let count = place.saturating_add(1) - start;
        let mut tags = Tags::new();
        for entry in self.unsettled.iter_mut().skip(start).take(count) {
            if entry.transaction.is_none() {
                entry.transaction = Some(transaction);
                tags.extend(entry.tag);
            }
        }
        tags
    }

    /// The transaction is committed: what it settled is struck out.
    pub(super) fn commit(&mut self, transaction: u64, memory: usize) {
        let all = std::mem::take(&mut self.unsettled);
        for entry in all {
            if entry.transaction == Some(transaction) {
                self.strike(&entry, memory, &mut Tags::new());
            } else {
                self.unsettled.push_back(entry);
            }
        }
        self.tidy();
    }

    /// The transaction is given up: what it settled is unsettled again.
    pub(super) fn abort(&mut self, transaction: u64) {
        for entry in &mut self.unsettled {
            if entry.transaction == Some(transaction) {
                entry.transaction = None;
            }
        }
    }

    fn place_of(&self, number: u64) -> Option<usize> {
        // Without gaps it is so far behind the first one, and the first one itself is settled most often.
        let distance = self.unsettled.front().and_then(|first| number.checked_sub(first.number));
        let guess = usize::try_from(distance?).ok()?;
        match self.unsettled.get(guess) {
            Some(entry) if entry.number == number => Some(guess),
            _ => self.unsettled.binary_search_by_key(&number, |entry| entry.number).ok(),
        }
    }

    /// Of several deliveries of one message, such as its dead letters from more than one queue, the first that is unsettled.
    fn place_of_message(&self, message: MessageId) -> Option<usize> {
        let is_it = |entry: &Entry| entry.message == message;
        let is_open = |entry: &Entry| is_it(entry) && entry.transaction.is_none();
        self.unsettled.iter().position(is_open).or_else(|| self.unsettled.iter().position(is_it))
    }

    fn strike(&mut self, entry: &Entry, memory: usize, tags: &mut Tags) {
        tags.extend(entry.tag);
        if memory > 0 {
            while self.recent.len() >= memory {
                self.recent.pop_front();
            }
            self.recent.push_back(entry.message);
        }
    }

    /// An idle subscription keeps no memory for entries.
    fn tidy(&mut self) {
        if self.unsettled.is_empty() {
            self.unsettled = VecDeque::new();
        }
    }
}
