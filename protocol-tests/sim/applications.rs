//! Application destinations (A1 to A3): routes, handlers that answer late, not at all or when their session is gone, and
//! questions, each of which is answered once and to nobody else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gumboot::app::{
    self, Accepts, Done, Entry, Failure, Function, Job, Kind, Occasion, Reply, Route, Table, To, WhenLate, parse_to,
    read_address,
};
use gumboot::destination::{Destination, Spaces};

use crate::laws::{Check, Law, Violation};
use crate::message::{Message, body, note};
use crate::model::{Effect, Model};
use crate::taps::Answering;
use crate::users::{Addressee, USERS};
use crate::wire::Frame;
use crate::world::World;

/// What routes take, and where that goes.
pub(crate) const ROUTES: [(&str, &str); 3] =
    [("/app/to-topic", "/topic/bb"), ("/app/to-topic", "/topic/bb"), ("/app/to-queue", "/queue/two")];

/// What a handler takes: its answers go to the topic and to the stream of this name.
const HANDLED: &str = "/app/n";
/// What a handler is asked.
const ASKED: &str = "/app/what";
/// Where sessions hear of failures, if they have subscribed to that.
const ERRORS: &str = "/user/queue/errors";
/// A question, which has at most one answer.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    session: usize,
    id: String,
    answer: Option<usize>,
    is_answered: bool,
}

/// How long handlers may take.
const LIMIT: Duration = Duration::from_millis(500);

/// The routes and the limits.
pub(crate) fn options() -> app::Options {
    let spaces = Spaces::default();
    let route = |(from, to): &(&str, &str)| {
        let from = read_address(from, &spaces).ok()?;
        let to = parse_to(to, from.names(), &spaces).ok()?;
        Some(Route { from, to, headers: Vec::new(), set: Vec::new() })
    };
    app::Options {
        routes: ROUTES.iter().filter_map(route).collect(),
        ask_timeout: LIMIT,
        send_timeout: LIMIT,
        ..app::Options::default()
    }
}

/// Who handles what; the handlers themselves are the run's.
pub(crate) fn table(options: Arc<app::Options>) -> Table {
    let entry = |pattern: &str, accepts| {
        let handler = Arc::new(Function::new(|_, _| async { Ok::<(), Failure>(()) }));
        let (time_limit, when_late) = (None, WhenLate::Refuse);
        Entry { kind: Kind::Rust, pattern: pattern.to_owned(), accepts, time_limit, when_late, handler }
    };
    let sends = Accepts { sends: true, ..Accepts::default() };
    let asks = Accepts { asks: true, ..Accepts::default() };
    Table::new(options, &[entry(HANDLED, sends), entry(ASKED, asks)], &Spaces::default()).unwrap_or_default()
}

impl World {
    /// A session wants something of a handler.
    pub(crate) fn call(&mut self, session: usize) {
        // Most of those whose end a failure would be leave it alone.
        if !self.model.sessions[session].continues && self.random.percent(70) {
            return;
        }
        let with_receipt = self.random.percent(70);
        self.model.sessions[session].calls += 1;
        if self.random.percent(50) {
            let frame = Frame::new("SEND").with("destination", HANDLED).with("from", session);
            return self.ask(session, frame, Effect::Call, with_receipt);
        }
        let question = self.model.questions.len();
        let id = format!("q{question}");
        self.model.questions.push(Question { session, id: id.clone(), answer: None, is_answered: false });
        let frame = Frame::new("SUBSCRIBE").with("destination", ASKED).with("id", &id).with("question", question);
        self.ask(session, frame, Effect::Call, with_receipt);
    }

    /// Handlers answer some of what they were asked. Answers whether there was anything.
    pub(crate) fn handle(&mut self, most: usize) -> bool {
        self.jobs.extend(self.broker.take_jobs());
        // Who has not read its CONNECTED is nobody yet.
        let is_known = |(_, job, _): &(usize, Job, Instant)| {
            let name = &*job.request.session.name;
            self.model.sessions.iter().position(|own| own.name.as_deref() == Some(name))
        };
        let mut known: Vec<(usize, usize)> =
            self.jobs.iter().enumerate().filter_map(|(at, job)| Some((at, is_known(job)?))).collect();
        known.truncate(most);
        // The last one first, so that the places of the others stay.
        for (at, session) in known.iter().rev() {
            let (hub, job, asked_at) = self.jobs.remove(*at);
            self.answer_job(hub, &job, *session, asked_at);
        }
        !known.is_empty()
    }

