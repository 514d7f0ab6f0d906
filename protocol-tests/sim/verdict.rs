//! What must hold when all is quiet: nobody waits for anything, and in the end nothing is missing.

use std::collections::BTreeMap;
use std::time::Duration;

use gumboot::broker::QueueStats;

use crate::laws::{Check, Law, Violation};
use crate::message::{Fate, Hold, Message, Outcome};
use crate::model::{Ack, Model, Subscription};
use crate::policy::{DEAD_LETTERS, GRAVE, Overflow, QUEUES, is_temporary};
use crate::run::DRAIN;
use crate::setup::may_lose;

/// No message keeps less memory than this.
const LEAST_FOOTPRINT: usize = 150;

/// How many consumers leave a queue so soon one after the other that none of them has had anything.
const MOST_LEAVING: usize = 2;

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
        self.given_up.clear();
        self.check_suspects()?;
        self.free_messages();
        self.check_overtaken()?;
        self.check_looks()?;
        self.check_answers()?;
        self.accept_letters();
        self.check_topics()?;
        self.check_queues()?;
        self.check_limits()?;
        self.ascertain_all();
        self.check_copies()?;
        self.note_quiet();
        self.note_stored();
        Ok(())
    }

    /// What is with consumers who are gone is anybody's; and what was in a temporary queue is gone with it.
    fn free_messages(&mut self) {
        let soon = self.now + self.setup.longest_wait() + Duration::from_millis(2);
        for number in 0..self.messages.len() {
            if let Hold::Held(by) = self.messages[number].hold
                && self.subscriptions[by].is_dead
            {
                self.messages[number].hold = Hold::Free;
                self.messages[number].rests_until = soon;
            }
            let message = &self.messages[number];
            if message.is_temporary() && matches!(message.fate, Fate::Possible | Fate::Accepted) {
                let is_there = self.subscriptions.iter().any(|each| each.consumes(message) && !each.is_dead);
                self.messages[number].is_gone |= !is_there;
            }
        }
    }

    /// Remembers what is certain now.
    fn note_quiet(&mut self) {
        self.quiets += 1;
        let quiets = self.quiets;
        for subscription in &mut self.subscriptions {
            subscription.is_buried = subscription.is_dead;
        }
        for session in &mut self.sessions {
            session.is_up_to_date = !session.is_stalled;
        }
        let note = |is_so: bool, since: Option<usize>| is_so.then(|| since.unwrap_or(quiets));
        for number in 0..self.messages.len() {
            let message = &self.messages[number];
            if !message.is_for_queue() || message.fate != Fate::Accepted {
                continue;
            }
            let is_placed = self.is_certain(message) && message.is_due(self.now) && message.is_readable(self.now);
            let is_ready = self.is_ready(message);
            let is_held = matches!(message.hold, Hold::Held(by) if self.surely_holds(by));
            let message = &mut self.messages[number];
            message.waits_since = note(is_ready, message.waits_since);
            message.held_since = note(is_held, message.held_since);
            message.consumed_at = note(matches!(message.hold, Hold::Consumed(_)), message.consumed_at);
            if is_placed {
                message.placed_at.get_or_insert(quiets);
            }
        }
    }

    /// No queue has more than it may.
    fn check_limits(&self) -> Check {
        for place in QUEUES {
            let policy = self.policy_at(place);
            let there = self.messages.iter().filter(|message| {
                let is_there = matches!(message.hold, Hold::Free)
                    || matches!(message.hold, Hold::Held(by) if self.surely_holds(by));
                message.place == place && is_there && self.is_certain(message) && !self.has_doubtful_consumers(message)
            });
            self.check_load(place, policy.max_messages, policy.max_bytes, there)?;
        }
        Ok(())
    }

    fn check_load<'m>(
        &self,
        place: &str,
        max_messages: usize,
        max_bytes: usize,
        there: impl Iterator<Item = &'m Message>,
    ) -> Check {
        let mut origins = Vec::new();
        // What is certain to come may find that what was to be dropped for it is with a consumer by now.
        let drops = self.policy_at(place).overflow == Overflow::DropOldest;
        let there = there.filter(|message| !drops || !message.is_in_transaction);
        let (messages, bytes) = there.fold((0, 0), |(messages, bytes), message| {
            origins.push(message.origin);
            (messages + 1, bytes + message.size)
        });
        // What was dropped for others comes back after a crash, if that was not stored. And what is on its way to the disk comes
        // for certain, though what was to be dropped for it was given to a consumer meanwhile.
        let was_consumed = |each: &Subscription| each.destination == place && each.look.is_none() && each.id != DRAIN;
        let is_given = self.setup.has_disk && self.subscriptions.iter().any(was_consumed);
        let times = if drops && (is_given || self.restarts > 0) { 2 } else { 1 };
        if messages > max_messages * times || bytes > max_bytes * times {
            let text = format!("{place} has {messages} messages of {max_messages}, {bytes} bytes of {max_bytes}");
            return Err(Violation::new(Law::Limit, text, origins));
        }
        Ok(())
    }

    /// Of a queue whose messages are all stored, no more are in memory than have room there, are read ahead, or are on their
    /// way to consumers.
    fn check_memory(&self, stats: &[QueueStats]) -> Check {
        for queue in stats.iter().filter(|queue| QUEUES.contains(&queue.name.as_str())) {
            let policy = self.policy_at(queue.name.as_str());
            // What was read for consumers who left is still there.
            let had_consumers = self.subscriptions.iter().any(|each| {
                each.destination == queue.name.as_str() && each.look.is_none() && each.asked_at > self.crashed_at
            });
            let left = if had_consumers { MOST_LEAVING * self.setup.max_prefetch as usize } else { 1 };
            let underway = queue.unsettled + left;
            let most = policy.memory / LEAST_FOOTPRINT + underway;
            let here = queue.messages - queue.away;
            if policy.is_durable && here > most {
                let text = format!("{} has {here} messages in memory, {most} may be there", queue.name);
                return Err(Violation::new(Law::Limit, text, []));
            }
        }
        Ok(())
    }

    /// A queue that nobody needs is there as long as its policy says; a temporary one as long as its session needs it.
    pub(crate) fn check_idle(&mut self, stats: &[QueueStats]) -> Check {
        self.check_lasting(stats)?;
        let wrong = |name: &str, text: &str| Err(Violation::new(Law::Idle, format!("{name} {text}"), []));
        self.check_memory(stats)?;
        for queue in stats.iter().filter(|queue| !queue.name.is_reserved()) {
            let name = queue.name.as_str();
            if self.may_be_used(name) {
                self.idle.remove(name);
            }
            if queue.consumers > 0 || (queue.messages > 0 && !is_temporary(name)) {
                self.idle.remove(name);
                self.busy.insert(name.to_owned(), self.now);
                continue;
            }
            let since = *self.idle.entry(name.to_owned()).or_insert(self.now);
            let stay = self.policy_at(name).idle_expiry;
            if stay.is_none_or(|stay| self.now > since + stay) {
                let (since, now) = (since.as_millis(), self.now.as_millis());
                return wrong(name, &format!("is still there at {now}, idle since {since}: {queue:?}"));
            }
        }
        let is_there = |name: &str| stats.iter().any(|queue| queue.name.as_str() == name);
        for (name, busy) in &self.busy {
            let stay = self.policy_at(name).idle_expiry.unwrap_or_default();
            if !is_there(name) && self.now < *busy + stay {
                return wrong(name, "is gone too early");
            }
        }
        self.idle.retain(|name, _| is_there(name));
        self.busy.retain(|name, _| is_there(name));
        self.touched.clear();
        Ok(())
    }

    /// Whether a queue may have had a message or a consumer since all was quiet.
    fn may_be_used(&self, name: &str) -> bool {
        let comes = |message: &Message| {
            let is_underway = message.is_for_queue() && !matches!(message.hold, Hold::Consumed(_));
            is_underway
                && (self.may_come_to(message, name) || message.is_twofold && [DEAD_LETTERS, GRAVE].contains(&name))
        };
        self.touched.contains(name) || self.messages.iter().any(comes)
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
                let is_short = own.ack != Ack::Auto && own.unsettled.len() + own.unsettling >= own.credit;
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

    /// No queue keeps a message from a consumer who has credit.
    fn check_queues(&self) -> Check {
        for (number, message) in self.messages.iter().enumerate() {
            if !message.is_for_queue() || !self.is_ready(message) || self.has_doubtful_consumers(message) {
                continue;
            }
            let consumers = self.subscriptions.iter().enumerate();
            let mut consumers = consumers.filter(|(_, each)| each.consumes(message) && !each.is_dead);
            // Where the others stand by, the one that came before all of them.
            let is_first = |number: usize| {
                let granted = self.subscriptions[number].granted_at;
                self.subscriptions.iter().enumerate().all(|(other, each)| {
                    let is_earlier = granted.is_some_and(|granted| granted < each.asked_at);
                    other == number || !each.consumes(message) || each.is_dead || is_earlier
                })
            };
            let stands_by = self.policy_at(message.place).has_one_active;
            let idle = consumers.find(|(consumer, each)| {
                each.unsettled.len() < each.credit
                    && self.may_take(*consumer, message)
                    && (!stands_by || is_first(*consumer))
            });
            if let Some((_, idle)) = idle {
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
            let is_found = message.is_twofold && message.was_found;
            if message.fate == Fate::Accepted && !is_gone && !is_found && !self.may_be_gone(message) {
                // It may have moved unseen.
                let places = self.places(message);
                let tolerated = self.at_risk(&places);
                let (lost, most) = missing.entry(places.last().copied()).or_insert((Vec::new(), 0));
                lost.push(number);
                *most = tolerated.max(*most);
            }
        }
        for (queue, (lost, tolerated)) in missing {
            if lost.len() > tolerated {
                let origins = lost.iter().map(|number| self.messages[*number].origin);
                let text = format!("messages {lost:?} of {queue:?} are nowhere, {tolerated} may be");
                return Err(Violation::new(Law::Lost, text, origins));
            }
        }
        self.check_remains()?;
        self.check_copies_end()?;
        self.check_commits()
    }

    /// What was there in the end was not too much; and nothing was given up while something older waited.
    fn check_remains(&self) -> Check {
        for (place, remains) in self.remains.iter().flatten() {
            let policy = self.policy_at(place);
            let there = remains.iter().map(|number| &self.messages[*number]);
            self.check_load(place, policy.max_messages, policy.max_bytes, there.clone())?;
            // What somebody was given, and has not read, could not be dropped.
            let was_consumed =
                |each: &Subscription| each.destination == *place && each.look.is_none() && each.id != DRAIN;
            let comes_late = [DEAD_LETTERS, GRAVE].contains(place) && !self.dying.is_empty();
            let is_given = self.setup.has_disk && self.subscriptions.iter().any(was_consumed);
            let may_have_been_given = is_given || comes_late;
            if policy.overflow != Overflow::DropOldest || may_have_been_given || self.at_risk(&[place]) > 0 {
                continue;
            }
            let is_simple = |message: &&Message| {
                let is_simple = message.via.is_none()
                    && !message.is_letter()
                    && message.wishes.due.is_none()
                    && message.refusals == 0;
                message.place == *place && is_simple && !message.was_unreadable
            };
            let dropped = self.messages.iter().filter(|message| {
                let is_lost = message.fate == Fate::Accepted && message.hold == Hold::Free && !message.discarded;
                let is_lost = is_lost && !message.is_forgotten;
                is_simple(message) && is_lost && message.seen == 0 && !message.may_be_expired(policy, self.now)
            });
            // Never handed out before.
            let kept: Vec<&Message> = there.filter(|message| is_simple(message) && message.seen == 1).collect();
            for message in dropped {
                let is_older = |kept: &&&Message| {
                    kept.origin == message.origin
                        && kept.order < message.order
                        && kept.rank(policy) == message.rank(policy)
                };
                if let Some(older) = kept.iter().find(is_older) {
                    let text = format!("of {place} {:?} was dropped, and {:?} is older", message.id, older.id);
                    return Err(Violation::new(Law::Limit, text, [message.origin]));
                }
            }
        }
        Ok(())
    }

    /// Of every transaction all has happened, or nothing.
    fn check_commits(&self) -> Check {
        for (number, commit) in self.commits.iter().enumerate() {
            let sends = commit.sends.iter().map(|send| &self.messages[*send]).filter(|send| send.is_for_queue());
            let (done, undone): (Vec<_>, Vec<_>) = sends.partition(|send| send.fate == Fate::Accepted);
            // A consumer in mode `auto` who said goodbye may have taken a message with it unseen.
            let is_certain = undone.iter().all(|send| self.at_risk(&self.places(send)) == 0 && !self.may_be_gone(send));
            let reappeared = commit.settles.iter().any(|(_, settled, outcome)| {
                *outcome == Outcome::Consumed && settled.iter().any(|number| self.messages[*number].has_reappeared)
            });
            if let (Some(first), true) = (done.iter().find(|send| self.is_stored(send)), reappeared) {
                let text = format!("transaction {number}: what it settled came again, and what it sent is there");
                return Err(Violation::new(Law::Transaction, text, [first.origin]));
            }
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
