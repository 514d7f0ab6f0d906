//! What a handler wants done.

use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;

use crate::destination::Destination;
use crate::headers::Headers;

/// What came of a request: what is to be done, or why it failed.
pub type Answer = Result<Done, Failure>;

/// A handler has done its part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Messages to send, in order. Of an ask that has none nothing is heard.
    pub replies: Vec<Reply>,
    /// What the application notes about the session.
    pub changes: Vec<Change>,
}

/// A message that a handler sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Where to.
    pub to: To,
    /// Its headers, such as `content-type`. Those that the broker writes itself are left out.
    pub headers: Headers,
    /// Its body.
    pub body: Bytes,
}

/// Where a reply goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum To {
    /// The answer to an ask goes to the subscription that asked, once. What answers a SEND to `/app/greeting` goes to
    /// `/topic/greeting` (A1).
    #[default]
    Default,
    /// To the session that asked alone: what answers `/app/greeting` comes to its `/user/queue/greeting` (A1).
    Sender,
    /// To every session of that user, as `Sender` for each.
    User(ByteString),
    /// To any topic, queue or user destination, but not to an application destination again.
    Destination(Destination),
}

/// A change of a session's attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which attribute.
    pub name: ByteString,
    /// What it is from now on; none takes it away.
    pub value: Option<ByteString>,
}

/// Why a request came to nothing. The session's ERROR, or its message on `/user/queue/errors`, says it (A3).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The handler says no, or cannot; in its own words, which the client gets to read.
    #[error("{0}")]
    Application(ByteString),
    /// The handler panicked, or did what it must not. What exactly, the log alone is told.
    #[error("the handler failed")]
    Broken,
    /// No answer within the time limit.
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
    /// The application cannot be reached, or was not asked since it failed too often.
    #[error("the application is not available")]
    Unavailable,
}

impl Failure {
    /// The stable `code` header of what tells the client.
    pub fn code(&self) -> &'static str {
        match self {
            Failure::Application(_) => "app-refused",
            Failure::Broken => "app-failed",
            Failure::Late(_) => "app-timeout",
            Failure::Unavailable => "app-unavailable",
        }
    }
}
