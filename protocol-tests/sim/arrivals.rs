//! What the model says to each MESSAGE that a client receives.

use std::time::Duration;

use crate::laws::{Check, Law, Violation};
use crate::message::{Fate, Hold, Outcome, body, note};
use crate::model::{Ack, Effect, Handed, Model, Subscription, takes};
use crate::policy::{DEAD_LETTERS, GRAVE, is_temporary, letters_of};
use crate::virtual_broker::START_EPOCH_MS;
use crate::wire::Frame;

/// Headers that no receiver may see.
const PRIVATE: [&str; 3] = ["receipt", "transaction", "passcode"];

impl Model {
    pub(crate) fn message(&mut self, session: usize, frame: &Frame) -> Check {
        if let Some(check) = self.heard(session, frame) {
            return check;
        }
        let wrong = |law, text: &str| Violation::new(law, format!("{text}: {frame}"), [session]);
        let destination = frame.header("destination").unwrap_or_default();
        let id = frame.header("subscription").unwrap_or_default();
        let fits = |own: &&Subscription| {
            own.session == session && own.id == id && !own.is_dead && takes(own.destination, destination)
        };
        let subscription = self.subscriptions.iter().position(|own| fits(&own));
        let subscription = subscription.ok_or_else(|| wrong(Law::Stray, "for no subscription that there is"))?;
        if self.subscriptions[subscription].look.is_some() || frame.header("browser").is_some() {
            return self.browsed(subscription, frame);
        }
        let number = self.identify(session, frame)?;
        let (own, message) = (&self.subscriptions[subscription], &self.messages[number]);
        self.check_addressed(own, message, frame)?;
        if is_temporary(destination) && message.owner != Some(session) {
            return Err(wrong(Law::Temporary, "from somebody else's temporary queue"));
        }
        if frame.header("ack").is_some() != (own.ack != Ack::Auto) {
            return Err(wrong(Law::Stray, "the header `ack` does not go with the subscription's mode"));
        }
        // Who did not have a durable subscription then may have what it kept.
        let was_there = own.lasting.is_none() || own.granted_at.is_some_and(|granted| granted < message.sent_event);
        if message.origin == session && (own.no_local || message.excludes_self && was_there) {
            return Err(wrong(Law::Stray, "its sender's own"));
        }
        let is_fresh = frame.header("redelivered").is_none();
        // Groups wait for their consumers while others pass.
        let rank = self.policy_at(message.destination).rank(message.wishes.priority);
        let key =
            (session, id.to_owned(), message.origin, message.destination, (rank, message.wishes.group, message.lane()));
        if let Some(lasting) = own.lasting {
            self.copy_came(subscription, lasting, number, frame)?;
        } else if own.is_queue() {
            self.queue_message(subscription, number, frame)?;
        } else if !self.got.insert((session, id.to_owned(), number)) {
            return Err(wrong(Law::Duplicate, "the same again"));
        }
        let (order, is_delayed) = (self.messages[number].order, self.messages[number].wishes.due.is_some());
        let is_read = !self.messages[number].was_unreadable;
        let counts = is_fresh && is_read && frame.header("original-destination").is_none() && !is_delayed;
        let last = counts.then(|| self.last.insert(key, order)).flatten();
        if let Some(last) = last.filter(|last| *last >= order) {
            return Err(wrong(Law::Order, &format!("number {order} came after number {last}")));
        }
        self.accept(number);
        self.messages[number].is_sure = true;
        self.hand(subscription, number, frame)
    }

    /// Which message it is, after all that must be the same for everybody.
    pub(crate) fn identify(&mut self, session: usize, frame: &Frame) -> Result<usize, Violation> {
        let wrong = |law, text: &str| Violation::new(law, format!("{text}: {frame}"), [session]);
        let number: Option<usize> = frame.header("n").and_then(|text| text.parse().ok());
        let number = number.filter(|number| *number < self.messages.len());
        let number = number.ok_or_else(|| wrong(Law::Stray, "nobody sent this"))?;
        let message = &self.messages[number];
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
        self.check_names(session, number, frame)?;
        let id = frame.header("message-id").unwrap_or_default().to_owned();
        let message = &mut self.messages[number];
        if *self.ids.entry(id.clone()).or_insert(number) != number || message.id.get_or_insert(id.clone()) != &id {
            return Err(wrong(Law::Stray, "message-ids are mixed up"));
        }
        let is_letter = [DEAD_LETTERS, GRAVE].map(Some).contains(&frame.header("destination"));
        if is_letter && !self.messages[number].is_for_queue() {
            return self.letter_of(session, number, frame);
        }
        Ok(number)
    }

