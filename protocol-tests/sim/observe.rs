//! What the model says to each frame that a client receives, but for messages.

use std::time::Duration;

use crate::laws::{Check, Law, Violation};
use crate::message::{Fate, Hold, Outcome};
use crate::model::{Effect, Model, Subscription};
use crate::policy::{Overflow, letters_of};
use crate::wire::Frame;

/// ERRORs that a session with `on-error:continue` survives, if they are about a SUBSCRIBE or a SEND.
const SURVIVABLE: [&str; 13] = [
    "app-refused",
    "app-timeout",
    "bad-user-destination",
    "subscription-in-use",
    "too-many-durable-subscriptions",
    "queue-full",
    "delay-too-long",
    "unroutable",
    "unknown-destination",
    "exclusive",
    "not-owner",
    "store-full",
    "store-failed",
];

impl Model {
    /// A client received a frame.
    pub(crate) fn observe(&mut self, session: usize, frame: &Frame) -> Check {
        let own = &self.sessions[session];
        let wrong = |law, text: &str| Err(Violation::new(law, format!("{text}: {frame}"), [session]));
        if own.has_left || own.has_failed {
            return wrong(Law::Refusal, "a frame after the end");
        }
        match &*frame.command {
            "CONNECTED" if own.connected => wrong(Law::Refusal, "a second CONNECTED"),
            "CONNECTED" => self.connected(session, frame),
            "ERROR" => self.error(session, frame),
            _ if !own.connected => wrong(Law::Refusal, "a frame before CONNECTED"),
            "RECEIPT" => self.receipt(session, frame),
            _ => self.message(session, frame),
        }
    }

    fn connected(&mut self, session: usize, frame: &Frame) -> Check {
        self.check_user(session, frame)?;
        let own = &mut self.sessions[session];
        if frame.header("version") != Some(own.version.as_str()) {
            return Err(Violation::new(Law::Refusal, format!("another version than asked for: {frame}"), [session]));
        }
        own.connected = true;
        own.name = frame.header("session").map(str::to_owned);
        own.earned.remove("connect-timeout");
        let offer = frame.header("heart-beat").and_then(|text| text.split_once(',')?.0.parse().ok());
        // What the client asked for is kept here until the broker's side is known.
        own.beat = match (own.beat, offer) {
            (Some(wish), Some(offer)) if offer > 0 => Some(wish.max(Duration::from_millis(offer))),
            _ => None,
        };
        Ok(())
    }

    fn error(&mut self, session: usize, frame: &Frame) -> Check {
        let code = frame.header("code").unwrap_or_default().to_owned();
        let about = frame.header("receipt-id").map(str::to_owned);
        if !self.has_earned(session, &code) {
            return Err(Violation::new(Law::Refusal, format!("an ERROR without a cause: {frame}"), [session]));
        }
        let own = &mut self.sessions[session];
        let is_forgiven = code == "bad-header" && own.forgiven > 0;
        own.forgiven -= usize::from(is_forgiven);
        let mut survives = own.continues && (is_forgiven || SURVIVABLE.contains(&&*code));
        if let Some(receipt) = about {
            let place = own.pending.iter().position(|(pending, _)| *pending == receipt);
            match place.and_then(|place| own.pending.remove(place)) {
                Some((_, effect)) => {
                    survives &= !matches!(effect, Effect::Commit(_) | Effect::Forget(..));
                    self.refuse(&effect, code.starts_with("store-"));
                }
                // A frame that is no request has a receipt all the same.
                None if own.is_doomed => {}
                None => {
                    let text = format!("an ERROR about a frame that was answered or never sent: {frame}");
                    return Err(Violation::new(Law::Receipt, text, [session]));
                }
            }
        } else if survives && !is_forgiven {
            // There is no telling which it was. If it was a COMMIT, the session ends.
            own.unconfirmed.retain(|effect| !matches!(effect, Effect::Send(_) | Effect::Commit(_)));
            own.is_in_doubt = true;
        }
        self.sessions[session].has_failed = !survives;
        Ok(())
    }

