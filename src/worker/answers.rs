//! What the application's answers do: messages sent, subscriptions answered, failures told.

use slotmap::KeyData;

use super::applications::unhandled;
use super::hub::Hub;
use super::peers::{ConnectionKey, Phase};
use crate::app::{
    Answer, Attributes, Call, CallId, Change, Done, Failure, Purpose, RESERVED_HEADERS, Reply, Then, To, WhenLate,
    plain_content, terms_at,
};
use crate::broker::{Effects, Note};
use crate::destination::{Destination, Kind};
use crate::hash::seal;
use crate::headers::Headers;
use crate::message::{APP_DESTINATION, Ask, BadMillis, Content, Refusal, SessionId, Ticket, Verdict};
use crate::session::Outgoing;

/// Headers by which workers learn of a message what its frame does not say. What a client says in them is not passed on.
const APP_SESSION: &str = "app-session";
const APP_USER: &str = "app-user";
const REPLY_TO: &str = "reply-to";

/// The header by which a worker says that it cannot answer, and why.
const APP_ERROR: &str = "app-error";

/// Where a session hears of failures, below the prefix of user destinations.
const ERRORS: &str = "/queue/errors";

impl Hub {
    /// Does what an answer says.
    pub(super) fn carry_out(&mut self, call: CallId, finished: Call, answer: Answer) {
        let (session, ticket, destination) = (finished.session, finished.ticket(), finished.destination.clone());
        let done = match answer {
            Ok(done) => done,
            Err(Failure::Late(_)) if finished.limit.1 == WhenLate::Ignore => Done::default(),
            Err(failure) => {
                if let Failure::Late(limit) = failure {
                    tracing::warn!(%destination, ?limit, "the application did not answer in time");
                }
                let refusal = unhandled(failure.code(), &destination, failure.to_string());
                return self.fail(&finished, refusal);
            }
        };
        let Done { mut replies, changes } = done;
        let answered = match &finished.purpose {
            Purpose::Ask(_) => replies.iter().position(|reply| reply.to == To::Default).map(|at| replies.remove(at)),
            Purpose::Send(_) | Purpose::Tell => None,
        };
        let contents = self.contents(&finished, replies);
        // Attributes last: of an answer that cannot be carried out nothing takes effect.
        let contents = match contents.and_then(|contents| self.note_changes(session, &changes).map(|()| contents)) {
            Ok(contents) => contents,
            Err(refusal) => {
                if !matches!(refusal, Refusal::Limit { .. }) {
                    tracing::warn!(%destination, "the answer cannot be carried out: {}", detail_of(&refusal));
                }
                return self.fail(&finished, refusal);
            }
        };
        let direct = u32::from(answered.is_some());
        if let (Some(reply), Purpose::Ask(ask)) = (answered, &finished.purpose) {
            self.send_answer(session, ask, reply);
        }
        if contents.is_empty() {
            return self.tell(session, ticket, Ok(direct));
        }
        let then = if finished.is_event() { Then::Log(destination) } else { Then::Answer(destination) };
        self.applications.calls.route(call, session, ticket, then, contents.len());
        for (index, content) in contents.into_iter().enumerate() {
            let ticket = Some(Ticket::internal(call.number_of(index)));
            self.route(session, content, ticket);
        }
    }

    /// A request came to nothing. Of an event the session knows nothing, so only the log is told.
    pub(super) fn fail(&mut self, finished: &Call, refusal: Refusal) {
        self.peers.counters.call_failures.add(1);
        match finished.is_event() {
            true => {
                let (code, session) = (refusal.code(), finished.session.name(self.boot));
                tracing::warn!(code, %session, "the application did not handle an event: {}", detail_of(&refusal));
            }
            false => self.complain(finished.session, finished.ticket(), &finished.destination, refusal),
        }
    }

