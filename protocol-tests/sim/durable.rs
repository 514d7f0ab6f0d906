//! What the end of the broker's process leaves: what was stored, and nothing else.

use std::time::Duration;

use crate::message::{Fate, Hold, Message, Outcome};
use crate::model::Model;
use crate::policy::{DEAD_LETTERS, GRAVE, QUEUES};

impl Model {
    /// Whether a message outlives the process where it is.
    pub(crate) fn is_stored(&self, message: &Message) -> bool {
        !message.is_temporary() && (message.wishes.persistent || self.policy_at(message.place).is_durable)
    }

    /// The disk has all that was asked of it so far.
    pub(crate) fn note_stored(&mut self) {
        for message in &mut self.messages {
            message.is_settled |= matches!(message.hold, Hold::Consumed(_));
            message.kept_refused = message.refused;
            message.has_moved = false;
        }
    }

    /// There is word that these settles are stored.
    pub(crate) fn note_settled(&mut self, subscription: usize, settled: &[usize]) {
        if let Some(lasting) = self.subscriptions[subscription].lasting {
            return self.copies_stored(lasting, settled);
        }
        for number in settled {
            let message = &mut self.messages[*number];
            message.is_settled |= matches!(message.hold, Hold::Consumed(_));
            message.kept_refused = message.refused;
        }
    }

    /// The process is gone, and with it all connections and all that was in its memory only.
    pub(crate) fn crash(&mut self) {
        for session in &mut self.sessions {
            (session.is_over, session.is_leaving, session.may_vanish, session.is_stalled) = (true, true, true, false);
            session.pending.clear();
            session.unconfirmed.clear();
            session.transactions.clear();
        }
        for number in 0..self.subscriptions.len() {
            if !self.subscriptions[number].is_ending {
                self.end_subscription(number);
            }
            let subscription = &mut self.subscriptions[number];
            (subscription.is_dead, subscription.is_buried) = (true, true);
        }
        for number in 0..self.messages.len() {
            self.survive(number);
        }
        self.crash_lasting();
        self.suspects.clear();
        self.overtaken.clear();
        self.groups.clear();
        self.groups_in_doubt.clear();
        self.lingering.clear();
        self.given_up.clear();
        self.idle.clear();
        self.busy.clear();
        self.touched.extend(QUEUES);
    }

    /// What becomes of one message.
    fn survive(&mut self, number: usize) {
        let message = &self.messages[number];
        if !message.is_for_queue() || !matches!(message.fate, Fate::Possible | Fate::Accepted) {
            return;
        }
        let places = self.places(message);
        let (is_stored, may_be_gone) = (self.is_stored(message), self.may_be_gone(message));
        let may_be_stored = places.iter().skip(1).any(|place| self.policy_at(place).is_durable);
        let (now, longest) = (self.now, self.setup.longest_wait());
        let message = &mut self.messages[number];
        let is_consumed = matches!(message.hold, Hold::Consumed(_));
        (message.waits_since, message.held_since, message.not_before) = (None, None, None);
        if !is_stored && !may_be_stored && !message.has_moved {
            message.is_forgotten = true;
        } else if message.has_moved || (places.len() > 1 && !is_consumed) {
            // It may be where it was, where it was on its way to, or both; or nowhere, if nobody stored it.
            message.is_twofold = true;
            message.was_found |= is_consumed || may_be_gone || !is_stored;
        } else {
            message.hold = match message.hold {
                Hold::Consumed(by) if !message.is_settled => Hold::Settled(by, Outcome::Consumed),
                Hold::Consumed(by) => Hold::Consumed(by),
                Hold::Settled(by, Outcome::Consumed) => Hold::Settled(by, Outcome::Consumed),
                _ => Hold::Free,
            };
            message.refused = message.kept_refused;
            // Whatever somebody had comes again as such.
            message.seen = message.refused.max(message.seen.min(1));
            message.rests_until = now + longest + Duration::from_millis(2);
        }
    }

    /// A new process has what was stored: it waits, in its order.
    pub(crate) fn restarted(&mut self) {
        self.restarts += 1;
        self.crashed_at = self.events;
        let ready = self.messages.iter().enumerate().filter(|(_, message)| self.is_ready(message));
        let ready: Vec<usize> = ready.map(|(number, _)| number).collect();
        for number in ready {
            self.messages[number].waits_since = Some(self.quiets);
        }
        for place in [DEAD_LETTERS, GRAVE] {
            self.note_fullness(place);
        }
    }
}
