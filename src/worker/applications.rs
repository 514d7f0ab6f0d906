//! Application destinations on a worker: who asks, who answers, and what becomes of the answer.
//!
//! Routes are taken at once, as if the client had sent to where they lead. A message for workers goes into their queue. A
//! handler is called elsewhere: what it is to be asked leaves as a [`Job`], and what it says comes back by
//! [`Hub::answer`]. Of each session one request is handled at a time.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use slotmap::KeyData;

use super::hub::Hub;
use super::options::Options;
use super::peers::ConnectionKey;
use crate::app::{
    Answer, CallId, Callable, Calls, Detour, Failure, Found, Job, Occasion, Purpose, Request, Route, Scene,
    SessionFacts, Table, Then, WhenLate, Work, event, plain_content,
};
use crate::broker::{Command, Effects, Note, TransactionId};
use crate::clock::Clock;
use crate::destination::{Destination, Kind, Spaces};
use crate::headers::Headers;
use crate::message::{Ask, Content, Moment, Operation, Refusal, SessionId, Terms, Ticket, Unhandled, Verdict};
use crate::session::{Opened, Target};

/// The applications' part of a hub.
#[derive(Debug)]
pub(super) struct Applications {
    pub(super) table: Arc<Table>,
    pub(super) calls: Calls,
    jobs: Vec<Job>,
    clock: Clock,
}

impl Applications {
    pub(super) fn new(clock: Clock, options: &Options) -> Applications {
        let table = Table::of_options(Arc::clone(&options.app));
        Applications { table: Arc::new(table), calls: Calls::default(), jobs: Vec::new(), clock }
    }

    /// Whether there are requests for handlers.
    pub(super) fn has_jobs(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// When the time of a request is over.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.calls.deadline()
    }
}

impl Hub {
    /// Says who handles application destinations, besides those that the options name. To be called before the first
    /// connection.
    pub fn set_table(&mut self, table: Arc<Table>) {
        self.applications.table = table;
    }

