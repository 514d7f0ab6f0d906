//! Looks at queues: what they must show, and what they must not.

use std::collections::{BTreeMap, BTreeSet};

use crate::laws::{Check, Law, Violation};
use crate::message::{Fate, Hold};
use crate::model::Model;
use crate::wire::Frame;

/// What a subscription that browses has seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Look {
    /// How often all had been quiet when it was asked for.
    asked_at: usize,
    shown: BTreeSet<usize>,
    /// The last one by origin and rank.
    last: BTreeMap<(usize, u8), usize>,
    has_ended: bool,
    is_checked: bool,
}

impl Look {
    /// A look that is asked for when all had been quiet so often.
    pub(crate) fn new(asked_at: usize) -> Look {
        Look { asked_at, ..Look::default() }
    }
}

impl Model {
    /// A client that browses has received something.
    pub(crate) fn browsed(&mut self, subscription: usize, frame: &Frame) -> Check {
        let own = &self.subscriptions[subscription];
        let session = own.session;
        let wrong = |text: &str| Err(Violation::new(Law::Browse, format!("{text}: {frame}"), [session]));
        let Some(look) = &own.look else { return wrong("the end of what was not asked for") };
        if look.has_ended {
            return wrong("something after the end");
        }
        if frame.header("ack").is_some() {
            return wrong("nothing of this can be settled");
        }
        if frame.header("browser") == Some("end") {
            if !frame.body.is_empty() {
                return wrong("an end with a body");
            }
            self.look(subscription).has_ended = true;
            return Ok(());
        }
        let number = self.identify(session, frame)?;
        let (own, message) = (&self.subscriptions[subscription], &self.messages[number]);
        if message.is_twofold {
            return Ok(());
        }
        let asked_at = own.look.as_ref().map_or(0, |look| look.asked_at);
        if message.consumed_at.is_some_and(|consumed| consumed <= asked_at) {
            return wrong("a message that is no more");
        }
        let is_held = matches!(message.hold, Hold::Held(by) if self.surely_holds(by));
        if is_held && message.held_since.is_some_and(|held| held <= asked_at) {
            return wrong("a message that a consumer has");
        }
        let is_here = own.destination == message.place;
        let policy = self.policy_at(message.place);
        if is_here && message.is_early(self.now) {
            return wrong("a message whose delay is not over");
        }
        // What is read from a slow disk comes when it is read.
        let is_slow = self.setup.has_disk && !self.setup.is_quick;
        let is_prompt = !self.sessions[session].was_stalled && !is_slow;
        if is_here && is_prompt && message.is_expired(policy, self.now) {
            return wrong("a message whose time is over");
        }
        let (rank, origin, order) = (message.rank(policy), message.origin, message.order);
        let counts = is_here
            && message.via.is_none()
            && message.wishes.due.is_none()
            && !message.is_letter()
            && !message.was_unreadable;
        let look = self.look(subscription);
        if !look.shown.insert(number) {
            return wrong("the same again");
        }
        if counts && look.last.insert((origin, rank), order).is_some_and(|last| last > order) {
            return wrong("not in the order in which they would be delivered");
        }
        Ok(())
    }

    fn look(&mut self, subscription: usize) -> &mut Look {
        self.subscriptions[subscription].look.get_or_insert_default()
    }

    /// All is quiet: every look has ended, and has shown what waited all the time.
    pub(crate) fn check_looks(&mut self) -> Check {
        for number in 0..self.subscriptions.len() {
            let own = &self.subscriptions[number];
            let Some(look) = own.look.as_ref().filter(|look| !look.is_checked) else { continue };
            if !self.surely_holds(number) || !own.is_live {
                continue;
            }
            if !look.has_ended {
                let text = format!("a look has not ended: {}", own.id);
                return Err(Violation::new(Law::Stuck, text, [own.session]));
            }
            let hidden = self.messages.iter().enumerate().find(|(number, message)| {
                let is_there = own.destination == message.place && message.fate == Fate::Accepted;
                is_there
                    && (!message.is_temporary() || message.owner == Some(own.session))
                    && message.waits_since.is_some_and(|since| since <= look.asked_at)
                    && self.is_ready(message)
                    && !self.has_doubtful_consumers(message)
                    && !look.shown.contains(number)
            });
            if let Some((hidden, _)) = hidden {
                let text = format!("message {hidden} waits and was not shown to {}", own.id);
                return Err(Violation::new(Law::Browse, text, [own.session]));
            }
            self.look(number).is_checked = true;
        }
        Ok(())
    }
}
