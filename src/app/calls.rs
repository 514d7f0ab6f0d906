//! What is under way for applications on one worker: one request of each session at a time, the others behind it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dispatch::{Callable, HandlerId};
use super::handler::WhenLate;
use super::request::{Attributes, Occasion, Request, SessionFacts};
use crate::destination::Destination;
use crate::hash::Keyed;
use crate::message::{Ask, Content, Refusal, SessionId, Ticket, Verdict};

/// Names a request on its worker, from when it is handed out until all that it made is routed. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

impl CallId {
    /// How many messages of one request can be told apart.
    pub const MAX_MESSAGES: usize = 1 << CallId::BITS;
    const BITS: u32 = 12;

    /// A number for one of the messages that a request makes, which no other message has.
    pub fn number_of(self, message: usize) -> u64 {
        self.0 << CallId::BITS | (message as u64 & (CallId::MAX_MESSAGES as u64 - 1))
    }

    /// The request that made the message of this number.
    pub fn of_number(number: u64) -> CallId {
        CallId(number >> CallId::BITS)
    }
}

/// A request for a handler that runs elsewhere.
#[derive(Debug)]
pub struct Job {
    /// What its answer will name.
    pub call: CallId,
    /// Who is to be called.
    pub handler: HandlerId,
    /// How long it may take. The worker does not wait longer; whoever runs the handler may drop it then.
    pub time_limit: Duration,
    /// What is asked.
    pub request: Request,
}

/// Something that a session wants of the application, or the application of it.
#[derive(Debug)]
pub enum Work {
    /// A SEND.
    Send {
        /// What it sent.
        content: Content,
        /// Answered when it is handled.
        ticket: Option<Ticket>,
    },
    /// A SUBSCRIBE that wants one answer.
    Ask(Box<Ask>),
    /// It began, ended, subscribed or unsubscribed: what the configuration wants done about it.
    Announce(Occasion, Destination),
    /// The same, for one handler.
    Tell(Occasion, Destination, Callable),
}

/// What a call is for.
#[derive(Debug)]
pub enum Purpose {
    /// To handle a SEND.
    Send(Option<Ticket>),
    /// To answer a SUBSCRIBE.
    Ask(Box<Ask>),
    /// To tell a handler something.
    Tell,
}

/// A request that somebody works on.
#[derive(Debug)]
pub struct Call {
    /// Whose.
    pub session: SessionId,
    /// What for.
    pub purpose: Purpose,
    /// Where it was sent.
    pub destination: Destination,
    /// What was promised, and what becomes of it after that.
    pub limit: (Duration, WhenLate),
    deadline: Instant,
}

/// Messages whose way through the broker is awaited.
#[derive(Debug)]
pub struct Routing {
    /// For whom.
    pub session: SessionId,
    /// What is answered then.
    pub ticket: Option<Ticket>,
    /// What is done about their verdicts.
    pub then: Then,
    left: usize,
    outcome: Verdict,
}

/// What is done when messages are routed.
#[derive(Debug)]
pub enum Then {
    /// They are what a handler of this destination sent: its session is told.
    Answer(Destination),
    /// They are what a handler sent that was told of something there: the log is told if they are refused.
    Log(Destination),
    /// It tells the session of a failure. If nobody was there to read it, this is the answer.
    Complain(Refusal),
    /// It is the rest of a transaction; these SENDs of it are for handlers.
    Handle(Vec<Content>),
}

/// What is kept for a connected session.
#[derive(Debug)]
pub struct Presence {
    /// Who it is.
    pub facts: Arc<SessionFacts>,
    /// What the application noted about it.
    pub attributes: Attributes,
    busy: bool,
    waiting: VecDeque<Work>,
    gone: bool,
    /// Transactions of it that may yet want something.
    commits: u32,
}

/// All that is under way.
#[derive(Debug, Default)]
pub struct Calls {
    sessions: HashMap<SessionId, Box<Presence>, Keyed>,
    running: HashMap<CallId, Call, Keyed>,
    deadlines: BTreeSet<(Instant, CallId)>,
    routing: HashMap<CallId, Routing, Keyed>,
    waiting: usize,
    last: u64,
}

impl Calls {
    /// A session began.
    pub fn open(&mut self, facts: SessionFacts) {
        let id = facts.id;
        let facts = Arc::new(facts);
        let presence = Presence {
            facts,
            attributes: Attributes::default(),
            busy: false,
            waiting: VecDeque::new(),
            gone: false,
            commits: 0,
        };
        self.sessions.insert(id, Box::new(presence));
    }

