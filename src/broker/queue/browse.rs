//! Readers, who look at a queue and take nothing.

use std::sync::Arc;

use super::Queue;
use crate::broker::backlog::Seen;
use crate::broker::command::{Consumer, Effects};
use crate::broker::entry::Place;
use crate::message::{Delivery, Refusal, SubscriberId, Tag, WhenSlow};

/// What a reader is to be shown when all of it was read.
#[derive(Debug)]
pub(super) struct Page {
    reader: SubscriberId,
    /// How many it asked for.
    credit: usize,
    /// The place of the last one that was found for it.
    last: Option<Place>,
    /// Whether nothing comes behind it.
    is_last: bool,
    pub(super) seen: Vec<Seen>,
}

/// What a reader has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker) enum Shown {
    /// As much as it asked for: there may be more.
    Full,
    /// All there was.
    All,
    /// It is shown later, as something must be read first.
    Later,
}

impl Queue {
    /// Whether another reader can be shown something.
    pub(in crate::broker) fn check_readers(&self) -> Result<(), Refusal> {
        if self.pages.len() >= self.rules.options.max_consumers { Err(self.rules.too_many_consumers()) } else { Ok(()) }
    }

    /// Shows a reader at most `credit` messages that wait behind `after`.
    pub(in crate::broker) fn show<E: Effects>(
        &mut self,
        reader: &Consumer,
        after: Option<u64>,
        tag: impl Fn(u64) -> Tag,
        effects: &mut E,
    ) -> Shown {
        let seen = self.backlog.look(after.map(Place::at_cursor), reader.credit as usize);
        let is_last = seen.len() < reader.credit as usize;
        if seen.iter().any(|seen| seen.message.is_none()) {
            let (credit, last) = (reader.credit as usize, seen.last().map(|seen| seen.place));
            self.pages.push(Page { reader: reader.id, credit, last, is_last, seen });
            return Shown::Later;
        }
        deliver(reader.id, seen, &tag, effects);
        if is_last { Shown::All } else { Shown::Full }
    }

    /// Shows what is read by now; answers with those who have then seen all there was.
    pub(in crate::broker) fn show_pages<E: Effects>(
        &mut self,
        tag: impl Fn(u64) -> Tag,
        effects: &mut E,
    ) -> Vec<SubscriberId> {
        let mut done = Vec::new();
        for mut page in std::mem::take(&mut self.pages) {
            // In place of what could not be read come others: a reader goes on only when it has as many as it asked for.
            let missing = page.credit.saturating_sub(page.seen.len());
            if missing > 0 && !page.is_last {
                let more = self.backlog.look(page.last, missing);
                page.is_last = more.len() < missing;
                page.last = more.last().map_or(page.last, |seen| Some(seen.place));
                page.seen.extend(more);
            }
            if page.seen.iter().any(|seen| seen.message.is_none()) {
                self.pages.push(page);
                continue;
            }
            deliver(page.reader, page.seen, &tag, effects);
            done.extend(page.is_last.then_some(page.reader));
        }
        done
    }
}

fn deliver<E: Effects>(reader: SubscriberId, seen: Vec<Seen>, tag: &impl Fn(u64) -> Tag, effects: &mut E) {
    for Seen { place, message, handed_out, .. } in seen {
        let Some(message) = message else { continue };
        let tag = Some(tag(place.cursor()));
        let delivery = Delivery { message, when_slow: WhenSlow::default(), tag, redeliveries: handed_out };
        effects.deliver(reader, delivery);
    }
}

impl Page {
    /// Puts a message in that was read.
    pub(super) fn fill(&mut self, place: Place, message: &Arc<crate::message::Message>) {
        for seen in self.seen.iter_mut().filter(|seen| seen.place == place) {
            seen.message.get_or_insert_with(|| Arc::clone(message));
        }
    }
}