    /// Requests for handlers, to be called elsewhere. Each is answered by [`Hub::answer`], or is late.
    pub fn take_jobs(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.applications.jobs)
    }

    /// What came of a request. A late answer is nothing.
    pub fn answer(&mut self, now: Instant, call: CallId, answer: Answer) {
        self.peers.now = now;
        self.take_answer(call, answer);
        self.settle_sessions();
    }

    /// A session began.
    pub(super) fn open_to_application(&mut self, key: ConnectionKey, opened: Opened) {
        if !self.applications.table.is_used() {
            return;
        }
        let Some(connection) = self.peers.connections.get(key) else { return };
        // A copy of the headers, so that they do not hold the frame they came in.
        let keeps = self.applications.table.wants_connect_headers();
        let headers = if keeps { opened.headers.iter().collect() } else { Headers::default() };
        let id = self.peers.session_id(key);
        self.applications.calls.open(SessionFacts {
            id,
            name: opened.name,
            user: opened.user,
            transport: connection.peer.transport,
            peer: connection.peer.address.map(|address| address.to_string().into()),
            headers,
        });
        self.announce(id, Occasion::Connected, Destination::new(""));
    }

    /// A session ended, and all its subscriptions did.
    pub(super) fn depart(&mut self, key: ConnectionKey) {
        let Some(connection) = self.peers.connections.get(key) else { return };
        let reason = connection.why.unwrap_or("connection-lost");
        let session = self.peers.session_id(key);
        if self.applications.calls.is_open(session) {
            self.announce(session, Occasion::Disconnected { reason }, Destination::new(""));
            self.applications.calls.close(session);
            self.advance(session);
        }
    }

    /// A subscription ended.
    pub(super) fn announce_unsubscribed(&mut self, session: SessionId, target: &Target) {
        if self.applications.table.wants(Occasion::Unsubscribed) {
            self.announce(session, Occasion::Unsubscribed, target.in_words(&session.name(self.boot)));
        }
    }

    /// Tells those who want to know, each in the order of the session's other requests.
    pub(super) fn announce(&mut self, session: SessionId, occasion: Occasion, destination: Destination) {
        let table = Arc::clone(&self.applications.table);
        if !table.wants(occasion) {
            return;
        }
        self.submit(session, Work::Announce(occasion, destination.detached()));
        for callable in table.listeners(occasion) {
            if let Some(refusal) = self.no_room(1) {
                self.peers.note(Note::LimitReached(refusal));
                return;
            }
            self.submit(session, Work::Tell(occasion, destination.detached(), callable));
        }
    }

    /// A SEND to an application destination.
    pub(super) fn call(&mut self, session: SessionId, content: Content, ticket: Option<Ticket>) {
        if self.space_of(&content.destination).is_some_and(|space| space.is_answer(content.destination.as_str())) {
            return self.answer_by_worker(session, &content, ticket);
        }
        let unused = || Refusal::NoHandler(content.destination.text().clone());
        let refusal = if self.applications.table.is_used() { self.no_room(1) } else { Some(unused()) };
        match refusal {
            Some(refusal) => self.refuse(session, ticket, refusal),
            None => self.submit(session, Work::Send { content, ticket }),
        }
    }

    /// A SUBSCRIBE to an application destination.
    pub(super) fn ask(&mut self, session: SessionId, ask: Box<Ask>) {
        let unused = || Refusal::NoHandler(ask.destination.text().clone());
        let refusal = if self.applications.table.is_used() { self.no_room(1) } else { Some(unused()) };
        match refusal {
            Some(refusal) => self.refuse(session, Some(ask.ticket), refusal),
            None => self.submit(session, Work::Ask(ask)),
        }
    }

    /// A COMMIT. What routes and workers take of it is part of the transaction; handlers are called after it.
    pub(super) fn commit(&mut self, session: SessionId, operations: Vec<Operation>, ticket: Ticket) {
        let is_application = |operation: &Operation| matches!(operation, Operation::Send(content) if self.kind_of(&content.destination) == Some(Kind::Application));
        if !operations.iter().any(is_application) {
            let transaction = TransactionId { session, ticket };
            return self.apply(Command::Commit { transaction, operations });
        }
        match self.divide(session, operations) {
            Err(refusal) => self.refuse(session, Some(ticket), refusal),
            Ok((operations, calls)) if calls.is_empty() => {
                let transaction = TransactionId { session, ticket };
                self.apply(Command::Commit { transaction, operations });
            }
            Ok((operations, calls)) => {
                let call = self.applications.calls.name();
                self.applications.calls.route(call, session, Some(ticket), Then::Handle(calls), 1);
                let transaction = TransactionId { session, ticket: Ticket::internal(call.number_of(0)) };
                self.apply(Command::Commit { transaction, operations });
            }
        }
    }

    /// What came of a request: its session's next one may begin.
    pub(super) fn take_answer(&mut self, call: CallId, answer: Answer) {
        if let Some(finished) = self.applications.calls.finish(call) {
            let session = finished.session;
            self.carry_out(call, finished, answer);
            self.advance(session);
        }
    }

    /// A message that was sent for a request has reached so many, or was refused.
    pub(super) fn note_routed(&mut self, number: u64, verdict: Verdict) {
        let call = CallId::of_number(number);
        if self.applications.calls.is_running(call) {
            // A question is in the queue of its workers, or could not get there.
            if let Err(refusal) = verdict
                && let Some(finished) = self.applications.calls.finish(call)
            {
                self.fail(&finished, refusal);
                self.advance(finished.session);
            }
            return;
        }
        let Some((routing, outcome)) = self.applications.calls.routed(call, verdict) else { return };
        let (session, ticket) = (routing.session, routing.ticket);
        match (routing.then, outcome) {
            (Then::Log(_), Ok(_)) => {}
            (Then::Log(destination), Err(refusal)) => {
                tracing::warn!(code = refusal.code(), %destination, "a message of the application was refused: {refusal}");
            }
            (Then::Answer(_), Ok(reached)) => self.tell(session, ticket, Ok(reached)),
            (Then::Answer(destination), Err(refusal)) => self.complain(session, ticket, &destination, refusal),
            // It was read: the frame is dealt with.
            (Then::Complain(_), Ok(1..)) => self.tell(session, ticket, Ok(0)),
            (Then::Complain(refusal), _) => self.tell(session, ticket, Err(refusal)),
            (Then::Handle(_), Err(refusal)) => {
                self.tell(session, ticket, Err(refusal));
                self.advance(session);
            }
            (Then::Handle(contents), Ok(_)) => {
                let last = contents.len().saturating_sub(1);
                for (index, content) in contents.into_iter().enumerate() {
                    // One after the other: the last one's answer is that of all.
                    let ticket = ticket.filter(|_| index == last);
                    self.submit(session, Work::Send { content, ticket });
                }
            }
        }
    }

    /// Answers for those who did not within their time.
    pub(super) fn give_up_late_calls(&mut self) {
        while let Some(call) = self.applications.calls.due(self.peers.now) {
            let limit = self.applications.calls.limit_of(call).unwrap_or_default();
            self.take_answer(call, Err(Failure::Late(limit)));
            self.settle_sessions();
        }
    }

    /// Does it now, or when what the session asked before is done.
    fn submit(&mut self, session: SessionId, work: Work) {
        if self.applications.calls.is_busy(session) {
            self.applications.calls.wait(session, work);
            self.note_waiting(session);
        } else {
            self.start(session, work);
            self.advance(session);
        }
    }

    /// Does what may be done now of what the session waits for.
    fn advance(&mut self, session: SessionId) {
        while let Some(work) = self.applications.calls.next_of(session) {
            self.start(session, work);
        }
        self.note_waiting(session);
    }

    /// A session of which much waits is not read until that is done.
    fn note_waiting(&mut self, session: SessionId) {
        let waits = self.applications.calls.waiting_of(session) >= self.options.app.max_waiting;
        let key = ConnectionKey::from(KeyData::from_ffi(session.key));
        if let Some(connection) = self.peers.connections.get_mut(key)
            && connection.waits_for_application != waits
        {
            connection.waits_for_application = waits;
            self.peers.stirred.push(key);
        }
    }

    fn start(&mut self, session: SessionId, work: Work) {
        let table = Arc::clone(&self.applications.table);
        match work {
            Work::Send { content, ticket } => match table.for_send(&content.destination) {
                None => self.refuse(session, ticket, Refusal::NoHandler(content.destination.text().clone())),
                Some(Found::Route(route, captures)) => {
                    let destination = content.destination.clone();
                    match self.take_route(session, route, &captures, content) {
                        Ok(content) => self.route(session, content, ticket),
                        Err(refusal) => self.complain(session, ticket, &destination, refusal),
                    }
                }
                Some(Found::Handler(callable, captures)) => {
                    let Some(mut request) = self.request(session, Occasion::Send, content.destination) else { return };
                    (request.captures, request.headers, request.body) = (captures, content.headers, content.body);
                    self.hand_out(session, callable, Purpose::Send(ticket), request);
                }
                Some(Found::Worker(worker)) => {
                    let content = self.for_workers(session, worker.queue.clone(), content, None);
                    self.route(session, content, ticket);
                }
            },
            Work::Ask(ask) => self.start_ask(session, &table, ask),
            Work::Announce(occasion, destination) => self.start_announcement(session, &table, occasion, &destination),
            Work::Tell(occasion, destination, callable) => {
                if let Some(request) = self.request(session, occasion, destination) {
                    self.hand_out(session, callable, Purpose::Tell, request);
                }
            }
        }
    }

    fn start_ask(&mut self, session: SessionId, table: &Table, ask: Box<Ask>) {
        match table.for_ask(&ask.destination) {
            None | Some(Found::Route(..)) => {
                self.refuse(session, Some(ask.ticket), Refusal::NoHandler(ask.destination.text().clone()));
            }
            Some(Found::Handler(callable, captures)) => {
                let Some(mut request) = self.request(session, Occasion::Ask, ask.destination.clone()) else { return };
                (request.captures, request.headers) = (captures, ask.headers.clone());
                self.hand_out(session, callable, Purpose::Ask(ask), request);
            }
            Some(Found::Worker(worker)) => {
                let call = self.applications.calls.name();
                let content = plain_content(ask.destination.clone(), ask.headers.clone(), Bytes::new());
                let mut content = self.for_workers(session, worker.queue.clone(), content, Some(call));
                let limit = (self.options.app.ask_timeout, WhenLate::Refuse);
                // Nobody waits for the answer any longer than that.
                let expires = Some(Moment::After(limit.0));
                content.terms = Some(Box::new(Terms { expires, is_question: true, ..Terms::default() }));
                let destination = ask.destination.clone();
                self.applications.calls.run(self.peers.now, call, session, Purpose::Ask(ask), destination, limit);
                self.peers.counters.calls.add(1);
                let ticket = Some(Ticket::internal(call.number_of(0)));
                self.route(session, content, ticket);
            }
        }
    }

    /// What the configuration wants said when a session begins or ends, and what the topic of events is told.
    fn start_announcement(&mut self, session: SessionId, table: &Table, occasion: Occasion, destination: &Destination) {
        let epoch_ms = self.epoch_ms();
        let Some(presence) = self.applications.calls.presence(session) else { return };
        let (facts, attributes) = (Arc::clone(&presence.facts), presence.attributes.clone());
        let options = table.options();
        let (announcements, reason) = match occasion {
            Occasion::Connected => (&*options.on_connect, None),
            Occasion::Disconnected { reason } => (&*options.on_disconnect, Some(reason)),
            _ => (&[][..], None),
        };
        let scene = Scene {
            captures: &Default::default(),
            session: &facts,
            attributes: &attributes,
            headers: &facts.headers,
            body: &Bytes::new(),
            destination: "",
            reason,
            epoch_ms,
        };
        for announcement in announcements {
            if let Some(content) =
                announcement.content(&scene, self.spaces()).filter(|it| self.is_open(&it.destination))
            {
                self.route(session, content, None);
            }
        }
        if let Some(topic) = &options.events {
            let content = event(topic, occasion, destination, &facts, epoch_ms);
            self.route(session, content, None);
        }
    }

    /// The request for a handler, without what only a message has.
    fn request(&mut self, session: SessionId, occasion: Occasion, destination: Destination) -> Option<Request> {
        let presence = self.applications.calls.presence(session)?;
        Some(Request {
            occasion,
            destination,
            captures: Default::default(),
            headers: Headers::default(),
            body: Bytes::new(),
            session: Arc::clone(&presence.facts),
            attributes: presence.attributes.clone(),
        })
    }

    fn hand_out(&mut self, session: SessionId, callable: Callable, purpose: Purpose, request: Request) {
        let Callable { id, time_limit, when_late } = callable;
        let call = self.applications.calls.name();
        let destination = request.destination.clone();
        let limit = (time_limit, when_late);
        self.applications.calls.run(self.peers.now, call, session, purpose, destination, limit);
        self.peers.counters.calls.add(1);
        self.applications.jobs.push(Job { call, handler: id, time_limit, request });
    }

    /// The message as a route sends it on, with what that notes about the session.
    fn take_route(
        &mut self,
        session: SessionId,
        route: &Route,
        captures: &crate::app::Captures,
        content: Content,
    ) -> Result<Content, Refusal> {
        let epoch_ms = self.epoch_ms();
        let destination = content.destination.clone();
        let failed = |detour: &Detour| unhandled("app-refused", &destination, detour.to_string());
        let Some(presence) = self.applications.calls.presence(session) else {
            return Err(Refusal::NoHandler(destination.text().clone()));
        };
        let (facts, before) = (Arc::clone(&presence.facts), presence.attributes.clone());
        let (headers, body) = (content.headers.clone(), content.body.clone());
        let scene = Scene {
            captures,
            session: &facts,
            attributes: &before,
            headers: &headers,
            body: &body,
            destination: destination.as_str(),
            reason: None,
            epoch_ms,
        };
        let attributes = route.note(&scene);
        self.options.app.check_attributes(&attributes)?;
        let scene = Scene { attributes: &attributes, ..scene };
        let content = route.send_on(&scene, content, self.spaces()).map_err(|detour| failed(&detour))?;
        if !self.is_open(&content.destination) {
            return Err(Refusal::Protected(content.destination.text().clone()));
        }
        if let Some(presence) = self.applications.calls.presence(session) {
            presence.attributes = attributes;
        }
        self.peers.counters.routed.add(1);
        Ok(content)
    }

    /// Divides a transaction: what is done together, and what handlers are called for when that is done.
    fn divide(
        &mut self,
        session: SessionId,
        operations: Vec<Operation>,
    ) -> Result<(Vec<Operation>, Vec<Content>), Refusal> {
        let before = self.applications.calls.presence(session).map(|presence| presence.attributes.clone());
        let divided = self.divide_all(session, operations);
        if let (Err(_), Some(presence), Some(before)) = (&divided, self.applications.calls.presence(session), before) {
            // Nothing of a transaction that is refused takes effect.
            presence.attributes = before;
        }
        divided
    }

    fn divide_all(
        &mut self,
        session: SessionId,
        operations: Vec<Operation>,
    ) -> Result<(Vec<Operation>, Vec<Content>), Refusal> {
        let table = Arc::clone(&self.applications.table);
        let (mut together, mut calls) = (Vec::new(), Vec::new());
        for operation in operations {
            let content = match operation {
                Operation::Send(content) if self.kind_of(&content.destination) == Some(Kind::Application) => content,
                other => {
                    together.push(other);
                    continue;
                }
            };
            match table.for_send(&content.destination) {
                None => return Err(Refusal::NoHandler(content.destination.text().clone())),
                Some(Found::Handler(..)) => calls.push(content),
                Some(Found::Route(route, captures)) => {
                    together.push(Operation::Send(self.take_route(session, route, &captures, content)?));
                }
                Some(Found::Worker(worker)) => {
                    let content = self.for_workers(session, worker.queue.clone(), content, None);
                    together.push(Operation::Send(content));
                }
            }
        }
        match self.no_room(calls.len()) {
            Some(refusal) if !calls.is_empty() => Err(refusal),
            _ => Ok((together, calls)),
        }
    }

    fn no_room(&self, more: usize) -> Option<Refusal> {
        let limit = self.options.app.max_calls;
        (self.applications.calls.len() + more > limit).then_some(Refusal::Limit {
            code: "too-many-calls",
            what: "what the sessions of this worker ask of the application at a time",
            limit: limit as u64,
            key: "app.max_calls",
        })
    }

    /// Whether a message may be sent there by somebody who is not the broker itself.
    pub(super) fn is_open(&self, destination: &Destination) -> bool {
        self.options.app.events.as_ref() != Some(destination)
    }

    pub(super) fn spaces(&self) -> &Spaces {
        &self.options.broker.destinations
    }

    pub(super) fn space_of(&self, destination: &Destination) -> Option<&crate::destination::Space> {
        self.spaces().resolve(destination.as_str())
    }

    pub(super) fn kind_of(&self, destination: &Destination) -> Option<Kind> {
        self.space_of(destination).map(|space| space.kind)
    }

    fn epoch_ms(&self) -> u64 {
        self.applications.clock.epoch_ms(self.peers.now)
    }
}

/// What a session is told of a request that came to nothing.
pub(super) fn unhandled(code: &'static str, destination: &Destination, detail: String) -> Refusal {
    let destination = destination.text().clone();
    Refusal::Unhandled(Box::new(Unhandled { code, destination, detail: detail.into() }))
}
