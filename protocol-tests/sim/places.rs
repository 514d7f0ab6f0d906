//! Where a message may be, as far as can be known: it may have moved, expired or been dropped while nobody looked.

use crate::message::{Fate, Hold, Message};
use crate::model::{Model, Subscription};
use crate::policy::{DEAD_LETTERS, GRAVE, OVERHEAD, Overflow, Policy, is_temporary, letters_of};

impl Model {
    pub(crate) fn policy_at(&self, place: &str) -> &Policy {
        self.setup.policy(place)
    }

    fn policy_of(&self, message: &Message) -> &Policy {
        self.policy_at(message.place)
    }

    /// Whether a message may have left its place unseen.
    fn may_leave(&self, message: &Message) -> bool {
        let policy = self.policy_of(message);
        let is_refused = message.refusals >= policy.max_deliveries && letters_of(message.place).is_some();
        message.discarded
            || is_refused
            || message.may_be_expired(policy, self.now)
            || self.may_overflow(message)
            || self.may_be_dropped(message.place)
    }

    /// Whether it may have gone to the dead letters because its queue was full.
    pub(crate) fn may_overflow(&self, message: &Message) -> bool {
        self.policy_of(message).overflow == Overflow::DeadLetter
            && !message.is_letter()
            && message.seen == 0
            && !message.is_in_transaction
            && self.full.contains(message.place)
    }

    fn may_be_dropped(&self, place: &str) -> bool {
        self.policy_at(place).overflow == Overflow::DropOldest && self.full.contains(place)
    }

