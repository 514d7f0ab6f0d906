//! Frames with a meaning: what a client asks for, checked once and for all.

use bytes::Bytes;
use bytestring::ByteString;
use thiserror::Error;

use super::frame::{Command, Frame};
use super::version::{AckBy, Version};
use crate::headers::Headers;

/// What a client asks for.
///
/// The text fields share the frame's buffer; copy what is kept for longer than the request. `headers` are all headers
/// of the frame, for what lies beyond the specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// CONNECT or STOMP.
    Connect(Connect),
    /// SEND.
    Send(Send),
    /// SUBSCRIBE.
    Subscribe(Subscribe),
    /// UNSUBSCRIBE.
    Unsubscribe(Unsubscribe),
    /// ACK.
    Ack(Settle),
    /// NACK.
    Nack(Settle),
    /// BEGIN.
    Begin(Transaction),
    /// COMMIT.
    Commit(Transaction),
    /// ABORT.
    Abort(Transaction),
    /// DISCONNECT.
    Disconnect(Disconnect),
}

/// CONNECT or STOMP: the start of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// The highest common version; none if the client speaks no version of ours.
    pub version: Option<Version>,
    /// The virtual host. Optional in every version: browsers' clients do not send it.
    pub host: Option<ByteString>,
    /// The user's name.
    pub login: Option<ByteString>,
    /// The user's password. Never to be logged.
    pub passcode: Option<ByteString>,
    /// What the client can do and wants; nothing of both if it does not say.
    pub heart_beat: HeartBeat,
    /// All headers.
    pub headers: Headers,
}

/// The `heart-beat` header, in milliseconds; zero is never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeartBeat {
    /// The shortest interval in which the sender of the header can send.
    pub can_send: u32,
    /// The interval in which the sender of the header would like to receive.
    pub wants: u32,
}

impl HeartBeat {
    /// Reads `<can_send>,<wants>`. Greater numbers than fit are the greatest that fits: years.
    pub fn parse(text: &str) -> Option<HeartBeat> {
        let (can_send, wants) = text.split_once(',')?;
        Some(HeartBeat { can_send: milliseconds(can_send)?, wants: milliseconds(wants)? })
    }
}

fn milliseconds(text: &str) -> Option<u32> {
    let digits = text.trim();
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u32::MAX))
}

/// SEND: a message for a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Send {
    /// Where it goes.
    pub destination: ByteString,
    /// The transaction it belongs to.
    pub transaction: Option<ByteString>,
    /// The receipt asked for.
    pub receipt: Option<ByteString>,
    /// All headers.
    pub headers: Headers,
    /// The message's body.
    pub body: Bytes,
}

/// How the messages of a subscription are settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AckMode {
    /// By having been sent.
    #[default]
    Auto,
    /// By an ACK or NACK, which speaks for all messages before it too.
    Client,
    /// By an ACK or NACK each. Taken in 1.0 too, which does not have it, as other brokers do.
    ClientIndividual,
}

impl AckMode {
    /// Reads the `ack` header of a SUBSCRIBE.
    pub fn parse(text: &str) -> Option<AckMode> {
        match text {
            "auto" => Some(AckMode::Auto),
            "client" => Some(AckMode::Client),
            "client-individual" => Some(AckMode::ClientIndividual),
            _ => None,
        }
    }
}

/// SUBSCRIBE: the messages of a destination are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// The subscription's name in its session. In 1.0 the destination if the client gave none.
    pub id: ByteString,
    /// A destination or a pattern.
    pub destination: ByteString,
    /// How its messages are settled.
    pub ack: AckMode,
    /// The receipt asked for.
    pub receipt: Option<ByteString>,
    /// All headers.
    pub headers: Headers,
}

/// UNSUBSCRIBE: no further messages for a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// The subscription's name. In 1.0 the destination if the client gave no id.
    pub id: ByteString,
    /// The receipt asked for.
    pub receipt: Option<ByteString>,
    /// All headers.
    pub headers: Headers,
}

/// ACK or NACK: a message is dealt with, or is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settle {
    /// How the message is named.
    pub by: AckBy,
    /// The transaction it belongs to.
    pub transaction: Option<ByteString>,
    /// The receipt asked for.
    pub receipt: Option<ByteString>,
    /// All headers.
    pub headers: Headers,
}

impl Settle {
    /// The message. What the version wants of it is there.
    pub fn name(&self) -> AckName<'_> {
        let text = |header| self.headers.find(header).unwrap_or_default();
        match self.by {
            AckBy::AckId => AckName::AckId(text(ACK_ID)),
            AckBy::MessageId | AckBy::MessageIdAndSubscription => {
                AckName::MessageId { message_id: text(MESSAGE_ID), subscription: self.headers.find(SUBSCRIPTION) }
            }
        }
    }
}

