//! What durable subscriptions keep: to each its own copy of a message, which is as that of a queue (U9, Q9).

use std::time::Duration;

use crate::arrivals::redeliveries;
use crate::lasting::{LASTING, Lasting};
use crate::laws::{Check, Law, Violation};
use crate::message::{Fate, Hold, Outcome};
use crate::model::{Ack, Effect, Model, Subscription};
use crate::wire::Frame;

/// A durable subscription's copy of a message.
#[derive(Clone, Debug)]
pub(crate) struct Copy {
    /// If the message is in the world, this is there for certain, or was.
    pub(crate) is_wanted: bool,
    /// Its sender is told that it was kept.
    pub(crate) is_counted: bool,
    pub(crate) hold: Hold,
    /// How often it was handed out at least; how often it was refused at most, and at least.
    pub(crate) seen: u32,
    pub(crate) refusals: u32,
    refused: u32,
    refused_at: Duration,
    /// No consumer gets it before that, and nothing keeps it from being handed out after the other.
    not_before: Option<Duration>,
    rests_until: Duration,
    /// That it is consumed is stored, and how often it was refused.
    pub(crate) is_settled: bool,
    kept_refused: u32,
    /// It is a dead letter, if the dead letters take it.
    pub(crate) is_dead: bool,
    /// Deliveries of it were read in another order than they were made.
    pub(crate) is_doubtful: bool,
}

impl Copy {
    /// One that is there for certain, once its message is.
    pub(crate) fn wanted() -> Copy {
        Copy { is_wanted: true, is_counted: true, ..Copy::possible() }
    }

    /// One that came for certain, and may have been dropped for others since.
    pub(crate) fn counted() -> Copy {
        Copy { is_counted: true, ..Copy::possible() }
    }

    fn possible() -> Copy {
        Copy {
            is_wanted: false,
            is_counted: false,
            hold: Hold::Free,
            seen: 0,
            refusals: 0,
            refused: 0,
            refused_at: Duration::ZERO,
            not_before: None,
            rests_until: Duration::ZERO,
            is_settled: false,
            kept_refused: 0,
            is_dead: false,
            is_doubtful: false,
        }
    }

    fn is_consumed(&self) -> bool {
        matches!(self.hold, Hold::Consumed(_) | Hold::Settled(_, Outcome::Consumed))
    }

    /// Whether it may be where it cannot be dropped for others, though nobody has it.
    pub(crate) fn may_rest(&self) -> bool {
        self.refusals > 0 || self.is_dead || matches!(self.hold, Hold::Settled(_, Outcome::Discarded))
    }

    fn note_stored(&mut self) {
        self.is_settled |= matches!(self.hold, Hold::Consumed(_));
        self.kept_refused = self.refused;
    }
}

impl Model {
    /// A copy has come to a session that has the durable subscription.
    pub(crate) fn copy_came(&mut self, subscription: usize, lasting: usize, number: usize, frame: &Frame) -> Check {
        let own = self.subscriptions[subscription].clone();
        let session = &self.sessions[own.session];
        let (is_over, was_stalled) = (session.is_over, session.was_stalled);
        let wrong = |law, text: &str| Err(Violation::new(law, format!("{text}: {frame}"), [own.session]));
        let count = redeliveries(frame, own.session)?;
        let message = &self.messages[number];
        let since = self.lasting[lasting].possible_since;
        let is_late = is_over || was_stalled || own.is_ending;
        if since.is_none_or(|since| own.asked_at < since) {
            // From an earlier life of it.
            return if is_late { Ok(()) } else { wrong(Law::Stray, "there is no such durable subscription any more") };
        }
        if !is_late && since.is_some_and(|since| message.is_known_before(since)) {
            return wrong(Law::Stray, "sent before this durable subscription was made");
        }
        if !is_over && !message.wishes.persistent && message.sent_event < self.crashed_at {
            return wrong(Law::Stray, "nobody had stored it when the process ended");
        }
        let copy = self.lasting[lasting].copies.entry(number).or_insert_with(Copy::possible).clone();
        let by = copy.hold.by();
        let is_late = by.is_some() || was_stalled || is_over || self.setup.is_lazy;
        if count < copy.seen && by != Some(subscription) && is_late {
            self.copy_of(lasting, number).is_doubtful = true;
            return Ok(());
        }
        let is_auto = own.ack == Ack::Auto;
        if is_over {
            let copy = self.copy_of(lasting, number);
            if is_auto && count >= copy.seen && !matches!(copy.hold, Hold::Consumed(_)) {
                copy.hold = Hold::Settled(subscription, Outcome::Consumed);
            }
            copy.seen = copy.seen.max(count + 1);
            return Ok(());
        }
        self.check_alive(lasting, number, frame)?;
        let copy = self.copy_of(lasting, number).clone();
        let by = copy.hold.by();
        self.check_copy_time(subscription, number, frame)?;
        match (copy.hold, by.filter(|_| !copy.is_doubtful)) {
            (Hold::Consumed(_), Some(_)) => return wrong(Law::Duplicate, "this copy was consumed before"),
            (Hold::Held(_), Some(by)) if self.surely_holds(by) => {
                return wrong(Law::TwoConsumers, "another session has this copy");
            }
            (Hold::Settled(_, Outcome::Consumed), Some(by)) if self.surely_holds(by) => {
                return wrong(Law::Duplicate, "this copy was acknowledged");
            }
            _ => {}
        }
        if count < copy.seen && !copy.is_doubtful {
            return wrong(Law::Redelivery, &format!("this copy was handed out {} times before", copy.seen));
        }
        if copy.not_before.is_some_and(|earliest| self.now < earliest) && !copy.is_doubtful {
            return wrong(Law::Redelivery, "this copy came before its delay was over");
        }
        self.check_copy_order(subscription, lasting, number, (count, frame))?;
        let copy = self.copy_of(lasting, number);
        (copy.seen, copy.not_before) = (count + 1, None);
        copy.hold = if is_auto { Hold::Settled(subscription, Outcome::Consumed) } else { Hold::Held(subscription) };
        if is_auto {
            let effect = Effect::Settle(subscription, vec![number], Outcome::Consumed);
            match self.sessions[own.session].is_sound() {
                true => self.confirm(own.session, &effect)?,
                false => self.sessions[own.session].unconfirmed.push(effect),
            }
        }
        Ok(())
    }

