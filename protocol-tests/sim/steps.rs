//! What clients do, one random step at a time.

use std::time::Duration;

use crate::browse::Look;
use crate::lasting::LASTING;
use crate::laws::Check;
use crate::message::Outcome;
use crate::model::{self, Ack, Effect, Subscription, takes};
use crate::policy::{QUEUES, TEMPORARY, is_temporary};
use crate::setup::{PATTERNS, TOPICS};
use crate::users::{OWN_PATTERNS, STREAMS};
use crate::wire::{Frame, Version};
use crate::world::World;

/// The most clients that are connected at a time.
const MOST_CLIENTS: usize = 8;

const VERSIONS: [Version; 4] = [Version::V1_0, Version::V1_1, Version::V1_2, Version::V1_2];

/// A kind of step.
#[derive(Clone, Copy, Debug)]
enum Step {
    Connect,
    Send,
    Burst,
    Subscribe,
    Unsubscribe,
    Attach,
    Forget,
    Call,
    Handle,
    Settle,
    Begin,
    Finish,
    Leave,
    BreakOff,
    HalfClose,
    Stall,
    Resume,
    Deliver,
    Flush,
    Advance,
    Rest,
    Ping,
    Hush,
    Transgress,
    Sync,
    FillDisk,
    FailDisk,
    FailReader,
    Crash,
    Restart,
}

/// How often each happens, in proportion.
const STEPS: [(Step, usize); 30] = [
    (Step::Connect, 60),
    (Step::Send, 300),
    (Step::Burst, 12),
    (Step::Subscribe, 140),
    (Step::Unsubscribe, 25),
    (Step::Attach, 60),
    (Step::Forget, 10),
    (Step::Call, 16),
    (Step::Handle, 16),
    (Step::Settle, 260),
    (Step::Begin, 45),
    (Step::Finish, 35),
    (Step::Leave, 12),
    (Step::BreakOff, 12),
    (Step::HalfClose, 6),
    (Step::Stall, 25),
    (Step::Resume, 40),
    (Step::Deliver, 150),
    (Step::Flush, 60),
    (Step::Advance, 80),
    (Step::Rest, 30),
    (Step::Ping, 5),
    (Step::Hush, 3),
    (Step::Transgress, 14),
    (Step::Sync, 80),
    (Step::FillDisk, 8),
    (Step::FailDisk, 6),
    (Step::FailReader, 12),
    (Step::Crash, 8),
    (Step::Restart, 2),
];

impl World {
    /// Does one random thing.
    pub(crate) fn step(&mut self) -> Check {
        let all: usize = STEPS.iter().map(|(_, share)| share).sum();
        let mut place = self.random.below(all);
        let step = STEPS.iter().find(|(_, share)| match place.checked_sub(*share) {
            Some(rest) => {
                place = rest;
                false
            }
            None => true,
        });
        let Some((step, _)) = step else { return Ok(()) };
        match step {
            Step::Connect => return self.newcomer(),
            Step::Deliver => return self.deliver(),
            Step::Handle => {
                let most = self.random.between(1, 3);
                self.handle(most);
                self.end_turns();
                return self.pump();
            }
            Step::Advance => {
                let time = self.random.pick(&[1, 10, 50, 200, 1000, 4000]);
                return self.advance(Duration::from_millis(time));
            }
            Step::Rest => return self.settle(),
            Step::Sync | Step::FillDisk | Step::FailDisk | Step::FailReader | Step::Crash | Step::Restart => {
                return self.disturb(*step);
            }
            Step::Resume => {
                let stalled = self.sessions(|own| own.is_stalled && !own.is_over);
                return self.random.pick_any(&stalled).map_or(Ok(()), |session| self.stall(session, None));
            }
            _ => {}
        }
        let Some(session) = self.actor() else { return self.newcomer() };
        self.act(*step, session)
    }

    /// Does something to the disk, or to the process.
    fn disturb(&mut self, step: Step) -> Check {
        if !self.model.setup.has_disk {
            return Ok(());
        }
        match step {
            Step::FillDisk => self.fill_disk(),
            Step::FailDisk => self.fail_disk(),
            Step::FailReader => self.fail_reader(),
            Step::Crash => return self.crash(),
            Step::Restart => {
                self.shut_down()?;
                return self.crash();
            }
            _ => {
                let most = self.random.between(1, 6);
                return self.sync(most);
            }
        }
        Ok(())
    }