    /// Where it was sent to, where it was before, and where its answer is to go.
    fn check_names(&self, session: usize, number: usize, frame: &Frame) -> Check {
        let wrong = |law, text: &str| Err(Violation::new(law, format!("{text}: {frame}"), [session]));
        let message = &self.messages[number];
        let destination = frame.header("destination").unwrap_or_default();
        let own = self.full_name(message.owner, message.destination);
        match frame.header("original-destination") {
            None if destination != message.destination => return wrong(Law::Stray, "another destination"),
            None => {}
            Some(before) => {
                let expected = match destination {
                    GRAVE if message.destination != DEAD_LETTERS => Some(DEAD_LETTERS.to_owned()),
                    DEAD_LETTERS | GRAVE => own,
                    _ => return wrong(Law::Stray, "no dead letters come here"),
                };
                if expected.is_some_and(|expected| expected != before) {
                    return wrong(Law::Stray, "another original destination");
                }
            }
        }
        let reply_to = frame.header("reply-to");
        match message.wishes.reply_to {
            None if reply_to.is_some() => wrong(Law::Temporary, "nobody asked for an answer"),
            None => Ok(()),
            Some(short) => {
                let expected = self.full_name(Some(message.origin), short);
                let is_it = expected.is_none_or(|expected| reply_to == Some(&*expected));
                if is_it { Ok(()) } else { wrong(Law::Temporary, "the answer would go elsewhere") }
            }
        }
    }

