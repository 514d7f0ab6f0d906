//! Everything that a session answers with ERROR: by who is at fault, and what the wire then says.

use std::borrow::Cow;
use std::time::Duration;

use super::CloseCode;
use crate::destination::PatternError;
use crate::message::Refusal;
use crate::stomp::{self, Command, DecodeError, Frame, RequestError};

/// Why a session answers with ERROR.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// The client's bytes are no frame.
    Decode(DecodeError),
    /// The client's frame is no request.
    Request(RequestError),
    /// The client's request does not fit what came before.
    Violation(Violation),
    /// The client subscribed with something that is no pattern.
    Pattern(PatternError),
    /// The client wants more than a session may have.
    Limit(Limit),
    /// The broker's core cannot do what the client asks for.
    Refused(Refusal),
    /// The client did not CONNECT in time.
    ConnectTimeout(Duration),
    /// The client was silent for longer than this.
    Silent(Duration),
    /// The client does not keep up with its messages.
    Slow(Slow),
    /// Clients together leave more unfinished than `limits.unfinished_bytes`, this one the most for the longest.
    Unfinished {
        /// The limit, in bytes.
        limit: usize,
        /// How much of it is this client's.
        kept: usize,
        /// Since when.
        age: Duration,
    },
}

/// A request that does not fit what came before it.
#[derive(Clone, Debug)]
pub(super) enum Violation {
    /// Something else than CONNECT came first (C5).
    NotConnected(Command),
    /// A second CONNECT (C4).
    AlreadyConnected,
    /// We speak none of the versions that the client offers (C4).
    NoCommonVersion,
    /// A prefetch wish that is no number; the header's name.
    BadPrefetch(&'static str),
    /// A time that is no number; the header's name.
    BadMillis(Box<str>),
    /// A durable subscription with a name, in a session that has none: the header's name.
    NoClientId(&'static str),
    /// ACK or NACK names no delivery that is unsettled (Q8); the name.
    UnknownAck(Box<str>),
    /// CONNECT has the login of a relay, and not its passcode (X4).
    WrongPasscode,
    /// CONNECT has a login that cannot be a user's name; the name.
    BadUserName(Box<str>),
    /// No transaction of this name is open.
    UnknownTransaction(Box<str>),
    /// A transaction of this name is open already.
    TransactionExists(Box<str>),
    /// A transaction is to be committed that settles messages of a subscription that has ended: they are in their queue again.
    BrokenTransaction(Box<str>),
}

/// A limit on what one session may have, with its value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Limit {
    /// `limits.subscriptions_per_session`
    Subscriptions(usize),
    /// `limits.id_bytes`, and the header that is too long.
    IdBytes(usize, &'static str),
    /// `limits.user_bytes`
    UserBytes(usize),
    /// `limits.transactions`
    Transactions(usize),
    /// `limits.transaction_operations`
    TransactionOperations(usize),
    /// `limits.transaction_bytes`
    TransactionBytes(usize),
}

/// The limit that a slow client made us reach, with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slow {
    /// `limits.outbox_bytes`
    Outbox(usize),
    /// `limits.held_messages`
    HeldMessages(usize),
    /// `limits.held_bytes`
    HeldBytes(usize),
}

impl Fault {
    /// Whether the session could go on: the client cannot have what it asks for, or what a queue is asked for in a header has no
    /// meaning (X3). Either concerns this one frame alone.
    pub(super) fn is_refusal(&self) -> bool {
        use Violation::{BadMillis, BadPrefetch, NoClientId};
        match self {
            Fault::Pattern(_) | Fault::Limit(_) | Fault::Refused(_) => true,
            Fault::Violation(violation) => matches!(violation, BadMillis(_) | BadPrefetch(_) | NoClientId(_)),
            _ => false,
        }
    }