    /// A worker answers what a session on this or another worker of ours asked.
    pub(super) fn answer_by_worker(&mut self, session: SessionId, content: &Content, ticket: Option<Ticket>) {
        let destination = &content.destination;
        let asked = self.space_of(destination).and_then(|space| space.answered(destination.as_str()));
        let asked = asked.and_then(|(name, question)| Some((SessionId::parse_name(name)?, question.split_once('-')?)));
        let asked = asked.filter(|((boot, asking), _)| *boot == self.boot && self.peers.has_worker(asking.worker));
        let Some(((_, asking), (number, said))) = asked else {
            return self.refuse(session, ticket, Refusal::NoHandler(destination.text().clone()));
        };
        let call = number.parse().ok().map(CallId).filter(|call| said == seal_of(asking, *call));
        let Some(call) = call else {
            self.peers.counters.false_answers.add(1);
            let by = session.name(self.boot);
            tracing::warn!(session = %by, %destination, "ignored an answer to a question that was not given to who sent it");
            return self.tell(session, ticket, Ok(0));
        };
        let answer = match content.headers.find(APP_ERROR) {
            Some(text) => Err(Failure::Application(text.to_owned().into())),
            None => {
                let (headers, body) = (content.headers.clone(), content.body.clone());
                Ok(Done { replies: vec![Reply { to: To::Default, headers, body }], changes: Vec::new() })
            }
        };
        let here = asking.worker == self.peers.worker;
        let reached = u32::from(!here || self.applications.calls.is_running(call));
        if here {
            self.take_answer(call, answer);
        } else {
            self.peers.posts.push(asking.worker, super::post::Post::Answer(call, answer));
        }
        self.tell(session, ticket, Ok(reached));
    }

    /// A message as its workers get it. `call` is what its answer will name, if it asks for one.
    pub(super) fn for_workers(
        &mut self,
        session: SessionId,
        queue: Destination,
        content: Content,
        call: Option<CallId>,
    ) -> Content {
        let name = session.name(self.boot);
        let user = self.applications.calls.presence(session).and_then(|presence| presence.facts.user.clone());
        let said = content.headers.find(REPLY_TO);
        // The session's own temporary queue is as good an address. Any other would be answered in its name.
        let own = said.filter(|said| self.spaces().resolve(said).is_some_and(|it| it.kind == Kind::TemporaryQueue));
        let reply_to = match (call, own, self.space_of(&content.destination)) {
            (Some(call), _, Some(space)) => {
                space.answer_to(&name, &format!("{}-{}", call.0, seal_of(session, call))).to_string()
            }
            (_, Some(own), _) => own.to_owned(),
            _ => self.to_sender(&name, &content.destination),
        };
        let ours = [APP_DESTINATION, APP_SESSION, APP_USER, APP_ERROR, REPLY_TO];
        let kept = content.headers.iter().filter(|(header, _)| !ours.contains(header));
        let added = [
            (APP_DESTINATION, Some(content.destination.as_str())),
            (APP_SESSION, Some(&*name)),
            (APP_USER, user.as_deref()),
            (REPLY_TO, Some(&*reply_to)),
        ];
        let added = added.into_iter().filter_map(|(header, value)| Some((header, value?)));
        let headers: Headers = kept.chain(added).collect();
        Content { destination: queue, headers, ..content }
    }

    /// Tells a session that what it asked came to nothing: on its `/user/queue/errors` if it listens there, else by ERROR.
    pub(super) fn complain(
        &mut self,
        session: SessionId,
        ticket: Option<Ticket>,
        destination: &Destination,
        refusal: Refusal,
    ) {
        if let Refusal::Limit { .. } = refusal {
            self.peers.note(Note::LimitReached(refusal.clone()));
        }
        let Some(prefix) = self.user_prefix() else { return self.tell(session, ticket, Err(refusal)) };
        let detail = detail_of(&refusal);
        let headers = [
            ("code", refusal.code()),
            ("message", "the application did not handle it"),
            (APP_DESTINATION, destination.as_str()),
            ("content-type", "text/plain"),
        ];
        let to = Destination::new(format!("{prefix}/{}{ERRORS}", session.name(self.boot)));
        let content = plain_content(to, Headers::from_iter(headers), detail.into());
        let call = self.applications.calls.name();
        self.applications.calls.route(call, session, ticket, Then::Complain(refusal), 1);
        let ticket = Some(Ticket::internal(call.number_of(0)));
        self.route(session, content, ticket);
    }

    /// Refuses what nobody has tried to handle.
    pub(super) fn refuse(&mut self, session: SessionId, ticket: Option<Ticket>, refusal: Refusal) {
        if let Refusal::Limit { .. } = refusal {
            self.peers.note(Note::LimitReached(refusal.clone()));
        }
        self.tell(session, ticket, Err(refusal));
    }

    /// Tells a session what it has to know: an answer to every ticket, and refusals without one.
    pub(super) fn tell(&mut self, session: SessionId, ticket: Option<Ticket>, verdict: Verdict) {
        if ticket.is_some() || verdict.is_err() {
            self.peers.verdict(session, ticket, verdict);
        }
    }