/// How an ACK or NACK names its message; which of both is the version's matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckName<'s> {
    /// The value of the message's `ack` header.
    AckId(&'s str),
    /// The message's `message-id`, and its subscription unless a 1.0 client left it out.
    MessageId {
        /// The value of the message's `message-id` header.
        message_id: &'s str,
        /// The subscription it was delivered to.
        subscription: Option<&'s str>,
    },
}

/// The headers by which an ACK or NACK names its message.
const ACK_ID: &str = "id";
const MESSAGE_ID: &str = "message-id";
const SUBSCRIPTION: &str = "subscription";

/// BEGIN, COMMIT or ABORT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The transaction's name in its session.
    pub transaction: ByteString,
    /// The receipt asked for.
    pub receipt: Option<ByteString>,
    /// All headers.
    pub headers: Headers,
}

/// DISCONNECT: the orderly end of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// The receipt asked for.
    pub receipt: Option<ByteString>,
    /// All headers.
    pub headers: Headers,
}

/// What a frame lacks to be a request. The client is at fault; the text is one short line for its developer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    /// A header is missing that the version wants.
    #[error("{command} needs the header {header}")]
    MissingHeader {
        /// The frame's command.
        command: Command,
        /// The header's name.
        header: &'static str,
    },
    /// A header's value has no meaning.
    #[error("{command} has a header {header} that is not {wanted}")]
    BadHeader {
        /// The frame's command.
        command: Command,
        /// The header's name.
        header: &'static str,
        /// What the value should have been.
        wanted: &'static str,
    },
    /// A frame that only servers send.
    #[error("{0} is sent by servers, not by clients")]
    ServerCommand(Command),
    /// A body on a frame that has none.
    #[error("{0} must not have a body")]
    BodyNotAllowed(Command),
    /// A command that came with a later version.
    #[error("{command} does not exist in STOMP {version}")]
    NotInVersion {
        /// The frame's command.
        command: Command,
        /// The session's version.
        version: Version,
    },
}

impl RequestError {
    /// The stable name of the error, for the ERROR frame's `code`, for logs and for metrics.
    pub fn code(&self) -> &'static str {
        match self {
            RequestError::MissingHeader { .. } => "missing-header",
            RequestError::BadHeader { .. } => "bad-header",
            RequestError::ServerCommand(_) => "server-command",
            RequestError::BodyNotAllowed(_) => "body-not-allowed",
            RequestError::NotInVersion { .. } => "command-not-in-version",
        }
    }
}

/// A frame that is no request, and the receipt it asked for, which the ERROR names.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{error}")]
pub struct Refusal {
    /// What is wrong.
    pub error: RequestError,
    /// The value of the frame's `receipt` header.
    pub receipt: Option<ByteString>,
}

impl Request {
    /// Reads a frame's meaning under the session's version. What it is for CONNECT and STOMP makes no difference.
    pub fn parse(frame: Frame, version: Version) -> Result<Request, Refusal> {
        let receipt = frame.headers.find_shared("receipt");
        let fields = Fields { command: frame.command, headers: frame.headers, receipt: receipt.clone() };
        if let Err(error) = fields.check(&frame.body, version) {
            return Err(Refusal { error, receipt });
        }
        match fields.request(frame.body, version) {
            Ok(request) => Ok(request),
            Err(error) => Err(Refusal { error, receipt }),
        }
    }

    /// The receipt asked for. CONNECT has none: CONNECTED answers it.
    pub fn receipt(&self) -> Option<&ByteString> {
        match self {
            Request::Connect(_) => None,
            Request::Send(send) => send.receipt.as_ref(),
            Request::Subscribe(subscribe) => subscribe.receipt.as_ref(),
            Request::Unsubscribe(unsubscribe) => unsubscribe.receipt.as_ref(),
            Request::Ack(settle) | Request::Nack(settle) => settle.receipt.as_ref(),
            Request::Begin(each) | Request::Commit(each) | Request::Abort(each) => each.receipt.as_ref(),
            Request::Disconnect(disconnect) => disconnect.receipt.as_ref(),
        }
    }
}

/// The headers of a frame as its fields.
struct Fields {
    command: Command,
    headers: Headers,
    receipt: Option<ByteString>,
}

