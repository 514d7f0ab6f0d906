//! Who may get which message before which: the order of a queue, its groups, and its one active consumer.

use std::time::Duration;

use crate::laws::{Check, Law, Violation};
use crate::message::{Hold, Message};
use crate::model::{Handed, Model, Subscription};
use crate::wire::Frame;

/// A message that waited while another one, behind it, was given to a consumer who could have had it.
#[derive(Clone, Debug)]
pub(crate) struct Overtaken {
    waiting: usize,
    /// How often that was handed out by then.
    seen: u32,
    by: usize,
    subscription: usize,
    /// Some consumer may have had it then and not known.
    is_doubtful: bool,
}

impl Model {
    /// What speaks against giving this message to this consumer now.
    pub(crate) fn check_turn(&mut self, subscription: usize, number: usize, count: u32, frame: &Frame) -> Check {
        self.check_active(subscription, frame)?;
        // What was not handed out meanwhile waited all the time.
        let is_it = |each: &&Overtaken| (each.waiting, each.seen, each.subscription) == (number, count, subscription);
        if let Some(earlier) = self.overtaken.iter().find(is_it) {
            let text = format!("{} came first, and was behind it: {frame}", earlier.by);
            return Err(Violation::new(Law::Order, text, [self.subscriptions[subscription].session]));
        }
        // What comes for one that has ended was on its way for long.
        if !self.subscriptions[subscription].is_ending {
            self.check_group(subscription, number, frame)?;
            self.note_overtaken(subscription, number);
        }
        Ok(())
    }

    /// The others stand by until the first one is gone.
    fn check_active(&self, subscription: usize, frame: &Frame) -> Check {
        let own = &self.subscriptions[subscription];
        if !self.policy_at(own.destination).has_one_active {
            return Ok(());
        }
        let earlier = self.subscriptions.iter().enumerate().find(|(number, each)| {
            each.destination == own.destination
                && each.look.is_none()
                && each.granted_at.is_some_and(|granted| granted < own.asked_at)
                && self.surely_holds(*number)
        });
        match earlier {
            Some((_, earlier)) => {
                let text = format!("{} came before and stands by: {frame}", earlier.id);
                Err(Violation::new(Law::Active, text, [own.session, earlier.session]))
            }
            None => Ok(()),
        }
    }

    fn check_group(&mut self, subscription: usize, number: usize, frame: &Frame) -> Check {
        let message = &self.messages[number];
        let Some(group) = message.present_wishes().group else { return Ok(()) };
        let key = (message.place, group);
        // What the group's own consumer leaves to others is anybody's, and does not tell whose the group is.
        let shuns = |each: &Subscription| each.consumes(message) && each.shuns(message) && !each.is_buried;
        if self.subscriptions.iter().any(shuns) {
            self.groups_in_doubt.insert(key);
            return Ok(());
        }
        // Which of a session's queues is meant matters little: their only consumers are that session's.
        let Some(owner) = self.groups.get(&key).copied().filter(|owner| *owner != subscription) else {
            self.groups.insert(key, subscription);
            return Ok(());
        };
        let own = &self.subscriptions[owner];
        let has_some = |handed: &Handed| {
            let other = &self.messages[handed.message];
            other.wishes.group == Some(group) && other.hold == Hold::Held(owner) && other.place == message.place
        };
        // A group of which no message is there may be forgotten.
        let is_bound = self.policy_at(message.place).max_groups > 2 || own.unsettled.iter().any(has_some);
        if is_bound && !message.is_temporary() && self.surely_holds(owner) {
            let text = format!("the group {group} is that of {}: {frame}", own.id);
            return Err(Violation::new(Law::Group, text, [own.session, self.subscriptions[subscription].session]));
        }
        self.groups.insert(key, subscription);
        Ok(())
    }