    /// All queues where a message may be.
    pub(crate) fn places(&self, message: &Message) -> Vec<&'static str> {
        let mut places = vec![message.place];
        if !self.may_leave(message) {
            return places;
        }
        let Some(next) = letters_of(message.place) else { return places };
        places.push(next);
        let ages = self.policy_at(next).ttl.is_some_and(|ttl| self.now >= message.entered + ttl);
        places.extend(letters_of(next).filter(|_| ages));
        places
    }

    /// Whether a message may be no more though nobody took it.
    pub(crate) fn may_be_gone(&self, message: &Message) -> bool {
        if message.is_forgotten
            || (message.is_temporary()
                && (message.is_gone || message.was_left || !message.is_sure || !self.is_owner_there(message)))
            || (message.is_twofold && message.was_found)
        {
            return true;
        }
        let policy = self.policy_of(message);
        let next = letters_of(message.place);
        let is_lost = message.discarded && next.is_none();
        let is_over = message.may_be_expired(policy, self.now) && (policy.drops_expired || next.is_none());
        let places = self.places(message);
        let aged = places.iter().skip(1).any(|place| {
            let policy = self.policy_at(place);
            let drops = policy.drops_expired || letters_of(place).is_none();
            drops && policy.ttl.is_some_and(|ttl| self.now >= message.entered + ttl)
        });
        is_lost || is_over || aged || places.iter().any(|place| self.may_be_dropped(place))
    }

    /// A client ends a subscription: if that was the only one to a temporary queue, what was there is gone.
    pub(crate) fn leave_temporary(&mut self, subscription: usize) {
        let own = &self.subscriptions[subscription];
        let (session, destination) = (own.session, own.destination);
        let is_other = |each: &Subscription| {
            each.session == session && each.destination == destination && !each.is_ending && !each.is_dead
        };
        if !is_temporary(destination) || self.subscriptions.iter().any(is_other) {
            return;
        }
        let is_there = |message: &&mut Message| {
            let is_possible = matches!(message.fate, Fate::Possible | Fate::Accepted);
            is_possible && message.owner == Some(session) && message.place == destination
        };
        self.messages.iter_mut().filter(is_there).for_each(|message| message.was_left = true);
    }

    /// Whether the temporary queue of a message is certainly there.
    pub(crate) fn is_owner_there(&self, message: &Message) -> bool {
        self.subscriptions.iter().enumerate().any(|(number, each)| {
            each.destination == message.destination
                && Some(each.session) == message.owner
                && each.is_live
                && self.surely_holds(number)
        })
    }

    /// Whether all that is to be known about a message says that it is in its queue.
    pub(crate) fn is_certain(&self, message: &Message) -> bool {
        message.is_for_queue()
            && message.fate == Fate::Accepted
            && !message.is_twofold
            && !self.may_leave(message)
            && !self.may_be_gone(message)
    }

    /// Whether a message certainly waits, and nothing keeps it from being handed out.
    pub(crate) fn is_ready(&self, message: &Message) -> bool {
        message.hold == Hold::Free
            && self.is_certain(message)
            && message.is_due(self.now)
            && message.is_readable(self.now)
            // What was refused may have to wait, though the process that had it is gone.
            && ((message.seen == 0 && message.refusals == 0) || self.now > message.rests_until)
    }

    /// Whether a message may take up space in a queue.
    fn may_be_in(&self, number: usize, place: &str) -> bool {
        let message = &self.messages[number];
        let may_be_there = message.place == place
            || self.may_come_to(message, place)
            || message.is_twofold && [DEAD_LETTERS, GRAVE].contains(&place)
            || self.given_up.contains(&(number, place));
        matches!(message.fate, Fate::Possible | Fate::Accepted)
            && (!matches!(message.hold, Hold::Consumed(_)) || self.lingering.contains(&number))
            && may_be_there
    }

    /// Whether a message may have moved to a queue, or will.
    pub(crate) fn may_come_to(&self, message: &Message, place: &str) -> bool {
        [DEAD_LETTERS, GRAVE].contains(&place) && message.place != place && self.places(message).contains(&place)
    }

    /// Time has passed: messages may have moved.
    pub(crate) fn note_time(&mut self) {
        self.age_lasting();
        for place in [DEAD_LETTERS, GRAVE] {
            self.note_fullness(place);
        }
    }

    /// To be called when a queue has perhaps more than before.
    pub(crate) fn note_fullness(&mut self, place: &'static str) {
        let policy = self.policy_at(place);
        if self.full.contains(place) || policy.max_messages > self.messages.len() && policy.max_bytes > 1 << 20 {
            return;
        }
        let there = (0..self.messages.len()).filter(|number| self.may_be_in(*number, place));
        let (messages, bytes) = there
            .fold((0, 0), |(messages, bytes), number| (messages + 1, bytes + self.messages[number].size + OVERHEAD));
        if messages > policy.max_messages || bytes > policy.max_bytes {
            self.full.insert(place);
        }
    }

    /// Whether a queue that gives up what waits may have nothing to give up for a message: all it has is with consumers or
    /// delayed.
    pub(crate) fn may_be_stuck(&self, place: &str) -> bool {
        let policy = self.policy_at(place);
        let is_busy = |number: &usize| {
            let message = &self.messages[*number];
            // The dead letters may not take it.
            let is_leaving = self.places(message).len() > 1;
            let has_left = self.given_up.contains(&(*number, place));
            let has_rested = message.refusals > 0 || message.wishes.due.is_some() || is_leaving || has_left;
            // What lines up for the disk, or for the rest of its transaction, has its place, also if it is refused then.
            let lines_up = (self.setup.has_disk || message.is_in_transaction) && message.certain_at.is_none();
            let was_there = self.has_failed_disk || message.is_in_transaction;
            let is_refused = message.fate == Fate::Refused && message.place == place && was_there;
            let is_busy = message.hold != Hold::Free || has_rested || message.seen > 0 || lines_up;
            self.may_be_in(*number, place) && is_busy || is_refused
        };
        let busy = (0..self.messages.len()).filter(is_busy);
        let (messages, bytes) = busy
            .fold((0, 0), |(messages, bytes), number| (messages + 1, bytes + self.messages[number].size + OVERHEAD));
        // They may be on their way to consumers.
        let consumers = self.subscriptions.iter().filter(|each| each.destination == place && !each.is_buried);
        let underway: usize = consumers.map(|each| each.credit).sum();
        let (messages, bytes) = (messages + underway, bytes + underway * (self.setup.max_body + OVERHEAD));
        messages >= policy.max_messages || bytes + self.setup.max_body + OVERHEAD > policy.max_bytes
    }

    /// How many messages consumers in mode `auto` of these queues may have taken with them unread.
    pub(crate) fn at_risk(&self, places: &[&str]) -> usize {
        let at_risk = |each: &&Subscription| {
            let session = &self.sessions[each.session];
            let may_be_behind = session.was_stalled || self.setup.is_lazy;
            each.is_at_risk && places.contains(&each.destination) && session.is_over && may_be_behind
        };
        self.subscriptions.iter().filter(at_risk).map(|each| each.credit).sum()
    }
}