impl Fields {
    #[inline]
    fn check(&self, body: &Bytes, version: Version) -> Result<(), RequestError> {
        let command = self.command;
        if command.is_servers() {
            return Err(RequestError::ServerCommand(command));
        }
        if !version.has_command(command) {
            return Err(RequestError::NotInVersion { command, version });
        }
        let strict = version.restricts_bodies() || command.opens_session();
        if strict && !body.is_empty() && !command.may_have_body() {
            return Err(RequestError::BodyNotAllowed(command));
        }
        Ok(())
    }

    #[inline]
    fn request(self, body: Bytes, version: Version) -> Result<Request, RequestError> {
        match self.command {
            Command::Connect | Command::Stomp => self.connect().map(Request::Connect),
            Command::Send => self.send(body).map(Request::Send),
            Command::Subscribe => self.subscribe(version).map(Request::Subscribe),
            Command::Unsubscribe => self.unsubscribe(version).map(Request::Unsubscribe),
            Command::Ack => self.settle(version).map(Request::Ack),
            Command::Nack => self.settle(version).map(Request::Nack),
            Command::Begin => self.transaction().map(Request::Begin),
            Command::Commit => self.transaction().map(Request::Commit),
            Command::Abort => self.transaction().map(Request::Abort),
            Command::Disconnect => Ok(Request::Disconnect(Disconnect { receipt: self.receipt, headers: self.headers })),
            Command::Connected | Command::Message | Command::Receipt | Command::Error => {
                Err(RequestError::ServerCommand(self.command))
            }
        }
    }

    fn connect(self) -> Result<Connect, RequestError> {
        let heart_beat = match self.headers.find("heart-beat") {
            None => HeartBeat::default(),
            Some(text) => HeartBeat::parse(text)
                .ok_or(self.bad("heart-beat", "two numbers of milliseconds with a comma between"))?,
        };
        Ok(Connect {
            version: Version::negotiate(self.headers.find("accept-version")),
            host: self.optional("host"),
            login: self.optional("login"),
            passcode: self.optional("passcode"),
            heart_beat,
            headers: self.headers,
        })
    }

    #[inline]
    fn send(self, body: Bytes) -> Result<Send, RequestError> {
        Ok(Send {
            destination: self.required("destination")?,
            transaction: self.optional("transaction"),
            receipt: self.receipt,
            headers: self.headers,
            body,
        })
    }

    fn subscribe(self, version: Version) -> Result<Subscribe, RequestError> {
        let ack = match self.headers.find("ack") {
            None => AckMode::default(),
            Some(text) => AckMode::parse(text).ok_or(self.bad("ack", "auto, client or client-individual"))?,
        };
        Ok(Subscribe {
            destination: self.required("destination")?,
            id: self.subscription_id(version)?,
            ack,
            receipt: self.receipt,
            headers: self.headers,
        })
    }

    fn unsubscribe(self, version: Version) -> Result<Unsubscribe, RequestError> {
        Ok(Unsubscribe { id: self.subscription_id(version)?, receipt: self.receipt, headers: self.headers })
    }

    #[inline]
    fn settle(self, version: Version) -> Result<Settle, RequestError> {
        let by = version.ack_by();
        let wanted: &[&'static str] = match by {
            AckBy::AckId => &[ACK_ID],
            AckBy::MessageId => &[MESSAGE_ID],
            AckBy::MessageIdAndSubscription => &[MESSAGE_ID, SUBSCRIPTION],
        };
        if let Some(header) = wanted.iter().find(|header| self.headers.find(header).is_none()) {
            return Err(self.missing(header));
        }
        let transaction = self.optional("transaction");
        Ok(Settle { by, transaction, receipt: self.receipt, headers: self.headers })
    }

    fn transaction(self) -> Result<Transaction, RequestError> {
        Ok(Transaction { transaction: self.required("transaction")?, receipt: self.receipt, headers: self.headers })
    }

    fn subscription_id(&self, version: Version) -> Result<ByteString, RequestError> {
        let stand_in = || {
            if version.requires_subscription_id() { None } else { self.optional("destination") }
        };
        self.optional("id").or_else(stand_in).ok_or(self.missing("id"))
    }

    fn optional(&self, header: &'static str) -> Option<ByteString> {
        self.headers.find_shared(header)
    }

    fn required(&self, header: &'static str) -> Result<ByteString, RequestError> {
        self.optional(header).ok_or(self.missing(header))
    }

    fn missing(&self, header: &'static str) -> RequestError {
        RequestError::MissingHeader { command: self.command, header }
    }

    fn bad(&self, header: &'static str, wanted: &'static str) -> RequestError {
        RequestError::BadHeader { command: self.command, header, wanted }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