    fn act(&mut self, step: Step, session: usize) -> Check {
        match step {
            Step::Send => self.send(session, None),
            Step::Burst => {
                let to = self.random.pick(&TOPICS);
                for _ in 0..self.random.between(5, 40) {
                    self.send(session, Some(to));
                }
            }
            Step::Subscribe => self.subscribe(session),
            Step::Unsubscribe => self.unsubscribe(session),
            Step::Attach => self.attach(session),
            Step::Forget => self.forget(session),
            Step::Call => self.call(session),
            Step::Settle => self.settle_one(session),
            Step::Begin => self.begin(session),
            Step::Finish => self.finish_transaction(session),
            Step::Leave => {
                self.model.leave(session);
                let with_receipt = self.random.percent(70);
                self.ask(session, Frame::new("DISCONNECT"), Effect::Disconnect, with_receipt);
            }
            Step::BreakOff => return self.break_off(session),
            Step::HalfClose => return self.half_close(session),
            Step::Stall => {
                let room = self.random.pick(&[0, 0, 1, 50, 500, 5000]);
                return self.stall(session, Some(room));
            }
            Step::Ping => self.ping(session),
            Step::Hush => {
                self.note(session, "falls silent");
                let own = &mut self.model.sessions[session];
                (own.is_silent, own.may_vanish) = (true, true);
                return Ok(());
            }
            Step::Transgress => self.transgress(session),
            _ => {}
        }
        let most = if self.random.percent(80) { usize::MAX } else { self.random.below(200) };
        self.flush(session, most)
    }

    /// A session that can still ask for something.
    fn actor(&mut self) -> Option<usize> {
        let actors =
            self.sessions(|own| !own.is_over && !own.is_leaving && !own.is_doomed && !own.has_failed && !own.is_silent);
        self.random.pick_any(&actors)
    }

    pub(crate) fn sessions(&self, is_it: impl Fn(&model::Session) -> bool) -> Vec<usize> {
        let all = self.model.sessions.iter().enumerate();
        all.filter(|(_, own)| is_it(own)).map(|(session, _)| session).collect()
    }

    fn newcomer(&mut self) -> Check {
        if self.sessions(|own| !own.is_over).len() >= MOST_CLIENTS {
            return Ok(());
        }
        let version = self.random.pick(&VERSIONS);
        let wants_beats = self.random.percent(40);
        let session = self.connect(version, wants_beats);
        self.flush(session, usize::MAX)
    }

    fn subscribe(&mut self, session: usize) {
        let id = format!("s{}", self.random.below(self.model.setup.max_subscriptions));
        let destination = match self.random.below(14) {
            0..=2 => self.random.pick(&TOPICS),
            3..=5 => self.random.pick(&PATTERNS),
            6 => self.random.pick(&TEMPORARY),
            7 => self.random.pick(&STREAMS),
            8 => self.random.pick(&OWN_PATTERNS),
            _ => self.some_queue(),
        };
        if !self.may_subscribe(session, &id, destination) {
            return;
        }
        let (mode, ack) = self.random.pick(&[
            (None, Ack::Auto),
            (Some("auto"), Ack::Auto),
            (Some("client"), Ack::Client),
            (Some("client-individual"), Ack::Individual),
        ]);
        let wish = self.random.pick(&[None, None, Some(0), Some(1), Some(2), Some(50)]);
        let mut frame = Frame::new("SUBSCRIBE").with("destination", destination).with("id", &id);
        frame = mode.map_or(frame.clone(), |mode| frame.with("ack", mode));
        frame = wish.map_or(frame.clone(), |wish| frame.with("prefetch-count", wish));
        let credit = self.model.setup.credit(destination, wish);
        let mut subscription = Subscription::new(session, &id, destination, ack, credit);
        if QUEUES.contains(&destination) && self.random.percent(14) {
            frame = frame.with("browser", "true");
            subscription.look = Some(Look::new(self.model.quiets));
            subscription.ack = Ack::Auto;
        } else if self.random.percent(15) {
            frame = frame.with("no-local", "true");
            subscription.no_local = true;
        }
        let effect = self.model.subscribe(subscription);
        // Who may be refused wants to hear which it was.
        let with_receipt = self.model.policy_at(destination).is_exclusive || self.random.percent(85);
        self.ask(session, frame, effect, with_receipt);
    }

