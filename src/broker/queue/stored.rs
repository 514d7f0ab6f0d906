//! The messages of a queue that the store keeps too: on their way in, and after a restart.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;

use super::{Life, Load, Queue, due};
use crate::broker::admission::{Admitted, Source};
use crate::broker::backlog::Entry;
use crate::broker::command::Change;
use crate::broker::options::Overflow;
use crate::clock::Clock;
use crate::message::{Message, Moment, Refusal};

impl Queue {
    /// Whether this message must be stored before it is here. Never for a temporary queue, which ends with its session.
    pub(in crate::broker) fn must_store(&self, message: &Message) -> bool {
        (self.rules.options.durable || message.content.is_persistent()) && !matches!(self.life, Life::Temporary)
    }

    /// Whether others wait for the store, so that whatever comes now must wait behind them (G4).
    pub(in crate::broker) fn admits_in_order(&self) -> bool {
        !self.admission.is_empty()
    }

    /// Puts a message, for which there is space now, behind those that wait for the store; gives it back where there is none
    /// and the dead letters are to get it. The place is for [`Queue::stored`].
    pub(in crate::broker) fn line_up(
        &mut self,
        now: Instant,
        clock: &Clock,
        message: Arc<Message>,
        stored: Option<NonZeroU64>,
        source: Source,
    ) -> Result<Result<u64, Arc<Message>>, Refusal> {
        self.check_delay(now, clock, &message)?;
        if self.rules.options.overflow == Overflow::DeadLetter && self.admit(&message).is_err() {
            return Ok(Err(message));
        }
        self.reserve(now, clock, &message)?;
        Ok(Ok(self.admission.line_up(message, stored, source)))
    }

    /// As [`Queue::push_reserved`], but behind those that wait for the store.
    pub(in crate::broker) fn line_up_reserved(&mut self, message: Arc<Message>, stored: Option<NonZeroU64>) {
        let place = self.admission.line_up(message, stored, Source::Nobody);
        self.admission.ready(place);
    }

    /// The store has the message at this place.
    pub(in crate::broker) fn stored(&mut self, place: u64) {
        self.admission.ready(place);
    }

    /// The store does not take the message at this place; answers with the message, and who is to be told.
    pub(in crate::broker) fn not_stored(&mut self, place: u64) -> Option<(Arc<Message>, Source)> {
        let (message, source) = self.admission.fail(place)?;
        self.unreserve(&message);
        Some((message, source))
    }

    /// Takes the next message in that waits for nothing any more; answers who is to be told, and how many were dropped for it.
    pub(in crate::broker) fn take_in(&mut self, now: Instant, clock: &Clock) -> Option<(Arc<Message>, Source, usize)> {
        let Admitted { message, stored, source } = self.admission.next()?;
        let dropped = self.push_reserved(now, clock, Arc::clone(&message), stored);
        Some((message, source, dropped))
    }

    /// What cannot be dropped for others; of what can be, the bytes are not known.
    pub(super) fn fixed(&self) -> Load {
        match self.backlog.ready() {
            0 => self.kept,
            ready => Load { messages: self.kept.messages.saturating_sub(ready), bytes: 0 },
        }
    }

    /// Puts a message back that the store has kept, whatever the limits are now.
    pub(in crate::broker) fn restore(
        &mut self,
        now: Instant,
        clock: &Clock,
        message: Arc<Message>,
        stored: Option<NonZeroU64>,
        refused: u32,
    ) {
        let is_early = due(now, clock, &message).is_some_and(|due| due > now);
        // Somebody may have had it, unless it was not due yet: nothing is written when a message is handed out.
        let handed_out = if is_early { refused } else { refused.max(1) };
        self.add(now, clock, Entry { stored, handed_out, refused, ..Entry::new(message) });
    }

    /// What has to be changed in the store since this was last asked.
    pub(in crate::broker) fn changes(&mut self) -> &mut Vec<Change> {
        &mut self.changes
    }

    /// When a message that comes now is no longer wanted, by the time of day.
    pub(in crate::broker) fn expires_at(&self, now_epoch_ms: u64, message: &Message) -> Option<u64> {
        let own = message.content.terms.as_ref().and_then(|terms| terms.expires);
        let usual = self.rules.options.ttl.map(Moment::After);
        own.or(usual).map(|moment| moment.epoch_ms(now_epoch_ms))
    }
}
