//! Frames: a command, headers and a body, free of any wire form.

use std::fmt;

use bytes::Bytes;

use crate::headers::Headers;

/// The commands of all versions, the client's first, then the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of the specification")]
pub enum Command {
    Connect,
    Stomp,
    Send,
    Subscribe,
    Unsubscribe,
    Ack,
    Nack,
    Begin,
    Commit,
    Abort,
    Disconnect,
    Connected,
    Message,
    Receipt,
    Error,
}

impl Command {
    /// All commands.
    pub const ALL: [Command; 15] = [
        Command::Connect,
        Command::Stomp,
        Command::Send,
        Command::Subscribe,
        Command::Unsubscribe,
        Command::Ack,
        Command::Nack,
        Command::Begin,
        Command::Commit,
        Command::Abort,
        Command::Disconnect,
        Command::Connected,
        Command::Message,
        Command::Receipt,
        Command::Error,
    ];

    /// The command as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Command::Connect => "CONNECT",
            Command::Stomp => "STOMP",
            Command::Send => "SEND",
            Command::Subscribe => "SUBSCRIBE",
            Command::Unsubscribe => "UNSUBSCRIBE",
            Command::Ack => "ACK",
            Command::Nack => "NACK",
            Command::Begin => "BEGIN",
            Command::Commit => "COMMIT",
            Command::Abort => "ABORT",
            Command::Disconnect => "DISCONNECT",
            Command::Connected => "CONNECTED",
            Command::Message => "MESSAGE",
            Command::Receipt => "RECEIPT",
            Command::Error => "ERROR",
        }
    }

    /// The command that is written so; upper case only, as the specification has them.
    pub fn parse(text: &[u8]) -> Option<Command> {
        match text {
            b"CONNECT" => Some(Command::Connect),
            b"STOMP" => Some(Command::Stomp),
            b"SEND" => Some(Command::Send),
            b"SUBSCRIBE" => Some(Command::Subscribe),
            b"UNSUBSCRIBE" => Some(Command::Unsubscribe),
            b"ACK" => Some(Command::Ack),
            b"NACK" => Some(Command::Nack),
            b"BEGIN" => Some(Command::Begin),
            b"COMMIT" => Some(Command::Commit),
            b"ABORT" => Some(Command::Abort),
            b"DISCONNECT" => Some(Command::Disconnect),
            b"CONNECTED" => Some(Command::Connected),
            b"MESSAGE" => Some(Command::Message),
            b"RECEIPT" => Some(Command::Receipt),
            b"ERROR" => Some(Command::Error),
            _ => None,
        }
    }

    /// Whether the specification lets the frame have a body.
    pub fn may_have_body(self) -> bool {
        matches!(self, Command::Send | Command::Message | Command::Error)
    }

    /// Whether header escapes apply. The frames that agree on the version go without, as 1.0 knows none.
    pub fn is_escaped(self) -> bool {
        !self.opens_session() && self != Command::Connected
    }

    /// Whether it is one of the two names under which a client opens its session.
    pub fn opens_session(self) -> bool {
        matches!(self, Command::Connect | Command::Stomp)
    }

    /// Whether servers send it, so that a client must not.
    pub fn is_servers(self) -> bool {
        matches!(self, Command::Connected | Command::Message | Command::Receipt | Command::Error)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One frame, its headers unescaped.
///
/// A decoded frame's headers and body are slices of one buffer that holds this frame and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What the frame asks or says.
    pub command: Command,
    /// All headers in the order sent, repeated ones and `content-length` included.
    pub headers: Headers,
    /// The body's bytes, not necessarily text.
    pub body: Bytes,
}

impl Frame {
    /// A frame made of parts, for the broker's own frames, clients and tests.
    pub fn new<N: AsRef<str>, V: AsRef<str>>(
        command: Command,
        headers: impl IntoIterator<Item = (N, V)>,
        body: impl Into<Bytes>,
    ) -> Frame {
        Frame { command, headers: headers.into_iter().collect(), body: body.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_read_back_in_upper_case_only() {
        for command in Command::ALL {
            assert_eq!(Command::parse(command.as_str().as_bytes()), Some(command));
            assert_eq!(Command::parse(command.as_str().to_lowercase().as_bytes()), None);
        }
    }
}