    fn note_changes(&mut self, session: SessionId, changes: &[Change]) -> Result<(), Refusal> {
        let Some(presence) = self.applications.calls.presence(session).filter(|_| !changes.is_empty()) else {
            return Ok(());
        };
        let mut attributes: Attributes = presence.attributes.clone();
        for Change { name, value } in changes {
            attributes.set(name, value.as_deref());
        }
        self.options.app.check_attributes(&attributes)?;
        presence.attributes = attributes;
        Ok(())
    }

    /// The messages that a handler wants sent.
    fn contents(&self, call: &Call, replies: Vec<Reply>) -> Result<Vec<Content>, Refusal> {
        let limit = self.options.app.max_replies.min(CallId::MAX_MESSAGES);
        if replies.len() > limit {
            let (code, what) = ("too-many-replies", "the messages of one answer of the application");
            return Err(Refusal::Limit { code, what, limit: limit as u64, key: "app.max_replies" });
        }
        let content = |Reply { to, headers, body }| {
            let destination = self.destination_of(call, to)?;
            let headers = without_reserved(&headers);
            let broken = |error: BadMillis| unhandled(Failure::Broken.code(), &call.destination, error.to_string());
            let terms = terms_at(&destination, &headers, self.spaces()).map_err(broken)?;
            Ok(Content { terms, ..plain_content(destination, headers, body) })
        };
        replies.into_iter().map(content).collect()
    }

    fn destination_of(&self, call: &Call, to: To) -> Result<Destination, Refusal> {
        let asked = &call.destination;
        match to {
            To::Default if call.is_event() => {
                let detail = "an event has no default destination".to_owned();
                Err(unhandled(Failure::Broken.code(), asked, detail))
            }
            To::Default => {
                let prefix = &self.options.app.reply_prefix;
                Ok(Destination::new(format!("{prefix}{}", self.rest_of(asked))))
            }
            To::Sender => Ok(Destination::new(self.to_sender(&call.session.name(self.boot), asked))),
            To::User(user) => {
                let user = user.replace('/', "%2F");
                Ok(Destination::new(self.to_sender(&user, asked)))
            }
            To::Destination(destination) => {
                let is_fit = self.kind_of(&destination).is_some_and(|kind| kind != Kind::Application);
                match is_fit && self.is_open(&destination) {
                    true => Ok(destination),
                    false => {
                        let detail = format!("the answer is for {destination}, where none can go");
                        Err(unhandled(Failure::Broken.code(), asked, detail))
                    }
                }
            }
        }
    }

    /// A1: `/user/{name}/queue/x` for what answers `/app/x`.
    fn to_sender(&self, name: &str, asked: &Destination) -> String {
        format!("{}/{name}/queue{}", self.user_prefix().unwrap_or("/user"), self.rest_of(asked))
    }

    /// What follows the prefix of an application destination.
    fn rest_of<'d>(&self, asked: &'d Destination) -> &'d str {
        let prefix = self.space_of(asked).map_or("", |space| space.prefix.trim_end_matches('/'));
        asked.as_str().get(prefix.len()..).unwrap_or_default()
    }

    /// The prefix of user destinations, where there are any.
    fn user_prefix(&self) -> Option<&str> {
        let mut users = self.spaces().iter().filter(|space| space.kind == Kind::User);
        users.next().map(|space| &*space.prefix)
    }

    /// The one MESSAGE that a subscription to an application destination gets (A2).
    fn send_answer(&mut self, session: SessionId, ask: &Ask, reply: Reply) {
        let key = ConnectionKey::from(KeyData::from_ffi(session.key));
        let Some(connection) = self.peers.connections.get(key) else { return };
        if connection.phase != Phase::Open || !connection.session.is_connected() {
            return;
        }
        let content = plain_content(ask.destination.clone(), without_reserved(&reply.headers), reply.body);
        let message = self.shard.message(self.peers.now, session, content);
        self.peers.send_answer(
            key,
            &Outgoing {
                subscription: ask.subscription,
                id: ask.id.clone(),
                message,
                ack: None,
                redeliveries: 0,
                settle_when_written: None,
            },
        );
    }
}

/// What shows that somebody was given a question, and does not only know that it is asked.
fn seal_of(session: SessionId, call: CallId) -> String {
    format!("{:016x}", seal((session, call)))
}

/// What is wrong, without the destination, which is told beside it.
fn detail_of(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Unhandled(unhandled) => unhandled.detail.to_string(),
        other => other.to_string(),
    }
}

fn without_reserved(headers: &Headers) -> Headers {
    let mut headers = headers.clone();
    headers.keep_first_of_each();
    headers.retain(|name, _| !RESERVED_HEADERS.contains(&name));
    headers
}
