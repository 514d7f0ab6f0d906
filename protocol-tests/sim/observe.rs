//! What the model says to each thing that a client receives.

use std::time::Duration;

use crate::model::{
    Ack, Check, Effect, Fate, Handed, Hold, Law, Model, Outcome, Subscription, Violation, body, is_queue, note, takes,
};
use crate::setup::DEAD_LETTERS;
use crate::wire::Frame;

/// ERRORs that a session with `on-error:continue` survives, if they are about a SUBSCRIBE or a SEND.
const SURVIVABLE: [&str; 3] = ["queue-full", "unroutable", "unknown-destination"];

/// Headers that no receiver may see.
const PRIVATE: [&str; 3] = ["receipt", "transaction", "passcode"];

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
        let own = &mut self.sessions[session];
        if frame.header("version") != Some(own.version.as_str()) {
            return Err(Violation::new(Law::Refusal, format!("another version than asked for: {frame}"), [session]));
        }
        own.connected = true;
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
        let mut survives = own.continues && SURVIVABLE.contains(&&*code);
        if let Some(receipt) = about {
            let place = own.pending.iter().position(|(pending, _)| *pending == receipt);
            match place.and_then(|place| own.pending.remove(place)) {
                Some((_, effect)) => {
                    survives &= !matches!(effect, Effect::Commit(_));
                    self.refuse(&effect);
                }
                // A frame that is no request has a receipt all the same.
                None if own.is_doomed => {}
                None => {
                    let text = format!("an ERROR about a frame that was answered or never sent: {frame}");
                    return Err(Violation::new(Law::Receipt, text, [session]));
                }
            }
        } else if survives {
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
            "queue-full" | "unroutable" if own.is_in_doubt => true,
            "queue-full" => sent.any(|number| self.full.contains(self.messages[number].destination)),
            "unroutable" => sent.any(|number| self.messages[number].mandatory),
            "heart-beat-missed" => own.is_silent || own.was_stalled,
            _ => own.earned.contains(code),
        }
    }

    fn refuse(&mut self, effect: &Effect) {
        match effect {
            Effect::Send(number) => self.messages[*number].fate = Fate::Refused,
            Effect::Commit(commit) => {
                for number in self.commits[*commit].sends.clone() {
                    self.messages[number].fate = Fate::Refused;
                }
                for (subscription, settled, _) in self.commits[*commit].settles.clone() {
                    for number in settled {
                        let message = &mut self.messages[number];
                        if matches!(message.hold, Hold::Settled(by, _) if by == subscription) {
                            message.hold = Hold::Free;
                        }
                    }
                }
            }
            Effect::Subscribe(subscription, _) => self.subscriptions[*subscription].is_dead = true,
            Effect::Nothing | Effect::Unsubscribe(_) | Effect::Settle(..) | Effect::Disconnect => {}
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
            let (least, most) = self.reach(number);
            if matched < least || matched > most {
                let there = self.messages[number].wanted.iter().map(|each| self.subscriptions[*each].session);
                let text = format!("{least} to {most} subscriptions were there: {frame}");
                return Err(Violation::new(Law::Receipt, text, there.chain([session])));
            }
            if self.messages[number].mandatory && matched == 0 {
                return Err(wrong("a mandatory message that reached nobody"));
            }
        }
        self.confirm(session, &effect)
    }

    /// How many subscriptions or queues a message must have reached, and how many it can have.
    fn reach(&self, number: usize) -> (usize, usize) {
        let message = &self.messages[number];
        if message.is_for_queue() {
            return (1, 1);
        }
        // Who is slow, or sent what is refused, may have been closed in a turn that is not over yet.
        let stays = |each: &&usize| self.surely_holds(**each) && !self.setup.is_lazy;
        let stayed = message.wanted.iter().filter(stays).count();
        // Those that came between the SEND and now may have been there already.
        let since = self.subscriptions.iter().skip(message.known).filter(|each| self.wants(each, message)).count();
        (stayed, message.most + since)
    }

    /// There is word that an effect is complete.
    pub(crate) fn confirm(&mut self, session: usize, effect: &Effect) -> Check {
        match effect {
            Effect::Nothing => {}
            Effect::Send(number) => self.accept(*number),
            Effect::Subscribe(subscription, earlier) => {
                self.subscriptions[*subscription].is_live = true;
                if let Some(earlier) = earlier {
                    self.subscriptions[*earlier].is_dead = true;
                }
            }
            Effect::Unsubscribe(subscription) => self.subscriptions[*subscription].is_dead = true,
            Effect::Settle(subscription, settled, outcome) => self.confirm_settled(*subscription, settled, *outcome),
            Effect::Commit(commit) => {
                let commit = self.commits[*commit].clone();
                for number in commit.sends {
                    if self.messages[number].fate == Fate::Refused {
                        return Err(Violation::new(Law::Transaction, "a part was refused", [session]));
                    }
                    self.accept(number);
                }
                for (subscription, settled, outcome) in commit.settles {
                    self.confirm_settled(subscription, &settled, outcome);
                }
            }
            Effect::Disconnect => self.sessions[session].has_left = true,
        }
        Ok(())
    }

    /// A message is in the world for certain; what is in an open transaction is not.
    fn accept(&mut self, number: usize) {
        let fate = &mut self.messages[number].fate;
        if *fate == Fate::Possible {
            *fate = Fate::Accepted;
        }
    }

    fn confirm_settled(&mut self, subscription: usize, settled: &[usize], outcome: Outcome) {
        let delay = self.setup.redelivery_delay;
        for number in settled {
            let message = &mut self.messages[*number];
            if message.hold != Hold::Settled(subscription, outcome) {
                continue;
            }
            match outcome {
                Outcome::Consumed => {
                    message.hold = Hold::Consumed(subscription);
                    self.lingering.insert(*number);
                }
                Outcome::Rejected => {
                    message.hold = Hold::Free;
                    message.not_before = Some(message.refused_at + delay);
                }
                Outcome::Discarded => message.hold = Hold::Free,
            }
        }
    }

    fn message(&mut self, session: usize, frame: &Frame) -> Check {
        let wrong = |law, text: &str| Violation::new(law, format!("{text}: {frame}"), [session]);
        let number = self.identify(session, frame)?;
        let destination = frame.header("destination").unwrap_or_default();
        let id = frame.header("subscription").unwrap_or_default();
        let fits = |own: &&Subscription| {
            own.session == session && own.id == id && !own.is_dead && takes(own.destination, destination)
        };
        let subscription = self.subscriptions.iter().position(|own| fits(&own));
        let subscription = subscription.ok_or_else(|| wrong(Law::Stray, "for no subscription that there is"))?;
        let (own, message) = (&self.subscriptions[subscription], &self.messages[number]);
        if frame.header("ack").is_some() != (own.ack != Ack::Auto) {
            return Err(wrong(Law::Stray, "the header `ack` does not go with the subscription's mode"));
        }
        if message.origin == session && (own.no_local || message.excludes_self) {
            return Err(wrong(Law::Stray, "its sender's own"));
        }
        let is_fresh = frame.header("redelivered").is_none();
        let key = (session, id.to_owned(), message.origin, message.destination);
        if own.is_queue() {
            self.queue_message(subscription, number, frame)?;
        } else if !self.got.insert((session, id.to_owned(), number)) {
            return Err(wrong(Law::Duplicate, "the same again"));
        }
        let order = self.messages[number].order;
        let counts = is_fresh && frame.header("original-destination").is_none();
        let last = counts.then(|| self.last.insert(key, order)).flatten();
        if let Some(last) = last.filter(|last| *last >= order) {
            return Err(wrong(Law::Order, &format!("number {order} came after number {last}")));
        }
        if self.messages[number].fate == Fate::Possible {
            self.messages[number].fate = Fate::Accepted;
        }
        self.hand(subscription, number, frame)
    }

    /// Which message it is, after all that must be the same for everybody.
    fn identify(&mut self, session: usize, frame: &Frame) -> Result<usize, Violation> {
        let wrong = |law, text: &str| Violation::new(law, format!("{text}: {frame}"), [session]);
        let number: Option<usize> = frame.header("n").and_then(|text| text.parse().ok());
        let number = number.filter(|number| *number < self.messages.len());
        let number = number.ok_or_else(|| wrong(Law::Stray, "nobody sent this"))?;
        let message = &mut self.messages[number];
        match message.fate {
            Fate::Never => return Err(wrong(Law::Transaction, "its transaction was not committed")),
            Fate::Refused => return Err(wrong(Law::Transaction, "it was refused")),
            Fate::Possible | Fate::Accepted => {}
        }
        if frame.body != body(number, message.size) || frame.header("note") != Some(&note(number)) {
            return Err(wrong(Law::Stray, "not as it was sent"));
        }
        if PRIVATE.iter().any(|name| frame.header(name).is_some()) {
            return Err(wrong(Law::Stray, "a header that receivers must not see"));
        }
        let destination = frame.header("destination").unwrap_or_default();
        let is_letter = frame.header("original-destination").is_some();
        let expected = if is_letter { DEAD_LETTERS } else { message.destination };
        if destination != expected || (is_letter && frame.header("original-destination") != Some(message.destination)) {
            return Err(wrong(Law::Stray, "another destination"));
        }
        let id = frame.header("message-id").unwrap_or_default().to_owned();
        if *self.ids.entry(id.clone()).or_insert(number) != number || message.id.get_or_insert(id.clone()) != &id {
            return Err(wrong(Law::Stray, "message-ids are mixed up"));
        }
        Ok(number)
    }

    /// The client has one more delivery, perhaps to settle.
    fn hand(&mut self, subscription: usize, number: usize, frame: &Frame) -> Check {
        let own = &mut self.subscriptions[subscription];
        if own.ack == Ack::Auto {
            return Ok(());
        }
        if own.is_ending {
            own.was_short = true;
            return Ok(());
        }
        let ack = frame.header("ack").map(str::to_owned);
        own.unsettled.push(Handed { message: number, ack, transaction: None });
        own.outstanding += 1;
        own.was_short |= own.outstanding >= own.credit;
        if own.unsettled.len() > own.credit {
            let text = format!("{} are unsettled, of {}: {frame}", own.unsettled.len(), own.credit);
            return Err(Violation::new(Law::Credit, text, [own.session]));
        }
        Ok(())
    }

    fn queue_message(&mut self, subscription: usize, number: usize, frame: &Frame) -> Check {
        let own = self.subscriptions[subscription].clone();
        let wrong = |law, text: &str, other: Option<usize>| {
            Violation::new(law, format!("{text}: {frame}"), std::iter::once(own.session).chain(other))
        };
        let count = redeliveries(frame, own.session)?;
        let hold = self.messages[number].hold;
        if self.is_late(subscription, number, count, frame.header("dead-letter-reason").is_some()) {
            // When all is quiet this subscription must have ended.
            self.suspects.push((subscription, number));
            return Ok(());
        }
        if self.sessions[own.session].is_over {
            // What was on its way to a connection that ended is anybody's, and may be somebody's by now.
            self.moved(number, frame, own.session)?;
            let message = &mut self.messages[number];
            if own.ack == Ack::Auto && count >= message.seen && !matches!(hold, Hold::Consumed(_)) {
                message.hold = Hold::Settled(subscription, Outcome::Consumed);
            }
            message.seen = message.seen.max(count + 1);
            return Ok(());
        }
        let by = hold.by();
        match (hold, by.map(|by| (by, self.subscriptions[by].session))) {
            (Hold::Consumed(_), Some((_, other))) => {
                return Err(wrong(Law::Duplicate, "it was consumed before", Some(other)));
            }
            (Hold::Held(_), Some((by, other))) if self.surely_holds(by) => {
                return Err(wrong(Law::TwoConsumers, "another consumer has it", Some(other)));
            }
            (Hold::Settled(_, Outcome::Consumed), Some((by, other))) if self.surely_holds(by) => {
                return Err(wrong(Law::Duplicate, "its consumer has acknowledged it", Some(other)));
            }
            (Hold::Held(_), Some((by, other))) if self.sessions[other].is_stalled => {
                self.suspects.push((by, number));
            }
            _ => {}
        }
        self.moved(number, frame, own.session)?;
        let now = self.now;
        let message = &mut self.messages[number];
        if count < message.seen {
            return Err(wrong(Law::Redelivery, &format!("handed out {} times before", message.seen), None));
        }
        if message.not_before.is_some_and(|earliest| now < earliest) {
            return Err(wrong(Law::Redelivery, "before its delay was over", None));
        }
        (message.seen, message.not_before) = (count + 1, None);
        message.hold = match own.ack {
            Ack::Auto => Hold::Settled(subscription, Outcome::Consumed),
            Ack::Client | Ack::Individual => Hold::Held(subscription),
        };
        if own.ack == Ack::Auto {
            // Q2: it is settled by having been written, unless the connection had ended by then.
            let effect = Effect::Settle(subscription, vec![number], Outcome::Consumed);
            match self.sessions[own.session].is_sound() {
                true => self.confirm(own.session, &effect)?,
                false => self.sessions[own.session].unconfirmed.push(effect),
            }
        }
        Ok(())
    }

    /// Whether a delivery was on its way before another one that has been seen already.
    fn is_late(&self, subscription: usize, number: usize, count: u32, is_letter: bool) -> bool {
        let message = &self.messages[number];
        let (by, session) = (message.hold.by(), &self.sessions[self.subscriptions[subscription].session]);
        let is_earlier = if is_letter == message.is_dead { count < message.seen } else { message.is_dead };
        is_earlier && by != Some(subscription) && (by.is_some() || session.was_stalled || session.is_over)
    }

    /// Sees to what becomes of a message that moved to the dead letters.
    fn moved(&mut self, number: usize, frame: &Frame, session: usize) -> Check {
        let wrong = |text: &str| Err(Violation::new(Law::Redelivery, format!("{text}: {frame}"), [session]));
        let most = self.setup.max_deliveries;
        let message = &mut self.messages[number];
        match frame.header("dead-letter-reason") {
            None if message.is_dead => return wrong("back from the dead letters"),
            None => {}
            Some(_) if message.is_dead => {}
            Some(reason) => {
                let is_due = match reason {
                    "discarded" => message.discarded,
                    "max-deliveries" => message.refusals >= most,
                    _ => false,
                };
                if !is_due || !is_queue(message.destination) {
                    return wrong("moved to the dead letters without a cause");
                }
                message.is_dead = true;
                (message.hold, message.seen, message.not_before) = (Hold::Free, 0, None);
            }
        }
        Ok(())
    }
}

/// How often a message was handed out before, as its headers say.
fn redeliveries(frame: &Frame, session: usize) -> Result<u32, Violation> {
    let wrong = |text: &str| Violation::new(Law::Redelivery, format!("{text}: {frame}"), [session]);
    let count = frame.header("redelivery-count").map_or(Some(0), |text| text.parse::<u32>().ok());
    let count = count.ok_or_else(|| wrong("no number"))?;
    if (frame.header("redelivered") == Some("true")) != (count > 0) {
        return Err(wrong("`redelivered` and its count do not go together"));
    }
    Ok(count)
}