    fn has_earned(&self, session: usize, code: &str) -> bool {
        let own = &self.sessions[session];
        let effects = own.pending.iter().map(|(_, effect)| effect).chain(&own.unconfirmed);
        let mut sent = effects.flat_map(|effect| match effect {
            Effect::Send(number) => vec![*number],
            Effect::Commit(commit) => self.commits[*commit].sends.clone(),
            _ => Vec::new(),
        });
        let is_short = |each: &Subscription| each.session == session && each.was_short && !each.is_queue();
        match code {
            "slow-consumer" => own.was_stalled || self.subscriptions.iter().any(is_short),
            "queue-full" | "delay-too-long" | "unroutable" if own.is_in_doubt => true,
            "store-full" | "store-failed" => self.has_failed_disk,
            "queue-full" => sent.any(|number| self.may_be_refused(number)),
            "delay-too-long" => sent.any(|number| self.asks_too_much(number)),
            "unroutable" => sent.any(|number| self.messages[number].mandatory),
            "exclusive" => self.is_excluded(session),
            "subscription-in-use" => self.may_be_in_use(session),
            "too-many-durable-subscriptions" => self.may_be_one_more(session),
            "app-refused" | "app-timeout" => self.has_failed(session, code),
            "heart-beat-missed" => own.is_silent || own.was_stalled,
            _ => own.earned.contains(code),
        }
    }

    /// Whether a queue may have been too full for a message.
    fn may_be_refused(&self, number: usize) -> bool {
        let message = &self.messages[number];
        let place = message.destination;
        let bursts = message.is_in_transaction;
        self.full.contains(place)
            && match self.policy_at(place).overflow {
                Overflow::Reject => true,
                Overflow::DropOldest => bursts || self.may_be_stuck(place),
                Overflow::DeadLetter => bursts || letters_of(place).is_none_or(|next| self.full.contains(next)),
            }
    }

    fn asks_too_much(&self, number: usize) -> bool {
        let message = &self.messages[number];
        message.asks_too_much(self.policy_at(message.destination), message.entered)
    }

    /// Whether a session wants to subscribe where somebody else may be.
    fn is_excluded(&self, session: usize) -> bool {
        let own = &self.sessions[session];
        let mut wishes = own.pending.iter().map(|(_, effect)| effect).chain(&own.unconfirmed).filter_map(|effect| {
            if let Effect::Subscribe(subscription, _) = effect { Some(*subscription) } else { None }
        });
        wishes.any(|wish| {
            let own = &self.subscriptions[wish];
            let is_later = |(number, each): (usize, &Subscription)| number != wish && each.rivals(own);
            let has_rival = own.has_rival || self.subscriptions.iter().enumerate().skip(wish).any(is_later);
            self.policy_at(own.destination).is_exclusive && has_rival
        })
    }

    fn refuse(&mut self, effect: &Effect, is_disk: bool) {
        match effect {
            // Only some durable subscription has no copy of it.
            Effect::Send(number) if is_disk && !self.messages[*number].is_for_queue() => self.doubt_copies(*number),
            Effect::Commit(commit) if is_disk && self.has_kept_topics(*commit) => {
                for number in self.commits[*commit].sends.clone() {
                    self.doubt_copies(number);
                }
            }
            Effect::Forget(ending) => self.kept(ending),
            Effect::Send(number) => {
                self.messages[*number].fate = Fate::Refused;
                if let Some(brought) = self.messages[*number].brings {
                    self.grant(brought);
                }
            }
            Effect::Commit(commit) => {
                for number in self.commits[*commit].sends.clone() {
                    self.messages[number].fate = Fate::Refused;
                }
                for (subscription, settled, _) in self.commits[*commit].settles.clone() {
                    if let Some(lasting) = self.subscriptions[subscription].lasting {
                        self.copies_refused(subscription, lasting, &settled);
                        continue;
                    }
                    for number in settled {
                        let message = &mut self.messages[number];
                        if matches!(message.hold, Hold::Settled(by, _) if by == subscription) {
                            message.hold = Hold::Free;
                            message.rests_until = self.now + self.setup.longest_wait();
                        }
                    }
                }
            }
            Effect::Subscribe(subscription, _) => self.subscriptions[*subscription].is_dead = true,
            Effect::Nothing | Effect::Call | Effect::Unsubscribe(_) | Effect::Settle(..) | Effect::Disconnect => {}
        }
    }

