//! What all handlers that are called have in common: Rust handlers and HTTP hooks.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::answer::Answer;
use super::request::Request;

/// The answer to come. It is polled on the runtime of the applications' thread, never on a worker, where it may use
/// timers and sockets; and it is dropped when its time is over.
pub type Reaction = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Somebody who answers requests.
///
/// Requests of one session come one at a time, in order; those of several sessions at the same time. A panic is a failure
/// of that one request.
pub trait Handler: Send + Sync + 'static {
    /// Begins to answer.
    fn call(&self, request: Request) -> Reaction;
}

/// Which kind of handler it is: it decides who comes first where several take a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A handler of the program that has the broker inside.
    Rust,
    /// An HTTP endpoint.
    Hook,
}

/// What a handler is called for. All `false` is of no use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepts {
    /// SENDs to the destinations of its pattern.
    pub sends: bool,
    /// SUBSCRIBEs to them.
    pub asks: bool,
    /// The beginning and the end of every session.
    pub sessions: bool,
    /// The beginning and the end of every subscription that is no ask.
    pub subscriptions: bool,
}

/// What becomes of an ask that is not answered in time (A2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenLate {
    /// ERROR `app-timeout`.
    #[default]
    Refuse,
    /// Nothing, as if the answer had been empty.
    Ignore,
}

/// A handler and what it is for.
#[derive(Clone)]
pub struct Entry {
    /// Its kind.
    pub kind: Kind,
    /// The application destinations it takes, as a pattern in the spelling of their prefix, with `{name}` for segments that
    /// it wants to know. Without meaning where it takes neither sends nor asks.
    pub pattern: String,
    /// What it is called for.
    pub accepts: Accepts,
    /// How long a call may take; none: `app.send_timeout` or `app.ask_timeout`.
    pub time_limit: Option<Duration>,
    /// What becomes of an ask that takes longer.
    pub when_late: WhenLate,
    /// Who answers.
    pub handler: Arc<dyn Handler>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("kind", &self.kind).field("pattern", &self.pattern).finish_non_exhaustive()
    }
}