    /// Whether a consumer is the only one that may get a message, or one of all.
    pub(crate) fn may_take(&self, subscription: usize, message: &Message) -> bool {
        let own = &self.subscriptions[subscription];
        let group = message.present_wishes().group.map(|group| (message.place, group));
        if group.is_some_and(|group| self.groups_in_doubt.contains(&group)) {
            return false;
        }
        let owner = group.map(|group| self.groups.get(&group));
        let is_theirs = match owner {
            None => true,
            Some(_) if self.policy_at(message.place).max_groups <= 2 || message.is_temporary() => false,
            // Somebody may have it who was given a message that went back before anybody saw it.
            Some(owner) => owner == Some(&subscription),
        };
        own.consumes(message) && !own.shuns(message) && is_theirs
    }

    /// Notes which messages certainly waited in front of this one.
    fn note_overtaken(&mut self, subscription: usize, number: usize) {
        let own = &self.sessions[self.subscriptions[subscription].session];
        let message = &self.messages[number];
        if !own.is_up_to_date || message.present_wishes().group.is_some() {
            return;
        }
        let policy = self.policy_at(message.place);
        let (place, rank, sent_at) = (message.place, message.rank(policy), message.sent_at);
        let mut found = Vec::new();
        for (other, waiting) in self.messages.iter().enumerate() {
            if waiting.waits_since.is_none() || waiting.place != place || waiting.hold != Hold::Free || other == number
            {
                continue;
            }
            let other_rank = waiting.rank(policy);
            let is_earlier = waiting.placed_at.is_some_and(|placed| placed <= sent_at)
                || is_simple(waiting)
                    && is_simple(message)
                    && waiting.origin == message.origin
                    && waiting.order < message.order;
            let is_ahead = other_rank < rank || other_rank == rank && is_earlier;
            if is_ahead && self.may_take(subscription, waiting) && self.is_ready(waiting) {
                let (seen, is_doubtful) = (waiting.seen, self.has_doubtful_consumers(waiting));
                found.push(Overtaken { waiting: other, seen, by: number, subscription, is_doubtful });
            }
        }
        self.overtaken.append(&mut found);
    }

    /// A message cannot be read, and is tried again later: others pass it.
    pub(crate) fn note_unreadable(&mut self, number: usize) {
        let until = self.now + self.setup.longest_wait() + Duration::from_millis(2);
        if let Some(message) = self.messages.get_mut(number) {
            (message.was_unreadable, message.unread_until) = (true, until);
            (message.waits_since, message.placed_at) = (None, None);
        }
        self.overtaken.retain(|overtaken| overtaken.waiting != number);
        if let Some(letter) = self.messages.get(number).and_then(|message| message.letter) {
            self.note_unreadable(letter);
        }
    }

    /// All is quiet: who waited is still there, or had its turn.
    pub(crate) fn check_overtaken(&mut self) -> Check {
        for Overtaken { waiting, seen, by, subscription, is_doubtful } in std::mem::take(&mut self.overtaken) {
            let message = &self.messages[waiting];
            if is_doubtful || !self.is_ready(message) || message.seen != seen || self.has_doubtful_consumers(message) {
                continue;
            }
            let own = &self.subscriptions[subscription];
            let text = format!("message {waiting} waits, and {} was given {by}, which is behind it", own.id);
            return Err(Violation::new(Law::Order, text, [own.session, message.origin]));
        }
        Ok(())
    }

    /// Whether some consumer of a message's queue may have it and not know.
    pub(crate) fn has_doubtful_consumers(&self, message: &Message) -> bool {
        let is_doubtful = |(number, _): (usize, _)| {
            let each = &self.subscriptions[number];
            !each.is_live || !self.surely_holds(number)
        };
        let consumers =
            self.subscriptions.iter().enumerate().filter(|(_, each)| each.consumes(message) && !each.is_buried);
        consumers.into_iter().any(is_doubtful) || self.at_risk(&[message.place]) > 0
    }
}

/// Whether a message is where its sender put it, behind what that had sent before.
fn is_simple(message: &Message) -> bool {
    !message.is_letter() && message.wishes.due.is_none() && message.via.is_none() && !message.was_unreadable
}