    /// What has expired does not come.
    fn check_copy_time(&self, subscription: usize, number: usize, frame: &Frame) -> Check {
        let session = self.subscriptions[subscription].session;
        // What is read from a slow disk comes when it is read.
        let is_slow = self.setup.has_disk && !self.setup.is_quick;
        let is_prompt = !self.sessions[session].was_stalled && !is_slow;
        if is_prompt && self.messages[number].is_expired(self.policy_at(""), self.now) {
            let text = format!("after its time was over: {frame}");
            return Err(Violation::new(Law::Expiry, text, [session]));
        }
        Ok(())
    }

    /// Of a durable subscription that one session at a time has, all that comes for the first time keeps its order, whoever has
    /// it; and what is left in the end is no more than it may keep, and the latest.
    fn check_copy_order(
        &mut self,
        subscription: usize,
        lasting: usize,
        number: usize,
        (count, frame): (u32, &Frame),
    ) -> Check {
        let (message, session) = (&self.messages[number], self.subscriptions[subscription].session);
        // Who could not be read was passed over by others.
        if count > 0 || message.was_unreadable {
            return Ok(());
        }
        let own = &mut self.lasting[lasting];
        if self.remains.is_some() {
            own.remains.insert(number);
            let most = self.setup.lasting.most(self.setup.has_disk);
            if own.remains.len() > most {
                let text = format!("{} has kept more than {most} messages: {frame}", LASTING[lasting].id);
                return Err(Violation::new(Law::Limit, text, [session]));
            }
        }
        if self.sessions[session].was_stalled {
            return Ok(());
        }
        let last = own.last.insert((message.origin, message.destination, message.lane()), message.order);
        match last.filter(|last| *last > message.order && LASTING[lasting].is_named) {
            Some(last) => {
                let text = format!("number {} came after number {last}: {frame}", message.order);
                Err(Violation::new(Law::Order, text, [session]))
            }
            None => Ok(()),
        }
    }

    fn copy_of(&mut self, lasting: usize, number: usize) -> &mut Copy {
        self.lasting[lasting].copies.entry(number).or_insert_with(Copy::possible)
    }

    /// A client settles copies.
    pub(crate) fn copies_settled(&mut self, subscription: usize, lasting: usize, settled: &[usize], outcome: Outcome) {
        if outcome != Outcome::Consumed {
            // What rests, or is on its way to the dead letters, cannot be dropped for others.
            self.lasting[lasting].copies.values_mut().for_each(|copy| copy.is_counted &= copy.is_wanted);
        }
        for number in settled {
            let now = self.now;
            let copy = self.copy_of(lasting, *number);
            if copy.hold == Hold::Held(subscription) {
                (copy.hold, copy.refused_at) = (Hold::Settled(subscription, outcome), now);
                copy.refusals += u32::from(matches!(outcome, Outcome::Rejected | Outcome::Deferred(_)));
                self.die(subscription, lasting, *number, outcome);
            }
        }
    }

