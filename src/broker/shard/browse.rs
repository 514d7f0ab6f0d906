//! Looking at queues, and what is read from the store for that or for consumers.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::{Shard, answer};
use crate::broker::command::{Command, Consumer, Effects};
use crate::broker::queue::Shown;
use crate::destination::Destination;
use crate::headers::Headers;
use crate::message::{Content, Delivery, END_OF_BROWSING, Message, SubscriberId, Ticket, WhenSlow};

impl Shard {
    pub(super) fn browse<E: Effects>(
        &mut self,
        now: Instant,
        reader: Consumer,
        queue: Destination,
        after: Option<u64>,
        ticket: Option<Ticket>,
        effects: &mut E,
    ) {
        if let Some(home) = self.elsewhere(&queue) {
            return effects.post(home, Command::Browse { reader, queue, after, ticket });
        }
        if let Err(refusal) = self.queues.check_readers(&queue) {
            return answer(reader.id.session, ticket, Err(refusal), effects);
        }
        answer(reader.id.session, ticket, Ok(0), effects);
        if self.queues.browse(now, &reader, &queue, after, effects) == Shown::All {
            self.end_browsing(now, reader.id, queue, effects);
        }
    }

    /// What was to be read from the store is there.
    pub(super) fn fetched<E: Effects>(
        &mut self,
        now: Instant,
        queue: u64,
        found: Vec<Option<Arc<Message>>>,
        effects: &mut E,
    ) {
        let Some((queue, done)) = self.queues.fetched(now, queue, found, effects) else {
            return;
        };
        for reader in done {
            self.end_browsing(now, reader, queue.clone(), effects);
        }
    }

    /// Tells a reader that it has seen everything.
    fn end_browsing<E: Effects>(&mut self, now: Instant, reader: SubscriberId, queue: Destination, effects: &mut E) {
        let end = Content {
            destination: queue,
            headers: Headers::from_iter([END_OF_BROWSING]),
            body: Bytes::new(),
            is_text: true,
            exclude_origin: false,
            mandatory: false,
            terms: None,
        };
        let message = self.message(now, reader.session, end);
        let delivery = Delivery { message, when_slow: WhenSlow::default(), tag: None, redeliveries: 0 };
        effects.deliver(reader, delivery);
    }
}
