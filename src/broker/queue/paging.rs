//! Queues larger than memory: which messages are in memory, and which are read from the store when their turn comes.
//!
//! What comes in beyond `store.memory` is only noted; so is what a consumer has, as it is needed again only if it comes back.
//! When consumers are about to reach what is only in the store, it is read ahead, many messages at a time. What was given to a
//! consumer and is not there yet waits in line, and all that was given after it.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;

use super::hand_out::Unsettled;
use super::{Queue, after};
use crate::broker::entry::{Entry, Place};
use crate::message::Message;

/// How many messages are read ahead, in messages and in bytes; and with how many left the next ones are.
const AHEAD: usize = 256;
const AHEAD_BYTES: usize = 1 << 20;
const LOW: usize = 64;

/// A message that is being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    place: Place,
    stored: NonZeroU64,
    /// Only a reader is to see it.
    is_for_page: bool,
}

/// What came of reading.
#[derive(Debug, Default)]
pub(in crate::broker) struct Brought {
    /// Dying messages that can be brought to the dead letters now.
    pub(in crate::broker) dying: Vec<u64>,
    /// Dying messages that cannot.
    pub(in crate::broker) unreadable_dying: Vec<u64>,
    /// How many messages could not be read. They are tried again after the longest redelivery delay.
    pub(in crate::broker) unreadable: usize,
}

impl Queue {
    /// Leaves a new message to the store, unless it is about to be handed out, or there is room for it.
    pub(super) fn page_out_if_crowded(&mut self, entry: &mut Entry) {
        let goes_at_once = self.backlog.is_idle() && self.consumers.turns() > 0;
        if (self.resident > self.rules.options.memory || self.away > AHEAD) && !goes_at_once {
            self.page_out(entry);
        }
    }

    /// Leaves a message to the store that a consumer has, unless there is room for it.
    pub(super) fn page_out_if_full(&mut self, entry: &mut Entry) {
        if self.resident > self.rules.options.memory {
            self.page_out(entry);
        }
    }

    fn page_out(&mut self, entry: &mut Entry) {
        if entry.stored.is_some() && !entry.cargo.is_away() {
            self.resident = self.resident.saturating_sub(entry.cargo.footprint());
            self.away += 1;
            entry.cargo = entry.cargo.away();
        }
    }

    /// What is to be read now, by the numbers in the store; empty while an answer is awaited.
    pub(in crate::broker) fn next_lookup(&mut self) -> Vec<u64> {
        if self.away == 0 || !self.asked.is_empty() {
            return Vec::new();
        }
        let mut asked = Vec::new();
        self.ask_for_given(&mut asked);
        for (sequence, dying) in self.dying.iter().filter(|(_, dying)| dying.entry.cargo.is_away()).take(AHEAD) {
            asked.extend(Asked::entry(*sequence, &dying.entry));
        }
        for seen in self.pages.iter().flat_map(|page| &page.seen).filter(|seen| seen.message.is_none()) {
            asked.extend(seen.stored.map(|stored| Asked { place: seen.place, stored, is_for_page: true }));
        }
        let room = self.rules.options.memory.saturating_sub(self.resident).min(AHEAD_BYTES);
        if !self.consumers.is_empty() && self.backlog.runs_low(LOW) {
            let mut bytes = 0;
            let fits = |cargo: usize| {
                bytes += cargo;
                bytes <= room
            };
            asked.extend(self.ahead(fits));
        }
        self.asked = asked;
        self.asked.iter().map(|asked| asked.stored.get()).collect()
    }

    fn ask_for_given(&self, asked: &mut Vec<Asked>) {
        let mut bytes = 0;
        for sequence in &self.outgoing {
            let Some(unsettled) = self.unsettled.get(sequence).filter(|unsettled| !unsettled.is_sent) else { continue };
            if !unsettled.entry.cargo.is_away() {
                continue;
            }
            asked.extend(Asked::entry(*sequence, &unsettled.entry));
            bytes += unsettled.entry.cargo.footprint();
            if asked.len() >= AHEAD || bytes >= AHEAD_BYTES {
                return;
            }
        }
    }

    fn ahead(&self, mut fits: impl FnMut(usize) -> bool) -> impl Iterator<Item = Asked> {
        let away = self.backlog.away_ahead(AHEAD).take_while(move |(_, _, cargo)| fits(cargo.footprint()));
        away.map(|(place, stored, _)| Asked { place, stored, is_for_page: false })
    }

    /// Takes what was asked for. None: it could not be read.
    pub(in crate::broker) fn bring(&mut self, now: Instant, found: Vec<Option<Arc<Message>>>) -> Brought {
        let mut brought = Brought::default();
        for (asked, message) in std::mem::take(&mut self.asked).into_iter().zip(found) {
            let Some(message) = message else {
                if self.dying.contains_key(&asked.place.sequence) {
                    brought.unreadable_dying.push(asked.place.sequence);
                }
                self.set_aside(now, asked);
                brought.unreadable += 1;
                continue;
            };
            self.pages.iter_mut().for_each(|page| page.fill(asked.place, &message));
            if !asked.is_for_page && self.put_in(asked.place, message) {
                brought.dying.push(asked.place.sequence);
            }
        }
        brought
    }

    /// Puts a message into its entry, wherever that is now. Answers whether it is dying.
    fn put_in(&mut self, place: Place, message: Arc<Message>) -> bool {
        let sequence = place.sequence;
        let is_dying = self.dying.contains_key(&sequence);
        let cargo = match self.unsettled.get_mut(&sequence) {
            Some(unsettled) => Some(&mut unsettled.entry.cargo),
            None => self.dying.get_mut(&sequence).map(|dying| &mut dying.entry.cargo),
        };
        if let Some(cargo) = cargo.or_else(|| self.backlog.cargo_at(place)).filter(|cargo| cargo.is_away()) {
            *cargo = cargo.here(message);
            self.resident += cargo.footprint();
            self.away = self.away.saturating_sub(1);
        }
        is_dying
    }

    /// A message cannot be read. It holds up nobody, and is tried again later.
    fn set_aside(&mut self, now: Instant, asked: Asked) {
        let Place { sequence, .. } = asked.place;
        self.pages.iter_mut().for_each(|page| page.seen.retain(|seen| seen.place != asked.place));
        if asked.is_for_page {
            return;
        }
        let given = self.unsettled.get(&sequence).is_some_and(|unsettled| !unsettled.is_sent && !unsettled.is_claimed);
        let entry = if given {
            self.unsettled.remove(&sequence).map(|Unsettled { entry, consumer, .. }| {
                self.consumers.release(consumer, sequence);
                self.backlog.groups().release(entry.group);
                entry
            })
        } else {
            self.backlog.take_at(asked.place)
        };
        if let Some(entry) = entry {
            self.backlog.delay(now, after(now, self.rules.options.redelivery_delay_max), sequence, entry);
        }
    }
}

impl Asked {
    fn entry(sequence: u64, entry: &Entry) -> Option<Asked> {
        Some(Asked { place: entry.at(sequence), stored: entry.stored?, is_for_page: false })
    }
}