    fn receipt(&mut self, session: usize, frame: &Frame) -> Check {
        let wrong = |text: &str| Violation::new(Law::Receipt, format!("{text}: {frame}"), [session]);
        let own = &mut self.sessions[session];
        let (receipt, effect) = own.pending.pop_front().ok_or_else(|| wrong("nothing waits for a RECEIPT"))?;
        if frame.header("receipt-id") != Some(&receipt) {
            return Err(wrong(&format!("not the turn of this RECEIPT but that of {receipt}")));
        }
        if let Effect::Send(number) = effect {
            let matched = frame.header("matched").and_then(|text| text.parse().ok());
            let matched: usize = matched.ok_or_else(|| wrong("the RECEIPT of a SEND without `matched`"))?;
            if self.asks_too_much(number) && self.messages[number].is_for_queue() && matched > 0 {
                let text = format!("it asks for a longer delay than there is: {frame}");
                return Err(Violation::new(Law::Limit, text, [session]));
            }
            let message = &self.messages[number];
            if message.found_full.is_some()
                && message.found_full == self.full_since
                && message.is_for_queue()
                && self.is_stored(message)
                && matched > 0
            {
                return Err(wrong("the disk was full all the time"));
            }
            self.check_full_disk(number, frame)?;
            let (least, most) = self.reach(number);
            if matched < least || matched > most {
                let there = self.messages[number].wanted.iter().map(|each| self.subscriptions[*each].session);
                let text = format!("{least} to {most} subscriptions were there: {frame}");
                return Err(Violation::new(Law::Receipt, text, there.chain([session])));
            }
            if self.messages[number].mandatory && matched == 0 {
                return Err(wrong("a mandatory message that reached nobody"));
            }
            self.messages[number].is_sure = matched > 0;
        }
        self.confirm(session, &effect)?;
        match &effect {
            Effect::Settle(subscription, settled, _) => {
                self.note_settled(*subscription, settled);
                if let Some(lasting) = self.subscriptions[*subscription].lasting {
                    self.letters_stored(lasting, settled);
                }
            }
            Effect::Commit(commit) => {
                for (subscription, settled, _) in self.commits[*commit].settles.clone() {
                    self.note_settled(subscription, &settled);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// How many subscriptions or queues a message must have reached, and how many it can have.
    fn reach(&self, number: usize) -> (usize, usize) {
        let message = &self.messages[number];
        if message.is_for_queue() && message.owner.is_none() {
            return (1, 1);
        }
        // Who is slow, or sent what is refused, may have been closed in a turn that is not over yet.
        let stays = |each: &&usize| self.surely_holds(**each) && !self.setup.is_lazy;
        let stayed = message.wanted.iter().filter(stays).count();
        // Those that came between the SEND and now may have been there already.
        let since = self.subscriptions.iter().skip(message.known).filter(|each| self.wants(each, message)).count();
        if message.owner.is_some() {
            let was_there = message.is_expected && self.is_owner_there(message) && !self.setup.is_lazy;
            return (usize::from(was_there), (message.most + since).min(1));
        }
        (stayed + self.reach_of_lasting(message, number), message.most + since)
    }

    /// There is word that an effect is complete.
    pub(crate) fn confirm(&mut self, session: usize, effect: &Effect) -> Check {
        match effect {
            Effect::Nothing | Effect::Call => {}
            Effect::Send(number) => {
                self.accept(*number);
                self.ascertain(*number);
                if let Some(brought) = self.messages[*number].brings {
                    self.grant(brought);
                }
            }
            Effect::Subscribe(subscription, earlier) => {
                self.grant(*subscription);
                self.check_alone(*subscription)?;
                self.attached(*subscription)?;
                if let Some(earlier) = earlier {
                    self.subscriptions[*earlier].is_dead = true;
                }
            }
            Effect::Unsubscribe(subscription) => self.subscriptions[*subscription].is_dead = true,
            Effect::Forget(ending) => self.forgotten(session, ending)?,
            Effect::Settle(subscription, settled, outcome) => self.confirm_settled(*subscription, settled, *outcome),
            Effect::Commit(commit) => {
                let commit = self.commits[*commit].clone();
                for number in commit.sends {
                    if self.messages[number].fate == Fate::Refused {
                        return Err(Violation::new(Law::Transaction, "a part was refused", [session]));
                    }
                    self.accept(number);
                    self.ascertain(number);
                }
                for (subscription, settled, outcome) in commit.settles {
                    self.confirm_settled(subscription, &settled, outcome);
                }
            }
            Effect::Disconnect => self.sessions[session].has_left = true,
        }
        Ok(())
    }

    /// A subscription is there for certain.
    fn grant(&mut self, subscription: usize) {
        self.events += 1;
        let own = &mut self.subscriptions[subscription];
        own.is_live = true;
        own.granted_at.get_or_insert(self.events);
    }

    /// Where there may be one consumer, there are not two.
    fn check_alone(&self, subscription: usize) -> Check {
        let own = &self.subscriptions[subscription];
        if !self.policy_at(own.destination).is_exclusive || own.look.is_some() || !self.surely_holds(subscription) {
            return Ok(());
        }
        let other = self.subscriptions.iter().enumerate().find(|(number, each)| {
            *number != subscription
                && each.destination == own.destination
                && each.look.is_none()
                && each.is_live
                && self.surely_holds(*number)
        });
        match other {
            Some((_, other)) => {
                let text = format!("{} and {} both have {}", own.id, other.id, own.destination);
                Err(Violation::new(Law::Exclusive, text, [own.session, other.session]))
            }
            None => Ok(()),
        }
    }

    /// A message is in the world for certain; what is in an open transaction is not.
    pub(crate) fn accept(&mut self, number: usize) {
        let message = &mut self.messages[number];
        if message.fate == Fate::Possible {
            message.fate = Fate::Accepted;
        }
        if message.fate == Fate::Accepted {
            message.arrived.get_or_insert(self.now);
        }
    }

    fn confirm_settled(&mut self, subscription: usize, settled: &[usize], outcome: Outcome) {
        if let Some(lasting) = self.subscriptions[subscription].lasting {
            return self.copies_confirmed(subscription, lasting, settled, outcome);
        }
        for number in settled {
            let policy = self.setup.policy(self.messages[*number].place);
            let message = &mut self.messages[*number];
            if message.hold != Hold::Settled(subscription, outcome) {
                continue;
            }
            message.hold = Hold::Free;
            match outcome {
                Outcome::Consumed => {
                    message.hold = Hold::Consumed(subscription);
                    self.lingering.insert(*number);
                }
                Outcome::Rejected => {
                    message.refused += 1;
                    message.not_before = Some(message.refused_at + policy.wait(message.refused));
                    message.rests_until = self.now + policy.redelivery_delay_max();
                }
                Outcome::Deferred(delay) => {
                    message.refused += 1;
                    let delay = delay.min(policy.max_delay);
                    message.not_before = Some(message.refused_at + delay);
                    message.rests_until = self.now + delay;
                }
                Outcome::Discarded => message.is_doomed = true,
            }
            if message.refusals >= policy.max_deliveries {
                // If the dead letters cannot take it.
                let again = policy.redelivery_delay_max();
                message.not_before = message.not_before.map(|earliest| earliest.min(message.refused_at + again));
                message.rests_until = message.rests_until.max(self.now + again);
            }
            message.rests_until += Duration::from_millis(2);
        }
    }
}