    /// There is word that copies are settled.
    pub(crate) fn copies_confirmed(
        &mut self,
        subscription: usize,
        lasting: usize,
        settled: &[usize],
        outcome: Outcome,
    ) {
        let (now, policy) = (self.now, self.policy_at("").clone());
        for number in settled {
            let copy = self.copy_of(lasting, *number);
            if copy.hold != Hold::Settled(subscription, outcome) {
                continue;
            }
            copy.hold = Hold::Free;
            copy.refused += u32::from(matches!(outcome, Outcome::Rejected | Outcome::Deferred(_)));
            copy.is_dead = match outcome {
                Outcome::Consumed => false,
                Outcome::Discarded => true,
                Outcome::Rejected | Outcome::Deferred(_) => copy.refused >= policy.max_deliveries,
            };
            if copy.is_dead || outcome == Outcome::Consumed {
                copy.hold = Hold::Consumed(subscription);
                continue;
            }
            let wait = match outcome {
                Outcome::Consumed | Outcome::Discarded => continue,
                Outcome::Rejected => policy.wait(copy.refused),
                Outcome::Deferred(delay) => delay.min(policy.max_delay),
            };
            copy.not_before = Some(copy.refused_at + wait);
            if copy.refusals >= policy.max_deliveries {
                // If the dead letters cannot take it.
                copy.not_before = Some(copy.refused_at + wait.min(policy.redelivery_delay_max()));
            }
            copy.rests_until = now + wait.max(policy.redelivery_delay_max()) + Duration::from_millis(2);
        }
    }

    /// There is word that these settles are stored.
    pub(crate) fn copies_stored(&mut self, lasting: usize, settled: &[usize]) {
        for number in settled {
            self.copy_of(lasting, *number).note_stored();
        }
    }

    /// What a COMMIT was to settle is not.
    pub(crate) fn copies_refused(&mut self, subscription: usize, lasting: usize, settled: &[usize]) {
        let rests_until = self.now + self.setup.longest_wait();
        for number in settled {
            let copy = self.copy_of(lasting, *number);
            if matches!(copy.hold, Hold::Settled(by, _) if by == subscription) {
                (copy.hold, copy.rests_until) = (Hold::Free, rests_until);
                self.tear_letter(lasting, *number);
            }
        }
    }

    /// How often a copy was refused at most.
    pub(crate) fn refusals_of(&self, lasting: usize, number: usize) -> u32 {
        self.lasting[lasting].copies.get(&number).map_or(0, |copy| copy.refusals)
    }

    /// A consumer in mode `auto` has gone, and may have taken some with it unread.
    pub(crate) fn copies_at_risk(&mut self, subscription: usize) {
        let own = &self.subscriptions[subscription];
        let may_be_behind = self.sessions[own.session].was_stalled || self.setup.is_lazy;
        if let Some(lasting) = own.lasting.filter(|_| own.ack == Ack::Auto && may_be_behind) {
            self.lasting[lasting].copies.values_mut().for_each(|copy| copy.is_wanted = false);
        }
    }

    /// All is quiet: what waits is given to whoever may have it.
    pub(crate) fn check_copies(&mut self) -> Check {
        let soon = self.now + self.setup.longest_wait() + Duration::from_millis(2);
        for lasting in 0..LASTING.len() {
            let mut copies = std::mem::take(&mut self.lasting[lasting].copies);
            for copy in copies.values_mut() {
                if matches!(copy.hold, Hold::Held(by) if self.subscriptions[by].is_dead) {
                    (copy.hold, copy.rests_until) = (Hold::Free, soon);
                }
                copy.note_stored();
            }
            let stuck =
                copies.iter().find_map(|(number, copy)| Some((*number, self.idle_part(lasting, *number, copy)?)));
            self.lasting[lasting].copies = copies;
            if let Some((number, idle)) = stuck {
                let own = &self.subscriptions[idle];
                let text = format!("{} keeps message {number} from a session that has credit", own.id);
                return Err(Violation::new(Law::Stuck, text, [own.session, self.messages[number].origin]));
            }
        }
        Ok(())
    }

    /// A session that should have been given a copy.
    fn idle_part(&self, lasting: usize, number: usize, copy: &Copy) -> Option<usize> {
        let message = &self.messages[number];
        let is_ready = message.is_readable(self.now)
            && copy.hold == Hold::Free
            && (copy.seen == 0 && copy.refusals == 0 || self.now > copy.rests_until);
        if !is_ready || self.letter_from(lasting, number).is_some() || !self.is_copy_there(lasting, number, copy) {
            return None;
        }
        let is_doubtful = |(part, each): (usize, &Subscription)| {
            !each.is_buried && !each.is_dead && (!each.is_live || !self.surely_holds(part))
        };
        if self.parts_of(lasting).any(is_doubtful) {
            return None;
        }
        let message = &self.messages[number];
        let mut idle = self
            .parts_of(lasting)
            .filter(|(_, each)| !each.is_dead && each.unsettled.len() < each.credit && !each.shuns(message));
        idle.next().map(|(part, _)| part)
    }

