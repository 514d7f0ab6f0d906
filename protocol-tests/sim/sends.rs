//! What clients send, and what they ask of queues.

use std::time::Duration;

use crate::applications::ROUTES;
use crate::message::{self, Message, Moment, Wishes};
use crate::model::{Ack, Effect, Subscription};
use crate::policy::{GROUPS, QUEUES, TEMPORARY, is_queue, is_temporary};
use crate::setup::TOPICS;
use crate::users::STREAMS;
use crate::virtual_broker::START_EPOCH_MS;
use crate::wire::Frame;
use crate::world::World;

/// What is in a transaction stays small, so that all of it at once is no burden to those who get it.
const IN_TRANSACTION: (usize, usize) = (3, 200);

/// A longer delay than any queue has.
const TOO_LONG: Duration = Duration::from_secs(60);

impl World {
    /// Sends a message to somewhere, or to `to`.
    pub(crate) fn send(&mut self, session: usize, to: Option<&'static str>) {
        let (destination, owner) = self.receiver(to);
        let addressee = STREAMS.contains(&destination).then(|| self.addressee());
        let open: Vec<String> = self.model.sessions[session].transactions.keys().cloned().collect();
        let transaction = self.random.pick_any(&open).filter(|name| {
            self.model.sessions[session].transactions[name].sends.len() < IN_TRANSACTION.0 && self.random.percent(60)
        });
        let most = if transaction.is_some() { IN_TRANSACTION.1 } else { self.model.setup.max_body };
        let size = self.random.pick(&[0, 1, 17, 60, 200, 700, 1000, usize::MAX]).min(most);
        let is_plain = is_queue(destination) && !is_temporary(destination);
        let mut message = Message::new(session, destination, size);
        (message.owner, message.addressee) = (owner, addressee);
        message.excludes_self = !is_queue(destination) && self.random.percent(10);
        message.mandatory = !is_plain && self.random.percent(4);
        message.is_in_transaction = transaction.is_some();
        if is_queue(destination) && self.random.percent(45) {
            message.wishes = self.wishes(transaction.is_none());
        }
        if TOPICS.contains(&destination) && self.random.percent(60) {
            message.wishes.expires = self.wishes(false).expires;
        }
        message.via = if is_plain || TOPICS.contains(&destination) { self.route_to(destination) } else { None };
        message.wishes.persistent = !is_temporary(destination) && self.model.setup.has_disk && self.random.percent(45);
        message.brings = message.wishes.reply_to.and_then(|queue| self.bring(session, queue));
        self.send_message(message, transaction.as_deref());
    }

