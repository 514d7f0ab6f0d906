//! The messages of one queue that are on their way into the store, in order (Q6).
//!
//! A message is not in its queue before it is durable, or a consumer could settle what a crash then loses or brings back. What
//! comes behind it waits too, whether it is to be stored or not: the order of a sender holds (G4). Space is reserved for all.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::Arc;

use crate::message::{Message, Tag, Ticket};

/// Who is to be told what became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The session that sent it.
    Sender(Option<Ticket>),
    /// The session that sent it to a queue that was full: this is the letter made of it.
    Diverted(Option<Ticket>),
    /// The session that sent it to a topic: this is the copy of a durable subscription.
    Publisher(Option<Ticket>),
    /// The queue that gave it up.
    Letter(Tag),
    /// Nobody: a transaction, which is done.
    Nobody,
}

/// The line. Bounded by the limits of the queue, since space is reserved for all that wait.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// The place of the first one.
    first: u64,
    line: VecDeque<Place>,
}

#[derive(Debug)]
enum Place {
    /// The store has not answered.
    Storing(Admitted),
    /// Waits only for those before it.
    Ready(Admitted),
    /// The store did not take it.
    Free,
}

/// A message that may enter.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) message: Arc<Message>,
    pub(super) stored: Option<NonZeroU64>,
    pub(super) source: Source,
}

impl Admission {
    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Adds a message at the end, and answers with its place. One that is not to be stored is ready.
    pub(super) fn line_up(&mut self, message: Arc<Message>, stored: Option<NonZeroU64>, source: Source) -> u64 {
        let place = self.first + self.line.len() as u64;
        let admitted = Admitted { message, stored, source };
        self.line.push_back(if stored.is_some() { Place::Storing(admitted) } else { Place::Ready(admitted) });
        place
    }

    /// The store has what is at this place.
    pub(super) fn ready(&mut self, place: u64) {
        if let Some(at) = self.at(place) {
            *at = match std::mem::replace(at, Place::Free) {
                Place::Storing(admitted) => Place::Ready(admitted),
                other => other,
            };
        }
    }

    /// The store does not take what is at this place.
    pub(super) fn fail(&mut self, place: u64) -> Option<(Arc<Message>, Source)> {
        match std::mem::replace(self.at(place)?, Place::Free) {
            Place::Storing(Admitted { message, source, .. }) => Some((message, source)),
            Place::Ready(_) | Place::Free => None,
        }
    }

    /// Takes the first message out if it is ready.
    pub(super) fn next(&mut self) -> Option<Admitted> {
        loop {
            if let Place::Storing(_) = self.line.front()? {
                return None;
            }
            let first = self.line.pop_front()?;
            self.first += 1;
            if let Place::Ready(admitted) = first {
                return Some(admitted);
            }
        }
    }

    /// Takes all out, whether the store has answered or not.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Admitted> {
        std::mem::take(&mut self.line).into_iter().filter_map(|place| match place {
            Place::Storing(admitted) | Place::Ready(admitted) => Some(admitted),
            Place::Free => None,
        })
    }

    fn at(&mut self, place: u64) -> Option<&mut Place> {
        let index = usize::try_from(place.checked_sub(self.first)?).ok()?;
        self.line.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::destination::Destination;
    use crate::headers::Headers;
    use crate::message::{Content, MessageId, SessionId, WorkerId};

    fn message(sequence: u64) -> Arc<Message> {
        let content = Content {
            destination: Destination::new("/queue/a"),
            headers: Headers::default(),
            body: Bytes::new(),
            is_text: true,
            exclude_origin: false,
            mandatory: false,
            terms: None,
        };
        let worker = WorkerId(0);
        Arc::new(Message { id: MessageId { boot: 0, worker, sequence }, origin: SessionId { worker, key: 0 }, content })
    }

    #[test]
    fn g4_what_needs_no_store_keeps_its_place_behind_what_does() {
        for is_stored in [true, false] {
            let mut line = Admission::default();
            let first = line.line_up(message(1), NonZeroU64::new(1), Source::Nobody);
            // Said to be ready more than once, as those of a transaction are.
            let second = line.line_up(message(2), None, Source::Nobody);
            line.ready(second);
            let third = line.line_up(message(3), NonZeroU64::new(3), Source::Nobody);
            line.ready(third);
            line.ready(third);
            assert!(line.next().is_none(), "the first is not stored");
            match is_stored {
                true => line.ready(first),
                false => assert!(line.fail(first).is_some()),
            }
            let came = std::iter::from_fn(|| line.next()).map(|admitted| admitted.message.id.sequence);
            let expected: &[u64] = if is_stored { &[1, 2, 3] } else { &[2, 3] };
            assert_eq!(came.collect::<Vec<_>>(), expected);
            assert!(line.is_empty());
        }
    }
}