    /// Whether a session has begun and not ended.
    pub fn is_open(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|presence| !presence.gone)
    }

    /// A session ended. What it still wanted is done, and then it is forgotten.
    pub fn close(&mut self, session: SessionId) {
        if let Some(presence) = self.sessions.get_mut(&session) {
            presence.gone = true;
        }
    }

    /// What is kept for a session.
    pub fn presence(&mut self, session: SessionId) -> Option<&mut Presence> {
        self.sessions.get_mut(&session).map(|presence| &mut **presence)
    }

    /// How many requests there are, whatever has become of them so far.
    pub fn len(&self) -> usize {
        self.running.len() + self.routing.len() + self.waiting
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a request of the session would have to wait for another.
    pub fn is_busy(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|presence| presence.busy || !presence.waiting.is_empty())
    }

    /// How many requests of a session wait for their turn.
    pub fn waiting_of(&self, session: SessionId) -> usize {
        self.sessions.get(&session).map_or(0, |presence| presence.waiting.len())
    }

    /// Puts a request behind the others of its session.
    pub fn wait(&mut self, session: SessionId, work: Work) {
        if let Some(presence) = self.sessions.get_mut(&session) {
            presence.waiting.push_back(work);
            self.waiting += 1;
        }
    }

    /// The request whose turn it is: none while an earlier one is handled. A session that has ended and wants nothing any
    /// more is forgotten.
    pub fn next_of(&mut self, session: SessionId) -> Option<Work> {
        let presence = self.sessions.get_mut(&session).filter(|presence| !presence.busy)?;
        match presence.waiting.pop_front() {
            Some(work) => {
                self.waiting -= 1;
                Some(work)
            }
            None => {
                presence.waiting = VecDeque::new();
                if presence.gone && presence.commits == 0 {
                    self.sessions.remove(&session);
                }
                None
            }
        }
    }

    /// A number for a request.
    pub fn name(&mut self) -> CallId {
        self.last += 1;
        CallId(self.last)
    }

    /// Somebody works on this request from now on; its session's others wait.
    pub fn run(
        &mut self,
        now: Instant,
        call: CallId,
        session: SessionId,
        purpose: Purpose,
        destination: Destination,
        limit: (Duration, WhenLate),
    ) {
        let deadline = now + limit.0;
        if let Some(presence) = self.sessions.get_mut(&session) {
            presence.busy = true;
        }
        self.running.insert(call, Call { session, purpose, destination, limit, deadline });
        self.deadlines.insert((deadline, call));
    }

    /// Whether somebody works on it.
    pub fn is_running(&self, call: CallId) -> bool {
        self.running.contains_key(&call)
    }

    /// The work on a request is over, one way or the other.
    pub fn finish(&mut self, call: CallId) -> Option<Call> {
        let finished = self.running.remove(&call)?;
        self.deadlines.remove(&(finished.deadline, call));
        if let Some(presence) = self.sessions.get_mut(&finished.session) {
            presence.busy = false;
        }
        Some(finished)
    }

    /// A request whose time is over.
    pub fn due(&self, now: Instant) -> Option<CallId> {
        self.deadlines.first().filter(|(at, _)| *at <= now).map(|(_, call)| *call)
    }

    /// How long somebody may work on it.
    pub fn limit_of(&self, call: CallId) -> Option<Duration> {
        self.running.get(&call).map(|running| running.limit.0)
    }

    /// When the time of the next request is over.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// So many messages are on their way for a request.
    pub fn route(&mut self, call: CallId, session: SessionId, ticket: Option<Ticket>, then: Then, messages: usize) {
        if let (Then::Handle(_), Some(presence)) = (&then, self.sessions.get_mut(&session)) {
            presence.commits += 1;
        }
        self.routing.insert(call, Routing { session, ticket, then, left: messages, outcome: Ok(0) });
    }

    /// One of them is routed, or refused. Answers with all that is known once it was the last one.
    pub fn routed(&mut self, call: CallId, verdict: Verdict) -> Option<(Routing, Verdict)> {
        let routing = self.routing.get_mut(&call)?;
        routing.left = routing.left.saturating_sub(1);
        match (&mut routing.outcome, verdict) {
            (Ok(reached), Ok(more)) => *reached = reached.saturating_add(more),
            (outcome @ Ok(_), Err(refusal)) => *outcome = Err(refusal),
            (Err(_), _) => {}
        }
        if routing.left > 0 {
            return None;
        }
        let mut routing = self.routing.remove(&call)?;
        if let (Then::Handle(_), Some(presence)) = (&routing.then, self.sessions.get_mut(&routing.session)) {
            presence.commits = presence.commits.saturating_sub(1);
        }
        let outcome = std::mem::replace(&mut routing.outcome, Ok(0));
        Some((routing, outcome))
    }
}

impl Call {
    /// What is to be answered.
    pub fn ticket(&self) -> Option<Ticket> {
        match &self.purpose {
            Purpose::Send(ticket) => *ticket,
            Purpose::Ask(ask) => Some(ask.ticket),
            Purpose::Tell => None,
        }
    }

    /// Whether it tells a handler something that no client waits for.
    pub fn is_event(&self) -> bool {
        matches!(self.purpose, Purpose::Tell)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
