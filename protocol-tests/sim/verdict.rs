//! What must hold when all is quiet: nobody waits for anything, and in the end nothing is missing.

use std::collections::BTreeMap;

use crate::model::{Ack, Check, Fate, Hold, Law, Model, Outcome, Subscription, Violation};
use crate::setup::{DEAD_LETTERS, may_lose};

impl Model {
    /// All posts have arrived, and everybody who reads has read all there was.
    pub(crate) fn check_quiet(&mut self) -> Check {
        for session in 0..self.sessions.len() {
            self.check_session(session)?;
        }
        for subscription in &mut self.subscriptions {
            subscription.is_dead |= self.sessions[subscription.session].is_over;
        }
        self.lingering.clear();
        self.check_suspects()?;
        self.check_topics()?;
        self.check_queues()
    }

    /// Every question of a session is answered.
    fn check_session(&mut self, session: usize) -> Check {
        let own = &self.sessions[session];
        if own.is_over || own.is_stalled || own.is_silent {
            return Ok(());
        }
        let wrong = |law, text: String| Err(Violation::new(law, text, [session]));
        if !own.connected && !own.is_doomed {
            return wrong(Law::Stuck, "no CONNECTED has come".into());
        }
        if own.is_doomed || own.has_failed || own.is_leaving {
            return wrong(Law::Refusal, "a session that must end is not closed".into());
        }
        if let Some((receipt, _)) = own.pending.front() {
            return wrong(Law::Receipt, format!("the RECEIPT {receipt} has not come"));
        }
        for each in self.subscriptions.iter_mut().filter(|each| each.session == session) {
            each.is_at_risk = false;
            each.outstanding = each.unsettled.len();
        }
        for effect in std::mem::take(&mut self.sessions[session].unconfirmed) {
            self.confirm(session, &effect)?;
        }
        Ok(())
    }

    /// Whoever did not read and may have had a message that went to somebody else: now that it reads it must be gone.
    fn check_suspects(&mut self) -> Check {
        for (subscription, message) in std::mem::take(&mut self.suspects) {
            let own = self.subscriptions[subscription].session;
            if self.surely_holds(subscription) {
                let text = format!("message {message} was given to another consumer, and this one still has it");
                return Err(Violation::new(Law::TwoConsumers, text, [own]));
            }
            if self.sessions[own].is_stalled {
                self.suspects.push((subscription, message));
            }
        }
        Ok(())
    }

    /// Everybody has what was sent to topics while they were certainly there.
    fn check_topics(&mut self) -> Check {
        for number in 0..self.messages.len() {
            if self.messages[number].fate != Fate::Accepted || self.messages[number].wanted.is_empty() {
                continue;
            }
            let wanted = std::mem::take(&mut self.messages[number].wanted);
            let message = &self.messages[number];
            let mut waiting = Vec::new();
            for subscription in wanted {
                let own = &self.subscriptions[subscription];
                let session = &self.sessions[own.session];
                let loses = may_lose(message.destination) && (session.was_stalled || own.was_short);
                let is_short = own.ack != Ack::Auto && own.unsettled.len() >= own.credit;
                if self.got.contains(&(own.session, own.id.clone(), number)) || loses {
                    continue;
                }
                if session.is_stalled || is_short {
                    waiting.push(subscription);
                } else if self.surely_holds(subscription) {
                    let text = format!("message {number} has not come to {}", own.id);
                    return Err(Violation::new(Law::Lost, text, [own.session, message.origin]));
                }
            }
            self.messages[number].wanted = waiting;
        }
        Ok(())
    }

