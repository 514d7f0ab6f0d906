//! The messages of a queue that the store keeps too: on their way in, and after a restart.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;

use super::settle::Dying;
use super::{Life, Load, Queue};
use crate::broker::admission::{Admitted, Source};
use crate::broker::backlog::Past;
use crate::broker::command::{Change, History};
use crate::broker::entry::Entry;
use crate::broker::options::Overflow;
use crate::clock::Clock;
use crate::message::{Message, Moment, Refusal};

/// How far ahead a mark is set, in numbers of the store: as seldom as that one is written.
const MARK_AHEAD: u64 = 16_384;

/// How far the queue's stored messages may have been handed out, as the store knows (M2: what comes again says so). A message
/// beyond the mark is not handed out before the mark has moved on.
#[derive(Debug, Default)]
pub(super) struct Mark {
    /// How far messages may be handed out: as the store knows, or would if it had taken the last mark.
    known: u64,
    /// What the store was asked to know, as far as it did not refuse.
    asked: u64,
    /// What it does know.
    safe: u64,
    /// The most that it was ever asked to know: what it refused may be there all the same, or be stored later.
    told: u64,
    /// Whether it has not answered yet.
    is_asking: bool,
    /// What it knew when the broker started: nobody knows which of those were handed out.
    inherited: u64,
}

impl Mark {
    #[inline]
    pub(super) fn allows(&self, entry: &Entry) -> bool {
        entry.stored.is_none_or(|stored| stored.get() <= self.known)
    }
}

impl Queue {
    /// Whether this message must be stored before it is here. Never for a temporary queue, which ends with its session.
    pub(in crate::broker) fn must_store(&self, message: &Message) -> bool {
        let is_asked = self.rules.options.durable || message.content.is_persistent();
        self.has_store && is_asked && !message.content.is_question() && !matches!(self.life, Life::Temporary)
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
        let entry = Entry { stored, ..Entry::new(Arc::clone(&message)) };
        let dropped = self.push_reserved(now, clock, entry);
        Some((message, source, dropped))
    }

    /// What cannot be dropped for others; of what can be, the bytes are not known.
    pub(super) fn fixed(&self) -> Load {
        match self.backlog.ready() {
            0 => self.kept,
            ready => Load { messages: self.kept.messages.saturating_sub(ready), ..Load::default() },
        }
    }

    /// Puts a message back that the store has kept, whatever the limits are now.
    pub(in crate::broker) fn restore(
        &mut self,
        now: Instant,
        clock: &Clock,
        message: Arc<Message>,
        sequence: u64,
        history: History,
    ) {
        let stored = NonZeroU64::new(sequence);
        let History { redeliveries, refused, not_before, taken_at } = history;
        self.line_in_early(now, taken_at);
        let due_at = message.content.terms.as_ref().and_then(|terms| terms.due).map(|due| due.epoch_ms(taken_at));
        let mut entry = Entry { stored, handed_out: redeliveries, refused, ..Entry::new(message) };
        self.take_up(&mut entry);
        let due = self.arrange(now, clock, &mut entry);
        // It cannot have been handed out before it was due.
        if due.is_none() && stored.is_some_and(|stored| stored.get() <= self.mark.inherited) {
            entry.handed_out = entry.handed_out.max(1);
        }
        let again = clock.instant(not_before).filter(|again| *again > now);
        self.page_out_if_crowded(&mut entry);
        match due_at.filter(|_| due.is_none()) {
            // It took its place when its delay was over, not when it came.
            Some(due_at) => {
                self.early.insert((due_at, sequence), (entry, again));
            }
            None => self.line_in(now, due.max(again), entry),
        }
    }

    /// Puts those into their place whose delay was over by then.
    pub(in crate::broker) fn line_in_early(&mut self, now: Instant, by: u64) {
        while let Some(first) = self.early.first_entry().filter(|first| first.key().0 <= by) {
            let (entry, again) = first.remove();
            self.line_in(now, again, entry);
        }
    }

    /// Those that were refused too often before the restart: they are dying now.
    pub(in crate::broker) fn take_refused(&mut self) -> Vec<u64> {
        let options = &self.rules.options;
        if options.dead_letter.is_none() {
            return Vec::new();
        }
        let refused = self.backlog.take_refused(options.max_deliveries);
        let sequences = refused.iter().map(|(sequence, _)| *sequence).collect();
        self.dying.extend(refused.into_iter().map(|(sequence, entry)| (sequence, Dying::new(entry, "max-deliveries"))));
        sequences
    }