    /// The stable name: the `code` header, the reason of the close, and a field of the log line.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Fault::Decode(error) => error.code(),
            Fault::Request(error) => error.code(),
            Fault::Violation(violation) => violation.code(),
            Fault::Pattern(_) => "bad-pattern",
            Fault::Limit(limit) => limit.names().0,
            Fault::Refused(refusal) => refusal.code(),
            Fault::ConnectTimeout(_) => "connect-timeout",
            Fault::Silent(_) => "heart-beat-missed",
            Fault::Slow(_) => "slow-consumer",
            Fault::Unfinished { .. } => "too-much-unfinished",
        }
    }

    /// The code that a WebSocket is closed with (X2).
    pub(super) fn close_code(&self) -> CloseCode {
        match self {
            Fault::Decode(error) if error.config_key().is_some() => CloseCode::TooBig,
            Fault::Violation(Violation::WrongPasscode) => CloseCode::NotAllowed,
            Fault::Decode(_) | Fault::Request(_) | Fault::Violation(_) => CloseCode::Protocol,
            Fault::ConnectTimeout(_) | Fault::Silent(_) => CloseCode::Protocol,
            Fault::Limit(Limit::IdBytes(..) | Limit::UserBytes(_) | Limit::TransactionBytes(_)) => CloseCode::TooBig,
            Fault::Pattern(_) | Fault::Limit(_) => CloseCode::NotAllowed,
            Fault::Refused(refusal) => close_code_of(refusal),
            Fault::Slow(_) => CloseCode::SlowConsumer,
            Fault::Unfinished { .. } => CloseCode::TryLater,
        }
    }

    /// The ERROR frame (X1).
    pub(super) fn frame(&self, receipt: Option<&str>) -> Frame {
        let message = self.message();
        let body = format!("{}\n{}\n", self.detail(), self.advice());
        let mut headers = vec![("message", &*message), ("code", self.code()), ("content-type", "text/plain")];
        headers.extend(receipt.map(|receipt| ("receipt-id", receipt)));
        if let Fault::Violation(Violation::NoCommonVersion) = self {
            headers.push(("version", "1.2,1.1,1.0"));
        }
        Frame::new(Command::Error, headers, body)
    }

    /// One short line, with nothing in it that the peer could choose at length.
    fn message(&self) -> Cow<'static, str> {
        match self {
            Fault::Decode(error) => error.to_string().into(),
            Fault::Request(error) => error.to_string().into(),
            Fault::Violation(violation) => violation.message().into(),
            Fault::Pattern(_) => "the pattern cannot be subscribed to".into(),
            Fault::Limit(limit) => limit.names().2.into(),
            Fault::Refused(Refusal::Unroutable(_)) => "nobody takes the message".into(),
            Fault::Refused(Refusal::UnknownDestination(_)) => "unknown destination".into(),
            Fault::Refused(Refusal::NotOwner(_)) => "the temporary queue belongs to another session".into(),
            Fault::Refused(Refusal::NoStream(_)) => "not a user destination".into(),
            Fault::Refused(Refusal::Exclusive(_)) => "another subscription has the queue for itself".into(),
            Fault::Refused(Refusal::InUse(_)) => "the durable subscription is in use".into(),
            Fault::Refused(Refusal::NoHandler(_)) => "nobody handles the application destination".into(),
            Fault::Refused(Refusal::Protected(_)) => "the destination is not for clients".into(),
            Fault::Refused(Refusal::Unhandled(_)) => "the application did not handle it".into(),
            Fault::Refused(Refusal::NotStored { .. }) => "it could not be stored".into(),
            Fault::Refused(Refusal::Limit { what, .. }) => format!("limit reached: {what}").into(),
            Fault::ConnectTimeout(_) => "no CONNECT in time".into(),
            Fault::Silent(_) => "heart-beat missed".into(),
            Fault::Slow(_) => "messages are not taken fast enough".into(),
            Fault::Unfinished { .. } => "too many bytes of unfinished frames in the broker".into(),
        }
    }

    /// Whether a limit of the configuration was reached (G5).
    pub(super) fn is_limit(&self) -> bool {
        match self {
            Fault::Decode(error) => error.config_key().is_some(),
            Fault::Limit(_) | Fault::Slow(_) | Fault::ConnectTimeout(_) | Fault::Unfinished { .. } => true,
            Fault::Refused(refusal) => matches!(refusal, Refusal::Limit { .. }),
            Fault::Request(_) | Fault::Violation(_) | Fault::Pattern(_) | Fault::Silent(_) => false,
        }
    }

    /// What exactly is wrong: the first line of the body.
    pub(super) fn detail(&self) -> String {
        match self {
            Fault::Violation(violation) => violation.detail(),
            Fault::Pattern(error) => error.to_string(),
            Fault::Limit(limit) => limit.detail(),
            Fault::Refused(Refusal::Unroutable(to)) => {
                format!("No subscription or queue takes messages for {}.", shown(to))
            }
            Fault::Refused(Refusal::UnknownDestination(to)) => {
                format!("No destination prefix is configured for {}.", shown(to))
            }
            Fault::Refused(Refusal::NotOwner(queue)) => {
                format!("{} is a temporary queue of another session.", shown(queue))
            }
            Fault::Refused(Refusal::NoStream(to)) => {
                format!("{} names no user destination.", shown(to))
            }
            Fault::Refused(Refusal::Exclusive(queue)) => {
                format!("Another subscription has {} for itself (queues.exclusive).", shown(queue))
            }
            Fault::Refused(Refusal::InUse(name)) => {
                format!("Another session has the durable subscription {}.", shown(name))
            }
            Fault::Refused(Refusal::NoHandler(to)) => format!("Nobody handles {}.", shown(to)),
            Fault::Refused(Refusal::Protected(to)) => format!("{} is not for clients.", shown(to)),
            Fault::Refused(Refusal::Unhandled(unhandled)) => {
                format!("{} was not handled: {}.", shown(&unhandled.destination), shown(&unhandled.detail))
            }
            Fault::Refused(Refusal::NotStored { why, .. }) => format!("It could not be stored: {why}."),
            Fault::Refused(refusal @ Refusal::Limit { .. }) => format!("{refusal}."),
            Fault::ConnectTimeout(limit) => {
                format!("No CONNECT came within {} ms (connect_timeout).", limit.as_millis())
            }
            Fault::Silent(limit) => {
                format!("Nothing came for {} ms: the agreed interval times heart_beat.tolerance.", limit.as_millis())
            }
            Fault::Slow(slow) => slow.detail(),
            Fault::Unfinished { limit, kept, age } => format!(
                "All clients together left more than {limit} bytes unfinished (limits.unfinished_bytes), and this one \
                 most for longest: {kept} bytes for {} ms.",
                age.as_millis()
            ),
            Fault::Decode(_) | Fault::Request(_) => format!("{}.", self.message()),
        }
    }

    /// What to change: the second line of the body.
    fn advice(&self) -> &'static str {
        match self {
            Fault::Decode(error) if error.config_key().is_some() => {
                "Send less in one frame, or raise the limit in the broker's configuration."
            }
            Fault::Decode(_) => "Check the encoding of frames in the client.",
            Fault::Request(_) => "Check the frame against the STOMP version of the session.",
            Fault::Violation(violation) => violation.advice(),
            Fault::Pattern(_) => "Subscribe with a simpler pattern.",
            Fault::Limit(_) => "Use less of it, or raise the limit in the broker's configuration.",
            Fault::Refused(Refusal::Unroutable(_)) => "Send when somebody has subscribed, or without mandatory:true.",
            Fault::Refused(Refusal::UnknownDestination(_)) => {
                "Use a configured prefix such as /topic or /queue, or add one under [[destinations]]."
            }
            Fault::Refused(Refusal::NotOwner(_)) => "Send to it; only its own session can subscribe to it.",
            Fault::Refused(Refusal::NoStream(_)) => {
                "Subscribe to /user/queue/x for your own messages; send to /user/{name}/queue/x, with %2F for / in the name."
            }
            Fault::Refused(Refusal::Exclusive(_)) => "Subscribe when the other subscription has ended.",
            Fault::Refused(Refusal::InUse(_)) => "Try again when the other session has ended, or use another name.",
            Fault::Refused(Refusal::NoHandler(_)) => {
                "Use a destination that a route, a handler or a worker takes, or add one to the broker."
            }
            Fault::Refused(Refusal::Protected(_)) => "Use another destination, or a session with the right to it.",
            Fault::Refused(Refusal::Unhandled(_)) => "Ask the application why, or try again later.",
            Fault::Refused(Refusal::NotStored { code: "store-full", .. }) => {
                "Make room on the disk of store.path: the broker then goes on by itself. What may be lost can be sent \
                 without persistent:true."
            }
            Fault::Refused(Refusal::NotStored { .. }) => {
                "Try again when the broker's store is well again; its log says more. Send without persistent:true \
                 what may be lost."
            }
            Fault::Refused(Refusal::Limit { .. }) => {
                "Try again later, or raise the limit in the broker's configuration."
            }
            Fault::ConnectTimeout(_) => "Send CONNECT as soon as the connection is open.",
            Fault::Silent(_) => "Send heart-beats at the agreed interval, or agree on none.",
            Fault::Unfinished { .. } => {
                "Send each frame to its end without a pause. Try again later, or raise the limit in the broker's \
                 configuration."
            }
            Fault::Slow(_) => {
                "Read and settle faster, subscribe to less, or let the topic drop messages for slow subscribers."
            }
        }
    }
}