    fn answer_job(&mut self, hub: usize, job: &Job, session: usize, asked_at: Instant) {
        let is_late = self.broker.now() >= asked_at + LIMIT;
        if self.random.percent(8) {
            self.model.sessions[session].failures += 1;
            return self.broker.answer_job(hub, job.call, Err(Failure::Application("no".into())));
        }
        let mut replies = Vec::new();
        if job.request.occasion == Occasion::Ask {
            let question = job.request.headers.find("question").and_then(|text| text.parse::<usize>().ok());
            let Some(question) = question else { return };
            let number = self.reply_message(session, (ASKED, None), is_late);
            self.model.questions[question].answer = Some(number).filter(|_| !is_late);
            replies.push(self.reply(number, To::Default));
        }
        for _ in 0..self.random.between(usize::from(replies.is_empty()), 2) {
            let user = self.random.pick(&USERS);
            let (to, place) = self.random.pick(&[
                (To::Sender, ("/user/queue/n", Some(Addressee::Session(session)))),
                (To::User(user.into()), ("/user/queue/n", Some(Addressee::User(user)))),
                (To::Destination(Destination::new("/topic/c/d")), ("/topic/c/d", None)),
            ]);
            let is_sender = matches!(to, To::Sender | To::User(_));
            let place =
                if is_sender && job.request.occasion == Occasion::Ask { ("/user/queue/what", place.1) } else { place };
            let number = self.reply_message(session, place, is_late);
            replies.push(self.reply(number, to));
        }
        let mut done = Done { replies, ..Done::default() };
        self.tap.answer(&mut done);
        self.broker.answer_job(hub, job.call, Ok(done));
    }

    /// A message that a handler sends for a session; one that is too late never was.
    fn reply_message(
        &mut self,
        session: usize,
        (destination, addressee): (&'static str, Option<Addressee>),
        is_late: bool,
    ) -> usize {
        let size = self.random.pick(&[0, 5, 60, 200]);
        let mut message = Message::new(session, destination, size);
        (message.addressee, message.is_reply) = (addressee, true);
        if is_late { self.model.hold_back(message) } else { self.model.send(message, None) }
    }

    fn reply(&self, number: usize, to: To) -> Reply {
        let message = &self.model.messages[number];
        let headers = [("n", number.to_string()), ("from", message.origin.to_string()), ("note", note(number))];
        let headers = headers.iter().map(|(name, value)| (*name, &**value)).collect();
        Reply { to, headers, body: body(number, message.size).into() }
    }
}

impl Model {
    /// Whether something may have come to nothing that a session asked for.
    pub(crate) fn has_failed(&self, session: usize, code: &str) -> bool {
        let own = &self.sessions[session];
        match code {
            "app-refused" => own.failures > 0,
            "app-timeout" => own.calls > 0,
            _ => false,
        }
    }

    /// A message that is never sent.
    fn hold_back(&mut self, message: Message) -> usize {
        self.messages.push(message);
        self.messages.len() - 1
    }

    /// A session hears what came of a request, where that has no receipt; none: this is no such message.
    pub(crate) fn heard(&mut self, session: usize, frame: &Frame) -> Option<Check> {
        let wrong = |text: &str| Some(Err(Violation::new(Law::Application, format!("{text}: {frame}"), [session])));
        match frame.header("destination") {
            Some(ERRORS) => match self.has_failed(session, frame.header("code").unwrap_or_default()) {
                true => {
                    let id = frame.header("subscription").filter(|_| frame.header("ack").is_some());
                    let paced = id.and_then(|id| self.live_subscription(session, id));
                    if let Some(own) = paced.map(|paced| &mut self.subscriptions[paced]) {
                        (own.unsettling, own.was_short) = (own.unsettling + 1, true);
                    }
                    Some(Ok(()))
                }
                false => wrong("nothing of what it asked for has failed"),
            },
            Some(ASKED) => {
                let number = match self.identify(session, frame) {
                    Ok(number) => number,
                    Err(violation) => return Some(Err(violation)),
                };
                let id = frame.header("subscription");
                let is_it = |own: &&mut Question| {
                    own.session == session && Some(&*own.id) == id && own.answer == Some(number) && !own.is_answered
                };
                match self.questions.iter_mut().find(is_it) {
                    Some(own) => own.is_answered = true,
                    None => return wrong("no answer to what it asked, or not the first"),
                }
                self.accept(number);
                Some(Ok(()))
            }
            _ => None,
        }
    }

    /// All is quiet: who asked and is there has its answer; and what handlers have sent in time is sent.
    pub(crate) fn check_answers(&mut self) -> Check {
        for number in 0..self.messages.len() {
            if self.messages[number].is_reply && self.messages[number].order > 0 {
                self.accept(number);
            }
        }
        let is_unheard =
            |own: &&Question| own.answer.is_some() && !own.is_answered && self.sessions[own.session].is_sound();
        match self.questions.iter().find(is_unheard) {
            Some(own) => {
                let text = format!("the answer to {} has not come", own.id);
                Err(Violation::new(Law::Application, text, [own.session]))
            }
            None => Ok(()),
        }
    }
}

impl Answering {
    /// Does it to what a handler has done.
    pub(crate) fn apply(self, done: &mut Done) -> bool {
        let own = done.replies.iter_mut().find(|reply| matches!(reply.to, To::Sender));
        match (self, own) {
            (Answering::Nobody, _) => !std::mem::take(&mut done.replies).is_empty(),
            (Answering::Twice, _) => {
                let first = done.replies.first().cloned();
                done.replies.extend(first.clone());
                first.is_some()
            }
            (Answering::Everybody, Some(own)) => {
                own.to = To::Destination(Destination::new("/topic/bb"));
                true
            }
            (Answering::Everybody, None) => false,
        }
    }
}