    /// What everybody else calls a queue; none if nobody knows.
    pub(crate) fn full_name(&self, owner: Option<usize>, short: &str) -> Option<String> {
        let Some(owner) = owner else { return Some(short.to_owned()) };
        let rest = short.strip_prefix("/temp-queue")?;
        Some(format!("/temp-queue/@{}{rest}", self.sessions[owner].name.as_ref()?))
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
        self.touched.insert(own.destination);
        // It may have been on its way there meanwhile.
        let places = self.places(&self.messages[number]);
        self.touched.extend(places);
        if self.messages[number].is_twofold {
            self.messages[number].was_found = true;
            return Ok(());
        }
        let is_consumed = matches!(hold, Hold::Settled(_, Outcome::Consumed));
        self.messages[number].has_reappeared |=
            is_consumed && self.subscriptions[subscription].asked_at > self.crashed_at;
        if self.is_late(subscription, number, count, frame) {
            // When all is quiet this subscription must have ended.
            self.suspects.push((subscription, number));
            return Ok(());
        }
        if self.sessions[own.session].is_over {
            return self.underway(subscription, number, count, frame);
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
        let message = &self.messages[number];
        if count < message.seen {
            return Err(wrong(Law::Redelivery, &format!("handed out {} times before", message.seen), None));
        }
        if message.not_before.is_some_and(|earliest| self.now < earliest) {
            return Err(wrong(Law::Redelivery, "before its delay was over", None));
        }
        self.check_terms(subscription, number, frame)?;
        self.check_turn(subscription, number, count, frame)?;
        let message = &mut self.messages[number];
        (message.seen, message.not_before) = (count + 1, None);
        (message.waits_since, message.held_since) = (None, None);
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

    /// What was on its way to a connection that ended is anybody's, and may be somebody's by now.
    fn underway(&mut self, subscription: usize, number: usize, count: u32, frame: &Frame) -> Check {
        let own = &self.subscriptions[subscription];
        let (session, is_auto) = (own.session, own.ack == Ack::Auto);
        self.moved(number, frame, session)?;
        let message = &mut self.messages[number];
        if is_auto && count >= message.seen && !matches!(message.hold, Hold::Consumed(_)) {
            message.hold = Hold::Settled(subscription, Outcome::Consumed);
        }
        (message.seen, message.underway_at) = (message.seen.max(count + 1), Some(self.quiets));
        message.waits_since = None;
        Ok(())
    }

    /// Whether a message may come to a consumer now, as it and its queue's policy say.
    fn check_terms(&mut self, subscription: usize, number: usize, frame: &Frame) -> Check {
        let session = self.subscriptions[subscription].session;
        let wrong = |law, text: &str| Err(Violation::new(law, format!("{text}: {frame}"), [session]));
        let message = &self.messages[number];
        let policy = self.policy_at(message.place);
        // What is read from a slow disk comes when it is read.
        let is_slow = self.setup.has_disk && !self.setup.is_quick;
        let is_prompt = !self.sessions[session].was_stalled && !is_slow;
        if is_prompt && message.is_expired(policy, self.now) {
            return wrong(Law::Expiry, "after its time was over");
        }
        if message.is_early(self.now) {
            return wrong(Law::Delay, "before its delay was over");
        }
        if message.is_temporary() && message.is_gone {
            return wrong(Law::Temporary, "from an earlier life of this queue");
        }
        if message.is_forgotten {
            return wrong(Law::Stray, "nobody had stored it when the process ended");
        }
        let next = letters_of(message.place).filter(|next| !self.full.contains(next) && !self.has_failed_disk);
        let is_done = message.refused >= policy.max_deliveries || message.is_doomed;
        let is_done = is_done && !message.was_unreadable;
        if next.is_some() && is_done {
            return wrong(Law::DeadLetter, "it should be a dead letter");
        }
        if let Some(remains) = self.remains.as_mut().filter(|_| !self.messages[number].is_letter()) {
            remains.entry(self.messages[number].place).or_default().insert(number);
        }
        Ok(())
    }

    /// How far on its way to the last dead letters a message is.
    fn stage(&self, number: usize, place: &str) -> usize {
        let mut at = Some(self.messages[number].destination);
        std::iter::from_fn(|| {
            let place = at?;
            at = letters_of(place);
            Some(place)
        })
        .position(|each| each == place)
        .unwrap_or_default()
    }

    /// Whether a delivery was on its way before another one that has been seen already.
    fn is_late(&self, subscription: usize, number: usize, count: u32, frame: &Frame) -> bool {
        let message = &self.messages[number];
        let (by, session) = (message.hold.by(), &self.sessions[self.subscriptions[subscription].session]);
        let here = self.stage(number, frame.header("destination").unwrap_or_default());
        let there = self.stage(number, message.place);
        let is_earlier = if here == there { count < message.seen } else { here < there };
        is_earlier
            && by != Some(subscription)
            && (by.is_some()
                || message.underway_at == Some(self.quiets)
                || session.was_stalled
                || session.is_over
                || self.setup.is_lazy)
    }

    /// Sees to what becomes of a message that moved to the dead letters.
    fn moved(&mut self, number: usize, frame: &Frame, session: usize) -> Check {
        let wrong = |law, text: &str| Err(Violation::new(law, format!("{text}: {frame}"), [session]));
        let destination = frame.header("destination").unwrap_or_default();
        let message = &self.messages[number];
        if destination == message.place {
            return Ok(());
        }
        if self.stage(number, destination) <= self.stage(number, message.place) {
            return wrong(Law::DeadLetter, "back from the dead letters");
        }
        if !self.places(message).contains(&destination) {
            let is_expired = frame.header("dead-letter-reason") == Some("expired");
            let law = if is_expired { Law::Expiry } else { Law::DeadLetter };
            return wrong(law, "moved to the dead letters without a cause");
        }
        if letters_of(message.place) == Some(destination) {
            self.check_reason(number, frame, session)?;
        }
        let time = frame.header("dead-letter-time").and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
        let time = Duration::from_millis(time.saturating_sub(START_EPOCH_MS));
        if time > self.now || time < message.entered {
            return wrong(Law::DeadLetter, "moved at a wrong time");
        }
        // It may have been in the dead letters between, unseen.
        let between = letters_of(message.place).filter(|between| *between != destination);
        let was_stored = between.is_some_and(|between| self.policy_at(between).is_durable);
        let (now, is_stored) = (self.now, self.is_stored(message) || was_stored);
        self.given_up.extend([(number, message.place)].into_iter().chain(between.map(|between| (number, between))));
        let message = &mut self.messages[number];
        message.wishes.persistent |= is_stored;
        message.has_moved = true;
        message.kept_refused = 0;
        message.place = if destination == GRAVE { GRAVE } else { DEAD_LETTERS };
        (message.hold, message.seen, message.not_before) = (Hold::Free, 0, None);
        (message.refusals, message.refused) = (0, 0);
        (message.discarded, message.is_doomed) = (false, false);
        (message.entered, message.arrived) = (time, Some(now));
        (message.placed_at, message.waits_since, message.held_since) = (None, None, None);
        Ok(())
    }

    /// Whether a message moved for the reason that it says.
    fn check_reason(&self, number: usize, frame: &Frame, session: usize) -> Check {
        let wrong = |text: &str| Err(Violation::new(Law::DeadLetter, format!("{text}: {frame}"), [session]));
        let message = &self.messages[number];
        let policy = self.policy_at(message.place);
        let is_due = match frame.header("dead-letter-reason") {
            Some("discarded") => message.discarded,
            Some("max-deliveries") => message.refusals >= policy.max_deliveries,
            Some("expired") => message.may_be_expired(policy, self.now) && !policy.drops_expired,
            Some("queue-full") => self.may_overflow(message),
            _ => false,
        };
        if !is_due {
            return wrong("moved to the dead letters for another reason");
        }
        let count = frame.header("delivery-count").and_then(|text| text.parse::<u32>().ok());
        if count.is_none_or(|count| count < message.seen) {
            return wrong(&format!("it was delivered {} times", message.seen));
        }
        Ok(())
    }
}

/// How often a message was handed out before, as its headers say.
pub(crate) fn redeliveries(frame: &Frame, session: usize) -> Result<u32, Violation> {
    let wrong = |text: &str| Violation::new(Law::Redelivery, format!("{text}: {frame}"), [session]);
    let count = frame.header("redelivery-count").map_or(Some(0), |text| text.parse::<u32>().ok());
    let count = count.ok_or_else(|| wrong("no number"))?;
    if (frame.header("redelivered") == Some("true")) != (count > 0) {
        return Err(wrong("`redelivered` and its count do not go together"));
    }
    Ok(count)
}