    /// Perhaps a route that leads there.
    fn route_to(&mut self, destination: &str) -> Option<&'static str> {
        let mut routes = ROUTES.iter().filter(|(_, to)| *to == destination);
        routes.next().map(|(from, _)| *from).filter(|_| self.random.percent(40))
    }

    /// Where a message goes: for a temporary queue, also whose.
    fn receiver(&mut self, to: Option<&'static str>) -> (&'static str, Option<usize>) {
        if let Some(to) = to {
            return (to, None);
        }
        let named = self.sessions(|own| own.name.is_some());
        if let Some(owner) = self.random.pick_any(&named).filter(|_| self.random.percent(8)) {
            return (self.random.pick(&TEMPORARY), Some(owner));
        }
        if self.random.percent(15) {
            return (self.random.pick(&STREAMS), None);
        }
        let is_for_topic = self.random.percent(40);
        (if is_for_topic { self.random.pick(&TOPICS) } else { self.some_queue() }, None)
    }

    /// A queue, and often the same one.
    pub(crate) fn some_queue(&mut self) -> &'static str {
        if self.random.percent(50) { self.model.setup.favourite } else { self.random.pick(&QUEUES) }
    }

    fn wishes(&mut self, may_ask: bool) -> Wishes {
        let mut moment = |share, choices: &[u64]| {
            let is_asked = self.random.percent(share);
            let span = Duration::from_millis(self.random.pick(choices));
            let is_absolute = self.random.percent(40);
            is_asked.then(|| if is_absolute { Moment::At(self.model.now + span) } else { Moment::After(span) })
        };
        let expires = moment(30, &[1, 200, 1000, 5000, 30_000]);
        let mut due = moment(25, &[1, 100, 1000, 2900]);
        if self.random.percent(2) {
            due = Some(Moment::After(TOO_LONG));
        }
        Wishes {
            expires,
            due,
            priority: self.random.percent(50).then(|| self.random.below(10) as u8),
            group: self.random.percent(35).then(|| self.random.pick(&GROUPS)),
            persistent: false,
            reply_to: (may_ask && self.random.percent(20)).then(|| self.random.pick(&TEMPORARY)),
        }
    }

    /// Who asks for an answer gets a subscription for it, if it has none.
    fn bring(&mut self, session: usize, queue: &'static str) -> Option<usize> {
        let is_there = |each: &Subscription| {
            each.session == session && each.destination == queue && !each.is_ending && !each.is_dead
        };
        if self.model.subscriptions.iter().any(is_there) {
            return None;
        }
        let credit = self.model.setup.credit(queue, None);
        self.model.subscribe(Subscription::new(session, queue, queue, Ack::Auto, credit));
        Some(self.model.subscriptions.len() - 1)
    }

    fn send_message(&mut self, message: Message, transaction: Option<&str>) {
        let session = message.origin;
        let (size, wishes) = (message.size, message.wishes);
        let full = self.model.written(&message).or_else(|| self.model.full_name(message.owner, message.destination));
        let is_own = message.owner == Some(session) && self.random.percent(60);
        let destination = full.filter(|_| !is_own).unwrap_or_else(|| message.destination.to_owned());
        let destination = message.via.map_or(destination, str::to_owned);
        let flags = [("exclude-self:true", message.excludes_self), ("mandatory:true", message.mandatory)];
        let number = self.model.send(message, transaction);
        let mut frame = Frame::new("SEND").with("destination", destination).with("n", number).with("from", session);
        frame = frame.with("note", message::note(number)).with("passcode", "secret");
        frame.body = message::body(number, size);
        let is_text = number % 2 == 1;
        if !is_text || self.random.percent(50) {
            frame = frame.with("content-length", size);
        }
        for (flag, _) in [("content-type:text/plain", is_text)].into_iter().chain(flags).filter(|(_, is_set)| *is_set) {
            let (name, value) = flag.split_once(':').unwrap_or_default();
            frame = frame.with(name, value);
        }
        frame = self.say(frame, &wishes);
        let mut effect = Effect::Send(number);
        if let Some(name) = transaction {
            frame = frame.with("transaction", name);
            effect = Effect::Nothing;
        }
        let with_receipt = self.random.percent(50);
        self.ask(session, frame, effect, with_receipt);
    }

    /// The headers that say what is wished.
    fn say(&mut self, mut frame: Frame, wishes: &Wishes) -> Frame {
        let epoch = |time: Duration| START_EPOCH_MS + time.as_millis() as u64;
        frame = match wishes.expires {
            Some(Moment::After(span)) => frame.with("expiration", span.as_millis()),
            Some(Moment::At(time)) => frame.with("expires", epoch(time)),
            None => frame,
        };
        let spelling = self.random.pick(&["delay", "AMQ_SCHEDULED_DELAY"]);
        frame = match wishes.due {
            Some(Moment::After(span)) => frame.with(spelling, span.as_millis()),
            Some(Moment::At(time)) => frame.with("deliver-at", epoch(time)),
            None => frame,
        };
        let spelling = self.random.pick(&["group", "JMSXGroupID"]);
        frame = wishes.priority.map_or(frame.clone(), |priority| frame.with("priority", priority));
        if wishes.persistent {
            frame = frame.with("persistent", "true");
        }
        frame = wishes.group.map_or(frame.clone(), |group| frame.with(spelling, group));
        wishes.reply_to.map_or(frame.clone(), |queue| frame.with("reply-to", queue))
    }
}