    /// With the same id, only the destination tells for which of two a message is that came while one replaced the other.
    fn may_subscribe(&self, session: usize, id: &str, destination: &'static str) -> bool {
        let all = || TOPICS.iter().chain(&QUEUES).chain(&TEMPORARY).chain(&STREAMS);
        let overlaps = |other: &str| all().any(|each| takes(destination, each) && takes(other, each));
        let mut others = self.model.subscriptions.iter().filter(|each| each.session == session && each.id == id);
        let is_in_use = is_temporary(destination) && self.model.live_subscription(session, id).is_some();
        !is_in_use && !others.any(|each| !each.is_dead && overlaps(each.destination))
    }

    fn unsubscribe(&mut self, session: usize) {
        let mut id = format!("s{}", self.random.below(self.model.setup.max_subscriptions));
        if self.random.percent(10) {
            id = self.random.pick(&TEMPORARY).to_owned();
        } else if self.random.percent(20) {
            id = self.random.pick(&LASTING).id.to_owned();
        }
        let effect = match self.model.live_subscription(session, &id) {
            Some(subscription) => {
                self.model.end_subscription(subscription);
                Effect::Unsubscribe(subscription)
            }
            // U7: that is fine.
            None => Effect::Nothing,
        };
        let with_receipt = self.random.percent(80);
        self.ask(session, Frame::new("UNSUBSCRIBE").with("id", id), effect, with_receipt);
    }

    fn settle_one(&mut self, session: usize) {
        let own = self.model.subscriptions.iter().enumerate().filter(|(_, each)| each.session == session);
        let places = own.flat_map(|(subscription, each)| {
            let open = each.unsettled.iter().enumerate().filter(|(_, handed)| handed.transaction.is_none());
            open.map(move |(place, _)| (subscription, place))
        });
        let places: Vec<(usize, usize)> = places.collect();
        let is_kept = |(of, _): &(usize, usize)| self.model.subscriptions[*of].lasting.is_some();
        let kept: Vec<(usize, usize)> = places.iter().copied().filter(is_kept).collect();
        let some = if kept.is_empty() || self.random.percent(50) { places } else { kept };
        let Some((subscription, place)) = self.random.pick_any(&some) else { return };
        let version = self.model.sessions[session].version;
        let is_kept = self.model.subscriptions[subscription].lasting.is_some() && version != Version::V1_0;
        let outcome = match self.random.below(100) {
            _ if is_kept && self.random.percent(30) => Outcome::Discarded,
            0..=22 if version != Version::V1_0 => Outcome::Rejected,
            23..=30 if version != Version::V1_0 => {
                Outcome::Deferred(Duration::from_millis(self.random.pick(&[100, 1000, 60_000])))
            }
            31..=36 if version != Version::V1_0 => Outcome::Discarded,
            _ => Outcome::Consumed,
        };
        let outcome = self.bearable(subscription, place, outcome);
        let open: Vec<String> = self.model.sessions[session].transactions.keys().cloned().collect();
        let transaction = self.random.pick_any(&open).filter(|_| self.random.percent(40));
        let with_receipt = self.random.percent(60);
        self.settle_delivery(subscription, place, outcome, transaction.as_deref(), with_receipt);
    }

