//! Ways to reach a broker. A case does not know which one it runs over.
//!
//! To add a way over sockets: implement [`Link`] in one file beside this one, and name it in [`NAMES`] and [`all`]; any other
//! implements [`Harness`] and [`World`] too. A harness that lives in the same process as its broker (a virtual clock instead of sockets)
//! gives each case a world of its own, so that moving the clock disturbs nobody.

pub(crate) mod deflate;
pub(crate) mod memory;
pub(crate) mod packet;
mod sockets;
pub(crate) mod sockjs;
pub(crate) mod tcp;
pub(crate) mod websocket;

use std::time::{Duration, Instant};

use thiserror::Error;

use crate::launcher::LaunchError;
use crate::profile::{Profile, Reach};

use sockets::{Dial, Sockets};

/// The names of all harnesses, also of those that a profile has no address for.
pub(crate) const NAMES: [&str; 4] = ["memory", "tcp", "websocket", "sockjs"];

/// One way to reach one broker. Shared by all cases that run at the same time.
pub(crate) trait Harness: Send + Sync {
    /// The name after `--over` and in test names.
    fn name(&self) -> &'static str;

    /// What one run of one case talks to. Called on the thread that runs the case; the world stays on it.
    fn world(&self, scope: Scope) -> Result<Box<dyn World>, HarnessError>;
}

/// Whose the broker of a world is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// That of all cases, which may run at the same time.
    Shared,
    /// That of this run alone, which can restart it, if the suite can start it.
    Own,
}

/// The broker as one run of one case sees it.
pub(crate) trait World {
    /// Opens a transport connection. A refused WebSocket handshake is a link too: its status is in
    /// [`Link::handshake`] and it is closed.
    fn connect(&mut self, opening: &Opening) -> Result<Box<dyn Link>, HarnessError>;

    /// The time that deadlines are reckoned in: the machine's, or the virtual clock's.
    fn now(&self) -> Instant;

    /// Lets this much time pass: sleeps, or moves the virtual clock through every timer on the way.
    fn advance(&mut self, by: Duration);

    /// Stops the broker without ceremony and starts it again on the same store; all links die.
    fn restart(&mut self) -> Result<(), HarnessError>;
}

/// One transport connection.
pub(crate) trait Link {
    /// Hands over bytes; each piece is a write (TCP) or a message (WebSocket) of its own. A peer that has gone is
    /// not an error here: reading tells.
    fn send(&mut self, pieces: &[Piece]);

    /// Waits at most `patience` for something to arrive. On a virtual clock the wait costs virtual time only, and
    /// none at all when something is there already.
    fn receive(&mut self, patience: Duration) -> Received;

    /// Stops reading, so that the broker's writes fill up; `resume` reads on. A socket harness reads only when
    /// asked anyway, so both may do nothing there.
    fn stall(&mut self) {}
    fn resume(&mut self) {}

    /// Closes with the transport's own ceremony: a WebSocket close packet, a TCP half-close.
    fn close(&mut self, code: Option<u16>);

    /// What the WebSocket handshake said; `None` where there is none.
    fn handshake(&self) -> Option<&Handshake> {
        None
    }

    /// Whether this transport can tell a close code.
    fn tells_close_codes(&self) -> bool {
        false
    }
}

/// What a client asks for when it opens the transport; only WebSocket looks at it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Opening {
    pub(crate) protocols: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    /// Whether to offer permessage-deflate, and to compress what is sent when it is agreed on.
    pub(crate) deflate: bool,
}

/// Bytes that leave together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// STOMP bytes; a WebSocket link sends them as text when they are UTF-8, else as binary.
    Plain(Vec<u8>),
    /// The same, and a WebSocket link sends them as binary in any case.
    Binary(Vec<u8>),
    /// A WebSocket packet written field by field, right or wrong. Other transports send nothing.
    Packet(packet::Packet),
}

/// What arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Bytes(Vec<u8>, Carrier),
    Pong(Vec<u8>),
    Ping(Vec<u8>),
    Closed(Close),
    Silence,
    /// The broker broke the rules of the transport itself.
    Malformed(String),
}

/// What carried the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    Stream,
    Text,
    Binary,
    /// Compressed as RFC 7692 says.
    DeflatedText,
    DeflatedBinary,
}

impl Carrier {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Carrier::Stream => "stream",
            Carrier::Text => "text",
            Carrier::Binary => "binary",
            Carrier::DeflatedText => "deflated-text",
            Carrier::DeflatedBinary => "deflated-binary",
        }
    }
}

/// How a connection ended: the code and reason where the transport has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: Option<u16>,
    pub(crate) reason: String,
}

/// The answer to a WebSocket handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Handshake {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
}

impl Handshake {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// The suite could not do its own part.
#[derive(Debug, Error)]
pub(crate) enum HarnessError {
    #[error("cannot reach the broker at {address}: {cause}")]
    Unreachable { address: String, cause: std::io::Error },
    #[error("the WebSocket handshake went wrong: {0}")]
    Handshake(String),
    #[error("the configuration in the profile is wrong:\n{0}")]
    Config(String),
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error("this way of reaching the broker cannot {0}")]
    Unsupported(&'static str),
}

/// Every harness the profile has an address for, in a fixed order, or the one asked for.
pub(crate) fn all(profile: &Profile, only: Option<&str>) -> Result<Vec<Box<dyn Harness>>, HarnessError> {
    let wanted = |name: &str| only.is_none_or(|only| only == name);
    let mut harnesses: Vec<Box<dyn Harness>> = Vec::new();
    if profile.over.memory.is_some() && wanted("memory") {
        let config = profile.launch.as_ref().map_or("", |launch| launch.config.as_str());
        harnesses.push(Box::new(memory::Memory::new(config)?));
    }
    let ways: [(&str, &str, Dial, &Option<Reach>); 3] = [
        ("tcp", "tcp", tcp::connect, &profile.over.tcp),
        ("websocket", "ws", websocket::connect, &profile.over.websocket),
        ("sockjs", "ws", sockjs::connect, &profile.over.sockjs),
    ];
    for (name, scheme, dial, reach) in ways {
        if let Some(reach) = reach.as_ref().filter(|_| wanted(name)) {
            let (address, timing, launch) = (reach.address.clone(), profile.timing.clone(), profile.launch.clone());
            harnesses.push(Box::new(Sockets { name, scheme, dial, address, timing, launch }));
        }
    }
    Ok(harnesses)
}