impl From<Violation> for Fault {
    fn from(violation: Violation) -> Fault {
        Fault::Violation(violation)
    }
}

impl From<Limit> for Fault {
    fn from(limit: Limit) -> Fault {
        Fault::Limit(limit)
    }
}

impl From<stomp::Refusal> for Fault {
    fn from(refusal: stomp::Refusal) -> Fault {
        Fault::Request(refusal.error)
    }
}

impl Violation {
    fn code(&self) -> &'static str {
        match self {
            Violation::NotConnected(_) => "not-connected",
            Violation::AlreadyConnected => "already-connected",
            Violation::NoCommonVersion => "no-common-version",
            Violation::BadPrefetch(_) | Violation::BadMillis(_) | Violation::NoClientId(_) => "bad-header",
            Violation::UnknownAck(_) => "unknown-ack",
            Violation::WrongPasscode => "wrong-passcode",
            Violation::BadUserName(_) => "bad-user-name",
            Violation::UnknownTransaction(_) => "unknown-transaction",
            Violation::TransactionExists(_) => "transaction-exists",
            Violation::BrokenTransaction(_) => "transaction-broken",
        }
    }

    fn message(&self) -> &'static str {
        match self {
            Violation::NotConnected(_) => "not connected",
            Violation::AlreadyConnected => "already connected",
            Violation::NoCommonVersion => "no common version",
            Violation::BadPrefetch(_) => "the prefetch is not a number",
            Violation::BadMillis(_) => "a time is not a number of milliseconds",
            Violation::NoClientId(_) => "the durable subscription has no owner",
            Violation::UnknownAck(_) => "no such unsettled message",
            Violation::WrongPasscode => "wrong passcode",
            Violation::BadUserName(_) => "the login cannot be a user's name",
            Violation::UnknownTransaction(_) => "no such transaction",
            Violation::TransactionExists(_) => "the transaction exists already",
            Violation::BrokenTransaction(_) => "the transaction cannot be done as a whole",
        }
    }

    fn detail(&self) -> String {
        match self {
            Violation::NotConnected(command) => format!("{command} came before CONNECT."),
            Violation::AlreadyConnected => "The session is connected already.".into(),
            Violation::NoCommonVersion => "The broker speaks 1.2, 1.1 and 1.0.".into(),
            Violation::BadPrefetch(header) => format!("SUBSCRIBE has a header {header} that is not a number."),
            Violation::BadMillis(header) => {
                format!("The header {header} is not a whole number of milliseconds.")
            }
            Violation::NoClientId(header) => {
                format!("The header {header} names a durable subscription, and CONNECT had no client-id.")
            }
            Violation::UnknownAck(name) => {
                format!("No message of the session that is to be settled has the name {}.", shown(name))
            }
            Violation::WrongPasscode => "The login is that of a relay or a worker, and the passcode is not.".into(),
            Violation::BadUserName(name) => {
                format!("{} has control characters or %2F in it, or is of the form of a session's name.", shown(name))
            }
            Violation::UnknownTransaction(name) => format!("No transaction {} is open.", shown(name)),
            Violation::TransactionExists(name) => format!("A transaction {} is open already.", shown(name)),
            Violation::BrokenTransaction(name) => format!(
                "Transaction {} settles messages of a subscription that has ended since; nothing of it was done.",
                shown(name)
            ),
        }
    }

    fn advice(&self) -> &'static str {
        match self {
            Violation::NotConnected(_) => "Send CONNECT or STOMP first.",
            Violation::AlreadyConnected => "Send CONNECT once, or open another connection.",
            Violation::NoCommonVersion => "Offer one of them in accept-version.",
            Violation::BadMillis(_) => {
                "Give whole milliseconds, as a span or since the beginning of 1970, or leave it out."
            }
            Violation::BadPrefetch(_) => "Give a number of messages, or leave the header out.",
            Violation::NoClientId(_) => "Give CONNECT a client-id, the same each time, or leave the name out.",
            Violation::UnknownAck(_) => {
                "Settle a message once, while its subscription lives: in 1.2 by its ack header, before by message-id."
            }
            Violation::WrongPasscode => {
                "Give the passcode that [[relay]] or [[app.worker]] has for this login, or use another login."
            }
            Violation::BadUserName(_) => "Use another login.",
            Violation::UnknownTransaction(_) => "Send BEGIN first, and COMMIT or ABORT once.",
            Violation::TransactionExists(_) => "COMMIT or ABORT it first, or use another name.",
            Violation::BrokenTransaction(_) => "COMMIT before UNSUBSCRIBE, or ABORT; the messages come again.",
        }
    }
}