    /// Sends the ACK or NACK of one delivery.
    pub(crate) fn settle_delivery(
        &mut self,
        subscription: usize,
        place: usize,
        outcome: Outcome,
        transaction: Option<&str>,
        with_receipt: bool,
    ) {
        let own = &self.model.subscriptions[subscription];
        let (session, handed) = (own.session, own.unsettled[place].clone());
        let mut frame = Frame::new(if outcome == Outcome::Consumed { "ACK" } else { "NACK" });
        frame = match (self.model.sessions[session].version, handed.ack) {
            (Version::V1_2, Some(ack)) => frame.with("id", ack),
            _ => {
                let message = self.model.messages[handed.message].id.clone().unwrap_or_default();
                frame.with("subscription", &own.id).with("message-id", message)
            }
        };
        frame = match outcome {
            Outcome::Discarded => frame.with("requeue", "false"),
            Outcome::Deferred(delay) => frame.with("delay", delay.as_millis()),
            _ => frame,
        };
        frame = transaction.map_or(frame.clone(), |name| frame.with("transaction", name));
        let effect = self.model.settle(subscription, place, outcome, transaction);
        self.ask(session, frame, effect, with_receipt);
    }

    fn begin(&mut self, session: usize) {
        let name = self.random.pick(&["t1", "t2"]);
        let open = &mut self.model.sessions[session].transactions;
        if !open.contains_key(name) {
            open.insert(name.to_owned(), model::Transaction::default());
            let with_receipt = self.random.percent(50);
            self.ask(session, Frame::new("BEGIN").with("transaction", name), Effect::Nothing, with_receipt);
        }
    }

    fn finish_transaction(&mut self, session: usize) {
        let open: Vec<String> = self.model.sessions[session].transactions.keys().cloned().collect();
        let Some(name) = self.random.pick_any(&open) else { return };
        let with_receipt = self.random.percent(70);
        let is_broken = self.model.sessions[session].transactions[&name].is_broken;
        let commits = self.random.percent(75);
        if commits && is_broken {
            // Nothing of it may be done.
            self.model.abort(session, &name);
            let own = &mut self.model.sessions[session];
            own.earned.insert("transaction-broken");
            own.is_doomed = true;
            self.push(session, &Frame::new("COMMIT").with("transaction", name));
        } else if commits {
            let effect = self.model.commit(session, &name);
            self.ask(session, Frame::new("COMMIT").with("transaction", name), effect, with_receipt);
        } else {
            self.model.abort(session, &name);
            self.ask(session, Frame::new("ABORT").with("transaction", name), Effect::Nothing, with_receipt);
        }
    }

    /// Breaks a rule.
    fn transgress(&mut self, session: usize) {
        let too_long = self.model.setup.max_body + 1;
        let mut large = Frame::new("SEND").with("destination", "/topic/a").with("content-length", too_long);
        large.body = vec![b'x'; too_long];
        let wrongs = [
            (
                Frame::new("ACK").with("id", "0-9999").with("message-id", "none").with("subscription", "s0"),
                "unknown-ack",
            ),
            (Frame::new("COMMIT").with("transaction", "none"), "unknown-transaction"),
            (Frame::new("CONNECT").with("host", "x"), "already-connected"),
            (Frame::new("SEND").with("n", "none"), "missing-header"),
            (Frame::new("SUBSCRIBE").with("id", "x").with("destination", "/topic/a").with("ack", "?"), "bad-header"),
            (Frame::new("GREET"), "unknown-command"),
            (Frame::new("MESSAGE"), "server-command"),
            (Frame::new("SEND").with("destination", "/nowhere/a"), "unknown-destination"),
            (Frame::new("SUBSCRIBE").with("id", "x").with("destination", "/topicX"), "unknown-destination"),
            (Frame::new("SUBSCRIBE").with("id", "x").with("destination", "/temp-queue/@00000001-0-1/a"), "not-owner"),
            (Frame::new("SEND").with("destination", "/queue/one").with("delay", "soon"), "bad-header"),
            (Frame::new("SEND").with("destination", "/user/ann"), "bad-user-destination"),
            (large, "body-too-long"),
        ];
        let (frame, code) = self.random.pick(&wrongs);
        let own = &mut self.model.sessions[session];
        own.earned.insert(code);
        // X3: a wish concerns its own frame alone.
        let is_wish = own.continues && frame.header("delay").is_some();
        own.forgiven += usize::from(is_wish);
        let is_survivable = ["unknown-destination", "not-owner", "bad-user-destination"].contains(&code);
        own.is_doomed = !(is_wish || own.continues && is_survivable);
        self.push(session, &frame);
    }
}