    /// Takes the mark over that the store has kept.
    pub(in crate::broker) fn restore_mark(&mut self, up_to: u64) {
        self.mark = Mark { known: up_to, asked: up_to, safe: up_to, told: up_to, is_asking: false, inherited: up_to };
    }

    /// The mark to be stored together with a new message, so that nobody has to wait for it later.
    pub(in crate::broker) fn mark_with(&mut self, stored: NonZeroU64) -> Option<u64> {
        let is_needed = !self.consumers.is_empty() && stored.get() > self.mark.asked;
        is_needed.then(|| self.move_mark(stored.get()))
    }

    /// The mark to be stored now, since what was given to a consumer waits for it.
    pub(in crate::broker) fn next_mark(&mut self) -> Option<u64> {
        let next = self.outgoing.front().and_then(|sequence| self.unsettled.get(sequence))?;
        let stored = next.entry.stored?.get();
        (stored > self.mark.known && !self.mark.is_asking).then(|| self.move_mark(stored))
    }

    fn move_mark(&mut self, stored: u64) -> u64 {
        self.mark.is_asking = true;
        self.mark.asked = stored.saturating_add(MARK_AHEAD);
        self.mark.told = self.mark.told.max(self.mark.asked);
        self.mark.asked
    }

    /// The store has answered about a mark that was to be stored alone. If it cannot be stored, nobody waits for it any longer:
    /// handing out is what makes room. The store tries again until it can, and the next message to be stored brings it too.
    pub(in crate::broker) fn marked(&mut self, up_to: u64, is_safe: bool) {
        self.mark.known = self.mark.known.max(up_to);
        self.note_marked(up_to, is_safe);
    }

    /// The store has answered about a mark that came with a message. If it took neither, whoever has to wait for the mark asks
    /// for it alone.
    pub(in crate::broker) fn marked_with(&mut self, up_to: u64, is_safe: bool) {
        match is_safe {
            true => self.marked(up_to, true),
            false => self.note_marked(up_to, false),
        }
    }

    fn note_marked(&mut self, up_to: u64, is_safe: bool) {
        self.mark.is_asking &= up_to < self.mark.asked;
        if is_safe {
            self.mark.safe = self.mark.safe.max(up_to);
        } else if up_to == self.mark.asked {
            self.mark.asked = self.mark.safe;
        }
    }

    /// Whether the store has a mark, or will have.
    pub(in crate::broker) fn has_mark(&self) -> bool {
        self.mark.told > 0
    }

    /// What has to be changed in the store since this was last asked.
    pub(in crate::broker) fn changes(&mut self) -> &mut Vec<Change> {
        &mut self.changes
    }

    /// What the store is to know when the broker ends in order: exactly what each message has been through, so that the mark is
    /// of no use any more.
    pub(in crate::broker) fn last_words(&self, clock: &Clock) -> Vec<Change> {
        let given = self.unsettled.values().map(|unsettled| &unsettled.entry);
        let held = given.chain(self.dying.values().map(|dying| &dying.entry)).map(|entry| (Past::of(entry), None));
        // One that was certainly not, or perhaps, handed out before the start is known as such by what stays as it is.
        let is_new = |past: &Past| {
            let is_inherited = past.stored.is_some_and(|stored| stored.get() <= self.mark.inherited);
            past.handed_out > u32::from(is_inherited)
        };
        let words = self.backlog.all().chain(held).filter(|(past, _)| is_new(past));
        let mut changes: Vec<Change> = words
            .filter_map(|(Past { stored, handed_out, refused }, due)| {
                let not_before = due.map_or(0, |due| clock.epoch_ms(due));
                Some(Change::State { sequence: stored?.get(), redeliveries: handed_out, refused, not_before })
            })
            .collect();
        if self.mark.told > self.mark.inherited {
            changes.push(Change::Mark { queue: self.name.clone(), up_to: self.mark.inherited });
        }
        changes
    }

    /// When a message that comes now is no longer wanted, by the time of day.
    pub(in crate::broker) fn expires_at(&self, now_epoch_ms: u64, message: &Message) -> Option<u64> {
        let own = message.content.terms.as_ref().and_then(|terms| terms.expires);
        let usual = self.rules.options.ttl.map(Moment::After);
        own.or(usual).map(|moment| moment.epoch_ms(now_epoch_ms))
    }
}