    /// Whether a copy certainly was in its durable subscription, and that has not ended.
    fn is_copy_there(&self, lasting: usize, number: usize, copy: &Copy) -> bool {
        let message = &self.messages[number];
        copy.is_wanted
            && !copy.is_doubtful
            && self.lasting[lasting].sure_since.is_some()
            && message.fate == Fate::Accepted
            && message.certain_at.is_some()
            && !message.may_be_expired(self.policy_at(""), self.now)
    }

    /// There is word that a message is wherever it should be.
    pub(crate) fn ascertain(&mut self, number: usize) {
        self.events += 1;
        self.messages[number].certain_at.get_or_insert(self.events);
    }

    /// All is quiet: what is in the world is wherever it should be, unless the disk did not take it.
    pub(crate) fn ascertain_all(&mut self) {
        self.events += 1;
        for message in self.messages.iter_mut().filter(|message| message.fate == Fate::Accepted) {
            if !message.wishes.persistent || !self.has_failed_disk {
                message.certain_at.get_or_insert(self.events);
            }
        }
    }

    /// The disk has not taken some copy of a message.
    pub(crate) fn doubt_copies(&mut self, number: usize) {
        for own in &mut self.lasting {
            if let Some(copy) = own.copies.get_mut(&number) {
                (copy.is_wanted, copy.is_counted) = (false, false);
            }
        }
    }

    /// Whether durable subscriptions may have to store something of a transaction, each by itself.
    pub(crate) fn has_kept_topics(&self, commit: usize) -> bool {
        let mut sends = self.commits[commit].sends.iter().map(|send| &self.messages[*send]);
        sends.any(|message| message.wishes.persistent && !message.is_for_queue())
    }

    /// What must be stored is refused while the disk is full.
    pub(crate) fn check_full_disk(&self, number: usize, frame: &Frame) -> Check {
        let message = &self.messages[number];
        let was_full = message.found_full.is_some() && message.found_full == self.full_since;
        let is_sure =
            |own: &Lasting| own.sure_since.is_some() && own.copies.get(&number).is_some_and(|copy| copy.is_wanted);
        let may_be_over = message.may_be_expired(self.policy_at(""), self.now);
        if was_full && !may_be_over && message.wishes.persistent && self.lasting.iter().any(is_sure) {
            let text = format!("the disk was full all the time: {frame}");
            return Err(Violation::new(Law::Receipt, text, [message.origin]));
        }
        Ok(())
    }

    /// Everybody who had them is gone, and a last session has taken all.
    pub(crate) fn check_copies_end(&self) -> Check {
        for (lasting, own) in self.lasting.iter().enumerate() {
            let lost = own.copies.iter().find(|(number, copy)| {
                self.is_copy_there(lasting, **number, copy)
                    && !copy.is_consumed()
                    && !self.may_be_letter(lasting, **number)
            });
            if let Some((number, copy)) = lost {
                let text = format!("{} has not kept message {number}: {copy:?}", LASTING[lasting].id);
                return Err(Violation::new(Law::Lost, text, [self.messages[*number].origin]));
            }
        }
        Ok(())
    }

    /// What the end of the process leaves of a durable subscription's messages.
    pub(crate) fn survive_copies(&mut self, lasting: usize) {
        let (now, longest, has_failed) = (self.now, self.setup.longest_wait(), self.has_failed_disk);
        let mut copies = std::mem::take(&mut self.lasting[lasting].copies);
        copies.retain(|number, copy| {
            let message = &self.messages[*number];
            copy.is_wanted &= message.certain_at.is_some();
            copy.hold = match copy.hold {
                Hold::Consumed(by) if copy.is_settled => Hold::Consumed(by),
                Hold::Consumed(by) | Hold::Settled(by, Outcome::Consumed) => Hold::Settled(by, Outcome::Consumed),
                _ => Hold::Free,
            };
            (copy.not_before, copy.is_dead) = (None, copy.is_dead && copy.is_settled);
            copy.refused = copy.kept_refused;
            copy.seen = copy.refused.max(if has_failed { 0 } else { copy.seen.min(1) });
            if matches!(copy.hold, Hold::Consumed(_)) {
                copy.seen = 0;
            }
            copy.rests_until = now + longest + Duration::from_millis(2);
            message.wishes.persistent
        });
        self.lasting[lasting].copies = copies;
    }
}