impl Limit {
    /// Its code, its config key, what would be too much, and the value.
    fn names(self) -> (&'static str, &'static str, &'static str, usize) {
        match self {
            Limit::Subscriptions(limit) => {
                ("too-many-subscriptions", "limits.subscriptions_per_session", "too many subscriptions", limit)
            }
            Limit::IdBytes(limit, _) => ("id-too-long", "limits.id_bytes", "a name is too long", limit),
            Limit::UserBytes(limit) => ("user-name-too-long", "limits.user_bytes", "too many bytes in a login", limit),
            Limit::Transactions(limit) => {
                ("too-many-transactions", "limits.transactions", "too many open transactions", limit)
            }
            Limit::TransactionOperations(limit) => {
                ("too-many-operations", "limits.transaction_operations", "too many frames in the transaction", limit)
            }
            Limit::TransactionBytes(limit) => {
                ("transaction-too-big", "limits.transaction_bytes", "too many bytes in open transactions", limit)
            }
        }
    }

    fn detail(self) -> String {
        let (_, key, what, limit) = self.names();
        match self {
            Limit::IdBytes(_, header) => format!("The header {header} is longer than {limit} bytes ({key})."),
            _ => format!("There would be {what}: the limit is {limit} ({key})."),
        }
    }
}

impl Slow {
    fn detail(self) -> String {
        let (what, limit, key) = match self {
            Slow::Outbox(limit) => ("bytes wait to be written", limit, "limits.outbox_bytes"),
            Slow::HeldMessages(limit) => ("messages are held back", limit, "limits.held_messages"),
            Slow::HeldBytes(limit) => ("bytes are held back", limit, "limits.held_bytes"),
        };
        format!("More than {limit} {what} ({key}).")
    }
}

fn close_code_of(refusal: &Refusal) -> CloseCode {
    match refusal {
        Refusal::UnknownDestination(_) | Refusal::NotOwner(_) => CloseCode::NotAllowed,
        Refusal::NoHandler(_) | Refusal::Protected(_) | Refusal::NoStream(_) => CloseCode::NotAllowed,
        Refusal::Unroutable(_) | Refusal::Exclusive(_) | Refusal::Limit { .. } => CloseCode::TryLater,
        Refusal::InUse(_) | Refusal::Unhandled(_) | Refusal::NotStored { .. } => CloseCode::TryLater,
    }
}

/// A name that the peer chose, safe and short enough for a text that people read.
fn shown(name: &str) -> String {
    const LONGEST: usize = 200;
    let mut text: String = name.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if name.chars().nth(LONGEST).is_some() {
        text.push_str("...");
    }
    text
}