    /// No queue keeps a message that was never handed out from a consumer who has credit.
    fn check_queues(&self) -> Check {
        for (number, message) in self.messages.iter().enumerate() {
            let is_waiting = message.is_for_queue() && message.fate == Fate::Accepted && message.hold == Hold::Free;
            if !is_waiting || message.seen > 0 || message.is_dead || self.at_risk(message.destination) > 0 {
                continue;
            }
            let mut consumers =
                self.subscriptions.iter().filter(|each| each.destination == message.destination && !each.is_dead);
            // Who does not read, or is on the way out, may have it and not know.
            if consumers.clone().any(|each| !each.is_live || each.is_ending || !self.sessions[each.session].is_sound())
            {
                continue;
            }
            let idle = consumers
                .find(|each| each.unsettled.len() < each.credit && !(each.no_local && each.session == message.origin));
            if let Some(idle) = idle {
                let text = format!("message {number} is not given to a consumer with credit, {}", idle.id);
                return Err(Violation::new(Law::Stuck, text, [idle.session, message.origin]));
            }
        }
        Ok(())
    }

    /// All queues are drained: what is not consumed now is lost.
    pub(crate) fn check_end(&self) -> Check {
        let mut missing = BTreeMap::new();
        for (number, message) in self.messages.iter().enumerate().filter(|(_, message)| message.is_for_queue()) {
            let is_gone = matches!(message.hold, Hold::Consumed(_) | Hold::Settled(_, Outcome::Consumed));
            if message.fate == Fate::Accepted && !is_gone {
                // It may have moved unseen.
                let may_be_dead = message.discarded || message.refusals >= self.setup.max_deliveries;
                let place = if may_be_dead { DEAD_LETTERS } else { message.place() };
                let lost: &mut Vec<usize> = missing.entry(place).or_default();
                lost.push(number);
            }
        }
        for (queue, lost) in missing {
            let tolerated = self.at_risk(queue);
            if lost.len() > tolerated {
                let origins = lost.iter().map(|number| self.messages[*number].origin);
                let text = format!("messages {lost:?} of {queue} are nowhere, {tolerated} may be");
                return Err(Violation::new(Law::Lost, text, origins));
            }
        }
        self.check_commits()
    }

    /// How many messages of a queue a consumer in mode `auto` may have taken with it unread.
    fn at_risk(&self, queue: &str) -> usize {
        let at_risk = |each: &&Subscription| {
            let session = &self.sessions[each.session];
            let may_be_behind = session.was_stalled || self.setup.is_lazy;
            each.is_at_risk && each.destination == queue && session.is_over && may_be_behind
        };
        self.subscriptions.iter().filter(at_risk).map(|each| each.credit).sum()
    }

    /// Of every transaction all has happened, or nothing.
    fn check_commits(&self) -> Check {
        for (number, commit) in self.commits.iter().enumerate() {
            let sends = commit.sends.iter().map(|send| &self.messages[*send]).filter(|send| send.is_for_queue());
            let (done, undone): (Vec<_>, Vec<_>) = sends.partition(|send| send.fate == Fate::Accepted);
            // A consumer in mode `auto` who said goodbye may have taken a message with it unseen.
            let is_certain = undone.iter().all(|send| self.at_risk(send.place()) == 0);
            if let (Some(first), false, true) = (done.first(), undone.is_empty(), is_certain) {
                let text = format!("transaction {number}: of {:?} only a part was done", commit.sends);
                return Err(Violation::new(Law::Transaction, text, [first.origin]));
            }
        }
        Ok(())
    }

    /// Whether a session's end has a cause.
    pub(crate) fn check_closed(&mut self, session: usize) -> Check {
        let own = &self.sessions[session];
        let has_cause =
            own.has_failed || own.is_leaving || own.may_vanish || own.is_in_doubt || own.was_stalled || own.is_silent;
        if !has_cause {
            return Err(Violation::new(Law::Refusal, "closed without a cause or a word", [session]));
        }

        let said_goodbye = own.is_leaving
            && !own.has_failed
            && !own.was_stalled
            && !own.may_vanish
            && !own.is_in_doubt
            && !own.is_silent;
        if said_goodbye && !own.pending.is_empty() {
            let text = format!("closed before the RECEIPT {:?}", own.pending.front());
            return Err(Violation::new(Law::Receipt, text, [session]));
        }
        Ok(())
    }
}
